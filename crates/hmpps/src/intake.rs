//! Takes in one message: reads it, decides, records, or parks it.
//!
//! The ids of its commands are derived from the message's, so that a message that comes again, or
//! to two consumers, records nothing twice.

use std::{panic::AssertUnwindSafe, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use command::{Clock, CommandError, MergeRequest, Outcome, Request, RequestDigest, Service};
use domain::{
    Command, Confinement, Rule,
    event::RecordedBy,
    identifier::{CommandId, PrisonerNumber},
};
use event_log::{error_chain, request_digest};
use futures::FutureExt as _;
use prometheus_client::registry::Registry;
use serde::Serialize;
use uuid::{Uuid, uuid};

use crate::{
    metrics::IntakeMetrics,
    notification::{Fact, Notification, Unreadable},
    outage::Outage,
    parked::{NewParked, ParkedClaim, ParkedMessages},
    passed::{PassedMessage, PassedMessages},
    plan::{IntakeOutcome, MessagePlan, ParkReason, PassReason, plan},
};

/// The name space of the ids of commands that messages make.
const NAMESPACE: Uuid = uuid!("5c0b9a55-6d5e-4c8e-9b0a-1f1b5f0f2c55");

/// The operations of commands that a message may make, which tell their ids apart.
const OPERATIONS: [&str; 4] = ["receive", "release", "transfer", "merge"];

/// How far a message's time may be ahead of this machine's clock, which may be slow. It then
/// counts as now.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(10);

/// Takes messages in; clones share everything.
#[derive(Clone)]
pub struct Intake {
    inner: Arc<IntakeInner>,
}

struct IntakeInner {
    service: Service,
    parked: ParkedMessages,
    passed: PassedMessages,
    metrics: IntakeMetrics,
}

/// A decision on a message.
enum Decision {
    Done(IntakeOutcome),
    Park(ParkReason, String),
}

impl Intake {
    /// Takes in messages by a command side.
    #[must_use]
    pub fn new(service: Service, parked: ParkedMessages) -> Self {
        let passed = PassedMessages::new(parked.database().clone());
        Self { inner: Arc::new(IntakeInner { service, parked, passed, metrics: IntakeMetrics::default() }) }
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
                false => self.try_again(claim).await,
            };
        }
        match self.decide_and_follow(read, body).await? {
            Decision::Done(taken_in) => Ok(taken_in),
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
        match self.decide_and_follow(&Notification::read(&claim.body), &claim.body).await? {
            Decision::Done(taken_in) => {
                claim.remove().await?;
                Ok(taken_in)
            }
            Decision::Park(reason, detail) => {
                claim.note_try(reason, &detail).await?;
                Ok(IntakeOutcome::Parked)
            }
        }
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
        match decided {
            Decision::Done(IntakeOutcome::Recorded) => self.decide_passed(&notification.fact).await?,
            Decision::Done(IntakeOutcome::PassedOver(why)) if notification.fact.may_mean_more_later(why) => {
                return self.keep_passed(notification, body).await;
            }
            _ => {}
        }
        Ok(decided)
    }

    /// Keeps a message that was passed over, for an earlier one that comes late.
    async fn keep_passed(&self, notification: &Notification, body: &str) -> Result<Decision, Outage> {
        let at = match &notification.fact {
            Fact::Merged { .. } => None,
            fact => fact.occurred_at(),
        };
        let (id, numbers) = (notification.message_id.to_string(), notification.fact.number_texts());
        self.inner.passed.keep(&id, &numbers, at, body).await?;
        // Once more: the earlier one may have been recorded in between, and has not found this one.
        let decided = self.decide_or_park(notification).await?;
        if matches!(decided, Decision::Done(IntakeOutcome::Recorded)) {
            self.decide_passed(&notification.fact).await?;
        }
        if !matches!(decided, Decision::Done(IntakeOutcome::PassedOver(_))) {
            self.inner.passed.remove(&id, &numbers).await?;
        }
        Ok(decided)
    }

    /// Decides again on messages that were passed over, about the next people after a number.
    /// Answers the last number, or none to begin again. Forgets what is too old to come again.
    pub(crate) async fn sweep(&self, after: &str) -> Result<String, Outage> {
        self.inner.passed.forget_old().await?;
        self.inner.parked.forget_dismissed().await?;
        let mut last = String::new();
        for (number, passed) in self.inner.passed.about_next(after).await? {
            if let Some(recorded) = self.decide_again(&passed).await? {
                self.decide_passed(&recorded).await?;
            }
            last = number;
        }
        Ok(last)
    }

    /// Decides again on messages that were passed over and are later than a fact that is recorded,
    /// and on those later than what is recorded of them.
    async fn decide_passed(&self, recorded: &Fact) -> Result<(), Outage> {
        let mut to_follow = vec![recorded.clone()];
        while let Some(fact) = to_follow.pop() {
            let Some(at) = fact.occurred_at() else { continue };
            for number in fact.numbers() {
                for passed in self.inner.passed.since(number, at).await? {
                    to_follow.extend(self.decide_again(&passed).await?);
                }
            }
        }
        Ok(())
    }

    /// Decides again on a message that was passed over. Answers its fact if that is recorded.
    async fn decide_again(&self, passed: &PassedMessage) -> Result<Option<Fact>, Outage> {
        let Ok(notification) = Notification::read(&passed.body) else { return Ok(None) };
        let is_recorded = match self.decide_or_park(&notification).await? {
            Decision::Done(IntakeOutcome::PassedOver(_)) => return Ok(None),
            Decision::Done(_) => true,
            Decision::Park(reason, detail) => {
                let event_type = Some(notification.event_type.as_str());
                let (id, body) = (passed.id.as_str(), passed.body.as_str());
                self.park(&NewParked { id, event_type, reason, detail: &detail, body }).await?;
                false
            }
        };
        self.inner.passed.remove(&passed.id, &notification.fact.number_texts()).await?;
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
        let Notification { message_id, event_type: _, fact } = notification;
        let mut cases = Vec::new();
        for number in fact.numbers() {
            match self.inner.service.history(number).await {
                Ok(case) => cases.push(case),
                Err(error) => return failed(error),
            }
        }
        let ids = command_ids(*message_id);
        if cases.iter().any(|case| case.entries().iter().any(|entry| ids.contains(&entry.command_id))) {
            return Ok(Decision::Done(IntakeOutcome::Recorded));
        }
        let at = match fact.occurred_at() {
            Some(at) if at > Clock::system().now() + AHEAD_MAX => {
                let detail = "Its occurredAt lies in the future.".to_owned();
                return Ok(Decision::Park(ParkReason::NeedsDecision, detail));
            }
            at => at,
        };
        match plan(fact, &cases) {
            MessagePlan::Record { number, operation, command } => {
                self.record(*message_id, number, operation, command, at).await
            }
            MessagePlan::Merge { kept, removed } => self.merge(*message_id, kept, removed, at).await,
            MessagePlan::PassOver(why) => Ok(Decision::Done(IntakeOutcome::PassedOver(why))),
            MessagePlan::Park(reason, detail) => Ok(Decision::Park(reason, detail)),
        }
    }

    async fn record(
        &self,
        message_id: Uuid,
        number: PrisonerNumber,
        operation: &'static str,
        command: domain::prisoner::Command,
        at: Option<DateTime<Utc>>,
    ) -> Result<Decision, Outage> {
        let request_digest = digest(operation, &number, &(&command, at));
        let request = Request {
            command: Command::Prisoner(number, command),
            command_id: command_id(message_id, operation),
            request_digest,
            recorded_by: recorded_by(),
            correlation_id: message_id,
            causation_id: None,
            provenance: None,
            effective_at: not_later_than_now(at),
            if_match: None,
            confinement: Confinement::default(),
        };
        recorded(message_id, self.inner.service.execute(request).await)
    }

    async fn merge(
        &self,
        message_id: Uuid,
        survivor: PrisonerNumber,
        removed_number: PrisonerNumber,
        at: Option<DateTime<Utc>>,
    ) -> Result<Decision, Outage> {
        let request = MergeRequest {
            command_id: command_id(message_id, "merge"),
            request_digest: digest("merge", &survivor, &(&removed_number, at)),
            survivor,
            removed_number,
            recorded_by: recorded_by(),
            correlation_id: message_id,
            effective_at: not_later_than_now(at),
            if_match: None,
            confinement: Confinement::default(),
        };
        recorded(message_id, self.inner.service.merge(request).await)
    }
}

