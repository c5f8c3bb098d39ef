//! `verify`: finds whatever is not as the log says, and nothing else, whoever writes meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use projector::{Difference, VIEWS, View};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use super::{DAMAGE, arguments, count, dump, execute, projected, projections, refused, succeeded};
use crate::support::{
    Program, Ran, TestDatabase, Tool, eventually,
    random_ledger::{Ledger, tier},
};

/// What `verify --json` said: the differences and the summary.
fn told(ran: &Ran) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    let summary = lines.pop().unwrap_or_else(|| panic!("a summary: {ran:?}"));
    assert_eq!(summary["differences"], lines.len(), "{ran:?}");
    (lines, summary)
}

/// Compares, and must find no difference; answers the summary.
async fn verified(database: &TestDatabase, options: &[&str]) -> Value {
    let said = succeeded(projections(database, &[&["verify", "--json"], options].concat()).await);
    let summary: Value = serde_json::from_str(said.trim_end()).expect("one line");
    assert_eq!(summary["differences"], 0, "{said}");
    summary
}

/// Compares, and must find a difference; answers all of them.
async fn differing(database: &TestDatabase, options: &[&str]) -> Vec<Value> {
    let ran = projections(database, &[&["verify", "--json"], options].concat()).await;
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(ran.stderr.contains("rebuild"), "it says what to do: {}", ran.stderr);
    told(&ran).0
}

/// All rows of the views in a schema.
async fn row_count(pool: &PgPool, schema: &str) -> i64 {
    let mut rows = 0;
    for view in VIEWS {
        rows += count(pool, &format!("SELECT count(*) FROM {schema}.{view}")).await;
    }
    rows
}

/// The row of a view that meets a condition, as JSON.
async fn row(pool: &PgPool, view: &str, condition: &str) -> Value {
    let sql = format!("SELECT to_jsonb(t) FROM views.{view} t WHERE {condition}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.expect("a row")
}

/// A changed cell, a missing row and a row too many are named, with their keys and both rows; a rebuild mends them.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_hand_has_changed_is_named_until_a_rebuild_mends_it() {
    let (database, ledger, views) = projected().await;
    let head = ledger.log.head().await.expect("the head");
    let summary = verified(&database, &[]).await;
    assert_eq!((&summary["position"], &summary["schema"]), (&head.into(), &"views".into()), "{summary}");
    assert_eq!(summary["rows"], row_count(&database.pool, "views").await, "{summary}");

    let period = "prisoner_number = 'Z0001ZZ' AND valid_to = 'infinity'";
    let allocation = "prisoner_number = 'Z0001ZZ'";
    let expected_period = row(&database.pool, "case_period", period).await;
    let expected_allocation = row(&database.pool, "allocation", allocation).await;
    let only_this =
        DAMAGE.replace("SET tier = 'G' WHERE prisoner_number = 'Z0001ZZ'", &format!("SET tier = 'G' WHERE {period}"));
    assert_ne!(only_this, DAMAGE);
    execute(&database.pool, &only_this).await;
    let stored_period = row(&database.pool, "case_period", period).await;

    let differences = differing(&database, &[]).await;
    assert_eq!(differences.len(), 3, "{differences:?}");
    let of = |view: &str| {
        differences.iter().find(|difference| difference["view"] == view).unwrap_or_else(|| panic!("{differences:?}"))
    };
    let key = json!({"prisoner_number": "Z0001ZZ", "valid_from": expected_period["valid_from"]});
    assert_eq!(
        *of("case_period"),
        json!({
            "view": "case_period", "kind": "CHANGED", "key": key, "columns": ["tier"],
            "stored": stored_period, "expected": expected_period,
        })
    );
    let key = json!({"prisoner_number": "Z0001ZZ", "revision": expected_allocation["revision"]});
    assert_eq!(
        *of("allocation"),
        json!({
            "view": "allocation", "kind": "MISSING", "key": key, "columns": [],
            "stored": null, "expected": expected_allocation,
        })
    );
    let extra = row(&database.pool, "prison", "prison_code = 'XXX'").await;
    assert_eq!(
        *of("prison"),
        json!({
            "view": "prison", "kind": "EXTRA", "key": {"prison_code": "XXX"}, "columns": [],
            "stored": extra, "expected": null,
        })
    );

    // The same for people: which row, which cell, both rows.
    let ran = projections(&database, &["verify"]).await;
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let tier = expected_period["tier"].as_str().expect("a tier");
    for words in
        ["case_period", "Z0001ZZ", "tier is \"G\"", &format!("should be \"{tier}\""), "allocation", "missing", "XXX"]
    {
        assert!(ran.stdout.contains(words), "{words:?} in {}", ran.stdout);
    }
    for row in [&stored_period, &expected_period, &expected_allocation, &extra] {
        assert!(ran.stdout.contains(&row.to_string()), "{row} in {}", ran.stdout);
    }

    // Of one view nothing else is said.
    assert_eq!(differing(&database, &["--view", "prison"]).await, [of("prison").clone()]);
    verified(&database, &["--view", "pom_period"]).await;

    succeeded(projections(&database, &["rebuild"]).await);
    verified(&database, &[]).await;
    assert_eq!(dump(&database.pool, "views").await, views);
}

