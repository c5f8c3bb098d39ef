//! The writer: the one task of this process that appends.
//!
//! It takes what waits in its queue, at once and without a timer, and appends it in one transaction; what arrives
//! meanwhile is the next batch. A batch is one statement, `log.append`, and one round trip:
//!
//! 1. it locks the head row, behind which the writers of all processes queue;
//! 2. reads where the batch's streams are, in a statement of its own so that its snapshot is taken after the lock;
//! 3. where all are where the batch takes them to be: inserts the events, moves the streams and the head, and notifies
//!    the followers. Where one is not, says so and writes nothing; the batch is decided again and sent again;
//! 4. commits, and answers when the batch is durable. Only then is anybody answered.
//!
//! So the head row's lock is never held while a process is waited for: one that is stopped or cut off stops nobody else.
//!
//! An append that lost may stand in the log already, from an earlier try; that is looked up afterwards.
//!
//! Where the connection breaks, nobody knows whether the commit happened. The writer connects again and sends the same
//! batch once more: what stands is found to stand. Failing that too, callers are told that the store is out of reach.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use uuid::Uuid;

use event_log::{AppendError, Appended, ExpectedRevision, LogError};

use crate::{
    batch::{self, Append, Decided, Head, Taken, Verdict},
    error,
    follow::Wakeups,
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
pub(crate) struct Request {
    pub(crate) append: Append,
    pub(crate) answer: oneshot::Sender<Result<Appended, AppendError>>,
}

/// Appends what arrives until nobody can send any more.
pub(crate) async fn run(options: PgConnectOptions, mut requests: mpsc::Receiver<Request>, wakeups: Arc<Wakeups>) {
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
pub(crate) enum BatchError {
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

/// What became of an append.
enum Outcome {
    /// It is durable.
    Appended(Appended),
    /// The stream is elsewhere.
    Lost { actual: ExpectedRevision },
}

/// The outcomes of a batch that stands behind what was the log's end.
fn outcomes(decided: Decided<'_>, before: Head) -> Vec<Outcome> {
    let Decided { verdicts, rows, .. } = decided;
    let outcome = |verdict| match verdict {
        Verdict::Won(range) => Outcome::Appended(rows.appended(range, before)),
        Verdict::Lost { actual } => Outcome::Lost { actual },
    };
    verdicts.into_iter().map(outcome).collect()
}

/// What became of a decided batch.
pub(crate) enum Sent {
    /// It is durable.
    Appended {
        /// Where the log ended before it.
        before: Head,
    },
    /// Nothing was written: these streams are not where the batch takes them to be.
    Elsewhere(Taken),
    /// Nothing was written: the log has grown beyond the partitions that the session knows of.
    NoRoom,
}

/// An append that did not win, and where its stream was.
struct Loser {
    request: Request,
    actual: ExpectedRevision,
}

/// A connection, and how far it may append before a partition must be made.
pub(crate) struct Session {
    pub(crate) connection: PgConnection,
    pub(crate) last_place: u64,
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
                Ok(Ok(outcomes)) => return self.answer(batch, outcomes).await,
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

    /// Commits what can be committed of a batch. One outcome for each append.
    async fn commit(&mut self, batch: &[Request]) -> Result<Vec<Outcome>, BatchError> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::open(&self.options).await?),
        };
        let appends = || batch.iter().map(|request| &request.append);
        let mut taken = batch::take(appends());
        loop {
            let decided = batch::decide(&taken, appends());
            // Every stream was found somewhere where nobody expects it.
            if decided.rows.streams.is_empty() {
                return Ok(outcomes(decided, Head::default()));
            }
            match session.append(&decided).await? {
                Sent::Appended { before } => {
                    let end = before.position + decided.rows.streams.len() as u64;
                    self.wakeups.wake(end);
                    session.make_room(end).await;
                    return Ok(outcomes(decided, before));
                }
                Sent::Elsewhere(streams) => taken.extend(streams),
                // Other processes have filled the partitions that this one knew of.
                Sent::NoRoom => session.last_place = schema::make_room(&mut session.connection).await?,
            }
        }
    }

    /// Answers a committed batch: first those that won, then those that must be looked up.
    async fn answer(&mut self, batch: Vec<Request>, outcomes: Vec<Outcome>) {
        let mut candidates = Vec::new();
        for (request, outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                // A caller that has stopped waiting will ask again with the same event ids, or never.
                Outcome::Appended(appended) => drop(request.answer.send(Ok(appended))),
                Outcome::Lost { actual } if request.append.may_be_repeated(actual) => {
                    candidates.push(Loser { request, actual });
                }
                Outcome::Lost { actual } => Loser { request, actual }.turn_away(),
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
                        "`log.stream` says that a stream has revisions {} to {}, but `log.event` has {} of them",
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

/// What `log.append` answers.
#[derive(sqlx::FromRow)]
struct AppendAnswer {
    head_position: i64,
    head_recorded_at: DateTime<Utc>,
    appended: bool,
    elsewhere_streams: Option<Vec<String>>,
    elsewhere_revisions: Option<Vec<Option<i64>>>,
}

impl Session {
    pub(crate) async fn open(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let mut connection = PgConnection::connect_with(options).await?;
        // Whatever the database or the role is set to: an acknowledged event must be on disk (`remote_apply` promises
        // more than `on` and is left alone), and a statement after a lock must see what was committed before it.
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
    pub(crate) async fn append(&mut self, decided: &Decided<'_>) -> Result<Sent, BatchError> {
        let Decided { rows, moved, .. } = decided;
        // All rows, though there is one: that waits for the end of the transaction, where its row does not.
        let answers: Vec<AppendAnswer> =
            sqlx::query_as("SELECT * FROM log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
                .bind(&moved.streams)
                .bind(&moved.before)
                .bind(&moved.after)
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
            return Ok(Sent::Appended { before: Head { position, recorded_at: answer.head_recorded_at } });
        }
        let (Some(streams), Some(revisions)) = (answer.elsewhere_streams, answer.elsewhere_revisions) else {
            return Ok(Sent::NoRoom);
        };
        let known = |revision: Option<i64>| match revision {
            Some(revision) => ExpectedRevision::Exact(revision.cast_unsigned()),
            None => ExpectedRevision::NoStream,
        };
        Ok(Sent::Elsewhere(streams.into_iter().zip(revisions.into_iter().map(known)).collect()))
    }

    /// Makes the next partition once events go into the last one made, so that it is there long before it is needed.
    pub(crate) async fn make_room(&mut self, head: u64) {
        if !schema::partition_is_due(head, self.last_place) {
            return;
        }
        match schema::make_room(&mut self.connection).await {
            Ok(last_place) => self.last_place = last_place,
            // The batch before is committed all the same, and the next one tries again.
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                position = head,
                "cannot make the next partition of the event log"
            ),
        }
    }
}
