//! `POST /allocation/active`, as the first allocation API (2019) answered.

use std::collections::BTreeMap;

use access_log::Shown;
use axum::{
    Json,
    extract::{Request, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use domain::identifier::PrisonerNumber;
use http_api::{CallerScope, Problem, ReadableTexts, Texts, extract::body_bytes};
use serde::Serialize;
use utoipa::ToSchema;

use super::{NO_STORE, rails_time};
use crate::{
    QueryState,
    http::{answer::Answer, own_cases::check_cases},
    past::ListExtent,
    present::allocation_in_force::{self, AllocationInForce},
};

/// Most numbers in one request. That API had no limit; this is ten prisons' cases.
const NUMBERS_MAX: usize = 10_000;

/// The override reason that means nothing without its detail.
const OTHER: &str = "OTHER";

/// The envelope of that API's answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct FirstApiAllocations {
    status: &'static str,
    error_message: &'static str,
    /// By prisoner number, as asked.
    data: Option<BTreeMap<String, FirstApiAllocation>>,
}

/// An allocation in force. That API's own row numbers, which meant nothing outside it, are not made
/// up.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FirstApiAllocation {
    nomis_offender_id: String,
    nomis_booking_id: Option<i64>,
    nomis_staff_id: i64,
    prison: String,
    allocated_at_tier: Option<String>,
    /// The override reasons, with commas between them; another reason in its own words.
    override_reason: Option<String>,
    note: Option<String>,
    email: Option<String>,
    created_by: Option<String>,
    active: bool,
    /// When the POM took the case.
    created_at: String,
    /// When the ledger learnt of it.
    updated_at: String,
}

impl FirstApiAllocation {
    /// An allocation, with the note and the override's detail where the caller may read them. The
    /// prison of the POM has written them.
    pub(super) fn new(mut held: AllocationInForce, texts: &ReadableTexts) -> Self {
        if texts.of(Some(&held.prison)) == Texts::Hidden {
            held.note = None;
            held.override_detail = None;
        }
        Self {
            nomis_offender_id: held.number.to_string(),
            nomis_booking_id: held.nomis_booking_id,
            nomis_staff_id: held.staff_id,
            prison: held.prison.to_string(),
            allocated_at_tier: held.tier,
            override_reason: override_reason(&held.override_reasons, held.override_detail),
            note: held.note,
            email: held.email,
            created_by: held.recorded_by,
            active: true,
            created_at: rails_time(held.since),
            updated_at: rails_time(held.recorded_at.unwrap_or(held.since)),
        }
    }
}

/// The reasons with commas between them; `OTHER` is replaced by its detail, the text that a client
/// of that API sent.
fn override_reason(reasons: &[String], mut detail: Option<String>) -> Option<String> {
    let reasons: Vec<String> = reasons
        .iter()
        .map(|reason| if reason == OTHER { detail.take().unwrap_or_else(|| reason.clone()) } else { reason.clone() })
        .collect();
    (!reasons.is_empty()).then(|| reasons.join(","))
}

/// The allocations in force of these numbers, as the first allocation API answered; numbers without
/// one are absent.
///
/// So are numbers that are not the caller's.
#[utoipa::path(
    post, path = "/allocation/active", tag = "First allocation API",
    request_body(content = Vec<String>, description = "Prisoner numbers", example = json!(["A1000AA"])),
    responses((status = 200, body = FirstApiAllocations)),
)]
pub(in crate::http) async fn find_first_api_allocations(
    State(state): State<QueryState>,
    caller: CallerScope,
    request: Request,
) -> Result<Response, Problem> {
    let body = body_bytes(request, &()).await?;
    let numbers: Vec<String> = match serde_json::from_slice(&body) {
        Ok(numbers) => numbers,
        Err(_) => return Ok(refuse("Invalid request")),
    };
    if numbers.len() > NUMBERS_MAX {
        return Ok(refuse("Too many offenders in one request"));
    }
    // As in that API, a text that is no prisoner number has no allocation.
    let numbers: Vec<PrisonerNumber> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
    let permitted = check_cases(&state, &caller.confinement, &numbers).await?;
    let numbers: Vec<PrisonerNumber> = numbers
        .into_iter()
        .zip(permitted)
        .filter_map(|(number, permitted)| permitted.is_ok().then_some(number))
        .collect();
    let read = allocation_in_force::in_force_of_prisoners(&state.views, &numbers, state.now()).await?;
    let extent = ListExtent::of(&read);
    let shown = Shown::prisoners(numbers.iter().chain(read.rows.iter().map(|held| &held.number)));
    let data = read
        .rows
        .into_iter()
        .filter_map(|held| Some((held.asked.clone()?, FirstApiAllocation::new(held, &caller.texts))));
    let data = data.collect();
    let envelope = FirstApiAllocations { status: "ok", error_message: "", data: Some(data) };
    Ok(Answer::list(extent, envelope, shown).into_response())
}

/// That API's refusal, a 200.
fn refuse(error_message: &'static str) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct FirstApiRefusal {
        status: &'static str,
        error_message: &'static str,
    }
    ([(header::CACHE_CONTROL, NO_STORE)], Json(FirstApiRefusal { status: "error", error_message })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::responsibility::tests::instant;
    use serde_json::json;

    #[test]
    fn an_allocation_has_that_apis_members() {
        let held = AllocationInForce {
            asked: None,
            number: "A1234BC".parse().expect("a number"),
            prison: "LEI".parse().expect("a prison"),
            staff_id: 485_926,
            email: None,
            since: instant("2026-03-01T09:00:00Z"),
            tier: Some("B".to_owned()),
            override_reasons: vec!["SUITABILITY".to_owned(), "OTHER".to_owned()],
            override_detail: Some("Speaks Welsh.".to_owned()),
            note: Some("Knows the family.".to_owned()),
            nomis_booking_id: Some(1_153_753),
            recorded_by: Some("ASMITH_GEN".to_owned()),
            recorded_at: Some(instant("2026-03-02T10:30:00.123456Z")),
        };
        assert_eq!(
            json!(FirstApiAllocation::new(held, &ReadableTexts::All)),
            json!({
                "nomis_offender_id": "A1234BC", "nomis_booking_id": 1_153_753, "nomis_staff_id": 485_926,
                "prison": "LEI", "allocated_at_tier": "B", "override_reason": "SUITABILITY,Speaks Welsh.",
                "note": "Knows the family.", "email": null, "created_by": "ASMITH_GEN", "active": true,
                "created_at": "2026-03-01T09:00:00.000Z", "updated_at": "2026-03-02T10:30:00.123Z",
            })
        );
    }
}
