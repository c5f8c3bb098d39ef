//! The report of a comparison of a sheet with the ledger.

use std::io::{self, Write as _};

use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    officer::Pom,
    prisoner,
    text::Visible,
    tier::Tier,
};
use serde_json::json;
use spreadsheets::{
    compare::RowDifference,
    layout::SheetReading,
    plan::ImportTerms,
    refused::RefusedRow,
    remarks::count_of,
    row::{DataRow, RowCase, RowProblem},
};

use crate::stdout::{self, table};

/// A case that differs between sheet and ledger.
#[derive(Debug, Clone)]
pub struct ComparedCase {
    number: Option<PrisonerNumber>,
    row: Option<u32>,
    kind: ComparedKind,
    tier: Option<Tier>,
    tier_before: Option<Tier>,
    staff_id: Option<StaffId>,
    pom_before: Option<Pom>,
    /// Why the case is listed alone, where there is more to say than that.
    remark: Option<String>,
    outcome: DifferenceOutcome,
    /// Whether the ledger has the case here, and the sheet lacks it.
    is_gone_from_here: bool,
    /// Doubts that a person should look at.
    warnings: Vec<String>,
}

/// How a case differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ComparedKind {
    New,
    Changed,
    /// A POM holds it, and the sheet names no POM.
    Unallocated,
    Gone,
    /// One row says that it has left, and another has it as one that is here.
    Contradictory,
    Unreadable,
}

/// The outcome of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DifferenceOutcome {
    /// Nothing: it is listed.
    Listed,
    /// It would be recorded.
    WouldRecord,
    /// It was recorded.
    Recorded,
    /// An earlier import recorded the row.
    RecordedBefore,
    /// It is refused, for this reason.
    Refused(String),
}

impl ComparedCase {
    /// The case of a row; `None` where the row says what the ledger has.
    pub fn of_row(
        row: u32,
        case: &RowCase,
        difference: RowDifference,
        outcome: DifferenceOutcome,
        warnings: &[String],
    ) -> Option<Self> {
        let staff_id = match case {
            RowCase::Allocated(case) => Some(case.staff_id),
            RowCase::Waiting(_) => None,
        };
        let (kind, tier_before, pom_before) = match difference {
            // A command of another writer came between, and the row was recorded after it.
            RowDifference::None if matches!(outcome, DifferenceOutcome::Recorded) => {
                (ComparedKind::Changed, None, None)
            }
            RowDifference::None => return None,
            RowDifference::New => (ComparedKind::New, None, None),
            RowDifference::Changed { tier_before, pom_before } => {
                let kind = match (staff_id, &pom_before) {
                    (None, Some(_)) => ComparedKind::Unallocated,
                    _ => ComparedKind::Changed,
                };
                (kind, tier_before, pom_before)
            }
        };
        Some(Self {
            number: Some(case.prisoner_number().clone()),
            row: Some(row),
            kind,
            tier: Some(case.tier()),
            tier_before,
            staff_id,
            pom_before,
            remark: None,
            outcome,
            is_gone_from_here: false,
            // The doubts are about a case that waits.
            warnings: if kind == ComparedKind::Unallocated { Vec::new() } else { warnings.to_vec() },
        })
    }

    /// A case that the sheet lacks, or that rows or the user say has left.
    pub fn gone(
        history: &prisoner::History,
        row: Option<u32>,
        remark: Option<String>,
        outcome: DifferenceOutcome,
        is_gone_from_here: bool,
    ) -> Self {
        let state = history.state();
        Self {
            number: Some(history.number().clone()),
            row,
            kind: ComparedKind::Gone,
            tier: None,
            tier_before: state.tier.map(|held| held.tier),
            staff_id: None,
            pom_before: state.primary_pom.map(|role| role.pom),
            remark,
            outcome,
            is_gone_from_here,
            warnings: Vec::new(),
        }
    }

