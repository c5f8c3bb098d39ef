//! A stand-in that is told to be as slow as a real server.

use std::time::{Duration, Instant};

use futures::future::join_all;
use kurrentdb::{ReadAllOptions, StreamState};

use super::{append, client, read_all};
use crate::support::StandIn;

#[tokio::test]
async fn an_append_takes_the_time_of_a_flush_which_it_shares_with_others() {
    const APPENDS: u32 = 40;
    let flush = Duration::from_millis(500);
    let server = StandIn::start_with_arguments(&["--append-ms", "500"]);
    let client = client(&server);
    let started = Instant::now();
    append(&client, "a", StreamState::NoStream, [0]).await.expect("append");
    let one = started.elapsed();
    assert!(one >= flush, "one append took {one:?}");

    let started = Instant::now();
    let client = &client;
    let appends = (1..=u64::from(APPENDS)).map(|number| async move {
        let appended = append(client, &format!("a-{number}"), StreamState::NoStream, [number]).await;
        appended.expect("append").position.commit
    });
    let positions = join_all(appends).await;
    let all = started.elapsed();
    // One after the other they would take all of this time.
    assert!(all < flush * APPENDS, "{APPENDS} appends took {all:?}");
    let events = read_all(client, ReadAllOptions::default()).await.expect("read");
    let kept: Vec<_> = events.iter().map(|event| event.get_original_event().position.commit).collect();
    assert!(kept.is_sorted() && positions.iter().all(|position| kept.contains(position)), "{positions:?} of {kept:?}");
}

#[tokio::test]
async fn a_read_of_the_log_gives_out_no_more_than_its_rate() {
    let server = StandIn::start_with_arguments(&["--read-rate", "100"]);
    let client = client(&server);
    append(&client, "a", StreamState::NoStream, 0..60).await.expect("append");
    let started = Instant::now();
    let events = read_all(&client, ReadAllOptions::default()).await.expect("read");
    let taken = started.elapsed();
    assert!(events.len() >= 60, "{} events", events.len());
    // The first event is due at once, and the last 59 hundredths of a second after it.
    assert!(taken >= Duration::from_millis(590), "60 events took {taken:?}");
}

#[tokio::test]
async fn appends_are_no_more_than_their_rate() {
    let server = StandIn::start_with_arguments(&["--append-rate", "100"]);
    let client = client(&server);
    let started = Instant::now();
    append(&client, "a", StreamState::NoStream, 0..60).await.expect("append");
    let taken = started.elapsed();
    assert!(taken >= Duration::from_millis(600), "60 events took {taken:?}");
}
