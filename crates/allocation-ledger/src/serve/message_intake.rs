//! The schema of the parked messages, made before messages are taken in.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::sleep;

/// The pause after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Brings the schema of the parked messages up to date, and tries until that is done.
pub(super) async fn prepare(database: PgPool) {
    while let Err(error) = hmpps::migrate(&database).await {
        let reason = format!("{:#}", anyhow::Error::new(error));
        tracing::warn!(reason, "waiting for the parked messages to be prepared: {reason}");
        sleep(RETRY_INTERVAL).await;
    }
}
