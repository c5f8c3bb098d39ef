//! Commands to a ledger, sent and checked.

use command::{Clock, Service, ServiceSettings};
use domain::prisoner::RecommendationPolicy;
use event_log::SharedLog;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    HttpAnswer,
    ledger::{Ledger, assert_refused, event_types},
};

/// A command service in this process.
pub fn service_on(log: SharedLog) -> Service {
    let settings = ServiceSettings { clock: Clock::system(), recommendation_policy: RecommendationPolicy::default() };
    Service::new(log, settings)
}

/// A new idempotency key.
pub fn new_key() -> String {
    Uuid::new_v4().to_string()
}

/// Sends a command and checks the events and the headers of its answer. A repeat must get the same
/// answer; another body with the same key must be refused.
#[track_caller]
pub fn check_recorded<'a>(
    ledger: &'a Ledger,
    request: &'a str,
    body: Value,
    types: &'a [&'a str],
) -> impl Future<Output = HttpAnswer> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let method: Method = method.parse().expect("a method");
        let key = new_key();
        let answer = ledger.send(method.clone(), path, &key, &body).await;
        assert_eq!(answer.status, 201, "{caller}: {}", answer.text);
        assert_eq!(event_types(&answer), types, "{caller}");
        let last = answer.body["events"].as_array().and_then(|events| events.last()).expect("an event");
        assert_eq!(answer.header("etag"), Some(format!("\"{}\"", last["revision"]).as_str()), "{caller}");
        assert_eq!(answer.header("ledger-position"), Some(last["position"].to_string().as_str()), "{caller}");
        assert_eq!(answer.header("idempotency-key"), Some(key.as_str()), "{caller}");
        if let Some(number) = last["stream"].as_str().and_then(|stream| stream.strip_prefix("prisoner-")) {
            let location = format!("/prisoners/{number}/history/{}", last["revision"]);
            assert_eq!(answer.header("location"), Some(location.as_str()), "{caller}");
        }

        let again = ledger.send(method.clone(), path, &key, &body).await;
        assert_eq!((again.status.as_u16(), &again.text), (200, &answer.text), "{caller}");
        assert_eq!(again.header("etag"), answer.header("etag"), "{caller}");
        assert_eq!(again.header("ledger-position"), answer.header("ledger-position"), "{caller}");

        let mut other = body;
        other["effectiveAt"] = json!("2026-06-30T12:00:00Z");
        let reused = ledger.send(method, path, &key, &other).await;
        assert_refused(&reused, 422, "idempotency-key-reused");
        answer
    }
}

/// Sends a command, given as `POST /path`, and asserts that it is refused with `status code`, that
/// the refusal is a sentence, and that nothing is recorded.
#[track_caller]
pub fn check_refused<'a>(
    ledger: &'a Ledger,
    request: &'a str,
    body: Value,
    refusal: &'a str,
) -> impl Future<Output = HttpAnswer> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let (status, code) = refusal.split_once(' ').expect("a status and a code");
        let before = ledger.event_count().await;
        let answer = ledger.send(method.parse().expect("a method"), path, &new_key(), &body).await;
        let got = format!("{} {}", answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default());
        assert_eq!(got, format!("{status} {code}"), "{caller}: {}", answer.text);
        let sentence = answer.body["detail"].as_str().unwrap_or_default();
        assert!(sentence.len() > 20 && sentence.ends_with('.'), "{caller}: `{sentence}` is no sentence");
        assert_eq!(ledger.event_count().await, before, "{caller}: nothing is recorded");
        answer
    }
}

/// Posts a body that may be no JSON.
pub async fn send_raw(ledger: &Ledger, path: &str, content_type: Option<&str>, body: impl Into<String>) -> HttpAnswer {
    let url = format!("{}{path}", ledger.client().base_url());
    let mut request = reqwest::Client::new().post(url).body(body.into());
    if let Some(content_type) = content_type {
        request = request.header("Content-Type", content_type);
    }
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a body");
    HttpAnswer { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
}
