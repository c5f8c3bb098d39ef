//! The prison's side of a plan: its move onto OMiC, and the POMs that the sheet needs on its
//! roster.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    Command, Entry, Stream,
    identifier::StaffId,
    london,
    officer::{PomKind, PomStatus},
    prison::{self, PomDetailsChanged, PomRegistered, PomStatusChanged, PrisonEvent, PrisonJoinedOmic, RosterPom},
};
use event_log::request_digest;
use serde_json::json;

use super::planned_command::{ImportTerms, PlannedCommand, command_id, foreseen_entries};

/// The reason of the voids, and of a POM's status, where an import is undone. A later import of the
/// POM's cases takes that status back.
pub const IMPORT_UNDONE: &str = "import undone";

/// Whether an import recorded an entry of the roster, from whichever door: its command has an id
/// that the ledger made. A person's command has a key of the caller.
#[must_use]
pub fn is_imported(entry: &Entry<PrisonEvent>) -> bool {
    entry.command_id.is_of_the_ledger()
}

/// A POM as the rows of a sheet say it: the commonest name and kind.
pub(super) struct SheetPom<'s> {
    pub(super) staff_id: StaffId,
    pub(super) name: Option<&'s String>,
    pub(super) kind: Option<PomKind>,
}

/// The prison after the import: each planned command is decided and added to its history.
pub(super) struct PlannedRoster<'a> {
    pub(super) history: prison::History,
    pub(super) terms: &'a ImportTerms,
    pub(super) steps: Vec<PlannedCommand>,
}

