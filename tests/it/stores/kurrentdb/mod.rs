//! The event log on a KurrentDB server, tested on the stand-in: the contract of every store, and
//! the further promises of this one.

mod check;
mod cluster;
mod damage;
mod faults;
mod instants;
mod keys;
mod names;
mod ordered;
mod pages;
mod round_trips;
mod shared_server;
mod snapshots;
mod starts;
mod urls;

use std::sync::Arc;

use domain::Stream;
use event_log::{
    AppendError, AppendReceipt, EventLog as _,
    ExpectedRevision::{Exact, NoStream},
    FollowerItem, LogError, SharedLog, contract,
};
use event_log_kurrentdb::KurrentLog;
use futures::{StreamExt as _, future::join_all};
use kurrentdb::{AppendToStreamOptions, Client, EventData, ReadStreamOptions};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{NAMING_KEY, StandIn, builders::contract_event, eventually, log_at, server_name};

fn log(server: &StandIn) -> KurrentLog {
    log_at(&server.url())
}

/// The official client.
fn client(server: &StandIn) -> Client {
    Client::new(format!("{}&discoveryInterval=10", server.url()).parse().expect("a URL")).expect("a client")
}

/// Writes an event that does not belong to the ledger.
async fn write_foreign(client: &Client, stream: &str) {
    let event = EventData::json("Foreign", &json!({"of": "others"})).expect("an event");
    client.append_to_stream(stream, &AppendToStreamOptions::default(), event).await.expect("write");
}

/// The data of the one event in a stream that the stand-in makes up.
async fn made_up_data(client: &Client, stream: &str) -> Value {
    let mut read = client.read_stream(stream, &ReadStreamOptions::default()).await.expect("read");
    let event = read.next().await.expect("read").expect("an event");
    // To its end: the client hangs after a thousand answers that it has cut off.
    assert!(read.next().await.expect("read").is_none());
    serde_json::from_slice(&event.get_original_event().data).expect("JSON")
}

fn stream(run: Uuid, number: u64) -> Stream {
    contract::made_up_stream(run, number)
}

/// Writes three streams of three events each in turn, and returns the run and the answer to the
/// last append.
async fn append_nine(log: &KurrentLog) -> (Uuid, AppendReceipt) {
    let run = Uuid::new_v4();
    let mut last = None;
    for number in 0..9_u64 {
        let expected = (number / 3).checked_sub(1).map_or(NoStream, Exact);
        let events = vec![contract_event(run, number as usize)];
        last = Some(log.append(&stream(run, number % 3), expected, events).await.expect("append"));
    }
    (run, last.expect("nine appends"))
}

/// The positions of the events after a position.
async fn positions(log: &KurrentLog, after: u64) -> Vec<u64> {
    let events = log.read_all(after, 100).await.expect("read");
    events.iter().map(|event| event.position).collect()
}

