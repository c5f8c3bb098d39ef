//! The state of a case at an instant, folded from its events.

use chrono::{DateTime, Utc};

use crate::{
    event::Entry,
    identifier::{Crn, PrisonCode, PrisonerNumber, StaffId},
    officer::{CommunityManager, Pom},
    prisoner::{Arrangements, DeallocationTrigger, MergedHoldings, PrisonerEvent, PrisonerNumberMerged, TierAssigned},
};

/// A POM's role on a case, primary or co-working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PomRole {
    /// The POM.
    pub pom: Pom,
    /// The prison of the role.
    pub prison: PrisonCode,
    /// The effective time from which the POM has the role.
    pub since: DateTime<Utc>,
    /// The revision that gave the role; `None` where it was taken over in a merge.
    pub allocation_revision: Option<u64>,
}

/// A COM's role on a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComRole {
    /// The COM.
    pub manager: CommunityManager,
    /// The effective time from which the COM is named.
    pub since: DateTime<Utc>,
}

/// A case at an instant. The default is a case that nothing has happened to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// The prison that holds the case. While there is a primary POM, that POM's prison. `None` once
    /// released or out of scope.
    pub prison: Option<PrisonCode>,
    /// The tier and what came with it.
    pub tier: Option<TierAssigned>,
    /// The number in Delius, as last told.
    pub crn: Option<Crn>,
    /// The primary POM.
    pub primary_pom: Option<PomRole>,
    /// The co-working POM.
    pub coworking_pom: Option<PomRole>,
    /// The COM.
    pub community_manager: Option<ComRole>,
    /// The arrangements that end with a release.
    pub arrangements: Arrangements,
    /// The time at which the person was released or left the scope of offender management; `None`
    /// while in scope.
    pub left_at: Option<DateTime<Utc>>,
    /// The time from which the case waits to be allocated at `prison`.
    pub waiting_since: Option<DateTime<Utc>>,
    /// Whether there ever was a primary POM.
    pub ever_allocated: bool,
    /// The surviving number, once merged.
    pub retired_into: Option<PrisonerNumber>,
}

impl State {
    /// The primary POM's staff id.
    #[must_use]
    pub fn primary_staff_id(&self) -> Option<StaffId> {
        self.primary_pom.as_ref().map(|role| role.pom.staff_id)
    }

    /// The co-working POM's staff id.
    #[must_use]
    pub fn coworking_staff_id(&self) -> Option<StaffId> {
        self.coworking_pom.as_ref().map(|role| role.pom.staff_id)
    }

    /// Takes in the next event in effective order.
    pub fn apply(&mut self, entry: &Entry<PrisonerEvent>) {
        self.apply_event(&entry.event, entry.effective_at, entry.revision);
    }

    /// Takes in an event that holds from `at` and has, or is about to have, this revision.
    pub(super) fn apply_event(&mut self, event: &PrisonerEvent, at: DateTime<Utc>, revision: u64) {
        let role = |pom: &Pom, prison: &PrisonCode| PomRole {
            pom: pom.clone(),
            prison: prison.clone(),
            since: at,
            allocation_revision: Some(revision),
        };
        match event {
            PrisonerEvent::TierAssigned(tier) => {
                if tier.crn.is_some() {
                    self.crn.clone_from(&tier.crn);
                }
                if tier.prison.is_some() && self.primary_pom.is_none() {
                    self.wait_at(tier.prison.clone(), at);
                }
                self.tier = Some(tier.clone());
            }
            PrisonerEvent::AllocationMade(made) => self.hold(role(&made.pom, &made.prison)),
            PrisonerEvent::Reallocated(moved) => self.hold(role(&moved.pom_after, &moved.prison)),
            PrisonerEvent::Deallocated(ended) => {
                self.primary_pom = None;
                match ended.trigger {
                    DeallocationTrigger::Released | DeallocationTrigger::LegalStatusChanged => {
                        self.prison = None;
                        self.left_at = Some(at);
                        self.waiting_since = None;
                        self.arrangements = Arrangements::default();
                    }
                    DeallocationTrigger::Transferred => self.wait_at(ended.to_prison.clone(), at),
                    DeallocationTrigger::PomInactive | DeallocationTrigger::Manual => {
                        self.waiting_since = self.prison.as_ref().map(|_| at);
                    }
                    DeallocationTrigger::Merged => self.waiting_since = None,
                }
            }
            PrisonerEvent::CoworkerAllocated(joined) => self.coworking_pom = Some(role(&joined.pom, &joined.prison)),
            PrisonerEvent::CoworkerReallocated(moved) => {
                self.coworking_pom = Some(role(&moved.pom_after, &moved.prison));
            }
            PrisonerEvent::CoworkerDeallocated(_) => self.coworking_pom = None,
            PrisonerEvent::CommunityManagerAssigned(manager) => {
                self.community_manager = Some(ComRole { manager: manager.clone(), since: at });
            }
            PrisonerEvent::CommunityManagerRemoved(_) => self.community_manager = None,
            PrisonerEvent::HandoverPlanned(plan) => self.arrangements.handover_plan = Some(plan.clone()),
            PrisonerEvent::ResponsibilityOverridden(decision) => {
                self.arrangements.responsibility_override = Some(decision.clone());
            }
            PrisonerEvent::ResponsibilityOverrideRemoved(_) => self.arrangements.responsibility_override = None,
            // A void changes which entries are folded, not the fold: see `History`.
            PrisonerEvent::EntryVoided(_) => {}
            PrisonerEvent::PrisonerNumberMerged(merged) => self.take_over(merged, at),
            PrisonerEvent::PrisonerNumberRetired(retired) => {
                self.retired_into = Some(retired.survivor.clone());
                self.waiting_since = None;
            }
        }
    }

