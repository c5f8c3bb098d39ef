//! The stand-in for a KurrentDB server, tested with the official client over a real socket. It
//! keeps the documented rules of the server and every event that it acknowledged.

mod appends;
mod python;
mod slow;
mod streams;
mod subscriptions;

use kurrentdb::{
    AppendToStreamOptions, Client, CurrentRevision, Error, EventData, Position, ReadAllOptions, ReadStreamOptions,
    ResolvedEvent, StreamState, WriteResult,
};
use serde_json::json;
use uuid::Uuid;

use crate::support::StandIn;

fn client(server: &StandIn) -> Client {
    client_of(&server.url())
}

fn client_of(url: &str) -> Client {
    Client::new(format!("{url}&discoveryInterval=10").parse().expect("a URL")).expect("a client")
}

/// Events with these numbers. The number of an event is its id and its data.
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

/// The revisions and numbers of events.
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

/// The current and the expected revision in the refusal of an append.
#[track_caller]
fn revisions_of_refusal(refused: Result<WriteResult, Error>) -> (CurrentRevision, StreamState) {
    match refused {
        Err(Error::WrongExpectedVersion { expected, current }) => (current, expected),
        other => panic!("a wrong expected version was to be told: {other:?}"),
    }
}

/// The node to which a refusal refers the caller.
#[track_caller]
fn leader_in_refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Err(Error::NotLeaderException(leader)) => format!("{}:{}", leader.host, leader.port),
        other => panic!("the leader was to be told: {other:?}"),
    }
}
