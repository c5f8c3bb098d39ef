//! Updates of prisoner search: they say in which respects a person's record has changed, and the
//! record says how.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use command::Clock;
use serde_json::{Value, json};

use super::{RELEASED, counted, movement, serve_asking};
use crate::support::{
    estate::Estate,
    eventually,
    ledger::{Ledger, PRISON, SHAH, assert_recorded},
    look_up_services::LookUpServices,
};

const UPDATED: &str = "prisoner-offender-search.prisoner.updated";

fn updated(number: &str, category: &str, at: DateTime<Utc>) -> Value {
    json!({
        "eventType": UPDATED, "version": 1, "description": "A prisoner record has been updated",
        "occurredAt": at.to_rfc3339_opts(SecondsFormat::Nanos, true),
        "additionalInformation": {"nomsNumber": number, "categoriesChanged": ["LOCATION", category]},
        "personReference": {"identifiers": [{"type": "NOMS", "value": number}]},
    })
}

fn long_ago() -> DateTime<Utc> {
    "2026-03-02T09:00:00Z".parse().expect("an instant")
}

async fn take_in(estate: &Estate, message: &Value) {
    estate.publish(message).await;
    estate.wait_until_taken_in().await;
    assert_eq!(estate.given_up().await, 0);
}

/// The reasons of the messages that wait.
async fn parked(ledger: &Ledger) -> Vec<Value> {
    let parked = ledger.client().get("/integration/parked").await.body;
    parked.as_array().expect("a list").iter().map(|message| message["reason"].clone()).collect()
}

/// Has time pass for the messages about a person that were passed over.
async fn age_passed(ledger: &Ledger, number: &str) {
    let aged = format!(
        r"UPDATE integration.passed_message
        SET body = convert_to(regexp_replace(convert_from(body, 'UTF8'), '20\d\d-\d\d-\d\dT', '2026-03-01T'), 'UTF8')
        WHERE number = '{number}'"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(aged)).execute(&ledger.database.pool).await.expect("let time pass");
}

/// A ledger with two cases of which updates say just now that the persons are out.
async fn told_that_two_are_out() -> Option<(Estate, LookUpServices, Ledger)> {
    let estate = Estate::start().await?;
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    for number in ["A1111AA", "A2222BB"] {
        ledger.case(number, SHAH).await;
        services.set_prisoner(number, "OUT", "SENTENCED", "2029-01-01");
        take_in(&estate, &updated(number, "STATUS", Clock::system().now())).await;
    }
    Some((estate, services, ledger))
}

async fn assert_none_parked(ledger: &Ledger) {
    assert_eq!(ledger.client().get("/integration/parked").await.body, json!([]));
}

#[tokio::test]
async fn a_person_who_is_out_is_released_where_the_message_of_the_release_was_lost() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    ledger.case("A1111AA", SHAH).await;
    services.set_prisoner("A1111AA", "OUT", "SENTENCED", "2029-01-01");
    let before = Clock::system().now();
    take_in(&estate, &updated("A1111AA", "STATUS", long_ago())).await;
    let events = ledger.case_events("A1111AA").await;
    let last = &events.last().expect("an event").entry;
    assert_eq!((events.len(), last.event.type_name()), (3, "Deallocated"));
    assert!(last.effective_at >= before, "from when it was asked for");
    assert!(ledger.state("A1111AA").await.left_at.is_some());
    take_in(&estate, &updated("A1111AA", "STATUS", long_ago())).await;
    take_in(&estate, &updated("B2222BB", "STATUS", long_ago())).await;
    assert_eq!(counted(&ledger, UPDATED, "already-held").await, 1);
    assert_eq!(counted(&ledger, UPDATED, "unknown-person").await, 1);
    assert_none_parked(&ledger).await;
}

/// Both messages come at once, this one first. The other says when the release was.
#[tokio::test]
async fn the_message_of_a_release_is_waited_for_before_an_update_is_one() {
    let Some((estate, _services, ledger)) = told_that_two_are_out().await else { return };
    assert_eq!(counted(&ledger, UPDATED, "already-held").await, 2);
    take_in(&estate, &movement(RELEASED, "A1111AA", PRISON, "RELEASED", 9)).await;
    let released = ledger.case_events("A1111AA").await;
    assert_eq!(released.len(), 3);
    assert_eq!(released[2].entry.effective_at.to_rfc3339(), "2026-03-09T09:00:00.013138+00:00");
    // Of the other person no release is heard of, and time passes.
    age_passed(&ledger, "A2222BB").await;
    let is_released = async || (ledger.types("A2222BB").await.len() == 3).then_some(());
    eventually("the release", is_released).await;
    assert!(ledger.state("A2222BB").await.left_at.is_some());
    assert_eq!(ledger.types("A1111AA").await.len(), 3, "one release");
    assert_none_parked(&ledger).await;
}

