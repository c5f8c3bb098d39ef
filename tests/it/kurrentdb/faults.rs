//! What can happen between the store and its server, under load: connections are cut, reset and refused, answers are lost,
//! late, damaged or do not come, and the server is killed.
//!
//! Writers append through a proxy, each sending the same again until it is answered; a follower with a connection of its
//! own follows through it as well. Afterwards, read past the proxy: each acknowledged event stands once, where the answer
//! said, nothing else stands, and the follower has seen what stands, in order.

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
    Followed, KurrentLog, LogError, RecordedEvent, contract,
};
use futures::{StreamExt as _, future::join_all};
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

use super::log_at;
use crate::support::{Proxy, StandIn, eventually};

/// Half of them share one stream, the others have each their own.
const WRITERS: usize = 12;

/// How often a writer waits before it sends the same again.
const PAUSE: Duration = Duration::from_millis(20);

/// A server under load, behind a proxy.
struct Load {
    server: StandIn,
    proxy: Proxy,
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
    fn start() -> Self {
        let server = StandIn::start();
        let proxy = server.proxy();
        let heard = Arc::<Heard>::default();
        let log = log_at(&proxy.url());
        let run = Uuid::new_v4();
        let writers = (0..WRITERS).map(|writer| tokio::spawn(write(log.clone(), run, writer, Arc::clone(&heard))));
        let writers = writers.collect();
        let (end, until) = watch::channel(u64::MAX);
        let follower = tokio::spawn(follow(log_at(&proxy.url()), until));
        Self { server, proxy, heard, writers, follower, end }
    }

    /// Waits until so many more appends are acknowledged.
    async fn goes_on(&self, appends: usize) {
        let enough = self.heard.appends.load(Ordering::Relaxed) + appends;
        eventually("appends", async || (self.heard.appends.load(Ordering::Relaxed) >= enough).then_some(())).await;
    }

    /// Waits until a writer is told that the store is out of reach.
    async fn is_told(&self) {
        let before = self.heard.outages.load(Ordering::Relaxed);
        eventually("an outage", async || (self.heard.outages.load(Ordering::Relaxed) > before).then_some(())).await;
    }

    /// Stops the writers, each after the append that it is at, and checks what stands.
    async fn check(self) {
        self.goes_on(3 * WRITERS).await;
        self.heard.is_over.store(true, Ordering::Relaxed);
        for ended in join_all(self.writers).await {
            ended.expect("a writer");
        }
        let stands = read_all(&log_at(&self.server.url())).await;
        assert_eq!(contract::disorder(&stands), None);
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

async fn read_all(log: &KurrentLog) -> Vec<RecordedEvent> {
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

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_cut_and_reset() {
    let load = Load::start();
    for round in 0..10 {
        load.goes_on(WRITERS).await;
        if round % 2 == 0 { load.proxy.cut() } else { load.proxy.reset() }
    }
    load.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_lost() {
    let load = Load::start();
    let direct = log_at(&load.server.url());
    for _ in 0..5 {
        load.goes_on(WRITERS).await;
        load.proxy.swallow_answers();
        eventually("appends that nobody was told of", async || {
            let told = load.heard.acknowledged.lock().expect("what was heard").len();
            (read_all(&direct).await.len() > told).then_some(())
        })
        .await;
        load.proxy.pass();
        load.proxy.cut();
    }
    load.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_late_and_then_lost() {
    let load = Load::start();
    for _ in 0..3 {
        load.proxy.delay(Duration::from_millis(100));
        load.goes_on(WRITERS).await;
        // With some of everything on the way.
        load.proxy.reset();
        load.proxy.pass();
        load.goes_on(WRITERS).await;
    }
    load.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_lack_bytes() {
    let load = Load::start();
    for count in [1, 9, 100, 5_000] {
        load.goes_on(WRITERS).await;
        load.proxy.lose_answer_bytes(count);
    }
    load.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_nothing() {
    let load = Load::start();
    load.goes_on(WRITERS).await;
    load.proxy.freeze();
    load.is_told().await;
    load.proxy.pass();
    load.goes_on(WRITERS).await;
    // Nor does it ever answer what was asked before.
    load.proxy.freeze();
    load.is_told().await;
    load.proxy.reset();
    load.proxy.pass();
    load.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_refused() {
    let load = Load::start();
    load.goes_on(WRITERS).await;
    load.proxy.refuse();
    load.proxy.cut();
    load.is_told().await;
    load.proxy.pass();
    load.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed_under_load() {
    let mut load = Load::start();
    for _ in 0..5 {
        load.goes_on(WRITERS).await;
        load.server.kill();
        load.server.start_again();
    }
    load.goes_on(WRITERS).await;
    load.server.kill();
    load.is_told().await;
    load.server.start_again();
    load.check().await;
}

/// The client goes round in circles for ever then, on the thread that it is called on.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_ends_subscriptions_without_an_error() {
    let load = Load::start();
    for _ in 0..3 {
        load.goes_on(WRITERS).await;
        load.server.end_subscriptions();
    }
    load.goes_on(WRITERS).await;
    eventually("the threads that listen to be at rest", async || {
        let before = listening_ticks();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let after = listening_ticks();
        let worked = |(thread, ticks): (&String, &u64)| ticks - before.get(thread).unwrap_or(ticks);
        // Of some 50 in that time.
        (after.iter().map(worked).max().unwrap_or(0) < 15).then_some(())
    })
    .await;
    load.check().await;
}

/// How much each thread that listens has worked, in hundredths of a second.
fn listening_ticks() -> HashMap<String, u64> {
    let mut ticks = HashMap::new();
    for thread in std::fs::read_dir("/proc/self/task").expect("the threads") {
        let thread = thread.expect("a thread").path();
        // One that has ended meanwhile does not work.
        let Ok(stat) = std::fs::read_to_string(thread.join("stat")) else { continue };
        let Some((head, fields)) = stat.rsplit_once(") ") else { continue };
        if head.contains("(kurrentdb-wakeu") {
            let worked = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
            ticks.insert(thread.display().to_string(), worked);
        }
    }
    ticks
}
