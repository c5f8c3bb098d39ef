//! Questions about prisoner numbers that were merged.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::Stream;
use event_log::ExpectedRevision;
use http_api::page::Cursor;
use query::past::{PastError, whole_case};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    HttpAnswer, Program,
    builders::{new_event, number_retired},
    ledger::{Ledger, SHAH, assert_recorded, assert_refused, serve_commands},
    projections::project,
    questions::{ask, ask_with, assert_ok, members, next_page, record},
};

#[tokio::test]
async fn merged_numbers_answer_with_the_survivor() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1111AA", SHAH).await;
    ledger.tier("A2222BB").await;
    record(&ledger, "POST /prisoners/A2222BB/merges", json!({"removedNumber": "A1111AA"})).await;
    ledger.wait_for_policies().await;
    for number in ["A1111AA", "A2222BB"] {
        let answer = ask(&ledger, &format!("/prisoners/{number}/responsibility")).await;
        assert_eq!(assert_ok(&answer)["prisonerNumber"], "A2222BB");
        assert_eq!(assert_ok(&answer)["responsible"]["staffId"], SHAH, "taken over");
        let history = ask(&ledger, &format!("/prisoners/{number}/history")).await;
        let numbers = members(&history, "prisonerNumber");
        assert!(numbers.contains(&json!("A1111AA")) && numbers.contains(&json!("A2222BB")), "{}", history.text);
        assert_eq!(members(&history, "type").last(), Some(&json!("PrisonerNumberMerged")));
        let periods = ask(&ledger, &format!("/prisoners/{number}/responsibility/periods")).await;
        assert!(members(&periods, "prisonerNumber").iter().all(|number| number == "A2222BB"), "{}", periods.text);
        // A page of very many periods ends early; the next one begins after its last.
        assert_eq!(next_page(&periods), None);
        for (index, from) in members(&periods, "from").into_iter().enumerate() {
            let from: DateTime<Utc> = from.as_str().expect("an instant").parse().expect("an instant");
            let uri = format!("/prisoners/{number}/responsibility/periods").parse().expect("a URI");
            let link = Cursor::after(&from).next_link(&uri).expect("a link");
            let path = link.to_str().expect("text")[1..].split('>').next().expect("a path").to_owned();
            let rest = ask(&ledger, &path).await;
            assert_eq!(
                assert_ok(&rest).as_array().expect("a list")[..],
                periods.body.as_array().expect("a list")[index + 1..]
            );
        }
    }
    let both = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!(["A1111AA", "A2222BB"]))).await;
    assert_eq!(members(&both, "prisonerNumber"), ["A2222BB", "A2222BB"]);
    // Known before the merge, the removed number was a case of its own.
    let before = ledger
        .case_events("A1111AA")
        .await
        .iter()
        .filter(|event| event.entry.event.type_name() == "AllocationMade")
        .map(|event| event.entry.position)
        .next_back()
        .expect("an allocation");
    let known = ask(&ledger, &format!("/prisoners/A1111AA/responsibility?known-at={before}")).await;
    assert_eq!(assert_ok(&known)["prisonerNumber"], "A1111AA");
}

#[tokio::test]
async fn a_day_before_a_merge_is_answered_from_the_removed_number() {
    let ledger = Ledger::start_all_roles().await;
    let tier = |tier: &str, day: &str| json!({"tier": tier, "source": "DELIUS", "prison": "LEI", "effectiveAt": format!("{day}T09:00:00Z")});
    // A chain of three numbers, each with events from a later day on.
    record(&ledger, "POST /prisoners/A1111AA/tier", tier("A", "2026-01-05")).await;
    record(&ledger, "POST /prisoners/A2222BB/tier", tier("B", "2026-02-05")).await;
    record(&ledger, "POST /prisoners/A2222BB/merges", json!({"removedNumber": "A1111AA"})).await;
    ledger.wait_for_policies().await;
    record(&ledger, "POST /prisoners/A3333CC/tier", tier("C", "2026-03-05")).await;
    record(&ledger, "POST /prisoners/A3333CC/merges", json!({"removedNumber": "A2222BB"})).await;
    ledger.wait_for_policies().await;
    let head = ledger.event_count().await;
    for (number, known_at) in [
        ("A1111AA", String::new()),
        ("A2222BB", String::new()),
        ("A3333CC", String::new()),
        ("A1111AA", format!("&known-at={head}")),
        ("A3333CC", format!("&known-at={head}")),
    ] {
        for (day, expected) in [("2026-01-20", "A"), ("2026-02-20", "B"), ("2026-03-20", "C")] {
            let path = format!("/prisoners/{number}/responsibility?on={day}{known_at}");
            let answer = ask(&ledger, &path).await;
            assert_eq!(
                (&assert_ok(&answer)["tier"], &answer.body["prisonerNumber"]),
                (&json!(expected), &json!("A3333CC"))
            );
        }
        let path = format!("/prisoners/{number}/responsibility?on=2026-01-01{known_at}");
        assert_refused(&ask(&ledger, &path).await, 404, "prisoner-unknown");
    }
    let many = ask_with(&ledger, Method::POST, "/responsibilities?on=2026-01-20", Some(&json!(["A3333CC"]))).await;
    assert_eq!(members(&many, "tier"), ["A"]);
    let periods = ask(&ledger, "/prisoners/A1111AA/responsibility/periods").await;
    let tiers = members(&periods, "tier");
    assert_eq!(tiers[..3], ["A", "B", "C"]);
    assert_eq!(
        members(&periods, "from")[..3],
        ["2026-01-05T09:00:00Z", "2026-02-05T09:00:00Z", "2026-03-05T09:00:00Z"]
    );
    assert_eq!(members(&periods, "to")[..2], ["2026-02-05T09:00:00Z", "2026-03-05T09:00:00Z"]);
    assert!(members(&periods, "prisonerNumber").iter().all(|number| number == "A3333CC"), "{}", periods.text);
}

