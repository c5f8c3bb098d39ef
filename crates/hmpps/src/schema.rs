//! The schema `integration`: its migrations, and who may do what with it.

use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{
    Connection as _, PgConnection, PgPool, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

/// The schema of the parked messages and of the publisher's checkpoint, beside the views, which no
/// rebuild of views touches.
pub const SCHEMA: &str = "integration";

/// The migrations in their order: the description, which the database keeps too, and the SQL. The
/// place of one is its version.
const MIGRATIONS: [(&str, &str); 2] = [
    ("parked messages", include_str!("../migrations/0001_parked_messages.sql")),
    ("publication", include_str!("../migrations/0002_publication.sql")),
];

/// The reason why the schema of the parked messages could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum ParkedSchemaError {
    /// A migration failed, or the database was migrated by a version of this program that this one
    /// does not know.
    #[error("bring the schema of the parked messages up to date")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// It is not up to date, and this login must not own it.
    #[error(
        "the schema of the parked messages is for the owner of the database to make: run `allocation-ledger prepare`"
    )]
    NotOwner,
    /// The database is out of reach, or refuses.
    #[error("prepare the tables of the parked messages")]
    Database(#[from] sqlx::Error),
}

/// Brings the schema up to date. Where it is, this does nothing, so any login that may use the
/// schema may call it. Where it is not, only the owner of the database may go on: a service that
/// made the table would own it, and could change entries. Several processes may call it at a time:
/// each waits for an advisory lock.
///
/// # Errors
/// The database is out of reach, or this login may not migrate it.
pub fn migrate(pool: &PgPool) -> BoxFuture<'_, Result<(), ParkedSchemaError>> {
    async move {
        let migrator = migrator();
        // On a connection of its own that is closed at the end: the migrator's lock belongs to the
        // session, and would outlive a failure in a pooled one.
        let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
        if !is_up_to_date(&migrator, &mut connection).await? {
            if !is_owner(&mut connection).await? {
                return Err(ParkedSchemaError::NotOwner);
            }
            migrator.run_direct(None, &mut connection, false).await?;
        }
        connection.close().await?;
        Ok(())
    }
    .boxed()
}

/// [`migrate`], and gives the role of the service its rights, which a login that may not make
/// roles could not. An operator calls it, as often as wanted.
///
/// # Errors
/// The database is out of reach, or this login may not migrate it or grant rights.
pub async fn prepare(pool: &PgPool) -> Result<(), ParkedSchemaError> {
    migrate(pool).await?;
    sqlx::query("SELECT integration.grant_roles()").execute(pool).await?;
    Ok(())
}

fn migrator() -> Migrator {
    let migrations = (1..).zip(MIGRATIONS).map(|(version, (description, sql))| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.create_schema(SCHEMA);
    migrator.dangerous_set_table_name("integration.migration");
    migrator
}

/// Whether the login may act as the owner of the database.
async fn is_owner(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_has_role(datdba, 'MEMBER') FROM pg_database WHERE datname = current_database()")
        .fetch_one(connection)
        .await
}

/// Whether exactly the migrations of this program were run on the database.
async fn is_up_to_date(migrator: &Migrator, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('integration.migration') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(false);
    }
    let made: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("SELECT version, checksum, success FROM integration.migration ORDER BY version")
            .fetch_all(connection)
            .await?;
    Ok(migrator.iter().map(|migration| (migration.version, migration.checksum.to_vec(), true)).eq(made))
}

#[cfg(test)]
mod tests {
    /// The version and the first bytes of the SHA-384 of each migration. Every database that was
    /// migrated holds it, so a line here must never change: a new migration gets a new line.
    const FROZEN: [(i64, [u8; 8]); 2] =
        [(1, [118, 22, 242, 129, 91, 14, 127, 38]), (2, [197, 55, 77, 146, 195, 142, 96, 143])];

    #[test]
    fn migrations_never_change() {
        let migrations: Vec<_> = super::migrator()
            .iter()
            .map(|migration| (migration.version, migration.checksum[..8].try_into().expect("8 bytes")))
            .collect();
        assert_eq!(migrations, FROZEN);
    }
}
