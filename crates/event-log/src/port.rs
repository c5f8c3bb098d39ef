//! The port: the promises of every event store.
//!
//! - **Optimistic concurrency** per stream: an append names the expected revision, and a conflict
//!   tells the actual one. There is no "any".
//! - **Idempotent append**: the same event ids at the same revision get the first answer again.
//! - **Order**: positions grow. A reader that has seen position p never later finds an event at or
//!   below p, also while it follows. Positions need not be dense. Callers must only pass 0 or the
//!   position of an event that the store gave out.
//! - **Recorded time** never runs backwards within a stream, nor below a time that the same process
//!   has appended or read before. In a store without a lock over all streams, two concurrent
//!   appends to different streams may be ordered differently from their recorded times. So
//!   everything before the first event that was recorded after an instant was known at it
//!   ([`EventLog::position_at`]).
//! - **Acknowledged is durable**: [`EventLog::append`] answers after the commit, never before.
//! - **A key means one request**: for 24 hours at least, a key that was recorded on one stream, or
//!   spent on a request that recorded nothing, is refused for any other ([`SpentKey`]).
//! - **Exact bytes**: data and metadata come back as they were given.
//! - **Snapshots** are no part of the log: no reader of events meets one, and a store may lose any.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{
    Stream,
    identifier::{CommandId, EventId},
};
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};

/// Most events in one append, which are the events of one command. Merges and releases make three;
/// the rest is a reserve.
pub const APPEND_EVENTS_MAX: usize = 64;

/// Most events in one page of [`EventLog::read_all`] and [`EventLog::read_stream`]. Bounds the
/// memory of a reader.
pub const PAGE_EVENTS_MAX: usize = 10_000;

/// A store shared by the parts of the program.
pub type SharedLog = Arc<dyn EventLog>;

/// The revision that a stream must be at for an append to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedRevision {
    /// The stream does not exist yet.
    NoStream,
    /// The stream's last event has this revision.
    Exact(u64),
}

impl ExpectedRevision {
    /// The revision that the append's first event will have.
    #[must_use]
    pub fn next(self) -> u64 {
        match self {
            Self::NoStream => 0,
            // No stream reaches the highest number, but a caller that asks for it must not cause an
            // overflow.
            Self::Exact(revision) => revision.saturating_add(1),
        }
    }
}

/// An event about to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// UUIDv5 of the command id, the stream and the event's index.
    pub event_id: EventId,
    /// The event's type, e.g. `AllocationMade`.
    pub type_name: String,
    /// The recorder's clock, in whole microseconds. The store keeps recorded times from running
    /// backwards: it records an event at this time or at the latest that it knows, whichever is
    /// later.
    pub recorded_at: DateTime<Utc>,
    /// Canonical JSON of [`crate::Metadata`].
    pub metadata: Bytes,
    /// Canonical JSON of the event's data.
    pub data: Bytes,
}

/// An event in its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Order in the whole log. Only the Postgres store has dense positions (1, 2, 3 …); other code
    /// must not assume so.
    pub position: u64,
    /// The stream it belongs to.
    pub stream: Stream,
    /// 0-based place in its stream.
    pub revision: u64,
    /// The event's id.
    pub event_id: EventId,
    /// The event's type.
    pub type_name: String,
    /// When it was recorded; never earlier than the event before it in its stream.
    pub recorded_at: DateTime<Utc>,
    /// The metadata, byte for byte as appended.
    pub metadata: Bytes,
    /// The data, byte for byte as appended.
    pub data: Bytes,
}

/// The answer to an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendReceipt {
    /// Revision of the append's last event.
    pub revision: u64,
    /// Position of the append's last event.
    pub position: u64,
    /// Position and recorded time of each event, in the order appended.
    pub events: Vec<(u64, DateTime<Utc>)>,
    /// Whether the events were in the log already, from an earlier try.
    pub repeated: bool,
}

