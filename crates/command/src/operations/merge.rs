//! Rule 10 of `docs/domain.md`: two numbers of one person are merged.
//!
//! A merge concerns two streams and no append spans two, so it has two steps, each safe to repeat:
//!
//! 1. one append retires the removed number and ends its open roles; from then on the number takes
//!    no commands;
//! 2. the survivor takes over what the removed number held ([`complete`]). The id of this command
//!    is derived from the retirement, so the caller's request, its repeat and a policy all send the
//!    same command. What was taken over is recognised by the number, whatever the command's id.
//!
//! A number that was itself merged is replaced by the number that it was merged into, on both
//! sides.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{
    Command, Confinement, Refusal, Rule, Stream,
    event::RecordedBy,
    identifier::{CommandId, PrisonerNumber},
    moment::normalise,
    prisoner::{self, PrisonerEvent, PrisonerNumberRetired, lineage::SurvivorChain, merge_of},
};
use event_log::{SpentKey, request_digest};
use futures::{FutureExt as _, future::BoxFuture};
use uuid::Uuid;

use crate::{
    CommandError, Outcome, Request, RequestDigest, Service, idempotency_keys::answer_of, request::may_see_anywhere,
    service::CachedCase, streams::answer_to_repeat,
};

/// How often a step is tried if one of its numbers is retired in between.
const ATTEMPTS_MAX: usize = 4;

/// A request to merge one number into another, with its envelope.
#[derive(Debug, Clone)]
pub struct MergeRequest {
    /// The number under which the case goes on.
    pub survivor: PrisonerNumber,
    /// The number that was removed.
    pub removed_number: PrisonerNumber,
    /// The idempotency key: a request that is sent again with it gets the same answer and never a
    /// second event.
    pub command_id: CommandId,
    /// Tells a repeat from another request with the same id.
    pub request_digest: RequestDigest,
    /// The person and the client that send it.
    pub recorded_by: RecordedBy,
    /// Links everything that belongs to one request across services.
    pub correlation_id: Uuid,
    /// When the merge is to take effect; `None`: when it is decided.
    pub effective_at: Option<DateTime<Utc>>,
    /// The revision that the survivor must be at, if the caller insists on one.
    pub if_match: Option<u64>,
    /// The prisons that the caller is confined to.
    pub confinement: Confinement,
}

impl Service {
    /// Merges one number into another (rule 10). The outcome has the events on the removed number
    /// and then the one on the survivor; if an earlier request made this merge, the events that it
    /// recorded.
    ///
    /// # Errors
    /// [`CommandError`]. After an outage the removed number may be retired already; the policies
    /// then complete the merge.
    pub fn merge(&self, request: MergeRequest) -> BoxFuture<'_, Result<Outcome, CommandError>> {
        async move {
            let _turn = self.take_merge_turn(&request.survivor).await?;
            // A key that was spent on an append is recognised by the streams, and by the append.
            if let Some(SpentKey { request: digest, answer: Some(_) }) = self.spent_key(request.command_id).await?
                && !request.request_digest.matches(&digest)
            {
                return Err(CommandError::KeyReused { command_id: request.command_id });
            }
            retry_if_retired(|| try_merge(self, &request)).await
        }
        .boxed()
    }

    /// A number and those that its case goes on under, each with its case up to date with the log.
    pub(crate) async fn load_survivors(
        &self,
        number: &PrisonerNumber,
    ) -> Result<SurvivorChain<Arc<CachedCase>>, CommandError> {
        let mut chain = SurvivorChain::new(number.clone(), self.case_now(number).await?);
        loop {
            let survivor = chain.last().found.read().history().retirement().map(|(_, survivor)| survivor.clone());
            let Some(survivor) = survivor else { return Ok(chain) };
            chain.check_next(&survivor).map_err(|circle| prisoner::refuse_closed_circle(&circle))?;
            let case = self.case_now(&survivor).await?;
            chain.push(survivor, case);
        }
    }

    /// The refusal of a command to a retired number with the number that takes commands: the
    /// survivor that it names may have been merged itself. A survivor that is not the caller's is
    /// not named.
    pub(crate) async fn name_last_survivor(
        &self,
        number: &PrisonerNumber,
        refusal: Refusal,
        confinement: &Confinement,
    ) -> Refusal {
        let Some(survivor) = &refusal.survivor else { return refusal };
        let Ok(chain) = self.load_survivors(survivor).await else {
            return confinement.check_case(number, None).err().unwrap_or(refusal);
        };
        let last = chain.last();
        let prison = last.found.read().history().state().prison;
        let named = prisoner::refuse_retired_number(number, &last.number);
        confinement.check_case(number, prison.as_ref()).err().unwrap_or(named)
    }
}

