//! `GET /nomis-contacts` and `GET /prisons/{code}/nomis-contacts`: POM contacts that are still in NOMIS.

use axum::{
    extract::State as Extracted,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    london,
};
use event_log::KnownAt;
use http_api::{
    Params, PathParams, Problem,
    instant::optional_known_at,
    page::{Cursor, Limit},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    State,
    answer::Answer,
    known,
    present::nomis_contact::{self, Contact, List},
};

/// Which contacts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// True: only those that are to be removed, of prisons that have joined OMiC. False: removed ones too, with
    /// `removedAt`. Absent: those that are still in NOMIS.
    outstanding: Option<bool>,
    /// Asks what was known then: an instant, the end of a London date, or a position in the ledger; absent, what is known now.
    #[serde(default, deserialize_with = "optional_known_at")]
    #[param(value_type = Option<String>, example = "81233")]
    known_at: Option<KnownAt>,
    /// Cursor of the page before.
    #[param(value_type = Option<String>)]
    after: Option<Cursor>,
    /// Rows in a page.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
}

/// A POM contact in NOMIS.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ContactInNomis)]
pub(super) struct NomisContact {
    /// The prison.
    #[schema(value_type = String, example = "LEI")]
    prison: PrisonCode,
    /// Since which London day the prison is on OMiC, or will be; null where it has not joined.
    go_live_date: Option<NaiveDate>,
    /// Identifies the contact; what its removal is confirmed with.
    id: Uuid,
    /// Whose contact it is.
    #[schema(value_type = String, example = "A1234BC")]
    prisoner_number: PrisonerNumber,
    /// The contact's staff id, where NOMIS gives one.
    staff_id: Option<i64>,
    /// The contact's name, where NOMIS gives one.
    name: Option<String>,
    /// Contact type as NOMIS has it.
    contact_type: String,
    /// When it was last found.
    found_at: DateTime<Utc>,
    /// When its removal was confirmed; null while it is in NOMIS.
    removed_at: Option<DateTime<Utc>>,
}

impl From<Contact> for NomisContact {
    fn from(contact: Contact) -> Self {
        Self {
            prison: contact.prison,
            go_live_date: contact.go_live_date,
            id: contact.contact_id,
            prisoner_number: contact.prisoner_number,
            staff_id: contact.staff_id,
            name: contact.name,
            contact_type: contact.contact_type,
            found_at: contact.found_at,
            removed_at: contact.removed_at,
        }
    }
}

/// The POM contacts that are still in NOMIS at a prison, by prisoner.
#[utoipa::path(
    get, path = "/prisons/{code}/nomis-contacts", tag = "Answers",
    params(("code" = String, Path, description = "Prison code", example = "LEI"), Which),
    responses((status = 200, body = Vec<NomisContact>)),
)]
pub(super) async fn prison_nomis_contacts(
    Extracted(state): Extracted<State>,
    PathParams(prison): PathParams<PrisonCode>,
    Params(which): Params<Which>,
    uri: Uri,
) -> Result<Response, Problem> {
    page(&state, Some(prison), &which, &uri).await
}

/// The POM contacts that are still in NOMIS, by prison and prisoner.
#[utoipa::path(
    get, path = "/nomis-contacts", tag = "Answers",
    params(Which),
    responses((status = 200, body = Vec<NomisContact>)),
)]
pub(super) async fn nomis_contacts(
    Extracted(state): Extracted<State>,
    Params(which): Params<Which>,
    uri: Uri,
) -> Result<Response, Problem> {
    page(&state, None, &which, &uri).await
}

async fn page(state: &State, prison: Option<PrisonCode>, which: &Which, uri: &Uri) -> Result<Response, Problem> {
    let after = which.after.as_ref().map(Cursor::key).transpose()?;
    let wanted = match which.outstanding {
        Some(true) => nomis_contact::Which::Outstanding(london::date(state.now())),
        Some(false) => nomis_contact::Which::Any,
        None => nomis_contact::Which::InNomis,
    };
    let list = List { prison, which: wanted, after, limit: which.limit };
    let (position, contacts) = known::contacts(state, &list, which.known_at).await?;
    let (contacts, next) = list.page(contacts);
    let contacts: Vec<NomisContact> = contacts.into_iter().map(NomisContact::from).collect();
    Ok(Answer::new(position, contacts).followed_by(next.as_ref(), uri).into_response())
}
