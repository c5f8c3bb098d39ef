//! Reads the cases of a prison's spreadsheet: from the sheets of a file to rows, in the two steps
//! between which a sheet without staff ids needs the prison's roster.

use anyhow::Context as _;
use chrono::NaiveDate;
use domain::prison::Roster;
use spreadsheets::{
    heading::Field,
    layout::{self, Layout, Mapping, SheetReading, reading},
    plan::{ImportPlan, Verdict},
    reader::{File, Sheet},
    refused::{RefusedRow, refused_csv},
    remarks::{note_unread_sheet, remarks},
    row::{CaseTable, FIELDS, TableTerms, table},
    staff::StaffDirectory,
    value::PomKindWords,
};

/// The choices of a user about the reading of a file.
#[derive(Debug, Clone, Default)]
pub struct SheetChoices {
    /// The sheet to read; absent, the one with most cases.
    pub sheet: Option<String>,
    /// Columns whose headings do not tell their field.
    pub mappings: Vec<Mapping>,
    /// The kinds of POM that words of the sheet mean.
    pub pom_kinds: PomKindWords,
}

/// A file in which the cases were found.
#[derive(Debug)]
pub struct FoundCases {
    sheets: Vec<Sheet>,
    choices: SheetChoices,
    layout: Layout,
    today: NaiveDate,
}

/// A sheet that was read.
#[derive(Debug)]
pub struct CaseSheet {
    /// The sheet with its cells.
    pub sheet: Sheet,
    /// The place of the cases.
    pub layout: Layout,
    /// The rows.
    pub table: CaseTable,
    /// The field of each column, and remarks on the reading.
    pub reading: SheetReading,
}

impl FoundCases {
    /// Finds the cases in a file, which errors name as `shown`.
    ///
    /// # Errors
    /// No sheet has columns of cases, or a mapping names a column that is not there.
    pub fn find(file: File, shown: &str, choices: SheetChoices, today: NaiveDate) -> anyhow::Result<Self> {
        let SheetChoices { sheet, mappings, pom_kinds } = &choices;
        let layout = layout::find(&file.sheets, sheet.as_deref(), mappings, FIELDS, pom_kinds, today)
            .with_context(|| format!("find the cases in {shown}"))?;
        layout::check_mappings(&file.sheets[layout.sheet], &layout, mappings)?;
        Ok(Self { sheets: file.sheets, choices, layout, today })
    }

    /// Whether the staff ids of the POMs are found by their names, for which the roster of the
    /// prison is needed.
    #[must_use]
    pub fn needs_roster(&self) -> bool {
        !self.layout.columns.contains_key(&Field::StaffId)
    }

    /// Reads the rows.
    ///
    /// # Errors
    /// The sheet has no staff ids, and none was found by name.
    pub fn read(mut self, shown: &str, roster: Option<&Roster>) -> anyhow::Result<CaseSheet> {
        let mut staff = StaffDirectory::default();
        if self.needs_roster() {
            staff = StaffDirectory::of_sheets(&self.sheets, self.layout.sheet, &self.choices.pom_kinds);
            roster.into_iter().for_each(|roster| staff.add_roster(roster));
        }
        let sheet = &self.sheets[self.layout.sheet];
        let table = table(
            sheet,
            &self.layout,
            TableTerms { today: self.today, pom_kinds: &self.choices.pom_kinds, staff: &staff },
        );
        self.ensure_staff_ids(sheet, &table).with_context(|| format!("find the POMs in {shown}"))?;
        let mut reading = reading(sheet, &self.layout, FIELDS);
        reading.notes.extend(staff.source().map(str::to_owned));
        reading.notes.extend(table.notes());
        reading.remarks = remarks(&self.sheets, &self.layout);
        reading.remarks.extend(self.layout.passed_over.iter().map(|sheet| note_unread_sheet(sheet, "case")));
        let sheet = self.sheets.swap_remove(self.layout.sheet);
        Ok(CaseSheet { sheet, layout: self.layout, table, reading })
    }

    /// Refuses a sheet without a column of staff ids in which no POM was found by name.
    fn ensure_staff_ids(&self, sheet: &Sheet, table: &CaseTable) -> anyhow::Result<()> {
        let lacks_id = |code: &str| code == Field::StaffId.code();
        let are_missing = table.rows.iter().any(|row| row.case.as_ref().is_err_and(|problem| lacks_id(&problem.code)));
        if self.needs_roster() && are_missing && !table.rows.iter().any(|row| row.allocated().is_some()) {
            return Err(layout::no_staff_ids(sheet, &self.layout, FIELDS));
        }
        Ok(())
    }
}

impl CaseSheet {
    /// The refused rows as a CSV file, to be corrected and imported.
    #[must_use]
    pub fn refused_csv(&self, refused: &[RefusedRow<'_>]) -> String {
        refused_csv(&self.sheet, &self.layout, &self.table, refused)
    }
}

/// The refused rows of a plan.
#[must_use]
pub fn refused_rows(plan: &ImportPlan) -> Vec<RefusedRow<'_>> {
    plan.rows
        .iter()
        .filter_map(|planned| match &planned.verdict {
            Verdict::Refused(problem) => Some(RefusedRow { number: planned.row.number, reason: &problem.reason }),
            Verdict::Record(_) | Verdict::AlreadyRecorded => None,
        })
        .collect()
}
