//! A projector that stopped at rows goes on by itself once they are mended. Meanwhile the old views
//! serve, and the log is not read.

use projector::{STREAMS_ASIDE_MAX, Status};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::{REFUSE_LATER, REFUSED, batches_of, case_aside, case_with_com, refuse, streams_aside, void};
use crate::support::{
    TestDatabase,
    controlled_log::{ControlledLog, ReadKind},
    database, dump_views, eventually,
    projections::{assert_success, count, execute, project, run_projections, schemas},
    random_ledger::RandomLedger,
    running_projector::RunningProjector,
};

fn number(index: usize) -> String {
    format!("A{index:04}BC")
}

/// A ledger with so many refused cases. Returns the position of the event that names the last.
async fn ledger_with_refused(database: &TestDatabase, cases: usize) -> (RandomLedger, u64) {
    let mut ledger = RandomLedger::new(&database.pool).await;
    refuse(&database.pool).await;
    let mut last = 0;
    for index in 0..cases {
        last = case_with_com(&mut ledger, &number(index), REFUSED).await;
    }
    (ledger, last)
}

/// A ledger with views of an older version, whose rebuild would lose a case. Returns the position
/// of the event that is refused.
async fn ledger_to_rebuild(database: &TestDatabase) -> (RandomLedger, u64) {
    let mut ledger = RandomLedger::new(&database.pool).await;
    let position = case_with_com(&mut ledger, "A0001BC", REFUSED).await;
    project(&ledger.log, &database.pool).await;
    execute(&database.pool, REFUSE_LATER).await;
    execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1").await;
    (ledger, position)
}

async fn wait_for_stop(running: &RunningProjector) -> String {
    match running.wait_for_status("a stop", |status| matches!(status, Status::Stopped { .. })).await {
        Status::Stopped { reason } => reason,
        _ => unreachable!("the status waited for"),
    }
}

/// Waits until the projector has asked for the log's end some times and has looked at no stream.
async fn wait_until_idle(log: &ControlledLog) {
    let (mut heads, mut looks) = (log.heads(), log.stream_reads());
    eventually("a projector that does not look", async || {
        if log.stream_reads() != looks {
            (heads, looks) = (log.heads(), log.stream_reads());
        }
        (log.heads() >= heads + 4).then_some(())
    })
    .await;
}

