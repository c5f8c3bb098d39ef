//! Commands and the history of a case: revisions, backdated entries, voids.

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    commands::new_key,
    ledger::{Ledger, NOVAK, PRISON, SHAH, assert_recorded, assert_refused},
};

#[tokio::test]
async fn an_answer_names_user_client_correlation_and_time() {
    let ledger = Ledger::start().await;
    let correlation_id = new_key();
    let headers = [
        ("X-Recorded-By", "SPO_LEEDS"),
        ("X-Correlation-Id", correlation_id.as_str()),
        ("User-Agent", "manage-poms/2.1"),
    ];
    let body = json!({"tier": "A", "effectiveAt": "2026-01-01T10:30:00.1234567+01:00"});
    let answer = ledger.client().send(Method::POST, "/prisoners/A1234BC/tier", &headers, Some(&body)).await;
    let event = &assert_recorded(&answer).body["events"][0];
    assert_eq!(event["recordedBy"], json!({"username": "SPO_LEEDS", "client": "manage-poms"}));
    assert_eq!(event["correlationId"], json!(correlation_id));
    assert_eq!(event["effectiveAt"], json!("2026-01-01T09:30:00.123456Z"), "in UTC, to the microsecond");
    assert_eq!(event["stream"], json!("prisoner-A1234BC"));
    assert_eq!(event["revision"], json!(0));
    assert_eq!(event["schemaVersion"], json!(1));
    assert_eq!(event["data"], json!({"tier": "A", "source": "MANUAL"}));
    assert_eq!(answer.header("idempotency-key"), event["commandId"].as_str(), "made up and answered");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = ledger.client().post("/prisoners/A1234BC/tier", &json!({"tier": "B"})).await;
    let event = &assert_recorded(&answer).body["events"][0];
    assert_eq!(event["effectiveAt"], event["recordedAt"], "without another word, from now");
}

#[tokio::test]
async fn if_match_admits_one_command_per_revision() {
    let ledger = Ledger::start().await;
    let assign = async |tier: &str, if_match: &str, key: &str| {
        let headers = [("If-Match", if_match), ("Idempotency-Key", key)];
        let body = json!({ "tier": tier });
        ledger.client().send(Method::POST, "/prisoners/A1234BC/tier", &headers, Some(&body)).await
    };
    let tier = async |if_match: &str, key: &str| assign("A", if_match, key).await;
    assert_refused(&tier("\"0\"", &new_key()).await, 412, "revision-mismatch");
    ledger.tier("A1234BC").await;
    let first = new_key();
    assert_eq!(assert_recorded(&tier("\"0\"", &first).await).header("etag"), Some("\"1\""));
    assert_eq!(tier("\"0\"", &first).await.status, 200, "a repeat is recognised before the revision is looked at");
    assert_refused(&tier("\"0\"", &new_key()).await, 412, "revision-mismatch");
    assert_refused(&tier("\"7\"", &new_key()).await, 412, "revision-mismatch");
    let keys: Vec<_> = (0..20).map(|_| new_key()).collect();
    let answers = join_all(keys.iter().map(|key| assign("B", "\"1\"", key))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 412).count(), 19);
}

#[tokio::test]
async fn a_backdated_command_fits_into_the_history_or_names_the_entry_in_its_way() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    let path = "/prisoners/A1234BC";
    let reallocation = json!({"prison": PRISON, "pom": {"staffId": NOVAK}, "reason": "Leave",
        "effectiveAt": "2026-03-02T09:00:00Z"});
    assert_recorded(&ledger.client().post(&format!("{path}/reallocations"), &reallocation).await);

    let between = json!({"name": "Lee, Sam", "effectiveAt": "2026-02-15T09:00:00Z"});
    assert_recorded(&ledger.client().put(&format!("{path}/community-manager"), &between).await);

    let before = ledger.event_count().await;
    let ended = json!({"trigger": "MANUAL", "effectiveAt": "2026-02-20T09:00:00Z"});
    let answer = ledger.client().post(&format!("{path}/deallocations"), &ended).await;
    assert_refused(&answer, 422, "later-entry-conflict");
    assert_eq!(answer.body["laterEntry"], json!(2));
    let sentence = answer.body["detail"].as_str().unwrap_or_default();
    assert!(sentence.contains("entry 2") && sentence.contains("Reallocated"), "{sentence}");
    assert_eq!(ledger.event_count().await, before);
}

#[tokio::test]
async fn a_void_removes_an_entry_unless_a_later_one_depends_on_it() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    let void = async |revision: u64| {
        let body = json!({"revision": revision, "reason": "Recorded on the wrong case"});
        ledger.client().post("/prisoners/A1234BC/voids", &body).await
    };
    let answer = void(0).await;
    assert_eq!(assert_refused(&answer, 422, "later-entry-conflict").body["laterEntry"], json!(1));
    assert_recorded(&void(1).await);
    assert_refused(&void(1).await, 422, "entry-already-voided");
    let answer = void(2).await;
    let sentence = assert_refused(&answer, 422, "entry-not-voidable").body["detail"].as_str().unwrap_or_default();
    assert!(sentence.contains("is of type EntryVoided,"), "{sentence}");
    assert_refused(&void(3).await, 422, "entry-unknown");
    ledger.allocate("A1234BC", NOVAK).await;
    assert_eq!(ledger.types("A1234BC").await, ["TierAssigned", "AllocationMade", "EntryVoided", "AllocationMade"]);
}
