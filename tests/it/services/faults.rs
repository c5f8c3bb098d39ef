//! Faults that the services survive, under load. At the end every acknowledged command must be in
//! the log once, and the views must equal the log.
//!
//! Left to chance: the work of a service at the moment of its kill. The load keeps all services
//! busy.

use std::time::{Duration, Instant};

use futures::future::join_all;
use nix::sys::signal::Signal;
use tokio::time::timeout;

use crate::support::{
    PATIENCE, Proxy,
    command_load::CommandLoad,
    eventually,
    service_cluster::{ServiceCluster, ServiceName, state},
};

/// Commands a second, unless a test sets another rate.
const RATE: u32 = 200;

/// If set, the load lasts at least so many seconds and the services must keep its rate.
const LOAD_SECONDS: &str = "LEDGER_TESTS_LOAD_SECONDS";

/// A load of two minutes with a check of its rate is part of each release:
///
/// ```text
/// LEDGER_TESTS_LOAD_SECONDS=120 LEDGER_TESTS_TOPOLOGY=services \
///     cargo test -p tests --test it no_command_is_lost_when_each_service_is_killed -- --nocapture
/// ```
///
/// The machine must have time for it. Without the variable the test ends when each service was
/// killed, and the rate is not checked.
#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_lost_when_each_service_is_killed_in_turn() {
    let seconds = std::env::var(LOAD_SECONDS).map_or(0, |text| text.parse().expect(LOAD_SECONDS));
    let mut cluster = ServiceCluster::start().await;
    let (load, begun) = (CommandLoad::start(&cluster.command_clients, RATE), Instant::now());
    let parts = cluster.parts();
    let pause = Duration::from_secs(seconds) / (parts.len() as u32 + 1);
    for part in parts {
        load.wait_for_acknowledgements(100).await;
        tokio::time::sleep(pause).await;
        cluster.kill(part);
        load.wait_for_acknowledgements(100).await;
        cluster.start_part(part).await;
        cluster.wait_until_ready().await;
    }
    load.wait_for_acknowledgements(100).await;
    tokio::time::sleep(Duration::from_secs(seconds).saturating_sub(begun.elapsed())).await;
    let taken = begun.elapsed();
    let outcome = load.finish(&cluster).await;
    println!(
        "{} commands in {:.1} s, {:.0} a second, sent again {} times: none lost, none doubled; answered within {:?} of when each \
         was due, 99 in 100 within {:?}, all within {:?}",
        outcome.commands,
        taken.as_secs_f64(),
        outcome.commands as f64 / taken.as_secs_f64(),
        outcome.resent,
        outcome.waited_percentile(50),
        outcome.waited_percentile(99),
        outcome.waited_percentile(100),
    );
    // Clients make up for outages, so missing commands are those that the services could not carry.
    let wanted = f64::from(RATE) * taken.as_secs_f64();
    assert!(
        seconds == 0 || outcome.commands as f64 >= wanted,
        "{} commands of {wanted:.0}: the services, or this machine, do not carry {RATE} a second",
        outcome.commands
    );
}

/// An append in progress takes effect or does not, and the client is not told which. A follower
/// misses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_lost_in_network_faults_before_the_event_store() {
    let mut cluster = ServiceCluster::start_behind_proxies().await;
    let load = CommandLoad::start(&cluster.command_clients, RATE);
    for end in [Proxy::cut, Proxy::reset, Proxy::cut, Proxy::reset] {
        load.wait_for_acknowledgements(50).await;
        end(cluster.way_to_store());
    }
    for end in [Proxy::cut, Proxy::reset] {
        // Slow enough that requests and answers are in transit when the connections end.
        cluster.way_to_store().delay(Duration::from_millis(20));
        load.wait_for_acknowledgements(50).await;
        end(cluster.way_to_store());
        cluster.way_to_store().pass();
    }
    load.wait_for_acknowledgements(50).await;
    cluster.way_to_store().refuse();
    cluster.way_to_store().cut();
    load.wait_for_resend().await;
    cluster.way_to_store().pass();
    load.wait_for_acknowledgements(50).await;
    // Appends take effect, but their answers are lost.
    cluster.way_to_store().swallow_answers();
    load.wait_for_resend().await;
    cluster.way_to_store().renew();
    load.wait_for_acknowledgements(50).await;
    // Requests that were held back arrive after their senders gave up.
    cluster.way_to_store().freeze();
    load.wait_for_resend().await;
    cluster.way_to_store().pass();
    cluster.wait_until_ready().await;
    load.wait_for_acknowledgements(200).await;
    load.finish(&cluster).await;
}

