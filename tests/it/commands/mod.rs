//! Commands over HTTP, against the real program and a real Postgres: what they record, what they refuse, and that they
//! do nothing twice.

mod policies;

use std::collections::HashSet;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Answer, eventually,
    ledger::{BYRNE, Ledger, NOVAK, OKAFOR, PRISON, SHAH, recorded, refused, types},
    topology::is_of_the_log_in_postgres,
};

fn key() -> String {
    Uuid::new_v4().to_string()
}

/// Sends a command, checks what it recorded and how it is answered; sends it again and gets the same answer; sends
/// another body with the same key and is refused.
#[track_caller]
fn check<'a>(
    ledger: &'a Ledger,
    request: &'a str,
    body: Value,
    recorded: &'a [&'a str],
) -> impl Future<Output = Answer> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let method: Method = method.parse().expect("a method");
        let key = key();
        let answer = ledger.send(method.clone(), path, &key, &body).await;
        assert_eq!(answer.status, 201, "{caller}: {}", answer.text);
        assert_eq!(types(&answer), recorded, "{caller}");
        let last = answer.body["events"].as_array().and_then(|events| events.last()).expect("an event");
        assert_eq!(answer.header("etag"), Some(format!("\"{}\"", last["revision"]).as_str()), "{caller}");
        assert_eq!(answer.header("ledger-position"), Some(last["position"].to_string().as_str()), "{caller}");
        assert_eq!(answer.header("idempotency-key"), Some(key.as_str()), "{caller}");
        if let Some(number) = last["stream"].as_str().and_then(|stream| stream.strip_prefix("prisoner-")) {
            let location = format!("/prisoners/{number}/history/{}", last["revision"]);
            assert_eq!(answer.header("location"), Some(location.as_str()), "{caller}");
        }

        let again = ledger.send(method.clone(), path, &key, &body).await;
        assert_eq!((again.status.as_u16(), &again.text), (200, &answer.text), "{caller}");
        assert_eq!(again.header("etag"), answer.header("etag"), "{caller}");
        assert_eq!(again.header("ledger-position"), answer.header("ledger-position"), "{caller}");

        let mut other = body;
        other["effectiveAt"] = json!("2026-06-30T12:00:00Z");
        let reused = ledger.send(method, path, &key, &other).await;
        refused(&reused, 422, "idempotency-key-reused");
        answer
    }
}

#[tokio::test]
async fn every_command_is_recorded_once() {
    let ledger = Ledger::empty().await;
    let at = |day: &str, mut body: Value| {
        body["effectiveAt"] = json!(format!("{day}T09:00:00Z"));
        body
    };
    let joined = json!({"goLiveDate": "2019-03-01", "estate": "MENS_CLOSED"});
    check(&ledger, "POST /prisons/LEI/onboarding", at("2019-01-01", joined.clone()), &["PrisonJoinedOmic"]).await;
    let pom = json!({"staffId": 1, "name": "Okafor, Grace", "kind": "PROBATION", "email": "g@example.org"});
    let answer = check(&ledger, "POST /prisons/LEI/poms", at("2019-01-02", pom), &["PomRegistered"]).await;
    assert_eq!(answer.body["events"][0]["data"]["workingPattern"], json!(1.0));
    assert_eq!(answer.header("location"), Some("/prisons/LEI/poms"));
    for staff_id in [2, 3] {
        let pom = json!({"staffId": staff_id, "name": "Shah, Priya", "kind": "PRISON", "workingPattern": 0.6});
        check(&ledger, "POST /prisons/LEI/poms", at("2019-01-02", pom), &["PomRegistered"]).await;
    }
    let change = at("2019-01-03", json!({"name": "Okafor-Lee, Grace", "workingPattern": 0.8}));
    check(&ledger, "PATCH /prisons/LEI/poms/1", change, &["PomDetailsChanged"]).await;
    let status = json!({"status": "UNAVAILABLE", "returnsOn": "2030-01-01", "reason": "Leave"});
    check(&ledger, "PUT /prisons/LEI/poms/3/status", at("2019-01-04", status), &["PomStatusChanged"]).await;
    let status = at("2019-01-05", json!({"status": "ACTIVE"}));
    check(&ledger, "PUT /prisons/LEI/poms/3/status", status, &["PomStatusChanged"]).await;
    let contact = json!({"prisonerNumber": "A1234BC", "name": "Shah, Priya", "contactType": "POM"});
    let contact = at("2019-01-06", contact);
    let answer = check(&ledger, "POST /prisons/LEI/nomis-contacts", contact, &["NomisContactFound"]).await;
    let id = answer.body["events"][0]["data"]["contactId"].as_str().expect("an id").to_owned();
    let removal = format!("POST /prisons/LEI/nomis-contacts/{id}/removal");
    check(&ledger, &removal, json!({}), &["NomisContactRemovalConfirmed"]).await;

    let tier = json!({"tier": "B2", "roshLevel": "HIGH", "source": "DELIUS", "crn": "X123456", "prison": "LEI"});
    check(&ledger, "POST /prisoners/A1234BC/tier", at("2026-01-01", tier), &["TierAssigned"]).await;
    let allocation = json!({
        "prison": "LEI", "pom": {"staffId": 2}, "overrideReasons": ["SUITABILITY", "OTHER"],
        "suitabilityDetail": "Known well", "overrideDetail": "Wing move", "note": "Please see today",
    });
    let allocation = at("2026-01-02", allocation);
    let answer = check(&ledger, "POST /prisoners/A1234BC/allocations", allocation, &["AllocationMade"]).await;
    let data = &answer.body["events"][0]["data"];
    assert_eq!((&data["recommendedPomKind"], &data["tier"]), (&json!("PROBATION"), &json!("B2")));
    let coworker = at("2026-01-03", json!({"prison": "LEI", "pom": {"staffId": 1}}));
    check(&ledger, "POST /prisoners/A1234BC/co-workers", coworker, &["CoworkerAllocated"]).await;
    let coworker = at("2026-01-04", json!({"prison": "LEI", "pom": {"staffId": 3}}));
    check(&ledger, "POST /prisoners/A1234BC/co-workers", coworker, &["CoworkerReallocated"]).await;
    let nothing = at("2026-01-05", json!({}));
    check(&ledger, "DELETE /prisoners/A1234BC/co-workers/current", nothing, &["CoworkerDeallocated"]).await;
    let reallocation = at("2026-01-06", json!({"prison": "LEI", "pom": {"staffId": 1}, "reason": "Wing move"}));
    check(&ledger, "POST /prisoners/A1234BC/reallocations", reallocation, &["Reallocated"]).await;
    let manager = json!({"name": "Lee, Sam", "email": "s@example.org", "team": "Leeds North", "ldu": "Leeds"});
    let manager = at("2026-01-07", manager);
    check(&ledger, "PUT /prisoners/A1234BC/community-manager", manager, &["CommunityManagerAssigned"]).await;
    let nothing = at("2026-01-08", json!({}));
    check(&ledger, "DELETE /prisoners/A1234BC/community-manager", nothing, &["CommunityManagerRemoved"]).await;
    let facts = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01",
        "conditionalReleaseDate": "2027-01-01", "mappaLevel": null});
    let facts = at("2026-01-09", facts);
    let answer = check(&ledger, "POST /prisoners/A1234BC/handover-plans", facts, &["HandoverPlanned"]).await;
    let data = &answer.body["events"][0]["data"];
    assert_eq!(
        json!([data["startDate"], data["handoverDate"], data["reason"], data["earliestRelease"]]),
        json!(["2026-04-17", "2026-04-17", "determinate", {"name": "CRD", "date": "2027-01-01"}]),
    );
    let decision = at("2026-01-10", json!({"responsible": "PROBATION", "reason": "OTHER", "detail": "Agreed"}));
    check(&ledger, "PUT /prisoners/A1234BC/responsibility-override", decision, &["ResponsibilityOverridden"]).await;
    let nothing = at("2026-01-11", json!({}));
    let removal = "DELETE /prisoners/A1234BC/responsibility-override";
    check(&ledger, removal, nothing, &["ResponsibilityOverrideRemoved"]).await;
    let manual = at("2026-01-12", json!({"trigger": "MANUAL"}));
    check(&ledger, "POST /prisoners/A1234BC/deallocations", manual, &["Deallocated"]).await;
    let transfer = at("2026-01-13", json!({"toPrison": "MDI"}));
    check(&ledger, "POST /prisoners/A1234BC/transfers", transfer, &["Deallocated"]).await;
    let release = at("2026-01-14", json!({"prison": "MDI"}));
    let answer = check(&ledger, "POST /prisoners/A1234BC/releases", release, &["Deallocated"]).await;
    let revision = &answer.body["events"][0]["revision"];
    let void = json!({"revision": revision, "reason": "Another person"});
    check(&ledger, "POST /prisoners/A1234BC/voids", void, &["EntryVoided"]).await;
    let outside = json!({"trigger": "LEGAL_STATUS_CHANGED"});
    check(&ledger, "POST /prisoners/A1234BC/deallocations", outside, &["Deallocated"]).await;
    let merge = json!({"removedNumber": "A9999ZZ"});
    let merged = ["PrisonerNumberRetired", "PrisonerNumberMerged"];
    check(&ledger, "POST /prisoners/A1234BC/merges", merge, &merged).await;
}

