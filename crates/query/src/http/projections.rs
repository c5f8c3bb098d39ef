//! `GET /projections`: how far each view has come, and how large it is.

use access_log::Shown;
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use event_log::Lag;
use http_api::{Params, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use views::VIEWS;

use super::{answer::Answer, parameters::NoParams};
use crate::{
    QueryError, QueryState,
    past::ListExtent,
    present::{
        checkpoint, snapshot,
        view_size::{self, RowCount, ViewSize},
    },
};

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
    /// Its rows; null where Postgres has no estimate yet.
    rows: Option<u64>,
    /// `COUNTED`, or `ESTIMATED` by Postgres's statistics where counting would take long.
    rows_are: RowCountSource,
    /// Its size on disk with its indexes, in bytes.
    bytes: u64,
    /// `CURRENT`, `BEHIND` or `OTHER_LOG`.
    state: ProjectionState,
}

/// How sure a number of rows is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = RowsAre)]
enum RowCountSource {
    /// Counted just now.
    Counted,
    /// As Postgres's statistics have it, some per cent off.
    Estimated,
}

/// Whether a view includes everything, of this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ProjectionState {
    /// It includes all of the log.
    Current,
    /// Events are still to come in.
    Behind,
    /// It was built from another log than the one configured, and tells nothing of it.
    OtherLog,
}

/// How far each view has come, how far it lags behind the log, and how large it is.
#[utoipa::path(
    get, path = "/projections", tag = "The log and the views",
    responses((status = 200, body = Vec<Projection>)),
)]
pub(super) async fn list_projections(
    State(state): State<QueryState>,
    Params(NoParams {}): Params<NoParams>,
) -> Result<Response, Problem> {
    let mut views = snapshot(&state.views).await?;
    let (checkpoint, streams_aside) = checkpoint::read_with_aside(&mut *views).await?;
    let mut sizes = Vec::with_capacity(VIEWS.len());
    for view in VIEWS {
        sizes.push(view_size::read(&mut views, view).await?);
    }
    views.commit().await.map_err(QueryError::from)?;
    let missing = Lag::measure(&state.log, checkpoint.position).await.map_err(QueryError::from)?;
    let lag = missing.since.map(|since| state.now() - since);
    let is_of_log = checkpoint::is_of(checkpoint, &state.log).await.map_err(QueryError::from)?;
    let state_of_views = match (is_of_log, missing.events) {
        (false, _) => ProjectionState::OtherLog,
        (true, 0) => ProjectionState::Current,
        (true, _) => ProjectionState::Behind,
    };
    let projections: Vec<Projection> = VIEWS
        .into_iter()
        .zip(sizes)
        .map(|(view, ViewSize { rows, bytes })| {
            let (rows, rows_are) = match rows {
                Some(RowCount::Counted(rows)) => (Some(rows), RowCountSource::Counted),
                Some(RowCount::Estimated(rows)) => (Some(rows), RowCountSource::Estimated),
                None => (None, RowCountSource::Estimated),
            };
            Projection {
                view: view.name(),
                version: checkpoint.version,
                position: checkpoint.position,
                lag_events: missing.events,
                lag_seconds: lag.map_or(0.0, |lag| lag.as_seconds_f64().max(0.0)),
                rows,
                rows_are,
                bytes,
                state: state_of_views,
            }
        })
        .collect();
    let extent = ListExtent { position: checkpoint.position, streams_aside };
    Ok(Answer::list(extent, projections, Shown::no_person()).into_response())
}
