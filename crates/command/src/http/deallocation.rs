//! `POST /prisoners/{prisonerNumber}/deallocations`: end both POM roles.

use axum::extract::State;
use domain::{
    identifier::PrisonerNumber,
    moment::Instant,
    prisoner::{self, DeallocationTrigger},
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_case};
use crate::Service;

/// A deallocation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Deallocate)]
pub(super) struct DeallocateBody {
    /// The event that ends the roles.
    trigger: Trigger,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// The event that ends the roles; the other triggers have requests of their own.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Trigger {
    /// Ended by hand.
    Manual,
    /// No longer of a legal status that has an offender manager: the handover plan and override end
    /// too.
    LegalStatusChanged,
}

/// End both POM roles.
#[utoipa::path(
    post, path = "/prisoners/{prisonerNumber}/deallocations", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1004AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = DeallocateBody, example = json!({"trigger": "MANUAL"})),
    responses(CommandResponses),
)]
pub(super) async fn deallocate(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<DeallocateBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "deallocate", |body| {
        let trigger = match body.trigger {
            Trigger::Manual => DeallocationTrigger::Manual,
            Trigger::LegalStatusChanged => DeallocationTrigger::LegalStatusChanged,
        };
        (prisoner::Command::Deallocate(prisoner::Deallocate { trigger }), body.effective_at)
    })
    .await
}
