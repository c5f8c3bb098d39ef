//! The time index: recorded times along the log, to find the place of an instant without reading
//! the whole log again.

use std::sync::Mutex;

use chrono::{DateTime, Utc};

use event_log::{RecordedEvent, lock};

/// Events between two marks. Finding an instant reads at most so many.
const MARK_EVENTS: usize = 1_000;

/// The latest recorded time at every so many positions.
#[derive(Default)]
pub(crate) struct TimeIndex(Mutex<Marks>);

/// Recorded times along the log, from its start on and without a gap.
///
/// From one event to the next, recorded times may run backwards by as long as an append is under
/// way. The latest time so far never does, so the marks keep that.
#[derive(Default)]
struct Marks {
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

impl TimeIndex {
    /// Takes in a page: all events of the log after a position, up to the last of them. A page that
    /// begins after the index ends is left out, because the index has no gap.
    pub(crate) fn note_page(&self, after: u64, events: &[RecordedEvent]) {
        let mut marks = lock(&self.0);
        if after <= marks.end {
            for event in events {
                marks.extend(event);
            }
        }
    }

    /// The position up to which the index knows all recorded times.
    pub(crate) fn end(&self) -> u64 {
        lock(&self.0).end
    }

    /// The latest recorded time of the events up to [`Self::end`].
    pub(crate) fn latest(&self) -> DateTime<Utc> {
        lock(&self.0).latest
    }

    /// A position up to which no event was recorded after an instant: the first event that was is
    /// to be looked for from there.
    pub(crate) fn before_instant(&self, instant: DateTime<Utc>) -> u64 {
        lock(&self.0).last_mark(|mark| mark.latest <= instant)
    }

    /// The last marked position at or before a position. There is an event at the mark, but there
    /// may be none at the position given. 0 where no mark is before it.
    pub(crate) fn before_position(&self, position: u64) -> u64 {
        lock(&self.0).last_mark(|mark| mark.position <= position)
    }

    pub(crate) fn clear(&self) {
        *lock(&self.0) = Marks::default();
    }
}

impl Marks {
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

    /// The position of the last mark of which a condition holds that holds of none after one of
    /// which it does not; 0 where there is none.
    fn last_mark(&self, holds: impl Fn(&Mark) -> bool) -> u64 {
        let count = self.marks.partition_point(holds);
        count.checked_sub(1).map_or(0, |last| self.marks[last].position)
    }
}
