//! `rebuild` beside readers, writers and a projector, none of which notices.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use nix::sys::signal::Signal;
use projector::ProjectorSettings;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::dump_views;
use crate::support::projections::{
    LOCK, assert_failure, assert_success, count, execute, projected_ledger, projections_arguments, run_projections,
    schemas, wait_until_free,
};
use crate::support::{
    Client, PATIENCE, Program, TestDatabase, Tool, eventually, random_ledger::tier, running_projector::RunningProjector,
};

/// Serves all roles on a test's database.
async fn serve(database: &TestDatabase) -> Program {
    Program::serve_with(&["--event-store", &database.url, "--views", &database.url]).await
}

/// Repeats a question. Each answer must succeed and be no older than the one before.
async fn read(client: Client, path: &'static str, done: Arc<AtomicBool>) -> u32 {
    let (mut asked, mut last) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert!(answer.text.contains("Z0001ZZ"), "{path}: {}", answer.text);
        let position: u64 = answer.header("ledger-position").expect("a position").parse().expect("a number");
        assert!(position >= last, "{path}: position {position} after {last}");
        (asked, last) = (asked + 1, position);
    }
    asked
}

/// Answers, commands and readiness continue while the views are rebuilt again and again. The
/// projector continues on the new views, without a warning in its log.
#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_continue_during_a_rebuild() {
    let (database, ..) = projected_ledger().await;
    let program = serve(&database).await;
    let done = Arc::new(AtomicBool::new(false));
    let readers = ["/prisoners/Z0001ZZ/responsibility", "/prisons/LEI/cases"]
        .map(|path| tokio::spawn(read(program.client().clone(), path, done.clone())));
    let writer = tokio::spawn({
        let (client, done) = (program.client().clone(), done.clone());
        async move {
            // These cases sort after the one that the readers look for, which therefore stays on
            // the first page.
            let mut written = 1_000;
            while !done.load(Ordering::Relaxed) {
                let body =
                    json!({"tier": "C1", "source": "DELIUS", "prison": "LEI", "effectiveAt": "2026-01-05T09:00:00Z"});
                let answer = client.post(&format!("/prisoners/Z{written:04}ZZ/tier"), &body).await;
                assert_eq!(answer.status, 201, "{}", answer.text);
                written += 1;
            }
            written - 1_000
        }
    });
    let readiness = tokio::spawn({
        let (client, done) = (program.client().clone(), done.clone());
        async move {
            while !done.load(Ordering::Relaxed) {
                let answer = client.get("/health/readiness").await;
                assert_eq!(answer.status, 200, "{}", answer.text);
            }
        }
    });
    for command in [&["rebuild"][..], &["rebuild"], &["rebuild", "--view", "case_period"], &["rebuild"]] {
        assert_success(run_projections(&database, command).await);
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.expect("a reader") > 10);
    }
    let written = writer.await.expect("a writer");
    assert!(written > 10, "{written}");
    readiness.await.expect("ready all the while");

    let head = count(&database.pool, "SELECT max(position) FROM log.event").await;
    eventually("views that include everything", async || {
        (count(&database.pool, "SELECT position FROM views.checkpoint").await == head).then_some(())
    })
    .await;
    assert!(!program.log().contains("WARN"), "{}", program.log());
    assert!(program.stop().await.success());
    let followed = dump_views(&database.pool, "views").await;
    assert_success(run_projections(&database, &["rebuild"]).await);
    assert_eq!(dump_views(&database.pool, "views").await, followed);
}

