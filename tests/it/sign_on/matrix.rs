//! Every route, with every kind of token: who may use what.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use ring::hmac;
use serde_json::json;

use crate::support::{
    Client, HttpAnswer,
    tokens::{ALL_ROLES, GuardedProgram, ISSUER, TestKey, changed, client, person, seconds_from_now, unsigned},
    topology::require_single_program,
};

/// The demand of a route on its callers, as `docs/security.md` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Question,
    Command,
    Feed,
    Views,
    AccessLog,
    Controls,
    Jobs,
    ExportFile,
    Messages,
    Queues,
    SubjectAccess,
    Live,
    FirstQuestion,
    FirstCommand,
}

use Kind::{
    AccessLog, Command, Controls, ExportFile, Feed, FirstCommand, FirstQuestion, Jobs, Live, Messages, Question,
    Queues, SubjectAccess, Views,
};

/// Every operation of the document.
pub(super) const ROUTES: &[(&str, &str, Kind)] = &[
    ("POST", "/allocation", FirstCommand),
    ("POST", "/allocation/active", FirstQuestion),
    ("GET", "/poms/{staffIds}", FirstQuestion),
    ("GET", "/status", FirstQuestion),
    ("GET", "/api/allocation/{prisonerNumber}", Live),
    ("GET", "/api/allocation/{prisonerNumber}/primary_pom", Live),
    ("GET", "/api/handovers/{prisonerNumber}", Live),
    ("GET", "/events", Feed),
    ("GET", "/projections", Views),
    ("GET", "/access-log", AccessLog),
    ("GET", "/control-reports", Controls),
    ("GET", "/control-reports/{report}", Controls),
    ("GET", "/projections/jobs", Jobs),
    ("POST", "/projections/jobs", Jobs),
    ("GET", "/projections/jobs/{jobId}", Jobs),
    ("DELETE", "/projections/jobs/{jobId}", Jobs),
    ("GET", "/projections/jobs/{jobId}/file", ExportFile),
    ("GET", "/integration/parked", Messages),
    ("POST", "/integration/parked/{messageId}/retry", Messages),
    ("DELETE", "/integration/parked/{messageId}", Messages),
    ("PUT", "/queue-admin/retry-all-dlqs", Queues),
    ("GET", "/subject-access-request", SubjectAccess),
    ("GET", "/subject-access-request/template", SubjectAccess),
    ("POST", "/handover-dates", Question),
    ("POST", "/responsibilities", Question),
    ("GET", "/nomis-contacts", Question),
    ("GET", "/poms/{staffId}/cases", Question),
    ("GET", "/prisoners/{prisonerNumber}/history", Question),
    ("GET", "/prisoners/{prisonerNumber}/history/{revision}", Question),
    ("GET", "/prisoners/{prisonerNumber}/responsibility", Question),
    ("GET", "/prisoners/{prisonerNumber}/responsibility/periods", Question),
    ("GET", "/prisons/{prisonCode}/cases", Question),
    ("GET", "/prisons/{prisonCode}/handovers", Question),
    ("GET", "/prisons/{prisonCode}/nomis-contacts", Question),
    ("GET", "/prisons/{prisonCode}/poms", Question),
    ("GET", "/prisons/{prisonCode}/statistics", Question),
    ("GET", "/prisons/{prisonCode}/unallocated", Question),
    ("GET", "/prisons/{prisonCode}/unallocated/{prisonerNumber}/suggestions", Question),
    ("POST", "/prisoners/{prisonerNumber}/allocations", Command),
    ("POST", "/prisoners/{prisonerNumber}/co-workers", Command),
    ("DELETE", "/prisoners/{prisonerNumber}/co-workers/current", Command),
    ("DELETE", "/prisoners/{prisonerNumber}/community-manager", Command),
    ("PUT", "/prisoners/{prisonerNumber}/community-manager", Command),
    ("POST", "/prisoners/{prisonerNumber}/deallocations", Command),
    ("POST", "/prisoners/{prisonerNumber}/handover-plans", Command),
    ("POST", "/prisoners/{prisonerNumber}/merges", Command),
    ("POST", "/prisoners/{prisonerNumber}/reallocations", Command),
    ("POST", "/prisoners/{prisonerNumber}/receptions", Command),
    ("POST", "/prisoners/{prisonerNumber}/releases", Command),
    ("DELETE", "/prisoners/{prisonerNumber}/responsibility-override", Command),
    ("PUT", "/prisoners/{prisonerNumber}/responsibility-override", Command),
    ("POST", "/prisoners/{prisonerNumber}/tier", Command),
    ("POST", "/prisoners/{prisonerNumber}/transfers", Command),
    ("POST", "/prisoners/{prisonerNumber}/voids", Command),
    ("PUT", "/prisons/{prisonCode}/go-live-date", Command),
    ("POST", "/prisons/{prisonCode}/nomis-contacts", Command),
    ("POST", "/prisons/{prisonCode}/nomis-contacts/{contactId}/removal", Command),
    ("POST", "/prisons/{prisonCode}/onboarding", Command),
    ("POST", "/prisons/{prisonCode}/poms", Command),
    ("PATCH", "/prisons/{prisonCode}/poms/{staffId}", Command),
    ("PUT", "/prisons/{prisonCode}/poms/{staffId}/status", Command),
    ("POST", "/prisons/{prisonCode}/reallocations", Command),
    ("POST", "/prisons/{prisonCode}/spreadsheets", Command),
    ("GET", "/prisons/{prisonCode}/spreadsheets/{spreadsheetId}", Command),
    ("DELETE", "/prisons/{prisonCode}/spreadsheets/{spreadsheetId}", Command),
    ("POST", "/prisons/{prisonCode}/spreadsheets/{spreadsheetId}/recording", Command),
    ("GET", "/prisons/{prisonCode}/spreadsheets/{spreadsheetId}/refused-rows", Command),
    ("GET", "/prisons/{prisonCode}/spreadsheets/{spreadsheetId}/rows", Command),
];

