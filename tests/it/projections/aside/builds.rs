//! Builds by hand, exports and verification: each says what the views leave out.

use serde_json::{Value, json};

use super::{REFUSED, case_aside, case_with_com, mend, refuse, streams_aside};
use crate::support::{
    TestDatabase, database, dump_views,
    exported_file::{self, FORMATS},
    projections::{assert_failure, assert_success, execute, project, run_projections, schemas},
    random_ledger::{RandomLedger, tier},
    run,
};

/// A ledger with projected views, with a case that is aside and one that is not. Returns the
/// position of the event that is named.
async fn ledger_with_case_aside() -> (TestDatabase, RandomLedger, u64) {
    let database = database().await;
    let mut ledger = RandomLedger::new(&database.pool).await;
    refuse(&database.pool).await;
    let position = case_with_com(&mut ledger, "A0001BC", REFUSED).await;
    assert!(ledger.case("A0002BC", 1, tier("B", Some("LEI"))).await);
    project(&ledger.log, &database.pool).await;
    assert_eq!(streams_aside(&database.pool, "views").await, [case_aside("A0001BC", position)]);
    (database, ledger, position)
}

fn last_line(output: &str) -> Value {
    serde_json::from_str(output.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_by_hand_says_how_many_streams_are_aside() {
    let (database, ledger, _) = ledger_with_case_aside().await;
    let views = dump_views(&database.pool, "views").await;
    let said = assert_success(run_projections(&database, &["rebuild", "--json"]).await);
    assert_eq!(last_line(&said)["streamsAside"], 1, "{said}");
    assert_eq!(dump_views(&database.pool, "views").await, views);
    let said = assert_success(run_projections(&database, &["rebuild"]).await);
    assert!(said.contains("1 case or prison is left out"), "{said}");

    // One view alone leaves the same out as the others, or takes no view's place.
    for view in ["case_period", "prison"] {
        assert_success(run_projections(&database, &["rebuild", "--view", view]).await);
        assert_eq!(dump_views(&database.pool, "views").await, views, "{view}");
    }
    mend(&database.pool).await;
    let ran = run_projections(&database, &["rebuild", "--view", "case_period"]).await;
    assert_failure(&ran, &["rebuild all views"]);
    assert_eq!(dump_views(&database.pool, "views").await, views);
    let said = assert_success(run_projections(&database, &["rebuild", "--json"]).await);
    assert_eq!(last_line(&said)["streamsAside"], 0, "{said}");
    assert_eq!(streams_aside(&database.pool, "views").await, []);
    drop(ledger);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_as_of_a_position_leave_out_what_was_refused_by_then() {
    let (database, _ledger, position) = ledger_with_case_aside().await;
    for (to, aside) in [(position - 1, vec![]), (position, vec![case_aside("A0001BC", position)])] {
        let to = to.to_string();
        let build = ["rebuild", "--as-of", &to, "--schema", "march", "--replace", "--json"];
        let said = assert_success(run_projections(&database, &build).await);
        assert_eq!(last_line(&said)["streamsAside"], aside.len(), "{said}");
        assert_eq!(streams_aside(&database.pool, "march").await, aside, "as of {to}");
    }
    let ran = run_projections(&database, &["verify", "--schema", "march", "--json"]).await;
    assert_eq!((ran.status.code(), last_line(&ran.stdout)["differences"].clone()), (Some(1), json!(0)), "{ran:?}");
    assert_eq!(last_line(&ran.stdout)["streamsAside"], 1, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_says_how_many_streams_it_leaves_out() {
    let (database, _ledger, position) = ledger_with_case_aside().await;
    let directory = tempfile::tempdir().expect("a directory");
    let (before, at) = ((position - 1).to_string(), position.to_string());
    for (options, aside) in [(&[][..], 1), (&["--as-of", &at], 1), (&["--as-of", &before], 0)] {
        for format in FORMATS {
            let file = directory.path().join(format!("cases.{format}"));
            let path = file.to_str().expect("a path in UTF-8");
            let url = database.url.as_str();
            let arguments = ["export", "prisoner_case", "--output", path, "--event-store", url, "--views", url];
            let ran = run(&[&arguments[..], options, &["--json"]].concat()).await;
            assert_eq!(ran.status.code(), Some(0), "{options:?}: {}", ran.stderr);
            assert_eq!(last_line(&ran.stdout)["streamsAside"], aside, "{options:?}: {}", ran.stdout);
            let ran = run(&[&arguments[..], options].concat()).await;
            let is_said = ran.stderr.contains("1 case or prison is left out");
            assert_eq!(is_said, aside == 1, "{options:?}: {}", ran.stderr);
        }
        assert_eq!(exported_file::streams_aside(&directory.path().join("cases.parquet")), aside, "{options:?}");
    }
    assert_eq!(schemas(&database.pool).await, ["views"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_and_status_name_the_streams_aside() {
    let (database, _ledger, position) = ledger_with_case_aside().await;
    let line = |lines: &str| -> Vec<Value> {
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"));
        lines.filter(|line| line["state"] == "ASIDE").collect()
    };
    let status = assert_success(run_projections(&database, &["status", "--json"]).await);
    let [aside] = &line(&status)[..] else { panic!("one stream: {status}") };
    assert_eq!(
        (&aside["stream"], &aside["position"], &aside["revision"], &aside["eventType"], &aside["sqlState"]),
        (&json!("prisoner-A0001BC"), &json!(position), &json!(1), &json!("CommunityManagerAssigned"), &json!("23514"))
    );
    let ran = run_projections(&database, &["verify", "--json"]).await;
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert_eq!(line(&ran.stdout), std::slice::from_ref(aside), "{ran:?}");
    let summary = last_line(&ran.stdout);
    assert_eq!((&summary["differences"], &summary["streamsAside"]), (&json!(0), &json!(1)), "{summary}");
    for command in ["status", "verify"] {
        let said = run_projections(&database, &[command]).await.stdout;
        for words in ["prisoner-A0001BC", "CommunityManagerAssigned", &format!("position {position}"), "23514"] {
            assert!(said.contains(words), "{words} in {said}");
        }
    }

    // A stream that is aside without a reason, one that lacks, and one that names another event.
    for (damage, kind, table) in [
        ("DELETE FROM views.stream_aside", "MISSING", "stream_aside"),
        ("UPDATE views.stream_aside SET position = position + 1", "CHANGED", "stream_aside"),
        (
            "INSERT INTO views.stream_aside (stream, position, revision, event_id, event_type, sql_state, reason)
             VALUES ('prisoner-A0002BC', 1, 0, gen_random_uuid(), 'TierAssigned', '22000', 'none')",
            "EXTRA",
            "stream_aside",
        ),
        (
            "INSERT INTO views.prisoner_case (prisoner_number, revision, position, first_effective_at, ever_allocated)
             VALUES ('A0001BC', 1, 1, now(), false)",
            "EXTRA",
            "prisoner_case",
        ),
    ] {
        execute(&database.pool, damage).await;
        let ran = run_projections(&database, &["verify", "--json"]).await;
        assert!(ran.stderr.contains("projections rebuild"), "{damage}: {ran:?}");
        let found: Value =
            ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).next().expect("a line");
        assert_eq!((&found["view"], &found["kind"]), (&json!(table), &json!(kind)), "{damage}: {ran:?}");
        assert_success(run_projections(&database, &["rebuild"]).await);
    }
}
