//! Messages about cases in Delius: their CRN leads to a person, and other services say what is now.

use serde_json::json;

use super::{
    COM_CHANGED, MERGED, RECEIVED, TIER_CHANGED, asking, com_changed, counted, merger, movement, notification,
    serve_asking, tier_changed,
};
use crate::support::{
    Program,
    estate::{Estate, QUEUE},
    eventually,
    ledger::{Ledger, PRISON, SHAH, assert_recorded},
    look_up_services::LookUpServices,
};

/// A case that the ledger knows, with a CRN that the views have.
async fn case_with_crn(ledger: &Ledger, number: &str, crn: &str) {
    let tier = json!({"tier": "C1", "source": "DELIUS", "crn": crn, "prison": PRISON,
        "effectiveAt": "2026-01-05T09:00:00Z"});
    assert_recorded(&ledger.client().post(&format!("/prisoners/{number}/tier"), &tier).await);
    ledger.wait_for_views().await;
}

async fn take_in(estate: &Estate, message: &serde_json::Value) {
    estate.publish(message).await;
    estate.wait_until_taken_in().await;
    assert_eq!(estate.given_up().await, 0);
}

async fn assert_none_parked(ledger: &Ledger) {
    assert_eq!(ledger.client().get("/integration/parked").await.body, json!([]));
}

async fn com_of(ledger: &Ledger, number: &str) -> Option<String> {
    ledger.state(number).await.community_manager.map(|role| role.manager.name)
}

#[tokio::test]
async fn a_changed_tier_is_looked_up_and_holds_since_its_calculation() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    case_with_crn(&ledger, "A1111AA", "X111111").await;
    services.set_tier("X111111", "B2S", "2026-03-01T10:30:00.123456");
    take_in(&estate, &tier_changed("X111111")).await;
    assert_eq!(services.requests(), ["/tiers/v3/crn/X111111/tier"], "the person is known by the CRN");
    let events = ledger.case_events("A1111AA").await;
    let entry = &events.last().expect("an event").entry;
    assert_eq!((events.len(), entry.effective_at.to_rfc3339()), (2, "2026-03-01T10:30:00.123456+00:00".to_owned()));
    let recorder = &entry.recorded_by;
    let user = recorder.username.as_ref().map(ToString::to_string);
    assert_eq!((user.as_deref(), recorder.client.as_str()), (Some("HMPPS_DOMAIN_EVENTS"), "hmpps-domain-events"));
    let tier = ledger.state("A1111AA").await.tier.expect("a tier");
    assert_eq!((tier.tier.to_string(), tier.crn.map(|crn| crn.to_string())), ("B2S".into(), Some("X111111".into())));
    // An older message comes late: what is fetched is the newest all the same.
    take_in(&estate, &tier_changed("X111111")).await;
    assert_eq!(counted(&ledger, TIER_CHANGED, "already-held").await, 1);
    assert_eq!(ledger.types("A1111AA").await, ["TierAssigned"; 2]);
    assert_none_parked(&ledger).await;
}

/// The person was received, and nothing else is known of them.
#[tokio::test]
async fn a_crn_that_the_ledger_does_not_know_is_looked_up_and_brings_the_rest_of_the_record() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    take_in(&estate, &movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 2)).await;
    services.set_tier("X111111", "D", "2024-07-01T09:30:00");
    services.set_record("X111111", Some("A1111AA"), ("Jo", "Bell"), Some("HIGH"));
    take_in(&estate, &tier_changed("X111111")).await;
    assert_eq!(ledger.types("A1111AA").await, ["Received", "TierAssigned", "CommunityManagerAssigned"]);
    let state = ledger.state("A1111AA").await;
    let tier = state.tier.expect("a tier");
    assert_eq!((tier.tier.to_string().as_str(), tier.rosh_level.map(|level| level.word())), ("D", Some("HIGH")));
    let manager = state.community_manager.expect("a COM").manager;
    assert_eq!((manager.name.as_str(), manager.ldu.as_deref()), ("Bell, Jo", Some("Leeds")));
    let events = ledger.case_events("A1111AA").await;
    assert_eq!(events[1].entry.effective_at, events[0].entry.effective_at, "not from before the case begins");
    assert!(state.waiting.is_some(), "it waits to be allocated, now that it has a tier");
    // A CRN of a person in no prison, and one that Delius does not have.
    services.set_record("X222222", None, ("Jo", "Bell"), None);
    for crn in ["X222222", "X333333"] {
        take_in(&estate, &tier_changed(crn)).await;
        take_in(&estate, &com_changed(crn)).await;
    }
    assert_eq!(counted(&ledger, TIER_CHANGED, "unknown-person").await, 2);
    assert_eq!(counted(&ledger, COM_CHANGED, "unknown-person").await, 2);
    assert_none_parked(&ledger).await;
}