#[tokio::test]
async fn a_key_is_for_one_request_of_one_case() {
    let ledger = Ledger::start().await;
    let (key, body) = (key(), json!({"tier": "A"}));
    recorded(&ledger.send(Method::POST, "/prisoners/A1234BC/tier", &key, &body).await);
    refused(&ledger.send(Method::POST, "/prisoners/A1234BD/tier", &key, &body).await, 422, "idempotency-key-reused");
    let manager = json!({"name": "Lee, Sam"});
    let path = "/prisoners/A1234BC/community-manager";
    refused(&ledger.send(Method::PUT, path, &key, &manager).await, 422, "idempotency-key-reused");
    assert_eq!(ledger.send(Method::POST, "/prisoners/A1234BC/tier", &key, &body).await.status, 200);
}

/// A key that was used for one request is refused for any other, whatever the streams of both, and nothing is recorded.
#[tokio::test]
async fn a_key_is_for_one_request_of_any_stream() {
    let ledger = Ledger::start().await;
    for number in ["A0001AA", "A0002AA", "A0003AA"] {
        ledger.case(number, SHAH).await;
    }
    let reused = async |path: &str, key: &str, body: &Value| {
        let before = ledger.event_count().await;
        let answer = ledger.send(Method::POST, path, key, body).await;
        refused(&answer, 422, "idempotency-key-reused");
        let sentence = answer.body["detail"].as_str().unwrap_or_default();
        assert!(sentence.contains(key), "{sentence} names another key than {key}");
        assert_eq!(ledger.event_count().await, before, "{path}: nothing is recorded");
    };
    let tier = json!({"tier": "A"});
    let bulk = |numbers: Value| {
        let mut body = json!({"fromStaffId": SHAH, "toStaffId": NOVAK, "reason": "Leaving"});
        body["prisonerNumbers"] = numbers;
        body
    };
    let first_allocation = |number: &str| {
        let tier = "D";
        json!({"nomis_staff_id": NOVAK, "nomis_offender_id": number, "allocated_at_tier": tier, "prison": "LEI"})
    };

    let roster = key();
    let pom = json!({"staffId": 7, "name": "New, Ann", "kind": "PRISON"});
    recorded(&ledger.send(Method::POST, "/prisons/LEI/poms", &roster, &pom).await);
    reused("/prisoners/A0001AA/tier", &roster, &tier).await;
    reused("/prisons/LEI/reallocations", &roster, &bulk(json!(["A0001AA"]))).await;
    reused("/allocation", &roster, &first_allocation("A0001AA")).await;
    reused("/prisoners/A0001AA/merges", &roster, &json!({"removedNumber": "A0002AA"})).await;

    let moved = key();
    let answer = ledger.send(Method::POST, "/prisons/LEI/reallocations", &moved, &bulk(json!(["A0001AA"]))).await;
    assert_eq!(answer.body["accepted"].as_array().map(Vec::len), Some(1), "{}", answer.text);
    reused("/prisons/LEI/reallocations", &moved, &bulk(json!(["A0002AA"]))).await;
    reused("/prisons/LEI/reallocations", &moved, &bulk(Value::Null)).await;
    reused("/prisons/MDI/reallocations", &moved, &bulk(json!(["A0001AA"]))).await;
    reused("/prisoners/A0002AA/tier", &moved, &tier).await;

    let allocated = key();
    let answer = ledger.send(Method::POST, "/allocation", &allocated, &first_allocation("A0002AA")).await;
    assert_eq!(answer.body["status"], json!("ok"), "{}", answer.text);
    reused("/allocation", &allocated, &first_allocation("A0003AA")).await;
    let mut other = first_allocation("A0002AA");
    other["note"] = json!("Hello");
    reused("/allocation", &allocated, &other).await;
    let again = ledger.send(Method::POST, "/allocation", &allocated, &first_allocation("A0002AA")).await;
    assert_eq!(again.text, answer.text);

    let merged = key();
    recorded(
        &ledger.send(Method::POST, "/prisoners/A0001AA/merges", &merged, &json!({"removedNumber": "A0008AA"})).await,
    );
    reused("/prisoners/A0003AA/merges", &merged, &json!({"removedNumber": "A0009AA"})).await;
    reused("/prisoners/A0003AA/tier", &merged, &tier).await;
}

