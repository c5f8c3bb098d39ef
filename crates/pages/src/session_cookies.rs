//! The cookies of the pages: the session of a browser, and sign-ins that are under way in it.
//!
//! Each is sealed (AES-256-GCM by the crate `cookie`), so a browser can neither read nor change it.
//! A session with its tokens is longer than a cookie may be, so it is cut into pieces. A cookie
//! that was changed, cut, or sealed with another key counts as none.

use std::fmt;

use axum::http::{HeaderMap, HeaderValue, header};
use cookie::{Cookie, CookieJar, Key, SameSite, time::Duration};
use serde::{Deserialize, Serialize};
use sign_on::{BegunSignIn, Secret};

use crate::{return_path::own_path, session::Session};

/// Most bytes of a piece: browsers take a cookie of 4,096 with its name and attributes.
const PIECE_BYTES_MAX: usize = 3_800;

/// Most pieces of a session. Their 22,800 bytes hold two tokens with some hundred roles each, and
/// all of them go with every request.
const PIECES_MAX: usize = 6;

/// How long a sign-in may take, in seconds.
const SIGN_IN_SECONDS: i64 = 10 * 60;

/// Most sign-ins that a browser has under way, each in a tab of its own. The oldest gives way.
const SIGN_INS_MAX: usize = 8;

/// Fewest bytes of the secret that the key is made from.
const SECRET_BYTES_MIN: usize = 64;

const SESSION: &str = "ledger-session";
const SIGN_IN: &str = "ledger-sign-in";

/// The key that seals what the pages keep in browsers.
#[derive(Clone)]
pub struct PagesKey(Key);

impl PagesKey {
    /// The key of a secret, the same in every process that has the secret.
    ///
    /// # Errors
    /// The secret is too short, in words that go after its setting.
    pub fn of_secret(secret: &str) -> Result<Self, String> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!("it has fewer than {SECRET_BYTES_MIN} bytes: make one with openssl rand -base64 64"));
        }
        Ok(Self(Key::derive_from(secret.as_bytes())))
    }

    /// A key that no other process has, and that ends with this one.
    #[must_use]
    pub fn random() -> Self {
        Self(Key::generate())
    }
}

impl fmt::Debug for PagesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PagesKey")
    }
}

/// Seals cookies and opens them.
#[derive(Debug)]
pub(crate) struct SessionCookies {
    key: PagesKey,
    /// Whether browsers reach the pages over TLS, and so must send the cookies over it alone.
    is_secure: bool,
}

/// The cookies of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetCookies(Vec<HeaderValue>);

/// A session has more bytes than a browser keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tokens of the sign-on are too long: a session with them has more than {} bytes", PIECE_BYTES_MAX * PIECES_MAX)]
pub(crate) struct SessionTooLong;

/// A sign-in that is under way in a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignInUnderWay {
    /// The text that the browser brings back.
    pub(crate) state: String,
    /// The text that proves to the sign-on who began.
    pub(crate) verifier: Secret,
    /// The page to go to afterwards.
    pub(crate) to: String,
    begun_at: i64,
}

/// A sign-in as it is sealed.
#[derive(Serialize, Deserialize)]
struct SignInText {
    state: String,
    verifier: String,
    to: String,
    begun_at: i64,
}

impl SetCookies {
    /// Adds them to the headers of an answer.
    pub fn add_to(self, headers: &mut HeaderMap) {
        for cookie in self.0 {
            headers.append(header::SET_COOKIE, cookie);
        }
    }

    /// These cookies and others.
    pub(crate) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }
}

impl SessionCookies {
    pub(crate) fn new(key: PagesKey, is_secure: bool) -> Self {
        Self { key, is_secure }
    }

    /// The session of a request, if it has one that has not ended.
    pub(crate) fn session(&self, headers: &HeaderMap, now: i64) -> Option<Session> {
        // The first piece says how many there are: a piece of an older session then does no harm.
        let (count, first) = self.find(headers, &piece_name(1))?.split_once('.')?;
        let count: usize = count.parse().ok().filter(|count| (1..=PIECES_MAX).contains(count))?;
        let mut sealed = first.to_owned();
        for number in 2..=count {
            sealed.push_str(self.find(headers, &piece_name(number))?);
        }
        Session::from_text(&self.open(SESSION, sealed)?, now)
    }

    /// The cookies that make a session that of a browser.
    ///
    /// # Errors
    /// [`SessionTooLong`].
    pub(crate) fn keep_session(&self, session: &Session) -> Result<SetCookies, SessionTooLong> {
        let sealed = self.seal(SESSION, session.to_text());
        // The alphabet of Base64: each character is a byte.
        let count = (sealed.len() + 2).div_ceil(PIECE_BYTES_MAX);
        if count > PIECES_MAX {
            return Err(SessionTooLong);
        }
        let sealed = format!("{count}.{sealed}");
        let pieces = sealed.as_bytes().chunks(PIECE_BYTES_MAX).map(String::from_utf8_lossy);
        let cookies = pieces.zip(1..).map(|(piece, number)| self.cookie(&piece_name(number), piece.into_owned()));
        let unused = (count + 1..=PIECES_MAX).map(|number| self.removal(&piece_name(number)));
        Ok(cookies.chain(unused).collect())
    }

