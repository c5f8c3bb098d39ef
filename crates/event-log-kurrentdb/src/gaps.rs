//! Gaps: stretches of the log that hold no event of this ledger, only events that others have
//! written. A reader begins behind a gap, so that the server does not search it again.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use event_log::lock;

use crate::{
    client::{ServerPosition, SubscriptionMessage},
    stream_names::StreamPrefix,
};

/// Gaps that are kept. Beyond these the narrowest is dropped: a reader that crosses it searches it
/// again.
const GAPS_MAX: usize = 1_000;

/// A stretch of the server's log that holds no event of this ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogGap {
    /// No event of the ledger is after this position …
    pub(crate) after: u64,
    /// … and before this one.
    pub(crate) before: u64,
}

/// The positions that this process knows of: the highest of an event of the ledger, and the gaps.
#[derive(Default)]
pub(crate) struct KnownPositions {
    last_event: AtomicU64,
    gaps: Mutex<Gaps>,
}

impl KnownPositions {
    /// Notes that an event of the ledger is at a position.
    pub(crate) fn note_event(&self, position: u64) {
        self.last_event.fetch_max(position, Ordering::Relaxed);
    }

    /// The highest position at which this process has met an event of the ledger; 0 where it has
    /// met none.
    pub(crate) fn last_event(&self) -> u64 {
        self.last_event.load(Ordering::Relaxed)
    }

    pub(crate) fn note_gap(&self, gap: LogGap) {
        lock(&self.gaps).note(gap);
    }

    /// Notes that the settings of a stream at this position were looked at and do no harm: readers
    /// may pass over them.
    pub(crate) fn note_harmless(&self, position: u64) {
        lock(&self.gaps).join(position);
    }

    /// The end of the gap after a position: no event of the ledger is between the two. Nothing
    /// where no gap is known.
    pub(crate) fn gap_after(&self, position: u64) -> Option<u64> {
        lock(&self.gaps).after(position)
    }

    /// The place at which to begin reading the events after the event at a position.
    pub(crate) fn place_after(&self, position: u64) -> ServerPosition {
        match self.gap_after(position) {
            Some(before) => ServerPosition { commit: before, prepare: 0 },
            None => ServerPosition { commit: position, prepare: position },
        }
    }

    pub(crate) fn clear(&self) {
        self.last_event.store(0, Ordering::Relaxed);
        *lock(&self.gaps) = Gaps::default();
    }
}

/// Gaps in the log: the end of each, by the position after which it begins.
#[derive(Default)]
struct Gaps(BTreeMap<u64, u64>);

impl Gaps {
    fn note(&mut self, LogGap { after, before }: LogGap) {
        match self.0.range_mut(..=after).next_back() {
            Some((from, to)) if *from == after || *to > after => *to = before.max(*to),
            // A gap that ends exactly at `after` stays apart: there is an event between the two.
            _ if before > after => {
                self.0.insert(after, before);
            }
            _ => {}
        }
        if self.0.len() > GAPS_MAX {
            // Never the last gap, which is the one that grows and that every reader at the log's
            // end uses.
            let narrowest = self.0.iter().rev().skip(1).min_by_key(|(from, to)| **to - **from).map(|(from, _)| *from);
            narrowest.and_then(|narrowest| self.0.remove(&narrowest));
        }
    }

    /// Joins the gap that ends at a position and the one that begins after it.
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

/// Learns gaps from the events of a subscription.
///
/// The subscription sends the events of the ledger and, after each so many events of any writer, a
/// checkpoint: it has sent all events of the ledger up to there. Some older servers send a
/// checkpoint too early, ahead of events that are still to come. So a checkpoint counts only once
/// the subscription has sent something further.
pub(crate) struct GapTracker {
    prefix: StreamPrefix,
    after: u64,
    checkpoint: Option<u64>,
}

impl GapTracker {
    /// For a subscription that begins with no event of the ledger between it and this earlier
    /// position.
    pub(crate) fn new(prefix: &StreamPrefix, after: u64) -> Self {
        Self { prefix: prefix.clone(), after, checkpoint: None }
    }

    /// Takes what the subscription has sent next. Answers the gap that it proves, if it proves one.
    pub(crate) fn observe(&mut self, message: &SubscriptionMessage) -> Option<LogGap> {
        match message {
            SubscriptionMessage::Event(event) => {
                let gap = LogGap { after: self.after, before: event.position.commit };
                let name = &event.stream;
                if self.prefix.owns(name) || self.prefix.stream_of_settings(name).is_some() {
                    self.after = gap.before;
                    self.checkpoint = None;
                }
                Some(gap)
            }
            SubscriptionMessage::Checkpoint(ServerPosition { commit, .. }) => {
                let earlier = self.checkpoint.replace(*commit)?;
                (earlier < *commit).then_some(LogGap { after: self.after, before: earlier })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(noted: &[(u64, u64)]) -> Gaps {
        let mut gaps = Gaps::default();
        noted.iter().for_each(|&(after, before)| gaps.note(LogGap { after, before }));
        gaps
    }

    #[test]
    fn a_gap_grows_and_ends_at_the_next_event() {
        let mut gaps = gaps(&[(10, 20), (10, 30), (10, 25), (15, 40), (40, 50)]);
        let after = |gaps: &Gaps| [9, 10, 39, 40, 49, 50].map(|position| gaps.after(position));
        assert_eq!(after(&gaps), [None, Some(40), Some(40), Some(50), Some(50), None]);
        gaps.join(40);
        assert_eq!(after(&gaps), [None, Some(50), Some(50), Some(50), Some(50), None]);
        gaps.join(50);
        gaps.note(LogGap { after: 40, before: 60 });
        assert_eq!(gaps.after(10), Some(60));
    }

    #[test]
    fn the_widest_gaps_and_the_last_one_are_kept() {
        let width = |number: u64| if number == 7 { 2 } else { 3 };
        let noted: Vec<_> =
            (1..=GAPS_MAX as u64 + 1).map(|number| (10 * number, 10 * number + width(number))).collect();
        let mut gaps = gaps(&noted);
        let last = 10 * (GAPS_MAX as u64 + 2);
        gaps.note(LogGap { after: last, before: last + 1 });
        assert_eq!((gaps.0.len(), gaps.after(70), gaps.after(last)), (GAPS_MAX, None, Some(last + 1)));
    }

    /// Shows a tracker checkpoints after position 1, and checks which gap each of them proves.
    #[track_caller]
    fn check(checkpoints: &[(u64, Option<u64>)]) {
        let mut tracker = GapTracker::new(&StreamPrefix::default(), 1);
        for &(commit, before) in checkpoints {
            let gap = tracker.observe(&SubscriptionMessage::Checkpoint(ServerPosition { commit, prepare: commit }));
            assert_eq!(gap, before.map(|before| LogGap { after: 1, before }), "at {commit}");
        }
    }

    #[test]
    fn a_checkpoint_counts_once_something_further_was_sent() {
        check(&[(10, None), (20, Some(10)), (20, None), (30, Some(20))]);
        // Some servers have sent checkpoints that are no positions, or not yet.
        check(&[(u64::MAX, None), (10, None), (20, Some(10))]);
        check(&[(40, None), (30, None), (50, Some(30))]);
    }
}
