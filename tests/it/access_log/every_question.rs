//! Every operation that is no command: an answer that shows a prisoner number has an entry with it.

use std::collections::BTreeSet;

use event_log::RecordedEvent;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{entries, entry_of};
use crate::support::{
    HttpAnswer,
    ledger::{Ledger, SHAH, assert_refused},
    questions::{ask, determinate_sentence, record},
    whole_log::read_recorded,
};

/// Every operation of the document that is neither a command nor open to all: its method and path,
/// and a request to it that shows whatever it can.
const QUESTIONS: &[(&str, &str, &str)] = &[
    ("GET", "/access-log", "/access-log"),
    ("GET", "/api/allocation/{prisonerNumber}", "/api/allocation/A1111AA"),
    ("GET", "/api/allocation/{prisonerNumber}/primary_pom", "/api/allocation/A1111AA/primary_pom"),
    ("GET", "/api/handovers/{prisonerNumber}", "/api/handovers/A1111AA"),
    ("GET", "/control-reports", "/control-reports"),
    ("GET", "/control-reports/{report}", "/control-reports/backdated-entries"),
    ("GET", "/events", "/events"),
    ("GET", "/nomis-contacts", "/nomis-contacts"),
    ("GET", "/poms/{staffIds}", "/poms/485928"),
    ("GET", "/poms/{staffId}/cases", "/poms/485928/cases"),
    ("GET", "/prisoners/{prisonerNumber}/history", "/prisoners/A1111AA/history"),
    ("GET", "/prisoners/{prisonerNumber}/history/{revision}", "/prisoners/A1111AA/history/0"),
    ("GET", "/prisoners/{prisonerNumber}/responsibility", "/prisoners/A1111AA/responsibility"),
    ("GET", "/prisoners/{prisonerNumber}/responsibility/periods", "/prisoners/A1111AA/responsibility/periods"),
    ("GET", "/prisons/{prisonCode}/cases", "/prisons/LEI/cases"),
    ("GET", "/prisons/{prisonCode}/handovers", "/prisons/LEI/handovers?on=2026-04-16"),
    ("GET", "/prisons/{prisonCode}/nomis-contacts", "/prisons/LEI/nomis-contacts"),
    ("GET", "/prisons/{prisonCode}/poms", "/prisons/LEI/poms"),
    ("GET", "/prisons/{prisonCode}/statistics", "/prisons/LEI/statistics"),
    ("GET", "/prisons/{prisonCode}/unallocated", "/prisons/LEI/unallocated"),
    (
        "GET",
        "/prisons/{prisonCode}/unallocated/{prisonerNumber}/suggestions",
        "/prisons/LEI/unallocated/A1112AA/suggestions",
    ),
    ("GET", "/projections", "/projections"),
    ("GET", "/status", "/status"),
    ("GET", "/subject-access-request", "/subject-access-request?prn=A1111AA"),
    ("GET", "/subject-access-request/template", "/subject-access-request/template"),
    ("POST", "/allocation/active", "/allocation/active"),
    ("POST", "/handover-dates", "/handover-dates"),
    ("POST", "/responsibilities", "/responsibilities"),
];

/// The commands that are answered as another service did, or case by case.
const COMMANDS_WITHOUT_201: [&str; 2] = ["/allocation", "/prisons/{prisonCode}/reallocations"];

/// The paths of the integration service, which answers nothing about a person and is not among the
/// services of these tests where they are apart; and of jobs, whose exports `sign_on/jobs.rs`
/// tries.
const OF_OTHERS: [&str; 3] = ["/integration/", "/queue-admin/", "/projections/jobs"];

/// The operations on an uploaded spreadsheet, which [`spreadsheets`](super::spreadsheets) tries.
const OF_SPREADSHEETS: &str = "/prisons/{prisonCode}/spreadsheets";

/// Those that show no person in prison.
const SHOWING_NOBODY: [&str; 7] = [
    "/control-reports",
    "/handover-dates",
    "/prisons/{prisonCode}/poms",
    "/prisons/{prisonCode}/statistics",
    "/projections",
    "/status",
    "/subject-access-request/template",
];

/// The questions that have their input in a body.
fn body_of(path: &str) -> Option<Value> {
    match path {
        "/allocation/active" => Some(json!(["A1111AA", "A1112AA", "A9999ZZ"])),
        "/responsibilities" => Some(json!(["A1111AA", "A1112AA", "A9999ZZ"])),
        "/handover-dates" => Some(json!([{"indeterminate": false, "sentenceStartDate": "2024-01-01"}])),
        _ => None,
    }
}

