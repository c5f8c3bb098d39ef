//! `kill -9` of a writing process, and of the server, under concurrent load.
//!
//! Every writer records its attempts and their acknowledgements outside the killed process.
//! Afterwards each acknowledged event must be in the log once, at the position and revision of the
//! answer. An unacknowledged attempt is repeated and must then be there once. There must be no
//! other event, and a follower from the start must have received the same events.
//!
//! Left to chance: where in a batch the kill falls. Several rounds make up for it.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::Utc;
use domain::{
    Stream,
    identifier::{CommandId, EventId},
};
use embedded_postgres::Server;
use event_log::{
    AppendError, AppendReceipt,
    ExpectedRevision::{self, Exact, NoStream},
    FollowerItem, LogError, NewEvent, RecordedEvent, SharedLog, contract,
};
use event_log_postgres::{PostgresLog, migrate};
use futures::StreamExt as _;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use sqlx::postgres::PgPoolOptions;
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

use crate::support::{self, DataDir, eventually, whole_log::read_recorded};

const WRITERS: usize = 64;
/// The number of streams that half of the writers share.
const HOT_STREAMS: usize = 4;

/// The database and the load of the child process.
const CHILD_URL: &str = "EVENT_LOG_TEST_CHILD_URL";
const CHILD_LOAD: &str = "EVENT_LOG_TEST_CHILD_LOAD";

/// One append of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PlannedAppend {
    load: Uuid,
    writer: usize,
    number: usize,
}

impl PlannedAppend {
    /// All loads on one database share the hot streams. The other streams belong to one load.
    fn stream(self, hot: Uuid) -> Stream {
        if self.writer.is_multiple_of(2) {
            contract::made_up_stream(hot, (self.writer / 2 % HOT_STREAMS) as u64)
        } else {
            contract::made_up_stream(self.load, 100 + self.writer as u64)
        }
    }

    fn event_ids(self) -> Vec<EventId> {
        let command = CommandId(self.load).derive(&format!("{}-{}", self.writer, self.number));
        (0..1 + self.number % 3).map(|index| contract::made_up_event_id(command.0, index)).collect()
    }

    fn events(self) -> Vec<NewEvent> {
        self.event_ids().into_iter().map(|id| contract::made_up_event(id, Utc::now())).collect()
    }
}

/// The attempts and acknowledgements of the writers.
#[derive(Debug, Default)]
struct AppendRecord {
    /// The last expected revision of each attempt.
    tried: HashMap<PlannedAppend, ExpectedRevision>,
    /// The revision and position of each acknowledgement.
    acknowledged: HashMap<PlannedAppend, (u64, u64)>,
}

impl AppendRecord {
    fn acknowledge(&mut self, step: PlannedAppend, appended: &AppendReceipt) {
        self.acknowledged.insert(step, (appended.revision, appended.position));
    }

    /// Repeats each unacknowledged attempt as it was. If the store refuses it for certain, sends it
    /// with the stream's current revision.
    async fn send_the_rest(&mut self, log: &SharedLog, hot: Uuid) {
        let rest: Vec<_> = self
            .tried
            .iter()
            .filter(|(step, _)| !self.acknowledged.contains_key(step))
            .map(|(s, e)| (*s, *e))
            .collect();
        for (step, mut expected) in rest {
            let appended = loop {
                match log.append(&step.stream(hot), expected, step.events()).await {
                    Ok(appended) => break appended,
                    Err(AppendError::Conflict { actual, .. }) => expected = actual,
                    Err(error) => panic!("{error:?}"),
                }
            };
            self.acknowledge(step, &appended);
        }
    }

    /// Asserts that the log has exactly the recorded events.
    fn check(&self, log: &[RecordedEvent]) {
        assert_eq!(contract::find_disorder(log), None);
        let positions: Vec<u64> = log.iter().map(|event| event.position).collect();
        assert!(positions.iter().copied().eq(1..=log.len() as u64), "positions are dense");
        let by_id: HashMap<EventId, &RecordedEvent> = log.iter().map(|event| (event.event_id, event)).collect();
        for (step, &(revision, position)) in &self.acknowledged {
            for (index, id) in step.event_ids().iter().rev().enumerate() {
                let event = by_id.get(id).unwrap_or_else(|| panic!("{step:?} was acknowledged and is lost"));
                let expected = (revision - index as u64, position - index as u64);
                assert_eq!((event.revision, event.position), expected, "{step:?}");
            }
        }
        let tried: HashSet<EventId> = self.tried.keys().flat_map(|step| step.event_ids()).collect();
        assert!(log.iter().all(|event| tried.contains(&event.event_id)), "an event stands that nobody tried");
    }
}

