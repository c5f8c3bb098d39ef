//! The upkeep of the access log, by the projector: its schema, and the end of old entries.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::sleep;

use super::prepared_schema::prepare;

/// How often entries that have become too old are looked for.
const REMOVAL_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The pause after a failure. Whatever failed harms no read by then.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The pause between two batches of old entries, so that readers and writers come in between.
const BATCH_INTERVAL: Duration = Duration::from_millis(100);

/// Prepares the access log, then removes old entries, until `stop` is ready.
pub(super) async fn keep_up(database: PgPool, kept_days: u32, stop: impl Future<Output = ()>) {
    let work = async {
        prepare(access_log::SCHEMA, database.clone()).await;
        loop {
            let pause = match access_log::remove_old(&database, kept_days).await {
                Ok(0) => REMOVAL_INTERVAL,
                Ok(entries) => {
                    tracing::info!(entries, "removed {entries} old entries of the access log");
                    BATCH_INTERVAL
                }
                Err(error) => {
                    tracing::warn!(%error, "old entries of the access log cannot be removed for now");
                    RETRY_INTERVAL
                }
            };
            sleep(pause).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = stop => {}
    }
}
