//! Ordered append: events of many streams in a given order, for copying a log.
//!
//! The server promises an order within a stream only, so each append waits for the answer to the
//! one before it. All go out on one long call (batch append): there an append waits for one round
//! trip only, while calls of their own would also wait for the client's connection to send what it
//! buffers. The expected revision of each stream keeps other writers out.

use std::fmt;

use domain::Stream;
use kurrentdb::{BatchAppendClient, BatchAppendOptions, Client, Error, EventData};

use event_log::{
    APPEND_EVENTS_MAX,
    ExpectedRevision::{Exact, NoStream},
    LogError, NewEvent, OrderedError, OrderedEvent,
};

use crate::{
    KurrentLog,
    address::as_caller,
    append::stream_state,
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
    batch: Option<BatchAppendClient>,
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
        let data: Vec<EventData> = events.iter().map(|event| event_data(event, event.recorded_at, self.id)).collect();
        let store = self.log.store.clone();
        let mut tries = 0;
        loop {
            tries += 1;
            let name = store.name(stream);
            let sent = match self.batch().await {
                Ok(Some(batch)) => {
                    let sent = in_time(batch.append_to_stream(&name, stream_state(expected), data.clone())).await;
                    sent.map(|sent| sent.current_position())
                }
                Ok(None) => store.send(stream, expected, &data).await.map(|()| None),
                Err(error) => Err(error),
            };
            let error = match sent {
                Ok(Some(position)) => return Ok(position.commit),
                Ok(None) => None,
                Err(error) => {
                    // The call ends with its first failure, and does not say reliably which append
                    // failed.
                    self.batch = None;
                    Some(error)
                }
            };
            if let Some(appended) = store.read_back(stream, expected, events, self.id).await? {
                return Ok(appended.position);
            }
            let actual = store.revision(stream).await?;
            if actual != expected {
                return Err(OrderedError::Revision { stream: stream.to_string(), revision, actual });
            }
            if tries == TRIES_MAX {
                let silent = Error::DeadlineExceeded;
                return Err(LogError::Unavailable(Box::new(error.unwrap_or(silent))).into());
            }
        }
    }

    /// The call on which to append. Answers nothing where the server has no batch append.
    async fn batch(&mut self) -> Result<Option<&BatchAppendClient>, Error> {
        if self.batch.is_none() {
            let connection = &self.log.store.connection;
            let options = &as_caller!(connection.address(), BatchAppendOptions::default());
            let ask = |client: Client| async move { in_time(client.batch_append(options)).await };
            match connection.call(ask).await {
                Ok(batch) => self.batch = Some(batch),
                Err(Error::UnsupportedFeature) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(self.batch.as_ref())
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
