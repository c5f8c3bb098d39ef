//! The events as they are read: all of them in order, and by stream, with what a stream's metadata hides.
//!
//! A stream's metadata is the latest event of the stream `$$` and its name. Of it are kept `$tb` (events before it are
//! not shown), `$maxCount` and `$maxAge`. A soft delete is a `$tb` of [`REVISION_DELETED`]; a tombstone is an event of that
//! revision. Neither removes an event from `$all`, as only a scavenge does that, which is not done here.

use std::{collections::HashMap, sync::Arc};

use prost::{Message, bytes::Bytes};
use serde_json::Value;

use crate::clock;

/// The revision that says that a stream is deleted.
pub const REVISION_DELETED: u64 = i64::MAX as u64;

/// The type of a metadata stream's events.
pub const METADATA_TYPE: &str = "$metadata";

/// An event as it stands in the file.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Where in the file it stands, which is also its commit and prepare position.
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
    /// Whether it is the last of those that were written together.
    #[prost(bool, tag = "10")]
    pub ends_commit: bool,
}

/// All events.
#[derive(Debug, Default)]
pub struct Streams {
    all: Vec<Arc<Event>>,
    by_name: HashMap<String, Stream>,
}

/// The events of one stream, each at the index of its revision.
#[derive(Debug, Default)]
pub struct Stream {
    events: Vec<Arc<Event>>,
    is_tombstoned: bool,
    /// From its metadata.
    truncate_before: u64,
    /// From its metadata.
    count_max: Option<usize>,
    /// From its metadata, in the units of [`Event::created`].
    age_max: Option<i64>,
}

/// A stream as a reader finds it.
#[derive(Debug)]
pub enum Found<'a> {
    /// Nothing was ever written to it, or it is soft-deleted.
    Missing,
    Tombstoned,
    There(&'a Stream),
}

impl Streams {
    /// Takes in the event that follows.
    pub fn push(&mut self, event: Arc<Event>) {
        let stream = self.by_name.entry(event.stream.clone()).or_default();
        if event.revision == REVISION_DELETED {
            stream.is_tombstoned = true;
        } else {
            assert_eq!(event.revision, stream.events.len() as u64, "a gap in the revisions of {}", event.stream);
            stream.events.push(Arc::clone(&event));
        }
        if let Some(described) = event.stream.strip_prefix("$$") {
            // Of metadata only the latest is shown.
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
    pub fn all(&self) -> &[Arc<Event>] {
        &self.all
    }

    pub fn find(&self, name: &str) -> Found<'_> {
        match self.by_name.get(name) {
            _ if self.is_tombstoned(name) => Found::Tombstoned,
            Some(stream) if !stream.events.is_empty() && !stream.is_soft_deleted() => Found::There(stream),
            _ => Found::Missing,
        }
    }

    /// All events of a stream, also those that are not shown.
    pub fn written(&self, name: &str) -> &[Arc<Event>] {
        self.by_name.get(name).map_or(&[], |stream| &stream.events)
    }

    pub fn is_soft_deleted(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(Stream::is_soft_deleted)
    }

    /// Whether a stream, or the stream whose metadata it holds, is deleted for good.
    pub fn is_tombstoned(&self, name: &str) -> bool {
        let is_tombstoned = |name| self.by_name.get(name).is_some_and(|stream| stream.is_tombstoned);
        is_tombstoned(name) || name.strip_prefix("$$").is_some_and(is_tombstoned)
    }
}

impl Stream {
    /// The events that are shown.
    pub fn shown(&self) -> &[Arc<Event>] {
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
