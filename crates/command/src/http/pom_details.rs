//! `PATCH /prisons/{prisonCode}/poms/{staffId}`: change a POM's name, kind, working pattern or
//! e-mail address.

use axum::extract::State;
use domain::{
    identifier::{PrisonCode, StaffId},
    moment::Instant,
    officer::{PomKind, WorkingPattern},
    prison::{self, PomDetailsChanged},
    text::Text,
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_prison};
use crate::Service;

/// The details that change; an absent member stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ChangePomDetails)]
pub(super) struct ChangePomDetailsBody {
    /// "Surname, Forename".
    name: Option<Text>,
    /// Prison or probation POM.
    kind: Option<PomKind>,
    /// Share of full time, 0.1 to 1.0 in tenths.
    working_pattern: Option<WorkingPattern>,
    /// Work e-mail address.
    email: Option<Text>,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// Change a POM's name, kind, working pattern or e-mail address.
#[utoipa::path(
    patch, path = "/prisons/{prisonCode}/poms/{staffId}", tag = "Commands to a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        ("staffId" = inline(StaffId), Path, description = "NOMIS staff id", example = 485_926),
        HeaderParams,
        IfMatchParam,
    ),
    request_body(
        content = ChangePomDetailsBody,
        example = json!({"email": "grace.okafor@prison.example", "workingPattern": 0.8}),
    ),
    responses(CommandResponses),
)]
pub(super) async fn change_pom_details(
    State(service): State<Service>,
    PathParams((code, staff_id)): PathParams<(PrisonCode, StaffId)>,
    headers: CommandHeaders,
    body: CommandBody<ChangePomDetailsBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_prison(&service, code, headers, body, "change-pom-details", |body| {
        (
            prison::Command::ChangePomDetails(PomDetailsChanged {
                staff_id,
                name: body.name.map(Into::into),
                kind: body.kind,
                working_pattern: body.working_pattern,
                email: body.email.map(Into::into),
            }),
            body.effective_at,
        )
    })
    .await
}
