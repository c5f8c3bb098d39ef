//! `copy`: moves a log from one kind of store to another and back, continues after an interrupt,
//! and refuses a wrong target.

use std::{collections::BTreeSet, sync::Arc};

use chrono::{TimeDelta, Utc};
use domain::Stream;
use event_log::{
    ExpectedRevision::{Exact, NoStream},
    NewEvent, RecordedEvent, SharedLog, contract,
};
use event_log_kurrentdb::NamingKey;
use event_log_postgres::PostgresLog;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    DataDir, HttpAnswer, NAMING_KEY, Nodes, Program, StandIn, TestDatabase, Tool, ToolOutput, database, eventually,
    log_at, run, run_in, whole_log::read_recorded,
};

/// A made-up ledger of so many people, in a database.
async fn generate_log(prisoners: &str) -> TestDatabase {
    let database = database().await;
    let sizes = ["--prisoners", prisoners, "--years", "2", "--prisons", "3", "--event-store", &database.url];
    let ran = run(&[&["generate"], &sizes[..]].concat()).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    database
}

fn copy_arguments<'a>(from: &'a str, to: &'a str) -> [&'a str; 6] {
    ["copy", "--json", "--from", from, "--to", to]
}

async fn copy(from: &str, to: &str) -> Value {
    let ran = run(&copy_arguments(from, to)).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).expect("one JSON object")
}

async fn assert_copy_refused(from: &str, to: &str) -> String {
    let ran = run(&copy_arguments(from, to)).await;
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stdout);
    ran.stderr
}

async fn kurrent(server: &StandIn) -> SharedLog {
    Arc::new(log_at(&server.url()))
}

async fn postgres(database: &TestDatabase) -> SharedLog {
    Arc::new(PostgresLog::connect(&database.pool).await.expect("the log"))
}

/// Whether a log has more than so many events.
async fn holds_more_than(log: &SharedLog, events: u64) -> Option<()> {
    event_log::has_more_than(log, 0, events).await.expect("read").then_some(())
}

async fn tell(arguments: &[&str]) -> String {
    let ToolOutput { status, stdout, stderr } = run(arguments).await;
    assert!(status.success(), "{arguments:?}: {stderr}");
    stdout
}

/// An output without positions, which each store has of its own.
fn without_positions(said: &str) -> String {
    // In text and in JSON: the number after the word.
    let after = |part: &str| {
        part.trim_start_matches(|letter: char| letter.is_ascii_digit() || " \":".contains(letter)).to_owned()
    };
    said.split("position").map(after).collect()
}

/// A ledger that began in a prison service's own Postgres moves to a cluster and back.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_copied_to_kurrentdb_and_back_gives_the_same_answers() {
    let (began, server, back) = (generate_log("60").await, StandIn::start(), DataDir::new());
    let (url, dir) = (server.url(), back.path().to_str().expect("UTF-8"));
    let events = read_recorded(&*postgres(&began).await).await;
    let all = json!({ "events": events.len(), "copied": events.len(), "verified": true, "recordedSince": false });
    assert_eq!(copy(&began.url, &url).await, all);
    assert_eq!(copy(&url, dir).await, all);

    let places = [["--event-store", &began.url], ["--event-store", &url], ["--data-dir", dir]];
    let mut raw = Vec::new();
    for place in places {
        raw.push(tell(&[&["replay", "--raw"], &place[..]].concat()).await);
    }
    assert_eq!(raw[0].lines().count(), events.len());
    assert!(raw.iter().all(|other| *other == raw[0]), "the same to the byte");

    let cases: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.stream {
            Stream::Prisoner(number) if event.type_name == "AllocationMade" => Some(number.to_string()),
            _ => None,
        })
        .collect();
    for number in cases.iter().step_by(cases.len() / 4) {
        let mut histories = Vec::new();
        for place in places {
            histories.push(without_positions(&tell(&[&["history", number], &place[..]].concat()).await));
        }
        assert!(histories.iter().all(|other| *other == histories[0]), "{histories:?}");
    }

    let views = database().await;
    let before = Program::serve_with(&["--event-store", &began.url, "--views", &began.url]).await;
    let after = Program::serve_with(&["--event-store", &url, "--views", &views.url]).await;
    let known = events[events.len() / 2].recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let answer = async |program: &Program, question: &str| {
        let HttpAnswer { status, body, .. } = program.client().get(question).await;
        (status, without_positions(&body.to_string()))
    };
    for (program, log) in [(&before, postgres(&began).await), (&after, kurrent(&server).await)] {
        let head = log.head().await.expect("the head").to_string();
        let shown = async || {
            let answer = program.client().get("/prisons/LEI/cases").await;
            (answer.header("ledger-position") == Some(&head)).then_some(())
        };
        eventually("views of the whole log", shown).await;
    }
    for number in cases.iter().step_by(cases.len() / 4) {
        let now = format!("/prisoners/{number}/responsibility?on=2026-03-01");
        let then = format!("{now}&known-at={known}");
        let list = format!("/prisons/LEI/cases?on=2026-03-01&known-at={known}&limit=50");
        for question in [now, then, list] {
            assert_eq!(answer(&after, &question).await, answer(&before, &question).await, "{question}");
        }
    }
}

