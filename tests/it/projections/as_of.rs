//! `rebuild --as-of`: the views as of a position, in a schema of their own.

use projector::{ProjectorSettings, VIEWS};
use serde_json::Value;
use sqlx::Connection as _;

use crate::support::dump_views;
use crate::support::projections::{
    LOCK, assert_failure, assert_success, count, definition, execute, filled_ledger, projected_ledger, run_projections,
    schemas, wait_until_free,
};
use crate::support::{controlled_log::ControlledLog, running_projector::RunningProjector};

/// Dumps the served views at some positions, then builds the views as of these positions and
/// compares.
#[tokio::test(flavor = "multi_thread")]
async fn views_rebuilt_as_of_a_position_equal_those_served_then() {
    let (database, ledger) = filled_ledger().await;
    let head = ledger.log.head().await.expect("the head");
    let log = ControlledLog::new(&ledger.log);
    let mut served = Vec::new();
    for position in [0, 1, head / 3, head / 2, head - 1, head] {
        log.end_at(position);
        if position > 0 {
            RunningProjector::start(&log.shared(), &database.pool, ProjectorSettings::default())
                .wait_for_position(position)
                .await;
        }
        served.push((position, dump_views(&database.pool, "views").await));
    }
    for (position, then) in &served {
        let (position, schema) = (position.to_string(), format!("as_of_{position}"));
        assert_success(run_projections(&database, &["rebuild", "--as-of", &position, "--schema", &schema]).await);
        assert_eq!(dump_views(&database.pool, &schema).await, *then, "position {position}");
        assert_eq!(definition(&database.pool, &schema).await, definition(&database.pool, "views").await);
        for role in projector::READING_ROLES {
            let may = format!(
                "SELECT (has_schema_privilege('{role}', '{schema}', 'USAGE')
                     AND has_table_privilege('{role}', '{schema}.case_period', 'SELECT'))::int::bigint"
            );
            assert_eq!(count(&database.pool, &may).await, 1, "{role} may read {schema}");
        }
    }
    // The serving views stay as they are, and a rebuild does not remove the schemas.
    assert_eq!(dump_views(&database.pool, "views").await, served.last().expect("one").1);
    let before = schemas(&database.pool).await;
    assert_success(run_projections(&database, &["rebuild"]).await);
    assert_eq!(schemas(&database.pool).await, before);
}

