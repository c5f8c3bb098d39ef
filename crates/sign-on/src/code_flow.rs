//! Signs people on in a browser: the authorization code flow (RFC 6749) with PKCE (RFC 7636), as
//! HMPPS Auth and other servers of OpenID do it.
//!
//! 1. [`CodeFlow::begin`]: the browser is sent to the sign-on.
//! 2. The sign-on sends it back with a code.
//! 3. [`CodeFlow::finish`]: the code is exchanged for tokens, which the browser never sees.
//! 4. [`CodeFlow::refresh`]: before the access token ends, the refresh token gets the next one.
//!
//! It verifies no token: [`crate::SignOn`] says whose an access token is. So no ID token is needed.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    TokenResponse as _, TokenUrl,
    basic::{BasicClient, BasicErrorResponse, BasicErrorResponseType, BasicTokenResponse, BasicTokenType},
};
use reqwest::{StatusCode, Url, header};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::server::{check_server_address, server_client, with_causes};

/// How long a call of the sign-on may take. A person waits for it.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest answer that is read: two tokens with some two hundred roles have less than 20 kB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A text that no log and no error may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being shown.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one that it is meant for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where the sign-on is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeFlowServer {
    /// HMPPS Auth: its address, to which `/oauth/authorize`, `/oauth/token` and `/sign-out` are
    /// added.
    HmppsAuth(String),
    /// A server of OpenID: its issuer, which publishes where its endpoints are.
    Issuer(String),
}

/// The ledger as the sign-on knows it.
#[derive(Debug, Clone)]
pub struct CodeFlowClient {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: Secret,
    /// The address to which the sign-on sends browsers back.
    pub redirect_uri: String,
}

/// The sign-on, as it signs people on in a browser.
#[derive(Debug)]
pub struct CodeFlow {
    server: CodeFlowServer,
    id: ClientId,
    secret: ClientSecret,
    redirect_uri: RedirectUrl,
    http: reqwest::Client,
    endpoints: OnceCell<Endpoints>,
}

/// The addresses of the sign-on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Endpoints {
    authorize: AuthUrl,
    token: TokenUrl,
    sign_out: Option<Url>,
}

/// A sign-in that has begun.
#[derive(Debug)]
pub struct BegunSignIn {
    /// Where the browser is sent.
    pub address: String,
    /// The text that the browser brings back, which says whose sign-in it is.
    pub state: Secret,
    /// The text that proves to the sign-on who began. It must stay with the one that did.
    pub verifier: Secret,
}

/// The tokens of a person who has signed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPair {
    /// The token for requests.
    pub access: Secret,
    /// The token that gets the next pair. A server may give none, and at a refresh none in place of
    /// the one that it was shown, which then holds on.
    pub refresh: Option<Secret>,
}

/// Why a person could not be signed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeFlowError {
    /// The sign-on does not answer, or is ill.
    #[error("the sign-on cannot be asked: {0}")]
    OutOfReach(String),
    /// The code or the refresh token counts no more: it was used before, or is too old.
    #[error("the sign-on refuses the code or the refresh token")]
    GrantRefused,
    /// The sign-on does not take this client.
    #[error(
        "the sign-on refuses the ledger as its client ({0}): check the id, the secret and the address that it is to send \
         browsers back to"
    )]
    ClientRefused(String),
    /// The answer is not what it should be.
    #[error("the answer of the sign-on is of no use: {0}")]
    Unusable(&'static str),
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("no answer: {0}")]
    NoAnswer(String),
    #[error("the answer has the status {0}")]
    Status(StatusCode),
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("the request cannot be sent")]
    Request,
}

/// The description that a server of OpenID publishes of itself, as far as it matters here.
#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    end_session_endpoint: Option<String>,
}

