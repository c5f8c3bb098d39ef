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

use domain::identifier::PrisonerNumber;
use uuid::Uuid;

use super::{
    Decision, Intake,
    recording::{MessageCommand, command_id, failed},
};
use crate::{
    inquiry::{InquiryError, InquiryOutcome},
    notification::Fact,
    outage::Outage,
    plan::{Finding, IntakeOutcome, ParkReason, PassReason, plan_finding},
};

impl Intake {
    /// Decides on a fact that has to be looked up.
    pub(super) async fn decide_by_inquiry(&self, message_id: Uuid, fact: &Fact) -> Result<Decision, Outage> {
        let findings = match self.inner.inquiry.inquire(fact).await {
            Ok(InquiryOutcome::Found(findings)) => findings,
            Ok(InquiryOutcome::PassOver(why)) => return Ok(Decision::Done(IntakeOutcome::PassedOver(why))),
            Ok(InquiryOutcome::Unknown(number)) => return Ok(Decision::Later(number, PassReason::UnknownPerson)),
            Ok(InquiryOutcome::TooEarly(number)) => return Ok(Decision::Later(number, PassReason::AlreadyHeld)),
            Ok(InquiryOutcome::Park(reason, detail)) => return Ok(Decision::Park(reason, detail)),
            Err(InquiryError::Unusable(problem)) => return Ok(Decision::Park(ParkReason::Unreadable, problem)),
            Err(InquiryError::History(error)) => return failed(error),
            Err(InquiryError::Outage(outage)) => return Err(outage),
        };
        let mut decided = Decision::Done(IntakeOutcome::PassedOver(PassReason::AlreadyHeld));
        let mut parked = None;
        for finding in findings {
            match self.decide_on_finding(message_id, &finding).await? {
                park @ Decision::Park(..) => parked = parked.or(Some(park)),
                recorded @ Decision::Done(IntakeOutcome::Recorded) => decided = recorded,
                Decision::Done(_) | Decision::Later(..) => {}
            }
        }
        // One that waits for a person is tried again as a whole; what is recorded stays so.
        Ok(parked.unwrap_or(decided))
    }

    async fn decide_on_finding(&self, message_id: Uuid, finding: &Finding) -> Result<Decision, Outage> {
        let case = match self.inner.service.history(&finding.number).await {
            Ok(case) => case,
            Err(error) => return failed(error),
        };
        let id = command_id(message_id, finding.fact.operation());
        if case.entries().iter().any(|entry| entry.command_id == id) {
            return Ok(Decision::Done(IntakeOutcome::Recorded));
        }
        let at = finding.effective_at(&case);
        if let Some(parked) = super::park_if_ahead(at) {
            return Ok(parked);
        }
        let Some(command) = plan_finding(finding, &case) else {
            return Ok(Decision::Done(IntakeOutcome::PassedOver(PassReason::AlreadyHeld)));
        };
        let (number, operation) = (finding.number.clone(), finding.fact.operation());
        self.record(message_id, MessageCommand { number, operation, command, at: Some(at), is_told: false }).await
    }

    /// Whether a message that was passed over may mean something by now.
    pub(super) async fn is_ripe(&self, fact: &Fact, number: &PrisonerNumber) -> Result<bool, Outage> {
        match self.inner.inquiry.is_ripe(fact, number).await {
            Ok(is_ripe) => Ok(is_ripe),
            Err(InquiryError::Outage(outage)) => Err(outage),
            // The decision on the message says so.
            Err(InquiryError::History(_) | InquiryError::Unusable(_)) => Ok(true),
        }
    }
}