/// Commands continue meanwhile, and the projectors continue from their positions.
#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_lost_in_network_faults_before_the_views() {
    let mut cluster = ServiceCluster::start_behind_proxies().await;
    let load = CommandLoad::start(&cluster.command_clients, RATE);
    for end in [Proxy::cut, Proxy::reset, Proxy::cut, Proxy::reset] {
        cluster.active_projector().await;
        cluster.way_to_views().delay(Duration::from_millis(20));
        load.wait_for_acknowledgements(100).await;
        end(cluster.way_to_views());
        cluster.way_to_views().pass();
    }
    let active = cluster.active_projector().await;
    cluster.way_to_views().freeze();
    eventually("a projector that noticed", async || {
        (state(cluster.part(active)).await.as_deref() != Some("running")).then_some(())
    })
    .await;
    load.wait_for_acknowledgements(100).await;
    cluster.way_to_views().pass();
    cluster.wait_until_ready().await;
    load.wait_for_acknowledgements(200).await;
    let query = cluster.part(ServiceName::Query).client().clone();
    // Silences the connections of look-ups for good, without an error.
    let look_up = async || {
        let answer = query.get("/prisoners/A0100AA/responsibility");
        let answer = timeout(PATIENCE / 2, answer).await.expect("an answer on another connection");
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    join_all((0..32).map(|_| look_up())).await;
    cluster.way_to_views().freeze_those_there_are();
    join_all((0..32).map(|_| look_up())).await;
    load.finish(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_lost_when_the_views_server_restarts() {
    let mut cluster = ServiceCluster::start().await;
    let load = CommandLoad::start(&cluster.command_clients, RATE);
    load.wait_for_acknowledgements(200).await;
    cluster.views.stop().await;
    // Commands continue without it.
    load.wait_for_acknowledgements(400).await;
    cluster.views.start_again().await;
    cluster.wait_until_ready().await;
    load.wait_for_acknowledgements(200).await;
    load.finish(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_lost_when_the_event_store_restarts() {
    let mut cluster = ServiceCluster::start().await;
    let load = CommandLoad::start(&cluster.command_clients, RATE);
    for _ in 0..2 {
        load.wait_for_acknowledgements(200).await;
        cluster.store.stop().await;
        let query = cluster.part(ServiceName::Query).client().clone();
        eventually("an unready command service", async || {
            let answer = cluster.part(ServiceName::Command(0)).client().get("/health/readiness").await;
            (answer.status == 503).then_some(())
        })
        .await;
        assert_eq!(query.get("/prisoners/A0100AA/responsibility").await.status, 200, "the views are still there");
        cluster.store.start_again().await;
        cluster.wait_until_ready().await;
    }
    load.wait_for_acknowledgements(200).await;
    load.finish(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_projector_takes_over_from_one_that_was_killed() {
    let mut cluster = ServiceCluster::start().await;
    let load = CommandLoad::start(&cluster.command_clients, RATE);
    for _ in 0..3 {
        load.wait_for_acknowledgements(100).await;
        let active = cluster.active_projector().await;
        cluster.kill(active);
        let successor = cluster.active_projector().await;
        assert_ne!(successor, active);
        cluster.start_part(active).await;
        cluster.wait_until_ready().await;
        assert_eq!(state(cluster.part(active)).await.as_deref(), Some("standby"));
    }
    load.finish(&cluster).await;
}

/// Stops a projector repeatedly, at any point of its work. The other takes over, and the work of
/// the first has no effect.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_projector_is_replaced_and_writes_nothing_afterwards() {
    let mut cluster = ServiceCluster::start().await;
    let load = CommandLoad::start(&cluster.command_clients, RATE);
    for _ in 0..2 {
        load.wait_for_acknowledgements(100).await;
        let held = cluster.active_projector().await;
        cluster.part(held).signal(Signal::SIGSTOP);
        let ServiceName::Projector(index) = held else { panic!("{held:?} is no projector") };
        let other = ServiceName::Projector(1 - index);
        eventually("the other to take over", async || {
            (state(cluster.part(other)).await.as_deref() == Some("running")).then_some(())
        })
        .await;
        load.wait_for_acknowledgements(100).await;
        cluster.part(held).signal(Signal::SIGCONT);
        eventually("the first to stand by", async || {
            (state(cluster.part(held)).await.as_deref() == Some("standby")).then_some(())
        })
        .await;
        assert_eq!(state(cluster.part(other)).await.as_deref(), Some("running"));
        cluster.wait_until_ready().await;
    }
    load.finish(&cluster).await;
}
