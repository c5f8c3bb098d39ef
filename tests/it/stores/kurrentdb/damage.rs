//! Events that the server hides or has deleted, and foreign events under the ledger's prefix:
//! damage, never a shorter history.

use event_log::{
    AppendError, EventLog as _,
    ExpectedRevision::{Exact, NoStream},
    FollowerItem, LogError, RecordedEvent,
};
use event_log_kurrentdb::KurrentLog;
use futures::StreamExt as _;
use kurrentdb::{
    AppendToStreamOptions, Client, DeleteStreamOptions, EventData, ReadStreamOptions, StreamMetadata,
    StreamMetadataBuilder, TombstoneStreamOptions,
};
use serde_json::json;

use super::{append_nine, client, contract_event, log, stream, write_foreign};
use crate::support::{StandIn, eventually, server_name};

/// A change to a stream.
enum Harm {
    Settings(Box<StreamMetadata>),
    Deleted,
    DeletedForGood,
}

async fn set(client: &Client, stream: &str, settings: &StreamMetadata) {
    client.set_stream_metadata(stream, &AppendToStreamOptions::default(), settings).await.expect("set");
}

async fn harm(client: &Client, stream: &str, harm: Harm) {
    match harm {
        Harm::Settings(settings) => set(client, stream, &settings).await,
        Harm::Deleted => {
            client.delete_stream(stream, &DeleteStreamOptions::default()).await.expect("delete");
        }
        Harm::DeletedForGood => {
            client.tombstone_stream(stream, &TombstoneStreamOptions::default()).await.expect("delete");
        }
    }
}

#[track_caller]
fn is_damage<T: std::fmt::Debug>(what: &str, read: Result<T, LogError>) {
    assert!(matches!(read, Err(LogError::Damaged { .. })), "{what}: {read:?}");
}

/// Reads the log to its end or to the damage.
async fn read_to_damage(log: &KurrentLog) -> (Vec<RecordedEvent>, Result<(), LogError>) {
    let mut events: Vec<RecordedEvent> = Vec::new();
    loop {
        match log.read_all(events.last().map_or(0, |last| last.position), 4).await {
            Ok(page) if page.is_empty() => return (events, Ok(())),
            Ok(page) => events.extend(page),
            Err(error) => return (events, Err(error)),
        }
    }
}

#[tokio::test]
async fn a_stream_that_was_deleted_or_truncated_is_damage() {
    for (what, done) in [
        ("truncated", Harm::Settings(Box::new(StreamMetadataBuilder::new().truncate_before(1).build()))),
        ("truncated to nothing", Harm::Settings(Box::new(StreamMetadataBuilder::new().truncate_before(3).build()))),
        ("held to a number of events", Harm::Settings(Box::new(StreamMetadataBuilder::new().max_count(2).build()))),
        ("deleted", Harm::Deleted),
        ("deleted for good", Harm::DeletedForGood),
    ] {
        let server = StandIn::start();
        let (log, client) = (log(&server), client(&server));
        let (run, _) = append_nine(&log).await;
        let mut follower = log.follow_all(0);
        let followed = follower.next().await;
        assert!(matches!(followed, Some(Ok(FollowerItem::Events(_)))), "{followed:?}");
        assert!(matches!(follower.next().await, Some(Ok(FollowerItem::CaughtUp { .. }))));

        let (harmed, sound) = (stream(run, 1), stream(run, 2));
        harm(&client, &server_name(&harmed), done).await;
        is_damage(what, log.read_stream(&harmed, 0, 10).await);
        is_damage(what, log.read_streams(&[sound.clone(), harmed.clone()]).await);
        is_damage(what, super::log(&server).load_streams(std::slice::from_ref(&harmed)).await);
        assert_eq!(log.read_stream(&sound, 0, 10).await.expect("read").len(), 3, "{what}");
        let (events, end) = read_to_damage(&log).await;
        assert_eq!(events.len(), 9, "{what}: what stands before is read");
        is_damage(what, end);
        is_damage(what, follower.next().await.expect("an item"));
        assert!(follower.next().await.is_none(), "an error ends a follower");

        let from = super::log(&server);
        let followed: Vec<_> = from.follow_all(0).collect().await;
        assert!(matches!(&followed[0], Ok(FollowerItem::Events(events)) if events.len() == 9), "{what}: {followed:?}");
        assert!(matches!(followed[1], Err(LogError::Damaged { .. })), "{what}: {followed:?}");
        assert_eq!(followed.len(), 2);
    }
}