/// Compares in process, which takes a moment only.
async fn differences(ledger: &Ledger, pool: &PgPool) -> Vec<Difference> {
    let mut differences = Vec::new();
    let verified = projector::verify(&ledger.log, pool, "views", None, |_| {}, |found| differences.push(found)).await;
    assert_eq!(verified.expect("a comparison").differences, differences.len() as u64);
    differences
}

/// Each cell of a row is compared: of every column of every view a changed one is found, and no other row is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_cell_of_any_column_is_found() {
    let (database, ledger, _) = projected().await;
    let pool = &database.pool;
    for view in VIEWS {
        execute(pool, &format!("CREATE TABLE public.saved_{view} AS TABLE views.{view}")).await;
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT column_name::text, udt_name::text FROM information_schema.columns
              WHERE table_schema = 'views' AND table_name = $1",
        )
        .bind(view.name())
        .fetch_all(pool)
        .await
        .expect("the columns");
        for (column, type_name) in columns {
            let changed = match type_name.as_str() {
                "text" if column == "prisoner_number" && view != View::NomisContact => "'Y9999YY'".to_owned(),
                "text" if column == "prison_code" => "'YYY'".to_owned(),
                "text" => format!("coalesce({column}, '') || 'x'"),
                "int4" | "int8" => format!("coalesce({column}, 0) + 1000000"),
                "bool" => format!("NOT {column}"),
                "date" => format!("coalesce({column}, '2020-01-01') + 1"),
                "numeric" => format!("1.1 - {column}"),
                "uuid" => "gen_random_uuid()".to_owned(),
                "_text" => format!("{column} || '{{x}}'"),
                // Not a day, not a second: the least that there is. Of a period's end it stays a period.
                "timestamptz" => {
                    format!(
                        "CASE WHEN isfinite({column}) THEN {column} + interval '1 microsecond' ELSE '3000-01-01' END"
                    )
                }
                other => panic!("a column of type {other}"),
            };
            let a_row = format!("ctid = (SELECT max(ctid) FROM views.{view})");
            execute(pool, &format!("UPDATE views.{view} SET {column} = {changed} WHERE {a_row}")).await;
            let found = differences(&ledger, pool).await;
            // With another key it is another row, and the one that was there is missing.
            let count = if view.key().contains(&column.as_str()) { 2 } else { 1 };
            assert_eq!(found.len(), count, "{view}.{column}: {found:?}");
            assert!(found.iter().all(|difference| difference.view == view), "{view}.{column}: {found:?}");
            execute(pool, &format!("TRUNCATE views.{view}; INSERT INTO views.{view} TABLE public.saved_{view}")).await;
        }
    }
    assert_eq!(differences(&ledger, pool).await, []);
}

