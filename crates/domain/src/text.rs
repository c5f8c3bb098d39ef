//! The text that the ledger takes from outside: from bodies and from files. One rule for all of
//! them, so that every store, view and export can hold what is accepted, and a person can see it.
//!
//! Stored events hold plain strings: a text that is refused today must not make an old event
//! unreadable.

use std::fmt;

use serde::Deserialize;

/// Longest [`Text`], in characters: bounds the size of an event.
pub const LEN_MAX: usize = 500;

/// Longest part of a refused text that its refusal repeats, in characters.
const EXCERPT_LEN_MAX: usize = 100;

/// The error of a text that is not taken; a fragment that fits after the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Nothing in it can be seen.
    #[error("blank; expected text")]
    Blank,
    /// It is longer than [`Text`] may be.
    #[error("{len} characters; at most {LEN_MAX} are allowed")]
    TooLong {
        /// Its length in characters.
        len: usize,
    },
    /// It holds a character that cannot be seen, or that not every store and reader keeps.
    #[error("the control character U+{:04X} is not allowed in text", u32::from(*character))]
    Control {
        /// The character.
        character: char,
    },
}

/// Text in one line that is not blank, without the spaces around it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Text(String);

impl TryFrom<String> for Text {
    type Error = InvalidText;
    fn try_from(text: String) -> Result<Self, InvalidText> {
        let line = read_line(&text)?;
        match line.chars().count() {
            len if len > LEN_MAX => Err(InvalidText::TooLong { len }),
            _ => Ok(Self(line.to_owned())),
        }
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

/// The reason for a command: text in one line that is not blank, without the spaces around it. The
/// rules decide how long it may be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ReasonText(String);

impl TryFrom<String> for ReasonText {
    type Error = InvalidText;
    fn try_from(text: String) -> Result<Self, InvalidText> {
        read_line(&text).map(|line| Self(line.to_owned()))
    }
}

impl From<ReasonText> for String {
    fn from(text: ReasonText) -> Self {
        text.0
    }
}

/// Text in lines, as it was written. The rules decide how long it may be, and whether blank.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Lines(String);

impl TryFrom<String> for Lines {
    type Error = InvalidText;
    fn try_from(text: String) -> Result<Self, InvalidText> {
        refuse_control_characters(&text, |c| c.is_control() && !matches!(c, '\r' | '\n' | '\t'))?;
        // The rules have their own word for a blank text.
        if !is_blank(&text) {
            refuse_control_characters(&text, turns_direction)?;
        }
        Ok(Self(text))
    }
}

impl From<Lines> for String {
    fn from(text: Lines) -> Self {
        text.0
    }
}

/// A text with its control characters written out, fit for a terminal, which might obey them. So
/// are the characters that turn the direction of the text.
#[derive(Debug, Clone, Copy)]
pub struct Visible<'a>(pub &'a str);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            c if acts_on_terminal(c) => write!(f, "{}", c.escape_unicode()),
            c => write!(f, "{c}"),
        })
    }
}

/// The characters at the start of a text that make a spreadsheet program take it for a formula, as
/// OWASP lists them ("CSV Injection"). Some programs take full-width forms for the others.
pub const FORMULA_STARTS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Whether a terminal might obey a character instead of showing it, or show the text after it in
/// the other direction. Line ends and tabs do as they are meant to.
#[must_use]
pub fn acts_on_terminal(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t') || turns_direction(c)
}

/// A text that was refused, as each refusal repeats it: cut where it is long, and with the
/// characters written out that cannot be seen or that a terminal might obey.
#[derive(Debug, Clone, Copy)]
pub struct Excerpt<'a>(pub &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.chars();
        rest.by_ref().take(EXCERPT_LEN_MAX).try_for_each(|c| match c {
            ' ' => write!(f, " "),
            c if c.is_control() || is_invisible(c) || is_noncharacter(c) => write!(f, "{}", c.escape_unicode()),
            c => write!(f, "{c}"),
        })?;
        rest.next().map_or(Ok(()), |_| write!(f, "…"))
    }
}

/// Whether nothing in a text can be seen. Every rule that asks for a text asks this.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    text.chars().all(is_invisible)
}

/// A line that is not blank, without the spaces around it.
fn read_line(text: &str) -> Result<&str, InvalidText> {
    let text = text.trim();
    if is_blank(text) {
        return Err(InvalidText::Blank);
    }
    refuse_control_characters(text, |c| matches!(c, '\u{2028}' | '\u{2029}') || c.is_control() || turns_direction(c))?;
    Ok(text)
}

fn refuse_control_characters(text: &str, is_control: fn(char) -> bool) -> Result<(), InvalidText> {
    match text.chars().find(|&c| is_control(c) || is_noncharacter(c)) {
        Some(character) => Err(InvalidText::Control { character }),
        None => Ok(()),
    }
}

