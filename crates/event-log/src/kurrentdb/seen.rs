//! What this process has seen of the log, as far as it needs it again.
//!
//! | what | for |
//! |---|---|
//! | the latest recorded time | recorded times do not run backwards |
//! | streams' last revisions | whether that time includes a stream's last event |
//! | the recorded time at every so many positions | finding the place of an instant without reading all again |

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use domain::Stream;
use quick_cache::sync::Cache;

use crate::RecordedEvent;

/// Streams whose last revision is kept. One that fell out costs a read when it is appended to.
const STREAMS_MAX: usize = 100_000;

/// Events between two marks: finding an instant reads at most so many.
const MARK_EVENTS: usize = 1_000;

pub(super) struct Seen {
    latest: Mutex<DateTime<Utc>>,
    revisions: Cache<Stream, u64>,
    times: Mutex<Times>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            latest: Mutex::new(DateTime::UNIX_EPOCH),
            revisions: Cache::new(STREAMS_MAX),
            times: Mutex::new(Times::default()),
        }
    }

    /// Takes note of an event.
    pub(super) fn note(&self, event: &RecordedEvent) {
        self.not_before(event.recorded_at);
        let known = self.revisions.get(&event.stream);
        if known.is_none_or(|known| known < event.revision) {
            self.revisions.insert(event.stream.clone(), event.revision);
        }
    }

    /// Whether an event at this revision of a stream, or a later one of it, was seen.
    pub(super) fn has(&self, stream: &Stream, revision: u64) -> bool {
        self.revisions.get(stream).is_some_and(|known| known >= revision)
    }

    /// The time given, or the latest seen where that is later; from now on the latest seen.
    pub(super) fn not_before(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = time.max(*latest);
        *latest
    }

    /// Takes note of all the events that stand after a position up to the last of them.
    pub(super) fn note_times(&self, after: u64, events: &[RecordedEvent]) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if after <= times.end {
            for event in events {
                times.extend(event);
            }
        }
    }

    /// The position up to which the recorded times of all events are known.
    pub(super) fn times_end(&self) -> u64 {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).end
    }

    /// The latest recorded time of the events up to [`Seen::times_end`].
    pub(super) fn latest_time(&self) -> DateTime<Utc> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).latest
    }

    /// A position from which to look for the first event recorded after an instant: no event up to it was.
    pub(super) fn before_instant(&self, instant: DateTime<Utc>) -> u64 {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let marks = times.marks.partition_point(|mark| mark.latest <= instant);
        marks.checked_sub(1).map_or(0, |last| times.marks[last].position)
    }

    /// The last position of an event, of those known, that lies before a position that may be none of an event.
    pub(super) fn before_position(&self, position: u64) -> u64 {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let marks = times.marks.partition_point(|mark| mark.position <= position);
        marks.checked_sub(1).map_or(0, |last| times.marks[last].position)
    }
}

/// Recorded times along the log, without a gap from its start. They may run backwards from one event to the next by as
/// long as an append is under way, so what is kept is the latest so far: that never does.
#[derive(Default)]
struct Times {
    end: u64,
    latest: DateTime<Utc>,
    unmarked: usize,
    marks: Vec<Mark>,
}

#[derive(Clone, Copy)]
struct Mark {
    position: u64,
    /// The latest recorded time of all events up to the position.
    latest: DateTime<Utc>,
}

impl Times {
    fn extend(&mut self, event: &RecordedEvent) {
        if event.position <= self.end {
            return;
        }
        self.end = event.position;
        self.latest = self.latest.max(event.recorded_at);
        self.unmarked += 1;
        if self.unmarked == MARK_EVENTS {
            self.unmarked = 0;
            self.marks.push(Mark { position: self.end, latest: self.latest });
        }
    }
}

/// The last revision of each stream met by one reader of the log, who thereby sees what is missing.
pub(super) struct Revisions {
    from_start: bool,
    last: HashMap<Stream, u64>,
}

impl Revisions {
    /// For a reader who begins after a position: from the start he meets every stream at its first event.
    pub(super) fn after(position: u64) -> Self {
        Self { from_start: position == 0, last: HashMap::new() }
    }

    /// Takes the next event; where one is missing before it, says what.
    pub(super) fn accept(&mut self, event: &RecordedEvent) -> Result<(), String> {
        let RecordedEvent { stream, revision, .. } = event;
        let expected = match self.last.entry(stream.clone()) {
            Entry::Vacant(_) if self.from_start && *revision != 0 => 0,
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
