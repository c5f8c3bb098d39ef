//! `projections status` and `GET /projections`: the state of the views.

use projector::VIEWS;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::support::projections::{
    LOCK, assert_success, count, execute, filled_ledger, projected_ledger, run_projections,
};
use crate::support::{DataDir, Program, StandIn, TestDatabase, eventually, random_ledger::tier, run};

async fn status(database: &TestDatabase) -> Vec<Value> {
    let said = assert_success(run_projections(database, &["status", "--json"]).await);
    said.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_lists_the_position_and_size_of_each_view() {
    let (database, mut ledger, _) = projected_ledger().await;
    let head = ledger.log.head().await.expect("the head");
    let current = status(&database).await;
    assert_eq!(current.len(), VIEWS.len());
    for (line, view) in current.iter().zip(VIEWS) {
        assert_eq!((&line["view"], &line["state"]), (&view.name().into(), &"CURRENT".into()), "{line}");
        assert_eq!(
            (&line["position"], &line["lagEvents"], &line["lagSeconds"]),
            (&head.into(), &0.into(), &0.0.into())
        );
        assert_eq!(line["version"], projector::VIEWS_VERSION, "{line}");
        let rows = count(&database.pool, &format!("SELECT count(*) FROM views.{view}")).await;
        assert_eq!(line["rows"], rows, "{line}");
        assert!(line["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{line}");
    }

    for day in 3..5 {
        assert!(ledger.case("Z0001ZZ", day, tier("C", None)).await);
    }
    for line in status(&database).await {
        assert_eq!((&line["state"], &line["lagEvents"]), (&"BEHIND".into(), &2.into()), "{line}");
        assert!(line["lagSeconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{line}");
    }

    let table = assert_success(run_projections(&database, &["status"]).await);
    for view in VIEWS {
        assert!(table.contains(view.name()), "{table}");
    }
    assert!(table.contains("BEHIND") && table.contains(&head.to_string()), "{table}");
}

/// Views of an older version may lack tables or columns of this one. Their status says so instead
/// of failing.
#[tokio::test(flavor = "multi_thread")]
async fn views_of_another_definition_are_outdated() {
    let (database, ..) = projected_ledger().await;
    execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1; DROP TABLE views.nomis_contact").await;
    let lines = status(&database).await;
    assert_eq!(lines.len(), VIEWS.len(), "{lines:?}");
    for line in lines {
        assert_eq!(
            (&line["state"], &line["version"]),
            (&"OUTDATED".into(), &(projector::VIEWS_VERSION - 1).into()),
            "{line}"
        );
    }
}

/// Status lists a running rebuild, and does not list the leftovers of a dead one as running.
#[tokio::test(flavor = "multi_thread")]
async fn status_lists_views_that_are_being_built_and_those_as_of() {
    let (database, ..) = projected_ledger().await;
    assert_success(run_projections(&database, &["rebuild", "--as-of", "5", "--schema", "march"]).await);
    let as_of = status(&database).await.pop().expect("a line");
    assert_eq!((&as_of["schema"], &as_of["state"]), (&"march".into(), &"AS_OF".into()), "{as_of}");
    assert!(as_of.to_string().contains("position 5"), "{as_of}");
    assert!(assert_success(run_projections(&database, &["status"]).await).contains("march"));

    let of_building = |lines: Vec<Value>| lines.into_iter().filter(|line| line["schema"] == "views_building").count();
    let mut builder = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql(LOCK).execute(&mut builder).await.expect("the lock");
    execute(&database.pool, "CREATE SCHEMA views_building").await;
    assert_eq!(of_building(status(&database).await), 1);
    builder.close().await.expect("let go of the lock");
    let left = status(&database).await;
    assert!(!left.iter().any(|line| line["state"] == "BUILDING"), "nobody builds: {left:?}");
}

/// A ledger without views has a status instead of an error.
#[tokio::test(flavor = "multi_thread")]
async fn status_reports_missing_views_and_a_missing_ledger() {
    let (database, _ledger) = filled_ledger().await;
    execute(&database.pool, "DROP SCHEMA views CASCADE").await;
    let ran = run_projections(&database, &["status"]).await;
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("no views") && !said.contains("relation"), "{said}");

    let dir = DataDir::new();
    let data_dir = dir.path().to_str().expect("a path in UTF-8");
    for command in ["status", "rebuild"] {
        let ran = run(&["projections", command, "--data-dir", data_dir]).await;
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        assert!(ran.stderr.contains("there is no ledger in"), "{}", ran.stderr);
    }
    // The log is elsewhere, and only the views would be here.
    let store = StandIn::start();
    for command in ["status", "verify", "rebuild"] {
        let ran = run(&["projections", command, "--event-store", &store.url(), "--data-dir", data_dir]).await;
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        let what_to_do = "there are no views yet in";
        assert!(ran.stderr.contains(what_to_do) && ran.stderr.contains("`allocation-ledger serve`"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("no ledger"), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_over_http_equals_status_on_the_command_line() {
    let (database, ..) = projected_ledger().await;
    let program = Program::serve_with(&["--event-store", &database.url, "--views", &database.url]).await;
    // Policies may record something at first, which one of the two may not include yet.
    let views = eventually("both of the same position", async || {
        let answer = program.client().get("/projections").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let (views, told) = (answer.body.as_array().cloned().expect("a list"), status(&database).await);
        (views[0]["position"] == told[0]["position"] && views[0]["state"] == told[0]["state"]).then_some((views, told))
    });
    let (views, told) = views.await;
    assert_eq!(views.len(), VIEWS.len(), "{views:?}");
    for (line, told) in views.iter().zip(told) {
        for field in ["view", "version", "position", "state", "rows"] {
            assert_eq!(line[field], told[field], "{field} of {line} and {told}");
        }
        assert_eq!(line["rowsAre"], "COUNTED", "{line}");
        assert!(line["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{line}");
    }
    assert!(program.stop().await.success());
}

/// A tool uses the server of a running `serve` on its data directory, and starts one where none
/// runs.
#[tokio::test(flavor = "multi_thread")]
async fn status_works_on_a_data_directory_with_and_without_serve() {
    let dir = DataDir::new();
    let data_dir = dir.path().to_str().expect("a path in UTF-8");
    let program = Program::serve(dir.path()).await;
    for command in ["status", "rebuild"] {
        assert_success(run(&["projections", command, "--data-dir", data_dir]).await);
    }
    assert!(program.stop().await.success());
    for command in ["rebuild", "status"] {
        assert_success(run(&["projections", command, "--data-dir", data_dir]).await);
    }
}
