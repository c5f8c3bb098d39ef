//! Which command records a row. A row that an earlier import recorded is not recorded again while
//! its entry counts. Where the entry was voided, the row is recorded by a further command, with an
//! id of its own: the first one is spent.

use domain::{
    identifier::CommandId,
    prisoner::{self, EntryVoided, PrisonerEvent},
};
use serde_json::json;

use super::planned_command::command_id;

/// The state of a row in the history of its case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowAttempt {
    /// An entry of the row counts.
    Recorded,
    /// The row is to be recorded by this command. `voided` is the revision of the entry that an
    /// earlier import recorded and that was voided since, if there is one.
    Due { command_id: CommandId, voided: Option<u64> },
}

/// Looks for a row, by its content, in the history of its case.
pub(super) fn find_attempt(history: &prisoner::History, content: &serde_json::Value) -> RowAttempt {
    let entries = || history.entries().iter();
    let counts = |revision: u64| history.voided_by(revision).is_none();
    let mut voided = None;
    // Each attempt has an entry in the history, so there is an end to them.
    for attempt in 0_u64.. {
        let id = match attempt {
            0 => command_id(content),
            _ => command_id(&json!(["spreadsheet row again", attempt, content])),
        };
        // The last entry of a command is the one that the row is about: a tier may come before it.
        match entries().rfind(|entry| entry.command_id == id).map(|entry| entry.revision) {
            None => return RowAttempt::Due { command_id: id, voided },
            Some(revision) if counts(revision) => return RowAttempt::Recorded,
            Some(revision) => voided = Some(revision),
        }
    }
    RowAttempt::Recorded
}

/// The warning beside a row that is recorded again.
pub(super) fn voided_warning(history: &prisoner::History, revision: u64) -> String {
    let reason = history.voided_by(revision).and_then(|by| {
        history.entries().iter().find(|entry| entry.revision == by).and_then(|entry| match &entry.event {
            PrisonerEvent::EntryVoided(EntryVoided { reason, .. }) => Some(reason.as_str()),
            _ => None,
        })
    });
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("an earlier import recorded this row as entry {revision}, which was voided since{reason}")
}
