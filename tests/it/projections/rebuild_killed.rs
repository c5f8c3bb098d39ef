//! `rebuild` killed as `kill -9` does: the views stay as they were, and the next rebuild succeeds.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

use crate::support::dump_views;
use crate::support::projections::{
    BUILDERS, DAMAGE, assert_success, count, execute, projected_ledger, projections_arguments, run_projections,
    schemas, wait_until_free,
};
use crate::support::{TestDatabase, Tool, eventually};

/// Makes a connection that creates tables or indexes wait for a lock of this test, by an event
/// trigger.
const HOLD_ON: &str = "
    CREATE FUNCTION hold() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('application_name') = 'allocation-ledger rebuild' THEN
            PERFORM pg_advisory_xact_lock_shared(4711);
        END IF;
    END $$";

/// A lock that holds a rebuild at each stage, and the wait of its connection in that stage.
const STAGES: [(&str, &str); 4] = [
    ("reading the log", "BEGIN; LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE"),
    (
        "making tables",
        "CREATE EVENT TRIGGER hold ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION hold();
         SELECT pg_advisory_lock(4711)",
    ),
    (
        "making indexes",
        "CREATE EVENT TRIGGER hold ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION hold();
         SELECT pg_advisory_lock(4711)",
    ),
    ("taking the old views' place", "BEGIN; SELECT FROM views.prison"),
];

/// Kills at each stage and then at random moments. A rebuild after them gives the same bytes as one
/// that was not disturbed, and the database contains nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_killed_at_any_moment_keeps_the_views_and_leaves_no_tables() {
    let (database, _ledger, views) = projected_ledger().await;
    execute(&database.pool, HOLD_ON).await;
    for (stage, hold) in STAGES {
        let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
        sqlx::raw_sql(hold).execute(&mut holder).await.expect(hold);
        let tool = Tool::start(&projections_arguments(&database, &["rebuild"]));
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity a JOIN pg_locks l USING (pid)
             WHERE NOT l.granted AND a.datname = current_database()
               AND (a.application_name = 'allocation-ledger rebuild' OR a.query LIKE '%log.event%')
               AND '{}' <> ''",
            stage.replace('\'', "")
        );
        eventually(stage, async || (count(&database.pool, &waiting).await > 0).then_some(())).await;
        drop(tool);
        sqlx::raw_sql("ROLLBACK; SELECT pg_advisory_unlock_all(); DROP EVENT TRIGGER IF EXISTS hold")
            .execute(&mut holder)
            .await
            .expect("let it go on");
        holder.close().await.expect("the end");
        assert_eq!(dump_views(&database.pool, "views").await, views, "killed while {stage}");
        // The leftovers of the dead rebuild do not delay the next one.
        wait_until_free(&database.pool).await;
        assert_success(run_projections(&database, &["rebuild"]).await);
        assert_eq!(dump_views(&database.pool, "views").await, views, "after one killed while {stage}");
        assert_eq!(schemas(&database.pool).await, ["views"], "after one killed while {stage}");
    }

    let whole = measure_rebuild(&database).await;
    for tenth in [7, 2, 9, 4, 10, 5, 8, 3, 6, 1] {
        let tool = Tool::start(&projections_arguments(&database, &["rebuild"]));
        tokio::time::sleep(whole * tenth / 10).await;
        drop(tool);
        assert_eq!(dump_views(&database.pool, "views").await, views, "killed after {tenth} tenths");
    }
    wait_until_free(&database.pool).await;
    execute(&database.pool, DAMAGE).await;
    assert_success(run_projections(&database, &["rebuild"]).await);
    assert_eq!(dump_views(&database.pool, "views").await, views);
    assert_eq!(schemas(&database.pool).await, ["views"]);
    assert_eq!(count(&database.pool, &format!("SELECT count(*) FROM pg_stat_activity WHERE {BUILDERS}")).await, 0);
}

/// The duration of a rebuild that is not disturbed.
async fn measure_rebuild(database: &TestDatabase) -> Duration {
    let begun = Instant::now();
    assert_success(run_projections(database, &["rebuild"]).await);
    begun.elapsed()
}
