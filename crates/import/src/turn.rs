//! The turn to import into a prison: imports of two files at once end as if one had come after the
//! other.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, anyhow};
use domain::identifier::PrisonCode;
use sqlx::{Connection as _, PgConnection, PgPool};

/// How long an import waits for another one into the same prison, which takes seconds.
const TURN_WAIT_MAX: Duration = Duration::from_mins(5);

/// The step that fails where Postgres is out of reach while an import waits for its turn.
const TAKE_TURN: &str = "wait for other imports of the prison";

/// The SQLSTATE of a lock that was not free within `lock_timeout`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Gives turns to import, by locks of the log's Postgres. A KurrentDB server has nothing to wait
/// for: there, imports at once take turns row by row.
#[derive(Debug, Clone)]
pub struct ImportTurns(Option<PgPool>);

/// A turn to import into one or more prisons: locks that Postgres releases when their connection
/// closes, also that of a program that was killed.
#[derive(Debug)]
pub struct ImportTurn {
    _connection: PgConnection,
}

impl ImportTurns {
    /// Turns by the locks of this database; `None` for a log that is not in Postgres.
    #[must_use]
    pub fn new(log_database: Option<PgPool>) -> Self {
        Self(log_database)
    }

    /// Waits until no other import of this prison runs on the log. The turn ends when it is
    /// dropped. `tell_wait` gets a sentence where there is something to wait for.
    ///
    /// # Errors
    /// The other import does not end within some minutes, or Postgres is out of reach.
    pub async fn take(&self, prison: &PrisonCode, tell_wait: impl Fn(&str)) -> anyhow::Result<Option<ImportTurn>> {
        self.take_all(&BTreeSet::from([prison.clone()]), tell_wait).await
    }

    /// [`ImportTurns::take`] of several prisons, one after the other, by one connection.
    ///
    /// # Errors
    /// As [`ImportTurns::take`].
    pub async fn take_all(
        &self,
        prisons: &BTreeSet<PrisonCode>,
        tell_wait: impl Fn(&str),
    ) -> anyhow::Result<Option<ImportTurn>> {
        let Some(pool) = &self.0 else { return Ok(None) };
        let mut connection = PgConnection::connect_with(&pool.connect_options()).await.context(TAKE_TURN)?;
        // In the set's order, so that no two programs wait for each other.
        for prison in prisons {
            lock_imports(&mut connection, prison, &tell_wait).await?;
        }
        Ok(Some(ImportTurn { _connection: connection }))
    }
}

/// Waits until no other connection has the lock on imports into the prison.
async fn lock_imports(
    connection: &mut PgConnection,
    prison: &PrisonCode,
    tell_wait: impl Fn(&str),
) -> anyhow::Result<()> {
    let name = format!("allocation-ledger import {prison}");
    let is_free: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
        .bind(&name)
        .fetch_one(&mut *connection)
        .await
        .context(TAKE_TURN)?;
    if is_free {
        return Ok(());
    }
    let minutes = TURN_WAIT_MAX.as_secs() / 60;
    tell_wait(&format!("Another import into {prison} is running. Waiting for it to end, {minutes} minutes at most."));
    sqlx::query("SELECT set_config('lock_timeout', $1, false)")
        .bind(format!("{}ms", TURN_WAIT_MAX.as_millis()))
        .execute(&mut *connection)
        .await
        .context(TAKE_TURN)?;
    let waited =
        sqlx::query("SELECT pg_advisory_lock(hashtextextended($1, 0))").bind(&name).execute(&mut *connection).await;
    waited.map(drop).map_err(|error| match error.as_database_error().and_then(|error| error.code()).as_deref() {
        Some(LOCK_NOT_AVAILABLE) => anyhow!(
            "another import into {prison} has not ended within {minutes} minutes, and nothing was recorded: run the \
             same command again when it has ended, or end it if it hangs"
        ),
        _ => anyhow::Error::new(error).context(TAKE_TURN),
    })
}
