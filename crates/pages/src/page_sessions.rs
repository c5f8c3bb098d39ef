//! The sessions of the pages: found with each request, renewed in time, ended.
//!
//! An access token that ends within a minute is renewed before the request goes on. A refresh token
//! may count once only, so:
//!
//! - one renewal of a session is under way at a time, and other requests wait for its outcome;
//! - it runs to its end even if the browser breaks the request off;
//! - its outcome is kept for a while, for requests that come with the cookies of before.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::HeaderMap,
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;
use sign_on::{Caller, CodeFlow, CodeFlowError, Secret, SignOn, TokenPair, TokenRefusal};
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use crate::{
    session::{Session, SessionOutcome, SessionTokens},
    session_cookies::{PagesKey, SessionCookies, SetCookies},
};

/// How many seconds before its end an access token is renewed: longer than any request of a page
/// to the API takes.
const RENEWED_BEFORE_SECONDS: i64 = 60;

/// Most sessions whose renewal is remembered. Each takes some 10 kB, and 40 kB at most.
const RENEWALS_MAX: usize = 1_000;

/// How people sign on to the pages.
#[derive(Debug)]
pub struct PageSignOn {
    /// How the sign-on signs people on in a browser.
    pub flow: CodeFlow,
    /// The sign-on as the API asks it whose a token is.
    pub sign_on: Arc<SignOn>,
    /// The address under which browsers reach the program, without a slash at its end.
    pub address: String,
}

/// The sessions of the pages.
#[derive(Clone)]
pub struct PageSessions(Arc<PageSessionParts>);

struct PageSessionParts {
    cookies: SessionCookies,
    sign_on: Option<PageSignOn>,
    clock: fn() -> DateTime<Utc>,
    renewals: Cache<Uuid, Arc<Mutex<Option<Renewal>>>>,
}

/// The outcome of a renewal.
#[derive(Clone)]
struct Renewal {
    session: Session,
    /// The same for all requests, so that answers that cross do not mix their pieces.
    cookies: SetCookies,
}

/// Why a session was not renewed.
enum RenewalFailure {
    /// It is over.
    Ended,
    /// It may be renewed later.
    Later,
}

/// Why tokens make no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokensRefused {
    /// The access token is not one that the API takes.
    #[error("the access token is refused: {0}")]
    Invalid(&'static str),
    /// It is the token of a client, and no person's.
    #[error("the access token names no person")]
    NoPerson,
    /// It cannot be verified for now.
    #[error("the access token cannot be verified: {0}")]
    Unverified(String),
}

impl PageSessions {
    /// Sessions that are sealed with this key. Without a sign-on a person is chosen from a list.
    #[must_use]
    pub fn new(key: PagesKey, sign_on: Option<PageSignOn>, clock: fn() -> DateTime<Utc>) -> Self {
        let is_secure = sign_on.as_ref().is_some_and(|sign_on| sign_on.address.starts_with("https:"));
        let cookies = SessionCookies::new(key, is_secure);
        Self(Arc::new(PageSessionParts { cookies, sign_on, clock, renewals: Cache::new(RENEWALS_MAX) }))
    }

