//! A request to record something, and its outcome.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{
    Command, Confinement, Refusal, Rule, Stream,
    event::RecordedBy,
    identifier::{CommandId, EventId},
    moment::normalise,
};
use event_log::{LogError, Provenance, StoredEvent, request_digest};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// A command with its envelope.
#[derive(Debug, Clone)]
pub struct Request {
    /// The command and its target.
    pub command: Command,
    /// The idempotency key: a request that is sent again with it gets the same answer and never a
    /// second event.
    pub command_id: CommandId,
    /// Tells a repeat from another request with the same id.
    pub request_digest: RequestDigest,
    /// The person and the client that send it.
    pub recorded_by: RecordedBy,
    /// Links everything that belongs to one request across services.
    pub correlation_id: Uuid,
    /// For a policy's command: the event that caused it.
    pub causation_id: Option<EventId>,
    /// For a command that a tool has read from a file: the place in the file.
    pub provenance: Option<Box<Provenance>>,
    /// When the events are to take effect; `None`: when they are decided.
    pub effective_at: Option<DateTime<Utc>>,
    /// The revision that the stream must be at, if the caller insists on one.
    pub if_match: Option<u64>,
    /// The prisons that the caller is confined to. The ledger itself and its tools are confined to
    /// none.
    pub confinement: Confinement,
}

/// Whether the answer to a repeat is this caller's to see wherever the case is by now: of a caller
/// that is confined to no prison, and of the one that recorded the events, whose command may have
/// moved the case away.
pub(crate) fn may_see_anywhere(
    confinement: &Confinement,
    caller: &RecordedBy,
    repeat: &Result<Outcome, CommandError>,
) -> bool {
    let is_recorder = |outcome: &Outcome| outcome.last().entry.recorded_by == *caller;
    confinement.prisons().is_none() || repeat.as_ref().is_ok_and(is_recorder)
}

/// The times that a request brings to its decision.
#[derive(Clone, Copy)]
pub(crate) struct RequestTimes {
    /// When the events are to take effect; `None`: when they are decided.
    pub(crate) effective_at: Option<DateTime<Utc>>,
    /// For a policy's command: when the event that caused it took effect.
    pub(crate) caused_at: Option<DateTime<Utc>>,
}

impl RequestTimes {
    pub(crate) fn of(request: &Request) -> Self {
        let effective_at = request.effective_at.map(normalise);
        Self { effective_at, caused_at: request.causation_id.and(effective_at) }
    }
}

/// The digest of a request, which tells a repeat from another request with the same id. It is made
/// of the request as it was read ([`event_log::request_digest`]), so that a member that is null or
/// absent, or an instant that is spelt in another way, makes no difference. The log keeps it with
/// the events, so it must be made of nothing about other persons in prison than the case's.
#[derive(Debug, Clone)]
pub struct RequestDigest(String);

impl RequestDigest {
    /// The digest of a request, of which `read` is what it says, as it was read.
    pub(crate) fn of(operation: &str, target: &str, read: &impl Serialize) -> Self {
        let mut read = serde_json::to_value(read).expect("a command is plain JSON");
        remove_nulls(&mut read);
        Self(request_digest(operation, target, &read))
    }

    /// Whether events that the log keeps with the digest `kept` were recorded by the same request.
    pub(crate) fn matches(&self, kept: &str) -> bool {
        self.0 == kept
    }

    /// The digest that is kept with the events of this request.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for RequestDigest {
    fn from(digest: String) -> Self {
        Self(digest)
    }
}

/// Removes the members that are null, so that a digest outlives a further optional member.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// The events that answer a request, in order: at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    earlier: Vec<StoredEvent>,
    last: StoredEvent,
    is_repeated: bool,
}

impl Outcome {
    /// `None` where there are no events.
    pub(crate) fn new(mut events: Vec<StoredEvent>, is_repeated: bool) -> Option<Self> {
        let last = events.pop()?;
        Some(Self { earlier: events, last, is_repeated })
    }

    /// The events, in order.
    pub fn events(&self) -> impl Iterator<Item = &StoredEvent> {
        self.earlier.iter().chain([&self.last])
    }

    /// The last event.
    #[must_use]
    pub fn last(&self) -> &StoredEvent {
        &self.last
    }

    /// The highest position of the events. In a merge the last event may have been recorded before
    /// the others.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.earlier.iter().fold(self.last.entry.position, |position, event| position.max(event.entry.position))
    }

    /// Whether they were recorded before: by an earlier request with the same id, or as the same
    /// fact.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// Adds the events of a further step after these.
    pub(crate) fn extend(&mut self, step: Self) {
        self.earlier.push(std::mem::replace(&mut self.last, step.last));
        self.earlier.extend(step.earlier);
    }
}

/// Why nothing was recorded, as far as is known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError {
    /// A rule refuses the command.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The stream is not at the revision that the caller insists on.
    #[error("{stream} is at revision {actual:?}, not at {expected}")]
    RevisionMismatch {
        /// The stream.
        stream: Stream,
        /// The revision that the caller insists on.
        expected: u64,
        /// The revision of the stream; `None` if it does not exist.
        actual: Option<u64>,
    },
    /// The command id belongs to another request.
    #[error("command id {command_id} was used for another request")]
    KeyReused {
        /// The id.
        command_id: CommandId,
    },
    /// Other commands kept recording on the stream; trying again helps.
    #[error("{stream} is being changed by others")]
    Contended {
        /// The stream.
        stream: Stream,
    },
    /// The policies have not read the log to its end, so the cases that a POM holds are not known;
    /// trying again helps.
    #[error("the log has not been read to its end yet")]
    NotCaughtUp,
    /// The event store does not answer. The events may or may not be recorded: send the same
    /// request again, with the same id.
    #[error("reach the event store")]
    Unavailable(#[source] Arc<LogError>),
    /// The log is damaged, or this program has a bug. An operator must look at it.
    #[error("record the command")]
    Broken(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl CommandError {
    /// The variant in a word, for metrics and for the log. The whole text may name a person, which
    /// the log must not.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::RevisionMismatch { .. } => "revision-mismatch",
            Self::KeyReused { .. } => "key-reused",
            Self::Contended { .. } => "contended",
            Self::NotCaughtUp => "not-caught-up",
            Self::Unavailable(_) => "unavailable",
            Self::Broken(_) => "broken",
        }
    }

    /// Whether it is a refusal by this rule.
    pub(crate) fn is_refusal(&self, rule: Rule) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.rule == rule)
    }

    /// Names the key that the caller sent instead of one that was derived from it, which the caller
    /// does not know.
    pub(crate) fn with_key(self, command_id: CommandId) -> Self {
        match self {
            Self::KeyReused { .. } => Self::KeyReused { command_id },
            error => error,
        }
    }
}

impl From<Arc<LogError>> for CommandError {
    fn from(error: Arc<LogError>) -> Self {
        match *error {
            LogError::Unavailable(_) => Self::Unavailable(error),
            LogError::Damaged { .. } => Self::Broken(error),
        }
    }
}

impl From<LogError> for CommandError {
    fn from(error: LogError) -> Self {
        Arc::new(error).into()
    }
}
