//! Shutdown: work in progress is finished, and no new work begins.

use nix::sys::signal::Signal;
use sqlx::{Postgres, Transaction};

use super::{service, tier, value};
use crate::support::{Program, TestDatabase, database, eventually, ledger::assert_recorded};

/// Makes writers wait for a lock.
async fn hold(database: &TestDatabase, lock: &'static str) -> Transaction<'static, Postgres> {
    let mut holding = database.pool.begin().await.expect("a transaction");
    sqlx::raw_sql(lock).execute(&mut *holding).await.expect(lock);
    holding
}

async fn wait_for_lock_waiter(database: &TestDatabase) {
    let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
                                   WHERE datname = current_database() AND wait_event_type = 'Lock')";
    eventually("a transaction that waits for a lock", async || value::<bool>(database, waiting).await.then_some(()))
        .await;
}

/// Sends SIGTERM to a service and waits until it takes no new work.
async fn begin_shutdown(program: &Program) {
    program.signal(Signal::SIGTERM);
    let listens = async || program.client().try_send(reqwest::Method::GET, "/ping", &[], None).await.is_ok();
    eventually("it to take nothing new", async || (!listens().await).then_some(())).await;
}

#[tokio::test]
async fn a_shutdown_finishes_a_command_in_flight() {
    let database = database().await;
    let command = service("command", &database.url, &database.url).await.into_ready().await;
    let holding = hold(&database, "SELECT FROM log.head FOR UPDATE").await;
    let client = command.client().clone();
    let sent = tokio::spawn(async move { client.post("/prisoners/A1234BC/tier", &tier("B2")).await });
    wait_for_lock_waiter(&database).await;
    begin_shutdown(&command).await;
    holding.commit().await.expect("let it go on");
    assert_recorded(&sent.await.expect("an answer"));
    assert!(command.wait_for_end().await.success());
}

/// The test cannot see when the projector has noticed the shutdown. On a busy machine it may notice
/// after the current batch, but not in every attempt.
#[tokio::test]
async fn a_shutdown_stops_a_projector_between_batches() {
    for _ in 0..3 {
        match stop_amid_a_batch().await {
            1 => return,
            2 => {}
            position => panic!("the views ended at {position}: the batch under way was not finished"),
        }
    }
    panic!("another batch was begun, three times");
}

/// Shuts a projector down during the first of two batches of one event each, and returns the
/// position where it stopped.
async fn stop_amid_a_batch() -> i64 {
    let database = database().await;
    let projector = service("projector", &database.url, &database.url).await.into_ready().await;
    let command = service("command", &database.url, &database.url).await.into_ready().await;
    let holding = hold(&database, "LOCK TABLE views.case_period IN SHARE MODE").await;
    assert_recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await);
    wait_for_lock_waiter(&database).await;
    // The next batch is ready, but this projector must not take it.
    assert_recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("A")).await);
    begin_shutdown(&projector).await;
    holding.commit().await.expect("let it go on");
    assert!(projector.wait_for_end().await.success());
    value(&database, "SELECT position FROM views.checkpoint").await
}
