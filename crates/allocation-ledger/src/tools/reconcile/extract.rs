//! Extracts of prisoner search and of probation as files: a row for each person, under a heading
//! with the members' names.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use domain::{identifier::PrisonerNumber, text::Excerpt};
use hmpps::reconcile::EstateRecord;
use spreadsheets::reader::{self, Cell, Row, column_letters, refuse_unread};

/// The column of a time of day.
const MOVEMENT_TIME: &str = "lastMovementTime";

/// Most wrong rows that an error lists.
const PROBLEMS_LISTED: usize = 20;

/// The records of a file with some of the columns in `fields`, by number. Each must have the
/// members in `needed`, and one of those in `wanted`, where there are any, must be among the
/// columns. Columns with other names are not read.
///
/// # Errors
/// The file cannot be read, a column is missing or there twice, or a row is wrong: the error lists
/// each with its row, its column and the reason.
pub(super) fn read_extract(
    path: &Path,
    fields: &[&'static str],
    needed: &[&'static str],
    wanted: &[&'static str],
) -> anyhow::Result<BTreeMap<PrisonerNumber, EstateRecord>> {
    let (file, shown) = (reader::read(path)?, path.display());
    refuse_unread(&file.sheets, None).with_context(|| format!("read {shown}"))?;
    let mut sheets = file.sheets.iter().filter(|sheet| !sheet.rows.is_empty());
    let sheet = sheets.next().with_context(|| format!("{shown} has no rows"))?;
    ensure!(sheets.next().is_none(), "{shown} has more than one sheet with rows: give a file with one");
    let Some((heading, rows)) = sheet.rows.split_first() else { bail!("{shown} has no rows") };
    let columns = columns(heading, fields).with_context(|| format!("read the heading of {shown}"))?;
    for field in needed {
        ensure!(
            columns.contains_key(field),
            "{shown} has no column `{field}` in its first row, which must have the names of the columns"
        );
    }
    ensure!(
        wanted.is_empty() || wanted.iter().any(|field| columns.contains_key(field)),
        "{shown} has none of the columns {}: there is nothing in it to compare",
        wanted.join(", ")
    );
    let (mut records, mut problems) = (BTreeMap::<PrisonerNumber, EstateRecord>::new(), Vec::new());
    for row in rows {
        let place = |field: &str| {
            let column = columns.get(field).map(|column| format!(" ({})", column_letters(*column)));
            format!("row {}, column `{field}`{}", row.number, column.unwrap_or_default())
        };
        // The reader of workbooks keeps no time of day.
        let moved = columns.get(MOVEMENT_TIME).map(|column| row.cell(*column));
        if matches!(moved, Some(Cell::Date(_))) {
            let why =
                "the cell is a date, of which no time is read: make it a text, or name the column lastMovementDate";
            problems.push(format!("{}: {why}", place(MOVEMENT_TIME)));
            continue;
        }
        let missing = needed.iter().find(|field| text_of(row, &columns, field).is_none());
        match (missing, EstateRecord::read(|field| text_of(row, &columns, field))) {
            (Some(field), _) => problems.push(format!("{}: it is empty", place(field))),
            (None, Err(problem)) => problems.push(format!("{}: {}", place(problem.field), problem.problem)),
            (None, Ok(record)) => match records.entry(record.number.clone()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(record);
                }
                Entry::Occupied(_) => {
                    problems.push(format!("{}: an earlier row has the same number", place("prisonerNumber")));
                }
            },
        }
    }
    if problems.is_empty() {
        return Ok(records);
    }
    let more = problems.len().saturating_sub(PROBLEMS_LISTED);
    let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
    problems.truncate(PROBLEMS_LISTED);
    bail!("{shown} has wrong rows, and nothing was compared or recorded:\n{}{more}", problems.join("\n"))
}

/// The columns that are read.
fn columns(heading: &Row, fields: &[&'static str]) -> anyhow::Result<BTreeMap<&'static str, usize>> {
    let folded = |name: &str| name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    let mut columns = BTreeMap::new();
    for (column, cell) in heading.cells.iter().enumerate() {
        let name = cell.to_string();
        let Some(field) = fields.iter().copied().find(|field| folded(field) == folded(&name)) else {
            continue;
        };
        if columns.insert(field, column).is_some() {
            bail!("two columns have the name `{}`: leave one out", Excerpt(&name));
        }
    }
    Ok(columns)
}

fn text_of(row: &Row, columns: &BTreeMap<&'static str, usize>, field: &str) -> Option<String> {
    let cell = row.cell(*columns.get(field)?);
    Some(cell.to_string()).filter(|text| !text.is_empty())
}
