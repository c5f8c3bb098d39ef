//! Finds the cases in a file: the sheet, the header row, and the field of each column.
//!
//! 1. Each row near the top of each sheet is tried as the header row. Its headings are weighed
//!    against each field by [`heading::weight`], and against the cells below them, which tell a
//!    prisoner's `NOMIS ID` from a POM's.
//! 2. The row that finds most fields is the sheet's header row; of equals, the first.
//! 3. The sheet with most cases is read. A hidden sheet, an example (`Example`), or one whose cases
//!    are over, as its name (`Leavers`) or a column of dates of leaving says, is read only if there
//!    is no other, or if the user names it.
//!
//! This module refuses to guess a field from the cells alone. The one exception is the prisoner
//! number, whose form is unmistakable. A column that counts the rows has no field.

mod columns;
mod counter;
mod not_found;
mod reading;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{anyhow, bail};
use chrono::NaiveDate;
use domain::text::Excerpt;

use super::{
    date_columns::DateColumns,
    heading::{self, Field},
    leaving::LeavingColumns,
    reader::{Cell, Row, Sheet, refuse_unread},
    value::{self, PomKindWords},
};
use columns::{ColumnSearch, Header, header, heading_of};

pub use columns::is_counter_column;
pub use not_found::check_mappings;
pub use reading::{ColumnReading, SheetReading, reading};

/// The fields to look for in a file.
#[derive(Debug, Clone, Copy)]
pub struct FieldSet {
    /// The fields that a file must have.
    pub needed: &'static [Field],
    /// The fields that a file may have.
    pub welcome: &'static [Field],
}

impl FieldSet {
    /// Whether the fields are those of a list of contacts.
    #[must_use]
    pub fn is_of_contacts(self) -> bool {
        self.fields().any(|field| field == Field::ContactType)
    }

    /// All fields, in the order of the report.
    pub fn fields(self) -> impl Iterator<Item = Field> {
        self.needed.iter().chain(self.welcome).copied()
    }
}

/// A column that the user assigned to a field: `column=field`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The column's heading, or its letter.
    pub column: String,
    /// The field that the column holds.
    pub field: Field,
}

/// Parses the value of a `--map`.
///
/// # Errors
/// The value has no `=`, or names a field that the file cannot have.
pub fn mapping(text: &str, field_set: FieldSet) -> anyhow::Result<Mapping> {
    let names = || field_set.fields().map(Field::name).collect::<Vec<_>>().join(", ");
    let Some((column, field)) = text.rsplit_once('=') else {
        bail!(
            "there is no `=`: write a column's heading and a field, e.g. --map \"Ref no=prisonerNumber\". Fields: {}",
            names()
        );
    };
    let plain = |name: &str| name.to_lowercase().replace(|letter: char| !letter.is_alphanumeric(), "");
    let field = field_set
        .fields()
        .find(|known| plain(known.name()) == plain(field))
        .ok_or_else(|| anyhow!("there is no field `{}`. Fields: {}", Excerpt(field.trim()), names()))?;
    Ok(Mapping { column: column.trim().to_owned(), field })
}

/// The place of the cases in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The index of the sheet.
    pub sheet: usize,
    /// The index of the header row among the sheet's rows.
    pub header: usize,
    /// The column of each field that was found, counted from 0.
    pub columns: BTreeMap<Field, usize>,
    /// The columns that count the rows, and might have been taken for staff ids.
    pub counters: BTreeSet<usize>,
    /// Further columns of dates of leaving, from the left.
    pub more_leaving: Vec<(Field, usize)>,
    /// Other sheets that seem to hold cases.
    pub passed_over: Vec<UnreadSheet>,
}

/// A sheet that seems to hold cases, and was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadSheet {
    /// The sheet's name.
    pub name: String,
    /// The number of its cases.
    pub cases: usize,
    /// Whether its name or its dates of leaving say that its cases are over, or an example.
    pub is_over: bool,
}

impl Layout {
    /// The heading of a column as written.
    #[must_use]
    pub fn heading_of(&self, sheet: &Sheet, column: usize) -> String {
        heading_of(sheet, self.header, column)
    }

    /// Every column that is read, with its field.
    pub fn read_columns(&self) -> impl Iterator<Item = (Field, usize)> + Clone {
        read_columns(&self.columns, &self.more_leaving)
    }

    /// The field of a column, if it is read.
    #[must_use]
    pub fn field_of(&self, column: usize) -> Option<Field> {
        self.read_columns().find(|(_, read)| *read == column).map(|(field, _)| field)
    }

    /// The heading of a field's column as written, or the field's own name if there is no such
    /// column.
    #[must_use]
    pub fn heading(&self, sheet: &Sheet, field: Field) -> String {
        self.columns
            .get(&field)
            .map(|&column| heading_of(sheet, self.header, column))
            .filter(|heading| !heading.is_empty())
            .unwrap_or_else(|| field.name().to_owned())
    }
}

fn read_columns(
    columns: &BTreeMap<Field, usize>,
    more_leaving: &[(Field, usize)],
) -> impl Iterator<Item = (Field, usize)> + Clone {
    columns.iter().map(|(&field, &column)| (field, column)).chain(more_leaving.iter().copied())
}

