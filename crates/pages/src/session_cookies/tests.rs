//! Tests of the cookies: what is kept comes back, and anything else counts as none.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::session::{SESSION_SECONDS, SessionTokens};

const NOW: i64 = 1_800_000_000;

fn session(access: &str, refresh: Option<&str>) -> Session {
    let tokens = SessionTokens {
        access: Secret::new(access.to_owned()),
        refresh: refresh.map(|token| Secret::new(token.to_owned())),
        expires_at: NOW + 600,
    };
    Session::begin("HOMD_LEI".to_owned(), Some(tokens), NOW)
}

fn cookies_of(secret: u8, is_secure: bool) -> SessionCookies {
    let secret = char::from(secret).to_string().repeat(SECRET_BYTES_MIN);
    SessionCookies::new(PagesKey::of_secret(&secret).expect("long enough"), is_secure)
}

/// The cookies of a browser that had none before.
fn kept(set: &SetCookies) -> Vec<(String, String)> {
    let lines = set.0.iter().map(|line| line.to_str().expect("text"));
    let kept = lines.filter(|line| !line.contains("Max-Age=0"));
    let pairs = kept.map(|line| line.split(';').next().expect("a pair").split_once('=').expect("a pair"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn headers(cookies: &[(String, String)]) -> HeaderMap {
    let pairs: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let line = HeaderValue::from_bytes(pairs.join("; ").as_bytes());
    line.map(|line| [(header::COOKIE, line)].into_iter().collect()).unwrap_or_default()
}

fn begun(state: &str) -> BegunSignIn {
    let (state, verifier) = (Secret::new(state.to_owned()), Secret::new(format!("verifier of {state}")));
    BegunSignIn { address: String::new(), state, verifier }
}

#[test]
fn cookies_are_for_the_pages_alone_and_over_tls_away_from_this_machine() {
    for (is_secure, prefix) in [(true, "__Host-"), (false, "")] {
        let cookies = cookies_of(b'a', is_secure);
        let session = cookies.keep_session(&session("a.b.c", Some("refresh"))).expect("short enough");
        let sign_in = cookies.keep_sign_in(&HeaderMap::new(), &begun("state"), "/pages", NOW);
        for line in session.and(sign_in).and(cookies.end_session()).0 {
            let line = line.to_str().expect("text").to_owned();
            assert!(line.starts_with(&format!("{prefix}ledger-s")), "{line}");
            assert!(["; HttpOnly", "; SameSite=Lax", "; Path=/"].iter().all(|flag| line.contains(flag)), "{line}");
            assert_eq!(line.contains("; Secure"), is_secure, "{line}");
            assert!(!line.contains("Domain"), "{line}");
        }
    }
}

#[test]
fn a_session_that_is_too_long_is_refused_and_the_longest_fits() {
    let cookies = cookies_of(b'a', true);
    let fits = |length: usize| cookies.keep_session(&session(&"x".repeat(length), None));
    assert_eq!(fits(20_000), Err(SessionTooLong));
    let lengths: Vec<usize> = (10_000..20_000).collect();
    let longest = 10_000 + lengths.partition_point(|length| fits(*length).is_ok()) - 1;
    let kept = kept(&fits(longest).expect("it fits"));
    assert_eq!(kept.len(), PIECES_MAX);
    assert!(kept.iter().all(|(_, value)| value.len() <= PIECE_BYTES_MAX));
    assert!(cookies.session(&headers(&kept), NOW).is_some());
}

#[test]
fn a_shorter_session_leaves_no_piece_of_a_longer_one() {
    let cookies = cookies_of(b'a', false);
    let long = kept(&cookies.keep_session(&session(&"x".repeat(9_000), None)).expect("it fits"));
    let short = session("x", None);
    let set = cookies.keep_session(&short).expect("it fits");
    let removed = set.0.iter().filter(|line| line.to_str().expect("text").contains("Max-Age=0")).count();
    assert_eq!(removed, PIECES_MAX - 1);
    // Even where the browser kept the other pieces.
    let both: Vec<_> = kept(&set).into_iter().chain(long.into_iter().skip(1)).collect();
    assert_eq!(cookies.session(&headers(&both), NOW), Some(short));
}

#[test]
fn sign_ins_of_several_tabs_are_kept_for_ten_minutes_and_the_oldest_gives_way() {
    let cookies = cookies_of(b'a', true);
    let mut browser: Vec<(String, String)> = Vec::new();
    for index in 0..SIGN_INS_MAX + 2 {
        let now = NOW + i64::try_from(index).expect("small");
        let set = cookies.keep_sign_in(&headers(&browser), &begun(&format!("s{index}")), "/pages/a", now);
        let gone = set.0.iter().filter_map(|line| line.to_str().ok()).filter(|line| line.contains("Max-Age=0"));
        let gone: Vec<_> = gone.filter_map(|line| line.split('=').next()).collect();
        browser.retain(|(name, _)| !gone.contains(&name.as_str()));
        browser.extend(kept(&set));
    }
    assert_eq!(browser.len(), SIGN_INS_MAX);
    let headers = headers(&browser);
    assert_eq!(cookies.sign_in(&headers, "s1", NOW), None);
    let found = cookies.sign_in(&headers, "s2", NOW).expect("it is kept");
    assert_eq!((found.verifier.expose(), found.to.as_str()), ("verifier of s2", "/pages/a"));
    assert_eq!(cookies.sign_in(&headers, "s2", NOW + 2 + SIGN_IN_SECONDS), None);
    // One that was moved to the name of another state.
    let moved: Vec<_> =
        browser.iter().map(|(_, value)| (cookies.full_name(&sign_in_name("s9")), value.clone())).collect();
    assert_eq!(cookies.sign_in(&self::headers(&moved), "s9", NOW), None);
}

#[test]
fn a_key_needs_a_long_secret_and_is_not_shown() {
    assert!(PagesKey::of_secret(&"k".repeat(SECRET_BYTES_MIN - 1)).is_err());
    let key = PagesKey::of_secret(&"k".repeat(SECRET_BYTES_MIN)).expect("long enough");
    assert_eq!(format!("{key:?}"), "PagesKey");
}

#[test]
fn a_cookie_of_another_program_that_is_no_text_hides_no_session() {
    let (cookies, session) = (cookies_of(b'a', false), session("a.b.c", None));
    let mut line = b"other=\xff\xfe; ".to_vec();
    let kept = headers(&kept(&cookies.keep_session(&session).expect("it fits")));
    line.extend(kept[header::COOKIE].as_bytes());
    let headers = [(header::COOKIE, HeaderValue::from_bytes(&line).expect("a value"))].into_iter().collect();
    assert_eq!(cookies.session(&headers, NOW), Some(session));
}

/// A change that an attacker may make to the cookies of a session.
#[derive(Debug, Clone)]
enum Meddling {
    Cut(Index, Index),
    Swap(Index, Index),
    Drop(Index),
    Change(Index, Index, u8),
    Replace(Index, String),
    AddMany(u16),
}

fn meddling() -> impl Strategy<Value = Meddling> {
    let index = any::<Index>;
    prop_oneof![
        (index(), index()).prop_map(|(piece, at)| Meddling::Cut(piece, at)),
        (index(), index()).prop_map(|(one, other)| Meddling::Swap(one, other)),
        index().prop_map(Meddling::Drop),
        (index(), index(), 0x21..0x7f_u8).prop_map(|(piece, at, byte)| Meddling::Change(piece, at, byte)),
        (index(), any::<String>()).prop_map(|(piece, value)| Meddling::Replace(piece, value)),
        any::<u16>().prop_map(Meddling::AddMany),
    ]
}

impl Meddling {
    fn apply(self, cookies: &mut Vec<(String, String)>) {
        if cookies.is_empty() {
            return;
        }
        let count = cookies.len();
        match self {
            Self::Cut(piece, at) => {
                let value = &mut cookies[piece.index(count)].1;
                value.truncate(
                    (0..=at.index(value.len() + 1)).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0),
                );
            }
            Self::Swap(one, other) => {
                let (one, other) = (one.index(count), other.index(count));
                let value = cookies[one].1.clone();
                cookies[one].1 = std::mem::replace(&mut cookies[other].1, value);
            }
            Self::Drop(piece) => drop(cookies.remove(piece.index(count))),
            Self::Change(piece, at, byte) => {
                let value = &mut cookies[piece.index(count)].1;
                if value.is_ascii() && !value.is_empty() {
                    let at = at.index(value.len());
                    value.replace_range(at..=at, &char::from(byte).to_string());
                }
            }
            Self::Replace(piece, value) => cookies[piece.index(count)].1 = value,
            Self::AddMany(many) => {
                cookies.extend((0..many % 300).map(|number| (piece_name(usize::from(number)), "9.AAAA".to_owned())));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_session_comes_back_as_it_was(
        access in "[ -~]{0,7000}", refresh in proptest::option::of("\\PC{0,700}"), is_secure in any::<bool>(),
    ) {
        let (cookies, session) = (cookies_of(b'a', is_secure), session(&access, refresh.as_deref()));
        let kept = kept(&cookies.keep_session(&session).expect("it fits"));
        prop_assert!(kept.iter().all(|(_, value)| access.len() < 8 || !value.contains(&access)));
        let headers = headers(&kept);
        prop_assert_eq!(cookies.session(&headers, NOW), Some(session));
        prop_assert_eq!(cookies.session(&headers, NOW + SESSION_SECONDS), None);
        prop_assert_eq!(cookies_of(b'b', is_secure).session(&headers, NOW), None);
        prop_assert_eq!(cookies_of(b'a', !is_secure).session(&headers, NOW), None);
    }

    #[test]
    fn hostile_cookies_are_none(length in 0..9_000_usize, meddlings in vec(meddling(), 1..4)) {
        let (cookies, session) = (cookies_of(b'a', false), session(&"y".repeat(length), Some("r")));
        let kept = kept(&cookies.keep_session(&session).expect("it fits"));
        let mut changed = kept.clone();
        for meddling in meddlings {
            meddling.apply(&mut changed);
        }
        // Changes may leave the first cookie of each name as it was.
        let found = cookies.session(&headers(&changed), NOW);
        prop_assert!(found.is_none() || found == Some(session), "{:?}", found);
        let as_sealed = kept.iter().all(|cookie| changed.iter().find(|(name, _)| *name == cookie.0) == Some(cookie));
        prop_assert!(as_sealed || found.is_none());
    }

    #[test]
    fn any_bytes_are_no_session(lines in vec(vec(any::<u8>(), 0..200), 0..4), state in any::<String>()) {
        let cookies = cookies_of(b'a', true);
        let mut headers = HeaderMap::new();
        for bytes in lines {
            let line = [b"a=b; __Host-ledger-session-1=".as_slice(), &bytes].concat();
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                headers.append(header::COOKIE, line);
            }
        }
        prop_assert_eq!(cookies.session(&headers, NOW), None);
        prop_assert_eq!(cookies.sign_in(&headers, &state, NOW), None);
        cookies.keep_sign_in(&headers, &begun("state"), &state, NOW);
    }
}
