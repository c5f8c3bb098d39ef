//! The writer: the one task of this process that appends.
//!
//! It takes what waits in its queue, at once and without a timer, and appends it in one transaction; what arrives
//! meanwhile is the next batch. A batch takes four round trips:
//!
//! 1. `BEGIN`, and the lock on the head row, behind which the writers of all processes queue;
//! 2. the revisions of the batch's streams, in a statement of its own so that its snapshot is taken after the lock;
//! 3. the events, the streams' new revisions, the new head and the wake-up of followers, in one statement;
//! 4. `COMMIT`, which returns when the batch is durable. Only then is anybody answered.
//!
//! An append that lost may stand in the log already, from an earlier try; that is looked up after the commit, off the
//! head row's lock.
//!
//! Where the connection breaks, nobody knows whether the commit happened. The writer connects again and sends the same
//! batch once more: what stands is found to stand. Failing that too, callers are told that the store is out of reach.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use uuid::Uuid;

use crate::{AppendError, Appended, ExpectedRevision, LogError};

use super::{
    batch::{self, Append, Head, Verdict},
    error,
    follow::{CHANNEL, Wakeups},
    schema,
};

/// A batch is closed when it has this many events. Beyond some hundred a commit's cost is spread thin already, and
/// whoever waits behind a batch waits for all of it.
const BATCH_EVENTS_MAX: usize = 500;

/// How long a batch may take, the wait for other processes' batches included, before its connection is given up.
const BATCH_TIME_MAX: Duration = Duration::from_secs(30);

/// Tries of one batch, each on a new connection after the first.
const BATCH_TRIES_MAX: usize = 2;

/// An append and who waits for its answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) append: Append,
    pub(super) answer: oneshot::Sender<Result<Appended, AppendError>>,
}

/// Appends what arrives until nobody can send any more.
pub(super) async fn run(options: PgConnectOptions, mut requests: mpsc::Receiver<Request>, wakeups: Arc<Wakeups>) {
    let mut writer = Writer { options, session: None, wakeups };
    while let Some(first) = requests.recv().await {
        // Lets the callers just answered send what they have next, so that it travels in this batch: for as long as
        // making way brings more, and no longer.
        let mut waiting = 0;
        loop {
            tokio::task::yield_now().await;
            if requests.len() == waiting || requests.len() >= BATCH_EVENTS_MAX {
                break;
            }
            waiting = requests.len();
        }
        let mut event_count = first.append.events.len();
        let mut batch = vec![first];
        while event_count < BATCH_EVENTS_MAX
            && let Ok(request) = requests.try_recv()
        {
            event_count += request.append.events.len();
            batch.push(request);
        }
        writer.append_batch(batch).await;
    }
}

/// Why a batch failed.
#[derive(Debug)]
enum BatchError {
    /// Postgres, or the way to it.
    Postgres(Arc<sqlx::Error>),
    /// The batch took longer than [`BATCH_TIME_MAX`].
    Overdue,
    /// The log contradicts itself.
    Damaged { position: u64, what: String },
}

impl From<sqlx::Error> for BatchError {
    fn from(error: sqlx::Error) -> Self {
        Self::Postgres(Arc::new(error))
    }
}

/// An append that did not win, with its place in the batch and where its stream was.
struct Loser {
    request: Request,
    actual: ExpectedRevision,
}

/// A connection, and how far it may append before a partition must be made.
struct Session {
    connection: PgConnection,
    last_place: u64,
}

struct Writer {
    options: PgConnectOptions,
    session: Option<Session>,
    wakeups: Arc<Wakeups>,
}

impl Writer {
    /// Appends a batch and answers everybody in it.
    async fn append_batch(&mut self, batch: Vec<Request>) {
        let mut tries = 0;
        let error = loop {
            tries += 1;
            let error = match timeout(BATCH_TIME_MAX, self.commit(&batch)).await {
                Ok(Ok((verdicts, head))) => {
                    self.wakeups.wake(head.position);
                    return self.answer(batch, verdicts).await;
                }
                Ok(Err(error)) => error,
                Err(_) => BatchError::Overdue,
            };
            // Whatever the session was in the middle of ends with its connection.
            self.session = None;
            let hopeless = match &error {
                BatchError::Postgres(error) => error::damage(error).is_some(),
                BatchError::Overdue | BatchError::Damaged { .. } => true,
            };
            if hopeless || tries == BATCH_TRIES_MAX {
                break error;
            }
        };
        let answers = batch.into_iter().map(|request| request.answer);
        fail(&error, answers);
    }

