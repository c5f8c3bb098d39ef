//! Reads rows into cases, or into the problem of a row. Pure, and without the ledger: whether a
//! case is allocated already is for [`super::plan`].

use std::collections::HashMap;

use chrono::NaiveDate;
use domain::{
    Refusal,
    identifier::{PrisonerNumber, StaffId},
    officer::PomKind,
    text::Excerpt,
    tier::Tier,
};

use super::{
    heading::Field,
    layout::{FieldSet, Layout, RowKind, row_kind},
    reader::{Cell, Row, Sheet},
    value::{self, ValueProblem},
};

/// The fields that a spreadsheet of allocations must have, and may have.
pub const FIELDS: FieldSet = FieldSet {
    needed: &[Field::PrisonerNumber, Field::Tier, Field::StaffId, Field::AllocatedOn],
    welcome: &[Field::PomName, Field::PomForename, Field::PomKind, Field::Note],
};

/// An allocation before this date is a typing error: offender management in its present form began
/// later.
const EARLIEST_YEAR: i32 = 2000;

/// A case, as far as the sheet alone can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetCase {
    /// The number of the case.
    pub prisoner_number: PrisonerNumber,
    /// The case's tier.
    pub tier: Tier,
    /// The staff id of the POM.
    pub staff_id: StaffId,
    /// The POM's name in this row.
    pub pom_name: Option<String>,
    /// The POM's kind in this row.
    pub pom_kind: Option<PomKind>,
    /// The date of the allocation.
    pub allocated_on: NaiveDate,
    /// Comments.
    pub note: Option<String>,
}

/// The reason why a row is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowProblem {
    /// A stable code for programs: that of a field ([`Field::code`]), `duplicate`,
    /// `date-in-future`, `date-too-early`, or that of the rule that refuses.
    pub code: String,
    /// The heading of the column at fault, as refusals quote it.
    pub column: Option<String>,
    /// The value in that column, as refusals quote it.
    pub value: Option<String>,
    /// The reason in words.
    pub reason: String,
}

impl From<Refusal> for RowProblem {
    /// The rule that refuses the row's case, as no column is at fault.
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.rule.code().to_owned(), column: None, value: None, reason: refusal.sentence }
    }
}

/// A row with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataRow {
    /// The row number in a spreadsheet program.
    pub number: u32,
    /// The number of the row among the rows with data, from 1.
    pub data_row: u32,
    /// The prisoner number, if it is readable.
    pub prisoner_number: Option<PrisonerNumber>,
    /// The case, or the problem of the row.
    pub case: Result<SheetCase, RowProblem>,
}

/// The content of a sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseTable {
    /// The sheet's name.
    pub sheet: String,
    /// The rows with data, in their order.
    pub rows: Vec<DataRow>,
    /// The number of blank rows between them.
    pub blank_rows: u32,
    /// The number of rows with totals.
    pub total_rows: u32,
    /// The row numbers of headings and notes.
    pub note_rows: Vec<u32>,
}

/// Reads every row below the header.
#[must_use]
pub fn table(sheet: &Sheet, layout: &Layout, today: NaiveDate) -> CaseTable {
    let mut table =
        CaseTable { sheet: sheet.name.clone(), rows: Vec::new(), blank_rows: 0, total_rows: 0, note_rows: Vec::new() };
    let mut accepted = HashMap::<PrisonerNumber, u32>::new();
    let mut data_row = 0;
    let mut before = sheet.rows[layout.header].number;
    for row in &sheet.rows[layout.header + 1..] {
        let kind = row_kind(sheet, layout, row);
        if kind == RowKind::Blank {
            continue;
        }
        // Blank rows after the last filled one do not count.
        table.blank_rows += row.number.saturating_sub(before + 1);
        before = row.number;
        match kind {
            RowKind::Blank => {}
            RowKind::Total => table.total_rows += 1,
            RowKind::Note => table.note_rows.push(row.number),
            RowKind::Data => {
                data_row += 1;
                let row = &*sheet.data_row(row);
                let cells = RowCells { sheet, layout, row };
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
    }
    table
}

/// The cells of a row by field.
struct RowCells<'a> {
    sheet: &'a Sheet,
    layout: &'a Layout,
    row: &'a Row,
}

impl RowCells<'_> {
    fn cell(&self, field: Field) -> &Cell {
        self.layout.columns.get(&field).map_or(&Cell::Empty, |&column| self.row.cell(column))
    }

    /// Reads the case, or answers the first problem in the order of the fields.
    fn case(&self, today: NaiveDate) -> Result<SheetCase, RowProblem> {
        let prisoner_number = self.value(Field::PrisonerNumber, value::prisoner_number)?;
        let tier = self.value(Field::Tier, value::tier)?;
        let staff_id = self.value(Field::StaffId, value::staff_id)?;
        let pom_kind = match self.cell(Field::PomKind) {
            Cell::Empty => None,
            _ => Some(self.value(Field::PomKind, value::pom_kind)?),
        };
        let allocated_on = value::date(&self.sheet.dated(self.cell(Field::AllocatedOn)))
            .map_err(|wrong| self.value_problem(Field::AllocatedOn, &wrong))?;
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
        let name = match [Field::PomName, Field::PomForename].map(|field| self.cell(field).to_string()) {
            [surname, forename] if !surname.is_empty() && !forename.is_empty() => format!("{surname}, {forename}"),
            [name, _] => value::person_name(&name),
        };
        let pom_name = value::text(name).map_err(|wrong| self.value_problem(Field::PomName, &wrong))?;
        let note = self.value(Field::Note, value::lines)?;
        Ok(SheetCase { prisoner_number, tier, staff_id, pom_name, pom_kind, allocated_on, note })
    }

    fn value<T>(&self, field: Field, read: fn(&Cell) -> Result<T, ValueProblem>) -> Result<T, RowProblem> {
        read(self.cell(field)).map_err(|wrong| self.value_problem(field, &wrong))
    }

    fn value_problem(&self, field: Field, wrong: &str) -> RowProblem {
        self.problem(field, field.code(), format!("{field}: {wrong}"))
    }

    fn problem(&self, field: Field, code: &str, reason: String) -> RowProblem {
        RowProblem {
            code: code.to_owned(),
            column: Some(Excerpt(&self.layout.heading(self.sheet, field)).to_string()),
            value: Some(Excerpt(&self.cell(field).to_string()).to_string()),
            reason,
        }
    }
}
