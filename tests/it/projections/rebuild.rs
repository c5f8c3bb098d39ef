//! `projections rebuild`: repairs the views, all of them or one.

use projector::VIEWS;
use sqlx::AssertSqlSafe;

use crate::support::{
    dump_view, dump_views,
    projections::{
        DAMAGE, assert_failure, assert_success, count, definition, execute, projected_ledger, run_projections, schemas,
    },
    random_ledger::tier,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_repairs_manual_changes() {
    let (database, ledger, views) = projected_ledger().await;
    execute(&database.pool, DAMAGE).await;
    assert_ne!(dump_views(&database.pool, "views").await, views);
    let head = ledger.log.head().await.expect("the head");
    let said = assert_success(run_projections(&database, &["rebuild"]).await);
    assert!(said.contains(&format!("position {head}")), "{said}");
    assert_eq!(dump_views(&database.pool, "views").await, views);
    assert_eq!(schemas(&database.pool).await, ["views"]);

    let said = assert_success(run_projections(&database, &["rebuild", "--json"]).await);
    let said: serde_json::Value = serde_json::from_str(&said).expect("a JSON line");
    assert_eq!((&said["schema"], &said["position"]), (&"views".into(), &head.into()), "{said}");
}

/// Views that no projector kept up, or that were never made, reach the end of the log by a rebuild.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_needs_no_projector_and_no_views() {
    let (database, _ledger, views) = projected_ledger().await;
    let old = "UPDATE views.checkpoint SET version = -1, position = 3, event_id = NULL, recorded_at = NULL";
    for before in ["DROP SCHEMA views CASCADE", old] {
        execute(&database.pool, before).await;
        assert_success(run_projections(&database, &["rebuild"]).await);
        assert_eq!(dump_views(&database.pool, "views").await, views, "{before}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_view_is_rebuilt_alone() {
    let (database, _ledger, views) = projected_ledger().await;
    for view in VIEWS {
        // The rows do not matter. The rebuild must restore this view and touch no other.
        let others: Vec<_> = VIEWS.into_iter().filter(|other| *other != view).collect();
        for view in VIEWS {
            execute(&database.pool, &format!("TRUNCATE views.{view}")).await;
        }
        assert_success(run_projections(&database, &["rebuild", "--view", view.name()]).await);
        assert!(views.contains(&dump_view(&database.pool, "views", view).await), "{view}");
        assert!(!dump_view(&database.pool, "views", view).await.is_empty(), "{view}");
        for other in others {
            assert_eq!(dump_view(&database.pool, "views", other).await, "", "{other} beside {view}");
        }
        assert_eq!(schemas(&database.pool).await, ["views"]);
    }
    for view in VIEWS {
        assert_success(run_projections(&database, &["rebuild", "--view", view.name()]).await);
    }
    assert_eq!(dump_views(&database.pool, "views").await, views);

    let unknown = run_projections(&database, &["rebuild", "--view", "caseload"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    for view in VIEWS {
        assert!(unknown.stderr.contains(view.name()), "{}", unknown.stderr);
    }
}

/// The SQL view and the names of prisons, which no event fills, come with every way of making the
/// views, and so do the rights to read them.
#[tokio::test(flavor = "multi_thread")]
async fn case_now_and_the_names_of_prisons_survive_a_rebuild() {
    let (database, ..) = projected_ledger().await;
    let rows = "SELECT count(*) FROM views.case_now WHERE prison_name IS NOT NULL";
    let before = count(&database.pool, rows).await;
    assert!(before > 0);
    let made = definition(&database.pool, "views").await;
    for rebuild in [&["rebuild"][..], &["rebuild", "--view", "case_period"], &["rebuild", "--view", "prison"]] {
        assert_success(run_projections(&database, rebuild).await);
        assert_eq!(count(&database.pool, rows).await, before, "{rebuild:?}");
        assert_eq!(definition(&database.pool, "views").await, made, "{rebuild:?}");
        for (role, table) in [("ledger_read", "case_now"), ("analyst", "case_now"), ("ledger_read", "establishment")] {
            let may_read = format!("SELECT count(*) WHERE has_table_privilege('{role}', 'views.{table}', 'SELECT')");
            assert_eq!(count(&database.pool, &may_read).await, 1, "{role} reads {table} after {rebuild:?}");
        }
    }
    // Verify compares neither.
    execute(&database.pool, "UPDATE views.establishment SET name = 'Elsewhere'; DROP VIEW views.case_now").await;
    assert_success(run_projections(&database, &["verify"]).await);
    // A view that an operator has dropped does not keep a rebuild from its end.
    assert_success(run_projections(&database, &["rebuild", "--view", "case_period"]).await);
    assert_eq!(count(&database.pool, rows).await, before);
}

/// One view is rebuilt to the position of the others, although the log has grown and no projector
/// runs.
#[tokio::test(flavor = "multi_thread")]
async fn one_view_is_rebuilt_to_the_position_of_the_others() {
    let (database, mut ledger, views) = projected_ledger().await;
    assert!(ledger.case("Z0001ZZ", 3, tier("C", None)).await);
    execute(&database.pool, DAMAGE).await;
    for view in ["case_period", "allocation", "prison"] {
        assert_success(run_projections(&database, &["rebuild", "--view", view]).await);
    }
    assert_eq!(dump_views(&database.pool, "views").await, views);

    // Refused beside views of another version.
    execute(&database.pool, "UPDATE views.checkpoint SET version = version - 1").await;
    assert_failure(&run_projections(&database, &["rebuild", "--view", "prison"]).await, &["version", "rebuild all"]);
    assert_eq!(schemas(&database.pool).await, ["views"]);
}

/// After a restore from a backup the views may include more than the log. They are given up only if
/// the command says so.
#[tokio::test(flavor = "multi_thread")]
async fn views_of_another_log_are_rebuilt_whole() {
    let (database, _ledger, views) = projected_ledger().await;
    execute(&database.pool, "UPDATE views.checkpoint SET position = 1000").await;
    let others = dump_views(&database.pool, "views").await;
    for arguments in [&["rebuild"][..], &["rebuild", "--view", "prison"]] {
        let said = ["position 1000", "another log", "projections rebuild --of-other-log"];
        assert_failure(&run_projections(&database, arguments).await, &said);
    }
    assert_eq!(dump_views(&database.pool, "views").await, others);
    assert_eq!(schemas(&database.pool).await, ["views"]);
    assert_success(run_projections(&database, &["rebuild", "--of-other-log"]).await);
    assert_eq!(dump_views(&database.pool, "views").await, views);
}

/// The keys, indexes, comments and grants of a view do not depend on whether it was migrated or
/// rebuilt.
#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_views_are_described_and_indexed_as_before() {
    let (database, ..) = projected_ledger().await;
    let before = definition(&database.pool, "views").await;
    assert!(before.contains("PRIMARY KEY") && before.contains("comment") && before.contains("analyst"), "{before}");
    assert_success(run_projections(&database, &["rebuild"]).await);
    assert_eq!(definition(&database.pool, "views").await, before);
    for view in VIEWS {
        assert_success(run_projections(&database, &["rebuild", "--view", view.name()]).await);
        assert_eq!(definition(&database.pool, "views").await, before, "{view}");
    }
}

/// No event is skipped: an unreadable event stops a rebuild, and the views stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_log_ends_a_rebuild_and_is_named() {
    const DAMAGED: u64 = 12;
    for damage in [
        "DELETE FROM log.event WHERE position = 12",
        "UPDATE log.event SET data = '{' WHERE position = 12",
        "UPDATE log.event SET type = 'PrisonerTeleported' WHERE position = 12",
    ] {
        let (database, ledger, views) = projected_ledger().await;
        assert!(ledger.log.head().await.expect("the head") > DAMAGED);
        let without_guards = format!("SET session_replication_role = replica; {damage}");
        let mut connection = database.pool.acquire().await.expect("a connection").detach();
        sqlx::raw_sql(AssertSqlSafe(without_guards)).execute(&mut connection).await.expect(damage);
        for command in
            [&["rebuild"][..], &["rebuild", "--view", "prison"], &["rebuild", "--as-of", "20", "--schema", "march"]]
        {
            let ran = run_projections(&database, command).await;
            assert_failure(&ran, &[&format!("position {DAMAGED}")]);
            assert_eq!(dump_views(&database.pool, "views").await, views, "{damage}");
            assert_eq!(schemas(&database.pool).await, ["views"], "{damage}");
        }
        // As of a position before the damage it succeeds.
        assert_success(run_projections(&database, &["rebuild", "--as-of", "11", "--schema", "march"]).await);
    }
}