    /// Commits what can be committed of a batch. One verdict for each append.
    async fn commit(&mut self, batch: &[Request]) -> Result<(Vec<Verdict>, Head), BatchError> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::open(&self.options).await?),
        };
        let event_count = batch.iter().map(|request| request.append.events.len() as u64).sum::<u64>();
        let head = session.lock_head().await?;
        if head.position + event_count > session.last_place {
            // Another process filled the partitions that this one knows of. Rare, so the transaction is begun again.
            session.execute("ROLLBACK").await?;
            session.last_place = schema::make_partitions(&mut session.connection, head.position).await?;
            return Box::pin(self.commit(batch)).await;
        }
        let revisions = session.read_revisions(batch).await?;
        let decided = batch::decide(head, &revisions, batch.iter().map(|request| &request.append));
        if decided.rows.positions.is_empty() {
            session.execute("ROLLBACK").await?;
            return Ok((decided.verdicts, head));
        }
        session.write(head, &decided).await?;
        session.execute("COMMIT").await?;
        if schema::partition_is_due(decided.head.position, session.last_place) {
            match schema::make_partitions(&mut session.connection, decided.head.position).await {
                Ok(last_place) => session.last_place = last_place,
                // The batch is committed; there is room left, and the next batch tries again.
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        position = decided.head.position,
                        "cannot make the next partition of the event log"
                    );
                    self.session = None;
                }
            }
        }
        Ok((decided.verdicts, decided.head))
    }

    /// Answers a committed batch: first those that won, then those that must be looked up.
    async fn answer(&mut self, batch: Vec<Request>, verdicts: Vec<Verdict>) {
        let mut candidates = Vec::new();
        for (request, verdict) in batch.into_iter().zip(verdicts) {
            match verdict {
                // A caller that has stopped waiting will ask again with the same event ids, or never.
                Verdict::Won(appended) => drop(request.answer.send(Ok(appended))),
                Verdict::Lost { actual } if request.append.may_be_repeated(actual) => {
                    candidates.push(Loser { request, actual });
                }
                Verdict::Lost { actual } => Loser { request, actual }.turn_away(),
            }
        }
        if candidates.is_empty() {
            return;
        }
        match timeout(BATCH_TIME_MAX, self.read_repeats(&candidates)).await {
            Ok(Ok(repeats)) => {
                for (candidate, repeat) in candidates.into_iter().zip(repeats) {
                    match repeat {
                        Some(appended) => drop(candidate.request.answer.send(Ok(appended))),
                        None => candidate.turn_away(),
                    }
                }
            }
            failed => {
                self.session = None;
                let error = match failed {
                    Ok(Err(error)) => error,
                    _ => BatchError::Overdue,
                };
                fail(&error, candidates.into_iter().map(|candidate| candidate.request.answer));
            }
        }
    }

    /// The first answers to those appends whose events stand in the log at the revisions that they were to have.
    async fn read_repeats(&mut self, candidates: &[Loser]) -> Result<Vec<Option<Appended>>, BatchError> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::open(&self.options).await?),
        };
        let appends = || candidates.iter().map(|candidate| &candidate.request.append);
        let streams: Vec<&str> = appends().map(|append| append.stream_name.as_str()).collect();
        let first: Vec<i64> = appends().map(|append| append.expected.next().cast_signed()).collect();
        let count: Vec<i64> = appends().map(|append| append.events.len() as i64).collect();
        let rows: Vec<(i64, i64, Uuid, DateTime<Utc>)> = sqlx::query_as(
            "SELECT asked.place, event.position, event.event_id, event.recorded_at
               FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS asked (stream, first, count, place)
              CROSS JOIN LATERAL (SELECT position, event_id, recorded_at
                                    FROM log.event
                                   WHERE stream = asked.stream
                                     AND revision >= asked.first
                                     AND revision < asked.first + asked.count
                                   ORDER BY revision) AS event
              ORDER BY asked.place, event.position",
        )
        .bind(&streams)
        .bind(&first)
        .bind(&count)
        .fetch_all(&mut session.connection)
        .await?;
        let mut rows = rows.into_iter().peekable();
        let mut repeats = Vec::with_capacity(candidates.len());
        for (place, append) in (1..).zip(appends()) {
            let mut same = true;
            let mut events = Vec::with_capacity(append.events.len());
            while let Some((_, position, id, at)) = rows.next_if(|row| row.0 == place) {
                same &= append.events.get(events.len()).is_some_and(|event| event.event_id.0 == id);
                events.push((position.cast_unsigned(), at));
            }
            if events.len() != append.events.len() {
                return Err(BatchError::Damaged {
                    position: 0,
                    what: format!(
                        "`log.stream` says that {} has revisions {} to {}, but `log.event` has {} of them",
                        append.stream_name,
                        append.expected.next(),
                        append.expected.next() + append.events.len() as u64 - 1,
                        events.len()
                    ),
                });
            }
            repeats.push(same.then(|| Appended {
                revision: append.expected.next() + append.events.len() as u64 - 1,
                position: events.last().map_or(0, |last| last.0),
                events,
                repeated: true,
            }));
        }
        Ok(repeats)
    }
}

impl Loser {
    fn turn_away(self) {
        let Append { stream, expected, .. } = self.request.append;
        let conflict = AppendError::Conflict { stream, expected, actual: self.actual };
        drop(self.request.answer.send(Err(conflict)));
    }
}

