//! `GET /prisons/{prisonCode}/statistics`: allocations by month.

use access_log::Shown;
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use domain::identifier::PrisonCode;
use http_api::{Params, PathParams, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use super::{answer::Answer, parameters::KnownAtQuery};
use crate::{QueryState, past, present::statistics::AllocationMonth};

/// The allocations of a month.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MonthStatistics {
    /// The London month, by effective time.
    #[schema(example = "2026-03")]
    month: String,
    /// Cases allocated that had no POM.
    allocations: u64,
    /// Cases that went from one POM to another.
    reallocations: u64,
    /// How many of both went against the recommended kind of POM.
    overrides: u64,
    /// Whole days from waiting to allocated.
    days_to_allocate: DaysToAllocate,
}

/// Whole days from waiting to allocated, over the allocations of cases that had been seen waiting;
/// null where none had.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DaysToAllocate {
    /// On average.
    mean: Option<f64>,
    /// Half waited at most this long.
    median: Option<f64>,
    /// The longest.
    max: Option<i32>,
}

impl From<AllocationMonth> for MonthStatistics {
    fn from(month: AllocationMonth) -> Self {
        // A tenth of a day is all that whole days can tell.
        let tenths = |days: f64| (days * 10.0).round() / 10.0;
        Self {
            month: month.month.format("%Y-%m").to_string(),
            allocations: month.allocations,
            reallocations: month.reallocations,
            overrides: month.overrides,
            days_to_allocate: DaysToAllocate {
                mean: month.days_mean.map(tenths),
                median: month.days_median.map(tenths),
                max: month.days_max,
            },
        }
    }
}

/// A prison's allocations by month, in order; months without any are left out.
#[utoipa::path(
    get, path = "/prisons/{prisonCode}/statistics", tag = "Questions about a prison",
    params(("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"), KnownAtQuery),
    responses((status = 200, body = Vec<MonthStatistics>)),
)]
pub(super) async fn list_monthly_statistics(
    State(state): State<QueryState>,
    PathParams(prison): PathParams<PrisonCode>,
    Params(KnownAtQuery { known_at }): Params<KnownAtQuery>,
) -> Result<Response, Problem> {
    let (extent, months) = past::months(&state, &prison, known_at).await?;
    let months: Vec<MonthStatistics> = months.into_iter().map(MonthStatistics::from).collect();
    Ok(Answer::list(extent, months, Shown::no_person()).into_response())
}
