//! The statements on the table of entries. Only this module names it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::identifier::PrisonerNumber;
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};
use tokio::time::timeout;
use uuid::Uuid;

use crate::AccessEntry;

/// The fewest days that entries are kept; `access.remove_old` has the same number.
pub const KEPT_DAYS_MIN: u32 = 30;

/// How long Postgres may be silent about an insert: somewhat longer than it works on one, since
/// nothing else tells that a connection is dead.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(12);

/// The key of an entry, by which lists are paged.
pub type AccessKey = (DateTime<Utc>, Uuid);

/// Which entries, newest first.
#[derive(Debug, Clone, Default)]
pub struct AccessQuestion {
    /// Those that show one of these numbers.
    pub prisoners: Option<Vec<PrisonerNumber>>,
    /// Those of this user; of a client that acts for itself, by its id.
    pub user: Option<String>,
    /// Those from this instant on.
    pub from: Option<DateTime<Utc>>,
    /// Those before this instant.
    pub to: Option<DateTime<Utc>>,
    /// Those older than this one.
    pub older_than: Option<AccessKey>,
    /// How many; Postgres gives 1,000 at most.
    pub rows: usize,
}

/// Entries, newest first: as many as were asked for, unless they have very many numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPage {
    /// The entries.
    pub entries: Vec<StoredAccess>,
    /// Whether there are older ones.
    pub is_more: bool,
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAccess {
    /// When it was asked; of lost reads, the first of them.
    pub at: DateTime<Utc>,
    /// With `at` the key.
    pub id: Uuid,
    /// The username.
    pub username: Option<String>,
    /// The client that the token names.
    pub client: Option<String>,
    /// Where the user signed on.
    pub auth_source: Option<String>,
    /// The template of the route, or the name of the tool.
    pub operation: String,
    /// The method of a request; absent for a tool.
    pub method: Option<String>,
    /// The status of an answer; absent for a tool.
    pub status: Option<i16>,
    /// The correlation id of a request; absent for a tool.
    pub correlation_id: Option<Uuid>,
    /// The prisoner numbers.
    pub prisoners: Vec<String>,
    /// The conditions of a question that does not name its numbers.
    pub filter: Option<String>,
    /// The events are after this position.
    pub after_position: Option<i64>,
    /// The last position of the events; absent for a stream when it begins.
    pub to_position: Option<i64>,
    /// Of an entry that counts them: reads that were not kept.
    pub reads_lost: Option<i64>,
    /// When the last of those was asked.
    pub lost_until: Option<DateTime<Utc>>,
}

impl StoredAccess {
    /// The key.
    #[must_use]
    pub fn key(&self) -> AccessKey {
        (self.at, self.id)
    }

    pub(crate) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            at: row.try_get("at")?,
            id: row.try_get("id")?,
            username: row.try_get("username")?,
            client: row.try_get("client")?,
            auth_source: row.try_get("auth_source")?,
            operation: row.try_get("operation")?,
            method: row.try_get("method")?,
            status: row.try_get("status")?,
            correlation_id: row.try_get("correlation_id")?,
            prisoners: row.try_get("prisoners")?,
            filter: row.try_get("filter")?,
            after_position: row.try_get("after_position")?,
            to_position: row.try_get("to_position")?,
            reads_lost: row.try_get("reads_lost")?,
            lost_until: row.try_get("lost_until")?,
        })
    }
}

/// Stores entries, in one statement. Those that are stored already stay as they are, so a caller
/// may try again after any error.
///
/// # Errors
/// The database is out of reach, refuses, or does not answer in time.
pub async fn insert(pool: &PgPool, entries: &[&AccessEntry]) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    match timeout(ANSWER_TIME_MAX, insert_on(&mut connection, entries)).await {
        Ok(inserted) => inserted,
        Err(_) => {
            // The pool would wait for a connection that is returned to it.
            connection.close_on_drop();
            Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
        }
    }
}

