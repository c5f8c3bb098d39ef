//! The side of the access log that requests see: a bounded queue in memory.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::{
    sync::{Notify, oneshot},
    time::timeout,
};

use crate::{AccessEntry, LostReads};

/// The most that may wait, in prisoner numbers and entries: some ten megabytes, which thousands of
/// questions about one case fill, or two hundred about a thousand cases each.
const WAITING_WEIGHT_MAX: usize = 200_000;

/// The most that one insert takes: Postgres has it within milliseconds.
const BATCH_WEIGHT_MAX: usize = 20_000;

/// How long a read waits for its entry where that is required.
const STORED_WAIT_MAX: Duration = Duration::from_secs(3);

/// How a read and its entry depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingMode {
    /// A read is answered once its entry is stored, and refused where it cannot be.
    Required,
    /// A read waits for nothing. Entries that cannot be kept are counted, and the count is kept.
    BestEffort,
    /// Reads have no entries.
    Off,
}

/// The access log of a process; clones share it.
#[derive(Debug, Clone)]
pub struct AccessLog {
    mode: RecordingMode,
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Told when an entry comes.
    arrived: Notify,
    kept: Counter,
    not_kept: Counter,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<WaitingEntry>,
    weight: usize,
    lost: Option<LostReads>,
}

/// An entry that is not stored yet.
#[derive(Debug)]
pub(crate) struct WaitingEntry {
    pub(crate) entry: AccessEntry,
    /// Told whether it is stored, where its read waits for that.
    pub(crate) stored: Option<oneshot::Sender<bool>>,
}

/// An entry could not be stored, and its read must not be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the read cannot be recorded in the access log")]
pub struct NotKept;

impl AccessLog {
    /// An access log whose entries wait until [`AccessLog::write`] stores them.
    #[must_use]
    pub fn new(mode: RecordingMode) -> Self {
        Self { mode, queue: Arc::default() }
    }

    /// An access log that keeps nothing.
    #[must_use]
    pub fn off() -> Self {
        Self::new(RecordingMode::Off)
    }

    /// How reads and entries depend on each other.
    #[must_use]
    pub fn mode(&self) -> RecordingMode {
        self.mode
    }

    /// Records a read. Waits for Postgres only where the entry is required.
    ///
    /// # Errors
    /// [`NotKept`], where the entry is required and was not stored in time. It may still be stored
    /// later: an entry too many, of a read that was refused.
    pub async fn record(&self, entry: AccessEntry) -> Result<(), NotKept> {
        match self.mode {
            RecordingMode::Off => Ok(()),
            RecordingMode::BestEffort => {
                self.record_soon(entry);
                Ok(())
            }
            RecordingMode::Required => {
                let (stored, is_stored) = oneshot::channel();
                if !self.offer(WaitingEntry { entry, stored: Some(stored) }) {
                    return Err(NotKept);
                }
                match timeout(STORED_WAIT_MAX, is_stored).await {
                    Ok(Ok(true)) => Ok(()),
                    _ => Err(NotKept),
                }
            }
        }
    }

    /// Records a read that was answered already, such as the end of a stream.
    pub fn record_soon(&self, entry: AccessEntry) {
        let at = entry.at;
        if self.mode != RecordingMode::Off && !self.offer(WaitingEntry { entry, stored: None }) {
            self.queue.not_kept.inc();
            LostReads::add(&mut self.waiting().lost, at);
            self.queue.arrived.notify_one();
        }
    }

    /// Registers the counters of entries.
    pub fn register_metrics(&self, registry: &mut Registry) {
        let Queue { kept, not_kept, .. } = &*self.queue;
        registry.register("ledger_access_log_entries", "Reads kept in the access log", kept.clone());
        registry.register(
            "ledger_access_log_lost",
            "Reads that the access log could not keep, but for their number",
            not_kept.clone(),
        );
    }

    /// Puts an entry into the queue; false where that is full.
    fn offer(&self, entry: WaitingEntry) -> bool {
        let weight = entry.entry.shown.weight();
        let mut waiting = self.waiting();
        if waiting.weight + weight > WAITING_WEIGHT_MAX {
            return false;
        }
        waiting.weight += weight;
        waiting.entries.push(entry);
        drop(waiting);
        self.queue.arrived.notify_one();
        true
    }

