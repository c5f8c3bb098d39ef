//! Rule 9 of `docs/domain.md`: a POM's cases go to another POM, case by case.
//!
//! Each case is a command of its own, with an id derived from the bulk's and the number, so that a
//! repeat of the bulk moves nothing twice. Each command succeeds or is refused on its own; an
//! outage ends the whole with an error, and a repeat goes on where it ended. The events of a case
//! have the digest of its own part alone: one of the whole bulk would be computed from the numbers
//! of the other cases.
//!
//! The cases of a bulk when it first came, and those that were refused, are kept with its key
//! ([`StartedBulk`]), as long as the log keeps that: a repeat moves no case that came to the POM
//! since, and none that was refused. Later, the log holds only the accepted commands: a repeat
//! tries the refused cases once more, and a repeat without a list moves the cases that the POM
//! holds by then.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{
    Command, Confinement, Refusal,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, PrisonerNumber, StaffId},
    prisoner::{self, ChoiceReasons, Reallocate},
};
use event_log::SpentKey;
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::{
    CommandError, Outcome, Request, RequestDigest, Service, idempotency_keys::answer_of, started_bulk::StartedBulk,
};

/// Most cases listed in one bulk: a prison's POMs hold some 60 each, and the answer must come in
/// time.
pub(crate) const CASES_MAX: usize = 1_000;

/// Most cases of one bulk under way at a time: each waits for several answers of the event store,
/// and a bulk leaves room for other callers.
const CONCURRENT_MAX: usize = 64;

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
    /// The digest of the whole bulk, which is kept with its key alone.
    pub(crate) request_digest: RequestDigest,
    pub(crate) recorded_by: RecordedBy,
    pub(crate) correlation_id: Uuid,
    pub(crate) effective_at: Option<DateTime<Utc>>,
    pub(crate) confinement: Confinement,
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
    let (started, moves) = match service.spent_key(bulk.command_id).await? {
        Some(spent) => resume(service, bulk, spent).await?,
        None => start(service, bulk).await?,
    };
    let outcome = move_cases(service, bulk, &started, moves).await;
    // Before the answer, which a repeat must get again.
    save_refusals(service, bulk, &started).await?;
    let BulkOutcome { accepted, refused } = outcome?;
    let as_saved = |(number, refusal)| {
        let saved = started.refusal(&number).unwrap_or(refusal);
        (number, saved)
    };
    Ok(BulkOutcome { accepted, refused: refused.into_iter().map(as_saved).collect() })
}

/// Has the log keep the refusals of all tries, those that another service has saved included.
/// Two services that save at the same moment do not see each other: the log then has the refusals
/// of the later one, and a repeat tries the other's cases once more.
async fn save_refusals(service: &Service, bulk: &BulkReallocation, started: &StartedBulk) -> Result<(), CommandError> {
    let Some(turn) = started.take_save_turn().await else { return Ok(()) };
    if let Some(spent) = service.spent_key(bulk.command_id).await? {
        started.add_refusals(&restore(bulk, spent)?);
    }
    let count = started.refusal_count();
    let spent = SpentKey { request: bulk.request_digest.as_str().to_owned(), answer: Some(started.save()) };
    service.log().replace_answer(bulk.command_id, spent).await?;
    turn.end(count);
    Ok(())
}

/// The bulk as its key has it.
fn restore(bulk: &BulkReallocation, spent: SpentKey) -> Result<StartedBulk, CommandError> {
    let saved = answer_of(spent, bulk.command_id, &bulk.request_digest)?;
    StartedBulk::restore(&saved).map_err(|error| CommandError::Broken(Arc::new(error)))
}

/// Goes on with a bulk that has started, on the cases that it had then.
async fn resume(
    service: &Service,
    bulk: &BulkReallocation,
    spent: SpentKey,
) -> Result<(Arc<StartedBulk>, Vec<CaseMove>), CommandError> {
    let started = service.running_bulks().share(bulk.command_id, restore(bulk, spent)?);
    let moves = moves_of(service, bulk, true, started.numbers.clone()).await?;
    Ok((started, moves))
}

