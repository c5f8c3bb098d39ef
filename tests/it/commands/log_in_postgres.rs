//! An outage of the Postgres that holds the log, and a log there that an earlier version made.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    DataDir, Program,
    commands::new_key,
    eventually,
    ledger::{Ledger, assert_refused, change_event, event_types},
    run,
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

/// As a ledger of a version before salts.
#[tokio::test]
async fn a_log_of_an_earlier_version_takes_no_event() {
    require_log_in_postgres();
    let ledger = Ledger::start().await;
    ledger.tier("A1234BC").await;
    let before = ledger.event_count().await;
    let without_salt = "metadata = convert_to((convert_from(metadata, 'UTF8')::jsonb - 'salt')::text, 'UTF8')";
    change_event(&ledger.database, before, without_salt).await;
    let Ledger { database, program } = ledger;
    program.kill();
    let stores = database.store.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    // It never gets ready.
    let program = Program::start(&[&["--role", "command"], &stores[..]].concat()).await;
    let answer = program.client().post("/prisoners/B1234BC/tier", &json!({"tier": "B"})).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert_eq!(database.log().await.head().await.expect("the log's end"), before);
    eventually("the reason in the log", async || program.log().contains("begin a new ledger").then_some(())).await;
    let dir = DataDir::new();
    let file = dir.path().join("contacts.csv");
    std::fs::write(&file, "Prisoner number,Staff ID,Contact type\nA0001BC,485926,POM\n").expect("write a file");
    let import = ["import", "nomis-contacts", file.to_str().expect("a path in UTF-8"), "--prison", "LEI"];
    let ran = run(&[&import[..], &stores[..]].concat()).await;
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("an earlier version of the program made this ledger"), "{}", ran.stderr);
}
