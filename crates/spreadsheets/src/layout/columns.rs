//! Finds the header row of a sheet and the field of each column.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    FieldSet, Mapping,
    counter::{self, counts_rows},
};
use crate::{
    heading::{self, Field, Heading},
    leaving::LEAVING_DATES,
    reader::{Cell, Row, Sheet},
    staff::spelling,
    value::{self, PomKindWords},
};

/// The number of rows from the top of a sheet among which the header row is sought; titles and
/// guidance come before it.
pub const HEADER_ROWS_MAX: usize = 60;

/// The number of cells below a heading that are tested against a field.
const SAMPLE_ROWS_MAX: usize = 200;

/// The share of cells that must fit a field before an unsure heading is taken for it.
const FIT_SHARE_MIN: f64 = 0.3;

/// The share of cells that must be prisoner numbers in a column without a telling heading.
const UNNAMED_SHARE_MIN: f64 = 0.6;

/// The fields that columns are sought for, and the words of the user.
#[derive(Debug, Clone, Copy)]
pub struct ColumnSearch<'a> {
    /// The columns that the user assigned.
    pub mappings: &'a [Mapping],
    /// The fields to look for.
    pub field_set: FieldSet,
    /// The user's words for kinds of POM.
    pub pom_kinds: &'a PomKindWords,
}

/// A row tried as the header row.
#[derive(Debug, Clone)]
pub struct Header {
    /// The index of the row.
    pub row: usize,
    /// The column of each field.
    pub columns: BTreeMap<Field, usize>,
    /// The columns that count the rows, and might have been taken for staff ids.
    pub counters: BTreeSet<usize>,
    /// Further columns of dates of leaving, from the left.
    pub more_leaving: Vec<(Field, usize)>,
    /// How well the row heads the fields.
    pub score: u32,
}

impl Header {
    /// The fields that a file must have and this row does not head. A staff id may be found by the
    /// POM's name.
    pub fn missing_fields(&self, field_set: FieldSet) -> Vec<Field> {
        let by_name = |field: &Field| {
            *field == Field::StaffId
                && field_set.welcome.contains(&Field::PomName)
                && self.columns.contains_key(&Field::PomName)
        };
        let is_missing = |field: &Field| !self.columns.contains_key(field) && !by_name(field);
        field_set.needed.iter().copied().filter(is_missing).collect()
    }
}

/// The best header row of a sheet; `None` if no row names a field.
pub fn header(sheet: &Sheet, search: ColumnSearch<'_>) -> Option<Header> {
    let field_set = search.field_set;
    let mut best: Option<Header> = None;
    for row in 0..sheet.rows.len().min(HEADER_ROWS_MAX) {
        // The headings of a row above do not make headings of a case.
        if sheet.rows[row].filled().any(|cell| value::prisoner_number(cell).is_ok()) {
            continue;
        }
        let AssignedColumns { columns, counters, more_leaving } = assign(sheet, row, search);
        let named = columns.iter().filter(|(_, assigned)| assigned.weight > 0).count();
        // A title is one cell, and may contain a telling word.
        if named == 0 || field_set.needed.len() > 1 && sheet.rows[row].filled().count() == 1 {
            continue;
        }
        // Only the headings count: two header rows of one table have nearly the same cells below
        // them.
        let worth = |field: &Field| if field_set.needed.contains(field) { 1_000 } else { 300 };
        let named: u32 = columns.iter().map(|(field, assigned)| worth(field) + assigned.weight).sum();
        // A row is no less the header for a column that turned out to count the rows.
        let lacks_ids = !columns.contains_key(&Field::StaffId) && !counters.is_empty();
        let counted = if lacks_ids { worth(&Field::StaffId) + heading::CERTAIN } else { 0 };
        let score = named + counted;
        if best.as_ref().is_none_or(|best| best.score < score) {
            let columns = columns.into_iter().map(|(field, assigned)| (field, assigned.column)).collect();
            best = Some(Header { row, columns, counters, more_leaving, score });
        }
    }
    best
}

