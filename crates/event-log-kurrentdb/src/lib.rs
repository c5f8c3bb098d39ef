//! The log on a KurrentDB server or cluster, formerly EventStoreDB, by its official client.
//!
//! | module | knows |
//! |---|---|
//! | `connection` | reaching the server: URLs, time limits, clients made anew |
//! | `reach` | why no node was reached |
//! | `stored` | what our events look like on the server |
//! | `append` | appending, and what became of an append whose answer was lost |
//! | `ordered` | appending many streams' events in a given order, recorded times kept |
//! | `read` | reading, and telling what is missing |
//! | `head` | finding the log's end |
//! | `seen` | what this process has seen of the log |
//! | `follow` | followers |
//! | `wakeups` | how followers are woken: one subscription |
//! | `subscription` | a subscription, on a thread of its own, and what it tells of the events of others |
//! | `remove` | removing what a trial wrote |
//!
//! Promises what the port promises. Positions are the server's commit positions and have gaps. The log shares its server
//! with others: it is the streams that bear its prefix, and everything else there is left alone.
//!
//! Needs a server that says where events read by stream stand (22.6 or later), and a user who may read `$all`.

mod append;
mod connection;
mod follow;
mod head;
mod ordered;
mod reach;
mod read;
mod remove;
mod seen;
mod stored;
mod subscription;
mod wakeups;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::Stream;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use tokio::sync::Mutex;

use event_log::{
    AppendError, Appended, EventLog, ExpectedRevision, Followed, LogError, NewEvent, PAGE_EVENTS_MAX, PageNext,
    RecordedEvent,
};

use self::{
    connection::{Address, Connection},
    head::LastLook,
    read::Start,
    seen::{Revisions, Seen},
    wakeups::Wakeups,
};

pub use self::{
    connection::InvalidUrl,
    ordered::OrderedWriter,
    remove::remove,
    stored::{InvalidPrefix, StreamPrefix},
};

/// Streams that are read side by side. One call after the other would wait some 40 ms for each.
const STREAMS_READ_AT_ONCE: usize = 64;

/// Whether a URL names a KurrentDB server.
#[must_use]
pub fn is_url(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| connection::SCHEMES.contains(&scheme))
}

/// An event log on a KurrentDB server. A handle: clones share the connection. Needs a Tokio runtime, the same for all of them.
#[derive(Clone)]
pub struct KurrentLog {
    store: Arc<Store>,
    wakeups: Arc<Wakeups>,
}

/// What everything that reads and writes needs.
struct Store {
    connection: Connection,
    prefix: StreamPrefix,
    seen: Seen,
    last_look: LastLook,
    /// Held by whoever reads on to find an instant; the others would read the same. No task of its own, as the others are
    /// that somebody waits for: a position is asked for by one who goes on or goes away.
    finding: Mutex<()>,
    /// Held by whoever searches the log for our next event; the others mostly look for the same.
    searching: Mutex<()>,
}

impl KurrentLog {
    /// The log on the server that a URL names, in the streams with this prefix. Does not go there: until the server is
    /// there, every call says that it is not.
    ///
    /// # Errors
    /// The URL names no server.
    pub fn new(url: &str, prefix: &StreamPrefix) -> Result<Self, InvalidUrl> {
        let address = Address::new(url)?;
        let store = Arc::new(Store {
            connection: Connection::new(address),
            prefix: prefix.clone(),
            seen: Seen::new(),
            last_look: LastLook::default(),
            finding: Mutex::new(()),
            searching: Mutex::new(()),
        });
        let wakeups = Arc::new(Wakeups::new(Arc::clone(&store)));
        Ok(Self { store, wakeups })
    }
}

impl fmt::Debug for KurrentLog {
    /// Says nothing of the settings, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KurrentLog").field("prefix", &self.store.prefix).finish_non_exhaustive()
    }
}

#[async_trait]
impl EventLog for KurrentLog {
    async fn append(
        &self,
        stream: &Stream,
        expected: ExpectedRevision,
        events: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        let appended = self.store.append(stream, expected, &events).await?;
        self.wakeups.wake(appended.position);
        Ok(appended)
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

    async fn read_all(&self, after: u64, limit: usize) -> Result<Vec<RecordedEvent>, LogError> {
        let page = self.store.page(after, limit, &mut Revisions::after(after)).await?;
        match page.next {
            PageNext::Damage(error) if page.events.is_empty() => return Err(error),
            PageNext::Damage(_) | PageNext::MoreEvents => {}
            PageNext::LogEnd => self.wakeups.listen(),
        }
        Ok(page.events)
    }

    async fn event_at(&self, position: u64) -> Result<Option<RecordedEvent>, LogError> {
        let Some(before) = position.checked_sub(1) else { return Ok(None) };
        // Asked for by its position, as the way from the event before it may be long.
        let found = self.store.page_from(Start::Event(position), before, 1, &mut Revisions::after(before)).await?;
        let Some(page) = found else { return Ok(None) };
        match (page.events.into_iter().find(|event| event.position == position), page.next) {
            (None, PageNext::Damage(error)) => Err(error),
            (event, _) => Ok(event),
        }
    }

    async fn head(&self) -> Result<u64, LogError> {
        let head = self.store.head().await?;
        self.wakeups.listen();
        Ok(head)
    }

    async fn position_at(&self, instant: DateTime<Utc>) -> Result<u64, LogError> {
        self.store.position_at(instant).await
    }

    fn follow_all(&self, after: u64) -> BoxStream<'static, Result<Followed, LogError>> {
        follow::follow(Arc::clone(&self.store), Arc::clone(&self.wakeups), after)
    }
}

impl Store {
    async fn whole_stream(&self, stream: &Stream) -> Result<Vec<RecordedEvent>, LogError> {
        let mut events = Vec::new();
        loop {
            let page = self.stream(stream, events.len() as u64, PAGE_EVENTS_MAX).await?;
            let is_last = page.len() < PAGE_EVENTS_MAX;
            events.extend(page);
            if is_last {
                return Ok(events);
            }
        }
    }

    /// The position of the last event before the first one that was recorded after an instant.
    async fn position_at(self: &Arc<Self>, instant: DateTime<Utc>) -> Result<u64, LogError> {
        {
            let _finding = self.finding.lock().await;
            let mut end = self.seen.times_end();
            let mut revisions = Revisions::after(end);
            while self.seen.latest_time() <= instant {
                let page = self.page(end, PAGE_EVENTS_MAX, &mut revisions).await?;
                match (page.events.last(), page.next) {
                    (_, PageNext::LogEnd) => break,
                    (Some(last), _) => end = last.position,
                    (None, PageNext::Damage(error)) => return Err(error),
                    (None, PageNext::MoreEvents) => {}
                }
            }
        }
        let mut found = self.seen.before_instant(instant);
        loop {
            let page = self.page(found, PAGE_EVENTS_MAX, &mut Revisions::after(found)).await?;
            let earlier = page.events.iter().take_while(|event| event.recorded_at <= instant).count();
            found = earlier.checked_sub(1).map_or(found, |last| page.events[last].position);
            match page.next {
                _ if earlier < page.events.len() => return Ok(found),
                PageNext::LogEnd => return Ok(found),
                PageNext::Damage(error) => return Err(error),
                PageNext::MoreEvents => {}
            }
        }
    }
}
