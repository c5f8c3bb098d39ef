//! Services that are looked up hang, fail, talk nonsense, or refuse the ledger: no message is lost,
//! and no token goes astray.

use serde_json::{Value, json};

use super::{
    COM_CHANGED, RECEIVED, TIER_CHANGED, com_changed, counted, movement, serve_asking, tier_changed, tier_changed_at,
};
use crate::support::{
    estate::Estate,
    eventually,
    ledger::{Ledger, PRISON, SHAH, assert_recorded},
    look_up_services::{Behaviour, LookUpServices},
    run,
};

async fn wait_for_state(ledger: &Ledger, state: &str) -> Value {
    let in_state = async || {
        let component = ledger.client().get("/health").await.body["components"]["messages"].clone();
        (component["details"]["state"] == state).then_some(component)
    };
    eventually(&format!("messages are {state}"), in_state).await
}

/// A ledger with a person whose case in Delius has a COM.
async fn serve_with_case(estate: &Estate, services: &LookUpServices) -> Ledger {
    let ledger = serve_asking(estate, services).await;
    ledger.case("A1111AA", SHAH).await;
    services.set_record("X111111", Some("A1111AA"), ("Jo", "Bell"), None);
    services.set_tier("X111111", "B1", "2026-03-01T10:30:00");
    ledger
}

/// Has the services fail in a way while a message comes, and end that.
async fn check_outage(
    ledger: &Ledger,
    estate: &Estate,
    services: &LookUpServices,
    (begin, end): (impl Fn(), impl Fn()),
    (com, expected): (&str, &str),
) {
    services.set_record("X111111", Some("A1111AA"), ("Jo", com), None);
    begin();
    estate.publish(&com_changed("X111111")).await;
    let waiting = wait_for_state(ledger, "waiting").await;
    assert_eq!((&waiting["status"], &waiting["details"]["warning"]), (&json!("DEGRADED"), &json!(expected)));
    // Another message stays in the queue.
    estate.publish(&movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 2)).await;
    end();
    estate.wait_until_taken_in().await;
    wait_for_state(ledger, "receiving").await;
    let named = ledger.state("A1111AA").await.community_manager.expect("a COM").manager.name;
    assert_eq!(named, format!("{com}, Jo"));
    assert_eq!(ledger.client().get("/integration/parked").await.body, json!([]));
    assert_eq!(estate.given_up().await, 0);
}

#[tokio::test]
async fn while_a_service_fails_messages_wait_and_go_on_by_themselves() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_with_case(&estate, &services).await;
    let behave = |behaviour: Behaviour| {
        let services = services.clone();
        move || services.behave(behaviour.clone())
    };
    let refuse = |refuses: bool| {
        let services = services.clone();
        move || services.refuse_credentials(refuses)
    };
    let well = || behave(Behaviour::Well);
    for (behaviour, expected) in [
        (Behaviour::Failing(503), ("Ash", "a look-up fails: manage-pom-cases-and-delius answers with the status 503")),
        (
            Behaviour::Failing(429),
            ("Birch", "a look-up fails: manage-pom-cases-and-delius answers with the status 429"),
        ),
        (Behaviour::Failing(403), ("Cole", "a look-up fails: manage-pom-cases-and-delius answers with the status 403")),
        (Behaviour::Hanging, ("Dow", "a look-up fails: manage-pom-cases-and-delius does not answer in time")),
        (
            Behaviour::Elsewhere,
            (
                "Elm",
                "a look-up fails: manage-pom-cases-and-delius answers with the status 404 to a path that it should know",
            ),
        ),
    ] {
        check_outage(&ledger, &estate, &services, (behave(behaviour), well()), expected).await;
    }
    let expected = ("Eden", "a look-up fails: the sign-on answers with the status 401");
    check_outage(&ledger, &estate, &services, (refuse(true), refuse(false)), expected).await;
    let log = ledger.program.log();
    for secret in ["X111111", "A1111AA", services.url()] {
        assert!(!log.contains(secret), "the log has {secret}: {log}");
    }
}

#[tokio::test]
async fn a_failure_that_passes_in_a_moment_is_no_outage() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_with_case(&estate, &services).await;
    services.fail_times(2);
    estate.publish(&com_changed("X111111")).await;
    estate.wait_until_taken_in().await;
    assert_eq!(services.requests().len(), 3, "it was tried again");
    assert_eq!(counted(&ledger, COM_CHANGED, "recorded").await, 1);
    let log = ledger.program.log();
    assert!(!log.contains("messages are not received for now"), "{log}");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_parks_its_message_and_the_others_go_on() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_with_case(&estate, &services).await;
    services.behave(Behaviour::TalkingNonsense);
    estate.publish(&com_changed("X111111")).await;
    estate.publish(&movement(RECEIVED, "B2222BB", PRISON, "NEW_ADMISSION", 2)).await;
    estate.wait_until_taken_in().await;
    assert_eq!(ledger.types("B2222BB").await, ["Received"]);
    assert_eq!(counted(&ledger, COM_CHANGED, "parked").await, 1);
    let parked = ledger.client().get("/integration/parked").await.body;
    let waiting = parked.as_array().expect("a list");
    assert_eq!((waiting.len(), &waiting[0]["reason"]), (1, &json!("UNREADABLE")), "{parked}");
    services.behave(Behaviour::Well);
    let id = waiting[0]["id"].as_str().expect("an id");
    let retried = ledger.client().post(&format!("/integration/parked/{id}/retry"), &json!({})).await;
    assert_eq!(retried.body["outcome"], "RECORDED", "{}", retried.text);
    let types = ledger.types("A1111AA").await;
    assert_eq!(types, ["TierAssigned", "AllocationMade", "CrnRecorded", "CommunityManagerAssigned"]);
    assert_eq!(estate.given_up().await, 0);
}

