//! A stand-in for HMPPS Auth as people meet it in a browser, and for a server of OpenID. It is on
//! `localhost`, where the ledger is on `127.0.0.1`: another site.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, sync::watch};

use super::tokens::{TestKey, changed, person, seconds_from_now};

/// The ledger as the stand-in knows it. Its id and its secret have characters that must be escaped.
pub const CLIENT: &str = "allocation ledger";
pub const CLIENT_SECRET: &str = "a secret: of+the%tests&";

/// The sign-on, on a port of this machine.
#[derive(Clone)]
pub struct HmppsAuth {
    url: String,
    state: Arc<Mutex<AuthState>>,
    /// Whether requests for tokens are answered.
    answers: watch::Sender<bool>,
}

struct AuthState {
    key: TestKey,
    /// The claims of the person who is at the browser, but when the token ends.
    claims: Value,
    token_seconds: i64,
    /// The answer to a request for a token, instead of one: a status and a body.
    failure: Option<(u16, String)>,
    denies: bool,
    rotates: bool,
    /// Bytes of a refresh token.
    refresh_token_bytes: usize,
    codes: HashMap<String, BegunCode>,
    refresh_tokens: Vec<String>,
    numbers: usize,
    requests: Vec<String>,
}

/// A code that was not used yet.
struct BegunCode {
    challenge: String,
    redirect_uri: String,
}

type Parameters = BTreeMap<String, String>;

impl HmppsAuth {
    /// Serves the sign-on. Its tokens are those of a person with these roles.
    pub async fn serve(roles: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://localhost:{}/auth", listener.local_addr().expect("its address").port());
        let state = AuthState {
            key: TestKey::of_sign_on(),
            claims: person(roles),
            token_seconds: 600,
            failure: None,
            denies: false,
            rotates: true,
            refresh_token_bytes: 128,
            codes: HashMap::new(),
            refresh_tokens: Vec::new(),
            numbers: 0,
            requests: Vec::new(),
        };
        let auth = Self { url, state: Arc::new(Mutex::new(state)), answers: watch::Sender::new(true) };
        let router = Router::new()
            .route("/auth/oauth/authorize", get(authorize))
            .route("/auth/oauth/token", post(token))
            .route("/auth/sign-out", get(sign_out))
            .route("/auth/end-session", get(sign_out))
            .route("/auth/.well-known/jwks.json", get(async |State(auth): State<Self>| Json(auth.state().key.jwks())))
            .route("/auth/.well-known/openid-configuration", get(discovery))
            .with_state(auth.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        auth
    }

    fn state(&self) -> MutexGuard<'_, AuthState> {
        self.state.lock().expect("a lock")
    }

    /// Its address, which is its issuer, too.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of its keys.
    pub fn jwks_url(&self) -> String {
        format!("{}/.well-known/jwks.json", self.url)
    }

    /// Changes the claims of the next tokens.
    pub fn change_claims(&self, changes: Value) {
        let claims = changed(self.state().claims.clone(), changes);
        self.state().claims = claims;
    }

    /// Sets how long the next access tokens hold, from their making on.
    pub fn set_token_seconds(&self, seconds: i64) {
        self.state().token_seconds = seconds;
    }

    /// Sets how long the next refresh tokens are.
    pub fn set_refresh_token_bytes(&self, bytes: usize) {
        self.state().refresh_token_bytes = bytes;
    }

    /// Has a refresh give no other refresh token than the one that it was shown.
    pub fn keep_refresh_tokens(&self) {
        self.state().rotates = false;
    }

    /// Answers requests for tokens like this from now on.
    pub fn fail(&self, status: u16, body: &str) {
        self.state().failure = Some((status, body.to_owned()));
    }

    /// Answers well again.
    pub fn recover(&self) {
        self.state().failure = None;
    }

    /// Has the person stop the sign-in.
    pub fn deny(&self) {
        self.state().denies = true;
    }

    /// Refuses every refresh token so far.
    pub fn revoke(&self) {
        self.state().refresh_tokens.clear();
    }

    /// Holds the answers to requests for tokens back, or lets them go.
    pub fn hold(&self, is_held: bool) {
        self.answers.send_replace(!is_held);
    }

    /// The requests so far: their kinds, such as `refresh_token` or `sign-out CLIENT`.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// How many requests there were of a kind.
    pub fn count(&self, kind: &str) -> usize {
        self.state().requests.iter().filter(|request| *request == kind).count()
    }
}

