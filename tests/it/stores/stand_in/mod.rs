//! The stand-in for a KurrentDB server, asked by the official client over a real socket: it keeps the server's documented
//! rules, and what it has acknowledged.

mod python;

use std::{
    fs::File,
    time::{Duration, Instant},
};

use futures::future::join_all;
use kurrentdb::{
    AppendToStreamOptions, BatchAppendOptions, Client, CurrentRevision, DeleteStreamOptions, Error, EventData,
    Position, ReadAllOptions, ReadStreamOptions, ResolvedEvent, StreamMetadataResult, StreamPosition, StreamState,
    SubscribeToAllOptions, SubscribeToStreamOptions, SubscriptionEvent, SubscriptionFilter, TombstoneStreamOptions,
    WriteResult,
};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Nodes, Proxy, StandIn, eventually};

fn client(server: &StandIn) -> Client {
    client_of(&server.url())
}

fn client_of(url: &str) -> Client {
    Client::new(format!("{url}&discoveryInterval=10").parse().expect("a URL")).expect("a client")
}

/// The events of these numbers; an event's number is its id and its data.
fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<EventData> {
    let event = |number| {
        let data = json!({ "number": number });
        let event = EventData::json("Counted", &data).expect("an event").id(Uuid::from_u64_pair(1, number));
        event.metadata_as_json(&json!({ "of": "a test" })).expect("metadata")
    };
    numbers.into_iter().map(event).collect()
}

async fn append(
    client: &Client,
    stream: &str,
    expected: StreamState,
    numbers: impl IntoIterator<Item = u64>,
) -> Result<WriteResult, Error> {
    let options = AppendToStreamOptions::default().stream_state(expected);
    client.append_to_stream(stream, &options, events(numbers)).await
}

async fn read(client: &Client, stream: &str, options: ReadStreamOptions) -> Result<Vec<ResolvedEvent>, Error> {
    let mut stream = client.read_stream(stream, &options).await?;
    let mut events = Vec::new();
    while let Some(event) = stream.next().await? {
        events.push(event);
    }
    Ok(events)
}

async fn read_all(client: &Client, options: ReadAllOptions) -> Result<Vec<ResolvedEvent>, Error> {
    let mut stream = client.read_all(&options).await?;
    let mut events = Vec::new();
    while let Some(event) = stream.next().await? {
        events.push(event);
    }
    Ok(events)
}

/// The numbers of events, with their revisions.
fn numbers(events: &[ResolvedEvent]) -> Vec<(u64, u64)> {
    let number = |event: &ResolvedEvent| {
        let event = event.get_original_event();
        let data: serde_json::Value = event.as_json().expect("JSON");
        (event.revision, data["number"].as_u64().expect("a number"))
    };
    events.iter().map(number).collect()
}

fn position(event: &ResolvedEvent) -> Position {
    event.get_original_event().position
}

