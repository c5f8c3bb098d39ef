//! The events of a case: the published format, which ADR 0006 in `docs/adr/` describes.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    event::event_types,
    handover::{Facts, HandoverReason, NamedDate},
    identifier::{Crn, PrisonCode, PrisonerNumber, StaffId},
    officer::{CommunityManager, Pom},
    prisoner::{Choice, MergedPast},
    tier::{RoshLevel, Tier, TierSource},
    words::words,
};

event_types! {
    /// An event of the stream `prisoner-{prisonerNumber}`.
    events: PrisonerEvent, types: PrisonerEventType;

    /// The person came into a prison, from outside.
    Received(Received),
    /// The case was given a tier.
    TierAssigned(TierAssigned),
    /// The case's number in Delius was told.
    CrnRecorded(CrnRecorded),
    /// A primary POM took a case that had none.
    AllocationMade(AllocationMade),
    /// The case went from one primary POM to another.
    Reallocated(Reallocated),
    /// The primary POM's role ended, or a case without one left the prison.
    Deallocated(Deallocated),
    /// A co-working POM joined.
    CoworkerAllocated(CoworkerAllocated),
    /// One co-working POM took over from another.
    CoworkerReallocated(CoworkerReallocated),
    /// The co-working POM's role ended.
    CoworkerDeallocated(CoworkerDeallocated),
    /// A COM was named.
    CommunityManagerAssigned(CommunityManager),
    /// The COM named before no longer has the case.
    CommunityManagerRemoved(CommunityManager),
    /// Handover dates were worked out and recorded.
    HandoverPlanned(HandoverPlanned),
    /// The responsible service was decided against the plan.
    ResponsibilityOverridden(ResponsibilityOverridden),
    /// That decision was taken back.
    ResponsibilityOverrideRemoved(ResponsibilityOverrideRemoved),
    /// An earlier entry turned out to be an error.
    EntryVoided(EntryVoided),
    /// On the surviving number: another number was merged into it.
    PrisonerNumberMerged(Box<PrisonerNumberMerged>),
    /// On the removed number: its case goes on under another number.
    PrisonerNumberRetired(PrisonerNumberRetired),
}

impl PrisonerEvent {
    /// The prisons that the event's data names, each as often as it does.
    pub fn named_prisons(&self) -> impl Iterator<Item = &PrisonCode> {
        let named = match self {
            Self::Received(received) => [Some(&received.prison), None],
            Self::TierAssigned(tier) => [tier.prison.as_ref(), None],
            Self::AllocationMade(made) => [Some(&made.prison), None],
            Self::Reallocated(moved) => [Some(&moved.prison), None],
            Self::Deallocated(ended) => [ended.prison.as_ref(), ended.to_prison.as_ref()],
            Self::CoworkerAllocated(joined) => [Some(&joined.prison), None],
            Self::CoworkerReallocated(moved) => [Some(&moved.prison), None],
            Self::CoworkerDeallocated(ended) => [Some(&ended.prison), None],
            Self::PrisonerNumberMerged(merged) => {
                let tier_prison = merged.held.tier.as_ref().and_then(|tier| tier.prison.as_ref());
                [merged.held.prison.as_ref(), tier_prison]
            }
            Self::CrnRecorded(_)
            | Self::CommunityManagerAssigned(_)
            | Self::CommunityManagerRemoved(_)
            | Self::HandoverPlanned(_)
            | Self::ResponsibilityOverridden(_)
            | Self::ResponsibilityOverrideRemoved(_)
            | Self::EntryVoided(_)
            | Self::PrisonerNumberRetired(_) => [None; 2],
        };
        named.into_iter().flatten()
    }