/// A row that is missing is found in any view.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_row_of_any_view_is_found() {
    let (database, ledger, _) = projected().await;
    let pool = &database.pool;
    for view in VIEWS {
        let removed = format!("DELETE FROM views.{view} WHERE ctid = (SELECT min(ctid) FROM views.{view})");
        execute(pool, &format!("CREATE TABLE public.saved_{view} AS TABLE views.{view}; {removed}")).await;
        let found = differences(&ledger, pool).await;
        assert_eq!(found.len(), 1, "{view}: {found:?}");
        assert!(found[0].view == view && found[0].stored.is_none(), "{view}: {found:?}");
        execute(pool, &format!("TRUNCATE views.{view}; INSERT INTO views.{view} TABLE public.saved_{view}")).await;
    }
    // A view without rows is one in which all are missing.
    execute(pool, "TRUNCATE views.case_period").await;
    let all = count(pool, "SELECT count(*) FROM public.saved_case_period").await;
    assert_eq!(differences(&ledger, pool).await.len() as i64, all);
}

/// Rows of which the log knows nothing, and rows that no case and no prison can have.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_too_many_is_found_whosever_it_is() {
    let (database, ..) = projected().await;
    for number in ["Q9999QQ", "z0001zz", "nonsense", ""] {
        execute(
            &database.pool,
            &format!(
                "INSERT INTO views.case_prison (prisoner_number, prison, first_position) VALUES ('{number}', 'LEI', 1)"
            ),
        )
        .await;
        let found = differing(&database, &[]).await;
        assert_eq!(found.len(), 1, "{number:?}: {found:?}");
        assert_eq!(
            (&found[0]["kind"], &found[0]["key"]),
            (&"EXTRA".into(), &json!({"prisoner_number": number, "prison": "LEI"}))
        );
        execute(&database.pool, &format!("DELETE FROM views.case_prison WHERE prisoner_number = '{number}'")).await;
    }
    verified(&database, &[]).await;
}

