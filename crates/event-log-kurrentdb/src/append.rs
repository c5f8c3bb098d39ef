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
//! So the same append may be sent until there is an answer. A success does not say which call wrote
//! the events, nor the position of each. So after any answer but a plain conflict the events are
//! read back: the stream shows what happened.

use domain::Stream;
use kurrentdb_protocol::ExpectedRevision as StreamState;

use event_log::{
    APPEND_EVENTS_MAX, AppendError, AppendReceipt,
    ExpectedRevision::{self, Exact, NoStream},
    LogError, NewEvent,
};

use crate::{
    client::{Appended, CallError, NewServerEvent, NodeClient},
    connection::in_time,
    store::{Store, log_error},
    stored::{AppendId, event_data},
    stream_reads::REVISION_MAX,
};

impl Store {
    pub(crate) async fn append(
        &self,
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
        self.read_last(stream, expected).await?;
        let id = AppendId::new();
        let data: Vec<NewServerEvent> =
            events.iter().map(|event| event_data(event, self.clock.advance_to(event.recorded_at), id)).collect();
        let actual = match self.send(stream, expected, &data).await {
            Ok(_) => None,
            Err(CallError::WrongRevision { current }) => Some(current.map_or(NoStream, Exact)),
            Err(error) => return Err(log_error(error).into()),
        };
        let conflict = |actual| AppendError::Conflict { stream: stream.clone(), expected, actual };
        if let Some(actual) = actual
            && actual.next() < expected.next() + events.len() as u64
        {
            return Err(conflict(actual));
        }
        match (self.read_back(stream, expected, events, id).await?, actual) {
            (Some(appended), _) => Ok(appended),
            (None, Some(actual)) => Err(conflict(actual)),
            (None, None) => {
                let what =
                    format!("an append was acknowledged, and its events do not follow {expected:?} in their stream");
                Err(LogError::Damaged { position: 0, what }.into())
            }
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

    async fn send(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        data: &[NewServerEvent],
    ) -> Result<Appended, CallError> {
        self.send_to(&self.name(stream), stream_state(expected), data).await
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
        let found = self.stream_appends(stream, expected.next(), events.len()).await?;
        let are_these = found.iter().map(|(event, _)| event.event_id).eq(events.iter().map(|event| event.event_id));
        let Some(((last, written_by), true)) = found.last().map(|last| (last, are_these)) else { return Ok(None) };
        Ok(Some(AppendReceipt {
            revision: last.revision,
            position: last.position,
            events: found.iter().map(|(event, _)| (event.position, event.recorded_at)).collect(),
            repeated: *written_by != id,
        }))
    }
}

pub(crate) fn stream_state(expected: ExpectedRevision) -> StreamState {
    match expected {
        NoStream => StreamState::NoStream(()),
        Exact(revision) => StreamState::Exact(revision),
    }
}
