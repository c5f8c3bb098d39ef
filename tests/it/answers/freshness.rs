//! How far an answer goes, how it waits, and how it is cached.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    ledger::{Ledger, PRISON, SHAH, assert_refused},
    questions::{ask, assert_ok, next_page, record},
};

#[tokio::test]
async fn an_answer_waits_for_the_position_asked_for_and_names_its_own() {
    let ledger = Ledger::start_all_roles().await;
    // Each question after a write must include the write.
    for index in 0..20 {
        let answer = ledger.tier(&format!("A{index:04}AA")).await;
        let position = answer.header("ledger-position").expect("a position").to_owned();
        let path = format!("/prisoners/A{index:04}AA/responsibility");
        let read = ledger.client().send(Method::GET, &path, &[("Ledger-Position-At-Least", &position)], None).await;
        assert_ok(&read);
        let reached: u64 = read.header("ledger-position").and_then(|text| text.parse().ok()).expect("a position");
        assert!(reached >= position.parse().expect("a position"));
    }
    let path = "/prisoners/A0000AA/responsibility";
    let at_least = async |position: &str| {
        ledger.client().send(Method::GET, path, &[("Ledger-Position-At-Least", position)], None).await
    };
    let never = at_least("1000000").await;
    assert_refused(&never, 503, "views-behind");
    assert!(never.header("retry-after").is_some());
    assert_refused(&at_least("soon").await, 400, "header-invalid");

    let projections = ask(&ledger, "/projections").await;
    for projection in assert_ok(&projections).as_array().expect("a list") {
        assert_eq!(projection["position"], ledger.event_count().await);
        assert_eq!((&projection["lagEvents"], &projection["lagSeconds"]), (&json!(0), &json!(0.0)));
        assert_eq!(projection["state"], "CURRENT");
    }
}

#[tokio::test]
async fn an_unchanged_answer_is_not_sent_again() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    for path in
        ["/prisoners/A1234BC/responsibility", "/prisoners/A1234BC/history", "/prisons/LEI/cases", "/prisons/LEI/poms"]
    {
        let first = ask(&ledger, path).await;
        let tag = first.header("etag").expect("a tag").to_owned();
        // An unrelated change in between.
        ledger.register_pom(PRISON, 600_000 + i64::try_from(path.len()).expect("small"), "New, Pom", "PRISON").await;
        let head = ledger.event_count().await.to_string();
        let headers = [("If-None-Match", tag.as_str()), ("Ledger-Position-At-Least", head.as_str())];
        let again = ledger.client().send(Method::GET, path, &headers, None).await;
        if path.ends_with("/poms") {
            assert_eq!(again.status, 200, "it has changed");
        } else {
            assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{path}");
            assert_eq!(again.header("etag"), Some(tag.as_str()));
        }
        assert_eq!(again.header("cache-control"), Some("no-store"));
    }
    let before = ask(&ledger, "/prisoners/A1234BC/responsibility").await;
    record(&ledger, "POST /prisoners/A1234BC/tier", json!({"tier": "D"})).await;
    let after = ask(&ledger, "/prisoners/A1234BC/responsibility").await;
    assert_ne!(before.header("etag"), after.header("etag"));
}

#[tokio::test]
async fn a_page_is_sent_again_once_another_follows_it() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A0001AA", SHAH).await;
    let tier = |tier| json!({"tier": tier, "source": "DELIUS", "prison": "MDI"});
    record(&ledger, "POST /prisoners/A0003AA/tier", tier("C1")).await;
    let paths = ["/prisons/LEI/cases?limit=1", "/poms/485928/cases?limit=1", "/prisoners/A0003AA/history?limit=1"];
    let mut last_pages = Vec::new();
    for path in paths {
        let last = ask(&ledger, path).await;
        assert_ok(&last);
        assert_eq!(next_page(&last), None, "{path}");
        last_pages.push(last);
    }
    ledger.case("A0002AA", SHAH).await;
    record(&ledger, "POST /prisoners/A0003AA/tier", tier("D")).await;
    let head = ledger.event_count().await.to_string();
    for (path, last) in paths.iter().zip(&last_pages) {
        let tag = last.header("etag").expect("a tag");
        let headers = [("If-None-Match", tag), ("Ledger-Position-At-Least", head.as_str())];
        let again = ledger.client().send(Method::GET, path, &headers, None).await;
        assert_eq!((again.status.as_u16(), &again.body), (200, &last.body), "{path}");
        assert!(next_page(&again).is_some(), "{path}");
    }
}
