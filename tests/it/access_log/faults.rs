//! Entries that cannot be stored: what becomes of them, and of their reads.

use std::time::{Duration, Instant};

use access_log::{AccessEntry, Reader, Shown};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::{entries, metric, pages, while_locked, while_renamed};
use crate::support::{
    Program, TestDatabase, Tool, database, eventually,
    ledger::{assert_recorded, assert_refused},
    run,
    tokens::TestKey,
};

pub(super) const CASE: &str = "/prisoners/A1111AA/responsibility";

/// Thirty reads come well within this on a busy machine; if each waited for its entry, they would
/// take a minute and a half.
const READS_TIME_MAX: Duration = Duration::from_secs(20);

/// A program with a case that the views have.
pub(super) async fn serve(database: &TestDatabase, settings: &[&str]) -> Program {
    let stores = database.arguments();
    let arguments: Vec<&str> = stores.iter().map(String::as_str).chain(settings.iter().copied()).collect();
    let program = Program::serve_with(&arguments).await;
    let tier = json!({"tier": "B1", "source": "MANUAL"});
    assert_recorded(&program.client().post("/prisoners/A1111AA/tier", &tier).await);
    eventually("the views", async || (program.client().get("/nomis-contacts").await.status == 200).then_some(())).await;
    eventually("the case", async || {
        let projections = program.client().get("/projections").await.body;
        projections.as_array()?.iter().all(|view| view["state"] == "CURRENT").then_some(())
    })
    .await;
    program
}

#[tokio::test]
async fn a_read_does_not_wait_for_its_entry() {
    let database = database().await;
    let program = serve(&database, &[]).await;
    while_locked(&database, async || {
        let started = Instant::now();
        for _ in 0..30 {
            assert_eq!(program.client().get(CASE).await.status, 200);
        }
        assert!(started.elapsed() < READS_TIME_MAX, "{:?}", started.elapsed());
    })
    .await;
    eventually("all entries", async || (entries(&database).await.len() == 30).then_some(())).await;
    assert_eq!(metric(&program, "ledger_access_log_lost_total").await, 0.0);
    eventually("the count", async || (metric(&program, "ledger_access_log_entries_total").await == 30.0).then_some(()))
        .await;
}

#[tokio::test]
async fn a_read_whose_entry_is_required_is_answered_after_it_or_refused() {
    let database = database().await;
    let program = serve(&database, &["--access-log", "required"]).await;
    for count in 1..=3 {
        assert_eq!(program.client().get(CASE).await.status, 200);
        assert_eq!(entries(&database).await.len(), count, "stored before the answer");
    }
    while_locked(&database, async || {
        let refused = program.client().get(CASE).await;
        assert_refused(&refused, 503, "access-log-unavailable");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(!refused.text.contains("B1"), "{}", refused.text);
        // An answer that shows no person needs no entry.
        assert_eq!(program.client().get("/projections").await.status, 200);
    })
    .await;
    eventually("reads again", async || (program.client().get(CASE).await.status == 200).then_some(())).await;
    let warnings = || program.log().matches("the access log cannot be written for now").count();
    let before = warnings();
    while_renamed(&database, async || {
        for _ in 0..5 {
            assert_refused(&program.client().get(CASE).await, 503, "access-log-unavailable");
        }
    })
    .await;
    assert_eq!(program.client().get(CASE).await.status, 200);
    assert!(warnings() <= before + 1, "each batch fails, and the log is told once a minute: {}", program.log());
    assert!(program.stop().await.success());
}

#[tokio::test]
async fn reads_that_find_no_room_are_counted_in_an_entry() {
    const READS: usize = 40;
    let database = database().await;
    let program = serve(&database, &[]).await;
    let number = |index: usize| {
        let letters = [index / 26 % 26, index % 26].map(|letter| char::from(b'A' + letter as u8));
        format!("B{:04}{}{}", index / 676, letters[0], letters[1])
    };
    let numbers: Value = (0..10_000).map(number).collect();
    let before = Utc::now();
    let lost = while_renamed(&database, async || {
        for _ in 0..READS {
            let answer = program.client().post("/allocation/active", &numbers).await;
            assert_eq!(answer.status, 200, "a full queue refuses no read: {}", answer.text);
        }
        metric(&program, "ledger_access_log_lost_total").await
    })
    .await;
    assert!(lost >= 10.0, "{lost}");
    let all = eventually("all that is kept", async || {
        let all = entries(&database).await;
        let lost: i64 = all.iter().filter_map(|entry| entry.reads_lost).sum();
        let kept = all.iter().filter(|entry| entry.reads_lost.is_none()).count();
        (kept + lost as usize == READS).then_some(all)
    })
    .await;
    let of_lost: Vec<_> = all.iter().filter(|entry| entry.reads_lost.is_some()).collect();
    assert_eq!(of_lost.iter().filter_map(|entry| entry.reads_lost).sum::<i64>(), lost as i64);
    for entry in of_lost {
        let until = entry.lost_until.expect("an end");
        assert!(before <= entry.at && entry.at <= until && until <= Utc::now(), "{entry:?}");
        assert_eq!((entry.operation.as_str(), &entry.username, entry.prisoners.len()), ("reads not kept", &None, 0));
    }
    let shown = pages(program.client(), "/access-log?limit=1000").await;
    let mut listed = shown.iter().flat_map(|page| page.body.as_array().expect("a list"));
    let listed = listed.find(|entry| !entry["notKept"].is_null()).expect("the lost reads");
    assert!(listed["notKept"]["reads"].as_i64() > Some(0) && listed["notKept"]["until"].is_string(), "{listed}");
}

