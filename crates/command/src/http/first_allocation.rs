//! `POST /allocation`: as the first allocation API (2019) took and answered it, over the ledger.
//!
//! It allocates or reallocates, whichever the case needs, and assigns the tier first where it differs. Unlike the rest
//! of the API it passes over members that it does not know, as the first API did, and answers a refusal with 200.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use domain::{
    Command,
    identifier::{PrisonCode, PrisonerNumber, StaffId, Username},
    prisoner::{self, ChoiceReasons, DETAIL_LEN_MAX, OverrideReason, TierAssigned},
    tier::{Tier, TierSource},
};
use http_api::{
    CommandHeaders, Problem,
    extract::from_json,
    headers::{IDEMPOTENCY_KEY, LEDGER_POSITION},
};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Body,
    answer::{HeaderParams, Problems, header_value},
    problem, recorded_by, refuse_if_match,
    strict_object::Object,
    text::Lines,
};
use crate::{Error, Request, Service, service::recorded_before};

/// Why a case that another POM holds moves; the first API had no word for it.
const REALLOCATION_REASON: &str = "Allocated to another POM through the first allocation API";

/// The parts of the request that are commands of their own.
const TIER: &str = "tier";
const ALLOCATION: &str = "allocation";

/// Longest username of the ledger.
const USERNAME_LEN_MAX: usize = 30;

/// What the first API knew of an allocation.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct FirstAllocation {
    /// The POM.
    #[serde(deserialize_with = "staff_id")]
    #[schema(value_type = i64, example = 485_926)]
    nomis_staff_id: StaffId,
    /// The prisoner.
    #[schema(value_type = String, example = "A1234BC")]
    nomis_offender_id: PrisonerNumber,
    /// The booking.
    #[serde(default, deserialize_with = "booking")]
    #[schema(value_type = Option<i64>)]
    nomis_booking_id: Option<i64>,
    /// The tier.
    #[schema(value_type = String, example = "A")]
    allocated_at_tier: Tier,
    /// Where.
    #[schema(value_type = String, example = "LEI")]
    prison: PrisonCode,
    /// Who allocates: a username.
    created_by: Option<String>,
    /// Why a POM of the other kind: one of the ledger's override reasons, or free text.
    #[schema(value_type = Option<String>)]
    override_reason: Option<Lines>,
    /// Note to the POM.
    #[schema(value_type = Option<String>)]
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
    data: Option<Value>,
}

