//! `POST /prisoners/{prisonerNumber}/releases`: the person was released.

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

/// A release.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Release)]
pub(super) struct ReleaseBody {
    /// The prison; checked against the prison at which the ledger knows the case to be held.
    prison: Option<PrisonCode>,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// The person was released: POM roles, handover plan and override end.
#[utoipa::path(
    post, path = "/prisoners/{prisonerNumber}/releases", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1007AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = Option<ReleaseBody>, example = json!({"prison": "LEI"})),
    responses(CommandResponses),
)]
pub(super) async fn release(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<ReleaseBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "release", |body| {
        (prisoner::Command::Release(prisoner::Release { prison: body.prison }), body.effective_at)
    })
    .await
}
