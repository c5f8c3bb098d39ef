//! Messages of HMPPS: what is recorded of them, what waits for a person, and that nothing is lost
//! or recorded twice.
//!
//! The queues are those of `moto` (see `support::estate`).

mod audit;
mod crn_map;
mod day;
mod dead_letters;
mod deletions;
mod delivery;
mod late;
mod look_up_failures;
mod look_ups;
mod outages;
mod parked;
mod publisher;
mod random;
mod reconcile;
mod reconcile_look_ups;
mod rights;
mod updates;

use serde_json::{Value, json};

use crate::support::{
    Program,
    estate::{Estate, QUEUE},
    ledger::Ledger,
    look_up_services::LookUpServices,
};

const RELEASED: &str = "prisoner-offender-search.prisoner.released";
const RECEIVED: &str = "prisoner-offender-search.prisoner.received";
const MERGED: &str = "prison-offender-events.prisoner.merged";
const BOOKING_MOVED: &str = "prison-offender-events.prisoner.booking.moved";
const TIER_CHANGED: &str = "tier.calculation.changed";
const COM_CHANGED: &str = "OFFENDER_MANAGER_CHANGED";

/// A ledger with all roles that takes in the messages of a queue.
async fn serve(estate: &Estate) -> Ledger {
    Ledger::start_all_roles_in(&estate.environment(), &serve_arguments()).await
}

/// As [`serve`], with services that it asks what messages do not say.
async fn serve_asking(estate: &Estate, services: &LookUpServices) -> Ledger {
    let variables = services.environment();
    let environment = asking(estate.environment(), &variables);
    Ledger::start_all_roles_in(&environment, &serve_arguments()).await
}

/// An environment with that of services which are asked.
fn asking<'a>(environment: [(&'a str, &'a str); 4], services: &'a [(&str, String)]) -> Vec<(&'a str, &'a str)> {
    environment.into_iter().chain(services.iter().map(|(name, value)| (*name, value.as_str()))).collect()
}

/// The arguments that name the queue.
fn serve_arguments() -> [&'static str; 2] {
    ["--domain-events-queue", QUEUE]
}

/// A movement as prisoner search publishes it, at nine o'clock UTC of a day of March 2026.
fn movement(event_type: &str, number: &str, prison: &str, reason: &str, day: u8) -> Value {
    json!({
        "eventType": event_type, "version": 1, "description": "A prisoner moved",
        "occurredAt": format!("2026-03-{day:02}T09:00:00.013138859Z"),
        "detailUrl": format!("https://prisoner-search.prison.service.justice.gov.uk/prisoner/{number}"),
        "additionalInformation": {"nomsNumber": number, "reason": reason, "prisonId": prison},
        "personReference": {"identifiers": [{"type": "NOMS", "value": number}]},
    })
}

fn merger(kept: &str, removed: &str, day: u8) -> Value {
    json!({
        "eventType": MERGED, "version": "1.0", "occurredAt": format!("2026-03-{day:02}T10:00:00+01:00"),
        "publishedAt": format!("2026-03-{day:02}T10:00:01+01:00"), "description": "A prisoner has been merged",
        "additionalInformation":
            {"bookingId": "1221664", "nomsNumber": kept, "removedNomsNumber": removed, "reason": "MERGE"},
    })
}

/// As the tier service publishes it, with a link to its own address.
fn tier_changed(crn: &str) -> Value {
    tier_changed_at(crn, "https://hmpps-tier.hmpps.service.justice.gov.uk")
}

fn tier_changed_at(crn: &str, address: &str) -> Value {
    let id = "56796cab-0000-4000-8000-000000000001";
    json!({
        "eventType": TIER_CHANGED, "version": 3, "description": "Tier calculation resulted in an updated tier value",
        "occurredAt": "2026-03-02T09:06:41.820888194Z", "detailUrl": format!("{address}/v3/crn/{crn}/tier/{id}"),
        "additionalInformation": {"calculationId": id},
        "personReference": {"identifiers": [{"type": "CRN", "value": crn}]},
    })
}

/// As Delius publishes it on the older topic: not in the envelope of the others.
fn com_changed(crn: &str) -> Value {
    json!({"eventType": COM_CHANGED, "offenderId": 2500011641_u64, "crn": crn, "sourceId": 2500428188_u64})
}

/// A body of SQS with a message that has an id of SNS.
fn notification(message_id: &str, event: &Value) -> String {
    json!({
        "Type": "Notification", "MessageId": message_id, "TopicArn": "arn:aws:sns:eu-west-2:000000000000:domain-events",
        "Message": event.to_string(), "Timestamp": "2026-03-01T09:00:01.000Z",
        "MessageAttributes": {"eventType": {"Type": "String", "Value": event["eventType"]}},
    })
    .to_string()
}

/// How many messages of a type had an outcome, as the metrics have it.
async fn counted(ledger: &Ledger, event_type: &str, outcome: &str) -> u64 {
    counted_by(&ledger.program, event_type, outcome).await
}

async fn counted_by(program: &Program, event_type: &str, outcome: &str) -> u64 {
    let series = format!("ledger_integration_messages_total{{type=\"{event_type}\",outcome=\"{outcome}\"}} ");
    let metrics = program.client().get("/metrics").await.text;
    metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0)
}
