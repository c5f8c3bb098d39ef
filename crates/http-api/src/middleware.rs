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
    AnswerRoom, GuardedRouter, Problem, RequestClient, RequestLimits,
    access::{Guard, check_prison_of_path},
    browser_guard::{HostNames, add_safe_defaults, is_probed, refuse_foreign},
    headers::{CORRELATION_ID, CorrelationId, IdentifiedCaller, refuse_unknown_expectation},
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
/// - a body of at most [`BODY_BYTES_MAX`], but for [`Access::Uploads`](crate::Access::Uploads);
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

/// The origin of a request, as far as it is known.
struct RequestOrigin {
    /// The client that the request counts for.
    client: RequestClient,
    /// The caller, where a valid token names one, whether or not it may do what it asks.
    caller: Option<Arc<Caller>>,
}

impl RequestOrigin {
    fn identify(&mut self, identified: &IdentifiedCaller) {
        *self = Self { client: identified.client(), caller: Some(Arc::clone(&identified.caller)) };
    }
}

/// A request that was let in.
struct AdmittedRequest {
    /// Its place among those at work, and room for its answer; probes need neither.
    place: Option<(WorkPlace, AnswerRoom)>,
}

/// The answer to a request.
struct DoorAnswer {
    response: Response,
    origin: RequestOrigin,
    /// Whether the request was refused as one that no program sends which knows the API.
    is_refused: bool,
}

impl Door {
    /// Refuses a request, or puts its client and its caller into its extensions. What costs least
    /// is checked first. Either way the caller is added to the origin as soon as it is known.
    async fn admit(&self, request: &mut Request, origin: &mut RequestOrigin) -> Result<AdmittedRequest, Box<Response>> {
        let Self { guard, hosts, limits } = self;
        let refuse = |problem: Problem| Box::new(problem.into_response());
        let is_probe = is_probed(request.uri().path());
        let mut checked = guard.check_of(request);
        let kept = checked.as_mut().ok().and_then(|(_, check)| check.as_mut()?.kept.take());
        if let Some(kept) = &kept {
            origin.identify(kept);
        }
        if !is_probe {
            limits.check_rate(&origin.client).map_err(refuse)?;
        }
        refuse_foreign(hosts, request).map_err(refuse)?;
        refuse_unknown_expectation(request.headers()).map_err(refuse)?;
        let (access, check) = checked?;
        if let Some(check) = check {
            let identified = match kept {
                Some(kept) => kept,
                None => {
                    limits.check_verifications(&origin.client).map_err(refuse)?;
                    check.identify().await?
                }
            };
            origin.identify(&identified);
            let caller = check.authorize(identified).await?;
            let scope = caller.scope.clone();
            request.extensions_mut().insert(caller);
            check_prison_of_path(request, &scope.confinement).await.map_err(refuse)?;
        }
        request.extensions_mut().insert(origin.client.clone());
        if is_probe {
            return Ok(AdmittedRequest { place: None });
        }
        let place = limits.begin_work(&origin.client, request, access).map_err(refuse)?;
        let room = AnswerRoom::new(Arc::clone(limits), origin.client.clone(), access.is_of_command());
        request.extensions_mut().insert(room.clone());
        Ok(AdmittedRequest { place: Some((place, room)) })
    }

