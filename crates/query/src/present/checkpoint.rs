//! The table `checkpoint`: how far the views have come.

use event_log::{Bookmark, LogError, SharedLog};
use sqlx::{AssertSqlSafe, PgExecutor, PgPool};
use views::checkpoint::{COLUMNS, Checkpoint};

use super::streams_aside::{read_streams, streams_aside};
use crate::QueryError;

/// Reads the checkpoint, in one round trip.
pub(crate) async fn read(views: impl PgExecutor<'_>) -> Result<Checkpoint, QueryError> {
    Ok(views::checkpoint::read(views).await?)
}

/// Reads the checkpoint with the number of streams aside, in one round trip.
pub(crate) async fn read_with_aside(views: impl PgExecutor<'_>) -> Result<(Checkpoint, usize), QueryError> {
    let sql = format!("SELECT {COLUMNS}, {} FROM checkpoint", streams_aside!());
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(views).await?;
    Ok((Checkpoint::of_row(&row)?, read_streams(&row)?.len()))
}

/// Whether the views are of a log: the last event that they include is then in it.
pub(crate) async fn is_of(checkpoint: Checkpoint, log: &SharedLog) -> Result<bool, LogError> {
    let Checkpoint { position, event_id, recorded_at, .. } = checkpoint;
    match (Bookmark { position, event_id, recorded_at }).is_in(log).await {
        // A damaged event is this log's, and the views include it all the same.
        Err(LogError::Damaged { .. }) => Ok(true),
        answer => answer,
    }
}

/// The version of the views' server, in its own words.
pub(crate) async fn server_version(views: &PgPool) -> Result<String, QueryError> {
    Ok(sqlx::query_scalar("SELECT version()").fetch_one(views).await?)
}
