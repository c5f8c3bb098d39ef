//! `PUT /prisons/{prisonCode}/poms/{staffId}/status`: change a POM's status.

use axum::extract::State;
use domain::{
    identifier::{PrisonCode, StaffId},
    moment::{Date, Instant},
    officer::PomStatus,
    prison::{self, PomStatusChanged},
    text::ReasonText,
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_prison};
use crate::Service;

/// A status.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ChangePomStatus)]
pub(super) struct ChangePomStatusBody {
    /// `ACTIVE`, `UNAVAILABLE` (takes no new cases) or `INACTIVE` (holds no cases: each is
    /// deallocated).
    status: PomStatus,
    /// For `UNAVAILABLE`: the London day on which the POM is expected back, where known.
    #[schema(value_type = Option<domain::openapi::LondonDate>)]
    returns_on: Option<Date>,
    /// Why the status changes.
    reason: Option<ReasonText>,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// Change a POM's status.
#[utoipa::path(
    put, path = "/prisons/{prisonCode}/poms/{staffId}/status", tag = "Commands to a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        ("staffId" = inline(StaffId), Path, description = "NOMIS staff id", example = 485_967),
        HeaderParams,
        IfMatchParam,
    ),
    request_body(content = ChangePomStatusBody, example = json!({"status": "UNAVAILABLE", "reason": "Long leave"})),
    responses(CommandResponses),
)]
pub(super) async fn change_pom_status(
    State(service): State<Service>,
    PathParams((code, staff_id)): PathParams<(PrisonCode, StaffId)>,
    headers: CommandHeaders,
    body: CommandBody<ChangePomStatusBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_prison(&service, code, headers, body, "change-pom-status", |body| {
        (
            prison::Command::ChangePomStatus(PomStatusChanged {
                staff_id,
                status: body.status,
                returns_on: body.returns_on.map(Into::into),
                reason: body.reason.map(Into::into),
            }),
            body.effective_at,
        )
    })
    .await
}
