//! Stops and outages: neither puts a case aside.

use chrono::Utc;
use domain::{Stream, identifier::CommandId};
use event_log::{ExpectedRevision, NewEvent, SharedLog};
use projector::{ProjectorSettings, STREAMS_ASIDE_MAX, Status};
use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use super::{FULL_DISK, REFUSE_LATER, REFUSED, WAITING, case_aside, case_with_com, refuse, streams_aside, void};
use crate::support::{
    controlled_log::ControlledLog,
    database, dump_views, eventually,
    projections::{assert_success, count, execute, project, run_projections, schemas},
    random_ledger::{RandomLedger, tier},
    running_projector::RunningProjector,
};

/// The version of the serving views.
const VERSION: &str = "SELECT version::bigint FROM views.checkpoint";

/// Runs a projector until it stops, and returns its report with the number of events that it read
/// in pages. It does so to rebuild, and not to follow the log.
async fn stop(log: &SharedLog, views: &PgPool) -> (String, u64) {
    let log = ControlledLog::new(log);
    let settings = ProjectorSettings { rebuild_events_min: 0, ..ProjectorSettings::default() };
    let report = RunningProjector::start(&log.shared(), views, settings).wait_for_stop().await;
    (report, log.read())
}

/// More streams aside than single mistakes explain: the projector stops before the event that would
/// put one more aside, whatever the batches, and a rebuild puts nothing in place.
#[tokio::test(flavor = "multi_thread")]
async fn the_projector_stops_before_too_many_streams_are_aside() {
    for batch_events_max in [1, 100] {
        let database = database().await;
        let mut ledger = RandomLedger::new(&database.pool).await;
        refuse(&database.pool).await;
        let mut last = 0;
        for index in 0..=STREAMS_ASIDE_MAX {
            last = case_with_com(&mut ledger, &format!("A{index:04}BC"), REFUSED).await;
        }
        case_with_com(&mut ledger, "B0001BC", "Lee, Sam").await;
        let settings = ProjectorSettings { batch_events_max, rebuild_events_min: u64::MAX };
        let stopped = RunningProjector::start(&ledger.log, &database.pool, settings).wait_for_stop().await;
        assert!(stopped.contains("more than 20 cases and prisons"), "{stopped}");
        assert_eq!(count(&database.pool, "SELECT position FROM views.checkpoint").await.unsigned_abs(), last - 1);
        assert_eq!(streams_aside(&database.pool, "views").await.len(), STREAMS_ASIDE_MAX);
        execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1").await;
        let views = dump_views(&database.pool, "views").await;

        // A restart tries the streams alone; only where they are not known, the log is read.
        for (before, rebuilds) in [("", false), ("DROP TABLE views.stopped_rebuild", true), ("", false)] {
            execute(&database.pool, before).await;
            let (stopped, read) = stop(&ledger.log, &database.pool).await;
            assert!(stopped.contains("more than 20 cases and prisons"), "{stopped}");
            assert_eq!(read > 0, rebuilds, "the log is read for a rebuild once");
            assert_eq!(dump_views(&database.pool, "views").await, views);
            assert_eq!(schemas(&database.pool).await, ["views"]);
        }
        assert!(ledger.case("A0000BC", 3, void(1)).await);
        project(&ledger.log, &database.pool).await;
        assert_eq!(streams_aside(&database.pool, "views").await.len(), STREAMS_ASIDE_MAX);
        assert_eq!(count(&database.pool, VERSION).await, i64::from(projector::VIEWS_VERSION));
    }
}

