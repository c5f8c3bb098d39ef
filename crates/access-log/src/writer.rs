//! The task that stores the entries, in batches.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{AccessLog, RecordingMode, recorder::WaitingEntry, statements::insert};

/// How long entries are gathered before a batch is stored, so that Postgres commits ten times a
/// second under any load. Reads that wait for their entries are stored at once.
const GATHERING_TIME: Duration = Duration::from_millis(100);

/// The pause after a batch that could not be stored.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long the end of the service waits for the last entries.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

impl AccessLog {
    /// Stores the entries as they come, until `stop` is ready and none is left. A batch that cannot
    /// be stored is tried again and again, while further entries wait behind it.
    pub async fn write(self, pool: PgPool, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = self.wait_for_entries() => {}
            }
            if self.mode() == RecordingMode::BestEffort {
                tokio::select! {
                    () = &mut stop => break,
                    () = sleep(GATHERING_TIME) => {}
                }
            }
            let mut batch = self.take_batch();
            let mut failures = 0_u32;
            while let Some(unstored) = self.store(&pool, batch, failures).await {
                batch = unstored;
                failures += 1;
                tokio::select! {
                    () = &mut stop => return self.drain(&pool, batch).await,
                    () = sleep(RETRY_INTERVAL) => {}
                }
            }
            if failures > 0 {
                tracing::info!("the access log is written again");
            }
        }
        self.drain(&pool, Vec::new()).await;
    }

    /// Stores what is left at the end of the service, and says how many reads could not be kept.
    async fn drain(&self, pool: &PgPool, first: Vec<WaitingEntry>) {
        let deadline = Instant::now() + DRAIN_TIME_MAX;
        let mut batch = first;
        let mut lost = 0;
        while !(batch.is_empty() && self.is_empty()) {
            if batch.is_empty() {
                batch = self.take_batch();
            }
            let entries: Vec<_> = batch.iter().map(|waiting| &waiting.entry).collect();
            let stored = timeout_at(deadline, insert(pool, &entries)).await;
            if matches!(stored, Ok(Ok(()))) {
                self.confirm(std::mem::take(&mut batch));
            } else if Instant::now() < deadline {
                sleep(RETRY_INTERVAL).await;
            } else {
                lost += batch.iter().map(|waiting| waiting.entry.lost.map_or(1, |lost| lost.reads)).sum::<u64>();
                batch.clear();
            }
        }
        if lost > 0 {
            tracing::error!(
                reads = lost,
                "{lost} reads are not in the access log: Postgres did not take their entries"
            );
        }
    }

    /// Stores a batch. Answers it back where Postgres is out of reach and no read waits for it.
    async fn store(&self, pool: &PgPool, batch: Vec<WaitingEntry>, failures: u32) -> Option<Vec<WaitingEntry>> {
        let entries: Vec<_> = batch.iter().map(|waiting| &waiting.entry).collect();
        let error = match insert(pool, &entries).await {
            Ok(()) => {
                self.confirm(batch);
                return None;
            }
            Err(error) => error,
        };
        if failures == 0 {
            tracing::warn!(error = &error as &dyn std::error::Error, "the access log cannot be written for now");
        }
        let (required, others) = batch.into_iter().partition::<Vec<_>, _>(|waiting| waiting.stored.is_some());
        self.give_up(required);
        if is_refusal_of_data(&error) {
            let reads = self.give_up(others);
            tracing::error!(reads, "Postgres refuses entries of the access log, and {reads} reads are not kept");
            return None;
        }
        (!others.is_empty()).then_some(others)
    }
}

/// Whether Postgres will refuse the same rows again: data that a column does not take.
fn is_refusal_of_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}
