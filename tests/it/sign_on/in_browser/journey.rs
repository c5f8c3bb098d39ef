//! The whole way of a person: signed in, on the page that was asked for, signed out.

use futures::future::join_all;
use serde_json::{Value, json};
use sign_on::CodeFlowServer;

use super::{PagesServer, sign_in_address};
use crate::support::{
    Program, database,
    hmpps_auth::{CLIENT, HmppsAuth},
    tokens::{ALL_ROLES, seconds_from_now},
};

#[tokio::test]
async fn a_person_signs_in_and_lands_on_the_page_asked_for() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = server.browser();
    // A page that needs a person leads to the sign-in, and that to the sign-on and back.
    let answer = browser.get("/pages/cases/A1234BC?on=2026-01-01").await;
    let sign_in = "/pages/sign-in?to=%2Fpages%2Fcases%2FA1234BC%3Fon%3D2026-01-01";
    assert_eq!((answer.status.as_u16(), answer.location.as_deref()), (303, Some(sign_in)));
    let page = browser.visit("/pages/cases/A1234BC?on=2026-01-01").await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(
        (&page.body["user"], &page.body["path"]),
        (&json!("HOMD_LEI"), &json!("/pages/cases/A1234BC?on=2026-01-01"))
    );
    assert_eq!(auth.requests(), ["authorize scope=", "authorization_code"]);
    // The browser keeps the session alone, and nothing of it can be read.
    let cookies = browser.cookies();
    assert_eq!(cookies.keys().collect::<Vec<_>>(), ["ledger-session-1"]);
    let token = page.body["token"].as_str().expect("a token");
    for part in token.split('.').chain(["HOMD_LEI", "refresh-"]) {
        assert!(cookies.values().all(|value| !value.contains(part)), "{cookies:?}");
    }
    assert_eq!(browser.get("/pages").await.body["csrf"], page.body["csrf"], "it lasts as long as the session");
}

#[tokio::test]
async fn cookies_are_for_the_pages_alone() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = server.browser();
    let begun = browser.get("/pages/sign-in").await;
    let callback = browser.sign_in_until_callback("/pages").await;
    let finished = browser.get(&callback).await;
    assert!(begun.set_cookies.iter().all(|line| line.contains("; Max-Age=600")), "{begun:?}");
    let lines: Vec<_> = begun.set_cookies.iter().chain(&finished.set_cookies).collect();
    assert!(lines.len() > 2, "{lines:?}");
    for line in lines {
        assert!(["; HttpOnly", "; SameSite=Lax", "; Path=/"].iter().all(|flag| line.contains(flag)), "{line}");
    }
}

#[tokio::test]
async fn several_tabs_sign_in_at_once() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = server.browser();
    let mut callbacks = Vec::new();
    for number in 0..4 {
        callbacks.push(browser.sign_in_until_callback(&format!("/pages/tab/{number}")).await);
    }
    let landed = join_all(callbacks.iter().map(async |callback| browser.get(callback).await.location)).await;
    let expected: Vec<_> = (0..4).map(|number| Some(format!("/pages/tab/{number}"))).collect();
    assert_eq!(landed, expected);
    assert_eq!(browser.cookies().len(), 1, "the sign-ins are forgotten");
}

#[tokio::test]
async fn a_long_session_takes_several_cookies() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = server.browser();
    let roles: Vec<_> = (0..150).map(|number| format!("ROLE_OF_THE_TESTS_NUMBER_{number:03}")).collect();
    auth.change_claims(json!({ "authorities": roles }));
    auth.set_refresh_token_bytes(6_000);
    assert_eq!(browser.visit("/pages").await.status, 200);
    let cookies = browser.cookies();
    assert!(cookies.len() > 3 && cookies.values().all(|value| value.len() <= 3_800), "{}", cookies.len());
    // The same person with fewer roles has a shorter session.
    auth.change_claims(json!({"authorities": ["ROLE_ALLOCATION_LEDGER__RO"]}));
    auth.set_refresh_token_bytes(20);
    assert_eq!(browser.visit("/pages/sign-in?to=/pages").await.status, 200);
    assert_eq!(browser.cookies().len(), 1);
    // Longer than browsers keep.
    auth.set_refresh_token_bytes(30_000);
    let refused = browser.visit("/pages/sign-in").await;
    assert!(refused.status == 502 && refused.text.contains("so many roles"), "{}", refused.text);
}

