//! Events as they are answered.

use chrono::{DateTime, Utc};
use domain::Event;
use event_log::StoredEvent;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

/// What a command recorded.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordedEvents {
    /// The events, in order.
    pub(super) events: Vec<RecordedEvent>,
}

/// An event in its envelope.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordedEvent {
    /// Identifies the event.
    event_id: Uuid,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(example = "TierAssigned")]
    type_name: &'static str,
    /// Version of its data's format.
    schema_version: u16,
    /// The stream that it belongs to.
    #[schema(example = "prisoner-A1234BC")]
    stream: String,
    /// 0-based place in its stream.
    revision: u64,
    /// Order in the whole ledger.
    position: u64,
    /// When it holds in the world.
    effective_at: DateTime<Utc>,
    /// When the ledger learnt of it.
    recorded_at: DateTime<Utc>,
    /// Who recorded it.
    recorded_by: RecordedBy,
    /// The command that it came from.
    command_id: Uuid,
    /// Ties together what belongs to one request across services.
    correlation_id: Uuid,
    /// The event that a policy acted on, where one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<Uuid>,
    /// What happened; its members depend on the type.
    #[serde(serialize_with = "serialize_data")]
    #[schema(value_type = Value)]
    data: Event,
}

/// Who recorded an event, and with which client.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RecordedBy {
    /// The person or service account.
    username: String,
    /// The client that sent the command.
    client: String,
}

fn serialize_data<S: Serializer>(event: &Event, serializer: S) -> Result<S::Ok, S::Error> {
    event.serialize_data(serializer)
}

impl From<&StoredEvent> for RecordedEvent {
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
            recorded_by: RecordedBy {
                username: entry.recorded_by.username.to_string(),
                client: entry.recorded_by.client.clone(),
            },
            command_id: entry.command_id.0,
            correlation_id: metadata.correlation_id,
            causation_id: metadata.causation_id.map(|id| id.0),
            data: entry.event.clone(),
        }
    }
}
