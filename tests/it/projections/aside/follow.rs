//! A projector that follows the log, and one that rebuilds: the same streams are aside.

use domain::{officer::PomKind, prison};
use projector::Status;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{DOUBLED, REFUSED, WAITING, batches_of, case_aside, case_with_com, com, mend, refuse, streams_aside, void};
use crate::support::{
    Program,
    builders::staff_id,
    controlled_log::ControlledLog,
    database, dump_views, eventually,
    projections::{count, execute, project},
    random_ledger::{RandomLedger, tier},
    running_projector::RunningProjector,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_case_is_put_aside_and_the_others_go_on() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    refuse(&database.pool).await;
    case_with_com(&mut ledger, "A0001BC", "Lee, Sam").await;
    let position = case_with_com(&mut ledger, "A0002BC", REFUSED).await;
    case_with_com(&mut ledger, "A0003BC", "Lee, Sam").await;
    let head = ledger.log.head().await.expect("the head");
    let running = RunningProjector::start(&ledger.log, &database.pool, batches_of(100)).wait_for_position(head).await;
    assert_eq!(running.status(), Status::Running { position: head, streams_aside: 1 });
    assert_eq!(streams_aside(&database.pool, "views").await, [case_aside("A0002BC", position)]);
    for (number, cases) in [("A0001BC", 1), ("A0002BC", 0), ("A0003BC", 1)] {
        let sql = format!("SELECT count(*) FROM views.prisoner_case WHERE prisoner_number = '{number}'");
        assert_eq!(count(&database.pool, &sql).await, cases, "{number}");
    }

    // Later events of either case change nothing about that.
    assert!(ledger.case("A0002BC", 3, tier("C", None)).await);
    assert!(ledger.case("A0003BC", 3, tier("C", None)).await);
    let running = running.wait_for_position(head + 2).await;
    assert_eq!(streams_aside(&database.pool, "views").await, [case_aside("A0002BC", position)]);

    // A void brings the case back.
    assert!(ledger.case("A0002BC", 4, void(1)).await);
    let running = running.wait_for_position(head + 3).await;
    assert_eq!(running.status(), Status::Running { position: head + 3, streams_aside: 0 });
    assert_eq!(streams_aside(&database.pool, "views").await, []);
    let sql = "SELECT count(*) FROM views.case_period WHERE prisoner_number = 'A0002BC' AND tier = 'C'";
    assert_eq!(count(&database.pool, sql).await, 1);
}

/// The rows, and the streams aside with the event that is named, follow from the log's prefix:
/// followed in batches of any size, with and without a restart, or rebuilt.
#[tokio::test(flavor = "multi_thread")]
async fn streams_aside_depend_on_the_events_alone() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    refuse(&database.pool).await;
    let begun = ledger.log.head().await.expect("the head");
    for (number, day, command) in [
        ("A0001BC", 1, tier("B", Some("LEI"))),
        ("A0002BC", 1, com(DOUBLED)),
        ("A0001BC", 2, com(REFUSED)),
        ("A0002BC", 3, tier("C", None)),
        ("A0001BC", 3, tier("C", None)),
        ("A0001BC", 4, void(1)),
        ("A0001BC", 5, com(REFUSED)),
        ("A0002BC", 5, void(0)),
        ("A0001BC", 6, tier("D", None)),
        ("A0003BC", 6, tier("D", None)),
    ] {
        assert!(ledger.case(number, day, command).await, "{number} on day {day}");
    }
    let head = ledger.log.head().await.expect("the head");
    let log = ControlledLog::new(&ledger.log);
    let drop_views = async || execute(&database.pool, "DROP SCHEMA IF EXISTS views CASCADE").await;
    let mut seen_aside = 0;
    for end in begun..=head {
        log.end_at(end);
        drop_views().await;
        RunningProjector::start_rebuilding(&log.shared(), &database.pool).await.wait_for_position(end).await;
        let rebuilt = dump_views(&database.pool, "views").await;
        seen_aside += streams_aside(&database.pool, "views").await.len();
        for batch in [1, 3, 100] {
            drop_views().await;
            log.end_at(begun + (end - begun) / 2);
            let some_way = begun + (end - begun) / 2;
            RunningProjector::start(&log.shared(), &database.pool, batches_of(batch)).wait_for_position(some_way).await;
            log.end_at(end);
            RunningProjector::start(&log.shared(), &database.pool, batches_of(batch)).wait_for_position(end).await;
            assert_eq!(dump_views(&database.pool, "views").await, rebuilt, "to {end} in batches of {batch}");
        }
    }
    assert_eq!(seen_aside, 13, "A0001BC at seven ends, A0002BC at six");
}

