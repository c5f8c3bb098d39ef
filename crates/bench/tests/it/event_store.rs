//! `bench --event-store`, run briefly on the stand-in for KurrentDB. Its figures are not judged.

use std::{
    collections::BTreeMap,
    net::TcpStream,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use clap::Parser as _;
use embedded_postgres::Server;
use kurrentdb::{Client, ReadAllOptions, StreamPosition};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{bench, printed};

/// How long a test waits for what must happen.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// A stand-in that runs as long as this process.
struct StandIn {
    address: String,
    _directory: TempDir,
}

impl StandIn {
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // On a loopback network of its own every port is free.
        let [network, subnet, ..] = Uuid::new_v4().into_bytes();
        let address = format!("127.{}.{subnet}.1:2113", network.clamp(1, 254));
        let file = directory.path().join("events").display().to_string();
        let own = ["stand-in", "--listen", &address, "--data", &file];
        let arguments = own.into_iter().chain(arguments.iter().copied());
        let arguments = kurrentdb_stand_in::Arguments::try_parse_from(arguments).expect("arguments");
        thread::spawn(|| kurrentdb_stand_in::run(arguments).expect("a server"));
        eventually("a server that listens", || TcpStream::connect(&address).ok());
        Self { address, _directory: directory }
    }

    fn url(&self) -> String {
        format!("kurrentdb://{}?tls=false", self.address)
    }

    /// The type of the last event in each stream of the measurement.
    async fn last_types(&self) -> BTreeMap<String, String> {
        let client = Client::new(format!("{}&discoveryInterval=10", self.url()).parse().expect("a URL"));
        let options = ReadAllOptions::default().position(StreamPosition::Start);
        let mut read = client.expect("a client").read_all(&options).await.expect("read");
        let mut streams = BTreeMap::new();
        while let Some(event) = read.next().await.expect("read") {
            let event = event.get_original_event();
            if event.stream_id().trim_start_matches('.').starts_with("bench-") {
                streams.insert(event.stream_id().to_owned(), event.event_type.clone());
            }
        }
        streams
    }

    async fn assert_cleaned_up(&self) {
        let left = self.last_types().await;
        assert!(!left.is_empty(), "nothing was written");
        let left: Vec<_> = left.iter().filter(|(_, last)| *last != "$streamDeleted").collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A Postgres server for the views.
struct ViewsServer {
    server: Server,
    _directory: TempDir,
}

impl ViewsServer {
    async fn start() -> Self {
        let directory =
            allocation_ledger::temporary_directory::temporary_directory("bench-test-").expect("a directory");
        let server = Server::start(directory.path()).await.expect("start Postgres");
        Self { server, _directory: directory }
    }

    fn url(&self) -> String {
        self.server.url("postgres")
    }

    async fn databases(&self) -> Vec<String> {
        let mut connection = PgConnection::connect(&self.url()).await.expect("connect");
        let names = "SELECT datname FROM pg_database ORDER BY datname";
        sqlx::query_scalar(names).fetch_all(&mut connection).await.expect("read the names")
    }

    async fn stop(self) {
        self.server.stop().await.expect("stop Postgres");
    }
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < WAIT_MAX, "{what} was to be there");
        thread::sleep(Duration::from_millis(20));
    }
}

fn measure_briefly(arguments: &[&str]) -> Command {
    let mut command = bench(&["--seconds", "1", "--events", "2000"]);
    command.args(arguments);
    command
}

#[track_caller]
fn assert_refused(output: &Output, parts: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{error}");
    // A tool that was interrupted says so first.
    let said = error.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(parts.iter().all(|part| said.contains(part)), "{parts:?}: {error}");
    assert!(!error.contains("secret"), "{error}");
}

/// The first cells of the rows, and whether each row has a ratio and a goal.
fn rows(table: &str) -> Vec<(String, bool, bool)> {
    let rows = table.lines().map(|line| line.split(['│', '┆']).map(str::trim).skip(1).collect::<Vec<_>>());
    rows.skip(1)
        .filter_map(|cells| match cells[..] {
            ["measured", ..] => None,
            [what, figure, ratio, goal, ..] if !figure.is_empty() => {
                // Figures and numbers of events differ from run to run.
                let what = what.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default();
                Some((what.to_owned(), !ratio.is_empty(), !goal.is_empty()))
            }
            _ => None,
        })
        .collect()
}