impl CodeFlow {
    /// The sign-on at a server. It asks nothing yet.
    ///
    /// # Errors
    /// Why an address is none to send browsers and tokens to, in words that go after its setting.
    pub fn new(server: CodeFlowServer, client: CodeFlowClient) -> Result<Self, String> {
        let (CodeFlowServer::HmppsAuth(address) | CodeFlowServer::Issuer(address)) = &server;
        check_server_address(address)?;
        let known = match &server {
            CodeFlowServer::HmppsAuth(base) => Some(Endpoints::of_base(base)?),
            CodeFlowServer::Issuer(_) => None,
        };
        Ok(Self {
            server,
            endpoints: OnceCell::new_with(known),
            id: ClientId::new(client.id),
            secret: ClientSecret::new(client.secret.0),
            redirect_uri: RedirectUrl::new(client.redirect_uri).map_err(|error| error.to_string())?,
            http: server_client().timeout(CALL_TIME_MAX).build().map_err(|error| error.to_string())?,
        })
    }

    /// Begins a sign-in.
    ///
    /// # Errors
    /// The addresses of a server of OpenID cannot be found out.
    pub async fn begin(&self) -> Result<BegunSignIn, CodeFlowError> {
        let client = self.client(self.endpoints().await?);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut request = client.authorize_url(CsrfToken::new_random).set_pkce_challenge(challenge);
        if matches!(self.server, CodeFlowServer::Issuer(_)) {
            // A server of OpenID asks for it. A client of HMPPS Auth has its own scopes.
            request = request.add_scope(Scope::new("openid".to_owned()));
        }
        let (address, state) = request.url();
        let verifier = Secret(verifier.secret().clone());
        Ok(BegunSignIn { address: address.into(), state: Secret(state.into_secret()), verifier })
    }

    /// Exchanges the code that the browser brought back for tokens.
    ///
    /// # Errors
    /// [`CodeFlowError`].
    pub async fn finish(&self, code: String, verifier: &Secret) -> Result<TokenPair, CodeFlowError> {
        let client = self.client(self.endpoints().await?);
        let call = self.caller();
        let request = client.exchange_code(AuthorizationCode::new(code));
        let verifier = PkceCodeVerifier::new(verifier.0.clone());
        token_pair(request.set_pkce_verifier(verifier).request_async(&call).await)
    }

    /// Gets the next tokens by the refresh token, which may count no more afterwards.
    ///
    /// # Errors
    /// [`CodeFlowError`].
    pub async fn refresh(&self, refresh: &Secret) -> Result<TokenPair, CodeFlowError> {
        let client = self.client(self.endpoints().await?);
        let call = self.caller();
        let token = RefreshToken::new(refresh.0.clone());
        token_pair(client.exchange_refresh_token(&token).request_async(&call).await)
    }

    /// Where a browser signs out of the sign-on, which then sends it to another address. `None`
    /// where the server has no such place.
    ///
    /// # Errors
    /// The addresses of a server of OpenID cannot be found out.
    pub async fn sign_out_address(&self, back_to: &str) -> Result<Option<String>, CodeFlowError> {
        let back = match self.server {
            CodeFlowServer::HmppsAuth(_) => "redirect_uri",
            CodeFlowServer::Issuer(_) => "post_logout_redirect_uri",
        };
        let Some(mut address) = self.endpoints().await?.sign_out.clone() else { return Ok(None) };
        address.query_pairs_mut().append_pair("client_id", &self.id).append_pair(back, back_to);
        Ok(Some(address.into()))
    }

    fn client(
        &self,
        endpoints: &Endpoints,
    ) -> BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet> {
        BasicClient::new(self.id.clone())
            .set_client_secret(self.secret.clone())
            .set_auth_uri(endpoints.authorize.clone())
            .set_token_uri(endpoints.token.clone())
            .set_redirect_uri(self.redirect_uri.clone())
    }

    async fn endpoints(&self) -> Result<&Endpoints, CodeFlowError> {
        let discover = async || match &self.server {
            CodeFlowServer::HmppsAuth(base) => Endpoints::of_base(base).map_err(CodeFlowError::OutOfReach),
            CodeFlowServer::Issuer(issuer) => self.discover(issuer).await,
        };
        self.endpoints.get_or_try_init(discover).await
    }

