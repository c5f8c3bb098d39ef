//! `POST /prisoners/{prisonerNumber}/handover-plans`: facts in; dates worked out, recorded and
//! answered.

use axum::extract::State;
use domain::{identifier::PrisonerNumber, prisoner};
use http_api::{
    CommandHeaders, PathParams, Problem, ProblemCode,
    problem::Fault,
    sentence_facts::{FactsBody, PlanFacts},
};

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_case};
use crate::Service;

/// Work out a case's handover dates and record them.
#[utoipa::path(
    post, path = "/prisoners/{prisonerNumber}/handover-plans", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1199AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(
        content = PlanFacts,
        example = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2030-01-01"}),
    ),
    responses(CommandResponses),
)]
pub(super) async fn plan_handover(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<FactsBody>,
) -> Result<RecordedResponse, Problem> {
    // A recorded plan counts for years, so it must not rest on a fact that the client left out.
    if body.fields.indeterminate.is_none() {
        return Err(Problem::fault(
            ProblemCode::FieldMissing,
            Fault::pointer("#/indeterminate", "missing field `indeterminate`"),
        ));
    }
    record_on_case(&service, number, headers, body, "plan-handover", |body| {
        let effective_at = body.effective_at;
        (prisoner::Command::PlanHandover(body.into_facts()), effective_at)
    })
    .await
}