#[tokio::test]
async fn an_append_does_not_restart_a_deleted_stream() {
    for done in [Harm::Deleted, Harm::DeletedForGood] {
        let server = StandIn::start();
        let (log, client) = (log(&server), client(&server));
        let (run, _) = append_nine(&log).await;
        let for_good = matches!(done, Harm::DeletedForGood);
        harm(&client, &server_name(&stream(run, 1)), done).await;
        let appended = log.append(&stream(run, 1), NoStream, vec![contract_event(run, 9)]).await;
        // Of a name that takes no event again, a load finds the damage.
        assert!(
            match &appended {
                Err(AppendError::Conflict { .. }) => for_good,
                Err(AppendError::Log(LogError::Damaged { .. })) => !for_good,
                _ => false,
            },
            "{appended:?}"
        );
        is_damage("a load", log.load_streams(&[stream(run, 1)]).await);
        is_damage("a load by another process", super::log(&server).load_streams(&[stream(run, 1)]).await);
    }
}

/// The limit is found in the log before it hides anything, and in the stream when it does.
#[tokio::test]
async fn a_stream_whose_events_may_grow_too_old_is_damage() {
    let server = StandIn::start();
    let (log, client) = (log(&server), client(&server));
    let (run, _) = append_nine(&log).await;
    let aging = stream(run, 1);
    let name = server_name(&aging);
    // The client would write milliseconds where the server reads seconds.
    let settings = EventData::json("$metadata", &json!({ "$maxAge": 1 })).expect("settings");
    client.append_to_stream(format!("$${name}"), &AppendToStreamOptions::default(), settings).await.expect("set");
    let (events, end) = read_to_damage(&log).await;
    assert_eq!(events.len(), 9, "what stands before is read");
    is_damage("an age", end);
    eventually("its events to be too old", async || {
        let mut read = client.read_stream(name.as_str(), &ReadStreamOptions::default()).await.expect("read");
        read.next().await.expect("read").is_none().then_some(())
    })
    .await;
    is_damage("too old", log.read_stream(&aging, 0, 10).await);
    is_damage("too old", log.read_streams(&[aging]).await);
}

#[tokio::test]
async fn settings_that_hide_nothing_are_no_damage() {
    let server = StandIn::start();
    let (log, client) = (log(&server), client(&server));
    let (run, last) = append_nine(&log).await;
    let name = server_name(&stream(run, 0));
    set(&client, &name, &StreamMetadataBuilder::new().insert_custom_property("owner", "OMU").build()).await;
    let mistake = server_name(&stream(run, 1));
    set(&client, &mistake, &StreamMetadataBuilder::new().truncate_before(2).build()).await;
    set(&client, &mistake, &StreamMetadataBuilder::new().build()).await;
    let next = log.append(&stream(run, 2), Exact(2), vec![contract_event(run, 9)]).await.expect("append");

    let (events, end) = read_to_damage(&log).await;
    end.expect("nothing is lost");
    assert_eq!(events.len(), 10);
    assert_eq!(log.read_stream(&stream(run, 1), 0, 10).await.expect("read").len(), 3);
    assert_eq!(log.read_all(last.position, 1).await.expect("read")[0].position, next.position, "in pages of one");
}

#[tokio::test]
async fn a_foreign_event_in_a_stream_of_the_ledger_is_damage() {
    let server = StandIn::start();
    let (log, client) = (log(&server), client(&server));
    append_nine(&log).await;
    write_foreign(&client, "ledger-prison-LEI").await;
    let (events, end) = read_to_damage(&log).await;
    assert_eq!(events.len(), 9);
    is_damage("ledger-prison-LEI", end);
}