    async fn discover(&self, issuer: &str) -> Result<Endpoints, CodeFlowError> {
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let request = self.http.get(address).build();
        let request = request.map_err(|error| CodeFlowError::OutOfReach(with_causes(&error)))?;
        let answer = ask(&self.http, request).await.map_err(|error| CodeFlowError::OutOfReach(error.to_string()))?;
        if answer.status() != StatusCode::OK {
            return Err(CodeFlowError::OutOfReach(CallError::Status(answer.status()).to_string()));
        }
        let document: DiscoveryDocument = serde_json::from_slice(answer.body())
            .map_err(|_| CodeFlowError::Unusable("it does not say where its endpoints are"))?;
        // Else another server could speak for it.
        if document.issuer.trim_end_matches('/') != issuer.trim_end_matches('/') {
            return Err(CodeFlowError::Unusable("it names another issuer than the one that it was asked as"));
        }
        Endpoints::discovered(&document)
    }

    /// Sends the requests of the flow.
    fn caller(&self) -> impl Fn(HttpRequest) -> BoxFuture<'static, Result<HttpResponse, CallError>> {
        let http = self.http.clone();
        move |request| {
            let http = http.clone();
            Box::pin(
                async move { ask(&http, reqwest::Request::try_from(request).map_err(|_| CallError::Request)?).await },
            )
        }
    }
}

impl Endpoints {
    fn of_base(base: &str) -> Result<Self, String> {
        let below = |path: &str| format!("{}{path}", base.trim_end_matches('/'));
        Ok(Self {
            authorize: AuthUrl::new(below("/oauth/authorize")).map_err(|error| error.to_string())?,
            token: TokenUrl::new(below("/oauth/token")).map_err(|error| error.to_string())?,
            sign_out: Some(Url::parse(&below("/sign-out")).map_err(|error| error.to_string())?),
        })
    }

    fn discovered(document: &DiscoveryDocument) -> Result<Self, CodeFlowError> {
        let DiscoveryDocument { authorization_endpoint, token_endpoint, end_session_endpoint, .. } = document;
        let unusable = CodeFlowError::Unusable("an endpoint that it names is no address of https");
        for endpoint in [authorization_endpoint, token_endpoint].into_iter().chain(end_session_endpoint) {
            check_server_address(endpoint).map_err(|_| unusable.clone())?;
        }
        Ok(Self {
            authorize: AuthUrl::new(authorization_endpoint.clone()).map_err(|_| unusable.clone())?,
            token: TokenUrl::new(token_endpoint.clone()).map_err(|_| unusable.clone())?,
            sign_out: end_session_endpoint.as_deref().map(Url::parse).transpose().map_err(|_| unusable)?,
        })
    }
}

/// The answer to a request. One that says that the server is ill counts as none.
async fn ask(http: &reqwest::Client, request: reqwest::Request) -> Result<HttpResponse, CallError> {
    let no_answer = |error: reqwest::Error| CallError::NoAnswer(with_causes(&error.without_url()));
    let mut response = http.execute(request).await.map_err(no_answer)?;
    let status = response.status();
    if status.is_server_error() || status.is_redirection() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(CallError::Status(status));
    }
    let mut answer = HttpResponse::new(Vec::new());
    *answer.status_mut() = status;
    if let Some(content_type) = response.headers().get(header::CONTENT_TYPE) {
        answer.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
    }
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        answer.body_mut().extend_from_slice(&chunk);
        if answer.body().len() > ANSWER_BYTES_MAX {
            return Err(CallError::TooLong);
        }
    }
    Ok(answer)
}

type TokenOutcome = Result<BasicTokenResponse, RequestTokenError<CallError, BasicErrorResponse>>;