/// Starts a bulk. Where another try of it has started meanwhile, goes on with that one.
async fn start(service: &Service, bulk: &BulkReallocation) -> Result<(Arc<StartedBulk>, Vec<CaseMove>), CommandError> {
    let candidates = match &bulk.numbers {
        Some(numbers) => numbers.clone(),
        None => service.cases_ever_held(&bulk.prison, bulk.from).await?,
    };
    let moves = moves_of(service, bulk, bulk.numbers.is_some(), candidates).await?;
    let started = StartedBulk::new(moves.iter().map(|case| case.number.clone()).collect());
    let saved = started.save();
    let spent = service.spend_key(bulk.command_id, &bulk.request_digest, saved.clone()).await?;
    if spent.answer.as_ref() != Some(&saved) || spent.request != bulk.request_digest.as_str() {
        return resume(service, bulk, spent).await;
    }
    Ok((service.running_bulks().share(bulk.command_id, started), moves))
}

async fn moves_of(
    service: &Service,
    bulk: &BulkReallocation,
    is_listed: bool,
    candidates: Vec<PrisonerNumber>,
) -> Result<Vec<CaseMove>, CommandError> {
    stream::iter(candidates)
        .map(|number| move_of(service, bulk, is_listed, number))
        .buffered(CONCURRENT_MAX)
        .try_filter_map(|case| async move { Ok(case) })
        .try_collect()
        .await
}

async fn move_cases(
    service: &Service,
    bulk: &BulkReallocation,
    started: &StartedBulk,
    moves: Vec<CaseMove>,
) -> Result<BulkOutcome, CommandError> {
    let mut outcome = BulkOutcome::default();
    let mut cases = stream::iter(moves)
        .map(|case| async move {
            let result = move_case(service, bulk, started, &case).await;
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

/// Moves a case, unless it was refused. A move that the stream has comes first: a try on another
/// service may have moved a case that this one was refused.
async fn move_case(
    service: &Service,
    bulk: &BulkReallocation,
    started: &StartedBulk,
    case: &CaseMove,
) -> Result<Outcome, CommandError> {
    let request = request_for(bulk, case);
    if let Some(refusal) = started.refusal(&case.number) {
        let found = service.case_now(&case.number).await?;
        let loaded = found.read();
        if loaded.request_digest(case.command_id).is_none() {
            // The refusal may tell of a case that is not this caller's.
            if let Command::Prisoner(_, command) = &request.command {
                bulk.confinement.check_command(loaded.history(), command)?;
            }
            return Err(refusal.into());
        }
    }
    service.execute(request).await
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
    let command_id = bulk.command_id.derive(number.as_str());
    match case.request_digest(command_id) {
        Some(digest) if digest_of_part(bulk, &number).matches(digest) => {
            return Ok(Some(CaseMove { number, command_id }));
        }
        Some(_) => return Err(CommandError::KeyReused { command_id: bulk.command_id }),
        None => {}
    }
    let is_in_bulk = is_listed
        || case
            .history()
            .state()
            .primary_pom
            .is_some_and(|role| role.pom.staff_id == bulk.from && role.prison == bulk.prison);
    Ok(is_in_bulk.then_some(CaseMove { number, command_id }))
}

/// The digest of what a bulk says about one of its cases.
fn digest_of_part(bulk: &BulkReallocation, number: &PrisonerNumber) -> RequestDigest {
    let BulkReallocation { prison, from, to, reason, reasons, effective_at, .. } = bulk;
    let read = (prison, from, to, reason, reasons, effective_at);
    RequestDigest::of("reallocate-in-bulk", number.as_str(), &read)
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
        request_digest: digest_of_part(bulk, &case.number),
        recorded_by: bulk.recorded_by.clone(),
        correlation_id: bulk.correlation_id,
        causation_id: None,
        provenance: None,
        effective_at: bulk.effective_at,
        if_match: None,
        confinement: bulk.confinement.clone(),
    }
}
