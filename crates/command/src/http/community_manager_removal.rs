//! `DELETE /prisoners/{prisonerNumber}/community-manager`: the COM no longer has the case.

use axum::extract::State;
use domain::{identifier::PrisonerNumber, prisoner};
use http_api::{CommandHeaders, PathParams, Problem};

use super::{
    CommandBody, CommandResponses, HeaderParams, IfMatchParam, OnlyEffectiveAtBody, RecordedResponse, record_on_case,
};
use crate::Service;

/// The COM no longer has the case.
#[utoipa::path(
    delete, path = "/prisoners/{prisonerNumber}/community-manager", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1003AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = Option<OnlyEffectiveAtBody>, example = json!({})),
    responses(CommandResponses),
)]
pub(super) async fn remove_community_manager(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<OnlyEffectiveAtBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "remove-community-manager", |body| {
        (prisoner::Command::RemoveCommunityManager, body.effective_at)
    })
    .await
}
