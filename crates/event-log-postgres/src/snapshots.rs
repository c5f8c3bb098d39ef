//! Snapshots: one row each, written by `log.save_snapshot`.

use sqlx::PgPool;

use event_log::{LogError, Snapshot};

use crate::{answer_timeout::with_timeout, error::log_error, read::bigint};

pub(crate) async fn load(pool: &PgPool, name: &str) -> Result<Option<Snapshot>, LogError> {
    let statement = sqlx::query_as("SELECT position, content FROM log.snapshot WHERE name = $1").bind(name);
    let row: Option<(i64, Vec<u8>)> = with_timeout(pool, async |reader| statement.fetch_optional(reader).await)
        .await
        .map_err(|error| log_error(error, 0))?;
    Ok(row.map(|(position, content)| Snapshot { position: position.cast_unsigned(), content: content.into() }))
}

pub(crate) async fn save(pool: &PgPool, name: &str, snapshot: &Snapshot) -> Result<bool, LogError> {
    let statement = sqlx::query_scalar("SELECT log.save_snapshot($1, $2, $3)")
        .bind(name)
        .bind(bigint(snapshot.position))
        .bind(&*snapshot.content);
    // All rows: to fetch one does not wait for the end of the transaction.
    let answers: Vec<bool> = with_timeout(pool, async |writer| statement.fetch_all(writer).await)
        .await
        .map_err(|error| log_error(error, 0))?;
    Ok(answers == [true])
}
