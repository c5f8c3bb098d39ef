//! The columns of dates that a table has, each with the way in which its dates are written.

use chrono::NaiveDate;

use super::{
    heading::Field,
    reader::{Cell, Row, Sheet},
    value::{DateColumn, ValueProblem},
};

/// The fields that are dates.
const DATES: [Field; 5] =
    [Field::AllocatedOn, Field::LeftOn, Field::ReleasedOn, Field::TransferredOn, Field::ArrivedOn];

/// How the columns of dates are written, in the order of their fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DateColumns(Vec<FieldDates>);

/// A column of dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDates {
    /// The field.
    pub field: Field,
    /// The column, counted from 0.
    pub column: usize,
    /// How its dates are written.
    pub dates: DateColumn,
}

impl DateColumns {
    /// Looks at the cells of the rows in each column of dates.
    pub fn of_rows<'a>(
        sheet: &Sheet,
        columns: impl Iterator<Item = (Field, usize)>,
        rows: impl Iterator<Item = &'a Row> + Clone,
    ) -> Self {
        let dates = |column: usize| DateColumn::of_rows(sheet, rows.clone(), column);
        let columns = columns.filter(|(field, _)| DATES.contains(field));
        let mut columns: Vec<_> =
            columns.map(|(field, column)| FieldDates { field, column, dates: dates(column) }).collect();
        columns.sort_by_key(|column| (column.field, column.column));
        Self(columns)
    }

    /// The columns.
    pub fn iter(&self) -> impl Iterator<Item = &FieldDates> {
        self.0.iter()
    }

    /// The first column of a field; `None` if the field is no date, or has no column.
    #[must_use]
    pub fn of(&self, field: Field) -> Option<&DateColumn> {
        self.0.iter().find(|column| column.field == field).map(|column| &column.dates)
    }

    /// The dates of a column; `None` if it is none of dates.
    #[must_use]
    pub fn of_column(&self, column: usize) -> Option<&DateColumn> {
        self.0.iter().find(|dates| dates.column == column).map(|column| &column.dates)
    }

    /// Reads a cell of a field's column, as [`DateColumn::read`]. A field without a column is read
    /// as one whose cells prove nothing.
    ///
    /// # Errors
    /// The cell holds no date, or may hold two.
    pub fn read(&self, field: Field, cell: &Cell) -> Result<(NaiveDate, Option<String>), ValueProblem> {
        self.of(field).unwrap_or(&DateColumn::default()).read(cell)
    }

    /// How the dates were understood, in sentences, where they are not all day first.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for column in &self.0 {
            let dates = column.field.words().replacen("date", "Dates", 1);
            match (column.dates.day_first_row, column.dates.month_first_row) {
                (None, Some(row)) => notes.push(format!(
                    "{dates} were read month first, since row {row} can only be meant so. Look at each of them."
                )),
                (Some(day_row), Some(month_row)) => notes.push(format!(
                    "{dates} are written day first (row {day_row}) and month first (row {month_row}): each that may be \
                     two dates is refused."
                )),
                (_, None) => {}
            }
        }
        notes
    }
}
