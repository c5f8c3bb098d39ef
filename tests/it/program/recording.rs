//! The commands of `docs/recording.md` work as they are, on a new ledger and on the demonstration.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    Client, Program, checked_in::document, database, demonstration::Demonstration, eventually, has_program,
    topology::require_single_program,
};

/// The address that the page has.
const ADDRESS: &str = "http://127.0.0.1:8080";

/// The case of the page.
const CASE: &str = "/prisoners/A7042CR";

/// Turns an answer that is no success into a failure, which the page leaves to the reader's eyes.
const STRICT: &str = "set -euo pipefail\ncurl() { command curl --silent --show-error --fail-with-body \"$@\"; }\n";

/// Runs the blocks of the page one after the other; returns how many there were.
async fn run_page(client: &Client) -> usize {
    let page = std::fs::read_to_string(document("recording.md")).expect("the page");
    let blocks: Vec<&str> = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    for block in &blocks {
        let script = format!("{STRICT}{}", block.replace(ADDRESS, client.base_url()));
        let ran = tokio::task::spawn_blocking(move || Command::new("bash").args(["-c", &script]).output());
        let ran = ran.await.expect("a thread").expect("run bash");
        assert!(
            ran.status.success(),
            "{block}{}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
    }
    blocks.len()
}

async fn assert_page_works(program: &Program) {
    let client = program.client();
    assert_eq!(run_page(client).await, 12);
    let history = client.get(&format!("{CASE}/history?limit=100")).await.body;
    let types: Vec<&str> =
        history.as_array().expect("entries").iter().filter_map(|entry| entry["type"].as_str()).collect();
    let expected = [
        "TierAssigned",
        "AllocationMade",
        "Reallocated",
        "CoworkerAllocated",
        "CoworkerDeallocated",
        "CommunityManagerAssigned",
        "Deallocated",
        "Deallocated",
        "EntryVoided",
    ];
    assert_eq!(types, expected, "{history}");
    // The release is void, so the person waits at the other prison, and the COM is still named.
    let answer = eventually("the views to have it all", async || {
        let answer = client.get(&format!("{CASE}/responsibility")).await.body;
        (answer["asOf"]["revision"] == json!(expected.len() - 1)).then_some(answer)
    })
    .await;
    assert_eq!(answer["prison"], "HLI", "{answer}");
    let unallocated = client.get("/prisons/HLI/unallocated").await.body;
    let waits = |case: &Value| case["prisonerNumber"] == "A7042CR";
    assert!(unallocated.as_array().is_some_and(|cases| cases.iter().any(waits)), "{unallocated}");
}

#[tokio::test]
async fn the_page_on_recording_works_on_a_new_ledger() {
    require_single_program();
    if has_program("curl") {
        let database = database().await;
        assert_page_works(&Program::serve_all(&database).await).await;
    }
}

#[tokio::test]
async fn the_page_on_recording_works_on_the_demonstration() {
    require_single_program();
    if has_program("curl") {
        assert_page_works(&Demonstration::serve().await.program).await;
    }
}
