//! Bulk reallocation of a POM's cases.

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{
    Client, HttpAnswer,
    commands::{new_key, service_on},
    controlled_log::ControlledLog,
    eventually,
    ledger::{Ledger, NOVAK, PRISON, SHAH, assert_recorded, assert_refused},
};

/// The numbers of the cases that a bulk reallocation moved.
fn list_accepted(answer: &HttpAnswer) -> Vec<String> {
    let cases = answer.body["accepted"].as_array().cloned().unwrap_or_default();
    cases.iter().map(|case| case["prisonerNumber"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_bulk_reallocation_moves_each_case_once() {
    let ledger = Ledger::start().await;
    for index in 0..20 {
        ledger.case(&format!("A{index:04}AA"), SHAH).await;
    }
    // Two cases that cannot move: another POM holds one, and the other is unknown.
    ledger.case("B0001AA", NOVAK).await;
    let path = "/prisons/LEI/reallocations";
    let first = new_key();
    let body = json!({
        "fromStaffId": SHAH, "toStaffId": NOVAK, "reason": "Leaving",
        "prisonerNumbers": ["A0000AA", "B0001AA", "A0001AA", "Z9999ZZ", "A0000AA"],
    });
    let answer = ledger.send(Method::POST, path, &first, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(list_accepted(&answer), ["A0000AA", "A0001AA"]);
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
    assert_refused(&ledger.send(Method::POST, path, &first, &other).await, 422, "idempotency-key-reused");
    assert_eq!(ledger.event_count().await, count);

    // All remaining cases, without a list. The last one was allocated a moment ago.
    ledger.case("B0002AA", SHAH).await;
    let all = json!({"fromStaffId": SHAH, "toStaffId": NOVAK, "reason": "Leaving"});
    let second = new_key();
    let answer = ledger.send(Method::POST, path, &second, &all).await;
    assert_eq!(list_accepted(&answer).len(), 19, "{}", answer.text);
    assert_eq!(answer.body["refused"], json!([]));
    let count = ledger.event_count().await;
    assert_eq!(ledger.send(Method::POST, path, &second, &all).await.text, answer.text);
    assert_eq!(ledger.event_count().await, count);
    // The repeat moves no case that came to the POM since or was refused then.
    ledger.case("B0003AA", SHAH).await;
    assert_eq!(ledger.send(Method::POST, path, &second, &all).await.text, answer.text);
    ledger.case("Z9999ZZ", SHAH).await;
    let again = ledger.send(Method::POST, path, &first, &body).await;
    assert_eq!(again.body["refused"][1]["code"], json!("not-allocated"), "{}", again.text);
    for number in ["B0003AA", "Z9999ZZ"] {
        assert_eq!(ledger.state(number).await.primary_staff_id().map(|id| id.get()), Some(SHAH), "{number}");
        let away = json!({"prison": PRISON, "pom": {"staffId": NOVAK}, "reason": "Leaving"});
        assert_recorded(&ledger.client().post(&format!("/prisoners/{number}/reallocations"), &away).await);
    }
    let pinned = ledger.client().send(Method::POST, path, &[("If-Match", "\"3\"")], Some(&all)).await;
    assert_refused(&pinned, 400, "header-invalid");
}

/// The event store answers no append before many of them are in flight.
#[tokio::test]
async fn the_cases_of_a_bulk_move_many_at_a_time() {
    let ledger = Ledger::start().await;
    let numbers: Vec<String> = (0..100).map(|index| format!("A{index:04}AA")).collect();
    join_all(numbers.iter().map(|number| ledger.case(number, SHAH))).await;
    let log = ControlledLog::new(&ledger.log().await);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = Client::new(&format!("http://{}", listener.local_addr().expect("an address")));
    let router = command::router(service_on(log.shared())).unguarded();
    tokio::spawn(async { axum::serve(listener, router).await });

    log.let_appends_wait(true);
    let body = json!({
        "fromStaffId": SHAH, "toStaffId": NOVAK, "reason": "Leaving", "prisonerNumbers": numbers,
    });
    let moving = tokio::spawn(async move { client.post("/prisons/LEI/reallocations", &body).await });
    eventually("many moves in flight", async || (log.waiting_appends() > 48).then_some(())).await;
    log.let_appends_wait(false);
    let answer = moving.await.expect("a task");
    assert_eq!(list_accepted(&answer), numbers, "{}", answer.text);
}

#[tokio::test]
async fn a_bulk_that_moved_nothing_has_spent_its_key() {
    let ledger = Ledger::start().await;
    let path = "/prisons/LEI/reallocations";
    let all = json!({"fromStaffId": SHAH, "toStaffId": NOVAK, "reason": "Leaving"});
    let listed = json!({"fromStaffId": SHAH, "toStaffId": NOVAK, "reason": "Leaving", "prisonerNumbers": ["A0001AA"]});
    ledger.case("A0001AA", NOVAK).await;
    for (body, refused) in [(all, 0), (listed, 1)] {
        let key = new_key();
        let answer = ledger.send(Method::POST, path, &key, &body).await;
        assert_eq!(answer.body["accepted"], json!([]), "{}", answer.text);
        assert_eq!(answer.body["refused"].as_array().map(Vec::len), Some(refused), "{}", answer.text);
        // The POM gets a case that the bulk would move now.
        let to = |pom: i64| json!({"prison": PRISON, "pom": {"staffId": pom}, "reason": "Back"});
        assert_recorded(&ledger.client().post("/prisoners/A0001AA/reallocations", &to(SHAH)).await);
        let count = ledger.event_count().await;
        assert_eq!(ledger.send(Method::POST, path, &key, &body).await.text, answer.text, "{body}");
        assert_refused(
            &ledger.send(Method::PUT, "/prisons/LEI/poms/485928/status", &key, &json!({"status": "UNAVAILABLE"})).await,
            422,
            "idempotency-key-reused",
        );
        assert_eq!(ledger.event_count().await, count, "{body}");
        assert_recorded(&ledger.client().post("/prisoners/A0001AA/reallocations", &to(NOVAK)).await);
    }
}
