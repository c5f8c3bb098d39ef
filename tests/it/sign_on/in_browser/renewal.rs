//! Sessions whose access token is at its end.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::json;

use super::{Browser, PagesServer};
use crate::support::{eventually, hmpps_auth::HmppsAuth, tokens::ALL_ROLES};

/// A browser with a session whose token ends so soon that the next request renews it.
async fn browser_near_the_end(auth: &HmppsAuth, server: &PagesServer, token_seconds: i64) -> Browser {
    auth.set_token_seconds(token_seconds);
    let browser = server.browser();
    let callback = browser.sign_in_until_callback("/pages").await;
    assert_eq!(browser.get(&callback).await.status, 303);
    auth.set_token_seconds(600);
    browser
}

#[tokio::test]
async fn a_token_is_renewed_once_for_requests_at_once() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = browser_near_the_end(&auth, &server, 50).await;
    let before = browser.cookies();
    auth.hold(true);
    let at_once = join_all((0..6).map(|_| async {
        let browser = browser.copy();
        let answer = browser.get("/pages/a").await;
        (answer.status.as_u16(), answer.body["token"].clone(), browser.cookies())
    }));
    let released = async {
        eventually("the renewal", async || (auth.count("refresh_token") > 0).then_some(())).await;
        auth.hold(false);
    };
    let (answers, ()) = tokio::join!(at_once, released);
    assert_eq!(auth.count("refresh_token"), 1);
    assert!(answers.iter().all(|answer| answer.0 == 200 && *answer == answers[0]), "{answers:?}");
    assert_ne!(answers[0].2, before, "the renewed session is kept in the browser");
    // A request that was under way with the cookies of before, and those that come later.
    assert_eq!(browser.get("/pages").await.body["token"], answers[0].1);
    assert_eq!(browser.cookies(), answers[0].2);
    assert_eq!(browser.get("/pages").await.body["token"], answers[0].1);
    assert_eq!(auth.count("refresh_token"), 1);
}

#[tokio::test]
async fn a_renewal_survives_a_request_that_is_broken_off() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = browser_near_the_end(&auth, &server, 50).await;
    auth.hold(true);
    let broken_off = browser.copy();
    let request = tokio::spawn(async move { broken_off.get("/pages/a").await });
    eventually("the renewal", async || (auth.count("refresh_token") > 0).then_some(())).await;
    request.abort();
    assert!(request.await.is_err());
    auth.hold(false);
    let page = browser.get("/pages/a").await;
    assert_eq!((page.status.as_u16(), &page.body["user"]), (200, &json!("HOMD_LEI")));
    assert_eq!(auth.count("refresh_token"), 1, "the refresh token was not used twice");
}

#[tokio::test]
async fn renewals_follow_one_another() {
    for rotates in [true, false] {
        let auth = HmppsAuth::serve(&ALL_ROLES).await;
        let server = PagesServer::serve(&auth).await;
        let browser = browser_near_the_end(&auth, &server, 50).await;
        if !rotates {
            auth.keep_refresh_tokens();
        }
        auth.set_token_seconds(50);
        let old = browser.copy();
        let mut tokens = BTreeSet::new();
        for _ in 0..3 {
            tokens.insert(browser.get("/pages").await.body["token"].to_string());
        }
        assert_eq!((tokens.len(), auth.count("refresh_token")), (3, 3));
        // The newest tokens count, whichever cookies a request has.
        assert_eq!(old.get("/pages").await.status, 200);
        assert_eq!(auth.count("refresh_token"), 4);
    }
}

#[tokio::test]
async fn a_refused_renewal_ends_the_session_and_loses_no_page() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    // Its token has ended, by the margin that clocks may be apart.
    let browser = browser_near_the_end(&auth, &server, -20).await;
    let in_time = browser_near_the_end(&auth, &server, 50).await;
    auth.revoke();
    assert_eq!(in_time.get("/pages").await.status, 200, "the access token counts until its end");
    let copy = browser.copy();
    let posted = copy.post("/pages/cases/A1234BC", &[("note", "typed")]).await;
    assert!(posted.status == 401 && posted.text.contains("Nothing was recorded"), "{}", posted.text);
    assert!(copy.cookies().is_empty(), "{:?}", copy.cookies());
    let asked = browser.get("/pages/cases/A1234BC?on=2026-01-01").await;
    assert_eq!(asked.status, 303);
    assert!(browser.cookies().is_empty(), "{:?}", browser.cookies());
    let page = browser.visit(&asked.location.expect("the sign-in")).await;
    assert_eq!((page.status.as_u16(), &page.body["path"]), (200, &json!("/pages/cases/A1234BC?on=2026-01-01")));
}

#[tokio::test]
async fn a_session_of_another_person_does_not_come_of_a_renewal() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = browser_near_the_end(&auth, &server, 50).await;
    auth.change_claims(json!({"user_name": "ANOTHER"}));
    assert_eq!(browser.get("/pages").await.status, 303);
}

#[tokio::test]
async fn a_session_goes_on_while_the_sign_on_is_away_until_its_token_ends() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = browser_near_the_end(&auth, &server, 50).await;
    let late = browser_near_the_end(&auth, &server, -20).await;
    auth.fail(503, "");
    assert_eq!(browser.get("/pages").await.body["user"], "HOMD_LEI");
    let told = late.get("/pages").await;
    assert!(told.status == 503 && told.text.contains("The sign-on does not answer"), "{}", told.text);
    auth.recover();
    assert_eq!(late.get("/pages").await.body["user"], "HOMD_LEI");
}
