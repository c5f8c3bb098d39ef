//! The headers of the API, and the extractor of a command's headers.
//!
//! This module and `problem` depend on each other: a problem carries a header, and a malformed
//! header is a problem.

use std::{convert::Infallible, str::FromStr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};
use domain::{
    event::RecordedBy,
    identifier::{CommandId, Username},
    text::Excerpt,
};
use sign_on::Caller;
use uuid::Uuid;

use crate::{CallerScope, Problem, ProblemCode, RequestClient, problem::Fault};

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
/// In, where there is no sign-on: the person that records.
pub const RECORDED_BY: HeaderName = HeaderName::from_static("x-recorded-by");

/// Longest name of a client that is kept with an event.
const CLIENT_LEN_MAX: usize = 100;

/// The name of a client that does not say its name.
const CLIENT_UNKNOWN: &str = "unknown";

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
    /// The recorder: the caller, if a token says who that is. Without a sign-on it is the person
    /// whom the caller names, with the first word of the `User-Agent` as the client.
    pub recorded_by: RecordedBy,
    /// Whether a token says who the caller is.
    pub is_authenticated: bool,
    /// The part of the ledger that the caller may see and change.
    pub scope: CallerScope,
}

impl CommandHeaders {
    /// Refuses an `If-Match` header on a request that it has no meaning for; to ignore the header
    /// would be worse.
    ///
    /// # Errors
    /// `header-invalid`.
    pub fn refuse_if_match(&self, why: &str) -> Result<(), Problem> {
        match self.if_match {
            None => Ok(()),
            Some(_) => Err(Problem::fault(ProblemCode::HeaderInvalid, Fault::header("if-match", why))),
        }
    }
}

/// The caller that a valid token names; the guard of the routes puts it into the request's
/// extensions. Where there is no sign-on, no request has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticatedCaller {
    /// Who the caller is, and the caller's rights.
    pub caller: Arc<Caller>,
    /// The part of the ledger that the caller may see and change on the route that it asks.
    pub(crate) scope: CallerScope,
    /// The caller as the recorder of events.
    pub(crate) recorded_by: RecordedBy,
}

/// The caller that a valid token names, whatever it may do.
#[derive(Debug, Clone)]
pub(crate) struct IdentifiedCaller {
    pub(crate) caller: Arc<Caller>,
    recorded_by: RecordedBy,
}

impl IdentifiedCaller {
    /// The caller with its form as a recorder; `None` where an event cannot hold a name of the
    /// caller.
    pub(crate) fn new(caller: Arc<Caller>) -> Option<Self> {
        let username = caller.user_name.as_deref().map(Username::read).transpose().ok()?;
        let client = caller.client_id.as_deref().unwrap_or(CLIENT_UNKNOWN);
        let is_seen = client.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        let auth_source = caller.auth_source.as_deref().and_then(|source| source.to_ascii_lowercase().parse().ok());
        if !is_seen || client.len() > CLIENT_LEN_MAX {
            return None;
        }
        let recorded_by = RecordedBy { username, client: client.to_owned(), auth_source };
        Some(Self { caller, recorded_by })
    }

    /// The caller as the client for which its requests count.
    pub(crate) fn client(&self) -> RequestClient {
        RequestClient::Principal(self.caller.principal().into())
    }

    /// The caller on a route that it may use.
    pub(crate) fn with_scope(self, scope: CallerScope) -> AuthenticatedCaller {
        AuthenticatedCaller { caller: self.caller, scope, recorded_by: self.recorded_by }
    }
}

/// The scope of the caller of a request: everything, where there is no sign-on.
fn scope_of(parts: &Parts) -> CallerScope {
    parts.extensions.get::<AuthenticatedCaller>().map(|caller| caller.scope.clone()).unwrap_or_default()
}

impl<S: Send + Sync> FromRequestParts<S> for CallerScope {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(scope_of(parts))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CommandHeaders {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let headers = &parts.headers;
        let correlation_id = parse(headers, &CORRELATION_ID, "a UUID", |text| text.parse().ok())?
            .or_else(|| parts.extensions.get().map(|&CorrelationId(id)| id));
        let username = format!("a username: {}", Username::FORMAT);
        let named = parse(headers, &RECORDED_BY, &username, |text| Username::read(text).ok())?;
        let authenticated = parts.extensions.get::<AuthenticatedCaller>();
        let is_authenticated = authenticated.is_some();
        let recorded_by = match authenticated {
            Some(authenticated) => authenticated.recorded_by.clone(),
            None => RecordedBy { username: named, client: client(headers), auth_source: None },
        };
        Ok(Self {
            command_id: command_id(headers)?,
            if_match: parse(headers, &header::IF_MATCH, "a revision in quotes, e.g. \"6\"", revision)?,
            correlation_id: correlation_id.unwrap_or_else(Uuid::new_v4),
            recorded_by,
            is_authenticated,
            scope: scope_of(parts),
        })
    }
}

/// The entity tag of a stream's revision.
#[must_use]
pub fn etag(revision: u64) -> HeaderValue {
    // Digits and quotes are fit for a header.
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Refuses an expectation other than that of a client that waits to send its body (RFC 9110,
/// section 10.1.1).
pub(crate) fn refuse_unknown_expectation(headers: &HeaderMap) -> Result<(), Problem> {
    let expected = "100-continue, the one expectation that there is";
    let read = |text: &str| text.eq_ignore_ascii_case("100-continue").then_some(());
    parse(headers, &header::EXPECT, expected, read).map(drop)
}

/// A header's value read by `read`; `None` where it is absent. A header that is sent twice is
/// refused: a gateway may have added its own after the caller's, and only one of them could count.
///
/// # Errors
/// `header-invalid`, naming the header and what it should be.
pub fn parse<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    expected: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::fault(ProblemCode::HeaderInvalid, Fault::header(name.as_str(), "it is sent twice")));
    }
    // Credentials are not for an answer or a log.
    if *name == header::AUTHORIZATION && value.to_str().is_err() {
        let detail = format!("it is not {expected}");
        return Err(Problem::fault(ProblemCode::HeaderInvalid, Fault::header(name.as_str(), detail)));
    }
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
        .map_or_else(|| CLIENT_UNKNOWN.to_owned(), |text| text.chars().take(CLIENT_LEN_MAX).collect())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
