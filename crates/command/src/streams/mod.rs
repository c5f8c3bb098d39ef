//! Streams as they are known here: loaded from the log, many at a time, kept in memory, brought up to date.
//!
//! - What is kept may be behind the log and is never wrong: an append checks the revision, and a refusal is only
//!   given after [`Streams::refresh`].
//! - Loads are grouped without a timer: whatever was asked for while one read of the log was under way goes into the
//!   next one. A stream that is being loaded is not asked for twice.
//! - The number of streams kept is bounded; which ones, the cache decides.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use chrono::{DateTime, Utc};
use domain::{
    Entry, Event, Stream,
    identifier::{CommandId, EventId, PrisonCode, PrisonerNumber},
    prison::{self, PrisonEvent},
    prisoner::{self, PrisonerEvent},
};
use event_log::{
    ExpectedRevision, LogError, Metadata, PAGE_EVENTS_MAX, RecordedEvent, SharedLog, StoredEvent, decode, lock,
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// Most streams in one read of the log; bounds the memory that a burst of commands on distinct cases takes.
const LOAD_STREAMS_MAX: usize = 256;

/// A stream's history as `domain` has it; what cases and prisons have in common.
pub(crate) trait History: Debug + Send + Sync + Sized + 'static {
    /// Whose history.
    type Key: Clone + Debug + Eq + Hash + Send + Sync + 'static;
    /// What it is made of.
    type Event: Clone + Debug + Send + Sync + 'static;

    fn new(key: Self::Key) -> Self;
    fn key(&self) -> &Self::Key;
    fn stream(key: &Self::Key) -> Stream;
    fn entries(&self) -> &[Entry<Self::Event>];
    fn push(&mut self, entry: Entry<Self::Event>);
    fn wrap(event: Self::Event) -> Event;
    fn unwrap(event: Event) -> Option<Self::Event>;
}

impl History for prisoner::History {
    type Key = PrisonerNumber;
    type Event = PrisonerEvent;

    fn new(key: Self::Key) -> Self {
        Self::new(key)
    }
    fn key(&self) -> &Self::Key {
        self.number()
    }
    fn stream(key: &Self::Key) -> Stream {
        Stream::Prisoner(key.clone())
    }
    fn entries(&self) -> &[Entry<Self::Event>] {
        self.entries()
    }
    fn push(&mut self, entry: Entry<Self::Event>) {
        self.push(entry);
    }
    fn wrap(event: Self::Event) -> Event {
        Event::Prisoner(event)
    }
    fn unwrap(event: Event) -> Option<Self::Event> {
        match event {
            Event::Prisoner(event) => Some(event),
            Event::Prison(_) => None,
        }
    }
}

impl History for prison::History {
    type Key = PrisonCode;
    type Event = PrisonEvent;

    fn new(key: Self::Key) -> Self {
        Self::new(key)
    }
    fn key(&self) -> &Self::Key {
        self.code()
    }
    fn stream(key: &Self::Key) -> Stream {
        Stream::Prison(key.clone())
    }
    fn entries(&self) -> &[Entry<Self::Event>] {
        self.entries()
    }
    fn push(&mut self, entry: Entry<Self::Event>) {
        self.push(entry);
    }
    fn wrap(event: Self::Event) -> Event {
        Event::Prison(event)
    }
    fn unwrap(event: Event) -> Option<Self::Event> {
        match event {
            Event::Prison(event) => Some(event),
            Event::Prisoner(_) => None,
        }
    }
}

/// A stream as far as it is known.
#[derive(Debug)]
pub(crate) struct Known<H> {
    history: H,
    commands: HashMap<CommandId, Recorded>,
}

/// What is known of a command whose events stand in a stream.
#[derive(Debug, Clone)]
struct Recorded {
    first_revision: u64,
    count: usize,
    schema_version: u16,
    request_digest: String,
    correlation_id: Uuid,
    causation_id: Option<EventId>,
}

impl<H: History> Known<H> {
    fn new(key: H::Key) -> Self {
        Self { history: H::new(key), commands: HashMap::new() }
    }

    pub(crate) fn history(&self) -> &H {
        &self.history
    }