    /// Has these routes know the session of each request, which the extractor [`Session`] gives
    /// them, and keeps it renewed in the browser.
    pub fn add_to<S: Clone + Send + Sync + 'static>(&self, routes: Router<S>) -> Router<S> {
        routes.layer(from_fn_with_state(self.clone(), find_session))
    }

    pub(crate) fn cookies(&self) -> &SessionCookies {
        &self.0.cookies
    }

    pub(crate) fn sign_on(&self) -> Option<&PageSignOn> {
        self.0.sign_on.as_ref()
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        (self.0.clock)().timestamp()
    }

    /// The cookies that make a person the visitor of the pages, where there is no sign-on; `None`
    /// where there is one, or the name is far too long.
    #[must_use]
    pub fn choose_person(&self, user_name: &str) -> Option<SetCookies> {
        let session = Session::begin(user_name.to_owned(), None, self.now());
        self.cookies().keep_session(&session).ok().filter(|_| self.sign_on().is_none())
    }

    /// The session in the cookies of a request. Its access token may be at its end.
    pub(crate) fn in_cookies(&self, headers: &HeaderMap) -> Option<Session> {
        let session = self.cookies().session(headers, self.now())?;
        // A session of a time when the program had no sign-on counts no more once it has one.
        (session.tokens.is_some() == self.sign_on().is_some()).then_some(session)
    }

    /// Forgets what is remembered of a session that ends.
    pub(crate) fn forget(&self, session: &Session) {
        self.0.renewals.remove(&session.id);
    }

    /// The session of a request, with a token that holds on for a while, and the cookies that keep
    /// it where it was renewed.
    async fn find(&self, headers: &HeaderMap) -> (SessionOutcome, SetCookies) {
        let found = |session| SessionOutcome::Found(Box::new(session));
        let Some(session) = self.in_cookies(headers) else { return (SessionOutcome::Missing, SetCookies::default()) };
        if !self.must_be_renewed(&session) {
            return (found(session), SetCookies::default());
        }
        let turn = self.0.renewals.get_or_insert_with(&session.id, || Ok::<_, ()>(Arc::default()));
        let turn = turn.unwrap_or_default().lock_owned().await;
        if let Some(Renewal { session, cookies }) =
            turn.clone().filter(|renewal| !self.must_be_renewed(&renewal.session))
        {
            return (found(session), cookies);
        }
        let sessions = self.clone();
        let is_valid = session.tokens.as_ref().is_some_and(|tokens| self.now() < tokens.expires_at);
        let renewed =
            tokio::spawn(async move { sessions.renew(&session, turn).await.map_err(|failure| (failure, session)) });
        match renewed.await {
            Ok(Ok(Renewal { session, cookies })) => (found(session), cookies),
            Ok(Err((RenewalFailure::Later, session))) if is_valid => (found(session), SetCookies::default()),
            Ok(Err((RenewalFailure::Ended, _))) => (SessionOutcome::Missing, self.cookies().end_session()),
            Ok(Err((RenewalFailure::Later, _))) | Err(_) => (SessionOutcome::SignOnOutOfReach, SetCookies::default()),
        }
    }

    fn must_be_renewed(&self, session: &Session) -> bool {
        session.tokens.as_ref().is_some_and(|tokens| tokens.expires_at <= self.now() + RENEWED_BEFORE_SECONDS)
    }

    /// Renews a session, from the tokens of its last renewal if those are newer.
    async fn renew(
        &self,
        session: &Session,
        mut last: OwnedMutexGuard<Option<Renewal>>,
    ) -> Result<Renewal, RenewalFailure> {
        let expires_at = |session: &Session| session.tokens.as_ref().map_or(0, |tokens| tokens.expires_at);
        let newest = last.as_ref().map(|renewal| &renewal.session);
        let newest = newest.filter(|newest| expires_at(newest) >= expires_at(session)).unwrap_or(session).clone();
        let Some((PageSignOn { flow, sign_on, .. }, tokens)) = self.sign_on().zip(newest.tokens.as_ref()) else {
            return Err(RenewalFailure::Ended);
        };
        // The access token counts until its end. Another process may have renewed the session, so
        // that the browser gets newer cookies meanwhile.
        let is_valid = self.now() < expires_at(session);
        let refused = || if is_valid { RenewalFailure::Later } else { RenewalFailure::Ended };
        let refresh = tokens.refresh.as_ref().ok_or_else(refused)?;
        let TokenPair { access, refresh: next } = flow.refresh(refresh).await.map_err(|error| match error {
            CodeFlowError::GrantRefused => refused(),
            CodeFlowError::OutOfReach(_) | CodeFlowError::ClientRefused(_) | CodeFlowError::Unusable(_) => {
                tracing::warn!(error = %error, "a session of the pages cannot be renewed: {error}");
                RenewalFailure::Later
            }
        })?;
        let refresh = next.or_else(|| Some(refresh.clone()));
        let (expires_at, is_verified) = match person_of(sign_on, &access).await {
            Ok(person) if person.user_name.as_ref() == Some(&newest.user_name) => (expiry_of(&person), true),
            // The refresh token of before is used up, so the next one is not thrown away.
            Err(TokensRefused::Unverified(_)) => (tokens.expires_at, false),
            Ok(_) | Err(TokensRefused::Invalid(_) | TokensRefused::NoPerson) => return Err(RenewalFailure::Ended),
        };
        let session = Session { tokens: Some(SessionTokens { access, refresh, expires_at }), ..newest };
        let cookies = self.cookies().keep_session(&session).map_err(|error| {
            tracing::warn!(error = %error, "a session of the pages cannot be kept: {error}");
            RenewalFailure::Ended
        })?;
        let renewal = Renewal { session, cookies };
        *last = Some(renewal.clone());
        if is_verified { Ok(renewal) } else { Err(RenewalFailure::Later) }
    }
}

/// The person of an access token, verified as the API verifies it.
pub(crate) async fn person_of(sign_on: &SignOn, access: &Secret) -> Result<Arc<Caller>, TokensRefused> {
    let caller = sign_on.caller(access.expose()).await.map_err(|refusal| match refusal {
        TokenRefusal::Invalid(why) => TokensRefused::Invalid(why),
        TokenRefusal::KeysUnavailable(why) => TokensRefused::Unverified(why),
    })?;
    if caller.user_name.is_none() {
        return Err(TokensRefused::NoPerson);
    }
    Ok(caller)
}

/// When the token of a caller ends, in seconds since 1970.
pub(crate) fn expiry_of(caller: &Caller) -> i64 {
    i64::try_from(caller.expires_at()).unwrap_or(i64::MAX)
}

async fn find_session(State(sessions): State<PageSessions>, mut request: Request, next: Next) -> Response {
    let (outcome, cookies) = sessions.find(request.headers()).await;
    request.extensions_mut().insert(outcome);
    let mut response = next.run(request).await;
    cookies.add_to(response.headers_mut());
    response
}
