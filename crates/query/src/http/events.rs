//! `GET /events`: the feed for other services, as pages or as a stream of server-sent events that
//! goes on.

use std::{borrow::Cow, convert::Infallible, fmt::Write as _, future::pending, time::Duration};

use access_log::Shown;
use axum::{
    body::{Body, Bytes},
    extract::{FromRequestParts, State},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use domain::{
    Event,
    identifier::{PrisonCode, PrisonerNumber},
};
use event_log::{FollowerItem, LogError, RecordedEvent as LogEvent, SharedLog};
use futures::{StreamExt as _, stream, stream::BoxStream};
use http_api::{
    CallerScope, InputEnd, Params, Problem, ProblemCode, QuotaExceeded, QuotaShare, ReadableTexts, RequestClient,
    event::{EventDocument, event_types_schema},
    headers::{AuthenticatedCaller, LEDGER_POSITION, parse, whole_number},
    page::Limit,
    problem::Fault,
};
use serde::{Deserialize, Deserializer, de};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::{answer::Answer, known_prison::require_known, read_recording::ReadInProgress};
use crate::{
    QueryError, QueryState,
    feed::{self, EventFilter, EventType},
};

/// Sent by a client that comes back: the position of the last event that it has seen.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How long a stream is silent before it sends a sign of life. Proxies give up on a silent
/// connection after a minute or so.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Bytes prepared at once. Until the client has taken them, no more are prepared.
const CHUNK_BYTES: usize = 32 * 1024;

/// How a stream begins: it tells the client when to come back after a break.
const PREAMBLE: &str = "retry: 1000\n: events of the allocation ledger\n\n";

/// How a stream ends where the log cannot be read on. A client that comes back for the rest gets
/// this again while the log stays so.
const BROKEN_OFF: &str = ": the log cannot be read on from here for now\n\n";

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Events after this position; from the first one where it is absent.
    after: Option<u64>,
    /// Event types, with commas between them.
    #[serde(rename = "type")]
    #[param(inline)]
    types: Option<EventTypes>,
    /// Events of this prison's roster, and of cases that name it.
    #[param(inline)]
    prison: Option<PrisonCode>,
    /// Events of this prisoner's case, those under numbers merged with it included.
    #[param(inline)]
    prisoner: Option<PrisonerNumber>,
    /// Most events in a page; not for a stream.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 50)]
    limit: Option<Limit>,
}

/// Event types of either kind of stream.
#[derive(Debug)]
struct EventTypes(Vec<EventType>);

impl PartialSchema for EventTypes {
    fn schema() -> RefOr<Schema> {
        event_types_schema(&Event::type_names().collect::<Vec<_>>())
    }
}

impl ToSchema for EventTypes {}

impl<'de> Deserialize<'de> for EventTypes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.split(',').map(str::parse).collect::<Result<_, String>>().map(Self).map_err(de::Error::custom)
    }
}

