//! `POST /handover-dates`: handover dates worked out from facts, with nothing recorded.

use std::fmt;

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use domain::london;
use http_api::{JsonBody, Params, Problem, sentence_facts::FactsBody};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        self,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_json::value::RawValue;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{ArrayBuilder, OneOfBuilder, Schema},
    },
};

use super::{
    parameters::NoParams,
    responsibilities::{NUMBERS_MAX, check_count},
};
use crate::{
    QueryState,
    handover_dates::{HandoverDates, HandoverDatesLine, answer, work_out},
};

/// One line of facts, or up to 1,000.
#[derive(Debug)]
pub(super) enum OneOrManyFacts {
    One(Box<FactsBody>),
    /// Each as it was sent, so that one that cannot be read spoils no other.
    Many(Vec<Box<RawValue>>),
}

impl PartialSchema for OneOrManyFacts {
    fn schema() -> RefOr<Schema> {
        let facts = Ref::from_schema_name(FactsBody::name());
        let many = ArrayBuilder::new().items(facts.clone()).max_items(Some(NUMBERS_MAX));
        Schema::from(OneOfBuilder::new().item(facts).item(many).build()).into()
    }
}

impl ToSchema for OneOrManyFacts {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((FactsBody::name().into_owned(), FactsBody::schema()));
        FactsBody::schemas(schemas);
    }
}

impl<'de> Deserialize<'de> for OneOrManyFacts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FactsVisitor;
        impl<'de> de::Visitor<'de> for FactsVisitor {
            type Value = OneOrManyFacts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of sentence facts, or an array of them")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, lines: A) -> Result<OneOrManyFacts, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(lines)).map(OneOrManyFacts::Many)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<OneOrManyFacts, A::Error> {
                FactsBody::deserialize(MapAccessDeserializer::new(members))
                    .map(|facts| OneOrManyFacts::One(Box::new(facts)))
            }
        }
        deserializer.deserialize_any(FactsVisitor)
    }
}

/// The dates of one line of facts, or each line's.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = HandoverDatesOneOrMany)]
enum HandoverDatesAnswer {
    One(HandoverDates),
    Many(Vec<HandoverDatesLine>),
}

/// Works handover dates out from sentence facts and records nothing.
///
/// One object is answered with one, or refused with 422 where it cannot be worked out. An array of
/// up to 1,000 is answered with an array in the same order; a line that cannot be read or worked
/// out has `{"error":{"code","detail"}}` in its place.
#[utoipa::path(
    post, path = "/handover-dates", tag = "Questions about a case",
    request_body(
        content = OneOrManyFacts,
        description = "One object, or an array of up to 1,000",
        example = json!({"sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2030-01-01"}),
    ),
    responses(
        (status = 200, body = HandoverDatesAnswer),
        (status = 422, body = http_api::problem::ProblemDocument, description = "`sentence-start-unknown`"),
    ),
)]
pub(super) async fn calculate_handover_dates(
    State(state): State<QueryState>,
    Params(NoParams {}): Params<NoParams>,
    JsonBody(facts): JsonBody<OneOrManyFacts>,
) -> Result<Response, Problem> {
    let today = london::date(state.now());
    let dates = match facts {
        OneOrManyFacts::One(facts) => {
            let today = facts.effective_at.map_or(today, |at| london::date(at.into()));
            HandoverDatesAnswer::One(work_out(&facts.into_facts(), today)?)
        }
        OneOrManyFacts::Many(lines) => {
            check_count(lines.len())?;
            HandoverDatesAnswer::Many(lines.iter().map(|facts| answer(facts.get().as_bytes(), today)).collect())
        }
    };
    // Worked out from the request alone, so there is no position to tell.
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(dates)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn answers(body: &Value) -> Vec<Value> {
        let OneOrManyFacts::Many(lines) = http_api::extract::from_json(body.to_string().as_bytes()).expect("facts")
        else {
            panic!("not an array");
        };
        let today = "2024-05-20".parse().expect("a date");
        lines.iter().map(|facts| json!(answer(facts.get().as_bytes(), today))).collect()
    }

    #[test]
    fn each_line_is_answered_in_its_place() {
        let facts = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01",
            "conditionalReleaseDate": "2026-01-01", "mappaLevel": null, "recalled": null});
        let without_start = json!({"indeterminate": false, "conditionalReleaseDate": "2026-01-01"});
        let unreadable = [
            json!({"recaled": true}),
            json!({"tariffDate": "2026-02-30"}),
            json!({"tariffDate": "2500-01-01"}),
            json!({"effectiveAt": "0001-01-01T00:00:00Z"}),
            json!({"mappaLevel": 4}),
            json!([]),
            json!(null),
        ];
        let codes: Vec<Value> = answers(&json!(unreadable)).iter().map(|line| line["error"]["code"].clone()).collect();
        assert_eq!(
            codes,
            [
                "field-unknown",
                "date-invalid",
                "date-invalid",
                "date-invalid",
                "field-invalid",
                "field-invalid",
                "field-invalid"
            ]
        );
        assert_eq!(
            answers(&json!([facts, without_start])),
            [
                json!({
                    "startDate": "2025-04-17", "handoverDate": "2025-04-17", "reason": "determinate",
                    "earliestRelease": {"name": "CRD", "date": "2026-01-01"}, "responsibility": "CustodyOnly",
                }),
                json!({"error": {
                    "code": "sentence-start-unknown",
                    "detail": "A determinate sentence needs its sentenceStartDate for the handover dates to be worked out.",
                }}),
            ]
        );
    }

    #[test]
    fn facts_that_cannot_be_read_are_refused() {
        for (body, code, pointer) in [
            (json!({"indeterminate": true, "recaled": true}), "field-unknown", "#/recaled"),
            (json!(7), "field-invalid", "#"),
            (json!({"indeterminate": "maybe"}), "field-invalid", "#/indeterminate"),
            (json!({"indeterminate": true, "tariffDate": "2026-02-30"}), "date-invalid", "#/tariffDate"),
            (json!({"indeterminate": true, "mappaLevel": 4}), "field-invalid", "#/mappaLevel"),
        ] {
            let problem =
                http_api::extract::from_json::<OneOrManyFacts>(body.to_string().as_bytes()).expect_err("refused");
            let document = json!(problem.document());
            assert_eq!((&document["code"], &document["errors"][0]["pointer"]), (&json!(code), &json!(pointer)));
        }
    }
}
