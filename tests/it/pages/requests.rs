//! Requests to the pages that no browser sends for them, and hostile text.

use reqwest::{Method, redirect::Policy};
use serde_json::Value;

use crate::support::{HttpAnswer, demonstration::Demonstration, topology::require_single_program};

const PERSON: (&str, &str) = ("Cookie", "ledger-person=HOMD_LEI");

/// Sends a form, and does not go where the answer leads.
async fn post(demonstration: &Demonstration, path: &str, form: &str, headers: &[(&str, &str)]) -> HttpAnswer {
    let http = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client");
    let url = format!("{}{path}", demonstration.program.client().base_url());
    let request = http.post(url).header("Content-Type", "application/x-www-form-urlencoded").body(form.to_owned());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a text");
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    HttpAnswer { status, headers, text, body }
}

#[tokio::test]
async fn a_page_of_another_site_cannot_record_and_a_visitor_without_a_name_chooses_one() {
    require_single_program();
    let demonstration = Demonstration::serve().await;
    let path = "/pages/cases/A1000AA/tier";
    let foreign = post(&demonstration, path, "tier=A", &[PERSON, ("Origin", "http://evil.example")]).await;
    assert_eq!((foreign.status.as_u16(), foreign.body["code"].as_str()), (403, Some("origin-foreign")), "{foreign:?}");
    for cookie in ["", "ledger-person=", "ledger-person=ROOT", "ledger-person=HOMD_LEI%00", "=;;;="] {
        let nobody = post(&demonstration, path, "tier=A", &[("Cookie", cookie)]).await;
        assert_eq!((nobody.status.as_u16(), nobody.header("location")), (303, Some("/pages/people")), "{cookie}");
    }
    let history = demonstration.program.client().get("/prisoners/A1000AA/history?type=TierAssigned").await;
    assert_eq!(history.body.as_array().map(Vec::len), Some(2), "{history:?}");
}

#[tokio::test]
async fn text_that_was_typed_is_shown_as_text() {
    require_single_program();
    let demonstration = Demonstration::serve().await;
    let form = "name=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%2C%20Sam&team=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E";
    let recorded = post(&demonstration, "/pages/cases/A1002AA/community-manager", form, &[PERSON]).await;
    assert_eq!(recorded.status, 303, "{recorded:?}");
    for path in ["/pages/cases/A1002AA", "/pages/cases/A1002AA/file", "/pages/log"] {
        let page = demonstration.program.client().send(Method::GET, path, &[PERSON], None).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text.contains("alert(1)"), "{path} does not show it");
        assert!(!page.text.contains("<script>") && !page.text.contains("<img"), "{path}");
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    }
}