/// Views that are behind the log are compared as of where they are; those that say more than the log does are not believed.
#[tokio::test(flavor = "multi_thread")]
async fn views_are_compared_at_their_own_position() {
    let (database, mut ledger, _) = projected().await;
    let head = ledger.log.head().await.expect("the head");
    assert!(ledger.case("Z0001ZZ", 3, tier("C", None)).await);
    let summary = verified(&database, &[]).await;
    assert_eq!((&summary["position"], &summary["head"]), (&head.into(), &(head + 1).into()), "{summary}");

    // Only the checkpoint has moved: what the rows say of the event in between is missing.
    let move_on = "UPDATE views.checkpoint SET (position, event_id, recorded_at) =
                   (SELECT position, event_id, recorded_at FROM log.event WHERE event.position = checkpoint.position + 1)";
    execute(&database.pool, move_on).await;
    let found = differing(&database, &[]).await;
    assert!(found.iter().all(|difference| difference["key"]["prisoner_number"] == "Z0001ZZ"), "{found:?}");

    // Neither when it says another time than the log does, nor past the log's end.
    for wrong in ["recorded_at = recorded_at - interval '1 microsecond'", "position = position + 1"] {
        execute(&database.pool, &format!("UPDATE views.checkpoint SET {wrong}")).await;
        let position = count(&database.pool, "SELECT position FROM views.checkpoint").await;
        refused(&projections(&database, &["verify"]).await, &[&format!("position {position}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_as_of_a_position_are_compared_too() {
    let (database, ..) = projected().await;
    succeeded(projections(&database, &["rebuild", "--as-of", "20", "--schema", "march"]).await);
    let summary = verified(&database, &["--schema", "march"]).await;
    assert_eq!((&summary["schema"], &summary["position"]), (&"march".into(), &20.into()), "{summary}");
    assert_eq!(summary["rows"], row_count(&database.pool, "march").await);

    execute(&database.pool, "UPDATE march.prison SET estate = NULL WHERE prison_code = 'LEI'").await;
    let found = differing(&database, &["--schema", "march"]).await;
    assert_eq!((found.len(), &found[0]["columns"]), (1, &json!(["estate"])), "{found:?}");
    verified(&database, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_refused() {
    let (database, ..) = projected().await;
    for schema in ["april", "log", "Views", "views; DROP SCHEMA views"] {
        refused(&projections(&database, &["verify", "--schema", schema]).await, &["no views in a schema", schema]);
    }
    let unknown = projections(&database, &["verify", "--view", "caseload"]).await;
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    for view in VIEWS {
        assert!(unknown.stderr.contains(view.name()), "{}", unknown.stderr);
    }
    // Views of another definition may lack a table of today's.
    execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1; DROP TABLE views.case_prison").await;
    refused(&projections(&database, &["verify"]).await, &["version", "rebuild"]);
}

/// Nothing is skipped: what cannot be read, is missing, or is out of its order in the log is named.
#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_log_is_named_by_its_position() {
    for (damage, position) in [
        ("UPDATE log.event SET data = '{' WHERE position = 12", 12),
        ("UPDATE log.event SET type = 'PrisonerTeleported' WHERE position = 12", 12),
        ("DELETE FROM log.event WHERE position = 12", 12),
        ("UPDATE log.event SET revision = revision + 1000 WHERE position = 12", 12),
        (
            "UPDATE log.event SET recorded_at = recorded_at - interval '1 year'
              WHERE position = (SELECT min(position) FROM log.event WHERE revision = 1)",
            0,
        ),
    ] {
        let (database, _ledger, views) = projected().await;
        let position = match position {
            // The second event of its stream, recorded before the first.
            0 => count(&database.pool, "SELECT min(position) FROM log.event WHERE revision = 1").await,
            position => position,
        };
        let mut connection = PgConnection::connect(&database.url).await.expect("a connection");
        let without_guards = format!("SET session_replication_role = replica; {damage}");
        sqlx::raw_sql(AssertSqlSafe(without_guards)).execute(&mut connection).await.expect(damage);
        connection.close().await.expect("close");
        let ran = projections(&database, &["verify"]).await;
        refused(&ran, &[&format!("position {position}")]);
        assert_eq!(dump(&database.pool, "views").await, views, "{damage}");
    }
}

/// Whatever is recorded, and even rebuilt, meanwhile: no difference is reported that is not there, and one that is there is.
#[tokio::test(flavor = "multi_thread")]
async fn while_everything_goes_on_only_true_differences_are_found() {
    let (database, ..) = projected().await;
    let program = Program::serve_with(&["--event-store", &database.url, "--views", &database.url]).await;
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (client, done) = (program.client().clone(), done.clone());
            tokio::spawn(async move {
                let mut written = 0;
                while !done.load(Ordering::Relaxed) {
                    // A few cases again and again, so that those compared change while they are.
                    let number = format!("B{writer}{:03}BC", written % 7);
                    let body = json!({"tier": "C1", "source": "DELIUS", "prison": "LEI"});
                    let answer = client.post(&format!("/prisoners/{number}/tier"), &body).await;
                    assert_eq!(answer.status, 201, "{}", answer.text);
                    written += 1;
                }
                written
            })
        })
        .collect();
    let mut last = 0;
    for turn in 0..6 {
        let compared = async { verified(&database, &[]).await };
        let rebuilt = async {
            let command: &[&str] = if turn % 2 == 0 { &["rebuild", "--view", "case_period"] } else { &["status"] };
            succeeded(projections(&database, command).await);
        };
        let (summary, ()) = tokio::join!(compared, rebuilt);
        let position = summary["position"].as_u64().expect("a position");
        assert!(position >= last, "{summary}");
        last = position;
    }
    // Nothing is recorded of this case meanwhile, so nobody mends it.
    execute(&database.pool, "UPDATE views.prisoner_case SET crn = 'X000000' WHERE prisoner_number = 'Z0001ZZ'").await;
    let found = differing(&database, &[]).await;
    assert_eq!((found.len(), &found[0]["columns"]), (1, &json!(["crn"])), "{found:?}");
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.expect("a writer") > 10);
    }
    assert!(program.stop().await.success());
}

/// Ctrl-C: it says that not everything was compared, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_it_says_so() {
    let (database, _ledger, views) = projected().await;
    let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE").execute(&mut holder).await.expect("a lock");
    let tool = Tool::start(&arguments(&database, &["verify"]));
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database
                    WHERE NOT granted AND datname = current_database()";
    eventually("it reads the log", async || (count(&database.pool, waiting).await > 0).then_some(())).await;
    tool.signal(nix::sys::signal::Signal::SIGINT);
    refused(&tool.ended().await, &["interrupted", "not everything compared"]);
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("the end");
    assert_eq!(dump(&database.pool, "views").await, views);
}
