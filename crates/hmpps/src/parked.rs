//! Messages that wait for a person: kept in the database of the views, in a schema of their own.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Row as _, Transaction, postgres::PgRow};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::plan::ParkReason;

/// How long Postgres may take for a statement. A server that has vanished never answers.
const STATEMENT_TIME_MAX: Duration = Duration::from_secs(10);

/// The parked messages. Clones share the places of those that are being tried.
#[derive(Debug, Clone)]
pub struct ParkedMessages {
    database: PgPool,
    /// Places for claims, for half of the pool's connections: each claim holds one while further
    /// statements for the same message need another. With all held, each would wait for the rest.
    places: Arc<Semaphore>,
}

/// A message that is to wait.
#[derive(Debug, Clone)]
pub(crate) struct NewParked<'a> {
    pub(crate) id: &'a str,
    pub(crate) event_type: Option<&'a str>,
    pub(crate) reason: ParkReason,
    pub(crate) detail: &'a str,
    pub(crate) body: &'a str,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct ParkedMessage {
    /// The id that SNS gave it, or SQS where SNS gave none.
    pub id: String,
    /// The type that it names, if it can be read.
    pub event_type: Option<String>,
    /// The reason in a word: see [`ParkReason::word`].
    pub reason: String,
    /// The reason in a sentence, which may name a person.
    pub detail: String,
    /// When it was parked first.
    pub parked_at: DateTime<Utc>,
    /// How often the ledger has tried to take it in.
    pub tries: i32,
}

/// The row of a message that was parked, locked against other tries and against a dismissal until
/// this is dropped.
pub(crate) struct ParkedClaim {
    transaction: Transaction<'static, Postgres>,
    id: String,
    pub(crate) is_dismissed: bool,
    pub(crate) body: String,
    _place: Option<OwnedSemaphorePermit>,
}

impl ParkedMessages {
    /// Those in a database, by a pool of at least two connections.
    #[must_use]
    pub fn new(database: PgPool) -> Self {
        let places = database.options().get_max_connections() as usize / 2;
        Self { database, places: Arc::new(Semaphore::new(places.max(1))) }
    }

    pub(crate) fn database(&self) -> &PgPool {
        &self.database
    }

    /// Keeps a message. One that is kept already stays as it is, also one that was dismissed.
    pub(crate) async fn add(&self, parked: &NewParked<'_>) -> Result<(), sqlx::Error> {
        const SQL: &str = "INSERT INTO integration.parked_message (id, event_type, reason, detail, body)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";
        let adding = sqlx::query(SQL)
            .bind(storable(parked.id))
            .bind(parked.event_type.map(storable))
            .bind(parked.reason.word())
            .bind(storable(parked.detail))
            .bind(parked.body.as_bytes());
        within(adding.execute(&self.database)).await?;
        Ok(())
    }

