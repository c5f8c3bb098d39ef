//! Moves the checkpoint: how far the views have come, and which projector may move them.
//!
//! The epoch is the fence: a projector that takes over raises it, and one that holds an older epoch
//! changes nothing.

use event_log::{Bookmark, LogError, SharedLog};
use sqlx::{AssertSqlSafe, PgConnection};
use views::checkpoint::{COLUMNS, Checkpoint};

use crate::ProjectorError;

/// The channel on which Postgres tells listeners (`LISTEN views`) that the views have come further;
/// the payload is the position.
pub const CHANNEL: &str = "views";

/// Whether the views are of a log: the last event that they include is then in it.
///
/// # Errors
/// The log cannot be read.
pub(crate) async fn is_of(checkpoint: Checkpoint, log: &SharedLog) -> Result<bool, LogError> {
    let Checkpoint { position, event_id, recorded_at, .. } = checkpoint;
    Bookmark { position, event_id, recorded_at }.is_in(log).await
}

/// Fails with [`ProjectorError::OtherLog`] unless the views are of the log.
pub(crate) async fn check_is_of(checkpoint: Checkpoint, log: &SharedLog) -> Result<(), ProjectorError> {
    if is_of(checkpoint, log).await? { Ok(()) } else { Err(ProjectorError::OtherLog { position: checkpoint.position }) }
}

/// Writes the checkpoint of views that have none yet.
pub(crate) async fn insert(connection: &mut PgConnection, checkpoint: Checkpoint) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO checkpoint (version, position, event_id, recorded_at, epoch) VALUES ($1, $2, $3, $4, $5)")
        .bind(checkpoint.version)
        .bind(to_bigint(checkpoint.position))
        .bind(checkpoint.event_id.map(|id| id.0))
        .bind(checkpoint.recorded_at)
        .bind(checkpoint.epoch)
        .execute(connection)
        .await?;
    Ok(())
}

/// Gives views that have just been put in place the epoch under which they are served; false where
/// they have no checkpoint.
pub(crate) async fn set_epoch(connection: &mut PgConnection, epoch: i64) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("UPDATE checkpoint SET epoch = $1").bind(epoch).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

/// Takes the views over: from now on only the epoch answered may move the checkpoint. Waits for a
/// batch that is being committed under an older epoch.
pub(crate) async fn take_over(connection: &mut PgConnection) -> Result<Checkpoint, sqlx::Error> {
    let sql = format!("UPDATE checkpoint SET epoch = epoch + 1 RETURNING {COLUMNS}");
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(connection).await?;
    Checkpoint::of_row(&row)
}

/// Moves the checkpoint from `expected` to the last event of a batch, if it is there and the epoch
/// of `expected` is in force. Locks the row until the transaction ends: a projector that takes over
/// meanwhile waits for it and sees its result.
pub(crate) async fn advance(
    connection: &mut PgConnection,
    expected: Checkpoint,
    last: Bookmark,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "UPDATE checkpoint SET position = $1, event_id = $2, recorded_at = $3
          WHERE epoch = $4 AND position = $5 AND version = $6",
    )
    .bind(to_bigint(last.position))
    .bind(last.event_id.map(|id| id.0))
    .bind(last.recorded_at)
    .bind(expected.epoch)
    .bind(to_bigint(expected.position))
    .bind(expected.version)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Locks the checkpoint until the transaction ends, if `epoch` is in force and `position` is not
/// before it.
pub(crate) async fn lock(connection: &mut PgConnection, epoch: i64, position: u64) -> Result<bool, sqlx::Error> {
    let found = sqlx::query("SELECT FROM checkpoint WHERE epoch = $1 AND position <= $2 FOR UPDATE")
        .bind(epoch)
        .bind(to_bigint(position))
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

fn to_bigint(position: u64) -> i64 {
    i64::try_from(position).expect("positions fit a bigint")
}

/// Tells listeners, once the transaction commits, how far the views have come. It is a hint for
/// those that wait for a position; the checkpoint is the truth.
pub(crate) async fn notify(connection: &mut PgConnection, position: u64) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(position.to_string()).execute(connection).await?;
    Ok(())
}