/// A version of the program whose rows Postgres refuses must not take a case away that the serving
/// views have.
#[tokio::test(flavor = "multi_thread")]
async fn an_automatic_rebuild_that_would_lose_a_case_stops_and_the_old_views_serve() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    let position = case_with_com(&mut ledger, "A0001BC", REFUSED).await;
    project(&ledger.log, &database.pool).await;
    execute(&database.pool, REFUSE_LATER).await;
    execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1").await;
    let old = dump_views(&database.pool, "views").await;
    // A supervisor may start the program again and again, and other cases move on meanwhile. Only
    // another version of the program begins the rebuild once more.
    let other_version = "UPDATE views.stopped_rebuild SET version = version - 1";
    // An earlier program remembered less.
    let former = "ALTER TABLE views.stopped_rebuild DROP COLUMN position";
    for (before, rebuilds, letter) in [
        ("", true, "A"),
        ("", false, "B"),
        (other_version, true, "C"),
        ("", false, "D"),
        (former, true, "E"),
        ("", false, "F"),
    ] {
        execute(&database.pool, before).await;
        let (stopped, read) = stop(&ledger.log, &database.pool).await;
        assert!(stopped.contains(&format!("`CommunityManagerAssigned` at position {position}")), "{stopped}");
        assert!(!stopped.contains("A0001BC"), "a log names no person: {stopped}");
        assert_eq!(read > 0, rebuilds, "the log is read for a rebuild once");
        assert_eq!(dump_views(&database.pool, "views").await, old);
        assert_eq!(schemas(&database.pool).await, ["views"]);
        assert!(ledger.case("A0002BC", 3, tier(letter, None)).await);
    }
    for role in projector::READING_ROLES {
        let sql = format!("SELECT has_table_privilege('{role}', 'views.stopped_rebuild', 'SELECT')::int::bigint");
        assert_eq!(count(&database.pool, &sql).await, 1, "`projections status` locks all tables, as {role}, too");
    }

    // The entry is voided: the next start rebuilds, and nothing is remembered.
    assert!(ledger.case("A0001BC", 4, void(1)).await);
    project(&ledger.log, &database.pool).await;
    assert_eq!(count(&database.pool, VERSION).await, i64::from(projector::VIEWS_VERSION));
    assert_eq!(streams_aside(&database.pool, "views").await, []);
    assert_eq!(count(&database.pool, "SELECT count(to_regclass('views.stopped_rebuild'))").await, 0);
}

/// The operator's way out: a rebuild by hand puts the case aside, and the projector goes on with
/// the new views.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_by_hand_goes_on_where_an_automatic_one_stopped() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    let position = case_with_com(&mut ledger, "A0001BC", REFUSED).await;
    project(&ledger.log, &database.pool).await;
    execute(&database.pool, REFUSE_LATER).await;
    execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1").await;
    stop(&ledger.log, &database.pool).await;
    assert_success(run_projections(&database, &["status"]).await);
    assert_success(run_projections(&database, &["rebuild"]).await);
    case_with_com(&mut ledger, "A0002BC", "Lee, Sam").await;
    project(&ledger.log, &database.pool).await;
    assert_eq!(streams_aside(&database.pool, "views").await, [case_aside("A0001BC", position)]);

    // A new version whose rows Postgres takes brings the case back.
    execute(&database.pool, "DROP EVENT TRIGGER mistakes").await;
    execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1").await;
    project(&ledger.log, &database.pool).await;
    assert_eq!(streams_aside(&database.pool, "views").await, []);
    let case = "SELECT count(*) FROM views.prisoner_case WHERE prisoner_number = 'A0001BC'";
    assert_eq!(count(&database.pool, case).await, 1);
}

/// A stream that the serving views have aside already, and one whose event they do not include yet,
/// are no reason to stop a rebuild.
#[tokio::test(flavor = "multi_thread")]
async fn an_automatic_rebuild_keeps_aside_what_was_aside() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    refuse(&database.pool).await;
    let first = case_with_com(&mut ledger, "A0001BC", REFUSED).await;
    project(&ledger.log, &database.pool).await;
    let second = case_with_com(&mut ledger, "A0002BC", REFUSED).await;
    execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1").await;
    project(&ledger.log, &database.pool).await;
    let aside = [case_aside("A0001BC", first), case_aside("A0002BC", second)];
    assert_eq!(streams_aside(&database.pool, "views").await, aside);
    assert_eq!(count(&database.pool, VERSION).await, i64::from(projector::VIEWS_VERSION));
}