/// A reader in a transaction keeps the views it began with. The rebuild waits for it, and readers
/// that come meanwhile do not wait for the rebuild.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_waits_for_a_reader_in_a_transaction() {
    for command in [&["rebuild"][..], &["rebuild", "--view", "case_period"]] {
        let (database, mut ledger, _) = projected_ledger().await;
        let periods = "SELECT count(*) FROM views.case_period";
        let before = count(&database.pool, periods).await;
        let mut reader = PgConnection::connect(&database.url).await.expect("a connection");
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT position FROM views.checkpoint")
            .execute(&mut reader)
            .await
            .expect("a snapshot");
        let mut tool = Tool::start(&projections_arguments(&database, command));
        // The new views are complete and wait for the old ones to be released.
        eventually("a rebuild that waits", async || {
            let tries = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted
                         AND a.datname = current_database() AND a.application_name = 'allocation-ledger rebuild'";
            (!tool.is_running() || count(&database.pool, tries).await > 0).then_some(())
        })
        .await;
        // As a status report reads: first the position, then the rows.
        let within: i64 = sqlx::query_scalar(AssertSqlSafe(periods)).fetch_one(&mut reader).await.expect("periods");
        assert_eq!(within, before, "{command:?}");
        let outside = tokio::time::timeout(PATIENCE, count(&database.pool, periods)).await.expect("an answer");
        assert_eq!(outside, before, "{command:?}");
        if command == ["rebuild"] {
            // Events recorded meanwhile must be included before the rebuild tries again.
            assert!(ledger.case("Z0001ZZ", 5, tier("C", None)).await);
            let head = ledger.log.head().await.expect("the head").cast_signed();
            let built = "SELECT position FROM views_building.checkpoint";
            eventually("a rebuild that goes on", async || {
                (!tool.is_running() || count(&database.pool, built).await == head).then_some(())
            })
            .await;
        }
        sqlx::raw_sql("COMMIT").execute(&mut reader).await.expect("the end");
        assert_success(tool.wait_for_end().await);
        assert_eq!(schemas(&database.pool).await, ["views"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rebuild_is_refused_while_one_is_under_way() {
    let (database, ledger, views) = projected_ledger().await;
    let mut builder = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql(LOCK).execute(&mut builder).await.expect("the lock");
    execute(&database.pool, "CREATE SCHEMA views_building; CREATE TABLE views_building.checkpoint ()").await;
    for command in
        [&["rebuild"][..], &["rebuild", "--view", "prison"], &["rebuild", "--as-of", "5", "--schema", "march"]]
    {
        assert_failure(&run_projections(&database, command).await, &["another rebuild is under way"]);
    }
    // A projector that starts leaves the schema of a running builder alone and drops that of a dead
    // one.
    let head = ledger.log.head().await.expect("the head");
    let start = || RunningProjector::start(&ledger.log, &database.pool, ProjectorSettings::default());
    start().wait_for_position(head).await.drop_now();
    assert_eq!(schemas(&database.pool).await, ["views", "views_building"]);
    builder.close().await.expect("let go of the lock");
    start().wait_for_position(head).await.drop_now();
    assert_eq!(schemas(&database.pool).await, ["views"]);
    assert_eq!(dump_views(&database.pool, "views").await, views);
}

/// A projector that a rebuild has fenced continues from the position of the new views.
#[tokio::test(flavor = "multi_thread")]
async fn the_projector_continues_on_the_rebuilt_views() {
    let (database, mut ledger, _) = projected_ledger().await;
    let head = ledger.log.head().await.expect("the head");
    let mut running = RunningProjector::start(&ledger.log, &database.pool, ProjectorSettings::default())
        .wait_for_position(head)
        .await;
    for day in 1..=3 {
        assert_success(run_projections(&database, &["rebuild"]).await);
        assert!(ledger.case("Z0002ZZ", day, tier("C", None)).await);
        running = running.wait_for_position(head + day.unsigned_abs()).await;
    }
    let followed = dump_views(&database.pool, "views").await;
    drop(running);
    assert_success(run_projections(&database, &["rebuild"]).await);
    assert_eq!(dump_views(&database.pool, "views").await, followed);
}

/// A rebuild that lost the lock may have lost its schema to another builder, so it must not swap
/// the serving views.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_has_lost_its_lock_swaps_nothing() {
    let (database, _ledger, views) = projected_ledger().await;
    let schema = "SELECT 'views'::regnamespace::oid::bigint";
    let serving = count(&database.pool, schema).await;
    let mut reader = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE").execute(&mut reader).await.expect("a lock");
    let tool = Tool::start(&projections_arguments(&database, &["rebuild"]));
    let terminated = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually("its lock to be lost", async || (count(&database.pool, terminated).await > 0).then_some(())).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut reader).await.expect("the end");
    let ran = tool.wait_for_end().await;
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert_eq!(count(&database.pool, schema).await, serving, "the schema that served goes on serving");
    assert_eq!(dump_views(&database.pool, "views").await, views);
    assert_success(run_projections(&database, &["rebuild"]).await);
    assert_eq!(schemas(&database.pool).await, ["views"]);
}

/// Ctrl-C and SIGTERM at each stage: the rebuild reports that the views are unchanged, and leaves
/// no tables.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rebuild_leaves_no_tables() {
    let (database, _ledger, views) = projected_ledger().await;
    let hold = [
        // While it reads the log.
        "BEGIN; LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE",
        // While it waits for a reader before the swap.
        "BEGIN; SELECT FROM views.case_period",
    ];
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        for hold in hold {
            wait_until_free(&database.pool).await;
            let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
            sqlx::raw_sql(hold).execute(&mut holder).await.expect(hold);
            let tool = Tool::start(&projections_arguments(&database, &["rebuild"]));
            let locked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
                          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            eventually("a rebuild at work", async || (count(&database.pool, locked).await > 0).then_some(())).await;
            tool.signal(signal);
            let ended = tool.wait_for_end();
            let release = async {
                // Postgres does not end a waiting connection when its client ends. A holder of the
                // lock waits for nothing.
                let building = format!(
                    "{locked} AND pid IN (SELECT pid FROM pg_stat_activity WHERE application_name = 'allocation-ledger rebuild')"
                );
                eventually("the rebuild to be given up", async || {
                    (count(&database.pool, &building).await == 0).then_some(())
                })
                .await;
                sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("the end");
            };
            let (ran, ()) = tokio::join!(ended, release);
            assert_failure(&ran, &["interrupted", "as they were"]);
            assert_eq!(schemas(&database.pool).await, ["views"], "{hold}");
            assert_eq!(dump_views(&database.pool, "views").await, views, "{hold}");
        }
    }
}
