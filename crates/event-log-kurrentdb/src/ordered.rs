//! Ordered append: events of many streams in a given order, for copying a log.
//!
//! The server promises an order within a stream only, so each append waits for the answer to the
//! one before it. All go out on one long call (batch append): there an append waits for one round
//! trip only. The expected revision of each stream keeps other writers out.

use std::fmt;

use domain::Stream;

use event_log::{
    APPEND_EVENTS_MAX,
    ExpectedRevision::{Exact, NoStream},
    LogError, NewEvent, OrderedError, OrderedEvent,
};

use crate::{
    KurrentLog,
    append::stream_state,
    client::{BatchCall, CallError, NewServerEvent},
    connection::in_time,
    stored::{AppendId, event_data},
};

/// Most bytes of events in one append. A server accepts one mebibyte unless it is configured
/// otherwise.
const APPEND_BYTES_MAX: usize = 512 * 1024;

/// Tries of one append.
const TRIES_MAX: u32 = 3;

/// Appends events of many streams in the order given.
pub struct KurrentOrderedWriter {
    log: KurrentLog,
    id: AppendId,
    batch: Option<BatchCall>,
}

impl fmt::Debug for KurrentOrderedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KurrentOrderedWriter").field("log", &self.log).finish_non_exhaustive()
    }
}

impl KurrentOrderedWriter {
    /// A writer to a log.
    #[must_use]
    pub fn new(log: &KurrentLog) -> Self {
        Self { log: log.clone(), id: AppendId::new(), batch: None }
    }

    /// Appends events in their order, each at its revision and with its recorded time, and answers
    /// the position of the last one. Where this fails, the events before the one that failed are
    /// appended; the caller may send all of them again, as events that the log has already are
    /// passed over.
    ///
    /// # Errors
    /// A stream is not at the revision that its next event expects, or the server is out of reach.
    pub async fn append(&mut self, events: &[OrderedEvent]) -> Result<Option<u64>, OrderedError> {
        let mut end = None;
        let follows = |one: &OrderedEvent, next: &OrderedEvent| {
            one.stream == next.stream && one.revision.checked_add(1) == Some(next.revision)
        };
        for run in events.chunk_by(follows) {
            let mut rest = run;
            while let Some(first) = rest.first() {
                let (piece, after) = rest.split_at(piece_len(rest));
                let new: Vec<NewEvent> = piece.iter().map(|event| event.event.clone()).collect();
                end = Some(self.append_to(&first.stream, first.revision, &new).await?);
                rest = after;
            }
        }
        Ok(end)
    }

    async fn append_to(&mut self, stream: &Stream, revision: u64, events: &[NewEvent]) -> Result<u64, OrderedError> {
        let expected = revision.checked_sub(1).map_or(NoStream, Exact);
        let data: Vec<NewServerEvent> =
            events.iter().map(|event| event_data(event, event.recorded_at, self.id)).collect();
        let store = self.log.store.clone();
        let mut tries = 0;
        loop {
            tries += 1;
            let sent = match self.batch().await {
                Ok(batch) => in_time(batch.append(&store.name(stream), stream_state(expected), &data)).await,
                Err(error) => Err(error),
            };
            let error = match sent {
                Ok(appended) => return Ok(appended.position),
                Err(error) => error,
            };
            // The call ends with its first failure.
            self.batch = None;
            if let Some(appended) = store.read_back(stream, expected, events, self.id).await? {
                return Ok(appended.position);
            }
            let actual = store.revision(stream).await?;
            if actual != expected {
                return Err(OrderedError::Revision { stream: stream.to_string(), revision, actual });
            }
            if tries == TRIES_MAX {
                return Err(LogError::Unavailable(error.into()).into());
            }
        }
    }

    /// The call on which to append.
    async fn batch(&mut self) -> Result<&mut BatchCall, CallError> {
        let batch = match self.batch.take() {
            Some(batch) => batch,
            None => self.log.store.connection.client().await?.batch_append(),
        };
        Ok(self.batch.insert(batch))
    }
}

/// How many of these events fit into one append.
fn piece_len(events: &[OrderedEvent]) -> usize {
    let mut bytes = 0;
    let fit = events.iter().take(APPEND_EVENTS_MAX).take_while(|OrderedEvent { event, .. }| {
        bytes += event.data.len() + event.metadata.len();
        bytes <= APPEND_BYTES_MAX
    });
    fit.count().max(1)
}