/// The operations of the document that need no token.
const OPEN_OPERATIONS: &[(&str, &str)] = &[
    ("GET", "/health"),
    ("GET", "/health/liveness"),
    ("GET", "/health/ping"),
    ("GET", "/health/readiness"),
    ("GET", "/info"),
    ("GET", "/metrics"),
    ("GET", "/ping"),
];

/// The routes that need no token.
const OPEN: &[&str] = &[
    "/",
    "/docs",
    "/docs/",
    "/event-types",
    "/health",
    "/health/liveness",
    "/health/ping",
    "/health/readiness",
    "/info",
    "/metrics",
    "/openapi.json",
    "/ping",
    "/problems",
    "/problems/token-missing",
    "/swagger-ui.html",
    "/v3/api-docs",
];

/// The answer that a token should get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// 401: there is no valid token.
    NotKnown,
    /// 403, or the 401 of an older service: the roles are not enough.
    NotAllowed,
    /// The request is read; what it lacks is refused as without a sign-on.
    Let,
}

/// A program that takes the tokens of one key.
struct Guarded {
    program: GuardedProgram,
    key: TestKey,
}

impl Guarded {
    async fn start() -> Self {
        let key = TestKey::of_sign_on();
        let settings = ["--auth-issuer", ISSUER, "--auth-scope-client", "old-client"];
        Self { program: GuardedProgram::serve(Some(&key), &settings).await, key }
    }

    fn client(&self) -> &Client {
        self.program.program.client()
    }

    /// Sends a request without a body. Its path parameters are none that the ledger takes, so that
    /// nothing is recorded.
    async fn send(&self, method: &str, path: &str, authorization: Option<&str>) -> HttpAnswer {
        let path = filled(path);
        let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("Authorization", *value)).collect();
        self.client().send(method.parse::<Method>().expect("a method"), &path, &headers, None).await
    }

    /// Checks the answers of every route to a caller.
    async fn check(&self, what: &str, authorization: Option<&str>, expected: impl Fn(Kind) -> Expected) {
        for (method, path, kind) in ROUTES {
            let answer = self.send(method, path, authorization).await;
            check_answer(&format!("{method} {path}, {what}"), &answer, *kind, expected(*kind));
        }
    }
}

fn filled(path: &str) -> String {
    let part = |(index, part): (usize, &str)| match part.split_once('}') {
        Some((_, rest)) if index > 0 => format!("x{rest}"),
        _ => part.to_owned(),
    };
    path.split('{').enumerate().map(part).collect()
}

