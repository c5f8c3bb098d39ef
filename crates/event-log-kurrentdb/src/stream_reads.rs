//! Reading single streams, and telling what is missing from them.
//!
//! When a stream is deleted or truncated, the server hides or drops events, and answers those that
//! are left as if they were all. To the ledger that is damage: an event, once recorded, stays. The
//! damage shows in two ways, and both are checked here: the stream does not begin with its first
//! event or leaves one out, and the stream's settings say so.

use bytes::Bytes;
use domain::Stream;
use futures::future::join;
use kurrentdb_protocol::StreamStart;

use event_log::{ExpectedRevision, LogError, PAGE_EVENTS_MAX, RecordedEvent, StreamOrder};

use crate::{
    client::{CallError, NodeClient, ServerEvent, StreamRead},
    event_format::{AppendId, hides_events, recorded_event},
    retries::in_time,
    store::{Store, deletion_error, log_error},
    stream_names::GENERATION,
};

/// The highest revision that is asked for. The server counts revisions with signed numbers, and
/// some values have a special meaning.
pub(crate) const REVISION_MAX: u64 = u32::MAX as u64;

/// At most so many events from a revision on.
fn page(from_revision: u64, limit: usize) -> StreamRead {
    StreamRead { start: StreamStart::Revision(from_revision), count: limit.min(PAGE_EVENTS_MAX) as u64 }
}