/// Lets the survivor take over what a retired number held, unless it has. `None` if the number is
/// not retired.
pub(crate) async fn complete(
    service: &Service,
    removed: &PrisonerNumber,
    recorded_by: &RecordedBy,
    correlation_id: Uuid,
) -> Result<Option<Outcome>, CommandError> {
    retry_if_retired(|| try_complete(service, removed, recorded_by, correlation_id)).await
}

async fn retry_if_retired<T, F: Future<Output = Result<T, CommandError>>>(
    attempt: impl Fn() -> F,
) -> Result<T, CommandError> {
    let mut attempts = 1;
    loop {
        match attempt().await {
            Err(error) if error.is_refusal(Rule::PrisonerNumberRetired) && attempts < ATTEMPTS_MAX => attempts += 1,
            result => return result,
        }
    }
}

async fn try_merge(service: &Service, merge: &MergeRequest) -> Result<Outcome, CommandError> {
    let removed = service.load_survivors(&merge.removed_number).await?;
    for link in removed.links() {
        // Not in an `if let` condition, which would hold the lock beyond this line.
        let repeat = answer_to_repeat(&link.found.read(), merge.command_id, &merge.request_digest);
        if let Some(retirement) = repeat {
            if !may_see_anywhere(&merge.confinement, &merge.recorded_by, &retirement) {
                let prison = removed.last().found.read().history().state().prison;
                merge.confinement.check_case(&merge.removed_number, prison.as_ref())?;
            }
            return complete_after(service, &link.number, retirement?, merge).await;
        }
    }
    let survivor = service.load_survivors(&merge.survivor).await?;
    {
        let (removed, survivor) = (removed.last().found.read(), survivor.last().found.read());
        let survivor = (&merge.survivor, survivor.history());
        merge.confinement.check_merge(survivor, (&merge.removed_number, removed.history()))?;
    }
    if survivor.links().any(|link| link.number == merge.removed_number) {
        return Err(refuse_circle(merge).into());
    }
    for number in numbers_taken_over(&survivor) {
        if service.case_now(&number).await?.read().request_digest(merge.command_id).is_some() {
            // The key has retired another number than the one that it comes with now.
            return Err(CommandError::KeyReused { command_id: merge.command_id });
        }
    }
    let (retiring, surviving) = (removed.last(), survivor.last());
    if retiring.number == surviving.number {
        // The numbers are merged already, by another request.
        let first = &removed.first;
        let earlier = {
            let case = first.found.read();
            case.history().retirement().and_then(|(entry, _)| case.outcome_of(entry.command_id))
        };
        if let Some(retirement) = earlier {
            // No decision looks at the time, as nothing is recorded.
            if let Some(effective_at) = merge.effective_at {
                domain::check_effective_at(
                    normalise(effective_at),
                    service.time_of_decision([Some(retirement.last().entry.recorded_at), None, None]),
                )?;
            }
            // The answer is found in the log, at any time.
            let spent = service.spend_key(merge.command_id, &merge.request_digest, String::new()).await?;
            answer_of(spent, merge.command_id, &merge.request_digest)?;
            return complete_after(service, &first.number, retirement, merge).await;
        }
    }
    let actual = surviving.found.read().revision();
    if let Some(expected) = merge.if_match.filter(|&expected| actual != Some(expected)) {
        let stream = Stream::Prisoner(surviving.number.clone());
        return Err(CommandError::RevisionMismatch { stream, expected, actual });
    }
    let request = Request {
        command: Command::Prisoner(
            retiring.number.clone(),
            prisoner::Command::Retire(PrisonerNumberRetired { survivor: surviving.number.clone() }),
        ),
        command_id: merge.command_id,
        request_digest: merge.request_digest.clone(),
        recorded_by: merge.recorded_by.clone(),
        correlation_id: merge.correlation_id,
        causation_id: None,
        provenance: None,
        effective_at: merge.effective_at,
        if_match: None,
        confinement: merge.confinement.clone(),
    };
    // A merge is a fact, so later entries of the case only change when it takes effect.
    let retirement = service.execute_or_from_now(request).await?;
    complete_after(service, &retiring.number, retirement, merge).await
}

