//! `POST /prisons/{prisonCode}/reallocations`: move a POM's cases to another POM, case by case.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    Refusal, Rule,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    text::ReasonText,
};
use http_api::{CommandHeaders, PathParams, Problem, ReadableTexts, event::EventDocument};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CommandBody, HeaderParams,
    answer::{ProblemResponses, add_command_headers},
    choice::choice_body,
    refuse_if_match,
};
use crate::{Outcome, Service, operations::bulk};

choice_body! {
    /// Which cases move from whom to whom.
    #[schema(as = BulkReallocation)]
    pub(super) struct BulkReallocationBody {
        /// The POM who holds the cases.
        from_staff_id: StaffId,
        /// The POM who takes them.
        to_staff_id: StaffId,
        /// The cases; absent, all that the first holds at this prison as primary POM.
        #[schema(value_type = Option<Vec<PrisonerNumber>>, max_items = 1000)]
        prisoner_numbers: Option<ListedNumbers>,
        /// Why the cases move.
        reason: ReasonText,
    }
}

/// Prisoner numbers, each once.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<PrisonerNumber>")]
struct ListedNumbers(Vec<PrisonerNumber>);

impl TryFrom<Vec<PrisonerNumber>> for ListedNumbers {
    type Error = String;
    fn try_from(mut numbers: Vec<PrisonerNumber>) -> Result<Self, String> {
        if numbers.len() > bulk::CASES_MAX {
            return Err(format!("{} cases; at most {} are allowed in one request", numbers.len(), bulk::CASES_MAX));
        }
        let mut seen = std::collections::HashSet::new();
        numbers.retain(|number| seen.insert(number.clone()));
        Ok(Self(numbers))
    }
}

/// The cases that moved, and those that did not.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BulkAnswer {
    /// The cases that moved, by this request or by an earlier one with the same key.
    accepted: Vec<AcceptedCase>,
    /// The cases that a rule keeps from moving.
    refused: Vec<RefusedCase>,
}

/// A case that moved.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AcceptedCase {
    /// The case's number.
    #[schema(value_type = PrisonerNumber)]
    prisoner_number: String,
    /// The case's revision afterwards.
    revision: u64,
    /// The events that were recorded.
    events: Vec<EventDocument>,
}

/// A case that did not move.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RefusedCase {
    /// The case's number.
    #[schema(value_type = PrisonerNumber)]
    prisoner_number: String,
    /// The rule's stable code.
    #[schema(value_type = http_api::ProblemCode)]
    code: Rule,
    /// The rule's sentence.
    detail: String,
    /// The revision of the later entry that is in the way, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    later_entry: Option<u64>,
    /// The number to use instead, where the case was merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PrisonerNumber>, nullable = false)]
    survivor: Option<String>,
}

/// Move a POM's cases to another POM. Each case moves or is refused on its own; sending the same
/// again, with the same key, does nothing twice and goes on where it ended.
#[utoipa::path(
    post, path = "/prisons/{prisonCode}/reallocations", tag = "Commands to a prison",
    params(("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"), HeaderParams),
    request_body(
        content = BulkReallocationBody,
        example = json!({"fromStaffId": 485_926, "toStaffId": 485_952, "prisonerNumbers": ["A1013AA"], "reason": "Leaving the prison"}),
    ),
    responses(
        (status = 200, description = "What became of each case", body = BulkAnswer),
        ProblemResponses,
    ),
)]
pub(super) async fn reallocate_in_bulk(
    State(service): State<Service>,
    PathParams(prison): PathParams<PrisonCode>,
    headers: CommandHeaders,
    body: CommandBody<BulkReallocationBody>,
) -> Result<Response, Problem> {
    refuse_if_match(&headers)?;
    let command_id = headers.command_id;
    let mut fields = body.fields;
    let reasons = fields.take_choice_reasons();
    let (from, to) = (fields.from_staff_id, fields.to_staff_id);
    let (numbers, reason) = (fields.prisoner_numbers.map(|numbers| numbers.0), String::from(fields.reason));
    let read = (from, to, &numbers, &reason, &reasons, fields.effective_at);
    let request_digest = body.path.digest("reallocate-in-bulk", &read);
    let texts = headers.scope.texts;
    let request = bulk::BulkReallocation {
        prison,
        from,
        to,
        numbers,
        reason,
        reasons,
        command_id,
        request_digest,
        correlation_id: headers.correlation_id,
        recorded_by: headers.recorded_by,
        confinement: headers.scope.confinement,
        effective_at: fields.effective_at.map(Into::into),
    };
    let outcome = bulk::reallocate(&service, &request).await?;
    let position = outcome.accepted.iter().map(|(_, moved)| moved.position()).max();
    let answer = BulkAnswer {
        accepted: outcome.accepted.into_iter().map(|moved| AcceptedCase::new(moved, &texts)).collect(),
        refused: outcome.refused.into_iter().map(RefusedCase::from).collect(),
    };
    let mut response = Json(answer).into_response();
    add_command_headers(response.headers_mut(), command_id, position);
    Ok(response)
}

impl AcceptedCase {
    fn new((number, outcome): (PrisonerNumber, Outcome), texts: &ReadableTexts) -> Self {
        Self {
            prisoner_number: number.into(),
            revision: outcome.last().entry.revision,
            events: outcome.events().map(|event| EventDocument::new(event, texts.of_own_event(event))).collect(),
        }
    }
}

impl From<(PrisonerNumber, Refusal)> for RefusedCase {
    fn from((number, refusal): (PrisonerNumber, Refusal)) -> Self {
        Self {
            prisoner_number: number.into(),
            code: refusal.rule,
            detail: refusal.sentence,
            later_entry: refusal.later_entry,
            survivor: refusal.survivor.map(Into::into),
        }
    }
}