/// The key is lost, the data are not: each event says its number.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_copied_under_a_new_naming_key_with_the_old_one_or_without_it() {
    let (server, other) = (StandIn::start(), StandIn::start());
    let (url, elsewhere, new_key) = (server.url(), other.url(), NamingKey::new_text());
    let sizes = ["--prisoners", "20", "--years", "1", "--prisons", "2", "--event-store", &url];
    let generated = run(&[&["generate"], &sizes[..]].concat()).await;
    assert!(generated.status.success(), "{}", generated.stderr);
    let events = read_recorded(&*kurrent(&server).await).await.len();
    let copy_with = async |from_key: &str, to: &[&str]| {
        let environment = [("LEDGER_FROM_NAMING_KEY", from_key), ("LEDGER_TO_NAMING_KEY", new_key.as_str())];
        run_in(&environment, &[&["copy", "--json", "--from", &url, "--to"], to].concat()).await
    };
    let wrong = copy_with(&new_key, &[&elsewhere]).await;
    assert_eq!(wrong.status.code(), Some(1), "{}", wrong.stdout);
    assert!(wrong.stderr.contains("is not that of this ledger"), "{}", wrong.stderr);
    // With the old key, to another place of the same server; and without it, to another server.
    let places: [&[&str]; 2] = [&[&url, "--to-stream-prefix", "new-"], &[&elsewhere]];
    for (from_key, to) in [NAMING_KEY, ""].into_iter().zip(places) {
        let copied = copy_with(from_key, to).await;
        assert!(copied.status.success(), "{}", copied.stderr);
        let report: Value = serde_json::from_str(&copied.stdout).expect("one JSON object");
        assert_eq!((&report["copied"], &report["verified"]), (&json!(events), &json!(true)));
        assert_eq!(copied.stderr.contains("are not checked"), from_key.is_empty(), "{}", copied.stderr);
    }
    let again = run(&copy_arguments(&url, &elsewhere)).await;
    assert!(again.stderr.contains("is not that of this ledger"), "the target has the new key: {}", again.stderr);

    let raw = async |key: &str, place: &[&str]| {
        let replayed =
            run_in(&[("LEDGER_NAMING_KEY", key)], &[&["replay", "--raw", "--event-store"], place].concat()).await;
        assert!(replayed.status.success(), "{}", replayed.stderr);
        replayed.stdout
    };
    let of_source = raw(NAMING_KEY, &[&url]).await;
    assert_eq!(of_source.lines().count(), events);
    let copies = [raw(&new_key, &[&url, "--stream-prefix", "new-"]).await, raw(&new_key, &[&elsewhere]).await];
    assert!(copies.iter().all(|copy| *copy == of_source), "the same to the byte");
    // No name of the copy is one of the source.
    let source = names(&server, "ledger-person-").await;
    let [copies, elsewhere] = [names(&server, "new-person-").await, names(&other, "ledger-person-").await];
    assert!(source.len() > 10 && copies == elsewhere && source.is_disjoint(&copies), "{source:?} {copies:?}");
}

/// The rest of the names of the streams on a server that begin so.
async fn names(server: &StandIn, begin: &str) -> BTreeSet<String> {
    let client = kurrentdb::Client::new(server.url().parse().expect("a URL")).expect("a client");
    let options = kurrentdb::ReadAllOptions::default().position(kurrentdb::StreamPosition::Start);
    let mut read = client.read_all(&options).await.expect("read");
    let mut names = BTreeSet::new();
    while let Some(event) = read.next().await.expect("read") {
        names.extend(event.get_original_event().stream_id().strip_prefix(begin).map(str::to_owned));
    }
    names
}

