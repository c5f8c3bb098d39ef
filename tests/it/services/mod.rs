//! Each role as a process of its own, as in a cluster: started in any order, with minimal rights,
//! killed, stopped, and behind a faulty network.

mod clock;
mod contention;
mod end;
mod failover;
mod faults;
mod keys;
mod kills;
mod other_log;
mod other_roles;
mod roles;
mod start;

use reqwest::Method;
use serde_json::Value;

use crate::support::{HttpAnswer, Program, TestDatabase, eventually};

/// Starts a service over a log and views that are given by URL.
async fn service(role: &str, event_store: &str, views: &str) -> Program {
    Program::start(&["--role", role, "--event-store", event_store, "--views", views]).await
}

/// The error of a component in the readiness of a service, while the service is not ready.
async fn unready_reason(program: &Program, component: &str) -> Option<String> {
    let answer = program.client().get("/health/readiness").await;
    let error = answer.body["components"][component]["details"]["error"].as_str();
    assert_eq!(answer.status == 503, answer.body["status"] == "DOWN", "{}", answer.text);
    error.map(str::to_owned)
}

/// Waits until a service gives this reason in its readiness.
#[track_caller]
fn wait_for_reason<'a>(program: &'a Program, component: &'a str, what: &'a str) -> impl Future<Output = String> + 'a {
    eventually(what, async move || unready_reason(program, component).await.filter(|error| error.contains(what)))
}

/// Asks once the views include a position.
async fn ask(query: &Program, path: &str, position: &str) -> HttpAnswer {
    query.client().send(Method::GET, path, &[("Ledger-Position-At-Least", position)], None).await
}

/// The position in an answer.
fn position(answer: &HttpAnswer) -> String {
    answer.header("ledger-position").expect("a position").to_owned()
}

/// The first column of the first row of a query.
async fn value<T>(database: &TestDatabase, sql: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(&database.pool).await.expect(sql)
}

/// The body of a tier command.
fn tier(tier: &str) -> Value {
    serde_json::json!({"tier": tier, "source": "DELIUS", "prison": "LEI", "effectiveAt": "2026-01-05T09:00:00Z"})
}
