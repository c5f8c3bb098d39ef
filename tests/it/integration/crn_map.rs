//! Which case in Delius is whose: the ledger's own map, made of events.

use serde_json::{Value, json};

use super::{RECEIVED, com_changed, counted, movement, notification, serve, serve_asking, tier_changed};
use crate::support::{
    estate::Estate,
    eventually,
    ledger::{Ledger, PRISON, SHAH},
    look_up_services::LookUpServices,
};

const MATCHED: &str = "probation-case.prison-identifier.added";
const CASES_MERGED: &str = "probation-case.merge.completed";
const CASE_DELETED: &str = "probation-case.deleted.gdpr";
const CASES_UNMERGED: &str = "probation-case.unmerge.completed";

/// A message of Delius about a case, on a day of March 2026.
fn in_delius(event_type: &str, information: &Value, identifiers: &[(&str, &str)], day: u8) -> Value {
    let identifiers = identifiers.iter().map(|(kind, value)| json!({"type": kind, "value": value}));
    json!({
        "eventType": event_type, "version": 1, "description": "x", "occurredAt": format!("2026-03-{day:02}T09:00:00Z"),
        "additionalInformation": information, "personReference": {"identifiers": identifiers.collect::<Vec<_>>()},
    })
}

fn matched(crn: &str, number: &str, day: u8) -> Value {
    in_delius(MATCHED, &json!({"bookingNumber": "45680A"}), &[("CRN", crn), ("NOMS", number)], day)
}

fn cases_merged(source: &str, target: &str, day: u8) -> Value {
    in_delius(CASES_MERGED, &json!({"sourceCRN": source, "targetCRN": target}), &[("CRN", target)], day)
}

async fn take_in(estate: &Estate, message: &Value) {
    estate.publish(message).await;
    estate.wait_until_taken_in().await;
    assert_eq!(estate.given_up().await, 0);
}

async fn crn_of(ledger: &Ledger, number: &str) -> Option<String> {
    ledger.state(number).await.crn.map(|crn| crn.to_string())
}

async fn assert_none_parked(ledger: &Ledger) {
    assert_eq!(ledger.client().get("/integration/parked").await.body, json!([]));
}

#[tokio::test]
async fn a_match_of_delius_and_a_merge_of_cases_change_the_map_alone() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    let before = ledger.state("A1111AA").await;
    take_in(&estate, &matched("X111111", "A1111AA", 2)).await;
    assert_eq!(crn_of(&ledger, "A1111AA").await.as_deref(), Some("X111111"));
    take_in(&estate, &matched("X111111", "A1111AA", 3)).await;
    assert_eq!(counted(&ledger, MATCHED, "already-held").await, 1);
    // An older message that comes late says what was, not what is.
    take_in(&estate, &matched("X999999", "A1111AA", 1)).await;
    assert_eq!(crn_of(&ledger, "A1111AA").await.as_deref(), Some("X111111"));
    ledger.wait_for_views().await;
    take_in(&estate, &cases_merged("X111111", "X222222", 5)).await;
    assert_eq!(crn_of(&ledger, "A1111AA").await.as_deref(), Some("X222222"));
    assert_eq!(ledger.types("A1111AA").await[2..], ["CrnRecorded"; 3]);
    let after = ledger.state("A1111AA").await;
    assert_eq!(domain::prisoner::State { crn: None, ..after }, before);
    take_in(&estate, &cases_merged("X777777", "X888888", 5)).await;
    assert_eq!(counted(&ledger, CASES_MERGED, "unknown-person").await, 1);
    assert_none_parked(&ledger).await;
}

/// Both come before their person, and wait for that one. The newer one has the smaller id.
#[tokio::test]
async fn of_two_matches_from_before_the_case_the_newer_counts() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    for (id, crn, day) in [(1, "X222222", 2), (2, "X111111", 1)] {
        let id = format!("63ba0b4b-0000-4000-8000-{id:012}");
        estate.send(&notification(&id, &matched(crn, "A1111AA", day))).await;
        estate.wait_until_taken_in().await;
    }
    take_in(&estate, &movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 3)).await;
    assert_eq!(ledger.types("A1111AA").await, ["Received", "CrnRecorded", "CrnRecorded"]);
    assert_eq!(crn_of(&ledger, "A1111AA").await.as_deref(), Some("X222222"));
    assert_none_parked(&ledger).await;
}