/// Finds the cases in a file. `pom_kinds` are the user's words for kinds of POM; `today` tells the
/// dates of leaving that have come from those to come.
///
/// # Errors
/// There is no sheet of that name, or no row has the headings that are needed. The message lists
/// the columns.
pub fn find(
    sheets: &[Sheet],
    sheet_name: Option<&str>,
    mappings: &[Mapping],
    field_set: FieldSet,
    pom_kinds: &PomKindWords,
    today: NaiveDate,
) -> anyhow::Result<Layout> {
    let search = ColumnSearch { mappings, field_set, pom_kinds };
    let asked_for = |sheet: &Sheet| sheet_name.is_none_or(|name| sheet.is_named(name));
    if let Some(name) = sheet_name
        && !sheets.iter().any(asked_for)
    {
        let names: Vec<_> = sheets.iter().map(|sheet| format!("`{}`", Excerpt(&sheet.name))).collect();
        bail!("there is no sheet `{}`. The sheets are: {}", Excerpt(name), names.join(", "));
    }
    let mut candidates = Vec::new();
    let mut nearest: Option<(&Sheet, Header)> = None;
    for (index, sheet) in sheets.iter().enumerate().filter(|(_, sheet)| asked_for(sheet)) {
        let Some(header) = header(sheet, search) else { continue };
        if header.missing_fields(field_set).is_empty() {
            let cases = count_cases(sheet, &header);
            candidates.push(Candidate {
                index,
                is_over: is_over(&sheet.name) || is_left(sheet, &header, today),
                header,
                cases,
            });
        } else if nearest.as_ref().is_none_or(|(_, best)| best.score < header.score) {
            nearest = Some((sheet, header));
        }
    }
    let rank = |candidate: &&Candidate| {
        let is_current = !sheets[candidate.index].hidden && !candidate.is_over;
        let has_ids = candidate.header.columns.contains_key(&Field::StaffId);
        (candidate.cases > 0, is_current, has_ids, candidate.cases)
    };
    // Of equals, the first.
    let best = candidates.iter().rev().max_by_key(rank);
    if !best.is_some_and(|best| best.cases > 0 && !sheets[best.index].hidden && !best.is_over) {
        // The cases may be in a sheet that could not be read.
        refuse_unread(sheets, sheet_name)?;
    }
    let Some(best) = best.map(|best| best.index) else {
        return Err(not_found::not_found(sheets, nearest.as_ref().map(|(sheet, header)| (*sheet, header)), search));
    };
    let (best, others): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|candidate| candidate.index == best);
    let unread = |other: Candidate| UnreadSheet {
        name: sheets[other.index].name.clone(),
        cases: other.cases,
        is_over: other.is_over,
    };
    let passed_over = others.into_iter().filter(|other| other.cases > 0).map(unread).collect();
    best.into_iter()
        .next()
        .map(|Candidate { index, header, .. }| Layout {
            sheet: index,
            header: header.row,
            columns: header.columns,
            counters: header.counters,
            more_leaving: header.more_leaving,
            passed_over,
        })
        .ok_or_else(|| anyhow!("no sheet was chosen"))
}

/// A sheet that has all columns.
struct Candidate {
    index: usize,
    header: Header,
    cases: usize,
    is_over: bool,
}

/// The error of a sheet that has no column of staff ids, and in which no POM could be found by
/// name.
#[must_use]
pub fn no_staff_ids(sheet: &Sheet, layout: &Layout, field_set: FieldSet) -> anyhow::Error {
    let search = ColumnSearch { mappings: &[], field_set, pom_kinds: &PomKindWords::default() };
    not_found::no_staff_ids(sheet, layout, search)
}

/// Whether a sheet's name says that its cases are over, or an example.
#[must_use]
pub fn is_over(name: &str) -> bool {
    const WORDS: [&str; 20] = [
        "leaver",
        "left",
        "archive",
        "old",
        "previous",
        "released",
        "release",
        "discharged",
        "transferred",
        "transfer",
        "historic",
        "history",
        "closed",
        "deallocated",
        "example",
        "template",
        "guidance",
        "lookup",
        "deleted",
        "inactive",
    ];
    let name = heading::normal(name);
    name.split(' ').any(|word| {
        WORDS
            .iter()
            .any(|over| word == *over || word.strip_suffix('s') == Some(over) || word.strip_suffix('d') == Some(over))
    })
}

fn count_cases(sheet: &Sheet, header: &Header) -> usize {
    case_rows(sheet, header).count()
}

/// Whether nearly all cases of a sheet have left, as their rows would be refused for.
fn is_left(sheet: &Sheet, header: &Header, today: NaiveDate) -> bool {
    let columns = read_columns(&header.columns, &header.more_leaving);
    let dates = DateColumns::of_rows(sheet, columns, case_rows(sheet, header));
    let prison = header.columns.get(&Field::TransferredTo).copied();
    let leaving = LeavingColumns { sheet, dates: &dates, prison, today };
    let has_left = |row: &&Row| matches!(leaving.read(&sheet.data_row(row)), Ok(Some(_)));
    let left = case_rows(sheet, header).filter(has_left).count();
    left > 0 && left * 10 >= count_cases(sheet, header) * 8
}

fn case_rows<'a>(sheet: &'a Sheet, header: &Header) -> impl Iterator<Item = &'a Row> + Clone {
    let column = header.columns.get(&Field::PrisonerNumber).copied();
    let is_case = move |row: &&Row| column.is_some_and(|column| value::prisoner_number(row.cell(column)).is_ok());
    sheet.rows.iter().skip(header.row + 1).filter(is_case)
}

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
