//! Long entries, and the pages that they make.

use access_log::{AccessEntry, Reader, Shown};
use chrono::{DateTime, TimeDelta, Utc};
use domain::identifier::PrisonerNumber;
use serde_json::Value;

use super::faults::serve;
use crate::support::{database, questions::assert_ok, run};

/// Entries, each as long as the longest answer makes one.
const ENTRIES: usize = 25;
const NUMBERS: usize = 10_000;

/// A page may have so many bytes, and the entry that ends it.
const PAGE_BYTES_MAX: usize = 5 << 20;

#[tokio::test]
async fn a_page_is_bounded_in_numbers_and_in_bytes_and_leads_to_the_next() {
    let database = database().await;
    let program = serve(&database, &[]).await;
    let numbers: Vec<PrisonerNumber> =
        (0..NUMBERS).map(|index| format!("B{index:04}AA").parse().expect("a number")).collect();
    let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().expect("an instant");
    for index in 0..ENTRIES {
        let at = start + TimeDelta::seconds(index as i64);
        let entry = AccessEntry::of_tool(at, "export", Reader::default(), Shown::prisoners(&numbers));
        access_log::insert(&database.pool, &[&entry]).await.expect("an entry");
    }
    let pages = super::pages(program.client(), "/access-log?limit=1000&to=2026-02-01").await;
    let mut entries: Vec<&Value> = Vec::new();
    for page in &pages {
        let listed = assert_ok(page).as_array().expect("a list");
        let shown: usize = listed.iter().filter_map(|entry| Some(entry["prisonerNumbers"].as_array()?.len())).sum();
        assert!(shown <= 100_000 && page.text.len() <= PAGE_BYTES_MAX, "{shown} numbers, {} bytes", page.text.len());
        entries.extend(listed);
    }
    let at: Vec<&str> = entries.iter().filter_map(|entry| entry["at"].as_str()).collect();
    assert!(at.is_sorted_by(|newer, older| newer > older), "{at:?}");
    assert_eq!((pages.len(), at.len()), (3, ENTRIES));
    // A tool lists as many as it is asked for, however many pages that takes.
    let stores = database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    for (limit, more) in [("24", "; --limit or --to shows older ones"), ("25", "")] {
        let ran = run(&[&["access-log", "--to", "2026-02-01", "--limit", limit], &stores[..]].concat()).await;
        let summary = format!("{limit} entries of the access log, newest first{more};");
        assert!(ran.status.success() && ran.stdout.contains(&summary), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("and 9995 more"), "{}", ran.stdout);
    }
    let json = run(&[&["access-log", "--json", "--to", "2026-02-01"], &stores[..]].concat()).await.stdout;
    assert_eq!(json.lines().count(), ENTRIES);
}