/// A program that gives other rows tries the streams aside when it starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_mended_program_takes_the_case_back_when_it_starts() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    let head = case_with_com(&mut ledger, "A0002BC", REFUSED).await;
    project(&ledger.log, &database.pool).await;
    let whole = dump_views(&database.pool, "views").await;
    execute(&database.pool, "DROP SCHEMA views CASCADE").await;
    projector::migrate(&database.pool).await.expect("empty views");
    refuse(&database.pool).await;
    project(&ledger.log, &database.pool).await;
    assert_eq!(streams_aside(&database.pool, "views").await, [case_aside("A0002BC", head)]);
    project(&ledger.log, &database.pool).await;
    assert_eq!(streams_aside(&database.pool, "views").await, [case_aside("A0002BC", head)], "refused once more");
    mend(&database.pool).await;
    project(&ledger.log, &database.pool).await;
    assert_eq!(dump_views(&database.pool, "views").await, whole);
}

/// Finding the event to name takes many tries, so that several long rosters would not fit in the
/// time that one transaction has.
#[tokio::test(flavor = "multi_thread")]
async fn each_stream_aside_comes_back_in_a_transaction_of_its_own() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    refuse(&database.pool).await;
    case_with_com(&mut ledger, "A0001BC", REFUSED).await;
    let second = case_with_com(&mut ledger, "A0002BC", REFUSED).await;
    assert!(ledger.case("A0002BC", 3, com(WAITING)).await);
    project(&ledger.log, &database.pool).await;
    assert_eq!(streams_aside(&database.pool, "views").await.len(), 2);
    execute(&database.pool, "ALTER TABLE views.case_period DROP CONSTRAINT refused").await;
    let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql("SELECT pg_advisory_lock(7)").execute(&mut holder).await.expect("the lock");
    let running = RunningProjector::start(&ledger.log, &database.pool, batches_of(100));
    let rest = [case_aside("A0002BC", second)];
    eventually("the first case", async || (streams_aside(&database.pool, "views").await == rest).then_some(())).await;
    holder.close().await.expect("let go of the lock");
    running.wait_for_position(second + 1).await;
    assert_eq!(streams_aside(&database.pool, "views").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_aside_that_cannot_be_read_is_logged_and_keeps_back_no_other() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    refuse(&database.pool).await;
    let damaged = case_with_com(&mut ledger, "A0001BC", REFUSED).await;
    case_with_com(&mut ledger, "A0002BC", REFUSED).await;
    project(&ledger.log, &database.pool).await;
    assert_eq!(streams_aside(&database.pool, "views").await.len(), 2);
    mend(&database.pool).await;
    let sql = format!(
        "BEGIN; SET LOCAL session_replication_role = replica;
         UPDATE log.event SET type = 'Teleported' WHERE position = {damaged}; COMMIT"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.expect("harm the log");
    let stores = ["--event-store", &*database.url, "--views", &*database.url];
    let program = Program::serve_with(&[&["--role", "projector"], &stores[..]].concat()).await;
    let rest = [case_aside("A0001BC", damaged)];
    eventually("the other case", async || (streams_aside(&database.pool, "views").await == rest).then_some(())).await;
    let (_, log) = program.stop_and_read_log().await;
    assert!(log.contains("is not tried again") && log.contains(&format!("position {damaged}")), "{log}");
    assert!(!log.contains("A0001BC"), "a log names no person: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_prison_is_put_aside_and_its_cases_go_on() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    refuse(&database.pool).await;
    let registered = prison::PomRegistered {
        staff_id: staff_id(105),
        name: REFUSED.to_owned(),
        kind: PomKind::Prison,
        working_pattern: 1.0.try_into().expect("a working pattern"),
        email: None,
    };
    assert!(ledger.prison("MDI", 1, prison::Command::RegisterPom(registered)).await);
    let position = ledger.log.head().await.expect("the head");
    assert!(ledger.case("A0001BC", 2, tier("B", Some("MDI"))).await);
    project(&ledger.log, &database.pool).await;
    let aside = ("prison-MDI".to_owned(), position.cast_signed(), "PomRegistered".to_owned());
    assert_eq!(streams_aside(&database.pool, "views").await, [aside]);
    for (sql, rows) in [
        ("SELECT count(*) FROM views.prison WHERE prison_code = 'MDI'", 0),
        ("SELECT count(*) FROM views.pom_period WHERE prison_code = 'MDI'", 0),
        ("SELECT count(*) FROM views.pom_period WHERE prison_code = 'LEI'", 4),
        ("SELECT count(*) FROM views.case_period WHERE prison = 'MDI'", 1),
    ] {
        assert_eq!(count(&database.pool, sql).await, rows, "{sql}");
    }
}
