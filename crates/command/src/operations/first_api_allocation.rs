//! An allocation as the first allocation API (2019) took it: a tier and a POM in one request.
//!
//! It allocates or reallocates, whichever the case needs, and assigns the tier first if it differs:
//! one command, so that all of it is recorded in one append or nothing is.

use domain::{
    Command, Confinement,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, PrisonerNumber, StaffId},
    prisoner::{self, Allocate, AllocateWithTier, ChoiceReasons, OverrideReason, TierAssigned},
    refusal::DETAIL_LEN_MAX,
    text::is_blank,
    tier::{Tier, TierSource},
};
use uuid::Uuid;

use crate::{CommandError, Request, RequestDigest, Service};

/// Why a case that another POM holds moves; the first API had no word for it.
const REALLOCATION_REASON: &str = "Allocated to another POM through the first allocation API";

/// A request to give a case a tier and a primary POM, with its envelope.
#[derive(Debug, Clone)]
pub(crate) struct FirstAllocation {
    pub(crate) number: PrisonerNumber,
    pub(crate) tier: Tier,
    pub(crate) prison: PrisonCode,
    pub(crate) staff_id: StaffId,
    /// One of the ledger's override reasons, or free text.
    pub(crate) override_reason: Option<String>,
    pub(crate) note: Option<String>,
    pub(crate) nomis_booking_id: Option<i64>,
    pub(crate) command_id: CommandId,
    pub(crate) request_digest: RequestDigest,
    pub(crate) recorded_by: RecordedBy,
    pub(crate) correlation_id: Uuid,
    pub(crate) confinement: Confinement,
}

/// Records the tier, if it differs, and the allocation. Answers with the position of the
/// allocation.
///
/// # Errors
/// [`CommandError`].
pub(crate) async fn allocate(service: &Service, request: FirstAllocation) -> Result<u64, CommandError> {
    let reasons = reasons(&request);
    let tier =
        TierAssigned { tier: request.tier, rosh_level: None, source: TierSource::Manual, crn: None, prison: None };
    let command = prisoner::Command::AllocateWithTier(Box::new(AllocateWithTier {
        tier,
        allocate: Allocate { prison: request.prison, staff_id: request.staff_id, reasons },
        reallocation_reason: Some(REALLOCATION_REASON.to_owned()),
    }));
    let outcome = service.execute(Request {
        command: Command::Prisoner(request.number, command),
        command_id: request.command_id,
        request_digest: request.request_digest,
        recorded_by: request.recorded_by,
        correlation_id: request.correlation_id,
        causation_id: None,
        provenance: None,
        effective_at: None,
        if_match: None,
        confinement: request.confinement,
    });
    Ok(outcome.await?.last().entry.position)
}

/// The reason for an override: one of the ledger's words, or else `OTHER` with the client's text.
/// The first API had no member for the detail that some reasons need, so the note serves as it, or
/// else the word itself.
fn reasons(request: &FirstAllocation) -> ChoiceReasons {
    let given = request.override_reason.as_deref().map(str::trim).filter(|text| !is_blank(text));
    let detail = |word: &str| {
        let fits = |note: &&str| !is_blank(note) && note.chars().count() <= DETAIL_LEN_MAX;
        Some(request.note.as_deref().map(str::trim).filter(fits).unwrap_or(word).to_owned())
    };
    let mut reasons = ChoiceReasons {
        note: request.note.clone(),
        nomis_booking_id: request.nomis_booking_id,
        ..ChoiceReasons::default()
    };
    if let Some(text) = given {
        let (reason, suitability, other) = match text.to_ascii_uppercase().as_str() {
            "NO_STAFF" => (OverrideReason::NoStaff, None, None),
            "CONTINUITY" => (OverrideReason::Continuity, None, None),
            "SUITABILITY" => (OverrideReason::Suitability, detail(text), None),
            "OTHER" => (OverrideReason::Other, None, detail(text)),
            _ => (OverrideReason::Other, None, Some(text.to_owned())),
        };
        reasons.override_reasons.push(reason);
        reasons.suitability_detail = suitability;
        reasons.override_detail = other;
    }
    reasons
}
