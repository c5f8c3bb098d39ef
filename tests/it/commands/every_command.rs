//! Every command: the events it records, its headers, its repeats, and the digest by which repeats
//! are recognised.
//!
//! The log keeps the digests: a snapshot holds them, so that a repeat of a request which an earlier
//! program recorded is recognised. If one changes, let the program accept both.

use event_log::StoredEvent;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{
    commands::check_recorded,
    ledger::{Ledger, PRISON, SHAH},
};

/// Adds the day from which a body's command is effective.
fn at(day: &str, mut body: Value) -> Value {
    body["effectiveAt"] = json!(format!("{day}T09:00:00Z"));
    body
}

/// Registers a prison with the POMs 1 (probation), 2 and 3 (prison).
async fn register_prison(ledger: &Ledger) {
    ledger.join_omic(PRISON).await;
    for (staff_id, name, kind) in
        [(1, "Okafor, Grace", "PROBATION"), (2, "Shah, Priya", "PRISON"), (3, "Novak, Jan", "PRISON")]
    {
        ledger.register_pom(PRISON, staff_id, name, kind).await;
    }
}

/// The digests that the log keeps, with the types of their events.
async fn kept_digests(ledger: &Ledger) -> String {
    let events = ledger.events().await;
    let line = |event: &StoredEvent| format!("{} {}\n", event.entry.event.type_name(), event.metadata.request_digest);
    events.iter().map(line).collect()
}

#[tokio::test]
async fn every_command_to_a_prison_is_recorded_once() {
    let ledger = Ledger::empty().await;
    let joined = json!({"goLiveDate": "2019-03-01", "estate": "MENS_CLOSED"});
    check_recorded(&ledger, "POST /prisons/LEI/onboarding", at("2019-01-01", joined.clone()), &["PrisonJoinedOmic"])
        .await;
    let pom = json!({"staffId": 1, "name": "Okafor, Grace", "kind": "PROBATION", "email": "g@example.org"});
    let answer = check_recorded(&ledger, "POST /prisons/LEI/poms", at("2019-01-02", pom), &["PomRegistered"]).await;
    assert_eq!(answer.body["events"][0]["data"]["workingPattern"], json!(1.0));
    assert_eq!(answer.header("location"), Some("/prisons/LEI/poms"));
    for staff_id in [2, 3] {
        let pom = json!({"staffId": staff_id, "name": "Shah, Priya", "kind": "PRISON", "workingPattern": 0.6});
        check_recorded(&ledger, "POST /prisons/LEI/poms", at("2019-01-02", pom), &["PomRegistered"]).await;
    }
    let change = at("2019-01-03", json!({"name": "Okafor-Lee, Grace", "workingPattern": 0.8}));
    check_recorded(&ledger, "PATCH /prisons/LEI/poms/1", change, &["PomDetailsChanged"]).await;
    let status = json!({"status": "UNAVAILABLE", "returnsOn": "2030-01-01", "reason": "Leave"});
    check_recorded(&ledger, "PUT /prisons/LEI/poms/3/status", at("2019-01-04", status), &["PomStatusChanged"]).await;
    let status = at("2019-01-05", json!({"status": "ACTIVE"}));
    check_recorded(&ledger, "PUT /prisons/LEI/poms/3/status", status, &["PomStatusChanged"]).await;
    let contact = json!({"prisonerNumber": "A1234BC", "name": "Shah, Priya", "contactType": "POM"});
    let contact = at("2019-01-06", contact);
    let answer = check_recorded(&ledger, "POST /prisons/LEI/nomis-contacts", contact, &["NomisContactFound"]).await;
    let id = answer.body["events"][0]["data"]["contactId"].as_str().expect("an id").to_owned();
    let removal = format!("POST /prisons/LEI/nomis-contacts/{id}/removal");
    check_recorded(&ledger, &removal, json!({}), &["NomisContactRemovalConfirmed"]).await;
    assert_snapshot!("digests_of_commands_to_a_prison", kept_digests(&ledger).await);
}

