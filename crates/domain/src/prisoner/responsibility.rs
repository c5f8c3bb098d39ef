//! The responsible officer of a case at an instant: the table "Who is responsible" in
//! `docs/domain.md`, from the policy *Offender Management in Custody* (OMiC). The answer changes
//! with the calendar, without any job running.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    handover::{PlannedPhase, phase_on},
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

words! {
    /// Where a case is between custody and community.
    Phase {
        /// The POM is responsible, alone.
        CustodyOnly => "CUSTODY_ONLY",
        /// The POM is responsible, a COM supports.
        CustodyWithCom => "CUSTODY_WITH_COM",
        /// The COM is responsible, the POM supports.
        Community => "COMMUNITY",
        /// Released, or no longer sentenced: no officer is responsible.
        NotInCustody => "NOT_IN_CUSTODY",
    }
}

impl From<PlannedPhase> for Phase {
    fn from(planned: PlannedPhase) -> Self {
        match planned {
            PlannedPhase::CustodyOnly => Self::CustodyOnly,
            PlannedPhase::CustodyWithCom => Self::CustodyWithCom,
            PlannedPhase::Community => Self::Community,
        }
    }
}

/// The responsible and the supporting role of a case; either may be vacant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Responsibility {
    /// The phase between custody and community.
    pub phase: Phase,
    /// The responsible role; `None` where the case is not in custody.
    pub responsible: Option<OfficerRole>,
    /// The supporting role.
    pub supporting: Option<OfficerRole>,
}

/// The roles' responsibility in a state that holds at `instant`.
#[must_use]
pub fn responsibility(state: &State, instant: DateTime<Utc>) -> Responsibility {
    let phase = match (&state.arrangements.responsibility_override, &state.arrangements.handover_plan) {
        _ if state.left_at.is_some() => Phase::NotInCustody,
        (Some(decision), _) => match decision.responsible {
            ResponsibleService::Probation => Phase::Community,
            ResponsibleService::Prison if state.community_manager.is_some() => Phase::CustodyWithCom,
            ResponsibleService::Prison => Phase::CustodyOnly,
        },
        (None, Some(plan)) => phase_on(plan.reason, plan.start_date, plan.handover_date, london::date(instant)).into(),
        (None, None) => Phase::CustodyOnly,
    };
    let (responsible, supporting) = match phase {
        Phase::CustodyOnly => (Some(OfficerRole::Pom), None),
        Phase::CustodyWithCom => (Some(OfficerRole::Pom), Some(OfficerRole::Com)),
        Phase::Community => (Some(OfficerRole::Com), Some(OfficerRole::Pom)),
        Phase::NotInCustody => (None, None),
    };
    Responsibility { phase, responsible, supporting }
}
