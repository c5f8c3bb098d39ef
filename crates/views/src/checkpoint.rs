//! Table `checkpoint`: how far the views have come. It is moved in the same transaction as their
//! rows.

use chrono::{DateTime, Utc};
use domain::identifier::EventId;
use sqlx::{AssertSqlSafe, PgExecutor, Row as _, postgres::PgRow};
use uuid::Uuid;

/// How far the views have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Version of the definition by which the views were written.
    pub version: i32,
    /// Position of the last event that they include.
    pub position: u64,
    /// The id of that event; `None` before the first, and in views of a version that lacks it.
    pub event_id: Option<EventId>,
    /// When that event was recorded; `None` before the first.
    pub recorded_at: Option<DateTime<Utc>>,
    /// Raised by each projector that takes over.
    pub epoch: i64,
}

/// The command that replaces views of another log.
pub const REBUILD_FROM_THIS_LOG: &str = "`allocation-ledger projections rebuild --of-other-log`";

/// The columns that [`Checkpoint::of_row`] reads. Views of an older version lack the event's id,
/// and are read all the same.
pub const COLUMNS: &str = "version, position, \
    (to_jsonb(checkpoint) ->> 'event_id')::uuid AS event_id, recorded_at, epoch";

impl Checkpoint {
    /// Reads a row with [`COLUMNS`].
    ///
    /// # Errors
    /// A column is absent or of another type, or the position is negative.
    pub fn of_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version: row.try_get("version")?,
            position: u64::try_from(row.try_get::<i64, _>("position")?)
                .map_err(|error| sqlx::Error::ColumnDecode { index: "position".to_owned(), source: error.into() })?,
            event_id: row.try_get::<Option<Uuid>, _>("event_id")?.map(EventId),
            recorded_at: row.try_get("recorded_at")?,
            epoch: row.try_get("epoch")?,
        })
    }
}

/// How far the views have come, in one round trip.
///
/// # Errors
/// The database fails, or has no views.
pub async fn read(views: impl PgExecutor<'_>) -> Result<Checkpoint, sqlx::Error> {
    let sql = AssertSqlSafe(format!("SELECT {COLUMNS} FROM checkpoint"));
    Checkpoint::of_row(&sqlx::query(sql).fetch_one(views).await?)
}

pub(crate) const CREATE_TABLE_SQL: &str = "\
CREATE TABLE checkpoint (
    singleton boolean NOT NULL DEFAULT true,
    version integer NOT NULL,
    position bigint NOT NULL,
    event_id uuid,
    recorded_at timestamptz,
    epoch bigint NOT NULL,
    CONSTRAINT checkpoint_singleton CHECK (singleton)
);
COMMENT ON TABLE checkpoint IS 'How far the views have come; moved in the same transaction as their rows.';
COMMENT ON COLUMN checkpoint.singleton IS 'Always true: the table has one row.';
COMMENT ON COLUMN checkpoint.version IS 'Version of the views'' definition in the code that wrote them.';
COMMENT ON COLUMN checkpoint.position IS 'Position in the log of the last event that the views include.';
COMMENT ON COLUMN checkpoint.event_id IS 'That event''s id, by which the views are known to be of this log and of no other; null before the first.';
COMMENT ON COLUMN checkpoint.recorded_at IS 'When that event was recorded; null before the first.';
COMMENT ON COLUMN checkpoint.epoch IS 'Raised by each projector that takes over, so that one that lost its lock cannot write.';
";
