//! Revisions of streams: the last ones that this process has met, and the check that a reader of
//! the log misses none.

use std::collections::{HashMap, hash_map::Entry};

use domain::Stream;
use quick_cache::sync::Cache;

use event_log::RecordedEvent;

/// Streams whose last revision is cached. An append to a stream that was evicted costs a read.
const STREAMS_MAX: usize = 100_000;

/// The last revisions of streams that this process has met. Each event counted here was also shown
/// to the [recorded clock](crate::recorded_clock::RecordedClock).
pub(crate) struct LastRevisions(Cache<Stream, u64>);

impl Default for LastRevisions {
    fn default() -> Self {
        Self(Cache::new(STREAMS_MAX))
    }
}

impl LastRevisions {
    pub(crate) fn note(&self, stream: &Stream, revision: u64) {
        let known = self.0.get(stream);
        if known.is_none_or(|known| known < revision) {
            self.0.insert(stream.clone(), revision);
        }
    }

    /// Whether this process has met the event at a revision of a stream, or a later one.
    pub(crate) fn has(&self, stream: &Stream, revision: u64) -> bool {
        self.0.get(stream).is_some_and(|known| known >= revision)
    }
}

/// Checks that a reader of the log meets every event of each stream: it keeps the last revision of
/// each stream that the reader has met.
pub(crate) struct RevisionCheck {
    is_from_start: bool,
    last: HashMap<Stream, u64>,
}

impl RevisionCheck {
    /// For a reader that begins after a position. A reader that begins at the log's start must meet
    /// every stream at its first event.
    pub(crate) fn after(position: u64) -> Self {
        Self { is_from_start: position == 0, last: HashMap::new() }
    }

    /// Takes the next event. Where one is missing before it, the error says which.
    pub(crate) fn accept(&mut self, event: &RecordedEvent) -> Result<(), String> {
        let RecordedEvent { stream, revision, .. } = event;
        let expected = match self.last.entry(stream.clone()) {
            Entry::Vacant(_) if self.is_from_start && *revision != 0 => 0,
            Entry::Vacant(entry) => {
                entry.insert(*revision);
                return Ok(());
            }
            Entry::Occupied(mut entry) if *entry.get() + 1 == *revision => {
                entry.insert(*revision);
                return Ok(());
            }
            Entry::Occupied(entry) => *entry.get() + 1,
        };
        Err(format!("revision {revision} of its stream stands here, where revision {expected} was next"))
    }
}
