//! `POST /responsibilities`: the officers responsible for up to a thousand cases at once.

use std::fmt;

use access_log::Shown;
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use domain::identifier::PrisonerNumber;
use http_api::{CallerScope, JsonBody, Params, Problem, ProblemCode, problem::Fault};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        self,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{ArrayBuilder, OneOfBuilder, Schema},
    },
};

use super::{
    answer::Answer, error_problem::known_case, own_cases::check_cases, parameters::AsOfQuery,
    responsibility::ResponsibilityAnswer,
};
use crate::{QueryState, handover_dates::LineError, past, present::case::CaseAt};

/// Most numbers in one request: about a prison's cases.
pub(super) const NUMBERS_MAX: usize = 1_000;

/// The numbers: `{"prisonerNumbers": […]}`, or the array alone.
#[derive(Debug)]
pub(super) struct AskedNumbers(Vec<PrisonerNumber>);

/// The numbers in an object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PrisonerNumbers {
    /// Up to 1,000 numbers.
    #[schema(max_items = 1000)]
    prisoner_numbers: Vec<PrisonerNumber>,
}

/// The schema of the body: the numbers in an object, or the array alone.
struct PrisonerNumbersBody;

impl PartialSchema for PrisonerNumbersBody {
    fn schema() -> RefOr<Schema> {
        let named = Ref::from_schema_name(PrisonerNumbers::name());
        let alone = Ref::from_schema_name(PrisonerNumber::name());
        let alone = ArrayBuilder::new().items(alone).max_items(Some(NUMBERS_MAX));
        Schema::from(OneOfBuilder::new().item(named).item(alone).build()).into()
    }
}

impl ToSchema for PrisonerNumbersBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((PrisonerNumbers::name().into_owned(), PrisonerNumbers::schema()));
        PrisonerNumbers::schemas(schemas);
    }
}

impl<'de> Deserialize<'de> for AskedNumbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumbersVisitor;
        impl<'de> de::Visitor<'de> for NumbersVisitor {
            type Value = AskedNumbers;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of prisoner numbers, or an object with one in prisonerNumbers")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, numbers: A) -> Result<AskedNumbers, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(numbers)).map(AskedNumbers)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<AskedNumbers, A::Error> {
                let named = PrisonerNumbers::deserialize(MapAccessDeserializer::new(members))?;
                Ok(AskedNumbers(named.prisoner_numbers))
            }
        }
        deserializer.deserialize_any(NumbersVisitor)
    }
}

/// One number's answer, or in its place why there is none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum ResponsibilityLine<'a> {
    Known(Box<ResponsibilityAnswer<'a>>),
    #[serde(rename_all = "camelCase")]
    Unknown {
        prisoner_number: &'a PrisonerNumber,
        error: LineError,
    },
}

/// Who is responsible for each of up to 1,000 cases, in the order asked.
///
/// A number that the ledger does not know, or that is not the caller's, is answered in its place:
/// `{"prisonerNumber":…,"error":{"code","detail"}}`.
#[utoipa::path(
    post, path = "/responsibilities", tag = "Questions about a case",
    params(AsOfQuery),
    request_body(
        content = PrisonerNumbersBody,
        description = "An object, or the array alone",
        example = json!({"prisonerNumbers": ["A1000AA", "A1001AA"]}),
    ),
    responses(
        (status = 200, body = Vec<ResponsibilityLine>),
        (status = 400, body = http_api::problem::ProblemDocument, description = "`identifier-invalid`, `too-many`"),
    ),
)]
pub(super) async fn find_responsibilities(
    State(state): State<QueryState>,
    caller: CallerScope,
    Params(as_of): Params<AsOfQuery>,
    JsonBody(AskedNumbers(numbers)): JsonBody<AskedNumbers>,
) -> Result<Response, Problem> {
    check_count(numbers.len())?;
    let on = as_of.on(&state);
    let (position, cases) = past::cases_at(&state, &caller.texts, &numbers, on, as_of.known_at).await?;
    let permitted = check_cases(&state, &caller.confinement, &numbers).await?;
    // That nothing is known of a number tells something, too; that it is not the caller's does not.
    let answered = numbers.iter().zip(&cases).zip(&permitted).filter(|(_, permitted)| permitted.is_ok());
    let shown = Shown::prisoners(answered.flat_map(|((number, case), _)| {
        let survivor = match case {
            CaseAt::Case(case) => Some(&case.prisoner_number),
            CaseAt::Unknown | CaseAt::NotYet(_) | CaseAt::Damaged(_) => None,
        };
        [Some(number), survivor].into_iter().flatten()
    }));
    let lines: Vec<ResponsibilityLine<'_>> = numbers
        .iter()
        .zip(cases.iter().zip(permitted))
        .map(|(number, (case, permitted))| match permitted.and_then(|()| known_case(case, number)) {
            Ok(case) => ResponsibilityLine::Known(Box::new(ResponsibilityAnswer::new(case, on, position))),
            Err(problem) => ResponsibilityLine::Unknown { prisoner_number: number, error: problem.into() },
        })
        .collect();
    Ok(Answer::new(position, lines, shown).into_response())
}

/// Refuses more lines than one request may have.
pub(super) fn check_count(lines: usize) -> Result<(), Problem> {
    if lines <= NUMBERS_MAX {
        return Ok(());
    }
    let detail = format!("{lines} are too many for one request; please send at most {NUMBERS_MAX} at a time");
    Err(Problem::fault(ProblemCode::TooMany, Fault::pointer("#", detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_as_an_array_or_named() {
        for body in [r#"["A1234BC","A1234BD"]"#, r#"{"prisonerNumbers":["A1234BC","A1234BD"]}"#] {
            let asked: AskedNumbers = http_api::extract::from_json(body.as_bytes()).expect("numbers");
            assert_eq!(asked.0.len(), 2);
        }
        for (body, code, pointer) in [
            (r#"["A1234BC","x"]"#, "identifier-invalid", "#/1"),
            (r#"{"prisonerNumbers":["x"]}"#, "identifier-invalid", "#/prisonerNumbers/0"),
            (r#"{"numbers":[]}"#, "field-unknown", "#/numbers"),
            ("7", "field-invalid", "#"),
        ] {
            let problem = http_api::extract::from_json::<AskedNumbers>(body.as_bytes()).expect_err("refused");
            let document = serde_json::to_value(problem.document()).expect("JSON");
            assert_eq!(
                (&document["code"], &document["errors"][0]["pointer"]),
                (&code.into(), &pointer.into()),
                "{document}"
            );
        }
    }
}
