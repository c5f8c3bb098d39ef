//! The facts that a merge carries from the removed number to the survivor (rule 10 in
//! `docs/domain.md`, and ADR 0005 in `docs/adr/`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    identifier::{Crn, PrisonCode, PrisonerNumber},
    officer::Pom,
    prisoner::{
        Arrangements, History, MergedHoldings, OfficerRole, PomRole, PrisonerNumberMerged, Reception, RoleAllocation,
        State, Waiting, WaitingReason, period_at, periods,
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

impl State {
    /// Rule 10: the survivor takes over each thing that it has none of. POM roles are taken over at
    /// the survivor's prison alone, unless the merge was recorded before it said what had been:
    /// such a merge gave the roles at the removed number's prison. If one person became both
    /// primary and co-working POM (rule 4), or the two were left at different prisons, the primary
    /// role is kept and the co-working one is not.
    pub(super) fn take_over(&mut self, merged: &PrisonerNumberMerged, at: DateTime<Utc>, revision: u64) {
        let held = &merged.held;
        let past = held.past.as_ref();
        if self.prison.is_none() {
            match &held.prison {
                Some(prison) => {
                    self.prison = Some(prison.clone());
                    self.left_at = None;
                    match past {
                        Some(past) => self.waiting = past.waiting,
                        None => self.wait(at, WaitingReason::Merged),
                    }
                }
                None => self.left_at = self.left_at.or(past.and_then(|past| past.left_at)),
            }
        }
        if self.reception.is_none() && self.prison == held.prison {
            self.reception = past.and_then(|past| past.reception);
        }
        let gives_roles = |prison: &&PrisonCode| past.is_none() || self.prison.as_ref() == Some(*prison);
        if let Some(prison) = held.prison.as_ref().filter(gives_roles) {
            let role = |pom: &Pom, since: Option<DateTime<Utc>>, allocation| PomRole {
                pom: pom.clone(),
                prison: prison.clone(),
                since: since.unwrap_or(at),
                given_by: revision,
                allocation,
            };
            if self.primary_pom.is_none()
                && let Some(pom) = &held.primary_pom
            {
                let allocation = past.and_then(|past| past.allocation.clone());
                let allocation = allocation.map_or(RoleAllocation::Unknown, RoleAllocation::TakenOver);
                self.hold(role(pom, past.and_then(|past| past.primary_pom_since), allocation));
            }
            if self.coworking_pom.is_none()
                && let Some(pom) = &held.coworking_pom
            {
                let since = past.and_then(|past| past.coworking_pom_since);
                self.coworking_pom = Some(role(pom, since, RoleAllocation::Unknown));
            }
            if let (Some(primary), Some(coworking)) = (&self.primary_pom, &self.coworking_pom)
                && (primary.pom.staff_id == coworking.pom.staff_id || primary.prison != coworking.prison)
            {
                self.coworking_pom = None;
            }
        }
        self.ever_allocated |= past.map_or(held.primary_pom.is_some(), |past| past.ever_allocated);
        if self.tier.is_none() {
            self.tier.clone_from(&held.tier);
        }
        if self.crn.is_none() {
            let of_tier = || held.tier.as_ref().and_then(|tier| tier.crn.clone());
            self.crn = past.and_then(|past| past.crn.clone()).or_else(of_tier);
        }
        if self.community_manager.is_none()
            && let Some(manager) = &held.community_manager
        {
            self.name_com(manager, past.and_then(|past| past.community_manager_since).unwrap_or(at));
        }
        let Arrangements { handover_plan, responsibility_override } = held.arrangements.clone();
        let own = &mut self.arrangements;
        own.handover_plan = own.handover_plan.take().or(handover_plan);
        own.responsibility_override = own.responsibility_override.take().or(responsibility_override);
        self.wait_if_received(at);
    }
}

/// What the past of a removed number says at its end, for answers and refusals that look at it.
/// Merges that were recorded before there was such data have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
    /// The reception by which the person came to the prison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reception: Option<Reception>,
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
            reception: state.reception,
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AllocationReference {
    /// The number.
    pub prisoner_number: PrisonerNumber,
    /// The revision in its history.
    pub revision: u64,
}
