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

use axum::middleware;
use http_api::{Access, GuardedRouter};
use utoipa::OpenApi;
use utoipa_axum::routes;

pub use self::periods::responsibility_period;

use self::openapi_conventions::Conventions;
use crate::QueryState;

/// Every route of the query side. The path and the method are beside the handler; one line here
/// serves and describes it, and says who may use it.
fn routes() -> GuardedRouter<QueryState> {
    GuardedRouter::new(Description::openapi())
        .described(Access::Questions, routes!(responsibility::responsibility))
        .described(Access::Questions, routes!(periods::responsibility_periods))
        .described(Access::Questions, routes!(history::history))
        .described(Access::Questions, routes!(history::history_entry))
        .described(Access::Questions, routes!(responsibilities::responsibilities))
        .described(Access::Questions, routes!(cases::prison_cases))
        .described(Access::Questions, routes!(unallocated::unallocated))
        .described(Access::Questions, routes!(handovers::handovers))
        .described(Access::Questions, routes!(poms::poms))
        .described(Access::Questions, routes!(pom_cases::pom_cases))
        .described(Access::Questions, routes!(nomis_contacts::prison_nomis_contacts))
        .described(Access::Questions, routes!(nomis_contacts::nomis_contacts))
        .described(Access::Questions, routes!(statistics::statistics))
        .described(Access::Feed, routes!(events::events))
        .described(Access::Views, routes!(projections::projections))
        .described(Access::Questions, routes!(handover_dates::handover_dates))
        .described(Access::SubjectAccess, routes!(subject_access::subject_access_request))
        .described(Access::LiveService, routes!(compatible::allocation::allocation))
        .described(Access::LiveService, routes!(compatible::allocation::primary_pom))
        .described(Access::LiveService, routes!(compatible::handover::handover))
        .described(Access::FirstApiQuestions, routes!(compatible::active_allocations::active_allocations))
        .described(Access::FirstApiQuestions, routes!(compatible::poms::poms_by_ids))
        .described(Access::FirstApiQuestions, routes!(compatible::status::status))
        .modify_openapi(&Conventions)
}

/// The HTTP API of a query side.
pub fn router(state: QueryState) -> GuardedRouter {
    routes().map(|router| {
        router
            .layer(middleware::from_fn_with_state(state.clone(), known_prison::refuse_unknown_prison))
            .layer(middleware::from_fn_with_state(state.clone(), position_at_least::wait_for_position))
            .layer(middleware::from_fn(answer::answer_not_modified))
            .with_state(state)
    })
}

/// The OpenAPI description of the HTTP API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().openapi().clone()
}

#[derive(OpenApi)]
struct Description;
