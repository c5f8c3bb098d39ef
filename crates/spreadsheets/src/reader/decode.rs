//! Decodes a text file: UTF-8 and UTF-16 with or without a mark, else Windows-1252. Damage in one
//! place is damage there alone: a byte that is no UTF-8 in a file that otherwise is.

use std::borrow::Cow;

use anyhow::bail;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// The bytes at the beginning that tell whether a file is UTF-16, and whether it is text.
const SAMPLE_LEN: usize = 1 << 14;

/// A file as text.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The text, without its mark.
    pub text: Cow<'a, str>,
    /// A remark on the decoding, a sentence.
    pub remark: Option<String>,
}

/// Decodes a file.
///
/// # Errors
/// It is no text, or text of another kind than a table. The reason says which.
pub fn decode(bytes: &[u8]) -> anyhow::Result<Decoded<'_>> {
    let decoded = match Encoding::for_bom(bytes) {
        Some((encoding, mark_len)) if encoding != UTF_8 => decode_as(encoding, &bytes[mark_len..]),
        Some((_, mark_len)) => decode_single_bytes(&bytes[mark_len..]),
        None => match unmarked_utf_16(bytes) {
            Some(encoding) => decode_as(encoding, bytes),
            None => decode_single_bytes(bytes),
        },
    };
    refuse_other(&decoded.text)?;
    Ok(decoded)
}

/// The text without its end: DOS programs end a file with the character U+001A, and fill its last
/// block.
pub fn without_end(text: &str) -> &str {
    text.trim_end_matches(|letter: char| letter.is_whitespace() || matches!(letter, '\u{1a}' | '\0'))
}

fn decode_as<'a>(encoding: &'static Encoding, bytes: &'a [u8]) -> Decoded<'a> {
    Decoded { text: encoding.decode_without_bom_handling(bytes).0, remark: None }
}

/// UTF-16, if every other byte at the beginning is 0, as in tables of Latin letters.
fn unmarked_utf_16(bytes: &[u8]) -> Option<&'static Encoding> {
    let (pairs, _) = bytes[..bytes.len().min(SAMPLE_LEN)].as_chunks::<2>();
    let zeros = |index: usize| pairs.iter().filter(|pair| pair[index] == 0).count();
    let is_high = |high: usize, low: usize| zeros(high) * 2 > pairs.len() && zeros(low) * 10 < pairs.len();
    if is_high(1, 0) {
        Some(UTF_16LE)
    } else if is_high(0, 1) {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// Text in UTF-8 or Windows-1252. It is UTF-8 with stray bytes if most of what is beyond ASCII is
/// UTF-8: letters of Windows-1252 hardly ever happen to be.
fn decode_single_bytes(bytes: &[u8]) -> Decoded<'_> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Decoded { text: Cow::Borrowed(text), remark: None };
    }
    let (mut letters, mut strays) = (0_usize, 0_usize);
    let mut first_stray = 0;
    for chunk in bytes.utf8_chunks() {
        letters += chunk.valid().chars().filter(|letter| !letter.is_ascii()).count();
        if strays == 0 {
            first_stray += chunk.valid().len();
        }
        strays += chunk.invalid().len();
    }
    if letters < strays {
        return decode_as(WINDOWS_1252, bytes);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.push_str(&WINDOWS_1252.decode_without_bom_handling(chunk.invalid()).0);
    }
    let line = 1 + bytes[..first_stray].iter().filter(|byte| **byte == b'\n').count();
    let remark = format!(
        "The file is text in UTF-8 but for {}, which {} read as Windows-1252.",
        if strays == 1 {
            format!("1 byte in line {line}")
        } else {
            format!("{strays} bytes, the first in line {line}")
        },
        if strays == 1 { "was" } else { "were" }
    );
    Decoded { text: Cow::Owned(text), remark: Some(remark) }
}

