//! The time index: recorded times along the log, to find the place of an instant without reading
//! the whole log again. It is saved now and then (`saved_times`), so that the next process need not
//! read it either.

use std::sync::Mutex;

use chrono::{DateTime, Utc, serde::ts_microseconds};
use serde::{Deserialize, Serialize};

use event_log::{Bookmark, RecordedEvent, lock};

/// Events between two marks. Finding an instant reads about so many.
pub(crate) const MARK_EVENTS: usize = 1_000;

/// The latest recorded time at every so many positions.
#[derive(Default)]
pub(crate) struct TimeIndex(Mutex<IndexState>);

#[derive(Default)]
struct IndexState {
    times: LogTimes,
    /// How many events those had that were saved, or that were restored.
    saved_len: usize,
    /// Whether the saved index was looked for.
    is_restored: bool,
}

/// Recorded times along the log, from its start on and without a gap.
///
/// From one event to the next, recorded times may run backwards by as long as an append is under
/// way. The latest time so far never does, so the marks keep that.
#[derive(Clone)]
pub(crate) struct LogTimes {
    /// The last event that they know.
    pub(crate) end: Bookmark,
    pub(crate) marks: TimeMarks,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct TimeMarks {
    /// The latest recorded time of all events.
    #[serde(with = "ts_microseconds")]
    latest: DateTime<Utc>,
    /// The number of events after the last mark.
    unmarked: usize,
    marks: Vec<Mark>,
}

/// A position, and the latest recorded time of all events up to it.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Mark(u64, #[serde(with = "ts_microseconds")] DateTime<Utc>);

impl TimeIndex {
    /// Takes in a page: all events of the log after a position, up to the last of them. A page that
    /// begins after the index ends is left out, because the index has no gap.
    pub(crate) fn note_page(&self, after: u64, events: &[RecordedEvent]) {
        let mut state = lock(&self.0);
        if after <= state.times.end.position {
            for event in events {
                state.times.extend(event);
            }
        }
    }

    /// The position up to which the index knows all recorded times.
    pub(crate) fn end(&self) -> u64 {
        lock(&self.0).times.end.position
    }

    /// The latest recorded time of the events up to [`Self::end`].
    pub(crate) fn latest(&self) -> DateTime<Utc> {
        lock(&self.0).times.marks.latest
    }

    /// A position up to which no event was recorded after an instant: the first event that was is
    /// to be looked for from there.
    pub(crate) fn before_instant(&self, instant: DateTime<Utc>) -> u64 {
        lock(&self.0).times.last_mark(|Mark(_, latest)| *latest <= instant)
    }

    /// The last marked position at or before a position. There is an event at the mark, but there
    /// may be none at the position given. 0 where no mark is before it.
    pub(crate) fn before_position(&self, position: u64) -> u64 {
        lock(&self.0).times.last_mark(|Mark(marked, _)| *marked <= position)
    }

    pub(crate) fn clear(&self) {
        *lock(&self.0) = IndexState::default();
    }

    /// Takes the times that were saved, where they go further.
    pub(crate) fn restore(&self, saved: LogTimes) {
        let mut state = lock(&self.0);
        if saved.end.position > state.times.end.position {
            state.saved_len = saved.len();
            state.times = saved;
        }
    }

    pub(crate) fn is_restored(&self) -> bool {
        lock(&self.0).is_restored
    }

    pub(crate) fn mark_restored(&self) {
        lock(&self.0).is_restored = true;
    }

    /// The times, where they have at least so many events more than those that were saved.
    pub(crate) fn unsaved(&self, events_min: usize) -> Option<LogTimes> {
        let state = lock(&self.0);
        (state.times.len() >= state.saved_len + events_min).then(|| state.times.clone())
    }

    pub(crate) fn mark_saved(&self, saved: &LogTimes) {
        lock(&self.0).saved_len = saved.len();
    }
}

impl Default for LogTimes {
    fn default() -> Self {
        Self { end: Bookmark::START, marks: TimeMarks::default() }
    }
}

impl LogTimes {
    fn extend(&mut self, event: &RecordedEvent) {
        if event.position <= self.end.position {
            return;
        }
        self.end = event.into();
        let TimeMarks { latest, unmarked, marks } = &mut self.marks;
        *latest = event.recorded_at.max(*latest);
        *unmarked += 1;
        if *unmarked == MARK_EVENTS {
            *unmarked = 0;
            marks.push(Mark(event.position, *latest));
        }
    }

    /// The number of events.
    fn len(&self) -> usize {
        self.marks.marks.len() * MARK_EVENTS + self.marks.unmarked
    }

    /// The position of the last mark of which a condition holds that holds of none after one of
    /// which it does not; 0 where there is none.
    fn last_mark(&self, holds: impl Fn(&Mark) -> bool) -> u64 {
        let marks = &self.marks.marks;
        let count = marks.partition_point(holds);
        count.checked_sub(1).map_or(0, |last| marks[last].0)
    }
}
