//! `rebuild` killed as `kill -9` does: the views stay as they were, and the next one finds nothing in its way.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

use super::{
    BUILDERS, DAMAGE, arguments, count, dump, eventually_free, execute, projected, projections, schemas, succeeded,
};
use crate::support::{TestDatabase, Tool, eventually};

/// Holds a connection of whoever makes tables or indexes, by a trigger on what it does: the lock is this test's.
const HOLD_ON: &str = "
    CREATE FUNCTION hold() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('application_name') = 'allocation-ledger rebuild' THEN
            PERFORM pg_advisory_xact_lock_shared(4711);
        END IF;
    END $$";

/// What holds a rebuild at each of its stages, and what its connection waits for then.
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

/// Killed at each stage, then at random moments, ten times in all and more; then a clean rebuild gives the same bytes as one
/// that was never disturbed, and nothing else is left in the database.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_leaves_the_views_and_no_litter() {
    let (database, _ledger, views) = projected().await;
    execute(&database.pool, HOLD_ON).await;
    for (stage, hold) in STAGES {
        let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
        sqlx::raw_sql(hold).execute(&mut holder).await.expect(hold);
        let tool = Tool::start(&arguments(&database, &["rebuild"]));
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
        assert_eq!(dump(&database.pool, "views").await, views, "killed while {stage}");
        // The next one is not kept waiting by what the dead one has left.
        eventually_free(&database.pool).await;
        succeeded(projections(&database, &["rebuild"]).await);
        assert_eq!(dump(&database.pool, "views").await, views, "after one killed while {stage}");
        assert_eq!(schemas(&database.pool).await, ["views"], "after one killed while {stage}");
    }

    let whole = undisturbed(&database).await;
    for tenth in [7, 2, 9, 4, 10, 5, 8, 3, 6, 1] {
        let tool = Tool::start(&arguments(&database, &["rebuild"]));
        tokio::time::sleep(whole * tenth / 10).await;
        drop(tool);
        assert_eq!(dump(&database.pool, "views").await, views, "killed after {tenth} tenths");
    }
    eventually_free(&database.pool).await;
    execute(&database.pool, DAMAGE).await;
    succeeded(projections(&database, &["rebuild"]).await);
    assert_eq!(dump(&database.pool, "views").await, views);
    assert_eq!(schemas(&database.pool).await, ["views"]);
    assert_eq!(count(&database.pool, &format!("SELECT count(*) FROM pg_stat_activity WHERE {BUILDERS}")).await, 0);
}

/// How long a rebuild takes that nobody disturbs.
async fn undisturbed(database: &TestDatabase) -> Duration {
    let begun = Instant::now();
    succeeded(projections(database, &["rebuild"]).await);
    begun.elapsed()
}
