//! Ordered append: events of many streams in the order that the caller gives, for copying a log and
//! for filling an empty one.
//!
//! Each store has a writer of its own for it; the events and the errors are the same.

use chrono::{DateTime, Utc};
use domain::Stream;

use crate::{ExpectedRevision, LogError, NewEvent};

/// An event and its place in its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedEvent {
    /// The stream it belongs to.
    pub stream: Stream,
    /// 0-based place in its stream.
    pub revision: u64,
    /// The event. Its recorded time is kept as it is.
    pub event: NewEvent,
}

/// Why a batch was not appended. Nothing of it was, except where the log is out of reach: then nobody knows, and
/// [`head`](event_log::EventLog::head) tells.
#[derive(Debug, thiserror::Error)]
pub enum OrderedError {
    /// Somebody else has appended, or the caller has lost count.
    #[error("the log ends at position {head}, not at {after}")]
    Moved {
        /// Where the batch was to stand.
        after: u64,
        /// Where the log ends.
        head: u64,
    },
    /// A stream is not where its next event expects it.
    #[error("{stream} is at {actual:?}, so its next event cannot be revision {revision}")]
    Revision {
        /// The stream.
        stream: String,
        /// The revision that the event was to have.
        revision: u64,
        /// Where the stream is.
        actual: ExpectedRevision,
    },
    /// A recorded time that the log could not keep: it lies before that of the event before it in its stream, or is finer
    /// than a microsecond.
    #[error(
        "the log cannot keep the recorded time {recorded_at} at position {position}: the stream's event before has \
         {before}"
    )]
    RecordedTime {
        /// Where the event was to stand.
        position: u64,
        /// Its recorded time.
        recorded_at: DateTime<Utc>,
        /// Recorded time of the event before it in its stream, as far as the batch tells.
        before: DateTime<Utc>,
    },
    /// The store cannot answer.
    #[error("append events in order")]
    Log(#[from] LogError),
}
