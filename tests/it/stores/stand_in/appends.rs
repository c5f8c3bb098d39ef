//! Appending to the stand-in, and its expected revisions.

use std::time::Duration;

use futures::future::join_all;
use kurrentdb::{
    AppendToStreamOptions, BatchAppendOptions, CurrentRevision, Error, EventData, ReadAllOptions, ReadStreamOptions,
    StreamPosition, StreamState,
};
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use super::{append, client, client_of, events, numbers, position, read, read_all, revisions_of_refusal};
use crate::support::{StandIn, eventually};

#[tokio::test]
async fn events_are_read_as_they_were_appended() {
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

#[tokio::test]
async fn a_wrong_revision_is_refused_with_both_revisions() {
    let server = StandIn::start();
    let client = client(&server);
    let missing = CurrentRevision::NoStream;
    let exact = StreamState::StreamRevision(0);
    assert_eq!(revisions_of_refusal(append(&client, "a", exact, [1]).await), (missing, exact));
    assert_eq!(
        revisions_of_refusal(append(&client, "a", StreamState::StreamExists, [1]).await),
        (missing, StreamState::StreamExists)
    );

    append(&client, "a", StreamState::NoStream, [1, 2]).await.expect("append");
    let current = CurrentRevision::Current(1);
    assert_eq!(
        revisions_of_refusal(append(&client, "a", StreamState::NoStream, [3]).await),
        (current, StreamState::NoStream)
    );
    for revision in [0, 2] {
        let expected = StreamState::StreamRevision(revision);
        assert_eq!(revisions_of_refusal(append(&client, "a", expected, [3]).await), (current, expected));
    }
    for expected in [StreamState::StreamExists, StreamState::Any] {
        append(&client, "a", expected, [3 + u64::from(expected == StreamState::Any)]).await.expect("append");
    }
    let events = read(&client, "a", ReadStreamOptions::default()).await.expect("read");
    assert_eq!(numbers(&events), [(0, 1), (1, 2), (2, 3), (3, 4)]);
}

#[tokio::test]
async fn a_repeated_append_gets_the_first_answer() {
    let server = StandIn::start();
    let client = client(&server);
    let first = append(&client, "a", StreamState::NoStream, [1, 2]).await.expect("append");
    append(&client, "a", StreamState::StreamRevision(1), [3, 4]).await.expect("append");

    let again = append(&client, "a", StreamState::NoStream, [1, 2]).await.expect("the same");
    assert_eq!((again.next_expected_version, again.position), (first.next_expected_version, first.position));
    append(&client, "a", StreamState::NoStream, [1]).await.expect("a beginning of the same");
    append(&client, "a", StreamState::StreamRevision(0), [2, 3]).await.expect("across what was appended together");
    append(&client, "a", StreamState::Any, [3, 4]).await.expect("the same at any revision");

    revisions_of_refusal(append(&client, "a", StreamState::NoStream, [1, 3]).await);
    revisions_of_refusal(append(&client, "a", StreamState::NoStream, [2]).await);
    revisions_of_refusal(append(&client, "a", StreamState::StreamRevision(1), [3, 4, 5]).await);
    revisions_of_refusal(append(&client, "a", StreamState::Any, [4, 5]).await);
    let events = read(&client, "a", ReadStreamOptions::default()).await.expect("read");
    assert_eq!(numbers(&events), [(0, 1), (1, 2), (2, 3), (3, 4)]);

    // At the expected revision the server does not look at ids, nor does it look at other streams.
    append(&client, "a", StreamState::StreamRevision(3), [1]).await.expect("an id again");
    append(&client, "b", StreamState::Any, [2]).await.expect("an id of another stream");
    assert_eq!(numbers(&read(&client, "a", ReadStreamOptions::default()).await.expect("read"))[4], (4, 1));
    assert_eq!(numbers(&read(&client, "b", ReadStreamOptions::default()).await.expect("read")), [(0, 2)]);
}

/// A client that gives up leaves the call in the middle of its events.
#[tokio::test]
async fn an_append_that_is_cut_short_is_written_whole_or_not_at_all() {
    const APPENDS: u64 = 60;
    const EVENTS: u64 = 64;
    let server = StandIn::start();
    let client = client(&server);
    let large = |number| {
        let data = "x".repeat(8 * 1024);
        EventData::json("Counted", &json!({ "number": number, "data": data })).expect("an event").id(Uuid::new_v4())
    };
    let options = AppendToStreamOptions::default().stream_state(StreamState::NoStream);
    let mut cut = 0;
    for index in 0..APPENDS {
        let events: Vec<EventData> = (0..EVENTS).map(large).collect();
        let call = client.append_to_stream(format!("a-{index}"), &options, events);
        cut += u32::from(timeout(Duration::from_micros(index * 50), call).await.is_err());
    }
    assert!(cut > 20, "only {cut} calls were cut short");
    // The server has taken in what was sent before this.
    append(&client, "b", StreamState::NoStream, [1]).await.expect("append");
    for index in 0..APPENDS {
        match read(&client, &format!("a-{index}"), ReadStreamOptions::default()).await {
            Ok(events) => assert_eq!(events.len() as u64, EVENTS, "of the append {index}"),
            Err(error) => assert!(matches!(error, Error::ResourceNotFound), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn appends_of_one_batch_take_effect_in_order() {
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
async fn an_append_that_is_too_large_or_names_no_stream_is_refused() {
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
async fn an_append_takes_effect_although_its_answer_is_lost() {
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
