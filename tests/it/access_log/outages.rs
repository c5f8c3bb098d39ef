//! A Postgres that takes no entries: what shows it, and how writing goes on.

use std::{collections::BTreeSet, pin::pin};

use futures::future::{join_all, select};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    entries,
    faults::{CASE, serve},
    metric, while_locked, while_renamed,
};
use crate::support::{
    Proxy, TestDatabase, database, eventually,
    ledger::assert_refused,
    tokens::{GuardedProgram, TestKey, changed, person},
    topology::require_single_program,
};

const WAITING: &str = "ledger_access_log_waiting_seconds";

#[tokio::test]
async fn an_access_log_that_stores_nothing_shows_in_the_metrics_and_in_the_health() {
    for (mode, status) in [("best-effort", 200), ("required", 503)] {
        let database = database().await;
        let program = serve(&database, &["--access-log", mode]).await;
        let component = async || {
            let health = program.client().get("/health").await;
            assert_eq!(health.status, 200, "{mode}: {}", health.text);
            health.body["components"]["accessLog"].clone()
        };
        let state = |component: &Value| json!([component["status"], component["details"]["state"]]);
        assert_eq!(state(&component().await), json!(["UP", "running"]), "{mode}");
        while_renamed(&database, async || {
            assert_eq!(program.client().get(CASE).await.status, status, "{mode}");
            // Each of the two may be of a second ago, so neither follows from the other.
            eventually("a wait", async || (metric(&program, WAITING).await > 2.0).then_some(())).await;
            let waited_s = async || component().await["details"]["waitingSeconds"].as_u64();
            eventually("a wait in the health", async || (waited_s().await >= Some(2)).then_some(())).await;
        })
        .await;
        if mode == "required" {
            assert_eq!(program.client().get(CASE).await.status, 200);
        }
        eventually("the end of the wait", async || (metric(&program, WAITING).await == 0.0).then_some(())).await;
        assert_eq!(entries(&database).await.len(), 1, "{mode}");
    }
}

/// Without a time limit the writer would wait for its answer for as long as TCP does.
#[tokio::test]
async fn an_insert_whose_answer_never_comes_is_tried_again() {
    let database = database().await;
    let proxy = Proxy::to_postgres(&database.url);
    let url = proxy.postgres_url(&database.url);
    let program = serve(&database, &["--access-log", "required", "--access-log-url", &url]).await;
    while_locked(&database, async || {
        // Its insert is under way, on the connection that falls silent.
        assert_refused(&program.client().get(CASE).await, 503, "access-log-unavailable");
        proxy.freeze_those_there_are();
    })
    .await;
    eventually("a read", async || (program.client().get(CASE).await.status == 200).then_some(())).await;
    assert!(program.stop().await.success());
}

mod single_program {
    use super::*;

    /// Of four reads, Postgres refuses one and never answers about another.
    #[tokio::test]
    async fn the_end_of_the_service_counts_the_reads_that_were_not_stored_and_no_others() {
        require_single_program();
        let database = database().await;
        let program = serve(&database, &[]).await;
        sqlx::raw_sql(
            "CREATE FUNCTION access.fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF 'A0003AA' = ANY (NEW.prisoners) THEN RAISE SQLSTATE '22000'; END IF;
             IF 'A0004AA' = ANY (NEW.prisoners) THEN PERFORM pg_sleep(60); END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER fail BEFORE INSERT ON access.entry FOR EACH ROW EXECUTE FUNCTION access.fail()",
        )
        .execute(&database.pool)
        .await
        .expect("a trigger");
        assert!(connections_of_projector(&database).await > 0);
        let client = program.client().clone();
        let mut end = pin!(program.stop_and_read_log());
        while_renamed(&database, async || {
            for number in 1..=4 {
                let path = format!("/prisoners/A{number:04}AA/responsibility");
                assert_eq!(client.get(&path).await.status, 404, "a read, too");
            }
            // The writer is told of the end together with the projector.
            let is_told = async || (connections_of_projector(&database).await == 0).then_some(());
            let _ = select(end.as_mut(), pin!(eventually("the end of the projector", is_told))).await;
        })
        .await;
        let (_, log) = end.await;
        assert!(log.contains("2 reads are not in the access log"), "{log}");
        let mut stored: Vec<_> = entries(&database).await.into_iter().flat_map(|entry| entry.prisoners).collect();
        stored.sort();
        assert_eq!(stored, ["A0001AA", "A0002AA"]);
    }

    async fn connections_of_projector(database: &TestDatabase) -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND application_name = 'allocation-ledger projector'";
        sqlx::query_scalar(count).fetch_one(&database.pool).await.expect("the connections")
    }

    /// A token may name a source of sign-on that no text column takes.
    #[tokio::test]
    async fn an_entry_that_postgres_refuses_takes_no_other_with_it() {
        require_single_program();
        let key = TestKey::of_sign_on();
        let program = GuardedProgram::serve(Some(&key), &[]).await;
        let bearer = |claims: &Value| format!("Bearer {}", key.token(claims));
        let read = |name: &str, auth_source: &str| {
            let claims = json!({"user_name": name, "auth_source": auth_source});
            let bearer = bearer(&changed(person(&["ROLE_ALLOC_MGR"]), claims));
            let client = program.program.client().clone();
            async move { client.send(Method::GET, CASE, &[("Authorization", &bearer)], None).await.status }
        };
        let auditor = bearer(&changed(person(&["ROLE_ALLOCATION_LEDGER__AUDIT"]), json!({"user_name": "AUDITOR"})));
        let reads: Vec<_> =
            (0..9).map(|index| read(&format!("POM_{index}"), if index == 4 { "no\0mis" } else { "nomis" })).collect();
        for status in join_all(reads).await {
            assert_eq!(status, 404, "nothing is known of the number, which is a read, too");
        }
        let (readers, lost) = eventually("all entries", async || {
            let answer = program
                .program
                .client()
                .send(Method::GET, "/access-log?limit=1000", &[("Authorization", &auditor)], None)
                .await;
            let listed = answer.body.as_array()?;
            let readers: BTreeSet<String> = listed
                .iter()
                .filter_map(|entry| entry["username"].as_str()?.strip_prefix("POM_").map(str::to_owned))
                .collect();
            let lost: Vec<i64> = listed.iter().filter_map(|entry| entry["notKept"]["reads"].as_i64()).collect();
            (readers.len() == 8 && !lost.is_empty()).then_some((readers, lost))
        })
        .await;
        assert!(!readers.contains("4"), "{readers:?}");
        assert_eq!(lost, [1]);
    }
}
