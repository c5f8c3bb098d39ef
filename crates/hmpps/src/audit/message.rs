//! The messages for the audit service: their members, and their bounds.
//!
//! The members and their longest values are those of `hmpps-audit-api`, which keeps each message in
//! a row. No message has a text that a person wrote about another.

use std::collections::BTreeSet;

use access_log::StoredAccess;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    Event, Stream,
    identifier::{AuthSource, CommandId, EventId, PrisonCode},
};
use event_log::{
    LogError, RecordedEvent,
    stored_event::{decode_event, decode_metadata},
};
use serde::Serialize;
use uuid::Uuid;

/// The longest values, in characters, that the columns of the audit service take.
const WHAT_LEN_MAX: usize = 200;
const WHO_LEN_MAX: usize = 80;

/// The longest name of a user or a client in the details, in characters: as long as one may be.
const NAME_LEN_MAX: usize = 254;

/// The longest filter of a read in the details, in characters.
const FILTER_LEN_MAX: usize = 10_000;

/// The most people of a read for each of whom there is a message of its own. The audit service
/// keeps a file for each message, so that a list of a whole prison would be a thousand files.
const SUBJECTS_MAX: usize = 100;

/// The most numbers in the details of one message: some 120 kB of the 256 that SQS takes.
const NUMBERS_MAX: usize = 10_000;

/// A message for the audit service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuditMessage {
    /// The JSON.
    pub(super) body: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuditBody<'a> {
    what: String,
    when: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<&'a str>,
    #[serde(flatten)]
    subject: AuditSubject<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Uuid>,
    service: &'a str,
    /// JSON in a text.
    details: String,
}

/// The person or the prison that a message is about.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuditSubject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_id: Option<&'a str>,
    subject_type: &'static str,
}

impl<'a> AuditSubject<'a> {
    fn prisoner(number: &'a str) -> Self {
        Self { subject_id: Some(number), subject_type: "PRISONER_ID" }
    }

    fn prison(code: &'a str) -> Self {
        Self { subject_id: Some(code), subject_type: "PRISON_ID" }
    }

    /// As the audit service itself says where there is none.
    fn none() -> Self {
        Self { subject_id: None, subject_type: "NOT_APPLICABLE" }
    }
}

/// The details of an event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventDetails<'a> {
    /// The same in a message that is sent twice.
    event_id: EventId,
    position: u64,
    command_id: CommandId,
    effective_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    client: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_source: Option<&'a AuthSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<EventId>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    prisons: BTreeSet<&'a PrisonCode>,
}

/// The details of a read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReadDetails<'a> {
    /// With the subject the same in a message that is sent twice.
    entry_id: Uuid,
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_source: Option<&'a str>,
    /// How many people were shown.
    people: usize,
    /// Their numbers, where they are too many for a message each.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    prisoners: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_position: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_position: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reads_lost: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_until: Option<DateTime<Utc>>,
}

impl AuditMessage {
    /// The message of an event, from a service of this name.
    ///
    /// # Errors
    /// The metadata of the event is damaged.
    pub(super) fn of_event(event: &RecordedEvent, service: &str) -> Result<Self, LogError> {
        let metadata = decode_metadata(event)?;
        let recorder = &metadata.recorded_by;
        let username = recorder.username.as_ref().map(|username| username.as_str());
        // That something was recorded is told, even where its data is damaged.
        let data = decode_event(event, metadata.schema_version).ok();
        let details = EventDetails {
            event_id: event.event_id,
            position: event.position,
            command_id: metadata.command_id,
            effective_at: metadata.effective_at,
            username,
            client: cut(&recorder.client, NAME_LEN_MAX),
            auth_source: recorder.auth_source.as_ref(),
            causation_id: metadata.causation_id,
            prisons: match &data {
                Some(Event::Prisoner(data)) => data.named_prisons().collect(),
                Some(Event::Prison(_) | Event::Contacts(_)) | None => BTreeSet::new(),
            },
        };
        Ok(Self::of_body(&AuditBody {
            what: cut(&upper_snake(&event.type_name), WHAT_LEN_MAX).to_owned(),
            when: instant(event.recorded_at),
            who: Some(cut(username.unwrap_or(&recorder.client), WHO_LEN_MAX)),
            subject: match &event.stream {
                Stream::Prisoner(number) | Stream::Contacts(number) => AuditSubject::prisoner(number.as_str()),
                Stream::Prison(code) => AuditSubject::prison(code.as_str()),
            },
            correlation_id: Some(metadata.correlation_id).filter(|id| !id.is_nil()),
            service,
            details: json(&details),
        }))
    }

