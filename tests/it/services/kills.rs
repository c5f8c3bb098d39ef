//! Services that are killed or suspended, under load: another one takes over, and every
//! acknowledged command is in the log once.
//!
//! Left to chance: the work of a service at the moment of its kill. The load keeps all services
//! busy.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{
    command_load::{CommandLoad, RATE},
    eventually,
    service_cluster::{ServiceCluster, ServiceName, state},
};

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
