//! Log lines, spans and metrics, and that none of them names a person.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use domain::{
    Stream,
    identifier::{CommandId, EventId},
};
use event_log::{ExpectedRevision, NewEvent, Salt, SharedLog, stored_event::encode_metadata};
use event_log_postgres::PostgresLog;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as AnyValue},
    trace::v1::Span,
};
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::support::{
    Client, Program, StandIn, TestDatabase,
    builders::{metadata, now},
    database, eventually, log_at, run, run_in,
    tokens::{TestKey, person},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const CORRELATION: &str = "0b5b2c5e-6e0a-4a0e-9c55-2a3c6d1f8e11";

async fn serve(database: &TestDatabase, environment: &[(&str, &str)], more: &[&str]) -> Program {
    let stores = ["--event-store", &database.url, "--views", &database.url];
    Program::start_in(environment, &[&stores, more].concat()).await.into_ready().await
}

/// The lines of a log in JSON.
#[track_caller]
fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Waits until the views include everything.
async fn wait_for_views(client: &Client) {
    eventually("the views to catch up", async || {
        let projections = client.get("/projections").await.body;
        projections.as_array()?.iter().all(|view| view["state"] == "CURRENT").then_some(())
    })
    .await;
}

/// An OpenTelemetry collector that keeps the spans it receives.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    async fn start() -> Self {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let take = async |State(spans): State<Arc<Mutex<Vec<Span>>>>, body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).expect("spans");
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            spans.lock().expect("the spans").extend(scopes.flat_map(|scope| scope.spans));
        };
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, spans }
    }

    #[track_caller]
    fn span(&self, what: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        let spans = self.spans.lock().expect("the spans");
        let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
        spans.iter().find(|span| is_it(span)).unwrap_or_else(|| panic!("no span {what} in {names:?}")).clone()
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        AnyValue::StringValue(text) => Some(text),
        _ => None,
    }
}

/// A trace leads from the caller to the views: the span of the request, the append, and the batch
/// that contains the event. The exporter sends once an hour here, so all spans arrive at the
/// shutdown.
#[tokio::test]
async fn a_request_is_traced_from_the_caller_to_the_views() {
    let (collector, database) = (Collector::start().await, database().await);
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    let program = serve(&database, &environment, &["--log", "info,projector=debug"]).await;
    let client = program.client();
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("traceparent", traceparent.as_str()), ("x-correlation-id", CORRELATION)];
    let body = json!({"goLiveDate": "2019-09-02", "estate": "MENS_CLOSED"});
    let answer = client.send(Method::POST, "/prisons/LEI/onboarding", &headers, Some(&body)).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-correlation-id")), (201, Some(CORRELATION)));
    let own = answer.header("traceresponse").expect("a span to go by").to_owned();
    assert!(own.starts_with(&format!("00-{TRACE}-")) && own.ends_with("-01") && !own.contains(CALLER), "{own}");
    assert_eq!(answer.body["events"][0]["correlationId"], CORRELATION, "{}", answer.text);

    let upper_case = format!("00-{}-{CALLER}-01", TRACE.to_uppercase());
    let answer = client.send(Method::GET, "/prisons/LEI/poms", &[("traceparent", &upper_case)], None).await;
    let begun_here = answer.header("traceresponse").expect("a trace of its own");
    assert!(!begun_here.to_lowercase().contains(TRACE), "{begun_here}");

    wait_for_views(client).await;
    let logged = lines(&program.log());
    let projected = logged.iter().find(|line| line["correlation_id"] == CORRELATION);
    let projected = projected.unwrap_or_else(|| panic!("a line of the projector in {logged:?}"));
    assert_eq!((&projected["position"], &projected["target"]), (&json!(1), &json!("projector::live")));
    assert!(collector.spans.lock().expect("the spans").is_empty(), "spans wait for the end here");
    assert!(program.stop().await.success());

    let request = collector.span("of the request", |span| span.name == "POST /prisons/{prisonCode}/onboarding");
    assert_eq!((hex(&request.trace_id), hex(&request.parent_span_id)), (TRACE.to_owned(), CALLER.to_owned()));
    assert_eq!(format!("00-{TRACE}-{}-01", hex(&request.span_id)), own);
    assert_eq!(attribute(&request.attributes, "correlation_id"), Some(CORRELATION));
    assert_eq!(request.kind(), opentelemetry_proto::tonic::trace::v1::span::SpanKind::Server);
    let append = collector.span("of the append", |span| span.name == "append");
    assert_eq!((&append.trace_id, &append.parent_span_id), (&request.trace_id, &request.span_id));
    collector.span("of the projection", |span| {
        let events = || span.events.iter().map(|event| attribute(&event.attributes, "correlation_id"));
        span.name == "project" && events().any(|id| id == Some(CORRELATION))
    });
}

