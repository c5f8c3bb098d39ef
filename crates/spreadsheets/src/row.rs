//! Reads rows into cases, or into the problem of a row. Pure, and without the ledger: whether a
//! case is allocated already is for [`super::plan`].

use std::collections::{BTreeMap, HashMap};

use chrono::{Datelike as _, NaiveDate};
use domain::{
    Refusal,
    identifier::{PrisonerNumber, StaffId},
    officer::PomKind,
    text::Excerpt,
    tier::Tier,
};

use super::{
    date_columns::DateColumns,
    day_words::describe_day,
    heading::Field,
    layout::{FieldSet, Layout, RowKind, row_kind},
    leaving::{FormulaErrorCell, LeavingColumns, LeavingRow},
    reader::{Cell, Row, Sheet},
    staff::{KnownStaff, StaffDirectory},
    value::{self, AbsentValue, PersonName, PomKindWords, ValueProblem, absence_of_name},
};

/// The fields that a spreadsheet of allocations must have, and may have.
pub const FIELDS: FieldSet = FieldSet {
    needed: &[Field::PrisonerNumber, Field::Tier, Field::StaffId, Field::AllocatedOn],
    welcome: &[
        Field::PomName,
        Field::PomForename,
        Field::PomKind,
        Field::Note,
        Field::LeftOn,
        Field::ReleasedOn,
        Field::TransferredOn,
        Field::TransferredTo,
        Field::ArrivedOn,
    ],
};

/// An allocation before this date is a typing error: offender management in its present form began
/// later.
const EARLIEST_YEAR: i32 = 2000;

/// The code of a row that says of a person that they have left the prison.
pub const HAS_LEFT: &str = "has-left";

/// The terms on which the rows of a sheet are read.
#[derive(Debug, Clone, Copy)]
pub struct TableTerms<'a> {
    /// The current date in London.
    pub today: NaiveDate,
    /// The user's words for kinds of POM.
    pub pom_kinds: &'a PomKindWords,
    /// The staff ids of POMs by name, for a sheet that has no column of them.
    pub staff: &'a StaffDirectory,
}

/// The case that a row tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowCase {
    /// A POM has the case.
    Allocated(SheetCase),
    /// No POM has the case.
    Waiting(WaitingRow),
}

impl RowCase {
    /// The number of the case.
    #[must_use]
    pub fn prisoner_number(&self) -> &PrisonerNumber {
        match self {
            Self::Allocated(case) => &case.prisoner_number,
            Self::Waiting(case) => &case.prisoner_number,
        }
    }

    /// The case's tier.
    #[must_use]
    pub fn tier(&self) -> Tier {
        match self {
            Self::Allocated(case) => case.tier,
            Self::Waiting(case) => case.tier,
        }
    }
}

/// A case that no POM has, as far as the sheet alone can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRow {
    /// The number of the case.
    pub prisoner_number: PrisonerNumber,
    /// The case's tier.
    pub tier: Tier,
    /// The date of arrival; absent where the sheet does not say it.
    pub since: Option<NaiveDate>,
}

/// A case with its POM, as far as the sheet alone can tell.
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
    /// `date-in-future`, `date-too-early`, `has-left`, or that of the rule that refuses.
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
    pub case: Result<RowCase, RowProblem>,
    /// When and how the person left, if the row is no case for that reason.
    pub left: Option<LeavingRow>,
    /// Doubts about how the row was read, which a person should look at.
    pub doubts: Vec<String>,
}

impl DataRow {
    /// The case with its POM, if that is what the row says.
    #[must_use]
    pub fn allocated(&self) -> Option<&SheetCase> {
        match &self.case {
            Ok(RowCase::Allocated(case)) => Some(case),
            _ => None,
        }
    }
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
    /// How the dates are written.
    pub dates: DateColumns,
    /// The kind of POM that each word of the sheet was read as.
    pub kind_words: BTreeMap<String, PomKind>,
}

impl CaseTable {
    /// How values were understood, in sentences.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.kind_words.is_empty() {
            let words = self.kind_words.iter().zip(std::iter::once("was read ").chain(std::iter::repeat("")));
            let words = words.map(|((word, kind), read)| match kind {
                PomKind::Prison => format!("`{word}` {read}as a prison POM"),
                PomKind::Probation => format!("`{word}` {read}as a probation POM"),
            });
            notes.push(format!("{}.", words.collect::<Vec<_>>().join(", ")));
        }
        notes.extend(self.dates.notes());
        notes
    }

    /// The numbers of the cases in the rows that can be read.
    #[must_use]
    pub fn case_numbers(&self) -> Vec<PrisonerNumber> {
        self.rows.iter().filter_map(|row| Some(row.case.as_ref().ok()?.prisoner_number().clone())).collect()
    }
}

/// The number of words for kinds of POM that a report explains.
const KIND_WORDS_MAX: usize = 12;

