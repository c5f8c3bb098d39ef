//! A program that is killed, on a log in Postgres that the test locks and damages.

use sqlx::Connection as _;

use super::{Ledger, SNAPSHOT, last_type, make_inactive, stopped_ledger, wait_until_role_has_ended};
use crate::support::{eventually, ledger::serve_commands, topology::require_log_in_postgres};

/// The next program could not do this from the log: an event before the snapshot is unreadable by
/// then.
#[tokio::test]
async fn an_obligation_under_way_when_a_service_is_killed_is_discharged_by_the_next() {
    require_log_in_postgres();
    let database = stopped_ledger().await;
    let log = database.log().await;
    make_inactive(&log).await;
    sqlx::query("DELETE FROM log.snapshot").execute(&database.pool).await.expect("lose the snapshot");

    // Nothing can be appended, so the obligation stays under way.
    let mut locking = sqlx::PgConnection::connect(&database.url).await.expect("connect");
    let mut lock = locking.begin().await.expect("begin");
    sqlx::query("SELECT * FROM log.head FOR UPDATE").execute(&mut *lock).await.expect("lock the head");
    let ledger = Ledger { program: serve_commands(&database).await, database };
    let head = log.head().await.expect("the head");
    eventually("a snapshot", async || {
        let saved = log.load_snapshot(SNAPSHOT).await.expect("load");
        saved.is_some_and(|saved| saved.position == head).then_some(())
    })
    .await;
    eventually("a policy at work", async || {
        let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity
                                       WHERE datname = current_database() AND wait_event_type = 'Lock')";
        let waits: bool = sqlx::query_scalar(waiting).fetch_one(&ledger.database.pool).await.expect("look");
        waits.then_some(())
    })
    .await;
    ledger.harm_second_event("B0001BB").await;
    let Ledger { database, program } = ledger;
    program.kill();
    assert_eq!(last_type(&log).await, "AllocationMade");
    lock.rollback().await.expect("let go");

    let _program = serve_commands(&database).await;
    wait_until_role_has_ended(&log).await;
}
