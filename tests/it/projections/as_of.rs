//! `rebuild --as-of`: the views as they were, in a schema of their own.

use projector::{Settings, VIEWS};
use serde_json::Value;
use sqlx::Connection as _;

use super::{
    LOCK, count, definition, dump, eventually_free, execute, filled, projected, projections, refused, schemas,
    succeeded,
};
use crate::support::{held_log::Shortened, running_projector::Watched};

/// What was served at a position, dumped then, is what is built as of that position afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn it_equals_what_was_served_then() {
    let (database, ledger) = filled().await;
    let head = ledger.log.head().await.expect("the head");
    let log = Shortened::new(&ledger.log);
    let mut served = Vec::new();
    for position in [0, 1, head / 3, head / 2, head - 1, head] {
        log.end_at(position);
        if position > 0 {
            Watched::start(&log.shared(), &database.pool, Settings::default()).until(position).await;
        }
        served.push((position, dump(&database.pool, "views").await));
    }
    for (position, then) in &served {
        let (position, schema) = (position.to_string(), format!("as_of_{position}"));
        succeeded(projections(&database, &["rebuild", "--as-of", &position, "--schema", &schema]).await);
        assert_eq!(dump(&database.pool, &schema).await, *then, "position {position}");
        assert_eq!(definition(&database.pool, &schema).await, definition(&database.pool, "views").await);
        for role in projector::READING_ROLES {
            let may = format!(
                "SELECT (has_schema_privilege('{role}', '{schema}', 'USAGE')
                     AND has_table_privilege('{role}', '{schema}.case_period', 'SELECT'))::int::bigint"
            );
            assert_eq!(count(&database.pool, &may).await, 1, "{role} may read {schema}");
        }
    }
    // Today's stay as they are, and none is litter to a rebuild.
    assert_eq!(dump(&database.pool, "views").await, served.last().expect("one").1);
    let before = schemas(&database.pool).await;
    succeeded(projections(&database, &["rebuild"]).await);
    assert_eq!(schemas(&database.pool).await, before);
}

/// An instant and a date mean the last position recorded by then.
#[tokio::test(flavor = "multi_thread")]
async fn an_instant_means_the_last_position_recorded_by_then() {
    let (database, ledger, _) = projected().await;
    let event = ledger.log.read_all(9, 1).await.expect("a page").remove(0);
    let last: i64 = count(
        &database.pool,
        &format!("SELECT max(position) FROM log.event WHERE recorded_at <= '{}'", event.recorded_at.to_rfc3339()),
    )
    .await;
    for (as_of, position) in [(event.recorded_at.to_rfc3339(), last), ("2001-01-01".into(), 0)] {
        let said = succeeded(
            projections(&database, &["rebuild", "--as-of", &as_of, "--schema", "earlier", "--replace", "--json"]).await,
        );
        let said: Value = serde_json::from_str(&said).expect("a JSON line");
        assert_eq!((&said["schema"], &said["position"]), (&"earlier".into(), &position.into()), "{as_of}");
        assert_eq!(count(&database.pool, "SELECT position FROM earlier.checkpoint").await, position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_nothing_is_harmed() {
    let (database, ledger, views) = projected().await;
    execute(&database.pool, "CREATE SCHEMA mine; CREATE TABLE mine.notes (note text)").await;
    succeeded(projections(&database, &["rebuild", "--as-of", "5", "--schema", "march"]).await);
    let before = schemas(&database.pool).await;
    let march = dump(&database.pool, "march").await;
    let head = ledger.log.head().await.expect("the head");

    let past_end = (head + 1).to_string();
    let ran = projections(&database, &["rebuild", "--as-of", &past_end, "--schema", "april"]).await;
    refused(&ran, &[&format!("ends at position {head}"), &past_end]);
    let ran = projections(&database, &["rebuild", "--as-of", "2150-01-01", "--schema", "april"]).await;
    refused(&ran, &["2150"]);
    let ran = projections(&database, &["rebuild", "--as-of", "5", "--schema", "march"]).await;
    refused(&ran, &["march", "--replace"]);
    for schema in ["mine", "views", "log", "public", "pg_mine", "views_next_9", "views_building", "information_schema"]
    {
        for replace in [&[][..], &["--replace"]] {
            let command = [&["rebuild", "--as-of", "5", "--schema", schema], replace].concat();
            refused(&projections(&database, &command).await, &[schema]);
        }
    }
    for schema in ["", "March", "a-b", "a b", "x; DROP SCHEMA views", "\"", "1st", &"a".repeat(64)] {
        let option = format!("--schema={schema}");
        let ran = projections(&database, &["rebuild", "--as-of", "5", &option]).await;
        assert!(matches!(ran.status.code(), Some(1 | 2)), "{schema}: {ran:?}");
    }
    for wrong in [
        &["rebuild", "--as-of", "last Tuesday", "--schema", "april"][..],
        &["rebuild", "--as-of", "5"],
        &["rebuild", "--schema", "april"],
        &["rebuild", "--as-of", "5", "--schema", "april", "--view", "prison"],
    ] {
        assert_eq!(projections(&database, wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(schemas(&database.pool).await, before);
    assert_eq!(dump(&database.pool, "march").await, march);
    assert_eq!(dump(&database.pool, "views").await, views);
    assert_eq!(count(&database.pool, "SELECT count(*) FROM mine.notes").await, 0);
}

/// A schema that an earlier `--as-of` has made gives way to a new one, at the moment when that one is ready and not before.
#[tokio::test(flavor = "multi_thread")]
async fn replacing_keeps_the_old_one_until_the_new_one_is_ready() {
    let (database, ..) = projected().await;
    succeeded(projections(&database, &["rebuild", "--as-of", "5", "--schema", "march"]).await);
    let march = dump(&database.pool, "march").await;

    // Somebody else builds: refused, with the old one there.
    let mut builder = database.pool.acquire().await.expect("a connection").detach();
    sqlx::raw_sql(LOCK).execute(&mut builder).await.expect("the lock");
    let replace = &["rebuild", "--as-of", "7", "--schema", "march", "--replace"];
    refused(&projections(&database, replace).await, &["another rebuild is under way"]);
    assert_eq!(dump(&database.pool, "march").await, march);
    builder.close().await.expect("let go of the lock");

    // The log cannot be read: refused, with the old one there.
    execute(&database.pool, "ALTER TABLE log.event RENAME TO hidden").await;
    let ran = projections(&database, replace).await;
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    execute(&database.pool, "ALTER TABLE log.hidden RENAME TO event").await;
    assert_eq!(dump(&database.pool, "march").await, march);

    eventually_free(&database.pool).await;
    succeeded(projections(&database, replace).await);
    assert_eq!(count(&database.pool, "SELECT position FROM march.checkpoint").await, 7);
    for view in VIEWS {
        // Of position 7 there are prisons and no cases yet; all tables are there.
        count(&database.pool, &format!("SELECT count(*) FROM march.{view}")).await;
    }
}

/// Words that SQL keeps for itself would be names that an analyst has to quote: refused before the work, not after it.
#[tokio::test(flavor = "multi_thread")]
async fn words_of_sql_are_no_names() {
    let (database, ..) = projected().await;
    for schema in ["order", "group", "all", "user"] {
        let ran = projections(&database, &["rebuild", "--as-of", "5", "--schema", schema]).await;
        refused(&ran, &[schema, "name"]);
    }
    assert_eq!(schemas(&database.pool).await, ["views"]);
}