/// Follows the log from its start up to the position that the sender gives. After an outage it
/// continues from where it was.
fn follow(log: SharedLog) -> (watch::Sender<u64>, JoinHandle<Vec<RecordedEvent>>) {
    let (end, mut until) = watch::channel(u64::MAX);
    let task = tokio::spawn(async move {
        let mut seen: Vec<RecordedEvent> = Vec::new();
        let position = |seen: &Vec<RecordedEvent>| seen.last().map_or(0, |event| event.position);
        let mut follower = log.follow_all(0);
        while position(&seen) < *until.borrow_and_update() {
            tokio::select! {
                item = follower.next() => match item.expect("a follower without end") {
                    Ok(FollowerItem::Events(events)) => seen.extend(events),
                    Ok(FollowerItem::CaughtUp { position: end }) => assert_eq!(end, position(&seen)),
                    Err(LogError::Unavailable(_)) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        follower = log.follow_all(position(&seen));
                    }
                    Err(error) => panic!("{error:?}"),
                },
                _ = until.changed() => {}
            }
        }
        seen
    });
    (end, task)
}

async fn connect(url: &str) -> SharedLog {
    let pool = PgPoolOptions::new().max_connections(6).connect_lazy(url).expect("a URL");
    migrate(&pool).await.expect("migrate");
    Arc::new(PostgresLog::connect(&pool).await.expect("connect to the log"))
}

/// The writing process, started by [`acknowledged_events_outlive_the_kill_of_a_writing_process`].
/// It is not a test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by another test"]
async fn writing_process() {
    let url = std::env::var(CHILD_URL).expect("the database's URL");
    let loads = std::env::var(CHILD_LOAD).expect("the loads' names");
    let (hot, load) = loads.split_once(' ').expect("two names");
    let (hot, load): (Uuid, Uuid) = (hot.parse().expect("a UUID"), load.parse().expect("a UUID"));
    let log = connect(&url).await;
    // One write for each line, so that a kill may lose lines but does not split one.
    let say = |line: String| std::io::stdout().lock().write_all(line.as_bytes()).expect("say it");
    let writers = (0..WRITERS).map(|writer| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut expected = NoStream;
            for number in 0.. {
                let step = PlannedAppend { load, writer, number };
                let appended = loop {
                    say(format!("\ntry {writer} {number} {}\n", expected.next()));
                    match log.append(&step.stream(hot), expected, step.events()).await {
                        Ok(appended) => break appended,
                        Err(AppendError::Conflict { actual, .. }) => expected = actual,
                        Err(error) => panic!("{error:?}"),
                    }
                };
                say(format!("\nack {writer} {number} {} {}\n", appended.revision, appended.position));
                expected = Exact(appended.revision);
            }
        })
    });
    futures::future::join_all(writers.collect::<Vec<_>>()).await;
}

