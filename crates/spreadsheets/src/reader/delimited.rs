//! Reads tables of text: fields separated by comma, semicolon or tab. Quoted fields may contain any
//! of these, and line ends.

use std::{collections::BTreeMap, iter::Peekable, str::Chars};

use anyhow::{bail, ensure};

use super::{
    builder::{Room, SheetBuilder},
    decode::{decode, without_end},
    sheet::{Cell, Sheet},
    xml::PIECE_MAX,
};

const DELIMITERS: [char; 3] = [',', ';', '\t'];

/// The beginning of the text that tells the delimiter.
const SAMPLE_LEN: usize = 1 << 18;

/// The file as one sheet.
///
/// # Errors
/// It is no text, or text of another kind than a table, or larger than a sheet may be.
pub fn sheet(name: &str, bytes: &[u8]) -> anyhow::Result<Sheet> {
    let decoded = decode(bytes)?;
    let text = without_end(&decoded.text);
    // A first line `sep=;` is Excel's way to name the delimiter.
    let (delimiter, text, first_row) = match text.strip_prefix("sep=").and_then(|rest| rest.split_once('\n')) {
        Some((said, rest)) if said.trim_end_matches('\r').chars().count() == 1 => {
            (said.chars().next().unwrap_or(','), rest, 2)
        }
        _ => (delimiter(text), text, 1),
    };
    let mut builder = SheetBuilder::new(Room::FILE, 0);
    if let Some(remark) = decoded.remark {
        builder.remark(remark);
    }
    let mut fields = Fields::new(text, delimiter);
    for Field { record, column, text, .. } in &mut fields {
        let row = record.saturating_add(first_row);
        ensure!(text.len() <= PIECE_MAX, "the text in row {row} has more than {} MiB", PIECE_MAX >> 20);
        builder.put(u32::try_from(row).unwrap_or(u32::MAX), column, Cell::text(&text))?;
    }
    if let Some(record) = fields.open_quote() {
        bail!(
            "the quotation mark that opens a field in row {} is never closed: close it, or leave it out",
            record + first_row
        );
    }
    builder.finish(name.to_owned(), false).map(|(sheet, _)| sheet)
}

/// Finds the delimiter that splits the text into the most even table.
fn delimiter(text: &str) -> char {
    let sample = &text[..text.floor_char_boundary(SAMPLE_LEN)];
    // A row that is cut off is shorter than it should be.
    let sample =
        if sample.len() < text.len() { sample.rsplit_once('\n').map_or(sample, |(rows, _)| rows) } else { sample };
    let evenness = |delimiter: char| {
        let mut lengths = BTreeMap::<usize, usize>::new();
        for field in Fields::new(sample, delimiter).filter(|field| field.is_last && field.column > 0) {
            *lengths.entry(field.column).or_default() += 1;
        }
        // The number of fields beyond the first, in the rows of the most frequent length.
        lengths.into_iter().map(|(more, count)| (count * more, count)).max_by_key(|&(_, count)| count)
    };
    DELIMITERS.into_iter().rev().max_by_key(|&delimiter| evenness(delimiter)).unwrap_or(',')
}

/// A field of a record, which count from 0.
struct Field {
    record: usize,
    column: usize,
    text: String,
    /// Whether it is the last one of its record.
    is_last: bool,
}

/// The fields of a text, one at a time: a record may have as many as the text has characters. Line
/// ends may be of any system. Blank lines are records, so that counting gives the row numbers that
/// a spreadsheet program shows; the `csv` crate would drop them.
struct Fields<'a> {
    letters: Peekable<Chars<'a>>,
    delimiter: char,
    record: usize,
    column: usize,
    /// Whether a field is still to come: after a delimiter there is one, even at the end.
    is_due: bool,
    /// The record in which a quotation mark is open.
    quoted_in: Option<usize>,
}

impl<'a> Fields<'a> {
    fn new(text: &'a str, delimiter: char) -> Self {
        Self { letters: text.chars().peekable(), delimiter, record: 0, column: 0, is_due: false, quoted_in: None }
    }

    /// The record in which a quotation mark is never closed.
    fn open_quote(&self) -> Option<usize> {
        self.quoted_in
    }

