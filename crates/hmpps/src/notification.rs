//! A message of the estate, as SQS delivers it: an envelope of SNS, in it the domain event.
//!
//! Publishers differ in what they write: a version is a number or a text, a booking id too, and an
//! instant has up to nine decimals. Members that are not needed are not looked at.

use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    prisoner::ReceptionReason,
    text::Excerpt,
};
use serde_json::{Map, Value};
use uuid::Uuid;

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

/// The fact that a message tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A person was released from a prison.
    Released(Movement),
    /// A person left a prison for another one, and is on the way.
    TransferredOut(Movement),
    /// A person came into a prison.
    Received(Movement, ReceptionReason),
    /// Two numbers are one person's.
    Merged {
        /// The number that stays.
        kept: PrisonerNumber,
        /// The number that goes.
        removed: PrisonerNumber,
        /// When.
        at: DateTime<Utc>,
    },
    /// A booking went from one number to another.
    BookingMoved {
        /// The number that had it.
        from: PrisonerNumber,
        /// The number that has it.
        to: PrisonerNumber,
    },
    /// Nothing that the ledger records.
    Irrelevant,
}

/// A person's coming or going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// The person.
    pub number: PrisonerNumber,
    /// The prison left, or come into.
    pub prison: PrisonCode,
    /// When.
    pub at: DateTime<Utc>,
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

const RELEASED: &str = "prisoner-offender-search.prisoner.released";
const RECEIVED: &str = "prisoner-offender-search.prisoner.received";
const MERGED: &str = "prison-offender-events.prisoner.merged";
const BOOKING_MOVED: &str = "prison-offender-events.prisoner.booking.moved";

/// The types that the ledger reads; all others are passed over unread.
pub const READ_TYPES: [&str; 4] = [RELEASED, RECEIVED, MERGED, BOOKING_MOVED];

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

fn read_fact(event_type: &str, event: &Map<String, Value>) -> Result<Fact, String> {
    let nothing = Map::new();
    let information = event.get("additionalInformation").and_then(Value::as_object).unwrap_or(&nothing);
    match event_type {
        RELEASED => {
            let movement = || read_movement(event, information);
            match text(information, "reason")?.as_str() {
                "RELEASED" => movement().map(Fact::Released),
                "TRANSFERRED" => movement().map(Fact::TransferredOut),
                "TEMPORARY_ABSENCE_RELEASE" | "RELEASED_TO_HOSPITAL" | "SENT_TO_COURT" => Ok(Fact::Irrelevant),
                other => Err(format!("its reason is `{}`, which the ledger does not know", Excerpt(other))),
            }
        }
        RECEIVED => {
            let reason = match text(information, "reason")?.as_str() {
                "NEW_ADMISSION" => ReceptionReason::NewAdmission,
                "READMISSION" => ReceptionReason::Readmission,
                "READMISSION_SWITCH_BOOKING" => ReceptionReason::ReadmissionSwitchBooking,
                "TRANSFERRED" => ReceptionReason::Transferred,
                "RETURN_FROM_COURT" | "TEMPORARY_ABSENCE_RETURN" | "POST_MERGE_ADMISSION" => {
                    return Ok(Fact::Irrelevant);
                }
                other => return Err(format!("its reason is `{}`, which the ledger does not know", Excerpt(other))),
            };
            Ok(Fact::Received(read_movement(event, information)?, reason))
        }
        MERGED => Ok(Fact::Merged {
            kept: number(information, "nomsNumber")?,
            removed: number(information, "removedNomsNumber")?,
            at: occurred_at(event)?,
        }),
        BOOKING_MOVED => Ok(Fact::BookingMoved {
            from: number(information, "movedFromNomsNumber")?,
            to: number(information, "movedToNomsNumber")?,
        }),
        _ => Ok(Fact::Irrelevant),
    }
}

fn read_movement(event: &Map<String, Value>, information: &Map<String, Value>) -> Result<Movement, String> {
    let prison = text(information, "prisonId")?;
    let prison = prison.parse().map_err(|_| format!("its prisonId is `{}`, which is no prison", Excerpt(&prison)))?;
    Ok(Movement { number: number(information, "nomsNumber")?, prison, at: occurred_at(event)? })
}

/// A member of the additional information: trimmed, in capital letters.
fn text(information: &Map<String, Value>, member: &str) -> Result<String, String> {
    match information.get(member) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.trim().to_ascii_uppercase()),
        _ => Err(format!("it has no {member} in additionalInformation")),
    }
}

