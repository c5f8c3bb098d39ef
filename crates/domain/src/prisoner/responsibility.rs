//! The responsible officer of a case at an instant: the table "Who is responsible" in
//! `docs/domain.md`, from the policy *Offender Management in Custody* (OMiC). The answer changes
//! with the calendar, without any job running.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    handover::{Phase, phase_on},
    london,
    prisoner::{ResponsibleService, State},
    words::words,
};

words! {
    /// The two roles between which responsibility moves.
    OfficerRole {
        /// Prison Offender Manager.
        Pom => "POM",
        /// Community Offender Manager.
        Com => "COM",
    }
}

/// The responsible and the supporting role of a case; either may be vacant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Responsibility {
    /// The phase between custody and community.
    pub phase: Phase,
    /// The responsible role.
    pub responsible: OfficerRole,
    /// The supporting role.
    pub supporting: Option<OfficerRole>,
}

/// The roles' responsibility in a state that holds at `instant`.
#[must_use]
pub fn responsibility(state: &State, instant: DateTime<Utc>) -> Responsibility {
    let phase = match (&state.arrangements.responsibility_override, &state.arrangements.handover_plan) {
        (Some(decision), _) => match decision.responsible {
            ResponsibleService::Probation => Phase::Community,
            ResponsibleService::Prison if state.community_manager.is_some() => Phase::CustodyWithCom,
            ResponsibleService::Prison => Phase::CustodyOnly,
        },
        (None, Some(plan)) => phase_on(plan.reason, plan.start_date, plan.handover_date, london::date(instant)),
        (None, None) => Phase::CustodyOnly,
    };
    let (responsible, supporting) = match phase {
        Phase::CustodyOnly => (OfficerRole::Pom, None),
        Phase::CustodyWithCom => (OfficerRole::Pom, Some(OfficerRole::Com)),
        Phase::Community => (OfficerRole::Com, Some(OfficerRole::Pom)),
    };
    Responsibility { phase, responsible, supporting }
}