    pub(crate) fn expected(&self) -> ExpectedRevision {
        self.revision().map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact)
    }

    pub(crate) fn revision(&self) -> Option<u64> {
        self.history.entries().last().map(|entry| entry.revision)
    }

    fn next_revision(&self) -> u64 {
        self.history.entries().len() as u64
    }

    /// When the last entry was recorded: by then at the latest the ledger's clock has struck.
    pub(crate) fn last_recorded_at(&self) -> Option<DateTime<Utc>> {
        self.history.entries().last().map(|entry| entry.recorded_at)
    }

    /// The digest of the request that recorded a command here.
    pub(crate) fn request_digest(&self, command_id: CommandId) -> Option<&str> {
        self.commands.get(&command_id).map(|recorded| recorded.request_digest.as_str())
    }

    /// The events that a command recorded here; none where it did not.
    pub(crate) fn events_of(&self, command_id: CommandId) -> Vec<StoredEvent> {
        let Some(recorded) = self.commands.get(&command_id) else { return Vec::new() };
        let stream = H::stream(self.history.key());
        self.history
            .entries()
            .iter()
            .skip(usize::try_from(recorded.first_revision).unwrap_or(usize::MAX))
            .take(recorded.count)
            .map(|entry| StoredEvent {
                stream: stream.clone(),
                metadata: Metadata {
                    schema_version: recorded.schema_version,
                    effective_at: entry.effective_at,
                    recorded_by: entry.recorded_by.clone(),
                    command_id,
                    request_digest: recorded.request_digest.clone(),
                    correlation_id: recorded.correlation_id,
                    causation_id: recorded.causation_id,
                },
                entry: Entry {
                    event_id: entry.event_id,
                    revision: entry.revision,
                    position: entry.position,
                    effective_at: entry.effective_at,
                    recorded_at: entry.recorded_at,
                    recorded_by: entry.recorded_by.clone(),
                    command_id,
                    event: H::wrap(entry.event.clone()),
                },
            })
            .collect()
    }

    /// Takes in an event where it is the next one; one that is known already changes nothing, and one that leaves a
    /// gap is left for the next refresh.
    fn push(&mut self, stored: &StoredEvent) -> Result<(), LogError> {
        let entry = &stored.entry;
        if entry.revision != self.next_revision() {
            return Ok(());
        }
        let own = entry.clone().try_map(|event| {
            let type_name = event.type_name();
            H::unwrap(event).ok_or_else(|| LogError::Damaged {
                position: entry.position,
                what: format!("a `{type_name}` does not belong into its stream"),
            })
        })?;
        let metadata = &stored.metadata;
        self.commands.entry(entry.command_id).and_modify(|recorded| recorded.count += 1).or_insert_with(|| Recorded {
            first_revision: entry.revision,
            count: 1,
            schema_version: metadata.schema_version,
            request_digest: metadata.request_digest.clone(),
            correlation_id: metadata.correlation_id,
            causation_id: metadata.causation_id,
        });
        self.history.push(own);
        Ok(())
    }

    /// Takes in what was read of the stream from `self.next_revision()` on or from before.
    fn extend(&mut self, events: &[RecordedEvent]) -> Result<(), LogError> {
        for event in events {
            if event.revision > self.next_revision() {
                return Err(LogError::Damaged {
                    position: event.position,
                    what: format!(
                        "its stream goes on at revision {} where {} comes next",
                        event.revision,
                        self.next_revision()
                    ),
                });
            }
            if event.revision == self.next_revision() {
                self.push(&decode(event)?)?;
            }
        }
        Ok(())
    }
}

/// A stream that is kept, shared by everybody who works with it.
#[derive(Debug)]
pub(crate) struct Live<H> {
    known: RwLock<Known<H>>,
    /// The commands of this process on one stream take turns: all but one would lose at the append. A courtesy, not a
    /// guard: the append's check of the revision is the guard.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl<H: History> Live<H> {
    fn new(known: Known<H>) -> Arc<Self> {
        Arc::new(Self { known: RwLock::new(known), turn: tokio::sync::Mutex::new(()) })
    }

    pub(crate) fn known(&self) -> RwLockReadGuard<'_, Known<H>> {
        // What a panicking writer left is a prefix of the stream all the same.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known<H>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in events that are known to stand in the log.
    pub(crate) fn observe(&self, events: &[StoredEvent]) -> Result<(), LogError> {
        let mut known = self.known_mut();
        events.iter().try_for_each(|event| known.push(event))
    }
}

type Loaded<H> = Result<Arc<Live<H>>, Arc<LogError>>;
type Waiting<H> = HashMap<<H as History>::Key, Vec<oneshot::Sender<Loaded<H>>>>;

