//! The report of `import undo`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use chrono::NaiveDate;
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    nomis_contacts::NomisContactEvent,
    text::Visible,
};
use event_log::Provenance;
use serde_json::json;
use spreadsheets::remarks::count_of;
use uuid::Uuid;

use crate::stdout::table;

/// The reason why contacts stay.
const CONTACTS_STAY: &str = "entries on contacts cannot be voided";

/// The reason why an entry is voided that is not of the run.
const ENDED_BY_POLICY: &str = "the POM was inactive, and so lost the role that the run gave (rule 7)";

/// An entry that the run recorded, or that is voided with one, and its outcome.
#[derive(Debug, Clone)]
pub struct UndoneEntry {
    /// The case.
    pub number: PrisonerNumber,
    /// The entry's revision.
    pub revision: u64,
    /// The type of its event.
    pub event_type: String,
    /// Whether the policy of rule 7 recorded it, and not the run: it ended a role that the run
    /// gave, and is voided with the entry that gave it.
    pub is_by_policy: bool,
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
    /// This undo voided it, perhaps before it was interrupted and begun again.
    Voided,
    /// It had been voided otherwise.
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
    /// This undo made the POM `INACTIVE`, perhaps before it was interrupted and begun again.
    Inactive,
    /// The POM had become `INACTIVE` otherwise.
    InactiveBefore,
    /// The POM holds so many cases, and stays as before.
    Holds(usize),
    /// The POM holds no case, but entries of so many cases gave the POM a role that has ended. The
    /// POM stays as before.
    Named(usize),
    /// The POM stays as before, for the reason in this sentence.
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
    /// The prisons that cannot be read, each with the sentence that says so.
    pub damaged_prisons: BTreeMap<PrisonCode, String>,
    /// The contacts in NOMIS, which stay.
    pub contacts: Vec<NomisContactEvent>,
}

impl UndoReport {
    /// The numbers of the cases and contacts that it names.
    pub fn numbers(&self) -> impl Iterator<Item = &PrisonerNumber> {
        let of_contacts = self.contacts.iter().map(|event| &event.contact().prisoner_number);
        self.entries.iter().map(|entry| &entry.number).chain(of_contacts)
    }

    /// A report on nothing yet.
    pub fn new(run: Uuid, provenance: Provenance, dry_run: bool) -> Self {
        Self {
            run,
            provenance,
            dry_run,
            entries: Vec::new(),
            poms: Vec::new(),
            go_live_dates: BTreeMap::new(),
            damaged_prisons: BTreeMap::new(),
            contacts: Vec::new(),
        }
    }

    /// The refusal to undo a run that recorded nothing but contacts in NOMIS: the run, and the way
    /// to correct it.
    pub fn refusal(&self) -> Option<String> {
        let prison = &self.contacts.first().filter(|_| self.entries.is_empty())?.contact().prison;
        let Provenance { file, .. } = &self.provenance;
        let seen =
            self.contacts.iter().filter(|event| matches!(event, NomisContactEvent::NomisContactFound(_))).count();
        let gone = self.contacts.len() - seen;
        Some(format!(
            "run {} of {file} is one of `import nomis-contacts`: it recorded {} as seen in NOMIS and {} as gone from \
             there, at {prison}. Contacts cannot be undone. Import the list as it should be with `allocation-ledger \
             import nomis-contacts FILE --prison {prison} --complete`: it confirms that the contacts which the list lacks \
             are gone, and records those which it has",
            self.run,
            count_of(seen, "contact"),
            count_of(gone, "contact"),
        ))
    }

