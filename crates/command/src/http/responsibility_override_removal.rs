//! `DELETE /prisoners/{n}/responsibility-override`: take an override back.

use axum::extract::State;
use domain::{identifier::PrisonerNumber, prisoner};
use http_api::{CommandHeaders, PathParams, Problem};

use super::{Body, CommandAnswers, HeaderParams, IfMatch, OnlyEffectiveAt, Recorded, record_on_case};
use crate::Service;

/// Take an override of responsibility back.
#[utoipa::path(
    delete, path = "/prisoners/{n}/responsibility-override", tag = "Cases",
    params(("n" = String, Path, description = "Prisoner number", example = "A1234BC"), HeaderParams, IfMatch),
    request_body = Option<OnlyEffectiveAt>,
    responses(CommandAnswers),
)]
pub(super) async fn remove_responsibility_override(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: Body<OnlyEffectiveAt>,
) -> Result<Recorded, Problem> {
    record_on_case(&service, number, headers, body, "remove-responsibility-override", |body| {
        (prisoner::Command::RemoveResponsibilityOverride, body.effective_at)
    })
    .await
}