    fn hold(&mut self, role: PomRole) {
        self.prison = Some(role.prison.clone());
        self.left_at = None;
        self.primary_pom = Some(role);
        self.waiting_since = None;
        self.ever_allocated = true;
    }

    /// Waits at `prison` from `at`, or goes on waiting if it waits there already.
    fn wait_at(&mut self, prison: Option<PrisonCode>, at: DateTime<Utc>) {
        if self.prison != prison || self.waiting_since.is_none() {
            self.waiting_since = prison.as_ref().map(|_| at);
        }
        self.prison = prison;
        self.left_at = None;
    }

    /// Rule 10: the survivor takes over each thing that it has none of. If that made one person
    /// both primary and co-working POM (rule 4), or left the two at different prisons, the primary
    /// role is kept and the co-working one is not.
    fn take_over(&mut self, merged: &PrisonerNumberMerged, at: DateTime<Utc>) {
        let held = &merged.held;
        let role = |pom: &Pom| {
            held.prison.as_ref().map(|prison| PomRole {
                pom: pom.clone(),
                prison: prison.clone(),
                since: at,
                allocation_revision: None,
            })
        };
        if self.primary_pom.is_none()
            && let Some(taken) = held.primary_pom.as_ref().and_then(role)
        {
            self.hold(taken);
        }
        if self.coworking_pom.is_none() {
            self.coworking_pom = held.coworking_pom.as_ref().and_then(role);
        }
        if let (Some(primary), Some(coworking)) = (&self.primary_pom, &self.coworking_pom)
            && (primary.pom.staff_id == coworking.pom.staff_id || primary.prison != coworking.prison)
        {
            self.coworking_pom = None;
        }
        if self.prison.is_none() && held.prison.is_some() {
            self.wait_at(held.prison.clone(), at);
        }
        if self.tier.is_none() {
            self.tier.clone_from(&held.tier);
        }
        if self.crn.is_none() {
            self.crn = held.tier.as_ref().and_then(|tier| tier.crn.clone());
        }
        if self.community_manager.is_none() {
            self.community_manager = held.community_manager.clone().map(|manager| ComRole { manager, since: at });
        }
        let Arrangements { handover_plan, responsibility_override } = held.arrangements.clone();
        let own = &mut self.arrangements;
        own.handover_plan = own.handover_plan.take().or(handover_plan);
        own.responsibility_override = own.responsibility_override.take().or(responsibility_override);
    }
}

/// The holdings that a merge takes over from a case in this state.
impl From<State> for MergedHoldings {
    fn from(state: State) -> Self {
        Self {
            prison: state.prison,
            primary_pom: state.primary_pom.map(|role| role.pom),
            coworking_pom: state.coworking_pom.map(|role| role.pom),
            tier: state.tier,
            community_manager: state.community_manager.map(|role| role.manager),
            arrangements: state.arrangements,
        }
    }
}