/// Views of a version that left nothing out serve on beside this program.
#[tokio::test(flavor = "multi_thread")]
async fn views_of_a_version_without_streams_aside_are_given_the_table() {
    let database = database().await;
    execute(&database.pool, "DROP TABLE views.stream_aside").await;
    projector::migrate(&database.pool).await.expect("views");
    assert_eq!(streams_aside(&database.pool, "views").await, []);
    for role in projector::READING_ROLES {
        let sql = format!("SELECT has_table_privilege('{role}', 'views.stream_aside', 'SELECT')::int::bigint");
        assert_eq!(count(&database.pool, &sql).await, 1, "{role}");
    }
}

/// Damage in the log is no mistake in the rows: the projector stops at it, with a case aside before
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_event_still_stops_the_projector() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    refuse(&database.pool).await;
    let position = case_with_com(&mut ledger, "A0001BC", REFUSED).await;
    let stream = Stream::Prisoner("A0001BC".parse().expect("a prisoner number"));
    let stranger = NewEvent {
        event_id: CommandId(Uuid::from_u128(7)).event_id(&stream, 0),
        type_name: "PrisonerTeleported".into(),
        recorded_at: Utc::now(),
        metadata: ledger.metadata(3),
        data: "{}".into(),
    };
    ledger.log.append(&stream, ExpectedRevision::Exact(1), vec![stranger]).await.expect("append");
    case_with_com(&mut ledger, "A0002BC", "Lee, Sam").await;
    for rebuilds in [false, true] {
        let running = if rebuilds {
            execute(&database.pool, "DROP SCHEMA views CASCADE").await;
            RunningProjector::start_rebuilding(&ledger.log, &database.pool).await
        } else {
            RunningProjector::start(&ledger.log, &database.pool, ProjectorSettings::default())
        };
        let stopped = running.wait_for_stop().await;
        assert!(stopped.contains(&format!("position {}:", position + 1)), "{stopped}");
        assert_eq!(count(&database.pool, "SELECT position FROM views.checkpoint").await.unsigned_abs(), position);
        assert_eq!(streams_aside(&database.pool, "views").await, [case_aside("A0001BC", position)]);
    }
}

/// A full disk and a broken connection refuse no data. The projector tries again, in the middle of
/// a batch in which a stream goes aside, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_puts_no_stream_aside() {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    refuse(&database.pool).await;
    execute(&database.pool, "CREATE TABLE public.full ()").await;
    let first = case_with_com(&mut ledger, "A0001BC", REFUSED).await;
    let head = case_with_com(&mut ledger, "A0002BC", FULL_DISK).await;
    let running = RunningProjector::start(&ledger.log, &database.pool, ProjectorSettings::default());
    let is_full = |status: &Status| matches!(status, Status::Retrying { reason } if reason.contains("no space left"));
    running.wait_for_status("another try", is_full).await;
    assert_eq!(streams_aside(&database.pool, "views").await, []);
    execute(&database.pool, "DROP TABLE public.full").await;
    let running = running.wait_for_position(head).await;
    assert_eq!(streams_aside(&database.pool, "views").await, [case_aside("A0001BC", first)]);

    let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql("SELECT pg_advisory_lock(7)").execute(&mut holder).await.expect("the lock");
    case_with_com(&mut ledger, "A0003BC", WAITING).await;
    let second = case_with_com(&mut ledger, "A0004BC", REFUSED).await;
    let terminated = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND objid = 7";
    for _ in 0..3 {
        eventually("a batch to be cut off", async || (count(&database.pool, terminated).await > 0).then_some(())).await;
    }
    let names: Vec<_> = streams_aside(&database.pool, "views").await.into_iter().map(|(stream, ..)| stream).collect();
    assert!(!names.contains(&"prisoner-A0003BC".to_owned()), "{names:?}");
    holder.close().await.expect("let go of the lock");
    running.wait_for_position(second).await;
    let aside = [case_aside("A0001BC", first), case_aside("A0004BC", second)];
    assert_eq!(streams_aside(&database.pool, "views").await, aside);
}
