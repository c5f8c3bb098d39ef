//! The refused rows of a sheet as a CSV file, with the reason of each, to be corrected and
//! imported.
//!
//! The file must be read as the sheet was, although it has fewer rows to tell the columns by. So it
//! has the columns that were read and those that no one could take for a field; dates that could be
//! read are in ISO format, and one that might be read in this file alone has a mark; and a heading
//! that could not be trusted is replaced.

use std::collections::HashMap;

use super::{
    heading::{self, Field},
    layout::Layout,
    reader::{Cell, Sheet},
    row::{CaseTable, FIELDS},
    value::{self, DateColumn},
};

/// The mark by which Excel reads a CSV as UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The end of a date that could not be read, and could be in a file with fewer rows: with it, it is
/// refused there, too.
const UNREAD_DATE: &str = " ?";

/// A refused row: its number in the sheet, and the reason.
#[derive(Debug, Clone, Copy)]
pub struct RefusedRow<'a> {
    /// The row number in a spreadsheet program.
    pub number: u32,
    /// The reason in words.
    pub reason: &'a str,
}

/// Writes the file.
#[must_use]
pub fn refused_csv(sheet: &Sheet, layout: &Layout, table: &CaseTable, refused: &[RefusedRow<'_>]) -> String {
    let header = &sheet.rows[layout.header];
    let width = sheet.rows.iter().skip(layout.header).map(|row| row.cells.len()).max().unwrap_or(0);
    let columns: Vec<(usize, Option<Field>)> = (0..width)
        .map(|column| (column, layout.field_of(column)))
        .filter(|(column, field)| field.is_some() || is_harmless(layout, *column, header.cell(*column)))
        .collect();
    let headings = columns.iter().map(|(column, field)| match field {
        Some(field) => trusted_heading(*field, &header.cell(*column).to_string()),
        None => header.cell(*column).to_string(),
    });
    let more = ["Row in the file", "Refused because"].map(str::to_owned);
    let mut csv = String::from(BYTE_ORDER_MARK);
    push_record(&mut csv, headings.chain(more));
    let reasons: HashMap<u32, &str> = refused.iter().map(|row| (row.number, row.reason)).collect();
    for row in &sheet.rows[layout.header + 1..] {
        let Some(reason) = reasons.get(&row.number) else { continue };
        let row = sheet.data_row(row);
        let cells =
            columns.iter().map(|(column, _)| cell_text(sheet, row.cell(*column), table.dates.of_column(*column)));
        push_record(&mut csv, cells.chain([row.number.to_string(), (*reason).to_owned()]));
    }
    csv
}

/// Whether a column that was not read cannot be taken for a field of the smaller file.
fn is_harmless(layout: &Layout, column: usize, heading: &Cell) -> bool {
    let heading = heading.to_string();
    !layout.counters.contains(&column)
        && !heading.is_empty()
        && FIELDS.fields().all(|field| heading::weight(field, &heading) == 0)
}

/// The heading of a column as written, or one that names its field whatever the cells are.
fn trusted_heading(field: Field, written: &str) -> String {
    let weight_of = |field: Field| heading::weight(field, written);
    if weight_of(field) >= heading::TRUSTED && FIELDS.fields().all(|other| weight_of(other) <= weight_of(field)) {
        return written.to_owned();
    }
    match field {
        Field::PrisonerNumber => "Prisoner number",
        Field::Tier => "Tier",
        Field::StaffId => "Staff id",
        Field::PomName => "POM",
        Field::PomForename => "POM forename",
        Field::PomKind => "POM type",
        Field::AllocatedOn => "Date allocated",
        Field::LeftOn => "Left on",
        Field::ReleasedOn => "Released on",
        Field::TransferredOn => "Transferred on",
        Field::TransferredTo => "Transferred to",
        Field::ArrivedOn => "Date of arrival",
        Field::Note => "Notes",
        Field::ContactType => "Contact type",
    }
    .to_owned()
}

fn cell_text(sheet: &Sheet, cell: &Cell, dates: Option<&DateColumn>) -> String {
    let text = cell.to_string();
    // The other rows, which tell how a date was meant, are not in the file; nor is the first day of
    // the workbook's calendar.
    let Some(column) = dates else { return text };
    match column.read(&sheet.dated(cell)) {
        Ok((date, _)) => date.to_string(),
        Err(_) if value::date(&Cell::text(&text)).is_ok() => format!("{text}{UNREAD_DATE}"),
        Err(_) => text,
    }
}

fn push_record(csv: &mut String, fields: impl Iterator<Item = String>) {
    for (index, field) in fields.enumerate() {
        if index > 0 {
            csv.push(',');
        }
        csv.push('"');
        // A spreadsheet program must not take a text for a formula.
        if field.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
            csv.push('\'');
        }
        csv.push_str(&field.replace('"', "\"\""));
        csv.push('"');
    }
    csv.push_str("\r\n");
}

#[cfg(test)]
mod tests;
