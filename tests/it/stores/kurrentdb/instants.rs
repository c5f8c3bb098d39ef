//! Finding the place of an instant: the index of recorded times, and the snapshot of it with which
//! the next process begins.

use chrono::{DateTime, TimeDelta, Utc};
use event_log::Snapshot;
use tokio::time::timeout;

use super::*;
use crate::support::PATIENCE;

/// Events of the log. The index has a mark at every thousandth.
const EVENTS: usize = 5_000;

/// Fewer events than these are read for one instant.
const READ_MAX: u64 = 2_000;

/// Writes so many events, a millisecond apart, to a stream of the run.
async fn fill(log: &KurrentLog, run: Uuid, number: u64, events: usize, first: DateTime<Utc>) {
    let mut expected = NoStream;
    for begin in (0..events).step_by(50) {
        let some = (begin..begin + 50).map(|place| {
            let mut event = contract_event(run, number as usize * EVENTS + place);
            event.recorded_at = first + TimeDelta::milliseconds(place as i64);
            event
        });
        expected = Exact(log.append(&stream(run, number), expected, some.collect()).await.expect("append").revision);
    }
}

/// A server with a log of [`EVENTS`], and an instant with the position at it for some of them.
async fn filled() -> (StandIn, KurrentLog, Vec<(DateTime<Utc>, u64)>) {
    let server = StandIn::start();
    let log = log(&server);
    let first = Utc::now();
    fill(&log, Uuid::new_v4(), 0, EVENTS, first).await;
    let events = log.read_all(0, EVENTS).await.expect("read");
    let mut known = vec![(first - TimeDelta::seconds(1), 0), (first + TimeDelta::days(1), events[EVENTS - 1].position)];
    known.extend(events.iter().step_by(1_234).map(|event| (event.recorded_at, event.position)));
    (server, log, known)
}

async fn searched_count(client: &Client) -> u64 {
    made_up_data(client, "$stand-in-searched").await.as_u64().expect("a number")
}

#[tokio::test]
async fn a_second_process_finds_an_instant_without_reading_the_whole_log() {
    let (server, one, known) = filled().await;
    let client = client(&server);
    one.save_keys().await.expect("save");
    for (instant, position) in known {
        let before = searched_count(&client).await;
        assert_eq!(log(&server).position_at(instant).await.expect("a position"), position);
        let read = searched_count(&client).await - before;
        assert!(read < READ_MAX, "{read} events were read for {instant}");
    }
}

/// A service that follows the log saves the index beside the keys.
#[tokio::test(flavor = "multi_thread")]
async fn the_index_grows_with_a_follower_that_begins_where_the_saved_one_ends() {
    let (server, one, _) = filled().await;
    one.save_keys().await.expect("save");
    let end = one.head().await.expect("the head");
    let saved_to = async || one.load_snapshot("times").await.expect("load").map(|saved| saved.position);
    assert_eq!(saved_to().await, Some(end));

    let next = log(&server);
    next.learn_keys().await.expect("learn the keys");
    let mut followed = next.follow_all(end);
    fill(&one, Uuid::new_v4(), 1, 100, Utc::now()).await;
    let head = one.head().await.expect("the head");
    let mut position = end;
    while position < head {
        let item = timeout(PATIENCE, followed.next()).await.expect("an item").expect("a follower").expect("follow");
        if let FollowerItem::Events(events) = item {
            position = events.last().expect("an event").position;
        }
    }
    next.save_keys().await.expect("save");
    assert_eq!(saved_to().await, Some(head));
}

#[tokio::test]
async fn a_saved_index_that_is_damaged_or_of_another_log_is_not_used() {
    let (server, one, known) = filled().await;
    let (_other_server, other, _) = filled().await;
    let client = client(&server);
    for log in [&one, &other] {
        log.save_keys().await.expect("save");
    }
    let [own, of_other] = [&one, &other].map(async |log| log.load_snapshot("times").await.expect("load"));
    let (own, of_other) = (own.await.expect("a snapshot"), of_other.await.expect("a snapshot"));
    let content = &own.content;
    let mut changed = content.to_vec();
    let last_digit = changed.iter().rposition(u8::is_ascii_digit).expect("a digit");
    changed[last_digit] ^= 1;
    for (what, content) in [
        ("of another log", of_other.content),
        ("with another digit", changed.into()),
        ("cut short", content.slice(..content.len() - 1)),
        ("empty", "".into()),
    ] {
        assert!(one.save_snapshot("times", &Snapshot { position: own.position, content }).await.expect("save"));
        let next = log(&server);
        for (instant, position) in &known {
            let found = next.position_at(*instant).await.expect("a position");
            assert_eq!(found, *position, "{what}");
        }
        let before = searched_count(&client).await;
        log(&server).position_at(known[1].0).await.expect("a position");
        let read = searched_count(&client).await - before;
        assert!(read >= EVENTS as u64, "{what}: {read} events were read");
    }
}
