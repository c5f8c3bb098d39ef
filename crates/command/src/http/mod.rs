//! The HTTP API of the command side: one file per operation, with its body, its description and its
//! handler.
//!
//! A handler reads a body, makes a command of it, and calls the service ([`record_on_case`],
//! [`record_on_prison`]) or one of [`crate::operations`]. The answers are the same for all
//! ([`RecordedResponse`], `error_problem`). The conventions shared with the query side are in
//! `http_api`.

mod allocation;
mod answer;
mod bulk_reallocation;
mod choice;
mod command_body;
mod community_manager;
mod community_manager_removal;
mod coworker;
mod coworker_removal;
mod deallocation;
mod error_problem;
mod first_api_allocation;
mod go_live_date;
mod handover_plan;
mod merge;
mod nomis_contact;
mod nomis_contact_removal;
mod onboarding;
mod pom_details;
mod pom_registration;
mod pom_status;
mod reallocation;
mod reception;
mod release;
mod responsibility_override;
mod responsibility_override_removal;
mod strict_object;
mod tier;
mod transfer;
mod void;

use domain::{
    Command,
    identifier::{PrisonCode, PrisonerNumber},
    moment::Instant,
    prison, prisoner,
};
use http_api::{Access, CommandHeaders, GuardedRouter, Problem};
use utoipa::OpenApi;
use utoipa_axum::routes;

use self::{
    answer::{CommandResponses, HeaderParams, IfMatchParam, RecordedResponse},
    command_body::{CommandBody, OnlyEffectiveAtBody},
};
use crate::{Request, RequestDigest, Service};

/// Every route of the command side. The path and the method are beside the handler; one line here
/// serves and describes it, and says who may use it. The handler's name is the id of the operation:
/// what is done, and to what.
fn routes() -> GuardedRouter<Service> {
    GuardedRouter::new(Description::openapi())
        .described(Access::Commands, routes!(onboarding::join_omic))
        .described(Access::Commands, routes!(go_live_date::correct_go_live_date))
        .described(Access::Commands, routes!(pom_registration::register_pom))
        .described(Access::Commands, routes!(pom_details::change_pom_details))
        .described(Access::Commands, routes!(pom_status::change_pom_status))
        .described(Access::Commands, routes!(nomis_contact::record_nomis_contact))
        .described(Access::Commands, routes!(nomis_contact_removal::confirm_nomis_contact_removal))
        .described(Access::Commands, routes!(bulk_reallocation::reallocate_in_bulk))
        .described(Access::Commands, routes!(reception::receive))
        .described(Access::Commands, routes!(tier::assign_tier))
        .described(Access::Commands, routes!(allocation::allocate))
        .described(Access::Commands, routes!(reallocation::reallocate))
        .described(Access::Commands, routes!(deallocation::deallocate))
        .described(Access::Commands, routes!(coworker::allocate_coworker))
        .described(Access::Commands, routes!(coworker_removal::remove_coworker))
        .described(Access::Commands, routes!(community_manager::assign_community_manager))
        .described(Access::Commands, routes!(community_manager_removal::remove_community_manager))
        .described(Access::Commands, routes!(handover_plan::plan_handover))
        .described(Access::Commands, routes!(responsibility_override::override_responsibility))
        .described(Access::Commands, routes!(responsibility_override_removal::remove_responsibility_override))
        .described(Access::Commands, routes!(release::release))
        .described(Access::Commands, routes!(transfer::transfer))
        .described(Access::Commands, routes!(void::void_entry))
        .described(Access::Commands, routes!(merge::merge_number))
        .described(Access::FirstApiCommands, routes!(first_api_allocation::allocate_by_first_api))
}

/// The HTTP API of a command side.
pub fn router(service: Service) -> GuardedRouter {
    routes().map(|router| router.with_state(service))
}

/// The OpenAPI description of the HTTP API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().openapi().clone()
}

#[derive(OpenApi)]
#[openapi(components(schemas(answer::RecordedEvents, http_api::problem::ProblemDocument)))]
struct Description;

async fn record_on_case<T>(
    service: &Service,
    number: PrisonerNumber,
    headers: CommandHeaders,
    body: CommandBody<T>,
    operation: &str,
    command: impl FnOnce(T) -> (prisoner::Command, Option<Instant>),
) -> Result<RecordedResponse, Problem> {
    let (command, effective_at) = command(body.fields);
    let request_digest = body.path.digest(operation, &(&command, effective_at));
    record(service, headers, Command::Prisoner(number, command), effective_at, request_digest).await
}

async fn record_on_prison<T>(
    service: &Service,
    code: PrisonCode,
    headers: CommandHeaders,
    body: CommandBody<T>,
    operation: &str,
    command: impl FnOnce(T) -> (prison::Command, Option<Instant>),
) -> Result<RecordedResponse, Problem> {
    let (command, effective_at) = command(body.fields);
    let request_digest = body.path.digest(operation, &(&command, effective_at));
    record(service, headers, Command::Prison(code, command), effective_at, request_digest).await
}

async fn record(
    service: &Service,
    headers: CommandHeaders,
    command: Command,
    effective_at: Option<Instant>,
    request_digest: RequestDigest,
) -> Result<RecordedResponse, Problem> {
    let (command_id, texts) = (headers.command_id, headers.scope.texts.clone());
    let outcome = service.execute(request(headers, command, effective_at, request_digest)).await?;
    Ok(RecordedResponse { command_id, outcome, texts })
}

/// The request of a command that a caller has sent.
fn request(
    headers: CommandHeaders,
    command: Command,
    effective_at: Option<Instant>,
    request_digest: RequestDigest,
) -> Request {
    Request {
        command,
        command_id: headers.command_id,
        request_digest,
        correlation_id: headers.correlation_id,
        causation_id: None,
        provenance: None,
        effective_at: effective_at.map(Into::into),
        if_match: headers.if_match,
        recorded_by: headers.recorded_by,
        confinement: headers.scope.confinement,
    }
}

/// Refuses an `If-Match` header on a request that concerns several streams.
fn refuse_if_match(headers: &CommandHeaders) -> Result<(), Problem> {
    headers.refuse_if_match("this request concerns several streams, so there is no one revision to match")
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
    fn every_reference_in_the_description_leads_to_a_schema() {
        let document = serde_json::to_value(openapi()).expect("JSON");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        let paths = document["paths"].as_object().expect("paths");
        for operation in paths.values().filter_map(Value::as_object).flat_map(|path| path.values()) {
            assert!(operation["summary"].is_string() && operation["responses"]["422"].is_object(), "{operation}");
        }
    }

    #[test]
    fn requests_on_several_streams_have_their_own_answers_and_no_if_match() {
        let document = serde_json::to_value(openapi()).expect("JSON");
        for (path, answer) in [("/prisons/{prisonCode}/reallocations", "BulkAnswer"), ("/allocation", "FirstAnswer")] {
            let operation = &document["paths"][path]["post"];
            let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(schema, &Value::from(format!("#/components/schemas/{answer}")), "{path}");
            assert!(operation["responses"]["412"].is_null() && !operation.to_string().contains("If-Match"), "{path}");
        }
        let one = &document["paths"]["/prisoners/{prisonerNumber}/tier"]["post"];
        assert!(one["responses"]["412"].is_object() && one.to_string().contains("If-Match"), "{one}");
    }
}
