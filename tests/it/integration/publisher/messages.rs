//! The exact messages of each command, and what their links answer.

use serde_json::{Value, json};

use super::{
    Received, allocation, coworking, handover, published, publishing, received, responsibility,
    responsibility_override, wait_until_published,
};
use crate::support::{
    estate::Estate,
    ledger::{Ledger, NOVAK, OKAFOR, PRISON, SHAH},
    questions::{determinate_sentence, record},
};

const PERSON: &str = "A1111AA";

/// Sends a command about the person, and asserts what is published of it.
struct Story {
    estate: Estate,
    ledger: Ledger,
}

impl Story {
    async fn begin(estate: Estate) -> Self {
        let ledger = publishing(&estate).await;
        Self { estate, ledger }
    }

    #[track_caller]
    fn check(&self, request: &str, body: Value, expected: &[String]) -> impl Future<Output = Vec<Received>> {
        let caller = std::panic::Location::caller();
        async move {
            record(&self.ledger, request, body).await;
            let messages = published(&self.ledger, &self.estate).await;
            let texts: Vec<&str> = messages.iter().map(|message| message.text.as_str()).collect();
            assert_eq!(texts, expected, "{caller}");
            messages
        }
    }
}

fn pom(staff_id: i64, day: &str) -> Value {
    json!({"prison": PRISON, "pom": {"staffId": staff_id}, "effectiveAt": format!("{day}T09:00:00.123456Z")})
}

fn at(day: &str) -> String {
    format!("{day}T09:00:00Z")
}

#[tokio::test]
async fn each_command_publishes_what_it_has_changed() {
    let Some(estate) = Estate::start().await else { return };
    let story = Story::begin(estate).await;
    let allocated = |staff_code, trigger, day| allocation(PERSON, staff_code, PRISON, trigger, &at(day));
    let phase = |phase, day| responsibility(PERSON, phase, &at(day));

    let tier = json!({"tier": "C1", "source": "DELIUS", "prison": PRISON, "effectiveAt": "2026-01-05T09:00:00Z"});
    story.check("POST /prisoners/A1111AA/tier", tier, &[phase("CUSTODY_ONLY", "2026-01-05")]).await;
    let expected = [allocated(Some(SHAH), "user", "2026-02-02")];
    let messages = story.check("POST /prisoners/A1111AA/allocations", pom(SHAH, "2026-02-02"), &expected).await;
    let allocated_event = story.ledger.case_events(PERSON).await.remove(1);
    assert_eq!(messages[0].position, allocated_event.entry.position);
    assert_eq!(messages[0].event_type, "offender-management.allocation.changed");
    let trace = allocated_event.metadata.correlation_id.simple().to_string();
    assert!(messages[0].traceparent.starts_with(&format!("00-{trace}-")), "{messages:?}");
    assert_eq!(messages[0].traceparent.len(), 55);

    let expected = [coworking(PERSON, Some(NOVAK), PRISON, "user", &at("2026-02-03"))];
    story.check("POST /prisoners/A1111AA/co-workers", pom(NOVAK, "2026-02-03"), &expected).await;
    let end = json!({"effectiveAt": "2026-02-04T09:00:00Z"});
    let expected = [coworking(PERSON, None, PRISON, "manual_change", &at("2026-02-04"))];
    story.check("DELETE /prisoners/A1111AA/co-workers/current", end, &expected).await;
    let mut moved = pom(NOVAK, "2026-02-05");
    moved["reason"] = json!("Leave");
    story.check("POST /prisoners/A1111AA/reallocations", moved, &[allocated(Some(NOVAK), "user", "2026-02-05")]).await;

    // Both dates are past, so the COM is responsible at once: since the day of the plan.
    let mut plan = determinate_sentence();
    plan["effectiveAt"] = json!("2026-02-06T09:00:00Z");
    let expected = [handover(PERSON, &at("2026-02-06")), responsibility(PERSON, "COMMUNITY", "2026-04-16T23:00:00Z")];
    story.check("POST /prisoners/A1111AA/handover-plans", plan, &expected).await;
    let decision = json!({"responsible": "PRISON", "reason": "OTHER", "detail": "Agreed with A. N. Other",
        "effectiveAt": "2026-05-01T09:00:00Z"});
    let expected = [
        responsibility_override(PERSON, Some(("PRISON", "OTHER")), &at("2026-05-01")),
        phase("CUSTODY_ONLY", "2026-05-01"),
    ];
    story.check("PUT /prisoners/A1111AA/responsibility-override", decision, &expected).await;
    let end = json!({"effectiveAt": "2026-05-02T09:00:00Z"});
    let expected = [responsibility_override(PERSON, None, &at("2026-05-02")), phase("COMMUNITY", "2026-05-02")];
    story.check("DELETE /prisoners/A1111AA/responsibility-override", end, &expected).await;

    let end = json!({"trigger": "MANUAL", "effectiveAt": "2026-05-03T09:00:00Z"});
    let expected = [allocated(None, "manual_change", "2026-05-03")];
    let messages = story.check("POST /prisoners/A1111AA/deallocations", end, &expected).await;
    let answer = messages[0].follow(&story.ledger).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (404, r#"{"status":"error","message":"Not allocated"}"#)
    );

    // A plan without dates after none changes no date.
    let tier = json!({"tier": "C1", "source": "DELIUS", "prison": PRISON, "effectiveAt": "2026-01-05T09:00:00Z"});
    let expected = [responsibility("A2222BB", "CUSTODY_ONLY", &at("2026-01-05"))];
    story.check("POST /prisoners/A2222BB/tier", tier, &expected).await;
    let recall = json!({"indeterminate": false, "recalled": true, "effectiveAt": "2026-02-03T09:00:00Z"});
    let expected = [responsibility("A2222BB", "COMMUNITY", &at("2026-02-03"))];
    story.check("POST /prisoners/A2222BB/handover-plans", recall, &expected).await;

    // A late entry that changes nothing now is not told.
    let mut plan = determinate_sentence();
    plan["conditionalReleaseDate"] = json!("2028-01-01");
    plan["effectiveAt"] = json!("2026-02-05T12:00:00Z");
    story.check("POST /prisoners/A1111AA/handover-plans", plan, &[]).await;
}

