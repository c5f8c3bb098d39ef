//! What can happen between the store and its server, under load: connections are cut, reset and refused, answers are lost,
//! late, damaged or do not come, and the server is killed. The load goes through a proxy; what stands is read past it. Whoever
//! gives up waiting, or is not there to go on, holds up nobody.

use std::{collections::HashMap, time::Duration};

use event_log::{EventLog as _, Followed};
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;

use super::{
    append_nine,
    load::{Load, WRITERS, read_all},
    log_at,
};
use crate::support::{PATIENCE, Proxy, StandIn, eventually};

/// A server, a proxy in front of it, and a load through that.
fn begin() -> (StandIn, Proxy, Load) {
    let server = StandIn::start();
    let proxy = server.proxy();
    let load = Load::start(&proxy.url());
    (server, proxy, load)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_cut_and_reset() {
    let (server, proxy, load) = begin();
    for round in 0..10 {
        load.goes_on(WRITERS).await;
        if round % 2 == 0 { proxy.cut() } else { proxy.reset() }
    }
    load.check(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_lost() {
    let (server, proxy, load) = begin();
    let direct = log_at(&server.url());
    for _ in 0..5 {
        load.goes_on(WRITERS).await;
        proxy.swallow_answers();
        eventually("appends that nobody was told of", async || {
            (read_all(&direct).await.len() > load.acknowledged()).then_some(())
        })
        .await;
        proxy.pass();
        proxy.cut();
    }
    load.check(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_late_and_then_lost() {
    let (server, proxy, load) = begin();
    for _ in 0..3 {
        proxy.delay(Duration::from_millis(100));
        load.goes_on(WRITERS).await;
        // With some of everything on the way.
        proxy.reset();
        proxy.pass();
        load.goes_on(WRITERS).await;
    }
    load.check(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_lack_bytes() {
    let (server, proxy, load) = begin();
    for count in [1, 9, 100, 5_000] {
        load.goes_on(WRITERS).await;
        proxy.lose_answer_bytes(count);
    }
    load.check(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_nothing() {
    let (server, proxy, load) = begin();
    load.goes_on(WRITERS).await;
    proxy.freeze();
    load.is_told().await;
    proxy.pass();
    load.goes_on(WRITERS).await;
    // Nor does it ever answer what was asked before.
    proxy.freeze();
    load.is_told().await;
    proxy.reset();
    proxy.pass();
    load.check(&server.url()).await;
}

/// The client does not notice by itself, as it is told not to, and nobody waits as long as the store waits for an answer.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_for_a_silent_connection_is_answered_on_another() {
    let server = StandIn::start();
    let proxy = server.proxy();
    let log = log_at(&format!("{}&keepAliveInterval=-1", proxy.url()));
    let (_, last) = append_nine(&log).await;
    proxy.freeze_those_there_are();
    let head = async || timeout(Duration::from_secs(1), log.head()).await.ok();
    assert!(head().await.is_none(), "the connection is silent");
    assert_eq!(eventually("an answer", head).await.expect("the head"), last.position);
}

/// As by those who wait for something else as well, and are busy with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_left_alone_in_an_outage_holds_up_nobody() {
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
    assert!(matches!(follower.next().await, Some(Ok(Followed::Events(events))) if events.len() == 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_refused() {
    let (server, proxy, load) = begin();
    load.goes_on(WRITERS).await;
    proxy.refuse();
    proxy.cut();
    load.is_told().await;
    proxy.pass();
    load.check(&server.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed_under_load() {
    let (mut server, _proxy, load) = begin();
    for _ in 0..5 {
        load.goes_on(WRITERS).await;
        server.kill();
        server.start_again();
    }
    load.goes_on(WRITERS).await;
    server.kill();
    load.is_told().await;
    server.start_again();
    load.check(&server.url()).await;
}

/// The client goes round in circles for ever then, on the thread that it is called on.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_ends_subscriptions_without_an_error() {
    let (server, _proxy, load) = begin();
    for _ in 0..3 {
        load.goes_on(WRITERS).await;
        server.end_subscriptions();
    }
    load.goes_on(WRITERS).await;
    eventually("the threads that listen to be at rest", async || {
        let before = listening_ticks();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let after = listening_ticks();
        let worked = |(thread, ticks): (&String, &u64)| ticks - before.get(thread).unwrap_or(ticks);
        // Of some 50 in that time.
        (after.iter().map(worked).max().unwrap_or(0) < 15).then_some(())
    })
    .await;
    load.check(&server.url()).await;
}

/// How much each thread that listens has worked, in hundredths of a second.
fn listening_ticks() -> HashMap<String, u64> {
    let mut ticks = HashMap::new();
    for thread in std::fs::read_dir("/proc/self/task").expect("the threads") {
        let thread = thread.expect("a thread").path();
        // One that has ended meanwhile does not work.
        let Ok(stat) = std::fs::read_to_string(thread.join("stat")) else { continue };
        let Some((head, fields)) = stat.rsplit_once(") ") else { continue };
        if head.contains("(kurrentdb-wakeu") {
            let worked = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
            ticks.insert(thread.display().to_string(), worked);
        }
    }
    ticks
}