#[tokio::test]
async fn events_come_back_as_they_were_appended() {
    let server = StandIn::start();
    let client = client(&server);
    let first = append(&client, "a", StreamState::NoStream, [1, 2]).await.expect("append");
    let second = append(&client, "a", StreamState::StreamRevision(1), [3]).await.expect("append");
    assert_eq!((first.next_expected_version, second.next_expected_version), (1, 2));

    let events = read(&client, "a", ReadStreamOptions::default()).await.expect("read");
    assert_eq!(numbers(&events), [(0, 1), (1, 2), (2, 3)]);
    assert_eq!([position(&events[1]), position(&events[2])], [first.position, second.position]);
    let event = events[2].get_original_event();
    assert_eq!((event.id, event.event_type.as_str()), (Uuid::from_u64_pair(1, 3), "Counted"));
    assert_eq!((event.stream_id(), event.is_json), ("a", true));
    assert_eq!(&event.custom_metadata[..], br#"{"of":"a test"}"#);
    assert_eq!(&event.data[..], br#"{"number":3}"#);
    let age = chrono::Utc::now() - event.created;
    assert!(age.num_seconds().abs() < 60, "{age}");

    let backwards = ReadStreamOptions::default().backwards().position(StreamPosition::End).max_count(2);
    assert_eq!(numbers(&read(&client, "a", backwards).await.expect("read")), [(2, 3), (1, 2)]);
    let from = ReadStreamOptions::default().position(StreamPosition::Position(1));
    assert_eq!(numbers(&read(&client, "a", from).await.expect("read")), [(1, 2), (2, 3)]);
    assert!(matches!(read(&client, "b", ReadStreamOptions::default()).await, Err(Error::ResourceNotFound)));
}

/// The current revision that a refused append was told, with the expected one.
#[track_caller]
fn wrong(refused: Result<WriteResult, Error>) -> (CurrentRevision, StreamState) {
    match refused {
        Err(Error::WrongExpectedVersion { expected, current }) => (current, expected),
        other => panic!("a wrong expected version was to be told: {other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_revision_is_told_with_both_revisions() {
    let server = StandIn::start();
    let client = client(&server);
    let missing = CurrentRevision::NoStream;
    let exact = StreamState::StreamRevision(0);
    assert_eq!(wrong(append(&client, "a", exact, [1]).await), (missing, exact));
    assert_eq!(wrong(append(&client, "a", StreamState::StreamExists, [1]).await), (missing, StreamState::StreamExists));

    append(&client, "a", StreamState::NoStream, [1, 2]).await.expect("append");
    let current = CurrentRevision::Current(1);
    assert_eq!(wrong(append(&client, "a", StreamState::NoStream, [3]).await), (current, StreamState::NoStream));
    for revision in [0, 2] {
        let expected = StreamState::StreamRevision(revision);
        assert_eq!(wrong(append(&client, "a", expected, [3]).await), (current, expected));
    }
    for expected in [StreamState::StreamExists, StreamState::Any] {
        append(&client, "a", expected, [3 + u64::from(expected == StreamState::Any)]).await.expect("append");
    }
    let events = read(&client, "a", ReadStreamOptions::default()).await.expect("read");
    assert_eq!(numbers(&events), [(0, 1), (1, 2), (2, 3), (3, 4)]);
}

#[tokio::test]
async fn a_repeated_append_is_answered_as_the_first_was() {
    let server = StandIn::start();
    let client = client(&server);
    let first = append(&client, "a", StreamState::NoStream, [1, 2]).await.expect("append");
    append(&client, "a", StreamState::StreamRevision(1), [3, 4]).await.expect("append");

    let again = append(&client, "a", StreamState::NoStream, [1, 2]).await.expect("the same");
    assert_eq!((again.next_expected_version, again.position), (first.next_expected_version, first.position));
    append(&client, "a", StreamState::NoStream, [1]).await.expect("a beginning of the same");
    append(&client, "a", StreamState::StreamRevision(0), [2, 3]).await.expect("across what was appended together");
    append(&client, "a", StreamState::Any, [3, 4]).await.expect("the same at any revision");

    wrong(append(&client, "a", StreamState::NoStream, [1, 3]).await);
    wrong(append(&client, "a", StreamState::NoStream, [2]).await);
    wrong(append(&client, "a", StreamState::StreamRevision(1), [3, 4, 5]).await);
    wrong(append(&client, "a", StreamState::Any, [4, 5]).await);
    let events = read(&client, "a", ReadStreamOptions::default()).await.expect("read");
    assert_eq!(numbers(&events), [(0, 1), (1, 2), (2, 3), (3, 4)]);

    // At the expected revision nobody looks at the ids, nor in another stream.
    append(&client, "a", StreamState::StreamRevision(3), [1]).await.expect("an id again");
    append(&client, "b", StreamState::Any, [2]).await.expect("an id of another stream");
    assert_eq!(numbers(&read(&client, "a", ReadStreamOptions::default()).await.expect("read"))[4], (4, 1));
    assert_eq!(numbers(&read(&client, "b", ReadStreamOptions::default()).await.expect("read")), [(0, 2)]);
}

#[tokio::test]
async fn a_deleted_stream_is_missing_and_goes_on_when_it_is_written_to() {
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
async fn everything_is_read_in_order_with_the_servers_own_events() {
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
    // 82 events with the server's own two, a checkpoint after each eight of them and one at the end.
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
async fn a_live_subscription_that_is_overtaken_is_told_so() {
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
async fn appends_of_one_call_are_done_in_their_order() {
    let server = StandIn::start();
    let client = client(&server);
    let batch = client.batch_append(&BatchAppendOptions::default()).await.expect("a call");
    let appends =
        (0..100).map(|number| batch.append_to_stream(format!("a-{number}"), StreamState::NoStream, events([number])));
    let positions: Vec<_> = join_all(appends)
        .await
        .into_iter()
        .map(|done| done.expect("append").current_position().map(|at| at.commit))
        .collect();
    assert!(positions.is_sorted() && positions.iter().all(Option::is_some), "{positions:?}");
    let all = read_all(&client, ReadAllOptions::default()).await.expect("read");
    let ours: Vec<_> = all.iter().filter(|event| !event.get_original_event().stream_id().starts_with('$')).collect();
    assert!(
        ours.iter().enumerate().all(|(number, event)| event.get_original_event().stream_id() == format!("a-{number}"))
    );

    batch.append_to_stream("a-0", StreamState::NoStream, events([0])).await.expect("the same");
    let refused = batch.append_to_stream("a-0", StreamState::NoStream, events([200])).await.expect_err("another");
    assert!(refused.to_string().contains("WrongExpectedVersion"), "{refused}");
}

#[tokio::test]
async fn what_is_too_large_or_says_too_little_is_refused() {
    let server = StandIn::start();
    let client = client(&server);
    let options = AppendToStreamOptions::default();
    let large = EventData::binary("Large", vec![0; 1024 * 1024].into());
    let refused = client.append_to_stream("a", &options, large).await.expect_err("it is too large");
    assert!(refused.to_string().contains("Maximum Append Size of 1048576 Exceeded"), "{refused}");
    let fits = EventData::binary("Large", vec![0; 1024 * 1024 - 10].into());
    client.append_to_stream("a", &options, fits).await.expect("append");
    let refused = client.append_to_stream("", &options, events([1])).await.expect_err("there is no stream");
    assert!(refused.to_string().contains("stream"), "{refused}");
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill() {
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
    // The second event of the last append lacks a byte: the first, though complete, was never acknowledged without it.
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

#[tokio::test]
async fn an_append_whose_answer_is_lost_was_done() {
    let server = StandIn::start();
    let proxy = server.proxy();
    let (direct, client) = (client(&server), client_of(&proxy.url()));
    append(&client, "a", StreamState::NoStream, [1]).await.expect("append");

    proxy.swallow_answers();
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { append(&client, "a", StreamState::StreamRevision(0), [2]).await })
    };
    let done = eventually("the append to be done", async || {
        let events = read(&direct, "a", ReadStreamOptions::default()).await.expect("read");
        events.get(1).map(position)
    });
    let done = done.await;
    proxy.pass();
    proxy.cut();
    waiting.await.expect("a task").expect_err("nobody answered");

    let again = append(&client, "a", StreamState::StreamRevision(0), [2]).await.expect("the same");
    assert_eq!(again.position, done);
    assert_eq!(read(&direct, "a", ReadStreamOptions::default()).await.expect("read").len(), 2);
}

#[tokio::test]
async fn a_subscription_meets_what_is_on_the_way() {
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

/// Whom a call was sent on to.
#[track_caller]
fn sent_on<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Err(Error::NotLeaderException(leader)) => format!("{}:{}", leader.host, leader.port),
        other => panic!("the leader was to be told: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_follows_reads_what_the_leader_writes_and_sends_on_who_asks_for_it() {
    let mut nodes = Nodes::start().await;
    let leader = nodes.leader().await;
    let address = nodes.node(leader).address().to_owned();
    let follower = nodes.node((leader + 1) % 3).url();
    append(&client_of(&nodes.node(leader).url()), "a", StreamState::NoStream, [1, 2]).await.expect("append");

    // Each with a client of its own: one that is sent on goes to the leader from then on.
    assert_eq!(sent_on(append(&client_of(&follower), "a", StreamState::StreamRevision(1), [3]).await), address);
    let deleted = client_of(&follower).delete_stream("a", &DeleteStreamOptions::default()).await;
    assert_eq!(sent_on(deleted), address);
    let of_leader = ReadStreamOptions::default().requires_leader(true);
    assert_eq!(sent_on(read(&client_of(&follower), "a", of_leader).await), address);
    let of_leader = ReadAllOptions::default().requires_leader(true);
    assert_eq!(sent_on(read_all(&client_of(&follower), of_leader).await), address);
    let mut of_leader =
        client_of(&follower).subscribe_to_all(&SubscribeToAllOptions::default().requires_leader(true)).await;
    assert_eq!(sent_on(of_leader.next().await), address);

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