impl PlannedRoster<'_> {
    /// Plans the move onto OMiC. Answers whether the rules allow it.
    pub(super) fn join(&mut self, joined: &PrisonJoinedOmic, earliest: NaiveDate) -> bool {
        let from = earliest.min(joined.go_live_date);
        let command = match self.terms.unlisted_prison {
            true => prison::Command::JoinOmicUnlisted(joined.clone()),
            false => prison::Command::JoinOmic(joined.clone()),
        };
        let step = self.step("onboarding", command, joined, from);
        let Some(step) = step else { return false };
        self.steps.push(step);
        true
    }

    pub(super) fn register(&mut self, registered: &PomRegistered, earliest: NaiveDate) -> Option<PlannedCommand> {
        self.step("poms", prison::Command::RegisterPom(registered.clone()), registered, earliest)
    }

    /// Plans that a POM is on the roster from an earlier day: one whom an import has registered,
    /// from the first day in its own sheet.
    pub(super) fn register_earlier(
        &mut self,
        staff_id: StaffId,
        from: NaiveDate,
    ) -> Option<(PomRegistered, PlannedCommand)> {
        let mut entries = self.history.in_effective_order().into_iter();
        let is_of_pom = |event: &PrisonEvent| event.staff_id() == Some(staff_id);
        let first =
            entries.find(|entry| matches!(entry.event, PrisonEvent::PomRegistered(_)) && is_of_pom(&entry.event))?;
        if !is_imported(first) || first.effective_at <= london::midnight(from) {
            return None;
        }
        // As corrected on that day, where a wrong registration was undone.
        let known = self.history.roster_at(first.effective_at).poms.get(&staff_id)?.clone();
        let RosterPom { name, kind, working_pattern, email, .. } = known;
        let registered = PomRegistered { staff_id, name, kind, working_pattern, email };
        let step = self.register(&registered, from)?;
        Some((registered, step))
    }

    /// Plans a command that the prison's rules allow. If they refuse it, the rules for cases refuse
    /// the rows that need it, with their own sentence.
    fn step(
        &mut self,
        operation: &str,
        command: prison::Command,
        body: &impl serde::Serialize,
        from: NaiveDate,
    ) -> Option<PlannedCommand> {
        let id = json!(["spreadsheet prison", operation, self.history.code(), body, from]);
        self.step_at(operation, command, body, &id, london::midnight(from))
    }

    /// The same from an instant on, by a command with the id of this content.
    fn step_at(
        &mut self,
        operation: &str,
        command: prison::Command,
        body: &impl serde::Serialize,
        id: &serde_json::Value,
        effective_at: DateTime<Utc>,
    ) -> Option<PlannedCommand> {
        let code = self.history.code().clone();
        // Another machine's clock may be ahead of this one.
        let recorded_at = self.history.entries().last().map(|last| last.recorded_at);
        let now = recorded_at.map_or(self.terms.now, |recorded_at| recorded_at.max(self.terms.now));
        let context = prison::Context { now, effective_at };
        let events = prison::decide(&self.history, &command, &context).ok()?;
        let command_id = command_id(id);
        let (stream, recorded) = (Stream::Prison(code.clone()), self.history.entries().len());
        for entry in foreseen_entries(&stream, recorded, events, command_id, effective_at, self.terms) {
            self.history.push(entry);
        }
        let request_digest = request_digest(operation, code.as_str(), &(body, effective_at));
        Some(PlannedCommand {
            command: Command::Prison(code, command),
            command_id,
            request_digest,
            effective_at,
            if_match: None,
        })
    }

    /// Plans that POMs of the sheet are active again, who became inactive when the import that had
    /// registered them was undone: from the moment at which they became inactive, as if the undone
    /// import had never been. So each has the name and the kind that the sheet has now.
    pub(super) fn reactivate_undone<'s>(
        &mut self,
        poms: impl Iterator<Item = SheetPom<'s>>,
    ) -> Vec<(RosterPom, Vec<PlannedCommand>)> {
        let is_undone =
            |pom: &RosterPom| pom.status == PomStatus::Inactive && pom.reason.as_deref() == Some(IMPORT_UNDONE);
        let on_roster = &self.history.roster().poms;
        let undone = poms.filter_map(|of_sheet| Some((on_roster.get(&of_sheet.staff_id)?, of_sheet)));
        let undone: Vec<_> =
            undone.filter(|(pom, _)| is_undone(pom)).map(|(pom, of_sheet)| (pom.clone(), of_sheet)).collect();
        let mut reactivated = Vec::with_capacity(undone.len());
        for (pom, of_sheet) in undone {
            // Before the status: an import that ends between the two finds the POM still undone.
            let mut steps = self.correct_undone(&pom, &of_sheet);
            let status =
                PomStatusChanged { staff_id: pom.staff_id, status: PomStatus::Active, returns_on: None, reason: None };
            let command = prison::Command::ChangePomStatus(status.clone());
            // A POM may be reactivated after each undo.
            let id = json!(["spreadsheet prison", "pom-status", self.history.code(), status, pom.status_event]);
            let Some(step) = self.step_at("pom-status", command, &status, &id, pom.status_since) else { continue };
            steps.push(step);
            let pom = self.history.roster().poms.get(&pom.staff_id).cloned().unwrap_or(pom);
            reactivated.push((pom, steps));
        }
        reactivated
    }

    /// Plans that a POM whose registration was undone has the name and the kind of the sheet, since
    /// each registration. Where a person has registered or changed the POM, the roster is right.
    fn correct_undone(&mut self, pom: &RosterPom, of_sheet: &SheetPom<'_>) -> Vec<PlannedCommand> {
        let mut registered_at = BTreeSet::new();
        for entry in self.history.entries().iter().filter(|entry| entry.event.staff_id() == Some(pom.staff_id)) {
            match entry.event {
                PrisonEvent::PomRegistered(_) => drop(registered_at.insert(entry.effective_at)),
                PrisonEvent::PomDetailsChanged(_) => {}
                _ => continue,
            }
            if !is_imported(entry) {
                return Vec::new();
            }
        }
        let mut steps = Vec::new();
        for at in registered_at {
            let Some(known) = self.history.roster_at(at).poms.get(&pom.staff_id).cloned() else { continue };
            let details = PomDetailsChanged {
                staff_id: pom.staff_id,
                name: of_sheet.name.filter(|name| **name != known.name).cloned(),
                kind: of_sheet.kind.filter(|kind| *kind != known.kind),
                working_pattern: None,
                email: None,
            };
            let command = prison::Command::ChangePomDetails(details.clone());
            let id = json!(["spreadsheet prison", "pom-details", self.history.code(), details, at, pom.status_event]);
            // Details that are right already are no change, which the rules refuse.
            steps.extend(self.step_at("pom-details", command, &details, &id, at));
        }
        steps
    }

    pub(super) fn kind_of(&self, staff_id: StaffId) -> Option<PomKind> {
        self.history.roster().poms.get(&staff_id).map(|pom| pom.kind)
    }
}
