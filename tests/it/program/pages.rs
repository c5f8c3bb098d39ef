//! The pages for people: `/`, `/problems/{code}` and `/event-types`.

use std::collections::BTreeSet;

use reqwest::Method;

use crate::support::{HttpAnswer, ledger::Ledger, topology::require_single_program};

/// Asserts that an answer is a page without scripts.
#[track_caller]
fn assert_page(answer: &HttpAnswer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!answer.text.contains("<script") && answer.text.ends_with("</html>\n"), "{}", answer.text);
}

/// The addresses that a page links to.
fn links(page: &str) -> BTreeSet<&str> {
    page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn the_first_page_leads_to_what_there_is() {
    require_single_program();
    let ledger = Ledger::start_all_roles().await;
    let home = ledger.client().get("/").await;
    assert_page(&home);
    let links = links(&home.text);
    for expected in ["/docs", "/openapi.json", "/event-types", "/problems", "/projections", "/health", "/metrics"] {
        assert!(links.contains(expected), "no link to {expected}");
    }
    for link in links {
        let answer = ledger.client().get(link).await;
        assert!(answer.status.is_success(), "{link}: {answer:?}");
    }
}

#[tokio::test]
async fn each_code_of_a_problem_has_a_page_that_says_what_to_do() {
    require_single_program();
    let ledger = Ledger::empty().await;
    let document = ledger.client().get("/openapi.json").await.body;
    let codes = document.pointer("/components/schemas/ProblemCode/anyOf/0/enum").and_then(|codes| codes.as_array());
    let codes: Vec<_> = codes.expect("codes").iter().filter_map(|code| code.as_str()).collect();
    assert!(codes.len() > 60, "{codes:?}");
    let list = ledger.client().get("/problems").await;
    assert_page(&list);
    for code in codes {
        let path = format!("/problems/{code}");
        assert!(links(&list.text).contains(path.as_str()), "no link to {path}");
        let page = ledger.client().get(&path).await;
        assert_page(&page);
        for part in [code, "<h2>What it means</h2>", "<h2>What to do</h2>"] {
            assert!(page.text.contains(part), "{path} lacks {part}");
        }
        let headers = [("Accept", "application/json")];
        let told = ledger.client().send(Method::GET, &path, &headers, None).await;
        assert_eq!((told.body["code"].as_str(), told.body["remedy"].is_string()), (Some(code), true), "{told:?}");
        assert_eq!((page.header("vary"), told.header("vary")), (Some("accept"), Some("accept")));
    }
}

#[tokio::test]
async fn a_problem_leads_to_the_page_of_its_code() {
    require_single_program();
    let ledger = Ledger::start_all_roles().await;
    let refused = ledger.client().get("/prisoners/A9999ZZ/responsibility").await;
    for member in ["type", "moreInfo"] {
        let page = ledger.client().get(refused.body[member].as_str().expect("a path")).await;
        assert_page(&page);
        assert!(page.text.contains("<code>prisoner-unknown</code>, status 404"), "{}", page.text);
    }
}

#[tokio::test]
async fn an_unknown_code_is_a_404_that_repeats_no_markup() {
    require_single_program();
    let ledger = Ledger::empty().await;
    for name in ["%3Cscript%3Ealert(1)%3C%2Fscript%3E", "%FF"] {
        let unknown = ledger.client().get(&format!("/problems/{name}")).await;
        assert_eq!(
            (unknown.status.as_u16(), unknown.body["code"].as_str()),
            (404, Some("path-unknown")),
            "{unknown:?}"
        );
        assert_eq!(unknown.header("content-type"), Some("application/problem+json"));
    }
}

#[tokio::test]
async fn the_page_of_events_has_each_type_with_an_example() {
    require_single_program();
    let ledger = Ledger::empty().await;
    let page = ledger.client().get("/event-types").await;
    assert_page(&page);
    let ids: BTreeSet<_> = page.text.split("id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for name in domain::Event::type_names() {
        assert!(ids.contains(name), "{name} is missing");
    }
    assert!(page.text.contains("&quot;staffId&quot;: 485926"), "examples are escaped");
    for link in links(&page.text).into_iter().filter_map(|link| link.strip_prefix('#')) {
        assert!(ids.contains(link), "#{link} leads nowhere");
    }
}
