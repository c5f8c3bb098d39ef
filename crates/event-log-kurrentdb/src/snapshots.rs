//! Snapshots: a stream each, outside the ledger's prefix, so that no reader of the ledger's events
//! meets one.
//!
//! The server takes one mebibyte in one append, so a snapshot is several events, its parts. Each
//! part is appended at the revision after the one before it, and the first at the end that the
//! writer has seen: of two writers one gives up, and the parts of a snapshot lie together. A reader
//! looks backward from the end of the stream for the first snapshot that is complete; a writer that
//! ended in the middle leaves one that is not. When a snapshot is complete, the stream is truncated
//! before it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kurrentdb_protocol::{ExpectedRevision as StreamState, StreamStart};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use event_log::{LogError, Snapshot, error_chain};

use crate::{
    client::{CallError, NewServerEvent, NodeClient, ServerEvent, StreamRead},
    retries::in_time,
    store::{Store, log_error},
};

/// Most bytes of one part. A server accepts one mebibyte in an append unless it is configured
/// otherwise.
const PART_BYTES_MAX: usize = 512 * 1024;

const TYPE_NAME: &str = "SnapshotPart";

/// The metadata of an event that is a part of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    /// Tells this snapshot from another one, also of the same position.
    snapshot: Uuid,
    position: u64,
    /// Counted from 0.
    part: usize,
    parts: usize,
}

impl Part {
    fn of(event: &ServerEvent) -> Option<Self> {
        let part = || serde_json::from_slice(&event.metadata).ok();
        (event.type_name == TYPE_NAME).then(part).flatten()
    }
}

/// A snapshot that is put together from its last part to its first.
struct PartialSnapshot {
    /// The part that was found last.
    part: Part,
    /// From the last on.
    contents: Vec<Bytes>,
}

impl PartialSnapshot {
    /// Adds the event before those that were read so far. Forgets them where it is no part of the
    /// same snapshot.
    fn with_earlier(before: Option<Self>, event: ServerEvent) -> Option<Self> {
        let part = Part::of(&event)?;
        match before {
            Some(mut read) if (Part { part: part.part + 1, ..part }) == read.part => {
                read.part = part;
                read.contents.push(event.data);
                Some(read)
            }
            _ => (part.part + 1 == part.parts).then(|| Self { part, contents: vec![event.data] }),
        }
    }

    fn is_complete(&self) -> bool {
        self.part.part == 0
    }

    fn into_snapshot(self) -> Snapshot {
        let mut content = BytesMut::with_capacity(self.contents.iter().map(Bytes::len).sum());
        self.contents.iter().rev().for_each(|part| content.extend_from_slice(part));
        Snapshot { position: self.part.position, content: content.freeze() }
    }
}

impl Store {
    pub(crate) async fn load_snapshot(&self, name: &str) -> Result<Option<Snapshot>, LogError> {
        let stream = self.snapshot_stream(name);
        let ask = async |client: NodeClient| {
            let backwards = StreamRead { start: StreamStart::End(()), count: u64::MAX };
            let mut read = in_time(client.read_stream(&stream, backwards)).await?;
            let mut found = None;
            while let Some(event) = in_time(read.next()).await? {
                found = PartialSnapshot::with_earlier(found, event);
                if found.as_ref().is_some_and(PartialSnapshot::is_complete) {
                    return Ok(found.map(PartialSnapshot::into_snapshot));
                }
            }
            Ok(None)
        };
        match self.connection.call(ask).await {
            Err(CallError::StreamNotFound) => Ok(None),
            read => read.map_err(snapshot_error),
        }
    }

