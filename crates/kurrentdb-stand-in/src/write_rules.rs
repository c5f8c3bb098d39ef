//! The rules of writing: the server's documented rules of expected revisions, repeated event ids
//! and deleted streams.
//!
//! | the stream is | and the event ids | then |
//! |---|---|---|
//! | at the expected revision | do not matter | the events are appended |
//! | beyond an exact revision | are all at the revisions after it | nothing is appended, and the answer is a success |
//! | beyond an exact revision | are not | the answer is "wrong expected version" |
//! | expected at any revision | were all written to it lately | nothing is appended, and the answer is a success |
//! | tombstoned | do not matter | the answer is "stream deleted" |

use std::{collections::HashMap, sync::Arc};

use kurrentdb_protocol::ExpectedRevision;
use prost::bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::streams::{AllStreams, EventRecord, METADATA_TYPE, REVISION_DELETED};

/// A write that a client requests.
#[derive(Debug)]
pub struct Write {
    pub stream: String,
    pub expected: ExpectedRevision,
    pub change: StreamChange,
}

#[derive(Debug)]
pub enum StreamChange {
    Append(Vec<ProposedEvent>),
    /// A soft delete: the stream can be written to again, and its revisions continue.
    Delete,
    /// A delete for good.
    Tombstone,
}

/// An event without its place.
#[derive(Clone, Debug)]
pub struct ProposedEvent {
    pub id: Uuid,
    pub event_type: String,
    pub is_json: bool,
    pub custom_metadata: Bytes,
    pub data: Bytes,
}

/// The events of the last writes, by their ids. A server that is restarted has lost them, which is
/// why it recognises repeats at any revision on a best-effort basis only.
pub type RecentIds = HashMap<Uuid, Arc<EventRecord>>;

/// The decision on a write.
#[derive(Debug)]
pub enum WriteDecision {
    /// These events are to be written together.
    Write {
        /// The events of the write, their stream, and the revision of the first.
        write: (String, u64, Vec<ProposedEvent>),
        /// The change of a stream's metadata that follows from it.
        metadata: Option<(String, u64, ProposedEvent)>,
    },
    /// The write was done before; this is its last event.
    Repeated(Arc<EventRecord>),
    /// The write has no events.
    Nothing {
        current: Option<u64>,
    },
    WrongRevision {
        current: Option<u64>,
    },
    StreamDeleted,
}

/// Decides on a write.
pub fn decide(streams: &AllStreams, recent: &RecentIds, write: &Write) -> WriteDecision {
    let stream = &write.stream;
    let ids = match &write.change {
        StreamChange::Append(events) => events.iter().map(|event| event.id).collect(),
        // The server makes up a new id for a deletion.
        StreamChange::Delete | StreamChange::Tombstone => vec![Uuid::new_v4()],
    };
    match check(streams, recent, stream, write.expected, &ids) {
        Ok(()) => {}
        Err(otherwise) => return otherwise,
    }
    let next = streams.events_of(stream).len() as u64;
    match &write.change {
        StreamChange::Append(events) if events.is_empty() => WriteDecision::Nothing { current: next.checked_sub(1) },
        StreamChange::Append(events) => {
            let metadata = match stream.strip_prefix("$$") {
                // New metadata replaces the `$tb` that deleted the stream. The deleted events must
                // not come back.
                Some(described) if streams.is_soft_deleted(described) => {
                    let latest = &events[events.len() - 1].data;
                    Some((next + events.len() as u64, latest.clone(), streams.events_of(described).len() as u64))
                }
                None if streams.is_soft_deleted(stream) => {
                    let latest = streams.events_of(&metadata_of(stream));
                    let data = latest.last().map(|event| event.data.clone()).unwrap_or_default();
                    Some((latest.len() as u64, data, next))
                }
                _ => None,
            };
            let metadata = metadata.map(|(revision, latest, truncate_before)| {
                let of = if stream.starts_with("$$") { stream.clone() } else { metadata_of(stream) };
                let mut metadata = serde_json::from_slice(&latest).unwrap_or_else(|_| json!({}));
                metadata["$tb"] = Value::from(truncate_before);
                (of, revision, metadata_event(&metadata))
            });
            WriteDecision::Write { write: (stream.clone(), next, events.clone()), metadata }
        }
        StreamChange::Delete => {
            let of = metadata_of(stream);
            let next = streams.events_of(&of).len() as u64;
            let event = metadata_event(&json!({ "$tb": REVISION_DELETED }));
            WriteDecision::Write { write: (of, next, vec![event]), metadata: None }
        }
        StreamChange::Tombstone => {
            let event = ProposedEvent {
                id: Uuid::new_v4(),
                event_type: "$streamDeleted".to_owned(),
                is_json: false,
                custom_metadata: Bytes::new(),
                data: Bytes::new(),
            };
            WriteDecision::Write { write: (stream.clone(), REVISION_DELETED, vec![event]), metadata: None }
        }
    }
}

/// Checks whether a stream may be written to. Where not, the error is the decision.
fn check(
    streams: &AllStreams,
    recent: &RecentIds,
    stream: &str,
    expected: ExpectedRevision,
    ids: &[Uuid],
) -> Result<(), WriteDecision> {
    if streams.is_tombstoned(stream) {
        return Err(WriteDecision::StreamDeleted);
    }
    let written = streams.events_of(stream);
    let current = (written.len() as u64).checked_sub(1);
    let wrong = || Err(WriteDecision::WrongRevision { current });
    let is_soft_deleted = streams.is_soft_deleted(stream);

    // The number of events that the stream is expected to have.
    let expected_len = match expected {
        ExpectedRevision::Exact(revision) => revision.saturating_add(1),
        ExpectedRevision::NoStream(()) => 0,
        ExpectedRevision::StreamExists(()) if is_soft_deleted => return Err(WriteDecision::StreamDeleted),
        ExpectedRevision::StreamExists(())
            if written.is_empty() && streams.events_of(&metadata_of(stream)).is_empty() =>
        {
            return wrong();
        }
        ExpectedRevision::StreamExists(()) | ExpectedRevision::Any(()) => {
            let seen = |id| recent.get(id).filter(|event| event.stream == stream);
            let count = ids.iter().take_while(|id| seen(id).is_some()).count();
            return match ids.last().and_then(seen) {
                Some(last) if count == ids.len() => Err(WriteDecision::Repeated(Arc::clone(last))),
                _ if count == 0 => Ok(()),
                _ => wrong(),
            };
        }
    };
    if expected_len == written.len() as u64 {
        return Ok(());
    }
    let Some(followers) = usize::try_from(expected_len).ok().and_then(|len| written.get(len..)) else {
        return wrong();
    };
    let repeated = ids.iter().zip(followers).take_while(|(id, event)| event.id == id.as_bytes()).count();
    match ids.len() {
        0 => wrong(),
        len if repeated == len => Err(WriteDecision::Repeated(Arc::clone(&followers[len - 1]))),
        _ if repeated == 0 && expected_len == 0 && is_soft_deleted => Ok(()),
        _ => wrong(),
    }
}

fn metadata_of(stream: &str) -> String {
    format!("$${stream}")
}

fn metadata_event(metadata: &Value) -> ProposedEvent {
    ProposedEvent {
        id: Uuid::new_v4(),
        event_type: METADATA_TYPE.to_owned(),
        is_json: true,
        custom_metadata: Bytes::new(),
        data: metadata.to_string().into(),
    }
}
