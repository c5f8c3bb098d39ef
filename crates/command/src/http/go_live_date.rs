//! `PUT /prisons/{prisonCode}/go-live-date`: correct the go-live date of a prison.

use axum::extract::State;
use domain::{
    Command,
    identifier::PrisonCode,
    moment::{Date, Instant},
    prison::{self, GoLiveCorrection},
    text::ReasonText,
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, request};
use crate::{Service, operations::go_live};

/// The right go-live date of a prison.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = GoLiveCorrection)]
pub(super) struct GoLiveDateBody {
    /// First London day on which cases are allocated here.
    #[schema(value_type = domain::openapi::LondonDate)]
    go_live_date: Date,
    /// Why the date before was wrong.
    reason: Option<ReasonText>,
    /// When the correction was made, in the past; absent, now. The date counts for all time either
    /// way.
    effective_at: Option<Instant>,
}

/// Correct the go-live date of a prison. The corrected date counts for all time. A later one is
/// refused while allocations at the prison are earlier, and the refusal names their cases.
#[utoipa::path(
    put, path = "/prisons/{prisonCode}/go-live-date", tag = "Commands to a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        HeaderParams, IfMatchParam,
    ),
    request_body(
        content = GoLiveDateBody,
        example = json!({"goLiveDate": "2018-11-03", "reason": "The date was of another prison"}),
    ),
    responses(CommandResponses),
)]
pub(super) async fn correct_go_live_date(
    State(service): State<Service>,
    PathParams(code): PathParams<PrisonCode>,
    headers: CommandHeaders,
    body: CommandBody<GoLiveDateBody>,
) -> Result<RecordedResponse, Problem> {
    let GoLiveDateBody { go_live_date, reason, effective_at } = body.fields;
    let correction = GoLiveCorrection { go_live_date: go_live_date.into(), reason: reason.map(Into::into) };
    let (command_id, texts) = (headers.command_id, headers.scope.texts.clone());
    let request_digest = body.path.digest("correct-go-live-date", &(&correction, effective_at));
    let command = Command::Prison(code.clone(), prison::Command::CorrectGoLiveDate(correction.clone()));
    let request = request(headers, command, effective_at, request_digest);
    let outcome = go_live::correct(&service, &code, &correction, request).await?;
    Ok(RecordedResponse { command_id, outcome, texts })
}