    /// The cookies that end the session of a browser.
    pub(crate) fn end_session(&self) -> SetCookies {
        (1..=PIECES_MAX).map(|number| self.removal(&piece_name(number))).collect()
    }

    /// The cookies that keep a sign-in, beside those under way in other tabs.
    pub(crate) fn keep_sign_in(&self, headers: &HeaderMap, begun: &BegunSignIn, to: &str, now: i64) -> SetCookies {
        let mut under_way: Vec<_> = self
            .names(headers, SIGN_IN)
            .map(|state| (self.sign_in(headers, state, now).map(|sign_in| sign_in.begun_at), state))
            .collect();
        under_way.sort_unstable();
        let too_many = under_way.len().saturating_sub(SIGN_INS_MAX - 1);
        let given_up =
            under_way.iter().enumerate().filter(|(index, (begun_at, _))| *index < too_many || begun_at.is_none());
        let given_up: SetCookies = given_up.map(|(_, (_, state))| self.removal(&sign_in_name(state))).collect();
        let state = begun.state.expose();
        let text = SignInText {
            state: state.to_owned(),
            verifier: begun.verifier.expose().to_owned(),
            to: own_path(to).to_owned(),
            begun_at: now,
        };
        let sealed = self.seal(SIGN_IN, serde_json::to_string(&text).unwrap_or_default());
        let mut cookie = self.cookie(&sign_in_name(state), sealed);
        cookie.set_max_age(Duration::seconds(SIGN_IN_SECONDS));
        given_up.and([cookie].into_iter().collect())
    }

    /// The sign-in of this state, if it began in this browser a short while ago.
    pub(crate) fn sign_in(&self, headers: &HeaderMap, state: &str, now: i64) -> Option<SignInUnderWay> {
        let sealed = self.find(headers, &sign_in_name(state))?.to_owned();
        let text: SignInText = serde_json::from_str(&self.open(SIGN_IN, sealed)?).ok()?;
        let is_current = text.state == state && now < text.begun_at.saturating_add(SIGN_IN_SECONDS);
        let SignInText { state, verifier, to, begun_at } = text;
        is_current.then(|| SignInUnderWay { state, verifier: Secret::new(verifier), to, begun_at })
    }

    /// The cookie that forgets a sign-in.
    pub(crate) fn end_sign_in(&self, sign_in: &SignInUnderWay) -> SetCookies {
        [self.removal(&sign_in_name(&sign_in.state))].into_iter().collect()
    }

    fn seal(&self, name: &'static str, text: String) -> String {
        let mut jar = CookieJar::new();
        jar.private_mut(&self.key.0).add(Cookie::new(name, text));
        jar.get(name).map(|cookie| cookie.value().to_owned()).unwrap_or_default()
    }

    /// The text that was sealed under this name.
    fn open(&self, name: &'static str, sealed: String) -> Option<String> {
        let opened = CookieJar::new().private(&self.key.0).decrypt(Cookie::new(name, sealed))?;
        Some(opened.value().to_owned())
    }

    /// With the prefix, a browser takes the cookie over TLS and from this host alone.
    fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }

    fn prefix(&self) -> &'static str {
        if self.is_secure { "__Host-" } else { "" }
    }

    fn cookie(&self, name: &str, value: String) -> Cookie<'static> {
        Cookie::build((self.full_name(name), value))
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.is_secure)
            .build()
    }

    fn removal(&self, name: &str) -> Cookie<'static> {
        let mut cookie = self.cookie(name, String::new());
        cookie.set_max_age(Duration::ZERO);
        cookie
    }

    /// The value of the first cookie of a name.
    fn find<'h>(&self, headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
        let name = self.full_name(name);
        let value = cookies(headers).find(|(known, _)| *known == name).map(|(_, value)| value);
        value.filter(|value| value.len() <= PIECE_BYTES_MAX)
    }

    /// The rest of the names that begin with this one and a hyphen.
    fn names<'h>(&self, headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
        let beginning = format!("{}-", self.full_name(name));
        cookies(headers).filter_map(move |(known, _)| known.strip_prefix(beginning.as_str()))
    }
}

impl FromIterator<Cookie<'static>> for SetCookies {
    fn from_iter<I: IntoIterator<Item = Cookie<'static>>>(cookies: I) -> Self {
        Self(cookies.into_iter().filter_map(|cookie| HeaderValue::from_str(&cookie.to_string()).ok()).collect())
    }
}

fn piece_name(number: usize) -> String {
    format!("{SESSION}-{number}")
}

fn sign_in_name(state: &str) -> String {
    format!("{SIGN_IN}-{state}")
}

/// The cookies of a request, by name and value. One that is no text hides no other.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let cookies = headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    cookies.filter_map(|cookie| str::from_utf8(cookie).ok()).filter_map(|cookie| cookie.trim().split_once('='))
}

#[cfg(test)]
mod tests;
