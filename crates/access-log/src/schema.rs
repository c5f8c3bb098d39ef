//! The schema `access`: its migrations, and who may do what with it.

use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{
    Connection as _, PgConnection, PgPool, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

/// The schema of the access log, beside the views, which no rebuild of views touches.
pub const SCHEMA: &str = "access";

/// The migrations in their order: the description, which the database keeps too, and the SQL. The
/// place of one is its version.
const MIGRATIONS: [(&str, &str); 1] = [("access log", include_str!("../migrations/0001_access_log.sql"))];

/// The reason why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A migration failed, or the database was migrated by a version of this program that this one
    /// does not know.
    #[error("bring the schema of the access log up to date")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// It is not up to date, and this login must not own it.
    #[error("the access log is for the owner of the database to make: run `allocation-ledger prepare`")]
    NotOwner,
    /// The database is out of reach, or refuses.
    #[error("prepare the tables of the access log")]
    Database(#[from] sqlx::Error),
}

/// Brings the schema up to date. Where it is, this does nothing, so any login that may use the
/// schema may call it. Where it is not, only the owner of the database may go on: a service that
/// made the table would own it, and could change entries. Several processes may call it at a time:
/// each waits for an advisory lock.
///
/// # Errors
/// The database is out of reach, or this login may not migrate it.
pub fn migrate(pool: &PgPool) -> BoxFuture<'_, Result<(), SchemaError>> {
    async move {
        let migrator = migrator();
        // On a connection of its own that is closed at the end: the migrator's lock belongs to the
        // session, and would outlive a failure in a pooled one.
        let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
        if !is_up_to_date(&migrator, &mut connection).await? {
            if !is_owner(&mut connection).await? {
                return Err(SchemaError::NotOwner);
            }
            migrator.run_direct(None, &mut connection, false).await?;
        }
        connection.close().await?;
        Ok(())
    }
    .boxed()
}

/// [`migrate`], and gives the roles of the services their rights, which a login that may not make
/// roles could not. An operator calls it, as often as wanted.
///
/// # Errors
/// The database is out of reach, or this login may not migrate it or grant rights.
pub async fn prepare(pool: &PgPool) -> Result<(), SchemaError> {
    migrate(pool).await?;
    sqlx::query("SELECT access.grant_roles()").execute(pool).await?;
    Ok(())
}

fn migrator() -> Migrator {
    let migrations = (1..).zip(MIGRATIONS).map(|(version, (description, sql))| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.create_schema(SCHEMA);
    migrator.dangerous_set_table_name("access.migration");
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
    let exists: bool =
        sqlx::query_scalar("SELECT to_regclass('access.migration') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(false);
    }
    let made: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("SELECT version, checksum, success FROM access.migration ORDER BY version")
            .fetch_all(connection)
            .await?;
    Ok(migrator.iter().map(|migration| (migration.version, migration.checksum.to_vec(), true)).eq(made))
}

#[cfg(test)]
mod tests {
    /// The version and the first bytes of the SHA-384 of each migration. Every database that was
    /// migrated holds it, so a line here must never change: a new migration gets a new line.
    const FROZEN: [(i64, [u8; 8]); 1] = [(1, [192, 19, 11, 63, 172, 120, 123, 200])];

    #[test]
    fn migrations_never_change() {
        let migrations: Vec<_> = super::migrator()
            .iter()
            .map(|migration| (migration.version, migration.checksum[..8].try_into().expect("8 bytes")))
            .collect();
        assert_eq!(migrations, FROZEN);
    }
}
