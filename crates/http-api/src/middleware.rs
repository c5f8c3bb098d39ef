//! The middleware of every route: who may use it, limits, correlation, traces, metrics, and
//! problems for unknown routes.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::HeaderValue,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use sign_on::{Caller, SignOn};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument as _, field};

use crate::{
    GuardedRouter, Problem,
    access::{Guard, check_prison_of_path},
    browser_guard::{HostNames, add_safe_defaults, refuse_foreign},
    headers::{CORRELATION_ID, CorrelationId},
    metrics::{self, Metrics, Route},
    trace::{TRACERESPONSE, Trace},
};

/// Longest request body: a thousand sentence facts take some 800 kB.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Adds the middleware to the merged routes of a service:
///
/// - callers that may not use a route are refused before anything else is done; where there is no
///   sign-on, every caller may use every route;
/// - a body of at most [`BODY_BYTES_MAX`];
/// - unknown paths and methods, and panics, answered with problems;
/// - requests to a host other than `hosts`, and from pages of other sites, refused;
/// - a correlation id, given or made up, in the log and in the answer, and the trace that it
///   belongs to;
/// - each answer counted and logged, each problem's `instance` filled in.
pub fn add_middleware(
    router: GuardedRouter,
    sign_on: Option<Arc<SignOn>>,
    metrics: Metrics,
    hosts: HostNames,
) -> Router {
    let guard = Guard::new(router.access().clone(), sign_on);
    router
        .unguarded()
        // One layer of three: each `.layer` costs every request two allocations and a dynamic call.
        .layer((
            middleware::from_fn_with_state((metrics, guard, hosts), observe_request),
            CatchPanicLayer::custom(answer_panic as fn(Box<dyn Any + Send>) -> Response),
            DefaultBodyLimit::max(BODY_BYTES_MAX),
        ))
}

/// The panic hook has logged the panic with its place.
fn answer_panic(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request made the program panic");
    Problem::internal().into_response()
}

async fn observe_request(
    State((metrics, guard, hosts)): State<(Metrics, Guard, HostNames)>,
    mut request: Request,
    next: Next,
) -> Response {
    let started_at = Instant::now();
    let correlation_id = CorrelationId::given_or_new(request.headers());
    request.extensions_mut().insert(correlation_id);
    let method = metrics::method_name(request.method());
    let path = request.uri().path().to_owned();
    let route = Route(request.extensions().get::<MatchedPath>().cloned());
    let trace = Trace::begin(request.headers(), method, route.as_str(), correlation_id);
    // Every log line shows this span, so it must hold no path, query or header: they name people.
    let span = tracing::info_span!(
        "request",
        method,
        route = route.as_str(),
        correlation_id = %correlation_id.0,
        trace_id = trace.id().map(field::display),
    );

    let logged_route = route.clone();
    let route_name = logged_route.as_str();
    let foreign = refuse_foreign(&hosts, &request);
    let check = guard.check_of(&request);
    let answering = async {
        let mut known = None;
        let response = 'answer: {
            if let Err(problem) = foreign {
                break 'answer problem.into_response();
            }
            match check {
                Ok(None) => {}
                Ok(Some(check)) => match check.caller().await {
                    Ok(caller) => {
                        known = Some(Arc::clone(&caller.caller));
                        if let Err(problem) = check_prison_of_path(&mut request, &caller.scope.confinement).await {
                            break 'answer problem.into_response();
                        }
                        request.extensions_mut().insert(caller);
                    }
                    Err(refusal) => break 'answer *refusal,
                },
                Err(refusal) => break 'answer *refusal,
            }
            next.run(request).await
        };
        log_answer(route_name, known.as_deref(), &response, started_at.elapsed());
        response
    };
    let mut response = answering.instrument(span).instrument(trace.span().clone()).await;

    let problem = response.extensions_mut().remove::<Problem>();
    let code = problem.as_ref().map(Problem::code);
    if let Some(own) = trace.end(response.status(), code) {
        response.headers_mut().insert(TRACERESPONSE, own);
    }
    metrics.count_answer(method, route, response.status(), code, started_at.elapsed());
    if let Some(problem) = problem {
        let about_this = problem.with_instance(path).into_response();
        // Headers that others added stay, such as Allow.
        let (parts, body) = about_this.into_parts();
        for (name, value) in &parts.headers {
            response.headers_mut().insert(name, value.clone());
        }
        response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
        *response.body_mut() = body;
    }
    if let Ok(value) = HeaderValue::try_from(correlation_id.0.to_string()) {
        response.headers_mut().insert(CORRELATION_ID, value);
    }
    add_safe_defaults(response.headers_mut());
    response
}