impl Store {
    /// Reads at most `limit` events of a stream, from a revision on.
    pub(crate) async fn stream(
        &self,
        stream: &Stream,
        from_revision: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, LogError> {
        let events = self.stream_appends(stream, from_revision, limit).await?;
        Ok(events.into_iter().map(|(event, _)| event).collect())
    }

    /// As [`Store::stream`], with the calls that wrote the events.
    pub(crate) async fn stream_appends(
        &self,
        stream: &Stream,
        from_revision: u64,
        limit: usize,
    ) -> Result<Vec<(RecordedEvent, AppendId)>, LogError> {
        if limit == 0 || from_revision > REVISION_MAX {
            return Ok(Vec::new());
        }
        let name = self.name(stream).await?;
        match self.read_stream(&name, page(from_revision, limit)).await {
            Err(CallError::StreamNotFound) => self.check_never_deleted(&name).await.map(|()| Vec::new()),
            read => self.recorded_events(from_revision, read),
        }
    }

    /// Reads the first events of a stream that may be new. So its settings, which say whether it
    /// was deleted, are read at the same time, unless this process has met the stream.
    ///
    /// Both reads find what was deleted before this call. A deletion between the two may be missed,
    /// as may one just after them: the append that follows is then answered with another revision.
    async fn first_events(&self, stream: &Stream) -> Result<Vec<RecordedEvent>, LogError> {
        if self.revisions.has(stream, 0) {
            return self.stream(stream, 0, PAGE_EVENTS_MAX).await;
        }
        let name = self.name(stream).await?;
        let reads = join(self.read_stream(&name, page(0, PAGE_EVENTS_MAX)), self.check_never_deleted(&name));
        match reads.await {
            (Err(CallError::StreamNotFound), never_deleted) => never_deleted.map(|()| Vec::new()),
            (read, _) => Ok(self.recorded_events(0, read)?.into_iter().map(|(event, _)| event).collect()),
        }
    }

    /// Checks what was read of a stream from a revision on.
    fn recorded_events(
        &self,
        from_revision: u64,
        read: Result<Vec<ServerEvent>, CallError>,
    ) -> Result<Vec<(RecordedEvent, AppendId)>, LogError> {
        let read = read.map_err(log_error)?;
        let mut events: Vec<(RecordedEvent, AppendId)> = Vec::with_capacity(read.len());
        let mut order = StreamOrder::from_revision(from_revision);
        for event in read {
            let (event, append) = recorded_event(&self.names, event)?;
            order.accept(&event)?;
            self.note_event(&event);
            events.push((event, append));
        }
        if from_revision == 0 && events.is_empty() {
            // The stream exists, and all of its events are hidden.
            return Err(deletion_error(0));
        }
        Ok(events)
    }

    /// Reads a stream whole. A stream that does not exist is empty.
    pub(crate) async fn whole_stream(&self, stream: &Stream) -> Result<Vec<RecordedEvent>, LogError> {
        let first = self.stream(stream, 0, PAGE_EVENTS_MAX).await?;
        self.with_rest(stream, first).await
    }

    /// As [`Self::whole_stream`], for a stream that may be new.
    pub(crate) async fn whole_stream_or_new(&self, stream: &Stream) -> Result<Vec<RecordedEvent>, LogError> {
        let first = self.first_events(stream).await?;
        self.with_rest(stream, first).await
    }

    async fn with_rest(&self, stream: &Stream, first: Vec<RecordedEvent>) -> Result<Vec<RecordedEvent>, LogError> {
        let (mut page_len, mut events) = (first.len(), first);
        while page_len == PAGE_EVENTS_MAX {
            let page = self.stream(stream, events.len() as u64, PAGE_EVENTS_MAX).await?;
            page_len = page.len();
            events.extend(page);
        }
        Ok(events)
    }

    /// The revision of a stream's last event.
    pub(crate) async fn revision(&self, stream: &Stream) -> Result<ExpectedRevision, LogError> {
        let name = self.name(stream).await?;
        match self.read_stream(&name, StreamRead::LAST).await {
            Ok(read) => match read.into_iter().next() {
                Some(last) => {
                    let (last, _) = recorded_event(&self.names, last)?;
                    self.note_event(&last);
                    Ok(ExpectedRevision::Exact(last.revision))
                }
                None => Err(deletion_error(0)),
            },
            Err(CallError::StreamNotFound) => {
                self.check_never_deleted(&name).await.map(|()| ExpectedRevision::NoStream)
            }
            Err(CallError::StreamDeleted) => Err(deletion_error(0)),
            Err(error) => Err(log_error(error)),
        }
    }

    /// The name of a stream on the server.
    async fn name(&self, stream: &Stream) -> Result<String, LogError> {
        Ok(self.names().await?.name(stream, GENERATION)?)
    }

    /// Reads the stream of this name on the server.
    pub(crate) async fn read_stream(&self, name: &str, read: StreamRead) -> Result<Vec<ServerEvent>, CallError> {
        let ask = async |client: NodeClient| {
            let (mut events, mut read) = (Vec::new(), in_time(client.read_stream(name, read)).await?);
            while let Some(event) = in_time(read.next()).await? {
                events.push(event);
            }
            Ok(events)
        };
        self.connection.call(ask).await
    }

    /// Checks that a stream which the server does not have was not deleted. Only its settings say
    /// whether it was.
    async fn check_never_deleted(&self, name: &str) -> Result<(), LogError> {
        match self.stream_settings(name).await? {
            Some((settings, position)) if hides_events(&settings) => Err(deletion_error(position)),
            _ => Ok(()),
        }
    }

    /// Checks that settings met at a position hide no events, or no longer do: settings that were
    /// taken back in time have lost nothing.
    pub(crate) async fn check_settings(&self, name: &str, settings: &[u8], position: u64) -> Result<(), LogError> {
        if !hides_events(settings) {
            return Ok(());
        }
        match self.stream_settings(name).await? {
            Some((settings, _)) if !hides_events(&settings) => Ok(()),
            _ => Err(deletion_error(position)),
        }
    }

    /// Reads the latest settings of a stream, and the position of the event that made them.
    async fn stream_settings(&self, name: &str) -> Result<Option<(Bytes, u64)>, LogError> {
        match self.read_stream(&format!("$${name}"), StreamRead::LAST).await {
            Ok(read) => Ok(read.into_iter().next().map(|event| (event.data, event.position.commit))),
            // A stream that was deleted for good leaves its settings deleted too.
            Err(CallError::StreamNotFound | CallError::StreamDeleted) => Ok(None),
            Err(error) => Err(log_error(error)),
        }
    }
}
