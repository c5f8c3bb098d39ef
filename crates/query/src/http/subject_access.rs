//! `GET /subject-access-request`: everything held on a person, in the shape of HMPPS's subject
//! access requests.

use std::collections::BTreeSet;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Days, NaiveDate, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    london,
    moment::Date,
};
use http_api::{Params, Problem, event::EventDocument, headers::LEDGER_POSITION, problem::Fault};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use views::NomisContactRow;

use super::answer::Answer;
use crate::{QueryState, past};

/// Which person, and from when to when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SubjectAccessQuery {
    /// Prisoner number.
    #[param(example = "A1234BC")]
    prn: Option<String>,
    /// Number in Delius; the ledger does not find people by it.
    #[param(example = "X123456")]
    crn: Option<String>,
    /// First London day, by effective time.
    #[param(value_type = Option<String>, format = Date)]
    from_date: Option<Date>,
    /// Last London day, by effective time.
    #[param(value_type = Option<String>, format = Date)]
    to_date: Option<Date>,
}

/// Everything held on a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubjectAccess {
    /// Everything held on the person.
    content: SubjectAccessContent,
}

/// Everything held on a person under one or more numbers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SubjectAccessContent {
    /// The number asked for.
    #[schema(value_type = String, example = "A1234BC")]
    prisoner_number: PrisonerNumber,
    /// Every entry of the case's history, voided ones included, under each number that the person
    /// has had.
    history: Vec<HeldEntry>,
    /// The POM contacts seen in NOMIS.
    nomis_contacts: Vec<HeldContact>,
}

/// An entry of the history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HeldEntry {
    /// The number that it was recorded under.
    #[schema(value_type = String)]
    prisoner_number: PrisonerNumber,
    /// Whether it was voided later.
    voided: bool,
    /// The event.
    #[serde(flatten)]
    event: EventDocument,
}

/// A POM contact seen in NOMIS.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HeldContact {
    #[schema(value_type = String)]
    prison: PrisonCode,
    #[schema(value_type = String)]
    prisoner_number: PrisonerNumber,
    staff_id: Option<i64>,
    name: Option<String>,
    contact_type: String,
    found_at: DateTime<Utc>,
    removed_at: Option<DateTime<Utc>>,
}

impl From<NomisContactRow> for HeldContact {
    fn from(contact: NomisContactRow) -> Self {
        Self {
            prison: contact.prison_code,
            prisoner_number: contact.prisoner_number,
            staff_id: contact.staff_id.map(StaffId::get),
            name: contact.name,
            contact_type: contact.contact_type,
            found_at: contact.found_at,
            removed_at: contact.removed_at,
        }
    }
}

/// Everything held on a person, for a subject access request.
#[utoipa::path(
    get, path = "/subject-access-request", tag = "Answers",
    params(SubjectAccessQuery),
    responses(
        (status = 200, body = SubjectAccess),
        (status = 204, description = "Nothing is held."),
        (status = 209, body = http_api::problem::ProblemDocument, description = "A `crn`: not an identifier that this service finds people by."),
        (status = 400, body = http_api::problem::ProblemDocument, description = "Neither `prn` nor `crn`, both, or not a number or date."),
    ),
)]
pub(super) async fn subject_access_request(
    State(state): State<QueryState>,
    Params(query): Params<SubjectAccessQuery>,
) -> Result<Response, Problem> {
    let number = subject(query.prn.as_deref(), query.crn.as_deref())?;
    let within = |instant: DateTime<Utc>| {
        query.from_date.is_none_or(|first| london::midnight(first.into()) <= instant)
            && query
                .to_date
                .and_then(|last| NaiveDate::from(last).checked_add_days(Days::new(1)))
                .is_none_or(|after| instant < london::midnight(after))
    };
    // The contacts are those of the person's numbers, which the history names. It is read up to the
    // position of the contacts, so that the answer is of one position; where it names a further
    // number then, the contacts are read again.
    let mut numbers = BTreeSet::from([number.clone()]);
    let (contacts, entries) = loop {
        let contacts = past::contacts_of_prisoners(&state, &numbers).await?;
        let entries = past::case_history_to(&state.log, &number, contacts.position).await?;
        let known = numbers.len();
        numbers.extend(entries.iter().map(|entry| entry.number.clone()));
        if numbers.len() == known {
            break (contacts, entries);
        }
    };
    let position = contacts.position;
    let content = SubjectAccessContent {
        prisoner_number: number,
        history: entries
            .iter()
            .filter(|entry| within(entry.stored.entry.effective_at))
            .map(|entry| HeldEntry {
                prisoner_number: entry.number.clone(),
                voided: entry.voided_by.is_some(),
                event: EventDocument::from(&entry.stored),
            })
            .collect(),
        nomis_contacts: contacts
            .rows
            .into_iter()
            .filter(|contact| within(contact.found_at))
            .map(HeldContact::from)
            .collect(),
    };
    if content.history.is_empty() && content.nomis_contacts.is_empty() {
        let headers = [
            (LEDGER_POSITION, HeaderValue::from(position)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        return Ok((StatusCode::NO_CONTENT, headers).into_response());
    }
    Ok(Answer::new(position, SubjectAccess { content }).into_response())
}

/// The person asked for, where it is one that the ledger finds by that identifier.
fn subject(prn: Option<&str>, crn: Option<&str>) -> Result<PrisonerNumber, Problem> {
    match (prn, crn) {
        (Some(prn), None) => prn.parse().map_err(|invalid: domain::identifier::InvalidValue| {
            Problem::fault("parameter-invalid", Fault::parameter("prn", invalid.to_string()))
        }),
        (None, Some(_)) => Err(Problem::new(
            // HMPPS's answer to an identifier that a service does not know people by; 209 is a
            // valid status.
            StatusCode::from_u16(209).unwrap_or(StatusCode::BAD_REQUEST),
            "identifier-not-recognised",
            "The ledger finds people by prisoner number (prn), not by crn.",
        )),
        (Some(_), Some(_)) => {
            Err(Problem::bad_request("identifiers-both", "Please give either a prn or a crn, not both."))
        }
        (None, None) => Err(Problem::bad_request("parameter-missing", "Please give a prn, a prisoner number.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_found_by_prisoner_number_only() {
        let status = |prn, crn| subject(prn, crn).map_or_else(|problem| problem.status().as_u16(), |_| 200);
        assert_eq!(status(Some("A1234BC"), None), 200);
        assert_eq!(status(None, Some("X123456")), 209);
        assert_eq!(status(None, None), 400);
        assert_eq!(status(Some("A1234BC"), Some("X123456")), 400);
        assert_eq!(status(Some("a1234bc"), None), 400);
    }
}
