//! `POST /prisons/{prisonCode}/nomis-contacts/{contactId}/removal`: a contact seen before is gone
//! from NOMIS.

use axum::extract::State;
use domain::{Command, identifier::PrisonCode, nomis_contacts};
use http_api::{CommandHeaders, PathParams, Problem};
use uuid::Uuid;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, OnlyEffectiveAtBody, RecordedResponse, record};
use crate::{Service, operations::contact_removal};

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
    let (confinement, key) = (&headers.scope.confinement, headers.command_id);
    let number = contact_removal::find_person(&service, &code, contact_id, confinement, key).await?;
    let command = nomis_contacts::Command::ConfirmNomisContactRemoval { prison: code, contact_id };
    let CommandBody { fields: OnlyEffectiveAtBody { effective_at }, path } = body;
    let digest = path.digest("confirm-nomis-contact-removal", &(&command, effective_at));
    record(&service, headers, Command::Contacts(number, command), effective_at, digest).await
}