#[derive(Debug, Clone, Copy)]
struct AssignedColumn {
    column: usize,
    /// The weight of the heading; 0 if only the cells point to the field.
    weight: u32,
}

/// The columns below a row of headings.
struct AssignedColumns {
    columns: BTreeMap<Field, AssignedColumn>,
    /// The columns that were set aside because they count the rows.
    counters: BTreeSet<usize>,
    /// Further columns of dates of leaving. A person has left by any of them, and must not be taken
    /// for a current case because another column is empty.
    more_leaving: Vec<(Field, usize)>,
}

/// Gives each field the column that suits it best. A column has one field at most.
fn assign(sheet: &Sheet, row: usize, search: ColumnSearch<'_>) -> AssignedColumns {
    let headings = headings(sheet, row);
    let mut mapped = BTreeMap::new();
    for mapping in search.mappings {
        if let Some(column) = column_named(&headings, &mapping.column) {
            mapped.insert(mapping.field, AssignedColumn { column, weight: heading::CERTAIN });
        }
    }
    let mut claims = claims(sheet, row, &headings, &mapped, search);
    // The sort is stable: of equal claims the leftmost column wins.
    claims.sort_by_key(|(score, ..)| std::cmp::Reverse(*score));
    let mut counters = BTreeSet::new();
    loop {
        let mut assigned = mapped.clone();
        for (_, field, claim) in &claims {
            let is_free = !assigned.values().any(|taken| taken.column == claim.column);
            let is_counter = *field == Field::StaffId && counters.contains(&claim.column);
            if is_free && !is_counter && !assigned.contains_key(field) {
                assigned.insert(*field, *claim);
            }
        }
        match assigned.get(&Field::StaffId) {
            // A column that the user names is taken as it is.
            Some(ids) if !mapped.contains_key(&Field::StaffId) && is_counter(sheet, row, *ids, &assigned) => {
                counters.insert(ids.column);
            }
            _ => {
                counters.extend(unclaimed_counters(sheet, row, &headings, &assigned, search.field_set));
                let is_more = |field: Field, claim: AssignedColumn| {
                    let is_free = !assigned.values().any(|taken| taken.column == claim.column);
                    LEAVING_DATES.contains(&field) && claim.weight >= heading::TRUSTED && is_free
                };
                let more = claims.iter().filter(|(_, field, claim)| is_more(*field, *claim));
                // The headings of leaving name one field each.
                let more: BTreeMap<usize, Field> = more.map(|(_, field, claim)| (claim.column, *field)).collect();
                let more_leaving = more.into_iter().map(|(column, field)| (field, column)).collect();
                return AssignedColumns { columns: assigned, counters, more_leaving };
            }
        }
    }
}

/// The columns that count the rows under a heading that might be one of staff ids, such as `No`.
fn unclaimed_counters(
    sheet: &Sheet,
    row: usize,
    headings: &[Vec<String>],
    assigned: &BTreeMap<Field, AssignedColumn>,
    field_set: FieldSet,
) -> Vec<usize> {
    let may_be_ids =
        |names: &[String]| names.iter().any(|name| weight(Field::StaffId, &Heading::new(name), field_set) > 0);
    let is_free = |column: usize| !assigned.values().any(|taken| taken.column == column);
    (0..headings.len())
        .filter(|&column| may_be_ids(&headings[column]) && is_free(column) && is_counter_column(sheet, row, column))
        .collect()
}

