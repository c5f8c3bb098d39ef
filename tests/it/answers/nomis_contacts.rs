//! Contacts in NOMIS that a prison still has to remove.

use serde_json::json;

use crate::support::{
    ledger::Ledger,
    questions::{ask, assert_ok, members, next_page, record},
};

#[tokio::test]
async fn outstanding_contacts_are_those_not_removed_at_prisons_on_omic() {
    let ledger = Ledger::start_all_roles().await;
    let contact = |number: &str| json!({"prisonerNumber": number, "staffId": 7, "contactType": "POM"});
    record(&ledger, "POST /prisons/LEI/nomis-contacts", contact("A0002AA")).await;
    record(&ledger, "POST /prisons/LEI/nomis-contacts", contact("A0001AA")).await;
    record(&ledger, "POST /prisons/MDI/nomis-contacts", contact("A0003AA")).await;
    let all = ask(&ledger, "/nomis-contacts").await;
    assert_eq!(members(&all, "prisonerNumber"), ["A0001AA", "A0002AA", "A0003AA"]);
    assert_eq!(members(&all, "prison"), ["LEI", "LEI", "MDI"]);
    let outstanding = ask(&ledger, "/nomis-contacts?outstanding=true").await;
    assert_eq!(members(&outstanding, "prisonerNumber"), ["A0001AA", "A0002AA"], "MDI has not joined");
    assert_eq!(members(&outstanding, "goLiveDate"), ["2019-01-01"; 2]);
    let id = assert_ok(&outstanding)[0]["id"].as_str().expect("an id").to_owned();
    record(&ledger, &format!("POST /prisons/LEI/nomis-contacts/{id}/removal"), json!({})).await;
    let left = ask(&ledger, "/prisons/LEI/nomis-contacts?outstanding=true").await;
    assert_eq!(members(&left, "prisonerNumber"), ["A0002AA"]);
    let ever = ask(&ledger, "/nomis-contacts?outstanding=false").await;
    assert_eq!(members(&ever, "prisonerNumber"), ["A0001AA", "A0002AA", "A0003AA"]);
    let is_removed: Vec<bool> = members(&ever, "removedAt").iter().map(|removed_at| !removed_at.is_null()).collect();
    assert_eq!(is_removed, [true, false, false]);
    let first = ask(&ledger, "/nomis-contacts?limit=1").await;
    let second = ask(&ledger, &next_page(&first).expect("another page")).await;
    assert_eq!((members(&second, "prisonerNumber"), next_page(&second)), (vec![json!("A0003AA")], None));
}
