//! `POST /prisons/{prisonCode}/onboarding`: take a prison onto OMiC.

use axum::extract::State;
use domain::{
    identifier::PrisonCode,
    moment::{Date, Instant},
    prison::{self, Estate, PrisonJoinedOmic},
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_prison};
use crate::Service;

/// A prison's move onto OMiC.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = JoinOmic)]
pub(super) struct JoinOmicBody {
    /// First London day on which cases are allocated here.
    #[schema(value_type = domain::openapi::LondonDate)]
    go_live_date: Date,
    /// Kind of establishment.
    estate: Estate,
    /// Whether the prison is one that the program's list of prisons lacks.
    #[serde(default)]
    unlisted_prison: bool,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// Take a prison onto OMiC. Its code must be in the program's list of prisons, unless the request
/// says that it is unlisted.
#[utoipa::path(
    post, path = "/prisons/{prisonCode}/onboarding", tag = "Commands to a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "BXI"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = JoinOmicBody, example = json!({"goLiveDate": "2019-03-01", "estate": "MENS_CLOSED"})),
    responses(CommandResponses),
)]
pub(super) async fn join_omic(
    State(service): State<Service>,
    PathParams(code): PathParams<PrisonCode>,
    headers: CommandHeaders,
    body: CommandBody<JoinOmicBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_prison(&service, code, headers, body, "join-omic", |body| {
        let joined = PrisonJoinedOmic { go_live_date: body.go_live_date.into(), estate: body.estate };
        let command = match body.unlisted_prison {
            true => prison::Command::JoinOmicUnlisted(joined),
            false => prison::Command::JoinOmic(joined),
        };
        (command, body.effective_at)
    })
    .await
}