/// A command that records several events, and corrections.
#[tokio::test]
async fn departures_voids_and_late_entries_publish_what_has_changed_now() {
    let Some(estate) = Estate::start().await else { return };
    let story = Story::begin(estate).await;
    let ledger = &story.ledger;
    ledger.case(PERSON, SHAH).await;
    record(ledger, "POST /prisoners/A1111AA/co-workers", pom(OKAFOR, "2026-02-03")).await;
    wait_until_published(ledger).await;
    received(&story.estate).await;

    let transfer = json!({"toPrison": "MDI", "effectiveAt": "2026-03-01T09:00:00Z"});
    let expected = [
        allocation(PERSON, None, PRISON, "offender_transferred", &at("2026-03-01")),
        coworking(PERSON, None, PRISON, "offender_transferred", &at("2026-03-01")),
    ];
    story.check("POST /prisoners/A1111AA/transfers", transfer, &expected).await;
    // The transfer was an error: the POM has had the case all the time.
    let revision = |of: &str, events: &[event_log::StoredEvent]| {
        let found = events.iter().rfind(|event| event.entry.event.type_name() == of);
        found.expect("such an event").entry.revision
    };
    let events = ledger.case_events(PERSON).await;
    let void = json!({"revision": revision("Deallocated", &events), "reason": "Another person"});
    let expected = [allocation(PERSON, Some(SHAH), PRISON, "user", &at("2026-02-02"))];
    let messages = story.check("POST /prisoners/A1111AA/voids", void, &expected).await;
    let answer = messages[0].follow(ledger).await;
    assert_eq!(answer.body["manager"]["code"], SHAH, "{}", answer.text);

    let release = json!({"prison": PRISON, "effectiveAt": "2026-03-05T09:00:00Z"});
    let expected = [
        allocation(PERSON, None, PRISON, "offender_released", &at("2026-03-05")),
        responsibility(PERSON, "NOT_IN_CUSTODY", &at("2026-03-05")),
    ];
    story.check("POST /prisoners/A1111AA/releases", release, &expected).await;
    // So was the release; and a late entry says that another POM has had the case for long.
    let events = ledger.case_events(PERSON).await;
    let void = json!({"revision": revision("Deallocated", &events), "reason": "Another person"});
    let expected = [
        allocation(PERSON, Some(SHAH), PRISON, "user", &at("2026-02-02")),
        responsibility(PERSON, "CUSTODY_ONLY", &at("2026-01-05")),
    ];
    story.check("POST /prisoners/A1111AA/voids", void, &expected).await;
    let mut late = pom(NOVAK, "2026-02-10");
    late["reason"] = json!("Entered late");
    let expected = [allocation(PERSON, Some(NOVAK), PRISON, "user", &at("2026-02-10"))];
    story.check("POST /prisoners/A1111AA/reallocations", late, &expected).await;
}

