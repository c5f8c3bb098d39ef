//! Maps the errors of the query side to problem documents.

use domain::{Rule, Stream, identifier::PrisonerNumber};
use event_log::LogError;
use http_api::{Problem, ProblemCode, problem::Fault};
use views::{CasePeriodRow, stream_aside::StreamAside};

use crate::{QueryError, checkpoint_watch, error::is_outage, past::PastError, present::case::CaseAt};

impl From<PastError> for Problem {
    fn from(error: PastError) -> Self {
        match error {
            PastError::Ahead { position, head } => {
                let detail =
                    format!("{position} is past the ledger's end, which is at position {head}; ask for an earlier one");
                Problem::fault(ProblemCode::ParameterInvalid, Fault::parameter("known-at", detail))
            }
            PastError::ViewsBehind => views_behind(),
            PastError::Failure(error) => error.into(),
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self::from(&error)
    }
}

impl From<&QueryError> for Problem {
    fn from(error: &QueryError) -> Self {
        match error {
            QueryError::Shared(error) => Self::from(&**error),
            QueryError::Aside(aside) => damaged(aside),
            QueryError::Views(error) if is_outage(error) => {
                tracing::warn!(error = error as &dyn std::error::Error, "the views cannot be read for now");
                Problem::new(ProblemCode::ViewsUnavailable, "The views cannot be read for now. Please try again.")
            }
            QueryError::Log(LogError::Unavailable(source)) => {
                tracing::warn!(
                    error = source.as_ref() as &dyn std::error::Error,
                    "the event log cannot be read for now"
                );
                Problem::new(ProblemCode::EventStoreUnavailable, "The event store cannot be reached. Please try again.")
            }
            QueryError::Views(_)
            | QueryError::Log(LogError::Damaged { .. })
            | QueryError::MergeCircle { .. }
            | QueryError::Damaged(_) => {
                tracing::error!(error = error as &dyn std::error::Error, "a question cannot be answered");
                Problem::internal()
            }
        }
    }
}

/// The views did not come as far in time as a request asks.
pub(super) fn views_behind() -> Problem {
    Problem::new(
        ProblemCode::ViewsBehind,
        format!(
            "The views have not come to the position asked for within {} s. GET /projections says how far they are. \
             Please try again.",
            checkpoint_watch::WAIT_MAX.as_secs()
        ),
    )
}

/// The case, or the problem that nothing is known of it.
pub(super) fn known_case<'c>(case: &'c CaseAt, asked: &PrisonerNumber) -> Result<&'c CasePeriodRow, Problem> {
    match case {
        CaseAt::Case(case) => Ok(case),
        CaseAt::NotYet(number) => Err(Problem::not_found(
            Rule::PrisonerUnknown,
            format!("Nothing had happened to {number} yet at the time asked about."),
        )),
        CaseAt::Unknown => Err(prisoner_unknown(asked)),
        CaseAt::Damaged(aside) => Err(damaged(aside)),
    }
}

/// The views leave out the case or the prison.
pub(super) fn damaged(aside: &StreamAside) -> Problem {
    let StreamAside { stream, position, revision, event_type, .. } = aside;
    tracing::warn!(position, event = event_type, "a question about a stream that is aside cannot be answered");
    let (code, what) = match stream {
        Stream::Prisoner(number) => (ProblemCode::CaseDamaged, format!("The case of {number}")),
        Stream::Prison(code) => (ProblemCode::PrisonDamaged, format!("The roster of {code}")),
        Stream::Contacts(number) => (ProblemCode::CaseDamaged, format!("A list with the POM contacts of {number}")),
    };
    let detail = format!(
        "{what} cannot be shown: its {event_type} at position {position}, revision {revision}, gives what the views \
         cannot hold. Nothing is lost. Please tell the operator: once that entry is voided, or the program mended, the \
         answer comes back by itself."
    );
    Problem::new(code, detail)
}

/// Nothing is known of the number.
pub(super) fn prisoner_unknown(asked: &PrisonerNumber) -> Problem {
    Problem::not_found(Rule::PrisonerUnknown, format!("The ledger knows nothing of {asked}. Please check the number."))
}
