//! From the rows of a sheet to cases, or to what is wrong with a row. Pure, and knows no ledger: what only the ledger
//! can say (is the case allocated already?) is for [`super::plan`].

use std::collections::HashMap;

use chrono::NaiveDate;
use domain::{
    identifier::{PrisonerNumber, StaffId},
    officer::PomKind,
    tier::Tier,
};

use super::{
    heading::Field,
    layout::{Layout, RowKind, Wanted, row_kind},
    reader::{Cell, Row, Sheet},
    value::{self, Wrong},
};

/// What a spreadsheet of allocations has to have, and may have.
pub const WANTED: Wanted = Wanted {
    needed: &[Field::PrisonerNumber, Field::Tier, Field::StaffId, Field::AllocatedOn],
    welcome: &[Field::PomName, Field::PomForename, Field::PomKind, Field::Note],
};

/// Offender management in prisons as it is today is younger than this; an earlier date is a slip of the keyboard.
const EARLIEST_YEAR: i32 = 2000;

/// A row that can be recorded, as far as the sheet alone says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Whose case.
    pub prisoner_number: PrisonerNumber,
    /// Its tier.
    pub tier: Tier,
    /// Its POM.
    pub staff_id: StaffId,
    /// The POM's name in this row.
    pub pom_name: Option<String>,
    /// The POM's kind in this row.
    pub pom_kind: Option<PomKind>,
    /// Since when.
    pub allocated_on: NaiveDate,
    /// Comments.
    pub note: Option<String>,
}

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Stable, for programs: a field's ([`Field::code`]), `duplicate`, `date-in-future`, `date-too-early`, or the code of
    /// the rule that says no.
    pub code: String,
    /// The column at fault, as its heading is written.
    pub column: Option<String>,
    /// What stands there.
    pub value: Option<String>,
    /// In words.
    pub reason: String,
}

/// A row of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataRow {
    /// As the spreadsheet program numbers it.
    pub number: u32,
    /// Counted from 1 over rows of data only.
    pub data_row: u32,
    /// The prisoner number, where it can be read.
    pub prisoner_number: Option<PrisonerNumber>,
    /// The case, or what is wrong.
    pub case: Result<Case, Problem>,
}

/// What a sheet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The sheet's name.
    pub sheet: String,
    /// Its rows of data, in their order.
    pub rows: Vec<DataRow>,
    /// Blank rows between them.
    pub blank_rows: u32,
    /// Rows of totals.
    pub total_rows: u32,
    /// Numbers of the rows that are headings or notes.
    pub note_rows: Vec<u32>,
}

/// Reads every row below the header.
#[must_use]
pub fn table(sheet: &Sheet, layout: &Layout, today: NaiveDate) -> Table {
    let mut table =
        Table { sheet: sheet.name.clone(), rows: Vec::new(), blank_rows: 0, total_rows: 0, note_rows: Vec::new() };
    let mut accepted = HashMap::<PrisonerNumber, u32>::new();
    let mut blank_rows = 0;
    let mut data_row = 0;
    for row in &sheet.rows[layout.header + 1..] {
        match row_kind(sheet, layout, row) {
            RowKind::Blank => {
                blank_rows += 1;
                continue;
            }
            RowKind::Total => table.total_rows += 1,
            RowKind::Note => table.note_rows.push(row.number),
            RowKind::Data => {
                data_row += 1;
                let cells = Cells { sheet, layout, row };
                let case = cells.case(today).and_then(|case| match accepted.get(&case.prisoner_number) {
                    Some(first) => Err(cells.problem(
                        Field::PrisonerNumber,
                        "duplicate",
                        format!("duplicate: {} is in row {first} already, and that row counts", case.prisoner_number),
                    )),
                    None => Ok(case),
                });
                if let Ok(case) = &case {
                    accepted.insert(case.prisoner_number.clone(), row.number);
                }
                let prisoner_number = value::prisoner_number(cells.cell(Field::PrisonerNumber)).ok();
                table.rows.push(DataRow { number: row.number, data_row, prisoner_number, case });
            }
        }
        // Blank rows after the last one that is filled are nobody's.
        table.blank_rows += std::mem::take(&mut blank_rows);
    }
    table
}

/// One row's cells by what they hold.
struct Cells<'a> {
    sheet: &'a Sheet,
    layout: &'a Layout,
    row: &'a Row,
}

impl Cells<'_> {
    fn cell(&self, field: Field) -> &Cell {
        self.layout.columns.get(&field).map_or(&Cell::Empty, |&column| self.row.cell(column))
    }

    /// The first thing that is wrong, in the order of the fields.
    fn case(&self, today: NaiveDate) -> Result<Case, Problem> {
        let prisoner_number = self.value(Field::PrisonerNumber, value::prisoner_number)?;
        let tier = self.value(Field::Tier, value::tier)?;
        let staff_id = self.value(Field::StaffId, value::staff_id)?;
        let pom_kind = match self.cell(Field::PomKind) {
            Cell::Empty => None,
            _ => Some(self.value(Field::PomKind, value::pom_kind)?),
        };
        let allocated_on = self.value(Field::AllocatedOn, value::date)?;
        let written = allocated_on.format("%-d %B %Y");
        if allocated_on > today {
            return Err(self.problem(
                Field::AllocatedOn,
                "date-in-future",
                format!("date in the future: {written} has not come yet"),
            ));
        }
        if allocated_on < NaiveDate::from_ymd_opt(EARLIEST_YEAR, 1, 1).unwrap_or(NaiveDate::MIN) {
            return Err(self.problem(
                Field::AllocatedOn,
                "date-too-early",
                format!("{}: {written} is too long ago; nobody was allocated to a POM then", Field::AllocatedOn),
            ));
        }
        let name = [Field::PomName, Field::PomForename].map(|field| self.cell(field).to_string());
        let pom_name = match name {
            [surname, forename] if !surname.is_empty() && !forename.is_empty() => {
                Some(format!("{surname}, {forename}"))
            }
            [name, _] => Some(value::person_name(&name)).filter(|name| !name.is_empty()),
        };
        let note = Some(self.cell(Field::Note).to_string()).filter(|note| !note.is_empty());
        Ok(Case { prisoner_number, tier, staff_id, pom_name, pom_kind, allocated_on, note })
    }

    fn value<T>(&self, field: Field, read: fn(&Cell) -> Result<T, Wrong>) -> Result<T, Problem> {
        read(self.cell(field)).map_err(|wrong| self.problem(field, field.code(), format!("{field}: {wrong}")))
    }

    fn problem(&self, field: Field, code: &str, reason: String) -> Problem {
        Problem {
            code: code.to_owned(),
            column: Some(self.layout.heading(self.sheet, field)),
            value: Some(self.cell(field).to_string()),
            reason,
        }
    }
}
