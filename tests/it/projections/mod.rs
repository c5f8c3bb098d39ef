//! `projections`: the views as people look after them, with the program as a tool beside whatever else runs.
//!
//! The ledgers are random ones, made by the domain's rules ([`Ledger`]); the views are compared as Postgres writes their rows
//! out.

mod as_of;
mod beside;
mod export;
mod killed;
mod live;
mod status;
mod verify;

use event_log::SharedLog;
use projector::{Settings, VIEWS};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::{
    Ran, TestDatabase, database, dump_view, dump_views as dump, eventually,
    random_ledger::{Ledger, Step, allocate, step, tier},
    run,
    running_projector::Watched,
};

/// The arguments for a tool on a test's database.
fn arguments<'a>(database: &'a TestDatabase, command: &[&'a str]) -> Vec<&'a str> {
    let url = database.url.as_str();
    [&["projections"], command, &["--event-store", url, "--views", url]].concat()
}

async fn projections(database: &TestDatabase, command: &[&str]) -> Ran {
    run(&arguments(database, command)).await
}

/// Runs a tool that is to succeed; answers what it printed.
#[track_caller]
fn succeeded(ran: Ran) -> String {
    assert_eq!((ran.status.code(), ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    ran.stdout
}

/// Checks that a tool did not do what it was told, and says so in one sentence with these words.
#[track_caller]
fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!((ran.status.code(), ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} in {:?}", ran.stderr);
    }
}

/// Some random things to do, the same each time.
fn steps(count: usize) -> Vec<Step> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[4; 32]);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    prop::collection::vec(step(), count).new_tree(&mut runner).expect("steps").current()
}

/// A database with a random ledger, and a row of each view at least.
async fn filled() -> (TestDatabase, Ledger) {
    let database = database().await;
    let mut ledger = Ledger::new(&database.pool).await;
    assert!(ledger.case("Z0001ZZ", 1, tier("B2", Some("LEI"))).await);
    assert!(ledger.case("Z0001ZZ", 2, allocate("LEI", 102, "a note")).await);
    for step in steps(60) {
        ledger.take(step).await;
    }
    (database, ledger)
}

/// [`filled`], and views that include all of it, with nobody who keeps them up.
async fn projected() -> (TestDatabase, Ledger, String) {
    let (database, ledger) = filled().await;
    project(&ledger.log, &database.pool).await;
    let views = dump(&database.pool, "views").await;
    for view in VIEWS {
        assert!(count(&database.pool, &format!("SELECT count(*) FROM views.{view}")).await > 0, "{view} has rows");
    }
    (database, ledger, views)
}

/// Lets a projector follow the log to its end.
async fn project(log: &SharedLog, views: &PgPool) {
    let head = log.head().await.expect("the head");
    Watched::start(log, views, Settings::default()).until(head).await;
}

async fn count(pool: &PgPool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await.expect(sql)
}

async fn execute(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.expect(sql);
}

/// The schemas that have tables of views, by name.
async fn schemas(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT nspname::text FROM pg_namespace
         WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'log', 'public') ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .expect("schemas")
}

/// Waits until nobody builds: Postgres may take a moment to notice that a program is gone.
async fn eventually_free(pool: &PgPool) {
    let building = format!("SELECT count(*) FROM pg_stat_activity WHERE {BUILDERS}");
    eventually("nobody who builds", async || (count(pool, &building).await == 0).then_some(())).await;
}

/// The tool's connections to a test's database.
const BUILDERS: &str = "datname = current_database() AND application_name = 'allocation-ledger rebuild'";

/// The lock that whoever builds views holds.
const LOCK: &str = "SELECT pg_advisory_lock(hashtextextended('allocation-ledger builds views', 0))";

/// What a hand may do to the views: a changed cell, a missing row, a row too many.
const DAMAGE: &str = "
    UPDATE views.case_period SET tier = 'G' WHERE prisoner_number = 'Z0001ZZ';
    DELETE FROM views.allocation WHERE prisoner_number = 'Z0001ZZ';
    INSERT INTO views.prison (prison_code, revision, position) VALUES ('XXX', 0, 1)";

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_mends_what_a_hand_has_changed() {
    let (database, ledger, views) = projected().await;
    execute(&database.pool, DAMAGE).await;
    assert_ne!(dump(&database.pool, "views").await, views);
    let head = ledger.log.head().await.expect("the head");
    let said = succeeded(projections(&database, &["rebuild"]).await);
    assert!(said.contains(&format!("position {head}")), "{said}");
    assert_eq!(dump(&database.pool, "views").await, views);
    assert_eq!(schemas(&database.pool).await, ["views"]);

    let said = succeeded(projections(&database, &["rebuild", "--json"]).await);
    let said: serde_json::Value = serde_json::from_str(&said).expect("a JSON line");
    assert_eq!((&said["schema"], &said["position"]), (&"views".into(), &head.into()), "{said}");
}

