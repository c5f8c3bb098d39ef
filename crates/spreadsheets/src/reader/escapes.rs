//! Reads the escapes that Excel writes for characters which XML cannot hold: `_x000D_` for a line
//! end, `_x005F_` for the first letter of a text that looks like an escape.

use std::borrow::Cow;

/// The text with each escape replaced by its character.
pub fn unescape(text: &str) -> Cow<'_, str> {
    let mut rest = text;
    let mut plain = String::new();
    while let Some(start) = rest.find("_x") {
        let Some(first) = unit(&rest[start..]) else {
            plain.push_str(&rest[..start + 2]);
            rest = &rest[start + 2..];
            continue;
        };
        plain.push_str(&rest[..start]);
        rest = &rest[start + LEN..];
        // A character of two units is two escapes.
        let second = unit(rest).filter(|second| (0xdc00..0xe000).contains(second) && (0xd800..0xdc00).contains(&first));
        if second.is_some() {
            rest = &rest[LEN..];
        }
        let units = [first, second.unwrap_or_default()];
        plain.push_str(&String::from_utf16_lossy(&units[..1 + usize::from(second.is_some())]));
    }
    if plain.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// The length of an escape.
const LEN: usize = "_x0000_".len();

/// The unit of UTF-16 that the text begins with an escape of.
fn unit(text: &str) -> Option<u16> {
    let digits = text.get(..LEN)?.strip_prefix("_x")?.strip_suffix('_')?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_its_character() {
        for (text, expected) in [
            ("a_x000D_\nb", "a\r\nb"),
            ("_x001B__x0000_", "\u{1b}\0"),
            ("_xD83D__xDCF7_!", "📷!"),
            ("_xD83D_a", "\u{fffd}a"),
            ("_xDCF7_", "\u{fffd}"),
            ("_x005F_x000D_", "_x000D_"),
            ("_x00G0_ _x00_ _x_", "_x00G0_ _x00_ _x_"),
            ("_x000", "_x000"),
            ("plain", "plain"),
            ("_x_x0041_", "_xA"),
            ("_xé000D_", "_xé000D_"),
        ] {
            assert_eq!(unescape(text), expected, "{text}");
        }
    }
}