/// Allocate or reallocate a case, as the first allocation API (2019) took and answered it. The body may also stand
/// under a member `allocation`. A refusal by a rule is answered with 200 and `{"status":"error","errorMessage":"…"}`.
#[utoipa::path(
    post, path = "/allocation", tag = "First allocation API", operation_id = "allocate_first_api",
    params(HeaderParams),
    request_body = FirstAllocation,
    responses((status = 200, description = "Allocated, or refused by a rule", body = FirstAnswer), Problems),
)]
pub(super) async fn allocate(
    State(service): State<Service>,
    headers: CommandHeaders,
    body: Body<Value>,
) -> Result<Response, Problem> {
    refuse_if_match(&headers)?;
    let request_digest = body.digest("first-allocation");
    let allocation = read(body.fields)?;
    let command_id = headers.command_id;
    let (answer, position) = match record(&service, headers, allocation, request_digest).await {
        Ok(position) => {
            (FirstAnswer { status: "ok", error_message: String::new(), data: Some(Value::Null) }, Some(position))
        }
        Err(Error::Refused(refusal)) => {
            (FirstAnswer { status: "error", error_message: refusal.sentence, data: None }, None)
        }
        Err(error) => return Err(problem(error)),
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

fn read(mut body: Value) -> Result<FirstAllocation, Problem> {
    let allocation = match body.get_mut("allocation") {
        Some(wrapped) => wrapped.take(),
        None => body,
    };
    from_json(allocation.to_string().as_bytes()).map(|Object(allocation)| allocation)
}

/// Records the tier, where it differs, and the allocation; answers with the position of the latter. Nothing is
/// recorded unless both would be accepted.
async fn record(
    service: &Service,
    headers: CommandHeaders,
    allocation: FirstAllocation,
    request_digest: String,
) -> Result<u64, Error> {
    let number = allocation.nomis_offender_id.clone();
    let (command_id, correlation_id) = (headers.command_id, headers.correlation_id);
    let mut recorded_by = recorded_by(service, headers);
    if let Some(username) = allocation.created_by.as_deref().and_then(username) {
        recorded_by.username = username;
    }
    // The client knows the key that it sent, and none that is derived from it.
    let with_its_key = |error| match error {
        Error::KeyReused { .. } => Error::KeyReused { command_id },
        error => error,
    };
    service.recent().check(command_id, None, &request_digest)?;
    let commands = {
        let case = service.case_now(&number).await?;
        let known = case.known();
        // A repeat is answered as such, whatever has happened to the case since.
        if let Some(repeated) = recorded_before(&known, command_id.derive(ALLOCATION), &request_digest) {
            return Ok(repeated.map_err(with_its_key)?.last().entry.position);
        }
        recorded_before(&known, command_id.derive(TIER), &request_digest).transpose().map_err(with_its_key)?;
        commands(&known.history().state(), allocation)
    };
    service.rehearse(&number, &commands).await?;
    service.recent().note(command_id, None, &request_digest);
    let mut position = 0;
    for command in commands {
        let part = match &command {
            prisoner::Command::AssignTier(_) => TIER,
            _ => ALLOCATION,
        };
        let request = Request {
            command: Command::Prisoner(number.clone(), command),
            command_id: command_id.derive(part),
            request_digest: request_digest.clone(),
            recorded_by: recorded_by.clone(),
            correlation_id,
            causation_id: None,
            effective_at: None,
            if_match: None,
        };
        position = service.execute(request).await.map_err(with_its_key)?.last().entry.position;
    }
    Ok(position)
}

fn commands(state: &prisoner::State, allocation: FirstAllocation) -> Vec<prisoner::Command> {
    let mut commands = Vec::new();
    let tier = state.tier.as_ref();
    if tier.map(|known| known.tier) != Some(allocation.allocated_at_tier) {
        commands.push(prisoner::Command::AssignTier(TierAssigned {
            tier: allocation.allocated_at_tier,
            rosh_level: tier.and_then(|known| known.rosh_level),
            source: TierSource::Manual,
            crn: None,
            prison: None,
        }));
    }
    let (override_reason, note) = (allocation.override_reason.map(Into::into), allocation.note.map(Into::into));
    let reasons = reasons(override_reason, note, allocation.nomis_booking_id);
    let (prison, staff_id) = (allocation.prison, allocation.nomis_staff_id);
    commands.push(match state.primary_pom {
        None => prisoner::Command::Allocate(prisoner::Allocate { prison, staff_id, reasons }),
        Some(_) => prisoner::Command::Reallocate(prisoner::Reallocate {
            prison,
            staff_id,
            expected_holder: None,
            reason: REALLOCATION_REASON.to_owned(),
            reasons,
        }),
    });
    commands
}

/// The reason for an override: one of the ledger's words, or else other, in the client's. The first API had no member
/// for the detail that some of them need, so the note is it, or else the word itself.
fn reasons(override_reason: Option<String>, note: Option<String>, nomis_booking_id: Option<i64>) -> ChoiceReasons {
    let given = override_reason.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let detail = |word: String| {
        let fits = |note: &&str| !note.is_empty() && note.chars().count() <= DETAIL_LEN_MAX;
        note.as_deref().map(str::trim).filter(fits).map_or(word, str::to_owned)
    };
    let mut reasons = ChoiceReasons { nomis_booking_id, ..ChoiceReasons::default() };
    if let Some(text) = given {
        let (reason, suitability, other) = match text.to_ascii_uppercase().as_str() {
            "NO_STAFF" => (OverrideReason::NoStaff, None, None),
            "CONTINUITY" => (OverrideReason::Continuity, None, None),
            "SUITABILITY" => (OverrideReason::Suitability, Some(detail(text)), None),
            "OTHER" => (OverrideReason::Other, None, Some(detail(text))),
            _ => (OverrideReason::Other, None, Some(text)),
        };
        reasons.override_reasons.push(reason);
        reasons.suitability_detail = suitability;
        reasons.override_detail = other;
    }
    ChoiceReasons { note, ..reasons }
}

/// A username in the ledger's letters.
fn username(text: &str) -> Option<Username> {
    let letters = text.trim().chars().take(USERNAME_LEN_MAX).map(|c| match c.to_ascii_uppercase() {
        c if c.is_ascii_uppercase() || c.is_ascii_digit() => c,
        _ => '_',
    });
    letters.collect::<String>().parse().ok()
}

/// A staff id as a number or, as some clients sent it, as text.
fn staff_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StaffId, D::Error> {
    let number = NumberOrText::deserialize(deserializer)?.number().map_err(de::Error::custom)?;
    StaffId::try_from(number).map_err(de::Error::custom)
}

/// A booking as a number or, as some clients sent it, as text.
fn booking<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let given = Option::<NumberOrText>::deserialize(deserializer)?;
    given.map(|given| given.number().map_err(de::Error::custom)).transpose()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(i64),
    Text(String),
}

impl NumberOrText {
    fn number(self) -> Result<i64, String> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => text.trim().parse().map_err(|_| format!("`{text}` is not a whole number")),
        }
    }
}