/// Logs the answer to a request, in one line. The span has its method, its route and its
/// correlation id. Probes ask several times a minute, so their lines are of a lower level.
fn log_answer(route: &str, caller: Option<&Caller>, response: &Response, took: Duration) {
    let status = response.status().as_u16();
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let code = response.extensions().get::<Problem>().map(Problem::code);
    let (principal, client) = (caller.map(Caller::principal), caller.and_then(|caller| caller.client_id.as_deref()));
    if route.starts_with("/health") || ["/ping", "/metrics"].contains(&route) {
        tracing::debug!(status, code, milliseconds, principal, client, "answered with {status}");
    } else {
        tracing::info!(status, code, milliseconds, principal, client, "answered with {status}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        body::Body as RawBody,
        http::{StatusCode, header},
        routing::get,
    };
    use serde_json::Value;
    use tower_service::Service as _;
    use utoipa::openapi::OpenApi;

    async fn call(request: Request<RawBody>) -> (StatusCode, axum::http::HeaderMap, Value) {
        let numbers = get(async |crate::JsonBody(numbers): crate::JsonBody<Vec<u8>>| numbers.len().to_string());
        let broken = get(async || {
            if true {
                panic!("as asked")
            }
        });
        let router = GuardedRouter::new(OpenApi::default())
            .open_route("/thing", get(async || "here"))
            .open_route("/numbers", numbers)
            .open_route("/broken", broken)
            .map(|router| router.route("/undeclared", get(async || "nothing says who may use it")));
        let response = add_middleware(router, None, Metrics::default(), HostNames::default())
            .call(request)
            .await
            .expect("never fails");
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    fn request(method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder().method(method).uri(path).header(header::HOST, "localhost")
    }

    #[track_caller]
    fn check(answer: &(StatusCode, axum::http::HeaderMap, Value), status: u16, code: &str, instance: &str) {
        assert_eq!(answer.0.as_u16(), status, "{answer:?}");
        assert_eq!(answer.1[header::CONTENT_TYPE], crate::problem::CONTENT_TYPE);
        assert_eq!(answer.2["code"], code, "{answer:?}");
        assert_eq!(answer.2["instance"], instance, "{answer:?}");
    }

    #[tokio::test]
    async fn an_unknown_path_an_unknown_method_and_a_panic_are_problems() {
        let answer = call(request("GET", "/nowhere?x=1").body(RawBody::empty()).expect("a request")).await;
        check(&answer, 404, "path-unknown", "/nowhere");
        let answer = call(request("DELETE", "/thing").body(RawBody::empty()).expect("a request")).await;
        check(&answer, 405, "method-not-allowed", "/thing");
        assert_eq!(answer.1[header::ALLOW], "GET,HEAD");
        let answer = call(request("GET", "/broken").body(RawBody::empty()).expect("a request")).await;
        check(&answer, 500, "internal-error", "/broken");
    }

    #[tokio::test]
    async fn a_route_that_does_not_say_who_may_use_it_is_refused() {
        let answer = call(request("GET", "/undeclared").body(RawBody::empty()).expect("a request")).await;
        check(&answer, 500, "internal-error", "/undeclared");
    }

    #[tokio::test]
    async fn bodies_are_json_and_bounded() {
        let answer = call(request("GET", "/numbers").body(RawBody::from("[1]")).expect("a request")).await;
        check(&answer, 415, "content-type-unsupported", "/numbers");
        let json = |body: RawBody| {
            request("GET", "/numbers")
                .header("content-type", "application/json; charset=utf-8")
                .body(body)
                .expect("a request")
        };
        check(&call(json(RawBody::from("[1,"))).await, 400, "json-malformed", "/numbers");
        check(&call(json(RawBody::from(vec![b' '; BODY_BYTES_MAX + 1]))).await, 413, "body-too-large", "/numbers");
        assert_eq!(call(json(RawBody::from("[1,2]"))).await.2, 2);
    }

    #[tokio::test]
    async fn a_correlation_id_comes_back() {
        let id = "0b5b2c5e-6e0a-4a0e-9c55-2a3c6d1f8e11";
        let answer =
            call(request("GET", "/thing").header("x-correlation-id", id).body(RawBody::empty()).expect("a request"))
                .await;
        assert_eq!(answer.1[CORRELATION_ID], id);
    }
}
