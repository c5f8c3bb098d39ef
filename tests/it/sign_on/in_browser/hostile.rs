//! Sign-ins that another site, or another person, began or changed.

use super::{PagesServer, sign_in_address};
use crate::support::{hmpps_auth::HmppsAuth, tokens::ALL_ROLES};

const NOT_UNDER_WAY: &str = "This sign-in is finished";

#[tokio::test]
async fn a_sign_in_of_another_browser_is_refused() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let (victim, attacker) = (server.browser(), server.browser());
    // The attacker would have the victim work under the attacker's name.
    let callback = attacker.sign_in_until_callback("/pages").await;
    let own_callback = victim.sign_in_until_callback("/pages").await;
    let refused = victim.get(&callback).await;
    assert!(refused.status == 400 && refused.text.contains(NOT_UNDER_WAY), "{}", refused.text);
    // Nor with a code of the attacker and a state of the victim's: the challenge is another one.
    let code = |address: &str| address.split("code=").nth(1).and_then(|rest| rest.split('&').next()).map(str::to_owned);
    let mixed = own_callback.replace(&code(&own_callback).expect("a code"), &code(&callback).expect("a code"));
    let refused = victim.get(&mixed).await;
    assert!(refused.status == 400 && refused.text.contains("used before"), "{}", refused.text);
    assert!(victim.cookies().is_empty(), "{:?}", victim.cookies());
}

#[tokio::test]
async fn a_callback_needs_its_state_and_a_code() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = server.browser();
    let callback = browser.sign_in_until_callback("/pages").await;
    let (path, query) = callback.split_once('?').expect("a query");
    for changed in ["", "code=1", "state=", "state=%FF%00&code=1", "%", "code=1&state=other", "error=access_denied"] {
        let refused = browser.get(&format!("{path}?{changed}")).await;
        assert!(refused.status == 400 && refused.text.contains(NOT_UNDER_WAY), "{changed}: {}", refused.text);
        assert!(refused.set_cookies.is_empty(), "{changed}");
    }
    let state = query.split('&').find(|part| part.starts_with("state=")).expect("a state");
    let long_code = format!("&code={}", "1".repeat(5_000));
    for (changed, status) in [("", 502), ("&error=%3Cscript%3E", 502), (long_code.as_str(), 502)] {
        let browser = browser.copy();
        let refused = browser.get(&format!("{path}?{state}{changed}")).await;
        assert!(refused.status == status && !refused.text.contains("<script>"), "{changed}: {}", refused.text);
    }
    assert_eq!(auth.count("authorization_code"), 0, "the sign-on is not asked");
    assert_eq!(browser.get(&callback).await.status, 303);
}

#[tokio::test]
async fn a_code_counts_once() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    let browser = server.browser();
    let callback = browser.sign_in_until_callback("/pages").await;
    let before = browser.copy();
    assert_eq!(browser.get(&callback).await.status, 303);
    // The back button, or a page loaded again.
    let again = browser.get(&callback).await;
    assert!(again.status == 400 && again.text.contains(NOT_UNDER_WAY), "{}", again.text);
    assert_eq!(browser.get("/pages").await.status, 200, "the session goes on");
    // With the cookies of before, the sign-on refuses it.
    let replayed = before.get(&callback).await;
    assert!(replayed.status == 400 && replayed.text.contains("used before"), "{}", replayed.text);
}

#[tokio::test]
async fn a_sign_in_leads_to_no_other_site() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let server = PagesServer::serve(&auth).await;
    for to in [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/pages",
        "/pages/..//evil.example",
        "/pages/\r\nlocation: //evil.example",
        "javascript:alert(1)",
        "/docs",
    ] {
        let browser = server.browser();
        let callback = browser.sign_in_until_callback(to).await;
        let landed = browser.get(&callback).await;
        assert_eq!((landed.status.as_u16(), landed.location.as_deref()), (303, Some("/pages")), "{to}");
    }
    assert!(!sign_in_address("//evil.example").is_empty());
}

#[tokio::test]
async fn hostile_cookies_are_as_none() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let (server, other) = (PagesServer::serve(&auth).await, PagesServer::serve(&auth).await);
    let browser = server.browser();
    auth.set_refresh_token_bytes(4_000);
    assert_eq!(browser.visit("/pages").await.status, 200);
    let kept = browser.cookies();
    let [first, second] = ["ledger-session-1", "ledger-session-2"].map(|name| kept[name].clone());
    let stranger = other.browser();
    assert_eq!(stranger.visit("/pages").await.status, 200);
    let of_another_key = stranger.cookies()["ledger-session-1"].clone();
    let huge = "A".repeat(60_000);
    for (one, two) in [
        (second.as_str(), first.as_str()),
        (&first, ""),
        (&first[..100], &second),
        (&of_another_key, &second),
        (&first, "\u{1f600}"),
        ("6.", "6."),
        ("99999999999999999999.", ""),
        (".", "."),
        (&huge, &huge),
    ] {
        let browser = browser.copy();
        browser.set_cookie("ledger-session-1", one);
        browser.set_cookie("ledger-session-2", two);
        let answer = browser.get("/pages/a").await;
        assert_eq!(answer.location.as_deref(), Some("/pages/sign-in?to=%2Fpages%2Fa"), "{one:.20} {two:.20}");
        assert_eq!(browser.post("/pages/a", &[]).await.status, 401);
        assert_eq!(browser.get("/pages/sign-in").await.status, 303);
    }
    let many = browser.copy();
    for number in 0..60 {
        many.set_cookie(&format!("ledger-session-{number}"), "6.AAAA");
        many.set_cookie(&format!("ledger-sign-in-{number}"), "AAAA");
    }
    assert_eq!(many.get("/pages").await.status, 303);
    let begun = many.get("/pages/sign-in").await;
    let removed = begun.set_cookies.iter().filter(|line| line.contains("Max-Age=0")).count();
    assert_eq!((begun.status.as_u16(), removed), (303, 60), "sign-ins that are none are removed");
    assert_eq!(browser.get("/pages").await.status, 200, "the cookies as they were");
}
