//! The errors of a file in which the cases are not found: each names the columns that the file has.

use anyhow::{anyhow, ensure};
use domain::text::Excerpt;

use super::{
    Layout, Mapping,
    columns::{ColumnSearch, HEADER_ROWS_MAX, Header, column_named, fits, headings, share_fitting},
    counter,
};
use crate::{
    heading::Field,
    reader::{Cell, Sheet, column_letters},
};

/// The number of headings that an error lists.
const COLUMNS_SHOWN_MAX: usize = 50;

/// The error that lists the missing columns and those that the file has.
pub fn not_found(sheets: &[Sheet], nearest: Option<(&Sheet, &Header)>, search: ColumnSearch<'_>) -> anyhow::Error {
    let field_set = search.field_set;
    let Some((sheet, header)) = nearest else {
        let widest: Vec<_> = sheets.iter().filter_map(widest).collect();
        let seen = widest.iter().map(|(sheet, row)| column_list(sheet, *row)).collect::<Vec<_>>().join("; ");
        let example = widest.first().and_then(|(sheet, row)| example(sheet, *row, &[], field_set.needed, search));
        return anyhow!(
            "no row was found that heads the columns {}. Columns seen: {}.{}",
            list_fields(field_set.needed),
            if seen.is_empty() { "none".to_owned() } else { seen },
            example.map(|example| format!(" Say what they are with {example}")).unwrap_or_default()
        );
    };
    let headings = headings(sheet, header.row);
    for mapping in search.mappings {
        if column_named(&headings, &mapping.column).is_none() {
            return anyhow!(
                "--map names the column `{}`, which is not there. Columns seen: {}",
                Excerpt(&mapping.column),
                column_list(sheet, header.row)
            );
        }
    }
    let taken: Vec<usize> = header.columns.values().chain(&header.counters).copied().collect();
    missing(
        sheet,
        header.row,
        &taken,
        &header.counters.iter().copied().collect::<Vec<_>>(),
        &header.missing_fields(field_set),
        search,
    )
}

/// The error of a sheet that has no column of staff ids, and in which no POM could be found by
/// name.
pub fn no_staff_ids(sheet: &Sheet, layout: &Layout, search: ColumnSearch<'_>) -> anyhow::Error {
    let counters: Vec<usize> = layout.counters.iter().copied().collect();
    let taken: Vec<usize> = (0..sheet.rows[layout.header].cells.len())
        .filter(|column| {
            let is_read = layout.columns.values().chain(&layout.counters).any(|taken| taken == column);
            let is_id = |cell: &Cell| fits(sheet, cell, Field::StaffId, counter::LEAST_UNSURE_ID, search.pom_kinds);
            is_read || share_fitting(sheet, layout.header, *column, is_id).is_none_or(|share| share < 0.5)
        })
        .collect();
    missing(sheet, layout.header, &taken, &counters, &[Field::StaffId], search).context(
        "no other sheet and no POM on the roster has one of these names with a staff number, in the same words",
    )
}

fn missing(
    sheet: &Sheet,
    row: usize,
    taken: &[usize],
    counters: &[usize],
    fields: &[Field],
    search: ColumnSearch<'_>,
) -> anyhow::Error {
    let counted: Vec<_> = counters.iter().map(|column| format!("`{}`", heading_of(sheet, row, *column))).collect();
    let counted = if counted.is_empty() {
        String::new()
    } else {
        format!(" {} counts the rows, and is no staff id.", counted.join(", "))
    };
    let example = example(sheet, row, taken, fields, search);
    anyhow!(
        "no column was found for: {}. Columns seen: {}.{counted}{}",
        list_fields(fields),
        column_list(sheet, row),
        example.map(|example| format!(" Say which they are with {example}")).unwrap_or_default()
    )
}

fn list_fields(fields: &[Field]) -> String {
    fields.iter().map(|field| format!("{field} ({})", field.name())).collect::<Vec<_>>().join(", ")
}

/// A `--map` that would do for this sheet: a column that is not taken, with cells that suit a
/// missing field; else the first column that is not taken.
fn example(sheet: &Sheet, row: usize, taken: &[usize], fields: &[Field], search: ColumnSearch<'_>) -> Option<String> {
    if search.field_set.is_of_contacts() {
        return Some("a heading such as `prisoner number`".to_owned());
    }
    let free: Vec<usize> = (0..sheet.rows[row].cells.len())
        .filter(|column| !taken.contains(column) && *sheet.rows[row].cell(*column) != Cell::Empty)
        .collect();
    let suits = |column: usize, field: Field| {
        let fits = |cell: &Cell| fits(sheet, cell, field, counter::LEAST_UNSURE_ID, search.pom_kinds);
        share_fitting(sheet, row, column, fits).is_some_and(|share| share > 0.5)
    };
    let suited = fields.iter().find_map(|field| {
        let column = free.iter().copied().find(|column| suits(*column, *field))?;
        Some((column, *field))
    });
    let (column, field) = suited.or_else(|| Some((*free.first()?, *fields.first()?)))?;
    let heading = sheet.rows[row].cell(column).to_string();
    // The letter, where the heading is long or has quotation marks or what cannot be seen.
    let is_plain =
        heading.len() <= 40 && !heading.contains(['"', '`', '$', '\\']) && heading == Excerpt(&heading).to_string();
    let named = if is_plain { heading } else { column_letters(column) };
    Some(format!("--map, e.g. --map \"{named}={}\"", field.name()))
}

fn heading_of(sheet: &Sheet, row: usize, column: usize) -> String {
    Excerpt(&sheet.rows[row].cell(column).to_string()).to_string()
}

fn column_list(sheet: &Sheet, row: usize) -> String {
    let row = &sheet.rows[row];
    let shown = row.filled().take(COLUMNS_SHOWN_MAX);
    let mut headings: Vec<_> = shown.map(|cell| format!("`{}`", Excerpt(&cell.to_string()))).collect();
    let others = row.filled().count() - headings.len();
    if others > 0 {
        headings.push(format!("{others} more"));
    }
    format!("{} (sheet `{}`, row {})", headings.join(", "), Excerpt(&sheet.name), row.number)
}

/// The first row near the top with most filled cells, for a sheet in which no row names a field.
fn widest(sheet: &Sheet) -> Option<(&Sheet, usize)> {
    let width = |row: &usize| sheet.rows[*row].filled().count();
    let row = (0..sheet.rows.len().min(HEADER_ROWS_MAX)).rev().max_by_key(width)?;
    Some((sheet, row))
}

/// Checks that every `--map` found its column.
///
/// # Errors
/// A `--map` found none. The message lists the columns.
pub fn check_mappings(sheet: &Sheet, layout: &Layout, mappings: &[Mapping]) -> anyhow::Result<()> {
    let headings = headings(sheet, layout.header);
    for mapping in mappings {
        ensure!(
            column_named(&headings, &mapping.column).is_some(),
            "--map names the column `{}`, which is not there. Columns seen: {}",
            Excerpt(&mapping.column),
            column_list(sheet, layout.header)
        );
    }
    Ok(())
}
