//! An event as the API shows it: in the answer to a command, in a history, in a feed.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use domain::{Event, prison::PrisonEvent, prisoner::PrisonerEvent};
use event_log::{Provenance, StoredEvent};
use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Type, schema::Schema},
};
use uuid::Uuid;

use crate::problem_code::open_words;

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
    /// it.
    #[serde(serialize_with = "serialize_data")]
    #[schema(value_type = Object)]
    pub data: Event,
}

/// The schema of the name of a type of event.
#[derive(Debug, Clone, Copy)]
pub struct EventTypeName;

impl PartialSchema for EventTypeName {
    fn schema() -> RefOr<Schema> {
        let names = PrisonerEvent::TYPE_NAMES.iter().chain(PrisonEvent::TYPE_NAMES).copied();
        open_words("Type of event. Later versions may have further ones.", names)
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
    /// Lower-case hexadecimal SHA-256 of the file.
    pub sha256: String,
    /// The name of the sheet.
    pub sheet: String,
    /// The row, as a spreadsheet program numbers it; absent where several rows led to the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub row: Option<u32>,
    /// The run of the import.
    pub run: Uuid,
}

impl From<&Provenance> for ProvenanceDocument {
    fn from(provenance: &Provenance) -> Self {
        let Provenance { file, sha256, sheet, row, run } = provenance;
        Self { file: file.clone(), sha256: sha256.clone(), sheet: sheet.clone(), row: *row, run: *run }
    }
}

fn serialize_data<S: Serializer>(event: &Event, serializer: S) -> Result<S::Ok, S::Error> {
    event.serialize_data(serializer)
}

impl From<&StoredEvent> for EventDocument {
    fn from(stored: &StoredEvent) -> Self {
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
            provenance: metadata.provenance.as_deref().map(ProvenanceDocument::from),
            data: entry.event.clone(),
        }
    }
}
