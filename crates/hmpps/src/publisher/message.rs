//! The messages that are published: their types, and their exact members.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    identifier::{EventId, PrisonCode, PrisonerNumber},
    prisoner::{
        DeallocationTrigger, OfficerRole, Phase, PrisonerEvent, ResponsibilityOverrideReason, ResponsibleService,
    },
};
use serde::Serialize;
use uuid::Uuid;

/// The type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// Another primary POM, or none any more: as the live service publishes it.
    AllocationChanged,
    /// Other handover dates: as the live service publishes it.
    HandoverChanged,
    /// Another co-working POM, or none any more.
    CoworkingChanged,
    /// An override of the responsibility was recorded, changed or ended.
    OverrideChanged,
    /// Another officer's role is responsible, or supports.
    ResponsibilityChanged,
}

impl MessageType {
    /// The name, as `eventType` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AllocationChanged => "offender-management.allocation.changed",
            Self::HandoverChanged => "offender-management.handover.changed",
            Self::CoworkingChanged => "offender-management.coworking.changed",
            Self::OverrideChanged => "offender-management.responsibility-override.changed",
            Self::ResponsibilityChanged => "offender-management.responsibility.changed",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::AllocationChanged => "A POM allocation has changed",
            Self::HandoverChanged => "Handover date and/or responsibility was updated",
            Self::CoworkingChanged => "A co-working POM allocation has changed",
            Self::OverrideChanged => "An override of the responsibility has changed",
            Self::ResponsibilityChanged => "The responsible or supporting officer's role has changed",
        }
    }

    fn detail_url(self, base: &str, number: &PrisonerNumber) -> String {
        match self {
            Self::AllocationChanged => format!("{base}/api/allocation/{number}/primary_pom"),
            Self::HandoverChanged => format!("{base}/api/handovers/{number}"),
            Self::CoworkingChanged | Self::OverrideChanged | Self::ResponsibilityChanged => {
                format!("{base}/prisoners/{number}/responsibility")
            }
        }
    }
}

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutgoingMessage {
    /// The person, by the number that the message is about.
    pub(super) number: PrisonerNumber,
    pub(super) message_type: MessageType,
    /// The JSON.
    pub(super) body: String,
    pub(super) origin: MessageOrigin,
}

/// The place in the log that a message comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessageOrigin {
    /// The position up to which the log says what the message says.
    pub(super) position: u64,
    /// The trace of the request that has changed it.
    pub(super) traceparent: String,
}

impl MessageOrigin {
    /// The origin in an event. The trace is that of the request's correlation id, since the log
    /// keeps no other.
    pub(super) fn new(position: u64, correlation_id: Uuid, event_id: EventId) -> Self {
        // No id of a trace is all zeros.
        let trace = if correlation_id.is_nil() { event_id.0 } else { correlation_id };
        let span = event_id.0.as_u64_pair().1;
        Self { position, traceparent: format!("00-{}-{span:016x}-01", trace.simple()) }
    }
}

/// The occasion of a change, in the words of the live service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EventTrigger {
    User,
    OffenderTransferred,
    OffenderReleased,
    ManualChange,
    LegalStatusChanged,
    InactivePom,
}

impl EventTrigger {
    /// The occasion of an event; `User` for all that a person has recorded, voids too.
    pub(super) fn of(event: &PrisonerEvent) -> Self {
        match event {
            PrisonerEvent::Deallocated(ended) => ended.trigger.into(),
            PrisonerEvent::CoworkerDeallocated(ended) => ended.trigger.into(),
            PrisonerEvent::PrisonerNumberMerged(_) | PrisonerEvent::PrisonerNumberRetired(_) => Self::ManualChange,
            _ => Self::User,
        }
    }
}

impl From<DeallocationTrigger> for EventTrigger {
    fn from(trigger: DeallocationTrigger) -> Self {
        match trigger {
            DeallocationTrigger::Released => Self::OffenderReleased,
            DeallocationTrigger::Transferred => Self::OffenderTransferred,
            DeallocationTrigger::PomInactive => Self::InactivePom,
            DeallocationTrigger::LegalStatusChanged => Self::LegalStatusChanged,
            DeallocationTrigger::Merged | DeallocationTrigger::Manual => Self::ManualChange,
        }
    }
}

/// The content of a message beside its envelope. Free text that people wrote stays in the ledger.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum MessageContent {
    /// Of a POM's role.
    #[serde(rename_all = "camelCase")]
    Pom {
        /// The POM's staff id in NOMIS; null where there is none any more.
        staff_code: Option<i64>,
        /// The prison of the role; of one that ended, where it was.
        prison_id: PrisonCode,
        event_trigger: EventTrigger,
    },
    /// Of handover dates: the live service says nothing here.
    Handover,
    /// Of an override; nulls where there is none any more.
    Override { responsible: Option<ResponsibleService>, reason: Option<ResponsibilityOverrideReason> },
    /// Of the responsibility; nulls where no officer's role is responsible, or supports, or nothing
    /// is known any more.
    Responsibility { phase: Option<Phase>, responsible: Option<OfficerRole>, supporting: Option<OfficerRole> },
}

/// The message in its envelope.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageEnvelope<'a> {
    event_type: &'static str,
    version: u8,
    description: &'static str,
    detail_url: String,
    occurred_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_information: Option<&'a MessageContent>,
    person_reference: MessagePerson<'a>,
}

#[derive(Serialize)]
struct MessagePerson<'a> {
    identifiers: [MessageIdentifier<'a>; 1],
}

#[derive(Serialize)]
struct MessageIdentifier<'a> {
    r#type: &'static str,
    value: &'a PrisonerNumber,
}

/// A message about a number, of what has held since an instant.
pub(super) fn message(
    base: &str,
    number: &PrisonerNumber,
    (message_type, content): (MessageType, &MessageContent),
    occurred_at: DateTime<Utc>,
    origin: &MessageOrigin,
) -> OutgoingMessage {
    let envelope = MessageEnvelope {
        event_type: message_type.name(),
        version: 1,
        description: message_type.description(),
        detail_url: message_type.detail_url(base, number),
        occurred_at: occurred_at.to_rfc3339_opts(SecondsFormat::Secs, true),
        additional_information: Some(content).filter(|content| **content != MessageContent::Handover),
        person_reference: MessagePerson { identifiers: [MessageIdentifier { r#type: "NOMS", value: number }] },
    };
    OutgoingMessage {
        number: number.clone(),
        message_type,
        body: serde_json::to_string(&envelope).expect("texts and numbers make JSON"),
        origin: origin.clone(),
    }
}