#[tokio::test]
async fn a_match_that_comes_before_its_person_is_recorded_after() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    take_in(&estate, &matched("X111111", "A1111AA", 1)).await;
    assert_eq!(counted(&ledger, MATCHED, "unknown-person").await, 1);
    take_in(&estate, &movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 2)).await;
    assert_eq!(ledger.types("A1111AA").await, ["Received", "CrnRecorded"]);
    let events = ledger.case_events("A1111AA").await;
    assert_eq!(events[1].entry.effective_at, events[0].entry.effective_at, "not from before the case begins");
    assert_none_parked(&ledger).await;
}

/// After the merge the case of the one is taken for that of the other; Delius takes them apart.
#[tokio::test]
async fn after_an_unmerge_each_case_is_that_of_the_person_whom_its_record_names() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    for (number, crn) in [("A1111AA", "X111111"), ("B2222BB", "X222222")] {
        ledger.case(number, SHAH).await;
        take_in(&estate, &matched(crn, number, 2)).await;
    }
    ledger.wait_for_views().await;
    take_in(&estate, &cases_merged("X111111", "X222222", 3)).await;
    assert_eq!(crn_of(&ledger, "A1111AA").await.as_deref(), Some("X222222"));
    // Both have it now. The record says whose it is.
    ledger.wait_for_views().await;
    services.set_record("X222222", Some("B2222BB"), ("Jo", "Bell"), None);
    services.set_tier("X222222", "A3", "2026-03-03T12:00:00");
    take_in(&estate, &com_changed("X222222")).await;
    take_in(&estate, &tier_changed("X222222")).await;
    for (number, tier, has_com) in [("A1111AA", "C1", false), ("B2222BB", "A3", true)] {
        let state = ledger.state(number).await;
        let held = state.tier.map(|tier| tier.tier.to_string());
        assert_eq!((held.as_deref(), state.community_manager.is_some()), (Some(tier), has_com), "{number}");
    }
    services.set_record("X111111", Some("A1111AA"), ("Ann", "Carr"), None);
    let unmerged = json!({"reactivatedCRN": "X111111", "unmergedCRN": "X222222"});
    take_in(&estate, &in_delius(CASES_UNMERGED, &unmerged, &[("CRN", "X222222")], 4)).await;
    assert_eq!(crn_of(&ledger, "A1111AA").await.as_deref(), Some("X111111"));
    assert_eq!(crn_of(&ledger, "B2222BB").await.as_deref(), Some("X222222"));
    assert_eq!(counted(&ledger, CASES_UNMERGED, "recorded").await, 1);
    assert_none_parked(&ledger).await;
}

/// No service says whose cases they are, so a person does.
#[tokio::test]
async fn an_unmerge_that_nothing_explains_waits_for_a_person() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    take_in(&estate, &matched("X222222", "A1111AA", 2)).await;
    ledger.wait_for_views().await;
    let unmerged = json!({"reactivatedCRN": "X111111", "unmergedCRN": "X222222"});
    take_in(&estate, &in_delius(CASES_UNMERGED, &unmerged, &[("CRN", "X222222")], 4)).await;
    let unknown = json!({"reactivatedCRN": "X888888", "unmergedCRN": "X999999"});
    take_in(&estate, &in_delius(CASES_UNMERGED, &unknown, &[("CRN", "X999999")], 4)).await;
    let parked = ledger.client().get("/integration/parked").await.body;
    let waiting = parked.as_array().expect("a list");
    assert_eq!((waiting.len(), &waiting[0]["reason"]), (1, &json!("NEEDS_DECISION")), "{parked}");
    assert_eq!(counted(&ledger, CASES_UNMERGED, "unknown-person").await, 1);
}

/// The second message of two comes first, and a case is deleted before anybody is known to have it.
#[tokio::test]
async fn a_merge_or_a_deletion_of_a_case_that_nobody_has_yet_is_decided_on_again() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    take_in(&estate, &cases_merged("X222222", "X333333", 5)).await;
    let deleted = in_delius(CASE_DELETED, &json!({}), &[("CRN", "X444444")], 6);
    take_in(&estate, &deleted).await;
    assert_eq!(counted(&ledger, CASES_MERGED, "unknown-person").await, 1);
    take_in(&estate, &matched("X111111", "A1111AA", 2)).await;
    ledger.wait_for_views().await;
    take_in(&estate, &cases_merged("X111111", "X222222", 4)).await;
    let has_third = async || (crn_of(&ledger, "A1111AA").await.as_deref() == Some("X333333")).then_some(());
    eventually("the merge that came first", has_third).await;
    assert_none_parked(&ledger).await;
    take_in(&estate, &matched("X444444", "A1111AA", 7)).await;
    let is_parked = async || {
        let parked = ledger.client().get("/integration/parked?reason=DELETION").await.body;
        (parked.as_array().map(Vec::len) == Some(1)).then_some(())
    };
    eventually("the deletion waits for a person", is_parked).await;
}
