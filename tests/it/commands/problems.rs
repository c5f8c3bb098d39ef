//! Problem documents and the answer to a command, as snapshots.

use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    ledger::{Ledger, PRISON, SHAH, assert_recorded},
    snapshot::redact,
};

#[tokio::test]
async fn the_answer_to_a_command_is_as_in_its_snapshot() {
    let ledger = Ledger::start().await;
    ledger.tier("A1234BC").await;
    let allocation = json!({"prison": PRISON, "pom": {"staffId": SHAH}, "effectiveAt": "2026-02-02T09:00:00Z"});
    let answer = ledger.client().post("/prisoners/A1234BC/allocations", &allocation).await;
    assert_json_snapshot!("recorded", redact(&assert_recorded(&answer).body));
}

#[tokio::test]
async fn problem_documents_are_as_in_their_snapshots() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    let case = "/prisoners/A1234BC";
    let post = async |path: &str, body| redact(&ledger.client().post(&format!("{case}/{path}"), &body).await.body);
    assert_json_snapshot!("identifier_invalid", post("tier", json!({"tier": "H"})).await);
    assert_json_snapshot!("field_unknown", post("tier", json!({"tier": "A", "teir": "B"})).await);
    assert_json_snapshot!("later_entry_conflict", post("voids", json!({"revision": 0, "reason": "Wrong case"})).await);
    assert_json_snapshot!("path_unknown", post("allocation", json!({})).await);
    let allocation = json!({"prison": PRISON, "pom": {"staffId": SHAH}});
    assert_json_snapshot!("already_allocated", post("allocations", allocation).await);
    let headers = [("If-Match", "\"7\"")];
    let body = json!({"tier": "A"});
    let mismatch = ledger.client().send(Method::POST, &format!("{case}/tier"), &headers, Some(&body)).await;
    assert_json_snapshot!("revision_mismatch", redact(&mismatch.body));
}
