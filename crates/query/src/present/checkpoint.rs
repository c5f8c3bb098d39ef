//! The view `checkpoint`: how far the views have come.

use chrono::{DateTime, Utc};
use domain::identifier::EventId;
use event_log::{Bookmark, LogError, SharedLog};
use sqlx::PgPool;
use uuid::Uuid;

use super::Row;
use crate::Error;

/// How far the views have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) version: i32,
    pub(crate) position: u64,
    /// Of the event there; none before the first, and in views of a version that did not say.
    event_id: Option<EventId>,
    /// When it was recorded.
    recorded_at: Option<DateTime<Utc>>,
}

impl Checkpoint {
    /// Whether the views are of a log: the last event that they include then stands there.
    pub(crate) async fn is_of(self, log: &SharedLog) -> Result<bool, LogError> {
        let Self { position, event_id, recorded_at, .. } = self;
        match (Bookmark { position, event_id, recorded_at }).is_in(log).await {
            // It is this log's, and the views have it all the same.
            Err(LogError::Damaged { .. }) => Ok(true),
            answer => answer,
        }
    }
}

/// Reads it, in one round trip.
pub(crate) async fn read(views: &PgPool) -> Result<Checkpoint, Error> {
    // Views of an older version lack the event's id, and are read all the same.
    let sql = "SELECT version, position, (to_jsonb(checkpoint) ->> 'event_id')::uuid AS event_id, recorded_at FROM checkpoint";
    let row = sqlx::query(sql).fetch_one(views).await?;
    let row = Row { table: "checkpoint", key: "position", row: &row };
    Ok(Checkpoint {
        version: row.get("version")?,
        position: row.count("position")?,
        event_id: row.get::<Option<Uuid>>("event_id")?.map(EventId),
        recorded_at: row.get("recorded_at")?,
    })
}

/// What the views' server is, in its own words.
pub(crate) async fn server_version(views: &PgPool) -> Result<String, Error> {
    Ok(sqlx::query_scalar("SELECT version()").fetch_one(views).await?)
}