/// The characters that make the text after them run the other way, against its own letters: a name
/// could read as another one. Texts in Arabic or Hebrew need none of them.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The code points that Unicode reserves for programs' own use, which no text holds.
fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// White space, and the characters that have no shape of their own: those with the property
/// `Default_Ignorable_Code_Point` of Unicode (`DerivedCoreProperties.txt`, the same in versions 12
/// to 16), the marks of interlinear annotation, and the Braille pattern without dots.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}')
        || matches!(c, '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
        || matches!(c, '\u{e0000}'..='\u{e0fff}')
        || matches!(c, '\u{2800}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_that_can_be_seen() {
        let read = |text: &str| Text::try_from(text.to_owned()).map(String::from);
        assert_eq!(read(" Okafor, Grace "), Ok("Okafor, Grace".to_owned()));
        // A joiner is part of emoji and of Persian words.
        assert_eq!(read("👩\u{200d}🚒"), Ok("👩\u{200d}🚒".to_owned()));
        for blank in ["", "  ", "\u{200b}\u{feff}", "\u{2066}\u{2069}\u{a0}"] {
            assert_eq!(read(blank), Err(InvalidText::Blank), "{blank:?}");
        }
        let controls = ['\0', '\u{7}', '\u{1b}', '\n', '\t', '\u{7f}', '\u{9b}', '\u{2028}', '\u{ffff}', '\u{fdd0}'];
        let directions = ['\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}'];
        for character in controls.into_iter().chain(directions) {
            assert_eq!(read(&format!("a{character}b")), Err(InvalidText::Control { character }));
        }
        assert_eq!(read(&"x".repeat(501)), Err(InvalidText::TooLong { len: 501 }));
        assert!(read(&"é".repeat(500)).is_ok());
        assert!(ReasonText::try_from("x".repeat(501)).is_ok(), "the rules bound a reason");
        assert_eq!(ReasonText::try_from("\u{202e} ".to_owned()), Err(InvalidText::Blank));
    }

    #[test]
    fn a_text_of_characters_without_a_shape_is_blank() {
        // The first and the last of each range of `Default_Ignorable_Code_Point`.
        for c in "\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180b}\u{180f}\u{200b}\u{200f}\u{202a}\u{202e}\
            \u{2060}\u{206f}\u{3164}\u{fe00}\u{fe0f}\u{feff}\u{ffa0}\u{fff0}\u{fff8}\u{1bca0}\u{1bca3}\u{1d173}\u{1d17a}\
            \u{e0000}\u{e0001}\u{e0020}\u{e007f}\u{e0100}\u{e01ef}\u{e0fff}\u{2800}\u{fffb}\u{a0}\u{3000}"
            .chars()
        {
            assert!(is_blank(&format!(" {c}{c}")), "U+{:04X}", u32::from(c));
            assert!(!is_blank(&format!("{c}a")), "U+{:04X}", u32::from(c));
        }
        for seen in ["-", ".", "é", "\u{1161}", "\u{2801}", "\u{3165}", "\u{fffd}", "👩", "\u{2010}", "\u{600}"] {
            assert!(!is_blank(seen), "{seen:?}");
        }
    }

    #[test]
    fn an_excerpt_is_short_and_can_be_seen() {
        let excerpt = |text: &str| Excerpt(text).to_string();
        assert_eq!(excerpt("Okafor, Zoë 👩"), "Okafor, Zoë 👩");
        assert_eq!(
            excerpt("a\u{1b}[2J\n\u{202e}b\u{a0}\u{e0041}\u{ffff}"),
            "a\\u{1b}[2J\\u{a}\\u{202e}b\\u{a0}\\u{e0041}\\u{ffff}"
        );
        assert_eq!(excerpt(&"é".repeat(100)), "é".repeat(100));
        assert_eq!(excerpt(&"é".repeat(101)), format!("{}…", "é".repeat(100)));
        assert_eq!(excerpt(&"\0".repeat(1_000_000)), format!("{}…", "\\u{0}".repeat(100)));
    }

    #[test]
    fn lines_hold_line_ends_and_tabs_and_no_other_control_character() {
        let read = |text: &str| Lines::try_from(text.to_owned()).map(String::from);
        assert_eq!(read(" a\r\n\tb "), Ok(" a\r\n\tb ".to_owned()));
        for character in ['\0', '\u{7}', '\u{1b}', '\u{b}', '\u{7f}', '\u{85}', '\u{202e}', '\u{fffe}', '\u{10ffff}'] {
            assert_eq!(read(&format!("a{character}b")), Err(InvalidText::Control { character }));
        }
        assert_eq!(read("\u{202e}\u{feff}"), Ok("\u{202e}\u{feff}".to_owned()), "blank, which the rules judge");
    }

    #[test]
    fn a_terminal_obeys_no_shown_text() {
        assert_eq!(Visible("a\u{1b}[2Jb\u{7}\u{9b}\nc\u{202e}d").to_string(), "a\\u{1b}[2Jb\\u{7}\\u{9b}\nc\\u{202e}d");
    }
}
