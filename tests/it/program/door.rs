//! Who may come in: hosts, pages of other sites, and how connections end.

use crate::support::{
    Program,
    builders::{metadata, now},
    database,
    ledger::{Ledger, SHAH, assert_refused},
    questions::ask,
    raw_http::{exchange, status},
};
use domain::{Event, Stream, identifier::CommandId, officer::CommunityManager, prisoner::PrisonerEvent};
use event_log::{EventLog as _, ExpectedRevision, Salt, encode};
use event_log_postgres::PostgresLog;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn only_its_own_names_lead_to_the_ledger() {
    let database = database().await;
    let stores = ["--event-store", &database.url, "--views", &database.url];
    let program = Program::serve_with(&[&stores[..], &["--host", "ledger.example,Other.example"]].concat()).await;
    let ask = async |path: &str, headers: &str| {
        exchange(program.client().base_url(), &format!("GET {path} HTTP/1.1\r\n{headers}\r\n")).await
    };
    for own in ["localhost", "127.0.0.1:8080", "[::1]:8080", "ledger.example", "OTHER.example:443"] {
        assert_eq!(status(&ask("/event-types", &format!("Host: {own}\r\n")).await), "200", "{own}");
    }
    for foreign in ["evil.example", "ledger.example.evil.example", "10.0.0.7:8080"] {
        let answer = ask("/events", &format!("Host: {foreign}\r\n")).await;
        assert_eq!(status(&answer), "421", "{answer}");
        assert!(answer.contains("host-unknown") && answer.contains("--host"), "{answer}");
        assert_eq!(status(&ask("/health/liveness", &format!("Host: {foreign}\r\n")).await), "200", "{foreign}");
    }
    for wrong in ["", "Host: localhost\r\nHost: localhost\r\n"] {
        let answer = ask("/events", wrong).await;
        assert_eq!(status(&answer), "400", "{answer}");
        assert!(answer.contains("header-invalid"), "{answer}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_records_nothing() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    let count = ledger.event_count().await;
    let release = "/prisoners/A1234BC/releases";
    let send = async |headers: &[(&str, &str)], body: Option<&serde_json::Value>| {
        ledger.client().send(Method::POST, release, headers, body).await
    };
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    for foreign in [
        &[("Origin", "http://evil.example"), form][..],
        &[("Origin", "http://evil.example")],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Host", "evil.example"), ("Origin", "http://evil.example")],
    ] {
        let answer = send(foreign, None).await;
        let expected = if foreign[0].0 == "Host" { (421, "host-unknown") } else { (403, "origin-foreign") };
        assert_refused(&answer, expected.0, expected.1);
    }
    for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"] {
        assert_refused(&send(&[("Content-Type", kind)], None).await, 415, "content-type-unsupported");
    }
    let answer = send(&[("Origin", "http://evil.example")], Some(&json!({}))).await;
    assert_refused(&answer, 403, "origin-foreign");
    assert_eq!(ledger.event_count().await, count);
    let own = ledger.client().base_url().to_owned();
    let answer = send(&[("Origin", &own), ("Sec-Fetch-Site", "same-origin")], None).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_gets_its_answer_and_its_stream_ends() {
    let ledger = Ledger::start_all_roles().await;
    let host = "Host: localhost";
    let body = json!({"tier": "A"}).to_string();
    let command = format!(
        "POST /prisoners/A1234BC/tier HTTP/1.1\r\n{host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(ledger.client().base_url(), &command).await;
    assert_eq!(status(&answer), "201", "{answer}");
    let stream = format!("GET /events HTTP/1.1\r\n{host}\r\nAccept: text/event-stream\r\n\r\n");
    let answer = exchange(ledger.client().base_url(), &stream).await;
    assert_eq!(status(&answer), "200", "{answer}");
}

#[tokio::test]
async fn a_page_of_events_is_bounded_in_bytes() {
    const EVENTS: usize = 30;
    let database = database().await;
    let program = Program::serve_with(&["--event-store", &database.url, "--views", &database.url]).await;
    let stream = Stream::Prisoner("A1234BC".parse().expect("a number"));
    let effective_at = now();
    let metadata = metadata(effective_at, "TEST", CommandId(uuid::Uuid::new_v4()));
    let team = Some("x".repeat(400_000));
    let named = Event::Prisoner(PrisonerEvent::CommunityManagerAssigned(CommunityManager {
        name: "Lee, Sam".to_owned(),
        team,
        email: None,
        ldu: None,
    }));
    let events =
        (0..EVENTS).map(|index| encode(&stream, &named, index, &metadata, effective_at, Salt::random())).collect();
    let log = PostgresLog::connect(&database.pool).await.expect("the log");
    log.append(&stream, ExpectedRevision::NoStream, events).await.expect("append");
    for path in [
        "/events?limit=1000",
        "/events?limit=1000&prisoner=A1234BC",
        "/events?limit=1000&type=CommunityManagerAssigned",
        "/prisoners/A1234BC/history?limit=1000",
    ] {
        let (mut next, mut revisions) = (Some(path.to_owned()), Vec::new());
        while let Some(page) = next {
            let answer = program.client().get(&page).await;
            assert!(answer.text.len() < 5_000_000, "{page}: {} bytes", answer.text.len());
            let events = answer.body.as_array().expect("events");
            revisions.extend(events.iter().map(|event| event["revision"].as_u64().expect("a revision")));
            let link = answer.header("link").map(str::to_owned);
            next = link.and_then(|link| Some(link.split_once('<')?.1.split_once('>')?.0.to_owned()));
        }
        assert_eq!(revisions, (0..EVENTS as u64).collect::<Vec<_>>(), "{path}");
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_what_they_may_do_with_it() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    let answer = ask(&ledger, "/prisoners/A1234BC/responsibility").await;
    let tag = answer.header("etag").expect("a tag");
    assert!(!tag.contains("A1234BC"), "{tag}");
    for path in [
        "/",
        "/docs/",
        "/openapi.json",
        "/problems/case-damaged",
        "/event-types",
        "/info",
        "/metrics",
        "/health",
        "/ping",
        "/events",
        "/prisoners/A1234BC/responsibility",
        "/prisoners/A0000AA/responsibility",
        "/nowhere",
    ] {
        let answer = ledger.client().get(path).await;
        for header in
            ["x-content-type-options", "x-frame-options", "content-security-policy", "referrer-policy", "cache-control"]
        {
            assert!(answer.header(header).is_some(), "{path}: {header}");
        }
    }
}
