//! The kinds of rows below the header: cases, and everything else that people write there.

use super::Layout;
use crate::{
    heading::{self, Field},
    reader::{Cell, Row, Sheet},
    value,
};

/// The kind of a row below the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// A case, valid or not.
    Data,
    /// A blank row.
    Blank,
    /// A row of totals.
    Total,
    /// The header again, a heading within the table, or a note below it.
    Note,
}

/// Tells the kind of a row below the header.
#[must_use]
pub fn row_kind(sheet: &Sheet, layout: &Layout, row: &Row) -> RowKind {
    let Some(first) = row.filled().next() else { return RowKind::Blank };
    let cell = |field: Field| layout.columns.get(&field).map_or(&Cell::Empty, |&column| row.cell(column));
    let number = cell(Field::PrisonerNumber);
    if value::prisoner_number(number).is_ok() {
        return RowKind::Data;
    }
    let label = heading::normal(&first.to_string());
    let mut words = label.split(' ');
    if matches!(words.next(), Some("total" | "totals" | "subtotal" | "subtotals" | "count" | "sum"))
        || label.starts_with("grand total")
        || label.starts_with("sub total")
        || label.starts_with("no of ")
    {
        return RowKind::Total;
    }
    let header = &sheet.rows[layout.header];
    let repeated = layout.columns.values().filter(|&&column| {
        *row.cell(column) != Cell::Empty
            && heading::normal(&row.cell(column).to_string()) == heading::normal(&header.cell(column).to_string())
    });
    if repeated.count() > layout.columns.len() / 2 {
        return RowKind::Note;
    }
    // A row without any value of a case, such as `B wing` or `Last updated by OMU | 1 December
    // 2019`.
    let about_a_case = [Field::Tier, Field::StaffId, Field::PomKind, Field::AllocatedOn]
        .into_iter()
        .filter(|&field| *cell(field) != Cell::Empty)
        .count();
    let like_a_number = match number {
        Cell::Text(text) => {
            text.len() <= 10
                && !text.contains(' ')
                && text.bytes().any(|byte| byte.is_ascii_digit())
                && text.starts_with(|letter: char| letter.is_alphabetic())
        }
        _ => false,
    };
    if row.filled().count() <= 2 && about_a_case <= 1 && !like_a_number { RowKind::Note } else { RowKind::Data }
}
