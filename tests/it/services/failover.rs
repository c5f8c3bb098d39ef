//! The services under load, over a cluster of three nodes whose leader is killed and resigns.

use crate::support::{
    EventStore,
    command_load::{CommandLoad, RATE},
    service_cluster::ServiceCluster,
};

/// Until another node leads, commands wait or are refused as in any outage. Then the services
/// continue without help, and no client has to know a leader.
#[tokio::test(flavor = "multi_thread")]
async fn no_command_is_lost_when_the_event_stores_leader_changes() {
    let mut cluster = ServiceCluster::start_over(EventStore::start_nodes().await).await;
    let load = CommandLoad::start(&cluster.command_clients, RATE);
    for _ in 0..2 {
        load.wait_for_acknowledgements(100).await;
        let killed = cluster.store.nodes().kill_leader().await;
        load.wait_for_acknowledgements(100).await;
        cluster.store.nodes().node(killed).start_again();
        load.wait_for_acknowledgements(100).await;
        cluster.store.nodes().resign().await;
    }
    load.wait_for_acknowledgements(100).await;
    cluster.wait_until_ready().await;
    load.finish(&cluster).await;
}