/// Tells everybody that their append failed.
fn fail(error: &BatchError, answers: impl Iterator<Item = oneshot::Sender<Result<Appended, AppendError>>>) {
    match error {
        BatchError::Postgres(error) => {
            tracing::warn!(error = error as &dyn std::error::Error, "cannot append to the event log");
        }
        BatchError::Overdue => tracing::warn!("cannot append to the event log: Postgres does not answer"),
        BatchError::Damaged { position, what } => tracing::error!(position, "the event log is damaged: {what}"),
    }
    for answer in answers {
        let error = match error {
            BatchError::Postgres(error) => match error::damage(error) {
                Some(what) => LogError::Damaged { position: 0, what },
                None => LogError::Unavailable(Box::new(Arc::clone(error))),
            },
            BatchError::Overdue => {
                LogError::Unavailable(format!("Postgres did not answer within {} s", BATCH_TIME_MAX.as_secs()).into())
            }
            BatchError::Damaged { position, what } => LogError::Damaged { position: *position, what: what.clone() },
        };
        drop(answer.send(Err(error.into())));
    }
}

impl Session {
    async fn open(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let mut connection = PgConnection::connect_with(options).await?;
        // An acknowledged event must be on disk, whatever the database or the role is set to. `remote_apply` promises
        // more than `on` and is left alone.
        sqlx::query(
            "SELECT set_config('synchronous_commit', 'on', false)
              WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')",
        )
        .execute(&mut connection)
        .await?;
        let head: i64 = sqlx::query_scalar("SELECT position FROM log.head").fetch_one(&mut connection).await?;
        let last_place = schema::make_partitions(&mut connection, head.cast_unsigned()).await?;
        Ok(Self { connection, last_place })
    }

    async fn execute(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statement).execute(&mut self.connection).await.map(drop)
    }

    /// Begins the transaction and waits for the head row. `READ COMMITTED`, whatever the database's default is: each
    /// later statement must see what was committed before the lock was granted.
    async fn lock_head(&mut self) -> Result<Head, BatchError> {
        let row = sqlx::raw_sql(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
             SELECT position, recorded_at FROM log.head FOR UPDATE",
        )
        .fetch_optional(&mut self.connection)
        .await?;
        let Some(row) = row else {
            return Err(BatchError::Damaged { position: 0, what: "`log.head` has no row".to_owned() });
        };
        let position: i64 = sqlx::Row::try_get(&row, "position")?;
        let recorded_at = sqlx::Row::try_get(&row, "recorded_at")?;
        Ok(Head { position: position.cast_unsigned(), recorded_at })
    }

    /// The last revisions of the batch's streams, of those that exist.
    async fn read_revisions(&mut self, batch: &[Request]) -> Result<HashMap<String, u64>, sqlx::Error> {
        let mut streams: Vec<&str> = batch.iter().map(|request| request.append.stream_name.as_str()).collect();
        streams.sort_unstable();
        streams.dedup();
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT stream, revision FROM log.stream WHERE stream = ANY ($1)")
                .bind(&streams)
                .fetch_all(&mut self.connection)
                .await?;
        Ok(rows.into_iter().map(|(stream, revision)| (stream, revision.cast_unsigned())).collect())
    }

    /// Writes a decided batch. Rows of streams and of the head are behind the head row's lock; the conditions on what
    /// they were before are a second guard.
    async fn write(&mut self, before: Head, decided: &batch::Decided<'_>) -> Result<(), BatchError> {
        let rows = &decided.rows;
        let (streams, revisions): (Vec<&str>, Vec<i64>) =
            decided.moved.iter().map(|&(stream, revision)| (stream, revision.cast_signed())).unzip();
        let moved = sqlx::query(
            "WITH appended AS (
                 INSERT INTO log.event (position, stream, revision, event_id, type, recorded_at, metadata, data)
                 SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::timestamptz[],
                                      $7::bytea[], $8::bytea[])
             ), moved AS (
                 INSERT INTO log.stream AS known (stream, revision)
                 SELECT * FROM unnest($9::text[], $10::bigint[])
                     ON CONFLICT ON CONSTRAINT stream_pkey DO UPDATE SET revision = excluded.revision
                  WHERE known.revision < excluded.revision
             )
             UPDATE log.head SET position = $11, recorded_at = $12 WHERE position = $13
             RETURNING pg_notify($14, $11::text)",
        )
        .bind(&rows.positions)
        .bind(&rows.streams)
        .bind(&rows.revisions)
        .bind(&rows.event_ids)
        .bind(&rows.types)
        .bind(&rows.recorded_at)
        .bind(&rows.metadata)
        .bind(&rows.data)
        .bind(&streams)
        .bind(&revisions)
        .bind(decided.head.position.cast_signed())
        .bind(decided.head.recorded_at)
        .bind(before.position.cast_signed())
        .bind(CHANNEL)
        .execute(&mut self.connection)
        .await?
        .rows_affected();
        if moved == 1 {
            return Ok(());
        }
        Err(BatchError::Damaged {
            position: before.position,
            what: format!("{moved} rows of `log.head` moved, where one is locked"),
        })
    }
}