fn start_writing_process(url: &str, hot: Uuid, load: Uuid) -> Child {
    // The running program, even if it has been rebuilt meanwhile.
    Command::new("/proc/self/exe")
        .args(["--exact", "stores::postgres::crash::writing_process", "--ignored", "--nocapture"])
        .env(CHILD_URL, url)
        .env(CHILD_LOAD, format!("{hot} {load}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the writing process")
}

/// Reads the lines of a writing process until `count` appends are acknowledged, kills it, and reads
/// the rest.
fn read_and_kill(mut child: Child, load: Uuid, count: usize) -> AppendRecord {
    let mut heard = AppendRecord::default();
    let mut killed = false;
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    for line in lines {
        let line = line.expect("a line of the writing process");
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        let step = || PlannedAppend { load, writer: number(1) as usize, number: number(2) as usize };
        match words.as_slice() {
            ["try", _, _, _] => {
                let expected = number(3).checked_sub(1).map_or(NoStream, Exact);
                heard.tried.insert(step(), expected);
            }
            ["ack", _, _, _, _] => {
                heard.acknowledged.insert(step(), (number(3), number(4)));
                if heard.acknowledged.len() == count {
                    child.kill().expect("kill the writing process");
                    killed = true;
                }
            }
            // Lines of the test harness.
            _ => {}
        }
    }
    assert!(killed, "the writing process ended by itself after {} appends", heard.acknowledged.len());
    child.wait().expect("the writing process ends");
    heard
}

/// Two processes write to one log. They are killed in turn, several times.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_outlive_the_kill_of_a_writing_process() {
    let database = support::database().await;
    let log = connect(&database.url).await;
    let (end, follower) = follow(Arc::clone(&log));
    let hot = Uuid::new_v4();
    let mut heard = AppendRecord::default();
    for round in 0..3 {
        let processes = [500, 900].map(|count| {
            let (url, load) = (database.url.clone(), Uuid::new_v4());
            tokio::task::spawn_blocking(move || {
                read_and_kill(start_writing_process(&url, hot, load), load, count + 77 * round)
            })
        });
        for process in processes {
            let one = process.await.expect("hear a writing process");
            assert!(one.tried.len() > one.acknowledged.len(), "it was killed in the middle");
            heard.tried.extend(one.tried);
            heard.acknowledged.extend(one.acknowledged);
        }
        heard.check(&read_recorded(&*log).await);
        heard.send_the_rest(&log, hot).await;
        heard.check(&read_recorded(&*log).await);
    }
    let events = read_recorded(&*log).await;
    end.send_replace(events.len() as u64);
    assert_eq!(follower.await.expect("follow"), events);
}

/// The server is killed twice while two instances write to it. Writers repeat each append until it
/// is answered.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_outlive_the_kill_of_the_server() {
    const STEPS: usize = 40;
    let dir = DataDir::new();
    let server = Server::start(dir.path()).await.expect("start Postgres");
    server.create_database("log").await.expect("make a database");
    let url = server.url("log");
    let logs = [connect(&url).await, connect(&url).await];
    let (end, follower) = follow(Arc::clone(&logs[1]));
    let (hot, load) = (Uuid::new_v4(), Uuid::new_v4());
    let heard = Arc::new(Mutex::new(AppendRecord::default()));
    let done = Arc::new(AtomicUsize::new(0));
    let outages = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (log, heard) = (Arc::clone(&logs[writer / 2 % 2]), Arc::clone(&heard));
            let (done, outages) = (Arc::clone(&done), Arc::clone(&outages));
            tokio::spawn(async move {
                let mut expected = NoStream;
                for number in 0..STEPS {
                    let step = PlannedAppend { load, writer, number };
                    let appended = loop {
                        heard.lock().expect("the record").tried.insert(step, expected);
                        match log.append(&step.stream(hot), expected, step.events()).await {
                            Ok(appended) => break appended,
                            Err(AppendError::Conflict { actual, .. }) => expected = actual,
                            Err(AppendError::Log(LogError::Unavailable(_))) => {
                                outages.fetch_add(1, Ordering::Relaxed);
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                            Err(error) => panic!("{error:?}"),
                        }
                    };
                    heard.lock().expect("the record").acknowledge(step, &appended);
                    expected = Exact(appended.revision);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for part in [1, 2] {
        eventually("appends", async || (done.load(Ordering::Relaxed) > part * WRITERS * STEPS / 3).then_some(())).await;
        let killed = server.postmaster_pid();
        signal::kill(Pid::from_raw(killed), Signal::SIGKILL).expect("kill Postgres");
        eventually("another server", async || (server.postmaster_pid() != killed).then_some(())).await;
    }
    for writer in writers {
        writer.await.expect("write");
    }
    assert!(outages.load(Ordering::Relaxed) > 0, "nobody noticed that the server was killed");
    let events = read_recorded(&*logs[0]).await;
    {
        let heard = heard.lock().expect("the record");
        assert_eq!(heard.acknowledged.len(), WRITERS * STEPS);
        heard.check(&events);
    }
    end.send_replace(events.len() as u64);
    assert_eq!(follower.await.expect("follow"), events);
    drop(logs);
    server.stop().await.expect("stop Postgres");
}
