//! `POST /prisons/{code}/reallocations`: move a POM's cases to another POM, case by case.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    Refusal,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
};
use http_api::{
    CommandHeaders, PathParams, Problem,
    event::RecordedEvent,
    headers::{IDEMPOTENCY_KEY, LEDGER_POSITION},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Body, HeaderParams,
    answer::{Problems, header_value},
    choice::{self, OverrideReasons},
    problem, recorded_by, refuse_if_match,
    text::{Lines, Text},
};
use crate::{Outcome, Service, operations::bulk};

/// Which cases move from whom to whom.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BulkReallocation {
    /// The POM who holds the cases.
    #[schema(value_type = i64, minimum = 1, example = 485_926)]
    from_staff_id: StaffId,
    /// The POM who takes them.
    #[schema(value_type = i64, minimum = 1, example = 485_927)]
    to_staff_id: StaffId,
    /// The cases; absent, all that the first holds at this prison as primary POM.
    #[schema(value_type = Option<Vec<String>>, max_items = 1000, example = json!(["A1234BC"]))]
    prisoner_numbers: Option<Numbers>,
    /// Why the cases move.
    #[schema(value_type = String, max_length = 175, example = "Leaving the prison")]
    reason: Text,
    /// Why not a POM of the recommended kind, for the cases for which it is not.
    override_reasons: Option<OverrideReasons>,
    /// Why the prisoners are suitable for the other kind of POM; goes with `SUITABILITY`.
    #[schema(value_type = Option<String>, max_length = 175)]
    suitability_detail: Option<Lines>,
    /// What the reason is; goes with `OTHER`.
    #[schema(value_type = Option<String>, max_length = 175)]
    override_detail: Option<Lines>,
    /// Note to the POM.
    #[schema(value_type = Option<String>, max_length = 4000)]
    note: Option<Lines>,
    /// When it holds from, in the past; absent, from now.
    effective_at: Option<DateTime<Utc>>,
}

/// Prisoner numbers, each once.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<PrisonerNumber>")]
struct Numbers(Vec<PrisonerNumber>);

impl TryFrom<Vec<PrisonerNumber>> for Numbers {
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

/// What became of each case.
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
    /// Which.
    prisoner_number: String,
    /// The case's revision afterwards.
    revision: u64,
    /// What was recorded.
    events: Vec<RecordedEvent>,
}

/// A case that did not move.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RefusedCase {
    /// Which.
    prisoner_number: String,
    /// The rule's stable code.
    code: &'static str,
    /// The rule's sentence.
    detail: String,
    /// The revision of the later entry that stands in the way, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    later_entry: Option<u64>,
    /// The number to use instead, where the case was merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    survivor: Option<String>,
}

/// Move a POM's cases to another POM. Each case moves or is refused on its own; sending the same again, with the same
/// key, does nothing twice and goes on where it ended.
#[utoipa::path(
    post, path = "/prisons/{code}/reallocations", tag = "Prisons",
    params(("code" = String, Path, description = "Prison code", example = "LEI"), HeaderParams),
    request_body = BulkReallocation,
    responses(
        (status = 200, description = "What became of each case", body = BulkAnswer),
        Problems,
    ),
)]
pub(super) async fn reallocate_in_bulk(
    State(service): State<Service>,
    PathParams(prison): PathParams<PrisonCode>,
    headers: CommandHeaders,
    body: Body<BulkReallocation>,
) -> Result<Response, Problem> {
    refuse_if_match(&headers)?;
    let request_digest = body.digest("reallocate-in-bulk");
    let command_id = headers.command_id;
    let fields = body.fields;
    let request = bulk::BulkReallocation {
        prison,
        from: fields.from_staff_id,
        to: fields.to_staff_id,
        numbers: fields.prisoner_numbers.map(|numbers| numbers.0),
        reason: fields.reason.into(),
        reasons: choice::reasons(
            fields.override_reasons,
            fields.suitability_detail,
            fields.override_detail,
            fields.note,
        ),
        command_id,
        request_digest,
        correlation_id: headers.correlation_id,
        recorded_by: recorded_by(&service, headers),
        effective_at: fields.effective_at,
    };
    let answer = bulk::reallocate(&service, &request).await.map_err(problem)?;
    let position = answer.accepted.iter().map(|(_, outcome)| outcome.last().entry.position).max();
    let answer = BulkAnswer {
        accepted: answer.accepted.into_iter().map(accepted).collect(),
        refused: answer.refused.into_iter().map(refused).collect(),
    };
    let mut response = Json(answer).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(IDEMPOTENCY_KEY, header_value(&command_id));
    if let Some(position) = position {
        headers.insert(LEDGER_POSITION, HeaderValue::from(position));
    }
    Ok(response)
}

fn accepted((number, outcome): (PrisonerNumber, Outcome)) -> AcceptedCase {
    AcceptedCase {
        prisoner_number: number.into(),
        revision: outcome.last().entry.revision,
        events: outcome.events.iter().map(RecordedEvent::from).collect(),
    }
}

fn refused((number, refusal): (PrisonerNumber, Refusal)) -> RefusedCase {
    RefusedCase {
        prisoner_number: number.into(),
        code: refusal.code,
        detail: refusal.sentence,
        later_entry: refusal.later_entry,
        survivor: refusal.survivor.map(Into::into),
    }
}