/// The reason why an append failed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The stream is not at the expected revision. Load, decide and append again.
    #[error("the stream is at {actual:?}, not at {expected:?}")]
    Conflict {
        /// The stream.
        stream: Stream,
        /// The revision that the caller expected.
        expected: ExpectedRevision,
        /// The stream's actual revision.
        actual: ExpectedRevision,
    },
    /// The append has no events or more than [`APPEND_EVENTS_MAX`]. A bug of the caller.
    #[error("append of {count} events: 1 to {APPEND_EVENTS_MAX} are allowed")]
    Count {
        /// The stream.
        stream: Stream,
        /// How many events were given.
        count: usize,
    },
    /// The key belongs to another request: nothing was appended.
    #[error("the key was spent on {}", .spent.request)]
    KeyTaken {
        /// The request that it was spent on.
        spent: SpentKey,
    },
    /// The store cannot answer. The append may have happened: the caller should send the same
    /// again.
    #[error("append events")]
    Log(#[from] LogError),
}

/// The use of a key (`Idempotency-Key`).
///
/// A stream knows for ever which commands it holds, so a key that is used again for its own stream
/// is no question to the store. The store keeps a key from another stream, and from another request
/// where the first one recorded nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpentKey {
    /// The name of the stream on which the request recorded; or, of a request that recorded nothing
    /// itself, its digest.
    pub request: String,
    /// The answer that a repeat of a request that recorded nothing itself gets, in the caller's own
    /// format.
    pub answer: Option<String>,
}

impl SpentKey {
    /// The use of a key by an append to a stream.
    #[must_use]
    pub fn on_stream(stream: &Stream) -> Self {
        Self { request: stream.to_string(), answer: None }
    }
}

/// The outcome of spending a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySpending {
    /// The key was not known, and is spent from now on.
    First,
    /// The key was spent before: on this, whether the same request or another.
    Before(SpentKey),
}

/// The reason why the log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store is out of reach or refuses work for now. A later try may succeed.
    #[error("reach the event store")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log breaks its own rules: a gap, a revision out of order, an unreadable event. An
    /// operator must look at it.
    #[error("the event log is damaged at position {position}: {what}")]
    Damaged {
        /// The position of the damage; 0 where none is known.
        position: u64,
        /// The damage in words. They are logged, so they must name no stream, which may be a
        /// person's, and repeat no data. The position leads to both.
        what: String,
    },
}

/// The state that a reader has built from the log up to a position, kept beside the log: a cache,
/// so that the reader's next start need not read the log from its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The position of the last event that it is made of.
    pub position: u64,
    /// The reader's own format. The reader must check that these are bytes of its own, and that
    /// they are of this log.
    pub content: Bytes,
}

/// An item that a follower (subscription) gives out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowerItem {
    /// More events, in order, at least one.
    Events(Vec<RecordedEvent>),
    /// The follower has given out all events up to this position, which was the log's end. It says
    /// so at its start, and again each time after it had fallen behind.
    CaughtUp {
        /// The log's end.
        position: u64,
    },
}

