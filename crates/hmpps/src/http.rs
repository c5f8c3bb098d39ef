//! Parked messages over HTTP: `/integration/parked`. They are shown by their ids and types, without
//! what they say: no answer names a person. The tool `integration parked` shows the rest.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http_api::{
    Access, CommandHeaders, GuardedRouter, Params, PathParams, Problem, ProblemCode,
    page::{Cursor, Limit},
    problem::ProblemDocument,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};
use utoipa_axum::routes;
use uuid::Uuid;

use crate::{Intake, Outage, ParkReason, ParkedMessage, WatchedQueue, queue_admin};

/// Every route about parked messages.
fn routes() -> GuardedRouter<Intake> {
    GuardedRouter::new(Description::openapi())
        .described(Access::Messages, routes!(list_parked_messages))
        .described(Access::Messages, routes!(retry_parked_message))
        .described(Access::Messages, routes!(dismiss_parked_message))
}

/// The HTTP API of an intake, and of its queue if one is named.
pub fn router(intake: Intake, queue: Option<WatchedQueue>) -> GuardedRouter {
    let of_queue = queue_admin::routes().map(|router| router.with_state(queue));
    routes().map(|router| router.with_state(intake)).merge(of_queue)
}

/// The OpenAPI description of the HTTP API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = routes().openapi().clone();
    document.merge(queue_admin::routes().openapi().clone());
    document
}

#[derive(OpenApi)]
#[openapi(components(schemas(ProblemDocument, Cursor, ParkReason)))]
struct Description;

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ParkedQuery {
    /// Those that wait for this reason. Where it is absent, those that wait for any but `DELETION`:
    /// what other services delete is a list of its own.
    reason: Option<ParkReason>,
    /// The page after this one: from the `Link` header of an answer.
    after: Option<Cursor>,
    /// At most so many, 1 to 1000; 50 where it is absent.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
}

/// A message of HMPPS that waits for a person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WaitingMessage {
    /// Identifies it.
    id: String,
    /// Its type, where it can be read.
    #[schema(required)]
    event_type: Option<String>,
    /// `UNREADABLE`, `REFUSED`, `NEEDS_DECISION`, `DELETION` or `FAILED`. `allocation-ledger
    /// integration parked` has the sentence, which may name a person.
    reason: String,
    /// When it was parked first.
    parked_at: DateTime<Utc>,
    /// How often the ledger has tried to take it in.
    tries: i32,
}

impl From<ParkedMessage> for WaitingMessage {
    fn from(parked: ParkedMessage) -> Self {
        let ParkedMessage { id, event_type, reason, detail: _, parked_at, tries } = parked;
        Self { id, event_type, reason, parked_at, tries }
    }
}

/// The outcome of another try.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RetriedMessage {
    /// `RECORDED`, `ALREADY_HELD`, `UNKNOWN_PERSON` or `IRRELEVANT`: it waits no more. `PARKED`: it
    /// does.
    outcome: &'static str,
}

/// The messages of HMPPS that wait for a person, the oldest first.
#[utoipa::path(
    get, path = "/integration/parked", tag = "Messages of HMPPS", params(ParkedQuery),
    responses(
        (status = 200, description = "The messages", body = Vec<WaitingMessage>, headers(
            ("Link" = String, description = "Where the next page is, if there is one")
        )),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "A store is out of reach", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
async fn list_parked_messages(
    State(intake): State<Intake>,
    Params(query): Params<ParkedQuery>,
    uri: Uri,
) -> Result<Response, Problem> {
    let after = query.after.as_ref().map(Cursor::key).transpose()?;
    let rows = query.limit.rows();
    let more = i64::try_from(rows + 1).unwrap_or(i64::MAX);
    let mut parked =
        intake.parked().list(query.reason, after.as_ref(), more).await.map_err(|error| out_of_reach(&error.into()))?;
    let is_last_page = parked.len() <= rows;
    parked.truncate(rows);
    let last = parked.last().filter(|_| !is_last_page);
    let next = last.and_then(|last| Cursor::after(&last.key()).next_link(&uri));
    let messages: Vec<WaitingMessage> = parked.into_iter().map(Into::into).collect();
    let mut answer = answer(Json(messages));
    if let Some(link) = next {
        answer.headers_mut().insert(header::LINK, link);
    }
    Ok(answer)
}

/// Tries to take a parked message in again, as after a case was put right.
#[utoipa::path(
    post, path = "/integration/parked/{messageId}/retry", tag = "Messages of HMPPS",
    params((
        "messageId" = Uuid, Path, description = "The message's id",
        example = "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11"
    )),
    responses(
        (status = 200, description = "The outcome", body = RetriedMessage),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "No such message waits", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "A store is out of reach", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
async fn retry_parked_message(
    State(intake): State<Intake>,
    PathParams(id): PathParams<Uuid>,
) -> Result<Response, Problem> {
    let taken_in = intake.retry(&id.to_string()).await.map_err(|outage| out_of_reach(&outage))?;
    let outcome = taken_in.ok_or_else(unknown_message)?.word();
    Ok(answer(Json(RetriedMessage { outcome })))
}

/// Dismisses a parked message: nothing is to be recorded of it.
#[utoipa::path(
    delete, path = "/integration/parked/{messageId}", tag = "Messages of HMPPS",
    params((
        "messageId" = Uuid, Path, description = "The message's id",
        example = "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11"
    )),
    responses(
        (status = 204, description = "It waits no more"),
        (status = 400, description = "The request cannot be read", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "No such message waits", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "A fault inside the ledger", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "A store is out of reach", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
async fn dismiss_parked_message(
    State(intake): State<Intake>,
    PathParams(id): PathParams<Uuid>,
    headers: CommandHeaders,
) -> Result<Response, Problem> {
    let recorder = headers.recorded_by;
    let by = recorder.username.map_or(recorder.client, |username| username.to_string());
    let is_dismissed = intake.parked().dismiss(&id.to_string(), Some(&by)).await;
    match is_dismissed.map_err(|error| out_of_reach(&error.into()))? {
        true => Ok(answer(StatusCode::NO_CONTENT)),
        false => Err(unknown_message()),
    }
}

fn answer(body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn unknown_message() -> Problem {
    Problem::not_found(ProblemCode::MessageUnknown, "No parked message with this id waits.")
}

fn out_of_reach(outage: &Outage) -> Problem {
    tracing::warn!(error = %outage, "parked messages are out of reach");
    Problem::new(ProblemCode::MessagesUnavailable, "The parked messages are out of reach for now. Please try again.")
}
