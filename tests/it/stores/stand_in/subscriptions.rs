//! Subscriptions to the stand-in, and a node that follows another.

use std::time::{Duration, Instant};

use kurrentdb::{
    DeleteStreamOptions, ReadAllOptions, ReadStreamOptions, StreamPosition, StreamState, SubscribeToAllOptions,
    SubscribeToStreamOptions, SubscriptionEvent, SubscriptionFilter,
};

use super::{append, client, client_of, leader_in_refusal, numbers, position, read, read_all};
use crate::support::{Nodes, Proxy, StandIn, eventually};

#[tokio::test]
async fn a_subscription_catches_up_and_goes_on() {
    let server = StandIn::start();
    let client = client(&server);
    for number in 0..8 {
        append(&client, "other", StreamState::Any, (0..5).map(|n| 100 + 5 * number + n)).await.expect("append");
        append(&client, "ours-1", StreamState::Any, (0..5).map(|n| 5 * number + n)).await.expect("append");
    }
    let filter = SubscriptionFilter::on_stream_name().add_prefix("ours-").max(8);
    let options = SubscribeToAllOptions::default().filter(filter);
    let mut subscription = client.subscribe_to_all(&options).await;
    let mut seen = Vec::new();
    let mut checkpoints = Vec::new();
    let mut is_confirmed = false;
    let caught_up = loop {
        match subscription.next_subscription_event().await.expect("an event") {
            SubscriptionEvent::Confirmed(_) => is_confirmed = true,
            SubscriptionEvent::EventAppeared(event) => seen.push(event),
            SubscriptionEvent::Checkpoint(position) => checkpoints.push(position),
            SubscriptionEvent::CaughtUp(caught_up) => break caught_up.expect("when and where"),
            other => panic!("{other:?}"),
        }
    };
    assert!(is_confirmed);
    assert_eq!(numbers(&seen), (0..40).map(|number| (number, number)).collect::<Vec<_>>());
    // 82 events with the server's own two, a checkpoint after each eight of them and one at the
    // end.
    assert_eq!(checkpoints.len(), 11, "{checkpoints:?}");
    assert!(caught_up.position >= seen.last().map(position) && caught_up.position.as_ref() >= checkpoints.last());

    append(&client, "other", StreamState::Any, [200]).await.expect("append");
    append(&client, "ours-2", StreamState::Any, [40]).await.expect("append");
    assert_eq!(numbers(&[subscription.next().await.expect("an event")]), [(0, 40)]);

    let after = StreamPosition::Position(position(&seen[38]));
    let mut subscription = client.subscribe_to_all(&options.position(after)).await;
    assert_eq!(numbers(&[subscription.next().await.expect("an event")]), [(39, 39)]);

    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Position(38));
    let mut subscription = client.subscribe_to_stream("ours-1", &options).await;
    assert_eq!(numbers(&[subscription.next().await.expect("an event")]), [(39, 39)]);
    append(&client, "ours-1", StreamState::Any, [41]).await.expect("append");
    assert_eq!(numbers(&[subscription.next().await.expect("an event")]), [(40, 41)]);
}