    fn end(&mut self, text: String, is_last: bool) -> Option<Field> {
        let field = Field { record: self.record, column: self.column, text, is_last };
        self.is_due = !is_last;
        (self.record, self.column) = if is_last { (self.record + 1, 0) } else { (self.record, self.column + 1) };
        Some(field)
    }
}

/// Adds a letter to a field, unless the field is longer than it may be by now: then it is refused,
/// and needs no more memory for that.
fn push(text: &mut String, letter: char) {
    if text.len() <= PIECE_MAX {
        text.push(letter);
    }
}

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        let mut text = String::new();
        // A quotation mark opens a field only at its beginning.
        let mut at_start = true;
        while let Some(letter) = self.letters.next() {
            match letter {
                '"' if self.quoted_in.is_some() && self.letters.peek() == Some(&'"') => {
                    self.letters.next();
                    push(&mut text, '"');
                }
                '"' if self.quoted_in.is_some() => self.quoted_in = None,
                letter if self.quoted_in.is_some() => push(&mut text, letter),
                '"' if at_start => {
                    at_start = false;
                    self.quoted_in = Some(self.record);
                }
                letter if letter == self.delimiter => return self.end(text, false),
                '\r' | '\n' => {
                    if letter == '\r' && self.letters.peek() == Some(&'\n') {
                        self.letters.next();
                    }
                    return self.end(text, true);
                }
                letter => {
                    push(&mut text, letter);
                    at_start = false;
                }
            }
        }
        if self.is_due || !text.is_empty() { self.end(text, true) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sheet::Row, *};

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
        check("Title\n\na;b;c\nX, Y;2;3\nX, Z;2;3\n", "1: Title\n3: a|b|c\n4: X, Y|2|3\n5: X, Z|2|3");
        check("sep=;\r\na;b\r\n", "2: a|b");
        check("one column\nA1234BC", "1: one column\n2: A1234BC");
        let long = format!("a;b\n{}", "1,5;2\n".repeat(49_000));
        assert!(draw_rows(long.as_bytes()).ends_with("49001: 1,5|2"), "a sample tells");
    }

    #[test]
    fn quoted_fields_may_contain_delimiters_and_line_ends() {
        check("a,b\n\"x, \"\"y\"\"\nz\",2\n3,4\n", "1: a|b\n2: x, \"y\"\nz|2\n3: 3|4");
        check("a,b\n5\" pipe,2\n", "1: a|b\n2: 5\" pipe|2");
        check("a,b\n\"B\" wing,2\n", "1: a|b\n2: B wing|2");
        check("a,b\n\"\",2\n3,\"\"", "1: a|b\n2: |2\n3: 3");
        check(
            "a,b\n1,2\n\"oops,2\n3,4\n",
            "the quotation mark that opens a field in row 3 is never closed: close it, or leave it out",
        );
    }

    #[test]
    fn row_numbers_count_blank_lines() {
        check("\n\na,b\r\r1,2\n ,\n3,4", "3: a|b\n5: 1|2\n7: 3|4");
    }

    #[test]
    fn the_end_of_a_file_of_dos_is_no_row() {
        for end in ["\u{1a}", "\r\n\u{1a}", "\r\n\u{1a}\u{1a}\0\0\0", "\u{1a}\r\n", "\r\n\r\n"] {
            check(&format!("a,b\r\n1,2{end}"), "1: a|b\n2: 1|2");
        }
        check("a,b\r\n1,2\u{1a}3\r\n", "1: a|b\n2: 1|2\u{1a}3");
        assert_eq!(draw_rows(b"\xa0A1234BC\xa0,b\n"), "1: A1234BC|b");
    }

    #[test]
    fn a_text_of_nothing_but_separators_costs_nothing_and_one_long_field_is_refused() {
        check(&"\n".repeat(1 << 22), "");
        check(&",".repeat(1 << 22), "");
        check(&format!("a{}b\n1,2", ",".repeat(20_000)), "1: a\n2: 1|2");
        check(&format!("a,b\n1,{}", "x".repeat(2 << 20)), "the text in row 2 has more than 1 MiB");
    }
}
