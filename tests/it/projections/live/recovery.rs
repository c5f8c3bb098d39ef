//! Falling behind, damage, outages, and views of another version.

use chrono::Utc;
use domain::{Stream, identifier::EventId};
use event_log::{ExpectedRevision, NewEvent};
use projector::{ProjectorSettings, Status};
use sqlx::Row as _;
use uuid::Uuid;

use super::{count, drop_views, dump, settings_of_batches, start};
use crate::support::{
    controlled_log::ControlledLog,
    database,
    random_ledger::{RandomLedger, tier},
    running_projector::RunningProjector,
};

/// Positions with gaps do not tell how many events the views lack, so the projector must read them,
/// once.
#[tokio::test]
async fn missing_events_are_counted_once() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    for index in 0..60 {
        assert!(ledger.case(&format!("A{index:04}BC"), 1, tier("B", Some("LEI"))).await);
    }
    let head = ledger.log.head().await.expect("the head");
    let log = ControlledLog::new(&ledger.log);
    log.stretch(1_000);
    projector::migrate(&database.pool).await.expect("empty views");
    let settings = ProjectorSettings { batch_events_max: 5, rebuild_events_min: 2 * head };
    RunningProjector::start(&log.shared(), &database.pool, settings).wait_for_position(head).await;
    assert_eq!(log.read(), head);
    let settings = ProjectorSettings { batch_events_max: 5, rebuild_events_min: head / 2 };
    drop_views(&database.pool).await;
    projector::migrate(&database.pool).await.expect("empty views");
    let watched = RunningProjector::start(&log.shared(), &database.pool, settings);
    watched.wait_for_status("a rebuild", |status| matches!(status, Status::Rebuilding { .. })).await;
}

/// Events recorded while it follows may become more than it can follow.
#[tokio::test]
async fn a_projector_that_falls_far_behind_rebuilds() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    assert!(ledger.case("A0000BC", 1, tier("B", Some("LEI"))).await);
    let settings = ProjectorSettings { batch_events_max: 5, rebuild_events_min: 20 };
    let head = ledger.log.head().await.expect("the head");
    let watched = RunningProjector::start(&ledger.log, &database.pool, settings).wait_for_position(head).await;
    let served = "SELECT oid::bigint FROM pg_namespace WHERE nspname = 'views'";
    let before = count(&database.pool, served).await;
    let mut held_up = database.pool.begin().await.expect("a transaction");
    sqlx::raw_sql("LOCK TABLE views.checkpoint").execute(&mut *held_up).await.expect("the views");
    for index in 1..60 {
        assert!(ledger.case(&format!("A{index:04}BC"), 1, tier("B", Some("LEI"))).await);
    }
    held_up.commit().await.expect("let go of the views");
    watched.wait_for_position(ledger.log.head().await.expect("the head")).await;
    assert_ne!(count(&database.pool, served).await, before, "others have taken their place");
}

/// Whatever the damage, the views end with the event before it, however the log is cut into batches
/// and however far the log is ahead of the views.
#[tokio::test(flavor = "multi_thread")]
async fn damage_ends_the_views_at_the_same_event_whatever_the_batches() {
    // The damaged event is so many before the end: of 30 events of three cases in turn.
    const BEFORE_HEAD: u64 = 11;
    for damage in [
        "DELETE FROM log.event WHERE position = $1",
        "UPDATE log.event SET revision = 700 WHERE position = $1",
        "UPDATE log.event SET stream = 'keyworker-LEI' WHERE position = $1",
    ] {
        let database = database().await;
        let mut ledger = RandomLedger::new(&database.pool).await;
        let begun = ledger.log.head().await.expect("the head");
        for day in 0..10 {
            for number in ["A0001BC", "A0002BC", "A0003BC"] {
                assert!(ledger.case(number, day, tier("B", Some("LEI"))).await);
            }
        }
        let damaged = ledger.log.head().await.expect("the head") - BEFORE_HEAD;
        let mut transaction = database.pool.begin().await.expect("a transaction");
        sqlx::raw_sql("SET LOCAL session_replication_role = replica")
            .execute(&mut *transaction)
            .await
            .expect("no rules");
        sqlx::query(damage).bind(damaged.cast_signed()).execute(&mut *transaction).await.expect(damage);
        transaction.commit().await.expect("damage");

        drop_views(&database.pool).await;
        let rebuilding = RunningProjector::start_rebuilding(&ledger.log, &database.pool).await;
        let stopped = rebuilding.wait_for_stop().await;
        assert!(stopped.contains(&format!("position {damaged}:")), "{damage}, rebuilt: {stopped}");
        let rebuilt = dump(&database.pool).await;
        assert!(rebuilt.contains(&format!("position {}, ", damaged - 1)), "{damage}: {rebuilt}");
        for batch in [1, 2, 7, 100] {
            drop_views(&database.pool).await;
            // A restart in the middle, so that no history is in memory.
            let log = ControlledLog::new(&ledger.log);
            log.end_at(begun + 4);
            RunningProjector::start(&log.shared(), &database.pool, settings_of_batches(batch))
                .wait_for_position(begun + 4)
                .await;
            let stopped =
                RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(batch)).wait_for_stop().await;
            assert!(stopped.contains(&format!("position {damaged}:")), "{damage}, batches of {batch}: {stopped}");
            assert_eq!(dump(&database.pool).await, rebuilt, "{damage}, batches of {batch}");
        }
    }
}