/// After a kill or an interrupt, the same command copies the rest.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_copy_continues_where_it_was() {
    let began = generate_log("300").await;
    let all = read_recorded(&*postgres(&began).await).await.len();

    let server = StandIn::start();
    let copy_of = kurrent(&server).await;
    let killed = Tool::start(&copy_arguments(&began.url, &server.url()));
    eventually("a part of the copy", || holds_more_than(&copy_of, 300)).await;
    drop(killed);
    let interrupted = Tool::start(&copy_arguments(&began.url, &server.url()));
    let part = read_recorded(&*copy_of).await.len() as u64;
    eventually("more of the copy", || holds_more_than(&copy_of, part + 300)).await;
    interrupted.signal(Signal::SIGINT);
    let ended = interrupted.wait_for_end().await;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("the same again copies the rest"), "{}", ended.stderr);
    let found = read_recorded(&*copy_of).await.len();
    assert!((600..all).contains(&found), "{found} of {all} when it was interrupted");
    let expected = json!({ "events": all, "copied": all - found, "verified": true, "recordedSince": false });
    assert_eq!(copy(&began.url, &server.url()).await, expected);

    let back = database().await;
    let copy_of = postgres(&back).await;
    let killed = Tool::start(&copy_arguments(&server.url(), &back.url));
    eventually("a part of the copy", || holds_more_than(&copy_of, 0)).await;
    drop(killed);
    let found = read_recorded(&*copy_of).await.len();
    assert!(found < all, "it was killed too late");
    let expected = json!({ "events": all, "copied": all - found, "verified": true, "recordedSince": false });
    assert_eq!(copy(&server.url(), &back.url).await, expected);
    let nothing = json!({ "events": all, "copied": 0, "verified": true, "recordedSince": false });
    assert_eq!(copy(&server.url(), &back.url).await, nothing, "all is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_other_events_is_refused_and_left_unchanged() {
    let (one, other, server) = (generate_log("20").await, database().await, StandIn::start());
    let run_id = Uuid::new_v4();
    let event = |number| {
        let mut event = contract::made_up_event(contract::made_up_event_id(run_id, number), Utc::now());
        // Without one the log would count as that of an earlier version.
        event.metadata = r#"{"salt":""}"#.into();
        event
    };
    for log in [postgres(&other).await, kurrent(&server).await] {
        log.append(&contract::made_up_stream(run_id, 0), NoStream, vec![event(0)]).await.expect("append");
    }
    for target in [&other.url, &server.url()] {
        let said = assert_copy_refused(&one.url, target).await;
        assert!(said.contains("the log to copy into holds something else"), "{said}");
    }
    assert_eq!(read_recorded(&*postgres(&other).await).await.len(), 1);
    assert_eq!(read_recorded(&*kurrent(&server).await).await.len(), 1);

    // A target that has grown after the copy.
    let grown = StandIn::start();
    copy(&one.url, &grown.url()).await;
    let log = kurrent(&grown).await;
    log.append(&contract::made_up_stream(run_id, 0), NoStream, vec![event(0)]).await.expect("append");
    let said = assert_copy_refused(&one.url, &grown.url()).await;
    assert!(said.contains("where the log to copy has ended"), "{said}");
    // In the other direction it is an unfinished copy.
    assert_eq!(copy(&grown.url(), &one.url).await["copied"], json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_stops_when_another_writer_appends_to_its_target() {
    let (began, server) = (generate_log("300").await, StandIn::start());
    let all = read_recorded(&*postgres(&began).await).await.len();
    let copy_of = kurrent(&server).await;
    let copying = Tool::start(&copy_arguments(&began.url, &server.url()));
    eventually("a part of the copy", || holds_more_than(&copy_of, 100)).await;
    let run_id = Uuid::new_v4();
    let event = contract::made_up_event(contract::made_up_event_id(run_id, 0), Utc::now());
    copy_of.append(&contract::made_up_stream(run_id, 0), NoStream, vec![event]).await.expect("append");
    let ended = copying.wait_for_end().await;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("another program records in the log to copy into"), "{}", ended.stderr);
    let found = read_recorded(&*copy_of).await.len();
    assert!(found < all, "it stopped at {found} of {all}");
}

/// The connection is cut while appends are in flight, and later the leader resigns.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_over_a_lost_connection_or_a_new_leader_ends_exact() {
    let began = generate_log("300").await;
    let events = read_recorded(&*postgres(&began).await).await;
    let (server, nodes) = (StandIn::start(), Nodes::start().await);
    let proxy = server.proxy();
    let targets: [(String, SharedLog); 2] =
        [(proxy.url(), kurrent(&server).await), (nodes.url(), Arc::new(log_at(&nodes.url())))];
    for (url, copy_of) in targets {
        for _ in 0..3 {
            eventually("a leader", async || copy_of.head().await.ok()).await;
            let found = read_recorded(&*copy_of).await.len() as u64;
            let mut copying = Tool::start(&copy_arguments(&began.url, &url));
            eventually("more of the copy", async || {
                if copying.is_running() { holds_more_than(&copy_of, found).await } else { Some(()) }
            })
            .await;
            if url == proxy.url() {
                proxy.cut();
            } else {
                nodes.resign().await;
            }
            let ended = copying.wait_for_end().await;
            assert!(ended.status.success() || ended.stderr.contains("reach the event store"), "{}", ended.stderr);
        }
        eventually("a leader", async || copy_of.head().await.ok()).await;
        let copied = copy(&began.url, &url).await;
        assert_eq!(copied["events"], json!(events.len()));
        let found = read_recorded(&*copy_of).await;
        assert!(found.iter().map(|copy| copy.event_id).eq(events.iter().map(|event| event.event_id)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_to_a_server_that_changes_the_order_is_called_no_copy() {
    let began = generate_log("60").await;
    let events = read_recorded(&*postgres(&began).await).await.len();
    let server = StandIn::start_with_late_append(20);
    let said = assert_copy_refused(&began.url, &server.url()).await;
    assert!(said.contains("is no copy any more, from the event at position"), "{said}");
    assert!(said.contains("--to-stream-prefix") && said.contains("--one-at-a-time"), "{said}");
    let said = assert_copy_refused(&began.url, &server.url()).await;
    assert!(said.contains("the log to copy into holds something else"), "{said}");

    let url = server.url();
    let elsewhere = ["--to-stream-prefix", "other-", "--one-at-a-time"];
    let arguments = [&copy_arguments(&began.url, &url)[..], &elsewhere].concat();
    let copied: Value = serde_json::from_str(&tell(&arguments).await).expect("one JSON object");
    assert_eq!(copied["copied"], json!(events));
}

#[tokio::test]
async fn a_copy_onto_itself_or_from_nowhere_is_refused() {
    let (one, server) = (database().await, StandIn::start());
    let said = assert_copy_refused(&one.url, &one.url).await;
    assert!(said.contains("name the same log"), "{said}");
    let said = assert_copy_refused(&server.url(), &one.url).await;
    assert!(said.contains("there is no ledger where --from says"), "{said}");
    let nowhere = DataDir::new();
    let said = assert_copy_refused(nowhere.path().join("none").to_str().expect("UTF-8"), &one.url).await;
    assert!(said.contains("there is no ledger where --from says"), "{said}");
}

/// The clocks of two services on one KurrentDB differ, so recorded times run backwards between
/// streams. They are copied unchanged.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_times_are_copied_as_they_are() {
    let (server, target) = (StandIn::start(), database().await);
    let services = [kurrent(&server).await, kurrent(&server).await];
    let run_id = Uuid::new_v4();
    let now = Utc::now();
    for number in 0..20_usize {
        let event = NewEvent {
            recorded_at: now + TimeDelta::milliseconds(if number % 2 == 0 { 5_000 } else { 0 } + number as i64),
            ..contract::made_up_event(contract::made_up_event_id(run_id, number), now)
        };
        let expected = (number as u64 / 2).checked_sub(1).map_or(NoStream, Exact);
        let stream = contract::made_up_stream(run_id, number as u64 % 2);
        services[number % 2].append(&stream, expected, vec![event]).await.expect("append");
    }
    let began = read_recorded(&*services[0]).await;
    assert!(contract::find_earlier_time(&began).is_some(), "recorded times were to run backwards");
    copy(&server.url(), &target.url).await;
    let copied = read_recorded(&*postgres(&target).await).await;
    let times = |events: &[RecordedEvent]| events.iter().map(|event| event.recorded_at).collect::<Vec<_>>();
    assert_eq!(times(&copied), times(&began));
}
