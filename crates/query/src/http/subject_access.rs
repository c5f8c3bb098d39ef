//! `GET /subject-access-request`: everything held on a person, in the shape of HMPPS's subject
//! access requests. The answer goes to the person, so it has staff by their surnames alone.

use std::collections::BTreeSet;

use access_log::Shown;
use axum::{
    Extension,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Days, NaiveDate, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    london,
    moment::Date,
};
use event_log::StoredEvent;
use http_api::{Params, Problem, ProblemCode, event::EventTypeName, headers::LEDGER_POSITION, problem::Fault};
use serde::{Deserialize, Deserializer, Serialize, de::IntoDeserializer as _};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use views::NomisContactRow;

use super::{answer::Answer, readable_codes::data_in_words};
use crate::{QueryState, past};

/// Which person, and from when to when. A blank parameter counts as absent.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SubjectAccessQuery {
    /// Prisoner number.
    #[param(inline, value_type = Option<PrisonerNumber>)]
    #[serde(default, deserialize_with = "blank_is_absent")]
    prn: Option<String>,
    /// Number in Delius; the ledger does not find people by it.
    #[serde(default, deserialize_with = "blank_is_absent")]
    crn: Option<String>,
    /// First London day, by effective time.
    #[param(inline, value_type = Option<domain::openapi::LondonDate>)]
    #[serde(default, deserialize_with = "blank_is_absent")]
    from_date: Option<Date>,
    /// Last London day, by effective time.
    #[param(inline, value_type = Option<domain::openapi::LondonDate>)]
    #[serde(default, deserialize_with = "blank_is_absent")]
    to_date: Option<Date>,
}

fn blank_is_absent<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.filter(|text| !text.trim().is_empty()).map(|text| T::deserialize(text.into_deserializer())).transpose()
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
    prisoner_number: PrisonerNumber,
    /// Its 0-based place among the entries of that number, by which a later entry names it.
    revision: u64,
    /// The type of the event.
    #[serde(rename = "type")]
    #[schema(value_type = EventTypeName)]
    type_name: &'static str,
    /// When it holds in the world.
    effective_at: DateTime<Utc>,
    /// When the ledger learnt of it.
    recorded_at: DateTime<Utc>,
    /// Whether it was voided later.
    voided: bool,
    /// The event's data, with codes in words: `NO_STAFF` is "No staff". An officer has `surname`,
    /// and neither id nor e-mail address; the person has no id of another system.
    #[schema(value_type = Object)]
    data: Value,
}

impl HeldEntry {
    fn new(number: &PrisonerNumber, voided: bool, stored: &StoredEvent) -> Self {
        let entry = &stored.entry;
        Self {
            prisoner_number: number.clone(),
            revision: entry.revision,
            type_name: entry.event.type_name(),
            effective_at: entry.effective_at,
            recorded_at: entry.recorded_at,
            voided,
            data: as_told(data_in_words(&entry.event)),
        }
    }
}

/// An event's data with the surnames of officers in the place of their names, and without their
/// ids and addresses, and without the ids of other systems. The name of a release date is no
/// officer's: it has a date beside it.
pub(super) fn as_told(data: Value) -> Value {
    match data {
        Value::Object(members) => {
            let is_named_date = members.contains_key("date");
            let kept = members.into_iter().filter_map(|(member, value)| match (member.as_str(), value) {
                ("staffId" | "email" | "crn" | "nomisBookingId", _) => None,
                ("name", Value::String(name)) if !is_named_date => Some(("surname".into(), surname(&name).into())),
                (_, value) => Some((member, as_told(value))),
            });
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(values) => values.into_iter().map(as_told).collect(),
        value => value,
    }
}

/// The surname of "Surname, Forename", and the last word of a name that has no comma.
fn surname(name: &str) -> &str {
    match name.split_once(',') {
        Some((surname, _)) => surname.trim(),
        None => name.split_whitespace().last().unwrap_or_default(),
    }
}

/// A POM contact seen in NOMIS.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct HeldContact {
    prison: PrisonCode,
    prisoner_number: PrisonerNumber,
    /// The POM's surname.
    surname: Option<String>,
    contact_type: String,
    found_at: DateTime<Utc>,
    removed_at: Option<DateTime<Utc>>,
}

