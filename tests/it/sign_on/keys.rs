//! Where the keys come from: a server that changes its keys, that is away, or a file.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse as _, routing::get};
use futures::future::join_all;
use serde_json::{Value, json};
use sign_on::{KeyServer, KeySource, KeyTimes, RoleMap, SignOn, TokenRefusal};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::{
    Program, database, eventually,
    tokens::{TestKey, changed, person},
    topology::require_single_program,
};

/// Times that do not pass during a test, unless it changes them.
const NEVER: KeyTimes =
    KeyTimes { refresh: Duration::from_secs(3_600), unknown_key: Duration::ZERO, kept: Duration::from_secs(3_600) };

/// A server of keys.
struct JwksServer {
    state: Arc<JwksState>,
    url: String,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct JwksState {
    /// The body; `None` while the server fails.
    body: Mutex<Option<String>>,
    requests: AtomicUsize,
}

impl JwksServer {
    async fn start(keys: &[&TestKey]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}/auth/.well-known/jwks.json", listener.local_addr().expect("an address"));
        let state = Arc::new(JwksState::default());
        let router = Router::new().route("/auth/.well-known/jwks.json", get(answer)).with_state(Arc::clone(&state));
        let serving = tokio::spawn(async { axum::serve(listener, router).await.expect("serve") });
        let server = Self { state, url, serving };
        server.publish(keys);
        server
    }

    fn publish(&self, keys: &[&TestKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwks()["keys"][0].clone()).collect();
        *self.state.body.lock().expect("no panic") = Some(json!({ "keys": keys }).to_string());
    }

    fn fail(&self) {
        *self.state.body.lock().expect("no panic") = None;
    }

    fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// A sign-on that has fetched the keys.
    async fn sign_on(&self, times: KeyTimes) -> SignOn {
        let server = KeyServer::start(&self.url, times).expect("an address");
        let sign_on = SignOn::new(KeySource::Server(server), None, RoleMap::default());
        eventually("the keys", async || sign_on.check_keys().ok()).await;
        sign_on
    }
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(state): State<Arc<JwksState>>) -> axum::response::Response {
    state.requests.fetch_add(1, Ordering::SeqCst);
    match state.body.lock().expect("no panic").clone() {
        Some(body) => body.into_response(),
        None => StatusCode::BAD_GATEWAY.into_response(),
    }
}

#[tokio::test]
async fn a_new_key_counts_at_once_and_a_withdrawn_one_no_longer() {
    let (first, second) = (TestKey::of_sign_on(), TestKey::other());
    let server = JwksServer::start(&[&first]).await;
    let sign_on = server.sign_on(NEVER).await;
    let (old, new) = (first.token(&person(&[])), second.token(&person(&[])));
    assert!(sign_on.caller(&old).await.is_ok());
    assert!(matches!(sign_on.caller(&new).await, Err(TokenRefusal::Invalid(_))));
    server.publish(&[&first, &second]);
    assert!(sign_on.caller(&new).await.is_ok(), "an unknown key has the keys fetched");
    assert!(sign_on.caller(&old).await.is_ok());
    server.publish(&[&second]);
    // The next fetch is that for another unknown key.
    let header = changed(first.header(), json!({"kid": "unknown"})).to_string();
    assert!(sign_on.caller(&first.sign(&header, &person(&[]).to_string())).await.is_err());
    assert!(matches!(sign_on.caller(&old).await, Err(TokenRefusal::Invalid(_))), "a token that was kept is refused");
    assert!(sign_on.caller(&new).await.is_ok());
}

#[tokio::test]
async fn keys_are_fetched_again_every_so_often() {
    let (first, second) = (TestKey::of_sign_on(), TestKey::other());
    let server = JwksServer::start(&[&first]).await;
    let times = KeyTimes { refresh: Duration::from_millis(20), unknown_key: Duration::from_secs(3_600), ..NEVER };
    let sign_on = server.sign_on(times).await;
    let old = first.token(&person(&[]));
    assert!(sign_on.caller(&old).await.is_ok());
    server.publish(&[&second]);
    eventually("the withdrawn key to be forgotten", async || sign_on.caller(&old).await.err()).await;
}

#[tokio::test]
async fn unknown_keys_do_not_make_the_ledger_ask_again_and_again() {
    let key = TestKey::of_sign_on();
    let server = JwksServer::start(&[&key]).await;
    let times = KeyTimes { unknown_key: Duration::from_secs(3_600), ..NEVER };
    let sign_on = server.sign_on(times).await;
    let header = |index: i32| changed(key.header(), json!({"kid": format!("unknown-{index}")})).to_string();
    let claims = person(&[]).to_string();
    let tokens: Vec<_> = (0..200).map(|index| key.sign(&header(index), &claims)).collect();
    let answers = join_all(tokens.iter().map(|token| sign_on.caller(token))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(TokenRefusal::Invalid(_)))), "{answers:?}");
    assert_eq!(server.requests(), 1, "only the first fetch");
    assert!(sign_on.caller(&key.token(&person(&[]))).await.is_ok());
}

#[tokio::test]
async fn keys_count_on_for_a_time_while_the_server_is_away() {
    let key = TestKey::of_sign_on();
    let server = JwksServer::start(&[&key]).await;
    let times = KeyTimes { refresh: Duration::from_millis(20), kept: Duration::from_secs(2), ..NEVER };
    let sign_on = server.sign_on(times).await;
    server.fail();
    let seen = server.requests();
    eventually("a fetch that fails", async || (server.requests() > seen).then_some(())).await;
    let token = key.token(&person(&[]));
    assert!(sign_on.caller(&token).await.is_ok(), "the keys are kept");
    let unknown = changed(key.header(), json!({"kid": "perhaps-new"})).to_string();
    let refusal = sign_on.caller(&key.sign(&unknown, &person(&[]).to_string())).await;
    assert!(matches!(refusal, Err(TokenRefusal::KeysUnavailable(_))), "{refusal:?}");
    let refusal = eventually("the keys to be too old", async || sign_on.caller(&token).await.err()).await;
    assert!(matches!(&refusal, TokenRefusal::KeysUnavailable(why) if why.contains("too old")), "{refusal:?}");
    assert!(sign_on.check_keys().is_err());
    server.publish(&[&key]);
    eventually("the keys to be fetched again", async || sign_on.caller(&token).await.ok()).await;
}

#[tokio::test]
async fn a_program_without_keys_lets_no_caller_in_and_says_why() {
    require_single_program();
    let (key, database) = (TestKey::of_sign_on(), database().await);
    let server = JwksServer::start(&[&key]).await;
    server.fail();
    let stores = database.arguments();
    let arguments: Vec<&str> =
        stores.iter().map(String::as_str).chain(["--auth-jwks-url", server.url.as_str()]).collect();
    let program = Program::start(&arguments).await;
    let token = format!("Bearer {}", key.token(&person(&["ROLE_ALLOCATION_LEDGER__RO"])));
    let headers = [("Authorization", token.as_str())];
    let ask = async || program.client().send(reqwest::Method::GET, "/nomis-contacts", &headers, None).await;
    let answer = ask().await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (503, &json!("keys-unavailable")), "{}", answer.text);
    assert!(answer.header("retry-after").is_some());
    let readiness = program.client().get("/health/readiness").await;
    let why = readiness.body["components"]["signOn"]["details"]["error"].as_str().unwrap_or_default();
    assert!(readiness.status == 503 && why.contains(&server.url), "{}", readiness.text);
    server.publish(&[&key]);
    let program = program.into_ready().await;
    let answer = program.client().send(reqwest::Method::GET, "/nomis-contacts", &headers, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}