/// An unknown event stops the projector after the events before it. A rebuild stops at the same
/// place.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_event_stops_the_projector_with_a_report() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    assert!(ledger.case("A1234BC", 1, tier("B", Some("LEI"))).await);
    let head = ledger.log.head().await.expect("the head");
    let stranger = NewEvent {
        event_id: EventId(Uuid::from_u128(7)),
        type_name: "PrisonerTeleported".into(),
        recorded_at: Utc::now(),
        metadata: ledger.metadata(1),
        data: "{}".into(),
    };
    let stream = Stream::Prisoner("B1234BC".parse().expect("a prisoner number"));
    ledger.log.append(&stream, ExpectedRevision::NoStream, vec![stranger]).await.expect("append");
    assert!(ledger.case("A1234BC", 2, tier("C", None)).await);
    for rebuilds in [false, true] {
        drop_views(&database.pool).await;
        let stopped = start(&ledger, &database.pool, rebuilds).await.wait_for_stop().await;
        assert!(stopped.contains(&format!("position {}", head + 1)), "{stopped}");
        assert!(stopped.contains("PrisonerTeleported"), "{stopped}");
        assert!(stopped.contains("unknown event type"), "{stopped}");
        assert_eq!(count(&database.pool, "SELECT position FROM views.checkpoint").await.unsigned_abs(), head);
        assert_eq!(count(&database.pool, "SELECT count(*) FROM views.prisoner_case").await, 1);
    }
    drop_views(&database.pool).await;

    // Views of another version stay as they are if they include an event that cannot be read any
    // more.
    projector::migrate(&database.pool).await.expect("views");
    sqlx::query("UPDATE views.checkpoint SET version = -1, position = $1, event_id = NULL")
        .bind(head.cast_signed() + 2)
        .execute(&database.pool)
        .await
        .expect("another version");
    RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(100)).wait_for_stop().await;
    assert_eq!(count(&database.pool, "SELECT version::bigint FROM views.checkpoint").await, -1);
}

/// Views of another version are rebuilt at the start, and the leftovers of an interrupted rebuild
/// are dropped.
#[tokio::test(flavor = "multi_thread")]
async fn views_of_another_version_are_rebuilt() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    assert!(ledger.case("A1234BC", 1, tier("B", Some("LEI"))).await);
    let head = ledger.log.head().await.expect("the head");
    RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(100)).wait_for_position(head).await;
    let before = dump(&database.pool).await;
    sqlx::raw_sql(
        "UPDATE views.checkpoint SET version = version - 1;
         ALTER TABLE views.prisoner_case ADD COLUMN forgotten text;
         ALTER TABLE views.checkpoint DROP COLUMN event_id;
         DELETE FROM views.case_period;
         CREATE SCHEMA views_next_1; CREATE TABLE views_next_1.checkpoint ()",
    )
    .execute(&database.pool)
    .await
    .expect("views of another version");
    RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(100)).wait_for_position(head).await;
    assert_eq!(dump(&database.pool).await, before);
    let left_over = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'views_next%'";
    assert_eq!(count(&database.pool, left_over).await, 0);
    for role in projector::READING_ROLES {
        let may: bool = sqlx::query_scalar("SELECT has_table_privilege($1, 'views.case_period', 'SELECT')")
            .bind(role)
            .fetch_one(&database.pool)
            .await
            .expect("a privilege");
        assert!(may, "{role} may read the rebuilt views");
    }
}

/// Readers get all of the old views or all of the new ones, in a statement and in a transaction
/// that has begun to read.
#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_half_a_rebuild() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    for index in 0..20 {
        assert!(ledger.case(&format!("A{index:04}BC"), 1, tier("B", Some("LEI"))).await);
    }
    let head = ledger.log.head().await.expect("the head");
    RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(100)).wait_for_position(head).await;
    let reading = {
        let pool = database.pool.clone();
        tokio::spawn(async move {
            loop {
                let mut transaction = pool.begin().await.expect("a transaction");
                sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    .execute(&mut *transaction)
                    .await
                    .expect("");
                let seen = sqlx::query(
                    "SELECT (SELECT position FROM views.checkpoint) AS position,
                            (SELECT count(*) FROM views.prisoner_case) AS cases",
                );
                let row = seen.fetch_one(&mut *transaction).await.expect("views");
                assert_eq!(row.get::<i64, _>("position").unsigned_abs(), head);
                assert_eq!(row.get::<i64, _>("cases"), 20);
                let periods: i64 = sqlx::query_scalar("SELECT count(*) FROM views.case_period")
                    .fetch_one(&mut *transaction)
                    .await
                    .expect("views");
                assert_eq!(periods, 20);
                transaction.commit().await.expect("the end");
            }
        })
    };
    for _ in 0..5 {
        sqlx::raw_sql("UPDATE views.checkpoint SET version = -1").execute(&database.pool).await.expect("a version");
        RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(100)).wait_for_position(head).await;
        assert_eq!(
            count(&database.pool, "SELECT version::bigint FROM views.checkpoint").await,
            i64::from(projector::VIEWS_VERSION)
        );
    }
    assert!(!reading.is_finished(), "{:?}", reading.await);
    reading.abort();
}

/// Breaks every connection of the projector repeatedly while events arrive. It recovers without
/// help.
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_recovers_from_outages_of_postgres() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    let running = RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(3));
    for day in 0..30 {
        assert!(ledger.case("A1234BC", day, tier("B", Some("LEI"))).await);
        if day % 10 == 5 {
            sqlx::raw_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'allocation-ledger projector'",
            )
            .execute(&database.pool)
            .await
            .expect("break its connections");
        }
    }
    let head = ledger.log.head().await.expect("the head");
    running.wait_for_position(head).await;
    let followed_up = dump(&database.pool).await;
    drop_views(&database.pool).await;
    RunningProjector::start_rebuilding(&ledger.log, &database.pool).await.wait_for_position(head).await;
    assert_eq!(dump(&database.pool).await, followed_up);
}
