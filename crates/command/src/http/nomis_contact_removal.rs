//! `POST /prisons/{prisonCode}/nomis-contacts/{contactId}/removal`: a contact seen before is gone
//! from NOMIS.

use axum::extract::State;
use domain::{identifier::PrisonCode, prison};
use http_api::{CommandHeaders, PathParams, Problem};
use uuid::Uuid;

use super::{
    CommandBody, CommandResponses, HeaderParams, IfMatchParam, OnlyEffectiveAtBody, RecordedResponse, record_on_prison,
};
use crate::Service;

/// A POM contact seen before is gone from NOMIS.
#[utoipa::path(
    post, path = "/prisons/{prisonCode}/nomis-contacts/{contactId}/removal", tag = "Commands to a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        (
            "contactId" = Uuid, Path, description = "The contact's id, as its event and the list of contacts give it",
            example = "678a2bdd-631e-50d3-bd8a-eeb7212091dd",
        ),
        HeaderParams,
        IfMatchParam,
    ),
    request_body(content = Option<OnlyEffectiveAtBody>, example = json!({})),
    responses(CommandResponses),
)]
pub(super) async fn confirm_nomis_contact_removal(
    State(service): State<Service>,
    PathParams((code, contact_id)): PathParams<(PrisonCode, Uuid)>,
    headers: CommandHeaders,
    body: CommandBody<OnlyEffectiveAtBody>,
) -> Result<RecordedResponse, Problem> {
    record_on_prison(&service, code, headers, body, "confirm-nomis-contact-removal", |body| {
        (prison::Command::ConfirmNomisContactRemoval { contact_id }, body.effective_at)
    })
    .await
}
