//! Appending at an expected revision, and finding the outcome of an append whose answer was lost.
//!
//! The server promises for an append at an exact revision, or to a stream that does not exist:
//!
//! | the stream is | the server answers |
//! |---|---|
//! | at that revision | success, whatever the event ids |
//! | further, and exactly these ids follow the revision | success again |
//! | anywhere else | wrong expected version |
//!
//! The ids are those of one call and the same at each of its tries. So an append may be sent until
//! there is an answer, and a success means that this call wrote the events. The answer has the
//! position of the last one: of several events the others are read back. A refusal may mean that
//! an earlier call wrote the same events. Then they are read back, too: the stream shows what
//! happened.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use domain::{Stream, moment::normalise};
use kurrentdb_protocol::ExpectedRevision as StreamState;
use tokio::time::{Instant, sleep};

use event_log::{
    APPEND_EVENTS_MAX, AppendError, AppendReceipt,
    ExpectedRevision::{self, Exact, NoStream},
    LogError, NewEvent, RecordedEvent,
};

use crate::{
    client::{Appended, CallError, NewServerEvent, NodeClient},
    event_format::{AppendId, event_data},
    retries::{SILENCE_MAX, in_time},
    store::{Store, log_error},
    stream_names::GENERATION,
    stream_reads::REVISION_MAX,
};

/// The pauses before events are looked at again that the server has taken and does not show yet
/// grow from the first to the second.
const UNSEEN_PAUSE_MIN: Duration = Duration::from_millis(5);
const UNSEEN_PAUSE_MAX: Duration = Duration::from_millis(100);

impl Store {
    pub(crate) async fn append(
        self: &Arc<Self>,
        stream: &Stream,
        expected: ExpectedRevision,
        events: &[NewEvent],
    ) -> Result<AppendReceipt, AppendError> {
        if events.is_empty() || events.len() > APPEND_EVENTS_MAX {
            return Err(AppendError::Count { stream: stream.clone(), count: events.len() });
        }
        if expected.next() > REVISION_MAX {
            let actual = self.revision(stream).await?;
            return Err(AppendError::Conflict { stream: stream.clone(), expected, actual });
        }
        let name = self.names_to_write().await?.name(stream, GENERATION).map_err(LogError::from)?;
        self.read_last(stream, expected).await?;
        let id = AppendId::new();
        let recorded_at: Vec<DateTime<Utc>> =
            events.iter().map(|event| self.clock.advance_to(normalise(event.recorded_at))).collect();
        let data: Vec<NewServerEvent> =
            events.iter().zip(&recorded_at).map(|(event, at)| event_data(stream, event, *at, id)).collect();
        match (self.send_to(&name, stream_state(expected), &data).await, &recorded_at[..]) {
            (Ok(Appended { revision, position }), &[at]) if revision == expected.next() => {
                self.note(stream, revision, position, at);
                Ok(AppendReceipt { revision, position, events: vec![(position, at)], repeated: false })
            }
            // At another revision where the stream was deleted before: reading finds the damage.
            (Ok(_), _) => self.read_back(stream, expected, events, id).await?.ok_or_else(|| {
                let what =
                    format!("an append was acknowledged, and its events do not follow {expected:?} in their stream");
                LogError::Damaged { position: 0, what }.into()
            }),
            (Err(CallError::WrongRevision { current }), _) => {
                let actual = current.map_or(NoStream, Exact);
                let earlier = self.find_earlier(stream, expected, events, id, actual).await?;
                earlier.ok_or_else(|| AppendError::Conflict { stream: stream.clone(), expected, actual })
            }
            // The name takes no event again. Reading finds the damage.
            (Err(CallError::StreamDeleted), _) => {
                Err(AppendError::Conflict { stream: stream.clone(), expected, actual: NoStream })
            }
            (Err(error), _) => Err(log_error(error).into()),
        }
    }

    /// Finds the answer to an append that was refused because the stream is at another revision:
    /// an earlier call may have written the same events. Answers nothing where none did.
    ///
    /// The server refuses an append as soon as it has taken the one before, and shows the events of
    /// that one only when they are durable. So this waits until it shows them: a caller that reads
    /// the stream and decides again would otherwise meet the same refusal.
    async fn find_earlier(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: &[NewEvent],
        id: AppendId,
        actual: ExpectedRevision,
    ) -> Result<Option<AppendReceipt>, LogError> {
        let ahead = actual.next().saturating_sub(expected.next());
        let taken = events.len().min(usize::try_from(ahead).unwrap_or(usize::MAX));
        if taken == 0 {
            return Ok(None);
        }
        let (deadline, mut pause) = (Instant::now() + SILENCE_MAX, UNSEEN_PAUSE_MIN);
        loop {
            let found = self.stream_appends(stream, expected.next(), events.len()).await?;
            if found.len() >= taken {
                return Ok(receipt(&found, events, id));
            }
            if Instant::now() > deadline {
                return Err(LogError::Unavailable("the server has taken events that it does not show".into()));
            }
            sleep(pause).await;
            pause = UNSEEN_PAUSE_MAX.min(2 * pause);
        }
    }

    /// Reads the last event of a stream, so that no event after it gets an earlier recorded time.
    /// Most callers have read it already.
    async fn read_last(&self, stream: &Stream, expected: ExpectedRevision) -> Result<(), LogError> {
        match expected {
            Exact(revision) if !self.revisions.has(stream, revision) => {
                self.stream(stream, revision, 1).await.map(drop)
            }
            Exact(_) | NoStream => Ok(()),
        }
    }

    /// Appends to the stream of this name on the server.
    pub(crate) async fn send_to(
        &self,
        name: &str,
        expected: StreamState,
        data: &[NewServerEvent],
    ) -> Result<Appended, CallError> {
        self.connection.call(async |client: NodeClient| in_time(client.append(name, expected, data)).await).await
    }

    /// Reads an append back: the answer to it, where its events are at the revisions after the
    /// expected one. Answers nothing where they are not.
    pub(crate) async fn read_back(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: &[NewEvent],
        id: AppendId,
    ) -> Result<Option<AppendReceipt>, LogError> {
        Ok(receipt(&self.stream_appends(stream, expected.next(), events.len()).await?, events, id))
    }
}

/// The answer to an append, where these events, which were found at its revisions, are its own.
fn receipt(found: &[(RecordedEvent, AppendId)], events: &[NewEvent], id: AppendId) -> Option<AppendReceipt> {
    let are_these = found.iter().map(|(event, _)| event.event_id).eq(events.iter().map(|event| event.event_id));
    let (last, written_by) = found.last().filter(|_| are_these)?;
    Some(AppendReceipt {
        revision: last.revision,
        position: last.position,
        events: found.iter().map(|(event, _)| (event.position, event.recorded_at)).collect(),
        repeated: *written_by != id,
    })
}

pub(crate) fn stream_state(expected: ExpectedRevision) -> StreamState {
    match expected {
        NoStream => StreamState::NoStream(()),
        Exact(revision) => StreamState::Exact(revision),
    }
}
