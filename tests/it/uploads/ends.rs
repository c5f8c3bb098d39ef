//! How a recording ends: killed, cancelled, without its store; and that it goes on.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};

use super::{events_by_stream, many_cases, one_case, record, rows, upload, wait_for};
use crate::support::{
    DataDir, TestDatabase, database, eventually,
    ledger::{Ledger, assert_refused},
    run,
    whole_log::read_stored,
};

const CASES: u32 = 4_000;
const QUERY: &str = "file-name=cases.csv&go-live=2019-07-01";

/// A ledger into which the command line has imported the file once.
async fn imported_once() -> TestDatabase {
    let once = database().await;
    let files = DataDir::new();
    let file = files.path().join("cases.csv");
    std::fs::write(&file, many_cases(CASES)).expect("write a file");
    let stores = once.store.arguments();
    let import = ["import", "spreadsheet", file.to_str().expect("UTF-8"), "--prison", "LEI", "--go-live", "2019-07-01"];
    let ran = run(&[&import[..], &stores.iter().map(String::as_str).collect::<Vec<_>>()].concat()).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    once
}

/// Waits until a recording has come some way.
async fn wait_for_rows(ledger: &Ledger, path: &str) {
    eventually("some rows to be recorded", async || {
        let state = ledger.client().get(path).await.body;
        (state["progress"]["rowsRecorded"].as_u64() >= Some(200)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_service_killed_while_it_records_and_the_same_file_again_end_as_if_recorded_once() {
    let once = imported_once().await;
    let mut ledger = Ledger::empty().await;
    let path = upload(ledger.client(), "LEI", &format!("{QUERY}&dry-run=false"), many_cases(CASES)).await;
    wait_for_rows(&ledger, &path).await;
    ledger = ledger.kill_and_restart().await;
    let recorded = ledger.events().await.len();
    assert!(recorded < 2 * CASES as usize, "it was killed half-way: {recorded} events");
    assert_refused(&ledger.client().get(&path).await, 404, "import-unknown");
    let again = upload(ledger.client(), "LEI", &format!("{QUERY}&dry-run=false"), many_cases(CASES)).await;
    let done = wait_for(ledger.client(), &again, &["DONE"]).await;
    let count = |outcome: &str| done["counts"][outcome].as_u64().expect("a count");
    assert!(count("recorded") > 0 && count("alreadyRecorded") > 0, "{done}");
    assert_eq!(count("recorded") + count("alreadyRecorded"), u64::from(CASES));
    let expected = events_by_stream(&read_stored(&*once.log().await).await);
    assert_eq!(events_by_stream(&ledger.events().await), expected);
}

/// The numbers of the cases that the log has.
async fn recorded_numbers(ledger: &Ledger) -> BTreeSet<String> {
    let streams = ledger.events().await.into_iter().map(|event| event.stream.to_string());
    streams.filter_map(|stream| Some(stream.rsplit_once('-')?.1.to_owned())).filter(|name| name.len() == 7).collect()
}

#[tokio::test]
async fn a_recording_that_is_cancelled_says_which_rows_are_recorded_and_goes_on_later() {
    let ledger = Ledger::empty().await;
    let client = ledger.client();
    let path = upload(client, "LEI", QUERY, many_cases(CASES)).await;
    wait_for(client, &path, &["READ"]).await;
    assert_eq!(record(client, &path, None, None).await.status, 202);
    wait_for_rows(&ledger, &path).await;
    let cancelled = client.send(Method::DELETE, &path, &[], None).await;
    assert_eq!(cancelled.status, 202, "{}", cancelled.text);
    let state = wait_for(client, &path, &["CANCELLED"]).await;
    assert!(state["detail"].as_str().is_some_and(|text| text.starts_with("It was cancelled. The rows that say so")));
    let recorded = rows(client, &path, "outcome=recorded&limit=1000").await;
    let said: BTreeSet<String> =
        recorded.iter().map(|row| row["prisonerNumber"].as_str().expect("a number").to_owned()).collect();
    assert!((200..CASES as usize).contains(&said.len()), "{}", said.len());
    assert_eq!(said, recorded_numbers(&ledger).await);
    assert_eq!(state["counts"]["recorded"], json!(said.len()));

    assert_eq!(record(client, &path, None, None).await.status, 202);
    let done = wait_for(client, &path, &["DONE"]).await;
    assert_eq!(done["counts"]["alreadyRecorded"], json!(said.len()));
    assert_eq!(done["counts"]["recorded"], json!(CASES as usize - said.len()));
    assert_eq!(recorded_numbers(&ledger).await.len(), CASES as usize);
    assert_eq!(client.send(Method::DELETE, &path, &[], None).await.status, 204);
    assert_refused(&client.get(&path).await, 404, "import-unknown");
}

#[tokio::test]
async fn a_service_that_is_stopped_while_it_records_ends_after_whole_rows() {
    let ledger = Ledger::empty().await;
    let path = upload(ledger.client(), "LEI", &format!("{QUERY}&dry-run=false"), many_cases(CASES)).await;
    wait_for_rows(&ledger, &path).await;
    let Ledger { database, program } = ledger;
    program.signal(Signal::SIGTERM);
    assert!(program.wait_for_end().await.success());
    let events = read_stored(&*database.log().await).await;
    assert!(events.len() < 2 * CASES as usize, "it was stopped half-way: {} events", events.len());
}

#[tokio::test]
async fn a_key_is_of_one_recording() {
    let ledger = Ledger::empty().await;
    let client = ledger.client();
    let key = Some("0b5b2c5e-6e0a-4a0e-9c55-2a3c6d1f8e11");
    let mut paths = Vec::new();
    for number in ["A0001BC", "A0002BC"] {
        let path = upload(client, "LEI", "file-name=a.csv&go-live=2019-01-01", one_case(number)).await;
        wait_for(client, &path, &["READ"]).await;
        paths.push(path);
    }
    assert_eq!(record(client, &paths[0], key, None).await.status, 202);
    wait_for(client, &paths[0], &["DONE"]).await;
    assert_eq!(record(client, &paths[0], key, None).await.status, 200);
    assert_refused(&record(client, &paths[1], key, None).await, 422, "idempotency-key-reused");
    let state: Value = client.get(&paths[1]).await.body;
    assert_eq!(state["state"], "READ");
}
