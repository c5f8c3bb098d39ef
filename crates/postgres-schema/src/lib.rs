//! A schema in Postgres that is brought up to date by migrations: the event log, the access log,
//! and the messages of HMPPS. The views are none of these: they are built anew instead.
//!
//! Each has a table `migration`, which says what was run on it.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, PgPool, SqlSafeStr as _,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

/// The SQLSTATE for what a login may not do.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// A schema and the migrations that make it.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// The name in Postgres.
    pub name: &'static str,
    /// The migrations in their order: the description, which the database keeps too, and the SQL.
    /// The place of one is its version.
    pub migrations: &'static [(&'static str, &'static str)],
}

/// The reason why a schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A migration failed, or the database was migrated by a version of this program that this one
    /// does not know.
    #[error("bring the schema `{schema}` up to date")]
    Migration {
        /// Its name.
        schema: &'static str,
        /// The failure.
        source: MigrateError,
    },
    /// It is not up to date, and this login must not own it.
    #[error("the schema `{schema}` is for the owner of the database to make: run `allocation-ledger prepare`")]
    NotOwner {
        /// Its name.
        schema: &'static str,
    },
    /// The database is out of reach, or refuses.
    #[error("look whether the schema `{schema}` is up to date")]
    Database {
        /// Its name.
        schema: &'static str,
        /// The failure.
        source: sqlx::Error,
    },
}

impl Schema {
    /// Brings the schema up to date, and answers whether it was not. Where it is, this does
    /// nothing, so a login that may only read the schema may call it. Several processes may call it
    /// at a time: each waits for an advisory lock.
    ///
    /// # Errors
    /// The database is out of reach, or this login may not migrate it.
    pub fn migrate(self, pool: &PgPool) -> BoxFuture<'_, Result<bool, SchemaError>> {
        self.migrate_if(pool, |_| async { Ok(true) }.boxed()).boxed()
    }

    /// As [`Self::migrate`], but for the owner of the database alone: a service that made a table
    /// would own it, and could change what it may only add to.
    ///
    /// # Errors
    /// As [`Self::migrate`]; [`SchemaError::NotOwner`] for another login.
    pub fn migrate_as_owner(self, pool: &PgPool) -> BoxFuture<'_, Result<bool, SchemaError>> {
        self.migrate_if(pool, |connection| is_owner(connection).boxed()).boxed()
    }

    /// As [`Self::migrate_as_owner`], and gives the roles of the services their rights, which a
    /// login that may not make roles could not. An operator calls it, as often as wanted.
    ///
    /// # Errors
    /// As [`Self::migrate_as_owner`]; this login may not grant rights.
    pub async fn prepare(self, pool: &PgPool) -> Result<(), SchemaError> {
        self.migrate_as_owner(pool).await?;
        self.grant_roles(pool).await
    }

    async fn migrate_if(
        self,
        pool: &PgPool,
        is_allowed: impl FnOnce(&mut PgConnection) -> BoxFuture<'_, Result<bool, sqlx::Error>>,
    ) -> Result<bool, SchemaError> {
        let schema = self.name;
        let database = |source| SchemaError::Database { schema, source };
        let migrator = self.migrator();
        // On a connection of its own that is closed at the end: the migrator's lock belongs to the
        // session, and would outlive a failure in a pooled one.
        let mut connection = PgConnection::connect_with(&pool.connect_options()).await.map_err(database)?;
        let is_behind = !self.is_up_to_date(&migrator, &mut connection).await.map_err(database)?;
        if is_behind {
            if !is_allowed(&mut connection).await.map_err(database)? {
                return Err(SchemaError::NotOwner { schema });
            }
            let migrated = migrator.run_direct(None, &mut connection, false).await;
            migrated.map_err(|source| SchemaError::Migration { schema, source })?;
        }
        connection.close().await.map_err(database)?;
        Ok(is_behind)
    }

    /// Makes the roles of which the services' logins are members, and gives each its rights in the
    /// schema, by the schema's own function. An operator calls it, as often as wanted: a login that
    /// may not make roles could not, when it migrated.
    ///
    /// # Errors
    /// The database is out of reach, or this login may not grant rights.
    pub fn grant_roles(self, pool: &PgPool) -> BoxFuture<'_, Result<(), SchemaError>> {
        let schema = self.name;
        async move {
            let granted = sqlx::query(AssertSqlSafe(format!("SELECT {schema}.grant_roles()"))).execute(pool).await;
            granted.map(drop).map_err(|source| SchemaError::Database { schema, source })
        }
        .boxed()
    }

    /// The version and the SHA-384 of each migration, in hexadecimal digits. Every database that
    /// was migrated holds them and refuses a migration that has changed, so tests hold them, too.
    #[must_use]
    pub fn checksums(self) -> Vec<(i64, String)> {
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut hex, byte| {
                // Writing to a string cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        };
        self.migrator().iter().map(|migration| (migration.version, hex(&migration.checksum))).collect()
    }

    fn table(self) -> String {
        format!("{}.migration", self.name)
    }

    fn migrator(self) -> Migrator {
        let migrations = (1..).zip(self.migrations).map(|(version, (description, sql))| {
            Migration::new(version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
        });
        let mut migrator = Migrator::with_migrations(migrations.collect());
        migrator.create_schema(self.name);
        migrator.dangerous_set_table_name(self.table());
        migrator
    }

    /// Whether exactly the migrations of this program were run on the database. A service that may
    /// not look has no rights in the schema yet, as one that a later migration is for.
    async fn is_up_to_date(self, migrator: &Migrator, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        match self.has_all(migrator, connection).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE) => Ok(false),
            has_all => has_all,
        }
    }

    async fn has_all(self, migrator: &Migrator, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let table = self.table();
        let exists: bool =
            sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(&table).fetch_one(&mut *connection).await?;
        if !exists {
            return Ok(false);
        }
        let sql = AssertSqlSafe(format!("SELECT version, checksum, success FROM {table} ORDER BY version"));
        let made: Vec<(i64, Vec<u8>, bool)> = sqlx::query_as(sql).fetch_all(connection).await?;
        Ok(migrator.iter().map(|migration| (migration.version, migration.checksum.to_vec(), true)).eq(made))
    }
}

/// Whether the login may act as the owner of the database.
async fn is_owner(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_has_role(datdba, 'MEMBER') FROM pg_database WHERE datname = current_database()")
        .fetch_one(connection)
        .await
}
