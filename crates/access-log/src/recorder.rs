//! The side of the access log that requests see: a bounded queue in memory.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
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

/// The most of it for the entries of one reader, so that it takes four to push out those of others.
/// Readers without a name, as where there is no sign-on, share the whole.
const READER_WEIGHT_MAX: usize = WAITING_WEIGHT_MAX / 4;

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
    /// Told when an entry comes and none waits, and when a batch is full.
    arrived: Notify,
    kept: Counter,
    not_kept: Counter,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<WaitingEntry>,
    weight: usize,
    /// The part in `weight` of each reader that has a name and an entry here.
    by_reader: HashMap<String, usize>,
    /// The reads lost so far, and since when their entry waits.
    lost: Option<(LostReads, Instant)>,
    /// Since when the oldest entry waits of the batch that is being stored.
    stored_since: Option<Instant>,
    /// Since when the first entry waited that could not be stored, while none has been since. Where
    /// entries are required, none is left to wait: their reads are refused.
    failing_since: Option<Instant>,
}

impl Waiting {
    /// Counts reads that are lost, whose entry has waited since an instant.
    fn lose(&mut self, reads: LostReads, since: Instant) {
        let (lost, oldest) = self.lost.get_or_insert((LostReads { reads: 0, ..reads }, since));
        lost.add(reads);
        *oldest = since.min(*oldest);
    }
}

/// An entry that is not stored yet.
#[derive(Debug)]
pub(crate) struct WaitingEntry {
    pub(crate) entry: AccessEntry,
    /// Since when it waits. The entry itself may be of an earlier read, as at the end of a stream.
    since: Instant,
    /// Told whether it is stored, where its read waits for that.
    pub(crate) stored: Option<oneshot::Sender<bool>>,
}

impl WaitingEntry {
    fn new(entry: AccessEntry, stored: Option<oneshot::Sender<bool>>) -> Self {
        Self { entry, since: Instant::now(), stored }
    }