/// Completes the merge that a retirement began. The outcome has the events of both steps.
async fn complete_after(
    service: &Service,
    removed: &PrisonerNumber,
    retirement: Outcome,
    merge: &MergeRequest,
) -> Result<Outcome, CommandError> {
    let mut outcome = retirement;
    if let Some(completion) = complete(service, removed, &merge.recorded_by, merge.correlation_id).await? {
        outcome.extend(completion);
    }
    Ok(outcome)
}

async fn try_complete(
    service: &Service,
    removed: &PrisonerNumber,
    recorded_by: &RecordedBy,
    correlation_id: Uuid,
) -> Result<Option<Outcome>, CommandError> {
    let chain = service.load_survivors(removed).await?;
    // If a survivor was retired before it took this number over, it never will; the last of the
    // chain does.
    for link in &chain.survivors {
        let case = link.found.read();
        let takeover = case.history().entries().iter().find(|entry| {
            matches!(&entry.event, PrisonerEvent::PrisonerNumberMerged(merged) if merged.removed_number == *removed)
        });
        if let Some(entry) = takeover {
            return Ok(case.outcome_of(entry.command_id));
        }
    }
    let Some(survivor) = chain.survivors.last() else { return Ok(None) };
    let part = format!("merge {removed}");
    let (request, retirement) = {
        let case = chain.first.found.read();
        let Some((retirement, _)) = case.history().retirement() else { return Ok(None) };
        let request = Request {
            command: Command::Prisoner(
                survivor.number.clone(),
                prisoner::Command::CompleteMerge(Box::new(merge_of(case.history(), retirement.revision))),
            ),
            command_id: retirement.event_id.derive_command(&part),
            request_digest: request_digest("complete-merge", removed.as_str(), &()).into(),
            recorded_by: recorded_by.clone(),
            correlation_id,
            causation_id: Some(retirement.event_id),
            provenance: None,
            effective_at: Some(retirement.effective_at),
            if_match: None,
            // The rest of a merge that was permitted.
            confinement: Confinement::default(),
        };
        (request, retirement.event_id)
    };
    service.execute_own(request, retirement, &part).await.map(Some)
}

/// The numbers that a number and those that its case goes on under have taken over.
fn numbers_taken_over(chain: &SurvivorChain<Arc<CachedCase>>) -> Vec<PrisonerNumber> {
    let mut numbers = Vec::new();
    for link in chain.links() {
        let case = link.found.read();
        numbers.extend(case.history().entries().iter().filter_map(|entry| match &entry.event {
            PrisonerEvent::PrisonerNumberMerged(merged) => Some(merged.removed_number.clone()),
            _ => None,
        }));
    }
    numbers
}

fn refuse_circle(merge: &MergeRequest) -> Refusal {
    let MergeRequest { survivor, removed_number, .. } = merge;
    if removed_number == survivor {
        return prisoner::refuse_self_merge(survivor);
    }
    Refusal::new(
        Rule::MergeCircle,
        format!(
            "{survivor} was itself merged into {removed_number}, so {removed_number} cannot be merged into it. Check \
             which number was removed and which survives."
        ),
    )
}
