//! Signing in and out in a browser.
//!
//! `GET /pages/sign-in` sends the browser to the sign-on, which sends it back to
//! `GET /pages/sign-in/callback` with a code, and from there it goes to the page that was asked
//! for. `POST /pages/sign-out` ends the session here and at the sign-on.

use axum::{
    body::Bytes,
    extract::{RawQuery, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use http_api::GuardedRouter;
use sign_on::{CodeFlowError, TokenPair};
use utoipa::openapi::OpenApi;

use crate::{
    notice::Notice,
    page_sessions::{PageSessions, PageSignOn, TokensRefused, expiry_of, person_of},
    return_path::{own_path, sign_in_address},
    session::{Session, SessionTokens},
    session_cookies::{SessionTooLong, SignInUnderWay},
};

/// The path that the sign-on sends browsers back to.
pub const CALLBACK: &str = "/pages/sign-in/callback";

/// Where a person is chosen, where there is no sign-on.
const PEOPLE: &str = "/pages/people";

/// Longest code that is taken to the sign-on: those of servers have some hundred bytes.
const CODE_BYTES_MAX: usize = 4_096;

/// The routes of the sign-in and the sign-out.
#[must_use]
pub fn sign_on_routes(sessions: PageSessions) -> GuardedRouter {
    GuardedRouter::new(OpenApi::default())
        .open_route("/pages/sign-in", get(begin_sign_in))
        .open_route(CALLBACK, get(finish_sign_in))
        .open_route_for(&Method::POST, "/pages/sign-out", sign_out)
        .map(|router| router.with_state(sessions))
}

/// Why a person is not signed in.
#[derive(Debug, thiserror::Error)]
enum SignInFault {
    #[error("there is no sign-on")]
    NoSignOn,
    #[error("no such sign-in is under way in this browser")]
    NotUnderWay,
    #[error("the person did not agree")]
    Denied,
    #[error("the sign-on sent the browser back without a code ({0:?})")]
    NoCode(String),
    #[error(transparent)]
    Flow(#[from] CodeFlowError),
    #[error(transparent)]
    Tokens(#[from] TokensRefused),
    #[error(transparent)]
    TooLong(#[from] SessionTooLong),
}

/// `GET /pages/sign-in?to=…`
async fn begin_sign_in(
    State(sessions): State<PageSessions>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let to = value(query.as_deref().unwrap_or_default(), "to").unwrap_or_default();
    let Some(PageSignOn { flow, .. }) = sessions.sign_on() else {
        return Ok(Redirect::to(PEOPLE).into_response());
    };
    let begun = flow.begin().await.map_err(|error| SignInFault::from(error).show(&sessions, &to))?;
    let mut response = Redirect::to(&begun.address).into_response();
    sessions.cookies().keep_sign_in(&headers, &begun, &to, sessions.now()).add_to(response.headers_mut());
    Ok(response)
}

/// `GET /pages/sign-in/callback?code=…&state=…`
async fn finish_sign_in(
    State(sessions): State<PageSessions>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let under_way =
        value(&query, "state").and_then(|state| sessions.cookies().sign_in(&headers, &state, sessions.now()));
    let Some(under_way) = under_way else { return SignInFault::NotUnderWay.show(&sessions, "") };
    let (mut response, set) = match sign_in(&sessions, &query, &under_way).await {
        Ok(session) => match sessions.cookies().keep_session(&session) {
            Ok(set) => (Redirect::to(own_path(&under_way.to)).into_response(), set),
            Err(error) => (SignInFault::from(error).show(&sessions, &under_way.to), Default::default()),
        },
        Err(fault) => (fault.show(&sessions, &under_way.to), Default::default()),
    };
    // A code counts once, whatever came of it.
    set.and(sessions.cookies().end_sign_in(&under_way)).add_to(response.headers_mut());
    response
}

async fn sign_in(sessions: &PageSessions, query: &str, under_way: &SignInUnderWay) -> Result<Session, SignInFault> {
    let PageSignOn { flow, sign_on, .. } = sessions.sign_on().ok_or(SignInFault::NoSignOn)?;
    let code = match (value(query, "code"), value(query, "error")) {
        (Some(code), None) if code.len() <= CODE_BYTES_MAX => code,
        (_, Some(error)) if error == "access_denied" => return Err(SignInFault::Denied),
        (_, error) => return Err(SignInFault::NoCode(error.unwrap_or_default())),
    };
    let TokenPair { access, refresh } = flow.finish(code, &under_way.verifier).await?;
    let person = person_of(sign_on, &access).await?;
    let tokens = SessionTokens { access, refresh, expires_at: expiry_of(&person) };
    Ok(Session::begin(person.principal().to_owned(), Some(tokens), sessions.now()))
}

/// `POST /pages/sign-out`, with the CSRF token of the session as `csrf`.
async fn sign_out(State(sessions): State<PageSessions>, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8_lossy(&body);
    let session = sessions.in_cookies(&headers);
    if let Some(session) = &session {
        if !value(&body, "csrf").is_some_and(|csrf| session.csrf.matches(&csrf)) {
            return Notice::new(StatusCode::FORBIDDEN, "You are still signed in")
                .text("The request to sign out did not come from a page of your session.")
                .link("/pages", "Go to the start page, and sign out there")
                .into_response();
        }
        sessions.forget(session);
    }
    let mut response = match sessions.sign_on() {
        None => Redirect::to("/pages").into_response(),
        Some(sign_on) => signed_out(sign_on).await,
    };
    sessions.cookies().end_session().add_to(response.headers_mut());
    response
}

/// The page that leads on to the sign-out of the sign-on. No redirect: browsers follow none to
/// another site from a form whose page allows forms to its own site alone.
async fn signed_out(PageSignOn { flow, address, .. }: &PageSignOn) -> Response {
    let notice = Notice::new(StatusCode::OK, "You are signed out of the allocation ledger");
    match flow.sign_out_address(&format!("{address}/pages")).await {
        Ok(Some(address)) => notice.link(address, "Sign out of the other services, too").going_on(),
        Ok(None) | Err(_) => notice.link("/pages", "Sign in again"),
    }
    .into_response()
}

impl SignInFault {
    /// The page that says what went wrong, with a link to try again. The link leads to the address
    /// of the pages, in case the browser has come by another name.
    fn show(&self, sessions: &PageSessions, to: &str) -> Response {
        if !matches!(self, Self::NotUnderWay | Self::Denied) {
            tracing::warn!(error = %self, "a person could not sign in: {self}");
        }
        let title = "You are not signed in";
        let notice = match self {
            Self::NoSignOn => Notice::new(StatusCode::NOT_FOUND, title).text("This ledger has no sign-on."),
            Self::NotUnderWay => Notice::new(StatusCode::BAD_REQUEST, title)
                .text("This sign-in is finished, or took longer than 10 minutes, or began in another browser."),
            Self::Denied => Notice::new(StatusCode::FORBIDDEN, title)
                .text("The sign-on says that you may not use this service, or that you stopped signing in."),
            Self::NoCode(_) | Self::Flow(CodeFlowError::Unusable(_) | CodeFlowError::ClientRefused(_)) => {
                Notice::new(StatusCode::BAD_GATEWAY, title).text(
                    "The sign-on and the ledger do not understand each other. If it happens again, tell the people \
                           who run the service.",
                )
            }
            Self::Flow(CodeFlowError::GrantRefused) => Notice::new(StatusCode::BAD_REQUEST, title)
                .text("The sign-on does not take this sign-in any more: it was used before, or took too long."),
            Self::Flow(CodeFlowError::OutOfReach(_)) | Self::Tokens(TokensRefused::Unverified(_)) => {
                Notice::new(StatusCode::SERVICE_UNAVAILABLE, title)
                    .text("The sign-on does not answer. Wait a minute before you try again.")
            }
            Self::Tokens(TokensRefused::Invalid(_)) => Notice::new(StatusCode::BAD_GATEWAY, title).text(
                "The sign-on let you in, but the ledger does not accept its word. If it happens again, tell the \
                       people who run the service.",
            ),
            Self::Tokens(TokensRefused::NoPerson) => Notice::new(StatusCode::FORBIDDEN, title)
                .text("The sign-on named no person. These pages are for people alone."),
            Self::TooLong(_) => Notice::new(StatusCode::BAD_GATEWAY, title).text(
                "You have so many roles that your browser cannot keep the sign-on's word for them. Ask for those \
                       that you do not need to be taken away.",
            ),
        };
        let address = sessions.sign_on().map_or("", |sign_on| sign_on.address.as_str());
        notice.link(format!("{address}{}", sign_in_address(to)), "Try again").into_response()
    }
}

/// The first value of a name in a query or a form.
fn value(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}
