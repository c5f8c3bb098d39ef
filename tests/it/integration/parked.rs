//! Messages that wait for a person.

use reqwest::Method;
use serde_json::{Value, json};

use super::{BOOKING_MOVED, RECEIVED, RELEASED, counted, movement, notification, serve, serve_arguments};
use crate::support::{
    Program,
    estate::{Estate, QUEUE},
    eventually,
    ledger::{Ledger, PRISON, SHAH, assert_recorded, assert_refused},
    questions::next_page,
    queue::TestQueue,
    run,
};

pub(super) async fn tool(ledger: &Ledger, arguments: &[&str]) -> String {
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let arguments = [&["integration"], arguments, &stores].concat();
    let ran = run(&arguments).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    ran.stdout
}

#[tokio::test]
async fn what_cannot_be_taken_in_waits_and_is_tried_again_or_dismissed() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    let id = |last: u8| format!("63ba0b4b-0000-4000-8000-{last:012}");
    let moved = json!({"movedFromNomsNumber": "A1111AA", "movedToNomsNumber": "A2222BB", "bookingId": "1"});
    let moved = json!({"eventType": BOOKING_MOVED, "version": 1, "additionalInformation": moved});
    let without_prison =
        json!({"eventType": RELEASED, "additionalInformation": {"nomsNumber": "A1111AA", "reason": "RELEASED"}});
    let mut in_future = movement(RELEASED, "A1111AA", PRISON, "RELEASED", 9);
    in_future["occurredAt"] = json!("2999-01-01T00:00:00Z");
    for (last, event) in
        [(1, &movement(RELEASED, "A1111AA", "MDI", "RELEASED", 9)), (2, &moved), (3, &without_prison), (4, &in_future)]
    {
        estate.send(&notification(&id(last), event)).await;
        estate.wait_until_taken_in().await;
    }
    estate.send("{\"no\": \"notification\"}").await;
    estate.wait_until_taken_in().await;
    assert_eq!(estate.given_up().await, 0);

    let listed = ledger.client().get("/integration/parked").await;
    let reasons: Vec<_> =
        listed.body.as_array().expect("a list").iter().map(|message| message["reason"].clone()).collect();
    assert_eq!(reasons, ["REFUSED", "NEEDS_DECISION", "UNREADABLE", "NEEDS_DECISION", "UNREADABLE"]);
    assert!(!listed.text.contains("A1111AA"), "no answer names a person: {}", listed.text);
    let lines = tool(&ledger, &["parked", "--json"]).await;
    let messages: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let details: Vec<_> = messages.iter().filter_map(|message| message["detail"].as_str()).collect();
    assert!(details[0].contains("held at LEI") || details[0].contains("LEI"), "{details:?}");
    assert!(details[1].contains("A1111AA") && details[1].contains("A2222BB"), "{details:?}");
    assert!(details[2].contains("prisonId"), "{details:?}");
    let health = ledger.client().get("/health").await;
    let component = &health.body["components"]["messages"];
    assert_eq!(json!([component["status"], component["details"]["parked"]]), json!(["UP", 5]), "{health:?}");

    // The person went there: now the release holds.
    let path = "/prisoners/A1111AA/transfers";
    let transfer = json!({"toPrison": "MDI", "effectiveAt": "2026-03-08T09:00:00Z"});
    assert_recorded(&ledger.client().post(path, &transfer).await);
    let retry = format!("/integration/parked/{}/retry", id(1));
    let retried = ledger.client().post(&retry, &json!({})).await;
    assert_eq!((retried.status.as_u16(), &retried.body), (200, &json!({"outcome": "RECORDED"})), "{}", retried.text);
    assert_eq!(ledger.types("A1111AA").await.last(), Some(&"Deallocated"));
    assert_refused(&ledger.client().post(&retry, &json!({})).await, 404, "message-unknown");
    // Nothing is left with the number that the booking left.
    assert_eq!(tool(&ledger, &["retry", &id(2)]).await.trim(), format!("{} IRRELEVANT", id(2)));
    assert_eq!(tool(&ledger, &["retry", &id(3)]).await.trim(), format!("{} PARKED", id(3)));
    let dismissed = ledger.client().send(Method::DELETE, &format!("/integration/parked/{}", id(3)), &[], None).await;
    assert_eq!(dismissed.status, 204, "{}", dismissed.text);
    assert_eq!(tool(&ledger, &["dismiss", &id(4)]).await.trim(), format!("{} DISMISSED", id(4)));
    // Those that wait no more do not keep the others from their turn.
    let stores = ledger.database.arguments();
    let arguments = [&["integration", "retry", &id(1), &id(2)].map(str::to_owned)[..], &stores].concat();
    let ran = run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(!ran.status.success() && ran.stderr.contains(&id(1)) && ran.stderr.contains(&id(2)), "{}", ran.stderr);
    let log = ledger.program.log();
    let line = log.lines().find(|line| line.contains("a message waits for a person")).expect("a line");
    let line: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!((&line["message"], &line["message_id"]), (&json!("a message waits for a person"), &json!(id(1))));
    // A dismissed message that comes again is dismissed still.
    estate.send(&notification(&id(3), &without_prison)).await;
    estate.wait_until_taken_in().await;
    let left = ledger.client().get("/integration/parked").await;
    assert_eq!(left.body.as_array().map(Vec::len), Some(1), "{}", left.text);
}

