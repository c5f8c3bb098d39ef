//! The writer: the one task of this process that appends.
//!
//! The writer takes all appends that wait in its queue, at once and without a timer, and appends
//! them in one transaction. Appends that arrive meanwhile make the next batch. A batch is one
//! statement, `log.append`, and one round trip:
//!
//! 1. It locks the head row. The writers of all processes queue for this lock.
//! 2. It reads the revisions of the batch's streams, in a statement of its own, so that its
//!    snapshot is taken after the lock.
//! 3. Where every stream is at the revision that the batch assumes, and no key in it was spent on
//!    something else, it spends the keys, inserts the events, moves the streams and the head, and
//!    notifies the followers. Otherwise it answers the actual revisions, or the keys that are
//!    taken, and writes nothing; the writer decides the batch again and sends it again.
//! 4. It commits, and answers when the batch is durable. Only then does the writer answer the
//!    callers.
//!
//! So no process holds the head row's lock while it waits for another process: one that is stopped
//! or cut off delays no other.
//!
//! The events of an append that lost may be in the log already, from an earlier try (idempotent
//! append). The writer looks that up after the commit.
//!
//! Where the connection breaks, it is unknown whether the commit happened. The writer connects
//! again and sends the same batch once more; events that are in the log are then found as repeats.
//! If that fails too, the callers learn that the store is out of reach.
//!
//! Keys that are spent on requests which record nothing wait in the same queue. `log.spend_keys`
//! takes the head row's lock first, as an append does.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use uuid::Uuid;

use event_log::{AppendError, AppendReceipt, ExpectedRevision, KeySpending, LogError, SpentKey};

use crate::{
    batch::{self, Append, AppendVerdict, Assumptions, DecidedBatch, LogEnd},
    error,
    follow::PostgresWakeups,
    schema,
    session::{BatchError, BatchResult, KeySpendings, WriterSession},
};

/// A batch is closed when it has this many events. Beyond some hundred events the cost of a commit
/// is spread thin already, and every append waits for the whole batch before its own.
const BATCH_EVENTS_MAX: usize = 500;

/// How long a batch may take before its connection is given up, including the wait for the batches
/// of other processes.
const BATCH_TIME_MAX: Duration = Duration::from_secs(30);

/// Tries of one batch, each on a new connection after the first.
const BATCH_TRIES_MAX: usize = 2;

/// An append, and the caller that waits for its answer.
#[derive(Debug)]
pub(crate) struct AppendRequest {
    pub(crate) append: Append,
    pub(crate) answer: oneshot::Sender<Result<AppendReceipt, AppendError>>,
}

/// A key to be spent on a request that records nothing itself, and the caller that waits for its
/// answer.
#[derive(Debug)]
pub(crate) struct SpendRequest {
    pub(crate) key: Uuid,
    pub(crate) spent: SpentKey,
    /// Whether the answer takes the place of the one before.
    pub(crate) replaces_answer: bool,
    pub(crate) answer: oneshot::Sender<Result<KeySpending, LogError>>,
}

/// A request to the writer.
#[derive(Debug)]
pub(crate) enum WriterRequest {
    Append(AppendRequest),
    Spend(SpendRequest),
}

/// The requests that are answered together.
#[derive(Default)]
struct RequestBatch {
    event_count: usize,
    appends: Vec<AppendRequest>,
    spends: Vec<SpendRequest>,
}

impl RequestBatch {
    fn push(&mut self, request: WriterRequest) {
        match request {
            WriterRequest::Append(request) => {
                self.event_count += request.append.events.len();
                self.appends.push(request);
            }
            WriterRequest::Spend(request) => {
                self.event_count += 1;
                self.spends.push(request);
            }
        }
    }
}