    /// A case of which one row says that it has left, while another has it as one that is here.
    pub fn contradictory(
        history: &prisoner::History,
        row: Option<u32>,
        reason: String,
        outcome: DifferenceOutcome,
    ) -> Self {
        Self { kind: ComparedKind::Contradictory, ..Self::gone(history, row, Some(reason), outcome, false) }
    }

    fn differences(&self) -> Vec<&'static str> {
        match self.kind {
            ComparedKind::New => vec!["new"],
            ComparedKind::Gone => vec!["gone"],
            ComparedKind::Contradictory => vec!["contradictory"],
            ComparedKind::Unallocated => vec!["unallocated"],
            ComparedKind::Unreadable => vec!["unreadable"],
            ComparedKind::Changed => {
                let is_plain = self.tier_before.is_none() && self.pom_before.is_none();
                let words = [
                    (self.tier_before.is_some(), "re-tiered"),
                    (self.pom_before.is_some(), "reallocated"),
                    (is_plain, "changed-meanwhile"),
                ];
                words.into_iter().filter_map(|(applies, word)| applies.then_some(word)).collect()
            }
        }
    }

    fn outcome(&self) -> (&'static str, Option<&str>) {
        match &self.outcome {
            DifferenceOutcome::Listed => ("listed", self.remark.as_deref()),
            DifferenceOutcome::WouldRecord => ("would-record", None),
            DifferenceOutcome::Recorded => ("recorded", None),
            DifferenceOutcome::RecordedBefore => ("already-recorded", None),
            DifferenceOutcome::Refused(reason) => ("refused", Some(reason)),
        }
    }
}

/// The differences between a sheet and the ledger.
#[derive(Debug)]
pub struct ComparisonReport {
    prison: PrisonCode,
    sheet: String,
    /// The differences, those of rows first.
    pub cases: Vec<ComparedCase>,
    /// How many rows say what the ledger has.
    pub unchanged: usize,
}

impl ComparisonReport {
    /// A report without differences.
    pub fn new(terms: &ImportTerms, sheet: &str) -> Self {
        Self { prison: terms.prison.clone(), sheet: sheet.to_owned(), cases: Vec::new(), unchanged: 0 }
    }

    /// Adds a row that cannot be read.
    pub fn add_unreadable(&mut self, row: &DataRow, problem: &RowProblem) {
        self.cases.push(ComparedCase {
            number: row.prisoner_number.clone(),
            row: Some(row.number),
            kind: ComparedKind::Unreadable,
            tier: None,
            tier_before: None,
            staff_id: None,
            pom_before: None,
            remark: None,
            outcome: DifferenceOutcome::Refused(problem.reason.clone()),
            is_gone_from_here: false,
            warnings: Vec::new(),
        });
    }