    /// How many reads it is of.
    pub(crate) fn reads(&self) -> u64 {
        self.entry.lost.map_or(1, |lost| lost.reads)
    }
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
                if !self.offer(WaitingEntry::new(entry, Some(stored))) {
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
        if self.mode != RecordingMode::Off && !self.offer(WaitingEntry::new(entry, None)) {
            self.queue.not_kept.inc();
            self.waiting().lose(LostReads::one(at), Instant::now());
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

    /// How long the oldest entry has waited to be stored, or since when none could be stored; zero
    /// where none waits and the last was stored.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        let waiting = self.waiting();
        let first = waiting.entries.first().map(|waiting| waiting.since);
        let lost = waiting.lost.map(|(_, since)| since);
        let oldest = [waiting.failing_since, waiting.stored_since, first, lost].into_iter().flatten().min();
        oldest.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Puts an entry into the queue; false where that is full, or the reader's part of it.
    fn offer(&self, entry: WaitingEntry) -> bool {
        let weight = entry.entry.shown.weight();
        let reader = entry.entry.reader.name();
        let mut waiting = self.waiting();
        let of_reader = reader.and_then(|reader| waiting.by_reader.get(reader)).copied().unwrap_or_default();
        let is_over_part = reader.is_some() && of_reader + weight > READER_WEIGHT_MAX;
        if is_over_part || waiting.weight + weight > WAITING_WEIGHT_MAX {
            return false;
        }
        if let Some(reader) = reader {
            waiting.by_reader.insert(reader.to_owned(), of_reader + weight);
        }
        let is_first = waiting.entries.is_empty();
        waiting.weight += weight;
        waiting.entries.push(entry);
        if is_first || waiting.weight >= BATCH_WEIGHT_MAX {
            self.queue.arrived.notify_one();
        }
        true
    }

    /// Waits until a full batch is there to be stored.
    pub(crate) async fn wait_for_full_batch(&self) {
        loop {
            let arrived = self.queue.arrived.notified();
            if self.waiting().weight >= BATCH_WEIGHT_MAX {
                return;
            }
            arrived.await;
        }
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
        for WaitingEntry { entry, .. } in &batch {
            let weight = entry.shown.weight();
            waiting.weight -= weight;
            if let Some(reader) = entry.reader.name()
                && let Some(of_reader) = waiting.by_reader.get_mut(reader)
            {
                *of_reader -= weight;
                if *of_reader == 0 {
                    waiting.by_reader.remove(reader);
                }
            }
        }
        let lost = waiting.lost.take();
        batch.extend(
            lost.map(|(lost, since)| WaitingEntry { since, ..WaitingEntry::new(AccessEntry::of_lost(lost), None) }),
        );
        waiting.stored_since = batch.iter().map(|entry| entry.since).min();
        batch
    }

    /// Notes that no entry is left of the batch that was taken last.
    pub(crate) fn end_batch(&self) {
        self.waiting().stored_since = None;
    }

    /// Notes that Postgres did not take the batch that was taken last.
    pub(crate) fn begin_failure(&self) {
        let mut waiting = self.waiting();
        waiting.failing_since = waiting.failing_since.or(waiting.stored_since);
    }

    /// Tells the reads of a batch that their entries are stored.
    pub(crate) fn confirm(&self, batch: Vec<WaitingEntry>) {
        self.waiting().failing_since = None;
        for WaitingEntry { entry, stored, .. } in batch {
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
        for WaitingEntry { entry, since, stored } in batch {
            match (stored, entry.lost) {
                (Some(stored), _) => drop(stored.send(false)),
                (None, Some(earlier)) => waiting.lose(earlier, since),
                (None, None) => {
                    reads += 1;
                    waiting.lose(LostReads::one(entry.at), since);
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
    use futures::FutureExt as _;

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
    async fn one_reader_leaves_room_for_the_entries_of_others() {
        let log = AccessLog::new(RecordingMode::BestEffort);
        let read = async |username: &str| {
            let reader = Reader { username: Some(username.to_owned()), ..Reader::default() };
            log.record(AccessEntry { reader, ..entry(1, 999) }).await.expect("never refused");
        };
        for _ in 0..WAITING_WEIGHT_MAX / 1_000 {
            read("GREEDY_GEN").await;
        }
        let of_greedy = READER_WEIGHT_MAX / 1_000;
        let lost = log.queue.not_kept.get();
        assert_eq!(lost as usize, WAITING_WEIGHT_MAX / 1_000 - of_greedy);
        read("POM_GEN").await;
        assert_eq!(log.queue.not_kept.get(), lost, "there is room for another reader");
        while !log.is_empty() {
            log.confirm(log.take_batch());
        }
        assert!(log.waiting().by_reader.is_empty());
        read("GREEDY_GEN").await;
        assert_eq!(log.queue.not_kept.get(), lost, "a part is free again once its entries are stored");
    }

    #[tokio::test]
    async fn a_full_batch_is_not_waited_for() {
        let log = AccessLog::new(RecordingMode::BestEffort);
        let read = async || log.record(entry(1, 9_999)).await.expect("never refused");
        read().await;
        assert_eq!(log.wait_for_full_batch().now_or_never(), None);
        let waiting = timeout(Duration::from_secs(30), log.wait_for_full_batch());
        let (waited, ()) = tokio::join!(waiting, read());
        assert_eq!(waited, Ok(()));
        assert_eq!(log.wait_for_full_batch().now_or_never(), Some(()));
        assert_eq!(log.take_batch().len(), 2);
    }

    #[tokio::test]
    async fn the_longest_wait_counts_until_the_batch_is_stored() {
        let log = AccessLog::new(RecordingMode::BestEffort);
        assert_eq!(log.longest_wait(), Duration::ZERO);
        // Of a stream that began long ago, whose end has only come now.
        log.record(entry(1, 1)).await.expect("never refused");
        let batch = log.take_batch();
        let waited = log.longest_wait();
        assert!(waited > Duration::ZERO && waited < Duration::from_secs(60), "{waited:?}");
        log.give_up(batch);
        log.end_batch();
        assert!(log.longest_wait() >= waited, "lost reads wait for their entry, too");
        log.confirm(log.take_batch());
        log.end_batch();
        assert_eq!(log.longest_wait(), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_longest_wait_counts_from_the_first_failure_until_a_batch_is_stored() {
        let log = AccessLog::new(RecordingMode::Required);
        let mut waited = Duration::ZERO;
        for second in 1..=2 {
            let failing = async {
                log.wait_for_entries().await;
                let batch = log.take_batch();
                log.begin_failure();
                log.give_up(batch);
                log.end_batch();
            };
            assert_eq!(tokio::join!(log.record(entry(second, 1)), failing).0, Err(NotKept));
            assert!(log.is_empty() && log.longest_wait() > waited, "none waits, and none can be stored");
            waited = log.longest_wait();
        }
        log.confirm(log.take_batch());
        assert_eq!(log.longest_wait(), Duration::ZERO);
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
