//! Writers and a follower under whatever happens between the store and its server.
//!
//! Writers append, each sending the same again until it is answered; a follower with a connection of its own follows.
//! Afterwards each acknowledged event stands once, where the answer said, nothing else stands, and the follower has seen what
//! stands, in order.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use domain::identifier::{CommandId, EventId};
use event_log::{
    AppendError, EventLog as _,
    ExpectedRevision::{Exact, NoStream},
    Followed, LogError, RecordedEvent, contract,
};
use event_log_kurrentdb::KurrentLog;
use futures::{StreamExt as _, future::join_all};
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

use super::log_at;
use crate::support::eventually;

/// Half of them share one stream, the others have each their own.
pub const WRITERS: usize = 12;

/// How often a writer waits before it sends the same again.
const PAUSE: Duration = Duration::from_millis(20);

/// Writers and a follower at work.
pub struct Load {
    heard: Arc<Heard>,
    writers: Vec<JoinHandle<()>>,
    follower: JoinHandle<Vec<RecordedEvent>>,
    /// Up to where the follower is to follow.
    end: watch::Sender<u64>,
}

/// What the writers heard.
#[derive(Default)]
struct Heard {
    is_over: AtomicBool,
    appends: AtomicUsize,
    outages: AtomicUsize,
    /// Revision and position of each event that was acknowledged.
    acknowledged: Mutex<HashMap<EventId, (u64, u64)>>,
}

impl Load {
    /// Starts to write to the server that a URL names.
    pub fn start(url: &str) -> Self {
        let heard = Arc::<Heard>::default();
        let log = log_at(url);
        let run = Uuid::new_v4();
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(log.clone(), run, writer, Arc::clone(&heard))));
        let writers = writers.collect();
        let (end, until) = watch::channel(u64::MAX);
        let follower = tokio::spawn(follow(log_at(url), until));
        Self { heard, writers, follower, end }
    }

    /// Waits until so many more appends are acknowledged.
    pub async fn goes_on(&self, appends: usize) {
        let enough = self.heard.appends.load(Ordering::Relaxed) + appends;
        eventually("appends", async || (self.heard.appends.load(Ordering::Relaxed) >= enough).then_some(())).await;
    }

    /// Waits until a writer is told that the store is out of reach.
    pub async fn is_told(&self) {
        let before = self.heard.outages.load(Ordering::Relaxed);
        eventually("an outage", async || (self.heard.outages.load(Ordering::Relaxed) > before).then_some(())).await;
    }

    /// How many events are acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.heard.acknowledged.lock().expect("what was heard").len()
    }

    /// Stops the writers, each after the append that it is at, and checks what stands on the server that a URL names.
    pub async fn check(self, url: &str) {
        self.goes_on(3 * WRITERS).await;
        self.heard.is_over.store(true, Ordering::Relaxed);
        for ended in join_all(self.writers).await {
            ended.expect("a writer");
        }
        let stands = read_all(&log_at(url)).await;
        assert_eq!(contract::find_disorder(&stands), None);
        let acknowledged = std::mem::take(&mut *self.heard.acknowledged.lock().expect("what was heard"));
        let found: HashMap<_, _> =
            stands.iter().map(|event| (event.event_id, (event.revision, event.position))).collect();
        assert_eq!(found.len(), stands.len(), "an event stands twice");
        assert_eq!(found, acknowledged);

        self.end.send_replace(stands.last().map_or(0, |event| event.position));
        let followed = self.follower.await.expect("the follower");
        assert_eq!(followed, stands);
    }
}

/// Appends one to three events after the other until it is over.
async fn write(log: KurrentLog, run: Uuid, writer: usize, heard: Arc<Heard>) {
    let is_shared = writer.is_multiple_of(2);
    let stream = contract::made_up_stream(run, if is_shared { 0 } else { writer as u64 });
    let mut expected = NoStream;
    for number in 0.. {
        if heard.is_over.load(Ordering::Relaxed) {
            return;
        }
        let command = CommandId(run).derive(&format!("{writer}-{number}"));
        let ids: Vec<EventId> = (0..1 + number % 3).map(|index| command.event_id(index)).collect();
        let events: Vec<_> = ids.iter().map(|id| contract::made_up_event(*id, Utc::now())).collect();
        let appended = loop {
            match log.append(&stream, expected, events.clone()).await {
                Ok(appended) => break appended,
                Err(AppendError::Conflict { actual, .. }) if is_shared => expected = actual,
                Err(AppendError::Log(LogError::Unavailable(_))) => {
                    heard.outages.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        };
        assert_eq!(appended.revision, expected.next() + ids.len() as u64 - 1);
        let positions = appended.events.iter().map(|(position, _)| *position);
        let stand = (expected.next()..).zip(positions);
        heard.acknowledged.lock().expect("what was heard").extend(ids.into_iter().zip(stand));
        heard.appends.fetch_add(1, Ordering::Relaxed);
        expected = Exact(appended.revision);
    }
}

/// Follows the log from its start, again from where it was whenever the store is out of reach.
async fn follow(log: KurrentLog, mut until: watch::Receiver<u64>) -> Vec<RecordedEvent> {
    let mut seen: Vec<RecordedEvent> = Vec::new();
    let position = |seen: &Vec<RecordedEvent>| seen.last().map_or(0, |event| event.position);
    let mut follower = log.follow_all(0);
    while position(&seen) < *until.borrow_and_update() {
        tokio::select! {
            followed = follower.next() => match followed.expect("a follower without end") {
                Ok(Followed::Events(events)) => seen.extend(events),
                Ok(Followed::CaughtUp { position: end }) => assert_eq!(end, position(&seen)),
                Err(LogError::Unavailable(_)) => {
                    tokio::time::sleep(PAUSE).await;
                    follower = log.follow_all(position(&seen));
                }
                Err(error) => panic!("{error:?}"),
            },
            _ = until.changed() => {}
        }
    }
    seen
}

/// Everything that stands in a log.
pub async fn read_all(log: &KurrentLog) -> Vec<RecordedEvent> {
    let mut events: Vec<RecordedEvent> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.position);
        let page = log.read_all(after, 1_000).await.expect("read the log");
        if page.is_empty() {
            return events;
        }
        events.extend(page);
    }
}