#[tokio::test]
async fn a_live_subscription_that_falls_behind_is_told_so() {
    let server = StandIn::start();
    let client = client(&server);
    let options = SubscribeToAllOptions::default().filter(SubscriptionFilter::on_event_type().regex("^Coun.ed$"));
    let mut subscription = client.subscribe_to_all(&options).await;
    while !matches!(subscription.next_subscription_event().await.expect("an event"), SubscriptionEvent::CaughtUp(_)) {}
    append(&client, "a", StreamState::NoStream, 0..40).await.expect("append");
    let (mut seen, mut fell_behind) = (Vec::new(), 0);
    loop {
        match subscription.next_subscription_event().await.expect("an event") {
            SubscriptionEvent::FellBehind(_) => fell_behind += 1,
            SubscriptionEvent::EventAppeared(event) => seen.push(event),
            SubscriptionEvent::CaughtUp(_) => break,
            _ => {}
        }
    }
    assert_eq!(fell_behind, 1);
    assert_eq!(numbers(&seen), (0..40).map(|number| (number, number)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_subscription_meets_delays_cuts_and_silence() {
    let server = StandIn::start();
    let proxy = server.proxy();
    let (direct, client) = (client(&server), client_of(&proxy.url()));
    append(&direct, "a", StreamState::NoStream, [1]).await.expect("append");
    let options = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut subscription = client.subscribe_to_stream("a", &options).await;
    subscription.next().await.expect("an event");

    proxy.freeze();
    append(&direct, "a", StreamState::StreamRevision(0), [2]).await.expect("append");
    let silence = tokio::time::timeout(Duration::from_millis(300), subscription.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    proxy.pass();
    assert_eq!(numbers(&[subscription.next().await.expect("an event")]), [(1, 2)]);

    proxy.delay(Duration::from_millis(300));
    let start = Instant::now();
    append(&direct, "a", StreamState::StreamRevision(1), [3]).await.expect("append");
    assert_eq!(numbers(&[subscription.next().await.expect("an event")]), [(2, 3)]);
    assert!(start.elapsed() >= Duration::from_millis(300));
    proxy.pass();

    for end in [Proxy::cut, Proxy::reset] {
        end(&proxy);
        subscription.next().await.expect_err("it was ended");
        subscription = client.subscribe_to_stream("a", &options).await;
        for _ in 0..3 {
            subscription.next().await.expect("an event");
        }
    }
    proxy.lose_answer_bytes(5);
    append(&direct, "a", StreamState::StreamRevision(2), [4]).await.expect("append");
    while subscription.next().await.is_ok() {}

    proxy.refuse();
    proxy.cut();
    read(&client_of(&proxy.url()), "a", ReadStreamOptions::default()).await.expect_err("it is refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_serves_reads_and_names_the_leader_for_writes() {
    let mut nodes = Nodes::start().await;
    let leader = nodes.leader().await;
    let address = nodes.node(leader).address().to_owned();
    let follower = nodes.node((leader + 1) % 3).url();
    append(&client_of(&nodes.node(leader).url()), "a", StreamState::NoStream, [1, 2]).await.expect("append");

    // Each with a client of its own, because a client that was referred uses the leader from then
    // on.
    assert_eq!(
        leader_in_refusal(append(&client_of(&follower), "a", StreamState::StreamRevision(1), [3]).await),
        address
    );
    let deleted = client_of(&follower).delete_stream("a", &DeleteStreamOptions::default()).await;
    assert_eq!(leader_in_refusal(deleted), address);
    let of_leader = ReadStreamOptions::default().requires_leader(true);
    assert_eq!(leader_in_refusal(read(&client_of(&follower), "a", of_leader).await), address);
    let of_leader = ReadAllOptions::default().requires_leader(true);
    assert_eq!(leader_in_refusal(read_all(&client_of(&follower), of_leader).await), address);
    let mut of_leader =
        client_of(&follower).subscribe_to_all(&SubscribeToAllOptions::default().requires_leader(true)).await;
    assert_eq!(leader_in_refusal(of_leader.next().await), address);

    let reading = client_of(&format!("{follower}&nodePreference=follower"));
    eventually("what the leader has written", async || {
        let events = read(&reading, "a", ReadStreamOptions::default()).await.ok()?;
        (numbers(&events) == [(0, 1), (1, 2)]).then_some(())
    })
    .await;
    let from_start = SubscribeToStreamOptions::default().start_from(StreamPosition::Start);
    let mut subscription = reading.subscribe_to_stream("a", &from_start).await;
    for number in 1..=2 {
        assert_eq!(numbers(&[subscription.next().await.expect("an event")]), [(number - 1, number)]);
    }
    nodes.kill_leader().await;
    let successor = nodes.leader().await;
    let written = append(&client_of(&nodes.node(successor).url()), "a", StreamState::StreamRevision(1), [3]).await;
    written.expect("append");
    assert_eq!(numbers(&[subscription.next().await.expect("an event")]), [(2, 3)]);
}
