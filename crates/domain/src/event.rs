//! Events of every kind of stream, and an event in its place in a history.
//!
//! The modules `command`, `event`, `prison`, `prisoner` and `nomis_contacts` are one idea and
//! depend on one another: a command or an event is one of a case, of a prison or of a person's
//! contacts.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{
    identifier::{AuthSource, CommandId, EventId, InvalidValue, PrisonCode, PrisonerNumber, Username},
    nomis_contacts::NomisContactEvent,
    prison::PrisonEvent,
    prisoner::PrisonerEvent,
};

/// The version of the event bodies that this code writes. Raised when a body changes in a way that
/// an older reader would misread; readers keep understanding all earlier versions.
pub const SCHEMA_VERSION: u16 = 1;

/// A stream of events with one writer's order: a case, a prison or a person's contacts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// One case, `prisoner-A1234BC`.
    Prisoner(PrisonerNumber),
    /// One prison's roster and its move onto OMiC, `prison-LEI`.
    Prison(PrisonCode),
    /// The POM contacts that NOMIS has of one person, `contacts-A1234BC`.
    Contacts(PrisonerNumber),
}

impl Stream {
    /// The person whose stream it is; `None` for a prison's.
    #[must_use]
    pub fn person(&self) -> Option<&PrisonerNumber> {
        match self {
            Self::Prisoner(number) | Self::Contacts(number) => Some(number),
            Self::Prison(_) => None,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prisoner(number) => write!(f, "prisoner-{number}"),
            Self::Prison(code) => write!(f, "prison-{code}"),
            Self::Contacts(number) => write!(f, "contacts-{number}"),
        }
    }
}

impl FromStr for Stream {
    type Err = InvalidValue;
    fn from_str(name: &str) -> Result<Self, InvalidValue> {
        if let Some(number) = name.strip_prefix("prisoner-") {
            number.parse().map(Self::Prisoner)
        } else if let Some(code) = name.strip_prefix("prison-") {
            code.parse().map(Self::Prison)
        } else if let Some(number) = name.strip_prefix("contacts-") {
            number.parse().map(Self::Contacts)
        } else {
            Err(InvalidValue {
                what: "stream",
                value: name.to_owned(),
                format: "`prisoner-` or `contacts-` and a prisoner number, or `prison-` and a prison code",
            })
        }
    }
}

impl CommandId {
    /// The id of event number `index`, counted from 0, of those that the command records in a
    /// stream. One key that is used for two streams gives events with different ids.
    #[must_use]
    pub fn event_id(self, stream: &Stream, index: usize) -> EventId {
        EventId(Uuid::new_v5(&self.0, format!("{stream} {index}").as_bytes()))
    }
}

/// An event of any kind of stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// An event of a case.
    Prisoner(PrisonerEvent),
    /// An event of a prison.
    Prison(PrisonEvent),
    /// An event of a person's contacts.
    Contacts(NomisContactEvent),
}

impl Event {
    /// The names of the types of all kinds of stream: of cases, of prisons, of persons' contacts.
    pub fn type_names() -> impl Iterator<Item = &'static str> + Clone {
        [PrisonerEvent::TYPE_NAMES, PrisonEvent::TYPE_NAMES, NomisContactEvent::TYPE_NAMES]
            .into_iter()
            .flatten()
            .copied()
    }

    /// The name of the event's type, e.g. `AllocationMade`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Prisoner(event) => event.type_name(),
            Self::Prison(event) => event.type_name(),
            Self::Contacts(event) => event.type_name(),
        }
    }

    /// Writes the event's data, without its type.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize_data<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Prisoner(event) => event.serialize_data(serializer),
            Self::Prison(event) => event.serialize_data(serializer),
            Self::Contacts(event) => event.serialize_data(serializer),
        }
    }

    /// Reads an event's data, given its type and its stream.
    ///
    /// # Errors
    /// Those of the deserializer; an event type unknown to that kind of stream is one.
    pub fn deserialize_data<'de, D: Deserializer<'de>>(
        stream: &Stream,
        type_name: &str,
        deserializer: D,
    ) -> Result<Self, D::Error> {
        match stream {
            Stream::Prisoner(_) => PrisonerEvent::deserialize_data(type_name, deserializer).map(Self::Prisoner),
            Stream::Prison(_) => PrisonEvent::deserialize_data(type_name, deserializer).map(Self::Prison),
            Stream::Contacts(_) => NomisContactEvent::deserialize_data(type_name, deserializer).map(Self::Contacts),
        }
    }
}

impl From<PrisonerEvent> for Event {
    fn from(event: PrisonerEvent) -> Self {
        Self::Prisoner(event)
    }
}

impl From<PrisonEvent> for Event {
    fn from(event: PrisonEvent) -> Self {
        Self::Prison(event)
    }
}

impl From<NomisContactEvent> for Event {
    fn from(event: NomisContactEvent) -> Self {
        Self::Contacts(event)
    }
}

impl TryFrom<Event> for PrisonerEvent {
    type Error = MisplacedEvent;

    fn try_from(event: Event) -> Result<Self, MisplacedEvent> {
        match event {
            Event::Prisoner(event) => Ok(event),
            other @ (Event::Prison(_) | Event::Contacts(_)) => {
                Err(MisplacedEvent { type_name: other.type_name(), stream_kind: "the stream of a case" })
            }
        }
    }
}

impl TryFrom<Event> for PrisonEvent {
    type Error = MisplacedEvent;

    fn try_from(event: Event) -> Result<Self, MisplacedEvent> {
        match event {
            Event::Prison(event) => Ok(event),
            other @ (Event::Prisoner(_) | Event::Contacts(_)) => {
                Err(MisplacedEvent { type_name: other.type_name(), stream_kind: "the stream of a prison" })
            }
        }
    }
}

