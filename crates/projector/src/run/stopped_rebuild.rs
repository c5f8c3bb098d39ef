//! Remembers the streams for which a rebuild stopped. A program that is started again and again
//! then tries these streams alone, and does not read the whole log each time.
//!
//! They are in a table of the serving schema, which is dropped with the schema when a rebuild takes
//! its place.

use domain::Stream;
use event_log::{LogError, SharedLog};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use views::{VIEWS_VERSION, aside::StreamAside};

use crate::{
    ProjectorError, aside,
    schema::{self, SCHEMA},
};

/// Remembers that a rebuild as this program's version stopped for streams, and for no others.
pub(super) async fn remember(streams: &[Stream], connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let names: Vec<String> = streams.iter().map(Stream::to_string).collect();
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE TABLE IF NOT EXISTS {SCHEMA}.stopped_rebuild (version integer NOT NULL, stream text NOT NULL);
         COMMENT ON TABLE {SCHEMA}.stopped_rebuild IS
             'Streams for which an automatic rebuild stopped, and the version of the views that it makes.';
         DELETE FROM {SCHEMA}.stopped_rebuild"
    )))
    .execute(&mut *transaction)
    .await?;
    schema::let_read(&mut transaction, SCHEMA).await?;
    sqlx::query(AssertSqlSafe(format!("INSERT INTO {SCHEMA}.stopped_rebuild SELECT $1, unnest($2::text[])")))
        .bind(VIEWS_VERSION)
        .bind(names)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// The streams for which a rebuild as this program's version stopped.
async fn read(connection: &mut PgConnection) -> Result<Vec<Stream>, sqlx::Error> {
    if !schema::has_table(connection, "stopped_rebuild").await? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT stream FROM {SCHEMA}.stopped_rebuild WHERE version = $1");
    let names: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).bind(VIEWS_VERSION).fetch_all(connection).await?;
    names.iter().map(|name| name.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))).collect()
}

/// Of the streams for which a rebuild stopped, those that Postgres still refuses, as they are when
/// the log ends at `head`. Nothing is left of the schema `next`, in which they are tried.
pub(super) async fn still_aside(
    log: &SharedLog,
    head: u64,
    next: &str,
    connection: &mut PgConnection,
) -> Result<Vec<StreamAside>, ProjectorError> {
    let streams = read(connection).await?;
    if streams.is_empty() {
        return Ok(Vec::new());
    }
    let histories = match aside::read_histories(log, &streams, head).await {
        Ok(histories) => histories,
        // The rebuild finds out whether the damage concerns it.
        Err(LogError::Damaged { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut trial = connection.begin().await?;
    schema::create(&mut trial, next).await?;
    schema::add_keys(&mut trial).await?;
    let aside = aside::write(&histories, streams.len(), &mut trial).await?;
    trial.rollback().await?;
    Ok(aside)
}
