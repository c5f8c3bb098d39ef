//! `DELETE /prisoners/{n}/community-manager`: the COM no longer has the case.

use axum::extract::State;
use domain::{identifier::PrisonerNumber, prisoner};
use http_api::{CommandHeaders, PathParams, Problem};

use super::{Body, CommandAnswers, HeaderParams, IfMatch, OnlyEffectiveAt, Recorded, record_on_case};
use crate::Service;

/// The COM no longer has the case.
#[utoipa::path(
    delete, path = "/prisoners/{n}/community-manager", tag = "Cases",
    params(("n" = String, Path, description = "Prisoner number", example = "A1234BC"), HeaderParams, IfMatch),
    request_body = Option<OnlyEffectiveAt>,
    responses(CommandAnswers),
)]
pub(super) async fn remove_community_manager(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: Body<OnlyEffectiveAt>,
) -> Result<Recorded, Problem> {
    record_on_case(&service, number, headers, body, "remove-community-manager", |body| {
        (prisoner::Command::RemoveCommunityManager, body.effective_at)
    })
    .await
}
