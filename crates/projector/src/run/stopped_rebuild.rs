//! Remembers the streams for which a rebuild stopped, with the event from which on Postgres refuses
//! their rows. A program that looks again, or is started again and again, then tries these streams
//! alone, and does not read the whole log each time.
//!
//! They are in a table of the serving schema, which is dropped with the schema when a rebuild takes
//! its place.

use domain::Stream;
use event_log::{LogError, SharedLog};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use views::{
    VIEWS_VERSION,
    checkpoint::Checkpoint,
    stream_aside::{AS_JSON, StreamAside},
};

use crate::{
    ProjectorError, checkpoint,
    schema::{self, SCHEMA},
    set_aside,
};

/// The table, which may not be there.
pub(crate) const TABLE: &str = "stopped_rebuild";

/// A stream for which a rebuild stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedStream {
    /// The version of the views that the rebuild was of.
    pub version: i32,
    /// The stream, with the event from which on Postgres refuses the rows of that version.
    pub aside: StreamAside,
}

/// Remembers that a rebuild as this program's version stopped for streams, and for no others.
///
/// # Errors
/// [`ProjectorError::Fenced`] where another projector has taken the views over: what stopped this
/// one may be no concern of the views that are served now. Or the database fails.
pub(super) async fn remember(
    aside: &[StreamAside],
    checkpoint: Checkpoint,
    connection: &mut PgConnection,
) -> Result<(), ProjectorError> {
    let mut transaction = connection.begin().await?;
    if !checkpoint::lock(&mut transaction, checkpoint.epoch, checkpoint.position).await? {
        return Err(ProjectorError::Fenced { epoch: checkpoint.epoch });
    }
    let table = format!("{SCHEMA}.{TABLE}");
    sqlx::raw_sql(AssertSqlSafe(format!(
        "DROP TABLE IF EXISTS {table};
         CREATE TABLE {table} (LIKE {SCHEMA}.stream_aside, version integer NOT NULL DEFAULT {VIEWS_VERSION});
         COMMENT ON TABLE {table} IS
             'Streams for which an automatic rebuild stopped, and the version of the views that it makes.'"
    )))
    .execute(&mut *transaction)
    .await?;
    schema::let_read_table(&mut transaction, &table).await?;
    set_aside::insert_into(&table, aside, &mut transaction).await?;
    Ok(transaction.commit().await?)
}

/// Drops a table of the form that it once had, without the event: a rebuild finds the streams anew.
pub(super) async fn drop_former_table(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let is_former: bool = sqlx::query_scalar(
        "SELECT to_regclass($1) IS NOT NULL
            AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'position')",
    )
    .bind(format!("{SCHEMA}.{TABLE}"))
    .fetch_one(&mut *connection)
    .await?;
    if is_former {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE IF EXISTS {SCHEMA}.{TABLE}"))).execute(connection).await?;
    }
    Ok(())
}

/// The streams for which a rebuild as this program's version stopped.
pub(super) async fn read(connection: &mut PgConnection) -> Result<Vec<StreamAside>, sqlx::Error> {
    if !schema::has_table(connection, TABLE).await? {
        return Ok(Vec::new());
    }
    let all = read_all(connection).await?.into_iter();
    Ok(all.filter(|stopped| stopped.version == VIEWS_VERSION).map(|stopped| stopped.aside).collect())
}

/// The streams for which a rebuild stopped, by stream. The table must be there.
pub(crate) async fn read_all(connection: &mut PgConnection) -> Result<Vec<StoppedStream>, sqlx::Error> {
    let sql =
        format!("SELECT version, {AS_JSON}::text AS aside FROM {SCHEMA}.{TABLE} aside ORDER BY stream COLLATE \"C\"");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await?;
    let read = |row: &sqlx::postgres::PgRow| {
        let aside = serde_json::from_str(row.try_get("aside")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(StoppedStream { version: row.try_get("version")?, aside })
    };
    rows.iter().map(read).collect()
}

/// Tries streams alone, as they are when the log ends at `to`, and returns those that Postgres
/// refuses. Nothing is left of the schema `next`, in which they are tried.
pub(super) async fn try_alone(
    log: &SharedLog,
    mut to: u64,
    next: &str,
    streams: &[Stream],
    connection: &mut PgConnection,
) -> Result<Vec<StreamAside>, ProjectorError> {
    if streams.is_empty() {
        return Ok(Vec::new());
    }
    let histories = loop {
        match set_aside::read_histories(log, streams, to).await {
            Ok(histories) => break histories,
            // A rebuild goes no further, either.
            Err(LogError::Damaged { position, .. }) if 0 < position && position <= to => to = position - 1,
            // A rebuild finds out whether the damage concerns it.
            Err(LogError::Damaged { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
    };
    let mut trial = connection.begin().await?;
    schema::create(&mut trial, next).await?;
    schema::add_keys(&mut trial).await?;
    let aside = set_aside::write(&histories, streams.len(), &mut trial).await?;
    trial.rollback().await?;
    Ok(aside)
}
