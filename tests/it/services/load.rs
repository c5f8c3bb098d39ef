//! Clients that send commands at a steady rate, and again until each is acknowledged, as a client should; and what must then
//! hold: each command stands in the log once, where its answer said, and the views say what the log does.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{Event, Stream, identifier::CommandId, prisoner::PrisonerEvent};
use event_log::{SharedLog, StoredEvent, decode};
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, Interval, interval_at, timeout},
};
use uuid::Uuid;

use super::cluster::{Cluster, Takers};
use crate::support::{Answer, eventually};

/// Clients: so many that an answer takes a fifth of the time that each has for it, and it can make up for what an outage has
/// cost it.
const WRITERS: usize = 100;

/// One client in so many works on cases that another one works on, too. No more than the two, as a case takes ten commands a
/// second at most where the log is on KurrentDB: each waits for the one before it, and that for two calls to the server.
const SHARING: usize = 4;

/// How many commands a client sends to a case before it turns to another, as histories are never long in earnest.
const COMMANDS_PER_CASE: usize = 20;

/// How long a client waits for an answer before it sends the same again.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// The pause before a client sends the same again.
const RESEND_PAUSE: Duration = Duration::from_millis(50);

/// Clients at work.
pub struct Load {
    writers: Vec<JoinHandle<Vec<Acknowledged>>>,
    done: Arc<AtomicBool>,
    counts: Arc<Counts>,
}

/// What was sent so far.
#[derive(Debug, Default)]
struct Counts {
    acknowledged: AtomicUsize,
    resent: AtomicUsize,
}

/// A command that was answered.
#[derive(Debug)]
pub struct Acknowledged {
    key: CommandId,
    case: String,
    what: String,
    position: u64,
    revision: u64,
    /// From when it was due until it was answered.
    waited: Duration,
}

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    pub commands: usize,
    pub resent: usize,
    /// How long each command waited for its answer from when it was due, in order.
    waited: Vec<Duration>,
}

impl Outcome {
    /// For how long at most so many of a hundred commands waited.
    pub fn waited(&self, percent: usize) -> Duration {
        self.waited[(self.commands - 1) * percent / 100]
    }
}

impl Load {
    /// Starts to send so many commands a second, all clients together.
    pub fn start(takers: &Takers, per_second: u32) -> Self {
        let (done, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let (between, begun) = (Duration::from_secs(1) / per_second, Instant::now());
        let writers = (0..WRITERS)
            .map(|number| {
                let writer = Writer { number, takers: takers.clone(), counts: counts.clone() };
                // One after the other, so that as many as are wanted are due at any time.
                let due = interval_at(begun + between * number as u32, between * WRITERS as u32);
                tokio::spawn(writer.run(due, done.clone()))
            })
            .collect();
        Self { writers, done, counts }
    }

    /// Waits until so many more commands have been acknowledged.
    pub async fn acknowledged(&self, more: usize) {
        let wanted = self.counts.acknowledged.load(Ordering::Relaxed) + more;
        let count = || self.counts.acknowledged.load(Ordering::Relaxed);
        eventually("commands to be acknowledged", async || {
            let failed = self.writers.iter().any(JoinHandle::is_finished);
            (failed || count() >= wanted).then_some(())
        })
        .await;
    }

    /// Waits until a client sends a command again: it was told that the service cannot take it now, or nothing.
    pub async fn sent_again(&self) {
        let before = self.counts.resent.load(Ordering::Relaxed);
        eventually("a command to be sent again", async || {
            let failed = self.writers.iter().any(JoinHandle::is_finished);
            (failed || self.counts.resent.load(Ordering::Relaxed) > before).then_some(())
        })
        .await;
    }

    /// Lets every client finish, and makes sure that nothing is lost and nothing doubled.
    pub async fn finish(self, cluster: &Cluster) -> Outcome {
        self.done.store(true, Ordering::Relaxed);
        let written = join_all(self.writers).await;
        let acknowledged: Vec<Acknowledged> =
            written.into_iter().flat_map(|writer| writer.expect("a client")).collect();
        assert!(acknowledged.len() > WRITERS, "{} commands are no load", acknowledged.len());
        check_log(&cluster.log().await, &acknowledged).await;
        cluster.verify().await;
        check_answers(cluster, &acknowledged).await;
        let mut waited: Vec<Duration> = acknowledged.iter().map(|command| command.waited).collect();
        waited.sort_unstable();
        Outcome { commands: acknowledged.len(), resent: self.counts.resent.load(Ordering::Relaxed), waited }
    }
}

struct Writer {
    number: usize,
    takers: Takers,
    counts: Arc<Counts>,
}

impl Writer {
    /// Time that was lost is made up for, as all that were due meanwhile are due at once.
    async fn run(self, mut due: Interval, done: Arc<AtomicBool>) -> Vec<Acknowledged> {
        let mut acknowledged: Vec<Acknowledged> = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let due_at = due.tick().await;
            let (number, turn) = (self.number, acknowledged.len() / COMMANDS_PER_CASE);
            let case = match number % SHARING {
                0 => format!("S{:02}{turn:02}AA", number / (2 * SHARING)),
                _ => format!("A{number:02}{turn:02}AA"),
            };
            let what = format!("{}, {}", self.number, acknowledged.len());
            let (key, answer) = self.send(&case, &what).await;
            acknowledged.push(Acknowledged {
                key: CommandId(key),
                case,
                what,
                position: answer.header("ledger-position").and_then(|text| text.parse().ok()).expect("a position"),
                revision: answer.header("etag").and_then(|tag| tag.trim_matches('"').parse().ok()).expect("a revision"),
                waited: due_at.elapsed(),
            });
            self.counts.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        acknowledged
    }