impl TryFrom<Event> for NomisContactEvent {
    type Error = MisplacedEvent;

    fn try_from(event: Event) -> Result<Self, MisplacedEvent> {
        match event {
            Event::Contacts(event) => Ok(event),
            other @ (Event::Prisoner(_) | Event::Prison(_)) => {
                Err(MisplacedEvent { type_name: other.type_name(), stream_kind: "the contacts of a person" })
            }
        }
    }
}

/// An event of one kind of stream where only another kind has a place for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a `{type_name}` does not belong in {stream_kind}")]
pub struct MisplacedEvent {
    /// The event's type.
    pub type_name: &'static str,
    /// The stream that it was to be an event of, in words.
    pub stream_kind: &'static str,
}

/// Makes the events of a kind of stream from one list of types with their data: the enum of the
/// events, and the enum of their types. An event of type `X` is the variant `X`; its data alone is
/// what the log keeps beside the type's name.
macro_rules! event_types {
    (
        $(#[$doc:meta])* events: $event:ident, types: $type:ident;
        $($(#[doc = $variant_doc:literal])* $variant:ident($data:ty),)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "type", content = "data")]
        pub enum $event {
            $($(#[doc = $variant_doc])* $variant($data),)*
        }

        #[doc = concat!("The type of a [`", stringify!($event), "`].")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type {
            $($(#[doc = $variant_doc])* $variant,)*
        }

        impl $type {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name that the log keeps.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }

            /// What happened, in a sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($variant_doc),*).trim_ascii(),)*
                }
            }

            /// The type of that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($variant) => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl $event {
            /// The names of all types of this kind of stream.
            pub const TYPE_NAMES: &'static [&'static str] = &[$(stringify!($variant)),*];

            /// Every type, with the schema of its data.
            #[cfg(feature = "openapi")]
            #[must_use]
            pub fn schemas() -> Vec<$crate::event::EventTypeSchema> {
                vec![$({
                    let mut referred = Vec::new();
                    <$data as utoipa::ToSchema>::schemas(&mut referred);
                    $crate::event::EventTypeSchema {
                        name: stringify!($variant),
                        meaning: $type::$variant.meaning(),
                        data: <$data as utoipa::PartialSchema>::schema(),
                        referred,
                    }
                }),*]
            }

            /// The event's type.
            #[must_use]
            pub const fn event_type(&self) -> $type {
                match self {
                    $(Self::$variant(_) => $type::$variant,)*
                }
            }

            /// The name of the event's type, e.g. `TierAssigned`.
            #[must_use]
            pub const fn type_name(&self) -> &'static str {
                self.event_type().name()
            }

            /// Writes the event's data, without its type.
            ///
            /// # Errors
            /// Those of the serializer.
            pub fn serialize_data<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(data) => serde::Serialize::serialize(data, serializer),)*
                }
            }

            /// Reads an event's data, given the name of its type.
            ///
            /// # Errors
            /// Those of the deserializer; an unknown event type is one.
            pub fn deserialize_data<'de, D: serde::Deserializer<'de>>(
                type_name: &str,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                let Some(event_type) = $type::from_name(type_name) else {
                    let shown = $crate::text::Excerpt(type_name);
                    return Err(serde::de::Error::custom(format_args!("unknown event type `{shown}`")));
                };
                match event_type {
                    $($type::$variant => {
                        <$data as serde::Deserialize>::deserialize(deserializer).map(Self::$variant)
                    })*
                }
            }
        }
    };
}
pub(crate) use event_types;

/// A type of event: its meaning, and the schema of its data.
#[cfg(feature = "openapi")]
#[derive(Clone)]
pub struct EventTypeSchema {
    /// The name of the type.
    pub name: &'static str,
    /// What happened, in a sentence.
    pub meaning: &'static str,
    /// Its data.
    pub data: utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>,
    /// The schemas that its data refers to, by name.
    pub referred: Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>,
}

#[cfg(feature = "openapi")]
impl EventTypeSchema {
    /// Every type of event: those of a case, of a prison, of a person's contacts.
    #[must_use]
    pub fn all() -> Vec<Self> {
        [PrisonerEvent::schemas(), PrisonEvent::schemas(), NomisContactEvent::schemas()].concat()
    }
}

/// The recorder of an event and the client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedBy {
    /// The person or service account; `None` where the request named no user.
    pub username: Option<Username>,
    /// The client that sent the command, e.g. `manage-poms` or `allocation-ledger import`.
    pub client: String,
    /// Where the person signed on, if a token says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_source: Option<AuthSource>,
}

/// An event in its place in a history: the envelope without the transport's details.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<E> {
    /// Identifies the event.
    pub event_id: EventId,
    /// 0-based place in its stream, in recorded order.
    pub revision: u64,
    /// Order in the whole ledger; grows, and only the store says by how much.
    pub position: u64,
    /// The time from which it holds in the world.
    pub effective_at: DateTime<Utc>,
    /// The time at which the ledger learnt of it.
    pub recorded_at: DateTime<Utc>,
    /// Its recorder.
    pub recorded_by: RecordedBy,
    /// The command that it came from.
    pub command_id: CommandId,
    /// The event.
    pub event: E,
}

impl<E> Entry<E> {
    /// The same place in the history, with what `f` makes of what happened.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn try_map<F, X>(self, f: impl FnOnce(E) -> Result<F, X>) -> Result<Entry<F>, X> {
        Ok(Entry {
            event_id: self.event_id,
            revision: self.revision,
            position: self.position,
            effective_at: self.effective_at,
            recorded_at: self.recorded_at,
            recorded_by: self.recorded_by,
            command_id: self.command_id,
            event: f(self.event)?,
        })
    }
}
