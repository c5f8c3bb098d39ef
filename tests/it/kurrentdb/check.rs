//! `event-store check` on a KurrentDB server: what it says, and what it leaves behind.

use std::collections::BTreeMap;

use event_log::EventLog as _;
use kurrentdb::{AppendToStreamOptions, ReadAllOptions, StreamMetadataBuilder, StreamPosition};
use nix::sys::signal::Signal;

use super::{append_nine, client, log};
use crate::support::{StandIn, Tool, eventually, run};

/// The type of the last event of each stream that a check has made.
async fn left(server: &StandIn) -> BTreeMap<String, String> {
    let options = ReadAllOptions::default().position(StreamPosition::Start);
    let mut read = client(server).read_all(&options).await.expect("read");
    let mut streams = BTreeMap::new();
    while let Some(event) = read.next().await.expect("read") {
        let event = event.get_original_event();
        if event.stream_id().starts_with("check-") {
            streams.insert(event.stream_id().to_owned(), event.event_type.clone());
        }
    }
    streams
}

async fn is_cleaned_up(server: &StandIn) {
    let left = left(server).await;
    assert!(!left.is_empty(), "it tried nothing");
    assert!(left.values().all(|last| last == "$streamDeleted"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_holds_every_promise_is_said_to_and_left_as_it_was() {
    let server = StandIn::start();
    let ledger = log(&server);
    append_nine(&ledger).await;
    let before = ledger.read_all(0, 100).await.expect("read");
    let checked = run(&["event-store", "check", &server.url()]).await;
    assert!(checked.status.success(), "{}{}", checked.stdout, checked.stderr);
    let held = checked.stdout.lines().filter(|line| line.starts_with("held ")).count();
    assert_eq!((held, checked.stdout.lines().count()), (14, 14), "{}", checked.stdout);
    is_cleaned_up(&server).await;
    assert_eq!(ledger.read_all(0, 100).await.expect("read"), before, "a ledger on the same server");
}

/// What breaks the promises is somebody who truncates the streams tried with.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_breaks_a_promise_is_said_to_and_left_as_it_was() {
    let server = StandIn::start();
    let check = Tool::start(&["event-store", "check", &server.url()]);
    let streams = eventually("some streams", async || Some(left(&server).await).filter(|left| left.len() > 10)).await;
    let truncated = StreamMetadataBuilder::new().truncate_before(1).build();
    for stream in streams.into_keys() {
        let options = AppendToStreamOptions::default();
        client(&server).set_stream_metadata(stream, &options, &truncated).await.expect("truncate");
    }
    let ended = check.ended().await;
    assert_eq!(ended.status.code(), Some(1), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("NOT HELD  "), "{}", ended.stdout);
    assert_eq!(ended.stdout.lines().count(), 14, "all is tried: {}", ended.stdout);
    assert!(ended.stderr.contains("do not keep a ledger on it"), "{}", ended.stderr);
    is_cleaned_up(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_check_leaves_nothing_behind() {
    let server = StandIn::start();
    let check = Tool::start(&["event-store", "check", &server.url()]);
    eventually("some streams", async || (left(&server).await.len() > 10).then_some(())).await;
    check.signal(Signal::SIGINT);
    let ended = check.ended().await;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("interrupted: the streams tried with are deleted again"), "{}", ended.stderr);
    is_cleaned_up(&server).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_so() {
    let mut server = StandIn::start();
    server.kill();
    let checked = run(&["event-store", "check", &server.url()]).await;
    assert_eq!(checked.status.code(), Some(1));
    assert!(checked.stderr.contains("reach the event store"), "{}", checked.stderr);
}