#[tokio::test]
async fn the_end_of_the_service_waits_for_the_last_entries() {
    let database = database().await;
    let program = serve(&database, &[]).await;
    for _ in 0..20 {
        assert_eq!(program.client().get(CASE).await.status, 200);
    }
    // A stream ends with the service, and its end is an entry, too.
    let mut streams = Vec::new();
    for _ in 0..3 {
        let request = reqwest::Client::new().get(format!("{}/events", program.client().base_url()));
        let mut stream = request.header("Accept", "text/event-stream").send().await.expect("a stream");
        stream.chunk().await.expect("a chunk").expect("no end");
        streams.push(stream);
    }
    assert!(program.stop().await.success());
    let all = entries(&database).await;
    let of_streams: Vec<_> = all.iter().filter(|entry| entry.operation == "/events").collect();
    assert_eq!(all.len() - of_streams.len(), 20);
    let ended = of_streams.iter().filter(|entry| entry.to_position.is_some()).count();
    assert_eq!((of_streams.len(), ended), (6, 3), "{of_streams:?}");
}

#[tokio::test]
async fn a_rebuild_of_the_views_leaves_the_entries() {
    let database = database().await;
    let program = serve(&database, &[]).await;
    assert_eq!(program.client().get(CASE).await.status, 200);
    eventually("the entry", async || entries(&database).await.pop()).await;
    let stores = database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let ran = run(&[&["projections", "rebuild"], &stores[..]].concat()).await;
    assert!(ran.status.success(), "{}", ran.stderr);
    assert_eq!(entries(&database).await.len(), 1);
}

#[tokio::test]
async fn old_entries_are_removed_and_young_ones_stay() {
    let database = database().await;
    let number = "A1111AA".parse().expect("a number");
    for days in [100, 31, 29, 0] {
        let at = Utc::now() - TimeDelta::days(days);
        let entry = AccessEntry::of_tool(at, "history", Reader::default(), Shown::prisoners([&number]));
        access_log::insert(&database.pool, &[&entry]).await.expect("an entry");
        access_log::insert(&database.pool, &[&entry]).await.expect("the same again");
    }
    assert_eq!(entries(&database).await.len(), 4, "a repeated insert stores an entry once");
    let _program = serve(&database, &["--access-log-kept-for", "30"]).await;
    eventually("the removal", async || (entries(&database).await.len() == 2).then_some(())).await;
    let refused = access_log::remove_old(&database.pool, 29).await;
    assert!(refused.is_err(), "{refused:?}");
    let ran = run(&["serve", "--access-log-kept-for", "29"]).await;
    assert_eq!(ran.status.code(), Some(2), "{}", ran.stderr);
}

#[tokio::test]
async fn without_a_sign_on_the_access_log_may_be_off() {
    let database = database().await;
    let program = serve(&database, &["--access-log", "off"]).await;
    assert_eq!(program.client().get(CASE).await.status, 200);
    assert!(program.stop().await.success());
    assert_eq!(entries(&database).await, []);
    let files = tempfile::tempdir().expect("a folder");
    let path = files.path().join("jwks.json");
    std::fs::write(&path, TestKey::of_sign_on().jwks().to_string()).expect("write the keys");
    let key = path.to_str().expect("UTF-8");
    let stores = database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--access-log", "off", "--auth-key-file", key];
    let ran = Tool::start(&[&serve, &stores[..]].concat()).wait_for_end().await;
    assert!(!ran.status.success() && ran.stderr.contains("--access-log off is for trials"), "{}", ran.stderr);
}
