//! Ending in order: what is under way is finished, and nothing new is begun.

use nix::sys::signal::Signal;
use sqlx::{Postgres, Transaction};

use super::{service, tier, value};
use crate::support::{Program, TestDatabase, database, eventually, ledger::recorded};

/// Keeps whoever wants to write waiting.
async fn hold(database: &TestDatabase, lock: &'static str) -> Transaction<'static, Postgres> {
    let mut holding = database.pool.begin().await.expect("a transaction");
    sqlx::raw_sql(lock).execute(&mut *holding).await.expect(lock);
    holding
}

async fn somebody_waits(database: &TestDatabase) {
    let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
                                   WHERE datname = current_database() AND wait_event_type = 'Lock')";
    eventually("somebody who waits", async || value::<bool>(database, waiting).await.then_some(())).await;
}

/// Tells a service to end, and waits until it takes nothing new.
async fn tell_to_end(program: &Program) {
    program.signal(Signal::SIGTERM);
    let listens = async || program.client().try_send(reqwest::Method::GET, "/ping", &[], None).await.is_ok();
    eventually("it to take nothing new", async || (!listens().await).then_some(())).await;
}

#[tokio::test]
async fn a_command_in_flight_is_finished_and_answered() {
    let database = database().await;
    let command = service("command", &database.url, &database.url).await.ready().await;
    let holding = hold(&database, "SELECT FROM log.head FOR UPDATE").await;
    let client = command.client().clone();
    let sent = tokio::spawn(async move { client.post("/prisoners/A1234BC/tier", &tier("B2")).await });
    somebody_waits(&database).await;
    tell_to_end(&command).await;
    holding.commit().await.expect("let it go on");
    recorded(&sent.await.expect("an answer"));
    assert!(command.ended().await.success());
}

/// Nothing shows from outside when the projector itself has heard that it is to end. On a machine with much else to do that may
/// be, once in a while, after the batch under way; not each time.
#[tokio::test]
async fn a_projector_stops_between_batches() {
    for _ in 0..3 {
        match ended_amid_a_batch().await {
            1 => return,
            2 => {}
            position => panic!("the views ended at {position}: the batch under way was not finished"),
        }
    }
    panic!("another batch was begun, three times");
}

/// Tells a projector to end while it is at the first of two batches of one event each. Where it stopped.
async fn ended_amid_a_batch() -> i64 {
    let database = database().await;
    let projector = service("projector", &database.url, &database.url).await.ready().await;
    let command = service("command", &database.url, &database.url).await.ready().await;
    let holding = hold(&database, "LOCK TABLE views.case_period IN SHARE MODE").await;
    recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await);
    somebody_waits(&database).await;
    // The next batch is there already, and not for this projector.
    recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("A")).await);
    tell_to_end(&projector).await;
    holding.commit().await.expect("let it go on");
    assert!(projector.ended().await.success());
    value(&database, "SELECT position FROM views.checkpoint").await
}
