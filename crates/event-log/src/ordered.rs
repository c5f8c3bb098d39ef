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
/// log: then it is unknown, and [`head`](crate::EventLog::head) tells. Where a store appends a
/// batch in parts, the log has its first events, and none after those unless one was
/// [overtaken](OrderedError::Overtaken).
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
    /// A stream is not at the revision that its next event expects. Here and below the stream has
    /// the name that the store shows.
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
    /// The store has recorded an event after one that comes later in the order, or not at all: what
    /// it has is no beginning of the events given.
    #[error("later events were recorded before revision {revision} of {stream}")]
    Overtaken {
        /// The index of the first event that was overtaken, among those given.
        index: usize,
        /// Its stream.
        stream: String,
        /// Its revision.
        revision: u64,
        /// The reason why it is not in the log, where it is not.
        #[source]
        reason: Option<Box<OrderedError>>,
    },
    /// The store does not take an event of this size.
    #[error(
        "revision {revision} of {stream} has {bytes} bytes, more than the event store takes in one append; an operator \
         may raise the limit of the store"
    )]
    TooLarge {
        /// The stream.
        stream: String,
        /// The revision of the event, or of the first of several.
        revision: u64,
        /// The size of the data and the metadata.
        bytes: usize,
    },
    /// The store cannot answer.
    #[error("append events in order")]
    Log(#[from] LogError),
}
