//! `DELETE /prisoners/{prisonerNumber}/responsibility-override`: take an override back.

use axum::extract::State;
use domain::{identifier::PrisonerNumber, prisoner};
use http_api::{CommandHeaders, PathParams, Problem};

use super::{
    CommandBody, CommandResponses, HeaderParams, IfMatchParam, OnlyEffectiveAtBody, RecordedResponse, record_on_case,
};
use crate::Service;

/// Take an override of responsibility back.
#[utoipa::path(
    delete, path = "/prisoners/{prisonerNumber}/responsibility-override", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1003AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = Option<OnlyEffectiveAtBody>, example = json!({})),
    responses(CommandResponses),
)]
pub(super) async fn remove_responsibility_override(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<OnlyEffectiveAtBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "remove-responsibility-override", |body| {
        (prisoner::Command::RemoveResponsibilityOverride, body.effective_at)
    })
    .await
}
