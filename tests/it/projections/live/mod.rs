//! The projector: from any log to the same rows, whatever happens on the way.
//!
//! [`Ledger`] gives commands through the domain and appends what they make; the views are compared as Postgres writes
//! them out, ordered by key.

use chrono::Utc;
use domain::{Stream, identifier::CommandId};
use event_log::{ExpectedRevision, NewEvent};
use projector::{Settings, Status};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _, postgres::PgListener};
use uuid::Uuid;

use crate::support::{
    PATIENCE, database, dump_views, eventually,
    held_log::{Read, Shortened},
    random_ledger::{Ledger, allocate, step, tier},
    running_projector::Watched,
};

/// The serving views as Postgres writes them out.
async fn dump(pool: &PgPool) -> String {
    dump_views(pool, "views").await
}

async fn drop_views(pool: &PgPool) {
    sqlx::raw_sql("DROP SCHEMA IF EXISTS views CASCADE").execute(pool).await.expect("drop the views");
}

async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect(sql)
}

/// Never rebuilds: every event is followed up.
fn following(batch_events_max: usize) -> Settings {
    Settings { batch_events_max, rebuild_events_min: u64::MAX }
}

/// A projector that follows up or rebuilds, on views that are far behind.
async fn start(ledger: &Ledger, views: &PgPool, rebuilds: bool) -> Watched {
    if rebuilds {
        Watched::start_rebuilding(&ledger.log, views).await
    } else {
        Watched::start(&ledger.log, views, following(100))
    }
}

