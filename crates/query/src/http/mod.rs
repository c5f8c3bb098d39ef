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
//! - A caller that is confined to prisons gets no case of another (`own_cases`).

mod access_log;
mod answer;
mod cases;
mod compatible;
mod control_reports;
mod error_problem;
mod events;
mod handover_dates;
mod handovers;
mod history;
mod known_prison;
mod nomis_contacts;
mod officer;
mod openapi_conventions;
mod own_cases;
mod parameters;
mod periods;
mod pom_cases;
mod poms;
mod position_at_least;
mod projections;
mod read_recording;
mod readable_codes;
mod responsibilities;
mod responsibility;
mod statistics;
mod subject_access;
mod subject_access_template;
mod suggestions;
mod unallocated;

use axum::middleware;
use http_api::{Access, GuardedRouter};
use utoipa::OpenApi;
use utoipa_axum::routes;

pub use self::{
    access_log::{recorded_read, shown_by as shown_by_access_log},
    cases::case_item,
    periods::responsibility_period,
    responsibility::responsibility_at,
};

use self::openapi_conventions::Conventions;
use crate::QueryState;

/// Every route of the query side. The path and the method are beside the handler; one line here
/// serves and describes it, and says who may use it. The handler's name is the id of the operation:
/// `get_…`, or `list_…` where the answer is a list, or `find_…` or `calculate_…` where the question
/// has a body.
fn routes() -> GuardedRouter<QueryState> {
    GuardedRouter::new(Description::openapi())
        .described(Access::Questions, routes!(responsibility::get_responsibility))
        .described(Access::Questions, routes!(periods::list_responsibility_periods))
        .described(Access::Questions, routes!(history::list_history_entries))
        .described(Access::Questions, routes!(history::get_history_entry))
        .described(Access::Questions, routes!(responsibilities::find_responsibilities))
        .described(Access::Questions, routes!(cases::list_prison_cases))
        .described(Access::Questions, routes!(unallocated::list_unallocated_cases))
        .described(Access::Questions, routes!(suggestions::get_allocation_suggestions))
        .described(Access::Questions, routes!(handovers::get_handovers))
        .described(Access::Questions, routes!(poms::list_poms))
        .described(Access::Questions, routes!(pom_cases::list_pom_cases))
        .described(Access::Questions, routes!(nomis_contacts::list_prison_nomis_contacts))
        .described(Access::Questions, routes!(nomis_contacts::list_nomis_contacts))
        .described(Access::Questions, routes!(statistics::list_monthly_statistics))
        .described(Access::Feed, routes!(events::list_events))
        .described(Access::Views, routes!(projections::list_projections))
        .described(Access::AccessLog, routes!(access_log::list_access_log_entries))
        .described(Access::ControlReports, routes!(control_reports::list_control_counts))
        .described(Access::ControlReports, routes!(control_reports::list_control_entries))
        .described(Access::Questions, routes!(handover_dates::calculate_handover_dates))
        .described(Access::SubjectAccess, routes!(subject_access::get_subject_access_answer))
        .described(Access::SubjectAccess, routes!(subject_access_template::get_subject_access_template))
        .described(Access::LiveService, routes!(compatible::allocation::get_live_allocation))
        .described(Access::LiveService, routes!(compatible::allocation::get_live_primary_pom))
        .described(Access::LiveService, routes!(compatible::handover::get_live_handover))
        .described(Access::FirstApiQuestions, routes!(compatible::active_allocations::find_first_api_allocations))
        .described(Access::FirstApiQuestions, routes!(compatible::poms::get_first_api_poms))
        .described(Access::FirstApiQuestions, routes!(compatible::status::get_first_api_status))
        .modify_openapi(&Conventions)
}

/// The HTTP API of a query side.
pub fn router(state: QueryState) -> GuardedRouter {
    routes().map(|router| {
        router
            .layer(middleware::from_fn_with_state(state.clone(), own_cases::refuse_other_case))
            .layer(middleware::from_fn_with_state(state.clone(), known_prison::refuse_unknown_prison))
            .layer(middleware::from_fn_with_state(state.clone(), position_at_least::wait_for_position))
            .layer(middleware::from_fn(answer::answer_not_modified))
            .layer(middleware::from_fn_with_state(state.clone(), read_recording::record_read))
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