#[tokio::test]
async fn a_first_tier_is_recorded_though_the_rest_of_the_record_makes_no_sense() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    let tier = json!({"tier": "C1", "source": "MANUAL", "crn": "X111111", "prison": PRISON,
        "effectiveAt": "2026-01-05T09:00:00Z"});
    assert_recorded(&ledger.client().post("/prisoners/A1111AA/tier", &tier).await);
    ledger.wait_for_views().await;
    services.set_tier("X111111", "B1", "2026-03-01T10:30:00");
    // The record of another case.
    services.set_record_at("X111111", "X999999");
    estate.publish(&tier_changed("X111111")).await;
    estate.wait_until_taken_in().await;
    assert_eq!(ledger.types("A1111AA").await, ["TierAssigned"; 2]);
    let parked = ledger.client().get("/integration/parked").await.body;
    assert_eq!(parked[0]["reason"], "UNREADABLE", "{parked}");
}

/// The services are well, but for one record. The messages of all others go on.
#[tokio::test]
async fn a_record_at_which_a_service_fails_parks_its_message_and_the_others_go_on() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_with_case(&estate, &services).await;
    services.fail_at("/delius/case-records/X111111", 503);
    estate.publish(&com_changed("X111111")).await;
    wait_for_state(&ledger, "waiting").await;
    estate.publish(&movement(RECEIVED, "B2222BB", PRISON, "NEW_ADMISSION", 2)).await;
    estate.wait_until_taken_in().await;
    assert_eq!(ledger.types("B2222BB").await, ["Received"]);
    let parked = ledger.client().get("/integration/parked").await.body;
    let waiting = parked.as_array().expect("a list");
    assert_eq!((waiting.len(), &waiting[0]["reason"]), (1, &json!("FAILED")), "{parked}");
    assert_eq!(estate.given_up().await, 0);
}

#[tokio::test]
async fn a_case_that_the_ledger_knows_and_a_service_does_not_waits_for_a_person() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_asking(&estate, &services).await;
    ledger.case("A1111AA", SHAH).await;
    services.set_record("X111111", Some("A1111AA"), ("Jo", "Bell"), None);
    estate.publish(&tier_changed("X111111")).await;
    estate.wait_until_taken_in().await;
    let parked = ledger.client().get("/integration/parked").await.body;
    assert_eq!(parked[0]["reason"], "NEEDS_DECISION", "{parked}");
}

/// The shell of an operator has no addresses. Nothing is decided by that.
#[tokio::test]
async fn a_message_that_waits_goes_on_waiting_where_its_service_is_not_configured() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_with_case(&estate, &services).await;
    services.behave(Behaviour::TalkingNonsense);
    estate.publish(&com_changed("X111111")).await;
    estate.wait_until_taken_in().await;
    let parked = ledger.client().get("/integration/parked").await.body;
    let id = parked[0]["id"].as_str().expect("an id");
    let stores = ledger.database.arguments();
    let arguments = [&["integration", "retry", id].map(str::to_owned)[..], &stores].concat();
    let ran = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(!ran.status.success() && ran.stderr.contains("MANAGE_POM_CASES_AND_DELIUS_API_URL"), "{}", ran.stderr);
    assert_eq!(ledger.client().get("/integration/parked").await.body, parked);
}

#[tokio::test]
async fn a_token_is_kept_and_renewed_when_it_has_expired() {
    let Some(estate) = Estate::start().await else { return };
    let services = LookUpServices::serve().await;
    let ledger = serve_with_case(&estate, &services).await;
    for (com, tokens) in [("Ash", 1), ("Birch", 1), ("Cole", 2)] {
        if tokens == 2 {
            services.expire_tokens();
        }
        services.set_record("X111111", Some("A1111AA"), ("Jo", com), None);
        estate.publish(&com_changed("X111111")).await;
        estate.wait_until_taken_in().await;
        assert_eq!(services.tokens(), tokens, "{com}");
    }
    assert_eq!(counted(&ledger, COM_CHANGED, "recorded").await, 3);
}

/// Neither a message's link nor an answer's says where the ledger asks.
#[tokio::test]
async fn the_token_goes_to_the_configured_addresses_alone() {
    let Some(estate) = Estate::start().await else { return };
    let (services, elsewhere) = (LookUpServices::serve().await, LookUpServices::serve().await);
    let ledger = serve_with_case(&estate, &services).await;
    estate.publish(&tier_changed_at("X111111", elsewhere.url())).await;
    estate.wait_until_taken_in().await;
    assert_eq!(counted(&ledger, TIER_CHANGED, "recorded").await, 1);
    services.behave(Behaviour::Redirecting(format!("{}/delius/case-records/X111111", elsewhere.url())));
    estate.publish(&com_changed("X111111")).await;
    let waiting = wait_for_state(&ledger, "waiting").await;
    let warning = waiting["details"]["warning"].as_str().expect("a warning");
    assert!(warning.ends_with("answers with the status 302"), "{warning}");
    services.behave(Behaviour::Well);
    estate.wait_until_taken_in().await;
    assert_eq!((elsewhere.requests(), elsewhere.tokens()), (Vec::new(), 0));
}