/// Answers all requests that arrive, until all senders are gone.
pub(crate) async fn run(
    options: PgConnectOptions,
    mut requests: mpsc::Receiver<WriterRequest>,
    wakeups: Arc<PostgresWakeups>,
) {
    let mut writer = BatchWriter { options, session: None, wakeups };
    while let Some(first) = requests.recv().await {
        // The callers that were just answered may send their next appends, which then travel in
        // this batch. The writer yields for as long as that brings more, and no longer.
        let mut waiting = 0;
        loop {
            tokio::task::yield_now().await;
            if requests.len() == waiting || requests.len() >= BATCH_EVENTS_MAX {
                break;
            }
            waiting = requests.len();
        }
        let mut batch = RequestBatch::default();
        batch.push(first);
        while batch.event_count < BATCH_EVENTS_MAX
            && let Ok(request) = requests.try_recv()
        {
            batch.push(request);
        }
        if !batch.appends.is_empty() {
            writer.append_batch(batch.appends).await;
        }
        if !batch.spends.is_empty() {
            writer.spend_batch(batch.spends).await;
        }
        writer.remove_old_keys().await;
    }
}

/// The outcome of an append.
enum AppendOutcome {
    /// It is durable.
    Appended(AppendReceipt),
    /// The stream is at another revision.
    Lost { actual: ExpectedRevision },
    /// The key was spent on something else.
    KeyTaken { spent: SpentKey },
}

/// The outcomes of a batch that was appended at what was the log's end.
fn outcomes(decided: DecidedBatch<'_>, before: LogEnd) -> Vec<AppendOutcome> {
    let DecidedBatch { verdicts, rows, .. } = decided;
    let outcome = |verdict| match verdict {
        AppendVerdict::Won(range) => AppendOutcome::Appended(rows.receipt(range, before)),
        AppendVerdict::Lost { actual } => AppendOutcome::Lost { actual },
        AppendVerdict::KeyTaken { spent } => AppendOutcome::KeyTaken { spent },
    };
    verdicts.into_iter().map(outcome).collect()
}

/// An append that did not win, and the actual revision of its stream.
struct LostAppend {
    request: AppendRequest,
    actual: ExpectedRevision,
}

struct BatchWriter {
    options: PgConnectOptions,
    session: Option<WriterSession>,
    wakeups: Arc<PostgresWakeups>,
}

impl BatchWriter {
    /// Appends a batch and answers all of its callers.
    async fn append_batch(&mut self, batch: Vec<AppendRequest>) {
        let mut tries = 0;
        let error = loop {
            tries += 1;
            match timeout(BATCH_TIME_MAX, self.commit(&batch)).await.unwrap_or(Err(BatchError::Overdue)) {
                Ok(outcomes) => return self.answer(batch, outcomes).await,
                Err(error) if self.is_last_try(&error, tries) => break error,
                Err(_) => {}
            }
        };
        fail(&error, batch.into_iter().map(|request| request.answer));
    }

    /// Spends keys and answers all of their callers. After a lost answer the same is sent again: a
    /// key that it has spent by then is answered as spent before, on the same request.
    async fn spend_batch(&mut self, batch: Vec<SpendRequest>) {
        let mut spendings = KeySpendings::default();
        for request in &batch {
            spendings.keys.push(request.key);
            spendings.requests.push(&request.spent.request);
            spendings.answers.push(request.spent.answer.as_deref());
            spendings.replaces_answers.push(request.replaces_answer);
        }
        let mut tries = 0;
        let result = loop {
            tries += 1;
            match timeout(BATCH_TIME_MAX, self.spend(&spendings)).await.unwrap_or(Err(BatchError::Overdue)) {
                Ok(spent) => break Ok(spent),
                Err(error) if self.is_last_try(&error, tries) => break Err(error),
                Err(_) => {}
            }
        };
        match result {
            Ok(spent) => {
                for (request, spent) in batch.into_iter().zip(spent) {
                    let _ = request.answer.send(Ok(spent));
                }
            }
            Err(error) => fail(&error, batch.into_iter().map(|request| request.answer)),
        }
    }

    /// Gives the connection up after a failure: a transaction that was under way ends with it.
    /// Answers whether another try is of no use.
    fn is_last_try(&mut self, error: &BatchError, tries: usize) -> bool {
        self.session = None;
        let is_hopeless = match error {
            BatchError::Postgres(error) => error::damage(error).is_some(),
            BatchError::Overdue | BatchError::Damaged { .. } => true,
        };
        is_hopeless || tries == BATCH_TRIES_MAX
    }

