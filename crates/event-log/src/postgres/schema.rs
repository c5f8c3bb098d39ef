//! The schema `log`: its migrations and the partitions of its events.

use sqlx::{Connection as _, PgConnection, PgPool};

/// Positions in one partition of `log.event`: ten years of a national ledger fill half of one.
///
/// Part of the schema: partitions that exist keep their bounds, so this number can never change for a log in use.
pub const PARTITION_EVENTS: u64 = 10_000_000;

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A migration failed, or what the database holds is not from a version of this program that this one knows.
    #[error("bring the schema of the event log up to date")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The database is out of reach or refuses.
    #[error("prepare the tables of the event log")]
    Database(#[from] sqlx::Error),
}

/// Brings the schema up to date; does nothing where it is. Safe to run in several processes at a time: each waits for
/// an advisory lock.
///
/// # Errors
/// The database is out of reach, or not ours to migrate.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    let mut migrator = sqlx::migrate!();
    migrator.create_schema("log");
    migrator.dangerous_set_table_name("log.migration");
    // A connection of its own, closed at the end: the migrator's lock belongs to the session and would outlive a failure
    // in a pooled one.
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    migrator.run_direct(None, &mut connection, false).await?;
    let head: i64 = sqlx::query_scalar("SELECT position FROM log.head").fetch_one(&mut connection).await?;
    make_partitions(&mut connection, head.unsigned_abs()).await?;
    connection.close().await?;
    Ok(())
}

/// Makes the partition that follows position `head` and the one after it, where they are missing. Answers the last
/// position that there is a place for.
pub(super) async fn make_partitions(connection: &mut PgConnection, head: u64) -> Result<u64, sqlx::Error> {
    let current = (head + 1) / PARTITION_EVENTS;
    for number in [current, current + 1] {
        sqlx::query("SELECT log.make_partition($1, $2)")
            .bind((number * PARTITION_EVENTS).cast_signed())
            .bind(((number + 1) * PARTITION_EVENTS).cast_signed())
            .execute(&mut *connection)
            .await?;
    }
    Ok((current + 2) * PARTITION_EVENTS - 1)
}

/// Whether it is time to make the partition after next: events have begun to go into the last one made.
pub(super) fn partition_is_due(head: u64, last_place: u64) -> bool {
    head + PARTITION_EVENTS > last_place
}
