//! `POST /prisoners/{prisonerNumber}/transfers`: the person went to another prison.

use axum::extract::State;
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    moment::Instant,
    prisoner,
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_case};
use crate::Service;

/// A transfer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Transfer)]
pub(super) struct TransferBody {
    /// The prison that the person went to.
    to_prison: PrisonCode,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// The person went to another prison: both POM roles end, and the case waits there.
#[utoipa::path(
    post, path = "/prisoners/{prisonerNumber}/transfers", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1011AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = TransferBody, example = json!({"toPrison": "MDI"})),
    responses(CommandResponses),
)]
pub(super) async fn transfer(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<TransferBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "transfer", |body| {
        (prisoner::Command::Transfer(prisoner::Transfer { to_prison: body.to_prison }), body.effective_at)
    })
    .await
}
