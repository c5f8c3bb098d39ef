//! `DELETE /prisoners/{prisonerNumber}/co-workers/current`: end the co-working POM's role.

use axum::extract::State;
use domain::{identifier::PrisonerNumber, prisoner};
use http_api::{CommandHeaders, PathParams, Problem};

use super::{
    CommandBody, CommandResponses, HeaderParams, IfMatchParam, OnlyEffectiveAtBody, RecordedResponse, record_on_case,
};
use crate::Service;

/// End the co-working POM's role.
#[utoipa::path(
    delete, path = "/prisoners/{prisonerNumber}/co-workers/current", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1001AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = Option<OnlyEffectiveAtBody>, example = json!({})),
    responses(CommandResponses),
)]
pub(super) async fn remove_coworker(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<OnlyEffectiveAtBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "remove-coworker", |body| {
        (prisoner::Command::RemoveCoworker, body.effective_at)
    })
    .await
}