/// Same prefix, same rows, byte for byte: once rebuilt, once followed up in batches of any size by projectors that are
/// dropped in the middle of their work, with more of the log after the prefix's end than the projector is told of.
#[test]
fn the_rows_are_a_function_of_the_prefix() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let strategy =
        (prop::collection::vec(step(), 10..70), prop::collection::vec((1..12usize, 0..40u64), 1..6), 0..=100u64);
    let mut runner =
        TestRunner::new(Config { cases: 12, max_shrink_iters: 60, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&strategy, |(steps, restarts, percent)| {
        runtime.block_on(async {
            let database = database().await;
            let mut ledger = Ledger::new(&database.pool).await;
            for step in steps {
                ledger.take(step).await;
            }
            let head = ledger.log.head().await.expect("the head");
            let log = Shortened::new(&ledger.log);
            for end in [head * percent / 100, head] {
                log.end_at(end);
                drop_views(&database.pool).await;
                // Of nothing there is nothing to rebuild.
                let rebuilding = match end {
                    0 => Watched::start(&log.shared(), &database.pool, Settings::default()),
                    _ => Watched::start_rebuilding(&log.shared(), &database.pool).await,
                };
                rebuilding.until(end).await;
                let rebuilt = dump(&database.pool).await;
                drop_views(&database.pool).await;
                for &(batch, ahead) in &restarts {
                    projector::migrate(&database.pool).await.expect("empty views");
                    let position = count(&database.pool, "SELECT position FROM views.checkpoint").await;
                    let some_way = end.min(position.unsigned_abs() + ahead);
                    Watched::start(&log.shared(), &database.pool, following(batch)).until(some_way).await.drop_now();
                }
                Watched::start(&log.shared(), &database.pool, following(7)).until(end).await;
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

/// What Postgres has for a small case: one row of each kind of value.
#[tokio::test]
async fn rows_say_what_the_history_says() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    let number = "A1234BC";
    assert!(ledger.case(number, 10, tier("B2", Some("LEI"))).await);
    assert!(ledger.case(number, 12, allocate("LEI", 102, "tab\t, nul \0, \\N and \"ünïcode\"")).await);
    let head = ledger.log.head().await.expect("the head");
    for rebuilds in [false, true] {
        drop_views(&database.pool).await;
        start(&ledger, &database.pool, rebuilds).await.until(head).await;
        let row = sqlx::query(
            "SELECT p.valid_to = 'infinity' AS open, p.pom_name, p.pom_kind, p.pom_email, p.tier, p.phase, p.responsible,
                    a.kind, a.month::text, a.days_waited, a.note, a.override_reasons, a.is_override, a.recorded_by
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
            ("note", Some("tab\t, nul \u{fffd}, \\N and \"ünïcode\"")),
            ("recorded_by", Some("HOMD_LEI")),
        ];
        for (column, value) in expected {
            assert_eq!(text(column).as_deref(), value, "{column}");
        }
        assert_eq!(row.get::<i32, _>("days_waited"), 2);
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
async fn readers_are_woken() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    let mut listener = PgListener::connect_with(&database.pool).await.expect("a listener");
    listener.listen(projector::CHANNEL).await.expect("to listen");
    let head = ledger.log.head().await.expect("the head");
    let _running = Watched::start(&ledger.log, &database.pool, following(1_000)).until(head).await;
    assert!(ledger.case("A1234BC", 1, tier("B", None)).await);
    loop {
        let heard = tokio::time::timeout(PATIENCE, listener.recv()).await.expect("a wake-up").expect("a notification");
        if heard.payload() == (head + 1).to_string() {
            break;
        }
    }
}

/// Two projectors, one log: the second stands by, and takes over when the first has gone, however it went.
#[tokio::test(flavor = "multi_thread")]
async fn a_stand_by_takes_over() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    let head = ledger.log.head().await.expect("the head");
    let first = Watched::start(&ledger.log, &database.pool, following(100)).until(head).await;
    let second = Watched::start(&ledger.log, &database.pool, following(100));
    second.until_status("stand-by", |status| *status == Status::StandBy).await;
    assert!(ledger.case("A1234BC", 1, tier("B", None)).await);
    let first = first.until(head + 1).await;
    assert_eq!(second.status(), Status::StandBy);
    first.drop_now();
    assert!(ledger.case("A1234BC", 2, tier("C", None)).await);
    second.until(head + 2).await;
}

/// A projector stops in the middle of a batch (its thread is held), loses its lock, and another takes over and goes on.
/// Back at work the first one writes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_lost_its_lock_while_paused_cannot_write() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    assert!(ledger.case("A1234BC", 1, tier("B", Some("LEI"))).await);
    let head = ledger.log.head().await.expect("the head");
    Watched::start(&ledger.log, &database.pool, following(100)).until(head).await;

    // Its case is not new and not in memory, so that this event makes the projector read the log's streams: the gate.
    assert!(ledger.case("A1234BC", 2, tier("C", None)).await);
    let (paused, gate) = Watched::start_gated(&database.url, following(100), Read::Streams).await;
    gate.until_held().await;
    sqlx::raw_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks
         WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .execute(&database.pool)
    .await
    .expect("take its lock");
    let successor = Watched::start(&ledger.log, &database.pool, following(100)).until(head + 1).await;
    assert!(ledger.case("A1234BC", 3, tier("D", None)).await);
    let successor = successor.until(head + 2).await;
    let before = dump(&database.pool).await;
    gate.open();
    paused.until_status("stand-by", |status| *status == Status::StandBy).await;
    assert_eq!(dump(&database.pool).await, before);
    drop(successor);
}

/// The fence by itself: the lock is still held, but a successor's epoch is in force.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_epoch_cannot_write() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    assert!(ledger.case("A1234BC", 1, tier("B", Some("LEI"))).await);
    let head = ledger.log.head().await.expect("the head");
    Watched::start(&ledger.log, &database.pool, following(100)).until(head).await;
    assert!(ledger.case("A1234BC", 2, tier("C", None)).await);
    let (paused, gate) = Watched::start_gated(&database.url, following(100), Read::Streams).await;
    gate.until_held().await;
    let epoch: i64 = sqlx::query_scalar("UPDATE views.checkpoint SET epoch = epoch + 1 RETURNING epoch")
        .fetch_one(&database.pool)
        .await
        .expect("an epoch");
    gate.open();
    // It could not write, and took the views over anew: the epoch says so.
    paused.until(head + 1).await;
    assert_eq!(count(&database.pool, "SELECT epoch FROM views.checkpoint").await, epoch + 1);
}

/// A predecessor that stands still amid a batch, and whose session is not idle, so that Postgres would wait for it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_a_predecessor_that_stands_still_is_ended() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
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
    Watched::start(&ledger.log, &database.pool, following(100)).until(head).await;
    let ended = standing_still.await.expect("a task").expect_err("an end");
    assert_eq!(ended.as_database_error().and_then(|error| error.code()).as_deref(), Some("57P01"), "{ended}");
}

/// Back at work, a projector that has lost its place to a successor leaves the schema that the successor fills alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_epoch_cannot_drop_what_a_successor_fills() {
    const LOCK: &str = "pg_advisory_lock(hashtextextended('allocation-ledger projector of views', 0))";
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    assert!(ledger.case("A1234BC", 1, tier("B", Some("LEI"))).await);
    drop_views(&database.pool).await;
    let settings = Settings { rebuild_events_min: 0, ..Settings::default() };
    let (paused, gate) = Watched::start_gated(&database.url, settings, Read::Head).await;
    gate.until_held().await;
    let epoch: i64 = sqlx::query_scalar("UPDATE views.checkpoint SET epoch = epoch + 1 RETURNING epoch")
        .fetch_one(&database.pool)
        .await
        .expect("an epoch");
    let successors = format!("CREATE SCHEMA views_next_{epoch}; CREATE SCHEMA views_next_{}", epoch - 1);
    sqlx::raw_sql(AssertSqlSafe(successors)).execute(&database.pool).await.expect("schemas");
    // First in the queue for the lock, so that the paused projector stands by once it has let go of it.
    let mut successor = database.pool.acquire().await.expect("a connection");
    let locking = tokio::spawn(async move {
        sqlx::raw_sql(AssertSqlSafe(format!("SELECT {LOCK}"))).execute(&mut *successor).await.expect("the lock");
        successor
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually("a successor in the queue", async || (count(&database.pool, waiting).await == 1).then_some(())).await;
    gate.open();
    paused.until_status("stand-by", |status| *status == Status::StandBy).await;
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'views_next%'";
    assert_eq!(count(&database.pool, left).await, 2);
    let successor = locking.await.expect("the lock");

    // Whoever takes over next drops what is left, but nothing of an epoch to come.
    sqlx::raw_sql("CREATE SCHEMA views_next_1000").execute(&database.pool).await.expect("a schema");
    successor.close().await.expect("let go of the lock");
    paused.until(ledger.log.head().await.expect("the head")).await;
    let left: Vec<String> =
        sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'views_next%'")
            .fetch_all(&database.pool)
            .await
            .expect("schemas");
    assert_eq!(left, ["views_next_1000"]);
}

/// Positions with gaps do not tell how far behind the views are: it takes reading what they lack, once.
#[tokio::test]
async fn what_the_views_lack_is_counted_once() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    for index in 0..60 {
        assert!(ledger.case(&format!("A{index:04}BC"), 1, tier("B", Some("LEI"))).await);
    }
    let head = ledger.log.head().await.expect("the head");
    let log = Shortened::new(&ledger.log);
    log.stretch(1_000);
    projector::migrate(&database.pool).await.expect("empty views");
    let settings = Settings { batch_events_max: 5, rebuild_events_min: 2 * head };
    Watched::start(&log.shared(), &database.pool, settings).until(head).await;
    assert_eq!(log.read(), head);
    let settings = Settings { batch_events_max: 5, rebuild_events_min: head / 2 };
    drop_views(&database.pool).await;
    projector::migrate(&database.pool).await.expect("empty views");
    let watched = Watched::start(&log.shared(), &database.pool, settings);
    watched.until_status("a rebuild", |status| matches!(status, Status::Rebuilding { .. })).await;
}

/// What is recorded while it follows may come to be more than it can follow.
#[tokio::test]
async fn a_projector_that_falls_far_behind_rebuilds() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    assert!(ledger.case("A0000BC", 1, tier("B", Some("LEI"))).await);
    let settings = Settings { batch_events_max: 5, rebuild_events_min: 20 };
    let head = ledger.log.head().await.expect("the head");
    let watched = Watched::start(&ledger.log, &database.pool, settings).until(head).await;
    let served = "SELECT oid::bigint FROM pg_namespace WHERE nspname = 'views'";
    let before = count(&database.pool, served).await;
    let mut held_up = database.pool.begin().await.expect("a transaction");
    sqlx::raw_sql("LOCK TABLE views.checkpoint").execute(&mut *held_up).await.expect("the views");
    for index in 1..60 {
        assert!(ledger.case(&format!("A{index:04}BC"), 1, tier("B", Some("LEI"))).await);
    }
    held_up.commit().await.expect("let go of the views");
    watched.until(ledger.log.head().await.expect("the head")).await;
    assert_ne!(count(&database.pool, served).await, before, "others have taken their place");
}

/// Whatever is wrong with the log, the views end with the event before it, however the log is cut into batches, and however
/// far ahead of the views it is.
#[tokio::test(flavor = "multi_thread")]
async fn damage_ends_the_views_at_the_same_event_whatever_the_batches() {
    // The log's end, less so many, is what is damaged: of 30 events of three cases by turns.
    const BEFORE_HEAD: u64 = 11;
    for damage in [
        "DELETE FROM log.event WHERE position = $1",
        "UPDATE log.event SET revision = 700 WHERE position = $1",
        "UPDATE log.event SET stream = 'keyworker-LEI' WHERE position = $1",
    ] {
        let database = database().await;
        let mut ledger = Ledger::new(&database.pool).await;
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
        let rebuilding = Watched::start_rebuilding(&ledger.log, &database.pool).await;
        let stopped = rebuilding.until_stopped().await;
        assert!(stopped.contains(&format!("position {damaged}:")), "{damage}, rebuilt: {stopped}");
        let rebuilt = dump(&database.pool).await;
        assert!(rebuilt.contains(&format!("position {}, ", damaged - 1)), "{damage}: {rebuilt}");
        for batch in [1, 2, 7, 100] {
            drop_views(&database.pool).await;
            // Starts anew in the middle, so that no history is in memory.
            let log = Shortened::new(&ledger.log);
            log.end_at(begun + 4);
            Watched::start(&log.shared(), &database.pool, following(batch)).until(begun + 4).await;
            let stopped = Watched::start(&ledger.log, &database.pool, following(batch)).until_stopped().await;
            assert!(stopped.contains(&format!("position {damaged}:")), "{damage}, batches of {batch}: {stopped}");
            assert_eq!(dump(&database.pool).await, rebuilt, "{damage}, batches of {batch}");
        }
    }
}

/// An event that this program does not know stops the projector, with what stands before it projected; a rebuild ends
/// at the same place.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_event_stops_it_with_a_report() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    assert!(ledger.case("A1234BC", 1, tier("B", Some("LEI"))).await);
    let head = ledger.log.head().await.expect("the head");
    let stranger = NewEvent {
        event_id: CommandId(Uuid::from_u128(7)).event_id(0),
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
        let stopped = start(&ledger, &database.pool, rebuilds).await.until_stopped().await;
        assert!(stopped.contains(&format!("position {}", head + 1)), "{stopped}");
        assert!(stopped.contains("PrisonerTeleported"), "{stopped}");
        assert!(stopped.contains("unknown event type"), "{stopped}");
        assert_eq!(count(&database.pool, "SELECT position FROM views.checkpoint").await.unsigned_abs(), head);
        assert_eq!(count(&database.pool, "SELECT count(*) FROM views.prisoner_case").await, 1);
    }
    drop_views(&database.pool).await;

    // Views of another version that include what cannot be read any more are left as they are.
    projector::migrate(&database.pool).await.expect("views");
    sqlx::query("UPDATE views.checkpoint SET version = -1, position = $1, event_id = NULL")
        .bind(head.cast_signed() + 2)
        .execute(&database.pool)
        .await
        .expect("another version");
    Watched::start(&ledger.log, &database.pool, following(100)).until_stopped().await;
    assert_eq!(count(&database.pool, "SELECT version::bigint FROM views.checkpoint").await, -1);
}