fn number(information: &Map<String, Value>, member: &str) -> Result<PrisonerNumber, String> {
    let text = text(information, member)?;
    text.parse().map_err(|_| format!("its {member} is `{}`, which is no prisoner number", Excerpt(&text)))
}

fn occurred_at(event: &Map<String, Value>) -> Result<DateTime<Utc>, String> {
    let Some(text) = event.get("occurredAt").and_then(Value::as_str) else {
        return Err("it has no occurredAt".to_owned());
    };
    let instant = DateTime::parse_from_rfc3339(text.trim());
    let instant =
        instant.map_err(|_| format!("its occurredAt is `{}`, which is no instant with an offset", Excerpt(text)))?;
    Ok(instant.to_utc())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ID: &str = "63ba0b4b-0000-4000-8000-000000000001";

    /// A notification of an event, as SNS wraps it.
    fn wrapped(event_type: &str, event: &Value) -> Value {
        json!({
            "Type": "Notification", "MessageId": ID, "TopicArn": "arn:aws:sns:eu-west-2:000000000000:domain-events",
            "Message": event.to_string(), "Timestamp": "2024-10-11T11:00:20.000Z",
            "MessageAttributes": {"eventType": {"Type": "String", "Value": event_type}},
        })
    }

    fn read(event_type: &str, event: &Value) -> Result<Fact, String> {
        let read = Notification::read(&wrapped(event_type, event).to_string());
        read.map(|notification| notification.fact).map_err(|unreadable| unreadable.problem)
    }

    fn movement(number: &str, prison: &str) -> Movement {
        Movement {
            number: number.parse().expect("a number"),
            prison: prison.parse().expect("a prison"),
            at: "2024-10-11T11:00:19.013138859Z".parse().expect("an instant"),
        }
    }

    /// As prisoner search publishes it.
    fn searched(reason: &str) -> Value {
        json!({
            "additionalInformation": {"nomsNumber": "A8473EA", "reason": reason, "prisonId": "SWI"},
            "occurredAt": "2024-10-11T12:00:19.013138859+01:00", "version": "1.0",
            "description": "A prisoner has been released from a prison with reason: released from prison",
            "detailUrl": "https://prisoner-search-dev.prison.service.justice.gov.uk/prisoner/A8473EA",
            "personReference": {"identifiers": [{"type": "NOMS", "value": "A8473EA"}]},
        })
    }

    #[test]
    fn the_reasons_of_prisoner_search_say_what_happened() {
        let here = || movement("A8473EA", "SWI");
        for (reason, expected) in [
            ("RELEASED", Fact::Released(here())),
            ("TRANSFERRED", Fact::TransferredOut(here())),
            ("SENT_TO_COURT", Fact::Irrelevant),
            ("RELEASED_TO_HOSPITAL", Fact::Irrelevant),
            ("TEMPORARY_ABSENCE_RELEASE", Fact::Irrelevant),
        ] {
            assert_eq!(read(RELEASED, &searched(reason)), Ok(expected), "released: {reason}");
        }
        for (reason, expected) in [
            ("NEW_ADMISSION", Fact::Received(here(), ReceptionReason::NewAdmission)),
            ("READMISSION", Fact::Received(here(), ReceptionReason::Readmission)),
            ("READMISSION_SWITCH_BOOKING", Fact::Received(here(), ReceptionReason::ReadmissionSwitchBooking)),
            ("TRANSFERRED", Fact::Received(here(), ReceptionReason::Transferred)),
            ("RETURN_FROM_COURT", Fact::Irrelevant),
            ("TEMPORARY_ABSENCE_RETURN", Fact::Irrelevant),
            ("POST_MERGE_ADMISSION", Fact::Irrelevant),
        ] {
            assert_eq!(read(RECEIVED, &searched(reason)), Ok(expected), "received: {reason}");
        }
    }

    #[test]
    fn merges_and_moved_bookings_name_two_numbers() {
        let [kept, removed] = ["A1234BC", "B1234BC"].map(|number| number.parse().expect("a number"));
        let merged = json!({
            "additionalInformation":
                {"bookingId": "1221664", "nomsNumber": "A1234BC", "removedNomsNumber": "B1234BC", "reason": "MERGE"},
            "occurredAt": "2024-10-14T10:40:37+01:00", "publishedAt": "2024-10-14T10:40:38.1+01:00", "version": 1,
        });
        let at = "2024-10-14T09:40:37Z".parse().expect("an instant");
        assert_eq!(read(MERGED, &merged), Ok(Fact::Merged { kept, removed, at }));
        let moved = json!({"additionalInformation": {
            "bookingId": 7, "movedFromNomsNumber": "B1234BC", "movedToNomsNumber": " a1234bc ",
        }});
        let [to, from] = ["A1234BC", "B1234BC"].map(|number| number.parse().expect("a number"));
        assert_eq!(read(BOOKING_MOVED, &moved), Ok(Fact::BookingMoved { from, to }));
    }

    #[test]
    fn the_attribute_says_the_type_and_the_body_where_there_is_none() {
        let mut envelope = wrapped(RELEASED, &json!({"eventType": "other", "additionalInformation": {}}));
        assert!(Notification::read(&envelope.to_string()).is_err());
        envelope["MessageAttributes"] = json!({});
        let read = Notification::read(&envelope.to_string()).expect("a type that is passed over");
        assert_eq!((read.event_type.as_str(), read.fact), ("other", Fact::Irrelevant));
        // A type that the ledger does not read may have any body.
        envelope = wrapped("tier.calculation.complete", &json!(7));
        assert_eq!(Notification::read(&envelope.to_string()).map(|read| read.fact), Ok(Fact::Irrelevant));
        envelope["Message"] = json!("{");
        assert_eq!(Notification::read(&envelope.to_string()).map(|read| read.fact), Ok(Fact::Irrelevant));
    }

    #[test]
    fn a_message_that_cannot_be_read_says_why() {
        let without = |member: &str| {
            let mut event = searched("RELEASED");
            event["additionalInformation"].as_object_mut().expect("members").remove(member);
            event
        };
        let with = |pointer: &str, value: Value| {
            let mut event = searched("RELEASED");
            *event.pointer_mut(pointer).expect("a member") = value;
            event
        };
        for (event, expected) in [
            (without("reason"), "it has no reason in additionalInformation"),
            (without("prisonId"), "it has no prisonId in additionalInformation"),
            (without("nomsNumber"), "it has no nomsNumber in additionalInformation"),
            (with("/additionalInformation", json!([1])), "it has no reason in additionalInformation"),
            (with("/additionalInformation/nomsNumber", json!(7)), "it has no nomsNumber in additionalInformation"),
            (
                with("/additionalInformation/nomsNumber", json!("X1")),
                "its nomsNumber is `X1`, which is no prisoner number",
            ),
            (with("/additionalInformation/prisonId", json!("L")), "its prisonId is `L`, which is no prison"),
            (
                with("/additionalInformation/reason", json!("ESCAPED")),
                "its reason is `ESCAPED`, which the ledger does not know",
            ),
            (with("/occurredAt", json!(1)), "it has no occurredAt"),
            (
                with("/occurredAt", json!("2024-10-11T12:00:19")),
                "its occurredAt is `2024-10-11T12:00:19`, which is no instant with an offset",
            ),
            (json!("text"), "its Message is no JSON object"),
        ] {
            assert_eq!(read(RELEASED, &event), Err(expected.to_owned()), "{event}");
        }
        for (body, expected) in [
            ("{", "the body of the message is not JSON"),
            ("{}", "the message has no MessageId of SNS: the subscription must not use raw message delivery"),
            (&format!(r#"{{"MessageId":"{ID}"}}"#), "the message names no eventType"),
        ] {
            let problem = Notification::read(body).expect_err("unreadable").problem;
            assert_eq!(problem, expected, "{body}");
        }
        let long = with("/additionalInformation/nomsNumber", json!("x".repeat(100_000)));
        assert!(read(RELEASED, &long).expect_err("no number").len() < 300);
    }

    /// Any JSON, with the names of members that a reader looks for.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(Value::from("A1234BC")),
            Just(Value::from("RELEASED")),
        ];
        let names = prop::sample::select(vec![
            "additionalInformation",
            "nomsNumber",
            "reason",
            "prisonId",
            "occurredAt",
            "eventType",
            "removedNomsNumber",
        ]);
        leaf.prop_recursive(3, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner), 0..6).prop_map(|members| {
                    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_message_breaks_the_reader(body in ".{0,200}", event in any_json(), index in 0..READ_TYPES.len()) {
            let _ = Notification::read(&body);
            let _ = read(READ_TYPES[index], &event);
            let _ = Notification::read(&event.to_string());
        }
    }
}
