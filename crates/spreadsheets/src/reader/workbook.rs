//! Reads workbooks, with the crate `calamine`.

use std::io::Cursor;

use anyhow::Context as _;
use calamine::{Data, Range, Reader as _, SheetVisible};
use domain::text::Excerpt;

use super::{Cell, Row, Sheet};

/// The numbers of the days in the calendar of spreadsheet programs, which ends with the year 9999.
/// `calamine` panics at numbers far beyond it.
const DAYS: std::ops::Range<f64> = 0.0..2_958_466.0;

/// Whether these are the bytes of a workbook: a zip archive, or the container of old Excel files.
pub fn is_workbook(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
}

/// Reads the sheets in the order of their tabs.
pub fn sheets(bytes: &[u8]) -> anyhow::Result<Vec<Sheet>> {
    let mut workbook = calamine::open_workbook_auto_from_rs(Cursor::new(bytes))
        .context("open the workbook: is it damaged, or protected by a password?")?;
    let about = workbook.sheets_metadata().to_vec();
    about
        .into_iter()
        .filter(|sheet| sheet.typ == calamine::SheetType::WorkSheet)
        .map(|sheet| {
            let range = workbook
                .worksheet_range(&sheet.name)
                .with_context(|| format!("read the sheet `{}`", Excerpt(&sheet.name)))?;
            Ok(Sheet { hidden: sheet.visible != SheetVisible::Visible, rows: rows(&range), name: sheet.name })
        })
        .collect()
}

fn rows(range: &Range<Data>) -> Vec<Row> {
    let Some((first_row, first_column)) = range.start() else { return Vec::new() };
    (first_row + 1..)
        .zip(range.rows())
        .map(|(number, cells)| {
            let mut cells: Vec<Cell> =
                std::iter::repeat_n(Cell::Empty, first_column as usize).chain(cells.iter().map(cell)).collect();
            while cells.last() == Some(&Cell::Empty) {
                cells.pop();
            }
            Row { number, cells }
        })
        .collect()
}

fn cell(data: &Data) -> Cell {
    match data {
        Data::Empty => Cell::Empty,
        #[expect(
            clippy::cast_precision_loss,
            reason = "cells hold floating-point numbers in every spreadsheet program"
        )]
        Data::Int(number) => Cell::Number(*number as f64),
        Data::Float(number) => Cell::Number(*number),
        Data::String(text) => Cell::text(text),
        Data::Bool(truth) => Cell::text(if *truth { "TRUE" } else { "FALSE" }),
        Data::DateTime(date) if date.is_datetime() && DAYS.contains(&date.as_f64()) => {
            date.as_datetime().map_or_else(|| Cell::Number(date.as_f64()), |instant| Cell::Date(instant.date()))
        }
        Data::DateTime(number) => Cell::Number(number.as_f64()),
        // As text in ISO format, which `value::date` reads.
        Data::DateTimeIso(text) | Data::DurationIso(text) => Cell::text(text),
        Data::Error(error) => Cell::text(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use calamine::{ExcelDateTime, ExcelDateTimeType};

    use super::*;

    #[test]
    fn a_number_beyond_the_calendar_is_no_date() {
        let read = |number| cell(&Data::DateTime(ExcelDateTime::new(number, ExcelDateTimeType::DateTime, false)));
        let day = |text: &str| Cell::Date(text.parse().expect("a date"));
        assert_eq!(read(43_739.5), day("2019-10-01"));
        assert_eq!(read(2_958_465.0), day("9999-12-31"));
        for number in [-1.0, 2_958_466.0, 1e10, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(read(number), Cell::Number(number));
        }
        assert!(matches!(read(f64::NAN), Cell::Number(_)));
    }
}