    /// The rows that are refused.
    #[must_use]
    pub fn refused_rows(&self) -> Vec<RefusedRow<'_>> {
        self.cases
            .iter()
            .filter_map(|case| match (case.row, &case.outcome) {
                (Some(number), DifferenceOutcome::Refused(reason)) => Some(RefusedRow { number, reason }),
                _ => None,
            })
            .collect()
    }

    /// Writes JSON lines, with the reading and the summary on standard error; or the reading, a
    /// table and the summary. The remarks on the reading, and `closing`, come after the summary.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn write(&self, is_json: bool, reading: &SheetReading, closing: &[String]) -> anyhow::Result<()> {
        let summary = [&[self.summary()], reading.remarks.as_slice(), closing].concat().join("\n");
        let written = if is_json { self.write_json(reading) } else { self.write_table(reading, &summary) };
        if is_json {
            eprintln!("{}\n{}", Visible(&reading.to_string()), Visible(&summary));
        }
        stdout::ignore_broken_pipe(written)
    }

    fn write_json(&self, reading: &SheetReading) -> io::Result<()> {
        let mut out = stdout::lock();
        for (index, case) in self.cases.iter().enumerate() {
            let (outcome, reason) = case.outcome();
            let before = case.pom_before.as_ref();
            let line = json!({
                "row": case.row, "prisonerNumber": case.number, "differences": case.differences(),
                "tier": case.tier, "tierBefore": case.tier_before, "staffId": case.staff_id,
                "staffIdBefore": before.map(|pom| pom.staff_id), "pomBefore": before.map(|pom| &pom.name),
                "outcome": outcome, "reason": reason, "warnings": case.warnings,
                "reading": (index == 0).then_some(reading),
            });
            writeln!(out, "{line}")?;
        }
        out.flush()
    }

    fn write_table(&self, reading: &SheetReading, summary: &str) -> io::Result<()> {
        let mut out = stdout::lock();
        writeln!(out, "{}", Visible(&reading.to_string()))?;
        let mut shown = table(&["Row", "Prisoner", "Difference", "Ledger", "Sheet", "Outcome"]);
        for case in &self.cases {
            let tier = |tier: Option<Tier>| tier.map(|tier| format!("tier {tier}"));
            let pom = case.pom_before.as_ref().map(|pom| format!("{} ({})", pom.name, pom.staff_id));
            let in_ledger: Vec<_> = [tier(case.tier_before), pom].into_iter().flatten().collect();
            let in_sheet = [tier(case.tier), case.staff_id.map(|id| format!("staff id {id}"))];
            let (outcome, reason) = case.outcome();
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            let warnings: String = case.warnings.iter().map(|warning| format!("; look at it: {warning}")).collect();
            shown.add_row([
                case.row.map(|row| row.to_string()).unwrap_or_default(),
                case.number.as_ref().map(ToString::to_string).unwrap_or_default(),
                case.differences().join(", "),
                in_ledger.join(", "),
                in_sheet.into_iter().flatten().collect::<Vec<_>>().join(", "),
                format!("{}{reason}{warnings}", outcome.replace('-', " ")),
            ]);
        }
        if shown.row_count() > 0 {
            writeln!(out, "{}\n", Visible(&shown.to_string()))?;
        }
        writeln!(out, "{}", Visible(summary))?;
        out.flush()
    }

    /// The summary, a sentence a line.
    fn summary(&self) -> String {
        let count = |word: &str| self.cases.iter().filter(|case| case.differences().contains(&word)).count();
        let [new, gone, retiered, reallocated, unallocated, unreadable] =
            ["new", "gone", "re-tiered", "reallocated", "unallocated", "unreadable"].map(count);
        let mut lines = vec![format!(
            "Sheet `{}` beside the ledger, at {}: {new} new, {gone} gone, {retiered} re-tiered, {reallocated} reallocated, \
             {unallocated} unallocated, {} unchanged, {unreadable} unreadable.",
            self.sheet, self.prison, self.unchanged,
        )];
        let contradictory = count("contradictory");
        if contradictory > 0 {
            lines.push(format!(
                "The sheet contradicts itself in {}: nothing is recorded of them.",
                count_of(contradictory, "case")
            ));
        }
        let is_listed = |case: &&ComparedCase| case.is_gone_from_here && case.outcome == DifferenceOutcome::Listed;
        let staying = self.cases.iter().filter(is_listed).count();
        if staying > 0 {
            lines.push(format!(
                "{} gone from the sheet, and {} in the ledger as before: name a case that left with --apply and --released \
                 NUMBER=DATE or --transferred NUMBER=CODE@DATE.",
                if staying == 1 { "1 case is".to_owned() } else { format!("{staying} cases are") },
                if staying == 1 { "stays" } else { "stay" },
            ));
        }
        let without_number = self.cases.iter().filter(|case| case.number.is_none()).count();
        if staying > 0 && without_number > 0 {
            let rows = count_of(without_number, "row");
            lines.push(format!("{rows} without a readable prisoner number may be of a case that seems gone."));
        }
        lines.join("\n")
    }
}
