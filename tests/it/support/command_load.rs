//! Clients that send commands at a steady rate and repeat each until it is acknowledged.
//!
//! Afterwards each command must be in the log once, where its answer said, and the views must equal
//! the log.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{Event, Stream, identifier::CommandId, prisoner::PrisonerEvent};
use event_log::SharedLog;
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, Interval, interval_at, timeout},
};
use uuid::Uuid;

use super::{
    Client, HttpAnswer, eventually,
    service_cluster::{CommandClients, ServiceCluster},
    whole_log::read_stored,
};

/// Commands a second, which two cores carry beside all the services of a cluster.
pub const RATE: u32 = 200;

/// The number of clients. With so many, an answer takes a fifth of the time that a client has for
/// it, and the client can make up for an outage.
const WRITERS: usize = 100;

/// One client in so many shares its cases with another. No more than two share a case: with a log
/// on KurrentDB a case takes ten commands a second at most, since each waits for the one before it
/// and makes two calls to the server.
const SHARING: usize = 4;

/// The number of commands that a client sends to a case before it turns to another. Real histories
/// are short too.
const COMMANDS_PER_CASE: usize = 20;

/// The time after which a client repeats a command.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// The pause before a client repeats a command.
const RESEND_PAUSE: Duration = Duration::from_millis(50);

/// Running clients.
pub struct CommandLoad {
    writers: Vec<JoinHandle<Vec<AcknowledgedCommand>>>,
    done: Arc<AtomicBool>,
    counts: Arc<LoadCounts>,
}

/// The commands of all clients so far.
#[derive(Debug, Default)]
struct LoadCounts {
    acknowledged: AtomicUsize,
    resent: AtomicUsize,
}

/// An acknowledged command.
#[derive(Debug)]
pub struct AcknowledgedCommand {
    key: CommandId,
    case: String,
    what: String,
    position: u64,
    revision: u64,
    /// The time between its due time and its answer.
    waited: Duration,
}

/// The result of a load.
#[derive(Debug)]
pub struct LoadOutcome {
    pub commands: usize,
    pub resent: usize,
    /// The time between due time and answer of each command, sorted.
    waited: Vec<Duration>,
}

impl LoadOutcome {
    /// The longest wait of so many per cent of the commands.
    pub fn waited_percentile(&self, percent: usize) -> Duration {
        self.waited[(self.commands - 1) * percent / 100]
    }
}

impl CommandLoad {
    /// Starts all clients, which together send so many commands a second.
    pub fn start(command_clients: &CommandClients, per_second: u32) -> Self {
        let (done, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(LoadCounts::default()));
        let (between, begun) = (Duration::from_secs(1) / per_second, Instant::now());
        let writers = (0..WRITERS)
            .map(|number| {
                let writer = CommandWriter { number, command_clients: command_clients.clone(), counts: counts.clone() };
                // Staggered, so that the rate is even.
                let due = interval_at(begun + between * number as u32, between * WRITERS as u32);
                tokio::spawn(writer.run(due, done.clone()))
            })
            .collect();
        Self { writers, done, counts }
    }

    /// Waits until so many more commands are acknowledged.
    pub async fn wait_for_acknowledgements(&self, more: usize) {
        let wanted = self.counts.acknowledged.load(Ordering::Relaxed) + more;
        let count = || self.counts.acknowledged.load(Ordering::Relaxed);
        eventually("commands to be acknowledged", async || {
            let failed = self.writers.iter().any(JoinHandle::is_finished);
            (failed || count() >= wanted).then_some(())
        })
        .await;
    }

    /// Waits until a client repeats a command, after a 503 or a lost answer.
    pub async fn wait_for_resend(&self) {
        let before = self.counts.resent.load(Ordering::Relaxed);
        eventually("a command to be sent again", async || {
            let failed = self.writers.iter().any(JoinHandle::is_finished);
            (failed || self.counts.resent.load(Ordering::Relaxed) > before).then_some(())
        })
        .await;
    }

    /// Stops the clients after their current commands, and asserts that no command is lost or
    /// doubled.
    pub async fn finish(self, cluster: &ServiceCluster) -> LoadOutcome {
        let (log, query) = (cluster.log().await, cluster.query.as_ref().expect("a query service"));
        self.finish_at(&log, query.client(), cluster.verify()).await
    }

