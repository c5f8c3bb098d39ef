//! The events of a prison's roster and of its move onto OMiC: a published format, as that of a
//! case.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    event::event_types,
    identifier::StaffId,
    officer::{PomKind, PomStatus, WorkingPattern},
    words::words,
};

event_types! {
    /// An event of the stream `prison-{prisonCode}`.
    events: PrisonEvent, types: PrisonEventType;

    /// The prison went onto OMiC, or will on a planned date.
    PrisonJoinedOmic(PrisonJoinedOmic),
    /// The go-live date that was recorded before was wrong.
    PrisonOmicDateCorrected(PrisonOmicDateCorrected),
    /// A POM was put on the roster, with status `ACTIVE`.
    PomRegistered(PomRegistered),
    /// A POM's name, kind, working pattern or e-mail address changed.
    PomDetailsChanged(PomDetailsChanged),
    /// A POM's status changed.
    PomStatusChanged(PomStatusChanged),
}

impl PrisonEvent {
    /// The POM that the event is about, if it is about one on the roster.
    #[must_use]
    pub fn staff_id(&self) -> Option<StaffId> {
        match self {
            Self::PomRegistered(event) => Some(event.staff_id),
            Self::PomDetailsChanged(event) => Some(event.staff_id),
            Self::PomStatusChanged(event) => Some(event.staff_id),
            Self::PrisonJoinedOmic(_) | Self::PrisonOmicDateCorrected(_) => None,
        }
    }

    /// The POM and the status that the event gives, if it gives one.
    #[must_use]
    pub fn new_status(&self) -> Option<(StaffId, PomStatus)> {
        match self {
            Self::PomRegistered(registered) => Some((registered.staff_id, PomStatus::Active)),
            Self::PomStatusChanged(changed) => Some((changed.staff_id, changed.status)),
            Self::PrisonJoinedOmic(_) | Self::PrisonOmicDateCorrected(_) | Self::PomDetailsChanged(_) => None,
        }
    }
}

words! {
    /// Kind of establishment, as far as the handover rules tell them apart.
    Estate {
        /// Men's closed estate.
        MensClosed => "MENS_CLOSED",
        /// Men's open estate.
        MensOpen => "MENS_OPEN",
        /// Women's estate.
        Womens => "WOMENS",
    }
}

/// Data of [`PrisonEvent::PrisonJoinedOmic`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PrisonJoinedOmic {
    /// First London day on which cases are allocated here.
    pub go_live_date: NaiveDate,
    /// Kind of establishment.
    pub estate: Estate,
}

/// Data of [`PrisonEvent::PrisonOmicDateCorrected`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PrisonOmicDateCorrected {
    /// First London day on which cases are allocated here.
    pub go_live_date: NaiveDate,
    /// The date that was wrong.
    pub go_live_date_before: NaiveDate,
    /// The reason, in the words of its recorder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Data of [`PrisonEvent::PomRegistered`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PomRegistered {
    /// NOMIS staff id.
    pub staff_id: StaffId,
    /// "Surname, Forename".
    pub name: String,
    /// Prison or probation POM.
    pub kind: PomKind,
    /// Share of full time.
    pub working_pattern: WorkingPattern,
    /// Work e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// Data of [`PrisonEvent::PomDetailsChanged`]: only what changed is present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PomDetailsChanged {
    /// NOMIS staff id.
    pub staff_id: StaffId,
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<PomKind>,
    /// The new working pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_pattern: Option<WorkingPattern>,
    /// The new e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// Data of [`PrisonEvent::PomStatusChanged`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PomStatusChanged {
    /// NOMIS staff id.
    pub staff_id: StaffId,
    /// The new status.
    pub status: PomStatus,
    /// For `UNAVAILABLE`: the London day on which the POM is expected back, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns_on: Option<NaiveDate>,
    /// The reason, in the words of its recorder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
