//! `verify`: finds every difference between the views and the log, and no others, while writers
//! continue.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use projector::{Difference, VIEWS};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use crate::support::dump_views;
use crate::support::projections::{
    DAMAGE, assert_failure, assert_success, count, execute, projected_ledger, projections_arguments, run_projections,
};
use crate::support::{
    Program, TestDatabase, Tool, ToolOutput, eventually,
    random_ledger::{RandomLedger, tier},
};

/// The output of `verify --json`: the differences and the summary.
fn parse_output(ran: &ToolOutput) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    let summary = lines.pop().unwrap_or_else(|| panic!("a summary: {ran:?}"));
    assert_eq!(summary["differences"], lines.len(), "{ran:?}");
    (lines, summary)
}

/// Compares, asserts that there is no difference, and returns the summary.
async fn assert_no_difference(database: &TestDatabase, options: &[&str]) -> Value {
    let said = assert_success(run_projections(database, &[&["verify", "--json"], options].concat()).await);
    let summary: Value = serde_json::from_str(said.trim_end()).expect("one line");
    assert_eq!(summary["differences"], 0, "{said}");
    summary
}

/// Compares, asserts that there are differences, and returns them.
async fn find_differences(database: &TestDatabase, options: &[&str]) -> Vec<Value> {
    let ran = run_projections(database, &[&["verify", "--json"], options].concat()).await;
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(ran.stderr.contains("rebuild"), "it says what to do: {}", ran.stderr);
    parse_output(&ran).0
}

/// The number of rows of all views in a schema.
async fn row_count(pool: &PgPool, schema: &str) -> i64 {
    let mut rows = 0;
    for view in VIEWS {
        rows += count(pool, &format!("SELECT count(*) FROM {schema}.{view}")).await;
    }
    rows
}

/// The row of a view that meets a condition, as JSON.
async fn row(pool: &PgPool, view: &str, condition: &str) -> Value {
    let sql = format!("SELECT to_jsonb(t)::text FROM views.{view} t WHERE {condition}");
    let row: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.expect("a row");
    serde_json::from_str(&row).expect("JSON")
}

/// A changed cell, a missing row and an extra row are reported with their keys and both rows. A
/// rebuild repairs them.
#[tokio::test(flavor = "multi_thread")]
async fn manual_changes_are_reported_until_a_rebuild_repairs_them() {
    let (database, ledger, views) = projected_ledger().await;
    let head = ledger.log.head().await.expect("the head");
    let summary = assert_no_difference(&database, &[]).await;
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

    let differences = find_differences(&database, &[]).await;
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

    // The report in text: which row, which cell, both rows.
    let ran = run_projections(&database, &["verify"]).await;
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

    // A comparison of one view reports no other.
    assert_eq!(find_differences(&database, &["--view", "prison"]).await, [of("prison").clone()]);
    assert_no_difference(&database, &["--view", "pom_period"]).await;

    assert_success(run_projections(&database, &["rebuild"]).await);
    assert_no_difference(&database, &[]).await;
    assert_eq!(dump_views(&database.pool, "views").await, views);
}

/// Compares in process, which is fast.
async fn differences(ledger: &RandomLedger, pool: &PgPool) -> Vec<Difference> {
    let mut differences = Vec::new();
    let verified =
        projector::verify(&ledger.log, pool, "views", None, &|_| {}, &mut |found| differences.push(found)).await;
    assert_eq!(verified.expect("a comparison").differences, differences.len() as u64);
    differences
}

/// Every cell is compared: a change in any column of any view is found, and no other row is
/// reported.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_cell_of_any_column_is_found() {
    let (database, ledger, _) = projected_ledger().await;
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
                "text" if column == "prisoner_number" => "'Y9999YY'".to_owned(),
                "text" if column == "prison_code" => "'YYY'".to_owned(),
                "text" => format!("coalesce({column}, '') || 'x'"),
                "int4" | "int8" => format!("coalesce({column}, 0) + 1000000"),
                "bool" => format!("NOT {column}"),
                "date" => format!("coalesce({column}, '2020-01-01') + 1"),
                "numeric" => format!("1.1 - {column}"),
                "uuid" => "gen_random_uuid()".to_owned(),
                "_text" => format!("{column} || '{{x}}'"),
                // The smallest change that the type allows. A period must keep its end after its
                // start.
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
            // A changed key makes another row, and the previous one is missing.
            let count = if view.key().contains(&column.as_str()) { 2 } else { 1 };
            assert_eq!(found.len(), count, "{view}.{column}: {found:?}");
            assert!(found.iter().all(|difference| difference.table == view.name()), "{view}.{column}: {found:?}");
            execute(pool, &format!("TRUNCATE views.{view}; INSERT INTO views.{view} TABLE public.saved_{view}")).await;
        }
    }
    assert_eq!(differences(&ledger, pool).await, []);
}

