//! The HTTP API of the query side: one file per operation, with its types, its description and its handler.
//!
//! Conventions: a list is a JSON array in a stated order, its next page in the `Link` header; `on` asks about an instant
//! or a London date, which stands for its first instant, and planned handovers hold on days to come; `known-at` asks what was
//! known at a position, an instant or the end of a London date (`past`), and goes with `on`; a number that was
//! merged answers with the survivor; a role that nobody fills is an answer. What is known of errors, headers and pages
//! beyond that is in `http_api`.

mod answer;
mod cases;
mod compatible;
mod events;
mod handover_dates;
mod handovers;
mod history;
mod nomis_contacts;
mod officer;
mod openapi_conventions;
mod parameters;
mod periods;
mod pom_cases;
mod poms;
mod position_at_least;
mod problem;
mod projections;
mod responsibilities;
mod responsibility;
mod statistics;
mod subject_access;
mod unallocated;

use axum::{
    Router, middleware,
    routing::{get, post},
};
use utoipa::OpenApi;

pub use self::periods::responsibility_period;

use self::openapi_conventions::Conventions;
use crate::State;

/// Every route of the query side.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/prisoners/{n}/responsibility", get(responsibility::responsibility))
        .route("/prisoners/{n}/responsibility/periods", get(periods::responsibility_periods))
        .route("/prisoners/{n}/history", get(history::history))
        .route("/prisoners/{n}/history/{revision}", get(history::history_entry))
        .route("/responsibilities", post(responsibilities::responsibilities))
        .route("/prisons/{code}/cases", get(cases::prison_cases))
        .route("/prisons/{code}/unallocated", get(unallocated::unallocated))
        .route("/prisons/{code}/handovers", get(handovers::handovers))
        .route("/prisons/{code}/poms", get(poms::poms))
        .route("/poms/{staffId}/cases", get(pom_cases::pom_cases))
        .route("/prisons/{code}/nomis-contacts", get(nomis_contacts::prison_nomis_contacts))
        .route("/nomis-contacts", get(nomis_contacts::nomis_contacts))
        .route("/prisons/{code}/statistics", get(statistics::statistics))
        .route("/events", get(events::events))
        .route("/projections", get(projections::projections))
        .route("/handover-dates", post(handover_dates::handover_dates))
        .route("/subject-access-request", get(subject_access::subject_access_request))
        .route("/api/allocation/{n}", get(compatible::allocation::allocation))
        .route("/api/allocation/{n}/primary_pom", get(compatible::allocation::primary_pom))
        .route("/api/handovers/{n}", get(compatible::handover::handover))
        .route("/allocation/active", post(compatible::active_allocations::active_allocations))
        .route("/poms/{ids}", get(compatible::poms::poms_by_ids))
        .route("/status", get(compatible::status::status))
        .layer(middleware::from_fn_with_state(state.clone(), position_at_least::wait_for_position))
        .layer(middleware::from_fn(answer::answer_not_modified))
        .with_state(state)
}

/// The OpenAPI description of these routes.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

#[derive(OpenApi)]
#[openapi(
    modifiers(&Conventions),
    paths(
        responsibility::responsibility,
        periods::responsibility_periods,
        history::history,
        history::history_entry,
        responsibilities::responsibilities,
        cases::prison_cases,
        unallocated::unallocated,
        handovers::handovers,
        poms::poms,
        pom_cases::pom_cases,
        nomis_contacts::prison_nomis_contacts,
        nomis_contacts::nomis_contacts,
        statistics::statistics,
        events::events,
        projections::projections,
        handover_dates::handover_dates,
        subject_access::subject_access_request,
        compatible::allocation::allocation,
        compatible::allocation::primary_pom,
        compatible::handover::handover,
        compatible::active_allocations::active_allocations,
        compatible::poms::poms_by_ids,
        compatible::status::status,
    ),
    tags(
        (name = "Answers", description = "Who is responsible, and everything around it."),
        (name = "Live service", description = "As the live \"Manage POM cases\" service answers, for its clients."),
        // "First allocation API" is declared by the command side, which takes a request of it: a name stands only once in
        // the document of both.
    ),
)]
struct Description;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The route table and the description are two lists; this holds them together, as far as paths go.
    #[test]
    fn every_route_is_described() {
        let source = include_str!("mod.rs");
        let table =
            source.split("Router::new()").nth(1).and_then(|rest| rest.split(".layer").next()).unwrap_or_default();
        let routes: BTreeSet<&str> =
            table.split(".route(").skip(1).filter_map(|route| route.split('"').nth(1)).collect();
        let document = super::openapi();
        let described: BTreeSet<&str> = document.paths.paths.keys().map(String::as_str).collect();
        assert!(!routes.is_empty());
        assert_eq!(described, routes);
    }
}
