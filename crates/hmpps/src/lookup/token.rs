//! The ledger's own token, by client credentials: asked for when it is needed, and kept until
//! shortly before its end.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{Client, Method, Request, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{client::read_answer, failure::TryError};

/// How long before its end a token is renewed, so that none ends on its way.
const MARGIN: Duration = Duration::from_secs(20);

/// How long a token counts of which the sign-on does not say it.
const KEPT_BY_DEFAULT: Duration = Duration::from_secs(60);

/// How the ledger itself signs on.
#[derive(Clone)]
pub struct ClientCredentials {
    /// The client's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The token, and where it comes from.
#[derive(Debug)]
pub(super) struct TokenSource {
    address: Url,
    credentials: ClientCredentials,
    kept: Mutex<Option<KeptToken>>,
}

struct KeptToken {
    token: Arc<str>,
    ends: Instant,
}

impl fmt::Debug for KeptToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptToken").field("ends", &self.ends).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: Option<u64>,
}

impl TokenSource {
    /// Tokens of the sign-on at an address, to which `/oauth/token` is added.
    pub(super) fn new(mut address: Url, credentials: ClientCredentials) -> Self {
        if let Ok(mut path) = address.path_segments_mut() {
            path.pop_if_empty().extend(["oauth", "token"]);
        }
        address.set_query(Some("grant_type=client_credentials"));
        Self { address, credentials, kept: Mutex::default() }
    }

    /// A token that counts for a while. One request for a token is under way at a time.
    pub(super) async fn token(&self, http: &Client) -> Result<Arc<str>, TryError> {
        let mut kept = self.kept.lock().await;
        if let Some(KeptToken { token, ends }) = &*kept
            && Instant::now() < *ends
        {
            return Ok(Arc::clone(token));
        }
        *kept = None;
        let fetched = self.fetch(http).await?;
        let token = Arc::clone(&fetched.token);
        *kept = Some(fetched);
        Ok(token)
    }

    /// Forgets a token that a service refused; another may have been fetched meanwhile.
    pub(super) async fn forget(&self, refused: &str) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|kept| *kept.token == *refused) {
            *kept = None;
        }
    }

    async fn fetch(&self, http: &Client) -> Result<KeptToken, TryError> {
        let ClientCredentials { id, secret } = &self.credentials;
        let request = http.request(Method::POST, self.address.clone()).basic_auth(id, Some(secret));
        let request: Request = request.header(reqwest::header::CONTENT_LENGTH, 0).build()?;
        let response = http.execute(request).await?;
        match response.status() {
            StatusCode::OK => {}
            status => return Err(of_no_message(TryError::of_status(status))),
        }
        let answer: TokenAnswer = read_answer(response).await.map_err(of_no_message)?;
        let counts = answer.expires_in.map_or(KEPT_BY_DEFAULT, Duration::from_secs).saturating_sub(MARGIN);
        let ends = Instant::now() + counts.min(KEPT_MAX);
        Ok(KeptToken { token: answer.access_token.into(), ends })
    }
}

/// The failure of the sign-on, for which no message is at fault: a setting of the ledger is wrong,
/// or the sign-on is.
fn of_no_message(error: TryError) -> TryError {
    match error {
        TryError::Unusable(problem) => TryError::Unavailable(problem),
        error => error,
    }
}

/// How long a token counts at most, whatever the sign-on says: a sum with an instant has an end.
const KEPT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_tokens_shows_neither_a_token_nor_the_secret() {
        let credentials = ClientCredentials { id: "ledger".to_owned(), secret: "a-secret".to_owned() };
        let source = TokenSource::new("https://sign-in.example/auth".parse().expect("a URL"), credentials);
        let kept = Some(KeptToken { token: "a-token".into(), ends: Instant::now() });
        let shown = format!("{:?}", TokenSource { kept: Mutex::new(kept), ..source });
        assert!(!shown.contains("a-token") && !shown.contains("a-secret"), "{shown}");
    }

    #[test]
    fn no_status_of_the_sign_on_is_the_fault_of_a_message() {
        for status in [400, 404, 405, 410, 422] {
            let error = of_no_message(TryError::of_status(StatusCode::from_u16(status).expect("a status")));
            assert!(matches!(error, TryError::Unavailable(_)), "{status} {error:?}");
        }
    }
}
