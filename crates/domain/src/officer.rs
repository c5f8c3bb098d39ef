//! The officers of a case: Prison Offender Managers (POMs) and Community Offender Managers
//! (COMs).

use serde::{Deserialize, Serialize};

use crate::{
    identifier::{InvalidValue, StaffId},
    words::words,
};

words! {
    /// The service that employs a POM.
    PomKind {
        /// A prison officer.
        Prison => "PRISON",
        /// A probation officer at work in the prison.
        Probation => "PROBATION",
    }
}

/// A Prison Offender Manager as known when an event was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Pom {
    /// NOMIS staff id.
    pub staff_id: StaffId,
    /// "Surname, Forename".
    pub name: String,
    /// Prison or probation POM.
    pub kind: PomKind,
    /// Work e-mail address, where the roster has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// A Community Offender Manager; has no staff id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = RecordedCommunityManager))]
#[serde(rename_all = "camelCase")]
pub struct CommunityManager {
    /// "Surname, Forename".
    pub name: String,
    /// Work e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Probation team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Local delivery unit (LDU).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ldu: Option<String>,
}

impl CommunityManager {
    /// The name under which Delius lists a case that has no COM.
    const VACANCY: &str = "Unallocated";

    /// Whether this names no person.
    #[must_use]
    pub fn is_vacancy(&self) -> bool {
        self.name.trim().eq_ignore_ascii_case(Self::VACANCY)
    }

    /// Whether both are one person, as far as the ledger can tell: a COM has no staff id, and may
    /// move to another team or LDU.
    #[must_use]
    pub fn is_same_person(&self, other: &Self) -> bool {
        self.name == other.name && self.email == other.email
    }
}

words! {
    /// Whether a POM takes and holds cases at a prison.
    PomStatus {
        /// Takes new cases.
        Active => "ACTIVE",
        /// Keeps the cases held, takes no new ones.
        Unavailable => "UNAVAILABLE",
        /// Holds no cases.
        Inactive => "INACTIVE",
    }
}

/// Share of full time that a POM works: 0.1 to 1.0 in tenths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct WorkingPattern {
    tenths: u8,
}

impl WorkingPattern {
    /// Full time, 1.0.
    pub const FULL_TIME: Self = Self { tenths: 10 };

    /// The share in tenths, 1 to 10.
    #[must_use]
    pub fn tenths(self) -> u8 {
        self.tenths
    }
}

impl TryFrom<f64> for WorkingPattern {
    type Error = InvalidValue;
    fn try_from(share: f64) -> Result<Self, InvalidValue> {
        (1..=10u8)
            .find(|&tenths| (f64::from(tenths) / 10.0 - share).abs() < 1e-9)
            .map(|tenths| Self { tenths })
            .ok_or_else(|| InvalidValue {
                what: "working pattern",
                value: share.to_string(),
                format: "a share of full time from 0.1 to 1.0 in tenths",
            })
    }
}

impl From<WorkingPattern> for f64 {
    fn from(pattern: WorkingPattern) -> f64 {
        f64::from(pattern.tenths) / 10.0
    }
}
