//! One projector writes; a standby takes over from it.

use projector::{ProjectorSettings, Status};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{count, drop_views, dump, settings_of_batches};
use crate::support::{
    controlled_log::ReadKind,
    database, eventually,
    random_ledger::{RandomLedger, tier},
    running_projector::RunningProjector,
};

/// The second of two projectors stands by, and takes over when the first has gone for any reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    let head = ledger.log.head().await.expect("the head");
    let first =
        RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(100)).wait_for_position(head).await;
    let second = RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(100));
    second.wait_for_status("stand-by", |status| *status == Status::StandBy).await;
    assert!(ledger.case("A1234BC", 1, tier("B", None)).await);
    let first = first.wait_for_position(head + 1).await;
    assert_eq!(second.status(), Status::StandBy);
    first.drop_now();
    assert!(ledger.case("A1234BC", 2, tier("C", None)).await);
    second.wait_for_position(head + 2).await;
}

/// The thread of a projector is held in the middle of a batch. It loses its lock, and another takes
/// over. When it continues, it must write nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_lost_its_lock_while_paused_cannot_write() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    assert!(ledger.case("A1234BC", 1, tier("B", Some("LEI"))).await);
    let head = ledger.log.head().await.expect("the head");
    RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(100)).wait_for_position(head).await;

    // Its case exists and is not in memory, so for this event the projector must read the streams
    // of the log and reaches the gate.
    assert!(ledger.case("A1234BC", 2, tier("C", None)).await);
    let (paused, gate) =
        RunningProjector::start_gated(&database.url, settings_of_batches(100), ReadKind::Streams).await;
    gate.wait_until_held().await;
    sqlx::raw_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks
         WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .execute(&database.pool)
    .await
    .expect("take its lock");
    let successor = RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(100))
        .wait_for_position(head + 1)
        .await;
    assert!(ledger.case("A1234BC", 3, tier("D", None)).await);
    let successor = successor.wait_for_position(head + 2).await;
    let before = dump(&database.pool).await;
    gate.open();
    paused.wait_for_status("stand-by", |status| *status == Status::StandBy).await;
    assert_eq!(dump(&database.pool).await, before);
    drop(successor);
}

/// The fence alone: the projector still holds the lock, but the epoch of a successor is in force.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_epoch_cannot_write() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    assert!(ledger.case("A1234BC", 1, tier("B", Some("LEI"))).await);
    let head = ledger.log.head().await.expect("the head");
    RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(100)).wait_for_position(head).await;
    assert!(ledger.case("A1234BC", 2, tier("C", None)).await);
    let (paused, gate) =
        RunningProjector::start_gated(&database.url, settings_of_batches(100), ReadKind::Streams).await;
    gate.wait_until_held().await;
    let epoch: i64 = sqlx::query_scalar("UPDATE views.checkpoint SET epoch = epoch + 1 RETURNING epoch")
        .fetch_one(&database.pool)
        .await
        .expect("an epoch");
    gate.open();
    // It could not write and took the views over again, as the epoch shows.
    paused.wait_for_position(head + 1).await;
    assert_eq!(count(&database.pool, "SELECT epoch FROM views.checkpoint").await, epoch + 1);
}

/// A predecessor stopped in the middle of a batch. Its session is not idle, so Postgres alone would
/// wait for it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_ends_the_session_of_a_stopped_predecessor() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    assert!(ledger.case("A1234BC", 1, tier("B", Some("LEI"))).await);
    let options = database.pool.connect_options().as_ref().clone().application_name("allocation-ledger projector");
    let mut predecessor = PgConnection::connect_with(&options).await.expect("connect");
    let standing_still = tokio::spawn(async move {
        let batch = "BEGIN; SELECT FROM views.checkpoint FOR UPDATE; SELECT pg_sleep(3600)";
        sqlx::raw_sql(batch).execute(&mut predecessor).await
    });
    let holding = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    eventually("the predecessor amid a batch", async || (count(&database.pool, holding).await == 1).then_some(()))
        .await;
    let head = ledger.log.head().await.expect("the head");
    RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(100)).wait_for_position(head).await;
    let ended = standing_still.await.expect("a task").expect_err("an end");
    assert_eq!(ended.as_database_error().and_then(|error| error.code()).as_deref(), Some("57P01"), "{ended}");
}

/// A projector that lost its place and continues must not drop the schema that its successor fills.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_epoch_cannot_drop_tables_that_a_successor_fills() {
    const LOCK: &str = "pg_advisory_lock(hashtextextended('allocation-ledger projector of views', 0))";
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    assert!(ledger.case("A1234BC", 1, tier("B", Some("LEI"))).await);
    drop_views(&database.pool).await;
    let settings = ProjectorSettings { rebuild_events_min: 0, ..ProjectorSettings::default() };
    let (paused, gate) = RunningProjector::start_gated(&database.url, settings, ReadKind::Head).await;
    gate.wait_until_held().await;
    let epoch: i64 = sqlx::query_scalar("UPDATE views.checkpoint SET epoch = epoch + 1 RETURNING epoch")
        .fetch_one(&database.pool)
        .await
        .expect("an epoch");
    let successors = format!("CREATE SCHEMA views_next_{epoch}; CREATE SCHEMA views_next_{}", epoch - 1);
    sqlx::raw_sql(AssertSqlSafe(successors)).execute(&database.pool).await.expect("schemas");
    // First in the queue for the lock, so that the paused projector becomes the standby when it
    // releases it.
    let mut successor = database.pool.acquire().await.expect("a connection");
    let locking = tokio::spawn(async move {
        sqlx::raw_sql(AssertSqlSafe(format!("SELECT {LOCK}"))).execute(&mut *successor).await.expect("the lock");
        successor
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually("a successor in the queue", async || (count(&database.pool, waiting).await == 1).then_some(())).await;
    gate.open();
    paused.wait_for_status("stand-by", |status| *status == Status::StandBy).await;
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'views_next%'";
    assert_eq!(count(&database.pool, left).await, 2);
    let successor = locking.await.expect("the lock");

    // The next projector drops the leftovers, but nothing of a later epoch.
    sqlx::raw_sql("CREATE SCHEMA views_next_1000").execute(&database.pool).await.expect("a schema");
    successor.close().await.expect("let go of the lock");
    paused.wait_for_position(ledger.log.head().await.expect("the head")).await;
    let left: Vec<String> =
        sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'views_next%'")
            .fetch_all(&database.pool)
            .await
            .expect("schemas");
    assert_eq!(left, ["views_next_1000"]);
}
