//! The services over a log on a cluster of three nodes, under load, when its leader is killed and when it resigns.

use super::{cluster::Cluster, load::Load};
use crate::support::EventStore;

/// Commands a second.
const RATE: u32 = 200;

/// Until another node leads, commands are refused as in any outage, or wait; then the services go on by themselves, and
/// nobody is told of a leader.
#[tokio::test(flavor = "multi_thread")]
async fn another_node_of_the_event_store_takes_the_lead() {
    let mut cluster = Cluster::start_over(EventStore::start_nodes().await).await;
    let load = Load::start(&cluster.takers, RATE);
    for _ in 0..2 {
        load.acknowledged(100).await;
        let killed = cluster.store.nodes().kill_leader().await;
        load.acknowledged(100).await;
        cluster.store.nodes().node(killed).start_again();
        load.acknowledged(100).await;
        cluster.store.nodes().resign().await;
    }
    load.acknowledged(100).await;
    cluster.ready().await;
    load.finish(&cluster).await;
}
