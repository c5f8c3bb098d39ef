//! A message of the estate, as SQS delivers it: an envelope of SNS, in it the domain event.
//!
//! Publishers differ in what they write: a version is a number or a text, a booking id too, and an
//! instant has up to nine decimals.

mod fact;
mod reader;
#[cfg(test)]
mod tests;

use domain::text::Excerpt;
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::{
    fact::{Deletion, DeletionReason, DeliusFact, Fact, Movement, PrisonerUpdate},
    reader::READ_TYPES,
};

use self::reader::read_fact;

/// A domain event, as far as the ledger has a use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The message's id, which SNS gives once: it is the same each time that the message comes.
    pub message_id: Uuid,
    /// The type, e.g. `prisoner-offender-search.prisoner.released`.
    pub event_type: String,
    /// The fact that it tells.
    pub fact: Fact,
}

/// Why a message cannot be read. The text quotes little of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Unreadable {
    /// The id that SNS gave it, if that much can be read.
    pub message_id: Option<Uuid>,
    /// Its type, if that much can be read.
    pub event_type: Option<String>,
    /// The fault in it, in a sentence.
    pub problem: String,
}

impl Notification {
    /// Reads the body of a message of SQS.
    ///
    /// # Errors
    /// It is no notification of SNS, or lacks what its type needs.
    pub fn read(body: &str) -> Result<Self, Unreadable> {
        let unreadable = |problem: &str| Unreadable { message_id: None, event_type: None, problem: problem.to_owned() };
        let envelope: Value =
            serde_json::from_str(body).map_err(|_| unreadable("the body of the message is not JSON"))?;
        let id = envelope["MessageId"].as_str().unwrap_or_default();
        let message_id = id.trim().parse().map_err(|_| {
            unreadable("the message has no MessageId of SNS: the subscription must not use raw message delivery")
        })?;
        let event = read_event(&envelope["Message"]);
        let attribute = envelope["MessageAttributes"]["eventType"]["Value"].as_str();
        let in_body = event.as_ref().ok().and_then(|event| event.get("eventType")?.as_str());
        let event_type = attribute.or(in_body).map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        let problem = |problem: String| Unreadable {
            message_id: Some(message_id),
            event_type: event_type.as_deref().map(|name| Excerpt(name).to_string()),
            problem,
        };
        let Some(named) = &event_type else { return Err(problem("the message names no eventType".to_owned())) };
        if !READ_TYPES.contains(&named.as_str()) {
            let event_type = Excerpt(named).to_string();
            return Ok(Self { message_id, event_type, fact: Fact::Irrelevant });
        }
        let fact = event.and_then(|event| read_fact(named, &event)).map_err(problem)?;
        Ok(Self { message_id, event_type: named.clone(), fact })
    }
}

/// Reads the domain event in a notification. SNS has it as a text.
fn read_event(message: &Value) -> Result<Map<String, Value>, String> {
    let parsed = match message {
        Value::String(text) => serde_json::from_str(text).map_err(|_| "its Message is not JSON".to_owned())?,
        other => other.clone(),
    };
    match parsed {
        Value::Object(members) => Ok(members),
        _ => Err("its Message is no JSON object".to_owned()),
    }
}
