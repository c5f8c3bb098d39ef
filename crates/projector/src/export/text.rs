//! Tables as text: CSV and JSON lines.

use std::{
    fmt::Write as _,
    io::{self, BufWriter, Write},
};

use chrono::{DateTime, NaiveDate, SecondsFormat};
use domain::text::FORMULA_STARTS;
use uuid::Uuid;

use super::{
    format::{TableWriter, mismatch},
    table::{CellKind, ExportCell, ExportColumn, ExportTable},
};

/// Bytes kept back until so many can be written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Writes CSV as RFC 4180 defines it: a row of names first, fields in quotation marks where they
/// need them, lines that end in CRLF. In UTF-8, with the mark at the start without which Excel
/// takes it for another encoding.
///
/// Null is an empty field; an empty text is `""`. A text that a spreadsheet would take for a
/// formula gets an apostrophe before it: one that begins with one of [`FORMULA_STARTS`], after any
/// number of apostrophes. So nothing is lost: a reader that wants the text itself takes one
/// apostrophe away from those.
pub(crate) struct Csv {
    out: BufWriter<Box<dyn Write + Send>>,
    kinds: Vec<CellKind>,
    line: String,
}

/// The mark by which Excel reads a CSV as UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

impl Csv {
    pub(crate) fn new(table: &ExportTable, out: Box<dyn Write + Send>) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        write!(out, "{BYTE_ORDER_MARK}{}\r\n", names.join(","))?;
        Ok(Self { out, kinds: kinds(&table.columns), line: String::new() })
    }
}

