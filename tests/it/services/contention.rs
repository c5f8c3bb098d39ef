//! Two command services write to one case at once: one wins, and the other decides again on the
//! winner's events.

use std::collections::BTreeSet;

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    Client, HttpAnswer,
    ledger::{Ledger, NOVAK, PRISON, SHAH, serve_commands},
};

/// Repeats a command while the service refuses it as contended.
async fn send(client: &Client, method: Method, path: &str, body: serde_json::Value) -> HttpAnswer {
    let key = Uuid::new_v4().to_string();
    loop {
        let answer = client.send(method.clone(), path, &[("Idempotency-Key", &key)], Some(&body)).await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE {
            return answer;
        }
        assert_eq!(answer.body["code"], "stream-contended", "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_commands_to_one_case_are_recorded_once_each() {
    const COMMANDS: usize = 300;
    let ledger = Ledger::empty().await;
    let other = serve_commands(&ledger.database).await;
    let sent = (0..COMMANDS).map(|number| {
        let client = [ledger.client(), other.client()][number % 2];
        let body = json!({"name": format!("Manager {number}")});
        send(client, Method::PUT, "/prisoners/A1234BC/community-manager", body)
    });
    let answers = join_all(sent).await;
    let mut revisions = BTreeSet::new();
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        assert!(revisions.insert(answer.header("etag").expect("a revision").to_owned()), "twice: {}", answer.text);
    }
    let events = ledger.case_events("A1234BC").await;
    assert_eq!(events.len(), COMMANDS);
    let commands: BTreeSet<_> = events.iter().map(|event| event.entry.command_id.0).collect();
    assert_eq!(commands.len(), COMMANDS);
}

/// Each of two services allocates the same case to another POM in the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn two_allocations_at_once_leave_a_case_with_one_pom() {
    const CASES: usize = 40;
    let ledger = Ledger::start().await;
    let other = serve_commands(&ledger.database).await;
    let numbers: Vec<String> = (0..CASES).map(|index| format!("A{index:04}AA")).collect();
    join_all(numbers.iter().map(|number| ledger.tier(number))).await;
    for number in &numbers {
        let path = format!("/prisoners/{number}/allocations");
        let allocate = |client, staff_id: i64| {
            let body = json!({"prison": PRISON, "pom": {"staffId": staff_id}, "effectiveAt": "2026-02-02T09:00:00Z"});
            send(client, Method::POST, &path, body)
        };
        let (here, there) = tokio::join!(allocate(ledger.client(), SHAH), allocate(other.client(), NOVAK));
        let (winner, loser) = if here.status == StatusCode::CREATED { (&here, &there) } else { (&there, &here) };
        assert_eq!(winner.status, StatusCode::CREATED, "{}", winner.text);
        assert_eq!((loser.status.as_u16(), &loser.body["code"]), (422, &json!("already-allocated")), "{}", loser.text);
        assert_eq!(ledger.types(number).await, ["TierAssigned", "AllocationMade"]);
    }
}
