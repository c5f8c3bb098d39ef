//! The event log in Postgres, schema `log`.
//!
//! | module | what it holds |
//! |---|---|
//! | `schema` | migrations and partitions |
//! | `batch` | which appends of a batch succeed, and the rows that they make; no IO |
//! | `session` | one connection of a writer, and `log.append` on it |
//! | `writer` | the one task of this process that appends, one transaction a batch |
//! | `ordered` | appending events of many streams in a given order, recorded times kept |
//! | `keys` | idempotency keys: spent in the transaction of the events, or by the writer |
//! | `read` | all statements that read events |
//! | `answer_timeout` | the time limit of readers' statements |
//! | `copy_pages` | reading thousands of events at a time |
//! | `instants` | finding the position at an instant |
//! | `follow` | followers, and how they are woken |
//! | `snapshots` | snapshots, one row each |
//! | `error` | which errors of Postgres are outages and which are damage |
//!
//! The store keeps the promises of the port, and one more: positions are dense (1, 2, 3 …) and
//! given in commit order, because a writer holds the lock of the head row until it commits. A
//! reader therefore counts, and a gap is damage. Any number of processes may append to one log.
//!
//! The store has connections of its own: one to append, one to be woken, and a pool to read. Each
//! is opened when first needed.
//!
//! The migrations are frozen: they are checked byte for byte at each start, so a change goes into a
//! new one.

mod answer_timeout;
mod batch;
mod copy_pages;
mod error;
mod follow;
mod instants;
mod keys;
mod ordered;
mod read;
mod schema;
mod session;
mod snapshots;
mod writer;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Stream, identifier::CommandId};
use futures::stream::BoxStream;
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::sync::{mpsc, oneshot};

use event_log::{
    APPEND_EVENTS_MAX, AppendError, AppendReceipt, EventLog, ExpectedRevision, FollowerItem, KeySpending, LogError,
    NewEvent, RecordedEvent, Snapshot, SpentKey,
};

use self::{
    copy_pages::BulkReader,
    follow::PostgresWakeups,
    writer::{AppendRequest, WriterRequest},
};

pub use self::ordered::PostgresOrderedWriter;
pub use self::schema::{PARTITION_EVENTS, grant_roles, migrate};

/// Most appends that wait for the writer. Further callers wait until there is room.
const QUEUE_APPENDS_MAX: usize = 4_096;

/// The highest revision that an append may make, well within the range of its column. An append
/// that expects a stream to be beyond it gets a conflict without reaching the writer.
const REVISION_MAX: u64 = u32::MAX as u64;

/// How long Postgres lets a session of this store hold a transaction open while idle. No session
/// does that today; a transaction that a later change forgets would keep old versions of the head
/// row alive.
const IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(5);

/// An event log in Postgres. A handle: clones share the connections. Needs a Tokio runtime.
#[derive(Clone)]
pub struct PostgresLog {
    queue: mpsc::Sender<WriterRequest>,
    readers: PgPool,
    bulk: Arc<BulkReader>,
    wakeups: Arc<PostgresWakeups>,
}

impl PostgresLog {
    /// The log in the database of `pool`, which must have been [migrated](migrate). The log opens
    /// connections of its own with the pool's settings, and does not use those of the pool.
    ///
    /// # Errors
    /// The database is out of reach or holds no log.
    pub async fn connect(pool: &PgPool) -> Result<Self, LogError> {
        let log = Self::lazy(pool);
        read::head(&log.readers).await?;
        Ok(log)
    }

    /// [`PostgresLog::connect`] without the check that there is a log, for a service that may start
    /// before it. Until the database and its log exist, every call fails with
    /// [`LogError::Unavailable`].
    #[must_use]
    pub fn lazy(pool: &PgPool) -> Self {
        let options = settings(&pool.connect_options());
        let readers = pool
            .options()
            .clone()
            .min_connections(0)
            .connect_lazy_with(options.clone().application_name("allocation-ledger log reader"));
        let wakeups =
            Arc::new(PostgresWakeups::new(options.clone().application_name("allocation-ledger log listener")));
        let (queue, requests) = mpsc::channel(QUEUE_APPENDS_MAX);
        let options = options.application_name("allocation-ledger log writer");
        tokio::spawn(writer::run(options, requests, Arc::clone(&wakeups)));
        let bulk = Arc::new(BulkReader::new(readers.clone()));
        Self { queue, readers, bulk, wakeups }
    }

