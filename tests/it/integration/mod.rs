//! Messages of HMPPS: what is recorded of them, what waits for a person, and that nothing is lost
//! or recorded twice.
//!
//! The queues are those of `moto` (see `support::estate`).

mod audit;
mod day;
mod dead_letters;
mod delivery;
mod late;
mod outages;
mod parked;
mod publisher;
mod random;
mod rights;

use serde_json::{Value, json};

use crate::support::{
    Program,
    estate::{Estate, QUEUE},
    ledger::Ledger,
};

const RELEASED: &str = "prisoner-offender-search.prisoner.released";
const RECEIVED: &str = "prisoner-offender-search.prisoner.received";
const MERGED: &str = "prison-offender-events.prisoner.merged";
const BOOKING_MOVED: &str = "prison-offender-events.prisoner.booking.moved";

/// A ledger with all roles that takes in the messages of a queue.
async fn serve(estate: &Estate) -> Ledger {
    Ledger::start_all_roles_in(&estate.environment(), &serve_arguments()).await
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
