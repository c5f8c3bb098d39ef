//! Rule 10: two numbers of one person are brought together.
//!
//! Two streams are concerned and no append spans two, so a merge has two steps, each safe to repeat:
//!
//! 1. the removed number is retired, with the ends of its open roles, in one append: from then on it takes no commands;
//! 2. the survivor takes over what the removed number held ([`complete`]), by a command whose id is derived from the
//!    retirement, so that it does not matter whether the caller's request, its repeat, or a policy sends it.
//!
//! A number that was itself merged stands for the number that it was merged into, on both sides.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{
    Command, Entry, Refusal, Stream,
    event::RecordedBy,
    identifier::{CommandId, EventId, PrisonerNumber},
    prisoner::{self, PrisonerEvent, PrisonerNumberRetired, merge_of},
};
use event_log::request_digest;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    Error, Outcome, Request, Service, policies,
    service::{TURN_WAIT_MAX, recorded_before},
    streams::{Known, Live},
};

/// How often a merge is worked out when one of its numbers is retired meanwhile.
const ATTEMPTS_MAX: usize = 4;

/// The code of the refusal to merge in a circle.
const CIRCLE: &str = "merge-circle";

/// Most events of a retirement: the ends of both POM roles, and the retirement itself.
const RETIREMENT_EVENTS_MAX: usize = 3;

/// A request to merge one number into another, with what travels beside it.
#[derive(Debug, Clone)]
pub struct MergeRequest {
    /// The number under which the case goes on.
    pub survivor: PrisonerNumber,
    /// The number that was removed.
    pub removed_number: PrisonerNumber,
    /// Sent again, the same id gets the same answer and never a second event.
    pub command_id: CommandId,
    /// Tells a repeat from another request with the same id.
    pub request_digest: String,
    /// Who asks.
    pub recorded_by: RecordedBy,
    /// Ties together what belongs to one request across services.
    pub correlation_id: Uuid,
    /// When it is to hold from; absent, from now.
    pub effective_at: Option<DateTime<Utc>>,
    /// The revision that the survivor has to be at, where the caller insists on one.
    pub if_match: Option<u64>,
}

type Case = Arc<Live<prisoner::History>>;

