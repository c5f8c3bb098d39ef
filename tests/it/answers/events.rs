//! `GET /events`: the feed for other services, as pages and as a stream.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{
    HttpAnswer, PATIENCE,
    ledger::{Ledger, PRISON, SHAH, assert_refused},
    made_up_events::{append_to_made_up_cases, tiers},
    questions::{assert_ok, next_page},
};

/// A ledger with all roles and one allocated case.
async fn ledger_of_one_case() -> Ledger {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1111AA", SHAH).await;
    ledger
}

async fn page(ledger: &Ledger, path: &str) -> HttpAnswer {
    ledger.client().get(path).await
}

fn position(answer: &HttpAnswer) -> u64 {
    answer.header("ledger-position").and_then(|value| value.parse().ok()).expect("a position")
}

/// Reads page after page to the end, and returns the positions of the events and the number of
/// pages.
async fn read_all_pages(ledger: &Ledger, path: &str) -> (Vec<u64>, usize) {
    let (mut positions, mut pages, mut next) = (Vec::new(), 0, Some(path.to_owned()));
    while let Some(path) = next {
        let answer = page(ledger, &path).await;
        let events = assert_ok(&answer).as_array().expect("a list");
        positions.extend(events.iter().map(|event| event["position"].as_u64().expect("a position")));
        pages += 1;
        next = next_page(&answer);
        if next.is_none() {
            assert_eq!(position(&answer), ledger.event_count().await, "the last page goes to the end");
        }
    }
    (positions, pages)
}

#[tokio::test]
async fn pages_lead_through_every_event_that_matches() {
    let ledger = ledger_of_one_case().await;
    let all = ledger.positions().await;
    let &[.., before, tier, head] = &all[..] else { panic!("few events: {all:?}") };
    assert_eq!(read_all_pages(&ledger, "/events").await, (all.clone(), 1));
    assert_eq!(read_all_pages(&ledger, "/events?limit=3").await, (all.clone(), all.len().div_ceil(3)));
    let answer = page(&ledger, &format!("/events?after={before}")).await;
    assert_eq!(answer.body[0]["type"], "TierAssigned");
    let history = page(&ledger, "/prisoners/A1111AA/history/0").await;
    for member in ["eventId", "schemaVersion", "recordedAt", "recordedBy", "commandId", "data"] {
        assert_eq!(answer.body[0][member], history.body[member], "{member}");
    }
    assert_eq!(read_all_pages(&ledger, "/events?type=TierAssigned,PrisonJoinedOmic").await.0, [all[0], tier]);
    assert_eq!(read_all_pages(&ledger, "/events?prisoner=A1111AA&limit=1").await, (vec![tier, head], 2));
    assert_eq!(read_all_pages(&ledger, &format!("/events?prison={PRISON}")).await.0, all);
    assert!(read_all_pages(&ledger, "/events?prison=MDI").await.0.is_empty());
    assert!(read_all_pages(&ledger, "/events?prisoner=Z9999ZZ").await.0.is_empty());
    let nothing_new = page(&ledger, &format!("/events?after={head}")).await;
    assert_eq!((assert_ok(&nothing_new), position(&nothing_new)), (&json!([]), head));

    assert_refused(&page(&ledger, &format!("/events?after={}", head + 1)).await, 400, "parameter-invalid");
    assert_refused(&page(&ledger, "/events?type=Nonsense").await, 400, "parameter-invalid");
    assert_refused(&page(&ledger, "/events?limit=0").await, 400, "parameter-invalid");
    assert_refused(&page(&ledger, "/events?prisonr=LEI").await, 400, "parameter-unknown");
}

#[tokio::test]
async fn a_search_for_rare_events_continues_from_page_to_page() {
    let ledger = ledger_of_one_case().await;
    append_to_made_up_cases(&ledger, &tiers(22_000)).await;
    ledger.case("A2222AA", SHAH).await;
    let first = page(&ledger, "/events?type=AllocationMade").await;
    assert_eq!(first.body.as_array().map(Vec::len), Some(1), "not all of the log is looked through for one page");
    assert!(position(&first) < ledger.event_count().await);
    let (found, pages) = read_all_pages(&ledger, "/events?type=AllocationMade").await;
    assert_eq!((found.len(), pages), (2, 2));
    let (found, pages) = read_all_pages(&ledger, "/events?prisoner=A2222AA").await;
    assert_eq!((found.len(), pages), (2, 1), "a case is found by its number");
}

/// A stream of events, as a client reads it.
struct SseReader {
    response: Response,
    text: String,
}