    /// Sends a command to one service or another until it is answered.
    async fn send(&self, case: &str, what: &str) -> (Uuid, Answer) {
        let key = Uuid::new_v4();
        let key_text = key.to_string();
        let headers = [("Idempotency-Key", key_text.as_str())];
        let path = format!("/prisoners/{case}/community-manager");
        let body = json!({"name": what, "effectiveAt": "2026-02-02T09:00:00Z"});
        for attempt in self.number.. {
            let taker = {
                let takers = self.takers.read().expect("the services");
                (!takers.is_empty()).then(|| takers[attempt % takers.len()].clone())
            };
            if let Some(taker) = taker {
                let sent = taker.try_send(Method::PUT, &path, &headers, Some(&body));
                match timeout(ANSWER_TIME_MAX, sent).await {
                    Ok(Ok(answer)) if matches!(answer.status, StatusCode::CREATED | StatusCode::OK) => {
                        return (key, answer);
                    }
                    Ok(Ok(answer)) if answer.status == StatusCode::SERVICE_UNAVAILABLE => {
                        assert!(answer.header("retry-after").is_some(), "{answer:?}");
                    }
                    Ok(Ok(answer)) => panic!("{path}: {answer:?}"),
                    // No answer: nobody knows whether it was recorded.
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            self.counts.resent.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(RESEND_PAUSE).await;
        }
        unreachable!("it is sent again without end")
    }
}

/// Everything that the log holds.
pub async fn read(log: &SharedLog) -> Vec<StoredEvent> {
    let mut events: Vec<StoredEvent> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.entry.position);
        let page = log.read_all(after, 10_000).await.expect("a page of the log");
        if page.is_empty() {
            return events;
        }
        events.extend(page.iter().map(|event| decode(event).expect("an event")));
    }
}

/// Whether a case is one that only clients of a load work on.
fn of_a_load(stream: &Stream) -> bool {
    matches!(stream, Stream::Prisoner(number) if number.as_str().starts_with(['A', 'S']))
}

/// Each command stands once, where its answer said; and nothing else does.
async fn check_log(log: &SharedLog, acknowledged: &[Acknowledged]) {
    let events = read(log).await;
    let mut by_id = HashMap::new();
    for event in &events {
        let doubled = by_id.insert(event.entry.event_id, event);
        assert!(doubled.is_none(), "an event stands twice: {event:?} and {doubled:?}");
    }
    for command in acknowledged {
        let Some(event) = by_id.remove(&command.key.event_id(0)) else { panic!("{command:?} is lost") };
        let stream = Stream::Prisoner(command.case.parse().expect("a prisoner number"));
        let stands = (&event.stream, event.entry.revision, event.entry.position);
        assert_eq!(stands, (&stream, command.revision, command.position), "{command:?} stands elsewhere");
        let Event::Prisoner(PrisonerEvent::CommunityManagerAssigned(manager)) = &event.entry.event else {
            panic!("another event than that of {command:?}: {event:?}")
        };
        assert_eq!(manager.name, command.what);
    }
    let unasked = by_id.values().find(|event| of_a_load(&event.stream));
    assert!(unasked.is_none(), "nobody asked for this: {unasked:?}");
}

/// The query service's answer for each case includes what was recorded of it last.
async fn check_answers(cluster: &Cluster, acknowledged: &[Acknowledged]) {
    let mut last: HashMap<&str, &Acknowledged> = HashMap::new();
    for command in acknowledged {
        let known = last.entry(&command.case).or_insert(command);
        if command.revision > known.revision {
            *known = command;
        }
    }
    let query = cluster.query.as_ref().expect("a query service").client();
    for (case, command) in last {
        let answer = query.get(&format!("/prisoners/{case}/responsibility")).await;
        assert_eq!(answer.body["asOf"]["revision"], command.revision, "{case}: {}", answer.text);
    }
}
