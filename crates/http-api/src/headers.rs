//! The headers of the API, and the extractor of a command's headers.
//!
//! This module and `problem` depend on each other: a problem carries a header, and a malformed
//! header is a problem.

use std::str::FromStr;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};
use domain::{
    identifier::{CommandId, Username},
    text::Excerpt,
};
use uuid::Uuid;

use crate::{Problem, ProblemCode, problem::Fault};

/// Out: how far the answer goes in the log.
pub const LEDGER_POSITION: HeaderName = HeaderName::from_static("ledger-position");
/// Out, of lists: how many cases and prisons the views leave out.
pub const LEDGER_STREAMS_ASIDE: HeaderName = HeaderName::from_static("ledger-streams-aside");
/// In: the answer must go at least this far.
pub const LEDGER_POSITION_AT_LEAST: HeaderName = HeaderName::from_static("ledger-position-at-least");
/// In and out: the command id.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// In and out: ties together what belongs to one request across services.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// In, where no authentication is configured: the person that records.
pub const RECORDED_BY: HeaderName = HeaderName::from_static("x-recorded-by");

/// Longest name of a client that is kept with an event.
const CLIENT_LEN_MAX: usize = 100;

/// The correlation id of a request, given or made up; the middleware puts it into the request's
/// extensions and the answer's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorrelationId(pub Uuid);

impl CorrelationId {
    /// The one given, if it is a UUID, or else a new one.
    #[must_use]
    pub fn given_or_new(headers: &HeaderMap) -> Self {
        Self(text(headers, &CORRELATION_ID).and_then(|text| text.parse().ok()).unwrap_or_else(Uuid::new_v4))
    }
}

/// The headers of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandHeaders {
    /// The command id: the `Idempotency-Key`, or one made up.
    pub command_id: CommandId,
    /// The revision that the caller insists on.
    pub if_match: Option<u64>,
    /// The correlation id, given or made up.
    pub correlation_id: Uuid,
    /// The person that records, if the caller names one.
    pub recorded_by: Option<Username>,
    /// The program that sent the command: the first word of its `User-Agent`.
    pub client: String,
}

impl<S: Send + Sync> FromRequestParts<S> for CommandHeaders {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let headers = &parts.headers;
        let correlation_id = parse(headers, &CORRELATION_ID, "a UUID", |text| text.parse().ok())?
            .or_else(|| parts.extensions.get().map(|&CorrelationId(id)| id));
        let username = format!("a username: {}", Username::FORMAT);
        let recorded_by = parse(headers, &RECORDED_BY, &username, |text| Username::read(text).ok())?;
        Ok(Self {
            command_id: command_id(headers)?,
            if_match: parse(headers, &header::IF_MATCH, "a revision in quotes, e.g. \"6\"", revision)?,
            correlation_id: correlation_id.unwrap_or_else(Uuid::new_v4),
            recorded_by,
            client: client(headers),
        })
    }
}

/// The entity tag of a stream's revision.
#[must_use]
pub fn etag(revision: u64) -> HeaderValue {
    // Digits and quotes are fit for a header.
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// A header's value read by `read`; `None` where it is absent.
///
/// # Errors
/// `header-invalid`, naming the header and what it should be.
pub fn parse<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    expected: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    value.to_str().ok().and_then(read).map(Some).ok_or_else(|| {
        let text = String::from_utf8_lossy(value.as_bytes());
        Problem::fault(
            ProblemCode::HeaderInvalid,
            Fault::header(name.as_str(), format!("`{}` is not {expected}", Excerpt(&text))),
        )
    })
}

/// The command id that a request has: its idempotency key, or one made up.
fn command_id(headers: &HeaderMap) -> Result<CommandId, Problem> {
    let key = parse(headers, &IDEMPOTENCY_KEY, "a UUID", |text| text.parse().ok())?;
    let key = key.unwrap_or_else(Uuid::new_v4);
    CommandId::from_key(key).ok_or_else(|| {
        let detail = format!("`{key}` is a UUID that the ledger keeps for commands of its own; send another UUID");
        Problem::fault(ProblemCode::HeaderInvalid, Fault::header(IDEMPOTENCY_KEY.as_str(), detail))
    })
}

/// The number that a text of digits alone writes: unlike `str::parse`, it takes no sign.
#[must_use]
pub fn whole_number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn revision(text: &str) -> Option<u64> {
    whole_number(text.strip_prefix('"')?.strip_suffix('"')?)
}

fn client(headers: &HeaderMap) -> String {
    text(headers, &header::USER_AGENT)
        .and_then(|text| text.split([' ', '/']).next())
        .filter(|text| !text.is_empty())
        .map_or_else(|| "unknown".to_owned(), |text| text.chars().take(CLIENT_LEN_MAX).collect())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