/// The streams of one kind.
pub(crate) struct Streams<H: History> {
    log: SharedLog,
    kept: Arc<quick_cache::sync::Cache<H::Key, Arc<Live<H>>>>,
    waiting: Arc<Mutex<Waiting<H>>>,
    queue: mpsc::UnboundedSender<H::Key>,
}

impl<H: History> Streams<H> {
    /// Keeps up to `kept_max` streams of `log`. Starts a task that loads them, which ends when this is dropped.
    pub(crate) fn new(log: SharedLog, kept_max: usize) -> Self {
        let kept = Arc::new(quick_cache::sync::Cache::new(kept_max));
        let waiting = Arc::default();
        // As long as there are callers waiting, and they are bounded by what the server admits.
        let (queue, asked) = mpsc::unbounded_channel();
        tokio::spawn(load_loop(log.clone(), Arc::clone(&kept), Arc::clone(&waiting), asked));
        Self { log, kept, waiting, queue }
    }

    /// The stream as it is kept, or else as it is in the log.
    pub(crate) async fn load(&self, key: &H::Key) -> Loaded<H> {
        if let Some(live) = self.kept.get(key) {
            return Ok(live);
        }
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if let Some(others) = waiting.get_mut(key) {
                others.push(sender);
            } else if let Some(live) = self.kept.get(key) {
                // Loaded between the first look and this one.
                return Ok(live);
            } else {
                waiting.insert(key.clone(), vec![sender]);
                if self.queue.send(key.clone()).is_err() {
                    // The loader is gone, and with the sender the answer says so.
                    waiting.remove(key);
                }
            }
        }
        answer.await.unwrap_or_else(|_| Err(Arc::new(LogError::Unavailable("the loader of streams has ended".into()))))
    }

    /// The stream if it is kept.
    pub(crate) fn kept(&self, key: &H::Key) -> Option<Arc<Live<H>>> {
        self.kept.get(key)
    }

    /// Brings a stream up to date with the log.
    pub(crate) async fn refresh(&self, live: &Live<H>) -> Result<(), Arc<LogError>> {
        let (stream, mut from) = {
            let known = live.known();
            (H::stream(known.history.key()), known.next_revision())
        };
        loop {
            let page = self.log.read_stream(&stream, from, PAGE_EVENTS_MAX).await?;
            live.known_mut().extend(&page)?;
            if page.len() < PAGE_EVENTS_MAX {
                return Ok(());
            }
            from += page.len() as u64;
        }
    }
}

/// Whoever waits for the loader, and is told when it ends, for whatever reason.
struct Answers<H: History>(Arc<Mutex<Waiting<H>>>);

impl<H: History> Drop for Answers<H> {
    fn drop(&mut self) {
        lock(&self.0).clear();
    }
}

async fn load_loop<H: History>(
    log: SharedLog,
    kept: Arc<quick_cache::sync::Cache<H::Key, Arc<Live<H>>>>,
    waiting: Arc<Mutex<Waiting<H>>>,
    asked: mpsc::UnboundedReceiver<H::Key>,
) {
    // In this order, so that nobody can ask any more when those who wait are told.
    let (waiting, mut asked) = (Answers(waiting), asked);
    let mut keys = Vec::with_capacity(LOAD_STREAMS_MAX);
    while asked.recv_many(&mut keys, LOAD_STREAMS_MAX).await > 0 {
        // Lets the callers that were answered together ask together, so that they travel in one read.
        tokio::task::yield_now().await;
        while keys.len() < LOAD_STREAMS_MAX
            && let Ok(key) = asked.try_recv()
        {
            keys.push(key);
        }
        let streams: Vec<Stream> = keys.iter().map(H::stream).collect();
        let read = log.read_streams(&streams).await.map_err(Arc::new);
        for (index, key) in keys.drain(..).enumerate() {
            let loaded = read.as_ref().map_err(Arc::clone).and_then(|read| {
                let mut known = Known::new(key.clone());
                known.extend(read.get(index).map_or(&[], Vec::as_slice)).map_err(Arc::new)?;
                Ok(Live::new(known))
            });
            if let Ok(live) = &loaded {
                // Before the waiting are answered, so that whoever asks next finds it here or there.
                kept.insert(key.clone(), Arc::clone(live));
            }
            for waiter in lock(&waiting.0).remove(&key).unwrap_or_default() {
                // A caller that went away needs no answer.
                let _ = waiter.send(loaded.clone());
            }
        }
    }
}
