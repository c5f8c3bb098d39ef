//! Puts filled views in the place of the serving ones. Readers see all of the one or all of the
//! other.

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use views::{View, case_now, checkpoint::Checkpoint};

use crate::{
    ProjectorError, checkpoint,
    schema::{SCHEMA, execute, let_read_table},
};

/// Puts the filled schema `next` in the place of the serving one, in one transaction, if `epoch` is
/// still in force and the views do not go back by it. Readers see all of the one or all of the
/// other.
///
/// Waits only briefly for readers that use the serving views at that moment, since later readers
/// wait behind it. Returns false where they have not finished; the caller must try again.
pub(crate) async fn swap(
    connection: &mut PgConnection,
    next: &str,
    filled: Checkpoint,
) -> Result<bool, ProjectorError> {
    let mut transaction = begin_swap(connection).await?;
    if !checkpoint::lock(&mut transaction, filled.epoch, filled.position).await? {
        return Err(ProjectorError::Fenced { epoch: filled.epoch });
    }
    if !succeeded_or_locked(replace(&mut transaction, next).await)? {
        transaction.rollback().await?;
        return Ok(false);
    }
    checkpoint::notify(&mut transaction, filled.position).await?;
    transaction.commit().await?;
    Ok(true)
}

/// Begins a transaction on the serving views that gives up soon where it would have to wait for a
/// lock.
pub(crate) async fn begin_swap(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    execute(
        &mut transaction,
        format!("SET LOCAL lock_timeout = '{SWAP_LOCK_TIMEOUT_MS}ms'; SET LOCAL search_path TO {SCHEMA}"),
    )
    .await?;
    Ok(transaction)
}

/// Puts a schema in the place of the serving one.
pub(crate) async fn replace(connection: &mut PgConnection, next: &str) -> Result<(), sqlx::Error> {
    execute(connection, format!("DROP SCHEMA {SCHEMA} CASCADE; ALTER SCHEMA {next} RENAME TO {SCHEMA}")).await
}

/// Puts one view of a schema in the place of the serving one, and drops the rest of the schema.
/// Waits for readers that have read the checkpoint and may read the view next: their snapshot lacks
/// its new rows. The connection's search path must begin with the serving schema.
pub(crate) async fn replace_view(connection: &mut PgConnection, next: &str, view: View) -> Result<(), sqlx::Error> {
    // An SQL view reads a table by its identity and not by its name.
    let (drop, create) = match view {
        View::CasePeriod => (format!("DROP VIEW IF EXISTS {SCHEMA}.{};", case_now::NAME), case_now::create_sql()),
        _ => (String::new(), String::new()),
    };
    execute(
        connection,
        format!(
            "LOCK TABLE {SCHEMA}.checkpoint IN ACCESS EXCLUSIVE MODE; {drop}
             DROP TABLE {SCHEMA}.{view}; ALTER TABLE {next}.{view} SET SCHEMA {SCHEMA}; DROP SCHEMA {next} CASCADE;
             {create}"
        ),
    )
    .await?;
    if create.is_empty() { Ok(()) } else { let_read_table(connection, &format!("{SCHEMA}.{}", case_now::NAME)).await }
}

/// Whether a statement succeeded; false where others held a lock for too long.
pub(crate) fn succeeded_or_locked(outcome: Result<(), sqlx::Error>) -> Result<bool, sqlx::Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if is_lock_conflict(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// How long a swap waits for each table's readers. It must be shorter than the second after which
/// Postgres looks for a deadlock: where a reader holds one table and wants another, the swap gives
/// way and the reader never fails.
const SWAP_LOCK_TIMEOUT_MS: u32 = 250;

fn is_lock_conflict(error: &sqlx::Error) -> bool {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    const DEADLOCK_DETECTED: &str = "40P01";
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == LOCK_NOT_AVAILABLE || code == DEADLOCK_DETECTED)
}
