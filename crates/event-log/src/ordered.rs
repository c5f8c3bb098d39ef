//! Ordered append: events of many streams in the order that the caller gives, for copying a log and
//! for filling an empty one.
//!
//! Each store has an `OrderedWriter` of its own. The events and the errors are the same.

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
    /// The event. The store keeps its recorded time unchanged.
    pub event: NewEvent,
}

/// The reason why a batch was not appended.
///
/// Where a store appends a batch whole, none of it was appended. An exception is an unreachable
/// log: then it is unknown, and [`head`](crate::EventLog::head) tells.
#[derive(Debug, thiserror::Error)]
pub enum OrderedError {
    /// Another writer has appended, or the caller has lost count.
    #[error("the log ends at position {head}, not at {after}")]
    Moved {
        /// The position after which the batch was to go.
        after: u64,
        /// The position of the log's end.
        head: u64,
    },
    /// A stream is not at the revision that its next event expects.
    #[error("{stream} is at {actual:?}, so its next event cannot be revision {revision}")]
    Revision {
        /// The stream.
        stream: String,
        /// The revision that the event was to have.
        revision: u64,
        /// The stream's actual revision.
        actual: ExpectedRevision,
    },
    /// The log cannot keep this recorded time: it is earlier than that of the event before it in
    /// its stream, or finer than a microsecond.
    #[error(
        "the log cannot keep the recorded time {recorded_at} at position {position}: the stream's event before has \
         {before}"
    )]
    RecordedTime {
        /// The position that the event was to have.
        position: u64,
        /// Its recorded time.
        recorded_at: DateTime<Utc>,
        /// Recorded time of the event before it in its stream, where the batch has that event.
        before: DateTime<Utc>,
    },
    /// The store cannot answer.
    #[error("append events in order")]
    Log(#[from] LogError),
}