/// Views that nobody has kept up, or that were never made, come to the log's end by a rebuild.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_needs_no_projector_and_no_views() {
    let (database, _ledger, views) = projected().await;
    let old = "UPDATE views.checkpoint SET version = -1, position = 3, event_id = NULL, recorded_at = NULL";
    for before in ["DROP SCHEMA views CASCADE", old] {
        execute(&database.pool, before).await;
        succeeded(projections(&database, &["rebuild"]).await);
        assert_eq!(dump(&database.pool, "views").await, views, "{before}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_view_is_rebuilt_alone() {
    let (database, _ledger, views) = projected().await;
    for view in VIEWS {
        // The rows do not matter: what must come back is what a rebuild makes, for this view and for no other.
        let others: Vec<_> = VIEWS.into_iter().filter(|other| *other != view).collect();
        for view in VIEWS {
            execute(&database.pool, &format!("TRUNCATE views.{view}")).await;
        }
        succeeded(projections(&database, &["rebuild", "--view", view.name()]).await);
        assert!(views.contains(&dump_view(&database.pool, "views", view).await), "{view}");
        assert!(!dump_view(&database.pool, "views", view).await.is_empty(), "{view}");
        for other in others {
            assert_eq!(dump_view(&database.pool, "views", other).await, "", "{other} beside {view}");
        }
        assert_eq!(schemas(&database.pool).await, ["views"]);
    }
    for view in VIEWS {
        succeeded(projections(&database, &["rebuild", "--view", view.name()]).await);
    }
    assert_eq!(dump(&database.pool, "views").await, views);

    let unknown = projections(&database, &["rebuild", "--view", "caseload"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    for view in VIEWS {
        assert!(unknown.stderr.contains(view.name()), "{}", unknown.stderr);
    }
}

/// One view goes beside the others at their position, though the log has gone on and nobody keeps the views up.
#[tokio::test(flavor = "multi_thread")]
async fn one_view_comes_as_far_as_the_others_and_no_further() {
    let (database, mut ledger, views) = projected().await;
    assert!(ledger.case("Z0001ZZ", 3, tier("C", None)).await);
    execute(&database.pool, DAMAGE).await;
    for view in ["case_period", "allocation", "prison"] {
        succeeded(projections(&database, &["rebuild", "--view", view]).await);
    }
    assert_eq!(dump(&database.pool, "views").await, views);

    // Beside views of another definition it cannot go.
    execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1").await;
    refused(&projections(&database, &["rebuild", "--view", "prison"]).await, &["version", "rebuild all"]);
    assert_eq!(schemas(&database.pool).await, ["views"]);
}

/// Views that include more than the log has, as where it was restored from before, are only given up where that is said.
#[tokio::test(flavor = "multi_thread")]
async fn views_of_another_log_are_rebuilt_whole() {
    let (database, _ledger, views) = projected().await;
    execute(&database.pool, "UPDATE views.checkpoint SET position = 1000").await;
    let others = dump(&database.pool, "views").await;
    for arguments in [&["rebuild"][..], &["rebuild", "--view", "prison"]] {
        let said = ["position 1000", "another log", "projections rebuild --of-other-log"];
        refused(&projections(&database, arguments).await, &said);
    }
    assert_eq!(dump(&database.pool, "views").await, others);
    assert_eq!(schemas(&database.pool).await, ["views"]);
    succeeded(projections(&database, &["rebuild", "--of-other-log"]).await);
    assert_eq!(dump(&database.pool, "views").await, views);
}

/// What a rebuilt view is like does not depend on how it came about: keys, indexes, comments and who may read it.
#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_views_are_described_and_indexed_as_before() {
    let (database, ..) = projected().await;
    let before = definition(&database.pool, "views").await;
    assert!(before.contains("PRIMARY KEY") && before.contains("comment") && before.contains("analyst"), "{before}");
    succeeded(projections(&database, &["rebuild"]).await);
    assert_eq!(definition(&database.pool, "views").await, before);
    for view in VIEWS {
        succeeded(projections(&database, &["rebuild", "--view", view.name()]).await);
        assert_eq!(definition(&database.pool, "views").await, before, "{view}");
    }
}

/// Constraints, indexes, comments and grants of a schema's tables, without the schema's name.
async fn definition(pool: &PgPool, schema: &str) -> String {
    let lines: Vec<String> = sqlx::query_scalar(
        "SELECT line FROM (
             SELECT format('%s %s %s', c.relname, o.conname, pg_get_constraintdef(o.oid)) AS line
               FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid WHERE c.relnamespace = $1::regnamespace
             UNION ALL
             SELECT format('%s %s', tablename, replace(indexdef, $1 || '.', '')) FROM pg_indexes WHERE schemaname = $1
             UNION ALL
             SELECT format('%s %s comment %s', c.relname, a.attname, col_description(c.oid, a.attnum))
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
              WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r'
             UNION ALL
             SELECT format('%s comment %s %s', relname, obj_description(oid), relacl::text)
               FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r'
             UNION ALL
             SELECT format('usage %s', nspacl::text) FROM pg_namespace WHERE nspname = $1
         ) lines ORDER BY line",
    )
    .bind(schema)
    .fetch_all(pool)
    .await
    .expect("a definition");
    lines.join("\n")
}

/// Nothing is skipped: an event that cannot be read stops a rebuild, and the views stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_log_ends_a_rebuild_and_is_named() {
    const DAMAGED: u64 = 12;
    for damage in [
        "DELETE FROM log.event WHERE position = 12",
        "UPDATE log.event SET data = '{' WHERE position = 12",
        "UPDATE log.event SET type = 'PrisonerTeleported' WHERE position = 12",
    ] {
        let (database, ledger, views) = projected().await;
        assert!(ledger.log.head().await.expect("the head") > DAMAGED);
        let without_guards = format!("SET session_replication_role = replica; {damage}");
        let mut connection = database.pool.acquire().await.expect("a connection").detach();
        sqlx::raw_sql(AssertSqlSafe(without_guards)).execute(&mut connection).await.expect(damage);
        for command in
            [&["rebuild"][..], &["rebuild", "--view", "prison"], &["rebuild", "--as-of", "20", "--schema", "march"]]
        {
            let ran = projections(&database, command).await;
            refused(&ran, &[&format!("position {DAMAGED}")]);
            assert_eq!(dump(&database.pool, "views").await, views, "{damage}");
            assert_eq!(schemas(&database.pool).await, ["views"], "{damage}");
        }
        // As of a position before it there is nothing wrong.
        succeeded(projections(&database, &["rebuild", "--as-of", "11", "--schema", "march"]).await);
    }
}