/// The rows that are there in any case, in three parts: those of views come between and after them.
const PLAIN: [(&str, bool, bool); 8] = [
    ("plain client: append of one event, one caller, median", false, false),
    ("plain client: appends of one event, ", false, false),
    ("plain client: appends on one batch call, ", false, false),
    ("plain client: appends on one batch call, ", false, false),
    ("plain client: `$all` of ", false, false),
    ("generate, events", true, true),
    ("copy, events", true, true),
    ("replay --raw, events", true, true),
];
const ONE_CALLER: [(&str, bool, bool); 2] = [
    ("command on a known case over HTTP, one caller, median", true, true),
    ("command on a new case over HTTP, one caller, median", true, true),
];
const MANY_CALLERS: [(&str, bool, bool); 2] =
    [("commands on known cases over HTTP, ", true, true), ("commands on new cases over HTTP, ", true, true)];

#[track_caller]
fn assert_rows(table: &str, expected: &[&[(&str, bool, bool)]]) {
    let expected = expected.concat().into_iter().map(|(what, ratio, goal)| (what.to_owned(), ratio, goal));
    assert_eq!(rows(table), expected.collect::<Vec<_>>(), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_measured_beside_a_plain_client_and_left_clean() {
    let server = StandIn::start(&[]);
    let output = measure_briefly(&["--event-store", &server.url()]).output().expect("run the benchmark");
    let starts = [
        ("first start, role command: ready after", false, false),
        ("second start, role command: ready after", false, true),
    ];
    assert_rows(&printed(&output), &[&PLAIN, &starts, &ONE_CALLER, &MANY_CALLERS]);
    server.assert_cleaned_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_measured_with_views_in_a_database_that_is_dropped() {
    let (server, postgres) = (StandIn::start(&[]), ViewsServer::start().await);
    let before = postgres.databases().await;
    let arguments = ["--event-store", &server.url(), "--views", &postgres.url()];
    let output = measure_briefly(&arguments).output().expect("run the benchmark");
    let views = [
        ("projections rebuild, events", true, true),
        ("first start, role all: ready after", false, false),
        ("second start, role command: ready after", false, true),
        ("second start, role projector: ready after", false, true),
        ("second start, role query: ready after", false, true),
        ("second start, role all: ready after", false, true),
    ];
    let answer = [("command, then the answer with it, one caller, median", true, true)];
    assert_rows(&printed(&output), &[&PLAIN, &views, &ONE_CALLER, &answer, &MANY_CALLERS]);
    server.assert_cleaned_up().await;
    assert_eq!(postgres.databases().await, before);
    postgres.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_measurement_leaves_nothing_behind() {
    let (server, postgres) = (StandIn::start(&[]), ViewsServer::start().await);
    let before = postgres.databases().await;
    let mut command = measure_briefly(&["--event-store", &server.url(), "--views", &postgres.url()]);
    let bench = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
    let bench = bench.expect("start the benchmark");
    let started = Instant::now();
    // The program has begun to write a ledger, in a process of its own.
    while !server.last_types().await.keys().any(|stream| stream.contains("made-up")) {
        assert!(started.elapsed() < WAIT_MAX, "a ledger was to be made up");
    }
    assert_ne!(postgres.databases().await, before);
    kill(Pid::from_raw(bench.id().try_into().expect("a process id")), Signal::SIGINT).expect("interrupt it");
    let output = bench.wait_with_output().expect("wait for the benchmark");
    assert_refused(&output, &["interrupted: ", "is gone"]);
    server.assert_cleaned_up().await;
    assert_eq!(postgres.databases().await, before);
    postgres.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_server_is_said_before_anything_is_measured() {
    let refused = |event_store: &str, views: Option<&str>, parts: &[&str]| {
        let mut command = measure_briefly(&["--event-store", event_store]);
        command.args(views.map(|views| format!("--views={views}")));
        assert_refused(&command.output().expect("run the benchmark"), parts);
    };
    let server = StandIn::start(&["--user", "ledger:secret"]);
    let user = format!("kurrentdb://ledger:secret@{}?tls=false", server.address);
    refused("postgres://ledger:secret@127.0.0.1/ledger", None, &["--event-store", "KurrentDB server", "`bench` alone"]);
    refused("kurrentdb://ledger:secret@127.0.0.1:1?tls=false", None, &["--event-store", "127.0.0.1:1", "refused"]);
    refused("kurrentdb://ledger:secret@127.0.0.1:x", None, &["the port of a node"]);
    refused(&server.url(), None, &["access denied", "`$all`"]);
    refused(&user, Some("mysql://ledger:secret@127.0.0.1/ledger"), &["--views must be a URL"]);
    refused(&user, Some("postgres://ledger:secret@127.0.0.1:1/ledger"), &["--views", "is it running"]);

    let postgres = ViewsServer::start().await;
    let mut connection = PgConnection::connect(&postgres.url()).await.expect("connect");
    sqlx::raw_sql("CREATE ROLE plain LOGIN").execute(&mut connection).await.expect("make a role");
    let plain = postgres.url() + "&user=plain";
    refused(&user, Some(&plain), &["make a database", "CREATEDB"]);
    postgres.stop().await;
}
