//! What a write does: the server's documented rules of expected revisions, repeated event ids and deleted streams.
//!
//! | the stream is | and the ids | then |
//! |---|---|---|
//! | at the expected revision | are not looked at | the events are appended |
//! | ahead of an exact one | all stand at the revisions that follow it | nothing is appended and the answer is a success |
//! | ahead of an exact one | do not | the revision is wrong |
//! | expected at any revision | were all seen lately in it | nothing is appended and the answer is a success |
//! | tombstoned | are not looked at | the stream is deleted |

use std::{collections::HashMap, sync::Arc};

use prost::bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    streams::{Event, METADATA_TYPE, REVISION_DELETED, Streams},
    wire::ExpectedRevision,
};

/// What a client asks for.
#[derive(Debug)]
pub struct Write {
    pub stream: String,
    pub expected: ExpectedRevision,
    pub change: Change,
}

#[derive(Debug)]
pub enum Change {
    Append(Vec<NewEvent>),
    /// Soft: the stream can be written to again, and its revisions continue.
    Delete,
    /// For good.
    Tombstone,
}

/// An event without its place.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub id: Uuid,
    pub event_type: String,
    pub is_json: bool,
    pub custom_metadata: Bytes,
    pub data: Bytes,
}

/// The events of the last writes by their ids. A server that starts again has forgotten them, which is why repeats at any
/// revision are recognised at best effort only.
pub type RecentIds = HashMap<Uuid, Arc<Event>>;

/// What is to be done.
#[derive(Debug)]
pub enum Decision {
    /// These are written, together.
    Write {
        /// What was asked for: to which stream, and from which revision on.
        asked: (String, u64, Vec<NewEvent>),
        /// What follows from it, to the metadata of streams.
        metadata: Option<(String, u64, NewEvent)>,
    },
    /// It was done before; this is the last event of it.
    Repeated(Arc<Event>),
    /// There is nothing to do.
    Nothing {
        current: Option<u64>,
    },
    WrongRevision {
        current: Option<u64>,
    },
    StreamDeleted,
}

/// Decides about a write.
pub fn decide(streams: &Streams, recent: &RecentIds, write: &Write) -> Decision {
    let stream = &write.stream;
    let ids = match &write.change {
        Change::Append(events) => events.iter().map(|event| event.id).collect(),
        // An id that nobody has seen, as the server makes one up for a deletion.
        Change::Delete | Change::Tombstone => vec![Uuid::new_v4()],
    };
    match check(streams, recent, stream, write.expected, &ids) {
        Ok(()) => {}
        Err(otherwise) => return otherwise,
    }
    let next = streams.written(stream).len() as u64;
    match &write.change {
        Change::Append(events) if events.is_empty() => Decision::Nothing { current: next.checked_sub(1) },
        Change::Append(events) => {
            let metadata = match stream.strip_prefix("$$") {
                // Its new metadata replaces the `$tb` that deleted the stream, which must not bring its events back.
                Some(described) if streams.is_soft_deleted(described) => {
                    let latest = &events[events.len() - 1].data;
                    Some((next + events.len() as u64, latest.clone(), streams.written(described).len() as u64))
                }
                None if streams.is_soft_deleted(stream) => {
                    let latest = streams.written(&metadata_of(stream));
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
            Decision::Write { asked: (stream.clone(), next, events.clone()), metadata }
        }
        Change::Delete => {
            let of = metadata_of(stream);
            let next = streams.written(&of).len() as u64;
            let event = metadata_event(&json!({ "$tb": REVISION_DELETED }));
            Decision::Write { asked: (of, next, vec![event]), metadata: None }
        }
        Change::Tombstone => {
            let event = NewEvent {
                id: Uuid::new_v4(),
                event_type: "$streamDeleted".to_owned(),
                is_json: false,
                custom_metadata: Bytes::new(),
                data: Bytes::new(),
            };
            Decision::Write { asked: (stream.clone(), REVISION_DELETED, vec![event]), metadata: None }
        }
    }
}

/// Whether a stream may be written to, or what is to be done otherwise.
fn check(
    streams: &Streams,
    recent: &RecentIds,
    stream: &str,
    expected: ExpectedRevision,
    ids: &[Uuid],
) -> Result<(), Decision> {
    if streams.is_tombstoned(stream) {
        return Err(Decision::StreamDeleted);
    }
    let written = streams.written(stream);
    let current = (written.len() as u64).checked_sub(1);
    let wrong = || Err(Decision::WrongRevision { current });
    let is_soft_deleted = streams.is_soft_deleted(stream);

    // How many events are expected.
    let expected_len = match expected {
        ExpectedRevision::Exact(revision) => revision.saturating_add(1),
        ExpectedRevision::NoStream(()) => 0,
        ExpectedRevision::StreamExists(()) if is_soft_deleted => return Err(Decision::StreamDeleted),
        ExpectedRevision::StreamExists(())
            if written.is_empty() && streams.written(&metadata_of(stream)).is_empty() =>
        {
            return wrong();
        }
        ExpectedRevision::StreamExists(()) | ExpectedRevision::Any(()) => {
            let seen = |id| recent.get(id).filter(|event| event.stream == stream);
            let count = ids.iter().take_while(|id| seen(id).is_some()).count();
            return match ids.last().and_then(seen) {
                Some(last) if count == ids.len() => Err(Decision::Repeated(Arc::clone(last))),
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
        len if repeated == len => Err(Decision::Repeated(Arc::clone(&followers[len - 1]))),
        _ if repeated == 0 && expected_len == 0 && is_soft_deleted => Ok(()),
        _ => wrong(),
    }
}

fn metadata_of(stream: &str) -> String {
    format!("$${stream}")
}

fn metadata_event(metadata: &Value) -> NewEvent {
    NewEvent {
        id: Uuid::new_v4(),
        event_type: METADATA_TYPE.to_owned(),
        is_json: true,
        custom_metadata: Bytes::new(),
        data: metadata.to_string().into(),
    }
}
