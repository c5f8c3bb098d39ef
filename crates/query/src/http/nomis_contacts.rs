//! `GET /nomis-contacts` and `GET /prisons/{prisonCode}/nomis-contacts`: POM contacts that are
//! still in NOMIS.

use access_log::Shown;
use axum::{
    extract::State,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    london,
};
use http_api::{CallerScope, ParamGroups, PathParams, Problem, page::Cursor};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    answer::{Answer, page_rows},
    parameters::{KnownAtQuery, Paging},
};
use crate::{
    QueryState, past,
    present::nomis_contact::{ContactAtPrison, ContactFilter, ContactList},
};

/// Which contacts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct NomisContactsQuery {
    /// True: only those that are to be removed, of prisons that have joined OMiC. False: removed
    /// ones too, with `removedAt`. Absent: those that are still in NOMIS.
    outstanding: Option<bool>,
}

/// The parameters of both lists.
type ListQuery = (NomisContactsQuery, KnownAtQuery, Paging);

/// A POM contact in NOMIS.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContactInNomis {
    /// The prison.
    prison: PrisonCode,
    /// Since which London day the prison is on OMiC, or will be; null where it has not joined.
    go_live_date: Option<NaiveDate>,
    /// Identifies the contact; what its removal is confirmed with.
    id: Uuid,
    /// Whose contact it is.
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

impl From<ContactAtPrison> for ContactInNomis {
    fn from(ContactAtPrison { contact, go_live_date }: ContactAtPrison) -> Self {
        Self {
            prison: contact.prison_code,
            go_live_date,
            id: contact.contact_id,
            prisoner_number: contact.prisoner_number,
            staff_id: contact.staff_id.map(StaffId::get),
            name: contact.name,
            contact_type: contact.contact_type,
            found_at: contact.found_at,
            removed_at: contact.removed_at,
        }
    }
}

/// The POM contacts that are still in NOMIS at a prison, by prisoner.
#[utoipa::path(
    get, path = "/prisons/{prisonCode}/nomis-contacts", tag = "Questions about a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        NomisContactsQuery, KnownAtQuery, Paging,
    ),
    responses((status = 200, body = Vec<ContactInNomis>)),
)]
pub(super) async fn list_prison_nomis_contacts(
    State(state): State<QueryState>,
    PathParams(prison): PathParams<PrisonCode>,
    caller: CallerScope,
    ParamGroups(query): ParamGroups<ListQuery>,
    uri: Uri,
) -> Result<Response, Problem> {
    page(&state, Some(prison), caller, &query, &uri).await
}

/// The POM contacts that are still in NOMIS, by prison and prisoner.
///
/// A caller that is confined to prisons gets those there.
#[utoipa::path(
    get, path = "/nomis-contacts", tag = "Questions about a prison",
    params(NomisContactsQuery, KnownAtQuery, Paging),
    responses((status = 200, body = Vec<ContactInNomis>)),
)]
pub(super) async fn list_nomis_contacts(
    State(state): State<QueryState>,
    caller: CallerScope,
    ParamGroups(query): ParamGroups<ListQuery>,
    uri: Uri,
) -> Result<Response, Problem> {
    page(&state, None, caller, &query, &uri).await
}

async fn page(
    state: &QueryState,
    prison: Option<PrisonCode>,
    caller: CallerScope,
    (query, known, paging): &ListQuery,
    uri: &Uri,
) -> Result<Response, Problem> {
    let after = paging.after()?;
    let filter = match query.outstanding {
        Some(true) => ContactFilter::Outstanding(london::date(state.now())),
        Some(false) => ContactFilter::Any,
        None => ContactFilter::InNomis,
    };
    let list = ContactList { prison, confinement: caller.confinement, filter, after, limit: paging.limit };
    let (extent, contacts) = past::contacts(state, &list, known.known_at).await?;
    let (contacts, next) = list.page(contacts);
    let (items, next) = page_rows(
        &contacts,
        next,
        |contact| ContactInNomis::from(contact.clone()),
        |contact| Cursor::after(&contact.key()),
    )?;
    let shown = Shown::prisoners(contacts.iter().take(items.len()).map(|at_prison| &at_prison.contact.prisoner_number));
    Ok(Answer::list(extent, items, shown).with_next(next.as_ref(), uri).into_response())
}
