//! The event log on a KurrentDB server or cluster (formerly EventStoreDB).
//!
//! | module | what it holds |
//! |---|---|
//! | `client` | the calls of the server's protocol, to one node |
//! | `retries` | calls with time limits, and looking for the leader again |
//! | `event_format` | the form that events have on the server |
//! | `stream_names` | the names of streams on the server |
//! | `naming_key` | the check that this process has the ledger's naming key |
//! | `store` | what all reading and writing shares |
//! | `append` | appending, and finding the outcome of an append whose answer was lost |
//! | `ordered` | appending events of many streams in a given order, recorded times kept |
//! | `stream_reads` | reading single streams, and telling what is missing from them |
//! | `keys` | idempotency keys, in memory |
//! | `last_keys` | reading the keys at the log's end |
//! | `saved_keys` | the keys in a snapshot, for the next start |
//! | `log_reads` | single reads of the whole log |
//! | `search` | finding the ledger's next event past what others have written |
//! | `paging` | reading the whole log in pages, and telling what is missing from them |
//! | `head` | finding the log's end |
//! | `instants` | finding the place of an instant |
//! | `recorded_clock` | keeping recorded times from running backwards |
//! | `revisions` | the last revisions of streams |
//! | `time_index` | recorded times along the log |
//! | `saved_times` | the time index in a snapshot, for the next process |
//! | `gaps` | stretches of the log that hold no event of the ledger |
//! | `follow` | followers |
//! | `wakeups` | waking followers, by one subscription |
//! | `subscription` | one subscription |
//! | `snapshots` | snapshots, in streams outside the ledger's prefix |
//! | `remove` | removing what a trial wrote |
//!
//! ADRs 0012, 0015 to 0017 and 0024 to 0027 record the decisions behind this store.
//!
//! The store keeps the promises of the port. Positions are the server's commit positions, which
//! have gaps. The log shares its server with other users: it is the streams with its prefix, and
//! the store leaves all others alone.
//!
//! The server must tell the position of events that are read by stream (version 22.6 or later), and
//! the user must be allowed to read `$all`.

mod append;
mod client;
mod event_format;
mod follow;
mod gaps;
mod head;
mod instants;
mod keys;
mod last_keys;
mod log_reads;
mod naming_key;
mod ordered;
mod paging;
mod recorded_clock;
mod remove;
mod retries;
mod revisions;
mod saved_keys;
mod saved_times;
mod search;
mod snapshots;
mod store;
mod stream_names;
mod stream_reads;
mod subscription;
mod time_index;
mod wakeups;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Stream, identifier::CommandId};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream, stream::BoxStream};

use event_log::{
    AppendError, AppendReceipt, EventLog, ExpectedRevision, FollowerItem, KeySpending, LogError, NewEvent, PageNext,
    RecordedEvent, Snapshot, SpentKey,
};

use self::{
    client::ServerAddress,
    paging::PageReader,
    retries::ServerConnection,
    store::{Store, log_error},
    stream_names::StreamNames,
    wakeups::KurrentWakeups,
};

pub use self::{
    client::{InvalidUrl, LeaderAddress},
    ordered::KurrentOrderedWriter,
    remove::remove,
    stream_names::{InvalidNamingKey, InvalidPrefix, NamingKey, NamingKeyError, StreamPrefix},
};

/// Streams that are read side by side: one after the other, each would wait for a round trip.
const STREAMS_READ_AT_ONCE: usize = 64;

/// Whether a URL names a KurrentDB server.
#[must_use]
pub fn is_url(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| client::SCHEMES.contains(&scheme))
}

/// An event log on a KurrentDB server. A handle: clones share the connection. Needs a Tokio
/// runtime, which must be the same for all clones.
#[derive(Clone)]
pub struct KurrentLog {
    store: Arc<Store>,
    wakeups: Arc<KurrentWakeups>,
}

impl KurrentLog {
    /// The log on the server that a URL names, in the streams with this prefix. This does not
    /// connect: while the server is out of reach, or the ledger there has another naming key, every
    /// call answers [`LogError::Unavailable`]. Without a key, calls that read the whole log work,
    /// and no others; they do not check the names of streams.
    ///
    /// # Errors
    /// The URL names no server.
    pub fn new(url: &str, prefix: &StreamPrefix, naming_key: Option<NamingKey>) -> Result<Self, InvalidUrl> {
        let address = ServerAddress::new(url)?;
        let names = StreamNames { prefix: prefix.clone(), key: naming_key };
        let store = Arc::new(Store::new(ServerConnection::new(address), names));
        let wakeups = Arc::new(KurrentWakeups::new(Arc::clone(&store)));
        Ok(Self { store, wakeups })
    }

    /// Checks that the naming key is not another than that of the ledger.
    ///
    /// # Errors
    /// It is ([`NamingKeyError`] is then the source of the error), or the server is out of reach.
    pub fn check_naming_key(&self) -> BoxFuture<'_, Result<(), LogError>> {
        self.store.check_naming_key().boxed()
    }

    /// Whether a naming key is known to be that of the ledger.
    ///
    /// # Errors
    /// The server is out of reach.
    pub fn has_naming_key(&self) -> BoxFuture<'_, Result<bool, LogError>> {
        self.store.has_naming_key().boxed()
    }

    /// Makes the naming key that of the ledger, unless another is. The first append does so, too.
    ///
    /// # Errors
    /// As [`Self::check_naming_key`]; or the log has events whose streams another key has named.
    pub fn choose_naming_key(&self) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            self.head().await?;
            self.store.names_to_write().await.map(drop)
        }
        .boxed()
    }

    /// How another client than this store reaches the node that leads.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], where no node that leads is reached, or the user may not read
    /// `$all`.
    pub fn leader(&self) -> BoxFuture<'_, Result<LeaderAddress, LogError>> {
        async move {
            // The node that a URL names is taken at its word until it refuses a call.
            self.head().await?;
            self.store.connection.leader().await.map_err(log_error)
        }
        .boxed()
    }
}

