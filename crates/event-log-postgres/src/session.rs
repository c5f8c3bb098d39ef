//! A session of a writer: one connection, and `log.append` on it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{
    Connection as _, FromRow, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};

use event_log::ExpectedRevision;

use crate::{
    batch::{AssumedRevisions, DecidedBatch, LogEnd},
    schema,
};

/// A connection, and the last position up to which it may append before a partition must be made.
pub(crate) struct WriterSession {
    pub(crate) connection: PgConnection,
    pub(crate) last_place: u64,
}

/// The reason why a batch failed.
#[derive(Debug)]
pub(crate) enum BatchError {
    /// Postgres failed, or the connection to it.
    Postgres(Arc<sqlx::Error>),
    /// The batch took longer than a writer waits.
    Overdue,
    /// The log contradicts itself.
    Damaged { position: u64, what: String },
}

impl From<sqlx::Error> for BatchError {
    fn from(error: sqlx::Error) -> Self {
        Self::Postgres(Arc::new(error))
    }
}

/// The outcome of sending a decided batch.
pub(crate) enum BatchResult {
    /// It is durable.
    Appended {
        /// Where the log ended before it.
        before: LogEnd,
    },
    /// Nothing was written: these streams are not at the revisions that the batch assumes, but at
    /// these.
    Elsewhere(AssumedRevisions),
    /// Nothing was written: the log has grown beyond the partitions that the session knows.
    NoRoom,
}

/// A row that `log.append` answers.
struct AppendAnswer {
    head_position: i64,
    head_recorded_at: DateTime<Utc>,
    appended: bool,
    elsewhere_streams: Option<Vec<String>>,
    elsewhere_revisions: Option<Vec<Option<i64>>>,
}

impl FromRow<'_, PgRow> for AppendAnswer {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            head_position: row.try_get("head_position")?,
            head_recorded_at: row.try_get("head_recorded_at")?,
            appended: row.try_get("appended")?,
            elsewhere_streams: row.try_get("elsewhere_streams")?,
            elsewhere_revisions: row.try_get("elsewhere_revisions")?,
        })
    }
}

impl WriterSession {
    pub(crate) async fn open(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let mut connection = PgConnection::connect_with(options).await?;
        // These override the settings of the database and the role. An acknowledged event must be
        // on disk (`remote_apply` promises more than `on`, so it stays), and a statement after a
        // lock must see what was committed before it.
        sqlx::query(
            "SELECT set_config('default_transaction_isolation', 'read committed', false),
                    set_config('synchronous_commit',
                               CASE current_setting('synchronous_commit')
                               WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)",
        )
        .execute(&mut connection)
        .await?;
        let last_place = schema::make_room(&mut connection).await?;
        Ok(Self { connection, last_place })
    }

    /// Sends a decided batch, of at least one event.
    pub(crate) async fn append(&mut self, decided: &DecidedBatch<'_>) -> Result<BatchResult, BatchError> {
        let DecidedBatch { rows, moves, .. } = decided;
        // There is only one row. But to fetch all rows waits for the end of the transaction, and to
        // fetch one does not.
        let answers: Vec<AppendAnswer> =
            sqlx::query_as("SELECT * FROM log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
                .bind(&moves.streams)
                .bind(&moves.before)
                .bind(&moves.after)
                .bind(&rows.streams)
                .bind(&rows.revisions)
                .bind(&rows.event_ids)
                .bind(&rows.types)
                .bind(&rows.recorded_at)
                .bind(&rows.metadata)
                .bind(&rows.data)
                .bind(self.last_place.cast_signed())
                .fetch_all(&mut self.connection)
                .await?;
        let Some(answer) = answers.into_iter().next() else {
            return Err(BatchError::Damaged { position: 0, what: "`log.append` answers nothing".to_owned() });
        };
        let position = answer.head_position.cast_unsigned();
        if answer.appended {
            return Ok(BatchResult::Appended { before: LogEnd { position, recorded_at: answer.head_recorded_at } });
        }
        let (Some(streams), Some(revisions)) = (answer.elsewhere_streams, answer.elsewhere_revisions) else {
            return Ok(BatchResult::NoRoom);
        };
        let actual = |revision: Option<i64>| match revision {
            Some(revision) => ExpectedRevision::Exact(revision.cast_unsigned()),
            None => ExpectedRevision::NoStream,
        };
        Ok(BatchResult::Elsewhere(streams.into_iter().zip(revisions.into_iter().map(actual)).collect()))
    }

    /// Makes the next partition once events go into the last one, long before it is needed.
    pub(crate) async fn make_room(&mut self, head: u64) {
        if !schema::partition_is_due(head, self.last_place) {
            return;
        }
        match schema::make_room(&mut self.connection).await {
            Ok(last_place) => self.last_place = last_place,
            // The batch is committed all the same, and the next one tries again.
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                position = head,
                "cannot make the next partition of the event log"
            ),
        }
    }
}