/// Reads every row below the header.
#[must_use]
pub fn table(sheet: &Sheet, layout: &Layout, terms: TableTerms<'_>) -> CaseTable {
    let below = &sheet.rows[layout.header + 1..];
    let data = below.iter().filter(|row| row_kind(sheet, layout, row) == RowKind::Data);
    let dates = DateColumns::of_rows(sheet, layout.read_columns(), data);
    let mut table = CaseTable {
        sheet: sheet.name.clone(),
        rows: Vec::new(),
        blank_rows: 0,
        total_rows: 0,
        note_rows: Vec::new(),
        dates: dates.clone(),
        kind_words: BTreeMap::new(),
    };
    let mut accepted = HashMap::<PrisonerNumber, u32>::new();
    let mut data_row = 0;
    let mut before = sheet.rows[layout.header].number;
    for row in below {
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
                let cells = RowCells { sheet, layout, row, terms, dates: &dates };
                let mut doubts = Vec::new();
                let leaving = cells.leaving().read(row);
                let case =
                    cells.case(&leaving, &mut doubts).and_then(|case| match accepted.get(case.prisoner_number()) {
                        Some(first) => Err(cells.problem(
                            Field::PrisonerNumber,
                            "duplicate",
                            format!(
                                "duplicate: {} is in row {first} already, and that row counts",
                                case.prisoner_number()
                            ),
                        )),
                        None => Ok(case),
                    });
                if let Ok(case) = &case {
                    accepted.insert(case.prisoner_number().clone(), row.number);
                }
                let kind = cells.cell(Field::PomKind);
                if table.kind_words.len() < KIND_WORDS_MAX
                    && let Ok(known) = value::pom_kind(kind, terms.pom_kinds)
                {
                    table.kind_words.insert(Excerpt(&kind.to_string()).to_string(), known);
                }
                let prisoner_number = value::prisoner_number(cells.cell(Field::PrisonerNumber)).ok();
                let left = leaving.ok().flatten().filter(|_| prisoner_number.is_some());
                table.rows.push(DataRow { number: row.number, data_row, prisoner_number, case, left, doubts });
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
    terms: TableTerms<'a>,
    dates: &'a DateColumns,
}

/// The POM that a row names.
enum RowPom {
    Known { staff_id: StaffId, name: Option<String>, kind: Option<PomKind> },
    Nobody,
}

impl RowCells<'_> {
    fn cell(&self, field: Field) -> &Cell {
        self.layout.columns.get(&field).map_or(&Cell::Empty, |&column| self.row.cell(column))
    }

    /// Reads the case, or answers the first problem in the order of the fields.
    fn case(
        &self,
        leaving: &Result<Option<LeavingRow>, FormulaErrorCell>,
        doubts: &mut Vec<String>,
    ) -> Result<RowCase, RowProblem> {
        let prisoner_number = self.value(Field::PrisonerNumber, value::prisoner_number)?;
        self.refuse_left(leaving)?;
        doubts.extend(self.leaving().doubts(self.row));
        let tier = self.value(Field::Tier, value::tier)?;
        let (staff_id, pom_name, listed_kind) = match self.pom(doubts)? {
            RowPom::Known { staff_id, name, kind } => (staff_id, name, kind),
            RowPom::Nobody => {
                let since = match self.cell(Field::ArrivedOn) {
                    Cell::Empty => None,
                    _ => Some(self.past_date(Field::ArrivedOn, doubts)?),
                };
                if since.is_none() {
                    doubts.push("no POM has the case: it waits since today, as no date of arrival is known".to_owned());
                }
                if *self.cell(Field::AllocatedOn) != Cell::Empty {
                    doubts.push("no POM has the case, and its date of allocation was not read".to_owned());
                }
                if !matches!(value::note(self.cell(Field::Note)), Ok(None)) {
                    doubts.push("no POM has the case, and its note was not recorded".to_owned());
                }
                return Ok(RowCase::Waiting(WaitingRow { prisoner_number, tier, since }));
            }
        };
        let pom_kind = match self.cell(Field::PomKind) {
            Cell::Empty => listed_kind,
            _ => Some(self.value(Field::PomKind, |cell| value::pom_kind(cell, self.terms.pom_kinds))?),
        };
        let allocated_on = self.past_date(Field::AllocatedOn, doubts)?;
        let note = self.value(Field::Note, value::note)?;
        Ok(RowCase::Allocated(SheetCase { prisoner_number, tier, staff_id, pom_name, pom_kind, allocated_on, note }))
    }

    fn leaving(&self) -> LeavingColumns<'_> {
        let prison = self.layout.columns.get(&Field::TransferredTo).copied();
        LeavingColumns { sheet: self.sheet, dates: self.dates, prison, today: self.terms.today }
    }

    /// Refuses a person who has left the prison, or whose allocation has ended.
    fn refuse_left(&self, leaving: &Result<Option<LeavingRow>, FormulaErrorCell>) -> Result<(), RowProblem> {
        match leaving {
            Ok(None) => Ok(()),
            Ok(Some(left)) => {
                let reason = format!("{}; only current cases are recorded", left.sentence);
                Err(self.problem_in(left.column, HAS_LEFT, reason))
            }
            Err(FormulaErrorCell { field, column }) => {
                let reason = format!("{field}: an error of a formula does not say whether the person has left");
                Err(self.problem_in(*column, field.code(), reason))
            }
        }
    }

    /// The POM's staff id and name. A cell that has something else in it than a name is no reason
    /// to take the case for one that waits, unless it says so.
    fn pom(&self, doubts: &mut Vec<String>) -> Result<RowPom, RowProblem> {
        let has_ids = self.layout.columns.contains_key(&Field::StaffId);
        let has_names = self.layout.columns.contains_key(&Field::PomName);
        let is_id_blank = *self.cell(Field::StaffId) == Cell::Empty;
        let written = self.written_name();
        let absence = written.as_deref().map(absence_of_name);
        if has_names && is_id_blank && matches!(absence, None | Some(Some(AbsentValue::Vacancy))) {
            return Ok(RowPom::Nobody);
        }
        let staff_id = if has_ids { Some(self.value(Field::StaffId, value::staff_id)?) } else { None };
        let name = match (&written, absence) {
            (Some(_), Some(Some(absent))) => {
                let wrong = match absent {
                    AbsentValue::Error => "an error of a formula is no name",
                    AbsentValue::Placeholder => "this is no name; write the POM's name, or leave the cell empty",
                    AbsentValue::Vacancy => "it says that no POM has the case, beside a staff id",
                };
                return Err(self.value_problem(Field::PomName, wrong));
            }
            (Some(_), _) => {
                let PersonName { text, is_unclear } = self.person_name();
                if is_unclear {
                    doubts.push(format!(
                        "the POM's name is kept as it was written, `{}`: write it as `Surname, Forename`",
                        Excerpt(&text)
                    ));
                }
                value::text(text).map_err(|wrong| self.value_problem(Field::PomName, &wrong))?
            }
            (None, _) => None,
        };
        if let Some(staff_id) = staff_id {
            return Ok(RowPom::Known { staff_id, name, kind: None });
        }
        let found = self.terms.staff.find(name.as_deref().unwrap_or_default());
        let KnownStaff { staff_id, kind } =
            found.map_err(|wrong| self.problem(Field::PomName, Field::StaffId.code(), format!("staff id: {wrong}")))?;
        Ok(RowPom::Known { staff_id, name, kind })
    }

    /// The name as it is in the sheet; `None` if its cells are empty.
    fn written_name(&self) -> Option<String> {
        let [surname, forename] = [Field::PomName, Field::PomForename].map(|field| self.cell(field).to_string());
        match (surname.is_empty(), forename.is_empty()) {
            (true, true) => None,
            (false, true) => Some(surname),
            _ => Some(format!("{surname}, {forename}")),
        }
    }

    fn person_name(&self) -> PersonName {
        match [Field::PomName, Field::PomForename].map(|field| self.cell(field).to_string()) {
            [surname, forename] if !surname.is_empty() && !forename.is_empty() => {
                value::name_of_parts(&surname, &forename)
            }
            [name, _] => value::person_name(&name),
        }
    }

    /// A date that has come. One of allocation is in this century, too; a lifer may have arrived
    /// before.
    fn past_date(&self, field: Field, doubts: &mut Vec<String>) -> Result<NaiveDate, RowProblem> {
        let read = |cell: &Cell| self.dates.read(field, &self.sheet.dated(cell));
        let (date, doubt) = self.value(field, read)?;
        doubts.extend(doubt);
        let written = describe_day(date);
        if date > self.terms.today {
            let reason = format!("date in the future: {written} has not come yet");
            return Err(self.problem(field, "date-in-future", reason));
        }
        if field == Field::AllocatedOn && date.year() < EARLIEST_YEAR {
            let reason = format!("{field}: {written} is too long ago; nobody was allocated to a POM then");
            return Err(self.problem(field, "date-too-early", reason));
        }
        Ok(date)
    }

    fn value<T>(&self, field: Field, read: impl Fn(&Cell) -> Result<T, ValueProblem>) -> Result<T, RowProblem> {
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

    /// A problem in a column that may be another than the first of its field.
    fn problem_in(&self, column: usize, code: &str, reason: String) -> RowProblem {
        RowProblem {
            code: code.to_owned(),
            column: Some(Excerpt(&self.layout.heading_of(self.sheet, column)).to_string()),
            value: Some(Excerpt(&self.row.cell(column).to_string()).to_string()),
            reason,
        }
    }
}
