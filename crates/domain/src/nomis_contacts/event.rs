//! The events of the contacts of a person: a published format, as that of a case.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    event::event_types,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
};

event_types! {
    /// An event of the stream `contacts-{prisonerNumber}`.
    events: NomisContactEvent, types: NomisContactEventType;

    /// A POM contact was seen in NOMIS.
    NomisContactFound(NomisContactFound),
    /// The same contact is gone from NOMIS.
    NomisContactRemovalConfirmed(NomisContactRemovalConfirmed),
}

impl NomisContactEvent {
    /// The contact that the event is about.
    #[must_use]
    pub fn contact(&self) -> &NomisContactFound {
        match self {
            Self::NomisContactFound(found) => found,
            Self::NomisContactRemovalConfirmed(removed) => &removed.contact,
        }
    }
}

/// Data of [`NomisContactEvent::NomisContactFound`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NomisContactFound {
    /// Identifies the contact of the person: UUIDv5 of what it says, so that the same contact seen
    /// again is known.
    pub contact_id: Uuid,
    /// The prison of the contact.
    pub prison: PrisonCode,
    /// The number of the prisoner whose POM contact it is, which is that of the stream.
    pub prisoner_number: PrisonerNumber,
    /// The contact's staff id, where NOMIS gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staff_id: Option<StaffId>,
    /// The contact's name, where NOMIS gives one. One of staff id and name is present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Contact type as NOMIS has it, e.g. `POM`.
    pub contact_type: String,
}

/// Data of [`NomisContactEvent::NomisContactRemovalConfirmed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NomisContactRemovalConfirmed {
    /// The contact, as it was found.
    #[serde(flatten)]
    pub contact: NomisContactFound,
}
