//! The service that knows the caseloads of people, and the settings.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Prisons, assert_not_yours};
use crate::support::{
    Program, database, run,
    tokens::{TestKey, changed, client, person},
    topology::require_single_program,
};

/// A service as HMPPS has it.
struct CaseloadServer {
    state: Arc<CaseloadState>,
    url: String,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct CaseloadState {
    /// The status of its answers, unless it is 200.
    failure: Mutex<Option<StatusCode>>,
    /// The names and tokens that it was asked with.
    asked: Mutex<Vec<(String, String)>>,
    /// How often the place was asked to which it redirects.
    redirected: AtomicUsize,
}

impl CaseloadServer {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(CaseloadState::default());
        let router = Router::new()
            .route("/users/{username}/caseloads", get(answer))
            .route("/elsewhere", get(elsewhere))
            .with_state(Arc::clone(&state));
        let serving = tokio::spawn(async { axum::serve(listener, router).await.expect("serve") });
        Self { state, url, serving }
    }

    fn fail(&self, status: Option<StatusCode>) {
        *self.state.failure.lock().expect("no panic") = status;
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.state.asked.lock().expect("no panic").clone()
    }
}

impl Drop for CaseloadServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(state): State<Arc<CaseloadState>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let token = headers[header::AUTHORIZATION].to_str().expect("a token").to_owned();
    state.asked.lock().expect("no panic").push((name.clone(), token));
    match *state.failure.lock().expect("no panic") {
        Some(StatusCode::FOUND) => return (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(),
        Some(status) => return status.into_response(),
        None => {}
    }
    let caseloads = match name.as_str() {
        "HOMD_LEI" => json!([{"id": "LEI", "name": "Leeds (HMP)"}, {"id": "CADM_I", "name": "Central Administration"}]),
        "HOMD_NONE" => json!([]),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    axum::Json(json!({"username": name, "active": true, "caseloads": caseloads})).into_response()
}

async fn elsewhere(State(state): State<Arc<CaseloadState>>) -> &'static str {
    state.redirected.fetch_add(1, Ordering::SeqCst);
    r#"{"caseloads":[{"id":"MDI"}]}"#
}

#[tokio::test]
async fn the_caseloads_of_a_person_are_asked_for_with_the_token_of_the_person() {
    require_single_program();
    let server = CaseloadServer::start().await;
    let files = tempfile::tempdir().expect("a folder");
    let file = files.path().join("prisons");
    std::fs::write(&file, "user HOMD_MDI MDI\nclient kiosk MDI\n").expect("write the file");
    let url = format!("{}/users/{{username}}/caseloads", server.url);
    let settings = ["--auth-caseloads-url", &url, "--auth-prisons", file.to_str().expect("UTF-8")];
    let prisons = Prisons::serve(files, &settings).await;
    assert_eq!(server.asked(), [], "a client has no caseloads");

    let leeds = prisons.user("homd_lei", &["ROLE_ALLOC_MGR"]);
    for _ in 0..3 {
        assert_eq!(prisons.get(&leeds, "/prisons/LEI/cases").await.status, 200);
        assert_not_yours(&prisons.get(&leeds, "/prisons/MDI/cases").await, "MDI");
    }
    assert_eq!(server.asked(), [("HOMD_LEI".to_owned(), leeds.clone())], "they are kept");
    // A user of the same name who signed on elsewhere may be another person.
    let of_delius = changed(person(&["ROLE_ALLOC_MGR"]), json!({"user_name": "HOMD_LEI", "auth_source": "delius"}));
    let of_delius = prisons.bearer(&of_delius);
    assert_eq!(prisons.get(&of_delius, "/prisons/LEI/cases").await.status, 200);
    assert_eq!(server.asked()[1..], [("HOMD_LEI".to_owned(), of_delius)]);
    for name in ["HOMD_NONE", "HOMD_DELIUS"] {
        assert_not_yours(&prisons.get(&prisons.head(name), "/prisons/LEI/cases").await, name);
    }
    // The file goes before the service, and is enough for clients.
    assert_eq!(prisons.get(&prisons.head("HOMD_MDI"), "/prisons/MDI/cases").await.status, 200);
    let kiosk = prisons.bearer(&client("kiosk", &["ROLE_ALLOCATION_LEDGER__RO"], ""));
    assert_not_yours(&prisons.get(&kiosk, "/prisons/LEI/cases").await, "the kiosk");
    let names: Vec<_> = server.asked().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["HOMD_LEI", "HOMD_LEI", "HOMD_NONE", "HOMD_DELIUS"]);
}

