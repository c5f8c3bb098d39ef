//! `serve`: it starts from nothing, stops in order, and recovers from any kill.

use std::{net::TcpListener, time::Duration};

use domain::{Event, Stream, identifier::CommandId, officer::CommunityManager, prisoner::PrisonerEvent};
use embedded_postgres::Server;
use event_log::{EventLog as _, ExpectedRevision, Salt, encode};
use event_log_postgres::PostgresLog;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::postmaster_pid;
use crate::support::{
    DataDir, Program,
    builders::{metadata, now},
    database, eventually, run, run_with_input,
};

fn is_alive(pid: i32) -> bool {
    // A process that ended keeps its id until its parent has waited for it.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Records that a prison joined, and asserts success.
async fn join_omic(program: &Program, prison: &str) {
    let body = json!({"goLiveDate": "2019-09-02", "estate": "MENS_CLOSED"});
    let answer = program.client().post(&format!("/prisons/{prison}/onboarding"), &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

/// Asserts that a prison has joined already: the rules must refuse to record it again.
async fn assert_joined(program: &Program, prison: &str) {
    let body = json!({"goLiveDate": "2019-09-02", "estate": "MENS_CLOSED"});
    let answer = program.client().post(&format!("/prisons/{prison}/onboarding"), &body).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert_eq!(answer.body["code"], "already-on-omic", "{}", answer.text);
}

#[tokio::test]
async fn serve_starts_on_an_empty_directory_and_stops_its_postgres() {
    let dir = DataDir::new();
    let program = Program::serve(dir.path()).await;
    let client = program.client();
    assert_eq!(client.get("/ping").await.text, "pong");
    assert_eq!(client.get("/health/ping").await.text, r#"{"status":"UP"}"#);
    assert_eq!(client.get("/v3/api-docs").await.body, client.get("/openapi.json").await.body);
    let info = client.get("/info").await;
    assert_eq!(info.body["build"]["name"], "allocation-ledger", "{}", info.text);
    assert!(info.body["build"]["version"].is_string(), "{}", info.text);
    assert_eq!(info.body["productId"], "default", "{}", info.text);
    let health = client.get("/health").await;
    assert_eq!(health.body["status"], "UP", "{}", health.text);
    let state = |component: &str| &health.body["components"][component]["details"]["state"];
    assert_eq!((state("policies"), state("projector")), (&json!("running"), &json!("running")), "{}", health.text);
    let openapi = client.get("/openapi.json").await;
    assert!(openapi.body["paths"]["/prisons/{prisonCode}/onboarding"].is_object(), "{}", openapi.text);
    let docs = client.get("/docs/").await;
    assert!(docs.status == 200 && docs.text.contains("swagger-ui"), "{}", docs.text);
    let elsewhere = client.get("/elsewhere").await;
    assert_eq!((elsewhere.status.as_u16(), &elsewhere.body["code"]), (404, &json!("path-unknown")));

    join_omic(&program, "LEI").await;
    let postmaster = postmaster_pid(&dir).expect("a server");
    signal::kill(Pid::from_raw(program.pid()), Signal::SIGTERM).expect("signal the program");
    eventually("the program to end", async || (!is_alive(program.pid())).then_some(())).await;
    assert!(program.stop().await.success());
    assert!(!is_alive(postmaster), "Postgres ends with the program");

    let program = Program::serve(dir.path()).await;
    assert_joined(&program, "LEI").await;
    assert!(program.stop().await.success());
}

#[tokio::test]
async fn a_killed_program_restarts_with_every_acknowledged_command() {
    let dir = DataDir::new();
    let program = Program::serve(dir.path()).await;
    join_omic(&program, "LEI").await;
    let postmaster = postmaster_pid(&dir).expect("a server");
    program.kill();
    assert!(is_alive(postmaster), "Postgres outlives a program that is killed");

    let program = Program::serve(dir.path()).await;
    assert_eq!(postmaster_pid(&dir), Some(postmaster), "the server left over is used again");
    assert_joined(&program, "LEI").await;
    assert!(program.stop().await.success());
    assert!(!is_alive(postmaster));
}

#[tokio::test]
async fn a_second_program_on_the_same_data_is_refused() {
    let dir = DataDir::new();
    let program = Program::serve(dir.path()).await;
    let data_dir = dir.path().to_str().expect("a path in UTF-8");
    let second = run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir, "--log-format", "text"]).await;
    assert_eq!(second.status.code(), Some(1));
    let expected = format!(
        "error: another allocation-ledger (process {}) is already serving the data directory {data_dir}: use that one, \
         stop it first, or choose another directory with --data-dir\n",
        program.pid()
    );
    assert_eq!(second.stderr, expected);
    join_omic(&program, "LEI").await;
    assert!(program.stop().await.success());
}

#[tokio::test]
async fn the_program_recovers_when_postgres_is_killed() {
    let dir = DataDir::new();
    let program = Program::serve(dir.path()).await;
    join_omic(&program, "LEI").await;
    let killed = postmaster_pid(&dir).expect("a server");
    signal::kill(Pid::from_raw(killed), Signal::SIGKILL).expect("kill Postgres");
    let client = program.client();
    let body = json!({"goLiveDate": "2019-09-02", "estate": "MENS_CLOSED"});
    // A process of the dead server may answer for another moment. After that, each answer is a 503
    // with `Retry-After` until there is another server.
    eventually("an answer by another server", async || {
        let key = [("Idempotency-Key", "3f0e6a56-97a5-4f0c-8d1b-6e51c5a3b8aa")];
        let answer = client.send(Method::POST, "/prisons/MDI/onboarding", &key, Some(&body)).await;
        match answer.status.as_u16() {
            200 | 201 => (postmaster_pid(&dir) != Some(killed)).then_some(()),
            503 => {
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                None
            }
            _ => panic!("{answer:?}"),
        }
    })
    .await;
    assert_joined(&program, "LEI").await;
    assert_joined(&program, "MDI").await;
    eventually("readiness", async || client.get("/health/readiness").await.status.is_success().then_some(())).await;
    assert!(program.stop().await.success());
}

#[tokio::test]
async fn a_tool_uses_the_running_server_and_may_outlive_the_program() {
    let dir = DataDir::new();
    let program = Program::serve(dir.path()).await;
    let postmaster = postmaster_pid(&dir).expect("a server");
    let tool = Server::start(dir.path()).await.expect("join the server");
    assert_eq!(tool.postmaster_pid(), postmaster);
    assert!(program.stop().await.success());
    assert!(is_alive(postmaster), "it is left to whoever still uses it");
    tool.stop().await.expect("stop Postgres");
    assert!(!is_alive(postmaster));
}

#[tokio::test]
async fn invalid_settings_are_refused_before_anything_starts() {
    let dir = DataDir::new();
    let data_dir = dir.path().to_str().expect("a path in UTF-8");
    let open_to_all = run(&["serve", "--listen", "0.0.0.0:0", "--data-dir", data_dir]).await;
    assert_eq!(open_to_all.status.code(), Some(1));
    assert!(open_to_all.stderr.contains("no sign-on is configured"), "{}", open_to_all.stderr);

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let on_it = run(&["serve", "--listen", &address, "--data-dir", data_dir]).await;
    assert_eq!(on_it.status.code(), Some(1));
    assert!(on_it.stderr.contains(&address), "{}", on_it.stderr);

    let unknown =
        run(&["serve", "--listen", "127.0.0.1:0", "--event-store", "mysql://here", "--views", "mysql://here"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.stderr.contains("--event-store must be a URL"), "{}", unknown.stderr);

    assert_eq!(run(&["serve", "--port", "80"]).await.status.code(), Some(2));
    assert!(std::fs::read_dir(dir.path()).expect("the directory").next().is_none(), "nothing was made");
}

#[tokio::test]
async fn a_start_succeeds_after_one_that_was_killed() {
    let dir = DataDir::new();
    let data_dir = dir.path().to_str().expect("a path in UTF-8");
    // Kills at many points of the first start: while the cluster is created and while the server
    // starts.
    for wait_ms in [50, 200, 400, 800] {
        Program::start_and_kill(&["--data-dir", data_dir], Duration::from_millis(wait_ms)).await;
    }
    let program = Program::serve(dir.path()).await;
    join_omic(&program, "LEI").await;
    assert!(program.stop().await.success());
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("postgres.new"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn history_works_with_and_without_a_running_program() {
    let dir = DataDir::new();
    let data_dir = dir.path().to_str().expect("a path in UTF-8");
    let nowhere = run(&["history", "A1234BC", "--data-dir", data_dir]).await;
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(nowhere.stderr.contains("there is no ledger in"), "{}", nowhere.stderr);

    let program = Program::serve(dir.path()).await;
    let client = program.client();
    let tier = json!({"tier": "B2", "source": "DELIUS", "crn": "X123456"});
    assert_eq!(client.post("/prisoners/A1234BC/tier", &tier).await.status, 201);
    let tier = json!({"tier": "A", "source": "MANUAL"});
    assert_eq!(client.post("/prisoners/A1234BC/tier", &tier).await.status, 201);

    let beside = run(&["history", "A1234BC", "--json", "--data-dir", data_dir]).await;
    assert!(beside.status.success(), "{}", beside.stderr);
    let mut lines: Vec<Value> = beside.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // The periods of responsibility come first.
    lines.retain(|line| line.get("eventId").is_some());
    assert_eq!(client.get("/prisoners/A1234BC/history").await.body, Value::Array(lines), "as over HTTP");
    assert!(program.stop().await.success());

    let alone = run(&["history", "A1234BC", "--known-at", "1", "--data-dir", data_dir]).await;
    assert!(alone.stdout.starts_with("A1234BC: 1 entry, newest last"), "{}", alone.stdout);
    assert!(alone.stdout.contains("Tier B2 assigned (DELIUS)"), "{}", alone.stdout);
    assert_eq!(postmaster_pid(&dir), None, "the server that it started is stopped");
    let unknown = run(&["history", "Z9999ZZ", "--data-dir", data_dir]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.stderr.contains("nothing is known of Z9999ZZ"), "{}", unknown.stderr);
    assert_eq!(run(&["history", "nonsense", "--data-dir", data_dir]).await.status.code(), Some(2));
}

#[tokio::test]
async fn handover_dates_on_the_command_line_equal_the_worked_examples() {
    let examples = include_str!("../../../crates/domain/tests/data/handover/examples.jsonl");
    let examples: Vec<Value> = examples.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let facts: String = examples.iter().map(|example| format!("{}\n", example["facts"])).collect();
    let ran = run_with_input(&["handover-dates"], &facts).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    let answers: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), examples.len());
    for (example, answer) in examples.iter().zip(&answers) {
        for (name, expected) in example["expect"].as_object().expect("what to expect") {
            assert_eq!(&answer[name], expected, "{name} of {}", example["name"]);
        }
    }
}

/// A shutdown gives up a client that does not read its answer, long before requests run out of
/// time.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_does_not_delay_a_shutdown() {
    let database = database().await;
    let program = Program::serve_with(&["--event-store", &database.url, "--views", &database.url]).await;
    let stream = Stream::Prisoner("A1234BC".parse().expect("a number"));
    let effective_at = now();
    let metadata = metadata(effective_at, "TEST", CommandId(uuid::Uuid::new_v4()));
    // More than the buffers of a connection hold.
    let manager =
        CommunityManager { name: "Lee, Sam".to_owned(), team: Some("x".repeat(400_000)), email: None, ldu: None };
    let named = Event::Prisoner(PrisonerEvent::CommunityManagerAssigned(manager));
    let events = (0..50).map(|index| encode(&stream, &named, index, &metadata, effective_at, Salt::random())).collect();
    let log = PostgresLog::connect(&database.pool).await.expect("the log");
    log.append(&stream, ExpectedRevision::NoStream, events).await.expect("append");

    let address = program.client().base_url().trim_start_matches("http://").to_owned();
    let client = TcpStream::connect(&address).await.expect("connect");
    let request = format!("GET /events HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
    client.writable().await.expect("a connection");
    assert_eq!(client.try_write(request.as_bytes()).expect("ask"), request.len());
    let (mut waiting, mut since) = (0, 0);
    eventually("the connection to be full", async || {
        let now = bytes_on_the_way(client.local_addr().expect("an address").port());
        // More than the beginning of a stream before its first event.
        since = if now > 100_000 && now == waiting { since + 1 } else { 0 };
        waiting = now;
        (since > 50).then_some(())
    })
    .await;
    assert!(waiting < 20_000_000, "not all of it is on the way");

    let (status, log) = program.stop_and_read_log().await;
    assert!(status.success());
    assert!(!log.contains("closing connections that were still open"), "{log}");
    drop(client);
}

/// The bytes in this machine's buffers between this port and any other: sent by one side and not
/// read by the other.
fn bytes_on_the_way(port: u16) -> u64 {
    let connections = std::fs::read_to_string("/proc/net/tcp").expect("the connections");
    let port = format!(":{port:04X}");
    let of_ours = connections.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    of_ours
        .filter(|columns| columns.get(1..3).is_some_and(|ends| ends.iter().any(|end| end.ends_with(&port))))
        .filter_map(|columns| {
            let (sending, receiving) = columns.get(4)?.split_once(':')?;
            Some(u64::from_str_radix(sending, 16).ok()? + u64::from_str_radix(receiving, 16).ok()?)
        })
        .sum()
}