#[track_caller]
fn check_answer(what: &str, answer: &HttpAnswer, kind: Kind, expected: Expected) {
    let status = answer.status.as_u16();
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    let what = format!("{what}: {status} {challenge} {}", answer.text);
    match (kind, expected) {
        (_, Expected::Let) => {
            assert!(![401, 403, 405].contains(&status) && status < 500, "{what}");
            assert_eq!(challenge, "", "{what}");
        }
        (Live, Expected::NotKnown | Expected::NotAllowed) => {
            assert_eq!(status, 401, "{what}");
            assert_eq!(answer.text, r#"{"status":"error","message":"Valid authorisation token required"}"#, "{what}");
        }
        (FirstQuestion | FirstCommand, Expected::NotKnown | Expected::NotAllowed) => {
            assert_eq!((status, answer.text.as_str(), challenge), (401, "", "Bearer scope=\"read\""), "{what}");
        }
        (_, Expected::NotKnown) => {
            assert_eq!(status, 401, "{what}");
            let code = answer.body["code"].as_str().unwrap_or_default();
            assert!(["token-missing", "token-invalid"].contains(&code), "{what}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
            assert!(challenge.starts_with("Bearer realm="), "{what}");
            assert_eq!(challenge.contains("error=\"invalid_token\""), code == "token-invalid", "{what}");
        }
        (_, Expected::NotAllowed) => {
            assert_eq!((status, &answer.body["code"]), (403, &json!("role-missing")), "{what}");
            assert_eq!(answer.body["errorCode"], "role-missing", "{what}");
            assert!(challenge.contains("error=\"insufficient_scope\""), "{what}");
        }
    }
}

#[tokio::test]
async fn every_operation_of_the_document_is_in_the_matrix() {
    require_single_program();
    let guarded = Guarded::start().await;
    let document = guarded.client().get("/openapi.json").await.body;
    let (mut described, mut open) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let security = operation["security"].as_array().expect("its security");
            if security.is_empty() {
                open.insert((method.to_uppercase(), path.clone()));
                continue;
            }
            described.insert((method.to_uppercase(), path.clone()));
            let roles: Vec<_> =
                security.iter().map(|scheme| scheme["bearer"][0].as_str().unwrap_or_default()).collect();
            let is_first = operation["tags"][0] == "First allocation API";
            assert!(
                roles.iter().all(|role| role.starts_with("ROLE_")) && !roles.is_empty(),
                "{method} {path}: {roles:?}"
            );
            let has_403 = !operation["responses"]["403"].is_null();
            assert!(!operation["responses"]["401"].is_null(), "{method} {path}");
            assert_eq!(has_403, !is_first && operation["tags"][0] != "Live service", "{method} {path}");
        }
    }
    let listed = ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(described, listed);
    let listed = OPEN_OPERATIONS.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(open, listed);
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}

#[tokio::test]
async fn no_route_takes_a_token_that_is_not_valid() {
    require_single_program();
    let guarded = Guarded::start().await;
    let (key, other) = (&guarded.key, TestKey::other());
    let claims = person(&ALL_ROLES);
    let with = |changes| key.token(&changed(claims.clone(), changes));
    let none = unsigned(&changed(key.header(), json!({"alg": "none"})).to_string(), &claims.to_string());
    let hs256 = unsigned(&changed(key.header(), json!({"alg": "HS256"})).to_string(), &claims.to_string());
    let secret = hmac::Key::new(hmac::HMAC_SHA256, key.jwks().to_string().as_bytes());
    let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&secret, hs256.as_bytes()));
    for (what, token) in [
        ("expired", with(json!({"exp": seconds_from_now(-3_600)}))),
        ("not valid yet", with(json!({"nbf": seconds_from_now(3_600)}))),
        ("of another issuer", with(json!({"iss": "https://elsewhere.example"}))),
        ("of no issuer", with(json!({"iss": null}))),
        ("a refresh token", with(json!({"ati": "an access token"}))),
        ("of another key", other.token(&claims)),
        ("of another key with this one's id", other.sign(&key.header().to_string(), &claims.to_string())),
        ("alg none", format!("{none}.")),
        ("HS256 with the public key", format!("{hs256}.{tag}")),
        ("rubbish", "rubbish".to_owned()),
    ] {
        guarded.check(what, Some(&format!("Bearer {token}")), |_| Expected::NotKnown).await;
    }
    guarded.check("no token", None, |_| Expected::NotKnown).await;
    for (_, path, _) in ROUTES.iter().filter(|(method, ..)| *method == "GET") {
        assert_eq!(guarded.send("HEAD", path, None).await.status, 401, "HEAD {path}");
    }
    for other_scheme in ["Basic YTpi", "Bearer", "Bearer "] {
        guarded.check(other_scheme, Some(other_scheme), |_| Expected::NotKnown).await;
    }
    let good = format!("bearer {}", key.token(&claims));
    guarded.check("all roles", Some(&good), |_| Expected::Let).await;
    for (method, path, _) in ROUTES {
        let twice = [("Authorization", good.as_str()), ("Authorization", good.as_str())];
        let answer = guarded.client().send(method.parse().expect("a method"), &filled(path), &twice, None).await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (400, &json!("header-invalid")), "{method} {path}");
    }
}

