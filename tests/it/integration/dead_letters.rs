//! The dead-letter queue, which gets what the queue has handed out three times.

use reqwest::Method;
use serde_json::{Value, json};

use super::{RECEIVED, counted, movement, serve_arguments};
use crate::support::{
    Tool,
    estate::{DEAD_LETTERS, Estate, QUEUE},
    eventually,
    ledger::{Ledger, PRISON},
    queue_proxy::QueueProxy,
    run_in,
};

/// Gives up a message about a person: consumers die over it.
async fn give_up(estate: &Estate, number: &str) {
    let before = estate.given_up().await;
    estate.publish(&movement(RECEIVED, number, PRISON, "NEW_ADMISSION", 2)).await;
    let given_up = async || {
        estate.receive_and_die().await;
        (estate.given_up().await > before).then_some(())
    };
    eventually("the message is given up", given_up).await;
}

async fn details(ledger: &Ledger) -> Value {
    ledger.client().get("/health").await.body["components"]["messages"]["details"].clone()
}

#[tokio::test]
async fn messages_that_were_given_up_show_and_go_back_to_the_queue() {
    let Some(estate) = Estate::start().await else { return };
    give_up(&estate, "A1111AA").await;
    let queues = [&serve_arguments()[..], &["--domain-events-dlq", DEAD_LETTERS]].concat();
    let ledger = Ledger::start_all_roles_in(&estate.environment(), &queues).await;
    let counted = async || {
        let details = details(&ledger).await;
        (details["messagesOnDlq"] == 1).then_some(details)
    };
    let details = eventually("the message is counted", counted).await;
    let expected = json!({"queueName": QUEUE, "dlqName": DEAD_LETTERS, "dlqStatus": "UP", "messagesOnQueue": 0});
    for (name, value) in expected.as_object().expect("members") {
        assert_eq!(&details[name], value, "{name}: {details}");
    }
    assert!(details["messagesInFlight"].is_u64(), "{details}");
    let is_shown =
        async || ledger.client().get("/metrics").await.text.contains("ledger_messages_on_dlq 1").then_some(());
    eventually("the gauge", is_shown).await;
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let tool = async |arguments: &[&str]| {
        let ran = run_in(&estate.environment(), &[&["integration"], arguments].concat()).await;
        assert!(ran.status.success(), "{}", ran.stderr);
        ran.stdout
    };
    let status = tool(&[&["status", "--json"], &queues[..], &stores[..]].concat()).await;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!((&status["queue"]["messagesOnDlq"], &status["parked"]), (&json!(1), &json!(0)), "{status}");
    let table = tool(&[&["status"], &queues[..], &stores[..]].concat()).await;
    assert!(table.contains(&format!("given up, on {DEAD_LETTERS}")), "{table}");

    let retry = async || ledger.client().send(Method::PUT, "/queue-admin/retry-all-dlqs", &[], None).await;
    let retried = retry().await;
    assert_eq!(
        (retried.status.as_u16(), &retried.body),
        (200, &json!([{"messagesFoundCount": 1}])),
        "{}",
        retried.text
    );
    estate.wait_until_taken_in().await;
    assert_eq!(ledger.types("A1111AA").await, ["Received"]);
    assert_eq!(retry().await.body, json!([{"messagesFoundCount": 0}]));
    assert_eq!(estate.given_up().await, 0);
}

#[tokio::test]
async fn the_tool_sends_more_back_than_one_answer_of_the_queue_has() {
    let Some(estate) = Estate::start().await else { return };
    let numbers: Vec<String> = (0..23).map(|index| format!("A{index:04}BC")).collect();
    for number in &numbers {
        give_up(&estate, number).await;
    }
    let queues = [&serve_arguments()[..], &["--domain-events-dlq", DEAD_LETTERS]].concat();
    let ran = run_in(&estate.environment(), &[&["integration", "retry-dlq"], &queues[..]].concat()).await;
    assert_eq!(ran.stdout.trim(), "Messages that went back to the queue: 23", "{}", ran.stderr);
    assert_eq!((estate.queued().await, estate.given_up().await), (23, 0));
    let ledger = Ledger::start_all_roles_in(&estate.environment(), &queues).await;
    estate.wait_until_taken_in().await;
    for number in &numbers {
        assert_eq!(ledger.types(number).await, ["Received"], "{number}");
    }
    // Without a dead-letter queue there is nothing to send back.
    let ran = run_in(&estate.environment(), &[&["integration", "retry-dlq"], &serve_arguments()[..]].concat()).await;
    assert!(!ran.status.success() && ran.stderr.contains("--domain-events-dlq"), "{}", ran.stderr);
}

/// Each message is sent to the queue before it is deleted from the other one.
#[tokio::test]
async fn a_tool_that_is_killed_before_it_deletes_loses_nothing_and_records_nothing_twice() {
    let Some(estate) = Estate::start().await else { return };
    give_up(&estate, "A1111AA").await;
    let way = QueueProxy::hold_deletions(&estate).await;
    let queues = [&serve_arguments()[..], &["--domain-events-dlq", DEAD_LETTERS]].concat();
    let retry = [&["integration", "retry-dlq"], &queues[..]].concat();
    let tool = Tool::start_in(&Estate::environment_at(&way.url), &retry);
    let deletion = eventually("a deletion", async || way.requests("DeleteMessageBatch").into_iter().next()).await;
    drop(tool);
    assert_eq!((estate.queued().await, estate.given_up().await), (1, 1));
    let receipt = deletion["Entries"][0]["ReceiptHandle"].as_str().expect("a receipt");
    estate.show(DEAD_LETTERS, receipt).await;
    let ran = run_in(&estate.environment(), &retry).await;
    assert_eq!(ran.stdout.trim(), "Messages that went back to the queue: 1", "{}", ran.stderr);
    assert_eq!((estate.queued().await, estate.given_up().await), (2, 0));
    let ledger = Ledger::start_all_roles_in(&estate.environment(), &queues).await;
    estate.wait_until_taken_in().await;
    assert_eq!(ledger.types("A1111AA").await, ["Received"]);
    assert_eq!((counted(&ledger, RECEIVED, "recorded").await, estate.given_up().await), (2, 0));
}
