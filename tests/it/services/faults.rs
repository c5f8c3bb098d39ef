//! What the services survive, under load: at the end every command that was acknowledged stands in the log once, and the views
//! say what the log does.
//!
//! Left to chance: what a service is doing when it is killed. The load keeps all of them busy.

use std::time::{Duration, Instant};

use futures::future::join_all;
use nix::sys::signal::Signal;
use tokio::time::timeout;

use super::{
    cluster::{Cluster, Part, state},
    load::Load,
};
use crate::support::{PATIENCE, Proxy, eventually};

/// Commands a second, where nothing else is said.
const RATE: u32 = 200;

/// For how many seconds the load goes on beside the kills, and its rate then has to be kept.
const LOAD_SECONDS: &str = "LEDGER_TESTS_LOAD_SECONDS";

/// A load of two minutes, whose rate is looked at as well, shows what a release has to:
///
/// ```text
/// LEDGER_TESTS_LOAD_SECONDS=120 LEDGER_TESTS_TOPOLOGY=services \
///     cargo test -p tests --test it each_service_is_killed_in_turn -- --nocapture
/// ```
///
/// The machine has to have time for it. Without the variable it is over as soon as each was killed, and no rate is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn each_service_is_killed_in_turn() {
    let seconds = std::env::var(LOAD_SECONDS).map_or(0, |text| text.parse().expect(LOAD_SECONDS));
    let mut cluster = Cluster::start().await;
    let (load, begun) = (Load::start(&cluster.takers, RATE), Instant::now());
    let parts = cluster.parts();
    let pause = Duration::from_secs(seconds) / (parts.len() as u32 + 1);
    for part in parts {
        load.acknowledged(100).await;
        tokio::time::sleep(pause).await;
        cluster.kill(part);
        load.acknowledged(100).await;
        cluster.start_part(part).await;
        cluster.ready().await;
    }
    load.acknowledged(100).await;
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
        outcome.waited(50),
        outcome.waited(99),
        outcome.waited(100),
    );
    // The clients make up for what an outage costs them, so what is missing then is what the services could not carry.
    let wanted = f64::from(RATE) * taken.as_secs_f64();
    assert!(
        seconds == 0 || outcome.commands as f64 >= wanted,
        "{} commands of {wanted:.0}: the services, or this machine, do not carry {RATE} a second",
        outcome.commands
    );
}

/// What was under way is appended or not, and whether it is nobody is told; who follows the log misses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn everything_happens_on_the_way_to_the_event_store() {
    let mut cluster = Cluster::start_behind_proxies().await;
    let load = Load::start(&cluster.takers, RATE);
    for end in [Proxy::cut, Proxy::reset, Proxy::cut, Proxy::reset] {
        load.acknowledged(50).await;
        end(cluster.way_to_store());
    }
    for end in [Proxy::cut, Proxy::reset] {
        // Slow enough for some of everything to be on the way when it ends.
        cluster.way_to_store().delay(Duration::from_millis(20));
        load.acknowledged(50).await;
        end(cluster.way_to_store());
        cluster.way_to_store().pass();
    }
    load.acknowledged(50).await;
    cluster.way_to_store().refuse();
    cluster.way_to_store().cut();
    load.sent_again().await;
    cluster.way_to_store().pass();
    load.acknowledged(50).await;
    // Appended, and nobody is told.
    cluster.way_to_store().swallow_answers();
    load.sent_again().await;
    cluster.way_to_store().renew();
    load.acknowledged(50).await;
    // What was held back comes after all, when its sender has given it up.
    cluster.way_to_store().freeze();
    load.sent_again().await;
    cluster.way_to_store().pass();
    cluster.ready().await;
    load.acknowledged(200).await;
    load.finish(&cluster).await;
}

/// Commands go on meanwhile, and the projectors come back to where they were.
#[tokio::test(flavor = "multi_thread")]
async fn everything_happens_on_the_way_to_the_views() {
    let mut cluster = Cluster::start_behind_proxies().await;
    let load = Load::start(&cluster.takers, RATE);
    for end in [Proxy::cut, Proxy::reset, Proxy::cut, Proxy::reset] {
        cluster.active_projector().await;
        cluster.way_to_views().delay(Duration::from_millis(20));
        load.acknowledged(100).await;
        end(cluster.way_to_views());
        cluster.way_to_views().pass();
    }
    let active = cluster.active_projector().await;
    cluster.way_to_views().freeze();
    eventually("a projector that noticed", async || {
        (state(cluster.part(active)).await.as_deref() != Some("running")).then_some(())
    })
    .await;
    load.acknowledged(100).await;
    cluster.way_to_views().pass();
    cluster.ready().await;
    load.acknowledged(200).await;
    let query = cluster.part(Part::Query).client().clone();
    // For good, on the connections that look-ups keep; nobody is told.
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
async fn the_views_server_is_stopped_and_started() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster.takers, RATE);
    load.acknowledged(200).await;
    cluster.views.stop().await;
    // Commands go on without it.
    load.acknowledged(400).await;
    cluster.views.start_again().await;
    cluster.ready().await;
    load.acknowledged(200).await;
    load.finish(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_store_is_stopped_and_started() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster.takers, RATE);
    for _ in 0..2 {
        load.acknowledged(200).await;
        cluster.store.stop().await;
        let query = cluster.part(Part::Query).client().clone();
        eventually("an unready command service", async || {
            let answer = cluster.part(Part::Command(0)).client().get("/health/readiness").await;
            (answer.status == 503).then_some(())
        })
        .await;
        assert_eq!(query.get("/prisoners/A0100AA/responsibility").await.status, 200, "the views are still there");
        cluster.store.start_again().await;
        cluster.ready().await;
    }
    load.acknowledged(200).await;
    load.finish(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_projector_takes_over_within_seconds() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster.takers, RATE);
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        load.acknowledged(100).await;
        let active = cluster.active_projector().await;
        cluster.kill(active);
        let killed = Instant::now();
        let successor = cluster.active_projector().await;
        assert_ne!(successor, active);
        fastest = fastest.min(killed.elapsed());
        cluster.start_part(active).await;
        cluster.ready().await;
        assert_eq!(state(cluster.part(active)).await.as_deref(), Some("standby"));
    }
    // A machine with much else to do may hold up one of them, and not each.
    assert!(fastest < Duration::from_secs(5), "it took {fastest:?}");
    load.finish(&cluster).await;
}

/// Held still, again and again, whatever it is at: the other takes over, and what the first one was at comes to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_is_held_still_for_longer_than_its_lock_lives() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster.takers, RATE);
    for _ in 0..2 {
        load.acknowledged(100).await;
        let held = cluster.active_projector().await;
        cluster.part(held).signal(Signal::SIGSTOP);
        let Part::Projector(index) = held else { panic!("{held:?} is no projector") };
        let other = Part::Projector(1 - index);
        let begun = Instant::now();
        eventually("the other to take over", async || {
            (state(cluster.part(other)).await.as_deref() == Some("running")).then_some(())
        })
        .await;
        assert!(begun.elapsed() < Duration::from_secs(25), "it took {:?}", begun.elapsed());
        load.acknowledged(100).await;
        cluster.part(held).signal(Signal::SIGCONT);
        eventually("the first to stand by", async || {
            (state(cluster.part(held)).await.as_deref() == Some("standby")).then_some(())
        })
        .await;
        assert_eq!(state(cluster.part(other)).await.as_deref(), Some("running"));
        cluster.ready().await;
    }
    load.finish(&cluster).await;
}
