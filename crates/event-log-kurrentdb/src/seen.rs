//! What this process has seen of the log, as far as it needs it again.
//!
//! | what | for |
//! |---|---|
//! | the latest recorded time | recorded times do not run backwards |
//! | streams' last revisions | whether that time includes a stream's last event |
//! | the recorded time at every so many positions | finding the place of an instant without reading all again |
//! | our last event, and stretches where nothing of ours stands | what others write is not looked through again and again |

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use domain::Stream;
use kurrentdb::Position;
use quick_cache::sync::Cache;

use event_log::RecordedEvent;

use crate::subscription::Gap;

/// Streams whose last revision is kept. One that fell out costs a read when it is appended to.
const STREAMS_MAX: usize = 100_000;

/// Events between two marks: finding an instant reads at most so many.
const MARK_EVENTS: usize = 1_000;

/// Gaps that are kept. Of more than these the narrowest is looked through again by whoever reads across it.
const GAPS_MAX: usize = 1_000;

pub(crate) struct Seen {
    latest: Mutex<DateTime<Utc>>,
    revisions: Cache<Stream, u64>,
    times: Mutex<Times>,
    end: AtomicU64,
    gaps: Mutex<Gaps>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self {
            latest: Mutex::new(DateTime::UNIX_EPOCH),
            revisions: Cache::new(STREAMS_MAX),
            times: Mutex::new(Times::default()),
            end: AtomicU64::new(0),
            gaps: Mutex::default(),
        }
    }

    /// Takes note of an event.
    pub(crate) fn note(&self, event: &RecordedEvent) {
        self.not_before(event.recorded_at);
        self.note_position(event.position);
        let known = self.revisions.get(&event.stream);
        if known.is_none_or(|known| known < event.revision) {
            self.revisions.insert(event.stream.clone(), event.revision);
        }
    }

    /// Whether an event at this revision of a stream, or a later one of it, was seen.
    pub(crate) fn has(&self, stream: &Stream, revision: u64) -> bool {
        self.revisions.get(stream).is_some_and(|known| known >= revision)
    }

    /// The time given, or the latest seen where that is later; from now on the latest seen.
    pub(crate) fn not_before(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = time.max(*latest);
        *latest
    }

    /// Takes note of all the events that stand after a position up to the last of them.
    pub(crate) fn note_times(&self, after: u64, events: &[RecordedEvent]) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if after <= times.end {
            for event in events {
                times.extend(event);
            }
        }
    }

    /// The position up to which the recorded times of all events are known.
    pub(crate) fn times_end(&self) -> u64 {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).end
    }

    /// The latest recorded time of the events up to [`Seen::times_end`].
    pub(crate) fn latest_time(&self) -> DateTime<Utc> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).latest
    }

    /// A position from which to look for the first event recorded after an instant: no event up to it was.
    pub(crate) fn before_instant(&self, instant: DateTime<Utc>) -> u64 {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let marks = times.marks.partition_point(|mark| mark.latest <= instant);
        marks.checked_sub(1).map_or(0, |last| times.marks[last].position)
    }

    /// The last position of an event, of those known, that lies before a position that may be none of an event.
    pub(crate) fn before_position(&self, position: u64) -> u64 {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let marks = times.marks.partition_point(|mark| mark.position <= position);
        marks.checked_sub(1).map_or(0, |last| times.marks[last].position)
    }
}

impl Seen {
    /// Takes note that an event of ours stands at a position.
    pub(crate) fn note_position(&self, position: u64) {
        self.end.fetch_max(position, Ordering::Relaxed);
    }

    /// The highest position of an event of ours seen, 0 where there is none.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    /// Takes note of a gap.
    pub(crate) fn note_gap(&self, gap: Gap) {
        self.gaps().note(gap);
    }

    /// Takes note that what stands at this position, though it may concern us, need not be looked at again.
    pub(crate) fn note_settled(&self, position: u64) {
        self.gaps().join(position);
    }