/// The decision after the command of a message was executed. One that is repeated is the message's
/// own where the answer to its append was lost.
fn recorded(message_id: Uuid, result: Result<Outcome, CommandError>) -> Result<Decision, Outage> {
    let ids = command_ids(message_id);
    let is_own = |outcome: &Outcome| outcome.events().any(|event| ids.contains(&event.entry.command_id));
    match result {
        Ok(outcome) if outcome.is_repeated() && !is_own(&outcome) => {
            Ok(Decision::Done(IntakeOutcome::PassedOver(PassReason::AlreadyHeld)))
        }
        Ok(_) => Ok(Decision::Done(IntakeOutcome::Recorded)),
        Err(CommandError::Refused(refusal)) if refusal.rule == Rule::NothingChanged => {
            Ok(Decision::Done(IntakeOutcome::PassedOver(PassReason::AlreadyHeld)))
        }
        Err(error) => failed(error),
    }
}

fn failed(error: CommandError) -> Result<Decision, Outage> {
    match error {
        // The case begins later than the message.
        CommandError::Refused(refusal) if refusal.rule == Rule::PrisonerUnknown => {
            Ok(Decision::Done(IntakeOutcome::PassedOver(PassReason::UnknownPerson)))
        }
        CommandError::Refused(refusal) => Ok(Decision::Park(ParkReason::Refused, refusal.sentence)),
        CommandError::Unavailable(_) | CommandError::Contended { .. } | CommandError::NotCaughtUp => {
            Err(Outage::from(&error))
        }
        CommandError::RevisionMismatch { .. } | CommandError::KeyReused { .. } | CommandError::Broken(_) => {
            let kind = error.kind();
            // The texts of the other kinds name a stream.
            let cause = match &error {
                CommandError::Broken(cause) => error_chain(&**cause),
                _ => kind.to_owned(),
            };
            tracing::error!(kind, cause, "a message could not be recorded");
            Ok(Decision::Park(
                ParkReason::Failed,
                format!("The ledger could not record it ({kind}): its log says why."),
            ))
        }
    }
}