async fn insert_on(connection: &mut PgConnection, entries: &[&AccessEntry]) -> Result<(), sqlx::Error> {
    fn column<'a, T>(entries: &[&'a AccessEntry], value: impl Fn(&'a AccessEntry) -> T) -> Vec<T> {
        entries.iter().map(|entry| value(entry)).collect()
    }
    let joined =
        |entry: &AccessEntry| entry.shown.prisoners.iter().map(PrisonerNumber::as_str).collect::<Vec<_>>().join(" ");
    let bigint = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    // Without the columns of the key after ON CONFLICT: naming them takes the right to read.
    sqlx::query(
        "INSERT INTO access.entry (at, id, username, client, auth_source, operation, method, status, correlation_id,
                                   prisoners, filter, after_position, to_position, reads_lost, lost_until)
         SELECT at, id, username, client, auth_source, operation, method, status, correlation_id,
                string_to_array(prisoners, ' '), filter, after_position, to_position, reads_lost, lost_until
           FROM unnest($1::timestamptz[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                       $8::smallint[], $9::uuid[], $10::text[], $11::text[], $12::bigint[], $13::bigint[],
                       $14::bigint[], $15::timestamptz[])
             AS entry (at, id, username, client, auth_source, operation, method, status, correlation_id,
                       prisoners, filter, after_position, to_position, reads_lost, lost_until)
         ON CONFLICT DO NOTHING",
    )
    .bind(column(entries, |entry| entry.at))
    .bind(column(entries, |entry| entry.id))
    .bind(column(entries, |entry| entry.reader.username.as_deref()))
    .bind(column(entries, |entry| entry.reader.client.as_deref()))
    .bind(column(entries, |entry| entry.reader.auth_source.as_deref()))
    .bind(column(entries, |entry| entry.operation.as_ref()))
    .bind(column(entries, |entry| entry.method))
    .bind(column(entries, |entry| entry.status.map(u16::cast_signed)))
    .bind(column(entries, |entry| entry.correlation_id))
    .bind(column(entries, joined))
    .bind(column(entries, |entry| entry.shown.filter.as_deref()))
    .bind(column(entries, |entry| entry.shown.positions.map(|(after, _)| bigint(after))))
    .bind(column(entries, |entry| entry.shown.positions.and_then(|(_, to)| to).map(bigint)))
    .bind(column(entries, |entry| entry.lost.map(|lost| bigint(lost.reads))))
    .bind(column(entries, |entry| entry.lost.map(|lost| lost.last)))
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads a page of entries, newest first. It ends before it has more than 100,000 numbers, unless
/// its first entry alone has.
///
/// # Errors
/// The database is out of reach, or refuses.
pub async fn read_entries(pool: &PgPool, question: &AccessQuestion) -> Result<AccessPage, sqlx::Error> {
    let AccessQuestion { prisoners, user, from, to, older_than, rows } = question;
    let prisoners: Option<Vec<&str>> =
        prisoners.as_ref().map(|prisoners| prisoners.iter().map(PrisonerNumber::as_str).collect());
    let rows = sqlx::query("SELECT (entry).*, is_more FROM access.read($1, $2, $3, $4, $5, $6, $7)")
        .bind(prisoners)
        .bind(user)
        .bind(from)
        .bind(to)
        .bind(older_than.map(|(at, _)| at))
        .bind(older_than.map(|(_, id)| id))
        .bind(i32::try_from(*rows).unwrap_or(i32::MAX))
        .fetch_all(pool)
        .await?;
    let is_more = rows.last().map_or(Ok(false), |last| last.try_get("is_more"))?;
    Ok(AccessPage { entries: rows.iter().map(StoredAccess::read).collect::<Result<_, _>>()?, is_more })
}

/// Removes the oldest of the entries that are older than this many days, at least
/// [`KEPT_DAYS_MIN`]. Answers how many: 0 once none is left.
///
/// # Errors
/// The database is out of reach, or refuses.
pub async fn remove_old(pool: &PgPool, kept_days: u32) -> Result<u64, sqlx::Error> {
    let removed: i64 = sqlx::query_scalar("SELECT access.remove_old($1)")
        .bind(i32::try_from(kept_days).unwrap_or(i32::MAX))
        .fetch_one(pool)
        .await?;
    Ok(removed.cast_unsigned())
}