/// An instant or a date means the last position recorded by then.
#[tokio::test(flavor = "multi_thread")]
async fn an_instant_means_the_last_position_recorded_by_then() {
    let (database, ledger, _) = projected_ledger().await;
    let event = ledger.log.read_all(9, 1).await.expect("a page").remove(0);
    let last: i64 = count(
        &database.pool,
        &format!("SELECT max(position) FROM log.event WHERE recorded_at <= '{}'", event.recorded_at.to_rfc3339()),
    )
    .await;
    for (as_of, position) in [(event.recorded_at.to_rfc3339(), last), ("2001-01-01".into(), 0)] {
        let said = assert_success(
            run_projections(&database, &["rebuild", "--as-of", &as_of, "--schema", "earlier", "--replace", "--json"])
                .await,
        );
        let said: Value = serde_json::from_str(&said).expect("a JSON line");
        assert_eq!((&said["schema"], &said["position"]), (&"earlier".into(), &position.into()), "{as_of}");
        assert_eq!(count(&database.pool, "SELECT position FROM earlier.checkpoint").await, position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_rebuild_as_of_is_refused_and_changes_nothing() {
    let (database, ledger, views) = projected_ledger().await;
    execute(&database.pool, "CREATE SCHEMA mine; CREATE TABLE mine.notes (note text)").await;
    assert_success(run_projections(&database, &["rebuild", "--as-of", "5", "--schema", "march"]).await);
    let before = schemas(&database.pool).await;
    let march = dump_views(&database.pool, "march").await;
    let head = ledger.log.head().await.expect("the head");

    let past_end = (head + 1).to_string();
    let ran = run_projections(&database, &["rebuild", "--as-of", &past_end, "--schema", "april"]).await;
    assert_failure(&ran, &[&format!("ends at position {head}"), &past_end]);
    let ran = run_projections(&database, &["rebuild", "--as-of", "2150-01-01", "--schema", "april"]).await;
    assert_failure(&ran, &["2150"]);
    let ran = run_projections(&database, &["rebuild", "--as-of", "5", "--schema", "march"]).await;
    assert_failure(&ran, &["march", "--replace"]);
    for schema in ["mine", "views", "log", "public", "pg_mine", "views_next_9", "views_building", "information_schema"]
    {
        for replace in [&[][..], &["--replace"]] {
            let command = [&["rebuild", "--as-of", "5", "--schema", schema], replace].concat();
            assert_failure(&run_projections(&database, &command).await, &[schema]);
        }
    }
    for schema in ["", "March", "a-b", "a b", "x; DROP SCHEMA views", "\"", "1st", &"a".repeat(64)] {
        let option = format!("--schema={schema}");
        let ran = run_projections(&database, &["rebuild", "--as-of", "5", &option]).await;
        assert!(matches!(ran.status.code(), Some(1 | 2)), "{schema}: {ran:?}");
    }
    for wrong in [
        &["rebuild", "--as-of", "last Tuesday", "--schema", "april"][..],
        &["rebuild", "--as-of", "5"],
        &["rebuild", "--schema", "april"],
        &["rebuild", "--as-of", "5", "--schema", "april", "--view", "prison"],
    ] {
        assert_eq!(run_projections(&database, wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(schemas(&database.pool).await, before);
    assert_eq!(dump_views(&database.pool, "march").await, march);
    assert_eq!(dump_views(&database.pool, "views").await, views);
    assert_eq!(count(&database.pool, "SELECT count(*) FROM mine.notes").await, 0);
}

/// A schema from an earlier `--as-of` gives way to a new one when that is complete, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_replaced_when_its_successor_is_complete() {
    let (database, ..) = projected_ledger().await;
    assert_success(run_projections(&database, &["rebuild", "--as-of", "5", "--schema", "march"]).await);
    let march = dump_views(&database.pool, "march").await;

    // Another builder is at work: refused, and the old schema stays.
    let mut builder = database.pool.acquire().await.expect("a connection").detach();
    sqlx::raw_sql(LOCK).execute(&mut builder).await.expect("the lock");
    let replace = &["rebuild", "--as-of", "7", "--schema", "march", "--replace"];
    assert_failure(&run_projections(&database, replace).await, &["another rebuild is under way"]);
    assert_eq!(dump_views(&database.pool, "march").await, march);
    builder.close().await.expect("let go of the lock");

    // The log cannot be read: refused, and the old schema stays.
    execute(&database.pool, "ALTER TABLE log.event RENAME TO hidden").await;
    let ran = run_projections(&database, replace).await;
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    execute(&database.pool, "ALTER TABLE log.hidden RENAME TO event").await;
    assert_eq!(dump_views(&database.pool, "march").await, march);

    wait_until_free(&database.pool).await;
    assert_success(run_projections(&database, replace).await);
    assert_eq!(count(&database.pool, "SELECT position FROM march.checkpoint").await, 7);
    for view in VIEWS {
        // At position 7 there are prisons and no cases yet, but all tables.
        count(&database.pool, &format!("SELECT count(*) FROM march.{view}")).await;
    }
}

/// Analysts would have to quote a reserved word of SQL, so it is refused before the work begins.
#[tokio::test(flavor = "multi_thread")]
async fn reserved_sql_words_are_refused_as_schema_names() {
    let (database, ..) = projected_ledger().await;
    for schema in ["order", "group", "all", "user"] {
        let ran = run_projections(&database, &["rebuild", "--as-of", "5", "--schema", schema]).await;
        assert_failure(&ran, &[schema, "name"]);
    }
    assert_eq!(schemas(&database.pool).await, ["views"]);
}
