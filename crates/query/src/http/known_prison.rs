//! A question about a prison that neither the program's list nor the ledger has is a 404: an empty
//! answer would hide a slip of the pen.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use domain::identifier::PrisonCode;
use http_api::Problem;

use crate::{QueryState, present::prison};

/// The code of the problem.
const CODE: &str = "prison-unknown";

/// Refuses a request below `/prisons/{code}` of which the prison is unknown. A code that is none is
/// for the handler to refuse.
pub(super) async fn refuse_unknown_prison(State(state): State<QueryState>, request: Request, next: Next) -> Response {
    let below = request.uri().path().strip_prefix("/prisons/");
    let code = below.and_then(|rest| rest.split('/').next()?.parse::<PrisonCode>().ok());
    let Some(unlisted) = code.filter(|code| code.listed_name().is_none()) else { return next.run(request).await };
    match prison::is_named(&state.views, &unlisted).await {
        Ok(true) => next.run(request).await,
        Ok(false) => {
            let detail = format!(
                "{} The ledger knows nothing of it either. Please check the code.",
                unlisted.unlisted_sentence()
            );
            Problem::not_found(CODE, detail).into_response()
        }
        Err(error) => Problem::from(error).into_response(),
    }
}
