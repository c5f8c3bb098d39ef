//! `POST /prisoners/{n}/voids`: an earlier entry was made in error.

use axum::extract::State;
use domain::{
    identifier::PrisonerNumber,
    moment::Instant,
    prisoner::{self, EntryVoided},
    text::ReasonText,
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_case};
use crate::Service;

/// An entry made in error.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Void)]
pub(super) struct VoidBody {
    /// The entry's revision, as the case's history lists it.
    #[schema(example = 3)]
    revision: u64,
    /// Why it was wrong.
    #[schema(value_type = String, max_length = 175, example = "Recorded on the wrong case")]
    reason: ReasonText,
    /// When it holds from, in the past; absent, from now.
    #[schema(value_type = Option<String>, format = DateTime)]
    effective_at: Option<Instant>,
}

/// Void an entry that was made in error. It stays in the history and no longer counts.
#[utoipa::path(
    post, path = "/prisoners/{n}/voids", tag = "Cases",
    params(("n" = String, Path, description = "Prisoner number", example = "A1234BC"), HeaderParams, IfMatchParam),
    request_body = VoidBody,
    responses(CommandResponses),
)]
pub(super) async fn void_entry(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<VoidBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "void", |body| {
        (
            prisoner::Command::Void(EntryVoided { revision: body.revision, reason: body.reason.into() }),
            body.effective_at,
        )
    })
    .await
}