impl TableWriter for Csv {
    fn row(&mut self, cells: &[ExportCell<'_>]) -> io::Result<()> {
        self.line.clear();
        for (index, (cell, kind)) in cells.iter().zip(&self.kinds).enumerate() {
            if index > 0 {
                self.line.push(',');
            }
            match cell {
                ExportCell::Null => {}
                ExportCell::Text(text) => field(&mut self.line, text),
                ExportCell::Words(words) => field(&mut self.line, &serde_json::to_string(words)?),
                other => plain(&mut self.line, other, *kind)?,
            }
        }
        self.line.push_str("\r\n");
        self.out.write_all(self.line.as_bytes())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// Adds a text as a field.
fn field(line: &mut String, text: &str) {
    let apostrophe = if is_formula(text) { "'" } else { "" };
    // Some readers trim a field without quotation marks, and take an empty one for null.
    let is_plain = !text.is_empty()
        && !text.contains(['"', ',', '\r', '\n'])
        && !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace);
    if is_plain {
        line.push_str(apostrophe);
        line.push_str(text);
        return;
    }
    line.push('"');
    line.push_str(apostrophe);
    for (index, part) in text.split('"').enumerate() {
        if index > 0 {
            line.push_str("\"\"");
        }
        line.push_str(part);
    }
    line.push('"');
}

/// Whether a spreadsheet would take a text for a formula, once the apostrophes before it were taken
/// away.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(FORMULA_STARTS)
}

/// Writes a JSON object a line, with a member for each column, null ones included. JSON of the log
/// is a value in it, as it was recorded, not a text.
pub(crate) struct JsonLines {
    out: BufWriter<Box<dyn Write + Send>>,
    kinds: Vec<CellKind>,
    /// The text before each value.
    before: Vec<String>,
    line: String,
}

impl JsonLines {
    pub(crate) fn new(table: &ExportTable, out: Box<dyn Write + Send>) -> Self {
        let before = table.columns.iter().enumerate().map(|(index, column)| {
            let mark = if index == 0 { '{' } else { ',' };
            format!("{mark}\"{}\":", column.name)
        });
        Self {
            out: BufWriter::with_capacity(BUFFER_BYTES, out),
            kinds: kinds(&table.columns),
            before: before.collect(),
            line: String::new(),
        }
    }
}

impl TableWriter for JsonLines {
    fn row(&mut self, cells: &[ExportCell<'_>]) -> io::Result<()> {
        self.line.clear();
        for ((cell, kind), before) in cells.iter().zip(&self.kinds).zip(&self.before) {
            self.line.push_str(before);
            match (cell, kind) {
                (ExportCell::Null, _) => self.line.push_str("null"),
                (ExportCell::Text(json), CellKind::Json) => self.line.push_str(json),
                (ExportCell::Text(text), _) => self.line.push_str(&serde_json::to_string(text)?),
                (ExportCell::Words(words), _) => self.line.push_str(&serde_json::to_string(words)?),
                (other, CellKind::Timestamp | CellKind::Date | CellKind::Uuid) => {
                    self.line.push('"');
                    plain(&mut self.line, other, *kind)?;
                    self.line.push('"');
                }
                (other, _) => plain(&mut self.line, other, *kind)?,
            }
        }
        self.line.push_str("}\n");
        self.out.write_all(self.line.as_bytes())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

fn kinds(columns: &[ExportColumn]) -> Vec<CellKind> {
    columns.iter().map(|column| column.kind).collect()
}

/// Adds a value that needs quotation marks in neither format.
fn plain(line: &mut String, cell: &ExportCell<'_>, kind: CellKind) -> io::Result<()> {
    match (cell, kind) {
        (ExportCell::BigInt(micros), CellKind::Timestamp) => {
            let instant = DateTime::from_timestamp_micros(*micros).ok_or_else(|| out_of_range(*micros))?;
            line.push_str(&instant.to_rfc3339_opts(SecondsFormat::Micros, true));
            Ok(())
        }
        (ExportCell::Integer(days), CellKind::Date) => {
            let date = NaiveDate::from_epoch_days(*days).ok_or_else(|| out_of_range(i64::from(*days)))?;
            write!(line, "{date}").map_err(io::Error::other)
        }
        (ExportCell::Integer(unscaled), CellKind::Decimal { scale, .. }) => {
            let (sign, digits) = (if *unscaled < 0 { "-" } else { "" }, unscaled.unsigned_abs());
            let (ones, width) = (10_u32.pow(u32::from(scale)), usize::from(scale));
            match scale {
                0 => write!(line, "{sign}{digits}"),
                _ => write!(line, "{sign}{}.{:0width$}", digits / ones, digits % ones),
            }
            .map_err(io::Error::other)
        }
        (ExportCell::Integer(number), CellKind::Integer) => write!(line, "{number}").map_err(io::Error::other),
        (ExportCell::BigInt(number), CellKind::BigInt) => write!(line, "{number}").map_err(io::Error::other),
        (ExportCell::Boolean(is), CellKind::Boolean) => {
            line.push_str(if *is { "true" } else { "false" });
            Ok(())
        }
        (ExportCell::Uuid(uuid), CellKind::Uuid) => {
            line.push_str(Uuid::from_bytes(*uuid).hyphenated().encode_lower(&mut Uuid::encode_buffer()));
            Ok(())
        }
        _ => Err(mismatch(cell, kind)),
    }
}

fn out_of_range(time: i64) -> io::Error {
    io::Error::other(format!("{time} since 1970 is not in any year that can be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut line = String::new();
        field(&mut line, text);
        assert_eq!(line, expected);
    }

    #[test]
    fn a_text_is_quoted_where_it_must_be_and_never_a_formula() {
        check("Okafor", "Okafor");
        check("Okafor, Grace", "\"Okafor, Grace\"");
        check("a \"b\"", "\"a \"\"b\"\"\"");
        check("two\nlines", "\"two\nlines\"");
        check("", "\"\"");
        check(" x", "\" x\"");
        check("=1+1", "'=1+1");
        check("-1", "'-1");
        check("+44", "'+44");
        check("@SUM(A1,A2)", "\"'@SUM(A1,A2)\"");
        for start in FORMULA_STARTS {
            let mut line = String::new();
            field(&mut line, &format!("{start}1"));
            assert!(line.trim_start_matches('"').starts_with('\''), "{line:?}");
        }
        check("\n=1", "\"'\n=1\"");
        check("＝1+1", "'＝1+1");
        check("'=1", "''=1");
        check("'tis", "'tis");
        check("a=b", "a=b");
    }

    #[test]
    fn numbers_and_times_are_written_in_one_way() {
        for (cell, kind, expected) in [
            (ExportCell::BigInt(0), CellKind::Timestamp, "1970-01-01T00:00:00.000000Z"),
            (ExportCell::BigInt(1_772_355_600_000_001), CellKind::Timestamp, "2026-03-01T09:00:00.000001Z"),
            (ExportCell::Integer(20_513), CellKind::Date, "2026-03-01"),
            (ExportCell::Integer(10), CellKind::Decimal { precision: 2, scale: 1 }, "1.0"),
            (ExportCell::Integer(-5), CellKind::Decimal { precision: 4, scale: 2 }, "-0.05"),
            (ExportCell::Integer(7), CellKind::Decimal { precision: 4, scale: 0 }, "7"),
            (ExportCell::Uuid([0xab; 16]), CellKind::Uuid, "abababab-abab-abab-abab-abababababab"),
        ] {
            let mut line = String::new();
            plain(&mut line, &cell, kind).expect("written");
            assert_eq!(line, expected);
        }
    }
}
