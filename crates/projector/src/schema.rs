//! The schemas that views live in: the serving one, and others beside it while a rebuild fills them.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use crate::{
    Error,
    views::checkpoint::{self, Checkpoint},
};

/// The schema that `query` reads.
pub const SCHEMA: &str = "views";

/// Version of the views' definition: of `migrations/views.sql`, and of the rules by which a history gives rows. Raise it
/// with every change of either; a projector that finds views of another version rebuilds them at its start.
pub const VIEWS_VERSION: i32 = 2;

/// Roles that may read the views: the query side's, and the analysts'. Group roles without a login.
pub const READING_ROLES: [&str; 2] = ["ledger_read", "analyst"];

/// Begins the name of each schema that is being filled; its projector's epoch ends it.
const NEXT_PREFIX: &str = "views_next_";

const VIEWS_SQL: &str = include_str!("../migrations/views.sql");

const KEYS_SQL: &str = include_str!("../migrations/views_keys.sql");

/// Makes the serving schema with empty views, unless it is there. Whichever version is there stays: see [`VIEWS_VERSION`].
///
/// # Errors
/// The views' database is out of reach or refuses.
pub async fn migrate(views: &PgPool) -> Result<(), Error> {
    migrate_on(&mut *views.acquire().await?).await
}

/// [`migrate`] on a connection.
pub(crate) async fn migrate_on(connection: &mut PgConnection) -> Result<(), Error> {
    let mut transaction = connection.begin().await?;
    // Two programs that start at once would both find nothing and both make it.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('allocation-ledger views migration', 0))")
        .execute(&mut *transaction)
        .await?;
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(format!("{SCHEMA}.checkpoint"))
        .fetch_one(&mut *transaction)
        .await?;
    if !exists {
        // The schema without its checkpoint is what a hand left half done; there is nothing in it to keep.
        drop_schema(&mut transaction, SCHEMA).await?;
        create(&mut transaction, SCHEMA).await?;
        add_keys(&mut transaction).await?;
        let start = Checkpoint { version: VIEWS_VERSION, position: 0, epoch: 0 };
        checkpoint::insert(&mut transaction, start, None).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The name of the schema that the projector with this epoch fills beside the serving one. No two projectors share an
/// epoch, so a paused one cannot write into another's.
pub(crate) fn next_name(epoch: i64) -> String {
    format!("{NEXT_PREFIX}{epoch}")
}

/// Makes a schema with empty views, without keys and checkpoint, and puts it first on the connection's search path for the
/// rest of the transaction.
pub(crate) async fn create(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    execute(connection, format!("CREATE SCHEMA {name}; SET LOCAL search_path TO {name}")).await?;
    sqlx::raw_sql(VIEWS_SQL).execute(&mut *connection).await?;
    for role in READING_ROLES {
        execute(connection, grant_sql(name, role)).await?;
    }
    Ok(())
}

/// Adds keys and indexes to the chosen schema's views.
pub(crate) async fn add_keys(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(KEYS_SQL).execute(connection).await?;
    Ok(())
}

/// Puts a schema first on the connection's search path.
pub(crate) async fn choose(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    execute(connection, format!("SET search_path TO {name}")).await
}

/// Lets the planner know what the chosen schema's views hold, before anybody asks.
pub(crate) async fn analyze(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for table in ["prisoner_case", "case_period", "allocation", "prison", "pom_period", "nomis_contact"] {
        execute(connection, format!("ANALYZE {table}")).await?;
    }
    Ok(())
}

/// Drops what interrupted rebuilds have left, if the checkpoint's epoch is still in force. What belongs to a later epoch is
/// not a left-over but a successor's work, and left alone whatever the fence says.
pub(crate) async fn drop_leftovers(connection: &mut PgConnection, checkpoint: Checkpoint) -> Result<(), Error> {
    let mut transaction = connection.begin().await?;
    if !checkpoint::lock(&mut transaction, checkpoint.epoch, checkpoint.position).await? {
        return Err(Error::Fenced { epoch: checkpoint.epoch });
    }
    let names: Vec<String> =
        sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname::text, $1)")
            .bind(NEXT_PREFIX)
            .fetch_all(&mut *transaction)
            .await?;
    let epoch_of = |name: &str| name.strip_prefix(NEXT_PREFIX)?.parse::<i64>().ok();
    for name in names.iter().filter(|name| epoch_of(name).is_some_and(|epoch| epoch <= checkpoint.epoch)) {
        tracing::info!(schema = name, "dropping schema {name}, left over from an interrupted rebuild");
        drop_schema(&mut transaction, name).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Puts the filled schema `next` in the place of the serving one, in one transaction, if `epoch` is still in force and the
/// views do not go back by it. Readers see all of the one or all of the other.
///
/// Waits only briefly for readers that use the serving views at that moment, since everybody who comes later waits
/// behind; answers false where they have not finished, for the caller to try again.
pub(crate) async fn swap(connection: &mut PgConnection, next: &str, filled: Checkpoint) -> Result<bool, Error> {
    let mut transaction = connection.begin().await?;
    execute(&mut transaction, format!("SET LOCAL lock_timeout = '{SWAP_LOCK_TIMEOUT_MS}ms'")).await?;
    execute(&mut transaction, format!("SET LOCAL search_path TO {SCHEMA}")).await?;
    if !checkpoint::lock(&mut transaction, filled.epoch, filled.position).await? {
        return Err(Error::Fenced { epoch: filled.epoch });
    }
    let replaced =
        execute(&mut transaction, format!("DROP SCHEMA {SCHEMA} CASCADE; ALTER SCHEMA {next} RENAME TO {SCHEMA}"))
            .await;
    match replaced {
        Ok(()) => {}
        Err(error) if is_lock_conflict(&error) => {
            transaction.rollback().await?;
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    }
    checkpoint::notify(&mut transaction, filled.position).await?;
    transaction.commit().await?;
    Ok(true)
}

/// How long a swap waits for each table's readers.
const SWAP_LOCK_TIMEOUT_MS: u32 = 1_000;

fn is_lock_conflict(error: &sqlx::Error) -> bool {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    const DEADLOCK_DETECTED: &str = "40P01";
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == LOCK_NOT_AVAILABLE || code == DEADLOCK_DETECTED)
}

async fn drop_schema(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    execute(connection, format!("DROP SCHEMA IF EXISTS {name} CASCADE")).await
}

/// Runs statements made of our own constants and numbers.
async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// Lets `role` read the schema's views, and makes the role first where there is none. Roles belong to the whole server, so
/// another program may be making the same one; and who may not make roles goes without.
fn grant_sql(schema: &str, role: &str) -> String {
    format!(
        "DO $do$
         BEGIN
             IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                 BEGIN
                     CREATE ROLE {role} NOLOGIN;
                 EXCEPTION
                     WHEN duplicate_object OR unique_violation THEN NULL;
                     WHEN insufficient_privilege THEN RETURN;
                 END;
             END IF;
             GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
         END
         $do$"
    )
}
