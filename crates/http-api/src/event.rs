//! An event as the API shows it: in the answer to a command, in a history, in a feed.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use domain::{Event, prison::PrisonEventType, prisoner::PrisonerEventType};
use event_log::{Provenance, StoredEvent};
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Type, schema::Schema},
};
use uuid::Uuid;

use crate::{Texts, problem_code::open_words};

/// An event in its envelope.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecordedEvent)]
pub struct EventDocument {
    /// Identifies the event.
    pub event_id: Uuid,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(value_type = EventTypeName)]
    pub type_name: &'static str,
    /// Version of its data's format.
    pub schema_version: u16,
    /// The stream that it belongs to.
    #[schema(example = "prisoner-A1234BC")]
    pub stream: String,
    /// 0-based place in its stream.
    pub revision: u64,
    /// Order in the whole ledger.
    pub position: u64,
    /// When it holds in the world.
    pub effective_at: DateTime<Utc>,
    /// When the ledger learnt of it.
    pub recorded_at: DateTime<Utc>,
    /// The person and the client that recorded it.
    pub recorded_by: RecorderDocument,
    /// The command that it came from.
    pub command_id: Uuid,
    /// Ties together what belongs to one request across services.
    pub correlation_id: Uuid,
    /// The event that a policy acted on, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub causation_id: Option<Uuid>,
    /// The place in a file that an imported event was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub provenance: Option<ProvenanceDocument>,
    /// What happened. The member of the schema `EventData` that has the name of the type describes
    /// it. A text that the caller may not read is null.
    #[schema(value_type = Object)]
    data: DataDocument,
}

/// The data of an event, with its free texts or without.
#[derive(Debug, Clone)]
struct DataDocument {
    event: Event,
    texts: Texts,
}

impl Serialize for DataDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = free_texts(&self.event);
        if self.texts == Texts::Shown || members.is_empty() {
            return self.event.serialize_data(serializer);
        }
        let mut data = self.event.serialize_data(serde_json::value::Serializer).map_err(S::Error::custom)?;
        for member in members {
            if let Some(text) = data.pointer_mut(member) {
                *text = Value::Null;
            }
        }
        data.serialize(serializer)
    }
}

fn free_texts(event: &Event) -> &'static [&'static str] {
    match event {
        Event::Prisoner(event) => free_texts_of_case(event.event_type()),
        Event::Prison(event) => free_texts_of_prison(event.event_type()),
        Event::Contacts(_) => &[],
    }
}

/// The members of the data of a type of event that hold what a person wrote freely, as JSON
/// pointers. They are null for callers that may not read them.
#[must_use]
pub fn free_texts_of_type(name: &str) -> &'static [&'static str] {
    let of_case = PrisonerEventType::from_name(name).map(free_texts_of_case);
    of_case.or_else(|| PrisonEventType::from_name(name).map(free_texts_of_prison)).unwrap_or_default()
}

/// The one list of what is hidden in the events of cases.
const fn free_texts_of_case(event_type: PrisonerEventType) -> &'static [&'static str] {
    match event_type {
        PrisonerEventType::AllocationMade => &["/note", "/suitabilityDetail", "/overrideDetail"],
        PrisonerEventType::Reallocated => &["/note", "/suitabilityDetail", "/overrideDetail", "/reason"],
        PrisonerEventType::ResponsibilityOverridden | PrisonerEventType::ResponsibilityOverrideRemoved => &["/detail"],
        PrisonerEventType::EntryVoided => &["/reason"],
        PrisonerEventType::PrisonerNumberMerged => &["/held/responsibilityOverride/detail"],
        PrisonerEventType::Received
        | PrisonerEventType::TierAssigned
        | PrisonerEventType::CrnRecorded
        | PrisonerEventType::Deallocated
        | PrisonerEventType::CoworkerAllocated
        | PrisonerEventType::CoworkerReallocated
        | PrisonerEventType::CoworkerDeallocated
        | PrisonerEventType::CommunityManagerAssigned
        | PrisonerEventType::CommunityManagerRemoved
        | PrisonerEventType::HandoverPlanned
        | PrisonerEventType::PrisonerNumberRetired => &[],
    }
}

/// The same of the events of prisons.
const fn free_texts_of_prison(event_type: PrisonEventType) -> &'static [&'static str] {
    match event_type {
        PrisonEventType::PrisonOmicDateCorrected | PrisonEventType::PomStatusChanged => &["/reason"],
        PrisonEventType::PrisonJoinedOmic | PrisonEventType::PomRegistered | PrisonEventType::PomDetailsChanged => &[],
    }
}

/// The schema of the name of a type of event.
#[derive(Debug, Clone, Copy)]
pub struct EventTypeName;

impl PartialSchema for EventTypeName {
    fn schema() -> RefOr<Schema> {
        open_words("Type of event. Later versions may have further ones.", Event::type_names())
    }
}

impl ToSchema for EventTypeName {
    fn name() -> Cow<'static, str> {
        "EventType".into()
    }
}

/// The schema of a text of event types with commas between them, in a query.
#[must_use]
pub fn event_types_schema(names: &[&str]) -> RefOr<Schema> {
    let any = names.join("|");
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(format!("^(?:{any})(?:,(?:{any}))*$")));
    schema.into()
}