#[tokio::test]
async fn a_dismissed_message_records_nothing_when_it_comes_again() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    let id = "63ba0b4b-0000-4000-8000-000000000001";
    // Refused, as the person is elsewhere; then dismissed; then it would be right.
    let message = notification(id, &movement(RELEASED, "A1111AA", "MDI", "RELEASED", 9));
    estate.send(&message).await;
    estate.wait_until_taken_in().await;
    let dismissal = format!("/integration/parked/{id}");
    assert_eq!(ledger.client().send(Method::DELETE, &dismissal, &[], None).await.status, 204);
    let transfer = json!({"toPrison": "MDI", "effectiveAt": "2026-03-08T09:00:00Z"});
    assert_recorded(&ledger.client().post("/prisoners/A1111AA/transfers", &transfer).await);
    estate.send(&message).await;
    estate.wait_until_taken_in().await;
    assert_eq!(ledger.types("A1111AA").await, ["TierAssigned", "AllocationMade", "Deallocated"]);
    assert_eq!(counted(&ledger, RELEASED, "dismissed").await, 1);
    let retried = ledger.client().send(Method::POST, &format!("/integration/parked/{id}/retry"), &[], None).await;
    assert_refused(&retried, 404, "message-unknown");
}

#[tokio::test]
async fn a_message_that_waits_and_comes_again_waits_no_more_once_it_holds() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    let id = "63ba0b4b-0000-4000-8000-000000000001";
    let message = notification(id, &movement(RELEASED, "A1111AA", "MDI", "RELEASED", 9));
    for tries in 1..=2 {
        estate.send(&message).await;
        estate.wait_until_taken_in().await;
        assert_eq!(ledger.client().get("/integration/parked").await.body[0]["tries"], tries);
    }
    let transfer = json!({"toPrison": "MDI", "effectiveAt": "2026-03-08T09:00:00Z"});
    assert_recorded(&ledger.client().post("/prisoners/A1111AA/transfers", &transfer).await);
    estate.send(&message).await;
    estate.wait_until_taken_in().await;
    assert!(ledger.state("A1111AA").await.left_at.is_some());
    assert_eq!(ledger.client().get("/integration/parked").await.body, json!([]));
}

#[tokio::test]
async fn a_page_begins_after_a_message_that_waits_no_more() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    for _ in 0..5 {
        estate.send("no notification").await;
        estate.wait_until_taken_in().await;
    }
    let ids = |body: &Value| -> Vec<String> {
        let messages = body.as_array().expect("a list").iter();
        messages.map(|message| message["id"].as_str().expect("an id").to_owned()).collect()
    };
    let all = ids(&ledger.client().get("/integration/parked").await.body);
    assert_eq!(all.len(), 5);
    let first = ledger.client().get("/integration/parked?limit=2").await;
    assert_eq!(ids(&first.body), all[..2]);
    let dismissal = format!("/integration/parked/{}", all[1]);
    assert_eq!(ledger.client().send(Method::DELETE, &dismissal, &[], None).await.status, 204);
    let next = next_page(&first).expect("a next page");
    let rest = ledger.client().get(&next.replace("limit=2", "limit=3")).await;
    assert_eq!(ids(&rest.body), all[2..]);
    assert_eq!(next_page(&rest), None);
}