#[tokio::test]
async fn a_com_is_named_replaced_and_removed_as_delius_has_it() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    ledger.case("A1111AA", SHAH).await;
    services.set_record("X111111", Some("A1111AA"), ("Jo", "Bell"), None);
    take_in(&estate, &com_changed("X111111")).await;
    assert_eq!(com_of(&ledger, "A1111AA").await.as_deref(), Some("Bell, Jo"));
    take_in(&estate, &com_changed("X111111")).await;
    assert_eq!(counted(&ledger, COM_CHANGED, "already-held").await, 1);
    services.set_record("X111111", Some("A1111AA"), ("Ann", "Carr"), Some("LOW"));
    let allocated = json!({
        "eventType": "person.community.manager.allocated", "version": 1, "occurredAt": "2026-03-02T09:00:00Z",
        "detailUrl": "https://hmpps-workload.hmpps.service.justice.gov.uk/allocation/person/7",
        "additionalInformation": {"allocationId": "7"},
        "personReference": {"identifiers": [{"type": "CRN", "value": "X111111"}]},
    });
    take_in(&estate, &allocated).await;
    let state = ledger.state("A1111AA").await;
    assert_eq!(com_of(&ledger, "A1111AA").await.as_deref(), Some("Carr, Ann"));
    let tier = state.tier.expect("a tier");
    assert_eq!((tier.tier.to_string().as_str(), tier.rosh_level.map(|level| level.word())), ("C1", Some("LOW")));
    assert!(state.primary_pom.is_some());
    services.set_record("X111111", Some("A1111AA"), ("Unallocated", "Staff"), Some("LOW"));
    take_in(&estate, &com_changed("X111111")).await;
    assert_eq!(com_of(&ledger, "A1111AA").await, None);
    let types = ledger.types("A1111AA").await;
    let expected = [
        "TierAssigned",
        "AllocationMade",
        "CrnRecorded",
        "CommunityManagerAssigned",
        "CommunityManagerAssigned",
        "TierAssigned",
        "CommunityManagerRemoved",
    ];
    assert_eq!(types, expected);
    assert_none_parked(&ledger).await;
}

#[tokio::test]
async fn a_message_about_a_case_in_delius_that_comes_many_times_to_two_consumers_is_recorded_once() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    let (stores, variables) = (ledger.database.arguments(), services.environment());
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let arguments = [&["--role", "integration", "--domain-events-queue", QUEUE], &stores[..]].concat();
    let other = Program::start_in(&asking(estate.environment(), &variables), &arguments).await.into_ready().await;
    for (number, crn) in [("A1111AA", "X111111"), ("A2222BB", "X222222")] {
        ledger.case(number, SHAH).await;
        services.set_tier(crn, "A3", "2026-03-01T10:30:00");
        services.set_record(crn, Some(number), ("Jo", "Bell"), None);
    }
    for copy in 0..8 {
        for (crn, id) in [("X111111", 1), ("X222222", 2)] {
            let id = |of: u8| format!("63ba0b4b-0000-4000-8000-0000000000{of}{id}");
            estate.send(&notification(&id(0), &tier_changed(crn))).await;
            estate.send(&notification(&id(1), &com_changed(crn))).await;
            if copy == 4 {
                // Another message that says the same.
                estate.send(&notification(&id(2), &tier_changed(crn))).await;
            }
        }
    }
    estate.wait_until_taken_in().await;
    for number in ["A1111AA", "A2222BB"] {
        let mut types = ledger.types(number).await.split_off(2);
        // The CRN comes with the tier, or before it with the COM.
        types.retain(|name| *name != "CrnRecorded");
        types.sort_unstable();
        assert_eq!(types, ["CommunityManagerAssigned", "TierAssigned"], "{number}");
    }
    assert_none_parked(&ledger).await;
    assert_eq!(estate.given_up().await, 0);
    assert!(other.stop().await.success());
}

