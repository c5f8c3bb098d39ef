//! `POST /prisons/{prisonCode}/nomis-contacts`: a POM contact was seen in NOMIS.

use axum::extract::State;
use domain::{
    Command,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    moment::Instant,
    nomis_contacts::{self, ContactSeen},
    text::Text,
};
use http_api::{CommandHeaders, PathParams, Problem};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CommandBody, CommandResponses, HeaderParams, IfMatchParam, RecordedResponse, record};
use crate::Service;

/// A POM contact in NOMIS; staff id or name says whose it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NomisContact)]
pub(super) struct NomisContactBody {
    /// The prisoner whose POM contact it is.
    prisoner_number: PrisonerNumber,
    /// The POM's staff id, where NOMIS has it.
    staff_id: Option<StaffId>,
    /// The POM's name, where NOMIS has it.
    name: Option<Text>,
    /// Contact type as NOMIS has it.
    contact_type: Text,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<Instant>,
}

/// A POM contact was seen in NOMIS.
#[utoipa::path(
    post, path = "/prisons/{prisonCode}/nomis-contacts", tag = "Commands to a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        HeaderParams, IfMatchParam,
    ),
    request_body(
        content = NomisContactBody,
        example = json!({"prisonerNumber": "A1198AA", "staffId": 485_926, "contactType": "POM"}),
    ),
    responses(CommandResponses),
)]
pub(super) async fn record_nomis_contact(
    State(service): State<Service>,
    PathParams(code): PathParams<PrisonCode>,
    headers: CommandHeaders,
    body: CommandBody<NomisContactBody>,
) -> Result<RecordedResponse, Problem> {
    let CommandBody { fields, path } = body;
    let seen = ContactSeen {
        prison: code,
        staff_id: fields.staff_id,
        name: fields.name.map(Into::into),
        contact_type: fields.contact_type.into(),
    };
    let command = nomis_contacts::Command::RecordNomisContact(seen);
    let digest = path.digest("record-nomis-contact", &(&fields.prisoner_number, &command, fields.effective_at));
    record(&service, headers, Command::Contacts(fields.prisoner_number, command), fields.effective_at, digest).await
}
