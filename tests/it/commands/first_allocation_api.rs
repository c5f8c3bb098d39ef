//! The first allocation API.

use domain::identifier::Username;
use reqwest::Method;
use serde_json::json;

use crate::support::{
    commands::new_key,
    ledger::{BYRNE, Ledger, NOVAK, OKAFOR, SHAH, assert_refused},
};

#[tokio::test]
async fn the_first_allocation_api_keeps_its_answers_and_records_events() {
    let ledger = Ledger::start().await;
    let allocation = |staff_id: i64, tier: &str| {
        json!({
            "nomis_staff_id": staff_id, "nomis_offender_id": "A1234BC", "nomis_booking_id": 1153753,
            "allocated_at_tier": tier, "prison": "LEI", "created_by": "pk000223", "note": "Hello",
            "override_reason": null, "email": "g@example.org", "something_else": true,
        })
    };
    let ok = r#"{"status":"ok","errorMessage":"","data":null}"#;
    let answer = ledger.client().post("/allocation", &allocation(SHAH, "C")).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ok));
    assert_eq!(ledger.types("A1234BC").await, ["TierAssigned", "AllocationMade"]);
    let event = ledger.case_events("A1234BC").await.pop().expect("an event");
    assert_eq!(event.entry.recorded_by.username.as_ref().map(Username::as_str), Some("PK000223"));

    let answer = ledger.client().post("/allocation", &json!({ "allocation": allocation(NOVAK, "C") })).await;
    assert_eq!(answer.text, ok);
    let answer = ledger.client().post("/allocation", &allocation(NOVAK, "C")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["status"], json!("error"));
    assert!(answer.body["errorMessage"].as_str().is_some_and(|text| text.contains("already the primary POM")));
    assert_eq!(answer.body.get("data"), None);

    // A refused request records nothing, not even the tier.
    let answer = ledger.client().post("/allocation", &allocation(1, "D")).await;
    assert_eq!(answer.body["status"], json!("error"), "{}", answer.text);
    let answer = ledger.client().post("/allocation", &allocation(OKAFOR, "D")).await;
    assert!(answer.body["errorMessage"].as_str().is_some_and(|text| text.contains("overrideReasons")));
    assert_eq!(ledger.types("A1234BC").await, ["TierAssigned", "AllocationMade", "Reallocated"]);

    let mut body = allocation(OKAFOR, "D");
    body["override_reason"] = json!("Only one free");
    body["nomis_staff_id"] = json!(OKAFOR.to_string());
    let key = new_key();
    assert_eq!(ledger.send(Method::POST, "/allocation", &key, &body).await.text, ok);
    assert_eq!(ledger.send(Method::POST, "/allocation", &key, &body).await.text, ok);
    let types = ["TierAssigned", "AllocationMade", "Reallocated", "TierAssigned", "Reallocated"];
    assert_eq!(ledger.types("A1234BC").await, types);
    // The ledger's own reasons are recorded unchanged. The note is the detail that some of them
    // need.
    for (staff_id, reason, note, detail) in [
        (BYRNE, "suitability", Some("Knows the case"), json!(["SUITABILITY", "Knows the case", null])),
        (OKAFOR, "SUITABILITY", None, json!(["SUITABILITY", "SUITABILITY", null])),
        (BYRNE, "OTHER", Some("Wing move"), json!(["OTHER", null, "Wing move"])),
        (OKAFOR, "NO_STAFF", Some("Hello"), json!(["NO_STAFF", null, null])),
        (BYRNE, "Only one free", Some("Hello"), json!(["OTHER", null, "Only one free"])),
    ] {
        let mut body = allocation(staff_id, "D");
        body["override_reason"] = json!(reason);
        body["note"] = json!(note);
        assert_eq!(ledger.client().post("/allocation", &body).await.text, ok, "{reason}");
        let event = ledger.case_events("A1234BC").await.pop().expect("an event").entry.event;
        let data = &serde_json::to_value(event).expect("JSON")["data"];
        let got = json!([data["overrideReasons"][0], data["suitabilityDetail"], data["overrideDetail"]]);
        assert_eq!(got, detail, "{reason}");
    }
    let answer = ledger.client().post("/allocation", &json!({"nomis_offender_id": "A1234BC"})).await;
    assert_refused(&answer, 400, "field-missing");
}