/// The columns that each field might have, with the strength of the claim.
fn claims(
    sheet: &Sheet,
    row: usize,
    headings: &[Vec<String>],
    mapped: &BTreeMap<Field, AssignedColumn>,
    search: ColumnSearch<'_>,
) -> Vec<(u32, Field, AssignedColumn)> {
    let field_set = search.field_set;
    let mut claims = Vec::new();
    for (column, names) in headings.iter().enumerate() {
        let names: Vec<Heading> = names.iter().map(|name| Heading::new(name)).collect();
        if mapped.values().any(|taken| taken.column == column) {
            continue;
        }
        for field in field_set.fields().filter(|field| !search.mappings.iter().any(|mapping| mapping.field == *field)) {
            let weight = names.iter().map(|name| weight(field, name, field_set)).max().unwrap_or(0);
            // Before the cells are read, which takes far longer.
            if weight == 0 && field != Field::PrisonerNumber {
                continue;
            }
            let id_min = if weight < heading::TRUSTED { counter::LEAST_UNSURE_ID } else { 0 };
            let share = share_fitting(sheet, row, column, |cell| fits(sheet, cell, field, id_min, search.pom_kinds));
            let by_cells = field == Field::PrisonerNumber && share.is_some_and(|share| share >= UNNAMED_SHARE_MIN);
            let fits = share.is_none_or(|share| share >= FIT_SHARE_MIN);
            if weight == 0 && !by_cells || weight < heading::TRUSTED && !fits {
                continue;
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share, 0 to 1")]
            let content = (share.unwrap_or(0.0) * 40.0) as u32;
            // A trusted heading over unfit cells is still better than none.
            let score = if fits { weight + content } else { weight / 3 };
            claims.push((score, field, AssignedColumn { column, weight }));
        }
    }
    claims
}

/// Whether the column that would have the staff ids counts the rows.
fn is_counter(sheet: &Sheet, row: usize, ids: AssignedColumn, assigned: &BTreeMap<Field, AssignedColumn>) -> bool {
    let name_of = |row: &Row| {
        let name = row.cell(assigned.get(&Field::PomName)?.column).to_string();
        Some(spelling(&name)).filter(|name| !name.is_empty())
    };
    counts_rows(&numbers(sheet, row, ids.column, name_of), ids.weight >= heading::TRUSTED)
}

/// Whether a column below a row of headings counts the rows, as far as its numbers alone say.
#[must_use]
pub fn is_counter_column(sheet: &Sheet, row: usize, column: usize) -> bool {
    counts_rows(&numbers(sheet, row, column, |_| None), false)
}

/// The numbers in a column, each with the name in its row.
fn numbers(
    sheet: &Sheet,
    row: usize,
    column: usize,
    name_of: impl Fn(&Row) -> Option<String>,
) -> Vec<(i64, Option<String>)> {
    let below = sheet.rows.iter().skip(row + 1).take(SAMPLE_ROWS_MAX);
    below.filter_map(|row| Some((counted(row.cell(column))?, name_of(row)))).collect()
}

/// The number in a cell of a counter, which may begin with 0.
fn counted(cell: &Cell) -> Option<i64> {
    match cell {
        #[expect(clippy::cast_possible_truncation, reason = "compared with the number afterwards")]
        #[expect(clippy::cast_precision_loss, clippy::float_cmp, reason = "a counter is small and whole")]
        Cell::Number(number) => Some(*number as i64).filter(|whole| *whole as f64 == *number),
        Cell::Text(text) => text.trim_end_matches(['.', ')']).parse().ok(),
        _ => None,
    }
}

/// As [`Heading::weight`]. In a list of contacts, which names no other person but the prisoner, a
/// bare `name` is the contact's.
pub fn weight(field: Field, name: &Heading, field_set: FieldSet) -> u32 {
    match name.normal() {
        _ if field != Field::PomName || !field_set.is_of_contacts() => name.weight(field),
        "contact name" | "contacts name" => heading::CERTAIN,
        "name" | "contact" => 50,
        _ => name.weight(field),
    }
}

/// The names of each column: its heading, and its heading after the one above it, which may span
/// several columns. In a row of nothing but headings, a column without one of its own has the one
/// above it: the headings are in two rows.
pub fn headings(sheet: &Sheet, row: usize) -> Vec<Vec<String>> {
    let own = &sheet.rows[row];
    let above = row
        .checked_sub(1)
        .map(|above| &sheet.rows[above])
        .filter(|above| above.number + 1 == own.number && above.filled().count() > 1);
    let is_heading = |cell: &Cell| matches!(cell, Cell::Text(_)) && value::prisoner_number(cell).is_err();
    let second = above.filter(|_| own.filled().all(is_heading));
    let mut spanning = String::new();
    (0..own.cells.len().max(second.map_or(0, |above| above.cells.len())))
        .map(|column| {
            if let Some(Cell::Text(text)) = above.map(|above| above.cell(column)) {
                spanning.clone_from(text);
            }
            match (own.cell(column), second.map(|above| above.cell(column))) {
                // Whole sentences are guidance; numbers and dates are data.
                (Cell::Text(text), _) if text.chars().count() <= 60 => {
                    let mut names = vec![text.clone()];
                    if !spanning.is_empty() {
                        names.push(format!("{spanning} {text}"));
                    }
                    names
                }
                (Cell::Empty, Some(Cell::Text(text))) if text.chars().count() <= 60 => vec![text.clone()],
                _ => Vec::new(),
            }
        })
        .collect()
}

/// The heading of a column as written, in its row or the row above.
pub fn heading_of(sheet: &Sheet, row: usize, column: usize) -> String {
    match sheet.rows[row].cell(column) {
        Cell::Empty => headings(sheet, row).get(column).and_then(|names| names.first().cloned()).unwrap_or_default(),
        cell => cell.to_string(),
    }
}

/// Finds the column that the user calls `name`: by its heading, else by its letter.
pub fn column_named(headings: &[Vec<String>], name: &str) -> Option<usize> {
    let normal_name = heading::normal(name);
    let by_heading =
        headings.iter().position(|names| names.iter().any(|heading| heading::normal(heading) == normal_name));
    by_heading.or_else(|| {
        let letters = name.len() <= 2 && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
        let column =
            letters.then(|| name.bytes().fold(0, |column, byte| column * 26 + usize::from(byte - b'A') + 1) - 1);
        column.filter(|&column| column < headings.len())
    })
}

/// The share of the filled cells below a heading that fit; `None` if all are empty.
pub fn share_fitting(sheet: &Sheet, row: usize, column: usize, fits: impl Fn(&Cell) -> bool) -> Option<f64> {
    let (mut filled, mut fitting) = (0u32, 0u32);
    for row in sheet.rows.iter().skip(row + 1).take(SAMPLE_ROWS_MAX) {
        let cell = row.cell(column);
        if *cell == Cell::Empty {
            continue;
        }
        filled += 1;
        fitting += u32::from(fits(cell));
    }
    (filled > 0).then(|| f64::from(fitting) / f64::from(filled))
}

/// Whether a cell may hold a field. `id_min` is the least number that is taken for a staff id.
pub fn fits(sheet: &Sheet, cell: &Cell, field: Field, id_min: i64, pom_kinds: &PomKindWords) -> bool {
    match field {
        Field::PrisonerNumber => value::prisoner_number(cell).is_ok(),
        Field::Tier => value::tier(cell).is_ok(),
        Field::StaffId => value::staff_id(cell).is_ok_and(|id| id.get() >= id_min),
        Field::PomKind => value::pom_kind(cell, pom_kinds).is_ok(),
        Field::AllocatedOn | Field::ArrivedOn => value::date(&sheet.dated(cell)).is_ok(),
        Field::PomName | Field::PomForename | Field::ContactType => {
            matches!(cell, Cell::Text(text) if text.chars().any(char::is_alphabetic))
                && value::prisoner_number(cell).is_err()
        }
        Field::TransferredTo => value::listed_prison(cell).is_ok(),
        // A column `Transferred` may have the prisons.
        Field::TransferredOn => value::listed_prison(cell).is_err(),
        Field::LeftOn | Field::ReleasedOn | Field::Note => true,
    }
}