/// A missing row of any view is found.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_row_of_any_view_is_found() {
    let (database, ledger, _) = projected_ledger().await;
    let pool = &database.pool;
    for view in VIEWS {
        let removed = format!("DELETE FROM views.{view} WHERE ctid = (SELECT min(ctid) FROM views.{view})");
        execute(pool, &format!("CREATE TABLE public.saved_{view} AS TABLE views.{view}; {removed}")).await;
        let found = differences(&ledger, pool).await;
        assert_eq!(found.len(), 1, "{view}: {found:?}");
        assert!(found[0].table == view.name() && found[0].stored.is_none(), "{view}: {found:?}");
        execute(pool, &format!("TRUNCATE views.{view}; INSERT INTO views.{view} TABLE public.saved_{view}")).await;
    }
    // A view without rows lacks all of them.
    execute(pool, "TRUNCATE views.case_period").await;
    let all = count(pool, "SELECT count(*) FROM public.saved_case_period").await;
    assert_eq!(differences(&ledger, pool).await.len() as i64, all);
}

/// Rows that the log does not explain, and rows that no case and no prison can have.
#[tokio::test(flavor = "multi_thread")]
async fn an_extra_row_of_any_view_is_found() {
    let (database, ..) = projected_ledger().await;
    for number in ["Q9999QQ", "z0001zz", "nonsense", ""] {
        execute(
            &database.pool,
            &format!(
                "INSERT INTO views.case_prison (prisoner_number, prison, first_position) VALUES ('{number}', 'LEI', 1)"
            ),
        )
        .await;
        let found = find_differences(&database, &[]).await;
        assert_eq!(found.len(), 1, "{number:?}: {found:?}");
        assert_eq!(
            (&found[0]["kind"], &found[0]["key"]),
            (&"EXTRA".into(), &json!({"prisoner_number": number, "prison": "LEI"}))
        );
        execute(&database.pool, &format!("DELETE FROM views.case_prison WHERE prisoner_number = '{number}'")).await;
    }
    assert_no_difference(&database, &[]).await;
}

