//! `GET /projections`: how far each view has come.

use axum::{
    extract::State as Extracted,
    response::{IntoResponse as _, Response},
};
use event_log::{PAGE_EVENTS_MAX, RecordedEvent};
use http_api::{Params, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use super::periods::NoParams;
use crate::{Error, State, answer::Answer, view::checkpoint};

/// The views; they move together.
const VIEWS: [&str; 6] = ["prisoner_case", "case_period", "allocation", "prison", "pom_period", "nomis_contact"];

/// How far a view has come.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Projection {
    /// The view.
    view: &'static str,
    /// Version of its definition.
    version: i32,
    /// Position in the ledger of the last event that it includes.
    position: u64,
    /// Events that it does not include yet, counted up to 10,000.
    lag_events: usize,
    /// How long ago the first of those was recorded; 0 where there is none.
    lag_seconds: f64,
    /// `CURRENT` or `BEHIND`.
    state: ProjectionState,
}

/// Whether a view includes everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ProjectionState {
    /// It includes all of the log.
    Current,
    /// Events are still to come in.
    Behind,
}

/// How far each view has come, and how far it lags behind the log.
#[utoipa::path(
    get, path = "/projections", tag = "Answers",
    responses((status = 200, body = Vec<Projection>)),
)]
pub(super) async fn projections(
    Extracted(state): Extracted<State>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    let checkpoint = checkpoint::read(&state.views).await?;
    let missing = missing(&state, checkpoint.position).await?;
    let lag = missing.first().map(|first| state.now() - first.recorded_at);
    let projection = Projection {
        view: "",
        version: checkpoint.version,
        position: checkpoint.position,
        lag_events: missing.len(),
        lag_seconds: lag.map_or(0.0, |lag| lag.as_seconds_f64().max(0.0)),
        state: if missing.is_empty() { ProjectionState::Current } else { ProjectionState::Behind },
    };
    let projections = VIEWS.map(|view| Projection { view, ..projection.clone() });
    Ok(Answer::new(checkpoint.position, projections).into_response())
}

/// The events after a position, as many as one page holds; positions may have gaps, so only reading tells how many.
async fn missing(state: &State, position: u64) -> Result<Vec<RecordedEvent>, Error> {
    if state.log.head().await? <= position {
        return Ok(Vec::new());
    }
    Ok(state.log.read_all(position, PAGE_EVENTS_MAX).await?)
}
