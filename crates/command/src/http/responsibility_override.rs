//! `PUT /prisoners/{prisonerNumber}/responsibility-override`: decide against the plan who is
//! responsible.

use axum::extract::State;
use domain::{
    identifier::PrisonerNumber,
    moment::Instant,
    prisoner::{self, ResponsibilityOverridden, ResponsibilityOverrideReason, ResponsibleService},
    text::Lines,
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_case};
use crate::Service;

/// The responsible service, and the reason for the override.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = OverrideResponsibility)]
pub(super) struct OverrideResponsibilityBody {
    /// `PRISON`: the POM; `PROBATION`: the COM.
    responsible: ResponsibleService,
    /// The reason; `OTHER` needs a detail.
    reason: ResponsibilityOverrideReason,
    /// The reason in words; goes with `OTHER`.
    #[schema(value_type = Option<domain::openapi::Detail>)]
    detail: Option<Lines>,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// Decide against the plan who is responsible.
#[utoipa::path(
    put, path = "/prisoners/{prisonerNumber}/responsibility-override", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1010AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(
        content = OverrideResponsibilityBody,
        example = json!({"responsible": "PROBATION", "reason": "OTHER", "detail": "Agreed with the community team"}),
    ),
    responses(CommandResponses),
)]
pub(super) async fn override_responsibility(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<OverrideResponsibilityBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "override-responsibility", |body| {
        (
            prisoner::Command::OverrideResponsibility(ResponsibilityOverridden {
                responsible: body.responsible,
                reason: body.reason,
                detail: body.detail.map(Into::into),
            }),
            body.effective_at,
        )
    })
    .await
}