/// See [`Service::merge`].
pub(crate) async fn merge(service: &Service, merge: MergeRequest) -> Result<Outcome, Error> {
    let contended = |_| Error::Contended { stream: Stream::Prisoner(merge.survivor.clone()) };
    let _one_at_a_time = timeout(TURN_WAIT_MAX, service.merges().lock()).await.map_err(contended)?;
    service.recent().check(merge.command_id, None, &merge.request_digest)?;
    let mut attempt = 1;
    loop {
        match merge_once(service, &merge).await {
            Err(Error::Refused(refusal)) if refusal.code == "prisoner-number-retired" && attempt < ATTEMPTS_MAX => {
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

async fn merge_once(service: &Service, merge: &MergeRequest) -> Result<Outcome, Error> {
    let removed = chain(service, &merge.removed_number).await?;
    // The same request again?
    for (number, case) in &removed {
        // Not in a `match` guard: the lock on what is known ends here.
        let repeated = recorded_before(&case.known(), merge.command_id, &merge.request_digest).transpose()?;
        if let Some(retirement) = repeated {
            return with_completion(service, number, retirement, merge).await;
        }
    }
    let survivor = chain(service, &merge.survivor).await?;
    if survivor.iter().any(|(number, _)| *number == merge.removed_number) {
        return Err(circle(merge).into());
    }
    if survivor.iter().any(|(_, case)| has_completed_another(&case.known(), merge.command_id)) {
        return Err(Error::KeyReused { command_id: merge.command_id });
    }
    let (Some((removed_last, _)), Some((survivor_last, survivor_case))) = (removed.last(), survivor.last()) else {
        unreachable!("a chain begins with the number itself");
    };
    if removed_last == survivor_last {
        let (number, case) = &removed[0];
        let events = {
            let known = case.known();
            retirement(&known).map(|entry| known.events_of(entry.command_id)).unwrap_or_default()
        };
        return with_completion(service, number, Outcome { events, repeated: true }, merge).await;
    }
    let actual = survivor_case.known().revision();
    if let Some(expected) = merge.if_match.filter(|&expected| actual != Some(expected)) {
        let stream = domain::Stream::Prisoner(survivor_last.clone());
        return Err(Error::RevisionMismatch { stream, expected, actual });
    }
    let request = Request {
        command: Command::Prisoner(
            removed_last.clone(),
            prisoner::Command::Retire(PrisonerNumberRetired { survivor: survivor_last.clone() }),
        ),
        command_id: merge.command_id,
        request_digest: merge.request_digest.clone(),
        recorded_by: merge.recorded_by.clone(),
        correlation_id: merge.correlation_id,
        causation_id: None,
        effective_at: merge.effective_at,
        if_match: None,
    };
    let retirement = then_or_else_now(service, request).await?;
    with_completion(service, removed_last, retirement, merge).await
}

async fn with_completion(
    service: &Service,
    removed: &PrisonerNumber,
    retirement: Outcome,
    merge: &MergeRequest,
) -> Result<Outcome, Error> {
    let completion = complete(service, removed, &merge.recorded_by, merge.correlation_id).await?;
    let mut events = retirement.events;
    events.extend(completion.into_iter().flat_map(|outcome| outcome.events));
    Ok(Outcome { events, repeated: retirement.repeated })
}

/// For the policy: completes the merge that a retirement began, if nobody has. A circle cannot be completed, however
/// often it is tried; it is reported once.
pub(crate) async fn discharge(service: &Service, removed: &PrisonerNumber) -> Result<(), Error> {
    // The same on every server that does this, like everything else about it.
    let case = service.case_now(removed).await?;
    let retired = retirement(&case.known()).map(|entry| (entry.position, entry.event_id));
    let Some((position, event_id)) = retired else { return Ok(()) };
    let correlation_id = event_id.derive_command("correlation").0;
    match complete(service, removed, &policies::recorded_by(), correlation_id).await {
        Err(Error::Refused(refusal)) if refusal.code == CIRCLE => {
            tracing::error!(
                position,
                code = refusal.code,
                "the merge that began at position {position} cannot be completed: it would close a circle"
            );
            Ok(())
        }
        answer => answer.map(|_| ()),
    }
}

/// Lets the survivor take over what a retired number held, unless it has. `None` where the number is not retired.
async fn complete(
    service: &Service,
    removed: &PrisonerNumber,
    recorded_by: &RecordedBy,
    correlation_id: Uuid,
) -> Result<Option<Outcome>, Error> {
    let mut attempt = 1;
    loop {
        match complete_once(service, removed, recorded_by, correlation_id).await {
            Err(Error::Refused(refusal)) if refusal.code == "prisoner-number-retired" && attempt < ATTEMPTS_MAX => {
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

async fn complete_once(
    service: &Service,
    removed: &PrisonerNumber,
    recorded_by: &RecordedBy,
    correlation_id: Uuid,
) -> Result<Option<Outcome>, Error> {
    let chain = chain(service, removed).await?;
    let [(_, case), survivors @ ..] = chain.as_slice() else {
        unreachable!("a chain begins with the number itself");
    };
    // A number that was retired before it took this one over never will; the last one of the chain does.
    for (_, survivor) in survivors {
        let known = survivor.known();
        let merged = known.history().entries().iter().find(|entry| {
            matches!(&entry.event, PrisonerEvent::PrisonerNumberMerged(merged) if merged.removed_number == *removed)
        });
        if let Some(entry) = merged {
            return Ok(Some(Outcome { events: known.events_of(entry.command_id), repeated: true }));
        }
    }
    let Some((survivor, _)) = survivors.last() else { return Ok(None) };
    let request = {
        let known = case.known();
        let Some(retirement) = retirement(&known) else { return Ok(None) };
        Request {
            command: Command::Prisoner(
                survivor.clone(),
                prisoner::Command::CompleteMerge(Box::new(merge_of(known.history(), retirement.revision))),
            ),
            command_id: completion_id(retirement.event_id, removed),
            request_digest: request_digest("complete-merge", removed.as_str(), &()),
            recorded_by: recorded_by.clone(),
            correlation_id,
            causation_id: Some(retirement.event_id),
            effective_at: Some(retirement.effective_at),
            if_match: None,
        }
    };
    then_or_else_now(service, request).await.map(Some)
}

/// Records a step of a merge from the time asked for or, where later entries keep that from being, from now: a merge is
/// a fact and is not refused for what either case holds.
async fn then_or_else_now(service: &Service, request: Request) -> Result<Outcome, Error> {
    match service.execute(request.clone()).await {
        Err(Error::Refused(refusal)) if refusal.code == "later-entry-conflict" => {
            service.execute(Request { effective_at: None, ..request }).await
        }
        answer => answer,
    }
}

/// The id of the command that completes a merge. The number is part of it because a key that was used for two merges
/// gives both retirements the same id.
fn completion_id(retirement: EventId, removed: &PrisonerNumber) -> CommandId {
    retirement.derive_command(&format!("merge {removed}"))
}

/// A number and those that it goes on under, one after the other, each as the log has it now.
async fn chain(service: &Service, number: &PrisonerNumber) -> Result<Vec<(PrisonerNumber, Case)>, Error> {
    let mut chain: Vec<(PrisonerNumber, Case)> = Vec::new();
    let mut next = Some(number.clone());
    while let Some(number) = next {
        if chain.iter().any(|(seen, _)| *seen == number) {
            return Err(closed_circle(&chain, &number).into());
        }
        let case = service.case_now(&number).await?;
        next = retirement(&case.known()).and_then(|entry| match &entry.event {
            PrisonerEvent::PrisonerNumberRetired(retired) => Some(retired.survivor.clone()),
            _ => None,
        });
        chain.push((number, case));
    }
    Ok(chain)
}

/// The entry that retired a number. It is final: it cannot be voided, and nothing comes after it.
fn retirement(known: &Known<prisoner::History>) -> Option<&Entry<PrisonerEvent>> {
    known.history().entries().iter().find(|entry| matches!(entry.event, PrisonerEvent::PrisonerNumberRetired(_)))
}

/// Whether a survivor has taken over a number that this command retired. Asked when the command has not retired the
/// number that it now names, so that was another number, and the command's id belongs to another request.
fn has_completed_another(survivor: &Known<prisoner::History>, command_id: CommandId) -> bool {
    survivor.history().entries().iter().any(|entry| match &entry.event {
        PrisonerEvent::PrisonerNumberMerged(merged) => (0..RETIREMENT_EVENTS_MAX)
            .any(|index| entry.command_id == completion_id(command_id.event_id(index), &merged.removed_number)),
        _ => false,
    })
}

fn circle(merge: &MergeRequest) -> Refusal {
    let sentence = if merge.removed_number == merge.survivor {
        format!(
            "{} cannot be merged into itself. Check which number was removed and which survives.",
            merge.removed_number
        )
    } else {
        format!(
            "{} was itself merged into {}, so {} cannot be merged into it. Check which number was removed and which survives.",
            merge.survivor, merge.removed_number, merge.removed_number
        )
    };
    Refusal::new(CIRCLE, sentence)
}

/// Numbers were retired into each other, which two servers can do in the same moment: none of them takes anything over.
fn closed_circle(chain: &[(PrisonerNumber, Case)], again: &PrisonerNumber) -> Refusal {
    let numbers: Vec<_> =
        chain.iter().map(|(number, _)| number.as_str()).skip_while(|&number| number != again.as_str()).collect();
    Refusal::new(
        CIRCLE,
        format!(
            "{} were merged into each other at the same moment, so none of them is left to go on under. Record the \
             case under another number, and tell whoever runs the ledger.",
            numbers.join(" and ")
        ),
    )
}
