//! Rule 9 of `docs/domain.md`: a POM's cases go to another POM, case by case.
//!
//! Each case is a command of its own, with an id derived from the bulk's and the number, so that a
//! repeat of the bulk moves nothing twice. Each command succeeds or is refused on its own; an
//! outage ends the whole with an error, and a repeat goes on where it ended.
//!
//! The cases of a bulk when it first came, and those that were refused, are remembered
//! ([`crate::recent_keys`]): a repeat moves no case that came to the POM since, and none that
//! was refused. The log holds only the accepted commands, so after a restart, on another server, or
//! when the memory is full, a repeat tries the refused cases once more, and a repeat without a list
//! moves the cases that the POM holds by then.

use chrono::{DateTime, Utc};
use domain::{
    Command, Refusal,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, PrisonerNumber, StaffId},
    prisoner::{self, ChoiceReasons, Reallocate},
};
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::{CommandError, Outcome, Request, RequestDigest, Service};

/// Most cases listed in one bulk: a prison's POMs hold some 60 each, and the answer must come in
/// time.
pub(crate) const CASES_MAX: usize = 1_000;

/// Most cases of one bulk under way at a time, so that a bulk leaves room for other callers.
const CONCURRENT_MAX: usize = 16;

/// A request to move cases, with its envelope.
#[derive(Debug, Clone)]
pub(crate) struct BulkReallocation {
    pub(crate) prison: PrisonCode,
    pub(crate) from: StaffId,
    pub(crate) to: StaffId,
    /// The cases; `None`: all that `from` holds as primary POM.
    pub(crate) numbers: Option<Vec<PrisonerNumber>>,
    pub(crate) reason: String,
    pub(crate) reasons: ChoiceReasons,
    pub(crate) command_id: CommandId,
    pub(crate) request_digest: RequestDigest,
    pub(crate) recorded_by: RecordedBy,
    pub(crate) correlation_id: Uuid,
    pub(crate) effective_at: Option<DateTime<Utc>>,
}

/// The cases that moved, and those that a rule keeps from moving.
#[derive(Debug, Default)]
pub(crate) struct BulkOutcome {
    pub(crate) accepted: Vec<(PrisonerNumber, Outcome)>,
    pub(crate) refused: Vec<(PrisonerNumber, Refusal)>,
}

/// Moves the cases.
///
/// # Errors
/// [`CommandError::KeyReused`] if the bulk's id belongs to another bulk, before any case moves; an
/// outage.
pub(crate) async fn reallocate(service: &Service, bulk: &BulkReallocation) -> Result<BulkOutcome, CommandError> {
    let keys = service.recent_keys();
    keys.check(bulk.command_id, None, &bulk.request_digest)?;
    let started = keys.bulk(bulk.command_id);
    let is_listed = bulk.numbers.is_some() || started.is_some();
    let candidates = match (&started, &bulk.numbers) {
        (Some(started), _) => started.numbers.clone(),
        (None, Some(numbers)) => numbers.clone(),
        (None, None) => service.cases_ever_held(&bulk.prison, bulk.from).await?,
    };
    let moves: Vec<CaseMove> = stream::iter(candidates)
        .map(|number| move_of(service, bulk, is_listed, number))
        .buffered(CONCURRENT_MAX)
        .try_filter_map(|case| async move { Ok(case) })
        .try_collect()
        .await?;
    let started = started.unwrap_or_else(|| {
        keys.remember(bulk.command_id, None, &bulk.request_digest);
        keys.remember_bulk(bulk.command_id, moves.iter().map(|case| case.number.clone()).collect())
    });
    let started = &started;
    let mut outcome = BulkOutcome::default();
    let mut cases = stream::iter(moves)
        .map(|case| async move {
            let result = match started.refusal(&case.number) {
                Some(refusal) => Err(refusal.into()),
                None => service.execute(request_for(bulk, &case)).await,
            };
            (case.number, result)
        })
        .buffered(CONCURRENT_MAX);
    while let Some((number, result)) = cases.next().await {
        match result {
            Ok(moved) => outcome.accepted.push((number, moved)),
            Err(CommandError::Refused(refusal)) => {
                started.refuse(number.clone(), refusal.clone());
                outcome.refused.push((number, refusal));
            }
            Err(error) => return Err(error.with_key(bulk.command_id)),
        }
    }
    Ok(outcome)
}

/// A case of a bulk, and the id of the command that moves it.
struct CaseMove {
    number: PrisonerNumber,
    command_id: CommandId,
}

/// The move of a case that the bulk must move, or has moved already.
async fn move_of(
    service: &Service,
    bulk: &BulkReallocation,
    is_listed: bool,
    number: PrisonerNumber,
) -> Result<Option<CaseMove>, CommandError> {
    let case = if is_listed { service.case(&number).await? } else { service.case_now(&number).await? };
    let case = case.read();
    // The second is from before the ledger's own commands had ids of their own.
    for command_id in [bulk.command_id.derive(number.as_str()), bulk.command_id.formerly_derived(number.as_str())] {
        match case.request_digest(command_id) {
            Some(digest) if bulk.request_digest.matches(digest) => return Ok(Some(CaseMove { number, command_id })),
            Some(_) => return Err(CommandError::KeyReused { command_id: bulk.command_id }),
            None => {}
        }
    }
    let is_in_bulk = is_listed
        || case
            .history()
            .state()
            .primary_pom
            .is_some_and(|role| role.pom.staff_id == bulk.from && role.prison == bulk.prison);
    let command_id = bulk.command_id.derive(number.as_str());
    Ok(is_in_bulk.then_some(CaseMove { number, command_id }))
}

fn request_for(bulk: &BulkReallocation, case: &CaseMove) -> Request {
    Request {
        command: Command::Prisoner(
            case.number.clone(),
            prisoner::Command::Reallocate(Reallocate {
                prison: bulk.prison.clone(),
                staff_id: bulk.to,
                expected_holder: Some(bulk.from),
                reason: bulk.reason.clone(),
                reasons: bulk.reasons.clone(),
            }),
        ),
        command_id: case.command_id,
        request_digest: bulk.request_digest.clone(),
        recorded_by: bulk.recorded_by.clone(),
        correlation_id: bulk.correlation_id,
        causation_id: None,
        effective_at: bulk.effective_at,
        if_match: None,
    }
}