    /// The position, beyond the one given, before which nothing of ours stands after it; nothing where that is not known.
    pub(crate) fn gap_after(&self, position: u64) -> Option<u64> {
        self.gaps().after(position)
    }

    /// Where to begin for what stands after a position of an event.
    pub(crate) fn place_after(&self, position: u64) -> Position {
        match self.gap_after(position) {
            Some(before) => Position { commit: before, prepare: 0 },
            None => Position { commit: position, prepare: position },
        }
    }

    /// Forgets positions: they are another log's.
    pub(crate) fn forget_positions(&self) {
        self.end.store(0, Ordering::Relaxed);
        *self.gaps() = Gaps::default();
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = Times::default();
    }

    fn gaps(&self) -> MutexGuard<'_, Gaps> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gaps in the log, by the position after which each begins.
#[derive(Default)]
struct Gaps(BTreeMap<u64, u64>);

impl Gaps {
    fn note(&mut self, Gap { after, before }: Gap) {
        match self.0.range_mut(..=after).next_back() {
            Some((from, to)) if *from == after || *to > after => *to = before.max(*to),
            // Also where a gap ends just there: something stands between the two.
            _ if before > after => {
                self.0.insert(after, before);
            }
            _ => {}
        }
        if self.0.len() > GAPS_MAX {
            // All but the last, which is the one that grows and that everybody asks for.
            let narrowest = self.0.iter().rev().skip(1).min_by_key(|(from, to)| **to - **from).map(|(from, _)| *from);
            narrowest.and_then(|narrowest| self.0.remove(&narrowest));
        }
    }

    /// Makes one of the gap that ends at a position and the one that begins after it.
    fn join(&mut self, position: u64) {
        let Some(before) = self.0.get(&position).copied() else { return };
        if let Some((_, to)) = self.0.range_mut(..position).next_back()
            && *to == position
        {
            *to = before;
            self.0.remove(&position);
        }
    }

    fn after(&self, position: u64) -> Option<u64> {
        self.0.range(..=position).next_back().map(|(_, to)| *to).filter(|to| *to > position)
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
pub(crate) struct Revisions {
    from_start: bool,
    last: HashMap<Stream, u64>,
}

impl Revisions {
    /// For a reader who begins after a position: from the start he meets every stream at its first event.
    pub(crate) fn after(position: u64) -> Self {
        Self { from_start: position == 0, last: HashMap::new() }
    }

    /// Takes the next event; where one is missing before it, says what.
    pub(crate) fn accept(&mut self, event: &RecordedEvent) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(noted: &[(u64, u64)]) -> Gaps {
        let mut gaps = Gaps::default();
        noted.iter().for_each(|&(after, before)| gaps.note(Gap { after, before }));
        gaps
    }

    #[test]
    fn a_gap_grows_and_ends_at_what_stands_behind_it() {
        let mut gaps = gaps(&[(10, 20), (10, 30), (10, 25), (15, 40), (40, 50)]);
        let after = |gaps: &Gaps| [9, 10, 39, 40, 49, 50].map(|position| gaps.after(position));
        assert_eq!(after(&gaps), [None, Some(40), Some(40), Some(50), Some(50), None]);
        gaps.join(40);
        assert_eq!(after(&gaps), [None, Some(50), Some(50), Some(50), Some(50), None]);
        gaps.join(50);
        gaps.note(Gap { after: 40, before: 60 });
        assert_eq!(gaps.after(10), Some(60));
    }

    #[test]
    fn of_too_many_gaps_the_wide_ones_and_the_last_are_kept() {
        let width = |number: u64| if number == 7 { 2 } else { 3 };
        let noted: Vec<_> =
            (1..=GAPS_MAX as u64 + 1).map(|number| (10 * number, 10 * number + width(number))).collect();
        let mut gaps = gaps(&noted);
        let last = 10 * (GAPS_MAX as u64 + 2);
        gaps.note(Gap { after: last, before: last + 1 });
        assert_eq!((gaps.0.len(), gaps.after(70), gaps.after(last)), (GAPS_MAX, None, Some(last + 1)));
    }
}