#[tokio::test]
async fn a_legal_status_without_poms_ends_the_roles_and_a_new_sentence_the_plan() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    for number in ["A1111AA", "A2222BB"] {
        ledger.case(number, SHAH).await;
    }
    let facts = json!({
        "indeterminate": false, "sentenceStartDate": "2020-01-01", "conditionalReleaseDate": "2028-01-01",
        "earlyAllocation": true, "effectiveAt": "2026-03-01T09:00:00Z",
    });
    assert_recorded(&ledger.client().post("/prisoners/A1111AA/handover-plans", &facts).await);
    services.set_prisoner("A1111AA", PRISON, "SENTENCED", "2029-06-01");
    take_in(&estate, &updated("A1111AA", "SENTENCE", long_ago())).await;
    take_in(&estate, &updated("A1111AA", "SENTENCE", long_ago())).await;
    take_in(&estate, &updated("A1111AA", "STATUS", long_ago())).await;
    let types = ledger.types("A1111AA").await;
    assert_eq!(types, ["TierAssigned", "AllocationMade", "HandoverPlanned", "HandoverPlanned"]);
    let plan = ledger.state("A1111AA").await.arrangements.handover_plan.expect("a plan");
    assert_eq!(plan.handover_date.map(|date| date.to_string()).as_deref(), Some("2028-03-01"), "15 months before");
    assert_eq!(counted(&ledger, UPDATED, "already-held").await, 2);
    // No plan, so there is none to work out again; and a legal status without POMs.
    services.set_prisoner("A2222BB", PRISON, "REMAND", "2029-06-01");
    take_in(&estate, &updated("A2222BB", "SENTENCE", long_ago())).await;
    assert_eq!(ledger.types("A2222BB").await, ["TierAssigned", "AllocationMade"]);
    take_in(&estate, &updated("A2222BB", "STATUS", long_ago())).await;
    assert_eq!(ledger.types("A2222BB").await, ["TierAssigned", "AllocationMade", "Deallocated"]);
    assert!(ledger.state("A2222BB").await.left_at.is_some());
    assert_none_parked(&ledger).await;
}

/// One at a hospital serves on; of another it is not told.
#[tokio::test]
async fn a_person_who_is_out_and_was_not_released_keeps_the_roles() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    for (number, members, expected) in [
        ("A1111AA", json!({"lastMovementReasonCode": "HP"}), 0),
        ("A2222BB", json!({"restrictedPatient": true}), 0),
        ("A3333CC", json!({"lastMovementTypeCode": "TAP"}), 0),
        ("A4444DD", json!({"lastMovementTypeCode": null}), 1),
    ] {
        ledger.case(number, SHAH).await;
        services.set_prisoner(number, "OUT", "SENTENCED", "2029-01-01");
        services.set_in_prisoner(number, &members);
        take_in(&estate, &updated(number, "STATUS", long_ago())).await;
        assert_eq!(ledger.types(number).await, ["TierAssigned", "AllocationMade"], "{members}");
        assert_eq!(parked(&ledger).await, vec![json!("NEEDS_DECISION"); expected], "{members}");
    }
}

#[tokio::test]
async fn an_update_of_the_future_and_a_status_with_poms_again_wait_for_a_person() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    for number in ["A1111AA", "A2222BB"] {
        ledger.case(number, SHAH).await;
    }
    services.set_prisoner("A1111AA", "OUT", "SENTENCED", "2029-01-01");
    take_in(&estate, &updated("A1111AA", "STATUS", Clock::system().now() + TimeDelta::days(1))).await;
    assert_eq!(parked(&ledger).await, ["NEEDS_DECISION"]);
    services.set_prisoner("A2222BB", PRISON, "REMAND", "2029-06-01");
    take_in(&estate, &updated("A2222BB", "STATUS", long_ago())).await;
    take_in(&estate, &updated("A2222BB", "STATUS", long_ago())).await;
    assert_eq!(parked(&ledger).await.len(), 1, "it is known");
    services.set_prisoner("A2222BB", PRISON, "SENTENCED", "2029-06-01");
    take_in(&estate, &updated("A2222BB", "STATUS", long_ago())).await;
    assert_eq!(parked(&ledger).await, ["NEEDS_DECISION"; 2]);
}

/// The look-up of the first one fails whenever it is tried.
#[tokio::test]
async fn a_kept_message_that_cannot_be_decided_on_keeps_none_from_its_turn() {
    let Some((_estate, services, ledger)) = told_that_two_are_out().await else { return };
    services.fail_at("/search/prisoner/A1111AA", 503);
    for number in ["A1111AA", "A2222BB"] {
        age_passed(&ledger, number).await;
    }
    let is_released = async || (ledger.types("A2222BB").await.len() == 3).then_some(());
    eventually("the release of the second", is_released).await;
    let log = ledger.program.log();
    assert!(log.contains("a message that was passed over cannot be decided on for now"), "{log}");
    assert!(!log.contains("A1111AA"), "{log}");
}