    pub(crate) async fn save_snapshot(self: &Arc<Self>, name: &str, snapshot: &Snapshot) -> Result<bool, LogError> {
        let stream = self.snapshot_stream(name);
        let (mut after, last) = self.last_event(&stream).await.map_err(snapshot_error)?;
        let kept = last.as_ref().and_then(Part::of).map_or(0, |part| part.position);
        if kept > snapshot.position && kept <= self.head().await? {
            return Ok(false);
        }
        let (id, parts) = (Uuid::new_v4(), snapshot.content.len().div_ceil(PART_BYTES_MAX).max(1));
        let mut first_revision = None;
        for part in 0..parts {
            let begin = part * PART_BYTES_MAX;
            let end = snapshot.content.len().min(begin + PART_BYTES_MAX);
            let metadata = Part { snapshot: id, position: snapshot.position, part, parts };
            let metadata = serde_json::to_vec(&metadata).map_err(|error| LogError::Unavailable(error.into()))?;
            let event = NewServerEvent {
                id: Uuid::new_v4(),
                type_name: TYPE_NAME.to_owned(),
                is_json: false,
                metadata: metadata.into(),
                data: snapshot.content.slice(begin..end),
            };
            let revision = match self.send_to(&stream, after, &[event]).await {
                Ok(appended) => appended.revision,
                // Another writer saves one at the same time.
                Err(CallError::WrongRevision { .. }) => return Ok(false),
                Err(error) => return Err(snapshot_error(error)),
            };
            first_revision = first_revision.or(Some(revision));
            after = StreamState::Exact(revision);
        }
        // The snapshot is complete without it.
        if let Err(error) = self.truncate(&stream, first_revision.unwrap_or(0)).await {
            tracing::warn!(cause = error_chain(&error), "older snapshots could not be hidden");
        }
        Ok(true)
    }

    fn snapshot_stream(&self, name: &str) -> String {
        self.names.prefix.stream_beside(&format!("snapshot-{name}"))
    }

    /// Deletes a snapshot for good.
    pub(crate) async fn remove_snapshot(&self, name: &str) -> Result<(), LogError> {
        self.tombstone(self.snapshot_stream(name)).await
    }

    /// Hides the events of a stream before a revision, and leaves its other settings, such as an
    /// operator's access list, as they are. The server drops the events when it next scavenges.
    async fn truncate(&self, stream: &str, before: u64) -> Result<(), LogError> {
        let name = format!("$${stream}");
        let (end, last) = self.last_event(&name).await.map_err(snapshot_error)?;
        let settings = last.map_or_else(|| Ok(Map::<String, Value>::new()), |last| serde_json::from_slice(&last.data));
        let mut settings = settings.map_err(|error| LogError::Unavailable(error.into()))?;
        settings.insert("$tb".to_owned(), before.into());
        let event = NewServerEvent {
            id: Uuid::new_v4(),
            type_name: "$metadata".to_owned(),
            is_json: true,
            metadata: Bytes::new(),
            data: serde_json::to_vec(&settings).map_err(|error| LogError::Unavailable(error.into()))?.into(),
        };
        match self.send_to(&name, end, &[event]).await {
            // They have just been changed by another, and the next snapshot truncates further.
            Ok(_) | Err(CallError::WrongRevision { .. }) => Ok(()),
            Err(error) => Err(snapshot_error(error)),
        }
    }

    /// The state of a stream, and its last event that is visible.
    async fn last_event(&self, stream: &str) -> Result<(StreamState, Option<ServerEvent>), CallError> {
        match self.read_stream(stream, StreamRead::LAST).await {
            Ok(read) => Ok(match read.into_iter().next() {
                Some(last) => (StreamState::Exact(last.revision), Some(last)),
                // An operator has truncated all of it.
                None => (StreamState::Any(()), None),
            }),
            Err(CallError::StreamNotFound) => Ok((StreamState::NoStream(()), None)),
            Err(error) => Err(error),
        }
    }
}

fn snapshot_error(error: CallError) -> LogError {
    match error {
        CallError::StreamDeleted => {
            LogError::Unavailable("the stream of snapshots was deleted for good on the server".into())
        }
        error => log_error(error),
    }
}
