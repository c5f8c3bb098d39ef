//! The task that stores the entries, in batches.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::{AccessLog, RecordingMode, recorder::WaitingEntry, statements::insert};

/// How long entries are gathered before a batch is stored, so that Postgres commits ten times a
/// second under a usual load. A full batch is stored at once, and so are reads that wait for their
/// entries.
const GATHERING_TIME: Duration = Duration::from_millis(100);

/// The pause after a batch that could not be stored.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How long the end of the service waits for the last entries.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// How often the program's log says that entries cannot be stored.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

impl AccessLog {
    /// Stores the entries as they come, until `stop` is ready and none is left. A batch that cannot
    /// be stored is tried again and again, while further entries wait behind it.
    pub async fn write(self, pool: PgPool, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut report = FailureReport::default();
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = self.wait_for_entries() => {}
            }
            if self.mode() == RecordingMode::BestEffort {
                tokio::select! {
                    () = &mut stop => break,
                    _ = timeout(GATHERING_TIME, self.wait_for_full_batch()) => {}
                }
            }
            let mut batch = self.take_batch();
            while let Some(unstored) = self.store(&pool, batch, &mut report).await {
                batch = unstored;
                tokio::select! {
                    () = &mut stop => return self.drain(&pool, batch, report).await,
                    () = sleep(RETRY_INTERVAL) => {}
                }
            }
            self.end_batch();
        }
        self.drain(&pool, Vec::new(), report).await;
    }

    /// Stores what is left at the end of the service, and says how many reads could not be kept.
    async fn drain(&self, pool: &PgPool, first: Vec<WaitingEntry>, mut report: FailureReport) {
        let deadline = Instant::now() + DRAIN_TIME_MAX;
        let mut batch = first;
        let mut lost = 0;
        while !(batch.is_empty() && self.is_empty()) {
            if batch.is_empty() {
                batch = self.take_batch();
            }
            let reads = batch.iter().map(WaitingEntry::reads).sum::<u64>();
            if Instant::now() >= deadline {
                lost += reads;
                batch.clear();
                continue;
            }
            match timeout_at(deadline, self.store(pool, std::mem::take(&mut batch), &mut report)).await {
                Ok(None) => {}
                Ok(Some(unstored)) => {
                    batch = unstored;
                    sleep_until(deadline.min(Instant::now() + RETRY_INTERVAL)).await;
                }
                Err(_) => lost += reads,
            }
        }
        self.end_batch();
        if lost > 0 {
            tracing::error!(
                reads = lost,
                "{lost} reads are not in the access log: Postgres did not take their entries"
            );
        }
    }

    /// Stores a batch. Answers the entries back that no read waits for where Postgres is out of
    /// reach. Of a batch that holds an entry which Postgres refuses, each half is stored apart,
    /// down to that entry: so one bad entry takes no other with it, at the cost of a few inserts.
    async fn store(
        &self,
        pool: &PgPool,
        batch: Vec<WaitingEntry>,
        report: &mut FailureReport,
    ) -> Option<Vec<WaitingEntry>> {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            let entries: Vec<_> = part.iter().map(|waiting| &waiting.entry).collect();
            match insert(pool, &entries).await {
                Ok(()) => {
                    self.confirm(part);
                    report.end();
                }
                Err(error) if is_refusal_of_data(&error) => {
                    if part.len() > 1 {
                        let second = part.split_off(part.len() / 2);
                        parts.extend([second, part]);
                    } else {
                        self.give_up(part);
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "Postgres refuses an entry of the access log, and its read is not kept"
                        );
                    }
                }
                Err(error) => {
                    report.warn(&error);
                    let unstored = parts.into_iter().rev().fold(part, |mut unstored, part| {
                        unstored.extend(part);
                        unstored
                    });
                    let (required, others) =
                        unstored.into_iter().partition::<Vec<_>, _>(|waiting| waiting.stored.is_some());
                    self.give_up(required);
                    return (!others.is_empty()).then_some(others);
                }
            }
        }
        None
    }
}

/// The failures of which the program's log has been told.
#[derive(Debug, Default)]
struct FailureReport {
    /// When it was told last.
    warned_at: Option<Instant>,
    /// Whether it has not been told of the end yet.
    is_open: bool,
}

impl FailureReport {
    /// Tells it, unless it was told a moment ago: where entries are required, each batch fails
    /// anew.
    fn warn(&mut self, error: &sqlx::Error) {
        if self.warned_at.is_none_or(|warned_at| warned_at.elapsed() >= WARNING_INTERVAL) {
            tracing::warn!(error = error as &dyn std::error::Error, "the access log cannot be written for now");
            self.warned_at = Some(Instant::now());
            self.is_open = true;
        }
    }

    /// Tells it the end of a failure that it knows of.
    fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            tracing::info!("the access log is written again");
        }
    }
}

/// Whether Postgres will refuse the same rows again: data that a column does not take.
fn is_refusal_of_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}
