//! Messages about people whose data other services have deleted wait for a person, in a list of
//! their own.

use serde_json::{Value, json};

use super::{counted, merger, parked::tool, serve};
use crate::support::{
    estate::Estate,
    eventually,
    ledger::{PRISON, SHAH, assert_recorded, assert_refused},
};

const REMOVED: &str = "prisoner-offender-search.prisoner.removed";
const RETENTION_ENDED: &str = "DATA_COMPLIANCE_DELETE-OFFENDER";
const CASE_DELETED: &str = "probation-case.deleted.gdpr";

fn removed(number: &str) -> Value {
    json!({
        "eventType": REMOVED, "version": 1, "occurredAt": "2026-03-02T09:00:00Z", "description": "x",
        "additionalInformation": {"nomsNumber": number},
        "personReference": {"identifiers": [{"type": "NOMS", "value": number}]},
    })
}

fn retention_ended(number: &str) -> Value {
    let offenders = json!([{"offenderId": 1, "bookings": [{"offenderBookId": 11}]}]);
    json!({"eventType": RETENTION_ENDED, "offenderIdDisplay": number, "offenders": offenders})
}

fn case_deleted(crn: &str) -> Value {
    json!({
        "eventType": CASE_DELETED, "version": 1, "occurredAt": "2026-03-02T09:00:00Z", "description": "x",
        "personReference": {"identifiers": [{"type": "CRN", "value": crn}]},
    })
}

#[tokio::test]
async fn a_deletion_elsewhere_waits_in_a_list_of_its_own() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    for number in ["A1111AA", "A2222BB", "A3333CC", "B1111AA"] {
        ledger.case(number, SHAH).await;
    }
    let tier = json!({"tier": "C1", "source": "DELIUS", "crn": "X333333", "prison": PRISON});
    assert_recorded(&ledger.client().post("/prisoners/A3333CC/tier", &tier).await);
    estate.publish(&merger("A1111AA", "B1111AA", 2)).await;
    estate.wait_until_taken_in().await;
    ledger.wait_for_views().await;
    let before = ledger.event_count().await;
    let messages = [
        removed("A1111AA"),
        retention_ended("A2222BB"),
        case_deleted("X333333"),
        // The number went with a merge; people and a case of whom the ledger knows nothing.
        removed("B1111AA"),
        removed("Z9999ZZ"),
        retention_ended("Z9999ZZ"),
        case_deleted("X999999"),
    ];
    for message in &messages {
        estate.publish(message).await;
        estate.wait_until_taken_in().await;
    }
    assert_eq!((ledger.event_count().await, estate.given_up().await), (before, 0));
    for (event_type, outcome) in [
        (REMOVED, "parked"),
        (RETENTION_ENDED, "parked"),
        (CASE_DELETED, "parked"),
        (REMOVED, "already-held"),
        (REMOVED, "unknown-person"),
        (RETENTION_ENDED, "unknown-person"),
        (CASE_DELETED, "unknown-person"),
    ] {
        assert_eq!(counted(&ledger, event_type, outcome).await, 1, "{event_type} {outcome}");
    }

    let list = async |query: &str| ledger.client().get(&format!("/integration/parked{query}")).await;
    assert_eq!(list("").await.body, json!([]), "not among the other messages");
    let deletions = list("?reason=DELETION").await;
    let types: Vec<&Value> = deletions.body.as_array().expect("a list").iter().map(|one| &one["eventType"]).collect();
    assert_eq!(types, [REMOVED, RETENTION_ENDED, CASE_DELETED]);
    assert_eq!(list("?reason=FAILED").await.body, json!([]));
    assert_refused(&list("?reason=ANOTHER").await, 400, "parameter-invalid");
    assert_eq!(tool(&ledger, &["parked"]).await.trim(), "No message waits.");
    let lines = tool(&ledger, &["parked", "--deletions", "--json"]).await;
    for (line, person) in lines.lines().zip(["A1111AA", "A2222BB", "A3333CC"]) {
        assert!(line.contains(person), "{line}");
    }
    assert_eq!(lines.lines().count(), 3);
    assert_eq!(tool(&ledger, &["retry"]).await, "", "nothing can be done about them yet");
    let status: Value = serde_json::from_str(&tool(&ledger, &["status", "--json"]).await).expect("JSON");
    assert_eq!((&status["parked"], &status["deletions"]), (&json!(0), &json!(3)), "{status}");
    let are_counted = async || {
        let metrics = ledger.client().get("/metrics").await.text;
        ["ledger_messages_parked 0", "ledger_deletions_parked 3"]
            .iter()
            .all(|line| metrics.contains(line))
            .then_some(())
    };
    eventually("the counts", are_counted).await;
}