    async fn spend(&mut self, spendings: &KeySpendings<'_>) -> Result<Vec<KeySpending>, BatchError> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(WriterSession::open(&self.options).await?),
        };
        session.spend_keys(spendings).await
    }

    /// Removes old keys between two batches, where that is due. After a failure they are left for
    /// the next time.
    async fn remove_old_keys(&mut self) {
        let Some(session) = &mut self.session else { return };
        let removed = timeout(BATCH_TIME_MAX, session.remove_old_keys()).await;
        if !matches!(removed, Ok(Ok(()))) {
            tracing::warn!("cannot remove old idempotency keys from the event log");
            self.session = None;
        }
    }

    /// Commits the appends of a batch that can be committed. Answers one outcome for each append.
    async fn commit(&mut self, batch: &[AppendRequest]) -> Result<Vec<AppendOutcome>, BatchError> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(WriterSession::open(&self.options).await?),
        };
        let appends = || batch.iter().map(|request| &request.append);
        let mut assumed = Assumptions { revisions: batch::assume_revisions(appends()), ..Assumptions::default() };
        loop {
            let decided = batch::decide(&assumed, appends());
            // No append can succeed.
            if decided.rows.streams.is_empty() {
                return Ok(outcomes(decided, LogEnd::default()));
            }
            match session.append(&decided).await? {
                BatchResult::Appended { before } => {
                    let end = before.position + decided.rows.streams.len() as u64;
                    self.wakeups.wake(end);
                    session.make_room(end).await;
                    return Ok(outcomes(decided, before));
                }
                BatchResult::Elsewhere(streams) => assumed.revisions.extend(streams),
                BatchResult::KeysTaken(keys) => assumed.spent_keys.extend(keys),
                // Other processes have filled the partitions that this one knew.
                BatchResult::NoRoom => session.last_place = schema::make_room(&mut session.connection).await?,
            }
        }
    }

    /// Answers a committed batch: first the appends that won, then those that must be looked up.
    async fn answer(&mut self, batch: Vec<AppendRequest>, outcomes: Vec<AppendOutcome>) {
        let mut candidates = Vec::new();
        for (request, outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                // A caller that has stopped waiting will send the same event ids again, or never.
                AppendOutcome::Appended(appended) => {
                    let _ = request.answer.send(Ok(appended));
                }
                AppendOutcome::Lost { actual } if request.append.may_be_repeated(actual) => {
                    candidates.push(LostAppend { request, actual });
                }
                AppendOutcome::Lost { actual } => LostAppend { request, actual }.turn_away(),
                AppendOutcome::KeyTaken { spent } => {
                    let _ = request.answer.send(Err(AppendError::KeyTaken { spent }));
                }
            }
        }
        if candidates.is_empty() {
            return;
        }
        match timeout(BATCH_TIME_MAX, self.read_repeats(&candidates)).await {
            Ok(Ok(repeats)) => {
                for (candidate, repeat) in candidates.into_iter().zip(repeats) {
                    match repeat {
                        Some(appended) => {
                            let _ = candidate.request.answer.send(Ok(appended));
                        }
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

    /// Looks up the first answers to those appends whose events are in the log at the revisions
    /// that they were to have.
    async fn read_repeats(&mut self, candidates: &[LostAppend]) -> Result<Vec<Option<AppendReceipt>>, BatchError> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(WriterSession::open(&self.options).await?),
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
            repeats.push(same.then(|| AppendReceipt {
                revision: append.expected.next() + append.events.len() as u64 - 1,
                position: events.last().map_or(0, |last| last.0),
                events,
                repeated: true,
            }));
        }
        Ok(repeats)
    }
}

impl LostAppend {
    fn turn_away(self) {
        let Append { stream, expected, .. } = self.request.append;
        let conflict = AppendError::Conflict { stream, expected, actual: self.actual };
        let _ = self.request.answer.send(Err(conflict));
    }
}

/// Tells all callers that their request failed.
fn fail<T, E: From<LogError>>(error: &BatchError, answers: impl Iterator<Item = oneshot::Sender<Result<T, E>>>) {
    match error {
        BatchError::Postgres(error) => {
            tracing::warn!(error = error as &dyn std::error::Error, "cannot write to the event log");
        }
        BatchError::Overdue => tracing::warn!("cannot write to the event log: Postgres does not answer"),
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
        let _ = answer.send(Err(error.into()));
    }
}
