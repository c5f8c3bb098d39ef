//! `POST /prisoners/{prisonerNumber}/voids`: an earlier entry was made in error.

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
    reason: ReasonText,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// Void an entry that was made in error. It stays in the history and no longer counts.
#[utoipa::path(
    post, path = "/prisoners/{prisonerNumber}/voids", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1012AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = VoidBody, example = json!({"revision": 4, "reason": "Recorded on the wrong case"})),
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
