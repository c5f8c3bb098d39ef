//! The cases of a caller that is confined to prisons: those that are held or wait there now,
//! whatever `on` and `known-at` say.

use axum::{
    extract::{RawPathParams, Request, State, rejection::RawPathParamsRejection},
    middleware::Next,
    response::{IntoResponse, Response},
};
use domain::{Confinement, identifier::PrisonerNumber};
use http_api::{CallerScope, Problem};

use super::parameters::number_in;
use crate::{QueryState, past::prisons_now};

/// The routes that answer as the live service did: a case that is not the caller's is not found.
const LIVE_SERVICE: &str = "/api/";

/// Refuses a request whose path names a case that is not the caller's, whatever its handler does. A
/// number that is none is for the handler to refuse.
pub(super) async fn refuse_other_case(
    State(state): State<QueryState>,
    caller: CallerScope,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    if caller.confinement.prisons().is_some()
        && !request.uri().path().starts_with(LIVE_SERVICE)
        && let Some(number) = number_in(path)
    {
        match check_case(&state, &caller.confinement, &number).await {
            Ok(Ok(())) => {}
            Ok(Err(problem)) | Err(problem) => return problem.into_response(),
        }
    }
    next.run(request).await
}

/// Whether a case is the caller's, or the problem that it is not.
pub(super) async fn check_case(
    state: &QueryState,
    confinement: &Confinement,
    number: &PrisonerNumber,
) -> Result<Result<(), Problem>, Problem> {
    let checked = check_cases(state, confinement, std::slice::from_ref(number)).await?;
    Ok(checked.into_iter().collect())
}

/// [`check_case`] for several numbers, in the order given.
pub(super) async fn check_cases(
    state: &QueryState,
    confinement: &Confinement,
    numbers: &[PrisonerNumber],
) -> Result<Vec<Result<(), Problem>>, Problem> {
    if confinement.prisons().is_none() {
        return Ok(numbers.iter().map(|_| Ok(())).collect());
    }
    let prisons = prisons_now(state, numbers).await?;
    let checked = numbers
        .iter()
        .zip(&prisons)
        .map(|(number, prison)| confinement.check_case(number, prison.as_ref()).map_err(Problem::from));
    Ok(checked.collect())
}
