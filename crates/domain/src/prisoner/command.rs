//! The commands to a case.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    command::commands,
    handover::Facts,
    identifier::{PrisonCode, StaffId},
    named_prisoners::{NamedText, named_text},
    officer::CommunityManager,
    prison,
    prisoner::{
        CrnRecorded, DeallocationTrigger, EntryVoided, OverrideReason, PrisonerNumberMerged, PrisonerNumberRetired,
        Received, RecommendationPolicy, ResponsibilityOverridden, TierAssigned,
    },
};

commands! {
    /// A command to a case. Its effective time and its recorder travel beside it, in the context
    /// and the envelope.
    commands: Command, kinds: CommandKind;

    /// The person came into a prison.
    Receive(Received),
    /// Give the case a tier.
    AssignTier(TierAssigned),
    /// Record the case's number in Delius.
    RecordCrn(CrnRecorded),
    /// Give a case that has no primary POM to one.
    Allocate(Allocate),
    /// Give the case to another primary POM.
    Reallocate(Reallocate),
    /// Give the case a tier and a primary POM, both or neither.
    AllocateWithTier(Box<AllocateWithTier>),
    /// End both POM roles.
    Deallocate(Deallocate),
    /// End the roles of a POM after the POM became inactive; sent by a policy.
    EndPomRole(EndPomRole),
    /// Add a co-working POM, or replace the one there is.
    AllocateCoworker(AllocateCoworker),
    /// End the co-working POM's role.
    RemoveCoworker,
    /// Name the COM.
    AssignCommunityManager(CommunityManager),
    /// The COM no longer has the case.
    RemoveCommunityManager,
    /// Work out the handover dates and record them.
    PlanHandover(Facts),
    /// Decide against the plan which service is responsible.
    OverrideResponsibility(ResponsibilityOverridden),
    /// Take that decision back.
    RemoveResponsibilityOverride,
    /// The person was released.
    Release(Release),
    /// The person went to another prison.
    Transfer(Transfer),
    /// An earlier entry was made in error.
    Void(EntryVoided),
    /// Several earlier entries were made in error: all of them are voided, or none.
    VoidEntries(VoidEntries),
    /// On the removed number: retire it.
    Retire(PrisonerNumberRetired),
    /// On the surviving number: take over what the removed number held.
    CompleteMerge(Box<PrisonerNumberMerged>),
}

impl Command {
    /// The prison at which the command gives a role to a POM, if it does; a decision looks at its
    /// roster.
    #[must_use]
    pub fn prison_of_new_role(&self) -> Option<&PrisonCode> {
        match self {
            Self::Allocate(allocate) => Some(&allocate.prison),
            Self::Reallocate(reallocate) => Some(&reallocate.prison),
            Self::AllocateWithTier(both) => Some(&both.allocate.prison),
            Self::AllocateCoworker(allocate) => Some(&allocate.prison),
            Self::Receive(_)
            | Self::AssignTier(_)
            | Self::RecordCrn(_)
            | Self::Deallocate(_)
            | Self::EndPomRole(_)
            | Self::RemoveCoworker
            | Self::AssignCommunityManager(_)
            | Self::RemoveCommunityManager
            | Self::PlanHandover(_)
            | Self::OverrideResponsibility(_)
            | Self::RemoveResponsibilityOverride
            | Self::Release(_)
            | Self::Transfer(_)
            | Self::Void(_)
            | Self::VoidEntries(_)
            | Self::Retire(_)
            | Self::CompleteMerge(_) => None,
        }
    }

    /// The prison at which the command says the person to be, where it can be the first to say so.
    #[must_use]
    pub fn prison_of_arrival(&self) -> Option<&PrisonCode> {
        match self {
            Self::Receive(received) => Some(&received.prison),
            Self::AssignTier(tier) => tier.prison.as_ref(),
            Self::Allocate(allocate) => Some(&allocate.prison),
            Self::AllocateWithTier(both) => Some(&both.allocate.prison),
            Self::RecordCrn(_)
            | Self::Reallocate(_)
            | Self::Deallocate(_)
            | Self::EndPomRole(_)
            | Self::AllocateCoworker(_)
            | Self::RemoveCoworker
            | Self::AssignCommunityManager(_)
            | Self::RemoveCommunityManager
            | Self::PlanHandover(_)
            | Self::OverrideResponsibility(_)
            | Self::RemoveResponsibilityOverride
            | Self::Release(_)
            | Self::Transfer(_)
            | Self::Void(_)
            | Self::VoidEntries(_)
            | Self::Retire(_)
            | Self::CompleteMerge(_) => None,
        }
    }
}

