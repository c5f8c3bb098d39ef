//! The undo of a run's entries of cases: voids, the last command of a case first.

use std::collections::{BTreeMap, BTreeSet};

use command::CommandError;
use domain::{
    Command, Entry, Rule, Stream,
    identifier::{CommandId, PrisonerNumber},
    prisoner::{self, EntryVoided, PrisonerEvent, RecommendationPolicy, VoidEntries},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use serde_json::json;
use spreadsheets::IMPORT_UNDONE;

use super::{
    LOAD_STREAMS_MAX, Readable, RunUndo, command_id, explain_kept, read_readable_case, read_readable_cases,
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
        match case {
            Ok(mut history) => {
                for revisions in commands_of(&history, entries) {
                    outcomes.extend(self.void_command(&mut history, &revisions).await?);
                }
            }
            Err(damage) => {
                outcomes.extend(entries.keys().map(|&revision| (revision, EntryOutcome::Kept(damage.clone()))))
            }
        }
        let undone = |(revision, outcome): (u64, EntryOutcome)| {
            let event_type = entries.get(&revision)?.clone();
            Some(UndoneEntry { number: number.clone(), revision, event_type, outcome })
        };
        Ok(outcomes.into_iter().filter_map(undone).collect())
    }

    /// Voids the entries of one command: those that count, all or none.
    async fn void_command(
        &self,
        history: &mut prisoner::History,
        revisions: &BTreeSet<u64>,
    ) -> anyhow::Result<Vec<(u64, EntryOutcome)>> {
        let mut due = counting(history, revisions);
        let outcome = loop {
            if due.is_empty() {
                break EntryOutcome::VoidedBefore;
            }
            if self.dry_run {
                break self.try_void(history, &due);
            }
            let number = history.number().clone();
            let command = Command::Prisoner(number.clone(), void(&due));
            match self.send(command, &self.void_content(&number, &due), None).await {
                Ok(_) => break EntryOutcome::Voided,
                // Another command has voided one of them since the case was read.
                Err(CommandError::Refused(refusal)) if refusal.rule == Rule::EntryAlreadyVoided => {
                    match read_readable_case(self.log, &number).await? {
                        Ok(now) => *history = now,
                        Err(damage) => break EntryOutcome::Kept(damage),
                    }
                    let left = counting(history, revisions);
                    if left.len() == due.len() {
                        break EntryOutcome::Kept(refusal.sentence);
                    }
                    due = left;
                }
                Err(error) => break EntryOutcome::Kept(explain_kept(error)?),
            }
        };
        let before =
            revisions.difference(&due).map(|&revision| (revision, self.earlier_void_outcome(history, revision)));
        Ok(before.chain(due.iter().map(|&revision| (revision, outcome.clone()))).collect())
    }

    /// The outcome of an entry that was voided before. An undo that was interrupted and goes on
    /// counts what it voided then.
    fn earlier_void_outcome(&self, history: &prisoner::History, revision: u64) -> EntryOutcome {
        let void_at = |by: u64| history.entries().iter().find(|entry| entry.revision == by);
        let command_id = history.voided_by(revision).and_then(void_at).map(|void| void.command_id);
        let of_command = |entry: &&Entry<PrisonerEvent>| Some(entry.command_id) == command_id;
        let voided: BTreeSet<u64> = history.entries().iter().filter(of_command).filter_map(voided_revision).collect();
        let is_own = command_id == Some(super::command_id(&self.void_content(history.number(), &voided)));
        if is_own && !self.dry_run { EntryOutcome::Voided } else { EntryOutcome::VoidedBefore }
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

/// Those of the entries that were not voided.
fn counting(history: &prisoner::History, revisions: &BTreeSet<u64>) -> BTreeSet<u64> {
    revisions.iter().copied().filter(|revision| history.voided_by(*revision).is_none()).collect()
}

fn voided_revision(entry: &Entry<PrisonerEvent>) -> Option<u64> {
    match &entry.event {
        PrisonerEvent::EntryVoided(EntryVoided { revision, .. }) => Some(*revision),
        _ => None,
    }
}
