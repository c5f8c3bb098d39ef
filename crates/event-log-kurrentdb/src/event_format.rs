//! Stored events: the form that the ledger's events have on the server.
//!
//! | on the server | holds |
//! |---|---|
//! | stream | a [name](crate::stream_names) by which a reader without the naming key learns no number |
//! | event id | made of the ledger's event id and the `appendId` (UUIDv5) |
//! | type | the ledger's |
//! | data | the ledger's, byte for byte; marked as JSON |
//! | metadata | `{"eventId":"…","recordedAt":"…","appendId":"…","stream":"…","generation":0,"ledger":…}` |
//! | position | the event's commit position |
//!
//! In the metadata, `eventId` is the ledger's event id, `recordedAt` is the recorded time to the
//! microsecond, `appendId` is the call that wrote the event, `stream` is the ledger's name of the
//! stream, such as `prisoner-A1234BC`, `generation` is that of its name on the server, and `ledger`
//! is the ledger's metadata, byte for byte.
//!
//! So the server takes two appends for the same only where they are tries of one call.
//!
//! The server's own time of an event is not used: it may run backwards with the server's clock.

use bytes::{BufMut as _, Bytes, BytesMut};
use chrono::{DateTime, SecondsFormat, Utc};
use domain::{Stream, identifier::EventId, moment::normalise};
use serde_json::value::RawValue;
use uuid::Uuid;

use event_log::{LogError, NewEvent, RecordedEvent};

use crate::{
    client::{NewServerEvent, ServerEvent},
    stream_names::{GENERATION, StreamNames},
};

/// Identifies the call that wrote an event, so that a writer can tell its own events from those of
/// another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppendId(u64);

impl AppendId {
    pub(crate) fn new() -> Self {
        // The lower half of a UUID: the upper half has the fixed version bits.
        Self(Uuid::new_v4().as_u64_pair().1)
    }

    /// The id that the server sees for an event of this call: the same at each try.
    fn server_id(self, event_id: EventId) -> Uuid {
        Uuid::new_v5(&event_id.0, &self.0.to_be_bytes())
    }
}

const EVENT_ID: &[u8] = br#"{"eventId":""#;
const RECORDED_AT: &[u8] = br#"","recordedAt":""#;
const APPEND_ID: &[u8] = br#"","appendId":""#;
const STREAM: &[u8] = br#"","stream":""#;
const GENERATION_OF_NAME: &[u8] = br#"","generation":"#;
const LEDGER: &[u8] = br#","ledger":"#;

/// Encodes an event of a stream for the server.
pub(crate) fn event_data(
    stream: &Stream,
    event: &NewEvent,
    recorded_at: DateTime<Utc>,
    append: AppendId,
) -> NewServerEvent {
    let mut metadata = BytesMut::with_capacity(event.metadata.len() + 220);
    metadata.put(EVENT_ID);
    metadata.put(event.event_id.to_string().as_bytes());
    metadata.put(RECORDED_AT);
    metadata.put(recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true).as_bytes());
    metadata.put(APPEND_ID);
    metadata.put(format!("{:016x}", append.0).as_bytes());
    metadata.put(STREAM);
    metadata.put(stream.to_string().as_bytes());
    metadata.put(GENERATION_OF_NAME);
    metadata.put(GENERATION.to_string().as_bytes());
    metadata.put(LEDGER);
    metadata.put(&*event.metadata);
    metadata.put_u8(b'}');
    // All data that the ledger writes is JSON. Other data must not be marked so.
    let is_json = serde_json::from_slice::<&RawValue>(&event.data).is_ok();
    NewServerEvent {
        id: append.server_id(event.event_id),
        type_name: event.type_name.clone(),
        is_json,
        metadata: metadata.freeze(),
        data: event.data.clone(),
    }
}

/// Decodes an event of the server. Answers the event and the call that wrote it.
pub(crate) fn recorded_event(names: &StreamNames, event: ServerEvent) -> Result<(RecordedEvent, AppendId), LogError> {
    let position = event.position.commit;
    let damaged = |what: String| LogError::Damaged { position, what };
    if event.type_name == STREAM_DELETED {
        return Err(damaged("its stream was deleted for good".to_owned()));
    }
    if position == u64::MAX {
        let too_old = "the server does not say where events read by stream stand: version 22.6 or later is needed";
        return Err(LogError::Unavailable(too_old.into()));
    }
    let StoredMetadata { event_id, recorded_at, append, stream, generation, ledger } =
        StoredMetadata::parse(&event.metadata).ok_or_else(|| {
            damaged(format!("the metadata of this `{}` were not written by a ledger of this version", event.type_name))
        })?;
    // Nothing writes another generation, and nothing looks for a person in one.
    let is_other_generation = names.key.is_some() && generation != GENERATION;
    if is_other_generation || !names.is_name_of(&event.stream, &stream, generation) {
        return Err(damaged("its stream has another name than the ledger gives it".to_owned()));
    }
    let recorded = RecordedEvent {
        position,
        stream,
        revision: event.revision,
        event_id,
        type_name: event.type_name,
        recorded_at,
        metadata: ledger,
        data: event.data,
    };
    Ok((recorded, append))
}

/// The server's metadata of an event.
struct StoredMetadata {
    event_id: EventId,
    recorded_at: DateTime<Utc>,
    append: AppendId,
    stream: Stream,
    generation: u64,
    ledger: Bytes,
}

impl StoredMetadata {
    fn parse(metadata: &Bytes) -> Option<Self> {
        let mut rest = &metadata[..];
        // The text between a mark and the next byte of this kind.
        let mut text = |mark: &[u8], end: u8| {
            let begun = rest.strip_prefix(mark)?;
            let (text, after) = begun.split_at_checked(begun.iter().position(|byte| *byte == end)?)?;
            rest = after;
            str::from_utf8(text).ok()
        };
        let event_id = EventId(Uuid::parse_str(text(EVENT_ID, b'"')?).ok()?);
        let recorded_at = normalise(DateTime::parse_from_rfc3339(text(RECORDED_AT, b'"')?).ok()?.to_utc());
        let append = AppendId(u64::from_str_radix(text(APPEND_ID, b'"')?, 16).ok()?);
        let stream = text(STREAM, b'"')?.parse().ok()?;
        let generation = text(GENERATION_OF_NAME, b',')?.parse().ok()?;
        let ledger = rest.strip_prefix(LEDGER)?.strip_suffix(b"}")?;
        Some(Self { event_id, recorded_at, append, stream, generation, ledger: metadata.slice_ref(ledger) })
    }
}

/// The type of the event (tombstone) by which the server deletes a stream for good.
pub(crate) const STREAM_DELETED: &str = "$streamDeleted";

/// Whether a stream's settings hide its first events, or will hide them later.
pub(crate) fn hides_events(settings: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct StreamSettings {
        #[serde(rename = "$tb")]
        truncate_before: Option<serde_json::Value>,
        #[serde(rename = "$maxCount")]
        max_count: Option<serde_json::Value>,
        #[serde(rename = "$maxAge")]
        max_age: Option<serde_json::Value>,
    }
    serde_json::from_slice(settings).is_ok_and(|settings: StreamSettings| {
        settings.truncate_before.is_some_and(|before| before.as_u64() != Some(0))
            || settings.max_count.is_some()
            || settings.max_age.is_some()
    })
}
