//! Faults between the store and its server, under load: connections are cut, reset and refused;
//! answers are lost, late, damaged or missing; the server is killed.
//!
//! The load goes through a proxy. The test reads the result past the proxy. A caller that gives up
//! waiting or stops polling must not delay other callers.

use std::time::Duration;

use event_log::{EventLog as _, FollowerItem, contract::made_up_stream};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio::time::timeout;
use uuid::Uuid;

use super::append_nine;
use crate::support::{
    PATIENCE, Proxy, StandIn,
    append_load::{AppendLoad, WRITERS},
    eventually, log_at,
    whole_log::read_recorded,
};

/// A server, a proxy in front of it, and a load through the proxy.
fn begin() -> (StandIn, Proxy, AppendLoad) {
    let server = StandIn::start();
    let proxy = server.proxy();
    let load = AppendLoad::start(&proxy.url());
    (server, proxy, load)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_doubled_when_connections_are_cut_and_reset() {
    let (server, proxy, load) = begin();
    for round in 0..10 {
        load.wait_for_appends(WRITERS).await;
        if round % 2 == 0 { proxy.cut() } else { proxy.reset() }
    }
    load.check(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_doubled_when_answers_are_lost() {
    let (server, proxy, load) = begin();
    let direct = log_at(&server.url());
    for _ in 0..5 {
        load.wait_for_appends(WRITERS).await;
        proxy.swallow_answers();
        eventually("appends that nobody was told of", async || {
            (read_recorded(&direct).await.len() > load.acknowledged_count()).then_some(())
        })
        .await;
        proxy.pass();
        proxy.cut();
    }
    load.check(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_doubled_when_everything_is_late_and_then_lost() {
    let (server, proxy, load) = begin();
    for _ in 0..3 {
        proxy.delay(Duration::from_millis(100));
        load.wait_for_appends(WRITERS).await;
        // With requests and answers in transit.
        proxy.reset();
        proxy.pass();
        load.wait_for_appends(WRITERS).await;
    }
    load.check(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_doubled_when_answers_lack_bytes() {
    let (server, proxy, load) = begin();
    for count in [1, 9, 100, 5_000] {
        load.wait_for_appends(WRITERS).await;
        proxy.lose_answer_bytes(count);
    }
    load.check(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_doubled_when_the_server_is_silent() {
    let (server, proxy, load) = begin();
    load.wait_for_appends(WRITERS).await;
    proxy.freeze();
    load.wait_for_outage().await;
    proxy.pass();
    load.wait_for_appends(WRITERS).await;
    // The server never answers the earlier requests.
    proxy.freeze();
    load.wait_for_outage().await;
    proxy.reset();
    proxy.pass();
    load.check(&server.url()).await;
}

/// The client is told not to notice by itself, and no caller waits as long as the store waits for
/// an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_after_a_cancelled_one_uses_another_connection() {
    let server = StandIn::start();
    let proxy = server.proxy();
    let log = log_at(&format!("{}&keepAliveInterval=-1", proxy.url()));
    let (_, last) = append_nine(&log).await;
    proxy.freeze_those_there_are();
    let head = async || timeout(Duration::from_secs(1), log.head()).await.ok();
    assert!(head().await.is_none(), "the connection is silent");
    assert_eq!(eventually("an answer", head).await.expect("the head"), last.position);
}

/// A caller may await something else as well and be busy with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_not_polled_in_an_outage_delays_no_other_call() {
    let server = StandIn::start();
    let proxy = server.proxy();
    let log = log_at(&proxy.url());
    let (_, last) = append_nine(&log).await;
    proxy.refuse();
    proxy.cut();
    log.head().await.expect_err("the server is out of reach");
    let mut follower = log.follow_all(0);
    assert!(follower.next().now_or_never().is_none(), "it waits for the server");
    proxy.pass();
    let head = timeout(PATIENCE, log.head()).await.expect("an answer while the follower is left alone");
    assert_eq!(head.expect("the head"), last.position);
    assert!(matches!(follower.next().await, Some(Ok(FollowerItem::Events(events))) if events.len() == 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_doubled_when_connections_are_refused() {
    let (server, proxy, load) = begin();
    load.wait_for_appends(WRITERS).await;
    proxy.refuse();
    proxy.cut();
    load.wait_for_outage().await;
    proxy.pass();
    load.check(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_doubled_when_the_server_is_killed() {
    let (mut server, _proxy, load) = begin();
    for _ in 0..5 {
        load.wait_for_appends(WRITERS).await;
        server.kill();
        server.start_again();
    }
    load.wait_for_appends(WRITERS).await;
    server.kill();
    load.wait_for_outage().await;
    server.start_again();
    load.check(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_doubled_when_subscriptions_end_without_an_error() {
    let (server, _proxy, load) = begin();
    for _ in 0..3 {
        load.wait_for_appends(2 * WRITERS).await;
        server.end_subscriptions();
    }
    load.check(&server.url()).await;
}

/// The server's end of an answer crosses with word that its reader has gone. A connection ends by
/// itself after a thousand of these, and the proxy lets none be made anew.
#[tokio::test(flavor = "multi_thread")]
async fn loads_of_new_cases_keep_their_connection() {
    let server = StandIn::start_with_arguments(&["--late-end-ms", "20"]);
    let slow = server.proxy();
    slow.delay(Duration::from_millis(50));
    let proxy = slow.proxy();
    let log = log_at(&proxy.url());
    log.head().await.expect("a connection");
    proxy.refuse();
    let run = Uuid::new_v4();
    let loads = stream::iter(10..2_000).map(|number| {
        let (log, new) = (log.clone(), made_up_stream(run, number));
        async move { log.load_streams(&[new]).await }
    });
    let loaded: Vec<_> = loads.buffer_unordered(256).try_collect().await.expect("the connection");
    assert!(loaded.iter().flatten().all(Vec::is_empty));
}