    /// The messages of an entry of the access log: one for each person, or for all where there are
    /// more than [`SUBJECTS_MAX`].
    pub(super) fn of_read(entry: &StoredAccess, service: &str) -> Vec<Self> {
        let numbers = &entry.prisoners;
        match numbers.len() {
            0 => vec![Self::of_read_about(entry, AuditSubject::none(), &[], service)],
            1..=SUBJECTS_MAX => numbers
                .iter()
                .map(|number| Self::of_read_about(entry, AuditSubject::prisoner(number), &[], service))
                .collect(),
            _ => numbers
                .chunks(NUMBERS_MAX)
                .map(|numbers| Self::of_read_about(entry, AuditSubject::none(), numbers, service))
                .collect(),
        }
    }

    fn of_read_about(entry: &StoredAccess, subject: AuditSubject<'_>, prisoners: &[String], service: &str) -> Self {
        let username = entry.username.as_deref().map(|name| cut(name, NAME_LEN_MAX));
        let client = entry.client.as_deref().map(|name| cut(name, NAME_LEN_MAX));
        let details = ReadDetails {
            entry_id: entry.id,
            operation: &entry.operation,
            method: entry.method.as_deref(),
            status: entry.status,
            username,
            client,
            auth_source: entry.auth_source.as_deref(),
            people: entry.prisoners.len(),
            prisoners,
            filter: entry.filter.as_deref().map(|filter| cut(filter, FILTER_LEN_MAX)),
            after_position: entry.after_position,
            to_position: entry.to_position,
            reads_lost: entry.reads_lost,
            lost_until: entry.lost_until,
        };
        // Of lost reads it is `READS_NOT_KEPT`.
        let what =
            format!("{}{}", if entry.reads_lost.is_some() { "" } else { "READ_" }, upper_snake(&entry.operation));
        Self::of_body(&AuditBody {
            what: cut(&what, WHAT_LEN_MAX).to_owned(),
            when: instant(entry.at),
            who: username.or(client).map(|name| cut(name, WHO_LEN_MAX)),
            subject,
            correlation_id: entry.correlation_id,
            service,
            details: json(&details),
        })
    }