#[tokio::test]
async fn without_a_collector_the_trace_id_is_logged_and_no_header_is_sent() {
    let database = database().await;
    let program = serve(&database, &[], &["--log", "info,sqlx=debug"]).await;
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let headers = [("traceparent", traceparent.as_str()), ("x-correlation-id", CORRELATION)];
    let answer = program.client().send(Method::GET, "/prisons/LEI/poms?on=2026-01-01", &headers, None).await;
    assert_eq!((answer.header("traceresponse"), answer.header("x-correlation-id")), (None, Some(CORRELATION)));
    let logged = lines(&program.log());
    let of_it = logged.iter().find(|line| line["span"]["correlation_id"] == CORRELATION);
    let span = &of_it.unwrap_or_else(|| panic!("a line of the request in {logged:?}"))["span"];
    let expected = json!({
        "name": "request", "method": "GET", "route": "/prisons/{prisonCode}/poms",
        "correlation_id": CORRELATION, "trace_id": TRACE,
    });
    assert_eq!(span, &expected);
}

#[tokio::test]
async fn the_log_says_which_build_serves_what_was_answered_and_that_it_stopped() {
    let database = database().await;
    let program = serve(&database, &[], &["--log", "info,http_api=debug"]).await;
    let headers = [("x-correlation-id", CORRELATION)];
    program.client().send(Method::GET, "/prisoners/A1234BC/responsibility", &headers, None).await;
    let (status, log) = program.stop_and_read_log().await;
    assert!(status.success() && !log.contains("A1234BC"), "{log}");
    let logged = lines(&log);
    let answered = logged.iter().find(|line| line["span"]["correlation_id"] == CORRELATION).expect("a line of it");
    assert_eq!((&answered["status"], &answered["code"]), (&json!(404), &json!("prisoner-unknown")), "{answered}");
    let serving = logged.iter().find(|line| line["role"] == "all").expect("a line with the role");
    let version = serving["version"].as_str().unwrap_or_default();
    assert!(version.starts_with(env!("CARGO_PKG_VERSION")), "{serving}");
    assert_eq!(logged.last().expect("a line")["message"], "stopped", "{log}");
}

/// A line has the caller, and nothing that names a person in prison: neither the path nor the query
/// nor a header. Probes have no line.
#[tokio::test]
async fn each_request_has_one_line_with_who_asked_and_no_personal_data() {
    let key = TestKey::of_sign_on();
    let files = tempfile::tempdir().expect("a folder");
    let path = files.path().join("jwks.json");
    std::fs::write(&path, key.jwks().to_string()).expect("write the keys");
    let database = database().await;
    let program = serve(&database, &[], &["--auth-key-file", path.to_str().expect("UTF-8")]).await;
    let client = program.client();
    let token = format!("Bearer {}", key.token(&person(&["ROLE_ALLOC_MGR"])));
    let ask = async |path: &str, authorization: &str| {
        let headers = [("Authorization", authorization), ("X-Recorded-By", "A2222BB"), ("User-Agent", "A2222BB")];
        client.send(Method::GET, path, &headers, None).await.status.as_u16()
    };
    assert_eq!(ask("/prisoners/A2222BB/history?type=TierAssigned&from=2026-01-02", &token).await, 404);
    assert_eq!(ask("/prisoners/A2222BB/responsibility", "Bearer A2222BB").await, 401);
    assert_eq!(ask("/nowhere/A2222BB", &token).await, 404);
    for probe in ["/health", "/health/readiness", "/ping", "/metrics"] {
        assert_eq!(client.get(probe).await.status, 200);
    }
    let (_, log) = program.stop_and_read_log().await;
    assert!(!log.contains("A2222BB") && !log.contains("2026-01-02") && !log.contains(&token[7..]), "{log}");
    let logged = lines(&log);
    let answers: Vec<_> = logged.iter().filter(|line| line["target"] == "http_api::middleware").collect();
    let shown = |line: &Value| {
        let of_span = ["method", "route", "correlation_id"].map(|field| line["span"][field].clone());
        assert!(of_span[2].is_string() && line["milliseconds"].is_number() && line["level"] == "INFO", "{line}");
        let [method, route, _] = of_span;
        json!([method, route, line["status"], line["code"], line["principal"], line["client"]])
    };
    assert_eq!(
        answers.into_iter().map(shown).collect::<Vec<_>>(),
        [
            json!(["GET", "/prisoners/{prisonerNumber}/history", 404, "prisoner-unknown", "HOMD_LEI", "manage-poms"]),
            json!(["GET", "/prisoners/{prisonerNumber}/responsibility", 401, "token-invalid", null, null]),
            json!(["GET", "unknown", 404, "path-unknown", null, null]),
        ]
    );
}

