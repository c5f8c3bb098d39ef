//! Rule 9: a POM's cases go to another POM, case by case.
//!
//! Each case is a command of its own, with an id derived from the bulk's and the number, so that sending the bulk again
//! finds what is done done. Each succeeds or is refused on its own; an outage ends the whole with an error, and sending
//! the same again goes on where it ended.
//!
//! What a bulk was about when it first came, and which of its cases were refused, is remembered ([`crate::idempotency_keys`]):
//! sent again, it moves no case that came to the POM since, and none that was refused. The log knows only what was
//! accepted, so after a restart, on another server, or when the memory is full, a bulk that is sent again tries its
//! refused cases once more, and one without a list moves what the POM holds by then.

use chrono::{DateTime, Utc};
use domain::{
    Command, Refusal,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, PrisonerNumber, StaffId},
    prisoner::{self, ChoiceReasons, Reallocate},
};
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::{Error, Outcome, Request, Service};

/// Most cases listed in one bulk: a prison's POMs hold some 60 each, and a request has to be answered in time.
pub(crate) const CASES_MAX: usize = 1_000;

/// Most cases of one bulk under way at a time, so that a bulk leaves room for other callers.
const CONCURRENT_MAX: usize = 16;

/// A request to move cases, with what travels beside it.
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
    pub(crate) request_digest: String,
    pub(crate) recorded_by: RecordedBy,
    pub(crate) correlation_id: Uuid,
    pub(crate) effective_at: Option<DateTime<Utc>>,
}

/// What became of each case.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) accepted: Vec<(PrisonerNumber, Outcome)>,
    pub(crate) refused: Vec<(PrisonerNumber, Refusal)>,
}

/// Moves the cases.
///
/// # Errors
/// [`Error::KeyReused`] where the bulk's id belongs to another bulk, before anything is done; an outage.
pub(crate) async fn reallocate(service: &Service, bulk: &BulkReallocation) -> Result<Answer, Error> {
    let recent = service.recent();
    recent.check(bulk.command_id, None, &bulk.request_digest)?;
    let begun = recent.bulk(bulk.command_id);
    let listed = bulk.numbers.is_some() || begun.is_some();
    let named = match (&begun, &bulk.numbers) {
        (Some(begun), _) => begun.numbers.clone(),
        (None, Some(numbers)) => numbers.clone(),
        (None, None) => {
            let head = service.log().head().await?;
            service.index().cases_ever(&bulk.prison, bulk.from, head).await?
        }
    };
    let numbers: Vec<PrisonerNumber> = stream::iter(named)
        .map(|number| async move { Ok::<_, Error>((concerns(service, bulk, listed, &number).await?, number)) })
        .buffered(CONCURRENT_MAX)
        .try_filter_map(|(concerned, number)| async move { Ok(concerned.then_some(number)) })
        .try_collect()
        .await?;
    let begun = begun.unwrap_or_else(|| {
        recent.note(bulk.command_id, None, &bulk.request_digest);
        recent.note_bulk(bulk.command_id, numbers.clone())
    });
    let begun = &begun;
    let mut answer = Answer { accepted: Vec::new(), refused: Vec::new() };
    let mut cases = stream::iter(numbers)
        .map(|number| async move {
            let outcome = match begun.refusal(&number) {
                Some(refusal) => Err(refusal.into()),
                None => service.execute(request(bulk, &number)).await,
            };
            (outcome, number)
        })
        .buffered(CONCURRENT_MAX);
    while let Some((outcome, number)) = cases.next().await {
        match outcome {
            Ok(outcome) => answer.accepted.push((number, outcome)),
            Err(Error::Refused(refusal)) => {
                begun.refuse(number.clone(), refusal.clone());
                answer.refused.push((number, refusal));
            }
            // The caller knows the bulk's id, and none that is derived from it.
            Err(Error::KeyReused { .. }) => return Err(Error::KeyReused { command_id: bulk.command_id }),
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// Whether the bulk is to move this case, or has moved it.
async fn concerns(
    service: &Service,
    bulk: &BulkReallocation,
    listed: bool,
    number: &PrisonerNumber,
) -> Result<bool, Error> {
    let command_id = bulk.command_id.derive(number.as_str());
    let case = if listed { service.case(number).await? } else { service.case_now(number).await? };
    let known = case.known();
    match known.request_digest(command_id) {
        Some(digest) if digest != bulk.request_digest => Err(Error::KeyReused { command_id: bulk.command_id }),
        Some(_) => Ok(true),
        None => Ok(listed
            || known
                .history()
                .state()
                .primary_pom
                .is_some_and(|role| role.pom.staff_id == bulk.from && role.prison == bulk.prison)),
    }
}

fn request(bulk: &BulkReallocation, number: &PrisonerNumber) -> Request {
    Request {
        command: Command::Prisoner(
            number.clone(),
            prisoner::Command::Reallocate(Reallocate {
                prison: bulk.prison.clone(),
                staff_id: bulk.to,
                expected_holder: Some(bulk.from),
                reason: bulk.reason.clone(),
                reasons: bulk.reasons.clone(),
            }),
        ),
        command_id: bulk.command_id.derive(number.as_str()),
        request_digest: bulk.request_digest.clone(),
        recorded_by: bulk.recorded_by.clone(),
        correlation_id: bulk.correlation_id,
        causation_id: None,
        effective_at: bulk.effective_at,
        if_match: None,
    }
}
