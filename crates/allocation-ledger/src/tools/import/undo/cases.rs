//! The undo of a run's entries of cases: voids, the last command of a case first.

use std::collections::{BTreeMap, BTreeSet};

use command::{CommandError, policies};
use domain::{
    Command, Entry, Stream,
    identifier::{CommandId, PrisonerNumber},
    prisoner::{self, DeallocationTrigger, EntryVoided, PrisonerEvent, RecommendationPolicy, State, VoidEntries},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use import::record::LOAD_STREAMS_MAX;
use indicatif::ProgressBar;
use serde_json::json;
use spreadsheets::IMPORT_UNDONE;

use super::{
    DECISIONS_MAX, Readable, RunUndo, command_id, explain_kept, read_readable_case, read_readable_cases,
    report::{EntryOutcome, UndoneEntry},
    run_records::RunEntries,
};

/// Cases undone side by side.
const CASES_AT_ONCE: usize = 64;

impl RunUndo<'_> {
    /// Voids the run's entries. Answers them by case, first first.
    pub(super) async fn void_entries(
        &self,
        cases: &BTreeMap<PrisonerNumber, RunEntries>,
        progress: &ProgressBar,
    ) -> anyhow::Result<Vec<UndoneEntry>> {
        let numbers: Vec<PrisonerNumber> = cases.keys().cloned().collect();
        let mut undone = Vec::new();
        for numbers in numbers.chunks(LOAD_STREAMS_MAX) {
            let of_cases: Vec<Vec<UndoneEntry>> = stream::iter(read_readable_cases(self.log, numbers).await?)
                .map(|(number, case)| async move {
                    let Some(entries) = cases.get(&number) else { return Ok(Vec::new()) };
                    let undone = self.void_entries_of(number, case, entries).await;
                    progress.inc(1);
                    undone
                })
                .buffered(CASES_AT_ONCE)
                .try_collect()
                .await?;
            undone.extend(of_cases.into_iter().flatten());
        }
        Ok(undone)
    }

    async fn void_entries_of(
        &self,
        number: PrisonerNumber,
        case: Readable<prisoner::History>,
        entries: &RunEntries,
    ) -> anyhow::Result<Vec<UndoneEntry>> {
        let mut outcomes = BTreeMap::new();
        let mut by_policy = RunEntries::new();
        match case {
            Ok(mut history) => {
                for revisions in commands_of(&history, entries) {
                    outcomes.extend(self.void_command(&mut history, &revisions).await?);
                }
                let is_by_policy = |entry: &&Entry<_>| {
                    outcomes.contains_key(&entry.revision) && !entries.contains_key(&entry.revision)
                };
                let ends = history.entries().iter().filter(is_by_policy);
                by_policy.extend(ends.map(|entry| (entry.revision, entry.event.type_name().to_owned())));
            }
            Err(damage) => {
                outcomes.extend(entries.keys().map(|&revision| (revision, EntryOutcome::Kept(damage.clone()))))
            }
        }
        let undone = |(revision, outcome): (u64, EntryOutcome)| {
            let is_by_policy = by_policy.contains_key(&revision);
            let event_type = if is_by_policy { &by_policy } else { entries }.get(&revision)?.clone();
            Some(UndoneEntry { number: number.clone(), revision, event_type, is_by_policy, outcome })
        };
        Ok(outcomes.into_iter().filter_map(undone).collect())
    }

    /// Voids the entries of one command: those that count, all or none. With them it voids those in
    /// which the policy of rule 7 ended a role that they gave.
    async fn void_command(
        &self,
        history: &mut prisoner::History,
        revisions: &BTreeSet<u64>,
    ) -> anyhow::Result<BTreeMap<u64, EntryOutcome>> {
        let mut due = find_due(history, revisions);
        let mut outcome = EntryOutcome::VoidedBefore;
        for _ in 0..DECISIONS_MAX {
            if due.is_empty() {
                outcome = EntryOutcome::VoidedBefore;
                break;
            }
            if self.dry_run {
                outcome = self.try_void(history, &due);
                break;
            }
            let number = history.number().clone();
            let command = Command::Prisoner(number.clone(), void(&due));
            match self.send(command, &self.void_content(&number, &due), None).await {
                Ok(_) => {
                    outcome = EntryOutcome::Voided;
                    break;
                }
                Err(CommandError::Refused(refusal)) => {
                    outcome = EntryOutcome::Kept(refusal.sentence);
                    // Since the case was read, another command may have voided one of them, or the
                    // policy may have ended a role.
                    match read_readable_case(self.log, &number).await? {
                        Ok(now) => *history = now,
                        Err(damage) => {
                            outcome = EntryOutcome::Kept(damage);
                            break;
                        }
                    }
                    let due_now = find_due(history, revisions);
                    if due_now == due {
                        break;
                    }
                    due = due_now;
                }
                Err(error) => {
                    outcome = EntryOutcome::Kept(explain_kept(error)?);
                    break;
                }
            }
        }
        let mut outcomes = BTreeMap::new();
        for &revision in revisions.difference(&due) {
            outcomes.extend(self.earlier_void_outcomes(history, revision));
        }
        // Where the command is kept, so is what the policy did, which is not of the run.
        let is_of_report = |revision: &&u64| outcome == EntryOutcome::Voided || revisions.contains(revision);
        outcomes.extend(due.iter().filter(is_of_report).map(|&revision| (revision, outcome.clone())));
        Ok(outcomes)
    }

    /// The outcome of an entry that was voided before. An undo that was interrupted and goes on
    /// counts what it voided then, also what the policy had recorded.
    fn earlier_void_outcomes(&self, history: &prisoner::History, revision: u64) -> BTreeMap<u64, EntryOutcome> {
        let void_at = |by: u64| history.entries().iter().find(|entry| entry.revision == by);
        let command_id = history.voided_by(revision).and_then(void_at).map(|void| void.command_id);
        let of_command = |entry: &&Entry<PrisonerEvent>| Some(entry.command_id) == command_id;
        let voided: BTreeSet<u64> = history.entries().iter().filter(of_command).filter_map(voided_revision).collect();
        let is_own = command_id == Some(super::command_id(&self.void_content(history.number(), &voided)));
        if is_own && !self.dry_run {
            voided.into_iter().map(|revision| (revision, EntryOutcome::Voided)).collect()
        } else {
            BTreeMap::from([(revision, EntryOutcome::VoidedBefore)])
        }
    }

    /// The content that the id of a void is made of.
    fn void_content(&self, number: &PrisonerNumber, revisions: &BTreeSet<u64>) -> serde_json::Value {
        json!(["void", self.run, number, revisions])
    }

    /// Voids entries in a history that is in memory alone.
    pub(super) fn try_void(&self, history: &mut prisoner::History, revisions: &BTreeSet<u64>) -> EntryOutcome {
        let now = self.clock.now();
        let now = history.entries().last().map_or(now, |last| now.max(last.recorded_at));
        let context = prisoner::Context {
            now,
            effective_at: now,
            prison: None,
            recommendation_policy: RecommendationPolicy::default(),
        };
        let events = match prisoner::decide(history, &void(revisions), &context) {
            Ok(events) => events,
            Err(refusal) => return EntryOutcome::Kept(refusal.sentence),
        };
        let command_id = command_id(&self.void_content(history.number(), revisions));
        for (index, event) in events.into_iter().enumerate() {
            history.push(Entry {
                event_id: command_id.event_id(&Stream::Prisoner(history.number().clone()), index),
                revision: history.entries().len() as u64,
                // The position is unknown before the append, and no rule looks at it.
                position: 0,
                effective_at: now,
                recorded_at: now,
                recorded_by: self.recorded_by.clone(),
                command_id,
                event,
            });
        }
        EntryOutcome::Voided
    }
}