#[tokio::test]
async fn without_an_answer_of_the_service_nothing_is_shown() {
    require_single_program();
    let server = CaseloadServer::start().await;
    let url = format!("{}/users/{{username}}/caseloads", server.url);
    let prisons = Prisons::serve(tempfile::tempdir().expect("a folder"), &["--auth-caseloads-url", &url]).await;
    let leeds = prisons.head("HOMD_LEI");
    for status in
        [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::FOUND]
    {
        server.fail(Some(status));
        for (method, path) in
            [("GET", "/prisons/LEI/cases"), ("GET", "/events"), ("POST", "/prisoners/A1111AA/releases")]
        {
            let token = prisons.user("HOMD_LEI", &["ROLE_ALLOC_MGR", "ROLE_ALLOCATION_LEDGER__EXPORT"]);
            let answer = prisons.send(&token, method, path, None).await;
            let code = (answer.status.as_u16(), &answer.body["code"]);
            assert_eq!(code, (503, &json!("prisons-unavailable")), "{status} {path}: {}", answer.text);
            assert!(answer.header("retry-after").is_some());
        }
    }
    assert_eq!(server.state.redirected.load(Ordering::SeqCst), 0, "a token is not sent elsewhere");
    // A route that asks for no prison answers, and a failure is not kept.
    assert_eq!(prisons.get(&leeds, "/projections").await.status, 200);
    server.fail(None);
    assert_eq!(prisons.get(&leeds, "/prisons/LEI/cases").await.status, 200);
    server.fail(Some(StatusCode::BAD_GATEWAY));
    assert_eq!(prisons.get(&leeds, "/prisons/LEI/cases").await.status, 200, "the caseloads are kept");
}

#[tokio::test]
async fn settings_of_prisons_that_cannot_be_used_are_refused() {
    require_single_program();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (keys, prisons, data) = (path("jwks.json"), path("prisons"), path("data"));
    std::fs::write(&keys, TestKey::of_sign_on().jwks().to_string()).expect("write the keys");
    std::fs::write(&prisons, "user HOMD_LEI LEI\nuser HOMD_MDI Moorland\n").expect("write the file");
    let missing = path("missing");
    for (settings, named) in [
        (vec!["--auth-key-file", &keys, "--auth-prisons", &prisons], "line 2: `Moorland`"),
        (vec!["--auth-key-file", &keys, "--auth-prisons", &missing], "missing"),
        (vec!["--auth-key-file", &keys, "--auth-caseloads-url", "http://roles.example/me/caseloads"], "https"),
        (vec!["--auth-prisons", &prisons], "--auth-prisons says which prisons"),
        (vec!["--auth-caseloads-url", "https://roles.example/me/caseloads"], "--auth-caseloads-url says which prisons"),
    ] {
        let serve = [&["serve", "--listen", "127.0.0.1:0", "--data-dir", &data], &settings[..]].concat();
        let refused = run(&serve).await;
        assert!(!refused.status.success() && refused.stderr.contains(named), "{named}: {}", refused.stderr);
    }
    // Where nothing says it, no caller is confined, and the log says so.
    let database = database().await;
    let stores = database.arguments();
    let settings: Vec<&str> = stores.iter().map(String::as_str).chain(["--auth-key-file", &keys]).collect();
    let program = Program::serve_with(&settings).await;
    let token = format!("Bearer {}", TestKey::of_sign_on().token(&crate::support::tokens::person(&["ROLE_ALLOC_MGR"])));
    let headers = [("Authorization", token.as_str())];
    let answer = program.client().send(reqwest::Method::GET, "/prisons/MDI/cases", &headers, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let (_, log) = program.stop_and_read_log().await;
    assert!(log.contains("no caller is confined to its prisons"), "{log}");
}
