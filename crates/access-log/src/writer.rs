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
            let mut parts = vec![self.take_batch()];
            while !self.store(&pool, &mut parts, &mut report).await {
                tokio::select! {
                    () = &mut stop => return self.drain(&pool, parts, report).await,
                    () = sleep(RETRY_INTERVAL) => {}
                }
            }
            self.end_batch();
        }
        self.drain(&pool, Vec::new(), report).await;
    }

    /// Stores what is left at the end of the service, and says how many reads could not be kept.
    async fn drain(&self, pool: &PgPool, mut parts: Vec<Vec<WaitingEntry>>, mut report: FailureReport) {
        let deadline = Instant::now() + DRAIN_TIME_MAX;
        let mut lost = 0;
        while !(parts.is_empty() && self.is_empty()) {
            if parts.is_empty() {
                parts.push(self.take_batch());
            }
            let is_stored = if Instant::now() < deadline {
                timeout_at(deadline, self.store(pool, &mut parts, &mut report)).await.ok()
            } else {
                None
            };
            match is_stored {
                Some(true) => {}
                Some(false) => sleep_until(deadline.min(Instant::now() + RETRY_INTERVAL)).await,
                None => lost += parts.drain(..).flatten().map(|waiting| waiting.reads()).sum::<u64>(),
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

    /// Stores the parts of a batch, the last first, and takes each out that is done with. Answers
    /// whether all are: where Postgres is out of reach, those entries are left that no read waits
    /// for. Of a part that holds an entry which Postgres refuses, each half is stored apart, down
    /// to that entry: so one bad entry takes no other with it, at the cost of a few inserts.
    async fn store(&self, pool: &PgPool, parts: &mut Vec<Vec<WaitingEntry>>, report: &mut FailureReport) -> bool {
        while let Some(part) = parts.last() {
            let entries: Vec<_> = part.iter().map(|waiting| &waiting.entry).collect();
            // The part stays in its place meanwhile, as the end of the service counts what is left.
            match insert(pool, &entries).await {
                Ok(()) => {
                    self.confirm(parts.pop().unwrap_or_default());
                    report.end();
                }
                Err(error) if is_refusal_of_data(&error) => {
                    let mut part = parts.pop().unwrap_or_default();
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
                    self.begin_failure();
                    report.warn(&error);
                    for part in &mut *parts {
                        self.give_up(part.extract_if(.., |waiting| waiting.stored.is_some()).collect());
                    }
                    parts.retain(|part| !part.is_empty());
                    return parts.is_empty();
                }
            }
        }
        true
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
