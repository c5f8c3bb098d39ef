//! A write-through cache of streams: loaded from the log many at a time, and brought up to date on
//! demand.
//!
//! - A cached stream may be behind the log, which does no harm: an append checks the revision
//!   (optimistic concurrency), and the service refuses a command only after [`Streams::refresh`].
//! - The loader reads a stream once for all callers that wait for it.
//! - The cache is bounded in bytes; it evicts the streams used least.

mod cache;
mod loaded_stream;
mod loader;

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use domain::Stream;
use event_log::{LogError, PAGE_EVENTS_MAX, SharedLog, StoredEvent, history::StreamHistory, lock};
use tokio::{
    sync::{MutexGuard, mpsc, oneshot},
    time::timeout,
};

use crate::CommandError;

pub(crate) use self::cache::{CASES_CACHED, CONTACTS_CACHED, PRISONS_CACHED};
pub(crate) use self::loaded_stream::{LoadedStream, answer_to_repeat, answer_to_request, answer_to_spent_key};
use self::{
    cache::{CacheSize, StreamCache},
    loader::{LoadRequests, LoadResult, load_streams},
};

/// How long a command waits for other commands of this process on the same stream; far longer than
/// an append takes, far shorter than a caller's patience.
const TURN_WAIT_MAX: Duration = Duration::from_secs(5);

/// A stream in the cache, shared by all requests that use it.
#[derive(Debug)]
pub(crate) struct CachedStream<H> {
    loaded: RwLock<LoadedStream<H>>,
    /// The commands of this process on one stream take turns: all but one would lose at the append.
    /// This saves work and guards nothing; the append's check of the revision is the guard.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl<H: StreamHistory> CachedStream<H> {
    fn new(loaded: LoadedStream<H>) -> Arc<Self> {
        Arc::new(Self { loaded: RwLock::new(loaded), turn: tokio::sync::Mutex::new(()) })
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, LoadedStream<H>> {
        // After a panic of a writer the data is still a prefix of the stream.
        self.loaded.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, LoadedStream<H>> {
        self.loaded.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds events that are known to be in the log.
    pub(crate) fn observe(&self, events: &[StoredEvent]) -> Result<(), LogError> {
        let mut loaded = self.write();
        events.iter().try_for_each(|event| loaded.push(event))
    }
}

/// The streams of one kind.
pub(crate) struct Streams<H: StreamHistory> {
    log: SharedLog,
    cache: Arc<StreamCache<H>>,
    requests: Arc<Mutex<LoadRequests<H>>>,
    queue: mpsc::UnboundedSender<H::Key>,
}

impl<H: StreamHistory> Streams<H> {
    /// Caches streams of `log`. Spawns the loader, which ends when this is dropped.
    pub(crate) fn new(log: SharedLog, size: CacheSize) -> Self {
        let cache = Arc::new(StreamCache::new(size));
        let requests = Arc::default();
        // As long as there are callers waiting, and the server bounds how many it admits.
        let (queue, keys) = mpsc::unbounded_channel();
        tokio::spawn(load_streams(log.clone(), Arc::clone(&cache), Arc::clone(&requests), keys));
        Self { log, cache, requests, queue }
    }

    /// The stream from the cache, or else from the log.
    pub(crate) async fn load(&self, key: &H::Key) -> LoadResult<H> {
        if let Some(stream) = self.cache.get(key) {
            return Ok(stream);
        }
        let (sender, answer) = oneshot::channel();
        {
            let mut requests = lock(&self.requests);
            if let Some(others) = requests.get_mut(key) {
                others.push(sender);
            } else if let Some(stream) = self.cache.get(key) {
                // The loader cached it between the first look and this one.
                return Ok(stream);
            } else {
                requests.insert(key.clone(), vec![sender]);
                if self.queue.send(key.clone()).is_err() {
                    // The loader is gone. Dropping the sender ends the wait below.
                    requests.remove(key);
                }
            }
        }
        answer.await.unwrap_or_else(|_| Err(Arc::new(LogError::Unavailable("the loader of streams has ended".into()))))
    }

    /// The stream, if it is in the cache.
    pub(crate) fn get(&self, key: &H::Key) -> Option<Arc<CachedStream<H>>> {
        self.cache.get(key)
    }

    /// Adds events of so many bytes, which are known to be in the log, to a stream.
    pub(crate) fn observe(&self, cached: &CachedStream<H>, events: &[StoredEvent], bytes: u64) -> Result<(), LogError> {
        cached.observe(events)?;
        cached.write().count_bytes(bytes);
        self.cache.recount(cached);
        Ok(())
    }

    /// Brings a stream up to date with the log.
    pub(crate) async fn refresh(&self, cached: &CachedStream<H>) -> Result<(), Arc<LogError>> {
        let (stream, mut from) = {
            let loaded = cached.read();
            (H::stream(loaded.history().key()), loaded.next_revision())
        };
        loop {
            let page = self.log.read_stream(&stream, from, PAGE_EVENTS_MAX).await?;
            cached.write().extend(&page)?;
            if page.len() < PAGE_EVENTS_MAX {
                self.cache.recount(cached);
                return Ok(());
            }
            from += page.len() as u64;
        }
    }
}

/// Waits for a turn on `stream`.
///
/// # Errors
/// [`CommandError::Contended`] after [`TURN_WAIT_MAX`].
pub(crate) async fn take_turn<'a>(
    turn: &'a tokio::sync::Mutex<()>,
    stream: &Stream,
) -> Result<MutexGuard<'a, ()>, CommandError> {
    timeout(TURN_WAIT_MAX, turn.lock()).await.map_err(|_| CommandError::Contended { stream: stream.clone() })
}