/// The tokens of an answer. No part of an answer that is none goes into the error.
fn token_pair(outcome: TokenOutcome) -> Result<TokenPair, CodeFlowError> {
    let answer = outcome.map_err(|error| match error {
        RequestTokenError::Request(error) => CodeFlowError::OutOfReach(error.to_string()),
        RequestTokenError::ServerResponse(refusal) => match refusal.error() {
            BasicErrorResponseType::InvalidGrant => CodeFlowError::GrantRefused,
            BasicErrorResponseType::InvalidClient
            | BasicErrorResponseType::InvalidRequest
            | BasicErrorResponseType::InvalidScope
            | BasicErrorResponseType::UnauthorizedClient
            | BasicErrorResponseType::UnsupportedGrantType => CodeFlowError::ClientRefused(refusal.error().to_string()),
            BasicErrorResponseType::Extension(_) => CodeFlowError::Unusable("it refuses for a reason of its own"),
        },
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => CodeFlowError::Unusable("it holds no token"),
    })?;
    if *answer.token_type() != BasicTokenType::Bearer {
        return Err(CodeFlowError::Unusable("it holds a token of another type than `Bearer`"));
    }
    let refresh = answer.refresh_token().map(|token| Secret(token.secret().clone()));
    Ok(TokenPair { access: Secret(answer.access_token().secret().clone()), refresh })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(server: CodeFlowServer) -> Result<CodeFlow, String> {
        let client = CodeFlowClient {
            id: "the ledger".to_owned(),
            secret: Secret::new("a-secret".to_owned()),
            redirect_uri: "https://ledger.example/pages/sign-in/callback".to_owned(),
        };
        CodeFlow::new(server, client)
    }

    #[tokio::test]
    async fn a_browser_is_sent_to_hmpps_auth_with_a_challenge_and_never_the_secret() {
        for base in ["https://sign-in.example/auth", "https://sign-in.example/auth/"] {
            let flow = flow(CodeFlowServer::HmppsAuth(base.to_owned())).expect("an address");
            let (begun, other) = (flow.begin().await.expect("no call"), flow.begin().await.expect("no call"));
            let address = Url::parse(&begun.address).expect("an address");
            assert_eq!(address.as_str().split('?').next(), Some("https://sign-in.example/auth/oauth/authorize"));
            let value = |name: &str| address.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value);
            assert_eq!(value("response_type").as_deref(), Some("code"));
            assert_eq!(value("client_id").as_deref(), Some("the ledger"));
            assert_eq!(value("redirect_uri").as_deref(), Some("https://ledger.example/pages/sign-in/callback"));
            assert_eq!(value("state").as_deref(), Some(begun.state.expose()));
            assert_eq!(value("code_challenge_method").as_deref(), Some("S256"));
            assert_eq!(value("scope"), None);
            assert!(!begun.address.contains(begun.verifier.expose()) && !begun.address.contains("a-secret"));
            assert!(begun.state != other.state && begun.verifier != other.verifier);
            let out = flow.sign_out_address("https://ledger.example/pages").await.expect("no call");
            let expected = "https://sign-in.example/auth/sign-out?client_id=the+ledger\
                            &redirect_uri=https%3A%2F%2Fledger.example%2Fpages";
            assert_eq!(out.as_deref(), Some(expected));
        }
    }

    #[tokio::test]
    async fn nothing_secret_is_shown() {
        let flow = flow(CodeFlowServer::HmppsAuth("https://sign-in.example/auth".to_owned())).expect("an address");
        let begun = flow.begin().await.expect("no call");
        let shown = format!("{flow:?} {:?} {:?}", begun.verifier, begun.state);
        for secret in ["a-secret", begun.verifier.expose(), begun.state.expose()] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn the_sign_on_is_asked_over_tls_or_on_this_machine() {
        for address in ["http://sign-in.example/auth", "https://a:b@sign-in.example", "sign-in.example"] {
            for server in [CodeFlowServer::HmppsAuth(address.to_owned()), CodeFlowServer::Issuer(address.to_owned())] {
                assert!(flow(server.clone()).is_err(), "{server:?}");
            }
        }
        let document = |token: &str| DiscoveryDocument {
            issuer: "https://sign-in.example".to_owned(),
            authorization_endpoint: "https://sign-in.example/authorize".to_owned(),
            token_endpoint: token.to_owned(),
            end_session_endpoint: None,
        };
        assert!(Endpoints::discovered(&document("https://sign-in.example/token")).is_ok());
        assert!(Endpoints::discovered(&document("http://sign-in.example/token")).is_err());
    }
}
