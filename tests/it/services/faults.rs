//! Faults of the network and restarts of the servers that the services survive, under load. At the
//! end every acknowledged command must be in the log once, and the views must equal the log.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use crate::support::{
    PATIENCE, Proxy,
    command_load::{CommandLoad, RATE},
    eventually,
    service_cluster::{ServiceCluster, ServiceName, state},
};

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
    eventually("views that have caught up so far", async || {
        (query.get("/prisoners/A0100AA/responsibility").await.status == 200).then_some(())
    })
    .await;
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
