//! What the services survive, under load: at the end every command that was acknowledged stands in the log once, and the views
//! say what the log does.
//!
//! Left to chance: what a service is doing when it is killed. The load keeps all of them busy.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{
    cluster::{Cluster, Part, state},
    load::Load,
};
use crate::support::eventually;

/// Commands a second, where nothing else is said.
const RATE: u32 = 200;

/// For how long `LEDGER_TESTS_LOAD_SECONDS` has the load go on beside the kills: two minutes show what a release has to.
const LOAD_SECONDS: &str = "LEDGER_TESTS_LOAD_SECONDS";

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
        "{} commands in {:.0} s, {:.0} a second, sent again {} times: none lost, none doubled",
        outcome.commands,
        taken.as_secs_f64(),
        outcome.commands as f64 / taken.as_secs_f64(),
        outcome.resent
    );
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
    for _ in 0..3 {
        load.acknowledged(100).await;
        let active = cluster.active_projector().await;
        cluster.kill(active);
        let killed = Instant::now();
        let successor = cluster.active_projector().await;
        assert_ne!(successor, active);
        assert!(killed.elapsed() < Duration::from_secs(5), "it took {:?}", killed.elapsed());
        cluster.start_part(active).await;
        cluster.ready().await;
        assert_eq!(state(cluster.part(active)).await.as_deref(), Some("standby"));
    }
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