/// Views behind the log are compared at their own position. Views that claim more than the log are
/// refused.
#[tokio::test(flavor = "multi_thread")]
async fn views_are_compared_at_their_own_position() {
    let (database, mut ledger, _) = projected_ledger().await;
    let head = ledger.log.head().await.expect("the head");
    assert!(ledger.case("Z0001ZZ", 3, tier("C", None)).await);
    let summary = assert_no_difference(&database, &[]).await;
    assert_eq!((&summary["position"], &summary["head"]), (&head.into(), &(head + 1).into()), "{summary}");

    // Moves only the checkpoint, so the changes of the event in between are missing.
    let move_on = "UPDATE views.checkpoint SET (position, event_id, recorded_at) =
                   (SELECT position, event_id, recorded_at FROM log.event WHERE event.position = checkpoint.position + 1)";
    execute(&database.pool, move_on).await;
    let found = find_differences(&database, &[]).await;
    assert!(found.iter().all(|difference| difference["key"]["prisoner_number"] == "Z0001ZZ"), "{found:?}");

    // Refused if the checkpoint names another time than the log, or a position past its end.
    for wrong in ["recorded_at = recorded_at - interval '1 microsecond'", "position = position + 1"] {
        execute(&database.pool, &format!("UPDATE views.checkpoint SET {wrong}")).await;
        let position = count(&database.pool, "SELECT position FROM views.checkpoint").await;
        assert_failure(&run_projections(&database, &["verify"]).await, &[&format!("position {position}")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_as_of_a_position_are_compared_too() {
    let (database, ..) = projected_ledger().await;
    assert_success(run_projections(&database, &["rebuild", "--as-of", "20", "--schema", "march"]).await);
    let summary = assert_no_difference(&database, &["--schema", "march"]).await;
    assert_eq!((&summary["schema"], &summary["position"]), (&"march".into(), &20.into()), "{summary}");
    assert_eq!(summary["rows"], row_count(&database.pool, "march").await);

    execute(&database.pool, "UPDATE march.prison SET estate = NULL WHERE prison_code = 'LEI'").await;
    let found = find_differences(&database, &["--schema", "march"]).await;
    assert_eq!((found.len(), &found[0]["columns"]), (1, &json!(["estate"])), "{found:?}");
    assert_no_difference(&database, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_cannot_be_compared_are_refused() {
    let (database, ..) = projected_ledger().await;
    for schema in ["april", "log", "Views", "views; DROP SCHEMA views"] {
        assert_failure(
            &run_projections(&database, &["verify", "--schema", schema]).await,
            &["no views in a schema", schema],
        );
    }
    let unknown = run_projections(&database, &["verify", "--view", "caseload"]).await;
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    for view in VIEWS {
        assert!(unknown.stderr.contains(view.name()), "{}", unknown.stderr);
    }
    // Views of another version may lack a table of this one.
    execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1; DROP TABLE views.case_prison").await;
    assert_failure(&run_projections(&database, &["verify"]).await, &["version", "rebuild"]);
}

/// No event is skipped: unreadable, missing and misplaced events are reported.
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
        let (database, _ledger, views) = projected_ledger().await;
        let position = match position {
            // The second event of its stream, recorded before the first.
            0 => count(&database.pool, "SELECT min(position) FROM log.event WHERE revision = 1").await,
            position => position,
        };
        let mut connection = PgConnection::connect(&database.url).await.expect("a connection");
        let without_guards = format!("SET session_replication_role = replica; {damage}");
        sqlx::raw_sql(AssertSqlSafe(without_guards)).execute(&mut connection).await.expect(damage);
        connection.close().await.expect("close");
        let ran = run_projections(&database, &["verify"]).await;
        assert_failure(&ran, &[&format!("position {position}")]);
        assert_eq!(dump_views(&database.pool, "views").await, views, "{damage}");
    }
}

/// While events are recorded and views are rebuilt, every reported difference exists and every
/// existing one is reported.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_cause_no_false_differences() {
    let (database, ..) = projected_ledger().await;
    let program = Program::serve_with(&["--event-store", &database.url, "--views", &database.url]).await;
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (client, done) = (program.client().clone(), done.clone());
            tokio::spawn(async move {
                let mut written = 0;
                while !done.load(Ordering::Relaxed) {
                    // A few cases repeatedly, so that the compared rows change during the
                    // comparison.
                    let number = format!("B{writer}{:03}BC", written % 7);
                    let tier = ["C1", "D1"][written / 7 % 2];
                    let body = json!({"tier": tier, "source": "DELIUS", "prison": "LEI"});
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
        let compared = async { assert_no_difference(&database, &[]).await };
        let rebuilt = async {
            let command: &[&str] = if turn % 2 == 0 { &["rebuild", "--view", "case_period"] } else { &["status"] };
            assert_success(run_projections(&database, command).await);
        };
        let (summary, ()) = tokio::join!(compared, rebuilt);
        let position = summary["position"].as_u64().expect("a position");
        assert!(position >= last, "{summary}");
        last = position;
    }
    // No event of this case is recorded meanwhile, so the projector does not repair it.
    execute(&database.pool, "UPDATE views.prisoner_case SET crn = 'X000000' WHERE prisoner_number = 'Z0001ZZ'").await;
    let found = find_differences(&database, &[]).await;
    assert_eq!((found.len(), &found[0]["columns"]), (1, &json!(["crn"])), "{found:?}");
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.expect("a writer") > 10);
    }
    assert!(program.stop().await.success());
}

/// Ctrl-C: verify reports that it did not compare everything, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_verify_says_that_it_is_incomplete() {
    let (database, _ledger, views) = projected_ledger().await;
    let mut holder = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE log.event IN ACCESS EXCLUSIVE MODE").execute(&mut holder).await.expect("a lock");
    let tool = Tool::start(&projections_arguments(&database, &["verify"]));
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database
                    WHERE NOT granted AND datname = current_database()";
    eventually("it reads the log", async || (count(&database.pool, waiting).await > 0).then_some(())).await;
    tool.signal(nix::sys::signal::Signal::SIGINT);
    assert_failure(&tool.wait_for_end().await, &["interrupted", "not everything compared"]);
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("the end");
    assert_eq!(dump_views(&database.pool, "views").await, views);
}