#[tokio::test]
async fn a_role_allows_what_is_its_and_nothing_else() {
    require_single_program();
    let guarded = Guarded::start().await;
    let key = &guarded.key;
    let of_person = |role: &str| key.token(&person(&[role]));
    let of_client = |role: &str, scope: &str| key.token(&client("some-client", &[role], scope));
    let read: &[Kind] = &[Question, Views, Live, FirstQuestion];
    let audit: &[Kind] = &[Question, Views, AccessLog, Controls, Feed, Live, FirstQuestion];
    let record: &[Kind] = &[Question, Views, Live, FirstQuestion, Command, FirstCommand];
    for (what, token, allowed) in [
        ("RO", of_client("ROLE_ALLOCATION_LEDGER__RO", ""), read),
        ("RW", of_client("ROLE_ALLOCATION_LEDGER__RW", ""), record),
        ("AUDIT", of_client("ROLE_ALLOCATION_LEDGER__AUDIT", ""), audit),
        ("EXPORT", of_client("ROLE_ALLOCATION_LEDGER__EXPORT", ""), &[Feed, Jobs, ExportFile]),
        ("OPERATE", of_client("ROLE_ALLOCATION_LEDGER__OPERATE", ""), &[Views, Jobs, Messages]),
        ("QUEUES", of_client("ROLE_QUEUE_ADMIN", ""), &[Queues]),
        ("a head of offender management", of_person("ROLE_ALLOC_MGR"), record),
        ("a client with the role of people", of_client("ROLE_ALLOC_MGR", "read write"), &[]),
        ("a POM", of_person("ROLE_ALLOC_CASE_MGR"), read),
        ("a client with the role of POMs", of_client("ROLE_ALLOC_CASE_MGR", "read"), &[]),
        ("a client of the live service", of_client("ROLE_VIEW_POM_ALLOCATIONS", "read"), &[Live]),
        ("one without the scope", of_client("ROLE_VIEW_POM_ALLOCATIONS", "write"), &[]),
        ("subject access", of_client("ROLE_SAR_DATA_ACCESS", "read"), &[SubjectAccess]),
        ("another role", of_person("ROLE_PRISON"), &[]),
        ("a role in other letters", of_person("role_allocation_ledger__rw"), &[]),
        ("a scope", key.token(&client("some-client", &[], "read write")), &[]),
        ("the scope of a named client", key.token(&client("old-client", &[], "read")), &[FirstQuestion]),
        ("both its scopes", key.token(&client("old-client", &[], "read write")), &[FirstQuestion, FirstCommand]),
    ] {
        let expected = |kind| if allowed.contains(&kind) { Expected::Let } else { Expected::NotAllowed };
        guarded.check(what, Some(&format!("Bearer {token}")), expected).await;
    }
    // As the API of 2019 took it.
    let bare = key.token(&client("some-client", &["ROLE_ALLOCATION_LEDGER__RO"], ""));
    let expected = |kind| if kind == FirstQuestion { Expected::Let } else { Expected::NotKnown };
    for (method, path, kind) in ROUTES.iter().filter(|(.., kind)| *kind != FirstCommand) {
        check_answer(path, &guarded.send(method, path, Some(&bare)).await, *kind, expected(*kind));
    }
}

#[tokio::test]
async fn health_and_documentation_need_no_token() {
    require_single_program();
    let guarded = Guarded::start().await;
    for path in OPEN {
        for authorization in [None, Some("Bearer rubbish")] {
            let answer = guarded.send("GET", path, authorization).await;
            assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.text);
        }
    }
    let unknown = guarded.send("GET", "/elsewhere", None).await;
    assert_eq!((unknown.status.as_u16(), &unknown.body["code"]), (404, &json!("path-unknown")));
    let wrong_method = guarded.send("DELETE", "/prisons/{prisonCode}/poms", None).await;
    assert_eq!(wrong_method.status, 405);
    let allowed: BTreeSet<_> = wrong_method.header("allow").unwrap_or_default().split(',').collect();
    assert_eq!(allowed, BTreeSet::from(["GET", "HEAD", "POST"]));
}
