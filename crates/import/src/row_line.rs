//! A row of data with its outcome, as reports and answers show it; and the caseloads that a plan
//! gives to POMs.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::{
    identifier::{PrisonerNumber, StaffId},
    officer::PomKind,
    tier::Tier,
};
use serde::{Deserialize, Serialize};
use spreadsheets::{
    plan::{ImportPlan, PlannedRow, Verdict},
    row::RowCase,
};
use utoipa::ToSchema;

/// The outcome of a row, as it is or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RowOutcome {
    /// It would be recorded.
    WouldRecord,
    /// It was recorded.
    Recorded,
    /// An earlier import recorded it.
    AlreadyRecorded,
    /// It is refused.
    Refused,
}

/// One row of data. Every member is always there.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ImportedRow)]
pub struct RowLine<'a> {
    /// The name of the sheet.
    pub sheet: &'a str,
    /// The number of the row in a spreadsheet program.
    pub row: u32,
    /// The number of the row among those of data.
    pub data_row: u32,
    /// Its outcome, as it is or would be.
    pub outcome: RowOutcome,
    /// The prisoner number, where it can be read.
    #[schema(value_type = Option<PrisonerNumber>)]
    pub prisoner_number: Option<&'a PrisonerNumber>,
    /// The tier.
    pub tier: Option<Tier>,
    /// The POM's staff id.
    pub staff_id: Option<StaffId>,
    /// The POM's name as the row has it.
    pub pom_name: Option<&'a str>,
    /// The POM's kind, from the row, the other rows of the POM, or the roster.
    pub pom_kind: Option<PomKind>,
    /// The date of allocation.
    pub allocated_on: Option<NaiveDate>,
    /// Since when a case without a POM waits, where the sheet says it.
    pub waiting_since: Option<NaiveDate>,
    /// Why the row is refused, as a code: that of a rule, or of the column at fault.
    pub code: Option<&'a str>,
    /// The heading of the column at fault.
    pub column: Option<&'a str>,
    /// The value at fault.
    pub value: Option<&'a str>,
    /// Why the row is refused, in a sentence.
    pub reason: Option<&'a str>,
    /// Doubts that a person should look at, although the row is recorded.
    pub warnings: &'a [String],
}

impl<'a> RowLine<'a> {
    /// The line of a planned row. `if_due` is the outcome of one that the plan records.
    #[must_use]
    pub fn new(sheet: &'a str, planned: &'a PlannedRow, if_due: RowOutcome) -> Self {
        let case = planned.row.allocated();
        let problem = match &planned.verdict {
            Verdict::Refused(problem) => Some(problem),
            Verdict::Record(_) | Verdict::AlreadyRecorded => None,
        };
        RowLine {
            sheet,
            row: planned.row.number,
            data_row: planned.row.data_row,
            outcome: match &planned.verdict {
                Verdict::Record(_) => if_due,
                Verdict::AlreadyRecorded => RowOutcome::AlreadyRecorded,
                Verdict::Refused(_) => RowOutcome::Refused,
            },
            prisoner_number: planned.row.prisoner_number.as_ref(),
            tier: planned.row.case.as_ref().ok().map(RowCase::tier),
            staff_id: case.map(|case| case.staff_id),
            pom_name: case.and_then(|case| case.pom_name.as_deref()),
            pom_kind: planned.pom_kind,
            allocated_on: case.map(|case| case.allocated_on),
            waiting_since: match &planned.row.case {
                Ok(RowCase::Waiting(waiting)) => waiting.since,
                _ => None,
            },
            code: problem.map(|problem| problem.code.as_str()),
            column: problem.and_then(|problem| problem.column.as_deref()),
            value: problem.and_then(|problem| problem.value.as_deref()),
            reason: problem.map(|problem| problem.reason.as_str()),
            warnings: &planned.warnings,
        }
    }
}

/// The cases that a plan gives to a POM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCaseload<'a> {
    /// The POM's staff id.
    pub staff_id: StaffId,
    /// The POM's name, as the ledger has it: the rows may spell it in several ways.
    pub name: &'a str,
    /// The POM's kind.
    pub kind: Option<PomKind>,
    /// How many cases.
    pub cases: usize,
    /// How many cases by the letter of their tier.
    pub by_tier: BTreeMap<char, usize>,
}

/// The cases that a plan records, by POM.
#[must_use]
pub fn planned_caseloads(plan: &ImportPlan) -> Vec<PlannedCaseload<'_>> {
    let mut caseloads = BTreeMap::<StaffId, PlannedCaseload<'_>>::new();
    for planned in plan.rows.iter().filter(|planned| matches!(planned.verdict, Verdict::Record(_))) {
        let Some(case) = planned.row.allocated() else { continue };
        let caseload = caseloads.entry(case.staff_id).or_insert_with(|| PlannedCaseload {
            staff_id: case.staff_id,
            name: "",
            kind: None,
            cases: 0,
            by_tier: BTreeMap::new(),
        });
        caseload.name = planned.roster_name.as_deref().unwrap_or_default();
        caseload.kind = planned.pom_kind;
        caseload.cases += 1;
        *caseload.by_tier.entry(case.tier.letter()).or_default() += 1;
    }
    caseloads.into_values().collect()
}

/// How many cases a plan records that no POM has.
#[must_use]
pub fn count_waiting(plan: &ImportPlan) -> usize {
    let is_waiting = |row: &&PlannedRow| {
        matches!(row.verdict, Verdict::Record(_)) && matches!(row.row.case, Ok(RowCase::Waiting(_)))
    };
    plan.rows.iter().filter(is_waiting).count()
}
