//! `DELETE /prisoners/{n}/co-workers/current`: end the co-working POM's role.

use axum::extract::State;
use domain::{identifier::PrisonerNumber, prisoner};
use http_api::{CommandHeaders, PathParams, Problem};

use super::{Body, CommandAnswers, HeaderParams, IfMatch, OnlyEffectiveAt, Recorded, record_on_case};
use crate::Service;

/// End the co-working POM's role.
#[utoipa::path(
    delete, path = "/prisoners/{n}/co-workers/current", tag = "Cases",
    params(("n" = String, Path, description = "Prisoner number", example = "A1234BC"), HeaderParams, IfMatch),
    request_body = Option<OnlyEffectiveAt>,
    responses(CommandAnswers),
)]
pub(super) async fn remove_coworker(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: Body<OnlyEffectiveAt>,
) -> Result<Recorded, Problem> {
    record_on_case(&service, number, headers, body, "remove-coworker", |body| {
        (prisoner::Command::RemoveCoworker, body.effective_at)
    })
    .await
}