    /// Answers a request, or refuses it.
    async fn answer(&self, mut request: Request, next: Next) -> DoorAnswer {
        let mut origin = RequestOrigin { client: self.limits.client_of(&request), caller: None };
        let AdmittedRequest { place } = match self.admit(&mut request, &mut origin).await {
            Ok(admitted) => admitted,
            Err(refusal) => {
                let is_refused = refusal.status().is_client_error();
                return DoorAnswer { response: *refusal, origin, is_refused };
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
            Some((_at_work, room)) => room.hold(response).await,
            None => response,
        };
        DoorAnswer { response, origin, is_refused }
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
    let answered = answering.instrument(span).instrument(trace.span().clone()).await;
    let DoorAnswer { mut response, origin, is_refused } = answered;

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
    if is_refused {
        door.limits.hold_refusal(&origin.client).await;
    }
    response
}

/// Logs the answer to a request, in one line. The span has its method, its route and its
/// correlation id. Probes ask several times a minute, so their lines are of a lower level.
fn log_answer(route: &str, answer: &DoorAnswer, took: Duration) {
    let (response, caller) = (&answer.response, answer.origin.caller.as_deref());
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
    use std::{num::NonZeroU32, path::PathBuf};

    use super::*;
    use axum::{
        body::Body as RawBody,
        http::{Method, header},
        routing::get,
    };
    use serde_json::Value;
    use sign_on::{KeySet, KeySource, LocalKey, RoleMap, TokenClaims};
    use tokio::sync::Semaphore;
    use tower_service::Service as _;
    use utoipa::openapi::OpenApi;

    use crate::{Access, PeerAddress, access::AccessTable};

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
        let limits = RequestLimits::new(crate::TrustedProxies::default(), NonZeroU32::new(1));
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

    /// A door with a sign-on, and the key of its tokens. A client may send so many requests in a
    /// second.
    fn door_and_key(requests_per_second: Option<NonZeroU32>) -> (Door, LocalKey) {
        let key = [env!("CARGO_MANIFEST_DIR"), "../../tests/data/sign-on/key.pem"].iter().collect::<PathBuf>();
        let key = LocalKey::read(&key).expect("a key");
        let keys = KeySource::File(Arc::new(KeySet::from_jwks(key.jwks().as_bytes()).expect("keys")));
        let sign_on = SignOn::new(keys, None, RoleMap::default());
        let mut access = AccessTable::default();
        access.add("/cases", Method::GET, Access::Questions);
        let limits = Arc::new(RequestLimits::new(crate::TrustedProxies::default(), requests_per_second));
        (Door { guard: Guard::new(access, Some(Arc::new(sign_on))), hosts: HostNames::default(), limits }, key)
    }

    /// The token of a person without a role.
    fn token(key: &LocalKey, user: &str) -> String {
        key.sign(&TokenClaims {
            sub: user.to_owned(),
            user_name: Some(user.to_owned()),
            client_id: "manage-poms".to_owned(),
            auth_source: "nomis".to_owned(),
            authorities: Vec::new(),
            scope: Vec::new(),
            iss: None,
            exp: u64::from(u32::MAX),
        })
    }

    #[tokio::test]
    async fn a_refusal_counts_for_the_caller_where_the_token_is_valid() {
        let (door, key) = door_and_key(NonZeroU32::new(2));
        let token = token(&key, "HOMD_LEI");
        let router = Router::new().route("/cases", get(async || "here")).layer(middleware::from_fn_with_state(
            door,
            async |State(door): State<Door>, request: Request, next: Next| {
                let DoorAnswer { response, origin, is_refused } = door.answer(request, next).await;
                let principal = matches!(origin.client, RequestClient::Principal(_));
                let found = format!("{principal} {} {is_refused}", origin.caller.is_some());
                (response.status(), found)
            },
        ));
        let ask = async |token: &str| {
            let request = request("GET", "/cases").header(header::AUTHORIZATION, format!("Bearer {token}"));
            let request = request.body(RawBody::empty()).expect("a request");
            let (parts, body) = router.clone().call(request).await.expect("never fails").into_parts();
            let found = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
            (parts.status.as_u16(), String::from_utf8(found.to_vec()).expect("UTF-8"))
        };
        assert_eq!(ask("a.b.c").await, (401, "false false true".to_owned()));
        // The token is verified for the address, and then known.
        let of_caller = "true true true".to_owned();
        assert_eq!(ask(&token).await, (403, of_caller.clone()));
        let mut answers = Vec::new();
        while answers.last().is_none_or(|(status, _)| *status != 429) {
            answers.push(ask(&token).await);
        }
        assert!(answers.iter().all(|(_, found)| *found == of_caller), "{answers:?}");
    }

    #[tokio::test]
    async fn new_tokens_from_one_address_are_limited_and_known_ones_are_not() {
        let (door, key) = door_and_key(None);
        let router = Router::new().route("/cases", get(async || "here")).layer(middleware::from_fn_with_state(
            door,
            async |State(door): State<Door>, request: Request, next: Next| door.answer(request, next).await.response,
        ));
        let ask = async |last: u8, token: &str| {
            let request = request("GET", "/cases")
                .header(header::AUTHORIZATION, format!("Bearer {token}"))
                .extension(PeerAddress([127, 0, 0, last].into()))
                .body(RawBody::empty());
            router.clone().call(request.expect("a request")).await.expect("never fails").status().as_u16()
        };
        let (known, new) = (token(&key, "KNOWN"), token(&key, "NEW"));
        assert_eq!(ask(2, &known).await, 403);
        let mut verified = 0;
        while ask(2, "a.b.c").await == 401 {
            verified += 1;
        }
        assert!(verified >= 999, "{verified}");
        assert_eq!(ask(2, &known).await, 403);
        assert_eq!(ask(3, &new).await, 403);
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
