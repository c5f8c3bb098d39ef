//! The state of the views: how far they have come, and how large they are.

use chrono::{DateTime, Utc};
use event_log::{Lag, SharedLog};
use sqlx::{AssertSqlSafe, Connection as _, PgPool, Row as _};

use views::{VIEWS, VIEWS_VERSION, View, stream_aside::StreamAside};

use crate::{
    ProjectorError,
    checkpoint::is_of,
    run::{StoppedStream, stopped_rebuild},
    schema::{self, SCHEMA},
    set_aside,
};

/// The state of the serving views. They move together, so position and version are of all.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewsStatus {
    /// Version of the definition by which they were written.
    pub version: i32,
    /// Position of the last event that they include.
    pub position: u64,
    /// Whether they are of the log that was asked; otherwise they say nothing about it.
    pub is_of_log: bool,
    /// The events that they lack.
    pub lag: Lag,
    /// Each view, in the order of [`VIEWS`].
    pub views: Vec<ViewStatus>,
    /// Cases and prisons that the views leave out, by stream.
    pub aside: Vec<StreamAside>,
    /// Cases and prisons for which an automatic rebuild stopped, by stream.
    pub stopped: Vec<StoppedStream>,
    /// Schemas that are being filled at the moment.
    pub building: Vec<String>,
}

/// The state of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewStatus {
    /// The view.
    pub view: View,
    /// Its rows, counted; `None` where views of another version have no such view.
    pub rows: Option<u64>,
    /// Its size on disk with its indexes.
    pub bytes: u64,
}

impl ViewsStatus {
    /// `OTHER_LOG` where they are of another log, `OUTDATED` where they are of another version than
    /// this program makes, else `BEHIND` or `CURRENT`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        if !self.is_of_log {
            "OTHER_LOG"
        } else if self.version != VIEWS_VERSION {
            "OUTDATED"
        } else if self.lag.events > 0 {
            "BEHIND"
        } else {
            "CURRENT"
        }
    }

    /// How long ago the first event that they lack was recorded, in seconds.
    #[must_use]
    pub fn lag_seconds(&self, now: DateTime<Utc>) -> f64 {
        self.lag.since.map_or(0.0, |since| (now - since).as_seconds_f64().max(0.0))
    }
}

/// Position of the last event that the serving views include.
///
/// # Errors
/// The views cannot be read, or there are none.
pub async fn position(views: &PgPool) -> Result<u64, ProjectorError> {
    let sql = format!("SELECT position FROM {SCHEMA}.checkpoint");
    let position: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(views).await?;
    Ok(position.unsigned_abs())
}

/// How many cases and prisons the serving views leave out.
///
/// # Errors
/// The views cannot be read, or there are none.
pub async fn streams_aside(views: &PgPool) -> Result<usize, ProjectorError> {
    let sql = format!("SELECT count(*) FROM {SCHEMA}.stream_aside");
    let streams: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(views).await?;
    Ok(usize::try_from(streams).unwrap_or_default())
}

/// Reads the state of the serving views; version, position and rows are of one moment. `None` where
/// there are no views yet.
///
/// # Errors
/// The log or the views cannot be read.
pub async fn status(log: &SharedLog, views: &PgPool) -> Result<Option<ViewsStatus>, ProjectorError> {
    let mut connection = views.acquire().await?;
    let tables: Vec<String> = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = $1")
        .bind(SCHEMA)
        .fetch_all(&mut *connection)
        .await?;
    if !tables.iter().any(|table| table == "checkpoint") {
        return Ok(None);
    }
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *transaction).await?;
    schema::choose_here(&mut transaction, SCHEMA).await?;
    // Before the snapshot is taken: a table that a rebuild puts in place after it would look empty.
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "));
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *transaction).await?;
    let checkpoint = views::checkpoint::read(&mut *transaction).await?;
    let mut each = Vec::with_capacity(VIEWS.len());
    for view in VIEWS {
        if !tables.iter().any(|table| table == view.name()) {
            each.push(ViewStatus { view, rows: None, bytes: 0 });
            continue;
        }
        let sql = format!("SELECT count(*) AS rows, pg_total_relation_size('{view}') AS bytes FROM {view}");
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *transaction).await?;
        each.push(ViewStatus {
            view,
            rows: Some(row.try_get::<i64, _>("rows")?.unsigned_abs()),
            bytes: row.try_get::<i64, _>("bytes")?.unsigned_abs(),
        });
    }
    let is_there = |name: &str| tables.iter().any(|table| table == name);
    // Views of a version before they could leave anything out have no such table.
    let aside = if is_there("stream_aside") { set_aside::read(&mut *transaction).await? } else { Vec::new() };
    let stopped =
        if is_there(stopped_rebuild::TABLE) { stopped_rebuild::read_all(&mut transaction).await? } else { Vec::new() };
    let building = schema::schemas_being_built(&mut transaction, checkpoint.epoch).await?;
    transaction.commit().await?;
    let is_of_log = is_of(checkpoint, log).await?;
    let lag = Lag::measure(log, checkpoint.position).await?;
    Ok(Some(ViewsStatus {
        version: checkpoint.version,
        position: checkpoint.position,
        is_of_log,
        lag,
        views: each,
        aside,
        stopped,
        building,
    }))
}
