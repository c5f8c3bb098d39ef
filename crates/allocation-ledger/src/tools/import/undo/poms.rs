//! The undo of a run's POMs: a POM whom the run made active becomes `INACTIVE`.
//!
//! A POM stays as before
//!
//! - while an entry of a case that counts gives the POM a role there, also one that has ended
//!   since: a void of its end would give the case back, and an inactive POM loses each case
//!   (rule 7);
//! - where another writer has registered or changed the POM after the run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use command::CommandError;
use domain::{
    Command, Entry, Event, Stream,
    identifier::{EventId, PrisonCode, PrisonerNumber, StaffId},
    officer::PomStatus,
    prison::{self, PomStatusChanged, PrisonEvent, RosterPom},
    prisoner::{self, PrisonerEventType, RoleChange},
};
use event_log::{RecordedEvent, decode, history};
use futures::TryStreamExt as _;
use serde_json::json;
use spreadsheets::IMPORT_UNDONE;

use super::{
    DECISIONS_MAX, LOAD_STREAMS_MAX, RunUndo, command_id, explain_kept, read_readable_cases, read_readable_prison,
    report::{PomOutcome, UndoneEntry, UndonePom},
    run_records::RunPoms,
};
use crate::tools::import::CLIENT;

/// A POM at a prison.
type PomAt = (PrisonCode, StaffId);

/// How many cases have entries that count and give a POM a role.
#[derive(Debug, Clone, Copy, Default)]
struct NamingCases {
    /// Those with a role now.
    held: usize,
    /// All of them, those that cannot be read included.
    named: usize,
}

