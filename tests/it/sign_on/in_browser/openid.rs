//! A server of OpenID, which says itself where its endpoints are.

use sign_on::CodeFlowServer;

use super::PagesServer;
use crate::support::{
    hmpps_auth::{CLIENT_SECRET, HmppsAuth},
    tokens::ALL_ROLES,
};

#[tokio::test]
async fn a_person_signs_in_and_out_at_a_server_of_openid() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    let issuer = CodeFlowServer::Issuer(auth.url().to_owned());
    let server = PagesServer::serve_with(&auth, issuer, CLIENT_SECRET).await;
    let browser = server.browser();
    let page = browser.visit("/pages/a").await;
    assert_eq!((page.status.as_u16(), &page.body["user"]), (200, &"HOMD_LEI".into()), "{}", page.text);
    assert_eq!(auth.requests(), ["authorize scope=openid", "authorization_code"]);
    let csrf = page.body["csrf"].as_str().expect("a CSRF token");
    let out = browser.post("/pages/sign-out", &[("csrf", csrf)]).await;
    let address =
        format!("href=\"{}/end-session?client_id=allocation+ledger&#38;post_logout_redirect_uri=", auth.url());
    assert!(out.text.contains(&address), "{}", out.text);
}

#[tokio::test]
async fn a_server_that_names_another_issuer_is_not_used() {
    let auth = HmppsAuth::serve(&ALL_ROLES).await;
    // The same server by another name.
    let issuer = CodeFlowServer::Issuer(auth.url().replace("localhost", "127.0.0.1"));
    let server = PagesServer::serve_with(&auth, issuer, CLIENT_SECRET).await;
    let told = server.browser().visit("/pages").await;
    assert!(told.status == 502 && told.text.contains("do not understand each other"), "{}", told.text);
    assert_eq!(auth.requests(), Vec::<String>::new());
}