/// The person and the client that recorded an event.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecordedBy)]
pub struct RecorderDocument {
    /// The person or service account, in upper case; null where the request named no user.
    #[schema(required)]
    pub username: Option<String>,
    /// The client that sent the command.
    pub client: String,
    /// Where the person signed on, in the word of HMPPS sign-on, e.g. `nomis`. Absent where no
    /// token says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub auth_source: Option<String>,
}

/// The place in a file that an imported event was read from.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Provenance)]
pub struct ProvenanceDocument {
    /// The file's name, without its folders.
    #[schema(example = "LEI-allocations.xlsx")]
    pub file: String,
    /// The name of the sheet.
    pub sheet: String,
    /// The row, as a spreadsheet program numbers it; absent where several rows led to the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub row: Option<u32>,
    /// Lower-case hexadecimal SHA-256 of that row: of its cells as a JSON array of texts, without
    /// empty ones at the end. Absent without a row, where the row names a second prisoner, and for
    /// a caller who may not read the texts of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub row_sha256: Option<String>,
    /// The run of the import.
    pub run: Uuid,
}

impl ProvenanceDocument {
    /// Without the digest of the row for a caller who may not read its texts: a short one could be
    /// found by trying.
    fn new(provenance: &Provenance, texts: Texts) -> Self {
        let Provenance { file, sheet, row, row_sha256, run } = provenance;
        let row_sha256 = row_sha256.clone().filter(|_| texts != Texts::Hidden);
        Self { file: file.clone(), sheet: sheet.clone(), row: *row, row_sha256, run: *run }
    }
}

impl EventDocument {
    /// The document of an event, with its free texts or without.
    #[must_use]
    pub fn new(stored: &StoredEvent, texts: Texts) -> Self {
        let StoredEvent { stream, metadata, entry } = stored;
        Self {
            event_id: entry.event_id.0,
            type_name: entry.event.type_name(),
            schema_version: metadata.schema_version,
            stream: stream.to_string(),
            revision: entry.revision,
            position: entry.position,
            effective_at: entry.effective_at,
            recorded_at: entry.recorded_at,
            recorded_by: RecorderDocument {
                username: entry.recorded_by.username.as_ref().map(ToString::to_string),
                client: entry.recorded_by.client.clone(),
                auth_source: entry.recorded_by.auth_source.as_ref().map(ToString::to_string),
            },
            command_id: entry.command_id.0,
            correlation_id: metadata.correlation_id,
            causation_id: metadata.causation_id.map(|id| id.0),
            provenance: metadata.provenance.as_deref().map(|provenance| ProvenanceDocument::new(provenance, texts)),
            data: DataDocument { event: entry.event.clone(), texts },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Stream, openapi::EVENT_SAMPLES};

    /// The members that hold text with blanks and are no free text.
    const OTHER_TEXTS: [&str; 4] = ["name", "team", "ldu", "contactType"];

    /// Collects the texts with a blank, which no identifier and no word of the domain has.
    fn texts<'v>(member: &str, value: &'v Value, found: &mut Vec<&'v str>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(member, value)| texts(member, value, found)),
            Value::Array(values) => values.iter().for_each(|value| texts(member, value, found)),
            Value::String(text) if !OTHER_TEXTS.contains(&member) && text.contains(' ') => found.push(text),
            _ => {}
        }
    }

    #[test]
    fn the_digest_of_a_row_is_shown_to_readers_of_its_texts_alone() {
        let (file, sheet, row_sha256) = ("cases.csv".to_owned(), "cases".to_owned(), Some("0".repeat(64)));
        let provenance = Provenance { file, sheet, row: Some(2), row_sha256, run: Uuid::nil() };
        let is_shown = |texts| ProvenanceDocument::new(&provenance, texts).row_sha256.is_some();
        assert_eq!((is_shown(Texts::Shown), is_shown(Texts::Hidden)), (true, false));
    }

    #[test]
    fn no_free_text_is_left_in_an_event_whose_texts_are_hidden() {
        let mut hidden = 0;
        for line in EVENT_SAMPLES.lines().filter(|line| !line.is_empty()) {
            let sample: Value = serde_json::from_str(line).expect("a sample");
            let stream: Stream = sample["stream"].as_str().and_then(|text| text.parse().ok()).expect("a stream");
            let type_name = sample["type"].as_str().expect("a type");
            let event = Event::deserialize_data(&stream, type_name, sample["data"].clone()).expect("an event");
            let data = |texts| serde_json::to_value(DataDocument { event: event.clone(), texts }).expect("JSON");
            let (shown, without) = (data(Texts::Shown), data(Texts::Hidden));
            let mut left = Vec::new();
            texts("", &without, &mut left);
            assert!(left.is_empty(), "{type_name}: {left:?}");
            for pointer in free_texts_of_type(type_name) {
                let is_there = shown.pointer(pointer).is_some();
                assert_eq!(without.pointer(pointer), is_there.then_some(&Value::Null), "{type_name} {pointer}");
                hidden += usize::from(is_there);
            }
        }
        assert!(hidden >= 12, "the samples have each of the texts: {hidden}");
    }
}
