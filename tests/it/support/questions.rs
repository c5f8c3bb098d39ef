//! Questions to a ledger, and the parts of their answers.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    HttpAnswer,
    ledger::{Ledger, assert_recorded},
};

/// Asks once the views include everything recorded so far.
pub async fn ask(ledger: &Ledger, path: &str) -> HttpAnswer {
    ask_with(ledger, Method::GET, path, None).await
}

/// As [`ask`], with a method and a body.
pub async fn ask_with(ledger: &Ledger, method: Method, path: &str, body: Option<&Value>) -> HttpAnswer {
    let head = ledger.event_count().await.to_string();
    ledger.client().send(method, path, &[("Ledger-Position-At-Least", &head)], body).await
}

/// Sends a command, given as `POST /path`, and asserts that it is recorded.
pub async fn record(ledger: &Ledger, request: &str, body: Value) -> HttpAnswer {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    let method = method.parse().expect("a method");
    assert_recorded(&ledger.client().send(method, path, &[], Some(&body)).await).clone()
}

/// Asserts that a question was answered, and returns the body.
#[track_caller]
pub fn assert_ok(answer: &HttpAnswer) -> &Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    &answer.body
}

/// The values of one member, of each item in a list.
#[track_caller]
pub fn members(answer: &HttpAnswer, member: &str) -> Vec<Value> {
    let items = assert_ok(answer).as_array().unwrap_or_else(|| panic!("not a list: {}", answer.text));
    items.iter().map(|item| item[member].clone()).collect()
}

/// The path that the `Link` header names.
pub fn next_page(answer: &HttpAnswer) -> Option<String> {
    let link = answer.header("link")?;
    assert!(link.ends_with("; rel=\"next\""), "{link}");
    Some(link.strip_prefix('<')?.split('>').next()?.to_owned())
}

/// Facts of a sentence whose handover starts and ends on 17 April 2026.
pub fn determinate_sentence() -> Value {
    json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2027-01-01",
        "calculatedOn": "2026-02-03", "effectiveAt": "2026-02-03T09:00:00Z"})
}
