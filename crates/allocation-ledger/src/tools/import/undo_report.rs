//! The report of `import undo`.

use std::{collections::BTreeMap, io::Write};

use anyhow::Context as _;
use chrono::NaiveDate;
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    text::Visible,
};
use event_log::Provenance;
use serde_json::json;
use uuid::Uuid;

use super::report::{count_of, table};

/// An entry that the run recorded, with its outcome.
#[derive(Debug, Clone)]
pub struct UndoneEntry {
    /// The case.
    pub number: PrisonerNumber,
    /// The entry's revision.
    pub revision: u64,
    /// The type of its event.
    pub event_type: &'static str,
    /// The outcome.
    pub outcome: EntryOutcome,
}

impl UndoneEntry {
    /// Whether it was voided now, or would be.
    #[must_use]
    pub fn is_voided(&self) -> bool {
        matches!(self.outcome, EntryOutcome::Voided)
    }
}

/// The outcome of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryOutcome {
    /// It was voided.
    Voided,
    /// It had been voided before.
    VoidedBefore,
    /// It counts as before: the sentence of the rule that keeps it.
    Kept(String),
}

/// A POM whom the run put on a roster.
#[derive(Debug, Clone)]
pub struct UndonePom {
    /// The prison.
    pub prison: PrisonCode,
    /// The POM.
    pub staff_id: StaffId,
    /// The POM's name on the roster.
    pub name: String,
    /// The outcome.
    pub outcome: PomOutcome,
}

/// The outcome of a POM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PomOutcome {
    /// The POM became `INACTIVE`.
    Inactive,
    /// The POM was `INACTIVE` before.
    InactiveBefore,
    /// The POM holds so many cases, and stays as before.
    Holds(usize),
    /// The POM stays as before: the sentence of the rule.
    Kept(String),
}

/// The outcome of everything that a run recorded.
#[derive(Debug)]
pub struct UndoReport {
    /// The run.
    pub run: Uuid,
    /// The file and the sheet that it read.
    pub provenance: Provenance,
    /// Whether nothing was recorded on purpose.
    pub dry_run: bool,
    /// The entries of cases.
    pub entries: Vec<UndoneEntry>,
    /// The POMs.
    pub poms: Vec<UndonePom>,
    /// The go-live dates of the prisons that the run took onto OMiC.
    pub go_live_dates: BTreeMap<PrisonCode, NaiveDate>,
    /// How many entries on contacts in NOMIS stay.
    pub kept_contacts: usize,
}

impl UndoReport {
    /// Writes a JSON line for each entry, each POM and each go-live date.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let mut line = |line: serde_json::Value| writeln!(out, "{line}").context("write the report");
        for UndoneEntry { number, revision, event_type, outcome } in &self.entries {
            let (outcome, reason) = match outcome {
                EntryOutcome::Voided if self.dry_run => ("would-void".to_owned(), None),
                EntryOutcome::Voided => ("voided".to_owned(), None),
                EntryOutcome::VoidedBefore => ("already-voided".to_owned(), None),
                EntryOutcome::Kept(reason) => ("kept".to_owned(), Some(reason)),
            };
            line(json!({
                "run": self.run, "prisonerNumber": number, "revision": revision, "type": event_type,
                "outcome": outcome, "reason": reason,
            }))?;
        }
        for UndonePom { prison, staff_id, name, outcome } in &self.poms {
            let (outcome, reason) = match outcome {
                PomOutcome::Inactive if self.dry_run => ("would-become-inactive".to_owned(), None),
                PomOutcome::Inactive => ("inactive".to_owned(), None),
                PomOutcome::InactiveBefore => ("already-inactive".to_owned(), None),
                PomOutcome::Holds(cases) => ("kept".to_owned(), Some(format!("holds {}", count_of(*cases, "case")))),
                PomOutcome::Kept(reason) => ("kept".to_owned(), Some(reason.clone())),
            };
            line(json!({
                "run": self.run, "prison": prison, "staffId": staff_id, "name": name,
                "outcome": outcome, "reason": reason,
            }))?;
        }
        for (prison, go_live_date) in &self.go_live_dates {
            line(json!({ "run": self.run, "prison": prison, "goLiveDate": go_live_date, "outcome": "kept" }))?;
        }
        out.flush().context("write the report")
    }

    /// Writes a table of the entries that could not be voided, and sentences.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let mut kept = table(&["Prisoner", "Entry", "Event", "Not voided because"]);
        for entry in &self.entries {
            if let EntryOutcome::Kept(reason) = &entry.outcome {
                kept.add_row([entry.number.as_str(), &entry.revision.to_string(), entry.event_type, reason]);
            }
        }
        if kept.row_count() > 0 {
            writeln!(out, "{}\n", Visible(&kept.to_string())).context("write the report")?;
        }
        writeln!(out, "{}", Visible(&self.summary())).context("write the report")?;
        out.flush().context("write the report")
    }

    /// The summary, a sentence a line.
    fn summary(&self) -> String {
        let count = |wanted: fn(&EntryOutcome) -> bool| self.entries.iter().filter(|e| wanted(&e.outcome)).count();
        let voided = count(|outcome| *outcome == EntryOutcome::Voided);
        let before = count(|outcome| *outcome == EntryOutcome::VoidedBefore);
        let kept = count(|outcome| matches!(outcome, EntryOutcome::Kept(_)));
        let entries = if voided == 1 { "entry" } else { "entries" };
        let Provenance { file, sheet, .. } = &self.provenance;
        let mut lines = vec![format!(
            "Run {} of {file}, sheet `{sheet}`: {voided} {entries} of cases {}, {kept} not{}.",
            self.run,
            if self.dry_run { "would be voided" } else { "voided" },
            if before > 0 { format!(", {before} voided before") } else { String::new() },
        )];
        for UndonePom { prison, staff_id, name, outcome } in &self.poms {
            let what = match outcome {
                PomOutcome::Inactive if self.dry_run => "would become INACTIVE (import undone)".to_owned(),
                PomOutcome::Inactive => "is INACTIVE now (import undone)".to_owned(),
                PomOutcome::InactiveBefore => "was INACTIVE before".to_owned(),
                PomOutcome::Holds(cases) => format!("holds {} and stays on the roster", count_of(*cases, "case")),
                PomOutcome::Kept(reason) => format!("stays on the roster: {reason}"),
            };
            lines.push(format!("{name} (staff id {staff_id}) at {prison} {what}."));
        }
        for (prison, go_live_date) in &self.go_live_dates {
            lines.push(format!(
                "{prison} stays on OMiC with go-live date {go_live_date}: `PUT /prisons/{prison}/go-live-date` corrects it."
            ));
        }
        if self.kept_contacts > 0 {
            lines.push(format!(
                "{} on contacts in NOMIS stay: entries of a prison cannot be voided.",
                if self.kept_contacts == 1 { "1 entry".to_owned() } else { format!("{} entries", self.kept_contacts) }
            ));
        }
        if self.dry_run {
            lines.push("Dry run: nothing was recorded.".to_owned());
        }
        lines.join("\n")
    }
}