/// Refuses what is no table of text, by what it is.
fn refuse_other(text: &str) -> anyhow::Result<()> {
    let start = text.trim_start();
    let begins_with = |word: &str| start.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if start.starts_with('<') || begins_with("mime-version:") {
        let sample = &start[..start.floor_char_boundary(SAMPLE_LEN)].to_lowercase();
        if !sample.contains("<html") && !sample.contains("<table") && !sample.contains("text/html") {
            bail!("it is an XML document: open it in a spreadsheet program and save it as .xlsx or .csv");
        }
        bail!(
            "it is a web page saved as a spreadsheet, whatever its name says: open it in a spreadsheet program and \
             save it as .xlsx or .csv"
        );
    }
    if begins_with("%pdf-") {
        bail!("it is a PDF document: give the spreadsheet that it was made from");
    }
    if begins_with("{\\rtf") {
        bail!("it is a document of a word processor: copy its table into a spreadsheet and save it as .xlsx");
    }
    // A single one is for the row that has it: see `value::text`.
    let text = without_end(text);
    let sample = &text[..text.floor_char_boundary(SAMPLE_LEN)];
    // A short picture would be taken for text; its signature reads so in Windows-1252.
    let is_picture = ["‰PNG", "ÿØÿ", "GIF8"].iter().any(|signature| sample.starts_with(signature));
    let controls = sample.chars().filter(|letter| letter.is_control() && !letter.is_whitespace()).count();
    if is_picture || controls * 10 > sample.chars().count() {
        bail!("the file is neither a workbook nor text: save it as .xlsx, .ods or .csv");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(decode(bytes).expect("text").text, expected);
    }

    #[test]
    fn the_encoding_is_found() {
        check("\u{feff}Zoë;b".as_bytes(), "Zoë;b");
        check("Zoë;b".as_bytes(), "Zoë;b");
        check(b"Zo\xeb;\x93b\x94", "Zoë;“b”");
        for mark in ["\u{feff}", ""] {
            for text in ["Zoë,b\r\n1,2", "\"Été\",b\r\n1,2\r\n", "1\t2"] {
                let marked = format!("{mark}{text}");
                let little: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
                let big: Vec<u8> = marked.encode_utf16().flat_map(u16::to_be_bytes).collect();
                check(&little, text);
                check(&big, text);
            }
        }
    }

    #[test]
    fn a_stray_byte_changes_no_letter_but_itself() {
        for mark in ["\u{feff}", ""] {
            let mut bytes = format!("{mark}Zoë\nRenée\nthe prisoner").into_bytes();
            bytes.extend(b"\x92s wish");
            let decoded = decode(&bytes).expect("text");
            assert_eq!(decoded.text, "Zoë\nRenée\nthe prisoner’s wish");
            let remark = "The file is text in UTF-8 but for 1 byte in line 3, which was read as Windows-1252.";
            assert_eq!(decoded.remark.as_deref(), Some(remark));
        }
        assert_eq!(decode("Zoë".as_bytes()).expect("text").remark, None);
        // More strays than letters: another encoding throughout.
        check(b"Zo\xeb, Ren\xe9e \xc3\xa9", "Zoë, Renée Ã©");
    }

    #[test]
    fn what_is_no_table_is_refused_by_what_it_is() {
        for (bytes, what) in [
            (&b"<html xmlns:x=\"a\"><body><table><tr><td>A0001BC</td></tr></table></body></html>"[..], "web page"),
            (b"\xef\xbb\xbf\r\n <!DOCTYPE HTML><HTML>", "web page"),
            (b"<meta charset=utf-8><table>", "web page"),
            (b"MIME-Version: 1.0\r\nContent-Type: text/html", "web page"),
            (b"<?xml version=\"1.0\"?><Workbook>", "XML document"),
            (b"%PDF-1.7 ...", "PDF document"),
            (b"{\\rtf1\\ansi}", "word processor"),
            (b"\x89PNG\r\n\x1a\n\x00\x00", "neither a workbook nor text"),
            (b"\x00\x01\x02", "neither a workbook nor text"),
        ] {
            let refused = decode(bytes).expect_err(what).to_string();
            assert!(refused.contains(what), "{refused}");
        }
        // One odd character is for the row that has it.
        check(b"number,tier\x07\nA0001BC,B\0\n", "number,tier\u{7}\nA0001BC,B\0\n");
        check(b"", "");
    }
}