    /// The other number of the merge that the event is a part of, if it is part of one.
    #[must_use]
    pub fn merge_partner(&self) -> Option<&PrisonerNumber> {
        match self {
            Self::PrisonerNumberMerged(merged) => Some(&merged.removed_number),
            Self::PrisonerNumberRetired(retired) => Some(&retired.survivor),
            Self::Received(_)
            | Self::TierAssigned(_)
            | Self::CrnRecorded(_)
            | Self::AllocationMade(_)
            | Self::Reallocated(_)
            | Self::Deallocated(_)
            | Self::CoworkerAllocated(_)
            | Self::CoworkerReallocated(_)
            | Self::CoworkerDeallocated(_)
            | Self::CommunityManagerAssigned(_)
            | Self::CommunityManagerRemoved(_)
            | Self::HandoverPlanned(_)
            | Self::ResponsibilityOverridden(_)
            | Self::ResponsibilityOverrideRemoved(_)
            | Self::EntryVoided(_) => None,
        }
    }

    /// The POM roles that the event by itself gives and ends, in this order: the role ended, the
    /// role given. A void or a retirement changes more: see
    /// [`PrisonerEventType::may_change_roles`].
    #[must_use]
    pub fn role_changes(&self) -> Vec<RoleChange<'_>> {
        let given = |prison, pom: &Pom| RoleChange::Given(prison, pom.staff_id);
        let ended = |prison, pom: &Pom| RoleChange::Ended(prison, pom.staff_id);
        match self {
            Self::AllocationMade(made) => vec![given(&made.prison, &made.pom)],
            Self::Reallocated(moved) => {
                vec![ended(&moved.prison, &moved.pom_before), given(&moved.prison, &moved.pom_after)]
            }
            Self::Deallocated(deallocated) => match (&deallocated.prison, &deallocated.pom) {
                (Some(prison), Some(pom)) => vec![ended(prison, pom)],
                _ => Vec::new(),
            },
            Self::CoworkerAllocated(joined) => vec![given(&joined.prison, &joined.pom)],
            Self::CoworkerReallocated(moved) => {
                vec![ended(&moved.prison, &moved.pom_before), given(&moved.prison, &moved.pom_after)]
            }
            Self::CoworkerDeallocated(left) => vec![ended(&left.prison, &left.pom)],
            Self::PrisonerNumberMerged(merged) => {
                let held = &merged.held;
                let poms = [&held.primary_pom, &held.coworking_pom].into_iter().flatten();
                held.prison.iter().flat_map(|prison| poms.clone().map(move |pom| given(prison, pom))).collect()
            }
            Self::Received(_)
            | Self::TierAssigned(_)
            | Self::CrnRecorded(_)
            | Self::CommunityManagerAssigned(_)
            | Self::CommunityManagerRemoved(_)
            | Self::HandoverPlanned(_)
            | Self::ResponsibilityOverridden(_)
            | Self::ResponsibilityOverrideRemoved(_)
            | Self::EntryVoided(_)
            | Self::PrisonerNumberRetired(_) => Vec::new(),
        }
    }
}

/// A POM role at a prison that an event gives or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleChange<'a> {
    /// The POM has the role from then on.
    Given(&'a PrisonCode, StaffId),
    /// The POM has it no longer.
    Ended(&'a PrisonCode, StaffId),
}

impl PrisonerEventType {
    /// Whether an event of this type can change which POM holds the case, or begins or completes a
    /// merge. A reader that looks for these alone need not decode the others.
    #[must_use]
    pub fn may_change_roles(self) -> bool {
        match self {
            Self::AllocationMade
            | Self::Reallocated
            | Self::Deallocated
            | Self::CoworkerAllocated
            | Self::CoworkerReallocated
            | Self::CoworkerDeallocated
            | Self::EntryVoided
            | Self::PrisonerNumberMerged
            | Self::PrisonerNumberRetired => true,
            Self::Received
            | Self::TierAssigned
            | Self::CrnRecorded
            | Self::CommunityManagerAssigned
            | Self::CommunityManagerRemoved
            | Self::HandoverPlanned
            | Self::ResponsibilityOverridden
            | Self::ResponsibilityOverrideRemoved => false,
        }
    }

    /// Whether an event of this type is a part of a merge, and so names another number.
    #[must_use]
    pub fn is_of_merge(self) -> bool {
        matches!(self, Self::PrisonerNumberMerged | Self::PrisonerNumberRetired)
    }
}

words! {
    /// The occasion on which a person came into a prison.
    ReceptionReason {
        /// For the first time, or on a new booking.
        NewAdmission => "NEW_ADMISSION",
        /// Back in custody.
        Readmission => "READMISSION",
        /// Back in custody on an earlier booking.
        ReadmissionSwitchBooking => "READMISSION_SWITCH_BOOKING",
        /// From another prison, where the ledger did not know the person before.
        Transferred => "TRANSFERRED",
    }
}

/// Data of [`PrisonerEvent::Received`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// The prison that the person came into.
    pub prison: PrisonCode,
    /// The occasion.
    pub reason: ReceptionReason,
}

