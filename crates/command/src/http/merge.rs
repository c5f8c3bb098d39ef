//! `POST /prisoners/{prisonerNumber}/merges`: merge a removed number into this one.

use axum::extract::State;
use domain::{identifier::PrisonerNumber, moment::Instant};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse};
use crate::{MergeRequest, Service};

/// A merge, as NOMIS has made it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Merge)]
pub(super) struct MergeBody {
    /// The number that was removed.
    removed_number: PrisonerNumber,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// Merge a removed number into this one. Answers with the events on the removed number, then those
/// on this one.
#[utoipa::path(
    post, path = "/prisoners/{prisonerNumber}/merges", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "The surviving number", example = "A1196AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = MergeBody, example = json!({"removedNumber": "A1195AA"})),
    responses(CommandResponses),
)]
pub(super) async fn merge_number(
    State(service): State<Service>,
    PathParams(survivor): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<MergeBody>,
) -> Result<RecordedResponse, Problem> {
    let command_id = headers.command_id;
    let request = MergeRequest {
        request_digest: body.path.digest("merge", &(&body.fields.removed_number, body.fields.effective_at)),
        survivor,
        removed_number: body.fields.removed_number,
        command_id,
        correlation_id: headers.correlation_id,
        if_match: headers.if_match,
        confinement: headers.scope.confinement,
        recorded_by: headers.recorded_by,
        effective_at: body.fields.effective_at.map(Into::into),
    };
    let outcome = service.merge(request).await?;
    Ok(RecordedResponse { command_id, outcome, texts: headers.scope.texts })
}
