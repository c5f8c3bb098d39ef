//! The pages of the program itself, whose people sign on.

use std::sync::Arc;

use reqwest::redirect::Policy;

use super::Browser;
use crate::support::{
    Program, database,
    hmpps_auth::{CLIENT, CLIENT_SECRET, HmppsAuth},
    topology::require_single_program,
};

/// The text of the field of a form.
fn field<'p>(page: &'p str, name: &str) -> &'p str {
    let rest = page.split(&format!("name=\"{name}\" value=\"")).nth(1);
    rest.and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("no field {name}: {page}"))
}

#[tokio::test]
async fn a_page_records_under_the_name_of_the_person_and_with_the_persons_rights() {
    require_single_program();
    let may_record = ["ROLE_ALLOC_MGR"];
    for (roles, is_recorded) in [(&may_record[..], true), (&["ROLE_ALLOC_CASE_MGR"], false)] {
        let auth = HmppsAuth::serve(roles).await;
        let database = database().await;
        let (stores, keys) = (database.arguments(), auth.jwks_url());
        let pages =
            ["--pages-sign-on-url", auth.url(), "--pages-client-id", CLIENT, "--pages-client-secret", CLIENT_SECRET];
        let arguments = stores.iter().map(String::as_str).chain(["--auth-jwks-url", &keys]).chain(pages);
        let program = Program::serve_with(&arguments.collect::<Vec<_>>()).await;
        let http = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client");
        let browser = Browser { home: program.client().base_url().to_owned(), http, cookies: Arc::default() };
        let form = browser.visit("/pages/cases/A1234BC/tier").await;
        assert!(form.status == 200 && form.text.contains("HOMD_LEI"), "{}", form.text);
        let (csrf, key) = (field(&form.text, "csrf"), field(&form.text, "key"));
        let typed = [("csrf", csrf), ("key", key), ("tier", "B2"), ("effective-at", "")];
        let sent = browser.post("/pages/cases/A1234BC/tier", &typed).await;
        if is_recorded {
            let case = browser.get(&sent.location.unwrap_or_else(|| panic!("not recorded: {}", sent.text))).await;
            assert!(case.text.contains("Tier B2") && case.text.contains("by HOMD_LEI"), "{}", case.text);
            let out = browser.post("/pages/sign-out", &[("csrf", field(&case.text, "csrf"))]).await;
            assert_eq!(out.status, 200, "{}", out.text);
            assert!(browser.cookies().is_empty());
        } else {
            assert_eq!(sent.status, 403, "{}", sent.text);
            assert!(sent.text.contains("There is a problem") && sent.text.contains("value=\"B2\""), "{}", sent.text);
        }
    }
}
