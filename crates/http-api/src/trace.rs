//! The trace of a request (W3C trace context): in by `traceparent` and `tracestate`, out by
//! `traceresponse` and by the spans for an OpenTelemetry collector.
//!
//! Spans for the collector have a target of their own, [`EXPORTED`]. If nothing is exported they
//! are not made at all, and log lines never show their fields.

use std::str::FromStr as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use event_log::EXPORTED;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::headers::CorrelationId;

/// In: the trace and the span that the request comes from.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// In: the trace state of other systems, passed on unchanged.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Out: the trace, and this program's span in it.
pub const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// The trace of a request, if it has one: given by the caller, or begun here because spans are
/// exported.
pub(crate) struct Trace {
    id: Option<TraceId>,
    /// For the collector; disabled where nothing is exported.
    span: Span,
}

impl Trace {
    /// Begins the request's span in the trace that the request names.
    pub(crate) fn begin(headers: &HeaderMap, method: &'static str, route: &str, correlation: CorrelationId) -> Self {
        let span = tracing::info_span!(
            target: EXPORTED,
            "request",
            otel.name = format_args!("{method} {route}"),
            otel.kind = "server",
            otel.status_code = field::Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = field::Empty,
            error.type = field::Empty,
            correlation_id = %correlation.0,
        );
        let given = parent(headers);
        if span.is_disabled() {
            return Self { id: given.map(|given| given.trace_id()), span };
        }
        if let Some(given) = given {
            let (trace, parent, flags) = (given.trace_id(), given.span_id(), given.trace_flags());
            let parent = SpanContext::new(trace, parent, flags, true, state(headers));
            // It fails for a span that has begun already, which this one has not.
            let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
        }
        let own = span.context().span().span_context().trace_id();
        Self { id: Some(own), span }
    }

    pub(crate) fn id(&self) -> Option<TraceId> {
        self.id
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Records the answer. Gives the header that names the span to the caller, if spans are
    /// exported.
    pub(crate) fn end(self, status: StatusCode, problem: Option<&str>) -> Option<HeaderValue> {
        if self.span.is_disabled() {
            return None;
        }
        self.span.record("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            self.span.record("otel.status_code", "ERROR");
        }
        if let Some(code) = problem {
            self.span.record("error.type", code);
        }
        let context = self.span.context();
        let span = context.span();
        let own = span.span_context();
        let sampled = own.trace_flags() & TraceFlags::SAMPLED;
        HeaderValue::try_from(format!("00-{}-{}-{sampled:02x}", own.trace_id(), own.span_id())).ok()
    }
}

/// The span that a request comes from, by <https://www.w3.org/TR/trace-context/>: a malformed
/// `traceparent` counts as none. This is stricter than the parser of `opentelemetry_sdk`, which
/// takes ids of any length.
fn parent(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let text = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (fields, rest) = text.split_at_checked(55)?;
    let in_order = fields.bytes().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    // Later versions may add further fields.
    let whole = match &fields[..2] {
        "00" => rest.is_empty(),
        "ff" => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    if !in_order || !whole {
        return None;
    }
    let flags = u8::from_str_radix(&fields[53..], 16).ok()?;
    let context = SpanContext::new(
        TraceId::from_hex(&fields[3..35]).ok()?,
        SpanId::from_hex(&fields[36..52]).ok()?,
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

/// The trace state; empty if the header is malformed.
fn state(headers: &HeaderMap) -> TraceState {
    let lists: Option<Vec<&str>> = headers.get_all(TRACESTATE).iter().map(|list| list.to_str().ok()).collect();
    lists.and_then(|lists| TraceState::from_str(&lists.join(",")).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[track_caller]
    fn check(traceparents: &[&str], expected: Option<(&str, bool)>) {
        let mut headers = HeaderMap::new();
        for value in traceparents {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).expect("a header"));
        }
        let found = parent(&headers);
        let found = found.as_ref().map(|found| (found.trace_id().to_string(), found.trace_flags().is_sampled()));
        assert_eq!(found, expected.map(|(id, sampled)| (id.to_owned(), sampled)), "{traceparents:?}");
    }

    #[test]
    fn a_traceparent_counts_if_it_is_in_order() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        check(&[&good], Some((TRACE, true)));
        check(&[&format!("00-{TRACE}-{SPAN}-00")], Some((TRACE, false)));
        check(&[&format!("00-{TRACE}-{SPAN}-03")], Some((TRACE, true)));
        check(&[&format!("cc-{TRACE}-{SPAN}-01-more")], Some((TRACE, true)));
        check(&[], None);
        check(&[&good, &good], None);
        for bad in [
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("cc-{TRACE}-{SPAN}-01more"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}0-01", &TRACE[1..]),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("00_{TRACE}-{SPAN}-01"),
            "Okafor, Grace".to_owned(),
            String::new(),
        ] {
            check(&[&bad], None);
        }
    }

    #[test]
    fn the_trace_state_may_come_in_several_headers() {
        let mut headers = HeaderMap::new();
        headers.append(TRACESTATE, HeaderValue::from_static("a=1,b=2"));
        headers.append(TRACESTATE, HeaderValue::from_static("c=3"));
        assert_eq!(state(&headers).header(), "a=1,b=2,c=3");
        headers.append(TRACESTATE, HeaderValue::from_static("not a list"));
        assert_eq!(state(&headers).header(), "");
    }
}