impl SseReader {
    async fn open(ledger: &Ledger, path: &str, headers: &[(&str, &str)]) -> Self {
        let url = format!("{}{path}", ledger.client().base_url());
        let mut request = reqwest::Client::new().get(url).header("Accept", "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next block of lines: an error if the stream breaks off, `None` at its end.
    async fn block(&mut self) -> reqwest::Result<Option<String>> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Ok(Some(block));
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("something in time")?;
            let Some(chunk) = chunk else { return Ok(None) };
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next event: its id, its type and its data.
    async fn event(&mut self) -> (u64, String, Value) {
        loop {
            let block = self.block().await.expect("no break").expect("no end");
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(id), Some(event), Some(data)) = (field("id: "), field("event: "), field("data: ")) {
                let data: Value = serde_json::from_str(data).expect("JSON");
                return (id.parse().expect("a position"), event.to_owned(), data);
            }
        }
    }
}

#[tokio::test]
async fn a_stream_sends_new_events_and_resumes_after_the_last_event_id() {
    let ledger = ledger_of_one_case().await;
    let all = ledger.positions().await;
    let mut stream = SseReader::open(&ledger, "/events", &[]).await;
    for &expected in &all {
        let (id, event, data) = stream.event().await;
        assert_eq!((id, &data["position"], &data["type"]), (expected, &json!(expected), &json!(event)));
    }
    let seen = position(&ledger.tier("A2222AA").await);
    assert_eq!(stream.event().await.0, seen, "recorded while it was open");
    drop(stream);
    let next = position(&ledger.tier("A3333AA").await);
    let (after, last) = (format!("/events?after={}", all[0]), seen.to_string());
    let mut resumed = SseReader::open(&ledger, &after, &[("Last-Event-ID", &last)]).await;
    assert_eq!(resumed.event().await.0, next);

    let mut case = SseReader::open(&ledger, "/events?prisoner=A2222AA&type=AllocationMade,TierAssigned", &[]).await;
    assert_eq!(case.event().await.0, seen);
    ledger.tier("A4444AA").await;
    ledger.allocate("A2222AA", SHAH).await;
    assert_eq!(case.event().await.1, "AllocationMade", "of another case nothing comes");

    let stream = [("Accept", "text/event-stream")];
    let ahead = [stream[0], ("Last-Event-ID", "1000000")];
    let get = async |path: &str, headers: &[(&str, &str)]| ledger.client().send(Method::GET, path, headers, None).await;
    assert_refused(&get("/events", &ahead).await, 400, "header-invalid");
    assert_refused(&get("/events", &[stream[0], ("Last-Event-ID", "x")]).await, 400, "header-invalid");
    assert_refused(&get("/events", &[("Last-Event-ID", "x")]).await, 400, "header-invalid");
    assert_refused(&get("/events?limit=5", &stream).await, 400, "parameter-invalid");
}

#[tokio::test]
async fn open_streams_do_not_delay_a_shutdown() {
    let ledger = ledger_of_one_case().await;
    let mut idle = SseReader::open(&ledger, &format!("/events?after={}", ledger.event_count().await), &[]).await;
    assert!(idle.block().await.expect("no break").is_some());
    let drained = async { while idle.block().await.expect("an end in order").is_some() {} };
    let ((status, log), ()) = tokio::join!(ledger.program.stop_and_read_log(), drained);
    assert!(status.success());
    assert!(!log.contains("closing connections that were still open"), "{log}");
}

/// Damage in the tables of the log.
mod log_in_postgres {
    use sqlx::AssertSqlSafe;

    use super::*;
    use crate::support::topology::require_log_in_postgres;

    #[tokio::test]
    async fn a_stream_ends_at_damage_after_the_events_before_it() {
        require_log_in_postgres();
        let ledger = ledger_of_one_case().await;
        let head = ledger.event_count().await;
        let sql = format!(
            "BEGIN; SET LOCAL session_replication_role = replica;
             UPDATE log.event SET data = convert_to('nonsense', 'UTF8') WHERE position = {}; COMMIT",
            head - 1
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&ledger.database.pool).await.expect("harm the log");
        let mut stream = SseReader::open(&ledger, "/events", &[]).await;
        for expected in 1..head - 1 {
            assert_eq!(stream.event().await.0, expected);
        }
        let last = stream.block().await.expect("no break").expect("a last word");
        assert!(last.starts_with(": the log cannot be read on"), "{last}");
        assert_eq!(stream.block().await.expect("an end in order"), None);

        let (mut found, mut next) = (0, Some("/events?limit=1000".to_owned()));
        while let Some(path) = next {
            let answer = page(&ledger, &path).await;
            if answer.status == 500 {
                break;
            }
            found += assert_ok(&answer).as_array().map_or(0, Vec::len) as u64;
            next = next_page(&answer);
            assert!(next.is_some(), "there is more, although it cannot be read");
        }
        assert_eq!(found, head - 2, "what precedes it is answered");
    }

    /// A page ends before the damage. The next page is an error.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_page_of_a_case_ends_before_its_damage() {
        require_log_in_postgres();
        let ledger = ledger_of_one_case().await;
        ledger.harm_second_event("A1111AA").await;
        let first = page(&ledger, "/events?prisoner=A1111AA").await;
        assert_eq!(assert_ok(&first).as_array().map(Vec::len), Some(1), "{}", first.text);
        let next = next_page(&first).expect("there is more, although it cannot be read");
        assert_eq!(page(&ledger, &next).await.status, 500);
    }
}