impl RunUndo<'_> {
    /// Makes the POMs inactive, each prison on the history that was read.
    pub(super) async fn deactivate_poms(
        &self,
        poms: &BTreeMap<PrisonCode, RunPoms>,
        prisons: &mut BTreeMap<PrisonCode, prison::History>,
        undone: &[UndoneEntry],
    ) -> anyhow::Result<Vec<UndonePom>> {
        let naming = self.find_naming_cases(poms, prisons, undone).await?;
        let mut outcomes = Vec::new();
        for (code, poms) in poms {
            // A prison that cannot be read has a line of its own in the report.
            let Some(prison) = prisons.get_mut(code) else { continue };
            for (&staff_id, of_run) in poms {
                let Some(name) = prison.roster().poms.get(&staff_id).map(|pom| pom.name.clone()) else { continue };
                let naming = naming.get(&(code.clone(), staff_id)).copied().unwrap_or_default();
                let outcome = self.deactivate(prison, staff_id, of_run, naming).await?;
                outcomes.push(UndonePom { prison: code.clone(), staff_id, name, outcome });
            }
        }
        Ok(outcomes)
    }

    /// Makes a POM inactive, unless the POM is to stay as before. Another change of the roster in
    /// between is read, and the POM is decided on again.
    async fn deactivate(
        &self,
        prison: &mut prison::History,
        staff_id: StaffId,
        of_run: &BTreeSet<EventId>,
        naming: NamingCases,
    ) -> anyhow::Result<PomOutcome> {
        let code = prison.code().clone();
        for _ in 0..DECISIONS_MAX {
            let Some(pom) = prison.roster().poms.get(&staff_id) else { break };
            if let Some(outcome) = self.find_stay(prison, pom, of_run, naming) {
                return Ok(outcome);
            }
            if self.dry_run {
                return Ok(PomOutcome::Inactive);
            }
            let status = PomStatusChanged {
                staff_id,
                status: PomStatus::Inactive,
                returns_on: None,
                reason: Some(IMPORT_UNDONE.to_owned()),
            };
            let content = self.status_content(&code, staff_id, pom.status_event);
            let command = Command::Prison(code.clone(), prison::Command::ChangePomStatus(status));
            match self.send(command, &content, prison.revision()).await {
                Ok(outcome) => {
                    let last = &outcome.last().entry;
                    // Behind another undo's events the history is too old, which the next command
                    // finds.
                    if last.revision == prison.entries().len() as u64 {
                        history::push(prison, last.clone()).context("take in the POM's status")?;
                    }
                    return Ok(PomOutcome::Inactive);
                }
                Err(CommandError::RevisionMismatch { .. }) => match read_readable_prison(self.log, &code).await? {
                    Ok(now) => *prison = now,
                    Err(damage) => return Ok(PomOutcome::Kept(damage)),
                },
                Err(error) => return Ok(PomOutcome::Kept(explain_kept(error)?)),
            }
        }
        Ok(PomOutcome::Kept(format!("Other commands keep changing the roster of {code}. Undo the run again.")))
    }

    /// The outcome of a POM who is to stay as before, or who is inactive already.
    fn find_stay(
        &self,
        prison: &prison::History,
        pom: &RosterPom,
        of_run: &BTreeSet<EventId>,
        naming: NamingCases,
    ) -> Option<PomOutcome> {
        if pom.status == PomStatus::Inactive {
            return Some(self.earlier_status_outcome(prison, pom, of_run));
        }
        if naming.held > 0 {
            return Some(PomOutcome::Holds(naming.held));
        }
        if naming.named > 0 {
            return Some(PomOutcome::Named(naming.named));
        }
        let is_of_run = of_run.contains(&pom.status_event);
        let decisive = if is_of_run {
            find_later_change(prison, pom.staff_id, of_run)
        } else {
            prison.entries().iter().find(|entry| entry.event_id == pom.status_event)
        };
        let Entry { revision, event, .. } = decisive?;
        Some(PomOutcome::Kept(format!(
            "Entry {revision} of {} ({}) is not of this run, and says how the POM is on the roster now.",
            prison.code(),
            event.type_name()
        )))
    }

    /// The outcome of a POM who is inactive. An undo that was interrupted and goes on counts the
    /// status that it gave then.
    fn earlier_status_outcome(
        &self,
        prison: &prison::History,
        pom: &RosterPom,
        of_run: &BTreeSet<EventId>,
    ) -> PomOutcome {
        let given_by = prison.entries().iter().find(|entry| entry.event_id == pom.status_event);
        let own = |event: &EventId| command_id(&self.status_content(prison.code(), pom.staff_id, *event));
        let is_own = given_by.is_some_and(|given_by| of_run.iter().map(own).any(|own| own == given_by.command_id));
        if is_own && !self.dry_run { PomOutcome::Inactive } else { PomOutcome::InactiveBefore }
    }

    /// The content that the id of a command on a POM's status is made of.
    fn status_content(&self, code: &PrisonCode, staff_id: StaffId, status_event: EventId) -> serde_json::Value {
        json!(["pom-status", self.run, code, staff_id, status_event])
    }

    /// Looks for the cases whose entries name the POMs, up to the end of the log: other writers may
    /// have given them cases until now.
    async fn find_naming_cases(
        &self,
        poms: &BTreeMap<PrisonCode, RunPoms>,
        prisons: &BTreeMap<PrisonCode, prison::History>,
        undone: &[UndoneEntry],
    ) -> anyhow::Result<BTreeMap<PomAt, NamingCases>> {
        // No POM has a role before the first registration.
        let mut first_registered = None::<u64>;
        let mut roles: BTreeMap<PomAt, BTreeSet<PrisonerNumber>> = BTreeMap::new();
        for (code, prison) in prisons.iter() {
            for &staff_id in poms.get(code).into_iter().flat_map(RunPoms::keys) {
                let is_first = |entry: &&Entry<PrisonEvent>| matches!(&entry.event, PrisonEvent::PomRegistered(registered) if registered.staff_id == staff_id);
                let Some(registration) = prison.entries().iter().find(is_first) else { continue };
                let position = first_registered.get_or_insert(registration.position);
                *position = registration.position.min(*position);
                roles.insert((code.clone(), staff_id), BTreeSet::new());
            }
        }
        let Some(after) = first_registered else { return Ok(BTreeMap::new()) };
        let mut pages = self.log.read_pages(after, u64::MAX);
        while let Some(events) = pages.try_next().await.context("read the log")? {
            for event in &events {
                add_roles_given(&mut roles, event);
            }
        }
        // For a dry run: the entries that would be voided.
        let mut voided: BTreeMap<&PrisonerNumber, BTreeSet<u64>> = BTreeMap::new();
        for entry in undone.iter().filter(|entry| self.dry_run && entry.is_voided()) {
            voided.entry(&entry.number).or_default().insert(entry.revision);
        }
        let numbers: BTreeSet<&PrisonerNumber> = roles.values().flatten().collect();
        let numbers: Vec<PrisonerNumber> = numbers.into_iter().cloned().collect();
        let mut naming: BTreeMap<PomAt, NamingCases> = BTreeMap::new();
        for numbers in numbers.chunks(LOAD_STREAMS_MAX) {
            for (number, case) in read_readable_cases(self.log, numbers).await? {
                let case = case.ok().map(|mut case| {
                    if let Some(revisions) = voided.get(&number) {
                        self.try_void(&mut case, revisions);
                    }
                    case
                });
                for (pom, _) in roles.iter().filter(|(_, cases)| cases.contains(&number)) {
                    let naming = naming.entry(pom.clone()).or_default();
                    naming.named += usize::from(case.as_ref().is_none_or(|case| names(case, pom)));
                    naming.held += usize::from(case.as_ref().is_some_and(|case| holds(case, pom)));
                }
            }
        }
        Ok(naming)
    }
}

