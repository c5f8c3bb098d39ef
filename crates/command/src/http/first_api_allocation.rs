//! `POST /allocation`: an allocation as the first allocation API (2019) took and answered it.
//!
//! Unlike the rest of the API it ignores members that it does not know, as the first API did, and
//! answers a refusal with 200.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    event::RecordedBy,
    identifier::{PrisonCode, PrisonerNumber, StaffId, Username},
    text::{Excerpt, Lines, is_blank},
    tier::Tier,
};
use http_api::{CommandHeaders, Problem, extract::from_json};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    CommandBody,
    answer::{HeaderParams, ProblemResponses, add_command_headers},
    refuse_if_match,
    strict_object::StrictObject,
};
use crate::{
    CommandError, Service,
    operations::first_api_allocation::{FirstAllocation, allocate},
};

/// An allocation as the first API knew it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = FirstAllocation)]
pub(super) struct FirstAllocationBody {
    /// The POM.
    #[serde(deserialize_with = "staff_id")]
    #[schema(value_type = StaffId)]
    nomis_staff_id: StaffId,
    /// The prisoner.
    nomis_offender_id: PrisonerNumber,
    /// The booking.
    #[serde(default, deserialize_with = "booking")]
    #[schema(value_type = Option<i64>)]
    nomis_booking_id: Option<i64>,
    /// The tier.
    allocated_at_tier: Tier,
    /// The prison.
    prison: PrisonCode,
    /// The username of the person that allocates, in any case.
    #[serde(default, deserialize_with = "creator")]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9_.@'-]{0,254}$")]
    created_by: Option<Username>,
    /// Why a POM of the other kind: one of the ledger's override reasons, or free text.
    override_reason: Option<Lines>,
    /// Note to the POM.
    note: Option<Lines>,
    /// The POM's e-mail address; the roster's is the one that counts.
    #[expect(dead_code, reason = "part of the first API; the ledger has the roster's")]
    email: Option<String>,
}

/// The answer of the first API.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FirstAnswer {
    /// `ok` or `error`.
    status: &'static str,
    /// The rule's sentence; empty where it is `ok`.
    #[serde(rename = "errorMessage")]
    error_message: String,
    /// Null where it is `ok`, absent where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    data: Option<Value>,
}

/// Allocate or reallocate a case, as the first allocation API (2019) took and answered it. The
/// members may also be in a member `allocation`. A refusal by a rule is answered with 200 and
/// `{"status":"error","errorMessage":"…"}`.
#[utoipa::path(
    post, path = "/allocation", tag = "First allocation API",
    params(HeaderParams),
    request_body(
        content = FirstAllocationBody,
        example = json!({"nomis_staff_id": 485_926, "nomis_offender_id": "A1197AA", "allocated_at_tier": "F", "prison": "LEI", "created_by": "HOMD_LEI"}),
    ),
    responses((status = 200, description = "Allocated, or refused by a rule", body = FirstAnswer), ProblemResponses),
)]
pub(super) async fn allocate_by_first_api(
    State(service): State<Service>,
    headers: CommandHeaders,
    body: CommandBody<Value>,
) -> Result<Response, Problem> {
    refuse_if_match(&headers)?;
    let CommandBody { fields, path } = body;
    let body = read(fields)?;
    let creator = body.created_by;
    let command_id = headers.command_id;
    let (override_reason, note) = (body.override_reason.map(String::from), body.note.map(String::from));
    let who = (&body.nomis_offender_id, &body.prison, body.nomis_staff_id, body.nomis_booking_id);
    let request_digest =
        path.digest("first-allocation", &(who, body.allocated_at_tier, &override_reason, &note, &creator));
    // A caller that has signed on is the recorder, whatever the body says.
    let creator = creator.filter(|_| !headers.is_authenticated);
    let request = FirstAllocation {
        number: body.nomis_offender_id,
        tier: body.allocated_at_tier,
        prison: body.prison,
        staff_id: body.nomis_staff_id,
        override_reason,
        note,
        nomis_booking_id: body.nomis_booking_id,
        command_id,
        request_digest,
        correlation_id: headers.correlation_id,
        confinement: headers.scope.confinement,
        recorded_by: RecordedBy { username: creator.or(headers.recorded_by.username), ..headers.recorded_by },
    };
    let (answer, position) = match allocate(&service, request).await {
        Ok(position) => {
            (FirstAnswer { status: "ok", error_message: String::new(), data: Some(Value::Null) }, Some(position))
        }
        Err(CommandError::Refused(refusal)) => {
            (FirstAnswer { status: "error", error_message: refusal.sentence, data: None }, None)
        }
        Err(error) => return Err(error.into()),
    };
    let mut response = Json(answer).into_response();
    add_command_headers(response.headers_mut(), command_id, position);
    Ok(response)
}

/// Reads the members from the body, or from its member `allocation`.
fn read(mut body: Value) -> Result<FirstAllocationBody, Problem> {
    let allocation = match body.get_mut("allocation") {
        Some(wrapped) => wrapped.take(),
        None => body,
    };
    from_json(allocation.to_string().as_bytes()).map(|StrictObject(allocation)| allocation)
}

/// A staff id as a number or, as some clients sent it, as text.
fn staff_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StaffId, D::Error> {
    let number = NumberOrText::deserialize(deserializer)?.number().map_err(de::Error::custom)?;
    StaffId::try_from(number).map_err(de::Error::custom)
}

/// A booking as a number or, as some clients sent it, as text.
fn booking<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let given = Option::<NumberOrText>::deserialize(deserializer)?;
    given.map(|given| given.number().and_then(exact_in_json).map_err(de::Error::custom)).transpose()
}

/// A username in any case; a blank one names no user.
fn creator<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Username>, D::Error> {
    let given = Option::<String>::deserialize(deserializer)?;
    let given = given.filter(|text| !is_blank(text));
    given.map(|text| Username::read(&text).map_err(de::Error::custom)).transpose()
}

/// Refuses a number that JSON does not keep exactly: the event would hold another one, or one that
/// cannot be read again.
fn exact_in_json(number: i64) -> Result<i64, String> {
    match number.unsigned_abs() < 1 << 53 {
        true => Ok(number),
        false => Err(format!("`{number}` is not a whole number that fits here; its amount must be below 2^53")),
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "not a whole number; write one such as 1153753")]
enum NumberOrText {
    Number(i64),
    Text(String),
}

impl NumberOrText {
    fn number(self) -> Result<i64, String> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => {
                let digits = text.trim();
                // `parse` takes a plus sign, too.
                let number = if digits.starts_with('+') { None } else { digits.parse().ok() };
                number.ok_or_else(|| format!("`{}` is not a whole number", Excerpt(&text)))
            }
        }
    }
}
