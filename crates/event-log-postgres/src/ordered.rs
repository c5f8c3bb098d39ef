//! Ordered append: events of many streams in a given order, for copying a log and for filling an
//! empty one.
//!
//! With the port's append, callers race for the next position. Here the caller says where each
//! batch goes: after a given position, at given revisions, with recorded times that are kept to the
//! microsecond. The writer refuses anything else, and writes a batch whole or not at all. So it
//! notices any other writer that appends meanwhile, and that writer loses nothing.
//!
//! A log copied from another store may have recorded times that run backwards from one stream to
//! the next. They are kept; events appended after them are recorded after the latest of them.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
};

use chrono::{DateTime, Utc};
use domain::moment::normalise;
use sqlx::{PgConnection, PgPool, postgres::PgConnectOptions};

use event_log::{ExpectedRevision, LogError, OrderedError, OrderedEvent};

use crate::{
    batch::{AssumedRevisions, DecidedBatch, EventRows, StreamMoves},
    error::{damage, log_error},
    schema,
    session::{BatchError, BatchResult, WriterSession},
    settings,
};

/// Appends batches of events of many streams in the order given. It has a connection of its own,
/// opened when first needed.
pub struct PostgresOrderedWriter {
    options: PgConnectOptions,
    session: Option<WriterSession>,
}

impl fmt::Debug for PostgresOrderedWriter {
    /// Leaves out the settings, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOrderedWriter").finish_non_exhaustive()
    }
}

impl PostgresOrderedWriter {
    /// A writer to the log in the database of `pool`, which must have been
    /// [migrated](crate::migrate).
    #[must_use]
    pub fn new(pool: &PgPool) -> Self {
        let options = settings(&pool.connect_options()).application_name("allocation-ledger ordered writer");
        Self { options, session: None }
    }

    /// Appends events after position `after`, where the log must end: all or none. Answers the
    /// log's new end once they are durable. Some thousand events at a time spread the cost of a
    /// commit; the head row is locked meanwhile.
    ///
    /// # Errors
    /// The log ends at another position, a stream is at another revision, a recorded time cannot be
    /// kept, or the database is out of reach.
    pub async fn append(&mut self, after: u64, events: &[OrderedEvent]) -> Result<u64, OrderedError> {
        if events.is_empty() {
            return Ok(after);
        }
        // The session is put back only on success: one that failed or was given up half-way,
        // perhaps within a transaction, must end with its connection.
        let mut session = match self.session.take() {
            Some(session) => session,
            None => WriterSession::open(&self.options).await.map_err(|error| log_error(error, after))?,
        };
        let names: Vec<String> = events.iter().map(|event| event.stream.to_string()).collect();
        let decided = rows(after, &names, events)?;
        let times = || decided.rows.recorded_at.iter().copied();
        let (earliest, last) = (times().min().unwrap_or_default(), times().max().unwrap_or_default());
        let execute = async |connection: &mut PgConnection, statement: &'static str| {
            sqlx::query(statement).execute(connection).await.map_err(|error| log_error(error, after))
        };
        loop {
            execute(&mut session.connection, "BEGIN").await?;
            let latest =
                lower_head_time(&mut session.connection, earliest).await.map_err(|error| log_error(error, after))?;
            match session.append(&decided).await.map_err(|error| batch_error(error, after))? {
                BatchResult::Appended { before } if before.position != after => {
                    return Err(OrderedError::Moved { after, head: before.position });
                }
                BatchResult::Appended { .. } => {
                    sqlx::query("UPDATE log.head SET recorded_at = greatest($1, $2)")
                        .bind(latest)
                        .bind(last)
                        .execute(&mut session.connection)
                        .await
                        .map_err(|error| log_error(error, after))?;
                    execute(&mut session.connection, "COMMIT").await?;
                    let end = after + events.len() as u64;
                    session.make_room(end).await;
                    self.session = Some(session);
                    return Ok(end);
                }
                BatchResult::Elsewhere(actual) => return Err(revision_error(&actual, &decided, after)),
                // No key is taken in a batch that names none.
                BatchResult::NoRoom | BatchResult::KeysTaken(_) => {
                    execute(&mut session.connection, "ROLLBACK").await?;
                    session.last_place =
                        schema::make_room(&mut session.connection).await.map_err(|error| log_error(error, after))?;
                }
            }
        }
    }
}