/// SQS keeps no order: the messages of Delius come before the reception.
#[tokio::test]
async fn a_message_of_delius_that_comes_before_its_person_is_recorded_after() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    services.set_tier("X111111", "D", "2026-02-01T09:30:00");
    services.set_record("X111111", Some("A1111AA"), ("Jo", "Bell"), None);
    take_in(&estate, &tier_changed("X111111")).await;
    take_in(&estate, &com_changed("X111111")).await;
    assert_eq!(counted(&ledger, TIER_CHANGED, "unknown-person").await, 1);
    take_in(&estate, &movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 2)).await;
    let mut types = ledger.types("A1111AA").await;
    // The CRN comes with the tier, or before it with the COM.
    types.retain(|name| *name != "CrnRecorded");
    types.sort_unstable();
    assert_eq!(types, ["CommunityManagerAssigned", "Received", "TierAssigned"]);
    assert_none_parked(&ledger).await;
}

#[tokio::test]
async fn a_case_in_delius_goes_on_under_the_number_that_survived_a_merge() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    ledger.case("A1111AA", SHAH).await;
    ledger.case("B2222BB", SHAH).await;
    take_in(&estate, &merger("A1111AA", "B2222BB", 3)).await;
    assert_eq!(counted(&ledger, MERGED, "recorded").await, 1);
    services.set_record("X222222", Some("B2222BB"), ("Jo", "Bell"), None);
    take_in(&estate, &com_changed("X222222")).await;
    assert_eq!(com_of(&ledger, "A1111AA").await.as_deref(), Some("Bell, Jo"));
    assert_none_parked(&ledger).await;
}

/// The risk of serious harm is recorded with the tier that the case has. Another tier is recorded
/// while the message is at work, whose command waits behind it.
#[tokio::test]
async fn a_tier_that_comes_between_is_not_taken_back_by_a_risk_that_was_looked_up() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    case_with_crn(&ledger, "A1111AA", "X111111").await;
    services.set_record("X111111", Some("A1111AA"), ("Jo", "Bell"), None);
    take_in(&estate, &com_changed("X111111")).await;
    services.set_record("X111111", Some("A1111AA"), ("Jo", "Bell"), Some("HIGH"));
    let mut lock = ledger.database.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM log.head FOR UPDATE").execute(&mut *lock).await.expect("hold the log");
    let client = ledger.client().clone();
    let tier = json!({"tier": "A3", "source": "MANUAL", "crn": "X111111", "prison": PRISON,
        "effectiveAt": "2026-03-02T09:00:00Z"});
    let assigning = tokio::spawn(async move { client.post("/prisoners/A1111AA/tier", &tier).await });
    let is_waiting = async || {
        let sql = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE NOT granted AND datname = current_database()";
        let count = sqlx::query_scalar::<_, i64>(sql).fetch_one(&ledger.database.pool).await.expect("count waits");
        (count == 1).then_some(())
    };
    eventually("the tier is being appended", is_waiting).await;
    let asked = services.requests().len();
    estate.publish(&com_changed("X111111")).await;
    eventually("the record is asked for", async || (services.requests().len() > asked).then_some(())).await;
    // The answer is read in less time than these take.
    for _ in 0..3 {
        assert_eq!(ledger.client().get("/health").await.status, 200);
    }
    lock.rollback().await.expect("let the log go");
    assert_recorded(&assigning.await.expect("an answer"));
    estate.wait_until_taken_in().await;
    let tier = ledger.state("A1111AA").await.tier.expect("a tier");
    assert_eq!((tier.tier.to_string().as_str(), tier.rosh_level.map(|level| level.word())), ("A3", Some("HIGH")));
    assert_none_parked(&ledger).await;
}