    async fn append_events(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
        key: Option<CommandId>,
    ) -> Result<AppendReceipt, AppendError> {
        if events.is_empty() || events.len() > APPEND_EVENTS_MAX {
            return Err(AppendError::Count { stream: stream.clone(), count: events.len() });
        }
        if expected.next() > REVISION_MAX {
            let actual = read::revision(&self.readers, stream).await?;
            return Err(AppendError::Conflict { stream: stream.clone(), expected, actual });
        }
        let (answer, answered) = oneshot::channel();
        let append = batch::Append::new(stream.clone(), expected, events, key.map(|key| key.0));
        self.send(WriterRequest::Append(AppendRequest { append, answer })).await?;
        answered.await.map_err(|_| writer_has_ended())?
    }

    async fn send(&self, request: WriterRequest) -> Result<(), LogError> {
        self.queue.send(request).await.map_err(|_| writer_has_ended())
    }

    /// The pool of connections for reading, for metrics.
    #[must_use]
    pub fn readers(&self) -> &PgPool {
        &self.readers
    }
}

fn writer_has_ended() -> LogError {
    LogError::Unavailable("the writer of the event log has ended".into())
}

impl fmt::Debug for PostgresLog {
    /// Leaves out the settings, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLog").finish_non_exhaustive()
    }
}

/// The settings of every connection to the log.
fn settings(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().options([
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MAX.as_millis().to_string().as_str()),
        // Every statement on the log looks rows up by key. A plan made while a table was almost
        // empty would scan it, and would go on scanning until the statistics catch up with a log
        // that grows by millions.
        ("enable_seqscan", "off"),
        // All statements have one shape and one good plan, and planning takes longer than running.
        // The scan of the head row cannot be avoided, and the planner now gives it so high a cost
        // that it would be compiled first (`jit`).
        ("plan_cache_mode", "force_generic_plan"),
        ("jit", "off"),
        // For the same reason, arrays of keys are joined key by key, whatever the statistics say.
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("enable_material", "off"),
    ])
}

#[async_trait]
impl EventLog for PostgresLog {
    async fn append(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<AppendReceipt, AppendError> {
        self.append_events(stream, expected, events, None).await
    }

    async fn append_with_key(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
        key: CommandId,
    ) -> Result<AppendReceipt, AppendError> {
        self.append_events(stream, expected, events, Some(key)).await
    }

    async fn spend_key(&self, key: CommandId, spent: SpentKey, _: DateTime<Utc>) -> Result<KeySpending, LogError> {
        self.spend(key, spent, false).await
    }

    async fn replace_answer(&self, key: CommandId, spent: SpentKey) -> Result<(), LogError> {
        self.spend(key, spent, true).await.map(drop)
    }

    async fn spent_key(&self, key: CommandId) -> Result<Option<SpentKey>, LogError> {
        keys::find(&self.readers, key).await
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        from_revision: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, LogError> {
        read::stream(&self.readers, stream, from_revision, limit).await
    }

    async fn read_streams(&self, streams: &[Stream]) -> Result<Vec<Vec<RecordedEvent>>, LogError> {
        read::streams(&self.readers, streams, u64::MAX).await
    }

    async fn read_streams_to(&self, streams: &[Stream], position: u64) -> Result<Vec<Vec<RecordedEvent>>, LogError> {
        read::streams(&self.readers, streams, position).await
    }

    async fn read_all(&self, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, LogError> {
        if limit >= copy_pages::EVENTS_MIN {
            match self.bulk.page(after, limit).await {
                // The read below finds the sound events before the damage.
                Err(LogError::Damaged { .. }) => {}
                page => return Ok(page?.events),
            }
        }
        Ok(read::sound_page(&self.readers, after, limit).await?.events)
    }

    async fn head(&self) -> Result<u64, LogError> {
        read::head(&self.readers).await
    }

    async fn position_at(&self, instant: DateTime<Utc>) -> Result<u64, LogError> {
        instants::position_at(&self.readers, instant).await
    }

    fn follow_all(&self, after: u64) -> BoxStream<'static, Result<FollowerItem, LogError>> {
        follow::follow(self.readers.clone(), Arc::clone(&self.wakeups), after)
    }

    async fn load_snapshot(&self, name: &str) -> Result<Option<Snapshot>, LogError> {
        snapshots::load(&self.readers, name).await
    }

    async fn save_snapshot(&self, name: &str, snapshot: &Snapshot) -> Result<bool, LogError> {
        snapshots::save(&self.readers, name, snapshot).await
    }
}