/// The lines of `projections status` about a stopped rebuild.
async fn stopped_lines(database: &TestDatabase) -> Vec<Value> {
    let status = assert_success(run_projections(database, &["status", "--json"]).await);
    let lines = status.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"));
    lines.filter(|line| line["state"] == "STOPPED_REBUILD").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_further_on_brings_a_projector_that_follows_back_by_itself() {
    for batch_events_max in [1, 100] {
        let database = database().await;
        let (mut ledger, last) = ledger_with_refused(&database, STREAMS_ASIDE_MAX + 1).await;
        case_with_com(&mut ledger, "B0001BC", "Lee, Sam").await;
        let log = ControlledLog::new(&ledger.log);
        let running = RunningProjector::start(&log.shared(), &database.pool, batches_of(batch_events_max));
        wait_for_stop(&running).await;
        let before = dump_views(&database.pool, "views").await;
        assert_eq!(count(&database.pool, "SELECT position FROM views.checkpoint").await.unsigned_abs(), last - 1);
        let stopped = stopped_lines(&database).await;
        assert_eq!(stopped.len(), STREAMS_ASIDE_MAX + 1, "{stopped:?}");
        let line = stopped.last().expect("a line");
        assert_eq!(
            (&line["stream"], &line["position"], &line["revision"], &line["eventType"]),
            (&json!("prisoner-A0020BC"), &json!(last), &json!(1), &json!("CommunityManagerAssigned"))
        );
        assert!(line["toDo"].as_str().is_some_and(|to_do| to_do.contains("void that entry")), "{line}");

        // It looks again when the log has gone on, and not before.
        wait_until_idle(&log).await;
        let looks = log.stream_reads();
        case_with_com(&mut ledger, "B0002BC", "Lee, Sam").await;
        eventually("another look", async || (log.stream_reads() > looks).then_some(())).await;
        wait_for_stop(&running).await;
        assert_eq!(dump_views(&database.pool, "views").await, before, "the old views serve");
        assert_eq!(log.read(), 0, "the refused streams alone are read");

        assert!(ledger.case("A0000BC", 3, void(1)).await);
        let head = ledger.log.head().await.expect("the head");
        let running = running.wait_for_position(head).await;
        assert_eq!(running.status(), Status::Running { position: head, streams_aside: STREAMS_ASIDE_MAX });
        assert_eq!(log.read(), head, "the log is read for a rebuild once");
        assert_eq!(stopped_lines(&database).await, [] as [Value; 0]);
        assert_eq!(schemas(&database.pool).await, ["views"]);
        let went_on = dump_views(&database.pool, "views").await;
        drop(running);
        execute(&database.pool, "DROP SCHEMA views CASCADE").await;
        project(&ledger.log, &database.pool).await;
        assert_eq!(dump_views(&database.pool, "views").await, went_on);
    }
}

/// The void is in the log already when the projector comes to the event that would put one stream
/// too many aside.
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_does_not_stop_where_a_void_further_on_is_in_the_log() {
    let database = database().await;
    let (mut ledger, _) = ledger_with_refused(&database, STREAMS_ASIDE_MAX + 1).await;
    assert!(ledger.case("A0003BC", 3, void(1)).await);
    let head = ledger.log.head().await.expect("the head");
    RunningProjector::start(&ledger.log, &database.pool, batches_of(1)).wait_for_position(head).await;
    assert_eq!(streams_aside(&database.pool, "views").await.len(), STREAMS_ASIDE_MAX);
}

/// The projector knows of one refused case too many and not of those further on. A rebuild that
/// finds them is not begun again before enough of all have been mended.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_tried_again_only_once_enough_of_the_known_streams_are_mended() {
    let database = database().await;
    let (mut ledger, _) = ledger_with_refused(&database, STREAMS_ASIDE_MAX + 3).await;
    let log = ControlledLog::new(&ledger.log);
    let running = RunningProjector::start(&log.shared(), &database.pool, batches_of(1));
    wait_for_stop(&running).await;
    assert_eq!(stopped_lines(&database).await.len(), STREAMS_ASIDE_MAX + 1);
    assert!(ledger.case("A0000BC", 3, void(1)).await);
    let is_mended = async || stopped_lines(&database).await.iter().all(|line| line["stream"] != "prisoner-A0000BC");
    eventually("a rebuild that stops", async || (is_mended().await && log.read() > 0).then_some(())).await;
    wait_for_stop(&running).await;
    let read = log.read();
    assert!(stopped_lines(&database).await.len() > STREAMS_ASIDE_MAX, "it stops for those further on, too");

    assert!(ledger.case("A0001BC", 3, void(1)).await);
    assert!(ledger.case("A0002BC", 3, void(1)).await);
    let head = ledger.log.head().await.expect("the head");
    running.wait_for_position(head).await;
    assert_eq!(streams_aside(&database.pool, "views").await.len(), STREAMS_ASIDE_MAX);
    assert!(log.read() <= read + 2 * head, "each rebuild reads the log once: {} after {read}", log.read());
}

/// It lets go of the lock between two looks, so that a mended program may take over.
#[tokio::test(flavor = "multi_thread")]
async fn a_void_lets_a_rebuild_that_stopped_go_on_in_the_running_program() {
    let database = database().await;
    let (mut ledger, position) = ledger_to_rebuild(&database).await;
    let running = [(); 2].map(|()| RunningProjector::start(&ledger.log, &database.pool, batches_of(100)));
    for running in &running {
        let stopped = wait_for_stop(running).await;
        assert!(stopped.contains(&format!("`CommunityManagerAssigned` at position {position}")), "{stopped}");
    }
    let stopped = stopped_lines(&database).await;
    let [line] = &stopped[..] else { panic!("one stream: {stopped:?}") };
    assert_eq!(
        (&line["stream"], &line["position"], &line["eventType"], &line["sqlState"], &line["version"]),
        (
            &json!("prisoner-A0001BC"),
            &json!(position),
            &json!("CommunityManagerAssigned"),
            &json!("23514"),
            &json!(projector::VIEWS_VERSION)
        )
    );
    let said = assert_success(run_projections(&database, &["status"]).await);
    for words in ["prisoner-A0001BC", &format!("position {position}"), "void that entry", "`projections rebuild`"] {
        assert!(said.contains(words), "{words} in {said}");
    }

    assert!(ledger.case("A0001BC", 4, void(1)).await);
    let head = ledger.log.head().await.expect("the head");
    eventually("the new views", async || {
        (count(&database.pool, "SELECT position FROM views.checkpoint").await.unsigned_abs() == head).then_some(())
    })
    .await;
    assert_eq!(streams_aside(&database.pool, "views").await, []);
    assert_eq!(stopped_lines(&database).await, [] as [Value; 0]);
}

