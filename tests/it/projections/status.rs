//! `projections status` and `GET /projections`: how the views are.

use projector::VIEWS;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use super::{LOCK, count, execute, filled, projected, projections, succeeded};
use crate::support::{DataDir, Program, TestDatabase, eventually, random_ledger::tier, run};

async fn status(database: &TestDatabase) -> Vec<Value> {
    let said = succeeded(projections(database, &["status", "--json"]).await);
    said.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_of_each_view_how_far_it_is_and_how_large() {
    let (database, mut ledger, _) = projected().await;
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

    let table = succeeded(projections(&database, &["status"]).await);
    for view in VIEWS {
        assert!(table.contains(view.name()), "{table}");
    }
    assert!(table.contains("BEHIND") && table.contains(&head.to_string()), "{table}");
}

/// Views of an older definition may lack a table or a column of today's: their status says so rather than to fail.
#[tokio::test(flavor = "multi_thread")]
async fn views_of_another_definition_are_outdated() {
    let (database, ..) = projected().await;
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

/// What is being built is told, and what a dead one has left is not said to be under way.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_built_and_what_was_built_is_listed() {
    let (database, ..) = projected().await;
    succeeded(projections(&database, &["rebuild", "--as-of", "5", "--schema", "march"]).await);
    let as_of = status(&database).await.pop().expect("a line");
    assert_eq!((&as_of["schema"], &as_of["state"]), (&"march".into(), &"AS_OF".into()), "{as_of}");
    assert!(as_of.to_string().contains("position 5"), "{as_of}");
    assert!(succeeded(projections(&database, &["status"]).await).contains("march"));

    let of_building = |lines: Vec<Value>| lines.into_iter().filter(|line| line["schema"] == "views_building").count();
    let mut builder = PgConnection::connect(&database.url).await.expect("a connection");
    sqlx::raw_sql(LOCK).execute(&mut builder).await.expect("the lock");
    execute(&database.pool, "CREATE SCHEMA views_building").await;
    assert_eq!(of_building(status(&database).await), 1);
    builder.close().await.expect("let go of the lock");
    let left = status(&database).await;
    assert!(!left.iter().any(|line| line["state"] == "BUILDING"), "nobody builds: {left:?}");
}

/// A ledger whose views nobody has made yet has a status, and is not an error to be puzzled over.
#[tokio::test(flavor = "multi_thread")]
async fn without_views_and_without_a_ledger_it_says_so() {
    let (database, _ledger) = filled().await;
    execute(&database.pool, "DROP SCHEMA views CASCADE").await;
    let ran = projections(&database, &["status"]).await;
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("no views") && !said.contains("relation"), "{said}");

    let dir = DataDir::new();
    let data_dir = dir.path().to_str().expect("a path in UTF-8");
    for command in ["status", "rebuild"] {
        let ran = run(&["projections", command, "--data-dir", data_dir]).await;
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        assert!(ran.stderr.contains("there is no ledger in"), "{}", ran.stderr);
    }
}

/// The same over HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn http_says_the_same() {
    let (database, ..) = projected().await;
    let program = Program::serve_with(&["--event-store", &database.url, "--views", &database.url]).await;
    // Policies may have something to record at first, which the one then includes and the other does not yet.
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

/// A tool beside a `serve` uses the server on its data directory, and works without one, too.
#[tokio::test(flavor = "multi_thread")]
async fn it_works_on_a_data_directory_with_and_without_serve() {
    let dir = DataDir::new();
    let data_dir = dir.path().to_str().expect("a path in UTF-8");
    let program = Program::serve(dir.path()).await;
    for command in ["status", "rebuild"] {
        succeeded(run(&["projections", command, "--data-dir", data_dir]).await);
    }
    assert!(program.stop().await.success());
    for command in ["rebuild", "status"] {
        succeeded(run(&["projections", command, "--data-dir", data_dir]).await);
    }
}
