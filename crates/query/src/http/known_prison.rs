//! A question about a prison that neither the program's list nor the ledger has is a 404: an empty
//! answer would hide a slip of the pen.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use domain::identifier::PrisonCode;
use http_api::{Problem, ProblemCode};

use crate::{QueryState, prison_cases::is_known};

/// Refuses a request below `/prisons/{prisonCode}` of which the prison is unknown. A code that is
/// none is for the handler to refuse.
pub(super) async fn refuse_unknown_prison(State(state): State<QueryState>, request: Request, next: Next) -> Response {
    let below = request.uri().path().strip_prefix("/prisons/");
    let code = below.and_then(|rest| rest.split('/').next()?.parse::<PrisonCode>().ok());
    let Some(unlisted) = code.filter(|code| code.listed_name().is_none()) else { return next.run(request).await };
    match require_known(&state, &unlisted).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Refuses a prison that neither the list nor the ledger has.
pub(super) async fn require_known(state: &QueryState, prison: &PrisonCode) -> Result<(), Problem> {
    if is_known(state, prison).await? {
        return Ok(());
    }
    let sentence = prison.unlisted_sentence();
    let detail = format!("{sentence} The ledger knows nothing of it either. Please check the code.");
    Err(Problem::new(ProblemCode::PrisonUnknown, detail))
}
