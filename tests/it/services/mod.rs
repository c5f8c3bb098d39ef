//! The roles apart, each a process of its own, as a cluster runs them: started in any order, with no more rights than each
//! needs, killed, held still, and on a way that fails them.

mod clock;
mod cluster;
mod contention;
mod end;
mod failover;
mod faults;
mod load;
mod other_log;
mod roles;
mod start;

use reqwest::Method;
use serde_json::Value;

use crate::support::{Answer, Program, TestDatabase, eventually};

/// A service over a log and views that are given by URL.
async fn service(role: &str, event_store: &str, views: &str) -> Program {
    Program::start(&["--role", role, "--event-store", event_store, "--views", views]).await
}

/// What a service says of a component, in its readiness, while it is not ready.
async fn unready(program: &Program, component: &str) -> Option<String> {
    let answer = program.client().get("/health/readiness").await;
    let error = answer.body["components"][component]["details"]["error"].as_str();
    assert_eq!(answer.status == 503, answer.body["status"] == "DOWN", "{}", answer.text);
    error.map(str::to_owned)
}

/// Waits until a service says in its readiness why it is not ready.
#[track_caller]
fn says<'a>(program: &'a Program, component: &'a str, what: &'a str) -> impl Future<Output = String> + 'a {
    eventually(what, async move || unready(program, component).await.filter(|error| error.contains(what)))
}

/// Asks, of everything up to a position.
async fn ask(query: &Program, path: &str, position: &str) -> Answer {
    query.client().send(Method::GET, path, &[("Ledger-Position-At-Least", position)], None).await
}

/// Where an answer says that the log was.
fn position(answer: &Answer) -> String {
    answer.header("ledger-position").expect("a position").to_owned()
}

/// What a query answers, first column of the first row.
async fn value<T>(database: &TestDatabase, sql: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(&database.pool).await.expect(sql)
}

/// A tier for a case, as a body.
fn tier(tier: &str) -> Value {
    serde_json::json!({"tier": tier, "source": "DELIUS", "prison": "LEI", "effectiveAt": "2026-01-05T09:00:00Z"})
}
