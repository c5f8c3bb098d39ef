//! The envelope: encoding the domain's events as the bytes in a store, and decoding them.
//!
//! So far there is one format ([`SCHEMA_VERSION`]). Upcasting of events in an older format would be
//! done here.

use chrono::{DateTime, Utc};
use domain::{
    Entry, Event, Stream,
    event::{RecordedBy, SCHEMA_VERSION},
    identifier::{CommandId, EventId},
    moment::deserialize_stored,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{LogError, NewEvent, RecordedEvent};

/// The metadata of an event, stored with its data as canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The version of the data's format.
    pub schema_version: u16,
    /// When the event holds in the world. A stored leap second is read as the second after it.
    #[serde(deserialize_with = "deserialize_stored")]
    pub effective_at: DateTime<Utc>,
    /// The person or service that recorded it, and the client used.
    pub recorded_by: RecordedBy,
    /// The command that it came from.
    pub command_id: CommandId,
    /// Lower-case hexadecimal SHA-256 of the request. It tells a repeat from another request with
    /// the same id.
    pub request_digest: String,
    /// Connects all that one request causes, across services.
    pub correlation_id: Uuid,
    /// The event on which a policy acted, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<EventId>,
    /// The place in a file that an imported event was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Box<Provenance>>,
}

/// The place in a file that an imported event was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The file's name, without its folders.
    pub file: String,
    /// Lower-case hexadecimal SHA-256 of the file.
    pub sha256: String,
    /// The name of the sheet.
    pub sheet: String,
    /// The row, as a spreadsheet program numbers it. Absent where several rows led to the event, as
    /// to the registration of a POM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u32>,
    /// The run of the import.
    pub run: Uuid,
}

impl Metadata {
    /// Metadata of an event in the format that this code writes.
    #[must_use]
    pub fn new(
        effective_at: DateTime<Utc>,
        recorded_by: RecordedBy,
        command_id: CommandId,
        request_digest: String,
        correlation_id: Uuid,
        causation_id: Option<EventId>,
    ) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            effective_at,
            recorded_by,
            command_id,
            request_digest,
            correlation_id,
            causation_id,
            provenance: None,
        }
    }

    /// The same metadata with a place in a file.
    #[must_use]
    pub fn with_provenance(self, provenance: Option<Box<Provenance>>) -> Self {
        Self { provenance, ..self }
    }
}

/// An event of the log, decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// The stream it belongs to.
    pub stream: Stream,
    /// Its metadata.
    pub metadata: Metadata,
    /// The event in its place.
    pub entry: Entry<Event>,
}

/// Encodes event number `index`, counted from 0, of those that a command records in a stream.
///
/// # Panics
/// Never for the domain's events: their data has no map with keys other than text, and no number
/// that is not finite.
#[must_use]
pub fn encode(
    stream: &Stream,
    event: &Event,
    index: usize,
    metadata: &Metadata,
    recorded_at: DateTime<Utc>,
) -> NewEvent {
    struct Data<'a>(&'a Event);
    impl Serialize for Data<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.serialize_data(serializer)
        }
    }
    NewEvent {
        event_id: metadata.command_id.event_id(stream, index),
        type_name: event.type_name().to_owned(),
        recorded_at,
        metadata: canonical(metadata),
        data: canonical(&Data(event)),
    }
}

fn canonical<T: Serialize>(value: &T) -> bytes::Bytes {
    serde_json_canonicalizer::to_vec(value).expect("the domain's events are plain JSON").into()
}

/// Decodes an event.
///
/// # Errors
/// [`LogError::Damaged`], naming the position, where the bytes are not an event that this code
/// knows.
pub fn decode(recorded: &RecordedEvent) -> Result<StoredEvent, LogError> {
    let metadata = decode_metadata(recorded)?;
    let event = decode_event(recorded, metadata.schema_version)?;
    Ok(StoredEvent {
        stream: recorded.stream.clone(),
        entry: Entry {
            event_id: recorded.event_id,
            revision: recorded.revision,
            position: recorded.position,
            effective_at: metadata.effective_at,
            recorded_at: recorded.recorded_at,
            recorded_by: metadata.recorded_by.clone(),
            command_id: metadata.command_id,
            event,
        },
        metadata,
    })
}

/// Decodes an event's metadata alone.
///
/// # Errors
/// As [`decode`].
pub fn decode_metadata(recorded: &RecordedEvent) -> Result<Metadata, LogError> {
    serde_json::from_slice(&recorded.metadata).map_err(|error| damage_error(recorded, "metadata", &error))
}

/// Decodes an event's data alone, given the version of its format from its metadata.
///
/// # Errors
/// As [`decode`].
pub fn decode_event(recorded: &RecordedEvent, schema_version: u16) -> Result<Event, LogError> {
    if schema_version > SCHEMA_VERSION {
        return Err(LogError::Damaged {
            position: recorded.position,
            what: format!(
                "written in format {schema_version} by a newer version of this program, which reads up to \
                 {SCHEMA_VERSION}"
            ),
        });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(&recorded.data);
    Event::deserialize_data(&recorded.stream, &recorded.type_name, &mut deserializer)
        .and_then(|event| deserializer.end().map(|()| event))
        .map_err(|error| damage_error(recorded, "data", &error))
}

fn damage_error(recorded: &RecordedEvent, part: &str, error: &serde_json::Error) -> LogError {
    let (event, why) = (&recorded.type_name, without_values(error));
    LogError::Damaged {
        position: recorded.position,
        what: format!("the {part} of this `{event}` cannot be read: {why}"),
    }
}

/// The beginnings of messages that name a field or a type, and repeat no value.
const NAMING_NO_VALUE: [&str; 4] = ["missing field", "unknown field", "duplicate field", "unknown event type"];

/// Describes what is wrong with an event's JSON without repeating its values: a value may be a name
/// or a note, and damage is logged.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if NAMING_NO_VALUE.iter().any(|start| text.starts_with(start)) {
        return text;
    }
    let what = if error.is_data() { "what stands there is not what belongs there" } else { "it is not JSON" };
    format!("{what}, at column {}", error.column())
}
