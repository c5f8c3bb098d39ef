//! The undo of a run's POMs: a POM whom the run made active becomes `INACTIVE`.
//!
//! The undo keeps a POM
//!
//! - whom an entry still names: one that counts gives the POM a role there, perhaps a role that has
//!   ended since. A void of its end would give the case back, and an inactive POM loses each case
//!   (rule 7);
//! - whom another writer has registered or changed after the run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use command::CommandError;
use domain::{
    Command, Entry,
    identifier::{EventId, PrisonCode, StaffId},
    officer::PomStatus,
    prison::{self, PomStatusChanged, PrisonEvent, RosterPom},
};
use event_log::history;
use serde_json::json;
use spreadsheets::{IMPORT_UNDONE, is_imported};

use super::{
    DECISIONS_MAX, RunUndo, command_id, explain_kept,
    given_roles::{GivenRoles, NamingCases},
    read_readable_prison,
    report::{PomOutcome, UndoneEntry, UndonePom},
    run_records::RunPoms,
};

impl RunUndo<'_> {
    /// Makes the POMs inactive, each prison on the history that was read.
    pub(super) async fn deactivate_poms(
        &self,
        poms: &BTreeMap<PrisonCode, RunPoms>,
        prisons: &mut BTreeMap<PrisonCode, prison::History>,
        undone: &[UndoneEntry],
    ) -> anyhow::Result<Vec<UndonePom>> {
        let would_void: Vec<&UndoneEntry> = undone.iter().filter(|entry| self.dry_run && entry.is_voided()).collect();
        let mut given = GivenRoles::new(poms, prisons, &would_void);
        let mut outcomes = Vec::new();
        for (code, poms) in poms {
            // A prison that cannot be read has a line of its own in the report.
            let Some(prison) = prisons.get_mut(code) else { continue };
            for (&staff_id, of_run) in poms {
                let Some(name) = prison.roster().poms.get(&staff_id).map(|pom| pom.name.clone()) else { continue };
                let outcome = self.deactivate(prison, staff_id, of_run, &mut given).await?;
                outcomes.push(UndonePom { prison: code.clone(), staff_id, name, outcome });
            }
        }
        Ok(outcomes)
    }

    /// Makes a POM inactive, but no POM who is to stay as before. Another change of the roster in
    /// between is read, and the POM is decided on again. Each decision is made on the end of the
    /// log: with many POMs, other writers have time to give the last one a case.
    async fn deactivate(
        &self,
        prison: &mut prison::History,
        staff_id: StaffId,
        of_run: &BTreeSet<EventId>,
        given: &mut GivenRoles,
    ) -> anyhow::Result<PomOutcome> {
        let code = prison.code().clone();
        let pom_at = (code.clone(), staff_id);
        for _ in 0..DECISIONS_MAX {
            let naming = self.count_naming_cases(given, &pom_at).await?;
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
}

/// The last entry about a POM that another writer than an import has recorded after the run's.
fn find_later_change<'a>(
    prison: &'a prison::History,
    staff_id: StaffId,
    of_run: &BTreeSet<EventId>,
) -> Option<&'a Entry<PrisonEvent>> {
    let about = prison.entries().iter().rev().filter(|entry| entry.event.staff_id() == Some(staff_id));
    about.take_while(|entry| !of_run.contains(&entry.event_id)).find(|entry| !is_imported(entry))
}
