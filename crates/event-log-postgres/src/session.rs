//! A session of a writer: one connection, and `log.append` on it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{
    Connection as _, FromRow, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};
use uuid::Uuid;

use event_log::{ExpectedRevision, KeySpending, SpentKey};

use crate::{
    batch::{AssumedRevisions, DecidedBatch, LogEnd},
    schema,
};

/// Keys spent after which old ones are removed.
const REMOVAL_PERIOD: usize = 1_000;

/// A connection, and the last position up to which it may append before a partition must be made.
pub(crate) struct WriterSession {
    pub(crate) connection: PgConnection,
    pub(crate) last_place: u64,
    /// Keys spent since old ones were removed.
    keys_spent: usize,
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
    /// Nothing was written: these keys were spent on something else.
    KeysTaken(Vec<(Uuid, SpentKey)>),
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
    taken_keys: Option<Vec<Uuid>>,
    taken_requests: Option<Vec<String>>,
    taken_answers: Option<Vec<Option<String>>>,
}

impl FromRow<'_, PgRow> for AppendAnswer {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            head_position: row.try_get("head_position")?,
            head_recorded_at: row.try_get("head_recorded_at")?,
            appended: row.try_get("appended")?,
            elsewhere_streams: row.try_get("elsewhere_streams")?,
            elsewhere_revisions: row.try_get("elsewhere_revisions")?,
            taken_keys: row.try_get("taken_keys")?,
            taken_requests: row.try_get("taken_requests")?,
            taken_answers: row.try_get("taken_answers")?,
        })
    }
}

impl AppendAnswer {
    fn keys_taken(&mut self) -> Option<Vec<(Uuid, SpentKey)>> {
        let keys = self.taken_keys.take()?;
        let (requests, answers) = (self.taken_requests.take()?, self.taken_answers.take()?);
        let spent = requests.into_iter().zip(answers).map(|(request, answer)| SpentKey { request, answer });
        Some(keys.into_iter().zip(spent).collect())
    }
}

/// Keys that are spent on requests which record nothing themselves, as columns for a statement.
#[derive(Default)]
pub(crate) struct KeySpendings<'a> {
    pub(crate) keys: Vec<Uuid>,
    pub(crate) requests: Vec<&'a str>,
    pub(crate) answers: Vec<Option<&'a str>>,
    /// Whether the answer takes the place of the one before.
    pub(crate) replaces_answers: Vec<bool>,
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
        // The first keys of a session remove some old ones, for a service that is stopped often.
        Ok(Self { connection, last_place, keys_spent: REMOVAL_PERIOD })
    }

    /// Sends a decided batch, of at least one event.
    pub(crate) async fn append(&mut self, decided: &DecidedBatch<'_>) -> Result<BatchResult, BatchError> {
        let DecidedBatch { rows, moves, keys, .. } = decided;
        let statement = match keys {
            Some(_) => "SELECT * FROM log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            None => {
                "SELECT *, NULL::uuid[] AS taken_keys, NULL::text[] AS taken_requests, NULL::text[] AS taken_answers
                   FROM log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
            }
        };
        let mut append = sqlx::query_as(statement)
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
            .bind(self.last_place.cast_signed());
        if let Some(keys) = keys {
            append = append.bind(&keys.keys).bind(&keys.streams);
        }
        // There is only one row. But to fetch all rows waits for the end of the transaction, and to
        // fetch one does not.
        let answers: Vec<AppendAnswer> = append.fetch_all(&mut self.connection).await?;
        let Some(mut answer) = answers.into_iter().next() else {
            return Err(BatchError::Damaged { position: 0, what: "`log.append` answers nothing".to_owned() });
        };
        let position = answer.head_position.cast_unsigned();
        if answer.appended {
            self.keys_spent += keys.as_ref().map_or(0, |keys| keys.keys.len());
            return Ok(BatchResult::Appended { before: LogEnd { position, recorded_at: answer.head_recorded_at } });
        }
        if let Some(taken) = answer.keys_taken() {
            return Ok(BatchResult::KeysTaken(taken));
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

    /// Spends keys, and answers for each, in order, once that is durable.
    pub(crate) async fn spend_keys(&mut self, spendings: &KeySpendings<'_>) -> Result<Vec<KeySpending>, BatchError> {
        let statement = "SELECT is_first, spent_on, answered_with FROM log.spend_keys($1, $2, $3, $4)";
        let rows: Vec<(bool, Option<String>, Option<String>)> = sqlx::query_as(statement)
            .bind(&spendings.keys)
            .bind(&spendings.requests)
            .bind(&spendings.answers)
            .bind(&spendings.replaces_answers)
            .fetch_all(&mut self.connection)
            .await?;
        if rows.len() != spendings.keys.len() {
            let what = "`log.spend_keys` does not answer for each key".to_owned();
            return Err(BatchError::Damaged { position: 0, what });
        }
        self.keys_spent += rows.len();
        let spending = |(is_first, request, answer): (bool, Option<String>, Option<String>)| match request {
            Some(request) if !is_first => KeySpending::Before(SpentKey { request, answer }),
            _ => KeySpending::First,
        };
        Ok(rows.into_iter().map(spending).collect())
    }

    /// Removes some keys of which the time is over, where that is due: as many at a time as do not
    /// keep the next batch waiting. It stays due until none is left, or Postgres refuses.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub(crate) async fn remove_old_keys(&mut self) -> Result<(), sqlx::Error> {
        if self.keys_spent < REMOVAL_PERIOD {
            return Ok(());
        }
        let removed = sqlx::query_scalar("SELECT log.remove_old_keys()").fetch_one(&mut self.connection).await;
        match removed {
            Ok(0_i64) => self.keys_spent = 0,
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) => {
                tracing::warn!(%error, "cannot remove old idempotency keys from the event log: {error}");
                self.keys_spent = 0;
            }
            Err(error) => return Err(error),
        }
        Ok(())
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
