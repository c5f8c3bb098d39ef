//! `POST /prisoners/{prisonerNumber}/reallocations`: give a case to another primary POM.

use axum::extract::State;
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    prisoner,
    text::ReasonText,
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
    /// A reallocation.
    #[schema(as = Reallocate)]
    pub(super) struct ReallocateBody {
        /// Where the case is held.
        prison: PrisonCode,
        /// The new primary POM.
        #[serde(deserialize_with = "object")]
        pom: ChosenPom,
        /// Why the case moves.
        reason: ReasonText,
    }
}

/// Give a case to another primary POM.
#[utoipa::path(
    post, path = "/prisoners/{prisonerNumber}/reallocations", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1000AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(
        content = ReallocateBody,
        example = json!({"prison": "LEI", "pom": {"staffId": 485_952}, "reason": "Caseloads evened out", "overrideReasons": ["CONTINUITY"]}),
    ),
    responses(CommandResponses),
)]
pub(super) async fn reallocate(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<ReallocateBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "reallocate", |mut body| {
        let reasons = body.take_choice_reasons();
        (
            prisoner::Command::Reallocate(prisoner::Reallocate {
                prison: body.prison,
                staff_id: body.pom.staff_id,
                expected_holder: None,
                reason: body.reason.into(),
                reasons,
            }),
            body.effective_at,
        )
    })
    .await
}