async fn check(handles: &[SharedLog]) {
    let report = contract::check(handles, Uuid::new_v4()).await;
    assert!(report.held(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kurrentdb_store_keeps_the_contract_of_every_store() {
    let server = StandIn::start();
    check(&[Arc::new(log(&server))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_on_one_server_keep_the_contract_together() {
    let server = StandIn::start();
    check(&[Arc::new(log(&server)), Arc::new(log(&server))]).await;
}

#[tokio::test]
async fn foreign_events_on_the_server_are_left_out() {
    let server = StandIn::start();
    let (log, client) = (log(&server), client(&server));
    // The prefix of another ledger may begin with this ledger's prefix.
    let key = Some(NAMING_KEY.parse().expect("a naming key"));
    let others = KurrentLog::new(&server.url(), &"ledger-others-".parse().expect("a prefix"), key).expect("a URL");
    for stream in ["ledger", "ledger-accounts", "ledger-person-0a", "prisoner-A1234BC", "x-ledger-prison-LEI"] {
        write_foreign(&client, stream).await;
    }
    assert_eq!((log.head().await.expect("the head"), positions(&log, 0).await), (0, vec![]));
    let (run, _) = append_nine(&log).await;
    let (other_run, other) = append_nine(&others).await;
    write_foreign(&client, "ledger").await;

    let ours = positions(&log, 0).await;
    assert_eq!(ours.len(), 9);
    assert_eq!(log.head().await.expect("the head"), ours[8]);
    assert_eq!(others.head().await.expect("the head"), other.position);
    assert_eq!(log.read_stream(&stream(other_run, 0), 0, 10).await.expect("read"), []);
    assert_eq!(others.read_stream(&stream(run, 0), 0, 10).await.expect("read"), []);
    let followed = log.follow_all(0).next().await;
    assert!(matches!(&followed, Some(Ok(FollowerItem::Events(events))) if events.len() == 9), "{followed:?}");
}

#[tokio::test]
async fn an_event_is_stored_as_readable_json() {
    let server = StandIn::start();
    let (run, number) = (Uuid::new_v4(), 4);
    let given = contract_event(run, number);
    let appended = log(&server).append(&stream(run, 0), NoStream, vec![given.clone()]).await.expect("append");
    let name = server_name(&stream(run, 0));
    let mut read = client(&server).read_stream(name, &ReadStreamOptions::default()).await.expect("read");
    let kept = read.next().await.expect("read").and_then(|event| event.event).expect("an event");
    assert_ne!(kept.id, given.event_id.0, "the server's id is that of the call");
    assert_eq!((kept.event_type.as_str(), kept.is_json), ("ContractTried", true));
    assert_eq!(kept.data, given.data);
    let metadata: Value = serde_json::from_slice(&kept.custom_metadata).expect("JSON");
    let recorded_at = appended.events[0].1.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    assert_eq!((&metadata["recordedAt"], &metadata["ledger"]), (&json!(recorded_at), &json!({"schemaVersion": 1})));
    assert_eq!(metadata["eventId"], json!(given.event_id));
    let of_name = (&metadata["stream"], &metadata["generation"]);
    assert_eq!(of_name, (&json!(stream(run, 0).to_string()), &json!(0)));
}

#[tokio::test]
async fn reading_starts_after_a_position_that_has_no_event() {
    let server = StandIn::start();
    let log = log(&server);
    append_nine(&log).await;
    let ours = positions(&log, 0).await;
    for (number, position) in ours.iter().enumerate() {
        assert_eq!(positions(&log, position - 1).await, ours[number..], "before position {position}");
        assert_eq!(positions(&log, position + 1).await, ours[number + 1..], "after position {position}");
        let two = log.read_all(position + 1, 2).await.expect("read");
        let next = ours[number + 1..].iter().take(2);
        assert!(two.iter().map(|event| &event.position).eq(next), "two after position {position}: {two:?}");
    }
    for beyond in [ours[8] + 1, ours[8] + 1_000_000, u64::MAX] {
        assert_eq!(positions(&log, beyond).await, [0; 0], "after {beyond}");
    }
    let followed = log.follow_all(ours[8] + 1).next().await;
    assert!(matches!(followed, Some(Err(LogError::Damaged { .. }))), "the log is another: {followed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_appends_at_one_revision_one_wins_and_the_others_learn_the_revision() {
    let server = StandIn::start();
    let (run, handles) = (Uuid::new_v4(), [log(&server), log(&server)]);
    let stream = stream(run, 0);
    handles[0].append(&stream, NoStream, vec![contract_event(run, 0)]).await.expect("append");
    let appends =
        (1..=12).map(|number| handles[number % 2].append(&stream, Exact(0), vec![contract_event(run, number)]));
    let (mut won, mut lost) = (0, 0);
    for answer in join_all(appends).await {
        match answer {
            Ok(appended) if appended.revision == 1 && !appended.repeated => won += 1,
            Err(AppendError::Conflict { actual: Exact(1), expected: Exact(0), .. }) => lost += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((won, lost), (1, 11));
    assert_eq!(handles[1].read_stream(&stream, 0, 10).await.expect("read").len(), 2);
}

/// The answer to an append is lost. The store repeats the append and learns the fate of the first.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_repeated_after_a_lost_answer_gets_the_first_answer() {
    let server = StandIn::start();
    let proxy = server.proxy();
    let (behind, direct) = (log_at(&proxy.url()), log(&server));
    let run = Uuid::new_v4();
    let (one, other) = (stream(run, 0), stream(run, 1));
    let first = behind.append(&one, NoStream, vec![contract_event(run, 0)]).await.expect("append");

    proxy.swallow_answers();
    let append = tokio::spawn({
        let (behind, one, events) = (behind.clone(), one.clone(), vec![contract_event(run, 1), contract_event(run, 2)]);
        async move { behind.append(&one, Exact(0), events).await }
    });
    eventually("the append on the server", async || {
        (direct.read_stream(&one, 0, 10).await.expect("read").len() == 3).then_some(())
    })
    .await;
    // Another writer appends meanwhile.
    direct.append(&one, Exact(2), vec![contract_event(run, 3)]).await.expect("append");
    direct.append(&other, NoStream, vec![contract_event(run, 4)]).await.expect("append");
    proxy.pass();
    proxy.cut();
    let answer = append.await.expect("no panic").expect("append");
    let stands = direct.read_stream(&one, 0, 10).await.expect("read");
    assert_eq!(stands.len(), 4, "appended once");
    assert_eq!((answer.revision, answer.repeated), (2, false), "it was this call that appended");
    let expected: Vec<_> = stands[1..3].iter().map(|event| (event.position, event.recorded_at)).collect();
    assert_eq!(answer.events, expected);

    let again = behind.append(&one, NoStream, vec![contract_event(run, 0)]).await.expect("append");
    assert_eq!(again, AppendReceipt { repeated: true, ..first });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_server_is_an_outage_that_ends_when_the_server_returns() {
    let mut server = StandIn::start();
    let written = log(&server);
    let (run, last) = append_nine(&written).await;
    let mut follower = written.follow_all(last.position);
    assert_eq!(follower.next().await.map(Result::unwrap), Some(FollowerItem::CaughtUp { position: last.position }));

    server.kill();
    let waiting = log(&server);
    for log in [&written, &waiting] {
        let read = log.head().await;
        assert!(matches!(read, Err(LogError::Unavailable(_))), "{read:?}");
        let appended = log.append(&stream(run, 0), Exact(2), vec![contract_event(run, 9)]).await;
        assert!(matches!(appended, Err(AppendError::Log(LogError::Unavailable(_)))), "{appended:?}");
    }
    let followed = follower.next().await;
    assert!(matches!(followed, Some(Err(LogError::Unavailable(_)))), "{followed:?}");
    assert!(follower.next().await.is_none(), "an error ends a follower");

    server.start_again();
    let again = waiting.append(&stream(run, 2), Exact(1), vec![contract_event(run, 8)]).await.expect("append");
    assert_eq!(again, AppendReceipt { repeated: true, ..last.clone() }, "what was acknowledged is there");
    let mut follower = written.follow_all(last.position);
    assert_eq!(follower.next().await.map(Result::unwrap), Some(FollowerItem::CaughtUp { position: last.position }));
    let next = written.append(&stream(run, 0), Exact(2), vec![contract_event(run, 9)]).await.expect("append");
    let followed = follower.next().await;
    assert!(
        matches!(&followed, Some(Ok(FollowerItem::Events(events))) if events[0].position == next.position),
        "{followed:?}"
    );
}
