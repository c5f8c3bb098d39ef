//! `rebuild` beside those who read, write and project: none of them notices.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use nix::sys::signal::Signal;
use projector::Settings;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{
    LOCK, arguments, count, dump, eventually_free, execute, projected, projections, refused, schemas, succeeded,
};
use crate::support::{
    Client, PATIENCE, Program, TestDatabase, Tool, eventually, random_ledger::tier, running_projector::Watched,
};

/// Serves all roles on a test's database.
async fn serve(database: &TestDatabase) -> Program {
    Program::serve_with(&["--event-store", &database.url, "--views", &database.url]).await
}

/// Asks the same again and again; each answer must be one, and no older than the one before.
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

/// Answers, commands and readiness go on while the views are rebuilt again and again, and no answer is older than the one
/// before it. The projector goes on with the new views by itself, and its log has no warning of it.
#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_go_on_all_the_while() {
    let (database, ..) = projected().await;
    let program = serve(&database).await;
    let done = Arc::new(AtomicBool::new(false));
    let readers = ["/prisoners/Z0001ZZ/responsibility", "/prisons/LEI/cases"]
        .map(|path| tokio::spawn(read(program.client().clone(), path, done.clone())));
    let writer = tokio::spawn({
        let (client, done) = (program.client().clone(), done.clone());
        async move {
            // They come after the case that the readers look for, which so stays on the first page.
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
        succeeded(projections(&database, command).await);
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
    let followed = dump(&database.pool, "views").await;
    succeeded(projections(&database, &["rebuild"]).await);
    assert_eq!(dump(&database.pool, "views").await, followed);
}

/// A reader in the middle of a transaction sees what it began with; the rebuild waits for it, and those who come meanwhile
/// do not wait for the rebuild.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_in_a_transaction_is_waited_for() {
    for command in [&["rebuild"][..], &["rebuild", "--view", "case_period"]] {
        let (database, mut ledger, _) = projected().await;
        let periods = "SELECT count(*) FROM views.case_period";
        let before = count(&database.pool, periods).await;
        let mut reader = PgConnection::connect(&database.url).await.expect("a connection");
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT position FROM views.checkpoint")
            .execute(&mut reader)
            .await
            .expect("a snapshot");
        let mut tool = Tool::start(&arguments(&database, command));
        // Ready to take the old views' place, or wrongly done.
        eventually("a rebuild that waits", async || {
            let tries = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted
                         AND a.datname = current_database() AND a.application_name = 'allocation-ledger rebuild'";
            (!tool.is_running() || count(&database.pool, tries).await > 0).then_some(())
        })
        .await;
        // As a status report does: how far they are, then the rows.
        let within: i64 = sqlx::query_scalar(AssertSqlSafe(periods)).fetch_one(&mut reader).await.expect("periods");
        assert_eq!(within, before, "{command:?}");
        let outside = tokio::time::timeout(PATIENCE, count(&database.pool, periods)).await.expect("an answer");
        assert_eq!(outside, before, "{command:?}");
        if command == ["rebuild"] {
            // What is recorded while it waits is taken in before it tries again.
            assert!(ledger.case("Z0001ZZ", 5, tier("C", None)).await);
            let head = ledger.log.head().await.expect("the head").cast_signed();
            let built = "SELECT position FROM views_building.checkpoint";
            eventually("a rebuild that goes on", async || {
                (!tool.is_running() || count(&database.pool, built).await == head).then_some(())
            })
            .await;
        }
        sqlx::raw_sql("COMMIT").execute(&mut reader).await.expect("the end");
        succeeded(tool.ended().await);
        assert_eq!(schemas(&database.pool).await, ["views"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rebuild_is_refused_while_one_is_under_way() {
    let (database, ledger, views) = projected().await;
    let mut builder = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql(LOCK).execute(&mut builder).await.expect("the lock");
    execute(&database.pool, "CREATE SCHEMA views_building; CREATE TABLE views_building.checkpoint ()").await;
    for command in
        [&["rebuild"][..], &["rebuild", "--view", "prison"], &["rebuild", "--as-of", "5", "--schema", "march"]]
    {
        refused(&projections(&database, command).await, &["another rebuild is under way"]);
    }
    // A projector that starts leaves alone what somebody works on, and drops what a dead one has left.
    let head = ledger.log.head().await.expect("the head");
    let start = || Watched::start(&ledger.log, &database.pool, Settings::default());
    start().until(head).await.drop_now();
    assert_eq!(schemas(&database.pool).await, ["views", "views_building"]);
    builder.close().await.expect("let go of the lock");
    start().until(head).await.drop_now();
    assert_eq!(schemas(&database.pool).await, ["views"]);
    assert_eq!(dump(&database.pool, "views").await, views);
}

/// A projector that has been fenced by a rebuild goes on from where the new views are.
#[tokio::test(flavor = "multi_thread")]
async fn the_projector_goes_on_with_the_new_views() {
    let (database, mut ledger, _) = projected().await;
    let head = ledger.log.head().await.expect("the head");
    let mut running = Watched::start(&ledger.log, &database.pool, Settings::default()).until(head).await;
    for day in 1..=3 {
        succeeded(projections(&database, &["rebuild"]).await);
        assert!(ledger.case("Z0002ZZ", day, tier("C", None)).await);
        running = running.until(head + day.unsigned_abs()).await;
    }
    let followed = dump(&database.pool, "views").await;
    drop(running);
    succeeded(projections(&database, &["rebuild"]).await);
    assert_eq!(dump(&database.pool, "views").await, followed);
}

/// Who has lost the lock may have lost the schema to another builder, and puts nothing in the place of the serving views.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_has_lost_its_lock_swaps_nothing() {
    let (database, _ledger, views) = projected().await;
    let schema = "SELECT 'views'::regnamespace::oid::bigint";
    let serving = count(&database.pool, schema).await;
    let mut reader = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE").execute(&mut reader).await.expect("a lock");
    let tool = Tool::start(&arguments(&database, &["rebuild"]));
    let terminated = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually("its lock to be lost", async || (count(&database.pool, terminated).await > 0).then_some(())).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut reader).await.expect("the end");
    let ran = tool.ended().await;
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert_eq!(count(&database.pool, schema).await, serving, "the schema that served goes on serving");
    assert_eq!(dump(&database.pool, "views").await, views);
    succeeded(projections(&database, &["rebuild"]).await);
    assert_eq!(schemas(&database.pool).await, ["views"]);
}

/// Ctrl-C and SIGTERM at whatever it does: it says that the views are as they were, and leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_it_leaves_nothing() {
    let (database, _ledger, views) = projected().await;
    let hold = [
        // It reads the log,
        "BEGIN; LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE",
        // or waits for a reader before it puts the views in their place.
        "BEGIN; SELECT FROM views.case_period",
    ];
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        for hold in hold {
            eventually_free(&database.pool).await;
            let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
            sqlx::raw_sql(hold).execute(&mut holder).await.expect(hold);
            let tool = Tool::start(&arguments(&database, &["rebuild"]));
            let locked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
                          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            eventually("a rebuild at work", async || (count(&database.pool, locked).await > 0).then_some(())).await;
            tool.signal(signal);
            let ended = tool.ended();
            let release = async {
                // Whoever waits in Postgres is not ended by its client's end; who holds the lock waits for nothing.
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
            refused(&ran, &["interrupted", "as they were"]);
            assert_eq!(schemas(&database.pool).await, ["views"], "{hold}");
            assert_eq!(dump(&database.pool, "views").await, views, "{hold}");
        }
    }
}