/// Data of [`PrisonerEvent::TierAssigned`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TierAssigned {
    /// The tier.
    pub tier: Tier,
    /// Risk of serious harm, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rosh_level: Option<RoshLevel>,
    /// The origin of the tier.
    pub source: TierSource,
    /// The case's number in Delius, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crn: Option<Crn>,
    /// The prison that holds the case, so that it can be seen waiting there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prison: Option<PrisonCode>,
}

/// Data of [`PrisonerEvent::CrnRecorded`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CrnRecorded {
    /// The case's number in Delius.
    pub crn: Crn,
}

/// Data of [`PrisonerEvent::AllocationMade`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AllocationMade {
    /// The prison of the role.
    pub prison: PrisonCode,
    /// The primary POM.
    pub pom: Pom,
    /// The choice and its reasons.
    #[serde(flatten)]
    pub choice: Choice,
}

/// Data of [`PrisonerEvent::Reallocated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Reallocated {
    /// The prison of the role.
    pub prison: PrisonCode,
    /// The primary POM before.
    pub pom_before: Pom,
    /// The primary POM after.
    pub pom_after: Pom,
    /// The reason for the move.
    pub reason: String,
    /// The choice and its reasons.
    #[serde(flatten)]
    pub choice: Choice,
}

words! {
    /// The occasion on which a POM's role ends.
    DeallocationTrigger {
        /// Released from prison.
        Released => "RELEASED",
        /// Transferred to another prison.
        Transferred => "TRANSFERRED",
        /// The POM became inactive.
        PomInactive => "POM_INACTIVE",
        /// No longer of a legal status that has an offender manager.
        LegalStatusChanged => "LEGAL_STATUS_CHANGED",
        /// The prisoner number was merged into another.
        Merged => "MERGED",
        /// Ended by hand.
        Manual => "MANUAL",
    }
}

/// Data of [`PrisonerEvent::Deallocated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Deallocated {
    /// The prison that held the case; absent if the ledger was never told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prison: Option<PrisonCode>,
    /// The primary POM whose role ended; absent if a case without one was released, transferred or
    /// changed legal status, so that its plan and its place in a waiting list end all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pom: Option<Pom>,
    /// The occasion.
    pub trigger: DeallocationTrigger,
    /// For `TRANSFERRED`: the prison the case went to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_prison: Option<PrisonCode>,
}

/// Data of [`PrisonerEvent::CoworkerAllocated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CoworkerAllocated {
    /// The prison of the role.
    pub prison: PrisonCode,
    /// The co-working POM.
    pub pom: Pom,
}

/// Data of [`PrisonerEvent::CoworkerReallocated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CoworkerReallocated {
    /// The prison of the role.
    pub prison: PrisonCode,
    /// The co-working POM before.
    pub pom_before: Pom,
    /// The co-working POM after.
    pub pom_after: Pom,
}

/// Data of [`PrisonerEvent::CoworkerDeallocated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CoworkerDeallocated {
    /// The prison of the role.
    pub prison: PrisonCode,
    /// The co-working POM whose role ended.
    pub pom: Pom,
    /// The occasion.
    pub trigger: DeallocationTrigger,
}

