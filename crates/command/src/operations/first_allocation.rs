//! An allocation as the first allocation API (2019) took it: a tier and a POM in one request.
//!
//! It allocates or reallocates, whichever the case needs, and assigns the tier first if it differs.
//! Each part is a command of its own, with an id derived from the request's, so that a repeat
//! records nothing twice. A rehearsal precedes the first command, so that nothing is recorded
//! unless both would be accepted.

use domain::{
    Command,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, PrisonerNumber, StaffId},
    prisoner::{self, ChoiceReasons, DETAIL_LEN_MAX, OverrideReason, TierAssigned},
    tier::{Tier, TierSource},
};
use uuid::Uuid;

use super::rehearsal::rehearse;
use crate::{Error, Request, Service, service::answer_to_repeat};

/// Why a case that another POM holds moves; the first API had no word for it.
const REALLOCATION_REASON: &str = "Allocated to another POM through the first allocation API";

/// The parts of the request that are commands of their own.
const TIER: &str = "tier";
const ALLOCATION: &str = "allocation";

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
    pub(crate) request_digest: String,
    pub(crate) recorded_by: RecordedBy,
    pub(crate) correlation_id: Uuid,
}

/// Records the tier, if it differs, and the allocation. Answers with the position of the
/// allocation.
///
/// # Errors
/// [`Error`]. After an outage the tier may be recorded without the allocation; a repeat records the
/// rest.
pub(crate) async fn allocate(service: &Service, request: FirstAllocation) -> Result<u64, Error> {
    let command_id = request.command_id;
    allocate_with_derived_keys(service, request).await.map_err(|error| error.with_key(command_id))
}

async fn allocate_with_derived_keys(service: &Service, request: FirstAllocation) -> Result<u64, Error> {
    let keys = service.idempotency_keys();
    keys.check(request.command_id, None, &request.request_digest)?;
    let commands = {
        let case = service.case_now(&request.number).await?;
        let case = case.read();
        let find_repeat = |part| answer_to_repeat(&case, request.command_id.derive(part), &request.request_digest);
        // A repeat gets its answer, whatever has happened to the case since.
        if let Some(outcome) = find_repeat(ALLOCATION).transpose()? {
            return Ok(outcome.last().entry.position);
        }
        find_repeat(TIER).transpose()?;
        commands(&case.history().state(), &request)
    };
    rehearse(service, &request.number, &commands).await?;
    keys.remember(request.command_id, None, &request.request_digest);
    let mut position = 0;
    for command in commands {
        let part = match &command {
            prisoner::Command::AssignTier(_) => TIER,
            _ => ALLOCATION,
        };
        let outcome = service.execute(Request {
            command: Command::Prisoner(request.number.clone(), command),
            command_id: request.command_id.derive(part),
            request_digest: request.request_digest.clone(),
            recorded_by: request.recorded_by.clone(),
            correlation_id: request.correlation_id,
            causation_id: None,
            effective_at: None,
            if_match: None,
        });
        position = outcome.await?.last().entry.position;
    }
    Ok(position)
}

/// The commands that the case needs: at most a tier, and one allocation or reallocation, in this
/// order.
fn commands(state: &prisoner::State, request: &FirstAllocation) -> Vec<prisoner::Command> {
    let mut commands = Vec::new();
    let known = state.tier.as_ref();
    if known.map(|known| known.tier) != Some(request.tier) {
        commands.push(prisoner::Command::AssignTier(TierAssigned {
            tier: request.tier,
            rosh_level: known.and_then(|known| known.rosh_level),
            source: TierSource::Manual,
            crn: None,
            prison: None,
        }));
    }
    let (prison, staff_id, reasons) = (request.prison.clone(), request.staff_id, reasons(request));
    commands.push(match state.primary_pom {
        None => prisoner::Command::Allocate(prisoner::Allocate { prison, staff_id, reasons }),
        Some(_) => prisoner::Command::Reallocate(prisoner::Reallocate {
            prison,
            staff_id,
            expected_holder: None,
            reason: REALLOCATION_REASON.to_owned(),
            reasons,
        }),
    });
    commands
}

/// The reason for an override: one of the ledger's words, or else `OTHER` with the client's text.
/// The first API had no member for the detail that some reasons need, so the note serves as it, or
/// else the word itself.
fn reasons(request: &FirstAllocation) -> ChoiceReasons {
    let given = request.override_reason.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let detail = |word: &str| {
        let fits = |note: &&str| !note.is_empty() && note.chars().count() <= DETAIL_LEN_MAX;
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
