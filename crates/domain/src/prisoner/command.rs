//! What can be asked of a case.

use crate::{
    command::commands,
    handover::Facts,
    identifier::{PrisonCode, StaffId},
    officer::CommunityManager,
    prisoner::{
        DeallocationTrigger, EntryVoided, OverrideReason, PrisonerNumberMerged, PrisonerNumberRetired,
        ResponsibilityOverridden, TierAssigned,
    },
};

commands! {
    /// A command to a case. When it holds from and who gives it travel beside it, in the context and the envelope.
    commands: Command, kinds: CommandKind;

    /// Give the case a tier.
    AssignTier(TierAssigned),
    /// Give a case that has no primary POM to one.
    Allocate(Allocate),
    /// Give the case to another primary POM.
    Reallocate(Reallocate),
    /// End both POM roles.
    Deallocate(Deallocate),
    /// End the roles that a POM who is now inactive holds; sent by a policy.
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
    /// Decide against the plan who is responsible.
    OverrideResponsibility(ResponsibilityOverridden),
    /// Take that decision back.
    RemoveResponsibilityOverride,
    /// The person was released.
    Release(Release),
    /// The person went to another prison.
    Transfer(Transfer),
    /// An earlier entry was made in error.
    Void(EntryVoided),
    /// On the removed number: retire it.
    Retire(PrisonerNumberRetired),
    /// On the surviving number: take over what the removed number held.
    CompleteMerge(Box<PrisonerNumberMerged>),
}

/// Why a POM was chosen, as given with an allocation or reallocation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChoiceReasons {
    /// Why not the recommended kind.
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

/// Data of [`Command::Allocate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocate {
    /// Where.
    pub prison: PrisonCode,
    /// To whom.
    pub staff_id: StaffId,
    /// Why.
    pub reasons: ChoiceReasons,
}

/// Data of [`Command::Reallocate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reallocate {
    /// Where.
    pub prison: PrisonCode,
    /// To whom.
    pub staff_id: StaffId,
    /// Who is thought to hold the case; another holder is a refusal (`pom-not-holder`).
    pub expected_holder: Option<StaffId>,
    /// Why the case moves.
    pub reason: String,
    /// Why this POM.
    pub reasons: ChoiceReasons,
}

/// Data of [`Command::Deallocate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deallocate {
    /// `MANUAL` or `LEGAL_STATUS_CHANGED`; the other triggers have commands of their own.
    pub trigger: DeallocationTrigger,
}

/// Data of [`Command::EndPomRole`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndPomRole {
    /// Where the POM is inactive.
    pub prison: PrisonCode,
    /// The POM.
    pub staff_id: StaffId,
}

/// Data of [`Command::AllocateCoworker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocateCoworker {
    /// Where.
    pub prison: PrisonCode,
    /// Who joins.
    pub staff_id: StaffId,
}

/// Data of [`Command::Release`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// From where, if the caller says; checked against what the ledger knows.
    pub prison: Option<PrisonCode>,
}

/// Data of [`Command::Transfer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Where to.
    pub to_prison: PrisonCode,
}