/// The events of the ledger in its own order, after a position.
///
/// A page; or with `Accept: text/event-stream` a stream that goes on with new events.
///
/// Every event wanted comes exactly once and in order of position. `Ledger-Position` of a page says
/// how far it goes: nothing wanted up to there is missing, so go on after it. A page may be short,
/// or empty, and yet have a next one, where few events among many are wanted.
///
/// In a stream an event's `id` is its position, its `event` the type, its `data` the JSON object. A
/// client that comes back with `Last-Event-ID` misses nothing. A block with an `id` alone says that
/// nothing up to there was wanted. A stream ends when the token expires that opened it.
///
/// Notes and other free texts are null, but for auditors. A caller that is confined to prisons is
/// refused (403).
#[utoipa::path(
    get, path = "/events", tag = "The log and the views",
    params(
        EventsQuery,
        (
            "Last-Event-ID" = Option<String>, Header, pattern = "^[0-9]{1,19}$",
            description = "For a stream: where to go on; goes before `after`",
        ),
    ),
    responses(
        (status = 200, content((Vec<EventDocument> = "application/json"), (String = "text/event-stream"))),
    ),
)]
pub(super) async fn list_events(
    State(state): State<QueryState>,
    caller: CallerScope,
    Params(query): Params<EventsQuery>,
    headers: HeaderMap,
    uri: Uri,
    opener: StreamOpener,
) -> Result<Response, Problem> {
    if let Some(prison) = &query.prison {
        require_known(&state, prison).await?;
    }
    let head = state.log.head().await.map_err(QueryError::from)?;
    let mut filter = EventFilter::new(query.types.map(|EventTypes(types)| types).unwrap_or_default(), query.prison);
    if let Some(number) = &query.prisoner {
        filter = filter.of_case(&state.log, number).await?;
    }
    let ahead = |position: u64| format!("the log ends at position {head}; there is no position {position} yet");
    if let Some(after) = query.after.filter(|after| *after > head) {
        return Err(Problem::fault(ProblemCode::ParameterInvalid, Fault::parameter("after", ahead(after))));
    }
    let after = query.after.unwrap_or_default();
    let last_seen = parse(&headers, &LAST_EVENT_ID, "a position in the ledger", whole_number::<u64>)?;
    if !wants_stream(&headers) {
        let limit = query.limit.unwrap_or_default().rows();
        let page = feed::page(&state.log, &mut filter, after, head, limit).await.map_err(QueryError::from)?;
        // A client that polls an empty log is shown nothing.
        let shown = match page.events.is_empty() {
            true => Shown::no_person(),
            false => filter.shown(after, Some(page.position)),
        };
        let document = |event| EventDocument::new(event, caller.texts.of_event(event));
        let events: Vec<EventDocument> = page.events.iter().map(document).collect();
        let next = page.is_more.then_some(page.position);
        return Ok(Answer::new(page.position, events, shown).with_next_after(next, &uri).into_response());
    }
    if query.limit.is_some() {
        let detail = "a stream has no pages; leave it out";
        return Err(Problem::fault(ProblemCode::ParameterInvalid, Fault::parameter("limit", detail)));
    }
    if let Some(last_seen) = last_seen.filter(|last_seen| *last_seen > head) {
        return Err(Problem::fault(
            ProblemCode::HeaderInvalid,
            Fault::header(LAST_EVENT_ID.as_str(), ahead(last_seen)),
        ));
    }
    let permit = state.stream_permit(&opener.client).map_err(|exceeded| {
        let detail = match exceeded {
            QuotaExceeded::ByAll => "As many follow the events as this service allows. Please try again.",
            QuotaExceeded::ByClient => {
                "This client has as many streams of events as one may. Please use those that are open, or end one."
            }
        };
        Problem::new(ProblemCode::TooManyStreams, detail)
    })?;
    let after = last_seen.unwrap_or(after);
    let shown = filter.shown(after, None);
    let recording = StreamRecording { reading: opener.reading, after };
    let reader = EventReader { filter, texts: caller.texts };
    let events = EventStream::new(&state.log, reader, recording, head, opener.ends, permit).await?;
    let mut response = respond(events, head);
    response.extensions_mut().insert(shown);
    Ok(response)
}

/// Whether the client asks for a stream rather than a page.
fn wants_stream(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .flat_map(|accept| accept.split(','))
        .any(|accept| accept.split(';').next().is_some_and(|media| media.trim() == "text/event-stream"))
}

fn respond(events: EventStream, head: u64) -> Response {
    let first = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(PREAMBLE.as_bytes())) });
    let rest = stream::unfold(Some(events), |events| async {
        let mut events = events?;
        match events.next().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(events))),
            Ok(None) => None,
            // A regular end of the body: a connection that is broken off loses the bytes sent last.
            Err(_) => Some((Ok(Bytes::from_static(BROKEN_OFF.as_bytes())), None)),
        }
    });
    let mut response = Response::new(Body::from_stream(first.chain(rest)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(LEDGER_POSITION, HeaderValue::from(head));
    response
}

/// One client's place in the log. Holds a page of events at most: the next is read when this one
/// has been taken.
struct EventStream {
    reader: EventReader,
    page: std::vec::IntoIter<LogEvent>,
    log: BoxStream<'static, Result<FollowerItem, LogError>>,
    /// Every event that passes the filter up to here has been sent.
    position: u64,
    sent_at: Instant,
    ends: StreamEnds,
    recording: StreamRecording,
    _permit: QuotaShare,
}

/// Which events a client gets, and which of their free texts it may read.
struct EventReader {
    filter: EventFilter,
    texts: ReadableTexts,
}

/// The access of a stream: an entry when it begins, and one when it ends, with the events between.
struct StreamRecording {
    /// Absent where nothing is recorded.
    reading: Option<ReadInProgress>,
    /// Where the stream began.
    after: u64,
}

impl Drop for EventStream {
    fn drop(&mut self) {
        if let Some(reading) = &self.recording.reading {
            reading.record_end(self.reader.filter.shown(self.recording.after, Some(self.position)));
        }
    }
}

/// The reasons for which a stream ends.
struct StreamEnds {
    /// True once the service ends.
    of_service: watch::Receiver<bool>,
    /// The client's; absent where the request came over no connection.
    of_client: Option<InputEnd>,
    /// When the token expires that opened it, if one did.
    token_expires_at: Option<Instant>,
}

/// The parts of a request that a stream goes on to need.
pub(super) struct StreamOpener {
    client: RequestClient,
    ends: StreamEnds,
    /// Absent where nothing is recorded.
    reading: Option<ReadInProgress>,
}

impl FromRequestParts<QueryState> for StreamOpener {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &QueryState) -> Result<Self, Problem> {
        let extensions = &parts.extensions;
        // The middleware of every route puts it there.
        let client = extensions.get::<RequestClient>().cloned().ok_or_else(Problem::internal)?;
        let token_left = extensions.get().map(|AuthenticatedCaller { caller, .. }| caller.time_left());
        let token_expires_at = token_left.and_then(|left| Instant::now().checked_add(left));
        let ends = StreamEnds { of_service: state.ending(), of_client: extensions.get().cloned(), token_expires_at };
        Ok(Self { client, ends, reading: extensions.get().cloned() })
    }
}