/// Views of another version are rebuilt at the start, and what an interrupted rebuild left is gone.
#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_rebuilt() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    assert!(ledger.case("A1234BC", 1, tier("B", Some("LEI"))).await);
    let head = ledger.log.head().await.expect("the head");
    Watched::start(&ledger.log, &database.pool, following(100)).until(head).await;
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
    Watched::start(&ledger.log, &database.pool, following(100)).until(head).await;
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

/// Readers that ask all the while get all of the old views or all of the new ones: in one statement, and in a transaction
/// that has begun to read.
#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_half_a_rebuild() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    for index in 0..20 {
        assert!(ledger.case(&format!("A{index:04}BC"), 1, tier("B", Some("LEI"))).await);
    }
    let head = ledger.log.head().await.expect("the head");
    Watched::start(&ledger.log, &database.pool, following(100)).until(head).await;
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
        Watched::start(&ledger.log, &database.pool, following(100)).until(head).await;
        assert_eq!(
            count(&database.pool, "SELECT version::bigint FROM views.checkpoint").await,
            i64::from(projector::VIEWS_VERSION)
        );
    }
    assert!(!reading.is_finished(), "{:?}", reading.await);
    reading.abort();
}

/// Every connection of the projector breaks, again and again, while events come in: it recovers by itself.
#[tokio::test(flavor = "multi_thread")]
async fn it_recovers_from_outages() {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    let running = Watched::start(&ledger.log, &database.pool, following(3));
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
    running.until(head).await;
    let followed_up = dump(&database.pool).await;
    drop_views(&database.pool).await;
    Watched::start_rebuilding(&ledger.log, &database.pool).await.until(head).await;
    assert_eq!(dump(&database.pool).await, followed_up);
}