#[tokio::test]
async fn signing_out_ends_the_session_here_and_at_the_sign_on() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = server.browser();
    let page = browser.visit("/pages").await;
    for form in [&[][..], &[("csrf", "")], &[("csrf", "another")]] {
        let refused = browser.post("/pages/sign-out", form).await;
        assert!(refused.status == 403 && refused.set_cookies.is_empty(), "{refused:?}");
        assert_eq!(browser.get("/pages").await.status, 200);
    }
    let csrf = page.body["csrf"].as_str().expect("a CSRF token");
    let out = browser.post("/pages/sign-out", &[("csrf", csrf)]).await;
    let address = format!("{}/sign-out?client_id=allocation+ledger&#38;redirect_uri=", auth.url());
    assert!(out.status == 200 && out.text.contains(&format!("href=\"{address}")), "{}", out.text);
    assert!(browser.cookies().is_empty(), "{:?}", browser.cookies());
    let href =
        out.text.split("href=\"").find(|rest| rest.starts_with(auth.url())).and_then(|rest| rest.split('"').next());
    let href = href.expect("a link");
    let back = browser.get(&href.replace("&#38;", "&")).await;
    assert_eq!(back.location, Some(format!("{}/pages", server.url)));
    assert!(auth.requests().contains(&format!("sign-out {CLIENT}")));
    assert_eq!(browser.get("/pages").await.location.as_deref(), Some("/pages/sign-in"));
    // Once more, from another tab.
    assert_eq!(browser.post("/pages/sign-out", &[("csrf", csrf)]).await.status, 200);
}

#[tokio::test]
async fn a_person_who_is_not_let_in_is_told_why() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = server.browser();
    let try_again = format!("href=\"{}{}\"", server.url, sign_in_address("/pages/a"));
    let sign_in = async |expected: u16, words: &str| {
        let told = browser.visit(&sign_in_address("/pages/a")).await;
        assert!(told.status == expected && told.text.contains(words), "{expected} {words}: {told:?}");
        assert!(told.text.contains(&try_again) && !told.text.contains("SECRET-WORDS"), "{}", told.text);
        assert!(browser.cookies().is_empty(), "{:?}", browser.cookies());
    };
    for (status, body, expected, words) in [
        (503, "", 503, "does not answer"),
        (307, "", 503, "does not answer"),
        (400, r#"{"error": "invalid_grant"}"#, 400, "used before"),
        (401, r#"{"error": "invalid_client"}"#, 502, "do not understand each other"),
        (400, r#"{"error": "SECRET-WORDS"}"#, 502, "do not understand each other"),
        (200, r#"{"access_token": 7, "token_type": "SECRET-WORDS"}"#, 502, "do not understand each other"),
        (200, r#"{"access_token": "a.b.c", "token_type": "mac"}"#, 502, "do not understand each other"),
        (200, "<html>SECRET-WORDS</html>", 502, "do not understand each other"),
        (200, r#"{"access_token": "a.b.c", "token_type": "bearer"}"#, 502, "does not accept its word"),
    ] {
        auth.fail(status, body);
        sign_in(expected, words).await;
    }
    let long = format!("{{\"access_token\": \"{}\", \"token_type\": \"bearer\"}}", "x".repeat(300_000));
    auth.fail(200, &long);
    sign_in(503, "does not answer").await;
    auth.recover();
    // A client, which is no person.
    auth.change_claims(json!({"user_name": null}));
    sign_in(403, "for people alone").await;
    auth.change_claims(json!({"user_name": "HOMD_LEI", "nbf": seconds_from_now(3_600)}));
    sign_in(502, "does not accept its word").await;
    auth.deny();
    sign_in(403, "may not use this service").await;
}

#[tokio::test]
async fn a_wrong_secret_lets_no_person_in() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let hmpps_auth = CodeFlowServer::HmppsAuth(auth.url().to_owned());
    let server = PagesServer::serve_with(&auth, hmpps_auth, "another secret").await;
    let told = server.browser().visit("/pages").await;
    assert!(told.status == 502 && !told.text.contains("another secret"), "{}", told.text);
}

#[tokio::test]
async fn the_api_takes_no_cookie() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = server.browser();
    let page = browser.visit("/pages").await;
    let database = database().await;
    let (stores, keys) = (database.arguments(), auth.jwks_url());
    let arguments: Vec<&str> = stores.iter().map(String::as_str).chain(["--auth-jwks-url", &keys]).collect();
    let program = Program::serve_with(&arguments).await;
    let cookies: Vec<_> = browser.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
    let cookies = cookies.join("; ");
    let ask = async |header: &str, value: &str| {
        let answer = program.client().send(reqwest::Method::GET, "/nomis-contacts", &[(header, value)], None).await;
        answer.status.as_u16()
    };
    assert_eq!(ask("cookie", &cookies).await, 401);
    let Value::String(token) = &page.body["token"] else { panic!("no token: {page:?}") };
    assert_eq!(ask("authorization", &format!("Bearer {token}")).await, 200);
}