impl StreamEnds {
    /// Whether it ends although there may be more to send.
    fn is_due(&self) -> bool {
        *self.of_service.borrow() || self.token_expires_at.is_some_and(|expires_at| expires_at <= Instant::now())
    }

    async fn wait(&mut self) {
        let of_client = async {
            match &self.of_client {
                Some(end) => end.wait().await,
                None => pending().await,
            }
        };
        let of_token = async {
            match self.token_expires_at {
                Some(expires_at) => sleep_until(expires_at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            // A sender that was dropped has ended with the service.
            _ = self.of_service.wait_for(|ending| *ending) => {}
            () = of_client => {}
            () = of_token => {}
        }
    }
}

impl EventStream {
    async fn new(
        log: &SharedLog,
        reader: EventReader,
        recording: StreamRecording,
        head: u64,
        ends: StreamEnds,
        permit: QuotaShare,
    ) -> Result<Self, QueryError> {
        let after = recording.after;
        // A case's events are found by its numbers; only those after the log's end are searched for
        // among all events.
        let (page, follow_after) = match reader.filter.of_case_alone(log, after, head).await? {
            Some(of_case) => (of_case, head.max(after)),
            None => (Vec::new(), after),
        };
        Ok(Self {
            reader,
            page: page.into_iter(),
            log: log.follow_all(follow_after),
            position: after,
            sent_at: Instant::now(),
            ends,
            recording,
            _permit: permit,
        })
    }

    /// The next bytes to send, as soon as there are any; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, QueryError> {
        loop {
            if self.ends.is_due() {
                return Ok(None);
            }
            if let Some(chunk) = self.chunk()? {
                self.sent_at = Instant::now();
                return Ok(Some(chunk));
            }
            tokio::select! {
                followed = self.log.next() => match followed {
                    Some(Ok(FollowerItem::Events(events))) => self.page = events.into_iter(),
                    Some(Ok(FollowerItem::CaughtUp { position })) => self.position = self.position.max(position),
                    Some(Err(error)) => return Err(log_failure(error)),
                    None => return Ok(None),
                },
                () = sleep_until(self.sent_at + KEEP_ALIVE_INTERVAL) => {
                    self.sent_at = Instant::now();
                    return Ok(Some(Bytes::from(format!(": still here\nid: {}\n\n", self.position))));
                }
                () = self.ends.wait() => return Ok(None),
            }
        }
    }

    /// The next of the events read that pass the filter, as many as one chunk takes; `None` where
    /// there are none.
    fn chunk(&mut self) -> Result<Option<Bytes>, QueryError> {
        let mut chunk = String::new();
        while chunk.len() < CHUNK_BYTES
            && let Some(recorded) = self.page.next()
        {
            match self.reader.filter.select(&recorded) {
                Ok(None) => {}
                Ok(Some(stored)) => {
                    let event = EventDocument::new(&stored, self.reader.texts.of_event(&stored));
                    let data =
                        serde_json::to_string(&event).map_err(|error| log_failure(json_error(&recorded, &error)))?;
                    // Writing to a text does not fail.
                    let _ = write!(chunk, "id: {}\nevent: {}\ndata: {data}\n\n", event.position, event.type_name);
                }
                // The events before it are sent first. A client that comes back for the rest meets
                // the error again.
                Err(error) if chunk.is_empty() => return Err(log_failure(error)),
                Err(_) => {
                    let mut rest = vec![recorded];
                    rest.extend(self.page.by_ref());
                    self.page = rest.into_iter();
                    break;
                }
            }
            self.position = recorded.position;
        }
        Ok((!chunk.is_empty()).then(|| Bytes::from(chunk)))
    }
}

fn json_error(recorded: &LogEvent, error: &serde_json::Error) -> LogError {
    LogError::Damaged { position: recorded.position, what: format!("it cannot be written as JSON: {error}") }
}

/// Logs why a stream ends; its client only sees that it does.
fn log_failure(error: LogError) -> QueryError {
    tracing::warn!(error = &error as &dyn std::error::Error, "a stream of events ends before its client wanted it to");
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stream_is_answered_only_where_accept_names_it() {
        let asks = |accept: &'static str| {
            wants_stream(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert!(asks("text/event-stream"));
        assert!(asks("application/json;q=0.5, text/event-stream;q=0.9"));
        assert!(!asks("application/json") && !asks("*/*"));
        assert!(!wants_stream(&HeaderMap::new()));
    }
}