    fn of_body(body: &AuditBody<'_>) -> Self {
        // SQS refuses the two characters that JSON may have and XML may not.
        Self { body: json(body).replace('\u{FFFE}', "\\ufffe").replace('\u{FFFF}', "\\uffff") }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and instants make JSON")
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The first characters of a text.
fn cut(text: &str, len_max: usize) -> &str {
    text.char_indices().nth(len_max).map_or(text, |(end, _)| &text[..end])
}

/// The name of an event, a route or a tool as one word: `AllocationMade` is `ALLOCATION_MADE`, and
/// `/prisoners/{prisonerNumber}/history` is `PRISONERS_HISTORY`.
fn upper_snake(name: &str) -> String {
    let mut word = String::with_capacity(name.len() + 8);
    let mut is_parameter = false;
    let mut is_after_lower = false;
    for c in name.chars() {
        match c {
            '{' => is_parameter = true,
            '}' => is_parameter = false,
            _ if is_parameter => {}
            c if c.is_ascii_alphanumeric() => {
                if is_after_lower && c.is_ascii_uppercase() {
                    word.push('_');
                }
                word.push(c.to_ascii_uppercase());
            }
            _ if !word.is_empty() && !word.ends_with('_') => word.push('_'),
            _ => {}
        }
        is_after_lower = c.is_ascii_lowercase();
    }
    word.truncate(word.trim_end_matches('_').len());
    word
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(numbers: usize) -> StoredAccess {
        StoredAccess {
            at: DateTime::from_timestamp(1_775_000_000, 0).expect("an instant"),
            id: Uuid::from_u128(7),
            username: Some("SPO_GEN".to_owned()),
            client: Some("manage-poms".to_owned()),
            auth_source: Some("nomis".to_owned()),
            operation: "/prisoners/{prisonerNumber}/history".to_owned(),
            method: Some("GET".to_owned()),
            status: Some(200),
            correlation_id: Some(Uuid::from_u128(9)),
            prisoners: (0..numbers).map(|index| format!("A{index:04}AA")).collect(),
            filter: None,
            after_position: None,
            to_position: None,
            reads_lost: None,
            lost_until: None,
        }
    }

    fn bodies(entry: &StoredAccess) -> Vec<Value> {
        let messages = AuditMessage::of_read(entry, "allocation-ledger");
        messages.iter().map(|message| serde_json::from_str(&message.body).expect("JSON")).collect()
    }

    fn details(body: &Value) -> Value {
        serde_json::from_str(body["details"].as_str().expect("a text")).expect("JSON")
    }

    #[test]
    fn names_are_words_in_capitals() {
        for (name, word) in [
            ("AllocationMade", "ALLOCATION_MADE"),
            ("PrisonerNumberMerged", "PRISONER_NUMBER_MERGED"),
            ("/prisoners/{prisonerNumber}/history", "PRISONERS_HISTORY"),
            ("/prisons/{prisonCode}/poms/{staffId}/caseload", "PRISONS_POMS_CASELOAD"),
            ("/api/allocation/{nomsNumber}/primary_pom", "API_ALLOCATION_PRIMARY_POM"),
            ("/access-log", "ACCESS_LOG"),
            ("projections verify", "PROJECTIONS_VERIFY"),
            ("/", ""),
        ] {
            assert_eq!(upper_snake(name), word, "{name}");
        }
    }

    #[test]
    fn a_read_of_few_people_has_a_message_for_each_and_one_of_many_one_for_all() {
        for (people, messages) in [(0, 1), (1, 1), (SUBJECTS_MAX, SUBJECTS_MAX), (SUBJECTS_MAX + 1, 1), (20_001, 3)] {
            let entry = read(people);
            let bodies = bodies(&entry);
            assert_eq!(bodies.len(), messages, "{people}");
            let subjects = bodies.iter().filter_map(|body| body["subjectId"].as_str().map(str::to_owned));
            let listed = bodies.iter().flat_map(|body| details(body)["prisoners"].as_array().cloned());
            let listed = listed.flatten().map(|number| number.as_str().expect("a number").to_owned());
            assert_eq!(subjects.chain(listed).collect::<Vec<_>>(), entry.prisoners, "{people}");
        }
    }

    #[test]
    fn the_longest_message_is_one_that_sqs_takes() {
        let long = "\u{1}".repeat(20_000);
        let entry = StoredAccess {
            username: Some(long.clone()),
            client: Some(long.clone()),
            auth_source: Some("nomis".to_owned()),
            filter: Some(long),
            ..read(20_000)
        };
        for message in AuditMessage::of_read(&entry, "allocation-ledger") {
            assert!(message.body.len() < super::super::BATCH_BYTES_MAX, "{}", message.body.len());
        }
    }

    #[test]
    fn values_are_as_long_as_the_columns_and_have_no_character_that_sqs_refuses() {
        let name = format!("{}\u{FFFF}\u{FFFE}{}", "é".repeat(78), "x".repeat(100));
        let entry = StoredAccess { username: Some(name.clone()), operation: "word ".repeat(60), ..read(1) };
        let message = AuditMessage::of_read(&entry, "allocation-ledger").remove(0);
        assert!(!message.body.contains(['\u{FFFE}', '\u{FFFF}']), "{}", message.body);
        let body: Value = serde_json::from_str(&message.body).expect("JSON");
        assert_eq!(body["who"].as_str().map(|who| who.chars().count()), Some(WHO_LEN_MAX));
        assert_eq!(body["what"].as_str().map(str::len), Some(WHAT_LEN_MAX));
        assert_eq!(details(&body)["username"], name);
    }
}
