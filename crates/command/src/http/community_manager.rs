//! `PUT /prisoners/{prisonerNumber}/community-manager`: name the COM.

use axum::extract::State;
use domain::{identifier::PrisonerNumber, moment::Instant, officer, prisoner, text::Text};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_case};
use crate::Service;

/// A COM.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = CommunityManager)]
pub(super) struct CommunityManagerBody {
    /// "Surname, Forename".
    name: Text,
    /// Work e-mail address.
    email: Option<Text>,
    /// Probation team.
    team: Option<Text>,
    /// Local delivery unit (LDU).
    ldu: Option<Text>,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// Name the COM.
#[utoipa::path(
    put, path = "/prisoners/{prisonerNumber}/community-manager", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1198AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(
        content = CommunityManagerBody,
        example = json!({"name": "Shah, Priya", "email": "shah@probation.example", "team": "Leeds B", "ldu": "West Yorkshire"}),
    ),
    responses(CommandResponses),
)]
pub(super) async fn assign_community_manager(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<CommunityManagerBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "assign-community-manager", |body| {
        (
            prisoner::Command::AssignCommunityManager(officer::CommunityManager {
                name: body.name.into(),
                email: body.email.map(Into::into),
                team: body.team.map(Into::into),
                ldu: body.ldu.map(Into::into),
            }),
            body.effective_at,
        )
    })
    .await
}
