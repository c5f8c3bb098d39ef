//! An outage of the Postgres that holds the log.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    commands::new_key,
    eventually,
    ledger::{Ledger, assert_refused, event_types},
    topology::require_log_in_postgres,
};

#[tokio::test]
async fn an_outage_of_postgres_is_a_503_and_ends_by_itself() {
    require_log_in_postgres();
    let ledger = Ledger::start().await;
    ledger.tier("A1234BC").await;
    let admin = ledger.database.url.replace(&format!("/{}?", ledger.database.name), "/postgres?");
    let admin = sqlx::PgPool::connect(&admin).await.expect("the tests' server");
    let name = ledger.database.name.clone();
    let admit = async |admit: bool| {
        let statement = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {admit}");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&admin).await.expect("close or open the database");
        if !admit {
            sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1")
                .bind(&name)
                .execute(&admin)
                .await
                .expect("end its sessions");
        }
    };
    admit(false).await;
    let key = new_key();
    let body = json!({"tier": "B"});
    let known = ledger.send(Method::POST, "/prisoners/A1234BC/tier", &key, &body).await;
    assert_refused(&known, 503, "event-store-unavailable");
    assert!(known.header("retry-after").is_some(), "{known:?}");
    let unknown = ledger.client().post("/prisoners/A1234BD/tier", &body).await;
    assert_refused(&unknown, 503, "event-store-unavailable");

    admit(true).await;
    let answer = eventually("the command to be recorded", async || {
        let answer = ledger.send(Method::POST, "/prisoners/A1234BC/tier", &key, &body).await;
        answer.status.is_success().then_some(answer)
    })
    .await;
    assert_eq!(event_types(&answer), ["TierAssigned"]);
    assert_eq!(ledger.types("A1234BC").await, ["TierAssigned", "TierAssigned"]);
}
