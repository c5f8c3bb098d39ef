//! A request to record something, and what answers it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{
    Command, Refusal, Stream,
    event::RecordedBy,
    identifier::{CommandId, EventId},
};
use event_log::{LogError, StoredEvent};
use uuid::Uuid;

/// A command with everything that travels beside it.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked.
    pub command: Command,
    /// Sent again, the same id gets the same answer and never a second event.
    pub command_id: CommandId,
    /// Tells a repeat from another request with the same id: see [`event_log::request_digest`].
    pub request_digest: String,
    /// Who asks.
    pub recorded_by: RecordedBy,
    /// Ties together what belongs to one request across services.
    pub correlation_id: Uuid,
    /// The event that a policy acts on, where one does.
    pub causation_id: Option<EventId>,
    /// When it is to hold from; absent, from now.
    pub effective_at: Option<DateTime<Utc>>,
    /// The revision that the stream has to be at, where the caller insists on one.
    pub if_match: Option<u64>,
}

/// What was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The command's events, at least one, in order.
    pub events: Vec<StoredEvent>,
    /// Whether an earlier request with the same id recorded them.
    pub repeated: bool,
}

impl Outcome {
    /// The command's last event.
    ///
    /// # Panics
    /// Never: a command that is not refused has events.
    #[must_use]
    pub fn last(&self) -> &StoredEvent {
        self.events.last().expect("an outcome has events")
    }
}

/// Why nothing was recorded, as far as is known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A rule says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The caller insisted on a revision that the stream is not at.
    #[error("{stream} is at revision {actual:?}, not at {expected}")]
    RevisionMismatch {
        /// The stream.
        stream: Stream,
        /// What the caller insisted on.
        expected: u64,
        /// Where the stream is; `None` where it does not exist.
        actual: Option<u64>,
    },
    /// The command id belongs to another request.
    #[error("command id {command_id} was used for another request")]
    KeyReused {
        /// The id.
        command_id: CommandId,
    },
    /// Others kept recording on the stream; trying again helps.
    #[error("{stream} is being changed by others")]
    Contended {
        /// The stream.
        stream: Stream,
    },
    /// The policies have not read the log up to its end yet, so which cases a POM holds is not known; trying again helps.
    #[error("the log has not been read to its end yet")]
    NotCaughtUp,
    /// The event store cannot answer. What was asked may or may not be recorded: send the same again, with the same id.
    #[error("reach the event store")]
    Unavailable(#[source] Arc<LogError>),
    /// The log is damaged, or this program has a bug. Wake somebody.
    #[error("record the command")]
    Broken(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// In a word, for metrics and for the log, which must not name anybody as the whole sentence may.
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
}

impl From<Arc<LogError>> for Error {
    fn from(error: Arc<LogError>) -> Self {
        match *error {
            LogError::Unavailable(_) => Self::Unavailable(error),
            LogError::Damaged { .. } => Self::Broken(error),
        }
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        Arc::new(error).into()
    }
}