impl AuthState {
    fn next_number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers
    }

    fn answer_with_tokens(&mut self, shown: Option<String>) -> Response {
        let number = self.next_number();
        let exp = seconds_from_now(self.token_seconds);
        let access = self.key.token(&changed(self.claims.clone(), json!({"exp": exp, "jti": number.to_string()})));
        let mut answer = json!({
            "access_token": access, "token_type": "bearer", "expires_in": self.token_seconds.max(0),
            "scope": "read write", "sub": "HOMD_LEI", "auth_source": "nomis",
        });
        if shown.is_none() || self.rotates {
            let refresh = format!("refresh-{number}-{}", "r".repeat(self.refresh_token_bytes));
            self.refresh_tokens.retain(|token| Some(token) != shown.as_ref());
            self.refresh_tokens.push(refresh.clone());
            answer["refresh_token"] = refresh.into();
        }
        Json(answer).into_response()
    }
}

/// Sends the browser back at once, as for a person who has signed on before.
async fn authorize(State(auth): State<HmppsAuth>, Query(asked): Query<Parameters>) -> Response {
    let mut state = auth.state();
    state.requests.push(format!("authorize scope={}", asked.get("scope").map_or("", String::as_str)));
    let given = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let is_well_formed =
        given("response_type") == "code" && given("client_id") == CLIENT && given("code_challenge_method") == "S256";
    if !is_well_formed || given("code_challenge").len() != 43 || given("state").len() < 22 {
        return (StatusCode::BAD_REQUEST, format!("{asked:?}")).into_response();
    }
    let answer = if state.denies {
        "error=access_denied&error_description=no".to_owned()
    } else {
        let code = format!("code-{}", state.next_number());
        let begun = BegunCode { challenge: given("code_challenge"), redirect_uri: given("redirect_uri") };
        state.codes.insert(code.clone(), begun);
        format!("code={code}")
    };
    Redirect::to(&format!("{}?{answer}&state={}", given("redirect_uri"), given("state"))).into_response()
}

async fn token(State(auth): State<HmppsAuth>, headers: HeaderMap, body: Bytes) -> Response {
    let asked: Parameters = form_urlencoded::parse(&body).into_owned().collect();
    let given = |name: &str| asked.get(name).cloned().unwrap_or_default();
    auth.state().requests.push(given("grant_type"));
    auth.answers.subscribe().wait_for(|answers| *answers).await.expect("the stand-in is there");
    let mut state = auth.state();
    if let Some((status, body)) = state.failure.clone() {
        let status = StatusCode::from_u16(status).expect("a status");
        let elsewhere = format!("{}/elsewhere", auth.url);
        return (status, [(header::CONTENT_TYPE, "application/json".to_owned()), (header::LOCATION, elsewhere)], body)
            .into_response();
    }
    let refuse = |status, error: &str| (status, Json(json!({"error": error}))).into_response();
    if headers.get(header::AUTHORIZATION).is_none_or(|basic| basic.as_bytes() != basic_of_client().as_bytes()) {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    match given("grant_type").as_str() {
        "authorization_code" => match state.codes.remove(&given("code")) {
            Some(begun)
                if begun.redirect_uri == given("redirect_uri")
                    && begun.challenge == URL_SAFE_NO_PAD.encode(Sha256::digest(given("code_verifier"))) =>
            {
                state.answer_with_tokens(None)
            }
            _ => refuse(StatusCode::BAD_REQUEST, "invalid_grant"),
        },
        "refresh_token" if state.refresh_tokens.contains(&given("refresh_token")) => {
            state.answer_with_tokens(Some(given("refresh_token")))
        }
        "refresh_token" => refuse(StatusCode::BAD_REQUEST, "invalid_grant"),
        _ => refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type"),
    }
}

/// Id and secret, each escaped as in a form (RFC 6749, section 2.3.1).
fn basic_of_client() -> String {
    format!("Basic {}", STANDARD.encode("allocation+ledger:a+secret%3A+of%2Bthe%25tests%26"))
}

async fn sign_out(State(auth): State<HmppsAuth>, Query(asked): Query<Parameters>) -> Response {
    let client = asked.get("client_id").map_or("", String::as_str);
    auth.state().requests.push(format!("sign-out {client}"));
    match asked.get("redirect_uri").or_else(|| asked.get("post_logout_redirect_uri")) {
        Some(address) => Redirect::to(address).into_response(),
        None => "You are signed out".into_response(),
    }
}

async fn discovery(State(auth): State<HmppsAuth>) -> Json<Value> {
    let url = &auth.url;
    Json(json!({
        "issuer": url, "authorization_endpoint": format!("{url}/oauth/authorize"),
        "token_endpoint": format!("{url}/oauth/token"), "end_session_endpoint": format!("{url}/end-session"),
        "jwks_uri": auth.jwks_url(), "response_types_supported": ["code"], "subject_types_supported": ["public"],
    }))
}
