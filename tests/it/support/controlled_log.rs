//! An event log that a test controls: it can end early, seem to end far beyond its events, hold a
//! reader in the middle of a read, and refuse appends and snapshots.

use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::{Stream, identifier::CommandId};
use event_log::{
    AppendError, AppendReceipt, EventLog, ExpectedRevision, FollowerItem, KeySpending, LogError, NewEvent,
    RecordedEvent, SharedLog, Snapshot, SpentKey,
};
use futures::{
    StreamExt as _, TryStreamExt as _,
    future::ready,
    stream::{self, BoxStream},
};
use tokio::sync::watch;

use super::eventually;

/// Wraps a log. Reads in the order of the log end at a position that the test sets. Reads of
/// streams do not, because a real log grows while a reader reads it.
pub struct ControlledLog {
    inner: Arc<ControlledLogInner>,
}

struct ControlledLogInner {
    log: SharedLog,
    end: AtomicU64,
    /// The factor between the real end of the log and the end that readers are told.
    gaps: AtomicU64,
    /// Events read in pages so far.
    read: AtomicU64,
    heads: AtomicU64,
    stream_reads: AtomicU64,
    gate: Mutex<Option<(ReadKind, Gate)>>,
    pages_wait: watch::Sender<bool>,
    appends_wait: watch::Sender<bool>,
    waiting_appends: AtomicU64,
    /// The positions after which the log was followed.
    followed_after: Mutex<Vec<u64>>,
    refuses_appends: AtomicBool,
    /// The events of each append that the log was sent, also of those that it refused.
    tried_events: Mutex<Vec<NewEvent>>,
    refused_appends: AtomicU64,
    refuses_snapshots: AtomicBool,
}

/// A way to read the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadKind {
    Head,
    Streams,
}

/// Holds the thread of a reader that reads in a certain way.
#[derive(Clone, Default)]
pub struct Gate {
    state: Arc<(Mutex<GateState>, Condvar)>,
}

#[derive(Default)]
struct GateState {
    held: bool,
    open: bool,
}

impl ControlledLog {
    pub fn new(log: &SharedLog) -> Self {
        Self {
            inner: Arc::new(ControlledLogInner {
                log: log.clone(),
                end: AtomicU64::new(u64::MAX),
                gaps: AtomicU64::new(1),
                read: AtomicU64::new(0),
                heads: AtomicU64::new(0),
                stream_reads: AtomicU64::new(0),
                gate: Mutex::default(),
                pages_wait: watch::Sender::new(false),
                appends_wait: watch::Sender::new(false),
                waiting_appends: AtomicU64::new(0),
                followed_after: Mutex::default(),
                refuses_appends: AtomicBool::new(false),
                tried_events: Mutex::default(),
                refused_appends: AtomicU64::new(0),
                refuses_snapshots: AtomicBool::new(false),
            }),
        }
    }

    pub fn shared(&self) -> SharedLog {
        self.inner.clone()
    }

    pub fn end_at(&self, position: u64) {
        self.inner.end.store(position, Ordering::Relaxed);
    }

    /// Multiplies the end of the log: from now on it lies beyond the last event.
    pub fn stretch(&self, gaps: u64) {
        self.inner.gaps.store(gaps, Ordering::Relaxed);
    }

    /// The number of events read in pages. A follower does not read in pages.
    pub fn read(&self) -> u64 {
        self.inner.read.load(Ordering::Relaxed)
    }

    /// How often the log was asked for its end.
    pub fn heads(&self) -> u64 {
        self.inner.heads.load(Ordering::Relaxed)
    }

    /// How often streams were read, some at a time.
    pub fn stream_reads(&self) -> u64 {
        self.inner.stream_reads.load(Ordering::Relaxed)
    }

    /// The positions after which the log was followed so far.
    pub fn followed_after(&self) -> Vec<u64> {
        self.inner.followed_after.lock().expect("the positions").clone()
    }

    pub fn refuse_appends(&self) {
        self.inner.refuses_appends.store(true, Ordering::Relaxed);
    }

    /// The events of each append that the log was sent, in the order of the tries.
    pub fn tried_events(&self) -> Vec<NewEvent> {
        self.inner.tried_events.lock().expect("the events").clone()
    }

    /// The number of appends refused so far.
    pub fn refused_appends(&self) -> u64 {
        self.inner.refused_appends.load(Ordering::Relaxed)
    }

    /// Makes appends wait, or lets them continue.
    pub fn let_appends_wait(&self, wait: bool) {
        self.inner.appends_wait.send_replace(wait);
    }

    /// The number of appends that have been made to wait so far.
    pub fn waiting_appends(&self) -> u64 {
        self.inner.waiting_appends.load(Ordering::Relaxed)
    }

    pub fn refuse_snapshots(&self) {
        self.inner.refuses_snapshots.store(true, Ordering::Relaxed);
    }

    /// Makes readers of pages wait, or lets them continue. A rebuild reads pages; a follower does
    /// not.
    pub fn let_pages_wait(&self, wait: bool) {
        self.inner.pages_wait.send_replace(wait);
    }

    /// Holds the next reader that reads in this way, with its thread, as if the process were
    /// stopped.
    pub fn hold(&self, read: ReadKind) -> Gate {
        let gate = Gate::default();
        *self.inner.gate.lock().expect("the gate") = Some((read, gate.clone()));
        gate
    }
}

fn refusal() -> LogError {
    LogError::Unavailable("the test refuses this".into())
}