    /// Writes a JSON line for each entry, each POM, each go-live date, each prison that cannot be
    /// read and each contact.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |line: serde_json::Value| writeln!(out, "{line}");
        for UndoneEntry { number, revision, event_type, is_by_policy, outcome } in &self.entries {
            let why_voided = is_by_policy.then_some(ENDED_BY_POLICY);
            let (outcome, reason) = match outcome {
                EntryOutcome::Voided if self.dry_run => ("would-void", why_voided),
                EntryOutcome::Voided => ("voided", why_voided),
                EntryOutcome::VoidedBefore => ("already-voided", None),
                EntryOutcome::Kept(reason) => ("kept", Some(reason.as_str())),
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
                PomOutcome::Named(cases) => ("kept".to_owned(), Some(explain_named(*cases))),
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
        for (prison, damage) in &self.damaged_prisons {
            line(json!({ "run": self.run, "prison": prison, "outcome": "kept", "reason": damage }))?;
        }
        for event in &self.contacts {
            let contact = event.contact();
            line(json!({
                "run": self.run, "prison": contact.prison, "type": event.type_name(), "contactId": contact.contact_id,
                "prisonerNumber": contact.prisoner_number, "staffId": contact.staff_id, "name": contact.name,
                "contactType": contact.contact_type, "outcome": "kept", "reason": CONTACTS_STAY,
            }))?;
        }
        out.flush()
    }

    /// Writes a table of the entries that could not be voided, and sentences.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let mut kept = table(&["Prisoner", "Entry", "Event", "Not voided because"]);
        for entry in &self.entries {
            if let EntryOutcome::Kept(reason) = &entry.outcome {
                kept.add_row([entry.number.as_str(), &entry.revision.to_string(), &entry.event_type, reason]);
            }
        }
        if kept.row_count() > 0 {
            writeln!(out, "{}\n", Visible(&kept.to_string()))?;
        }
        writeln!(out, "{}", Visible(&self.summary()))?;
        out.flush()
    }

    /// The summary, a sentence a line.
    pub fn summary(&self) -> String {
        let (by_policy, of_run): (Vec<_>, Vec<_>) = self.entries.iter().partition(|entry| entry.is_by_policy);
        let count = |wanted: fn(&EntryOutcome) -> bool| of_run.iter().filter(|entry| wanted(&entry.outcome)).count();
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
        if !by_policy.is_empty() {
            let (entries, were) = if by_policy.len() == 1 { ("entry", "was") } else { ("entries", "were") };
            let were = if self.dry_run { "would be" } else { were };
            lines.push(format!(
                "{} {entries} in which the policy of rule 7 ended a role {were} voided with them.",
                by_policy.len()
            ));
        }
        for UndonePom { prison, staff_id, name, outcome } in &self.poms {
            let what = match outcome {
                PomOutcome::Inactive if self.dry_run => "would become INACTIVE (import undone)".to_owned(),
                PomOutcome::Inactive => "is INACTIVE now (import undone)".to_owned(),
                PomOutcome::InactiveBefore => "was INACTIVE before".to_owned(),
                PomOutcome::Holds(cases) => format!("holds {} and stays on the roster", count_of(*cases, "case")),
                PomOutcome::Named(cases) => format!("stays on the roster: {}", explain_named(*cases)),
                PomOutcome::Kept(reason) => format!("stays as before: {}", reason.trim_end_matches('.')),
            };
            lines.push(format!("{name} (staff id {staff_id}) at {prison} {what}."));
        }
        for (prison, damage) in &self.damaged_prisons {
            lines.push(format!("The POMs and the go-live date of {prison} stay as before. {damage}"));
        }
        for (prison, go_live_date) in &self.go_live_dates {
            lines.push(format!(
                "{prison} stays on OMiC with go-live date {go_live_date}: `PUT /prisons/{prison}/go-live-date` corrects it."
            ));
        }
        if !self.contacts.is_empty() {
            lines.push(format!("{} in NOMIS: {CONTACTS_STAY}.", count_of(self.contacts.len(), "contact")));
        }
        if self.dry_run {
            lines.push("Dry run: nothing was recorded.".to_owned());
        }
        lines.join("\n")
    }
}

fn explain_named(cases: usize) -> String {
    let (entries, name) = if cases == 1 { ("an entry", "names") } else { ("entries", "name") };
    format!("{entries} of {} still {name} the POM", count_of(cases, "case"))
}
