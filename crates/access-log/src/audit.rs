//! The entries that the audit queue of HMPPS has not had yet, and how far its sender has come:
//! tables `access.unsent_entry` and `access.audit_checkpoint`. Only this module names them.
//!
//! An outbox of keys: while there is a checkpoint, a trigger notes each new entry in the
//! transaction that stores it, so none is missed however late it becomes visible.

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Row as _, postgres::PgRow};
use uuid::Uuid;

use crate::{AccessKey, StoredAccess};

/// The most entries that [`read_unsent`] answers with; Postgres gives no more than 1,000.
pub const UNSENT_PAGE_MAX: i32 = 100;

/// How far the sender has come in the log of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCheckpoint {
    /// The last event that was sent.
    pub last: AuditPosition,
    /// Raised by each sender that takes over.
    pub epoch: i64,
    /// The reason why the sender waits, if it does.
    pub waits_for: Option<String>,
}

/// The place of an event in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditPosition {
    /// Its position; 0 before the first event.
    pub position: u64,
    /// Its id.
    pub event_id: Option<Uuid>,
    /// When it was recorded.
    pub recorded_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "position, event_id, recorded_at, epoch, waits_for";

impl AuditCheckpoint {
    /// Reads it; `None` where no sender has begun.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn read(database: &PgPool) -> Result<Option<Self>, sqlx::Error> {
        let sql = format!("SELECT {COLUMNS} FROM access.audit_checkpoint");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_optional(database).await?;
        row.as_ref().map(Self::of_row).transpose()
    }

    /// Begins at an event, unless there is a checkpoint: from now on entries are noted. Answers
    /// whether there was none.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn begin(database: &PgPool, last: AuditPosition) -> Result<bool, sqlx::Error> {
        const SQL: &str = "INSERT INTO access.audit_checkpoint (position, event_id, recorded_at) VALUES ($1, $2, $3)
            ON CONFLICT DO NOTHING";
        let begin = sqlx::query(SQL).bind(to_bigint(last.position)).bind(last.event_id).bind(last.recorded_at);
        Ok(begin.execute(database).await?.rows_affected() > 0)
    }

    /// Takes over from the sender before: only the epoch answered may go on. `None` where no sender
    /// has begun.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn take_over(database: &PgPool) -> Result<Option<Self>, sqlx::Error> {
        let sql = format!("UPDATE access.audit_checkpoint SET epoch = epoch + 1 RETURNING {COLUMNS}");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_optional(database).await?;
        row.as_ref().map(Self::of_row).transpose()
    }

    /// Moves to an event; false where another sender has taken over.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn advance(&mut self, database: &PgPool, last: AuditPosition) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE access.audit_checkpoint SET position = $1, event_id = $2, recorded_at = $3
            WHERE epoch = $4 AND position = $5";
        let advance = sqlx::query(SQL).bind(to_bigint(last.position)).bind(last.event_id).bind(last.recorded_at);
        let advance = advance.bind(self.epoch).bind(to_bigint(self.last.position));
        let is_done = advance.execute(database).await?.rows_affected() == 1;
        if is_done {
            self.last = last;
        }
        Ok(is_done)
    }

    /// Notes the reason why the sender of an epoch waits, or that it does not.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn note_wait(database: &PgPool, epoch: i64, reason: Option<&str>) -> Result<(), sqlx::Error> {
        const SQL: &str = "UPDATE access.audit_checkpoint SET waits_for = $1 WHERE epoch = $2";
        sqlx::query(SQL).bind(reason).bind(epoch).execute(database).await?;
        Ok(())
    }

    fn of_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let position: i64 = row.try_get("position")?;
        let last = AuditPosition {
            position: position.unsigned_abs(),
            event_id: row.try_get("event_id")?,
            recorded_at: row.try_get("recorded_at")?,
        };
        Ok(Self { last, epoch: row.try_get("epoch")?, waits_for: row.try_get("waits_for")? })
    }
}

/// The entries that are not sent yet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnsentEntries {
    /// How many.
    pub count: i64,
    /// For how many seconds the first of them has been stored; 0 where there is none.
    pub lag_s: f64,
}

impl UnsentEntries {
    /// Counts them, which takes the longer the more there are.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn count(database: &PgPool) -> Result<Self, sqlx::Error> {
        let count = sqlx::query_scalar("SELECT count(*) FROM access.unsent_entry").fetch_one(database).await?;
        Ok(Self { count, lag_s: unsent_lag_s(database).await? })
    }
}

/// For how many seconds the first of the entries that are not sent yet has been stored; 0 where
/// there is none.
///
/// # Errors
/// The database is out of reach.
pub async fn unsent_lag_s(database: &PgPool) -> Result<f64, sqlx::Error> {
    const SQL: &str = "SELECT coalesce(greatest(extract(epoch FROM now() - min(queued_at)), 0), 0)::float8
          FROM access.unsent_entry";
    sqlx::query_scalar(SQL).fetch_one(database).await
}

/// Reads entries that are not sent yet, those first that were stored first: at most
/// [`UNSENT_PAGE_MAX`], and 100,000 numbers unless the first entry alone has more.
///
/// # Errors
/// The database is out of reach.
pub async fn read_unsent(database: &PgPool) -> Result<Vec<StoredAccess>, sqlx::Error> {
    let rows = sqlx::query("SELECT * FROM access.read_unsent($1)").bind(UNSENT_PAGE_MAX).fetch_all(database).await?;
    rows.iter().map(StoredAccess::read).collect()
}

/// Notes that entries are sent.
///
/// # Errors
/// The database is out of reach.
pub async fn mark_sent(database: &PgPool, keys: &[AccessKey]) -> Result<(), sqlx::Error> {
    const SQL: &str = "DELETE FROM access.unsent_entry AS unsent
        USING unnest($1::timestamptz[], $2::uuid[]) AS sent (at, id) WHERE unsent.at = sent.at AND unsent.id = sent.id";
    let (instants, ids): (Vec<_>, Vec<_>) = keys.iter().copied().unzip();
    sqlx::query(SQL).bind(instants).bind(ids).execute(database).await?;
    Ok(())
}

fn to_bigint(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
