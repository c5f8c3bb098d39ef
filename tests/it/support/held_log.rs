//! A log that seems to end before it does, or far beyond, and whose reader can be held in the middle of a read.

use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::Stream;
use event_log::{
    AppendError, Appended, EventLog, ExpectedRevision, Followed, LogError, NewEvent, RecordedEvent, SharedLog,
};
use futures::{
    StreamExt as _, TryStreamExt as _,
    future::ready,
    stream::{self, BoxStream},
};
use tokio::sync::watch;

use super::eventually;

/// Reads in the order of the log end early; reads of streams do not, as the log goes on while somebody reads it.
pub struct Shortened {
    inner: Arc<Inner>,
}

struct Inner {
    log: SharedLog,
    end: AtomicU64,
    /// How many positions there seem to be for each event, where the end is asked for.
    gaps: AtomicU64,
    /// Events read in pages so far.
    read: AtomicU64,
    gate: Mutex<Option<(Read, Gate)>>,
    pages_wait: watch::Sender<bool>,
}

/// A way to read the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    Head,
    Streams,
}

/// Holds the thread of whoever reads the log in a certain way.
#[derive(Clone, Default)]
pub struct Gate {
    state: Arc<(Mutex<GateState>, Condvar)>,
}

#[derive(Default)]
struct GateState {
    held: bool,
    open: bool,
}

impl Shortened {
    pub fn new(log: &SharedLog) -> Self {
        Self {
            inner: Arc::new(Inner {
                log: log.clone(),
                end: AtomicU64::new(u64::MAX),
                gaps: AtomicU64::new(1),
                read: AtomicU64::new(0),
                gate: Mutex::default(),
                pages_wait: watch::Sender::new(false),
            }),
        }
    }

    pub fn shared(&self) -> SharedLog {
        self.inner.clone()
    }

    pub fn end_at(&self, position: u64) {
        self.inner.end.store(position, Ordering::Relaxed);
    }

    /// From now on there seem to be so many positions for each event: the end lies beyond what there is to read.
    pub fn stretch(&self, gaps: u64) {
        self.inner.gaps.store(gaps, Ordering::Relaxed);
    }

    /// How many events were read in pages, as a follower does not.
    pub fn read(&self) -> u64 {
        self.inner.read.load(Ordering::Relaxed)
    }

    /// Whether who reads the log in pages, as a rebuild does and a follower does not, waits.
    pub fn let_pages_wait(&self, wait: bool) {
        self.inner.pages_wait.send_replace(wait);
    }

    /// From now on who reads so is held, thread and all, as if the process were stopped.
    pub fn hold(&self, read: Read) -> Gate {
        let gate = Gate::default();
        *self.inner.gate.lock().expect("the gate") = Some((read, gate.clone()));
        gate
    }
}

impl Inner {
    fn pass(&self, read: Read) {
        let gate = self.gate.lock().expect("the gate").clone();
        if let Some((held, gate)) = gate
            && held == read
        {
            gate.pass();
        }
    }
}

impl Gate {
    pub async fn until_held(&self) {
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
impl EventLog for Inner {
    async fn append(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        self.log.append(stream, expected, events).await
    }

    async fn read_stream(&self, stream: &Stream, from: u64, limit: usize) -> Result<Vec<RecordedEvent>, LogError> {
        self.log.read_stream(stream, from, limit).await
    }

    async fn read_streams(&self, streams: &[Stream]) -> Result<Vec<Vec<RecordedEvent>>, LogError> {
        self.pass(Read::Streams);
        self.log.read_streams(streams).await
    }

    async fn read_all(&self, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, LogError> {
        // The sender is in `self`, so it is there to the end.
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
        self.pass(Read::Head);
        Ok(self.log.head().await?.min(self.end.load(Ordering::Relaxed)) * self.gaps.load(Ordering::Relaxed))
    }

    fn follow_all(&self, after: u64) -> BoxStream<'static, Result<Followed, LogError>> {
        let end = self.end.load(Ordering::Relaxed);
        let shortened = self.log.follow_all(after).map_ok(move |followed| match followed {
            Followed::Events(mut events) => {
                events.retain(|event| event.position <= end);
                Followed::Events(events)
            }
            Followed::CaughtUp { position } => Followed::CaughtUp { position: position.min(end) },
        });
        let is_empty = |followed: &Followed| matches!(followed, Followed::Events(events) if events.is_empty());
        let shortened = shortened.try_filter(move |followed| ready(!is_empty(followed)));
        // What is damaged beyond the end is not there, and nothing comes after it.
        let is_beyond = move |followed: &Result<_, _>| matches!(followed, Err(LogError::Damaged { position, .. }) if *position > end);
        shortened.filter(move |followed| ready(!is_beyond(followed))).chain(stream::pending()).boxed()
    }
}