    /// The messages that wait for this reason, the oldest first, after the one with this key, which
    /// need not wait any more. Without a reason those that wait for any but a deletion: what other
    /// services delete is a list of its own.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn list(
        &self,
        reason: Option<ParkReason>,
        after: Option<&(DateTime<Utc>, String)>,
        rows: i64,
    ) -> Result<Vec<ParkedMessage>, sqlx::Error> {
        const SQL: &str = "SELECT id, event_type, reason, detail, parked_at, tries FROM integration.parked_message
            WHERE dismissed_at IS NULL AND coalesce(reason = $4, reason <> 'DELETION') AND ($1::timestamptz IS NULL OR (parked_at, id) > ($1, $2))
            ORDER BY parked_at, id LIMIT $3";
        let (after_at, after_id) = after.map(|(at, id)| (*at, id.as_str())).unzip();
        let listing = sqlx::query(SQL).bind(after_at).bind(after_id).bind(rows).bind(reason.map(ParkReason::word));
        let rows = within(listing.fetch_all(&self.database)).await?;
        rows.iter().map(read).collect()
    }

    /// How many wait: those of the list without a reason, and those about deletions.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn count(&self) -> Result<(u64, u64), sqlx::Error> {
        const SQL: &str =
            "SELECT count(*) FILTER (WHERE reason <> 'DELETION'), count(*) FILTER (WHERE reason = 'DELETION')
            FROM integration.parked_message WHERE dismissed_at IS NULL";
        let counting = sqlx::query_as::<_, (i64, i64)>(SQL);
        let (messages, deletions) = within(counting.fetch_one(&self.database)).await?;
        Ok((messages.unsigned_abs(), deletions.unsigned_abs()))
    }

    /// Whether a message has a row: it waits, or was dismissed.
    pub(crate) async fn has(&self, id: &str) -> Result<bool, sqlx::Error> {
        const SQL: &str = "SELECT EXISTS (SELECT FROM integration.parked_message WHERE id = $1)";
        within(sqlx::query_scalar(SQL).bind(id).fetch_one(&self.database)).await
    }

    /// Takes the row of a message, if it has one, once nobody else has it.
    pub(crate) async fn claim(&self, id: &str) -> Result<Option<ParkedClaim>, sqlx::Error> {
        const SQL: &str = "SELECT dismissed_at IS NOT NULL, body FROM integration.parked_message
            WHERE id = $1 FOR UPDATE";
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let mut transaction = within(self.database.begin()).await?;
        let finding = sqlx::query_as::<_, (bool, Vec<u8>)>(SQL).bind(id);
        let found = within(finding.fetch_optional(&mut *transaction)).await?;
        Ok(found.map(|(is_dismissed, body)| {
            let body = String::from_utf8_lossy(&body).into_owned();
            ParkedClaim { transaction, id: id.to_owned(), is_dismissed, body, _place: place }
        }))
    }

    /// Decides that nothing is to be recorded of a message. Answers whether it waited; waits for a
    /// try that is being made.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn dismiss(&self, id: &str, by: Option<&str>) -> Result<bool, sqlx::Error> {
        const SQL: &str = "UPDATE integration.parked_message
            SET dismissed_at = now(), dismissed_by = $2, body = '', detail = ''
            WHERE id = $1 AND dismissed_at IS NULL";
        let dismissed = within(sqlx::query(SQL).bind(id).bind(by).execute(&self.database)).await?;
        Ok(dismissed.rows_affected() > 0)
    }

    /// Forgets messages that were dismissed more than 14 days ago: that is the longest time for
    /// which SQS keeps one, so they do not come again.
    pub(crate) async fn forget_dismissed(&self) -> Result<(), sqlx::Error> {
        const SQL: &str = "DELETE FROM integration.parked_message WHERE dismissed_at < now() - interval '14 days'";
        within(sqlx::query(SQL).execute(&self.database)).await?;
        Ok(())
    }

    /// Whether messages can be parked now.
    pub(crate) async fn check(&self) -> Result<(), sqlx::Error> {
        const SQL: &str = "SELECT FROM integration.parked_message LIMIT 0";
        within(sqlx::query(SQL).execute(&self.database)).await?;
        Ok(())
    }
}

impl ParkedMessage {
    /// The key of the message in the order of [`ParkedMessages::list`].
    #[must_use]
    pub fn key(&self) -> (DateTime<Utc>, String) {
        (self.parked_at, self.id.clone())
    }
}

impl ParkedClaim {
    /// Removes the row: the message was taken in.
    pub(crate) async fn remove(mut self) -> Result<(), sqlx::Error> {
        const SQL: &str = "DELETE FROM integration.parked_message WHERE id = $1";
        within(sqlx::query(SQL).bind(&self.id).execute(&mut *self.transaction)).await?;
        within(self.transaction.commit()).await
    }

    /// Notes a further try that failed.
    pub(crate) async fn note_try(mut self, reason: ParkReason, detail: &str) -> Result<(), sqlx::Error> {
        const SQL: &str = "UPDATE integration.parked_message SET reason = $2, detail = $3, tries = tries + 1
            WHERE id = $1";
        let noting = sqlx::query(SQL).bind(&self.id).bind(reason.word()).bind(storable(detail));
        within(noting.execute(&mut *self.transaction)).await?;
        within(self.transaction.commit()).await
    }
}

/// A text without the one character that Postgres does not store.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Ends a statement that Postgres does not answer.
pub(crate) async fn within<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(STATEMENT_TIME_MAX, statement).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

fn read(row: &PgRow) -> Result<ParkedMessage, sqlx::Error> {
    Ok(ParkedMessage {
        id: row.try_get("id")?,
        event_type: row.try_get("event_type")?,
        reason: row.try_get("reason")?,
        detail: row.try_get("detail")?,
        parked_at: row.try_get("parked_at")?,
        tries: row.try_get("tries")?,
    })
}
