//! Reads cells in a column of dates of leaving.

use chrono::NaiveDate;

use super::{DateColumn, is_formula_error};
use crate::reader::{Cell, Sheet};

/// How a cell says that a person has left the prison, or that an allocation has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellDeparture {
    /// On a date that has come.
    On(NaiveDate),
    /// By a mark such as `Y`, without a day.
    Marked,
    /// In other words.
    Said,
    /// An error of a formula, which says neither that the person has left nor that the person is
    /// there.
    Unknown,
}

/// The departure that a cell of a column tells; `None` if the person is there today.
#[must_use]
pub fn departure(sheet: &Sheet, cell: &Cell, column: &DateColumn, today: NaiveDate) -> Option<CellDeparture> {
    let text = cell.to_string();
    if is_formula_error(&text) {
        return Some(CellDeparture::Unknown);
    }
    if says_no(cell) {
        return None;
    }
    match column.read(&sheet.dated(cell)) {
        Ok((date, _)) => (date <= today).then_some(CellDeparture::On(date)),
        Err(_) if is_mark(&text) => Some(CellDeparture::Marked),
        Err(_) => Some(CellDeparture::Said),
    }
}

/// Whether a cell in a column of leaving says that the person is there.
#[must_use]
pub fn says_no(cell: &Cell) -> bool {
    let letters: String = cell.to_string().chars().filter(|letter| letter.is_alphanumeric()).collect();
    matches!(letters.to_ascii_uppercase().as_str(), "" | "N" | "NO" | "NA" | "NONE" | "NULL" | "FALSE" | "0" | "TBC")
}

fn is_mark(text: &str) -> bool {
    matches!(text.trim().to_ascii_uppercase().as_str(), "Y" | "YES" | "X" | "TRUE")
}