fn void(revisions: &BTreeSet<u64>) -> prisoner::Command {
    prisoner::Command::VoidEntries(VoidEntries { revisions: revisions.clone(), reason: IMPORT_UNDONE.to_owned() })
}

/// The run's entries of a case by the command that recorded them, the last command first.
fn commands_of(history: &prisoner::History, entries: &RunEntries) -> Vec<BTreeSet<u64>> {
    let mut commands: Vec<(CommandId, BTreeSet<u64>)> = Vec::new();
    for entry in history.entries().iter().rev().filter(|entry| entries.contains_key(&entry.revision)) {
        match commands.last_mut() {
            Some((command_id, revisions)) if *command_id == entry.command_id => drop(revisions.insert(entry.revision)),
            _ => commands.push((entry.command_id, BTreeSet::from([entry.revision]))),
        }
    }
    commands.into_iter().map(|(_, revisions)| revisions).collect()
}

/// The entries to void with a command of the run: those of the command that count, and those in
/// which the policy ended a role that one of these gave.
fn find_due(history: &prisoner::History, revisions: &BTreeSet<u64>) -> BTreeSet<u64> {
    let counting: BTreeSet<u64> =
        revisions.iter().copied().filter(|revision| history.voided_by(*revision).is_none()).collect();
    let ends = find_ends_by_policy(history, &counting);
    counting.into_iter().chain(ends).collect()
}

/// Looks for the entries in which the policy of rule 7 ended a role that one of the entries
/// `given_by` gave. A person who voids such an entry does not get rid of it: the POM is inactive,
/// and the policy ends the role again.
fn find_ends_by_policy(history: &prisoner::History, given_by: &BTreeSet<u64>) -> Vec<u64> {
    let policy = policies::recorded_by();
    let mut ends = Vec::new();
    let mut before = State::default();
    for entry in history.in_effective_order() {
        let ended = match &entry.event {
            PrisonerEvent::Deallocated(ended) => before.primary_pom.as_ref().map(|role| (role, ended.trigger)),
            PrisonerEvent::CoworkerDeallocated(ended) => {
                before.coworking_pom.as_ref().map(|role| (role, ended.trigger))
            }
            _ => None,
        };
        if let Some((role, DeallocationTrigger::PomInactive)) = ended
            && entry.recorded_by == policy
            && given_by.contains(&role.given_by)
        {
            ends.push(entry.revision);
        }
        before.apply(entry);
    }
    ends
}

fn voided_revision(entry: &Entry<PrisonerEvent>) -> Option<u64> {
    match &entry.event {
        PrisonerEvent::EntryVoided(EntryVoided { revision, .. }) => Some(*revision),
        _ => None,
    }
}
