//! `POST /prisoners/{n}/reallocations`: give a case to another primary POM.

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
    text::{Lines, Text},
};
use crate::Service;

/// A reallocation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Reallocate {
    /// Where the case is held.
    #[schema(value_type = String, example = "LEI")]
    prison: PrisonCode,
    /// The new primary POM.
    #[serde(deserialize_with = "object")]
    pom: ChosenPom,
    /// Why the case moves.
    #[schema(value_type = String, max_length = 175, example = "Returning from long leave")]
    reason: Text,
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

/// Give a case to another primary POM.
#[utoipa::path(
    post, path = "/prisoners/{n}/reallocations", tag = "Cases",
    params(("n" = String, Path, description = "Prisoner number", example = "A1234BC"), HeaderParams, IfMatch),
    request_body = Reallocate,
    responses(CommandAnswers),
)]
pub(super) async fn reallocate(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: Body<Reallocate>,
) -> Result<Recorded, Problem> {
    record_on_case(&service, number, headers, body, "reallocate", |body| {
        (
            prisoner::Command::Reallocate(prisoner::Reallocate {
                prison: body.prison,
                staff_id: body.pom.staff_id,
                expected_holder: None,
                reason: body.reason.into(),
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