/// The full disk concerns the table of the streams alone. The reason why the rebuild stopped is
/// what an operator must know, and the rebuild is not begun again.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_cannot_be_remembered_is_reported_all_the_same() {
    let database = database().await;
    let (mut ledger, position) = ledger_to_rebuild(&database).await;
    execute(
        &database.pool,
        "CREATE FUNCTION public.fill_disk() RETURNS event_trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                         WHERE object_identity = 'views.stopped_rebuild') THEN
                 RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full';
             END IF;
         END $$;
         CREATE EVENT TRIGGER full_disk ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
             EXECUTE FUNCTION public.fill_disk()",
    )
    .await;
    let log = ControlledLog::new(&ledger.log);
    let running = RunningProjector::start(&log.shared(), &database.pool, batches_of(100));
    let stopped = wait_for_stop(&running).await;
    assert!(stopped.contains(&format!("`CommunityManagerAssigned` at position {position}")), "{stopped}");
    assert_eq!(schemas(&database.pool).await, ["views"]);
    wait_until_idle(&log).await;
    let (read, looks) = (log.read(), log.stream_reads());
    case_with_com(&mut ledger, "A0002BC", "Lee, Sam").await;
    eventually("another look", async || (log.stream_reads() > looks).then_some(())).await;
    assert_eq!((wait_for_stop(&running).await, log.read()), (stopped, read));
}

/// While an automatic rebuild finds out that it must stop, an operator rebuilds by hand. The
/// projector goes on with these views, and leaves nothing in them.
#[tokio::test(flavor = "multi_thread")]
async fn a_projector_that_was_fenced_does_not_stop_for_its_rebuild() {
    let database = database().await;
    let (ledger, position) = ledger_to_rebuild(&database).await;
    let (running, gate) = RunningProjector::start_gated(&database.url, batches_of(100), ReadKind::Streams).await;
    gate.wait_until_held().await;
    let schemas = schemas(&database.pool).await;
    let next = schemas.iter().find(|schema| schema.starts_with("views_next_")).expect("a schema that is filled");
    // The schema is dropped before the streams are remembered.
    let mut reader = PgConnection::connect(&database.url).await.expect("a connection");
    let mut reading = reader.begin().await.expect("a transaction");
    let lock = format!("LOCK TABLE {next}.prison IN ACCESS SHARE MODE");
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *reading).await.expect("the lock");
    gate.open();
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually("the schema to be dropped", async || (count(&database.pool, waiting).await > 0).then_some(())).await;
    assert_success(run_projections(&database, &["rebuild"]).await);
    let serving = "SELECT oid::bigint FROM pg_namespace WHERE nspname = 'views'";
    let by_hand = count(&database.pool, serving).await;
    reading.rollback().await.expect("let go of the lock");

    running.wait_for_position(ledger.log.head().await.expect("the head")).await;
    assert_eq!(streams_aside(&database.pool, "views").await, [case_aside("A0001BC", position)]);
    assert_eq!(count(&database.pool, serving).await, by_hand, "the views of the rebuild by hand");
    assert_eq!(count(&database.pool, "SELECT count(to_regclass('views.stopped_rebuild'))").await, 0);
}

/// A right that an operator has taken away is not given back with a table that is added.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_added_changes_no_rights_to_the_others() {
    let database = database().await;
    let (ledger, _) = ledger_to_rebuild(&database).await;
    execute(&database.pool, "REVOKE SELECT ON views.pom_period FROM analyst; DROP TABLE views.stream_aside").await;
    let may_read = async |table: &str| {
        let sql = format!("SELECT has_table_privilege('analyst', 'views.{table}', 'SELECT')::int::bigint");
        count(&database.pool, &sql).await == 1
    };
    wait_for_stop(&RunningProjector::start(&ledger.log, &database.pool, batches_of(100))).await;
    for (table, readable) in
        [("stream_aside", true), ("stopped_rebuild", true), ("prison", true), ("pom_period", false)]
    {
        assert_eq!(may_read(table).await, readable, "{table}");
    }
}