/// The result of a future, or `None` if it panicked.
async fn catch_bug<T>(future: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(future).catch_unwind().await.ok()
}

/// The id under which a message waits that SNS gave none: that of SQS, which is a UUID at AWS.
fn delivery_uuid(delivery_id: &str) -> Uuid {
    delivery_id.parse().unwrap_or_else(|_| Uuid::new_v5(&NAMESPACE, delivery_id.as_bytes()))
}

/// The id of a command that a message makes.
fn command_id(message_id: Uuid, operation: &str) -> CommandId {
    CommandId::of_content(NAMESPACE, &format!("{message_id} {operation}"))
}

/// The ids of all commands that a message may make.
fn command_ids(message_id: Uuid) -> [CommandId; OPERATIONS.len()] {
    OPERATIONS.map(|operation| command_id(message_id, operation))
}

fn digest(operation: &str, number: &PrisonerNumber, content: &impl Serialize) -> RequestDigest {
    request_digest(operation, number.as_str(), content).into()
}

fn recorded_by() -> RecordedBy {
    RecordedBy {
        username: Some("HMPPS_DOMAIN_EVENTS".parse().expect("a username")),
        client: "hmpps-domain-events".to_owned(),
        auth_source: None,
    }
}

fn not_later_than_now(at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    at.map(|at| at.min(Clock::system().now()))
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
