//! Domain events that the ledger publishes, as a subscriber of the topic gets them.

mod calendar;
mod checkpoint;
mod consumers;
mod held_back;
mod killed;
mod messages;
pub(super) mod subscriber;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{HttpAnswer, estate::Estate, eventually, ledger::Ledger};

/// The URL under which consumers ask the ledger, as its links have it.
pub(super) const PUBLIC_URL: &str = "https://ledger.example";

const ALLOCATION: &str = "offender-management.allocation.changed";
const HANDOVER: &str = "offender-management.handover.changed";
const COWORKING: &str = "offender-management.coworking.changed";
const OVERRIDE: &str = "offender-management.responsibility-override.changed";
const RESPONSIBILITY: &str = "offender-management.responsibility.changed";

/// A message as the subscriber got it.
#[derive(Debug, Clone, PartialEq)]
struct Received {
    /// The value of the attribute `eventType`.
    event_type: String,
    position: u64,
    traceparent: String,
    /// The message, byte for byte.
    text: String,
    /// The message.
    event: Value,
}

impl Received {
    fn of(notification: &Value) -> Self {
        let attribute = |name: &str| {
            let attribute = &notification["MessageAttributes"][name];
            (attribute["Type"].as_str().expect("a type"), attribute["Value"].as_str().expect("a value").to_owned())
        };
        let text = notification["Message"].as_str().expect("a message").to_owned();
        let (number, position) = attribute("ledgerPosition");
        assert_eq!(number, "Number");
        Self {
            event_type: attribute("eventType").1,
            position: position.parse().expect("a position"),
            traceparent: attribute("traceparent").1,
            event: serde_json::from_str(&text).expect("JSON"),
            text,
        }
    }

    fn number(&self) -> &str {
        self.event["personReference"]["identifiers"][0]["value"].as_str().expect("a number")
    }

    /// Asks the ledger as the link says.
    async fn follow(&self, ledger: &Ledger) -> HttpAnswer {
        let url = self.event["detailUrl"].as_str().expect("a link");
        ledger.client().get(url.strip_prefix(PUBLIC_URL).expect("a link to the ledger")).await
    }
}

/// A ledger with all roles that publishes to the topic, once its publisher has begun.
async fn publishing(estate: &Estate) -> Ledger {
    let arguments = ["--domain-events-topic", estate.topic(), "--public-url", PUBLIC_URL];
    let ledger = Ledger::start_all_roles_in(&estate.environment(), &arguments).await;
    wait_until_published(&ledger).await;
    ledger
}

/// The component of `/health`.
async fn publisher(ledger: &Ledger) -> Value {
    ledger.client().get("/health").await.body["components"]["publisher"].clone()
}

/// Waits until everything that is recorded by now was published.
pub(super) async fn wait_until_published(ledger: &Ledger) {
    let end = ledger.wait_for_policies().await;
    eventually("the publisher to reach the end of the log", async || {
        let details = publisher(ledger).await["details"].clone();
        (details["state"] == "publishing" && details["position"].as_u64() >= Some(end)).then_some(())
    })
    .await;
}

/// The messages of everything that is recorded by now, by position, person and type.
async fn published(ledger: &Ledger, estate: &Estate) -> Vec<Received> {
    wait_until_published(ledger).await;
    received(estate).await
}

/// The messages that have come, by position, person and type. A request that was sent again, as on
/// a busy machine, doubles messages: each is here once.
async fn received(estate: &Estate) -> Vec<Received> {
    let mut messages = received_with_doubles(estate).await;
    let mut known = BTreeSet::new();
    // The text has the number and the type.
    messages.retain(|message| known.insert((message.position, message.text.clone())));
    messages
}

/// All messages that have come, by position, person and type.
async fn received_with_doubles(estate: &Estate) -> Vec<Received> {
    let mut messages: Vec<Received> = estate.take_messages().await.iter().map(Received::of).collect();
    messages.sort_by_key(|message| (message.position, message.number().to_owned(), message.event_type.clone()));
    messages
}

/// The text of a message.
fn text(event_type: &str, description: &str, path: &str, occurred_at: &str, information: &str, number: &str) -> String {
    let information =
        if information.is_empty() { String::new() } else { format!("\"additionalInformation\":{information},") };
    format!(
        "{{\"eventType\":\"{event_type}\",\"version\":1,\"description\":\"{description}\",\
         \"detailUrl\":\"{PUBLIC_URL}{path}\",\"occurredAt\":\"{occurred_at}\",{information}\
         \"personReference\":{{\"identifiers\":[{{\"type\":\"NOMS\",\"value\":\"{number}\"}}]}}}}"
    )
}

/// The text of `allocation.changed`.
fn allocation(number: &str, staff_code: Option<i64>, prison: &str, trigger: &str, occurred_at: &str) -> String {
    let path = format!("/api/allocation/{number}/primary_pom");
    let staff_code = json!(staff_code);
    let information =
        format!("{{\"staffCode\":{staff_code},\"prisonId\":\"{prison}\",\"eventTrigger\":\"{trigger}\"}}");
    text(ALLOCATION, "A POM allocation has changed", &path, occurred_at, &information, number)
}

/// The text of `coworking.changed`.
fn coworking(number: &str, staff_code: Option<i64>, prison: &str, trigger: &str, occurred_at: &str) -> String {
    let path = format!("/prisoners/{number}/responsibility");
    let staff_code = json!(staff_code);
    let information =
        format!("{{\"staffCode\":{staff_code},\"prisonId\":\"{prison}\",\"eventTrigger\":\"{trigger}\"}}");
    text(COWORKING, "A co-working POM allocation has changed", &path, occurred_at, &information, number)
}

/// The text of `handover.changed`.
fn handover(number: &str, occurred_at: &str) -> String {
    let path = format!("/api/handovers/{number}");
    text(HANDOVER, "Handover date and/or responsibility was updated", &path, occurred_at, "", number)
}

/// The text of `responsibility-override.changed`.
fn responsibility_override(number: &str, decision: Option<(&str, &str)>, occurred_at: &str) -> String {
    let path = format!("/prisoners/{number}/responsibility");
    let (responsible, reason) = (json!(decision.map(|(to, _)| to)), json!(decision.map(|(_, reason)| reason)));
    let information = format!("{{\"responsible\":{responsible},\"reason\":{reason}}}");
    text(OVERRIDE, "An override of the responsibility has changed", &path, occurred_at, &information, number)
}

/// The text of `responsibility.changed`.
fn responsibility(number: &str, phase: &str, occurred_at: &str) -> String {
    let path = format!("/prisoners/{number}/responsibility");
    let (responsible, supporting) = match phase {
        "CUSTODY_ONLY" => (json!("POM"), Value::Null),
        "CUSTODY_WITH_COM" => (json!("POM"), json!("COM")),
        "COMMUNITY" => (json!("COM"), json!("POM")),
        _ => (Value::Null, Value::Null),
    };
    let phase = json!(Some(phase).filter(|phase| !phase.is_empty()));
    let information = format!("{{\"phase\":{phase},\"responsible\":{responsible},\"supporting\":{supporting}}}");
    let description = "The responsible or supporting officer's role has changed";
    text(RESPONSIBILITY, description, &path, occurred_at, &information, number)
}