impl fmt::Debug for KurrentLog {
    /// Leaves out the settings, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KurrentLog").field("prefix", &self.store.names.prefix).finish_non_exhaustive()
    }
}

#[async_trait]
impl EventLog for KurrentLog {
    async fn append(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<AppendReceipt, AppendError> {
        let appended = self.store.append(stream, expected, &events).await?;
        self.wakeups.announce(appended.position);
        Ok(appended)
    }

    async fn append_with_key(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
        key: CommandId,
    ) -> Result<AppendReceipt, AppendError> {
        self.store.ensure_keys().await?;
        let at = events.iter().map(|event| event.recorded_at).fold(DateTime::UNIX_EPOCH, Ord::max);
        let held = self.store.keys.hold(key, stream, at).map_err(|spent| AppendError::KeyTaken { spent })?;
        let appended = self.append(stream, expected, events).await;
        if let Err(AppendError::Conflict { .. } | AppendError::Count { .. }) = appended {
            held.release();
        }
        appended
    }

    async fn spend_key(&self, key: CommandId, spent: SpentKey, at: DateTime<Utc>) -> Result<KeySpending, LogError> {
        self.store.ensure_keys().await?;
        Ok(self.store.keys.spend(key, spent, at))
    }

    async fn replace_answer(&self, key: CommandId, spent: SpentKey) -> Result<(), LogError> {
        self.store.keys.replace_answer(key, spent);
        Ok(())
    }

    async fn spent_key(&self, key: CommandId) -> Result<Option<SpentKey>, LogError> {
        self.store.ensure_keys().await?;
        Ok(self.store.keys.find(key))
    }

    async fn learn_keys(&self) -> Result<(), LogError> {
        // A follower that begins now then extends the time index.
        self.store.restore_times().await;
        self.store.learn_keys().await
    }

    async fn save_keys(&self) -> Result<(), LogError> {
        self.store.save_times(1).await;
        self.store.save_keys().await
    }

    fn key_collisions(&self) -> u64 {
        self.store.keys.collisions()
    }

    async fn read_stream(
        &self,
        stream: &Stream,
        from_revision: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, LogError> {
        self.store.stream(stream, from_revision, limit).await
    }

    async fn read_streams(&self, streams: &[Stream]) -> Result<Vec<Vec<RecordedEvent>>, LogError> {
        stream::iter(streams.to_vec())
            .map(|stream| async move { self.store.whole_stream(&stream).await })
            .buffered(STREAMS_READ_AT_ONCE)
            .try_collect()
            .await
    }

    async fn load_streams(&self, streams: &[Stream]) -> Result<Vec<Vec<RecordedEvent>>, LogError> {
        stream::iter(streams.to_vec())
            .map(|stream| async move { self.store.whole_stream_or_new(&stream).await })
            .buffered(STREAMS_READ_AT_ONCE)
            .try_collect()
            .await
    }

    async fn read_all(&self, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, LogError> {
        let page = self.store.page(after, limit, &mut PageReader::after(after)).await?;
        match page.next {
            PageNext::Damage(error) if page.events.is_empty() => return Err(error),
            PageNext::Damage(_) | PageNext::MoreEvents => {}
            PageNext::LogEnd => self.wakeups.listen(),
        }
        Ok(page.events)
    }

    /// By a follower, which reads ahead.
    fn read_pages(&self, after: u64, up_to: u64) -> BoxStream<'_, Result<Vec<RecordedEvent>, LogError>> {
        // None once the last page has been given.
        let following = (after < up_to).then(|| self.follow_all(after));
        stream::try_unfold(following, move |following| async move {
            let Some(mut following) = following else { return Ok(None) };
            let Some(FollowerItem::Events(mut page)) = following.try_next().await? else { return Ok(None) };
            let is_last = page.last().is_some_and(|last| last.position >= up_to);
            page.truncate(page.partition_point(|event| event.position <= up_to));
            Ok((!page.is_empty()).then_some((page, (!is_last).then_some(following))))
        })
        .boxed()
    }

    async fn event_at(&self, position: u64) -> Result<Option<RecordedEvent>, LogError> {
        self.store.event_at(position).await
    }

    async fn head(&self) -> Result<u64, LogError> {
        let head = self.store.head().await?;
        self.wakeups.listen();
        Ok(head)
    }

    async fn position_at(&self, instant: DateTime<Utc>) -> Result<u64, LogError> {
        self.store.position_at(instant).await
    }

    fn follow_all(&self, after: u64) -> BoxStream<'static, Result<FollowerItem, LogError>> {
        let store = Arc::clone(&self.store);
        let mut end = after;
        let learn_keys = move |item: &FollowerItem| {
            if let FollowerItem::Events(events) = item {
                store.keys.observe(end, events, keys::now());
                end = events.last().map_or(end, |last| last.position);
            }
        };
        follow::follow(Arc::clone(&self.store), Arc::clone(&self.wakeups), after).inspect_ok(learn_keys).boxed()
    }

    async fn load_snapshot(&self, name: &str) -> Result<Option<Snapshot>, LogError> {
        self.store.load_snapshot(name).await
    }

    async fn save_snapshot(&self, name: &str, snapshot: &Snapshot) -> Result<bool, LogError> {
        self.store.save_snapshot(name, snapshot).await
    }
}
