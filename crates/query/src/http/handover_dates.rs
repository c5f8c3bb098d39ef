//! `POST /handover-dates`: handover dates worked out from facts, with nothing recorded.

use std::fmt;

use axum::{
    Json,
    extract::State as Extracted,
    http::header,
    response::{IntoResponse as _, Response},
};
use chrono::NaiveDate;
use domain::{Refusal, london};
use http_api::{Body, Params, Problem, handover::FactsBody};
use serde::{
    Deserialize, Deserializer,
    de::{
        self,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::{periods::NoParams, responsibilities::bounded};
use crate::{
    State,
    handover_dates::{HandoverDates, Line, work_out},
};

/// One line of facts, or up to 1,000.
#[derive(Debug)]
pub(super) enum OneOrMany {
    One(Box<FactsBody>),
    Many(Vec<FactsBody>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = OneOrMany;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of sentence facts, or an array of them")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, lines: A) -> Result<OneOrMany, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(lines)).map(OneOrMany::Many)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<OneOrMany, A::Error> {
                FactsBody::deserialize(MapAccessDeserializer::new(members)).map(|facts| OneOrMany::One(Box::new(facts)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Works handover dates out from sentence facts and records nothing.
///
/// One object is answered with one, or refused with 422 where it cannot be worked out. An array of up to 1,000 is answered
/// with an array in the same order; a line that cannot be worked out has `{"error":{"code","detail"}}` in its place.
#[utoipa::path(
    post, path = "/handover-dates", tag = "Answers",
    request_body(content = FactsBody, description = "One object, or an array of up to 1,000"),
    responses(
        (status = 200, body = HandoverDates),
        (status = 422, body = http_api::problem::Document, description = "`sentence-start-unknown`"),
    ),
)]
pub(super) async fn handover_dates(
    Extracted(state): Extracted<State>,
    Params(NoParams {}): Params<NoParams>,
    Body(facts): Body<OneOrMany>,
) -> Result<Response, Problem> {
    let today = london::date(state.now());
    let answer = match facts {
        OneOrMany::One(facts) => Json(line(*facts, today)?).into_response(),
        OneOrMany::Many(lines) => {
            bounded(lines.len())?;
            let lines: Vec<Line> = lines.into_iter().map(|facts| Line::from(line(facts, today))).collect();
            Json(lines).into_response()
        }
    };
    // Worked out from the request alone, so there is no position to tell.
    Ok(([(header::CACHE_CONTROL, "no-store")], answer).into_response())
}

fn line(facts: FactsBody, today: NaiveDate) -> Result<HandoverDates, Refusal> {
    let today = facts.effective_at.map_or(today, london::date);
    work_out(&facts.into_facts(), today)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn answers(body: &Value) -> Vec<Value> {
        let OneOrMany::Many(lines) = http_api::extract::from_json(body.to_string().as_bytes()).expect("facts") else {
            panic!("not an array");
        };
        let today = "2024-05-20".parse().expect("a date");
        lines.into_iter().map(|facts| json!(Line::from(line(facts, today)))).collect()
    }

    #[test]
    fn each_line_is_answered_in_its_place() {
        let facts = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01",
            "conditionalReleaseDate": "2026-01-01", "mappaLevel": null, "recalled": null});
        let without_start = json!({"indeterminate": false, "conditionalReleaseDate": "2026-01-01"});
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
    fn a_line_that_cannot_be_read_is_named() {
        for (body, code, pointer) in [
            (
                json!([{"indeterminate": true}, {"indeterminate": true, "recaled": true}]),
                "field-unknown",
                "#/1/recaled",
            ),
            (json!([[]]), "field-invalid", "#/0"),
            (json!({"indeterminate": "maybe"}), "field-invalid", "#/indeterminate"),
            (json!({"indeterminate": true, "tariffDate": "2026-02-30"}), "date-invalid", "#/tariffDate"),
            (json!({"indeterminate": true, "mappaLevel": 4}), "field-invalid", "#/mappaLevel"),
        ] {
            let problem = http_api::extract::from_json::<OneOrMany>(body.to_string().as_bytes()).expect_err("refused");
            let document = json!(problem.document());
            assert_eq!((&document["code"], &document["errors"][0]["pointer"]), (&json!(code), &json!(pointer)));
        }
    }
}
