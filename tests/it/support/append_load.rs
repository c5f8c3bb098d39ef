//! Writers and a follower during faults between the store and its server.
//!
//! Writers append and repeat each append until it is answered. A follower uses a connection of its
//! own. Afterwards each acknowledged event must be in the log once, where the answer said; there
//! must be no other event; and the follower must have received the same events in order.

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
    FollowerItem, LogError, RecordedEvent, contract,
};
use event_log_kurrentdb::KurrentLog;
use futures::{StreamExt as _, future::join_all};
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

use super::{eventually, stand_in::log_at, whole_log::read_recorded};

/// Half of them share one stream; each of the others has its own.
pub const WRITERS: usize = 12;

/// The pause before a writer repeats an append.
const PAUSE: Duration = Duration::from_millis(20);

/// Running writers and a follower.
pub struct AppendLoad {
    record: Arc<LoadRecord>,
    writers: Vec<JoinHandle<()>>,
    follower: JoinHandle<Vec<RecordedEvent>>,
    /// The position at which the follower must stop.
    end: watch::Sender<u64>,
}

/// The results that the writers recorded.
#[derive(Default)]
struct LoadRecord {
    is_over: AtomicBool,
    appends: AtomicUsize,
    outages: AtomicUsize,
    /// Revision and position of each acknowledged event.
    acknowledged: Mutex<HashMap<EventId, (u64, u64)>>,
}

impl AppendLoad {
    /// Starts to write to the server of a URL.
    pub fn start(url: &str) -> Self {
        let record = Arc::<LoadRecord>::default();
        let log = log_at(url);
        let run = Uuid::new_v4();
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(log.clone(), run, writer, Arc::clone(&record))));
        let writers = writers.collect();
        let (end, until) = watch::channel(u64::MAX);
        let follower = tokio::spawn(follow(log_at(url), until));
        Self { record, writers, follower, end }
    }

    /// Waits until so many more appends are acknowledged.
    pub async fn wait_for_appends(&self, appends: usize) {
        let enough = self.record.appends.load(Ordering::Relaxed) + appends;
        eventually("appends", async || (self.record.appends.load(Ordering::Relaxed) >= enough).then_some(())).await;
    }

    /// Waits until a writer gets the error that the store is out of reach.
    pub async fn wait_for_outage(&self) {
        let before = self.record.outages.load(Ordering::Relaxed);
        eventually("an outage", async || (self.record.outages.load(Ordering::Relaxed) > before).then_some(())).await;
    }

    /// The number of acknowledged events.
    pub fn acknowledged_count(&self) -> usize {
        self.record.acknowledged.lock().expect("the record").len()
    }

    /// Stops each writer after its current append, and checks the log on the server of a URL.
    pub async fn check(self, url: &str) {
        self.wait_for_appends(3 * WRITERS).await;
        self.record.is_over.store(true, Ordering::Relaxed);
        for ended in join_all(self.writers).await {
            ended.expect("a writer");
        }
        let stands = read_recorded(&log_at(url)).await;
        assert_eq!(contract::find_disorder(&stands), None);
        let acknowledged = std::mem::take(&mut *self.record.acknowledged.lock().expect("the record"));
        let found: HashMap<_, _> =
            stands.iter().map(|event| (event.event_id, (event.revision, event.position))).collect();
        assert_eq!(found.len(), stands.len(), "an event stands twice");
        assert_eq!(found, acknowledged);

        self.end.send_replace(stands.last().map_or(0, |event| event.position));
        let followed = self.follower.await.expect("the follower");
        assert_eq!(followed, stands);
    }
}

/// Appends one to three events at a time until the load is over.
async fn write(log: KurrentLog, run: Uuid, writer: usize, record: Arc<LoadRecord>) {
    let is_shared = writer.is_multiple_of(2);
    let stream = contract::made_up_stream(run, if is_shared { 0 } else { writer as u64 });
    let mut expected = NoStream;
    for number in 0.. {
        if record.is_over.load(Ordering::Relaxed) {
            return;
        }
        let command = CommandId(run).derive(&format!("{writer}-{number}"));
        let ids: Vec<EventId> = (0..1 + number % 3).map(|index| contract::made_up_event_id(command.0, index)).collect();
        let events: Vec<_> = ids.iter().map(|id| contract::made_up_event(*id, Utc::now())).collect();
        let appended = loop {
            match log.append(&stream, expected, events.clone()).await {
                Ok(appended) => break appended,
                Err(AppendError::Conflict { actual, .. }) if is_shared => expected = actual,
                Err(AppendError::Log(LogError::Unavailable(_))) => {
                    record.outages.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        };
        assert_eq!(appended.revision, expected.next() + ids.len() as u64 - 1);
        let positions = appended.events.iter().map(|(position, _)| *position);
        let stand = (expected.next()..).zip(positions);
        record.acknowledged.lock().expect("the record").extend(ids.into_iter().zip(stand));
        record.appends.fetch_add(1, Ordering::Relaxed);
        expected = Exact(appended.revision);
    }
}

/// Follows the log from its start. After an outage it continues from where it was.
async fn follow(log: KurrentLog, mut until: watch::Receiver<u64>) -> Vec<RecordedEvent> {
    let mut seen: Vec<RecordedEvent> = Vec::new();
    let position = |seen: &Vec<RecordedEvent>| seen.last().map_or(0, |event| event.position);
    let mut follower = log.follow_all(0);
    while position(&seen) < *until.borrow_and_update() {
        tokio::select! {
            followed = follower.next() => match followed.expect("a follower without end") {
                Ok(FollowerItem::Events(events)) => seen.extend(events),
                Ok(FollowerItem::CaughtUp { position: end }) => assert_eq!(end, position(&seen)),
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
