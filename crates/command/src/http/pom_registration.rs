//! `POST /prisons/{prisonCode}/poms`: put a POM on a prison's roster.

use axum::extract::State;
use domain::{
    identifier::{PrisonCode, StaffId},
    moment::Instant,
    officer::{PomKind, WorkingPattern},
    prison::{self, PomRegistered},
    text::Text,
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_prison};
use crate::Service;

/// A POM.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RegisterPom)]
pub(super) struct RegisterPomBody {
    /// NOMIS staff id.
    staff_id: StaffId,
    /// "Surname, Forename".
    name: Text,
    /// Prison or probation POM.
    kind: PomKind,
    /// Share of full time, 0.1 to 1.0 in tenths; absent, full time.
    working_pattern: Option<WorkingPattern>,
    /// Work e-mail address.
    email: Option<Text>,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// Put a POM on a prison's roster, with status `ACTIVE`.
#[utoipa::path(
    post, path = "/prisons/{prisonCode}/poms", tag = "Commands to a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        HeaderParams, IfMatchParam,
    ),
    request_body(
        content = RegisterPomBody,
        example = json!({"staffId": 490_001, "name": "Novak, Eva", "kind": "PROBATION", "workingPattern": 0.6}),
    ),
    responses(CommandResponses),
)]
pub(super) async fn register_pom(
    State(service): State<Service>,
    PathParams(code): PathParams<PrisonCode>,
    headers: CommandHeaders,
    body: CommandBody<RegisterPomBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_prison(&service, code, headers, body, "register-pom", |body| {
        (
            prison::Command::RegisterPom(PomRegistered {
                staff_id: body.staff_id,
                name: body.name.into(),
                kind: body.kind,
                working_pattern: body.working_pattern.unwrap_or(WorkingPattern::FULL_TIME),
                email: body.email.map(Into::into),
            }),
            body.effective_at,
        )
    })
    .await
}
