//! Spreadsheets over HTTP: uploaded, looked at, recorded.

mod door;
mod ends;
mod same_as_command_line;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use event_log::StoredEvent;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, HttpAnswer, ToolOutput, eventually, questions::next_page};

/// The path of a file of the tests.
fn data(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data/spreadsheets")).join(name)
}

/// Uploads a file, asserts that it is taken, and answers the path of its state.
pub async fn upload(client: &Client, prison: &str, query: &str, file: impl Into<reqwest::Body>) -> String {
    let answer = client.upload(&format!("/prisons/{prison}/spreadsheets?{query}"), &[], file).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let path = answer.header("location").expect("a place").to_owned();
    assert_eq!(path, format!("/prisons/{prison}/spreadsheets/{}", answer.body["id"].as_str().expect("an id")));
    path
}

/// The state of an upload, once it is one of these.
pub async fn wait_for(client: &Client, path: &str, states: &[&str]) -> Value {
    eventually(&format!("{states:?}"), async || {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let state = answer.body["state"].as_str().expect("a state").to_owned();
        let is_over = ["READ", "DONE", "FAILED", "CANCELLED"].contains(&state.as_str());
        assert!(!is_over || states.contains(&state.as_str()) || state == "READ", "{}", answer.text);
        states.contains(&state.as_str()).then_some(answer.body)
    })
    .await
}

/// Asks for the recording of an upload.
pub async fn record(client: &Client, path: &str, key: Option<&str>, body: Option<&Value>) -> HttpAnswer {
    let headers: Vec<_> = key.into_iter().map(|key| ("Idempotency-Key", key)).collect();
    client.send(Method::POST, &format!("{path}/recording"), &headers, body).await
}

/// All rows of an upload, by pages.
async fn rows(client: &Client, path: &str, query: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut next = Some(format!("{path}/rows?{query}"));
    while let Some(page) = next {
        let answer = client.get(&page).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        rows.extend(answer.body.as_array().expect("rows").iter().cloned());
        next = next_page(&answer);
    }
    rows
}

/// The lines of a tool that reports in JSON lines, without the reading, and the reading.
#[track_caller]
fn report(ran: &ToolOutput) -> (Vec<Value>, Value) {
    assert!(ran.status.success(), "{}", ran.stderr);
    let lines = ran.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
    let mut lines: Vec<Value> = lines.collect();
    let readings = lines.iter_mut().map(|line| line.as_object_mut().expect("a line").remove("reading"));
    let reading = readings.collect::<Vec<_>>().swap_remove(0).expect("a reading");
    (lines, reading)
}

/// The events of each stream, without their positions, times of recording, clients and runs.
fn events_by_stream(events: &[StoredEvent]) -> BTreeMap<String, Vec<Value>> {
    let mut told = BTreeMap::<String, Vec<Value>>::new();
    for event in events {
        let mut metadata = serde_json::to_value(&event.metadata).expect("JSON");
        let run = metadata["provenance"]["run"].take();
        assert!(run.is_string() && metadata["correlationId"].take() == run, "{metadata}");
        metadata["recordedBy"]["client"].take();
        told.entry(event.stream.to_string()).or_default().push(json!([
            event.entry.event_id,
            event.entry.revision,
            event.entry.effective_at,
            metadata,
            event.entry.event.type_name(),
            serde_json::to_value(&event.entry.event).expect("JSON"),
        ]));
    }
    told
}

const HEADINGS: &str = "NOMS no,Tier,POM,Staff id,Type,Date allocated\n";

/// A file with one case of a POM.
pub fn one_case(number: &str) -> String {
    format!("{HEADINGS}{number},B,\"Okafor, Grace\",485926,PO,01/10/2019\n")
}

/// A file with many cases of six POMs.
fn many_cases(cases: u32) -> String {
    let mut text = "Prison number;Tier;POM;Staff ID;POM type;Date allocated;Comments\r\n".to_owned();
    for case in 0..cases {
        let (pom, day) = (case % 6, 1 + case % 28);
        let kind = if pom < 3 { "PRO" } else { "PO" };
        writeln!(text, "A{case:04}AC;C;Officer{pom}, Al;{};{kind};{day:02}/07/2019;\r", 485_900 + pom).expect("write");
    }
    text
}