/// A retry is held in its append; the dismissal that comes meanwhile waits for its end.
#[tokio::test]
async fn a_retry_and_a_dismissal_at_once_are_one_after_the_other() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    let id = "63ba0b4b-0000-4000-8000-000000000001";
    estate.send(&notification(id, &movement(RELEASED, "A1111AA", "MDI", "RELEASED", 9))).await;
    estate.wait_until_taken_in().await;
    let transfer = json!({"toPrison": "MDI", "effectiveAt": "2026-03-08T09:00:00Z"});
    assert_recorded(&ledger.client().post("/prisoners/A1111AA/transfers", &transfer).await);

    let waiting = async || {
        let sql = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE NOT granted AND datname = current_database()";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&ledger.database.pool).await.expect("count waits")
    };
    let mut lock = ledger.database.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM log.head FOR UPDATE").execute(&mut *lock).await.expect("hold the log");
    let (retrying, dismissing) = (ledger.client().clone(), ledger.client().clone());
    let path = format!("/integration/parked/{id}");
    let retry = format!("{path}/retry");
    let retrying = tokio::spawn(async move { retrying.post(&retry, &json!({})).await });
    eventually("the retry appends", async || (waiting().await == 1).then_some(())).await;
    let dismissing = tokio::spawn(async move { dismissing.send(Method::DELETE, &path, &[], None).await });
    let is_sent = async || (waiting().await == 2 || dismissing.is_finished()).then_some(());
    eventually("the dismissal waits, or is answered", is_sent).await;
    lock.rollback().await.expect("let the log go");
    let retried = retrying.await.expect("an answer");
    assert_eq!(retried.body, json!({"outcome": "RECORDED"}), "{}", retried.text);
    assert_refused(&dismissing.await.expect("an answer"), 404, "message-unknown");
    assert!(ledger.state("A1111AA").await.left_at.is_some());
}

/// Each try holds a connection to Postgres, and needs another for what the message may bring about.
/// They begin at once, as none gets further than the append.
#[tokio::test]
async fn more_messages_that_waited_are_tried_at_once_than_there_are_connections() {
    let queue = TestQueue::serve().await;
    let ledger = Ledger::start_all_roles_in(&Estate::environment_at(&queue.url), &serve_arguments()).await;
    let send = |kind: u8, event: &dyn Fn(&str) -> Value| {
        let numbers = (0..60).map(|index| (index, format!("A{index:04}BC")));
        let id = |index| format!("63ba0b4b-0000-4000-800{kind}-{index:012}");
        queue.send_all(numbers.map(|(index, number)| notification(&id(index), &event(&number))));
    };
    let release = |number: &str| movement(RELEASED, number, "MDI", "RELEASED", 9);
    send(0, &|number| movement(RECEIVED, number, PRISON, "NEW_ADMISSION", 2));
    queue.wait_until_left(0).await;
    // They are elsewhere, and get there by another message.
    send(1, &release);
    queue.wait_until_left(0).await;
    assert_eq!(ledger.client().get("/integration/parked?limit=100").await.body.as_array().map(Vec::len), Some(60));
    send(2, &|number| movement(RECEIVED, number, "MDI", "TRANSFERRED", 7));
    queue.wait_until_left(0).await;

    let mut lock = ledger.database.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM log.head FOR UPDATE").execute(&mut *lock).await.expect("hold the log");
    send(1, &release);
    let claims = async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND state = 'idle in transaction' AND query LIKE '%parked_message%FOR UPDATE%'";
        let count = sqlx::query_scalar::<_, i64>(sql).fetch_one(&ledger.database.pool).await.expect("count claims");
        (queue.visible() == 0 && count >= 8).then_some(())
    };
    eventually("as many tries as there may be at once", claims).await;
    lock.rollback().await.expect("let the log go");
    queue.wait_until_left(0).await;
    let log = ledger.program.log();
    assert!(!log.contains("messages are not received for now"), "{log}");
    assert_eq!(ledger.client().get("/integration/parked").await.body, json!([]));
}

/// The log of the program has the cause, and names no person.
#[tokio::test]
async fn a_message_that_meets_damage_waits_and_the_log_says_why() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1111AA", SHAH).await;
    let position = ledger.harm_second_event("A1111AA").await;
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let arguments = [&["--role", "integration", "--domain-events-queue", QUEUE], &stores[..]].concat();
    let program = Program::start_in(&estate.environment(), &arguments).await.into_ready().await;
    estate.publish(&movement(RELEASED, "A1111AA", PRISON, "RELEASED", 9)).await;
    estate.wait_until_taken_in().await;
    assert_eq!(program.client().get("/integration/parked").await.body[0]["reason"], "FAILED");
    let log = program.log();
    let line = log.lines().find(|line| line.contains("a message could not be recorded")).expect("a line");
    assert!(line.contains(&format!("position {position}")), "{line}");
    assert!(!log.contains("A1111AA"), "{log}");
}