#[tokio::test]
async fn an_answer_says_who_when_and_by_what() {
    let ledger = Ledger::start().await;
    let correlation_id = key();
    let headers = [
        ("X-Recorded-By", "SPO_LEEDS"),
        ("X-Correlation-Id", correlation_id.as_str()),
        ("User-Agent", "manage-poms/2.1"),
    ];
    let body = json!({"tier": "A", "effectiveAt": "2026-01-01T10:30:00.1234567+01:00"});
    let answer = ledger.client().send(Method::POST, "/prisoners/A1234BC/tier", &headers, Some(&body)).await;
    let event = &recorded(&answer).body["events"][0];
    assert_eq!(event["recordedBy"], json!({"username": "SPO_LEEDS", "client": "manage-poms"}));
    assert_eq!(event["correlationId"], json!(correlation_id));
    assert_eq!(event["effectiveAt"], json!("2026-01-01T09:30:00.123456Z"), "in UTC, to the microsecond");
    assert_eq!(event["stream"], json!("prisoner-A1234BC"));
    assert_eq!(event["revision"], json!(0));
    assert_eq!(event["schemaVersion"], json!(1));
    assert_eq!(event["data"], json!({"tier": "A", "source": "MANUAL"}));
    assert_eq!(answer.header("idempotency-key"), event["commandId"].as_str(), "made up and answered");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = ledger.client().post("/prisoners/A1234BC/tier", &json!({"tier": "B"})).await;
    let event = &recorded(&answer).body["events"][0];
    assert_eq!(event["effectiveAt"], event["recordedAt"], "without another word, from now");
}

/// `POST path body` is refused with `status code`.
#[track_caller]
fn check_refused<'a>(
    ledger: &'a Ledger,
    request: &'a str,
    body: Value,
    refusal: &'a str,
) -> impl Future<Output = Answer> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let (status, code) = refusal.split_once(' ').expect("a status and a code");
        let before = ledger.event_count().await;
        let answer = ledger.send(method.parse().expect("a method"), path, &key(), &body).await;
        let got = format!("{} {}", answer.status.as_u16(), answer.body["code"].as_str().unwrap_or_default());
        assert_eq!(got, format!("{status} {code}"), "{caller}: {}", answer.text);
        let sentence = answer.body["detail"].as_str().unwrap_or_default();
        assert!(sentence.len() > 20 && sentence.ends_with('.'), "{caller}: `{sentence}` is no sentence");
        assert_eq!(ledger.event_count().await, before, "{caller}: nothing is recorded");
        answer
    }
}

#[tokio::test]
async fn the_rules_refuse_by_code_and_sentence() {
    let ledger = Ledger::start().await;
    let to = |staff_id: i64| json!({"prison": PRISON, "pom": {"staffId": staff_id}});
    let moved_to = |staff_id: i64| json!({"prison": PRISON, "pom": {"staffId": staff_id}, "reason": "Leave"});
    let case = "/prisoners/A1234BC";
    let allocations = &format!("POST {case}/allocations");
    let reallocations = &format!("POST {case}/reallocations");
    let coworkers = &format!("POST {case}/co-workers");

    check_refused(&ledger, allocations, to(SHAH), "422 tier-unknown").await;
    ledger.tier("A1234BC").await;
    let elsewhere = json!({"prison": "MDI", "pom": {"staffId": SHAH}});
    check_refused(&ledger, allocations, elsewhere.clone(), "422 prison-not-on-omic").await;
    ledger.join_omic("MDI").await;
    check_refused(&ledger, allocations, elsewhere, "422 pom-not-registered").await;
    check_refused(&ledger, allocations, to(1), "422 pom-not-registered").await;
    ledger.status(NOVAK, "UNAVAILABLE").await;
    check_refused(&ledger, allocations, to(NOVAK), "422 pom-not-active").await;
    let early = json!({"prison": PRISON, "pom": {"staffId": SHAH}, "effectiveAt": "2018-12-31T09:00:00Z"});
    check_refused(&ledger, allocations, early, "422 prison-not-on-omic").await;
    check_refused(&ledger, allocations, to(OKAFOR), "422 override-reasons-needed").await;
    let with = |name: &str, value: Value| {
        let mut body = to(OKAFOR);
        body["overrideReasons"] = json!([name]);
        body["overrideDetail"] = value;
        body
    };
    check_refused(&ledger, allocations, with("SUITABILITY", json!("x")), "422 suitability-detail-needed").await;
    check_refused(&ledger, allocations, with("OTHER", Value::Null), "422 override-detail-needed").await;
    check_refused(&ledger, allocations, with("OTHER", json!("x".repeat(176))), "422 detail-too-long").await;
    recorded(&ledger.client().post("/prisoners/A1234BD/tier", &json!({"tier": "C"})).await);
    recorded(&ledger.client().post("/prisoners/A1234BD/allocations", &with("OTHER", json!("é".repeat(175)))).await);

    check_refused(&ledger, reallocations, moved_to(SHAH), "422 not-allocated").await;
    check_refused(&ledger, coworkers, to(SHAH), "422 not-allocated").await;
    check_refused(&ledger, &format!("DELETE {case}/co-workers/current"), json!({}), "422 no-coworker").await;
    let manual = json!({"trigger": "MANUAL"});
    check_refused(&ledger, &format!("POST {case}/deallocations"), manual, "422 not-allocated").await;

    ledger.allocate("A1234BC", SHAH).await;
    check_refused(&ledger, allocations, to(SHAH), "422 already-allocated").await;
    check_refused(&ledger, reallocations, moved_to(SHAH), "422 same-pom").await;
    let elsewhere = json!({"prison": "MDI", "pom": {"staffId": SHAH}, "reason": "Leave"});
    check_refused(&ledger, reallocations, elsewhere, "422 case-at-another-prison").await;
    check_refused(&ledger, coworkers, to(SHAH), "422 pom-is-primary").await;
    recorded(&ledger.client().post(&format!("{case}/co-workers"), &to(OKAFOR)).await);
    let mut body = moved_to(OKAFOR);
    body["overrideReasons"] = json!(["CONTINUITY"]);
    check_refused(&ledger, reallocations, body, "422 pom-is-coworker").await;

    let removal = format!("DELETE {case}/community-manager");
    check_refused(&ledger, &removal, json!({}), "422 no-community-manager").await;
    let removal = format!("DELETE {case}/responsibility-override");
    check_refused(&ledger, &removal, json!({}), "422 no-responsibility-override").await;
    let other = json!({"responsible": "PRISON", "reason": "OTHER", "detail": " "});
    let decision = format!("PUT {case}/responsibility-override");
    check_refused(&ledger, &decision, other, "422 override-detail-needed").await;
    let facts = json!({"indeterminate": false, "conditionalReleaseDate": "2040-01-01"});
    check_refused(&ledger, &format!("POST {case}/handover-plans"), facts, "422 sentence-start-unknown").await;
    let held = json!({"prison": "MDI"});
    check_refused(&ledger, &format!("POST {case}/releases"), held, "422 case-at-another-prison").await;
    let here = json!({"toPrison": PRISON});
    check_refused(&ledger, &format!("POST {case}/transfers"), here, "422 nothing-changed").await;
    check_refused(&ledger, "POST /prisoners/Z9999ZZ/releases", json!({}), "404 prisoner-unknown").await;
    let away = json!({"toPrison": "MDI"});
    check_refused(&ledger, "POST /prisoners/Z9999ZZ/transfers", away, "404 prisoner-unknown").await;
    let voids = &format!("POST {case}/voids");
    check_refused(&ledger, voids, json!({"revision": 99, "reason": "x"}), "422 entry-unknown").await;
    let late = json!({"tier": "A", "effectiveAt": "2199-01-01T00:00:00Z"});
    check_refused(&ledger, &format!("POST {case}/tier"), late, "422 effective-time-in-future").await;

    let onboarding = json!({"goLiveDate": "2019-01-01", "estate": "WOMENS"});
    check_refused(&ledger, "POST /prisons/LEI/onboarding", onboarding, "422 already-on-omic").await;
    let pom = json!({"staffId": SHAH, "name": "Shah, Priya", "kind": "PRISON"});
    check_refused(&ledger, "POST /prisons/LEI/poms", pom, "422 pom-already-registered").await;
    let same = json!({"name": "Shah, Priya"});
    check_refused(&ledger, &format!("PATCH /prisons/LEI/poms/{SHAH}"), same, "422 nothing-changed").await;
    check_refused(&ledger, "PATCH /prisons/LEI/poms/1", json!({"name": "X"}), "422 pom-not-registered").await;
    let active = json!({"status": "ACTIVE"});
    check_refused(&ledger, &format!("PUT /prisons/LEI/poms/{SHAH}/status"), active, "422 nothing-changed").await;
    let contact = json!({"prisonerNumber": "A1234BC", "contactType": "POM"});
    check_refused(&ledger, "POST /prisons/LEI/nomis-contacts", contact, "422 contact-without-person").await;
    let contact = json!({"prisonerNumber": "A1234BC", "contactType": "POM", "staffId": 5});
    recorded(&ledger.client().post("/prisons/LEI/nomis-contacts", &contact).await);
    check_refused(&ledger, "POST /prisons/LEI/nomis-contacts", contact, "422 nomis-contact-known").await;
    let removal = format!("POST /prisons/LEI/nomis-contacts/{}/removal", key());
    check_refused(&ledger, &removal, json!({}), "422 nomis-contact-unknown").await;
}

