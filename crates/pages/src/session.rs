//! The session of a person who looks at pages.

use std::fmt;

use axum::{
    extract::FromRequestParts,
    http::{Method, StatusCode, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sign_on::Secret;
use uuid::Uuid;

use crate::{notice::Notice, return_path};

/// How long a session holds after the sign-on, in seconds: a long shift.
pub(crate) const SESSION_SECONDS: i64 = 12 * 60 * 60;

/// Bytes of a CSRF token: more than can be guessed.
const CSRF_TOKEN_BYTES: usize = 32;

/// The session of a person. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Which session it is, for as long as it lasts.
    pub(crate) id: Uuid,
    /// The text that every form of the session carries.
    pub(crate) csrf: CsrfToken,
    /// When it ends, whatever else holds on.
    pub(crate) ends_at: i64,
    /// The name of the person.
    pub(crate) user_name: String,
    /// The tokens of the sign-on; `None` where there is none, and the person is one of a list.
    pub(crate) tokens: Option<SessionTokens>,
}

/// The tokens of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SessionTokens {
    /// The token for requests to the API.
    pub(crate) access: Secret,
    /// The token that gets the next ones.
    pub(crate) refresh: Option<Secret>,
    /// When the access token ends.
    pub(crate) expires_at: i64,
}

/// A text that only the forms of a session know (cross-site request forgery).
#[derive(Clone, PartialEq, Eq)]
pub struct CsrfToken(String);

impl CsrfToken {
    fn random() -> Self {
        let mut bytes = [0; CSRF_TOKEN_BYTES];
        getrandom::fill(&mut bytes).expect("the system has random bytes");
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The text, for a form.
    #[must_use]
    pub fn for_form(&self) -> &str {
        &self.0
    }

    /// Whether a form carried it. How long that takes tells nothing of the text.
    #[must_use]
    pub fn matches(&self, given: &str) -> bool {
        Sha256::digest(self.0.as_bytes()) == Sha256::digest(given.as_bytes())
    }
}

impl fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[CSRF token]")
    }
}

/// A session as it is sealed.
#[derive(Serialize, Deserialize)]
struct SessionText {
    id: Uuid,
    csrf: String,
    ends_at: i64,
    user_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
    #[serde(default)]
    expires_at: i64,
}

impl Session {
    /// A session that begins now.
    pub(crate) fn begin(user_name: String, tokens: Option<SessionTokens>, now: i64) -> Self {
        let (id, csrf) = (Uuid::new_v4(), CsrfToken::random());
        Self { id, csrf, ends_at: now.saturating_add(SESSION_SECONDS), user_name, tokens }
    }

    /// The name of the person.
    #[must_use]
    pub fn user_name(&self) -> &str {
        &self.user_name
    }

    /// The text that every form of the session carries.
    #[must_use]
    pub fn csrf(&self) -> &CsrfToken {
        &self.csrf
    }

    /// The token for requests to the API; `None` where there is no sign-on.
    #[must_use]
    pub fn access_token(&self) -> Option<&Secret> {
        self.tokens.as_ref().map(|tokens| &tokens.access)
    }

    /// The session as a text.
    pub(crate) fn to_text(&self) -> String {
        let exposed = |secret: &Secret| secret.expose().to_owned();
        let text = SessionText {
            id: self.id,
            csrf: self.csrf.0.clone(),
            ends_at: self.ends_at,
            user_name: self.user_name.clone(),
            access: self.tokens.as_ref().map(|tokens| exposed(&tokens.access)),
            refresh: self.tokens.as_ref().and_then(|tokens| tokens.refresh.as_ref()).map(exposed),
            expires_at: self.tokens.as_ref().map_or(0, |tokens| tokens.expires_at),
        };
        serde_json::to_string(&text).unwrap_or_default()
    }

    /// The session of a text, if it has not ended.
    pub(crate) fn from_text(text: &str, now: i64) -> Option<Self> {
        let SessionText { id, csrf, ends_at, user_name, access, refresh, expires_at } =
            serde_json::from_str(text).ok()?;
        let refresh = refresh.map(Secret::new);
        let tokens = access.map(|access| SessionTokens { access: Secret::new(access), refresh, expires_at });
        (now < ends_at).then_some(Self { id, csrf: CsrfToken(csrf), ends_at, user_name, tokens })
    }
}

/// The outcome of the look for the session of a request, which [`crate::page_sessions`] leaves
/// with the request.
#[derive(Debug, Clone)]
pub(crate) enum SessionOutcome {
    /// There is one.
    Found(Box<Session>),
    /// There is none, or it has ended.
    Missing,
    /// It cannot be renewed for now.
    SignOnOutOfReach,
}

/// Why a request has no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionRejection {
    /// Nothing is sent with the request, so it can come again after the person has signed on: the
    /// path to come back to.
    SignInFirst(String),
    /// The request sends something, which a redirect would lose.
    Ended,
    /// The sign-on does not answer, and the session needs it.
    SignOnOutOfReach,
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        match parts.extensions.get::<SessionOutcome>() {
            Some(SessionOutcome::Found(session)) => Ok((**session).clone()),
            Some(SessionOutcome::SignOnOutOfReach) => Err(SessionRejection::SignOnOutOfReach),
            Some(SessionOutcome::Missing) | None if [Method::GET, Method::HEAD].contains(&parts.method) => {
                let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
                Err(SessionRejection::SignInFirst(path.to_owned()))
            }
            Some(SessionOutcome::Missing) | None => Err(SessionRejection::Ended),
        }
    }
}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        match self {
            Self::SignInFirst(path) => Redirect::to(&return_path::sign_in_address(&path)).into_response(),
            Self::Ended => Notice::new(StatusCode::UNAUTHORIZED, "Your session has ended")
                .text("Nothing was recorded. Sign in again in a new tab, then come back to this one and send it again.")
                .link("/pages/sign-in", "Sign in again")
                .into_response(),
            Self::SignOnOutOfReach => Notice::new(StatusCode::SERVICE_UNAVAILABLE, "The sign-on does not answer")
                .text("Your session must be renewed, and that is not possible for now. Nothing was recorded.")
                .text("Wait a minute, then load the page again.")
                .into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_after_a_shift() {
        let session = Session::begin("HOMD_LEI".to_owned(), None, 1_000);
        let text = session.to_text();
        assert_eq!(Session::from_text(&text, 1_000 + SESSION_SECONDS - 1), Some(session));
        assert_eq!(Session::from_text(&text, 1_000 + SESSION_SECONDS), None);
    }

    #[test]
    fn a_csrf_token_is_of_one_session_and_not_shown() {
        let [one, other] = [0, 1].map(|_| Session::begin("HOMD_LEI".to_owned(), None, 0).csrf);
        assert!(one.matches(one.for_form()));
        assert!(!one.matches(other.for_form()) && !one.matches("") && !one.matches(&one.0[1..]));
        assert!(!format!("{one:?}").contains(one.for_form()));
    }
}
