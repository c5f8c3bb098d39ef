//! The history of a case, and everything held about a person.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::{
    checked_in::document,
    ledger::{Ledger, NOVAK, SHAH},
    questions::{ask, assert_ok, members, next_page, record},
};

#[tokio::test]
async fn a_history_includes_voided_entries_and_orders_them_by_effect() {
    let ledger = Ledger::start_all_roles().await;
    ledger.tier("A1234BC").await;
    ledger.allocate("A1234BC", SHAH).await;
    let moved =
        json!({"prison": "LEI", "pom": {"staffId": NOVAK}, "reason": "Leave", "effectiveAt": "2026-03-02T09:00:00Z"});
    record(&ledger, "POST /prisoners/A1234BC/reallocations", moved).await;
    record(&ledger, "POST /prisoners/A1234BC/voids", json!({"revision": 2, "reason": "Wrong case"})).await;
    // Recorded last, effective first.
    let tier = json!({"tier": "D0", "source": "MANUAL", "effectiveAt": "2026-01-01T09:00:00Z"});
    let answer = record(&ledger, "POST /prisoners/A1234BC/tier", tier).await;

    let location = answer.header("location").expect("a location").to_owned();
    let entry = ask(&ledger, &location).await;
    assert_eq!(assert_ok(&entry)["type"], "TierAssigned");
    assert_eq!(assert_ok(&entry)["data"], json!({"tier": "D0", "source": "MANUAL"}));

    let history = ask(&ledger, "/prisoners/A1234BC/history").await;
    assert_eq!(
        members(&history, "type"),
        ["TierAssigned", "TierAssigned", "AllocationMade", "Reallocated", "EntryVoided"]
    );
    assert_eq!(members(&history, "revision"), [4, 0, 1, 2, 3]);
    assert_eq!(members(&history, "voidedBy"), [json!(null), json!(null), json!(null), json!(3), json!(null)]);
    let event = &assert_ok(&history)[2];
    assert_eq!(event["stream"], "prisoner-A1234BC");
    assert_eq!(event["data"]["pom"]["name"], "Shah, Priya");
    for member in ["eventId", "schemaVersion", "position", "recordedAt", "recordedBy", "commandId", "correlationId"] {
        assert!(!event[member].is_null(), "{member} in {event}");
    }

    let of_type = ask(&ledger, "/prisoners/A1234BC/history?type=AllocationMade,Reallocated").await;
    assert_eq!(members(&of_type, "revision"), [1, 2]);
    let between = ask(&ledger, "/prisoners/A1234BC/history?from=2026-01-02&to=2026-02-02T09:00:00Z").await;
    assert_eq!(members(&between, "revision"), [0]);

    let mut revisions = Vec::new();
    let mut next = Some("/prisoners/A1234BC/history?limit=2".to_owned());
    while let Some(path) = next {
        let page = ask(&ledger, &path).await;
        revisions.extend(members(&page, "revision"));
        next = next_page(&page);
    }
    assert_eq!(revisions, [4, 0, 1, 2, 3]);
}

#[tokio::test]
async fn a_subject_access_request_returns_history_and_contacts() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    let contact = json!({"prisonerNumber": "A1234BC", "staffId": 7, "name": "LEE, SAM", "contactType": "POM", "effectiveAt": "2026-01-02T09:00:00Z"});
    record(&ledger, "POST /prisons/LEI/nomis-contacts", contact).await;
    let all = ask(&ledger, "/subject-access-request?prn=A1234BC").await;
    let content = &assert_ok(&all)["content"];
    assert_eq!(content["prisonerNumber"], "A1234BC");
    assert_eq!(content["history"].as_array().map(Vec::len), Some(2));
    assert_eq!(content["history"][1]["data"]["pom"], json!({"surname": "Shah", "kind": "Prison"}));
    assert_eq!(content["nomisContacts"][0]["surname"], "LEE");
    for text in ["staffId", "recordedBy", "commandId", "Priya", "SAM"] {
        assert!(!all.text.contains(text), "{text} in {}", all.text);
    }
    let blanks = ask(&ledger, "/subject-access-request?prn=A1234BC&crn=&fromDate=&toDate=%20").await;
    assert_eq!(assert_ok(&blanks)["content"], *content);
    let some = ask(&ledger, "/subject-access-request?prn=A1234BC&fromDate=2026-02-02&toDate=2026-02-02").await;
    assert_eq!(assert_ok(&some)["content"]["history"].as_array().map(Vec::len), Some(1));
    assert_eq!(assert_ok(&some)["content"]["nomisContacts"], json!([]));
    for (query, status) in [
        ("prn=A1234BC&toDate=2025-01-01", 204),
        ("prn=A9999ZZ", 204),
        ("crn=X123456", 209),
        ("", 400),
        ("prn=A1234BC&crn=X123456", 400),
        ("prn=1234", 400),
        ("prn=A1234BC&fromDate=yesterday", 400),
        ("prn=A1234BC&fromDate=2026-02-03&toDate=2026-02-02", 400),
        ("prn=&crn=", 400),
    ] {
        let answer = ask(&ledger, &format!("/subject-access-request?{query}")).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.text);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{query}");
    }
}

#[tokio::test]
async fn the_template_of_subject_access_reports_is_the_registered_one() {
    let ledger = Ledger::start_all_roles().await;
    let answer = ask(&ledger, "/subject-access-request/template").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("text/plain")));
    // Reports fail while the service that makes them has another one registered: register a new
    // version there before you change this.
    let digest = Sha256::digest(answer.text.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, "31ed1e60fe9af4cd10ce4da381080b88c16f941c0f265a3df332e710698f8d98");
    let page = std::fs::read_to_string(document("api.md")).expect("the page");
    assert!(page.contains(&digest), "docs/api.md tells operators what to register");
}
