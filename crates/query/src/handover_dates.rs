//! Handover dates worked out from sentence facts, with nothing recorded: what `POST
//! /handover-dates` and the command line answer.

use chrono::NaiveDate;
use domain::{
    Refusal,
    handover::{Facts, HandoverReason, NamedDate, PlannedPhase, phase_on, plan},
    london,
};
use http_api::{Problem, extract::from_json, sentence_facts::FactsBody};
use serde::Serialize;
use utoipa::ToSchema;

/// The dates, their reason, and the officer responsible on the day of the calculation.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HandoverDates {
    /// London day from which a COM supports.
    pub start_date: Option<NaiveDate>,
    /// London day from which the COM is responsible.
    pub handover_date: Option<NaiveDate>,
    /// The reason for the dates.
    pub reason: HandoverReason,
    /// The release date counted back from.
    pub earliest_release: Option<NamedDate>,
    /// The officer responsible on the day of the calculation.
    pub responsibility: HandoverResponsibility,
}

/// The responsible officer, in the words of the live service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub enum HandoverResponsibility {
    /// The POM, alone.
    CustodyOnly,
    /// The POM, with a COM in support.
    CustodyWithCom,
    /// The COM.
    Community,
}

/// The answer to one line of facts: the dates, or in their place why they cannot be worked out.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum HandoverDatesLine {
    /// The dates.
    Dates(HandoverDates),
    /// Why there are none.
    Error {
        /// Code and sentence.
        error: LineError,
    },
}

/// Why a line has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LineError {
    /// Stable code.
    #[schema(value_type = http_api::ProblemCode)]
    pub code: String,
    /// A sentence.
    pub detail: String,
}

impl From<Problem> for LineError {
    fn from(problem: Problem) -> Self {
        Self { code: problem.code().to_owned(), detail: problem.detail().to_owned() }
    }
}

impl From<Result<HandoverDates, Refusal>> for HandoverDatesLine {
    fn from(outcome: Result<HandoverDates, Refusal>) -> Self {
        match outcome {
            Ok(dates) => Self::Dates(dates),
            Err(refusal) => {
                Self::Error { error: LineError { code: refusal.rule.code().to_owned(), detail: refusal.sentence } }
            }
        }
    }
}

/// Answers one line of facts in JSON, alone: one that cannot be read or worked out says so in its
/// place. `today` where the facts do not say on which day.
#[must_use]
pub fn answer(json: &[u8], today: NaiveDate) -> HandoverDatesLine {
    match from_json::<FactsBody>(json) {
        Ok(facts) => {
            let today = facts.effective_at.map_or(today, |at| london::date(at.into()));
            work_out(&facts.into_facts(), today).into()
        }
        Err(problem) => HandoverDatesLine::Error { error: problem.into() },
    }
}

/// Works out the dates; `today` where the facts do not say on which day.
///
/// # Errors
/// `sentence-start-unknown`.
pub fn work_out(facts: &Facts, today: NaiveDate) -> Result<HandoverDates, Refusal> {
    let today = facts.calculated_on.unwrap_or(today);
    let plan = plan(facts, today)?;
    let responsibility = match phase_on(plan.reason, plan.start_date, plan.handover_date, today) {
        PlannedPhase::CustodyOnly => HandoverResponsibility::CustodyOnly,
        PlannedPhase::CustodyWithCom => HandoverResponsibility::CustodyWithCom,
        PlannedPhase::Community => HandoverResponsibility::Community,
    };
    Ok(HandoverDates {
        start_date: plan.start_date,
        handover_date: plan.handover_date,
        reason: plan.reason,
        earliest_release: plan.earliest_release,
        responsibility,
    })
}
