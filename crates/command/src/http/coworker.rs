//! `POST /prisoners/{prisonerNumber}/co-workers`: add a co-working POM, or replace the one there
//! is.

use axum::extract::State;
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    moment::Instant,
    prisoner,
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, choice::ChosenPom, record_on_case,
    strict_object::object,
};
use crate::Service;

/// A co-working POM.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AllocateCoworker)]
pub(super) struct AllocateCoworkerBody {
    /// Where the case is held.
    prison: PrisonCode,
    /// The co-working POM.
    #[serde(deserialize_with = "object")]
    pom: ChosenPom,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// Add a co-working POM, or replace the one there is.
#[utoipa::path(
    post, path = "/prisoners/{prisonerNumber}/co-workers", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1002AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = AllocateCoworkerBody, example = json!({"prison": "LEI", "pom": {"staffId": 485_970}})),
    responses(CommandResponses),
)]
pub(super) async fn allocate_coworker(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<AllocateCoworkerBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "allocate-coworker", |body| {
        (
            prisoner::Command::AllocateCoworker(prisoner::AllocateCoworker {
                prison: body.prison,
                staff_id: body.pom.staff_id,
            }),
            body.effective_at,
        )
    })
    .await
}
