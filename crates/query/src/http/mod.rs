//! The HTTP API of the query side: one file per operation, with its types, its description and its
//! handler.
//!
//! Conventions, beside those of `http_api` for errors, headers and pages:
//!
//! - A list is a JSON array in a stated order, with its next page in the `Link` header.
//! - `on` asks about an instant, or about a London date, which means its first instant. On days to
//!   come, planned handovers hold.
//! - `known-at` asks what was known at a position, an instant or the end of a London date. It may
//!   be combined with `on`. The answers are made in `past`.
//! - A number that was merged answers with the survivor.
//! - A vacant role is an answer.

mod answer;
mod cases;
mod compatible;
mod error_problem;
mod events;
mod handover_dates;
mod handovers;
mod history;
mod known_prison;
mod nomis_contacts;
mod officer;
mod openapi_conventions;
mod parameters;
mod periods;
mod pom_cases;
mod poms;
mod position_at_least;
mod projections;
mod responsibilities;
mod responsibility;
mod statistics;
mod subject_access;
mod unallocated;

use axum::{Router, middleware};
use utoipa::{Modify as _, OpenApi};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::{cases::case_item, periods::responsibility_period, responsibility::responsibility_at};

use self::openapi_conventions::Conventions;
use crate::QueryState;

/// Every route of the query side. The path and the method are beside the handler; one line here
/// both serves and describes it. The handler's name is the id of the operation: `get_…`, or
/// `list_…` where the answer is a list, or `find_…` or `calculate_…` where the question has a body.
fn routes() -> OpenApiRouter<QueryState> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(responsibility::get_responsibility))
        .routes(routes!(periods::list_responsibility_periods))
        .routes(routes!(history::list_history_entries))
        .routes(routes!(history::get_history_entry))
        .routes(routes!(responsibilities::find_responsibilities))
        .routes(routes!(cases::list_prison_cases))
        .routes(routes!(unallocated::list_unallocated_cases))
        .routes(routes!(handovers::get_handovers))
        .routes(routes!(poms::list_poms))
        .routes(routes!(pom_cases::list_pom_cases))
        .routes(routes!(nomis_contacts::list_prison_nomis_contacts))
        .routes(routes!(nomis_contacts::list_nomis_contacts))
        .routes(routes!(statistics::list_monthly_statistics))
        .routes(routes!(events::list_events))
        .routes(routes!(projections::list_projections))
        .routes(routes!(handover_dates::calculate_handover_dates))
        .routes(routes!(subject_access::get_subject_access_answer))
        .routes(routes!(compatible::allocation::get_live_allocation))
        .routes(routes!(compatible::allocation::get_live_primary_pom))
        .routes(routes!(compatible::handover::get_live_handover))
        .routes(routes!(compatible::active_allocations::find_first_api_allocations))
        .routes(routes!(compatible::poms::get_first_api_poms))
        .routes(routes!(compatible::status::get_first_api_status))
}

/// The HTTP API of a query side.
pub fn router(state: QueryState) -> Router {
    Router::from(routes())
        .layer(middleware::from_fn_with_state(state.clone(), known_prison::refuse_unknown_prison))
        .layer(middleware::from_fn_with_state(state.clone(), position_at_least::wait_for_position))
        .layer(middleware::from_fn(answer::answer_not_modified))
        .with_state(state)
}

/// The OpenAPI description of the HTTP API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut openapi = routes().into_openapi();
    Conventions.modify(&mut openapi);
    openapi
}

#[derive(OpenApi)]
struct Description;