/// Data of [`PrisonerEvent::HandoverPlanned`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HandoverPlanned {
    /// The sentence facts that the dates were worked out from.
    #[serde(flatten)]
    pub facts: Facts,
    /// London day from which a COM supports; null where the policy fixes none.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub start_date: Option<NaiveDate>,
    /// London day from which the COM is responsible; null where the policy fixes none.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub handover_date: Option<NaiveDate>,
    /// The reason for the dates.
    pub reason: HandoverReason,
    /// The release date that the plan counts back from.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub earliest_release: Option<NamedDate>,
}

words! {
    /// The service that an override makes responsible.
    ResponsibleService {
        /// The POM is responsible.
        Prison => "PRISON",
        /// The COM is responsible.
        Probation => "PROBATION",
    }
}

words! {
    /// The reason for an override of responsibility.
    ResponsibilityOverrideReason {
        /// Less than 10 months left to serve.
        LessThan10MonthsToServe => "LESS_THAN_10_MONTHS_TO_SERVE",
        /// The community team will work with the person from now.
        CommunityTeamToWorkWithOffender => "COMMUNITY_TEAM_TO_WORK_WITH_OFFENDER",
        /// Recalled.
        PrisonerHasBeenRecalled => "PRISONER_HAS_BEEN_RECALLED",
        /// Moved to an open prison.
        PrisonerMovedToOpenPrison => "PRISONER_MOVED_TO_OPEN_PRISON",
        /// Another reason; needs detail.
        Other => "OTHER",
    }
}

/// Data of [`PrisonerEvent::ResponsibilityOverridden`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ResponsibilityOverridden {
    /// The service that is responsible now.
    pub responsible: ResponsibleService,
    /// The reason.
    pub reason: ResponsibilityOverrideReason,
    /// Detail, always present for `OTHER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Data of [`PrisonerEvent::ResponsibilityOverrideRemoved`]: the override that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ResponsibilityOverrideRemoved {
    /// The service that was responsible by the override.
    pub responsible: ResponsibleService,
    /// The reason for the override.
    pub reason: ResponsibilityOverrideReason,
    /// Its detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Data of [`PrisonerEvent::EntryVoided`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EntryVoided {
    /// The revision of the entry made in error.
    pub revision: u64,
    /// The reason for the void.
    pub reason: String,
}

/// The arrangements for a person in custody: all that ends when the person is released or leaves
/// the scope of offender management, beside the POM roles (rule 6 in `docs/domain.md`). A transfer
/// ends none of it, and a merge takes over each (rule 10).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Arrangements {
    /// The handover plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover_plan: Option<HandoverPlanned>,
    /// The responsibility override.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responsibility_override: Option<ResponsibilityOverridden>,
}

/// The roles and facts of a case when its number was removed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MergedHoldings {
    /// The prison that held the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prison: Option<PrisonCode>,
    /// The primary POM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_pom: Option<Pom>,
    /// The co-working POM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coworking_pom: Option<Pom>,
    /// The tier and what came with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<TierAssigned>,
    /// The COM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub community_manager: Option<CommunityManager>,
    /// The arrangements.
    #[serde(flatten)]
    pub arrangements: Arrangements,
    /// The facts of the past that answers and refusals look at; absent in older events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<MergedPast>,
}

/// Data of [`PrisonerEvent::PrisonerNumberMerged`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PrisonerNumberMerged {
    /// The number that was removed.
    pub removed_number: PrisonerNumber,
    /// The last revision of the removed number's history.
    pub history_ends_at: u64,
    /// The roles and facts at its end; the survivor takes over each that it has none of.
    pub held: MergedHoldings,
}

/// Data of [`PrisonerEvent::PrisonerNumberRetired`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PrisonerNumberRetired {
    /// The number under which the case goes on.
    pub survivor: PrisonerNumber,
}
