//! `POST /responsibilities`: who is responsible for up to a thousand cases at once.

use std::fmt;

use axum::{
    extract::State as Extracted,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::identifier::PrisonerNumber;
use event_log::KnownAt;
use http_api::{
    Body, Params, Problem,
    instant::{DateOrInstant, optional_known_at},
    problem::Fault,
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        self,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use utoipa::{IntoParams, ToSchema};

use super::responsibility::{Responsibility, as_known_at, or_before_merges, unknown};
use crate::{
    Error, State,
    answer::Answer,
    handover_dates::LineError,
    known,
    present::case::{self, Found},
};

/// Most numbers in one request: a prison's cases, about.
pub(super) const NUMBERS_MAX: usize = 1_000;

/// When.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct When {
    /// Asks about this instant, or about the start of this London date; absent, about now.
    #[param(value_type = Option<String>, example = "2026-03-01")]
    on: Option<DateOrInstant>,
    /// Asks what was believed then: an instant, the end of a London date, or a position in the ledger; absent, what is known
    /// now.
    #[serde(default, deserialize_with = "optional_known_at")]
    #[param(value_type = Option<String>, example = "81233")]
    known_at: Option<KnownAt>,
}

/// The numbers: `{"prisonerNumbers": […]}`, or the array alone.
#[derive(Debug, ToSchema)]
#[schema(as = PrisonerNumbers, rename_all = "camelCase")]
pub(super) struct Asked {
    /// Up to 1,000 numbers.
    #[schema(value_type = Vec<String>, example = json!(["A1234BC"]))]
    prisoner_numbers: Vec<PrisonerNumber>,
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Named {
            prisoner_numbers: Vec<PrisonerNumber>,
        }
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Asked;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of prisoner numbers, or an object with one in prisonerNumbers")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, numbers: A) -> Result<Asked, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(numbers)).map(|prisoner_numbers| Asked { prisoner_numbers })
            }
            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<Asked, A::Error> {
                let Named { prisoner_numbers } = Named::deserialize(MapAccessDeserializer::new(members))?;
                Ok(Asked { prisoner_numbers })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// One number's answer, or in its place why there is none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ResponsibilityLine)]
enum Line<'a> {
    Known(Box<Responsibility<'a>>),
    #[serde(rename_all = "camelCase")]
    Unknown {
        #[schema(value_type = String)]
        prisoner_number: &'a PrisonerNumber,
        error: LineError,
    },
}

/// Who is responsible for each of up to 1,000 cases, in the order asked.
///
/// A number that the ledger does not know is answered in its place: `{"prisonerNumber":…,"error":{"code","detail"}}`.
#[utoipa::path(
    post, path = "/responsibilities", tag = "Answers",
    params(When),
    request_body = Asked,
    responses(
        (status = 200, body = Vec<Line>),
        (status = 400, body = http_api::problem::Document, description = "`identifier-invalid`, `too-many`"),
    ),
)]
pub(super) async fn responsibilities(
    Extracted(state): Extracted<State>,
    Params(when): Params<When>,
    Body(asked): Body<Asked>,
) -> Result<Response, Problem> {
    let numbers = asked.prisoner_numbers;
    bounded(numbers.len())?;
    let on = when.on.map_or_else(|| state.now(), DateOrInstant::instant);
    let (position, found) = look_up(&state, &numbers, when.known_at, on).await?;
    let lines: Vec<Line<'_>> = numbers
        .iter()
        .zip(&found)
        .map(|(number, found)| match found {
            Found::Case(case) => Line::Known(Box::new(Responsibility::new(case, on, position))),
            Found::Unknown | Found::NotYet(_) => {
                let problem = unknown(found, number);
                let (code, detail) = (problem.code().into_owned(), problem.detail().to_owned());
                Line::Unknown { prisoner_number: number, error: LineError { code, detail } }
            }
        })
        .collect();
    Ok(Answer::new(position, lines).into_response())
}

/// The cases in the order asked, and the position that all of them include.
async fn look_up(
    state: &State,
    numbers: &[PrisonerNumber],
    known_at: Option<KnownAt>,
    on: DateTime<Utc>,
) -> Result<(u64, Vec<Found>), Problem> {
    let Some(known_at) = known_at else {
        let asked = numbers.iter().map(|number| (number.clone(), on)).collect();
        let mut views = state.views.acquire().await.map_err(Error::from)?;
        let (position, mut found) = case::each_at(&mut views, asked).await?;
        for found in &mut found {
            let looked_up = std::mem::replace(found, Found::Unknown);
            *found = or_before_merges(&state.log, looked_up, None, on).await?;
        }
        return Ok((position, found));
    };
    let point = known::point(&state.log, known_at).await?;
    Ok((point.position, as_known_at(&state.log, numbers, point, on).await?))
}

/// Refuses more lines than one request may have.
pub(super) fn bounded(lines: usize) -> Result<(), Problem> {
    if lines <= NUMBERS_MAX {
        return Ok(());
    }
    let detail = format!("{lines} are too many for one request; please send at most {NUMBERS_MAX} at a time");
    Err(Problem::fault("too-many", Fault::pointer("#", detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_as_an_array_or_named() {
        for body in [r#"["A1234BC","A1234BD"]"#, r#"{"prisonerNumbers":["A1234BC","A1234BD"]}"#] {
            let asked: Asked = http_api::extract::from_json(body.as_bytes()).expect("numbers");
            assert_eq!(asked.prisoner_numbers.len(), 2);
        }
        for (body, code, pointer) in [
            (r#"["A1234BC","x"]"#, "identifier-invalid", "#/1"),
            (r#"{"prisonerNumbers":["x"]}"#, "identifier-invalid", "#/prisonerNumbers/0"),
            (r#"{"numbers":[]}"#, "field-unknown", "#/numbers"),
            ("7", "field-invalid", "#"),
        ] {
            let problem = http_api::extract::from_json::<Asked>(body.as_bytes()).expect_err("refused");
            let document = serde_json::to_value(problem.document()).expect("JSON");
            assert_eq!(
                (&document["code"], &document["errors"][0]["pointer"]),
                (&code.into(), &pointer.into()),
                "{document}"
            );
        }
    }
}
