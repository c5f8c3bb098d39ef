//! The same fact again: answered with the entry that says so, and not recorded.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    HttpAnswer,
    commands::new_key,
    ledger::{Ledger, assert_recorded, assert_refused, serve_commands},
};

/// The revisions of the events in an answer.
fn revisions(answer: &HttpAnswer) -> Vec<Value> {
    let events = answer.body["events"].as_array().cloned().unwrap_or_default();
    events.iter().map(|event| event["revision"].clone()).collect()
}

#[tokio::test]
async fn the_same_fact_again_is_answered_with_its_entry_and_not_recorded() {
    let ledger = Ledger::start().await;
    let plan = |calculated_on: &str| {
        json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2030-01-01",
            "calculatedOn": calculated_on})
    };
    let tier = json!({"tier": "B2", "source": "DELIUS", "crn": "X123456", "prison": "LEI"});
    let com = json!({"name": "Lee, Sam", "email": "sam.lee@example.org"});
    let decision = json!({"responsible": "PRISON", "reason": "OTHER", "detail": "Agreed"});
    for (revision, (request, body, again)) in [
        ("POST /prisoners/A1234BC/tier", tier.clone(), tier),
        ("PUT /prisoners/A1234BC/community-manager", com.clone(), com),
        ("POST /prisoners/A1234BC/handover-plans", plan("2026-02-01"), plan("2026-02-02")),
        ("PUT /prisoners/A1234BC/responsibility-override", decision.clone(), decision),
    ]
    .into_iter()
    .enumerate()
    {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let method: Method = method.parse().expect("a method");
        let first = ledger.send(method.clone(), path, &new_key(), &body).await;
        assert_eq!(revisions(assert_recorded(&first)), [json!(revision)]);
        let count = ledger.event_count().await;
        let key = new_key();
        let second = ledger.send(method.clone(), path, &key, &again).await;
        assert_eq!((second.status.as_u16(), &second.body), (200, &first.body), "{path}");
        assert_eq!(second.header("etag"), first.header("etag"), "{path}");
        assert_eq!(second.header("location"), first.header("location"), "{path}");
        assert_eq!(ledger.event_count().await, count, "{path}");
    }
}

#[tokio::test]
async fn before_the_entry_that_says_it_the_same_fact_is_recorded() {
    let ledger = Ledger::start().await;
    let path = "/prisoners/A1234BC/tier";
    let tier = |day: u8| json!({"tier": "A", "effectiveAt": format!("2026-03-{day:02}T09:00:00Z")});
    assert_recorded(&ledger.client().post(path, &tier(10)).await);
    assert_recorded(&ledger.client().post(path, &tier(9)).await);
    let again = ledger.client().post(path, &tier(10)).await;
    assert_eq!((again.status.as_u16(), revisions(&again)), (200, vec![json!(0)]), "the entry in effect");
    let between = ledger.client().post(path, &json!({"tier": "A", "effectiveAt": "2026-03-09T12:00:00Z"})).await;
    assert_eq!((between.status.as_u16(), revisions(&between)), (200, vec![json!(1)]));
}

#[tokio::test]
async fn a_key_that_was_answered_with_the_same_fact_is_spent() {
    let ledger = Ledger::start().await;
    let path = "/prisoners/A1234BC/tier";
    let (a, b) = (json!({"tier": "A"}), json!({"tier": "B"}));
    let first = ledger.send(Method::POST, path, &new_key(), &a).await;
    assert_recorded(&first);
    let key = new_key();
    assert_eq!(ledger.send(Method::POST, path, &key, &a).await.text, first.text);
    assert_refused(&ledger.send(Method::POST, path, &key, &b).await, 422, "idempotency-key-reused");
    assert_recorded(&ledger.client().post(path, &b).await);
    let count = ledger.event_count().await;
    let late = ledger.send(Method::POST, path, &key, &a).await;
    assert_eq!((late.status.as_u16(), &late.text), (200, &first.text), "it gets the same answer and changes nothing");
    assert_eq!(ledger.event_count().await, count);
    // Under another key it is a new fact by now.
    assert_recorded(&ledger.send(Method::POST, path, &new_key(), &a).await);
}

#[tokio::test]
async fn a_server_that_is_behind_does_not_take_a_new_fact_for_the_same() {
    let ledger = Ledger::start().await;
    let other = serve_commands(&ledger.database).await;
    let path = "/prisoners/A1234BC/tier";
    let (a, b) = (json!({"tier": "A"}), json!({"tier": "B"}));
    assert_recorded(&ledger.client().post(path, &a).await);
    assert_recorded(&other.client().post(path, &b).await);
    assert_recorded(&ledger.client().post(path, &a).await);
}
