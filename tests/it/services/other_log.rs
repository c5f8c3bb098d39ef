//! Views that were built from another log than the one configured: left as they are, and said so, until somebody has them built
//! anew.

use serde_json::json;
use sqlx::AssertSqlSafe;

use super::{ask, position, says, service, tier, value};
use crate::support::{Program, StandIn, TestDatabase, bare_database, dump_views, eventually, ledger::recorded, run};

/// A log in a database of its own, and its views in another: the tier of a case is B2. Nobody is at work on them.
async fn ledger() -> (TestDatabase, TestDatabase) {
    let (log, views) = (bare_database().await, bare_database().await);
    let serve = async |role| service(role, &log.url, &views.url).await.ready().await;
    let (projector, command, query) = (serve("projector").await, serve("command").await, serve("query").await);
    let position = position(recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await));
    let answer = ask(&query, "/prisoners/A1234BC/responsibility", &position).await;
    assert_eq!(answer.body["tier"], "B2", "{}", answer.text);
    for program in [projector, command, query] {
        assert!(program.stop().await.success());
    }
    (log, views)
}

/// Has the views of one log looked after by those who know another, in which the case has the tier given.
async fn check(views: &TestDatabase, other: &str, expected: &str) {
    let stores = ["--event-store", other, "--views", &views.url];
    let projections = async |command: &str| run(&[&["projections", command], &stores[..]].concat()).await;
    let before = dump_views(&views.pool, "views").await;
    let epoch = async || value::<i64>(views, "SELECT epoch FROM views.checkpoint").await;
    let epoch_before = epoch().await;

    let all = Program::start(&stores).await;
    says(&all, "projector", "of another log").await;
    assert!(all.stop().await.success());
    let (projector, query) = (service("projector", other, &views.url).await, service("query", other, &views.url).await);
    let said = says(&projector, "projector", "of another log").await;
    assert!(
        said.contains("at position 1,") && said.contains("`allocation-ledger projections rebuild --of-other-log`"),
        "{said}"
    );
    let logged = projector.log();
    assert!(logged.contains("of another log"), "{logged}");
    let said = says(&query, "views", "of another log").await;
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

    // Whoever wants them to be of this log says so, and who waits goes on.
    let rebuilt = run(&[&["projections", "rebuild", "--of-other-log"], &stores[..]].concat()).await;
    assert!(rebuilt.status.success(), "{}", rebuilt.stderr);
    let (projector, query) = (projector.ready().await, query.ready().await);
    let verified = projections("verify").await;
    assert!(verified.status.success(), "{}{}", verified.stdout, verified.stderr);
    let answer = query.client().get("/prisoners/A1234BC/responsibility").await;
    assert_eq!(answer.body["tier"], json!(expected), "{}", answer.text);
    for program in [projector, query] {
        assert!(program.stop().await.success());
    }
}

/// Somebody has named another store, whose log is longer, so that its positions do not tell.
#[tokio::test]
async fn views_are_not_kept_up_from_another_log() {
    let (log, views) = ledger().await;
    let other = bare_database().await;
    let program = Program::serve_with(&["--event-store", &other.url, "--views", &other.url]).await;
    for value in ["A", "C1", "D2"] {
        recorded(&program.client().post("/prisoners/A1234BC/tier", &tier(value)).await);
    }
    assert!(program.stop().await.success());
    check(&views, &other.url, "D2").await;

    // From here on they are not of the first any more; an empty database is nobody's.
    let projector = service("projector", &log.url, &views.url).await;
    says(&projector, "projector", "at position 3, does not stand in it").await;
    sqlx::raw_sql("DROP SCHEMA views CASCADE").execute(&views.pool).await.expect("drop the views");
    let projector = projector.ready().await;
    let position = async || value::<i64>(&views, "SELECT position FROM views.checkpoint").await;
    eventually("the views of the first log", async || (position().await == 1).then_some(())).await;
    assert!(projector.stop().await.success());
}

/// The same events stand at other positions.
#[tokio::test]
async fn views_are_not_kept_up_from_a_copy_of_their_log_in_another_store() {
    let ((log, views), server) = (ledger().await, StandIn::start());
    let copied = run(&["copy", "--from", &log.url, "--to", &server.url()]).await;
    assert!(copied.status.success(), "{}", copied.stderr);
    check(&views, &server.url(), "B2").await;
}

/// A log that was put back from a backup under services that run, and has gone on from there, is noticed before the next batch.
/// The command that came after the backup was sent again, so that its event has the same id.
#[tokio::test]
async fn a_projector_at_work_notices_that_its_log_is_another() {
    for other in ["event_id = gen_random_uuid()", "recorded_at = recorded_at - interval '1 second'"] {
        let database = bare_database().await;
        let serve = async |role| service(role, &database.url, &database.url).await.ready().await;
        let (projector, command) = (serve("projector").await, serve("command").await);
        let views_at = async |position: i64| {
            let sql = "SELECT position FROM views.checkpoint";
            (value::<i64>(&database, sql).await == position).then_some(())
        };
        recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("B2")).await);
        eventually("the views of the first log", async || views_at(1).await).await;

        let sql = format!("SET session_replication_role = replica; UPDATE log.event SET {other} WHERE position = 1");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.expect("put another log in its place");
        recorded(&command.client().post("/prisoners/A1234BC/tier", &tier("C1")).await);
        says(&projector, "projector", "of another log").await;
        assert_eq!(views_at(1).await, Some(()), "{other}");

        let stores = ["--event-store", &database.url, "--views", &database.url];
        let rebuilt = run(&[&["projections", "rebuild", "--of-other-log"], &stores[..]].concat()).await;
        assert!(rebuilt.status.success(), "{}", rebuilt.stderr);
        let projector = projector.ready().await;
        eventually("the views of the other log", async || views_at(2).await).await;
        for program in [projector, command] {
            assert!(program.stop().await.success());
        }
    }
}
