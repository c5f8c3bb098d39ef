//! The program's `projections` commands, and random ledgers for them.

use domain::nomis_contacts::{Command, ContactSeen};
use event_log::SharedLog;
use projector::{ProjectorSettings, VIEWS};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sqlx::{AssertSqlSafe, PgPool};

use super::{
    TestDatabase, ToolOutput, database, dump_views, eventually,
    random_ledger::{RandomLedger, RandomStep, allocate, random_step, receive, tier},
    run,
    running_projector::RunningProjector,
};

/// The arguments for a tool on a test's database.
pub fn projections_arguments<'a>(database: &'a TestDatabase, command: &[&'a str]) -> Vec<&'a str> {
    let url = database.url.as_str();
    [&["projections"], command, &["--event-store", url, "--views", url]].concat()
}

pub async fn run_projections(database: &TestDatabase, command: &[&str]) -> ToolOutput {
    run(&projections_arguments(database, command)).await
}

/// Asserts that a tool succeeded, and returns its output.
#[track_caller]
pub fn assert_success(ran: ToolOutput) -> String {
    assert_eq!((ran.status.code(), ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    ran.stdout
}

/// Asserts that a tool failed without output and named these words in its error.
#[track_caller]
pub fn assert_failure(ran: &ToolOutput, words: &[&str]) {
    assert_eq!((ran.status.code(), ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} in {:?}", ran.stderr);
    }
}

/// Random steps, the same in each run.
pub fn steps(count: usize) -> Vec<RandomStep> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[4; 32]);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    prop::collection::vec(random_step(), count).new_tree(&mut runner).expect("steps").current()
}

/// A database with a random ledger and at least one row in each view.
pub async fn filled_ledger() -> (TestDatabase, RandomLedger) {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    assert!(ledger.case("Z0001ZZ", 1, tier("B2", Some("LEI"))).await);
    assert!(ledger.case("Z0001ZZ", 2, allocate("LEI", 102, "a note")).await);
    // The random steps may record neither of these.
    assert!(ledger.case("Z0001ZZ", 3, receive("LEI")).await);
    let contact = ContactSeen {
        prison: "LEI".parse().expect("a prison code"),
        staff_id: None,
        name: Some("Okafor, Grace".to_owned()),
        contact_type: "POM".to_owned(),
    };
    assert!(ledger.contacts("Z0001ZZ", 3, Command::RecordNomisContact(contact)).await);
    for step in steps(60) {
        ledger.take(step).await;
    }
    (database, ledger)
}

/// A [`filled_ledger`] whose views include everything. No projector runs.
pub async fn projected_ledger() -> (TestDatabase, RandomLedger, String) {
    let (database, ledger) = filled_ledger().await;
    project(&ledger.log, &database.pool).await;
    let views = dump_views(&database.pool, "views").await;
    for view in VIEWS {
        assert!(count(&database.pool, &format!("SELECT count(*) FROM views.{view}")).await > 0, "{view} has rows");
    }
    (database, ledger, views)
}

/// Runs a projector until it has followed the log to its end.
pub async fn project(log: &SharedLog, views: &PgPool) {
    let head = log.head().await.expect("the head");
    RunningProjector::start(log, views, ProjectorSettings::default()).wait_for_position(head).await;
}

pub async fn count(pool: &PgPool, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(pool).await.expect(sql)
}

pub async fn execute(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.expect(sql);
}

/// The schemas that have tables of views, by name.
pub async fn schemas(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT nspname::text FROM pg_namespace
         WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('access', 'information_schema', 'log', 'public') ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .expect("schemas")
}

/// Waits until no rebuild runs: Postgres may need a moment to notice that a program is gone.
pub async fn wait_until_free(pool: &PgPool) {
    let building = format!("SELECT count(*) FROM pg_stat_activity WHERE {BUILDERS}");
    eventually("nobody who builds", async || (count(pool, &building).await == 0).then_some(())).await;
}

/// The connections of a rebuild to the test's database.
pub const BUILDERS: &str = "datname = current_database() AND application_name = 'allocation-ledger rebuild'";

/// Takes the lock that a builder of views holds.
pub const LOCK: &str = "SELECT pg_advisory_lock(hashtextextended('allocation-ledger builds views', 0))";

/// Manual changes to the views: a changed cell, a missing row, an extra row.
pub const DAMAGE: &str = "
    UPDATE views.case_period SET tier = 'G' WHERE prisoner_number = 'Z0001ZZ';
    DELETE FROM views.allocation WHERE prisoner_number = 'Z0001ZZ';
    INSERT INTO views.prison (prison_code, revision, position) VALUES ('XXX', 0, 1)";

/// Constraints, indexes, comments and grants of a schema's tables, without the schema's name.
pub async fn definition(pool: &PgPool, schema: &str) -> String {
    let lines: Vec<String> = sqlx::query_scalar(
        "SELECT line FROM (
             SELECT format('%s %s %s', c.relname, o.conname, pg_get_constraintdef(o.oid)) AS line
               FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid WHERE c.relnamespace = $1::regnamespace
             UNION ALL
             SELECT format('%s %s', tablename, replace(indexdef, $1 || '.', '')) FROM pg_indexes WHERE schemaname = $1
             UNION ALL
             SELECT format('%s %s comment %s', c.relname, a.attname, col_description(c.oid, a.attnum))
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
              WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'v')
             UNION ALL
             SELECT format('%s comment %s %s', relname, obj_description(oid), relacl::text)
               FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'v')
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
