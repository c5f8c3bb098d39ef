//! Schemas beside the views, made before what needs them begins.

use std::time::Duration;

use postgres_schema::Schema;
use sqlx::PgPool;
use tokio::time::sleep;

/// The pause after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Brings a schema up to date, or waits for the owner of the database to do it.
pub(super) async fn prepare(schema: Schema, database: PgPool) {
    while let Err(error) = schema.migrate_as_owner(&database).await {
        let (name, reason) = (schema.name, format!("{:#}", anyhow::Error::new(error)));
        tracing::warn!(schema = name, reason, "waiting for the schema `{name}` to be prepared: {reason}");
        sleep(RETRY_INTERVAL).await;
    }
}
