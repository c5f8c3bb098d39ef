//! `POST /prisoners/{n}/merges`: merge a removed number into `n`.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::identifier::PrisonerNumber;
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Body, CommandAnswers, HeaderParams, IfMatch, Recorded, problem, recorded_by};
use crate::{MergeRequest, Service};

/// A merge, as NOMIS has made it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Merge {
    /// The number that was removed.
    #[schema(value_type = String, example = "A5678DE")]
    removed_number: PrisonerNumber,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<DateTime<Utc>>,
}

/// Merge a removed number into this one. Answers with the events on the removed number, then those on this one.
#[utoipa::path(
    post, path = "/prisoners/{n}/merges", tag = "Cases",
    params(("n" = String, Path, description = "The surviving prisoner number", example = "A1234BC"), HeaderParams, IfMatch),
    request_body = Merge,
    responses(CommandAnswers),
)]
pub(super) async fn merge_number(
    State(service): State<Service>,
    PathParams(survivor): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: Body<Merge>,
) -> Result<Recorded, Problem> {
    let command_id = headers.command_id;
    let request = MergeRequest {
        request_digest: body.digest("merge"),
        survivor,
        removed_number: body.fields.removed_number,
        command_id,
        correlation_id: headers.correlation_id,
        if_match: headers.if_match,
        recorded_by: recorded_by(&service, headers),
        effective_at: body.fields.effective_at,
    };
    let outcome = service.merge(request).await.map_err(problem)?;
    Ok(Recorded { command_id, outcome })
}
