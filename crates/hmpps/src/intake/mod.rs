//! Takes in one message: reads it, decides, records, or parks it.
//!
//! The ids of its commands are derived from the message's, so that a message that comes again, or
//! to two consumers, records nothing twice.

mod finding;
mod look_up_failures;
mod recording;

use std::{panic::AssertUnwindSafe, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use command::{Clock, Service};
use futures::FutureExt as _;
use prometheus_client::registry::Registry;
use sqlx::PgPool;
use uuid::Uuid;

use self::{
    look_up_failures::LookUpFailures,
    recording::{MessageCommand, NAMESPACE, TOLD_OPERATIONS, command_id, failed},
};
use crate::{
    inquiry::Inquiry,
    lookup::{LookUpError, LookUps},
    metrics::IntakeMetrics,
    notification::{Fact, Notification, Unreadable},
    outage::Outage,
    parked::{NewParked, ParkedClaim, ParkedMessages},
    passed::{PassedMessage, PassedMessages},
    plan::{IntakeOutcome, MessagePlan, ParkReason, PassReason, plan},
};

/// How far a message's time may be ahead of this machine's clock, which may be slow. It then
/// counts as now.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(10);

/// After so many messages that cannot be decided on, a sweep ends: there is an outage.
const SWEEP_FAILURES_MAX: usize = 3;

/// Takes messages in; clones share everything.
#[derive(Clone)]
pub struct Intake {
    inner: Arc<IntakeInner>,
}

struct IntakeInner {
    service: Service,
    parked: ParkedMessages,
    passed: PassedMessages,
    inquiry: Inquiry,
    failures: LookUpFailures,
    metrics: IntakeMetrics,
}

/// A decision on a message.
enum Decision {
    Done(IntakeOutcome),
    Park(ParkReason, String),
    /// Passed over, and to be decided again later: the message does not tell by itself of the
    /// person with this number, or of the case with this CRN, and the ledger does not know that
    /// one, or another message may say it better.
    Later(String, PassReason),
    /// Passed over, as the service that would say more is not configured.
    NotAsked(LookUpError),
}

impl Intake {
    /// Takes in messages by a command side. `views` are asked whose case a CRN is, and other
    /// services what messages do not say; without them such messages are passed over.
    #[must_use]
    pub fn new(service: Service, parked: ParkedMessages, views: PgPool, look_ups: Option<LookUps>) -> Self {
        let passed = PassedMessages::new(parked.database().clone());
        let inquiry = Inquiry::new(service.clone(), views, look_ups);
        let (failures, metrics) = (LookUpFailures::default(), IntakeMetrics::default());
        Self { inner: Arc::new(IntakeInner { service, parked, passed, inquiry, failures, metrics }) }
    }

    /// Adds the counts of messages to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.inner.metrics.register(registry);
    }

    /// The messages that wait for a person.
    #[must_use]
    pub fn parked(&self) -> &ParkedMessages {
        &self.inner.parked
    }

    /// Takes in a message, of which SQS has the id `delivery_id`. It may be deleted afterwards.
    ///
    /// # Errors
    /// [`Outage`]: the message must come again.
    pub async fn take_in(&self, delivery_id: &str, body: &str) -> Result<IntakeOutcome, Outage> {
        let read = Notification::read(body);
        let (event_type, message_id) = match &read {
            Ok(notification) => (Some(notification.event_type.as_str()), Some(notification.message_id)),
            Err(unreadable) => (unreadable.event_type.as_deref(), unreadable.message_id),
        };
        let taken_in = match &read {
            Ok(Notification { fact: Fact::Irrelevant, .. }) => IntakeOutcome::PassedOver(PassReason::Irrelevant),
            _ => {
                let id = message_id.unwrap_or_else(|| delivery_uuid(delivery_id)).to_string();
                self.take_in_once(&id, &read, body).await?
            }
        };
        self.inner.metrics.count(event_type, taken_in);
        Ok(taken_in)
    }

    /// Takes in a message that was parked. `None` if none with this id waits.
    ///
    /// # Errors
    /// [`Outage`]: it goes on waiting.
    pub async fn retry(&self, id: &str) -> Result<Option<IntakeOutcome>, Outage> {
        match self.inner.parked.claim(id).await? {
            Some(claim) if !claim.is_dismissed => self.try_again(claim).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Takes in a message that may have been parked before, or dismissed.
    async fn take_in_once(
        &self,
        id: &str,
        read: &Result<Notification, Unreadable>,
        body: &str,
    ) -> Result<IntakeOutcome, Outage> {
        if self.inner.parked.has(id).await?
            && let Some(claim) = self.inner.parked.claim(id).await?
        {
            return match claim.is_dismissed {
                true => Ok(IntakeOutcome::PassedOver(PassReason::Dismissed)),
                false => match self.try_again(claim).await {
                    // It goes on waiting, and keeps no other message from its turn.
                    Err(Outage::LookUp(LookUpError::NotConfigured { .. })) => Ok(IntakeOutcome::Parked),
                    taken_in => taken_in,
                },
            };
        }
        match self.decide_and_follow(read, body).await? {
            Decision::Done(taken_in) => Ok(taken_in),
            Decision::Later(_, why) => Ok(IntakeOutcome::PassedOver(why)),
            Decision::NotAsked(_) => Ok(IntakeOutcome::PassedOver(PassReason::Irrelevant)),
            Decision::Park(reason, detail) => {
                let event_type = match read {
                    Ok(notification) => Some(notification.event_type.as_str()),
                    Err(unreadable) => unreadable.event_type.as_deref(),
                };
                self.park(&NewParked { id, event_type, reason, detail: &detail, body }).await?;
                Ok(IntakeOutcome::Parked)
            }
        }
    }

    async fn try_again(&self, claim: ParkedClaim) -> Result<IntakeOutcome, Outage> {
        let taken_in = match self.decide_and_follow(&Notification::read(&claim.body), &claim.body).await? {
            Decision::Done(taken_in) => taken_in,
            Decision::Later(_, why) => IntakeOutcome::PassedOver(why),
            // Its row stays as it is: another program may have the address.
            Decision::NotAsked(error) => return Err(error.into()),
            Decision::Park(reason, detail) => {
                claim.note_try(reason, &detail).await?;
                return Ok(IntakeOutcome::Parked);
            }
        };
        claim.remove().await?;
        Ok(taken_in)
    }

    async fn park(&self, parked: &NewParked<'_>) -> Result<(), Outage> {
        self.inner.parked.add(parked).await?;
        // The detail may name a person, which the log must not.
        tracing::warn!(message_id = parked.id, reason = parked.reason.word(), "a message waits for a person");
        Ok(())
    }

    /// Decides on a message, and on those that have waited for what it tells.
    async fn decide_and_follow(&self, read: &Result<Notification, Unreadable>, body: &str) -> Result<Decision, Outage> {
        let notification = match read {
            Ok(notification) => notification,
            Err(unreadable) => return Ok(Decision::Park(ParkReason::Unreadable, unreadable.problem.clone())),
        };
        let decided = self.decide_or_park(notification).await?;
        match &decided {
            Decision::Done(IntakeOutcome::Recorded) => self.decide_passed(&notification.fact).await?,
            Decision::Done(IntakeOutcome::PassedOver(why)) if notification.fact.may_mean_more_later(*why) => {
                let numbers = notification.fact.number_texts();
                return self.keep_passed(notification, body, &numbers, decided).await;
            }
            Decision::Later(key, _) => {
                let numbers = [key.clone()];
                return self.keep_passed(notification, body, &numbers, decided).await;
            }
            Decision::Done(_) | Decision::Park(..) | Decision::NotAsked(_) => {}
        }
        Ok(decided)
    }

    /// Keeps a message about these people that was passed over, for an earlier one that comes late.
    async fn keep_passed(
        &self,
        notification: &Notification,
        body: &str,
        numbers: &[String],
        decided: Decision,
    ) -> Result<Decision, Outage> {
        let at = match &notification.fact {
            Fact::Merged { .. } => None,
            fact => fact.occurred_at(),
        };
        let id = notification.message_id.to_string();
        self.inner.passed.keep(&id, numbers, at, body).await?;
        if let Decision::Later(key, _) = &decided
            && !self.is_ripe(&notification.fact, key).await?
        {
            return Ok(decided);
        }
        // Once more: the earlier one may have been recorded in between, and has not found this one.
        let decided = self.decide_or_park(notification).await?;
        if matches!(decided, Decision::Done(IntakeOutcome::Recorded)) {
            self.decide_passed(&notification.fact).await?;
        }
        if matches!(decided, Decision::Done(IntakeOutcome::Recorded | IntakeOutcome::Parked) | Decision::Park(..)) {
            self.inner.passed.remove(&id, numbers).await?;
        }
        Ok(decided)
    }

    /// Decides again on messages that were passed over, about the next people after a number.
    /// Answers the last number, or none to begin again. Forgets what is too old to come again. A
    /// message that cannot be decided on now keeps none from its turn; after some there is an
    /// outage.
    pub(crate) async fn sweep(&self, after: &str) -> Result<String, Outage> {
        self.inner.passed.forget_old().await?;
        self.inner.parked.forget_dismissed().await?;
        let (mut last, mut failures) = (String::new(), 0);
        for (number, passed) in self.inner.passed.about_next(after).await? {
            if let Err(outage) = self.decide_again_and_follow(&number, &passed).await {
                failures += 1;
                let (message_id, reason) = (&passed.id, outage.to_string());
                tracing::warn!(message_id, reason, "a message that was passed over cannot be decided on for now");
            }
            last = number;
            if failures == SWEEP_FAILURES_MAX {
                break;
            }
        }
        Ok(last)
    }

    async fn decide_again_and_follow(&self, number: &str, passed: &PassedMessage) -> Result<(), Outage> {
        match self.decide_again(number, passed).await? {
            Some(recorded) => self.decide_passed(&recorded).await,
            None => Ok(()),
        }
    }

    /// Decides again on messages that were passed over about the people of a fact that is recorded,
    /// and of what is recorded of them.
    async fn decide_passed(&self, recorded: &Fact) -> Result<(), Outage> {
        let mut to_follow = vec![recorded.clone()];
        while let Some(fact) = to_follow.pop() {
            if fact.occurred_at().is_none() {
                continue;
            }
            for number in fact.numbers() {
                for passed in self.inner.passed.about(number).await? {
                    to_follow.extend(self.decide_again(number.as_str(), &passed).await?);
                }
            }
        }
        Ok(())
    }

    /// Decides again on a message about a number that was passed over. Answers its fact if that is
    /// recorded.
    async fn decide_again(&self, number: &str, passed: &PassedMessage) -> Result<Option<Fact>, Outage> {
        let Ok(notification) = Notification::read(&passed.body) else { return Ok(None) };
        let is_looked_up = matches!(notification.fact, Fact::InDelius(_) | Fact::Updated(_));
        // The other services need not be asked before that can change anything.
        if is_looked_up && !self.is_ripe(&notification.fact, number).await? {
            return Ok(None);
        }
        let is_recorded = match self.decide_or_park(&notification).await? {
            // The newest was looked up, and the ledger has it.
            Decision::Done(IntakeOutcome::PassedOver(PassReason::AlreadyHeld)) if is_looked_up => false,
            Decision::Done(IntakeOutcome::PassedOver(_)) | Decision::Later(..) | Decision::NotAsked(_) => {
                return Ok(None);
            }
            Decision::Done(_) => true,
            Decision::Park(reason, detail) => {
                let event_type = Some(notification.event_type.as_str());
                let (id, body) = (passed.id.as_str(), passed.body.as_str());
                self.park(&NewParked { id, event_type, reason, detail: &detail, body }).await?;
                false
            }
        };
        let mut numbers = notification.fact.number_texts();
        numbers.push(number.to_owned());
        self.inner.passed.remove(&passed.id, &numbers).await?;
        Ok(is_recorded.then_some(notification.fact))
    }

    /// Decides on a message. One that meets a bug is parked: were it left in the queue, it would
    /// meet the bug until the queue gives it up.
    async fn decide_or_park(&self, notification: &Notification) -> Result<Decision, Outage> {
        catch_bug(self.decide(notification)).await.unwrap_or_else(|| {
            tracing::error!(message_id = %notification.message_id, "a message met a bug: the panic before this line");
            Ok(Decision::Park(ParkReason::Failed, "The ledger met a bug: its log says where.".to_owned()))
        })
    }

    async fn decide(&self, notification: &Notification) -> Result<Decision, Outage> {
        match &notification.fact {
            fact @ (Fact::InDelius(_) | Fact::Updated(_)) => {
                self.decide_by_inquiry(notification.message_id, fact).await
            }
            fact => self.decide_as_told(notification.message_id, fact).await,
        }
    }

    async fn decide_as_told(&self, message_id: Uuid, fact: &Fact) -> Result<Decision, Outage> {
        let mut cases = Vec::new();
        for number in fact.numbers() {
            match self.inner.service.history(number).await {
                Ok(case) => cases.push(case),
                Err(error) => return failed(error),
            }
        }
        let ids = TOLD_OPERATIONS.map(|operation| command_id(message_id, operation));
        if cases.iter().any(|case| case.entries().iter().any(|entry| ids.contains(&entry.command_id))) {
            return Ok(Decision::Done(IntakeOutcome::Recorded));
        }
        let at = fact.occurred_at();
        if let Some(parked) = at.and_then(park_if_ahead) {
            return Ok(parked);
        }
        match plan(fact, &cases) {
            MessagePlan::Record { number, operation, command } => {
                self.record(message_id, MessageCommand { number, operation, command, at, is_told: true }).await
            }
            MessagePlan::Merge { kept, removed } => self.merge(message_id, kept, removed, at).await,
            MessagePlan::PassOver(why) => Ok(Decision::Done(IntakeOutcome::PassedOver(why))),
            MessagePlan::Park(reason, detail) => Ok(Decision::Park(reason, detail)),
        }
    }
}

/// Parks what says that it occurs so far ahead that no clock's fault explains it.
fn park_if_ahead(at: DateTime<Utc>) -> Option<Decision> {
    let is_ahead = at > Clock::system().now() + AHEAD_MAX;
    is_ahead.then(|| Decision::Park(ParkReason::NeedsDecision, "Its occurredAt lies in the future.".to_owned()))
}

/// The result of a future, or `None` if it panicked.
async fn catch_bug<T>(future: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(future).catch_unwind().await.ok()
}

/// The id under which a message waits that SNS gave none: that of SQS, which is a UUID at AWS.
fn delivery_uuid(delivery_id: &str) -> Uuid {
    delivery_id.parse().unwrap_or_else(|_| Uuid::new_v5(&NAMESPACE, delivery_id.as_bytes()))
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_bug_ends_the_decision_on_one_message_alone() {
        let is_bad = std::hint::black_box(true);
        let meets_a_bug = super::catch_bug(async { assert!(!is_bad, "a bug") });
        assert_eq!(meets_a_bug.await, None);
        assert_eq!(super::catch_bug(async { 7 }).await, Some(7));
    }
}