#[tokio::test]
async fn every_command_about_the_pom_of_a_case_is_recorded_once() {
    let ledger = Ledger::empty().await;
    register_prison(&ledger).await;
    let tier = json!({"tier": "B2", "roshLevel": "HIGH", "source": "DELIUS", "crn": "X123456", "prison": "LEI"});
    check_recorded(&ledger, "POST /prisoners/A1234BC/tier", at("2026-01-01", tier), &["TierAssigned"]).await;
    let allocation = json!({
        "prison": "LEI", "pom": {"staffId": 2}, "overrideReasons": ["SUITABILITY", "OTHER"],
        "suitabilityDetail": "Known well", "overrideDetail": "Wing move", "note": "Please see today",
    });
    let allocation = at("2026-01-02", allocation);
    let answer = check_recorded(&ledger, "POST /prisoners/A1234BC/allocations", allocation, &["AllocationMade"]).await;
    let data = &answer.body["events"][0]["data"];
    assert_eq!((&data["recommendedPomKind"], &data["tier"]), (&json!("PROBATION"), &json!("B2")));
    let coworker = at("2026-01-03", json!({"prison": "LEI", "pom": {"staffId": 1}}));
    check_recorded(&ledger, "POST /prisoners/A1234BC/co-workers", coworker, &["CoworkerAllocated"]).await;
    let coworker = at("2026-01-04", json!({"prison": "LEI", "pom": {"staffId": 3}}));
    check_recorded(&ledger, "POST /prisoners/A1234BC/co-workers", coworker, &["CoworkerReallocated"]).await;
    let nothing = at("2026-01-05", json!({}));
    check_recorded(&ledger, "DELETE /prisoners/A1234BC/co-workers/current", nothing, &["CoworkerDeallocated"]).await;
    let reallocation = at("2026-01-06", json!({"prison": "LEI", "pom": {"staffId": 1}, "reason": "Wing move"}));
    check_recorded(&ledger, "POST /prisoners/A1234BC/reallocations", reallocation, &["Reallocated"]).await;
    let manual = at("2026-01-12", json!({"trigger": "MANUAL"}));
    check_recorded(&ledger, "POST /prisoners/A1234BC/deallocations", manual, &["Deallocated"]).await;
    let transfer = at("2026-01-13", json!({"toPrison": "MDI"}));
    check_recorded(&ledger, "POST /prisoners/A1234BC/transfers", transfer, &["Deallocated"]).await;
    let release = at("2026-01-14", json!({"prison": "MDI"}));
    let answer = check_recorded(&ledger, "POST /prisoners/A1234BC/releases", release, &["Deallocated"]).await;
    let revision = &answer.body["events"][0]["revision"];
    let void = json!({"revision": revision, "reason": "Another person"});
    check_recorded(&ledger, "POST /prisoners/A1234BC/voids", void, &["EntryVoided"]).await;
    let reception = at("2026-01-16", json!({"prison": "LEI", "reason": "READMISSION"}));
    check_recorded(&ledger, "POST /prisoners/A1234BC/receptions", reception, &["Received"]).await;
    let outside = json!({"trigger": "LEGAL_STATUS_CHANGED"});
    check_recorded(&ledger, "POST /prisoners/A1234BC/deallocations", outside, &["Deallocated"]).await;
    let merge = json!({"removedNumber": "A9999ZZ"});
    let merged = ["PrisonerNumberRetired", "PrisonerNumberMerged"];
    check_recorded(&ledger, "POST /prisoners/A1234BC/merges", merge, &merged).await;
    assert_snapshot!("digests_about_the_pom", kept_digests(&ledger).await);
}

#[tokio::test]
async fn every_command_about_the_responsibility_for_a_case_is_recorded_once() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    let manager = json!({"name": "Lee, Sam", "email": "s@example.org", "team": "Leeds North", "ldu": "Leeds"});
    let manager = at("2026-01-07", manager);
    check_recorded(&ledger, "PUT /prisoners/A1234BC/community-manager", manager, &["CommunityManagerAssigned"]).await;
    let nothing = at("2026-01-08", json!({}));
    check_recorded(&ledger, "DELETE /prisoners/A1234BC/community-manager", nothing, &["CommunityManagerRemoved"]).await;
    let facts = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01",
        "conditionalReleaseDate": "2027-01-01", "mappaLevel": null});
    let facts = at("2026-01-09", facts);
    let answer = check_recorded(&ledger, "POST /prisoners/A1234BC/handover-plans", facts, &["HandoverPlanned"]).await;
    let data = &answer.body["events"][0]["data"];
    assert_eq!(
        json!([data["startDate"], data["handoverDate"], data["reason"], data["earliestRelease"]]),
        json!(["2026-04-17", "2026-04-17", "determinate", {"name": "CRD", "date": "2027-01-01"}]),
    );
    let decision = at("2026-01-10", json!({"responsible": "PROBATION", "reason": "OTHER", "detail": "Agreed"}));
    check_recorded(&ledger, "PUT /prisoners/A1234BC/responsibility-override", decision, &["ResponsibilityOverridden"])
        .await;
    let nothing = at("2026-01-11", json!({}));
    let removal = "DELETE /prisoners/A1234BC/responsibility-override";
    check_recorded(&ledger, removal, nothing, &["ResponsibilityOverrideRemoved"]).await;
    assert_snapshot!("digests_about_the_responsibility", kept_digests(&ledger).await);
}
