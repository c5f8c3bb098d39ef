//! The state of a case at an instant, folded from its events.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    event::Entry,
    identifier::{Crn, PrisonCode, PrisonerNumber, StaffId},
    london,
    officer::{CommunityManager, Pom},
    prisoner::{
        AllocationReference, Arrangements, DeallocationTrigger, HandoverPlanned, PrisonerEvent, Received,
        ReceptionReason, TierAssigned, Waiting, WaitingReason,
    },
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
    /// The revision of the entry that gave the role: an allocation, or the merge in which the role
    /// was taken over.
    pub given_by: u64,
    /// The allocation that gave the role.
    pub allocation: RoleAllocation,
}

/// The allocation that gave a POM a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleAllocation {
    /// The entry of this case with this revision.
    Own(u64),
    /// One under a number that was merged into this one.
    TakenOver(AllocationReference),
    /// One under a number that was merged into this one by an entry that does not name it.
    Unknown,
}

impl RoleAllocation {
    /// The revision of an allocation of this case itself.
    #[must_use]
    pub fn own_revision(&self) -> Option<u64> {
        match self {
            Self::Own(revision) => Some(*revision),
            Self::TakenOver(_) | Self::Unknown => None,
        }
    }
}

/// A COM's role on a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComRole {
    /// The COM.
    pub manager: CommunityManager,
    /// The effective time from which the COM is named. A COM who is named again with the same name
    /// and e-mail address has been named all the time.
    pub since: DateTime<Utc>,
}

/// The reception by which a person came to the prison that holds the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Reception {
    /// The effective time of the reception.
    pub since: DateTime<Utc>,
    /// The occasion.
    pub reason: ReceptionReason,
}

impl Reception {
    /// How many calendar days in London ago the person was received, at `instant`.
    #[must_use]
    pub fn days_at(self, instant: DateTime<Utc>) -> i64 {
        (london::date(instant) - london::date(self.since)).num_days()
    }
}