/// The prisoner numbers in a text.
fn numbers_in(text: &str) -> BTreeSet<String> {
    let is_number = |part: &&[u8]| {
        let (letter, rest) = (part[0], &part[1..]);
        letter.is_ascii_uppercase()
            && rest[..4].iter().all(u8::is_ascii_digit)
            && rest[4..].iter().all(u8::is_ascii_uppercase)
    };
    text.as_bytes().windows(7).filter(is_number).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

async fn send(ledger: &Ledger, method: &str, path: &str, correlation_id: Uuid) -> HttpAnswer {
    let id = correlation_id.to_string();
    let method: Method = method.parse().expect("a method");
    ledger.client().send(method, path, &[("X-Correlation-Id", &id)], body_of(path).as_ref()).await
}

/// A ledger with a case that is handed over soon, one that waits, one that was merged, and a
/// contact in NOMIS.
async fn ledger_with_cases() -> Ledger {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1111AA", SHAH).await;
    ledger.tier("A1112AA").await;
    ledger.case("A1113AA", SHAH).await;
    record(&ledger, "POST /prisoners/A1111AA/handover-plans", determinate_sentence()).await;
    record(&ledger, "POST /prisoners/A1114AA/merges", json!({"removedNumber": "A1113AA"})).await;
    let contact = json!({"prisonerNumber": "A1115AA", "staffId": 7, "contactType": "POM"});
    record(&ledger, "POST /prisons/LEI/nomis-contacts", contact).await;
    ledger.wait_for_policies().await;
    // The views include all of it from here on.
    ask(&ledger, "/projections").await;
    ledger
}

/// The commands are not among these: an event says who recorded it and what the answer showed.
#[tokio::test]
async fn every_answer_that_shows_a_prisoner_has_an_entry() {
    let ledger = ledger_with_cases().await;
    let document = ledger.client().get("/openapi.json").await.body;
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let is_open = operation["security"].as_array().is_some_and(Vec::is_empty);
            let is_command =
                operation["responses"].get("201").is_some() || COMMANDS_WITHOUT_201.contains(&path.as_str());
            let is_of_others = OF_OTHERS.iter().any(|beginning| path.starts_with(beginning));
            if !is_open && !is_command && !is_of_others && !path.starts_with(OF_SPREADSHEETS) {
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    let listed = QUESTIONS.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(described, listed, "each question says here how it is tried");

    let mut showing_nobody = BTreeSet::new();
    let mut showing = 0;
    for (method, operation, path) in QUESTIONS {
        let correlation_id = Uuid::new_v4();
        let answer = send(&ledger, method, path, correlation_id).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let numbers = numbers_in(&answer.text);
        if *operation == "/access-log" {
            let entry = entry_of(&ledger.database, correlation_id).await;
            assert_eq!(entry.filter.as_deref(), Some("access log"), "{entry:?}");
            showing += 1;
            continue;
        }
        if numbers.is_empty() && !path.contains("A1111AA") {
            showing_nobody.insert(*operation);
            continue;
        }
        showing += 1;
        let entry = entry_of(&ledger.database, correlation_id).await;
        let asked = (entry.method.as_deref(), entry.operation.as_str(), entry.status);
        assert_eq!(asked, (Some(*method), *operation, Some(200)), "{entry:?}");
        assert_eq!((&entry.username, &entry.client, &entry.auth_source), (&None, &None, &None), "nobody signs on here");
        if *operation == "/events" {
            let head = ledger.event_count().await.cast_signed();
            assert_eq!((entry.after_position, entry.to_position), (Some(0), Some(head)), "{entry:?}");
            assert_eq!((entry.filter.as_deref(), entry.prisoners.len()), (Some("events"), 0));
            continue;
        }
        let recorded: BTreeSet<String> = entry.prisoners.into_iter().collect();
        assert!(numbers.is_subset(&recorded), "{operation} shows {numbers:?}, and recorded {recorded:?}");
        assert!(recorded.contains("A1111AA") || !path.contains("A1111AA"), "{operation} recorded {recorded:?}");
    }
    assert_eq!(showing_nobody, BTreeSet::from(SHOWING_NOBODY), "the others have something to show");
    // Entries are stored in their order, so no other will come.
    assert_eq!(entries(&ledger.database).await.len(), showing);
}

/// Only the stored bytes have it.
#[tokio::test]
async fn no_answer_shows_a_salt() {
    let ledger = ledger_with_cases().await;
    let recorded = read_recorded(&*ledger.log().await).await;
    let salt = |event: &RecordedEvent| {
        let metadata: Value = serde_json::from_slice(&event.metadata).expect("JSON");
        metadata["salt"].as_str().expect("a salt").to_owned()
    };
    let salts: Vec<String> = recorded.iter().map(salt).collect();
    for (method, _, path) in QUESTIONS {
        let answer = send(&ledger, method, path, Uuid::new_v4()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let shown = salts.iter().find(|salt| answer.text.contains(*salt));
        assert!(shown.is_none() && !answer.text.contains("salt"), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_number_that_nothing_is_known_of_is_recorded_and_a_request_that_cannot_be_read_is_not() {
    let ledger = Ledger::start_all_roles().await;
    let ids: [Uuid; 3] = std::array::from_fn(|_| Uuid::new_v4());
    let malformed = send(&ledger, "GET", "/prisoners/A1111AA/responsibility?on=soon", ids[0]).await;
    assert_refused(&malformed, 400, "parameter-invalid");
    let unknown = send(&ledger, "GET", "/prisoners/%41%39999ZZ/responsibility", ids[1]).await;
    assert_refused(&unknown, 404, "prisoner-unknown");
    let live = send(&ledger, "HEAD", "/api/allocation/A9999ZZ", ids[2]).await;
    assert_eq!(live.status, 404);
    let last = entry_of(&ledger.database, ids[2]).await;
    assert_eq!(
        (last.method.as_deref(), last.status, &last.prisoners[..]),
        (Some("HEAD"), Some(404), &["A9999ZZ".to_owned()][..])
    );
    let all = entries(&ledger.database).await;
    assert_eq!(all.iter().map(|entry| entry.correlation_id).collect::<Vec<_>>(), [Some(ids[1]), Some(ids[2])]);
    assert_eq!(all[0].prisoners, ["A9999ZZ"]);
}

#[tokio::test]
async fn an_answer_that_the_caller_has_already_and_both_numbers_of_a_merge_are_recorded() {
    let ledger = ledger_with_cases().await;
    let first = ledger.client().get("/prisoners/A1113AA/responsibility").await;
    let tag = first.header("etag").expect("an entity tag").to_owned();
    let correlation_id = Uuid::new_v4();
    let id = correlation_id.to_string();
    let headers = [("X-Correlation-Id", id.as_str()), ("If-None-Match", tag.as_str())];
    let path = "/prisoners/A1113AA/responsibility";
    assert_eq!(ledger.client().send(Method::GET, path, &headers, None).await.status, 304);
    let entry = entry_of(&ledger.database, correlation_id).await;
    assert_eq!((entry.status, entry.prisoners), (Some(304), vec!["A1113AA".to_owned(), "A1114AA".to_owned()]));
}

/// A refusal tells where the case is, and of a merged number which one it goes on under.
#[tokio::test]
async fn a_question_that_is_refused_is_recorded_with_the_numbers_that_it_names() {
    let ledger = ledger_with_cases().await;
    // To a prison that is not on OMiC.
    record(&ledger, "POST /prisoners/A1112AA/transfers", json!({"toPrison": "MDI"})).await;
    ask(&ledger, "/projections").await;
    for (path, status, code, numbers) in [
        ("/prisons/MDI/unallocated/A1112AA/suggestions", 422, "prison-not-on-omic", &["A1112AA"][..]),
        ("/prisons/LEI/unallocated/A1112AA/suggestions", 404, "case-not-waiting", &["A1112AA"]),
        ("/prisons/LEI/unallocated/A1113AA/suggestions", 404, "case-not-waiting", &["A1113AA", "A1114AA"]),
        (
            "/prisons/LEI/unallocated/A1113AA/suggestions?on=2025-01-01",
            404,
            "prisoner-unknown",
            &["A1113AA", "A1114AA"],
        ),
        ("/prisoners/A1113AA/responsibility?on=2025-01-01", 404, "prisoner-unknown", &["A1113AA", "A1114AA"]),
    ] {
        let correlation_id = Uuid::new_v4();
        let answer = send(&ledger, "GET", path, correlation_id).await;
        assert_refused(&answer, status, code);
        let numbers: BTreeSet<String> = numbers.iter().map(|&number| number.to_owned()).collect();
        assert!(numbers_in(&answer.text).is_subset(&numbers), "{}", answer.text);
        let entry = entry_of(&ledger.database, correlation_id).await;
        assert_eq!(entry.status, i16::try_from(status).ok(), "{path}");
        assert_eq!(BTreeSet::from_iter(entry.prisoners), numbers, "{path}");
    }
}

#[tokio::test]
async fn a_stream_of_events_is_recorded_when_it_begins_and_with_its_range_when_it_ends() {
    let ledger = ledger_with_cases().await;
    let url = format!("{}/events?after=2&prisoner=A1113AA", ledger.client().base_url());
    let request = reqwest::Client::new().get(url).header("Accept", "text/event-stream");
    let mut stream = request.send().await.expect("a stream");
    let begun = super::eventually("the beginning of the stream", async || entries(&ledger.database).await.pop()).await;
    assert_eq!((begun.after_position, begun.to_position), (Some(2), None));
    assert_eq!(begun.prisoners, ["A1113AA", "A1114AA"]);
    let mut seen = String::new();
    while !seen.contains("PrisonerNumberMerged") {
        let chunk = stream.chunk().await.expect("a chunk").expect("no end");
        seen.push_str(&String::from_utf8_lossy(&chunk));
    }
    drop(stream);
    let ended = super::eventually("the end of the stream", async || {
        entries(&ledger.database).await.into_iter().find(|entry| entry.to_position.is_some())
    });
    let ended = ended.await;
    assert_eq!((ended.after_position, ended.correlation_id), (Some(2), begun.correlation_id));
    let head = ledger.event_count().await.cast_signed();
    assert!((3..=head).contains(&ended.to_position.expect("the end")), "{ended:?}");
}