/// Sends a body as it stands; answers what is refused with its code and, for a field, its pointer.
async fn raw(ledger: &Ledger, path: &str, content_type: Option<&str>, body: impl Into<String>) -> Answer {
    let url = format!("{}{path}", ledger.client().base_url());
    let mut request = reqwest::Client::new().post(url).body(body.into());
    if let Some(content_type) = content_type {
        request = request.header("Content-Type", content_type);
    }
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a body");
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_place() {
    let ledger = Ledger::start().await;
    let before = ledger.event_count().await;
    for (path, body, status, code, pointer) in [
        ("/prisoners/A1234BC/tier", "{", 400, "json-malformed", None),
        ("/prisoners/A1234BC/tier", r#"{"tier":"A"} x"#, 400, "json-malformed", None),
        ("/prisoners/A1234BC/tier", "[]", 400, "field-invalid", Some("#")),
        ("/prisoners/A1234BC/tier", r#"["B","HIGH","DELIUS",null,null,null]"#, 400, "field-invalid", Some("#")),
        ("/prisoners/A1234BC/handover-plans", "[false]", 400, "field-invalid", Some("#")),
        ("/allocation", r#"[485928,"A1234BC",1,"A","LEI","x",null,null,null]"#, 400, "field-invalid", Some("#")),
        ("/allocation", r#"{"allocation":[485928,"A1234BC",1,"A","LEI"]}"#, 400, "field-invalid", Some("#")),
        ("/prisoners/A1234BC/allocations", r#"{"prison":"LEI","pom":[485928]}"#, 400, "field-invalid", Some("#/pom")),
        (
            "/prisoners/A1234BC/allocations",
            r#"{"prison":"LEI","pom":{"staffId":485928},"note":"a\u0000b"}"#,
            400,
            "field-invalid",
            Some("#/note"),
        ),
        (
            "/prisons/LEI/poms",
            r#"{"staffId":5,"name":"X\u0000, Y","kind":"PRISON"}"#,
            400,
            "field-invalid",
            Some("#/name"),
        ),
        ("/prisons/LEI/poms", r#"{"staffId":5,"name":"X\nY","kind":"PRISON"}"#, 400, "field-invalid", Some("#/name")),
        ("/prisoners/A1234BC/voids", r#"{"revision":0,"reason":"a\u001bb"}"#, 400, "field-invalid", Some("#/reason")),
        ("/prisoners/A1234BC/tier", "", 400, "field-missing", Some("#/tier")),
        ("/prisoners/A1234BC/tier", "{}", 400, "field-missing", Some("#/tier")),
        ("/prisoners/A1234BC/tier", r#"{"tier":"A","teir":"B"}"#, 400, "field-unknown", Some("#/teir")),
        ("/prisoners/A1234BC/tier", r#"{"tier":"H"}"#, 400, "identifier-invalid", Some("#/tier")),
        ("/prisoners/A1234BC/tier", r#"{"tier":"A","roshLevel":"EXTREME"}"#, 400, "field-invalid", Some("#/roshLevel")),
        ("/prisoners/A1234BC/tier", r#"{"tier":"A","crn":"x123456"}"#, 400, "identifier-invalid", Some("#/crn")),
        ("/prisoners/A1234BC/tier", r#"{"tier":"A","tier":"B"}"#, 400, "field-invalid", Some("#")),
        (
            "/prisoners/A1234BC/tier",
            r#"{"tier":"A","effectiveAt":"2026-02-30T00:00:00Z"}"#,
            400,
            "date-invalid",
            Some("#/effectiveAt"),
        ),
        ("/prisoners/A1234BC/tier", r#"{"tier":"A","effectiveAt":5}"#, 400, "field-invalid", Some("#/effectiveAt")),
        ("/prisoners/a1234bc/tier", r#"{"tier":"A"}"#, 400, "identifier-invalid", None),
        (
            "/prisons/Leeds/onboarding",
            r#"{"goLiveDate":"2019-01-01","estate":"WOMENS"}"#,
            400,
            "identifier-invalid",
            None,
        ),
        (
            "/prisons/MDI/onboarding",
            r#"{"goLiveDate":"2019-02-29","estate":"WOMENS"}"#,
            400,
            "date-invalid",
            Some("#/goLiveDate"),
        ),
        (
            "/prisoners/A1234BC/allocations",
            r#"{"prison":"LEI","pom":{"staffId":-1}}"#,
            400,
            "identifier-invalid",
            Some("#/pom/staffId"),
        ),
        (
            "/prisoners/A1234BC/allocations",
            r#"{"prison":"LEI","pom":{"staffId":1,"name":"x"}}"#,
            400,
            "field-unknown",
            Some("#/pom/name"),
        ),
        (
            "/prisoners/A1234BC/allocations",
            r#"{"prison":"LEI","pom":{"staffId":1},"overrideReasons":["NO_STAFF","WHIM"]}"#,
            400,
            "field-invalid",
            Some("#/overrideReasons/1"),
        ),
        ("/prisons/LEI/poms", r#"{"staffId":5,"name":"  ","kind":"PRISON"}"#, 400, "field-invalid", Some("#/name")),
        (
            "/prisons/LEI/poms",
            r#"{"staffId":5,"name":"X","kind":"PRISON","workingPattern":1.5}"#,
            400,
            "identifier-invalid",
            Some("#/workingPattern"),
        ),
        (
            "/prisoners/A1234BC/handover-plans",
            r#"{"indeterminate":false,"mappaLevel":4}"#,
            400,
            "field-invalid",
            Some("#/mappaLevel"),
        ),
        (
            "/prisoners/A1234BC/handover-plans",
            r#"{"indeterminate":false,"paroleDate":"2026-01-01"}"#,
            400,
            "field-unknown",
            Some("#/paroleDate"),
        ),
        ("/prisoners/A1234BC/deallocations", r#"{"trigger":"RELEASED"}"#, 400, "field-invalid", Some("#/trigger")),
        (
            "/prisons/LEI/reallocations",
            r#"{"fromStaffId":1,"toStaffId":2,"reason":"x","prisonerNumbers":["A1234BC","B"]}"#,
            400,
            "identifier-invalid",
            Some("#/prisonerNumbers/1"),
        ),
    ] {
        let answer = raw(&ledger, path, Some("application/json"), body).await;
        let got = (answer.status.as_u16(), answer.body["code"].as_str(), answer.body["errors"][0]["pointer"].as_str());
        assert_eq!(got, (status, Some(code), pointer), "{path} {body}: {}", answer.text);
    }
    let removal = "/prisoners/A1234BC/community-manager";
    let answer = ledger.client().send(Method::DELETE, removal, &[], Some(&json!([null]))).await;
    refused(&answer, 400, "field-invalid");
    let answer =
        raw(&ledger, "/prisoners/A1234BC/tier", Some("application/json"), r#"{"tier":"A","source":"X"}"#).await;
    let sentence = answer.body["detail"].as_str().unwrap_or_default();
    assert!(sentence.contains("DELIUS") && !sentence.contains("variant"), "{sentence}");
    let tier = "/prisoners/A1234BC/tier";
    refused(&raw(&ledger, tier, Some("text/plain"), r#"{"tier":"A"}"#).await, 415, "content-type-unsupported");
    refused(&raw(&ledger, tier, None, r#"{"tier":"A"}"#).await, 415, "content-type-unsupported");
    let oversize = format!(r#"{{"tier":"A","crn":"{}"}}"#, "x".repeat(3 * 1024 * 1024));
    refused(&raw(&ledger, tier, Some("application/json"), oversize).await, 413, "body-too-large");
    let headers = [
        ("Idempotency-Key", "seven"),
        ("If-Match", "3"),
        ("If-Match", "W/\"3\""),
        ("X-Correlation-Id", "x"),
        ("X-Recorded-By", "grace okafor"),
    ];
    for (name, value) in headers {
        let answer = ledger.client().send(Method::POST, tier, &[(name, value)], Some(&json!({"tier": "A"}))).await;
        refused(&answer, 400, "header-invalid");
        assert_eq!(answer.body["errors"][0]["header"], json!(name.to_lowercase()));
    }
    assert_eq!(ledger.event_count().await, before, "nothing is recorded");
}

#[tokio::test]
async fn a_revision_can_be_insisted_on() {
    let ledger = Ledger::start().await;
    let tier = async |if_match: &str, key: &str| {
        let headers = [("If-Match", if_match), ("Idempotency-Key", key)];
        ledger.client().send(Method::POST, "/prisoners/A1234BC/tier", &headers, Some(&json!({"tier": "A"}))).await
    };
    refused(&tier("\"0\"", &key()).await, 412, "revision-mismatch");
    ledger.tier("A1234BC").await;
    let first = key();
    assert_eq!(recorded(&tier("\"0\"", &first).await).header("etag"), Some("\"1\""));
    assert_eq!(tier("\"0\"", &first).await.status, 200, "a repeat is recognised before the revision is looked at");
    refused(&tier("\"0\"", &key()).await, 412, "revision-mismatch");
    refused(&tier("\"7\"", &key()).await, 412, "revision-mismatch");
    let keys: Vec<_> = (0..20).map(|_| key()).collect();
    let answers = join_all(keys.iter().map(|key| tier("\"1\"", key))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 412).count(), 19);
}

#[tokio::test]
async fn the_same_command_sent_at_once_is_recorded_once() {
    let ledger = Ledger::start().await;
    let other = crate::support::ledger::serve(&ledger.database).await;
    let key = key();
    let headers = [("Idempotency-Key", key.as_str())];
    let body = json!({"tier": "B1", "source": "DELIUS"});
    let clients = [ledger.client(), other.client()];
    let answers = join_all(
        (0..20).map(|index| clients[index % 2].send(Method::POST, "/prisoners/A1234BC/tier", &headers, Some(&body))),
    )
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.status.is_success()), "{answers:?}");
    let bodies: HashSet<_> = answers.iter().map(|answer| answer.text.as_str()).collect();
    assert_eq!(bodies.len(), 1, "all get the same answer");
    assert_eq!(ledger.types("A1234BC").await, ["TierAssigned"]);

    // Different commands at once all find their place.
    let tiers = ["A", "B", "C", "D", "E", "F", "G", "A1", "B1", "C1", "D1", "E1", "F1", "G1", "A2", "B2"];
    let bodies: Vec<_> = tiers.iter().map(|tier| json!({ "tier": tier })).collect();
    let answers = join_all(
        bodies
            .iter()
            .enumerate()
            .map(|(index, body)| clients[index % 2].send(Method::POST, "/prisoners/A1234BD/tier", &[], Some(body))),
    )
    .await;
    for answer in &answers {
        recorded(answer);
    }
    assert_eq!(ledger.types("A1234BD").await.len(), tiers.len());
}

#[tokio::test]
async fn what_another_server_recorded_is_not_refused_for_not_being_known_here() {
    let ledger = Ledger::start().await;
    let other = crate::support::ledger::serve(&ledger.database).await;
    // The first server learns of the case, the prison and its roster …
    ledger.tier("A1234BC").await;
    let to_new = json!({"prison": PRISON, "pom": {"staffId": 7}});
    refused(&ledger.client().post("/prisoners/A1234BC/allocations", &to_new).await, 422, "pom-not-registered");
    let to_known = json!({"prison": PRISON, "pom": {"staffId": SHAH}});
    refused(&ledger.client().post("/prisoners/A1234BD/allocations", &to_known).await, 422, "tier-unknown");
    // … and the second one changes them.
    let pom = json!({"staffId": 7, "name": "New, Ann", "kind": "PRISON"});
    recorded(&other.client().post("/prisons/LEI/poms", &pom).await);
    recorded(&other.client().post("/prisoners/A1234BD/tier", &json!({"tier": "D"})).await);
    recorded(&ledger.client().post("/prisoners/A1234BC/allocations", &to_new).await);
    recorded(&ledger.client().post("/prisoners/A1234BD/allocations", &to_new).await);
}

#[tokio::test]
async fn a_backdated_command_fits_into_the_whole_history_or_names_what_is_in_the_way() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    let path = "/prisoners/A1234BC";
    let reallocation = json!({"prison": PRISON, "pom": {"staffId": NOVAK}, "reason": "Leave",
        "effectiveAt": "2026-03-02T09:00:00Z"});
    recorded(&ledger.client().post(&format!("{path}/reallocations"), &reallocation).await);

    let between = json!({"name": "Lee, Sam", "effectiveAt": "2026-02-15T09:00:00Z"});
    recorded(&ledger.client().put(&format!("{path}/community-manager"), &between).await);

    let before = ledger.event_count().await;
    let ended = json!({"trigger": "MANUAL", "effectiveAt": "2026-02-20T09:00:00Z"});
    let answer = ledger.client().post(&format!("{path}/deallocations"), &ended).await;
    refused(&answer, 422, "later-entry-conflict");
    assert_eq!(answer.body["laterEntry"], json!(2));
    let sentence = answer.body["detail"].as_str().unwrap_or_default();
    assert!(sentence.contains("entry 2") && sentence.contains("Reallocated"), "{sentence}");
    assert_eq!(ledger.event_count().await, before);
}

#[tokio::test]
async fn a_void_takes_an_entry_out_unless_a_later_one_rests_on_it() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    let void = async |revision: u64| {
        let body = json!({"revision": revision, "reason": "Recorded on the wrong case"});
        ledger.client().post("/prisoners/A1234BC/voids", &body).await
    };
    let answer = void(0).await;
    assert_eq!(refused(&answer, 422, "later-entry-conflict").body["laterEntry"], json!(1));
    recorded(&void(1).await);
    refused(&void(1).await, 422, "entry-already-voided");
    let answer = void(2).await;
    let sentence = refused(&answer, 422, "entry-not-voidable").body["detail"].as_str().unwrap_or_default();
    assert!(sentence.contains("is of type EntryVoided,"), "{sentence}");
    refused(&void(3).await, 422, "entry-unknown");
    ledger.allocate("A1234BC", NOVAK).await;
    assert_eq!(ledger.types("A1234BC").await, ["TierAssigned", "AllocationMade", "EntryVoided", "AllocationMade"]);
}

#[tokio::test]
async fn a_bulk_moves_case_by_case_and_nothing_twice() {
    let ledger = Ledger::start().await;
    for index in 0..20 {
        ledger.case(&format!("A{index:04}AA"), SHAH).await;
    }
    // Two that cannot move: one held by another POM, one never heard of.
    ledger.case("B0001AA", NOVAK).await;
    let path = "/prisons/LEI/reallocations";
    let first = key();
    let body = json!({
        "fromStaffId": SHAH, "toStaffId": NOVAK, "reason": "Leaving",
        "prisonerNumbers": ["A0000AA", "B0001AA", "A0001AA", "Z9999ZZ", "A0000AA"],
    });
    let answer = ledger.send(Method::POST, path, &first, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let accepted = |answer: &Answer| {
        let cases = answer.body["accepted"].as_array().cloned().unwrap_or_default();
        cases.iter().map(|case| case["prisonerNumber"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(accepted(&answer), ["A0000AA", "A0001AA"]);
    assert_eq!(answer.body["accepted"][0]["events"][0]["type"], json!("Reallocated"));
    let refused_cases: Vec<_> = answer.body["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|case| (case["prisonerNumber"].as_str(), case["code"].as_str()))
        .collect();
    assert_eq!(refused_cases, [(Some("B0001AA"), Some("pom-not-holder")), (Some("Z9999ZZ"), Some("not-allocated"))]);
    let count = ledger.event_count().await;
    assert_eq!(ledger.send(Method::POST, path, &first, &body).await.text, answer.text, "the first answer again");
    let mut other = body.clone();
    other["prisonerNumbers"] = json!(["A0000AA", "A0002AA"]);
    refused(&ledger.send(Method::POST, path, &first, &other).await, 422, "idempotency-key-reused");
    assert_eq!(ledger.event_count().await, count);

    // All that are left, without a list; the last one allocated a moment ago.
    ledger.case("B0002AA", SHAH).await;
    let all = json!({"fromStaffId": SHAH, "toStaffId": NOVAK, "reason": "Leaving"});
    let second = key();
    let answer = ledger.send(Method::POST, path, &second, &all).await;
    assert_eq!(accepted(&answer).len(), 19, "{}", answer.text);
    assert_eq!(answer.body["refused"], json!([]));
    let count = ledger.event_count().await;
    assert_eq!(ledger.send(Method::POST, path, &second, &all).await.text, answer.text);
    assert_eq!(ledger.event_count().await, count);
    // What came to the POM since, or was refused then, stays where it is.
    ledger.case("B0003AA", SHAH).await;
    assert_eq!(ledger.send(Method::POST, path, &second, &all).await.text, answer.text);
    ledger.case("Z9999ZZ", SHAH).await;
    let again = ledger.send(Method::POST, path, &first, &body).await;
    assert_eq!(again.body["refused"][1]["code"], json!("not-allocated"), "{}", again.text);
    for number in ["B0003AA", "Z9999ZZ"] {
        assert_eq!(ledger.state(number).await.primary_staff_id().map(|id| id.get()), Some(SHAH), "{number}");
        let away = json!({"prison": PRISON, "pom": {"staffId": NOVAK}, "reason": "Leaving"});
        recorded(&ledger.client().post(&format!("/prisoners/{number}/reallocations"), &away).await);
    }
    let pinned = ledger.client().send(Method::POST, path, &[("If-Match", "\"3\"")], Some(&all)).await;
    refused(&pinned, 400, "header-invalid");
    let third = ledger.send(Method::POST, path, &key(), &all).await;
    assert_eq!(third.body, json!({"accepted": [], "refused": []}), "nothing is left to move");
}

#[tokio::test]
async fn a_merge_retires_the_removed_number_and_the_survivor_takes_over() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    let coworker = json!({"prison": PRISON, "pom": {"staffId": OKAFOR}});
    recorded(&ledger.client().post("/prisoners/A0001AA/co-workers", &coworker).await);
    recorded(&ledger.client().put("/prisoners/A0001AA/community-manager", &json!({"name": "Lee, Sam"})).await);
    recorded(&ledger.client().post("/prisoners/A0002AA/tier", &json!({"tier": "A"})).await);

    let merge = json!({"removedNumber": "A0001AA"});
    let answer = ledger.client().post("/prisoners/A0002AA/merges", &merge).await;
    recorded(&answer);
    assert_eq!(types(&answer), ["CoworkerDeallocated", "Deallocated", "PrisonerNumberRetired", "PrisonerNumberMerged"]);
    let key = answer.header("idempotency-key").expect("a key").to_owned();
    let events = answer.body["events"].as_array().expect("events");
    assert!(events[..2].iter().all(|event| event["data"]["trigger"] == "MERGED"), "{}", answer.text);
    let merged = &events[3];
    assert_eq!(merged["stream"], json!("prisoner-A0002AA"));
    assert_eq!(merged["causationId"], events[2]["eventId"]);
    assert_eq!(merged["effectiveAt"], events[2]["effectiveAt"]);
    assert_eq!(merged["data"]["historyEndsAt"], events[2]["revision"]);
    assert_eq!(answer.header("location"), Some("/prisoners/A0002AA/history/1"));

    let survivor = ledger.state("A0002AA").await;
    assert_eq!(survivor.primary_staff_id().map(|id| id.get()), Some(SHAH));
    assert_eq!(survivor.coworking_staff_id().map(|id| id.get()), Some(OKAFOR));
    assert_eq!(survivor.tier.map(|tier| tier.tier.to_string()), Some("A".to_owned()), "the survivor's own stays");
    assert!(survivor.community_manager.is_some());

    let answer = ledger.client().post("/prisoners/A0001AA/tier", &json!({"tier": "B"})).await;
    assert_eq!(refused(&answer, 422, "prisoner-number-retired").body["survivor"], json!("A0002AA"));
    let count = ledger.settled().await;
    let other = json!({"removedNumber": "A0005AA"});
    let answer = ledger.send(Method::POST, "/prisoners/A0002AA/merges", &key, &other).await;
    refused(&answer, 422, "idempotency-key-reused");
    let again = ledger.client().post("/prisoners/A0002AA/merges", &merge).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(types(&again).len(), 4, "merged already: the events of the first time");
    assert_eq!(again.body["events"][3], *merged);
    assert_eq!(ledger.event_count().await, count);
}

#[tokio::test]
async fn a_merge_in_the_past_of_what_the_removed_number_holds_is_recorded_now() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    let merge = json!({"removedNumber": "A0001AA", "effectiveAt": "2026-01-10T09:00:00Z"});
    let answer = ledger.client().post("/prisoners/A0002AA/merges", &merge).await;
    assert_eq!(types(recorded(&answer)), ["Deallocated", "PrisonerNumberRetired", "PrisonerNumberMerged"]);
    let events = answer.body["events"].as_array().expect("events");
    assert_eq!(events[1]["effectiveAt"], events[1]["recordedAt"], "from now");
    assert_eq!(events[2]["effectiveAt"], events[1]["effectiveAt"]);
    assert_eq!(ledger.state("A0002AA").await.primary_staff_id().map(|id| id.get()), Some(SHAH));
}

#[tokio::test]
async fn merges_follow_chains_and_refuse_circles() {
    let ledger = Ledger::start().await;
    for number in ["A0001AA", "A0002AA", "A0003AA", "A0004AA"] {
        ledger.tier(number).await;
    }
    let merge = async |survivor: &str, removed: &str| {
        let path = format!("/prisoners/{survivor}/merges");
        ledger.client().post(&path, &json!({ "removedNumber": removed })).await
    };
    refused(&merge("A0001AA", "A0001AA").await, 422, "merge-circle");
    recorded(&merge("A0002AA", "A0001AA").await);
    refused(&merge("A0001AA", "A0002AA").await, 422, "merge-circle");
    recorded(&merge("A0003AA", "A0002AA").await);
    refused(&merge("A0001AA", "A0003AA").await, 422, "merge-circle");
    // Already there by way of another number.
    assert_eq!(merge("A0003AA", "A0001AA").await.status, 200);
    assert_eq!(merge("A0002AA", "A0001AA").await.status, 200);
    // A number that was merged elsewhere stands for where it went.
    let answer = merge("A0004AA", "A0001AA").await;
    recorded(&answer);
    assert_eq!(answer.body["events"][0]["stream"], json!("prisoner-A0003AA"));
    assert_eq!(answer.body["events"][1]["stream"], json!("prisoner-A0004AA"));
    // A survivor that was merged stands for where it went.
    let answer = merge("A0002AA", "A0009AA").await;
    recorded(&answer);
    assert_eq!(types(&answer), ["PrisonerNumberRetired", "PrisonerNumberMerged"], "of a number never heard of");
    assert_eq!(answer.body["events"][1]["stream"], json!("prisoner-A0004AA"));
    let answer = ledger.client().post("/prisoners/A0009AA/tier", &json!({"tier": "B"})).await;
    assert_eq!(refused(&answer, 422, "prisoner-number-retired").body["survivor"], json!("A0004AA"));
    let head = ledger.settled().await;
    assert_eq!(Some(&head), ledger.positions().await.last());
    let merged = ledger.events().await.iter().filter(|e| e.entry.event.type_name() == "PrisonerNumberMerged").count();
    assert_eq!(merged, 4, "each retired number is taken over once");
}

#[tokio::test]
async fn two_numbers_merged_into_each_other_at_once_make_no_circle() {
    let ledger = Ledger::start().await;
    for pair in 0..10 {
        let (one, two) = (format!("A{pair:04}AA"), format!("B{pair:04}BB"));
        ledger.tier(&one).await;
        ledger.tier(&two).await;
        let path = |number: &str| format!("/prisoners/{number}/merges");
        let (one_removed, two_removed) = (json!({ "removedNumber": one }), json!({ "removedNumber": two }));
        let (paths, client) = ([path(&one), path(&two)], ledger.client());
        let (first, second) =
            futures::join!(client.post(&paths[0], &two_removed), client.post(&paths[1], &one_removed));
        let statuses = HashSet::from([first.status.as_u16(), second.status.as_u16()]);
        assert_eq!(statuses, HashSet::from([201, 422]), "{} {}", first.text, second.text);
    }
}

#[tokio::test]
async fn the_first_allocation_api_is_answered_as_it_answered() {
    let ledger = Ledger::start().await;
    let allocation = |staff_id: i64, tier: &str| {
        json!({
            "nomis_staff_id": staff_id, "nomis_offender_id": "A1234BC", "nomis_booking_id": 1153753,
            "allocated_at_tier": tier, "prison": "LEI", "created_by": "pk000223", "note": "Hello",
            "override_reason": null, "email": "g@example.org", "something_else": true,
        })
    };
    let ok = r#"{"status":"ok","errorMessage":"","data":null}"#;
    let answer = ledger.client().post("/allocation", &allocation(SHAH, "C")).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ok));
    assert_eq!(ledger.types("A1234BC").await, ["TierAssigned", "AllocationMade"]);
    let event = ledger.case_events("A1234BC").await.pop().expect("an event");
    assert_eq!(event.entry.recorded_by.username.as_str(), "PK000223");

    let answer = ledger.client().post("/allocation", &json!({ "allocation": allocation(NOVAK, "C") })).await;
    assert_eq!(answer.text, ok);
    let answer = ledger.client().post("/allocation", &allocation(NOVAK, "C")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["status"], json!("error"));
    assert!(answer.body["errorMessage"].as_str().is_some_and(|text| text.contains("already the primary POM")));
    assert_eq!(answer.body.get("data"), None);

    // Nothing is recorded of what would be refused, not even the tier.
    let answer = ledger.client().post("/allocation", &allocation(1, "D")).await;
    assert_eq!(answer.body["status"], json!("error"), "{}", answer.text);
    let answer = ledger.client().post("/allocation", &allocation(OKAFOR, "D")).await;
    assert!(answer.body["errorMessage"].as_str().is_some_and(|text| text.contains("overrideReasons")));
    assert_eq!(ledger.types("A1234BC").await, ["TierAssigned", "AllocationMade", "Reallocated"]);

    let mut body = allocation(OKAFOR, "D");
    body["override_reason"] = json!("Only one free");
    body["nomis_staff_id"] = json!(OKAFOR.to_string());
    let key = key();
    assert_eq!(ledger.send(Method::POST, "/allocation", &key, &body).await.text, ok);
    assert_eq!(ledger.send(Method::POST, "/allocation", &key, &body).await.text, ok);
    let types = ["TierAssigned", "AllocationMade", "Reallocated", "TierAssigned", "Reallocated"];
    assert_eq!(ledger.types("A1234BC").await, types);
    // The ledger's own reasons are recorded as themselves; the note is the detail that some need.
    for (staff_id, reason, note, detail) in [
        (BYRNE, "suitability", Some("Knows the case"), json!(["SUITABILITY", "Knows the case", null])),
        (OKAFOR, "SUITABILITY", None, json!(["SUITABILITY", "SUITABILITY", null])),
        (BYRNE, "OTHER", Some("Wing move"), json!(["OTHER", null, "Wing move"])),
        (OKAFOR, "NO_STAFF", Some("Hello"), json!(["NO_STAFF", null, null])),
        (BYRNE, "Only one free", Some("Hello"), json!(["OTHER", null, "Only one free"])),
    ] {
        let mut body = allocation(staff_id, "D");
        body["override_reason"] = json!(reason);
        body["note"] = json!(note);
        assert_eq!(ledger.client().post("/allocation", &body).await.text, ok, "{reason}");
        let event = ledger.case_events("A1234BC").await.pop().expect("an event").entry.event;
        let data = &serde_json::to_value(event).expect("JSON")["data"];
        let got = json!([data["overrideReasons"][0], data["suitabilityDetail"], data["overrideDetail"]]);
        assert_eq!(got, detail, "{reason}");
    }
    let answer = ledger.client().post("/allocation", &json!({"nomis_offender_id": "A1234BC"})).await;
    refused(&answer, 400, "field-missing");
}

#[tokio::test]
async fn an_outage_of_postgres_is_a_503_and_ends_by_itself() {
    if is_of_the_log_in_postgres("its database is closed") {
        return;
    }
    let ledger = Ledger::start().await;
    ledger.tier("A1234BC").await;
    let admin = ledger.database.url.replace(&format!("/{}?", ledger.database.name), "/postgres?");
    let admin = sqlx::PgPool::connect(&admin).await.expect("the tests' server");
    let name = ledger.database.name.clone();
    let admit = async |admit: bool| {
        let statement = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {admit}");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&admin).await.expect("close or open the database");
        if !admit {
            sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1")
                .bind(&name)
                .execute(&admin)
                .await
                .expect("end its sessions");
        }
    };
    admit(false).await;
    let key = key();
    let body = json!({"tier": "B"});
    let known = ledger.send(Method::POST, "/prisoners/A1234BC/tier", &key, &body).await;
    refused(&known, 503, "event-store-unavailable");
    assert!(known.header("retry-after").is_some(), "{known:?}");
    let unknown = ledger.client().post("/prisoners/A1234BD/tier", &body).await;
    refused(&unknown, 503, "event-store-unavailable");

    admit(true).await;
    let answer = eventually("the command to be recorded", async || {
        let answer = ledger.send(Method::POST, "/prisoners/A1234BC/tier", &key, &body).await;
        answer.status.is_success().then_some(answer)
    })
    .await;
    assert_eq!(types(&answer), ["TierAssigned"]);
    assert_eq!(ledger.types("A1234BC").await, ["TierAssigned", "TierAssigned"]);
}

#[tokio::test]
async fn many_cases_at_once_are_all_recorded() {
    let ledger = Ledger::start().await;
    let numbers: Vec<_> = (0..300).map(|index| format!("C{index:04}CC")).collect();
    let bodies = join_all(numbers.iter().map(|number| async {
        ledger.tier(number).await;
        ledger.allocate(number, if number.ends_with('0') { BYRNE } else { SHAH }).await
    }));
    // Byrne is a probation POM, so those would need reasons: none of the numbers ends with a 0.
    let answers = bodies.await;
    let positions: HashSet<_> = answers.iter().map(|answer| answer.body["events"][0]["position"].to_string()).collect();
    assert_eq!(positions.len(), numbers.len());
}