#[tokio::test]
async fn a_log_in_text_format_is_plain_lines() {
    let database = database().await;
    let program = serve(&database, &[], &["--log-format", "text"]).await;
    let log = program.log();
    assert!(log.lines().any(|line| line.contains(" INFO allocation_ledger::serve: serving on http://")), "{log}");
}

/// A reader of JSON logs gets the reason of any failed start, as JSON, even if the filter hides
/// everything else.
#[tokio::test]
async fn a_failed_start_logs_its_reason() {
    let json = [("LEDGER_LOG_FORMAT", "json")];
    let serve = |more: &[&'static str]| [&["serve", "--listen", "127.0.0.1:0"], more].concat();
    for (environment, arguments, status, reason) in [
        (&[][..], serve(&["--role", "query"]), 1, "a role by itself needs --event-store"),
        (&json, serve(&["--event-store", "mysql://nowhere"]), 1, "--event-store must be a URL"),
        (&json, serve(&["--role", "query", "--log", "off"]), 1, "a role by itself needs --event-store"),
        (&json, serve(&["--log", "x=["]), 1, "as a filter of the log"),
        (&json, serve(&["--log", "infoo"]), 1, "`infoo` is no level: give error, warn, info"),
        (&json, serve(&["--log", "info,banana"]), 1, "`banana` is no level"),
        (&json, serve(&["--lag-max", "soon"]), 2, "invalid value 'soon' for '--lag-max"),
        (&json, vec!["prepare"], 1, "say what to prepare"),
    ] {
        let ran = run_in(environment, &arguments).await;
        assert_eq!(ran.status.code(), Some(status), "{}", ran.stderr);
        let logged = lines(&ran.stderr);
        let last = logged.last().unwrap_or_else(|| panic!("a line of {arguments:?}"));
        assert_eq!((&last["level"], &last["target"]), (&json!("ERROR"), &json!("allocation_ledger")), "{last}");
        assert!(
            last["timestamp"].is_string() && last["reason"].as_str().is_some_and(|it| it.contains(reason)),
            "{last}"
        );
        assert!(last["message"].as_str().is_some_and(|message| message.contains(reason)), "{last}");
    }
    // Output for people: that of tools, and that of the text format.
    for arguments in [vec!["prepare"], serve(&["--role", "query", "--log-format", "text"])] {
        let ran = run(&arguments).await;
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    }
}

/// The value of one series of the metrics.
async fn metric(client: &Client, series: &str) -> Option<f64> {
    let metrics = client.get("/metrics").await.text;
    let line = metrics.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Two programs write to one case in turn, so the first decides on an outdated state and must
/// decide again.
#[tokio::test]
async fn metrics_count_commands_and_measure_positions() {
    let database = database().await;
    let (program, other) = (serve(&database, &[], &[]).await, serve(&database, &[], &[]).await);
    let client = program.client();
    let tier = |tier: &str| json!({"tier": tier, "source": "DELIUS"});
    let key = [("Idempotency-Key", CORRELATION)];
    for status in [201, 200] {
        let answer = client.send(Method::POST, "/prisoners/A1234BC/tier", &key, Some(&tier("A1"))).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    assert_eq!(other.client().post("/prisoners/A1234BC/tier", &tier("B2")).await.status, 201);
    assert_eq!(client.post("/prisoners/A1234BC/tier", &tier("C3")).await.status, 201);
    assert_eq!(client.post("/prisoners/A1234BC/deallocations", &json!({"trigger": "MANUAL"})).await.status, 422);
    wait_for_views(client).await;
    client.send(Method::from_bytes(b"SMITH").expect("a method"), "/ping", &[], None).await;

    for (series, expected) in [
        ("ledger_commands_total{type=\"AssignTier\",outcome=\"recorded\"}", 2.0),
        ("ledger_commands_total{type=\"AssignTier\",outcome=\"repeated\"}", 1.0),
        ("ledger_commands_total{type=\"Deallocate\",outcome=\"refused\"}", 1.0),
        ("ledger_append_conflicts_total", 1.0),
        // A refusal is looked at twice, and is no decision made again.
        ("ledger_command_retries_total", 1.0),
        ("ledger_append_duration_seconds_count", 3.0),
        ("http_requests_total{method=\"POST\",route=\"/prisoners/{prisonerNumber}/tier\",status=\"201\"}", 2.0),
        ("http_requests_total{method=\"other\",route=\"/ping\",status=\"405\"}", 1.0),
        ("http_problems_total{code=\"method-not-allowed\"}", 1.0),
        ("ledger_log_position", 3.0),
        ("ledger_projection_position{view=\"prisoner_case\"}", 3.0),
        ("ledger_projection_lag_seconds{view=\"prisoner_case\"}", 0.0),
        ("ledger_component_up{component=\"projector\"}", 1.0),
    ] {
        assert_eq!(metric(client, series).await, Some(expected), "{series}");
    }
    for at_least_one in ["http_request_duration_seconds_count{route=\"/projections\"}", "http_connections_open"] {
        let found = metric(client, at_least_one).await;
        assert!(found.is_some_and(|found| found >= 1.0), "{at_least_one}: {found:?}");
    }
    let metrics = client.get("/metrics").await.text;
    let connections = metrics.lines().filter_map(|line| line.strip_prefix("ledger_postgres_connections{pool=\""));
    let mut open = BTreeMap::new();
    for line in connections {
        let ((pool, _), (_, count)) = line.split_once('"').zip(line.rsplit_once(' ')).expect("a pool and a number");
        *open.entry(pool).or_insert(0.0) += count.parse::<f64>().expect("a number");
    }
    assert!(open.keys().eq(&["log", "query"]) && open.values().all(|open| *open >= 1.0), "{open:?}");
}

/// Data that must appear in no log and no metric: a name, a note, numbers, an address, a user.
const SECRETS: [&str; 6] = ["quimbleton", "marmalade", "Z7391QX", "X739173", "q.person@example", "ZEBEDEE"];

#[track_caller]
fn assert_names_nobody(what: &str, text: &str) {
    for secret in SECRETS {
        let (text, secret) = (text.to_lowercase(), secret.to_lowercase());
        if let Some(found) = text.lines().find(|line| line.contains(&secret)) {
            panic!("{what} has {secret}: {found}");
        }
    }
}

/// The most that the program's own crates can log, beside the defaults of the database library.
const LOUD: &str = "info,allocation_ledger=trace,http_api=trace,command=trace,query=trace,projector=trace,event_log=trace,\
                    domain=trace,sqlx=trace,axum=trace,tower_http=trace,hyper=debug";

#[tokio::test]
async fn log_and_metrics_name_no_person() {
    let database = database().await;
    let (event_store, pool) = (database.url.clone(), database.pool.clone());
    // The program creates the log, so the test waits until it can open it.
    check_names_nobody(&database, &event_store, async || {
        Arc::new(PostgresLog::connect(&pool).await.expect("the log")) as SharedLog
    })
    .await;
}

#[tokio::test]
async fn log_and_metrics_name_no_person_with_a_log_on_kurrentdb() {
    let (database, server) = (database().await, StandIn::start());
    let log: SharedLog = Arc::new(log_at(&server.url()));
    check_names_nobody(&database, &server.url(), async || Arc::clone(&log)).await;
}

/// Sends good and bad requests with personal data in every part, makes a history unreadable, and
/// stops a projector at it.
async fn check_names_nobody(database: &TestDatabase, event_store: &str, log: impl AsyncFn() -> SharedLog) {
    let collector = Collector::start().await;
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())];
    let stores = ["--event-store", event_store, "--views", &database.url, "--log", LOUD];
    let program = Program::start_in(&environment, &stores).await.into_ready().await;
    let client = program.client();
    ask_for_everything(client).await;
    wait_for_views(client).await;

    let (stream, log) = (Stream::Prisoner("Z7391QX".parse().expect("a number")), log().await);
    let last = log.read_stream(&stream, 0, 100).await.expect("the case").len() as u64 - 1;
    let data = br#"{"tier":"Quimbleton, Zebedee","source":"DELIUS"}"#;
    log.append(&stream, ExpectedRevision::Exact(last), vec![unreadable(data)]).await.expect("append");
    eventually("the projector to stop", async || {
        (metric(client, "ledger_component_up{component=\"projector\"}").await == Some(0.0)).then_some(())
    })
    .await;
    assert_eq!(client.get("/prisoners/Z7391QX/history").await.status, 500);
    // A service that has not read anything yet.
    let other = Program::start(&["--event-store", event_store, "--role", "command", "--log", LOUD]).await;
    let tier = json!({"tier": "A1", "source": "DELIUS"});
    assert_eq!(other.client().post("/prisoners/Z7391QX/tier", &tier).await.status, 500);
    assert_names_nobody("another log", &other.log());

    assert_names_nobody("/metrics", &client.get("/metrics").await.text);
    let log = program.log();
    assert!(log.contains("the projector has stopped") && log.contains("a question cannot be answered"), "{log}");
    assert_names_nobody("the log", &log);
    assert!(!program.stop().await.success(), "its projector has stopped before");
    assert_names_nobody("an exported span", &format!("{:#?}", collector.spans.lock().expect("the spans")));
    assert!(!collector.spans.lock().expect("the spans").is_empty());
}

fn unreadable(data: &'static [u8]) -> NewEvent {
    let command_id = CommandId(Uuid::new_v4());
    let now = now();
    let metadata = metadata(now, "ZEBEDEE", command_id);
    NewEvent {
        event_id: EventId(command_id.0),
        type_name: "TierAssigned".to_owned(),
        recorded_at: now,
        metadata: encode_metadata(&metadata, Salt::random()),
        data: data.into(),
    }
}

async fn ask_for_everything(client: &Client) {
    let good = [("X-Recorded-By", "ZEBEDEE"), ("User-Agent", "Quimbleton/1 (q.person@example)")];
    let pom =
        json!({"staffId": 739_173, "name": "Quimbleton, Zebedee", "kind": "PRISON", "email": "q.person@example.org"});
    let note =
        json!({"prison": "LEI", "pom": {"staffId": 739_173}, "note": "marmalade", "suitabilityDetail": "marmalade"});
    let com = json!({"name": "Quimbleton, Zebedee", "email": "q.person@example.org", "team": "marmalade"});
    for (method, path, body) in [
        (Method::POST, "/prisons/LEI/onboarding", json!({"goLiveDate": "2019-09-02", "estate": "MENS_CLOSED"})),
        (Method::POST, "/prisons/LEI/poms", pom.clone()),
        (Method::POST, "/prisons/LEI/poms", pom),
        (Method::POST, "/prisoners/Z7391QX/tier", json!({"tier": "C1", "source": "DELIUS", "crn": "X739173"})),
        (Method::POST, "/prisoners/Z7391QX/tier", json!({"tier": "marmalade", "source": "DELIUS"})),
        (Method::POST, "/prisoners/Z7391QX/tier", json!({"Quimbleton": "marmalade"})),
        (Method::POST, "/prisoners/Z7391QX/tier", json!("Quimbleton, Zebedee")),
        (Method::POST, "/prisoners/Z7391QX-Quimbleton/tier", json!({"tier": "C1"})),
        (Method::POST, "/prisoners/Z7391QX/allocations", note.clone()),
        (Method::POST, "/prisoners/Z7391QX/allocations", note),
        (Method::POST, "/prisoners/Z7391QX/reallocations", json!({"note": "marmalade\u{0}"})),
        (Method::PUT, "/prisoners/Z7391QX/community-manager", com),
        (Method::PUT, "/prisoners/Z7391QX/community-manager", json!({"name": ["Quimbleton"]})),
        (Method::POST, "/prisoners/Z7391QX/voids", json!({"revision": 99, "reason": "marmalade"})),
        (Method::POST, "/prisoners/Z7391QX/merges", json!({"removedNumber": "Z7391QX"})),
        (Method::POST, "/prisons/Quimbleton/poms", json!({"name": "marmalade"})),
        (Method::POST, "/allocation", json!({"nomis_offender_id": "Z7391QX", "created_by": "marmalade"})),
        (Method::POST, "/allocation/active", json!(["Z7391QX", "Quimbleton"])),
        (Method::POST, "/responsibilities", json!(["Z7391QX", "Quimbleton"])),
        (Method::POST, "/handover-dates", json!({"Quimbleton": "marmalade"})),
        (Method::PUT, "/prisons/LEI/poms/739173/status", json!({"status": "INACTIVE"})),
    ] {
        client.send(method, path, &good, Some(&body)).await;
    }
    for path in [
        "/prisoners/Z7391QX/responsibility",
        "/prisoners/Z7391QX/responsibility?on=marmalade",
        "/prisoners/Z7391QX/responsibility?known-at=2",
        "/prisoners/Z7391QX/responsibility?Quimbleton=1",
        "/prisoners/Quimbleton%2C%20Zebedee/responsibility",
        "/prisoners/Z7391QX/history?type=Quimbleton",
        "/prisoners/Z7391QX/history",
        "/prisoners/Z7391QX/history/Quimbleton",
        "/prisoners/Z7391QX/responsibility/periods",
        "/prisons/LEI/cases?after=Quimbleton&limit=marmalade",
        "/prisons/LEI/cases",
        "/prisons/LEI/poms",
        "/events?after=0&prisoner=Z7391QX",
        "/poms/Quimbleton/cases",
        "/poms/Quimbleton",
        "/subject-access-request?prn=Z7391QX",
        "/subject-access-request?crn=X739173",
        "/api/allocation/Z7391QX",
        "/api/handovers/Quimbleton",
        "/nowhere/Quimbleton/Z7391QX?q=marmalade",
    ] {
        client.get(path).await;
        for header in ["Idempotency-Key", "If-Match", "X-Correlation-Id", "traceparent", "tracestate", "X-Recorded-By"]
        {
            let made_up = [(header, "Quimbleton, Zebedee"), ("Ledger-Position-At-Least", "marmalade")];
            client.send(Method::GET, path, &made_up[..1], None).await;
            client.send(Method::POST, path, &made_up, Some(&json!({"name": "Quimbleton"}))).await;
        }
    }
    client.send(Method::from_bytes(b"QUIMBLETON").expect("a method"), "/prisons/LEI/poms", &[], None).await;
}

/// A tool tells the person who runs it which row is wrong; its log does not.
#[tokio::test]
async fn an_import_names_persons_in_its_report_and_not_in_its_log() {
    let (database, directory) = (database().await, tempfile::tempdir().expect("a directory"));
    let file = directory.path().join("cases.csv");
    let rows = "Prisoner number,Name,Tier,Staff id,Date of allocation\n\
                Z7391QX,\"Quimbleton, Zebedee\",A1,739173,2019-09-03\n\
                nobody,\"Quimbleton, Zebedee\",marmalade,739173,marmalade\n";
    std::fs::write(&file, rows).expect("write the file");
    let ran = import(&database, &file).await;
    let log: String = ran.lines().filter(|line| line.starts_with('{')).map(|line| format!("{line}\n")).collect();
    assert!(!log.is_empty(), "{ran}");
    assert_names_nobody("the log of an import", &log);
}

async fn import(database: &TestDatabase, file: &Path) -> String {
    let file = file.to_str().expect("UTF-8");
    let stores = ["--event-store", &database.url, "--log", LOUD];
    run(&[&["import", "spreadsheet", file, "--prison", "LEI", "--go-live", "2019-09-03"], &stores[..]].concat())
        .await
        .stderr
}
