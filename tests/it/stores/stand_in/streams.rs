//! Deleted streams, reads of everything, and kills of the server.

use std::fs::File;

use futures::future::join_all;
use kurrentdb::{
    DeleteStreamOptions, Error, Position, ReadAllOptions, ReadStreamOptions, StreamMetadataResult, StreamPosition,
    StreamState, SubscribeToAllOptions, SubscribeToStreamOptions, SubscriptionFilter, TombstoneStreamOptions,
};

use super::{append, client, client_of, numbers, position, read, read_all};
use crate::support::StandIn;

#[tokio::test]
async fn a_deleted_stream_is_missing_until_it_is_written_to() {
    let server = StandIn::start();
    let client = client(&server);
    append(&client, "a", StreamState::NoStream, [1, 2]).await.expect("append");
    let wrong_revision = DeleteStreamOptions::default().stream_state(StreamState::StreamRevision(0));
    assert!(client.delete_stream("a", &wrong_revision).await.is_err());
    let options = DeleteStreamOptions::default().stream_state(StreamState::StreamRevision(1));
    client.delete_stream("a", &options).await.expect("delete").expect("a position");
    assert!(matches!(read(&client, "a", ReadStreamOptions::default()).await, Err(Error::ResourceNotFound)));
    assert!(matches!(append(&client, "a", StreamState::StreamExists, [3]).await, Err(Error::ResourceDeleted)));

    append(&client, "a", StreamState::NoStream, [3]).await.expect("append");
    let events = read(&client, "a", ReadStreamOptions::default()).await.expect("read");
    assert_eq!(numbers(&events), [(2, 3)]);
    let metadata = client.get_stream_metadata("a", &ReadStreamOptions::default()).await.expect("its metadata");
    let StreamMetadataResult::Success(metadata) = metadata else { panic!("{metadata:?}") };
    assert_eq!(metadata.metadata().truncate_before, Some(2));
}

#[tokio::test]
async fn a_tombstoned_stream_is_gone_for_good() {
    let server = StandIn::start();
    let client = client(&server);
    append(&client, "a", StreamState::NoStream, [1]).await.expect("append");
    client.tombstone_stream("a", &TombstoneStreamOptions::default()).await.expect("tombstone");
    assert!(matches!(read(&client, "a", ReadStreamOptions::default()).await, Err(Error::ResourceDeleted)));
    for expected in [StreamState::NoStream, StreamState::Any, StreamState::StreamRevision(0)] {
        assert!(matches!(append(&client, "a", expected, [1]).await, Err(Error::ResourceDeleted)));
    }
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut subscription = client.subscribe_to_stream("a", &options).await;
    assert!(matches!(subscription.next().await, Err(Error::ResourceDeleted)));
}

#[tokio::test]
async fn all_events_are_read_in_order_with_those_of_the_server() {
    let server = StandIn::start();
    let client = client(&server);
    let appends = (0..100).map(|number| {
        let client = client.clone();
        async move {
            let stream = format!("{}-{number}", if number % 2 == 0 { "even" } else { "odd" });
            append(&client, &stream, StreamState::NoStream, [number]).await.expect("append");
        }
    });
    join_all(appends).await;
    let all = read_all(&client, ReadAllOptions::default()).await.expect("read");
    let streams: Vec<_> = all.iter().map(|event| event.get_original_event().stream_id().to_owned()).collect();
    let is_own = |stream: &&String| stream.starts_with('$');
    assert_eq!(streams.iter().filter(is_own).count(), 3, "{streams:?}");
    let positions: Vec<_> = all.iter().map(position).collect();
    assert!(positions.is_sorted_by(|before, after| before.commit < after.commit), "{positions:?}");

    let from = ReadAllOptions::default().position(StreamPosition::Position(positions[50])).max_count(2);
    let some: Vec<_> = read_all(&client, from).await.expect("read").iter().map(position).collect();
    assert_eq!(some, positions[50..52]);
    let from = ReadAllOptions::default().backwards().position(StreamPosition::Position(positions[50])).max_count(2);
    let some: Vec<_> = read_all(&client, from).await.expect("read").iter().map(position).collect();
    assert_eq!(some, [positions[49], positions[48]]);
    let from = ReadAllOptions::default().backwards().position(StreamPosition::End).max_count(1);
    assert_eq!(position(&read_all(&client, from).await.expect("read")[0]), positions[102]);

    let filter = SubscriptionFilter::on_stream_name().add_prefix("odd-");
    let odd = read_all(&client, ReadAllOptions::default().filter(filter)).await.expect("read");
    let mut odd: Vec<_> = numbers(&odd).into_iter().map(|(_, number)| number).collect();
    odd.sort_unstable();
    assert_eq!(odd, (0..100).filter(|number| number % 2 == 1).collect::<Vec<_>>());

    let between = Position { commit: positions[50].commit + 1, prepare: positions[50].commit + 1 };
    let from = ReadAllOptions::default().position(StreamPosition::Position(between));
    let refused = read_all(&client, from).await.expect_err("it is no event's position");
    assert!(refused.to_string().contains("InvalidPosition"), "{refused}");
    let from = SubscribeToAllOptions::default().position(StreamPosition::Position(between));
    let refused = client.subscribe_to_all(&from).await.next().await.expect_err("it is no event's position");
    assert!(refused.to_string().contains("invalid position"), "{refused}");
}

#[tokio::test]
async fn acknowledged_events_outlive_a_kill() {
    let mut server = StandIn::start();
    for round in 0..3 {
        let client = client(&server);
        let appends = (0..50).map(|number| {
            let client = client.clone();
            async move {
                let stream = format!("{round}-{number}");
                append(&client, &stream, StreamState::NoStream, [number, 1000 + number]).await.expect("append").position
            }
        });
        let acknowledged = join_all(appends).await;
        server.kill();
        server.start_again();
        let client = client_of(&server.url());
        let all = read_all(&client, ReadAllOptions::default()).await.expect("read");
        let positions: Vec<_> = all.iter().map(position).collect();
        assert!(acknowledged.iter().all(|position| positions.contains(position)), "{acknowledged:?}, {positions:?}");
        let ours = all.iter().filter(|event| !event.get_original_event().stream_id().starts_with('$'));
        assert_eq!(ours.count(), 100 * (round + 1));
    }
}

#[tokio::test]
async fn a_torn_last_write_is_cut_off() {
    let mut server = StandIn::start();
    let first = append(&client(&server), "a", StreamState::NoStream, [1]).await.expect("append");
    let whole = std::fs::metadata(server.file()).expect("its file").len();
    append(&client(&server), "a", StreamState::StreamRevision(0), [2, 3]).await.expect("append");
    server.kill();
    let torn = std::fs::metadata(server.file()).expect("its file").len() - 1;
    // The second event of the last append lacks a byte. The first is complete but was never
    // acknowledged without it.
    File::options().write(true).open(server.file()).and_then(|file| file.set_len(torn)).expect("tear it");
    server.start_again();
    let client = client(&server);
    let events = read(&client, "a", ReadStreamOptions::default()).await.expect("read");
    assert_eq!(numbers(&events), [(0, 1)]);
    assert_eq!(position(&events[0]), first.position);
    assert_eq!(std::fs::metadata(server.file()).expect("its file").len(), whole);
    append(&client, "a", StreamState::StreamRevision(0), [4]).await.expect("append");
    let events = read(&client, "a", ReadStreamOptions::default()).await.expect("read");
    assert_eq!(numbers(&events), [(0, 1), (1, 4)]);
}
