//! Reads text files: UTF-8 with or without a byte order mark, UTF-16 with one, else Windows-1252.
//! The fields are separated by comma, semicolon or tab; quoted fields may contain any of these, and
//! line ends.

use std::{borrow::Cow, collections::BTreeMap};

use anyhow::bail;
use encoding_rs::{Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::{Cell, Row, Sheet};

const DELIMITERS: [char; 3] = [',', ';', '\t'];

/// The file as one sheet.
pub fn sheet(name: &str, bytes: &[u8]) -> anyhow::Result<Sheet> {
    let text = decode(bytes);
    // Any other control character is for the row that has it: see `value::text`.
    if text.contains('\0') {
        bail!("the file is neither a workbook nor text: save it as .xlsx, .ods or .csv");
    }
    // DOS programs end a file so.
    let text = text.trim_end_matches('\u{1a}');
    // A first line `sep=;` is Excel's way to name the delimiter.
    let (delimiter, text, first_number) = match text.strip_prefix("sep=").and_then(|rest| rest.split_once('\n')) {
        Some((said, rest)) if said.trim_end_matches('\r').chars().count() == 1 => {
            (said.chars().next().unwrap_or(','), rest, 2)
        }
        _ => (delimiter(text), text, 1),
    };
    let Records { records, open_quote } = records(text, delimiter);
    if let Some(record) = open_quote {
        bail!(
            "the quotation mark that opens a field in row {} is never closed: close it, or leave it out",
            record + first_number
        );
    }
    let rows = (first_number..)
        .zip(records)
        .map(|(number, fields)| {
            let mut cells: Vec<_> = fields.iter().map(|field| Cell::text(field)).collect();
            while cells.last() == Some(&Cell::Empty) {
                cells.pop();
            }
            Row { number: u32::try_from(number).unwrap_or(u32::MAX), cells }
        })
        .collect();
    Ok(Sheet { name: name.to_owned(), hidden: false, rows })
}

fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Some((encoding, mark_len)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark_len..]).0;
    }
    match bytes {
        // A heading begins with a letter of one byte, so this is UTF-16 without its mark.
        [1..=255, 0, 1..=255, 0, ..] => UTF_16LE.decode_without_bom_handling(bytes).0,
        [0, 1..=255, 0, 1..=255, ..] => UTF_16BE.decode_without_bom_handling(bytes).0,
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
        },
    }
}

/// Finds the delimiter that splits the text into the most even table.
fn delimiter(text: &str) -> char {
    let evenness = |delimiter: char| {
        let mut lengths = BTreeMap::<usize, usize>::new();
        for record in records(text, delimiter).records {
            if record.len() > 1 {
                *lengths.entry(record.len()).or_default() += 1;
            }
        }
        // The number of fields beyond the first, in the rows of the most frequent length.
        lengths.into_iter().map(|(len, count)| (count * (len - 1), count)).max_by_key(|&(_, count)| count)
    };
    DELIMITERS.into_iter().rev().max_by_key(|&delimiter| evenness(delimiter)).unwrap_or(',')
}

struct Records {
    records: Vec<Vec<String>>,
    /// The record, counted from 0, in which a quotation mark is never closed.
    open_quote: Option<usize>,
}

/// Splits a text into records. Line ends may be of any system. Blank lines are records, so that
/// counting gives the row numbers that a spreadsheet program shows; the `csv` crate would drop
/// them.
fn records(text: &str, delimiter: char) -> Records {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut field = String::new();
    // Whether a quotation mark may still open the field, and whether one is open.
    let (mut at_start, mut quoted) = (true, false);
    let mut opened_in = 0;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            letter if quoted => field.push(letter),
            '"' if at_start => {
                (at_start, quoted) = (false, true);
                opened_in = records.len();
            }
            letter if letter == delimiter => {
                record.push(std::mem::take(&mut field));
                at_start = true;
            }
            '\r' | '\n' => {
                if letter == '\r' && letters.peek() == Some(&'\n') {
                    letters.next();
                }
                record.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut record));
                at_start = true;
            }
            letter => {
                field.push(letter);
                at_start = false;
            }
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        records.push(record);
    }
    Records { records, open_quote: quoted.then_some(opened_in) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws rows as `number: cells`, with `|` between cells.
    fn draw_rows(bytes: &[u8]) -> String {
        match sheet("test", bytes) {
            Ok(sheet) => {
                let row = |row: &Row| {
                    let cells: Vec<_> = row.cells.iter().map(ToString::to_string).collect();
                    format!("{}: {}", row.number, cells.join("|"))
                };
                sheet.rows.iter().map(row).collect::<Vec<_>>().join("\n")
            }
            Err(error) => format!("{error:#}"),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(draw_rows(text.as_bytes()), expected);
    }

    #[test]
    fn the_delimiter_is_found() {
        check("a,b,c\n1,2,3\n", "1: a|b|c\n2: 1|2|3");
        check("a;b;c\r\n1;2,5;3\r\n", "1: a|b|c\n2: 1|2,5|3");
        check("a\tb\n1, 2\t3\n", "1: a|b\n2: 1, 2|3");
        check("Title\n\na;b;c\nX, Y;2;3\nX, Z;2;3\n", "1: Title\n2: \n3: a|b|c\n4: X, Y|2|3\n5: X, Z|2|3");
        check("sep=;\r\na;b\r\n", "2: a|b");
        check("one column\nA1234BC", "1: one column\n2: A1234BC");
    }

    #[test]
    fn quoted_fields_may_contain_delimiters_and_line_ends() {
        check("a,b\n\"x, \"\"y\"\"\nz\",2\n3,4\n", "1: a|b\n2: x, \"y\"\nz|2\n3: 3|4");
        check("a,b\n5\" pipe,2\n", "1: a|b\n2: 5\" pipe|2");
        check("a,b\n\"B\" wing,2\n", "1: a|b\n2: B wing|2");
        check(
            "a,b\n1,2\n\"oops,2\n3,4\n",
            "the quotation mark that opens a field in row 3 is never closed: close it, or leave it out",
        );
    }

    #[test]
    fn row_numbers_count_blank_lines() {
        check("\n\na,b\r\r1,2\n ,\n3,4", "1: \n2: \n3: a|b\n4: \n5: 1|2\n6: \n7: 3|4");
    }

    #[test]
    fn the_encoding_is_found() {
        assert_eq!(draw_rows("\u{feff}Zoë;b\n".as_bytes()), "1: Zoë|b");
        assert_eq!(draw_rows("Zoë;b\n".as_bytes()), "1: Zoë|b");
        assert_eq!(draw_rows(b"Zo\xeb;\x93b\x94\n"), "1: Zoë|“b”");
        let utf_16: Vec<u8> = "\u{feff}Zoë\tb\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(draw_rows(&utf_16), "1: Zoë|b");
        assert_eq!(draw_rows(&utf_16[2..]), "1: Zoë|b", "without its mark");
        let big_endian: Vec<u8> = "Zoë\tb\r\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(draw_rows(&big_endian), "1: Zoë|b");
        assert_eq!(draw_rows(b"a,b\r\n1,2\r\n\x1a"), "1: a|b\n2: 1|2");
        assert_eq!(draw_rows(b"a,b\x07\n"), "1: a|b\u{7}");
        assert!(draw_rows(b"\x00\x01\x02").contains("neither a workbook nor text"));
        assert_eq!(draw_rows(b"\xa0A1234BC\xa0,b\n"), "1: A1234BC|b");
    }
}