/// The last entry about a POM that another writer than an import has recorded after the run's.
fn find_later_change<'a>(
    prison: &'a prison::History,
    staff_id: StaffId,
    of_run: &BTreeSet<EventId>,
) -> Option<&'a Entry<PrisonEvent>> {
    let about = prison.entries().iter().rev().filter(|entry| entry.event.staff_id() == Some(staff_id));
    about.take_while(|entry| !of_run.contains(&entry.event_id)).find(|entry| entry.recorded_by.client != CLIENT)
}

/// Adds the case of an event that gives one of the POMs a role. An event that cannot be read counts
/// for each POM whose staff id is in it.
fn add_roles_given(roles: &mut BTreeMap<PomAt, BTreeSet<PrisonerNumber>>, recorded: &RecordedEvent) {
    let Stream::Prisoner(number) = &recorded.stream else { return };
    if PrisonerEventType::from_name(&recorded.type_name).is_some_and(|event_type| !event_type.may_change_roles()) {
        return;
    }
    match decode(recorded).map(|stored| stored.entry.event) {
        Ok(Event::Prisoner(event)) => {
            for change in event.role_changes() {
                if let RoleChange::Given(prison, staff_id) = change
                    && let Some(cases) = roles.get_mut(&(prison.clone(), staff_id))
                {
                    cases.insert(number.clone());
                }
            }
        }
        Ok(Event::Prison(_)) | Err(_) => {
            let data = String::from_utf8_lossy(&recorded.data);
            for ((_, staff_id), cases) in roles.iter_mut() {
                if data.contains(&staff_id.to_string()) {
                    cases.insert(number.clone());
                }
            }
        }
    }
}

/// Whether an entry of the case that counts gives the POM a role at the prison.
fn names(case: &prisoner::History, (prison, staff_id): &PomAt) -> bool {
    let is_given = |change| matches!(change, RoleChange::Given(at, to) if at == prison && to == *staff_id);
    case.in_effective_order().into_iter().any(|entry| entry.event.role_changes().into_iter().any(is_given))
}

/// Whether the POM has a role on the case at the prison.
fn holds(case: &prisoner::History, (prison, staff_id): &PomAt) -> bool {
    case.state().roles().any(|role| role.pom.staff_id == *staff_id && role.prison == *prison)
}