/// An event store.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Appends events to one stream, all or none, and answers once they are durable.
    ///
    /// Where the stream is further, but has the same event ids at the revisions after the expected
    /// one, the store gives the first answer again.
    async fn append(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<AppendReceipt, AppendError>;

    /// As [`EventLog::append`], for a command that came with a key: the key is spent with the
    /// events, or nothing is appended ([`AppendError::KeyTaken`]).
    ///
    /// A store that cannot keep keys exactly refuses what it knows: a key that was spent through
    /// this handle, and one that was recorded in the day before its first answer.
    async fn append_with_key(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
        key: CommandId,
    ) -> Result<AppendReceipt, AppendError>;

    /// Spends a key on a request that records nothing itself, and answers once that is durable, as
    /// far as the store keeps such keys. `at` is the recorder's clock.
    async fn spend_key(&self, key: CommandId, spent: SpentKey, at: DateTime<Utc>) -> Result<KeySpending, LogError>;

    /// Gives a key another answer, where it was spent on this request.
    async fn replace_answer(&self, key: CommandId, spent: SpentKey) -> Result<(), LogError>;

    /// The use of a key; `None` where it is not known.
    async fn spent_key(&self, key: CommandId) -> Result<Option<SpentKey>, LogError>;

    /// Learns the keys of the last day, for a store that has them in memory. It does so before its
    /// first answer about a key; a service that is to be ready at once calls this first, and again
    /// before it follows the log: a follower learns the keys that it meets.
    async fn learn_keys(&self) -> Result<(), LogError> {
        Ok(())
    }

    /// Saves the keys of events beside the log, for the next start of a store that has them in
    /// memory, and what else such a store remembers of the log. A cache, as a snapshot is.
    async fn save_keys(&self) -> Result<(), LogError> {
        Ok(())
    }

    /// How many keys this handle has met on two streams within a day: a store that keeps keys
    /// exactly has none.
    fn key_collisions(&self) -> u64 {
        0
    }

    /// Reads a stream from a revision on, at most `limit` events. A stream that does not exist is
    /// empty.
    async fn read_stream(
        &self,
        stream: &Stream,
        from_revision: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, LogError>;

    /// Reads several streams whole. The answer has one entry a stream, in the order asked; a stream
    /// that does not exist is empty.
    async fn read_streams(&self, streams: &[Stream]) -> Result<Vec<Vec<RecordedEvent>>, LogError>;

    /// As [`EventLog::read_streams`], for the streams of commands, which may be new: a store may
    /// make more than one call at once for each, to answer sooner.
    async fn load_streams(&self, streams: &[Stream]) -> Result<Vec<Vec<RecordedEvent>>, LogError> {
        self.read_streams(streams).await
    }

    /// As [`EventLog::read_streams`], but only events up to a position.
    async fn read_streams_to(&self, streams: &[Stream], position: u64) -> Result<Vec<Vec<RecordedEvent>>, LogError> {
        let mut read = self.read_streams(streams).await?;
        for events in &mut read {
            events.truncate(events.partition_point(|event| event.position <= position));
        }
        Ok(read)
    }

    /// Reads the log after a position (0: from the start), at most `limit` events. Where damage is
    /// ahead, the events before it come first: an error means that the very next event is damaged.
    async fn read_all(&self, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, LogError>;

    /// Reads the log after a position, page by page, up to another position or to the log's end.
    /// Long readers should use this: a store may read the next page ahead. An error is the last
    /// item.
    fn read_pages(&self, after: u64, up_to: u64) -> BoxStream<'_, Result<Vec<RecordedEvent>, LogError>> {
        stream::try_unfold(after, move |after| async move {
            // No further than asked for: damage beyond that does not concern the reader.
            let limit = up_to.saturating_sub(after).min(PAGE_EVENTS_MAX as u64) as usize;
            if limit == 0 {
                return Ok(None);
            }
            let mut page = self.read_all(after, limit).await?;
            let next = page.last().map_or(up_to, |last| last.position);
            page.truncate(page.partition_point(|event| event.position <= up_to));
            Ok((!page.is_empty()).then_some((page, next)))
        })
        .boxed()
    }

    /// The event at a position, if there is one.
    async fn event_at(&self, position: u64) -> Result<Option<RecordedEvent>, LogError> {
        let Some(before) = position.checked_sub(1) else { return Ok(None) };
        Ok(self.read_all(before, 1).await?.into_iter().find(|event| event.position == position))
    }

    /// The position of the last event, 0 for an empty log.
    async fn head(&self) -> Result<u64, LogError>;

    /// The position of the log's end at an instant: that of the event before the first one that was
    /// recorded later; 0 where there is none.
    async fn position_at(&self, instant: DateTime<Utc>) -> Result<u64, LogError>;

    /// Follows the log after a position without end (a catch-up subscription). An error ends the
    /// stream, after all events before it; the caller should follow again from its last event.
    fn follow_all(&self, after: u64) -> BoxStream<'static, Result<FollowerItem, LogError>>;

    /// The last snapshot that was saved under a name; `None` where there is none.
    async fn load_snapshot(&self, name: &str) -> Result<Option<Snapshot>, LogError>;

    /// Saves a snapshot under a name, in the place of the one before. Answers `false`, and saves
    /// nothing, where another writer has saved a newer one. A snapshot of a position beyond the
    /// log's end is of another log, and gives way to any.
    async fn save_snapshot(&self, name: &str, snapshot: &Snapshot) -> Result<bool, LogError>;
}
