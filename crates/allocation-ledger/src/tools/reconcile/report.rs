//! The report of a reconciliation.

use std::io::{self, Write as _};

use domain::{identifier::PrisonCode, london, text::Visible};
use hmpps::reconcile::{Discrepancy, DiscrepancyOutcome, Remedy, Resolution};
use serde_json::{Value, json};
use spreadsheets::remarks::count_of;

use crate::stdout::{self, table};

/// The differences of a prison, each with its outcome.
pub(super) struct ReconciliationReport {
    /// The prison.
    pub prison: PrisonCode,
    /// The people who are at the prison on either side.
    pub people: usize,
    /// Whether what is safe was to be recorded.
    pub applied: bool,
    /// The differences.
    pub outcomes: Vec<(Discrepancy, DiscrepancyOutcome)>,
}

impl ReconciliationReport {
    /// Whether there are differences that nothing has closed.
    pub fn differs(&self) -> bool {
        let is_open = |outcome: &DiscrepancyOutcome| match outcome {
            DiscrepancyOutcome::WouldRecord | DiscrepancyOutcome::Left(_) => true,
            DiscrepancyOutcome::Recorded | DiscrepancyOutcome::RecordedBefore => false,
        };
        self.outcomes.iter().any(|(_, outcome)| is_open(outcome))
    }

    fn count(&self, is_counted: impl Fn(&DiscrepancyOutcome) -> bool) -> usize {
        self.outcomes.iter().filter(|(_, outcome)| is_counted(outcome)).count()
    }

    fn summary(&self) -> String {
        let (prison, people) = (&self.prison, count_of(self.people, "case"));
        let compared = format!("{people} at {prison} on either side.");
        if self.outcomes.is_empty() {
            return format!("The ledger and the estate agree. {compared}");
        }
        let left = self.count(|outcome| matches!(outcome, DiscrepancyOutcome::Left(_)));
        let closed = match self.applied {
            true => {
                let recorded = self.count(|outcome| *outcome == DiscrepancyOutcome::Recorded);
                let before = self.count(|outcome| *outcome == DiscrepancyOutcome::RecordedBefore);
                let before = if before > 0 { format!(", {before} recorded by another run") } else { String::new() };
                format!("{recorded} recorded{before}")
            }
            false => {
                let safe = self.count(|outcome| *outcome == DiscrepancyOutcome::WouldRecord);
                format!("{safe} that --apply records")
            }
        };
        let differences = count_of(self.outcomes.len(), "difference");
        format!("{differences}: {closed}, {left} left to a person. {compared}")
    }
}

/// Prints the report: as a table with a summary, or as JSON lines, with the summary on standard
/// error.
///
/// # Errors
/// Standard output takes nothing.
pub(super) fn print_report(report: &ReconciliationReport, is_json: bool) -> anyhow::Result<()> {
    let summary = report.summary();
    if is_json {
        stdout::ignore_broken_pipe(print_json(report))?;
        eprintln!("{}", Visible(&summary));
        return Ok(());
    }
    stdout::ignore_broken_pipe(print_table(report, &summary))
}

fn print_json(report: &ReconciliationReport) -> io::Result<()> {
    let mut out = stdout::lock();
    for (finding, outcome) in &report.outcomes {
        serde_json::to_writer(&mut out, &document(finding, outcome))?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn document(finding: &Discrepancy, outcome: &DiscrepancyOutcome) -> Value {
    let remedy = remedy_of(finding);
    let since = remedy.and_then(|remedy| remedy.since);
    let reason = match outcome {
        DiscrepancyOutcome::Left(why) => Some(why),
        DiscrepancyOutcome::Recorded | DiscrepancyOutcome::RecordedBefore | DiscrepancyOutcome::WouldRecord => None,
    };
    json!({
        "prisonerNumber": finding.number, "difference": finding.kind.word(), "ledger": finding.ledger,
        "estate": finding.estate, "operation": remedy.map(|remedy| remedy.operation),
        "effectiveAt": since.map(|since| since.at), "effectiveAtFrom": since.map(|since| since.field),
        "outcome": outcome.word(), "reason": reason,
    })
}

fn print_table(report: &ReconciliationReport, summary: &str) -> io::Result<()> {
    let mut out = stdout::lock();
    let mut table = table(&["Prisoner", "Difference", "Ledger", "Estate", "Outcome", "Why, or how"]);
    for (finding, outcome) in &report.outcomes {
        let how = match (outcome, remedy_of(finding)) {
            (DiscrepancyOutcome::Left(why), _) => why.clone(),
            (_, Some(remedy)) => describe_remedy(remedy),
            (_, None) => String::new(),
        };
        table.add_row([
            finding.number.to_string(),
            finding.kind.word().replace('_', " ").to_lowercase(),
            finding.ledger.clone(),
            finding.estate.clone(),
            outcome.word().replace('_', " ").to_lowercase(),
            how,
        ]);
    }
    if table.row_count() > 0 {
        writeln!(out, "{}\n", Visible(&table.to_string()))?;
    }
    writeln!(out, "{}", Visible(summary))?;
    out.flush()
}

fn remedy_of(finding: &Discrepancy) -> Option<&Remedy> {
    match &finding.resolution {
        Resolution::Record(remedy) => Some(remedy),
        Resolution::Leave(_) => None,
    }
}

/// The operation, and since when it holds: as the source says, or from the recording.
fn describe_remedy(remedy: &Remedy) -> String {
    let since = match remedy.since {
        Some(since) => format!("since {}, by {}", london::clock(since.at), since.field),
        None => "from now on".to_owned(),
    };
    format!("{}, {since}", remedy.operation.replace('-', " "))
}
