//! Days of a prison, by messages and by hand.

use serde_json::{Value, json};

use super::{BOOKING_MOVED, MERGED, RECEIVED, RELEASED, counted, merger, movement, serve};
use crate::support::{
    estate::Estate,
    ledger::{Ledger, PRISON, SHAH, assert_recorded},
    questions::{ask, assert_ok},
};

/// The cases that wait at a prison, with since when and why.
async fn waiting(ledger: &Ledger, prison: &str) -> Value {
    let answer = ask(ledger, &format!("/prisons/{prison}/unallocated")).await;
    let cases = assert_ok(&answer).as_array().expect("a list");
    let of_case = |case: &Value| json!([case["prisonerNumber"], case["waitingSince"], case["waitingReason"]]);
    cases.iter().map(of_case).collect()
}

#[tokio::test]
async fn a_stay_in_prison_is_recorded_from_its_messages() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    ledger.join_omic("MDI").await;
    let take_in = async |message: Value| {
        estate.publish(&message).await;
        estate.wait_until_taken_in().await;
    };
    let post = async |part: &str, body: Value| {
        assert_recorded(&ledger.client().post(&format!("/prisoners/A1111AA/{part}"), &body).await);
    };

    take_in(movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 2)).await;
    assert_eq!(waiting(&ledger, PRISON).await, json!([]), "no tier yet");
    post("tier", json!({"tier": "C1", "effectiveAt": "2026-03-03T09:00:00Z"})).await;
    assert_eq!(waiting(&ledger, PRISON).await, json!([["A1111AA", "2026-03-03T09:00:00Z", "RECEIVED"]]));
    let allocation = json!({"prison": PRISON, "pom": {"staffId": SHAH}, "effectiveAt": "2026-03-04T09:00:00Z"});
    post("allocations", allocation).await;

    take_in(movement(RELEASED, "A1111AA", PRISON, "SENT_TO_COURT", 5)).await;
    take_in(movement(RELEASED, "A1111AA", PRISON, "TRANSFERRED", 6)).await;
    let answer = ask(&ledger, "/prisoners/A1111AA/responsibility").await;
    assert_eq!(
        (&assert_ok(&answer)["prison"], &answer.body["responsible"]["vacancy"]),
        (&json!("TRN"), &json!("NOT_ALLOCATED"))
    );
    take_in(movement(RECEIVED, "A1111AA", "MDI", "TRANSFERRED", 7)).await;
    assert_eq!(waiting(&ledger, "MDI").await, json!([["A1111AA", "2026-03-07T09:00:00.013138Z", "TRANSFERRED"]]));
    take_in(merger("B2222BB", "A1111AA", 8)).await;
    assert_eq!(waiting(&ledger, "MDI").await, json!([["B2222BB", "2026-03-07T09:00:00.013138Z", "TRANSFERRED"]]));
    take_in(movement(RELEASED, "B2222BB", "MDI", "RELEASED", 9)).await;
    let answer = ask(&ledger, "/prisoners/A1111AA/responsibility").await;
    assert_eq!(assert_ok(&answer)["phase"], "NOT_IN_CUSTODY");

    let recorded =
        ["Received", "TierAssigned", "AllocationMade", "Deallocated", "Deallocated", "PrisonerNumberRetired"];
    assert_eq!(ledger.types("A1111AA").await, recorded);
    assert_eq!(ledger.types("B2222BB").await, ["PrisonerNumberMerged", "Deallocated"]);
    let first = ledger.case_events("A1111AA").await.remove(0);
    assert_eq!(first.entry.effective_at.to_rfc3339(), "2026-03-02T09:00:00.013138+00:00");
    assert_eq!(first.entry.recorded_by.client, "hmpps-domain-events");
    assert!(first.entry.command_id.is_of_the_ledger(), "no caller can send its id");
    assert_eq!(counted(&ledger, RELEASED, "recorded").await, 2);
    assert_eq!(counted(&ledger, RELEASED, "irrelevant").await, 1);
    assert_eq!(counted(&ledger, MERGED, "recorded").await, 1);
    assert_eq!(estate.given_up().await, 0);
}

#[tokio::test]
async fn messages_that_say_nothing_new_are_counted_and_passed_over() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    let before = ledger.event_count().await;
    // Nobody of whom the ledger knows.
    estate.publish(&movement(RELEASED, "A9999ZZ", PRISON, "RELEASED", 2)).await;
    estate.publish(&movement(RELEASED, "A9999ZZ", PRISON, "TRANSFERRED", 2)).await;
    estate.publish(&merger("A9998ZZ", "A9999ZZ", 2)).await;
    // Types that the ledger does not read.
    estate.publish(&json!({"eventType": "prisoner-offender-search.prisoner.created", "version": 1})).await;
    // A booking of a number with nothing to lose.
    let moved = json!({"movedFromNomsNumber": "A9999ZZ", "movedToNomsNumber": "A1111AA", "bookingId": "1"});
    estate.publish(&json!({"eventType": BOOKING_MOVED, "version": 1, "additionalInformation": moved})).await;
    // The POM has the case here.
    estate.publish(&movement(RECEIVED, "A1111AA", PRISON, "TRANSFERRED", 3)).await;
    estate.wait_until_taken_in().await;
    assert_eq!(ledger.event_count().await, before);
    assert_eq!(counted(&ledger, RELEASED, "unknown-person").await, 2);
    assert_eq!(counted(&ledger, MERGED, "unknown-person").await, 1);
    assert_eq!(counted(&ledger, "other", "irrelevant").await, 1);
    assert_eq!(counted(&ledger, BOOKING_MOVED, "irrelevant").await, 1);
    assert_eq!(counted(&ledger, RECEIVED, "already-held").await, 1);
    // A reception makes a case.
    estate.publish(&movement(RECEIVED, "A3333CC", "MDI", "TRANSFERRED", 4)).await;
    estate.wait_until_taken_in().await;
    assert_eq!(ledger.types("A3333CC").await, ["Received"]);
}

/// The message of the arrival comes before that of the departure.
#[tokio::test]
async fn a_transfer_in_the_wrong_order_is_one_transfer() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    for message in [
        movement(RECEIVED, "A1111AA", "MDI", "TRANSFERRED", 7),
        movement(RELEASED, "A1111AA", PRISON, "TRANSFERRED", 6),
    ] {
        estate.publish(&message).await;
        estate.wait_until_taken_in().await;
    }
    assert_eq!(ledger.types("A1111AA").await, ["TierAssigned", "AllocationMade", "Deallocated"]);
    assert_eq!(counted(&ledger, RELEASED, "already-held").await, 1);
    assert_eq!(waiting(&ledger, "MDI").await, json!([["A1111AA", "2026-03-07T09:00:00.013138Z", "TRANSFERRED"]]));
}
