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
use serde::{Deserialize, Serialize, de::IgnoredAny};
use uuid::Uuid;

use crate::{CheckedSalt, EventLog, LogError, NewEvent, RecordedEvent, Salt};

/// The metadata of an event, stored with its data as canonical JSON. The stored bytes have a
/// [`Salt`], too.
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
    /// Stored metadata without a salt, or with another thing in its place, cannot be read.
    #[serde(skip_serializing)]
    pub salt: CheckedSalt,
}

/// The place in a file that an imported event was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The file's name, without its folders.
    pub file: String,
    /// The name of the sheet.
    pub sheet: String,
    /// The row, as a spreadsheet program numbers it. Absent where several rows led to the event, as
    /// to the registration of a POM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u32>,
    /// Lower-case hexadecimal SHA-256 of that row. Absent without a row, and where the row names a
    /// second prisoner, of whom the event must tell nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_sha256: Option<String>,
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
            salt: CheckedSalt,
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

/// Encodes event number `index`, counted from 0, of those that a command records in a stream. Each
/// try must have another salt.
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
    salt: Salt,
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
        metadata: encode_metadata(metadata, salt),
        data: canonical(&Data(event)),
    }
}

/// Encodes an event's metadata alone.
///
/// # Panics
/// Never: as [`encode`].
#[must_use]
pub fn encode_metadata(metadata: &Metadata, salt: Salt) -> bytes::Bytes {
    #[derive(Serialize)]
    struct SaltedMetadata<'a> {
        #[serde(flatten)]
        metadata: &'a Metadata,
        salt: Salt,
    }
    canonical(&SaltedMetadata { metadata, salt })
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

/// Refuses a log that an earlier version of the program wrote, whose events have no salt. Its last
/// event tells: such a log must take no event of this version, or neither could read all of it.
///
/// # Errors
/// [`LogError::Damaged`], saying what to do; or the log is out of reach.
pub async fn refuse_older_log(log: &dyn EventLog) -> Result<(), LogError> {
    #[derive(Deserialize)]
    struct OnlySalt {
        salt: Option<IgnoredAny>,
    }
    let Some(last) = log.event_at(log.head().await?).await? else { return Ok(()) };
    // Other damage is found where the event is read, and concerns its stream alone.
    match serde_json::from_slice::<OnlySalt>(&last.metadata) {
        Ok(OnlySalt { salt: None }) => Err(LogError::Damaged {
            position: last.position,
            what:
                "its last event has no salt, so an earlier version of the program made this ledger, and this version \
                   can neither read nor continue it: begin a new ledger, in a new data directory or a new event store"
                    .to_owned(),
        }),
        Ok(OnlySalt { salt: Some(_) }) | Err(_) => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use domain::prisoner::{PrisonerEvent, TierAssigned};
    use domain::tier::TierSource;
    use serde_json::{Value, json};

    use super::*;

    fn recorded(salt: Salt) -> RecordedEvent {
        let stream: Stream = "prisoner-A1234BC".parse().expect("a stream");
        let recorded_by = RecordedBy { username: None, client: "test".to_owned(), auth_source: None };
        let (at, command_id) = (DateTime::UNIX_EPOCH, CommandId(Uuid::nil()));
        let metadata = Metadata::new(at, recorded_by, command_id, "0".repeat(64), Uuid::nil(), None);
        let event = Event::Prisoner(PrisonerEvent::TierAssigned(TierAssigned {
            tier: "B2".parse().expect("a tier"),
            rosh_level: None,
            source: TierSource::Manual,
            crn: None,
            prison: None,
        }));
        let new = encode(&stream, &event, 0, &metadata, at, salt);
        RecordedEvent {
            position: 7,
            stream,
            revision: 0,
            event_id: new.event_id,
            type_name: new.type_name,
            recorded_at: at,
            metadata: new.metadata,
            data: new.data,
        }
    }

    /// The event with another salt in its metadata, or with none.
    fn with_salt(salt: Option<Value>) -> RecordedEvent {
        let event = recorded(Salt::from([0; 32]));
        let mut metadata: Value = serde_json::from_slice(&event.metadata).expect("JSON");
        let members = metadata.as_object_mut().expect("an object");
        members.remove("salt");
        members.extend(salt.map(|salt| ("salt".to_owned(), salt)));
        RecordedEvent { metadata: canonical(&metadata), ..event }
    }

    #[test]
    fn the_salt_is_in_the_stored_metadata_and_nothing_else_depends_on_it() {
        let (one, other) = (recorded(Salt::from([0xfb; 32])), recorded(Salt::from([0; 32])));
        let text = std::str::from_utf8(&one.metadata).expect("UTF-8");
        assert!(text.contains(r#""salt":"-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s","schemaVersion":1"#), "{text}");
        assert_eq!(decode(&one).expect("readable"), decode(&other).expect("readable"));
        assert_eq!(one, RecordedEvent { metadata: one.metadata.clone(), ..other });
    }

    #[test]
    fn an_event_without_a_sound_salt_is_damage() {
        let sound = "A".repeat(43);
        decode(&with_salt(Some(json!(sound)))).expect("readable");
        let wrong = [
            json!("A".repeat(42)),
            json!("A".repeat(44)),
            json!("A".repeat(86)),
            json!(format!("{}B", "A".repeat(42))),
            json!(format!("{}=", sound)),
            json!(format!("+{}", "A".repeat(42))),
            json!(""),
            json!(null),
            json!(7),
        ];
        for salt in wrong {
            let error = decode(&with_salt(Some(salt.clone()))).expect_err("damage").to_string();
            let expected =
                "the event log is damaged at position 7: the metadata of this `TierAssigned` cannot be read: ";
            assert!(error.starts_with(expected) && error.contains("column"), "{salt}: {error}");
        }
        let error = decode(&with_salt(None)).expect_err("damage").to_string();
        assert!(error.contains("cannot be read: missing field `salt`"), "{error}");
    }

    #[test]
    fn salts_from_the_operating_system_differ() {
        assert_ne!(Salt::random(), Salt::random());
    }
}
