//! `POST /prisoners/{prisonerNumber}/receptions`: the person came into a prison.

use axum::extract::State;
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    moment::Instant,
    prisoner::{self, ReceptionReason},
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record_on_case};
use crate::Service;

/// A reception.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Reception)]
pub(super) struct ReceptionBody {
    /// The prison that the person came into.
    prison: PrisonCode,
    /// The occasion. A person who came from another prison is transferred instead, if the ledger
    /// knows the case.
    reason: ReceptionReason,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// The person came into a prison: the case waits there, once it has a tier.
#[utoipa::path(
    post, path = "/prisoners/{prisonerNumber}/receptions", tag = "Commands to a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1011AA"),
        HeaderParams, IfMatchParam,
    ),
    request_body(content = ReceptionBody, example = json!({"prison": "LEI", "reason": "NEW_ADMISSION"})),
    responses(CommandResponses),
)]
pub(super) async fn receive(
    State(service): State<Service>,
    PathParams(number): PathParams<PrisonerNumber>,
    headers: CommandHeaders,
    body: CommandBody<ReceptionBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_case(&service, number, headers, body, "receive", |body| {
        let received = prisoner::Received { prison: body.prison, reason: body.reason };
        (prisoner::Command::Receive(received), body.effective_at)
    })
    .await
}