impl From<NomisContactRow> for HeldContact {
    fn from(contact: NomisContactRow) -> Self {
        Self {
            prison: contact.prison_code,
            prisoner_number: contact.prisoner_number,
            surname: contact.name.as_deref().map(surname).map(Into::into),
            contact_type: contact.contact_type,
            found_at: contact.found_at,
            removed_at: contact.removed_at,
        }
    }
}

/// Everything held on a person, for a subject access request.
#[utoipa::path(
    get, path = "/subject-access-request", tag = "Questions about a case",
    params(SubjectAccessQuery),
    responses(
        (status = 200, body = SubjectAccess),
        (status = 204, description = "Nothing is held."),
        (status = 209, body = http_api::problem::ProblemDocument, description = "A `crn`: not an identifier that this service finds people by."),
        (status = 400, body = http_api::problem::ProblemDocument, description = "Neither `prn` nor `crn`, both, not a number or date, or a first day after the last."),
    ),
)]
pub(super) async fn get_subject_access_answer(
    State(state): State<QueryState>,
    Params(query): Params<SubjectAccessQuery>,
) -> Result<Response, Problem> {
    let number = subject(query.prn.as_deref(), query.crn.as_deref())?;
    if let (Some(first), Some(last)) = (query.from_date, query.to_date)
        && NaiveDate::from(first) > NaiveDate::from(last)
    {
        let detail = format!("{} is after toDate, {}", NaiveDate::from(first), NaiveDate::from(last));
        return Err(Problem::fault(ProblemCode::ParameterInvalid, Fault::parameter("fromDate", detail)));
    }
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
    let shown = Shown::prisoners(&numbers);
    let content = SubjectAccessContent {
        prisoner_number: number,
        history: entries
            .iter()
            .filter(|entry| within(entry.stored.entry.effective_at))
            .map(|entry| HeldEntry::new(&entry.number, entry.voided_by.is_some(), &entry.stored))
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
        return Ok((StatusCode::NO_CONTENT, headers, Extension(shown)).into_response());
    }
    Ok(Answer::new(position, SubjectAccess { content }, shown).into_response())
}

/// The person asked for, where it is one that the ledger finds by that identifier.
fn subject(prn: Option<&str>, crn: Option<&str>) -> Result<PrisonerNumber, Problem> {
    match (prn, crn) {
        (Some(prn), None) => prn.parse().map_err(|invalid: domain::identifier::InvalidValue| {
            Problem::fault(ProblemCode::ParameterInvalid, Fault::parameter("prn", invalid.to_string()))
        }),
        // 209 is HMPPS's answer to an identifier that a service does not know people by.
        (None, Some(_)) => Err(Problem::new(
            ProblemCode::IdentifierNotRecognised,
            "The ledger finds people by prisoner number (prn), not by crn.",
        )),
        (Some(_), Some(_)) => {
            Err(Problem::new(ProblemCode::IdentifiersBoth, "Please give either a prn or a crn, not both."))
        }
        (None, None) => Err(Problem::new(ProblemCode::ParameterMissing, "Please give a prn, a prisoner number.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample of each event, as the domain keeps it.
    const EVENTS: &str = include_str!("../../../domain/tests/data/events.jsonl");

    #[test]
    fn a_surname_is_told_without_the_forename() {
        for (name, expected) in [
            ("Okafor-Lee, Grace", "Okafor-Lee"),
            ("De Souza , Maria", "De Souza"),
            ("Jane Smith", "Smith"),
            ("Lee", "Lee"),
        ] {
            assert_eq!(surname(name), expected, "{name}");
        }
    }

    #[test]
    fn no_event_names_staff_but_by_surname() {
        for line in EVENTS.lines().filter(|line| !line.is_empty()) {
            let sample: Value = serde_json::from_str(line).expect("a sample");
            let told = as_told(sample["data"].clone()).to_string();
            for member in ["staffId", "email", "username", "crn", "nomisBookingId", "Grace", "Tunde"] {
                assert!(!told.contains(member), "{member} in {told}");
            }
            assert_eq!(told.contains("Okafor"), line.contains("Okafor"), "{told}");
            assert_eq!(told.matches(r#""name""#).count(), line.matches(r#""earliestRelease":{"#).count(), "{told}");
        }
    }

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
