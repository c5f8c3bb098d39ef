//! The rows follow from the log alone, whatever the batches.

use projector::ProjectorSettings;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use sqlx::{Row as _, postgres::PgListener};

use super::{count, drop_views, dump, settings_of_batches, start};
use crate::support::{
    PATIENCE,
    controlled_log::ControlledLog,
    database,
    random_ledger::{RandomLedger, allocate, random_step, receive, tier},
    running_projector::RunningProjector,
};

/// The same prefix of the log must give the same bytes: rebuilt, and followed in batches of any
/// size by projectors that are dropped in the middle of their work. The log goes on after the end
/// that the projector is told.
#[test]
fn rows_depend_on_the_events_alone_and_not_on_batches() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let strategy =
        (prop::collection::vec(random_step(), 10..70), prop::collection::vec((1..12usize, 0..40u64), 1..6), 0..=100u64);
    let mut runner =
        TestRunner::new(Config { cases: 12, max_shrink_iters: 60, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&strategy, |(steps, restarts, percent)| {
        runtime.block_on(async {
            let database = database().await;
            let mut ledger = RandomLedger::new(&database.pool).await;
            for step in steps {
                ledger.take(step).await;
            }
            let head = ledger.log.head().await.expect("the head");
            let log = ControlledLog::new(&ledger.log);
            for end in [head * percent / 100, head] {
                log.end_at(end);
                drop_views(&database.pool).await;
                // An empty log has nothing to rebuild.
                let rebuilding = match end {
                    0 => RunningProjector::start(&log.shared(), &database.pool, ProjectorSettings::default()),
                    _ => RunningProjector::start_rebuilding(&log.shared(), &database.pool).await,
                };
                rebuilding.wait_for_position(end).await;
                let rebuilt = dump(&database.pool).await;
                drop_views(&database.pool).await;
                for &(batch, ahead) in &restarts {
                    projector::migrate(&database.pool).await.expect("empty views");
                    let position = count(&database.pool, "SELECT position FROM views.checkpoint").await;
                    let some_way = end.min(position.unsigned_abs() + ahead);
                    RunningProjector::start(&log.shared(), &database.pool, settings_of_batches(batch))
                        .wait_for_position(some_way)
                        .await
                        .drop_now();
                }
                RunningProjector::start(&log.shared(), &database.pool, settings_of_batches(7))
                    .wait_for_position(end)
                    .await;
                prop_assert_eq!(dump(&database.pool).await, rebuilt);
            }
            database.pool.close().await;
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// The rows of a small case, with each kind of value.
#[tokio::test]
async fn rows_equal_the_history_of_a_case() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    let number = "A1234BC";
    assert!(ledger.case(number, 10, tier("B2", Some("LEI"))).await);
    assert!(ledger.case(number, 9, receive("LEI")).await);
    assert!(ledger.case(number, 12, allocate("LEI", 102, "tab\t, nul \0, \\N and \"ünïcode\"")).await);
    let head = ledger.log.head().await.expect("the head");
    for rebuilds in [false, true] {
        drop_views(&database.pool).await;
        start(&ledger, &database.pool, rebuilds).await.wait_for_position(head).await;
        let row = sqlx::query(
            "SELECT p.valid_to = 'infinity' AS open, p.pom_name, p.pom_kind, p.pom_email, p.tier, p.phase, p.responsible,
                    a.kind, a.month::text, a.days_waited, a.waited_because,
                    a.days_from_reception, a.received_at = p.pom_since - interval '3 days' AS reception_is_told, a.note, a.override_reasons, a.is_override, a.recorded_by
             FROM views.case_period p JOIN views.allocation a
               ON a.prisoner_number = p.prisoner_number AND a.revision = p.allocation_revision
             WHERE p.prisoner_number = $1",
        )
        .bind(number)
        .fetch_one(&database.pool)
        .await
        .expect("one allocated period");
        assert!(row.get::<bool, _>("open"));
        let text = |column: &str| row.get::<Option<String>, _>(column);
        let expected = [
            ("pom_name", Some("Surname102, Forename")),
            ("pom_kind", Some("PROBATION")),
            ("pom_email", None),
            ("tier", Some("B2")),
            ("phase", Some("CUSTODY_ONLY")),
            ("responsible", Some("POM")),
            ("kind", Some("ALLOCATION")),
            ("month", Some("2026-03-01")),
            ("waited_because", Some("RECEIVED")),
            ("note", Some("tab\t, nul \u{fffd}, \\N and \"ünïcode\"")),
            ("recorded_by", Some("HOMD_LEI")),
        ];
        for (column, value) in expected {
            assert_eq!(text(column).as_deref(), value, "{column}");
        }
        assert_eq!(row.get::<i32, _>("days_waited"), 2);
        assert_eq!(row.get::<i32, _>("days_from_reception"), 3);
        assert!(row.get::<bool, _>("reception_is_told"));
        assert_eq!(row.get::<Vec<String>, _>("override_reasons"), ["SUITABILITY"]);
        assert!(!row.get::<bool, _>("is_override"));
        let patterns: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT working_pattern::text FROM views.pom_period WHERE prison_code = 'LEI' ORDER BY 1",
        )
        .fetch_all(&database.pool)
        .await
        .expect("working patterns");
        assert_eq!(patterns, ["0.1", "0.8", "1.0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_notified_of_each_batch() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    let mut listener = PgListener::connect_with(&database.pool).await.expect("a listener");
    listener.listen(projector::CHANNEL).await.expect("to listen");
    let head = ledger.log.head().await.expect("the head");
    let _running =
        RunningProjector::start(&ledger.log, &database.pool, settings_of_batches(1_000)).wait_for_position(head).await;
    assert!(ledger.case("A1234BC", 1, tier("B", None)).await);
    loop {
        let heard = tokio::time::timeout(PATIENCE, listener.recv()).await.expect("a wake-up").expect("a notification");
        if heard.payload() == (head + 1).to_string() {
            break;
        }
    }
}
