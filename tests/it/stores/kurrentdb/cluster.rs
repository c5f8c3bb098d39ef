//! A cluster of three nodes whose leader is killed, resigns and falls silent. Its nodes elect
//! another in half a second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use event_log::{
    EventLog as _,
    ExpectedRevision::{Exact, NoStream},
    FollowerItem, LogError,
};
use event_log_kurrentdb::KurrentLog;
use futures::{StreamExt as _, stream::BoxStream};
use tokio::time::timeout;
use uuid::Uuid;

use super::{append_nine, check, contract_event, positions, stream};
use crate::support::{
    Nodes, PATIENCE,
    append_load::{AppendLoad, WRITERS},
    eventually, log_at,
};

/// The user and password in tests with users.
const USER: &str = "ledger:secret";

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_on_a_cluster_hold_the_contract_together() {
    let mut nodes = Nodes::start().await;
    let by_one = format!("kurrentdb+discover://{}?tls=false", nodes.node(0).address());
    check(&[Arc::new(log_at(&nodes.url())), Arc::new(log_at(&by_one))]).await;
}

/// The store asks the leader even if the URL prefers other nodes.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_found_whatever_nodes_a_url_names_and_prefers() {
    let mut nodes = Nodes::start().await;
    let writing = log_at(&nodes.url());
    let addresses = nodes.addresses();
    let mut urls: Vec<_> = ["leader", "follower", "random", "readOnlyReplica"]
        .map(|preference| format!("esdb://{addresses}?tls=false&nodePreference={preference}"))
        .into();
    urls.extend((0..3).map(|node| format!("esdb+discover://{}?tls=false", nodes.node(node).address())));
    for url in urls {
        let log = log_at(&url);
        let after = log.head().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let mut follower = log.follow_all(after);
        assert!(matches!(follower.next().await, Some(Ok(FollowerItem::CaughtUp { .. }))), "{url}");
        let mut fastest = Duration::MAX;
        for _ in 0..4 {
            let run = Uuid::new_v4();
            let appended =
                writing.append(&stream(run, 0), NoStream, vec![contract_event(run, 0)]).await.expect("append");
            let begun = Instant::now();
            follow_to(&mut follower, appended.position).await;
            fastest = fastest.min(begun.elapsed());
        }
        // A follower that is not woken looks once a second.
        assert!(fastest < Duration::from_millis(500), "{url}: it took {fastest:?}");
    }
}

/// Follows until the log reports that it has caught up with a position.
async fn follow_to(follower: &mut BoxStream<'static, Result<FollowerItem, LogError>>, position: u64) {
    let followed = async {
        loop {
            match follower.next().await.expect("a follower without end").expect("follow") {
                FollowerItem::CaughtUp { position: end } if end >= position => return,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, followed).await.expect("events that are followed to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_in_the_url_is_passed_over() {
    let mut nodes = Nodes::start().await;
    let leader = nodes.leader().await;
    let dead = (leader + 1) % 3;
    nodes.node(dead).kill();
    for _ in 0..6 {
        // Chance decides which node is asked first.
        let log = log_at(&nodes.url());
        timeout(PATIENCE, append_nine(&log)).await.expect("appends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_doubled_when_the_leader_is_killed() {
    let mut nodes = Nodes::start().await;
    let load = AppendLoad::start(&nodes.url());
    for _ in 0..3 {
        load.wait_for_appends(2 * WRITERS).await;
        let killed = nodes.kill_leader().await;
        load.wait_for_appends(1 + WRITERS).await;
        nodes.node(killed).start_again();
    }
    load.check(&nodes.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_or_doubled_when_the_leader_resigns() {
    let nodes = Nodes::start().await;
    let load = AppendLoad::start(&nodes.url());
    for _ in 0..3 {
        load.wait_for_appends(2 * WRITERS).await;
        nodes.resign().await;
    }
    load.check(&nodes.url()).await;
}

/// A former leader refuses any first call. The store repeats the call at the leader, and the caller
/// does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_former_leader_is_repeated_at_the_leader() {
    let nodes = Nodes::start().await;
    let logs: Vec<KurrentLog> = (0..5).map(|_| log_at(&nodes.url())).collect();
    let (run, last) = append_nine(&logs[0]).await;
    for log in &logs {
        log.head().await.expect("the head");
    }
    nodes.resign().await;
    let appended = logs[0].append(&stream(run, 0), Exact(2), vec![contract_event(run, 9)]).await.expect("append");
    assert_eq!(logs[1].head().await.expect("the head"), appended.position);
    assert_eq!(logs[2].read_stream(&stream(run, 0), 0, 10).await.expect("read").len(), 4);
    assert_eq!(positions(&logs[3], last.position).await, [appended.position]);
    follow_to(&mut logs[4].follow_all(0), appended.position).await;
}

/// A machine that is gone answers nothing and closes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_is_left_for_the_leader() {
    let mut nodes = Nodes::start().await;
    let log = log_at(&nodes.url());
    let (run, last) = append_nine(&log).await;
    let mut follower = log.follow_all(last.position);
    assert!(matches!(follower.next().await, Some(Ok(FollowerItem::CaughtUp { .. }))));
    let silent = nodes.resign().await;
    nodes.node(silent).pause();
    let leader = nodes.leader().await;
    let other = log_at(&nodes.node(leader).url());
    let appended = other.append(&stream(run, 0), Exact(2), vec![contract_event(run, 9)]).await.expect("append");
    follow_to(&mut follower, appended.position).await;
    log.append(&stream(run, 1), Exact(2), vec![contract_event(run, 10)]).await.expect("append");
    nodes.node(silent).resume();
}

/// Certificates, a user and several nodes at once, as operators have them.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_tls_and_a_user_survives_the_kill_of_its_leader() {
    let mut nodes = Nodes::start_secure(USER).await;
    let url = nodes.secure_url(USER);
    let load = AppendLoad::start(&url);
    load.wait_for_appends(2 * WRITERS).await;
    nodes.kill_leader().await;
    load.check(&url).await;
}

/// Too few nodes to elect a leader are an outage like any other. Acknowledged events are there
/// afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_a_node_is_an_outage() {
    let mut nodes = Nodes::start().await;
    let log = log_at(&nodes.url());
    let (run, last) = append_nine(&log).await;
    for node in 0..3 {
        nodes.node(node).kill();
    }
    let head = log.head().await;
    assert!(matches!(head, Err(LogError::Unavailable(_))), "{head:?}");
    for node in 0..3 {
        nodes.node(node).start_again();
    }
    let head = eventually("the cluster", async || log.head().await.ok()).await;
    assert_eq!(head, last.position);
    assert_eq!(log.read_stream(&stream(run, 2), 0, 10).await.expect("read").len(), 3);
}