/// A case at an instant. The default is a case that nothing has happened to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// The prison that holds the case. While there is a POM in either role, that POM's prison.
    /// `None` once released or out of scope.
    pub prison: Option<PrisonCode>,
    /// The reception by which the person came to `prison`, if that is known.
    pub reception: Option<Reception>,
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
    /// The wait to be allocated at `prison`.
    pub waiting: Option<Waiting>,
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

    /// The roles that POMs have: the primary one first.
    pub fn roles(&self) -> impl Iterator<Item = &PomRole> {
        [&self.primary_pom, &self.coworking_pom].into_iter().flatten()
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
            given_by: revision,
            allocation: RoleAllocation::Own(revision),
        };
        match event {
            PrisonerEvent::Received(received) => self.receive(received, at),
            PrisonerEvent::TierAssigned(tier) => {
                if tier.crn.is_some() {
                    self.crn.clone_from(&tier.crn);
                }
                if tier.prison.is_some() && !self.has_pom() {
                    self.arrive_at(tier.prison.clone(), Waiting { since: at, reason: WaitingReason::Received });
                }
                let is_first = self.tier.replace(tier.clone()).is_none();
                if is_first {
                    self.wait_if_received(at);
                }
            }
            PrisonerEvent::CrnRecorded(recorded) => self.crn = Some(recorded.crn.clone()),
            PrisonerEvent::AllocationMade(made) => self.hold(role(&made.pom, &made.prison)),
            PrisonerEvent::Reallocated(moved) => self.hold(role(&moved.pom_after, &moved.prison)),
            PrisonerEvent::Deallocated(ended) => {
                self.primary_pom = None;
                match ended.trigger {
                    DeallocationTrigger::Released | DeallocationTrigger::LegalStatusChanged => {
                        (self.prison, self.reception) = (None, None);
                        self.left_at = Some(at);
                        self.waiting = None;
                        self.arrangements = Arrangements::default();
                    }
                    DeallocationTrigger::Transferred => {
                        let waiting = Waiting { since: at, reason: WaitingReason::Transferred };
                        self.arrive_at(ended.to_prison.clone(), waiting);
                        self.reception = None;
                    }
                    DeallocationTrigger::PomInactive => self.wait(at, WaitingReason::PomInactive),
                    DeallocationTrigger::Manual => self.wait(at, WaitingReason::Deallocated),
                    DeallocationTrigger::Merged => self.waiting = None,
                }
            }
            PrisonerEvent::CoworkerAllocated(joined) => self.coworking_pom = Some(role(&joined.pom, &joined.prison)),
            PrisonerEvent::CoworkerReallocated(moved) => {
                self.coworking_pom = Some(role(&moved.pom_after, &moved.prison));
            }
            PrisonerEvent::CoworkerDeallocated(_) => self.coworking_pom = None,
            PrisonerEvent::CommunityManagerAssigned(manager) => self.name_com(manager, at),
            PrisonerEvent::CommunityManagerRemoved(_) => self.community_manager = None,
            PrisonerEvent::HandoverPlanned(plan) => self.arrangements.handover_plan = Some(plan.clone()),
            PrisonerEvent::ResponsibilityOverridden(decision) => {
                self.arrangements.responsibility_override = Some(decision.clone());
            }
            PrisonerEvent::ResponsibilityOverrideRemoved(_) => self.arrangements.responsibility_override = None,
            // A void changes which entries are folded, not the fold: see `History`.
            PrisonerEvent::EntryVoided(_) => {}
            PrisonerEvent::PrisonerNumberMerged(merged) => self.take_over(merged, at, revision),
            PrisonerEvent::PrisonerNumberRetired(retired) => {
                self.retired_into = Some(retired.survivor.clone());
                self.waiting = None;
            }
        }
    }

    /// Whether a POM has a role. The case then stays at that POM's prison.
    fn has_pom(&self) -> bool {
        self.primary_pom.is_some() || self.coworking_pom.is_some()
    }

    /// Whether the case is at a prison by this very reception.
    pub(super) fn is_received(&self, received: &Received) -> bool {
        self.prison.as_ref() == Some(&received.prison)
            && self.reception.is_some_and(|reception| reception.reason == received.reason)
    }

    /// Comes into a prison, and waits there from now on if the case has a tier.
    fn receive(&mut self, received: &Received, at: DateTime<Utc>) {
        if self.is_received(received) {
            return;
        }
        self.left_at = None;
        if !self.has_pom() {
            (self.prison, self.waiting) = (Some(received.prison.clone()), None);
        }
        self.reception = Some(Reception { since: at, reason: received.reason });
        self.wait_if_received(at);
    }

    /// Waits from `since` after a reception, once the case has a tier.
    pub(super) fn wait_if_received(&mut self, since: DateTime<Utc>) {
        if self.reception.is_some() && self.tier.is_some() && self.waiting.is_none() && !self.has_pom() {
            self.wait(since, WaitingReason::Received);
        }
    }

    pub(super) fn hold(&mut self, role: PomRole) {
        self.reception = self.reception.filter(|_| self.prison.as_ref() == Some(&role.prison));
        self.prison = Some(role.prison.clone());
        self.left_at = None;
        self.primary_pom = Some(role);
        self.waiting = None;
        self.ever_allocated = true;
    }

    /// Waits at `prison`, or goes on waiting if it waits there already.
    fn arrive_at(&mut self, prison: Option<PrisonCode>, waiting: Waiting) {
        if self.prison != prison || self.waiting.is_none() {
            self.reception = self.reception.filter(|_| self.prison == prison);
            self.prison = prison;
            self.wait(waiting.since, waiting.reason);
        }
        self.left_at = None;
    }

    /// Waits at the prison that holds the case. A case that is in transit waits nowhere.
    pub(super) fn wait(&mut self, since: DateTime<Utc>, reason: WaitingReason) {
        let waits = self.prison.as_ref().is_some_and(|prison| !prison.is_in_transit());
        self.waiting = waits.then_some(Waiting { since, reason });
    }

    pub(super) fn name_com(&mut self, manager: &CommunityManager, at: DateTime<Utc>) {
        let same = self.community_manager.as_ref().filter(|role| role.manager.is_same_person(manager));
        let since = same.map_or(at, |role| role.since);
        self.community_manager = (!manager.is_vacancy()).then(|| ComRole { manager: manager.clone(), since });
    }
}

impl Arrangements {
    /// Whether answers show the same of both: of a plan, its dates and the reason for them.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        let Self { handover_plan, responsibility_override } = self;
        let shown = |plan: &HandoverPlanned| (plan.reason, plan.start_date, plan.handover_date);
        handover_plan.as_ref().map(shown) == other.handover_plan.as_ref().map(shown)
            && *responsibility_override == other.responsibility_override
    }
}
