//! The bodies of the main answers, as snapshots.

use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    ledger::{Ledger, NOVAK, OKAFOR, SHAH},
    questions::{ask, ask_with, assert_ok, determinate_sentence, record},
    snapshot::redact,
};

/// A prison with a case that two POMs and a community manager work on, a case that waits, and a
/// contact in NOMIS.
async fn ledger() -> Ledger {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    record(&ledger, "POST /prisoners/A1234BC/handover-plans", determinate_sentence()).await;
    let coworker = json!({"prison": "LEI", "pom": {"staffId": NOVAK}, "effectiveAt": "2026-02-10T09:00:00Z"});
    record(&ledger, "POST /prisoners/A1234BC/co-workers", coworker).await;
    let manager = json!({"name": "Lee, Sam", "email": "sam.lee@example.org", "effectiveAt": "2026-02-11T09:00:00Z"});
    record(&ledger, "PUT /prisoners/A1234BC/community-manager", manager).await;
    ledger.tier("A1234BD").await;
    let contact =
        json!({"prisonerNumber": "A1234BD", "staffId": 7, "contactType": "POM", "effectiveAt": "2026-01-02T09:00:00Z"});
    record(&ledger, "POST /prisons/LEI/nomis-contacts", contact).await;
    ledger
}

async fn body(ledger: &Ledger, path: &str) -> Value {
    redact(assert_ok(&ask(ledger, path).await))
}

#[tokio::test]
async fn the_bodies_about_a_case_are_as_in_their_snapshots() {
    let ledger = ledger().await;
    let case = "/prisoners/A1234BC";
    assert_json_snapshot!("responsibility", body(&ledger, &format!("{case}/responsibility?on=2026-03-01")).await);
    assert_json_snapshot!("periods", body(&ledger, &format!("{case}/responsibility/periods")).await);
    assert_json_snapshot!("history", body(&ledger, &format!("{case}/history")).await);
    assert_json_snapshot!("subject_access", body(&ledger, "/subject-access-request?prn=A1234BC").await);
    assert_json_snapshot!("events", body(&ledger, "/events?prisoner=A1234BC&type=AllocationMade").await);
    let asked = json!(["A1234BC", "A9999ZZ"]);
    let many = ask_with(&ledger, Method::POST, "/responsibilities?on=2026-03-01", Some(&asked)).await;
    assert_json_snapshot!("responsibilities", redact(assert_ok(&many)));
}

#[tokio::test]
async fn the_bodies_about_a_prison_are_as_in_their_snapshots() {
    let ledger = ledger().await;
    let prison = "/prisons/LEI";
    assert_json_snapshot!("cases", body(&ledger, &format!("{prison}/cases?on=2026-03-01")).await);
    assert_json_snapshot!("unallocated", body(&ledger, &format!("{prison}/unallocated?on=2026-03-01")).await);
    assert_json_snapshot!("handovers", body(&ledger, &format!("{prison}/handovers?on=2026-04-01")).await);
    assert_json_snapshot!("roster", body(&ledger, &format!("{prison}/poms?on=2026-03-01")).await);
    assert_json_snapshot!("statistics", body(&ledger, &format!("{prison}/statistics")).await);
    assert_json_snapshot!("nomis_contacts", body(&ledger, "/nomis-contacts").await);
    assert_json_snapshot!("pom_cases", body(&ledger, &format!("/poms/{SHAH}/cases?on=2026-03-01")).await);
    assert_json_snapshot!("no_pom_cases", body(&ledger, &format!("/poms/{OKAFOR}/cases")).await);
}
