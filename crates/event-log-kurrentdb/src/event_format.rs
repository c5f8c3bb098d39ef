//! Stored events: the form that the ledger's events have on the server.
//!
//! | on the server | holds |
//! |---|---|
//! | stream | the prefix and the stream's name, `ledger-prisoner-A1234BC` |
//! | event id | made of the ledger's event id and the `appendId` (UUIDv5) |
//! | type | the ledger's |
//! | data | the ledger's, byte for byte; marked as JSON |
//! | metadata | `{"eventId":"…","recordedAt":"…","appendId":"…","ledger":…}`, see below |
//! | position | the event's commit position |
//!
//! In the metadata, `eventId` is the ledger's event id, `recordedAt` is the recorded time to the
//! microsecond, `appendId` is the call that wrote the event, and `ledger` is the ledger's metadata,
//! byte for byte.
//!
//! So the server takes two appends for the same only where they are tries of one call. Earlier
//! versions wrote the ledger's event id as the server's, and no `eventId`. Logs hold both forms for
//! ever, and both are read.
//!
//! The server's own time of an event is not used: it may run backwards with the server's clock.

use std::{fmt, str::FromStr};

use bytes::{BufMut as _, Bytes, BytesMut};
use chrono::{DateTime, SecondsFormat, Utc};
use domain::{Stream, identifier::EventId, moment::normalise, text::Excerpt};
use serde_json::value::RawValue;
use uuid::Uuid;

use event_log::{LogError, NewEvent, RecordedEvent};

use crate::client::{NewServerEvent, ServerEvent};

/// The prefix of the names of all streams of a ledger on the server. A stream belongs to the ledger
/// if the rest of its name is that of one of the ledger's streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPrefix(String);

/// A text that cannot be the prefix of stream names.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is no prefix of streams: letters, digits, `-` and `_` are allowed", Excerpt(.0))]
pub struct InvalidPrefix(String);

impl Default for StreamPrefix {
    fn default() -> Self {
        Self("ledger-".to_owned())
    }
}

impl FromStr for StreamPrefix {
    type Err = InvalidPrefix;
    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        // A `$` would make them system streams.
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match text.is_empty() || !text.bytes().all(is_allowed) {
            true => Err(InvalidPrefix(text.to_owned())),
            false => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for StreamPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StreamPrefix {
    /// The name of a stream on the server.
    pub(crate) fn name(&self, stream: &Stream) -> String {
        format!("{self}{stream}")
    }

    /// The stream of the ledger that has this name on the server. Other streams that begin with the
    /// prefix, such as those of a ledger with a longer prefix, are not streams of this ledger.
    pub(crate) fn stream(&self, name: &str) -> Option<Stream> {
        name.strip_prefix(&self.0)?.parse().ok()
    }

    /// The name of the stream on the server that holds a snapshot. No prefix may begin with its
    /// first character, so it belongs to no ledger, whatever the prefix of that one.
    pub(crate) fn snapshot_stream(&self, name: &str) -> String {
        format!(".{self}snapshot-{name}")
    }

    /// The name of the ledger's stream whose settings this system stream holds; nothing where it
    /// holds those of another stream.
    pub(crate) fn stream_of_settings<'a>(&self, system_stream: &'a str) -> Option<&'a str> {
        system_stream.strip_prefix("$$").filter(|name| self.stream(name).is_some())
    }
}

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
/// As [`RECORDED_AT`] in an event without [`EVENT_ID`].
const RECORDED_AT_FIRST: &[u8] = br#"{"recordedAt":""#;
/// The length of a UUID with hyphens.
const EVENT_ID_LEN: usize = 36;
const APPEND_ID: &[u8] = br#"","appendId":""#;
const LEDGER: &[u8] = br#"","ledger":"#;

/// Encodes an event for the server.
pub(crate) fn event_data(event: &NewEvent, recorded_at: DateTime<Utc>, append: AppendId) -> NewServerEvent {
    let mut metadata = BytesMut::with_capacity(event.metadata.len() + 160);
    metadata.put(EVENT_ID);
    metadata.put(event.event_id.to_string().as_bytes());
    metadata.put(RECORDED_AT);
    metadata.put(recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true).as_bytes());
    metadata.put(APPEND_ID);
    metadata.put(format!("{:016x}", append.0).as_bytes());
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
pub(crate) fn recorded_event(prefix: &StreamPrefix, event: ServerEvent) -> Result<(RecordedEvent, AppendId), LogError> {
    let position = event.position.commit;
    let damaged = |what: String| LogError::Damaged { position, what };
    if event.type_name == STREAM_DELETED {
        return Err(damaged("its stream was deleted for good".to_owned()));
    }
    if position == u64::MAX {
        let too_old = "the server does not say where events read by stream stand: version 22.6 or later is needed";
        return Err(LogError::Unavailable(too_old.into()));
    }
    let stream = prefix
        .stream(&event.stream)
        .ok_or_else(|| damaged(format!("its stream is none of a ledger with the prefix `{prefix}`")))?;
    let StoredMetadata { event_id, recorded_at, append, ledger } = StoredMetadata::parse(&event.metadata)
        .ok_or_else(|| damaged(format!("the metadata of this `{}` were not written by a ledger", event.type_name)))?;
    let recorded = RecordedEvent {
        position,
        stream,
        revision: event.revision,
        event_id: event_id.unwrap_or(EventId(event.id)),
        type_name: event.type_name,
        recorded_at,
        metadata: ledger,
        data: event.data,
    };
    Ok((recorded, append))
}

/// The server's metadata of an event.
struct StoredMetadata {
    /// Absent where the server's event id is the ledger's.
    event_id: Option<EventId>,
    recorded_at: DateTime<Utc>,
    append: AppendId,
    ledger: Bytes,
}

impl StoredMetadata {
    fn parse(metadata: &Bytes) -> Option<Self> {
        let (event_id, rest) = match metadata.strip_prefix(EVENT_ID) {
            Some(rest) => {
                let (event_id, rest) = rest.split_at_checked(EVENT_ID_LEN)?;
                let event_id = Uuid::parse_str(str::from_utf8(event_id).ok()?).ok()?;
                (Some(EventId(event_id)), rest.strip_prefix(RECORDED_AT)?)
            }
            None => (None, metadata.strip_prefix(RECORDED_AT_FIRST)?),
        };
        let (recorded_at, rest) = rest.split_at_checked(rest.iter().position(|byte| *byte == b'"')?)?;
        let (append, rest) = rest.strip_prefix(APPEND_ID)?.split_at_checked(16)?;
        let ledger = rest.strip_prefix(LEDGER)?.strip_suffix(b"}")?;
        let recorded_at = normalise(DateTime::parse_from_rfc3339(str::from_utf8(recorded_at).ok()?).ok()?.to_utc());
        let append = AppendId(u64::from_str_radix(str::from_utf8(append).ok()?, 16).ok()?);
        Some(Self { event_id, recorded_at, append, ledger: metadata.slice_ref(ledger) })
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
