//! `Ledger-Position-At-Least`: an answer that includes the caller's own write, or a 503 after a
//! bounded wait.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_api::{
    Problem,
    headers::{LEDGER_POSITION_AT_LEAST, parse, whole_number},
};

use super::error_problem::views_behind;
use crate::QueryState;

/// Holds a request back until the views are as far as it asks.
pub(super) async fn wait_for_position(State(state): State<QueryState>, request: Request, next: Next) -> Response {
    let at_least = parse(request.headers(), &LEDGER_POSITION_AT_LEAST, "a position in the ledger", whole_number::<u64>);
    let reached = match at_least {
        Ok(None) => Ok(true),
        Ok(Some(position)) => state.checkpoint.wait_for(position).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match reached {
        Ok(true) => next.run(request).await,
        Ok(false) => views_behind().into_response(),
        Err(problem) => problem.into_response(),
    }
}
