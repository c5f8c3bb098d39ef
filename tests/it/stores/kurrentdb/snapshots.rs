//! Snapshots on the server: streams of their own, which do not grow and survive writers that end in
//! the middle or write at the same time.

use event_log::{EventLog as _, Snapshot};
use futures::future::join_all;
use kurrentdb::{AppendToStreamOptions, EventData, ReadStreamOptions};
use serde_json::json;
use uuid::Uuid;

use super::{append_nine, client, log, positions};
use crate::support::StandIn;

const STREAM: &str = ".ledger-snapshot-policies";

/// A snapshot of several parts.
fn large_snapshot(position: u64, byte: u8) -> Snapshot {
    Snapshot { position, content: vec![byte; 1_300_000].into() }
}

/// The revisions of the events that readers of the stream of snapshots see.
async fn visible_revisions(server: &StandIn) -> Vec<u64> {
    let mut read = client(server).read_stream(STREAM, &ReadStreamOptions::default()).await.expect("read");
    let mut revisions = Vec::new();
    while let Some(event) = read.next().await.expect("read") {
        revisions.push(event.get_original_event().revision);
    }
    revisions
}

#[tokio::test]
async fn the_stream_of_snapshots_keeps_the_last_one_alone() {
    let server = StandIn::start();
    let log = log(&server);
    append_nine(&log).await;
    let ours = positions(&log, 0).await;
    for (number, position) in ours.iter().take(4).enumerate() {
        let snapshot = large_snapshot(*position, number as u8);
        assert!(log.save_snapshot("policies", &snapshot).await.expect("save"));
        assert_eq!(log.load_snapshot("policies").await.expect("load"), Some(snapshot));
    }
    assert_eq!(visible_revisions(&server).await, [9, 10, 11]);
    assert_eq!(positions(&log, 0).await, ours);
}

#[tokio::test]
async fn truncating_the_stream_of_snapshots_leaves_an_operators_settings() {
    let server = StandIn::start();
    let log = log(&server);
    let (_, last) = append_nine(&log).await;
    let settings = json!({"$acl": {"$r": ["ops"]}, "$maxAge": 86_400, "$tb": 0, "ours": 7});
    let event = EventData::json("$metadata", &settings).expect("settings");
    let name = format!("$${STREAM}");
    client(&server).append_to_stream(name.as_str(), &AppendToStreamOptions::default(), event).await.expect("set");
    for revision in [0, 3] {
        assert!(log.save_snapshot("policies", &large_snapshot(last.position, 1)).await.expect("save"));
        let options = ReadStreamOptions::default();
        let mut read = client(&server).read_stream(name.as_str(), &options).await.expect("read");
        let kept = read.next().await.expect("read").expect("settings");
        let mut expected = settings.clone();
        expected["$tb"] = json!(revision);
        let kept: serde_json::Value = serde_json::from_slice(&kept.get_original_event().data).expect("JSON");
        assert_eq!(kept, expected);
    }
}

#[tokio::test]
async fn a_snapshot_that_was_not_written_to_its_end_hides_none() {
    let server = StandIn::start();
    let log = log(&server);
    append_nine(&log).await;
    let head = log.head().await.expect("the head");
    let whole = large_snapshot(head, 1);
    assert!(log.save_snapshot("policies", &whole).await.expect("save"));
    let append = async |event: EventData| {
        client(&server).append_to_stream(STREAM, &AppendToStreamOptions::default(), event).await.expect("append");
    };
    // The first two of three parts, and an event that no ledger wrote.
    let id = Uuid::new_v4();
    for part in 0..2 {
        let metadata = json!({"snapshot": id, "position": head, "part": part, "parts": 3});
        append(EventData::binary("SnapshotPart", "x".into()).metadata(metadata.to_string().into())).await;
    }
    append(EventData::binary("Foreign", "x".into())).await;
    assert_eq!(log.load_snapshot("policies").await.expect("load"), Some(whole));
    let next = large_snapshot(head, 2);
    assert!(log.save_snapshot("policies", &next).await.expect("save"));
    assert_eq!(log.load_snapshot("policies").await.expect("load"), Some(next));
    assert_eq!(visible_revisions(&server).await.len(), 3, "what was unfinished is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_snapshots_saved_at_the_same_time_one_is_kept_whole() {
    let server = StandIn::start();
    let handles = [log(&server), log(&server)];
    append_nine(&handles[0]).await;
    let head = handles[0].head().await.expect("the head");
    for round in 0..5_u8 {
        let snapshots: Vec<_> = (0..6).map(|number| large_snapshot(head, round * 10 + number)).collect();
        let saves = snapshots.iter().enumerate().map(|(number, snapshot)| {
            let log = &handles[number % 2];
            async move { log.save_snapshot("policies", snapshot).await.expect("save") }
        });
        let saved = join_all(saves).await;
        let kept = handles[0].load_snapshot("policies").await.expect("load").expect("a snapshot");
        let is_saved = |(snapshot, saved): (&Snapshot, &bool)| *saved && *snapshot == kept;
        assert!(snapshots.iter().zip(&saved).any(is_saved), "round {round}: {saved:?}, {:?}", kept.content.first());
    }
}
