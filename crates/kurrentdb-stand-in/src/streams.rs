//! All events in memory: in order, and by stream, with the events that a stream's metadata hides.
//!
//! A stream's metadata is the latest event of the stream with the name `$$` and its name. This
//! server regards `$tb` (truncate before: earlier events are hidden), `$maxCount` and `$maxAge`. A
//! soft delete is a `$tb` of [`REVISION_DELETED`]; a tombstone is an event with that revision.
//! Neither removes an event from `$all`: only a scavenge does, which this server does not have.

use std::{collections::HashMap, sync::Arc};

use prost::{Message, bytes::Bytes};
use serde_json::Value;

use crate::clock;

/// The revision that marks a stream as deleted.
pub const REVISION_DELETED: u64 = i64::MAX as u64;

/// The type of the events of a metadata stream.
pub const METADATA_TYPE: &str = "$metadata";

/// An event as the file holds it.
#[derive(Clone, PartialEq, Message)]
pub struct EventRecord {
    /// The place of its record in the file, which is also its commit and prepare position.
    #[prost(uint64, tag = "1")]
    pub position: u64,
    #[prost(string, tag = "2")]
    pub stream: String,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub event_type: String,
    #[prost(bool, tag = "6")]
    pub is_json: bool,
    /// When it was recorded, in units of 100 ns since 1970.
    #[prost(int64, tag = "7")]
    pub created: i64,
    #[prost(bytes = "bytes", tag = "8")]
    pub custom_metadata: Bytes,
    #[prost(bytes = "bytes", tag = "9")]
    pub data: Bytes,
    /// Whether it is the last of the events that were written together.
    #[prost(bool, tag = "10")]
    pub ends_commit: bool,
}

impl EventRecord {
    /// The only event of a stream that this server makes up when it is read.
    pub fn made_up(stream: String, data: String) -> Self {
        Self {
            stream,
            id: vec![0; 16],
            event_type: "Told".to_owned(),
            is_json: true,
            data: data.into(),
            ..Self::default()
        }
    }
}

/// All events.
#[derive(Debug, Default)]
pub struct AllStreams {
    all: Vec<Arc<EventRecord>>,
    by_name: HashMap<String, StreamEvents>,
}

/// The events of one stream, each at the index of its revision.
#[derive(Debug, Default)]
pub struct StreamEvents {
    events: Vec<Arc<EventRecord>>,
    is_tombstoned: bool,
    /// `$tb` of its metadata.
    truncate_before: u64,
    /// `$maxCount` of its metadata.
    count_max: Option<usize>,
    /// `$maxAge` of its metadata, in the units of [`EventRecord::created`].
    age_max: Option<i64>,
}

/// A stream as a reader finds it.
#[derive(Debug)]
pub enum StreamLookup<'a> {
    /// Nothing was ever written to it, or it is soft-deleted.
    Missing,
    Tombstoned,
    Present(&'a StreamEvents),
}

impl AllStreams {
    /// Takes in the next event.
    pub fn push(&mut self, event: Arc<EventRecord>) {
        let stream = self.by_name.entry(event.stream.clone()).or_default();
        if event.revision == REVISION_DELETED {
            stream.is_tombstoned = true;
        } else {
            assert_eq!(event.revision, stream.events.len() as u64, "a gap in the revisions of {}", event.stream);
            stream.events.push(Arc::clone(&event));
        }
        if let Some(described) = event.stream.strip_prefix("$$") {
            // Only the latest metadata is shown.
            stream.count_max = Some(1);
            let metadata = serde_json::from_slice(&event.data).unwrap_or(Value::Null);
            let described = self.by_name.entry(described.to_owned()).or_default();
            described.truncate_before = metadata["$tb"].as_u64().unwrap_or(0);
            described.count_max = metadata["$maxCount"].as_u64().and_then(|count| usize::try_from(count).ok());
            described.age_max = metadata["$maxAge"].as_i64().map(|seconds| seconds.saturating_mul(10_000_000));
        }
        self.all.push(event);
    }

    /// All events, in order.
    pub fn all(&self) -> &[Arc<EventRecord>] {
        &self.all
    }

    pub fn find(&self, name: &str) -> StreamLookup<'_> {
        match self.by_name.get(name) {
            _ if self.is_tombstoned(name) => StreamLookup::Tombstoned,
            Some(stream) if !stream.events.is_empty() && !stream.is_soft_deleted() => StreamLookup::Present(stream),
            _ => StreamLookup::Missing,
        }
    }

    /// All events of a stream, including those that are hidden.
    pub fn events_of(&self, name: &str) -> &[Arc<EventRecord>] {
        self.by_name.get(name).map_or(&[], |stream| &stream.events)
    }

    pub fn is_soft_deleted(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(StreamEvents::is_soft_deleted)
    }

    /// Whether a stream, or the stream whose metadata it holds, is deleted for good.
    pub fn is_tombstoned(&self, name: &str) -> bool {
        let is_tombstoned = |name| self.by_name.get(name).is_some_and(|stream| stream.is_tombstoned);
        is_tombstoned(name) || name.strip_prefix("$$").is_some_and(is_tombstoned)
    }
}

impl StreamEvents {
    /// The events that readers see.
    pub fn visible_events(&self) -> &[Arc<EventRecord>] {
        let truncated = usize::try_from(self.truncate_before).unwrap_or(usize::MAX);
        let surplus = self.count_max.map_or(0, |count| self.events.len().saturating_sub(count));
        let too_old = self.age_max.map_or(0, |age| {
            let oldest = clock::ticks() - age;
            self.events.partition_point(|event| event.created < oldest)
        });
        &self.events[truncated.max(surplus).max(too_old).min(self.events.len())..]
    }

    pub fn last_revision(&self) -> u64 {
        self.events.len() as u64 - 1
    }

    fn is_soft_deleted(&self) -> bool {
        self.truncate_before == REVISION_DELETED
    }
}