/// Locks the head row and answers the latest recorded time of the log. Where the earliest event of
/// a batch was recorded before that, this sets the head's time to the earliest until the batch is
/// in: `log.append` records no event earlier than the head's time.
async fn lower_head_time(connection: &mut PgConnection, earliest: DateTime<Utc>) -> Result<DateTime<Utc>, sqlx::Error> {
    let latest = sqlx::query_scalar("SELECT recorded_at FROM log.head FOR UPDATE").fetch_one(&mut *connection).await?;
    if earliest < latest {
        let lower = sqlx::query("UPDATE log.head SET recorded_at = $1").bind(earliest);
        lower.execute(connection).await?;
    }
    Ok(latest)
}

/// The rows of a batch that is to be appended after position `after`. The assumed revision of each
/// stream follows from its first event.
fn rows<'a>(after: u64, names: &'a [String], events: &'a [OrderedEvent]) -> Result<DecidedBatch<'a>, OrderedError> {
    let mut rows = EventRows::default();
    let mut moved: BTreeMap<&str, (Option<i64>, u64)> = BTreeMap::new();
    let mut times: BTreeMap<&str, DateTime<Utc>> = BTreeMap::new();
    for ((position, name), OrderedEvent { revision, event, .. }) in (after + 1..).zip(names).zip(events) {
        let (revision, recorded_at) = (*revision, event.recorded_at);
        let before = times.insert(name, recorded_at).unwrap_or(DateTime::UNIX_EPOCH);
        if recorded_at < before || recorded_at != normalise(recorded_at) {
            return Err(OrderedError::RecordedTime { position, recorded_at, before });
        }
        match moved.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert((revision.checked_sub(1).map(u64::cast_signed), revision));
            }
            Entry::Occupied(mut entry) if entry.get().1 + 1 == revision => entry.get_mut().1 = revision,
            Entry::Occupied(entry) => {
                let actual = ExpectedRevision::Exact(entry.get().1);
                return Err(OrderedError::Revision { stream: name.clone(), revision, actual });
            }
        }
        rows.push(name, revision, event, recorded_at);
    }
    let mut moves = StreamMoves::default();
    for (stream, (before, last)) in moved {
        moves.streams.push(stream);
        moves.before.push(before);
        moves.after.push(last.cast_signed());
    }
    Ok(DecidedBatch { verdicts: Vec::new(), rows, moves, keys: None })
}

/// Names the first stream, in the streams' order, that is at another revision than the batch
/// assumes.
fn revision_error(actual: &AssumedRevisions, decided: &DecidedBatch<'_>, after: u64) -> OrderedError {
    let first = decided.moves.streams.iter().zip(&decided.moves.before).find_map(|(&stream, before)| {
        let revision = before.map_or(0, |before| before.cast_unsigned() + 1);
        actual.get(stream).map(|&actual| OrderedError::Revision { stream: stream.to_owned(), revision, actual })
    });
    first.unwrap_or_else(|| {
        let what = "`log.append` names a stream that the batch does not move".to_owned();
        LogError::Damaged { position: after, what }.into()
    })
}

fn batch_error(error: BatchError, after: u64) -> LogError {
    match error {
        BatchError::Postgres(error) => match damage(&error) {
            Some(what) => LogError::Damaged { position: after, what },
            None => LogError::Unavailable(Box::new(error)),
        },
        BatchError::Damaged { position, what } => LogError::Damaged { position, what },
        BatchError::Overdue => LogError::Unavailable("Postgres does not answer".into()),
    }
}