impl Command {
    /// The free texts that the caller wrote. A merge repeats texts that were recorded before.
    pub(super) fn texts(&self) -> Vec<NamedText<'_>> {
        match self {
            Self::Allocate(allocate) => allocate.reasons.texts().collect(),
            Self::Reallocate(reallocate) => {
                reallocate.reasons.texts().chain([("reason", reallocate.reason.as_str())]).collect()
            }
            Self::AllocateWithTier(both) => {
                let reason = named_text("reason", both.reallocation_reason.as_ref());
                both.allocate.reasons.texts().chain(reason).collect()
            }
            Self::AssignCommunityManager(manager) => [
                Some(("name", manager.name.as_str())),
                named_text("email", manager.email.as_ref()),
                named_text("team", manager.team.as_ref()),
                named_text("ldu", manager.ldu.as_ref()),
            ]
            .into_iter()
            .flatten()
            .collect(),
            Self::OverrideResponsibility(decision) => {
                named_text("detail", decision.detail.as_ref()).into_iter().collect()
            }
            Self::Void(void) => vec![("reason", &void.reason)],
            Self::VoidEntries(void) => vec![("reason", &void.reason)],
            Self::Receive(_)
            | Self::AssignTier(_)
            | Self::RecordCrn(_)
            | Self::Deallocate(_)
            | Self::EndPomRole(_)
            | Self::AllocateCoworker(_)
            | Self::RemoveCoworker
            | Self::RemoveCommunityManager
            | Self::PlanHandover(_)
            | Self::RemoveResponsibilityOverride
            | Self::Release(_)
            | Self::Transfer(_)
            | Self::Retire(_)
            | Self::CompleteMerge(_) => Vec::new(),
        }
    }
}

/// The circumstances of a decision beside the case's own past.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The recorder's clock.
    pub now: DateTime<Utc>,
    /// The effective time of the command; a time later than `now` is refused.
    pub effective_at: DateTime<Utc>,
    /// The prison named by a command that gives a role to a POM.
    pub prison: Option<&'a prison::History>,
    /// How the recommended kind of POM is worked out.
    pub recommendation_policy: RecommendationPolicy,
}

/// The reasons for the choice of a POM, as given with an allocation or reallocation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ChoiceReasons {
    /// The reasons against the recommended kind.
    pub override_reasons: Vec<OverrideReason>,
    /// Detail for `SUITABILITY`.
    pub suitability_detail: Option<String>,
    /// Detail for `OTHER`.
    pub override_detail: Option<String>,
    /// Note to the POM.
    pub note: Option<String>,
    /// NOMIS booking, where a client of the first allocation API gave one.
    pub nomis_booking_id: Option<i64>,
}

impl ChoiceReasons {
    fn texts(&self) -> impl Iterator<Item = NamedText<'_>> {
        let texts = [
            named_text("suitabilityDetail", self.suitability_detail.as_ref()),
            named_text("overrideDetail", self.override_detail.as_ref()),
            named_text("note", self.note.as_ref()),
        ];
        texts.into_iter().flatten()
    }
}

/// Data of [`Command::Allocate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allocate {
    /// The prison of the role.
    pub prison: PrisonCode,
    /// The new primary POM.
    pub staff_id: StaffId,
    /// The reasons for this POM.
    pub reasons: ChoiceReasons,
}

/// Data of [`Command::Reallocate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reallocate {
    /// The prison of the role.
    pub prison: PrisonCode,
    /// The new primary POM.
    pub staff_id: StaffId,
    /// The POM that the caller takes for the holder; another holder is a refusal
    /// (`pom-not-holder`).
    pub expected_holder: Option<StaffId>,
    /// The reason for the move.
    pub reason: String,
    /// The reasons for this POM.
    pub reasons: ChoiceReasons,
}

/// Data of [`Command::AllocateWithTier`]: a tier and a primary POM in one request, as in the first
/// allocation API and in the row of a spreadsheet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AllocateWithTier {
    /// The tier. It is not assigned again to a case that has it, and the RoSH level that the case
    /// has stays where none is given.
    pub tier: TierAssigned,
    /// The prison, the POM and the reasons.
    pub allocate: Allocate,
    /// Why the case moves if another POM holds it; `None`: such a case is refused.
    pub reallocation_reason: Option<String>,
}

/// Data of [`Command::Deallocate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Deallocate {
    /// `MANUAL` or `LEGAL_STATUS_CHANGED`; the other triggers have commands of their own.
    pub trigger: DeallocationTrigger,
}

/// Data of [`Command::EndPomRole`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndPomRole {
    /// The prison at which the POM is inactive.
    pub prison: PrisonCode,
    /// The POM.
    pub staff_id: StaffId,
}

/// Data of [`Command::AllocateCoworker`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AllocateCoworker {
    /// The prison of the role.
    pub prison: PrisonCode,
    /// The POM to join.
    pub staff_id: StaffId,
}

/// Data of [`Command::Release`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Release {
    /// The prison of the release, if the caller names it; checked against the prison that the
    /// ledger knows.
    pub prison: Option<PrisonCode>,
}

/// Data of [`Command::VoidEntries`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VoidEntries {
    /// The revisions of the entries.
    pub revisions: BTreeSet<u64>,
    /// The reason for the voids.
    pub reason: String,
}

/// Data of [`Command::Transfer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// The prison that the person went to.
    pub to_prison: PrisonCode,
}
