//! Commands that cannot be read: bodies, media types and headers.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    commands::send_raw,
    ledger::{Ledger, assert_refused},
};

/// A body that cannot be read: the path, the body, the code of the refusal, and the pointer to the
/// place in the body, if there is one.
type UnreadableBody = (&'static str, &'static str, &'static str, Option<&'static str>);

const UNREADABLE_BODIES: &[UnreadableBody] = &[
    ("/prisoners/A1234BC/tier", "{", "json-malformed", None),
    ("/prisoners/A1234BC/tier", r#"{"tier":"A"} x"#, "json-malformed", None),
    ("/prisoners/A1234BC/tier", "[]", "field-invalid", Some("#")),
    ("/prisoners/A1234BC/tier", r#"["B","HIGH","DELIUS",null,null,null]"#, "field-invalid", Some("#")),
    ("/prisoners/A1234BC/handover-plans", "[false]", "field-invalid", Some("#")),
    ("/allocation", r#"[485928,"A1234BC",1,"A","LEI","x",null,null,null]"#, "field-invalid", Some("#")),
    ("/allocation", r#"{"allocation":[485928,"A1234BC",1,"A","LEI"]}"#, "field-invalid", Some("#")),
    ("/prisoners/A1234BC/allocations", r#"{"prison":"LEI","pom":[485928]}"#, "field-invalid", Some("#/pom")),
    (
        "/prisoners/A1234BC/allocations",
        r#"{"prison":"LEI","pom":{"staffId":485928},"note":"a\u0000b"}"#,
        "field-invalid",
        Some("#/note"),
    ),
    ("/prisons/LEI/poms", r#"{"staffId":5,"name":"X\u0000, Y","kind":"PRISON"}"#, "field-invalid", Some("#/name")),
    ("/prisons/LEI/poms", r#"{"staffId":5,"name":"X\nY","kind":"PRISON"}"#, "field-invalid", Some("#/name")),
    ("/prisoners/A1234BC/voids", r#"{"revision":0,"reason":"a\u001bb"}"#, "field-invalid", Some("#/reason")),
    ("/prisoners/A1234BC/tier", "", "field-missing", Some("#/tier")),
    ("/prisoners/A1234BC/tier", "{}", "field-missing", Some("#/tier")),
    ("/prisoners/A1234BC/tier", r#"{"tier":"A","teir":"B"}"#, "field-unknown", Some("#/teir")),
    ("/prisoners/A1234BC/tier", r#"{"tier":"H"}"#, "identifier-invalid", Some("#/tier")),
    ("/prisoners/A1234BC/tier", r#"{"tier":"A","roshLevel":"EXTREME"}"#, "field-invalid", Some("#/roshLevel")),
    ("/prisoners/A1234BC/tier", r#"{"tier":"A","crn":"x123456"}"#, "identifier-invalid", Some("#/crn")),
    ("/prisoners/A1234BC/tier", r#"{"tier":"A","tier":"B"}"#, "field-invalid", Some("#")),
    (
        "/prisoners/A1234BC/tier",
        r#"{"tier":"A","effectiveAt":"2026-02-30T00:00:00Z"}"#,
        "date-invalid",
        Some("#/effectiveAt"),
    ),
    ("/prisoners/A1234BC/tier", r#"{"tier":"A","effectiveAt":5}"#, "field-invalid", Some("#/effectiveAt")),
    ("/prisoners/a1234bc/tier", r#"{"tier":"A"}"#, "identifier-invalid", None),
    ("/prisons/Leeds/onboarding", r#"{"goLiveDate":"2019-01-01","estate":"WOMENS"}"#, "identifier-invalid", None),
    (
        "/prisons/MDI/onboarding",
        r#"{"goLiveDate":"2019-02-29","estate":"WOMENS"}"#,
        "date-invalid",
        Some("#/goLiveDate"),
    ),
    (
        "/prisoners/A1234BC/allocations",
        r#"{"prison":"LEI","pom":{"staffId":-1}}"#,
        "identifier-invalid",
        Some("#/pom/staffId"),
    ),
    (
        "/prisoners/A1234BC/allocations",
        r#"{"prison":"LEI","pom":{"staffId":1,"name":"x"}}"#,
        "field-unknown",
        Some("#/pom/name"),
    ),
    (
        "/prisoners/A1234BC/allocations",
        r#"{"prison":"LEI","pom":{"staffId":1},"overrideReasons":["NO_STAFF","WHIM"]}"#,
        "field-invalid",
        Some("#/overrideReasons/1"),
    ),
    ("/prisons/LEI/poms", r#"{"staffId":5,"name":"  ","kind":"PRISON"}"#, "field-invalid", Some("#/name")),
    (
        "/prisons/LEI/poms",
        r#"{"staffId":5,"name":"X","kind":"PRISON","workingPattern":1.5}"#,
        "identifier-invalid",
        Some("#/workingPattern"),
    ),
    (
        "/prisoners/A1234BC/handover-plans",
        r#"{"indeterminate":false,"mappaLevel":4}"#,
        "field-invalid",
        Some("#/mappaLevel"),
    ),
    (
        "/prisoners/A1234BC/handover-plans",
        r#"{"indeterminate":false,"paroleDate":"2026-01-01"}"#,
        "field-unknown",
        Some("#/paroleDate"),
    ),
    ("/prisoners/A1234BC/deallocations", r#"{"trigger":"RELEASED"}"#, "field-invalid", Some("#/trigger")),
    (
        "/prisons/LEI/reallocations",
        r#"{"fromStaffId":1,"toStaffId":2,"reason":"x","prisonerNumbers":["A1234BC","B"]}"#,
        "identifier-invalid",
        Some("#/prisonerNumbers/1"),
    ),
];

#[tokio::test]
async fn an_unreadable_body_is_refused_with_the_place_of_the_mistake() {
    let ledger = Ledger::start().await;
    let before = ledger.event_count().await;
    for (path, body, code, pointer) in UNREADABLE_BODIES {
        let answer = send_raw(&ledger, path, Some("application/json"), *body).await;
        let found = (answer.body["code"].as_str(), answer.body["errors"][0]["pointer"].as_str());
        assert_eq!((answer.status.as_u16(), found), (400, (Some(*code), *pointer)), "{path} {body}: {}", answer.text);
    }
    let removal = "/prisoners/A1234BC/community-manager";
    let answer = ledger.client().send(Method::DELETE, removal, &[], Some(&json!([null]))).await;
    assert_refused(&answer, 400, "field-invalid");
    let answer =
        send_raw(&ledger, "/prisoners/A1234BC/tier", Some("application/json"), r#"{"tier":"A","source":"X"}"#).await;
    let sentence = answer.body["detail"].as_str().unwrap_or_default();
    assert!(sentence.contains("DELIUS") && !sentence.contains("variant"), "{sentence}");
    assert_eq!(ledger.event_count().await, before, "nothing is recorded");
}

#[tokio::test]
async fn an_unsupported_type_an_oversize_body_or_a_malformed_header_is_refused() {
    let ledger = Ledger::start().await;
    let before = ledger.event_count().await;
    let tier = "/prisoners/A1234BC/tier";
    assert_refused(
        &send_raw(&ledger, tier, Some("text/plain"), r#"{"tier":"A"}"#).await,
        415,
        "content-type-unsupported",
    );
    assert_refused(&send_raw(&ledger, tier, None, r#"{"tier":"A"}"#).await, 415, "content-type-unsupported");
    let oversize = format!(r#"{{"tier":"A","crn":"{}"}}"#, "x".repeat(3 * 1024 * 1024));
    assert_refused(&send_raw(&ledger, tier, Some("application/json"), oversize).await, 413, "body-too-large");
    let headers = [
        ("Idempotency-Key", "seven"),
        ("If-Match", "3"),
        ("If-Match", "W/\"3\""),
        ("X-Correlation-Id", "x"),
        ("X-Recorded-By", "grace okafor"),
    ];
    for (name, value) in headers {
        let answer = ledger.client().send(Method::POST, tier, &[(name, value)], Some(&json!({"tier": "A"}))).await;
        assert_refused(&answer, 400, "header-invalid");
        assert_eq!(answer.body["errors"][0]["header"], json!(name.to_lowercase()));
    }
    assert_eq!(ledger.event_count().await, before, "nothing is recorded");
}
