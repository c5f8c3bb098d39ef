//! The HTTP API of the command side: one file per operation, with its body, its description and its handler.
//!
//! Every operation reads a body, makes a command of it, and hands it on ([`record_on_case`], [`record_on_prison`]);
//! what it answers is the same for all ([`Recorded`], [`problem()`]). The conventions shared with the query side are in
//! `http_api`.

mod allocation;
mod answer;
mod body;
mod bulk_reallocation;
mod choice;
mod community_manager;
mod community_manager_removal;
mod coworker;
mod coworker_removal;
mod deallocation;
mod first_allocation;
mod handover_plan;
mod merge;
mod nomis_contact;
mod nomis_contact_removal;

mod error_problem;
mod onboarding;
mod pom_details;
mod pom_registration;
mod pom_status;
mod reallocation;
mod release;
mod responsibility_override;
mod responsibility_override_removal;
mod strict_object;
mod text;
mod tier;
mod transfer;
mod void;

use axum::{
    Router,
    routing::{delete, patch, post, put},
};
use chrono::{DateTime, Utc};
use domain::{
    Command,
    event::RecordedBy,
    identifier::{PrisonCode, PrisonerNumber},
    prison, prisoner,
};
use http_api::{CommandHeaders, Problem, problem::Fault};
use utoipa::OpenApi;

use self::{
    answer::{CommandAnswers, HeaderParams, IfMatch, Recorded},
    body::{Body, OnlyEffectiveAt},
    error_problem::problem,
};
use crate::{Request, Service};

/// Every route of the command side.
pub fn router(service: Service) -> Router {
    Router::new()
        .route("/prisons/{code}/onboarding", post(onboarding::join_omic))
        .route("/prisons/{code}/poms", post(pom_registration::register_pom))
        .route("/prisons/{code}/poms/{staffId}", patch(pom_details::change_pom_details))
        .route("/prisons/{code}/poms/{staffId}/status", put(pom_status::change_pom_status))
        .route("/prisons/{code}/nomis-contacts", post(nomis_contact::record_nomis_contact))
        .route(
            "/prisons/{code}/nomis-contacts/{id}/removal",
            post(nomis_contact_removal::confirm_nomis_contact_removal),
        )
        .route("/prisons/{code}/reallocations", post(bulk_reallocation::reallocate_in_bulk))
        .route("/prisoners/{n}/tier", post(tier::assign_tier))
        .route("/prisoners/{n}/allocations", post(allocation::allocate))
        .route("/prisoners/{n}/reallocations", post(reallocation::reallocate))
        .route("/prisoners/{n}/deallocations", post(deallocation::deallocate))
        .route("/prisoners/{n}/co-workers", post(coworker::allocate_coworker))
        .route("/prisoners/{n}/co-workers/current", delete(coworker_removal::remove_coworker))
        .route(
            "/prisoners/{n}/community-manager",
            put(community_manager::assign_community_manager)
                .delete(community_manager_removal::remove_community_manager),
        )
        .route("/prisoners/{n}/handover-plans", post(handover_plan::plan_handover))
        .route(
            "/prisoners/{n}/responsibility-override",
            put(responsibility_override::override_responsibility)
                .delete(responsibility_override_removal::remove_responsibility_override),
        )
        .route("/prisoners/{n}/releases", post(release::release))
        .route("/prisoners/{n}/transfers", post(transfer::transfer))
        .route("/prisoners/{n}/voids", post(void::void_entry))
        .route("/prisoners/{n}/merges", post(merge::merge_number))
        .route("/allocation", post(first_allocation::allocate))
        .with_state(service)
}

/// The OpenAPI description of these routes.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

#[derive(OpenApi)]
#[openapi(
    paths(
        onboarding::join_omic,
        pom_registration::register_pom,
        pom_details::change_pom_details,
        pom_status::change_pom_status,
        nomis_contact::record_nomis_contact,
        nomis_contact_removal::confirm_nomis_contact_removal,
        bulk_reallocation::reallocate_in_bulk,
        tier::assign_tier,
        allocation::allocate,
        reallocation::reallocate,
        deallocation::deallocate,
        coworker::allocate_coworker,
        coworker_removal::remove_coworker,
        community_manager::assign_community_manager,
        community_manager_removal::remove_community_manager,
        handover_plan::plan_handover,
        responsibility_override::override_responsibility,
        responsibility_override_removal::remove_responsibility_override,
        release::release,
        transfer::transfer,
        void::void_entry,
        merge::merge_number,
        first_allocation::allocate,
    ),
    components(schemas(answer::RecordedEvents, http_api::problem::Document)),
    tags(
        (name = "Cases", description = "What happens to a case"),
        (name = "Prisons", description = "A prison's roster and its move onto OMiC"),
        (name = "First allocation API", description = "As the allocation API of 2019 took and answered it"),
    ),
)]
struct Description;