    /// As [`Self::finish`], on a log whose views another client answers from. `verify` must compare
    /// the views with the log.
    pub async fn finish_at(self, log: &SharedLog, query: &Client, verify: impl Future<Output = ()>) -> LoadOutcome {
        self.done.store(true, Ordering::Relaxed);
        let written = join_all(self.writers).await;
        let acknowledged: Vec<AcknowledgedCommand> =
            written.into_iter().flat_map(|writer| writer.expect("a client")).collect();
        assert!(acknowledged.len() > WRITERS, "{} commands are no load", acknowledged.len());
        check_log(log, &acknowledged).await;
        verify.await;
        check_answers(query, &acknowledged).await;
        let mut waited: Vec<Duration> = acknowledged.iter().map(|command| command.waited).collect();
        waited.sort_unstable();
        LoadOutcome { commands: acknowledged.len(), resent: self.counts.resent.load(Ordering::Relaxed), waited }
    }
}

struct CommandWriter {
    number: usize,
    command_clients: CommandClients,
    counts: Arc<LoadCounts>,
}

impl CommandWriter {
    /// Makes up for lost time: commands that became due meanwhile are sent at once.
    async fn run(self, mut due: Interval, done: Arc<AtomicBool>) -> Vec<AcknowledgedCommand> {
        let mut acknowledged: Vec<AcknowledgedCommand> = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let due_at = due.tick().await;
            let (number, turn) = (self.number, acknowledged.len() / COMMANDS_PER_CASE);
            let case = match number % SHARING {
                0 => format!("S{:02}{turn:02}AA", number / (2 * SHARING)),
                _ => format!("A{number:02}{turn:02}AA"),
            };
            let what = format!("{}, {}", self.number, acknowledged.len());
            let (key, answer) = self.send(&case, &what).await;
            acknowledged.push(AcknowledgedCommand {
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
    async fn send(&self, case: &str, what: &str) -> (Uuid, HttpAnswer) {
        let key = Uuid::new_v4();
        let key_text = key.to_string();
        let headers = [("Idempotency-Key", key_text.as_str())];
        let path = format!("/prisoners/{case}/community-manager");
        let body = json!({"name": what, "effectiveAt": "2026-02-02T09:00:00Z"});
        for attempt in self.number.. {
            let taker = {
                let command_clients = self.command_clients.read().expect("the services");
                (!command_clients.is_empty()).then(|| command_clients[attempt % command_clients.len()].clone())
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
                    // No answer: the command may or may not be recorded.
                    Ok(Err(_)) | Err(_) => {}
                }
            }
            self.counts.resent.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(RESEND_PAUSE).await;
        }
        unreachable!("it is sent again without end")
    }
}

/// Whether only clients of a load write to this case.
fn belongs_to_a_load(stream: &Stream) -> bool {
    matches!(stream, Stream::Prisoner(number) if number.as_str().starts_with(['A', 'S']))
}

/// Asserts that each command is in the log once, where its answer said, and that no other is.
async fn check_log(log: &SharedLog, acknowledged: &[AcknowledgedCommand]) {
    let events = read_stored(&**log).await;
    let mut by_id = HashMap::new();
    for event in &events {
        let doubled = by_id.insert(event.entry.event_id, event);
        assert!(doubled.is_none(), "an event stands twice: {event:?} and {doubled:?}");
    }
    for command in acknowledged {
        let stream = Stream::Prisoner(command.case.parse().expect("a prisoner number"));
        let Some(event) = by_id.remove(&command.key.event_id(&stream, 0)) else { panic!("{command:?} is lost") };
        let stands = (&event.stream, event.entry.revision, event.entry.position);
        assert_eq!(stands, (&stream, command.revision, command.position), "{command:?} stands elsewhere");
        let Event::Prisoner(PrisonerEvent::CommunityManagerAssigned(manager)) = &event.entry.event else {
            panic!("another event than that of {command:?}: {event:?}")
        };
        assert_eq!(manager.name, command.what);
    }
    let unasked = by_id.values().find(|event| belongs_to_a_load(&event.stream));
    assert!(unasked.is_none(), "nobody asked for this: {unasked:?}");
}

/// Asserts that the answer about each case includes its last command, once the views do.
async fn check_answers(query: &Client, acknowledged: &[AcknowledgedCommand]) {
    let mut last: HashMap<&str, &AcknowledgedCommand> = HashMap::new();
    for command in acknowledged {
        let known = last.entry(&command.case).or_insert(command);
        if command.revision > known.revision {
            *known = command;
        }
    }
    for (case, command) in last {
        let path = format!("/prisoners/{case}/responsibility");
        let position = command.position.to_string();
        let answer = eventually("the command in the views", async || {
            let answer = query.send(Method::GET, &path, &[("Ledger-Position-At-Least", &position)], None).await;
            (answer.status != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
        })
        .await;
        assert_eq!(answer.body["asOf"]["revision"], command.revision, "{case}: {}", answer.text);
    }
}
