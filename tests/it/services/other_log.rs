//! Views that were built from another log than the configured one. They stay as they are, and the
//! services say so, until an operator rebuilds them.

use serde_json::json;
use sqlx::AssertSqlSafe;

use super::{ask, position, service, tier, value, wait_for_reason};
use crate::support::{
    Program, StandIn, TestDatabase, bare_database, dump_views, eventually, ledger::assert_recorded, run,
};

/// A log in one database and its views in another. The tier of a case is B2. No service runs.
async fn ledger() -> (TestDatabase, TestDatabase) {
    let (log, views) = (bare_database().await, bare_database().await);
    let serve = async |role| service(role, &log.url, &views.url).await.into_ready().await;
    let (projector, command, query) = (serve("projector").await, serve("command").await, serve("query").await);
    let position = position(assert_recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await));
    let answer = ask(&query, "/prisoners/A1234BC/responsibility", &position).await;
    assert_eq!(answer.body["tier"], "B2", "{}", answer.text);
    for program in [projector, command, query] {
        assert!(program.stop().await.success());
    }
    (log, views)
}

/// Starts services with the views of one log and another log, in which the case has this tier.
async fn check(views: &TestDatabase, other: &str, expected: &str) {
    let stores = ["--event-store", other, "--views", &views.url];
    let projections = async |command: &str| run(&[&["projections", command], &stores[..]].concat()).await;
    let before = dump_views(&views.pool, "views").await;
    let epoch = async || value::<i64>(views, "SELECT epoch FROM views.checkpoint").await;
    let epoch_before = epoch().await;

    let all = Program::start(&stores).await;
    wait_for_reason(&all, "projector", "of another log").await;
    assert!(all.stop().await.success());
    let (projector, query) = (service("projector", other, &views.url).await, service("query", other, &views.url).await);
    let said = wait_for_reason(&projector, "projector", "of another log").await;
    assert!(
        said.contains("at position 1,") && said.contains("`allocation-ledger projections rebuild --of-other-log`"),
        "{said}"
    );
    let logged = projector.log();
    assert!(logged.contains("of another log"), "{logged}");
    let said = wait_for_reason(&query, "views", "of another log").await;
    assert!(said.contains("`allocation-ledger projections rebuild --of-other-log`"), "{said}");
    let answer = query.client().get("/projections").await;
    assert_eq!(answer.body[0]["state"], "OTHER_LOG", "{}", answer.text);

    let status = projections("status").await;
    assert!(
        status.stdout.contains("OTHER_LOG")
            && status.stdout.contains("`allocation-ledger projections rebuild --of-other-log`")
    );
    let verified = projections("verify").await;
    assert_eq!((verified.status.code(), verified.stdout.as_str()), (Some(1), ""), "{verified:?}");
    assert!(verified.stderr.contains("of another log"), "{}", verified.stderr);
    let one_view = run(&[&["projections", "rebuild", "--view", "prison"], &stores[..]].concat()).await;
    assert!(one_view.stderr.contains("of another log"), "{one_view:?}");
    let refused = projections("rebuild").await;
    assert!(refused.stderr.contains("of another log"), "{refused:?}");
    assert_eq!((dump_views(&views.pool, "views").await, epoch().await), (before, epoch_before));

    // A rebuild makes them views of this log, and the waiting services continue.
    let rebuilt = run(&[&["projections", "rebuild", "--of-other-log"], &stores[..]].concat()).await;
    assert!(rebuilt.status.success(), "{}", rebuilt.stderr);
    let (projector, query) = (projector.into_ready().await, query.into_ready().await);
    let verified = projections("verify").await;
    assert!(verified.status.success(), "{}{}", verified.stdout, verified.stderr);
    let answer = query.client().get("/prisoners/A1234BC/responsibility").await;
    assert_eq!(answer.body["tier"], json!(expected), "{}", answer.text);
    for program in [projector, query] {
        assert!(program.stop().await.success());
    }
}

/// The other store has a longer log, so its positions do not give it away.
#[tokio::test]
async fn views_are_not_updated_from_another_log() {
    let (log, views) = ledger().await;
    let other = bare_database().await;
    let program = Program::serve_with(&["--event-store", &other.url, "--views", &other.url]).await;
    for value in ["A", "C1", "D2"] {
        assert_recorded(&program.client().post("/prisoners/A1234BC/tier", &tier(value)).await);
    }
    assert!(program.stop().await.success());
    check(&views, &other.url, "D2").await;

    // From here on the views belong to the second log. An empty log has no events that could
    // differ.
    let projector = service("projector", &log.url, &views.url).await;
    wait_for_reason(&projector, "projector", "at position 3, does not stand in it").await;
    sqlx::raw_sql("DROP SCHEMA views CASCADE").execute(&views.pool).await.expect("drop the views");
    let projector = projector.into_ready().await;
    let position = async || value::<i64>(&views, "SELECT position FROM views.checkpoint").await;
    eventually("the views of the first log", async || (position().await == 1).then_some(())).await;
    assert!(projector.stop().await.success());
}

/// The same events at other positions.
#[tokio::test]
async fn views_are_not_updated_from_a_copy_of_their_log_in_another_store() {
    let ((log, views), server) = (ledger().await, StandIn::start());
    let copied = run(&["copy", "--from", &log.url, "--to", &server.url()]).await;
    assert!(copied.status.success(), "{}", copied.stderr);
    check(&views, &server.url(), "B2").await;
}

/// A log is restored from a backup under running services and grows on. The services notice before
/// the next batch. The command after the backup was sent again, so its event has the same id.
#[tokio::test]
async fn a_running_projector_notices_that_its_log_was_replaced() {
    for other in ["event_id = gen_random_uuid()", "recorded_at = recorded_at - interval '1 second'"] {
        let database = bare_database().await;
        let serve = async |role| service(role, &database.url, &database.url).await.into_ready().await;
        let (projector, command) = (serve("projector").await, serve("command").await);
        let views_at = async |position: i64| {
            let sql = "SELECT position FROM views.checkpoint";
            (value::<i64>(&database, sql).await == position).then_some(())
        };
        assert_recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await);
        eventually("the views of the first log", async || views_at(1).await).await;

        let sql = format!("SET session_replication_role = replica; UPDATE log.event SET {other} WHERE position = 1");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.expect("put another log in its place");
        assert_recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("C1")).await);
        wait_for_reason(&projector, "projector", "of another log").await;
        assert_eq!(views_at(1).await, Some(()), "{other}");

        let stores = ["--event-store", &database.url, "--views", &database.url];
        let rebuilt = run(&[&["projections", "rebuild", "--of-other-log"], &stores[..]].concat()).await;
        assert!(rebuilt.status.success(), "{}", rebuilt.stderr);
        let projector = projector.into_ready().await;
        eventually("the views of the other log", async || views_at(2).await).await;
        for program in [projector, command] {
            assert!(program.stop().await.success());
        }
    }
}