/// A ledger's query service over views that stay where they are.
struct StillViews {
    ledger: Ledger,
    query: Program,
}

impl StillViews {
    /// Stops the program of a ledger and brings its views to the log's end, where they stay.
    async fn of(ledger: Ledger) -> Self {
        let Ledger { database, program } = ledger;
        assert!(program.stop().await.success());
        project(&database.log().await, &database.pool).await;
        let stores = database.arguments();
        let arguments: Vec<&str> = ["--role", "query"].into_iter().chain(stores.iter().map(String::as_str)).collect();
        let query = Program::serve_with(&arguments).await;
        Self { ledger: Ledger { program: serve_commands(&database).await, database }, query }
    }

    async fn ask(&self, path: &str) -> HttpAnswer {
        self.query.client().get(path).await
    }
}

#[tokio::test]
async fn periods_of_a_merged_case_adjoin_while_the_views_lack_a_backdated_entry() {
    let ledger = Ledger::start_all_roles().await;
    let tier = |tier: &str, day: &str| json!({"tier": tier, "source": "DELIUS", "prison": "LEI", "effectiveAt": format!("{day}T09:00:00Z")});
    record(&ledger, "POST /prisoners/A1111AA/tier", tier("A", "2026-01-05")).await;
    record(&ledger, "POST /prisoners/A2222BB/tier", tier("B", "2026-02-05")).await;
    record(&ledger, "POST /prisoners/A2222BB/merges", json!({"removedNumber": "A1111AA"})).await;
    let still = StillViews::of(ledger).await;
    let before = still.ask("/prisoners/A2222BB/responsibility/periods").await;
    let tier_before_the_merge = tier("C", "2026-01-10");
    assert_recorded(&still.ledger.client().post("/prisoners/A2222BB/tier", &tier_before_the_merge).await);
    let after = still.ask("/prisoners/A2222BB/responsibility/periods").await;
    assert_eq!(after.header("ledger-position"), before.header("ledger-position"), "the views stay where they are");
    assert_eq!(assert_ok(&after), assert_ok(&before), "the answer is of their position");
    let (from, to) = (members(&after, "from"), members(&after, "to"));
    assert_eq!(from[1..], to[..to.len() - 1], "the periods adjoin");
}

