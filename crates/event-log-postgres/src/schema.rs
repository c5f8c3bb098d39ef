//! The schema `log`: its migrations and the partitions of its events.

use sqlx::{Connection as _, PgConnection, PgPool, migrate::Migrator};

/// Positions in one partition of `log.event`: ten years of a national ledger fill half of one.
///
/// Part of the schema, where `log.make_room` has it too: partitions that exist keep their bounds, so this number can never
/// change for a log in use.
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

/// Brings the schema up to date; does nothing where it is, so that whoever may only read the log may ask for it. Safe to run
/// in several processes at a time: each waits for an advisory lock.
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
    if !is_up_to_date(&migrator, &mut connection).await? {
        migrator.run_direct(None, &mut connection, false).await?;
        make_room(&mut connection).await?;
    }
    connection.close().await?;
    Ok(())
}

/// Whether the database holds exactly what the migrations of this program make.
async fn is_up_to_date(migrator: &Migrator, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar("SELECT to_regclass('log.migration') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(false);
    }
    let made: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("SELECT version, checksum, success FROM log.migration ORDER BY version")
            .fetch_all(connection)
            .await?;
    Ok(migrator.iter().map(|migration| (migration.version, migration.checksum.to_vec(), true)).eq(made))
}

/// Makes the roles that the services log in as members of, and lets each do its work with the log; for one that has been
/// [migrated](migrate) by somebody who might not make roles.
///
/// # Errors
/// The database is out of reach, or not ours to give rights to.
pub async fn grant_roles(pool: &PgPool) -> Result<(), MigrateError> {
    sqlx::query("SELECT log.grant_roles()").execute(pool).await?;
    Ok(())
}

/// Makes the partition that the next event goes into and the one after it, where they are missing. Answers the last
/// position that there is a place for.
pub(crate) async fn make_room(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let last_place: i64 = sqlx::query_scalar("SELECT log.make_room()").fetch_one(connection).await?;
    Ok(last_place.cast_unsigned())
}

/// Whether it is time to make the partition after next: events have begun to go into the last one made.
pub(crate) fn partition_is_due(head: u64, last_place: u64) -> bool {
    head + PARTITION_EVENTS > last_place
}
