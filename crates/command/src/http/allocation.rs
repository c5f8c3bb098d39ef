//! `POST /prisoners/{n}/allocations`: give a case that has no primary POM to one.

use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    prisoner,
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Body, CommandAnswers, HeaderParams, IfMatch, Recorded,
    choice::{self, ChosenPom, OverrideReasons},
    record_on_case,
    strict_object::object,
    text::Lines,
};
use crate::Service;

/// An allocation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Allocate {
    /// Where the case is held.
    #[schema(value_type = String, example = "LEI")]
    prison: PrisonCode,
    /// The primary POM.
    #[serde(deserialize_with = "object")]
    pom: ChosenPom,
    /// Why not a POM of the recommended kind, where it is not: `SUITABILITY`, `NO_STAFF`, `CONTINUITY`, `OTHER`.
    override_reasons: Option<OverrideReasons>,
    /// Why the prisoner is suitable for the other kind of POM; goes with `SUITABILITY`.
    #[schema(value_type = Option<String>, max_length = 175)]
    suitability_detail: Option<Lines>,
    /// What the reason is; goes with `OTHER`.
    #[schema(value_type = Option<String>, max_length = 175)]
    override_detail: Option<Lines>,
    /// Note to the POM.
    #[schema(value_type = Option<String>, max_length = 4000)]
    note: Option<Lines>,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<DateTime<Utc>>,
}

/// Give a case that has no primary POM to one.
#[utoipa::path(
    post, path = "/prisoners/{n}/allocations", tag = "Cases",
    params(("n" = String, Path, description = "Prisoner number", example = "A1234BC"), HeaderParams, IfMatch),
    request_body = Allocate,
    responses(CommandAnswers),
)]
pub(super) async fn allocate(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: Body<Allocate>,
) -> Result<Recorded, Problem> {
    record_on_case(&service, number, headers, body, "allocate", |body| {
        (
            prisoner::Command::Allocate(prisoner::Allocate {
                prison: body.prison,
                staff_id: body.pom.staff_id,
                reasons: choice::reasons(
                    body.override_reasons,
                    body.suitability_detail,
                    body.override_detail,
                    body.note,
                ),
            }),
            body.effective_at,
        )
    })
    .await
}
