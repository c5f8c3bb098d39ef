//! The facts that a merge carries from the removed number to the survivor (rule 10 in
//! `docs/domain.md`, and ADR 0005 in `docs/adr/`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    identifier::{Crn, PrisonerNumber},
    prisoner::{
        History, MergedHoldings, OfficerRole, PomRole, PrisonerNumberMerged, RoleAllocation, State, Waiting, period_at,
        periods,
    },
};

/// The data of the survivor's event for a number that was retired at `retired_revision` of its
/// history.
///
/// # Panics
/// If the history has no such revision.
#[must_use]
pub fn merge_of(removed: &History, retired_revision: u64) -> PrisonerNumberMerged {
    let index = usize::try_from(retired_revision).expect("a revision is an index");
    let retirement = &removed.entries()[index];
    // The retirement's own command has ended the open roles: what was held is what held before it.
    let before = removed.before_command(retirement.command_id);
    let periods = periods(&before);
    let last = period_at(&periods, retirement.effective_at);
    let number = removed.number();
    let state = before.state();
    let past = MergedPast {
        responsible: last.and_then(|last| last.responsibility.responsible),
        responsible_since: last.map(|last| last.responsible_since),
        ..MergedPast::of(number, &state)
    };
    let State { prison, tier, primary_pom, coworking_pom, community_manager, arrangements, .. } = state;
    // A role at a prison that does not hold the case has no place in it.
    let pom = |role: Option<PomRole>| role.filter(|role| Some(&role.prison) == prison.as_ref()).map(|role| role.pom);
    PrisonerNumberMerged {
        removed_number: number.clone(),
        history_ends_at: retired_revision,
        held: MergedHoldings {
            primary_pom: pom(primary_pom),
            coworking_pom: pom(coworking_pom),
            tier,
            community_manager: community_manager.map(|role| role.manager),
            arrangements,
            past: Some(past),
            prison,
        },
    }
}

/// What the past of a removed number says at its end, for answers and refusals that look at it.
/// Merges that were recorded before there was such data have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MergedPast {
    /// Whether there ever was a primary POM.
    pub ever_allocated: bool,
    /// The number in Delius, as last told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crn: Option<Crn>,
    /// The time at which the person was released or left the scope of offender management.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<DateTime<Utc>>,
    /// The wait to be allocated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// The time from which the primary POM had the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_pom_since: Option<DateTime<Utc>>,
    /// The allocation that gave the primary POM the role, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<AllocationReference>,
    /// The time from which the co-working POM had the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coworking_pom_since: Option<DateTime<Utc>>,
    /// The time from which the COM was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub community_manager_since: Option<DateTime<Utc>>,
    /// The responsible role; absent where nothing had happened yet, or the case was not in custody.
    /// Earlier merges say `POM` of a case that was not in custody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responsible: Option<OfficerRole>,
    /// The time from which the officer in that role, or its vacancy, was responsible without a
    /// break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responsible_since: Option<DateTime<Utc>>,
}

impl MergedPast {
    fn of(number: &PrisonerNumber, state: &State) -> Self {
        let allocation = state.primary_pom.as_ref().and_then(|role| match &role.allocation {
            RoleAllocation::Own(revision) => {
                Some(AllocationReference { prisoner_number: number.clone(), revision: *revision })
            }
            RoleAllocation::TakenOver(reference) => Some(reference.clone()),
            RoleAllocation::Unknown => None,
        });
        Self {
            ever_allocated: state.ever_allocated,
            crn: state.crn.clone(),
            left_at: state.left_at,
            waiting: state.waiting,
            primary_pom_since: state.primary_pom.as_ref().map(|role| role.since),
            allocation,
            coworking_pom_since: state.coworking_pom.as_ref().map(|role| role.since),
            community_manager_since: state.community_manager.as_ref().map(|role| role.since),
            responsible: None,
            responsible_since: None,
        }
    }
}

/// An allocation or reallocation, by the number under which it was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationReference {
    /// The number.
    pub prisoner_number: PrisonerNumber,
    /// The revision in its history.
    pub revision: u64,
}