impl ControlledLogInner {
    async fn admit_append(&self) -> Result<(), LogError> {
        let mut waiting = self.appends_wait.subscribe();
        if *waiting.borrow() {
            self.waiting_appends.fetch_add(1, Ordering::Relaxed);
            // The sender is in `self` and cannot be dropped before.
            let _ = waiting.wait_for(|wait| !wait).await;
        }
        if !self.refuses_appends.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.refused_appends.fetch_add(1, Ordering::Relaxed);
        Err(refusal())
    }

    fn pass(&self, read: ReadKind) {
        let gate = self.gate.lock().expect("the gate").clone();
        if let Some((held, gate)) = gate
            && held == read
        {
            gate.pass();
        }
    }
}

impl Gate {
    pub async fn wait_until_held(&self) {
        eventually("a held reader", async || self.state.0.lock().expect("the gate").held.then_some(())).await;
    }

    pub fn open(&self) {
        self.state.0.lock().expect("the gate").open = true;
        self.state.1.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.0.lock().expect("the gate");
        state.held = true;
        while !state.open {
            state = self.state.1.wait(state).expect("the gate");
        }
    }
}

#[async_trait]
impl EventLog for ControlledLogInner {
    async fn append(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<AppendReceipt, AppendError> {
        self.admit_append().await?;
        self.tried_events.lock().expect("the events").extend(events.iter().cloned());
        self.log.append(stream, expected, events).await
    }

    async fn append_with_key(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
        key: CommandId,
    ) -> Result<AppendReceipt, AppendError> {
        self.admit_append().await?;
        self.tried_events.lock().expect("the events").extend(events.iter().cloned());
        self.log.append_with_key(stream, expected, events, key).await
    }

    async fn spend_key(&self, key: CommandId, spent: SpentKey, at: DateTime<Utc>) -> Result<KeySpending, LogError> {
        self.log.spend_key(key, spent, at).await
    }

    async fn replace_answer(&self, key: CommandId, spent: SpentKey) -> Result<(), LogError> {
        self.log.replace_answer(key, spent).await
    }

    async fn spent_key(&self, key: CommandId) -> Result<Option<SpentKey>, LogError> {
        self.log.spent_key(key).await
    }

    async fn learn_keys(&self) -> Result<(), LogError> {
        self.log.learn_keys().await
    }

    async fn save_keys(&self) -> Result<(), LogError> {
        self.log.save_keys().await
    }

    async fn read_stream(&self, stream: &Stream, from: u64, limit: usize) -> Result<Vec<RecordedEvent>, LogError> {
        self.log.read_stream(stream, from, limit).await
    }

    async fn read_streams(&self, streams: &[Stream]) -> Result<Vec<Vec<RecordedEvent>>, LogError> {
        self.stream_reads.fetch_add(1, Ordering::Relaxed);
        self.pass(ReadKind::Streams);
        self.log.read_streams(streams).await
    }

    async fn read_all(&self, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, LogError> {
        // The sender is in `self` and cannot be dropped before.
        let _ = self.pages_wait.subscribe().wait_for(|wait| !wait).await;
        let mut events = self.log.read_all(after, limit).await?;
        events.retain(|event| event.position <= self.end.load(Ordering::Relaxed));
        self.read.fetch_add(events.len() as u64, Ordering::Relaxed);
        Ok(events)
    }

    async fn event_at(&self, position: u64) -> Result<Option<RecordedEvent>, LogError> {
        let event = self.log.event_at(position).await?;
        Ok(event.filter(|event| event.position <= self.end.load(Ordering::Relaxed)))
    }

    async fn position_at(&self, instant: DateTime<Utc>) -> Result<u64, LogError> {
        Ok(self.log.position_at(instant).await?.min(self.end.load(Ordering::Relaxed)))
    }

    async fn head(&self) -> Result<u64, LogError> {
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.pass(ReadKind::Head);
        Ok(self.log.head().await?.min(self.end.load(Ordering::Relaxed)) * self.gaps.load(Ordering::Relaxed))
    }

    async fn load_snapshot(&self, name: &str) -> Result<Option<Snapshot>, LogError> {
        if self.refuses_snapshots.load(Ordering::Relaxed) {
            return Err(refusal());
        }
        self.log.load_snapshot(name).await
    }

    async fn save_snapshot(&self, name: &str, snapshot: &Snapshot) -> Result<bool, LogError> {
        if self.refuses_snapshots.load(Ordering::Relaxed) {
            return Err(refusal());
        }
        self.log.save_snapshot(name, snapshot).await
    }

    fn follow_all(&self, after: u64) -> BoxStream<'static, Result<FollowerItem, LogError>> {
        self.followed_after.lock().expect("the positions").push(after);
        let end = self.end.load(Ordering::Relaxed);
        let shortened = self.log.follow_all(after).map_ok(move |followed| match followed {
            FollowerItem::Events(mut events) => {
                events.retain(|event| event.position <= end);
                FollowerItem::Events(events)
            }
            FollowerItem::CaughtUp { position } => FollowerItem::CaughtUp { position: position.min(end) },
        });
        let is_empty = |followed: &FollowerItem| matches!(followed, FollowerItem::Events(events) if events.is_empty());
        let shortened = shortened.try_filter(move |followed| ready(!is_empty(followed)));
        // Damage beyond the end does not exist yet, and nothing follows it.
        let is_beyond = move |followed: &Result<_, _>| matches!(followed, Err(LogError::Damaged { position, .. }) if *position > end);
        shortened.filter(move |followed| ready(!is_beyond(followed))).chain(stream::pending()).boxed()
    }
}
