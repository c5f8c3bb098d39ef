//! The answer to a command, and its OpenAPI description.

use std::{collections::BTreeMap, fmt::Display};

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{Event, Stream, identifier::CommandId};
use event_log::StoredEvent;
use http_api::{
    ReadableTexts,
    event::EventDocument,
    headers::{IDEMPOTENCY_KEY, LEDGER_POSITION, etag},
    problem,
};
use serde::Serialize;
use utoipa::{
    IntoParams, IntoResponses, ToSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder, Type,
        response::Response as Described,
    },
};
use uuid::Uuid;

use crate::Outcome;

/// The events that a command recorded.
#[derive(Serialize, ToSchema)]
pub(super) struct RecordedEvents {
    /// The events, in order.
    events: Vec<EventDocument>,
}

/// A command was recorded: 201, or 200 where the same request or the same fact was recorded before.
pub(super) struct RecordedResponse {
    pub(super) command_id: CommandId,
    pub(super) outcome: Outcome,
    /// The free texts that the caller may read.
    pub(super) texts: ReadableTexts,
}

impl IntoResponse for RecordedResponse {
    fn into_response(self) -> Response {
        let Self { command_id, outcome, texts } = self;
        let status = if outcome.is_repeated() { StatusCode::OK } else { StatusCode::CREATED };
        let events = outcome.events().map(|event| EventDocument::new(event, texts.of_own_event(event))).collect();
        let mut response = (status, Json(RecordedEvents { events })).into_response();
        let headers = response.headers_mut();
        add_command_headers(headers, command_id, Some(outcome.position()));
        headers.insert(header::LOCATION, header_value(&location(outcome.last())));
        headers.insert(header::ETAG, etag(outcome.last().entry.revision));
        response
    }
}

/// Adds the headers that every answer to a command has: its id, and the position of its events if
/// it recorded any.
pub(super) fn add_command_headers(headers: &mut HeaderMap, command_id: CommandId, position: Option<u64>) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(IDEMPOTENCY_KEY, header_value(&command_id));
    if let Some(position) = position {
        headers.insert(LEDGER_POSITION, HeaderValue::from(position));
    }
}

/// A header's value from text that consists of visible ASCII characters.
fn header_value(text: &impl Display) -> HeaderValue {
    HeaderValue::try_from(text.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The path at which a recorded event can be read.
fn location(stored: &StoredEvent) -> String {
    match (&stored.stream, &stored.entry.event) {
        (_, Event::Contacts(event)) => format!("/prisons/{}/nomis-contacts", event.contact().prison),
        (Stream::Prisoner(number) | Stream::Contacts(number), _) => {
            format!("/prisoners/{number}/history/{}", stored.entry.revision)
        }
        (Stream::Prison(code), _) => format!("/prisons/{code}/poms"),
    }
}

/// The headers of a command, for the OpenAPI document; [`http_api::CommandHeaders`] reads them.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described, not read")]
pub(super) struct HeaderParams {
    /// The command's id: sent again, it gets the same answer and never a second event. Made up and
    /// answered if absent.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<Uuid>,
    /// Ties together what belongs to one request across services. Made up and answered if absent.
    #[param(rename = "X-Correlation-Id")]
    correlation_id: Option<Uuid>,
    /// Counts only where the ledger has no sign-on: elsewhere the token says who records. The
    /// username of the recorder, in any case: 1 to 254 characters of A-Z, 0-9, _, ., -, @ and '.
    /// Without it, the event says that the request named no user.
    #[param(rename = "X-Recorded-By", pattern = "^[A-Za-z0-9_.@'-]{1,254}$")]
    recorded_by: Option<String>,
}

/// The header with which a command insists on a revision, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described, not read")]
pub(super) struct IfMatchParam {
    /// `"<revision>"`, in quotes: do this only if the case or the roster is at that revision. The
    /// `ETag` of an earlier answer can be sent as it is.
    #[param(rename = "If-Match", pattern = "^\"[0-9]{1,19}\"$")]
    if_match: Option<String>,
}

/// The answers to a command, for the OpenAPI document.
pub(super) struct CommandResponses;

impl IntoResponses for CommandResponses {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let mut responses: BTreeMap<String, RefOr<Described>> = ProblemResponses::responses();
        responses.insert("201".to_owned(), describe_receipt("Recorded").into());
        responses.insert(
            "200".to_owned(),
            describe_receipt("Recorded before, by a request with the same key, or as the same fact").into(),
        );
        let mismatch = describe_problem("The stream is not at the revision that If-Match names");
        responses.insert("412".to_owned(), mismatch.into());
        responses
    }
}

/// The answers to a command that records nothing, for the OpenAPI document.
pub(super) struct ProblemResponses;

impl IntoResponses for ProblemResponses {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        [
            ("400", "The request cannot be read; `errors` says where"),
            ("404", "The ledger has never heard of it"),
            ("413", "The body is too large"),
            ("415", "The body is not JSON"),
            ("422", "A rule says no: `code` names it, `detail` is its sentence"),
            ("500", "A fault in the ledger"),
            ("503", "Send the same again, with the same Idempotency-Key, after `Retry-After` seconds"),
        ]
        .into_iter()
        .map(|(status, description)| (status.to_owned(), describe_problem(description).into()))
        .collect()
    }
}

fn describe_problem(description: &str) -> Described {
    let schema = Ref::from_schema_name(problem::ProblemDocument::name());
    ResponseBuilder::new()
        .description(description)
        .content(problem::CONTENT_TYPE, ContentBuilder::new().schema(Some(schema)).build())
        .build()
}

fn describe_receipt(description: &str) -> Described {
    let header = |description: &str, r#type: Type| {
        HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(r#type).build()))
            .description(Some(description))
            .build()
    };
    ResponseBuilder::new()
        .description(description)
        .header(header::LOCATION.as_str(), header("Where what was recorded can be read", Type::String))
        .header(header::ETAG.as_str(), header("The stream's revision, in quotes", Type::String))
        .header(LEDGER_POSITION.as_str(), header("How far the ledger has got with it", Type::Integer))
        .header(IDEMPOTENCY_KEY.as_str(), header("The command's id", Type::String))
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(Ref::from_schema_name(RecordedEvents::name()))).build(),
        )
        .build()
}
