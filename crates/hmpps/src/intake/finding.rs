//! Decides on messages that do not say what is now, by what is found out.
//!
//! Messages with one CRN have their turns, and so no two of one consumer record the COM of one case
//! at once. Two messages may still meet at one person: by different CRNs, one by a CRN and one by
//! the number, or at two consumers. That is safe. Each command is decided again if another came
//! between, and holds from a time of its own, a calculation or a question, so that the newest
//! finding counts in whatever order they are recorded.
//!
//! One case is left: a consumer finds that there is no COM and records nothing, while another one
//! is about to record the COM that it found a moment before. That COM stays until the next message.

use command::{CommandError, Request};
use uuid::Uuid;

use super::{
    Decision, Intake,
    recording::{MessageCommand, command_id, failed, recorded, request},
};
use crate::{
    inquiry::{InquiryError, InquiryOutcome},
    lookup::LookUpError,
    notification::{Fact, PrisonerUpdate},
    outage::Outage,
    plan::{Finding, IntakeOutcome, ParkReason, PassReason, plan_finding},
};

/// How often a finding is decided on while other commands come between.
const DECISIONS_MAX: usize = 16;

impl Intake {
    /// Decides on a fact that has to be looked up.
    pub(super) async fn decide_by_inquiry(&self, message_id: Uuid, fact: &Fact) -> Result<Decision, Outage> {
        let inquired = self.inner.inquiry.inquire(fact).await;
        if !matches!(inquired, Err(InquiryError::Outage(_))) {
            self.inner.failures.forget(message_id);
        }
        let (findings, mut parked) = match inquired {
            Ok(InquiryOutcome::Found(findings)) => (findings, None),
            Ok(InquiryOutcome::FoundPart(findings, problem)) => {
                (findings, Some(Decision::Park(ParkReason::Unreadable, problem)))
            }
            Ok(InquiryOutcome::PassOver(why)) => return Ok(Decision::Done(IntakeOutcome::PassedOver(why))),
            Ok(InquiryOutcome::Unknown(number)) => {
                return Ok(Decision::Later(number.to_string(), PassReason::UnknownPerson));
            }
            Ok(InquiryOutcome::UnknownCase(crn)) => {
                return Ok(Decision::Later(crn.to_string(), PassReason::UnknownPerson));
            }
            Ok(InquiryOutcome::TooEarly(PrisonerUpdate { number, at, .. })) => {
                let later = || Decision::Later(number.to_string(), PassReason::AlreadyHeld);
                return Ok(super::park_if_ahead(at).unwrap_or_else(later));
            }
            Ok(InquiryOutcome::NotConfigured(error)) => return Ok(Decision::NotAsked(error)),
            Ok(InquiryOutcome::Park(reason, detail)) => return Ok(Decision::Park(reason, detail)),
            Err(InquiryError::Unusable(problem)) => return Ok(Decision::Park(ParkReason::Unreadable, problem)),
            Err(InquiryError::History(error)) => return failed(error),
            Err(InquiryError::Outage(outage)) => {
                return match self.is_at_fault(message_id, &outage).await {
                    true => Ok(Decision::Park(
                        ParkReason::Failed,
                        format!("{outage}, for this message alone: the service answers other questions."),
                    )),
                    false => Err(outage),
                };
            }
        };
        let mut decided = Decision::Done(IntakeOutcome::PassedOver(PassReason::AlreadyHeld));
        for finding in findings {
            match self.decide_on_finding(message_id, &finding).await? {
                park @ Decision::Park(..) => parked = parked.or(Some(park)),
                recorded @ Decision::Done(IntakeOutcome::Recorded) => decided = recorded,
                Decision::Done(_) | Decision::Later(..) | Decision::NotAsked(_) => {}
            }
        }
        // One that waits for a person is tried again as a whole; what is recorded stays so.
        Ok(parked.unwrap_or(decided))
    }

    /// Whether a look-up fails for this message alone.
    async fn is_at_fault(&self, message_id: Uuid, outage: &Outage) -> bool {
        let Outage::LookUp(LookUpError::Unavailable { service, .. }) = outage else { return false };
        self.inner.failures.note(message_id)
            && self.inner.inquiry.answers_otherwise(service).await
            && self.inner.failures.note_strike(message_id)
    }

    /// Decides on a finding, and again where another command came between: this one may copy what
    /// the case had before.
    async fn decide_on_finding(&self, message_id: Uuid, finding: &Finding) -> Result<Decision, Outage> {
        for _ in 0..DECISIONS_MAX {
            if let Some(decided) = self.try_finding(message_id, finding).await? {
                return Ok(decided);
            }
        }
        Err(Outage::EventLog("contended"))
    }

    /// The decision on a finding; `None` where another command came between.
    async fn try_finding(&self, message_id: Uuid, finding: &Finding) -> Result<Option<Decision>, Outage> {
        let case = match self.inner.service.history(&finding.number).await {
            Ok(case) => case,
            Err(error) => return failed(error).map(Some),
        };
        let id = command_id(message_id, finding.fact.operation());
        if case.entries().iter().any(|entry| entry.command_id == id) {
            return Ok(Some(Decision::Done(IntakeOutcome::Recorded)));
        }
        let at = finding.effective_at(&case);
        if let Some(parked) = super::park_if_ahead(at) {
            return Ok(Some(parked));
        }
        let Some(command) = plan_finding(finding, &case) else {
            return Ok(Some(Decision::Done(IntakeOutcome::PassedOver(PassReason::AlreadyHeld))));
        };
        let (number, operation) = (finding.number.clone(), finding.fact.operation());
        let command = MessageCommand { number, operation, command, at: Some(at), is_told: false };
        let request = Request { if_match: case.revision(), ..request(message_id, command) };
        match self.inner.service.execute(request).await {
            Err(CommandError::RevisionMismatch { .. }) => Ok(None),
            result => recorded(id, result).map(Some),
        }
    }

    /// Whether a message that was passed over may mean something by now.
    pub(super) async fn is_ripe(&self, fact: &Fact, key: &str) -> Result<bool, Outage> {
        match self.inner.inquiry.is_ripe(fact, key).await {
            Ok(is_ripe) => Ok(is_ripe),
            Err(InquiryError::Outage(outage)) => Err(outage),
            // The decision on the message says so.
            Err(InquiryError::History(_) | InquiryError::Unusable(_)) => Ok(true),
        }
    }
}