    /// Waits until something is there to be stored.
    pub(crate) async fn wait_for_entries(&self) {
        loop {
            let arrived = self.queue.arrived.notified();
            if !self.is_empty() {
                return;
            }
            arrived.await;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let waiting = self.waiting();
        waiting.entries.is_empty() && waiting.lost.is_none()
    }

    /// Takes the oldest entries, as many as one insert takes, with the one that counts lost reads.
    pub(crate) fn take_batch(&self) -> Vec<WaitingEntry> {
        let mut waiting = self.waiting();
        let mut weight = 0;
        let fitting = waiting.entries.iter().take_while(|entry| {
            weight += entry.entry.shown.weight();
            weight <= BATCH_WEIGHT_MAX
        });
        // One that is larger than a batch goes alone.
        let count = fitting.count().max(1).min(waiting.entries.len());
        let rest = waiting.entries.split_off(count);
        let mut batch = mem::replace(&mut waiting.entries, rest);
        waiting.weight -= batch.iter().map(|entry| entry.entry.shown.weight()).sum::<usize>();
        let lost = waiting.lost.take().map(AccessEntry::of_lost);
        batch.extend(lost.map(|entry| WaitingEntry { entry, stored: None }));
        batch
    }

    /// Tells the reads of a batch that their entries are stored.
    pub(crate) fn confirm(&self, batch: Vec<WaitingEntry>) {
        for WaitingEntry { entry, stored } in batch {
            if entry.lost.is_none() {
                self.queue.kept.inc();
            }
            // A read that no longer waits has its entry all the same.
            stored.map(|stored| stored.send(true));
        }
    }

    /// Gives a batch up. Reads that wait for their entries are refused, so only the others are
    /// lost.
    pub(crate) fn give_up(&self, batch: Vec<WaitingEntry>) -> u64 {
        let mut waiting = self.waiting();
        let mut reads = 0;
        for WaitingEntry { entry, stored } in batch {
            match (stored, entry.lost) {
                (Some(stored), _) => drop(stored.send(false)),
                (None, Some(earlier)) => {
                    let lost = waiting.lost.get_or_insert(LostReads { reads: 0, ..earlier });
                    lost.first = lost.first.min(earlier.first);
                    lost.last = lost.last.max(earlier.last);
                    lost.reads += earlier.reads;
                }
                (None, None) => {
                    reads += 1;
                    LostReads::add(&mut waiting.lost, entry.at);
                }
            }
        }
        self.queue.not_kept.inc_by(reads);
        reads
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic leaves no half-done change behind.
        self.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reader, Shown};
    use chrono::{DateTime, Utc};

    fn entry(second: i64, numbers: usize) -> AccessEntry {
        let at = DateTime::<Utc>::from_timestamp(second, 0).expect("an instant");
        let number = |index| format!("A{index:04}AA").parse().expect("a number");
        let numbers: Vec<_> = (0..numbers).map(number).collect();
        AccessEntry::of_tool(at, "history", Reader::default(), Shown::prisoners(&numbers))
    }

    #[tokio::test]
    async fn a_full_queue_counts_the_reads_that_it_cannot_keep() {
        let log = AccessLog::new(RecordingMode::BestEffort);
        let fitting = WAITING_WEIGHT_MAX / 1_000;
        for second in 0..fitting + 3 {
            log.record(entry(second as i64, 999)).await.expect("never refused");
        }
        let mut stored = 0;
        let mut lost = None;
        while !log.is_empty() {
            let batch = log.take_batch();
            assert!(batch.iter().map(|entry| entry.entry.shown.weight()).sum::<usize>() <= BATCH_WEIGHT_MAX + 1);
            lost = lost.or(batch.iter().find_map(|entry| entry.entry.lost));
            stored += batch.iter().filter(|entry| entry.entry.lost.is_none()).count();
            log.confirm(batch);
        }
        let instant = |second| DateTime::from_timestamp(second as i64, 0).expect("an instant");
        assert_eq!(stored, fitting);
        assert_eq!(lost, Some(LostReads { reads: 3, first: instant(fitting), last: instant(fitting + 2) }));
        assert_eq!((log.queue.kept.get(), log.queue.not_kept.get()), (fitting as u64, 3));
    }

    #[tokio::test]
    async fn a_required_read_waits_for_its_entry_and_fails_with_it() {
        let log = AccessLog::new(RecordingMode::Required);
        let (stored, failed) = (log.record(entry(1, 1)), log.record(entry(2, 1)));
        let writing = async {
            log.wait_for_entries().await;
            let mut batch = log.take_batch();
            assert_eq!(batch.len(), 2);
            assert_eq!(log.give_up(vec![batch.pop().expect("the second")]), 0);
            log.confirm(batch);
        };
        let (stored, failed, ()) = tokio::join!(stored, failed, writing);
        assert_eq!((stored, failed), (Ok(()), Err(NotKept)));
        assert!(log.is_empty());
    }

    #[tokio::test]
    async fn reads_that_are_given_up_are_added_up() {
        let log = AccessLog::new(RecordingMode::BestEffort);
        for second in [5, 3] {
            log.record(entry(second, 1)).await.expect("never refused");
            let batch = log.take_batch();
            log.give_up(batch);
        }
        let lost = log.take_batch().pop().and_then(|entry| entry.entry.lost).expect("lost reads");
        assert_eq!((lost.reads, lost.first.timestamp(), lost.last.timestamp()), (2, 3, 5));
    }
}
