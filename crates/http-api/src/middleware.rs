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
    http::{HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use sign_on::{Caller, SignOn};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument as _, field};

use crate::{
    GuardedRouter, Problem, RequestClient, RequestLimits,
    access::{Guard, check_prison_of_path},
    browser_guard::{HostNames, add_safe_defaults, is_probed, refuse_foreign},
    headers::{AuthenticatedCaller, CORRELATION_ID, CorrelationId, refuse_unknown_expectation},
    metrics::{self, Metrics, Route},
    request_limits::WorkPlace,
    trace::{TRACERESPONSE, Trace},
};

/// Longest request body: a thousand sentence facts take some 800 kB.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Adds the middleware to the merged routes of a service:
///
/// - callers that may not use a route are refused before anything else is done; where there is no
///   sign-on, every caller may use every route;
/// - a client that asks too often or too much refused, and work beyond what there is room for,
///   except that probes are answered all the same;
/// - refusals held back where a client gets very many;
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
    limits: RequestLimits,
) -> Router {
    let guard = Guard::new(router.access().clone(), sign_on);
    let door = Door { guard, hosts, limits: Arc::new(limits) };
    router
        .unguarded()
        // One layer of three: each `.layer` costs every request two allocations and a dynamic call.
        .layer((
            middleware::from_fn_with_state((metrics, door), observe_request),
            CatchPanicLayer::custom(answer_panic as fn(Box<dyn Any + Send>) -> Response),
            DefaultBodyLimit::max(BODY_BYTES_MAX),
        ))
}

/// The panic hook has logged the panic with its place.
fn answer_panic(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request made the program panic");
    Problem::internal().into_response()
}

/// Lets requests in.
#[derive(Clone)]
struct Door {
    guard: Guard,
    hosts: HostNames,
    limits: Arc<RequestLimits>,
}

/// A request that was let in.
struct AdmittedRequest {
    client: RequestClient,
    is_of_command: bool,
    /// Its place among those at work; probes need none.
    place: Option<WorkPlace>,
}

/// The answer to a request.
struct DoorAnswer {
    response: Response,
    /// Who asked, where a token says so.
    caller: Option<Arc<Caller>>,
    /// The client, where the request was refused as one that no program sends which knows the API.
    refused: Option<RequestClient>,
}

impl Door {
    /// Refuses a request, or puts its client and its caller into its extensions. What costs least
    /// is checked first.
    async fn admit(&self, request: &mut Request) -> Result<AdmittedRequest, Box<Response>> {
        let Self { guard, hosts, limits } = self;
        let refuse = |problem: Problem| Box::new(problem.into_response());
        let is_probe = is_probed(request.uri().path());
        let checked = guard.check_of(request);
        let network = limits.client_of(request);
        let kept = checked.as_ref().ok().and_then(|(_, check)| check.as_ref()?.kept_client());
        if !is_probe {
            limits.check_rate(kept.as_ref().unwrap_or(&network)).map_err(refuse)?;
        }
        refuse_foreign(hosts, request).map_err(refuse)?;
        refuse_unknown_expectation(request.headers()).map_err(refuse)?;
        let (access, check) = checked?;
        let client = match check {
            None => network,
            Some(check) => {
                if kept.is_none() {
                    limits.check_verifications(&network).map_err(refuse)?;
                }
                let caller = check.caller().await?;
                let (client, scope) = (caller.client(), caller.scope.clone());
                request.extensions_mut().insert(caller);
                check_prison_of_path(request, &scope.confinement).await.map_err(refuse)?;
                client
            }
        };
        request.extensions_mut().insert(client.clone());
        let place = (!is_probe).then(|| limits.begin_work(&client, request)).transpose().map_err(refuse)?;
        Ok(AdmittedRequest { client, is_of_command: access.is_of_command(), place })
    }

    /// Answers a request, or refuses it.
    async fn answer(&self, mut request: Request, next: Next) -> DoorAnswer {
        let network = self.limits.client_of(&request);
        let admitted = self.admit(&mut request).await;
        let caller = request.extensions().get().map(|AuthenticatedCaller { caller, .. }| Arc::clone(caller));
        let AdmittedRequest { client, is_of_command, place } = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                let is_refused = refusal.status().is_client_error();
                return DoorAnswer { response: *refusal, caller, refused: is_refused.then_some(network) };
            }
        };
        let response = next.run(request).await;
        let is_refused = matches!(
            response.status(),
            StatusCode::BAD_REQUEST
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::PAYLOAD_TOO_LARGE
                | StatusCode::UNSUPPORTED_MEDIA_TYPE
        );
        let response = match place {
            Some(_at_work) => self.limits.hold_answer(&client, is_of_command, response).await,
            None => response,
        };
        DoorAnswer { response, caller, refused: is_refused.then_some(client) }
    }
}

async fn observe_request(State((metrics, door)): State<(Metrics, Door)>, mut request: Request, next: Next) -> Response {
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
    let answering = async {
        let answer = door.answer(request, next).await;
        log_answer(route_name, &answer, started_at.elapsed());
        answer
    };
    let DoorAnswer { mut response, refused, .. } = answering.instrument(span).instrument(trace.span().clone()).await;

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
    if let Some(client) = refused {
        door.limits.hold_refusal(&client).await;
    }
    response
}

/// Logs the answer to a request, in one line. The span has its method, its route and its
/// correlation id. Probes ask several times a minute, so their lines are of a lower level.
fn log_answer(route: &str, answer: &DoorAnswer, took: Duration) {
    let (response, caller) = (&answer.response, answer.caller.as_deref());
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
    use axum::{body::Body as RawBody, http::header, routing::get};
    use serde_json::Value;
    use tokio::sync::Semaphore;
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
        let limits = RequestLimits::new(crate::TrustedProxies::default(), std::num::NonZeroU32::new(1));
        let response = add_middleware(router, None, Metrics::default(), HostNames::default(), limits)
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
    async fn work_that_was_begun_is_finished_while_more_is_refused() {
        /// As many as one client may have at work.
        const AT_WORK: usize = 512;
        let (begun, finish) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (begins, finishes) = (Arc::clone(&begun), Arc::clone(&finish));
        let wait = get(async move || {
            begins.add_permits(1);
            finishes.acquire().await.expect("an open semaphore").forget();
        });
        let router =
            GuardedRouter::new(OpenApi::default()).open_route("/work", wait).open_route("/health", get(async || "up"));
        let limits = RequestLimits::new(crate::TrustedProxies::default(), None);
        let router = add_middleware(router, None, Metrics::default(), HostNames::default(), limits);
        let ask = |path: &str| router.clone().call(request("GET", path).body(RawBody::empty()).expect("a request"));
        let at_work: Vec<_> = (0..AT_WORK).map(|_| tokio::spawn(ask("/work"))).collect();
        begun.acquire_many(AT_WORK as u32).await.expect("an open semaphore").forget();
        let refused = ask("/work").await.expect("never fails");
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        assert_eq!(ask("/health").await.expect("never fails").status(), StatusCode::OK);
        finish.add_permits(AT_WORK + 1);
        for answer in at_work {
            assert_eq!(answer.await.expect("a task").expect("never fails").status(), StatusCode::OK);
        }
        assert_eq!(ask("/work").await.expect("never fails").status(), StatusCode::OK);
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
