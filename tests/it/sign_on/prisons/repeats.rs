//! A request that is sent again: its answer has what it recorded.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Prisons, assert_not_yours};
use crate::support::{HttpAnswer, commands::new_key, tokens::client, topology::require_single_program};

/// A request with a key, sent again by others.
struct KeyedRequest<'a> {
    prisons: &'a Prisons,
    key: String,
    method: &'a str,
    path: &'a str,
    body: Value,
}

impl<'a> KeyedRequest<'a> {
    fn new(prisons: &'a Prisons, method: &'a str, path: &'a str, body: Value) -> Self {
        Self { prisons, key: new_key(), method, path, body }
    }

    async fn send(&self, token: &str) -> HttpAnswer {
        self.send_with(token, &self.body).await
    }

    async fn send_with(&self, token: &str, body: &Value) -> HttpAnswer {
        let method = self.method.parse::<Method>().expect("a method");
        let headers = [("Authorization", token), ("Idempotency-Key", &self.key)];
        self.prisons.program.program.client().send(method, self.path, &headers, Some(body)).await
    }

    /// Sends it for Leeds, which is answered with `status`, and again: Leeds gets the same answer,
    /// and a caller at Moorland none, whatever body comes with the key.
    async fn check(&self, status: u16) {
        let (leeds, moorland) = (self.prisons.head("HOMD_LEI"), self.prisons.head("HOMD_MDI"));
        let first = self.send(&leeds).await;
        assert_eq!(first.status, status, "{}: {}", self.path, first.text);
        let mut other = self.body.clone();
        other["effectiveAt"] = json!("2026-01-01T00:00:00Z");
        for body in [&self.body, &other] {
            assert_not_yours(&self.send_with(&moorland, body).await, self.path);
        }
        let again = self.send(&leeds).await;
        assert_eq!((again.status.as_u16(), &again.text), (200, &first.text), "{}", self.path);
    }
}

#[tokio::test]
async fn a_repeat_is_answered_to_the_recorder_and_to_callers_of_the_prison_alone() {
    require_single_program();
    let prisons = Prisons::start().await;
    for number in ["A1111AA", "A1111BB", "A1111CC"] {
        prisons.case(number, "LEI", "note of Leeds").await;
    }
    let override_body = json!({"responsible": "PROBATION", "reason": "PRISONER_HAS_BEEN_RECALLED"});
    prisons.record(&prisons.sync(), "PUT", "/prisoners/A1111AA/responsibility-override", override_body).await;
    let tier = KeyedRequest::new(&prisons, "POST", "/prisoners/A1111AA/tier", json!({"tier": "B"}));
    tier.check(201).await;
    // Who comes to the prison later, and a caller of both.
    assert_eq!(tier.send(&prisons.head("HOMD_BOTH")).await.status, 200);
    KeyedRequest::new(&prisons, "POST", "/prisoners/A1111AA/tier", json!({"tier": "B"})).check(200).await;
    KeyedRequest::new(&prisons, "DELETE", "/prisoners/A1111AA/responsibility-override", json!({})).check(201).await;
    let merge = json!({"removedNumber": "A1111BB"});
    KeyedRequest::new(&prisons, "POST", "/prisoners/A1111CC/merges", merge).check(201).await;

    // After a transfer the case is at Moorland, and the recorder may still ask what became of it.
    let transfer = KeyedRequest::new(&prisons, "POST", "/prisoners/A1111AA/transfers", json!({"toPrison": "MDI"}));
    let leeds = prisons.head("HOMD_LEI");
    let first = transfer.send(&leeds).await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!(transfer.send(&leeds).await.text, first.text);
    assert_not_yours(&transfer.send(&prisons.head("HOMD_NONE")).await, "of no prison");
    let kiosk = prisons.bearer(&client("kiosk", &["ROLE_ALLOCATION_LEDGER__RW"], "write"));
    assert_not_yours(&transfer.send(&kiosk).await, "another caller at Leeds");
}
