//! Stand-ins for the services that are looked up: HMPPS Auth, the tier service,
//! manage-pom-cases-and-delius and prisoner search, with answers of their forms.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const CLIENT: &str = "allocation-ledger";
const SECRET: &str = "a secret of the tests";

/// The services, on one port of this machine.
#[derive(Clone)]
pub struct LookUpServices {
    url: String,
    state: Arc<Mutex<ServicesState>>,
}

#[derive(Default)]
struct ServicesState {
    answers: HashMap<String, Value>,
    behaviour: Behaviour,
    /// The status with which each of these paths fails.
    failing_paths: HashMap<String, u16>,
    gives_tokens: bool,
    /// How many tokens were given, and how many of them have expired.
    tokens: usize,
    expired_tokens: usize,
    /// How many look-ups fail before they are answered well again.
    failures_left: usize,
    requests: Vec<String>,
}

/// How the services answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Behaviour {
    #[default]
    Well,
    /// They never answer.
    Hanging,
    /// With this status.
    Failing(u16),
    /// With another form than theirs.
    TalkingNonsense,
    /// As a server of another kind: there is nothing of theirs.
    Elsewhere,
    /// They lead to this address.
    Redirecting(String),
}

impl LookUpServices {
    pub async fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let state = ServicesState { gives_tokens: true, ..ServicesState::default() };
        let services = Self { url, state: Arc::new(Mutex::new(state)) };
        let router = Router::new().fallback(answer).with_state(services.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        services
    }

    fn state(&self) -> MutexGuard<'_, ServicesState> {
        self.state.lock().expect("a lock")
    }

    /// The environment of a program that is to ask these services.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let url = &self.url;
        vec![
            ("HMPPS_AUTH_URL", format!("{url}/auth")),
            ("SYSTEM_CLIENT_ID", CLIENT.to_owned()),
            ("SYSTEM_CLIENT_SECRET", SECRET.to_owned()),
            ("TIER_API_URL", format!("{url}/tiers")),
            ("MANAGE_POM_CASES_AND_DELIUS_API_URL", format!("{url}/delius/")),
            ("PRISONER_SEARCH_API_URL", format!("{url}/search")),
        ]
    }

    /// The address of something on the port of these services.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sets the tier of a case, worked out at this time on London's clocks.
    pub fn set_tier(&self, crn: &str, tier: &str, calculated_at: &str) {
        let answer = json!({
            "tierScore": tier, "calculationId": "56796cab-0000-4000-8000-000000000001", "calculationDate": calculated_at,
            "changeReason": "A registration was added", "provisional": false,
        });
        for version in ["v2", "v3"] {
            self.state().answers.insert(format!("/tiers/{version}/crn/{crn}/tier"), answer.clone());
        }
    }

    /// Sets the record of a case in Delius: the person's number, the COM by forename and surname,
    /// and the risk of serious harm.
    pub fn set_record(&self, crn: &str, number: Option<&str>, com: (&str, &str), rosh: Option<&str>) {
        let (forename, surname) = com;
        let record = json!({
            "crn": crn, "nomsId": number, "currentTier": "UB2", "resourcing": "NORMAL", "mappaLevel": 0,
            "vloAssigned": false, "rosh": rosh.map(|level| json!({"level": level, "startDate": "2026-01-02"})),
            "manager": {
                "code": "N07A001", "name": {"forename": forename, "middleName": null, "surname": surname},
                "email": "com@example.com", "team": {
                    "code": "N07T01", "description": "Leeds 1",
                    "localDeliveryUnit": {"code": "N07L01", "description": "Leeds"},
                },
            },
        });
        self.state().answers.insert(format!("/delius/case-records/{crn}"), record);
    }

    /// Sets the record of a person in prisoner search: the prison, the legal status and the
    /// conditional release date of a sentence that began in 2020. One who is out was released.
    pub fn set_prisoner(&self, number: &str, prison: &str, legal_status: &str, release: &str) {
        let record = json!({
            "prisonerNumber": number, "bookingId": "1200924", "status": "ACTIVE IN", "inOutStatus": "IN",
            "prisonId": prison, "legalStatus": legal_status, "recall": false, "indeterminateSentence": false,
            "sentenceStartDate": "2020-01-01", "conditionalReleaseDate": release, "firstName": "ROBERT",
            "lastMovementTypeCode": if prison == "OUT" { "REL" } else { "ADM" }, "lastMovementReasonCode": "CR",
        });
        self.state().answers.insert(format!("/search/prisoner/{number}"), record);
    }

    /// Answers a question for the record of a case with that of another.
    pub fn set_record_at(&self, asked: &str, answered: &str) {
        self.set_record(answered, None, ("Jo", "Bell"), None);
        let mut state = self.state();
        let record = state.answers[&format!("/delius/case-records/{answered}")].clone();
        state.answers.insert(format!("/delius/case-records/{asked}"), record);
    }

    /// Sets members of the record of a person in prisoner search.
    pub fn set_in_prisoner(&self, number: &str, members: &Value) {
        let mut state = self.state();
        let record = state.answers.get_mut(&format!("/search/prisoner/{number}")).expect("a record");
        let members = members.as_object().expect("members").clone();
        record.as_object_mut().expect("a record").extend(members);
    }

    /// Has one path fail with a status while others are well.
    pub fn fail_at(&self, path: &str, status: u16) {
        self.state().failing_paths.insert(path.to_owned(), status);
    }

    /// Has all services but the sign-on answer in this way.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    /// Has the next look-ups fail, so many of them, and then answers well.
    pub fn fail_times(&self, times: usize) {
        self.state().failures_left = times;
    }

    /// Refuses the ledger's credentials, or takes them again.
    pub fn refuse_credentials(&self, refuses: bool) {
        let mut state = self.state();
        state.gives_tokens = !refuses;
        state.expired_tokens = state.tokens;
    }

    /// Ends the time of the tokens that were given.
    pub fn expire_tokens(&self) {
        let mut state = self.state();
        state.expired_tokens = state.tokens;
    }

    /// How many tokens were given.
    pub fn tokens(&self) -> usize {
        self.state().tokens
    }

    /// The paths that were asked for, the sign-on's left out.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }
}

