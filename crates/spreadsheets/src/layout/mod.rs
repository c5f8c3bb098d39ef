//! Finds the cases in a file: the sheet, the header row, and the field of each column.
//!
//! 1. Each row near the top of each sheet is tried as the header row. Its headings are weighed
//!    against each field by [`weight`](super::heading::weight), and against the cells below them,
//!    which tell a prisoner's `NOMIS ID` from a POM's.
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
mod row_kind;
mod sheet_choice;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{anyhow, bail};
use domain::text::Excerpt;

use super::{heading::Field, reader::Sheet, value::PomKindWords};
use columns::{ColumnSearch, heading_of};

pub use columns::is_counter_column;
pub use not_found::check_mappings;
pub use reading::{ColumnReading, SheetReading, reading};
pub use row_kind::{RowKind, row_kind};
pub use sheet_choice::{find, is_over};

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

/// The error of a sheet that has no column of staff ids, and in which no POM could be found by
/// name.
#[must_use]
pub fn no_staff_ids(sheet: &Sheet, layout: &Layout, field_set: FieldSet) -> anyhow::Error {
    let search = ColumnSearch { mappings: &[], field_set, pom_kinds: &PomKindWords::default() };
    not_found::no_staff_ids(sheet, layout, search)
}
