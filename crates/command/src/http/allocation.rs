//! `POST /prisoners/{prisonerNumber}/allocations`: give a case that has no primary POM to one.

use axum::extract::State;
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    prisoner,
};
use http_api::{CommandHeaders, PathParams, Problem};

use super::{
    CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse,
    choice::{ChosenPom, choice_body},
    record_on_case,
    strict_object::object,
};
use crate::Service;

choice_body! {
    /// An allocation.
    #[schema(as = Allocate)]
    pub(super) struct AllocateBody {
        /// Where the case is held.
        prison: PrisonCode,
        /// The primary POM.
        #[serde(deserialize_with = "object")]
        pom: ChosenPom,
    }
}

/// Give a case that has no primary POM to one.
#[utoipa::path(
    post, path = "/prisoners/{prisonerNumber}/allocations", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1198AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(
        content = AllocateBody,
        example = json!({"prison": "LEI", "pom": {"staffId": 485_926}, "note": "Please see within ten working days."}),
    ),
    responses(CommandResponses),
)]
pub(super) async fn allocate(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<AllocateBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "allocate", |mut body| {
        let reasons = body.take_choice_reasons();
        (
            prisoner::Command::Allocate(prisoner::Allocate {
                prison: body.prison,
                staff_id: body.pom.staff_id,
                reasons,
            }),
            body.effective_at,
        )
    })
    .await
}