impl ServicesState {
    fn give_token(&mut self, headers: &HeaderMap) -> Response {
        let credentials = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")));
        if !self.gives_tokens || authorization(headers) != credentials {
            return (StatusCode::UNAUTHORIZED, Json(json!({"error": "invalid_client"}))).into_response();
        }
        self.tokens += 1;
        let token = format!("token-{}", self.tokens);
        let token = json!({"access_token": token, "token_type": "bearer", "expires_in": 1199, "scope": "read"});
        Json(token).into_response()
    }

    fn is_valid(&self, headers: &HeaderMap) -> bool {
        let token = authorization(headers).strip_prefix("Bearer token-");
        let token = token.and_then(|number| number.parse::<usize>().ok());
        token.is_some_and(|token| self.expired_tokens < token && token <= self.tokens)
    }

    fn look_up(&mut self, path: &str) -> Response {
        if self.failures_left > 0 {
            self.failures_left -= 1;
            return StatusCode::BAD_GATEWAY.into_response();
        }
        if let Some(status) = self.failing_paths.get(path) {
            return StatusCode::from_u16(*status).expect("a status").into_response();
        }
        match &self.behaviour {
            Behaviour::Well | Behaviour::Hanging => match self.answers.get(path) {
                Some(answer) => Json(answer).into_response(),
                None => (StatusCode::NOT_FOUND, Json(json!({"status": 404}))).into_response(),
            },
            Behaviour::Failing(status) => StatusCode::from_u16(*status).expect("a status").into_response(),
            Behaviour::Elsewhere => (StatusCode::NOT_FOUND, "<html>404 Not Found</html>").into_response(),
            Behaviour::TalkingNonsense => Json(json!([{"A1234BC": path}])).into_response(),
            Behaviour::Redirecting(to) => (StatusCode::FOUND, [(header::LOCATION, to.as_str())]).into_response(),
        }
    }
}

fn authorization(headers: &HeaderMap) -> &str {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn answer(State(services): State<LookUpServices>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if uri.path() == "/auth/oauth/token" {
        assert_eq!((method, uri.query()), (Method::POST, Some("grant_type=client_credentials")));
        return services.state().give_token(&headers);
    }
    let is_hanging = {
        let mut state = services.state();
        state.requests.push(uri.path().to_owned());
        if !state.is_valid(&headers) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        state.behaviour == Behaviour::Hanging
    };
    if is_hanging {
        std::future::pending::<()>().await;
    }
    services.state().look_up(uri.path())
}