#[tokio::test]
async fn the_occasion_of_an_end_is_told_as_the_live_service_tells_it() {
    let Some(estate) = Estate::start().await else { return };
    let story = Story::begin(estate).await;
    for (number, pom) in [("A1111AA", SHAH), ("A2222BB", NOVAK)] {
        story.ledger.case(number, pom).await;
    }
    wait_until_published(&story.ledger).await;
    received(&story.estate).await;
    let left = json!({"trigger": "LEGAL_STATUS_CHANGED", "effectiveAt": "2026-03-01T09:00:00Z"});
    let expected = [
        allocation(PERSON, None, PRISON, "legal_status_changed", &at("2026-03-01")),
        responsibility(PERSON, "NOT_IN_CUSTODY", &at("2026-03-01")),
    ];
    story.check("POST /prisoners/A1111AA/deallocations", left, &expected).await;
    // The policy ends the roles of a POM who leaves.
    let left = json!({"status": "INACTIVE", "effectiveAt": "2026-03-02T09:00:00Z"});
    let request = format!("PUT /prisons/{PRISON}/poms/{NOVAK}/status");
    let expected = [allocation("A2222BB", None, PRISON, "inactive_pom", &at("2026-03-02"))];
    story.check(&request, left, &expected).await;
}

/// All that was known of the person was an error.
#[tokio::test]
async fn a_void_of_all_that_was_known_is_told() {
    let Some(estate) = Estate::start().await else { return };
    let story = Story::begin(estate).await;
    let tier = json!({"tier": "C1", "source": "DELIUS", "prison": PRISON, "effectiveAt": "2026-01-05T09:00:00Z"});
    let expected = [responsibility(PERSON, "CUSTODY_ONLY", &at("2026-01-05"))];
    story.check("POST /prisoners/A1111AA/tier", tier, &expected).await;
    let void = json!({"revision": 0, "reason": "Another person"});
    let expected = [responsibility(PERSON, "", &at("2026-01-05"))];
    let messages = story.check("POST /prisoners/A1111AA/voids", void, &expected).await;
    assert_eq!(messages[0].follow(&story.ledger).await.status, 404);
}

#[tokio::test]
async fn a_merge_is_told_of_both_numbers() {
    let Some(estate) = Estate::start().await else { return };
    let story = Story::begin(estate).await;
    let ledger = &story.ledger;
    ledger.case(PERSON, SHAH).await;
    ledger.case("B2222BB", NOVAK).await;
    wait_until_published(ledger).await;
    received(&story.estate).await;

    // Nothing is known of the survivor before. The removed number answers as ever.
    let merge = json!({"removedNumber": PERSON, "effectiveAt": "2026-03-08T09:00:00Z"});
    let expected = [
        allocation("C3333CC", Some(SHAH), PRISON, "manual_change", &at("2026-02-02")),
        responsibility("C3333CC", "CUSTODY_ONLY", &at("2026-03-08")),
    ];
    story.check("POST /prisoners/C3333CC/merges", merge, &expected).await;
    // A consumer that knows the removed number alone hears on.
    let mut moved = pom(NOVAK, "2026-03-09");
    moved["reason"] = json!("Leave");
    let expected =
        ["A1111AA", "C3333CC"].map(|number| allocation(number, Some(NOVAK), PRISON, "user", &at("2026-03-09")));
    story.check("POST /prisoners/C3333CC/reallocations", moved, &expected).await;
    // The survivor has a POM of its own.
    let mut back = pom(SHAH, "2026-03-10");
    back["reason"] = json!("Back");
    story
        .check(
            "POST /prisoners/C3333CC/reallocations",
            back,
            &["A1111AA", "C3333CC"].map(|number| allocation(number, Some(SHAH), PRISON, "user", &at("2026-03-10"))),
        )
        .await;
    let merge = json!({"removedNumber": "C3333CC", "effectiveAt": "2026-03-11T09:00:00Z"});
    let expected = ["A1111AA", "C3333CC"]
        .map(|number| allocation(number, Some(NOVAK), PRISON, "manual_change", &at("2026-02-02")));
    let messages = story.check("POST /prisoners/B2222BB/merges", merge, &expected).await;
    for message in messages {
        assert_eq!(message.follow(ledger).await.body["manager"]["code"], NOVAK);
    }
}
