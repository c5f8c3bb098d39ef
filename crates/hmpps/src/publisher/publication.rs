//! How far the publisher has come, kept in the database of the views: table
//! `integration.publication`.

use chrono::{DateTime, NaiveDate, Utc};
use domain::identifier::EventId;
use event_log::Bookmark;
use sqlx::{PgPool, Row as _, postgres::PgRow};
use uuid::Uuid;

/// How far the publisher has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The last event whose messages were sent, or passed over in shadow mode.
    pub last: Bookmark,
    /// The last day in London whose handovers were published.
    pub handover_day: NaiveDate,
    /// Raised by each publisher that takes over.
    pub epoch: i64,
    /// Whether nothing is sent.
    pub is_shadow: bool,
    /// The reason why the publisher waits, if it does.
    pub waits_for: Option<String>,
}

const COLUMNS: &str = "position, event_id, recorded_at, handover_day, epoch, is_shadow, waits_for";

impl Publication {
    /// Reads it; `None` where no publisher has begun.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn read(database: &PgPool) -> Result<Option<Self>, sqlx::Error> {
        let sql = format!("SELECT {COLUMNS} FROM integration.publication");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_optional(database).await?;
        row.as_ref().map(Self::of_row).transpose()
    }

    fn of_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let position: i64 = row.try_get("position")?;
        Ok(Self {
            last: Bookmark {
                position: position.unsigned_abs(),
                event_id: row.try_get::<Option<Uuid>, _>("event_id")?.map(EventId),
                recorded_at: row.try_get::<Option<DateTime<Utc>>, _>("recorded_at")?,
            },
            handover_day: row.try_get("handover_day")?,
            epoch: row.try_get("epoch")?,
            is_shadow: row.try_get("is_shadow")?,
            waits_for: row.try_get("waits_for")?,
        })
    }

    /// Begins at an event, unless there is a publication. Answers whether there was none.
    pub(super) async fn begin(database: &PgPool, last: Bookmark, day: NaiveDate) -> Result<bool, sqlx::Error> {
        const SQL: &str = "INSERT INTO integration.publication (position, event_id, recorded_at, handover_day)
            VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let begin = sqlx::query(SQL).bind(to_bigint(last.position)).bind(last.event_id.map(|id| id.0));
        let begun = begin.bind(last.recorded_at).bind(day).execute(database).await?;
        Ok(begun.rows_affected() > 0)
    }

    /// Takes over from the publisher before: only the epoch answered may go on. A reason to wait
    /// stays until something goes on.
    pub(super) async fn take_over(database: &PgPool, is_shadow: bool) -> Result<Option<Self>, sqlx::Error> {
        let sql = format!("UPDATE integration.publication SET epoch = epoch + 1, is_shadow = $1 RETURNING {COLUMNS}");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(is_shadow).fetch_optional(database).await?;
        row.as_ref().map(Self::of_row).transpose()
    }

    /// Moves to an event and a day; false where another publisher has taken over.
    pub(super) async fn advance(
        &mut self,
        database: &PgPool,
        last: Bookmark,
        day: NaiveDate,
    ) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE integration.publication
            SET position = $1, event_id = $2, recorded_at = $3, handover_day = $4, waits_for = NULL
            WHERE epoch = $5 AND position = $6";
        let advance = sqlx::query(SQL).bind(to_bigint(last.position)).bind(last.event_id.map(|id| id.0));
        let advance = advance.bind(last.recorded_at).bind(day).bind(self.epoch).bind(to_bigint(self.last.position));
        let is_done = advance.execute(database).await?.rows_affected() == 1;
        if is_done {
            (self.last, self.handover_day) = (last, day);
        }
        Ok(is_done)
    }

    /// Notes the reason why the publisher waits, or that it does not.
    pub(super) async fn note_wait(&self, database: &PgPool, reason: Option<&str>) -> Result<(), sqlx::Error> {
        const SQL: &str = "UPDATE integration.publication SET waits_for = $1 WHERE epoch = $2";
        sqlx::query(SQL).bind(reason).bind(self.epoch).execute(database).await?;
        Ok(())
    }
}

fn to_bigint(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