/// The recorded events of a merge are in two streams, so a reader may see one half without the
/// other, and a service may die between them.
#[tokio::test]
async fn between_the_halves_of_a_merge_the_removed_number_answers_as_it_was_left() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1111AA", SHAH).await;
    record(&ledger, "POST /prisoners/A1111AA/deallocations", json!({"trigger": "MANUAL"})).await;
    let body = json!({"tier": "B", "source": "DELIUS", "prison": "LEI", "effectiveAt": "2026-03-05T09:00:00Z"});
    record(&ledger, "POST /prisoners/A3333CC/tier", body).await;
    ledger.tier("A4444DD").await;
    // The policies would complete the merges, so the program must not run.
    let Ledger { database, program } = ledger;
    assert!(program.stop().await.success());
    let log = database.log().await;
    for (removed, last_revision, survivor) in [("A1111AA", 2, "A2222BB"), ("A4444DD", 0, "A3333CC")] {
        let stream = Stream::Prisoner(removed.parse().expect("a number"));
        let event = new_event(&number_retired(survivor));
        log.append(&stream, ExpectedRevision::Exact(last_revision), vec![event]).await.expect("append");
    }
    project(&log, &database.pool).await;
    let head = log.head().await.expect("the head");
    let stores = database.arguments();
    let arguments: Vec<&str> = ["--role", "query"].into_iter().chain(stores.iter().map(String::as_str)).collect();
    let query = Program::serve_with(&arguments).await;
    let get = async |path: &str| query.client().get(path).await;

    for known_at in [String::new(), format!("&known-at={head}")] {
        let held = get(&format!("/prisoners/A1111AA/responsibility?on=2026-02-20{known_at}")).await;
        assert_eq!(assert_ok(&held)["responsible"]["staffId"], SHAH);
        let left = get(&format!("/prisoners/A1111AA/responsibility?on=2099-01-01{known_at}")).await;
        assert_eq!(assert_ok(&left)["responsible"]["vacancy"], "NOT_ALLOCATED");
        assert_eq!(left.body["asOf"], json!({"position": head, "revision": 3}));
        for answer in [held, left] {
            assert_eq!(answer.body["prisonerNumber"], "A1111AA", "nothing is known of the survivor");
        }
        let question = format!("/prisoners/A1111AA/responsibility/periods?{known_at}").replace("?&", "?");
        let periods = get(&question).await;
        assert_eq!(members(&periods, "to").last(), Some(&json!(null)), "{}", periods.text);
        let history = get(&question.replace("responsibility/periods", "history")).await;
        assert_eq!(members(&history, "type").last(), Some(&json!("PrisonerNumberRetired")));
        let many =
            query.client().post(&format!("/responsibilities?on=2026-02-20{known_at}"), &json!(["A1111AA"])).await;
        assert_eq!(members(&many, "prisonerNumber"), ["A1111AA"]);
        let path = format!("/prisoners/A2222BB/responsibility?on=2026-02-20{known_at}");
        assert_refused(&get(&path).await, 404, "prisoner-unknown");

        // A survivor that has a history of its own answers, and the removed number before that.
        for (day, tier) in [("2026-01-20", "C1"), ("2026-03-20", "B")] {
            let answer = get(&format!("/prisoners/A4444DD/responsibility?on={day}{known_at}")).await;
            assert_eq!(
                (&assert_ok(&answer)["tier"], &answer.body["prisonerNumber"]),
                (&json!(tier), &json!("A3333CC"))
            );
        }
        let history = get(&format!("/prisoners/A4444DD/history?{known_at}").replace("?&", "?")).await;
        assert_eq!(members(&history, "prisonerNumber"), ["A4444DD", "A3333CC", "A4444DD"]);
    }
    let live = get("/api/allocation/A1111AA").await;
    assert_eq!(live.body["message"], "Not allocated");
}

/// The views change between the statements of an answer that needs several.
#[tokio::test]
async fn an_answer_through_a_merged_number_is_of_one_position() {
    let ledger = Ledger::start_all_roles().await;
    ledger.tier("A1111AA").await;
    ledger.tier("A2222BB").await;
    record(&ledger, "POST /prisoners/A2222BB/merges", json!({"removedNumber": "A1111AA"})).await;
    ledger.wait_for_policies().await;
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let recording = async {
        for count in 0..150 {
            let tier = json!({"tier": if count % 2 == 0 { "A" } else { "B" }, "source": "DELIUS"});
            record(&ledger, "POST /prisoners/A2222BB/tier", tier).await;
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let asking = async || {
        let mut extents = Vec::new();
        while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
            let one = ledger.client().get("/prisoners/A1111AA/responsibility").await;
            extents.push(assert_ok(&one)["asOf"].clone());
            let many = ledger.client().post("/responsibilities", &json!(["A2222BB", "A1111AA"])).await;
            extents.extend(members(&many, "asOf"));
        }
        extents
    };
    let ((), one, other) = futures::join!(recording, asking(), asking());
    let events = ledger.case_events("A2222BB").await;
    for extent in one.into_iter().chain(other) {
        let (position, revision) = (extent["position"].as_u64(), extent["revision"].as_u64());
        let known = events.iter().filter(|event| Some(event.entry.position) <= position);
        assert_eq!(known.map(|event| event.entry.revision).next_back(), revision, "{extent}");
    }
}

#[tokio::test]
async fn an_answer_about_no_cases_has_a_position() {
    let ledger = Ledger::start_all_roles().await;
    let none = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!([]))).await;
    let head = ledger.event_count().await;
    assert_eq!((assert_ok(&none), none.header("ledger-position")), (&json!([]), Some(head.to_string().as_str())));
}

/// The rules refuse a circle, but two servers could make one if neither saw the other's merge.
#[tokio::test]
async fn a_circle_of_merges_is_an_error_instead_of_an_endless_read() {
    let ledger = Ledger::start_all_roles().await;
    let numbers = ["A1111AA", "A2222BB"];
    for number in numbers {
        ledger.tier(number).await;
    }
    let log = ledger.log().await;
    // The policies would complete the first merge, so the program must not run.
    assert!(ledger.program.stop().await.success());
    for (removed, survivor) in [(numbers[0], numbers[1]), (numbers[1], numbers[0])] {
        let event = new_event(&number_retired(survivor));
        let stream = Stream::Prisoner(removed.parse().expect("a number"));
        log.append(&stream, ExpectedRevision::Exact(0), vec![event]).await.expect("append");
    }
    let number = numbers[0].parse().expect("a number");
    let read = tokio::time::timeout(Duration::from_secs(60), whole_case(&log, &number, None)).await.expect("an end");
    assert!(matches!(read, Err(PastError::Failure(query::QueryError::MergeCircle { .. }))), "{read:?}");
}
