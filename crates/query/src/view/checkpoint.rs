//! The view `checkpoint`: how far the views have come.

use sqlx::PgPool;

use super::Row;
use crate::Error;

/// How far the views have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) version: i32,
    pub(crate) position: u64,
}

/// Reads it, in one round trip.
pub(crate) async fn read(views: &PgPool) -> Result<Checkpoint, Error> {
    let row = sqlx::query("SELECT version, position FROM checkpoint").fetch_one(views).await?;
    let row = Row { table: "checkpoint", key: "position", row: &row };
    Ok(Checkpoint { version: row.get("version")?, position: row.count("position")? })
}

/// What the views' server is, in its own words.
pub(crate) async fn server_version(views: &PgPool) -> Result<String, Error> {
    Ok(sqlx::query_scalar("SELECT version()").fetch_one(views).await?)
}