async fn record_on_case<T>(
    service: &Service,
    number: PrisonerNumber,
    headers: CommandHeaders,
    body: Body<T>,
    operation: &str,
    command: impl FnOnce(T) -> (prisoner::Command, Option<DateTime<Utc>>),
) -> Result<Recorded, Problem> {
    let request_digest = body.digest(operation);
    let (command, effective_at) = command(body.fields);
    record(service, headers, Command::Prisoner(number, command), effective_at, request_digest).await
}

async fn record_on_prison<T>(
    service: &Service,
    code: PrisonCode,
    headers: CommandHeaders,
    body: Body<T>,
    operation: &str,
    command: impl FnOnce(T) -> (prison::Command, Option<DateTime<Utc>>),
) -> Result<Recorded, Problem> {
    let request_digest = body.digest(operation);
    let (command, effective_at) = command(body.fields);
    record(service, headers, Command::Prison(code, command), effective_at, request_digest).await
}

async fn record(
    service: &Service,
    headers: CommandHeaders,
    command: Command,
    effective_at: Option<DateTime<Utc>>,
    request_digest: String,
) -> Result<Recorded, Problem> {
    let command_id = headers.command_id;
    let request = Request {
        command,
        command_id,
        request_digest,
        correlation_id: headers.correlation_id,
        causation_id: None,
        effective_at,
        if_match: headers.if_match,
        recorded_by: recorded_by(service, headers),
    };
    let outcome = service.execute(request).await.map_err(problem)?;
    Ok(Recorded { command_id, outcome })
}

/// Refuses to be pinned to a revision, for what concerns several streams: passing over the pin would be worse.
fn refuse_if_match(headers: &CommandHeaders) -> Result<(), Problem> {
    match headers.if_match {
        None => Ok(()),
        Some(_) => Err(Problem::fault(
            "header-invalid",
            Fault::header("if-match", "this request concerns several streams, so there is no one revision to match"),
        )),
    }
}

/// Who records: who the caller says, where no authentication is configured, or else the local user.
fn recorded_by(service: &Service, headers: CommandHeaders) -> RecordedBy {
    RecordedBy { username: headers.recorded_by.unwrap_or_else(|| service.local_user().clone()), client: headers.client }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Collects the references in a part of the document.
    fn references(part: &Value, found: &mut Vec<String>) {
        match part {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(members) => members.iter().for_each(|member| references(member, found)),
            _ => {}
        }
    }

    #[test]
    fn the_description_is_whole() {
        let document = serde_json::to_value(openapi()).expect("JSON");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        let paths = document["paths"].as_object().expect("paths");
        let operations: usize = paths.values().map(|path| path.as_object().map_or(0, |path| path.len())).sum();
        assert_eq!(operations, 23, "{:?}", paths.keys());
        for operation in paths.values().filter_map(Value::as_object).flat_map(|path| path.values()) {
            assert!(operation["summary"].is_string() && operation["responses"]["422"].is_object(), "{operation}");
        }
    }

    /// What concerns several streams has an answer of its own, and no revision to insist on.
    #[test]
    fn what_concerns_several_streams_is_described_as_it_answers() {
        let document = serde_json::to_value(openapi()).expect("JSON");
        for (path, answer) in [("/prisons/{code}/reallocations", "BulkAnswer"), ("/allocation", "FirstAnswer")] {
            let operation = &document["paths"][path]["post"];
            let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(schema, &Value::from(format!("#/components/schemas/{answer}")), "{path}");
            assert!(operation["responses"]["412"].is_null() && !operation.to_string().contains("If-Match"), "{path}");
        }
        let one = &document["paths"]["/prisoners/{n}/tier"]["post"];
        assert!(one["responses"]["412"].is_object() && one.to_string().contains("If-Match"), "{one}");
    }
}
