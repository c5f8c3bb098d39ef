//! Numbers that were merged in a chain: every answer about a time before the merges is the one that
//! one of the numbers gave before them, with co-working POMs, a COM, plans and overrides.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    ledger::{Ledger, NOVAK, OKAFOR, PRISON, SHAH, assert_refused},
    questions::{ask, ask_with, assert_ok, determinate_sentence, members, record},
};

/// The numbers in the order of their merges, and the day from which each has a history of its own.
const NUMBERS: [(&str, &str); 3] = [("A0001AA", "2026-01-05"), ("A0002BB", "2026-02-05"), ("A0003CC", "2026-03-05")];

/// Days before the merges, on both sides of each change.
const DAYS: [&str; 14] = [
    "2026-01-06",
    "2026-01-11",
    "2026-01-13",
    "2026-01-15",
    "2026-02-03",
    "2026-02-04",
    "2026-02-06",
    "2026-02-11",
    "2026-02-20",
    "2026-03-06",
    "2026-03-09",
    "2026-03-20",
    "2026-04-17",
    "2026-05-20",
];

/// Gives each number a past in which every fact occurs that a merge can carry.
async fn record_pasts(ledger: &Ledger) {
    let at = |day: &str, mut body: Value| {
        body["effectiveAt"] = json!(format!("{day}T09:00:00Z"));
        body
    };
    let tier = |tier: &str, crn: &str| json!({"tier": tier, "source": "DELIUS", "prison": PRISON, "crn": crn});
    let pom =
        |staff_id: i64| json!({"prison": PRISON, "pom": {"staffId": staff_id}, "overrideReasons": ["CONTINUITY"]});
    let coworker = |staff_id: i64| json!({"prison": PRISON, "pom": {"staffId": staff_id}});
    for (request, body) in [
        ("POST /prisoners/A0001AA/tier", at("2026-01-05", tier("C1", "X111111"))),
        ("POST /prisoners/A0001AA/allocations", at("2026-01-10", pom(SHAH))),
        ("POST /prisoners/A0001AA/co-workers", at("2026-01-12", coworker(NOVAK))),
        ("PUT /prisoners/A0001AA/community-manager", at("2026-01-14", json!({"name": "Lee, Sam"}))),
        ("POST /prisoners/A0001AA/handover-plans", determinate_sentence()),
        ("POST /prisoners/A0002BB/tier", at("2026-02-05", tier("D", "X222222"))),
        ("POST /prisoners/A0002BB/allocations", at("2026-02-10", pom(OKAFOR))),
        ("POST /prisoners/A0002BB/co-workers", at("2026-02-12", coworker(SHAH))),
        ("POST /prisoners/A0002BB/deallocations", at("2026-02-25", json!({"trigger": "MANUAL"}))),
        ("POST /prisoners/A0002BB/allocations", at("2026-03-15", pom(NOVAK))),
        ("POST /prisoners/A0002BB/co-workers", at("2026-03-16", coworker(OKAFOR))),
        ("POST /prisoners/A0003CC/tier", at("2026-03-05", json!({"tier": "B2", "source": "MANUAL"}))),
        (
            "PUT /prisoners/A0003CC/responsibility-override",
            at("2026-03-08", json!({"responsible": "PRISON", "reason": "PRISONER_HAS_BEEN_RECALLED"})),
        ),
    ] {
        record(ledger, request, body).await;
    }
}

/// An answer without what a merge may change: the number and how far the answer goes.
fn without_number(body: &Value) -> Value {
    let mut body = body.clone();
    for member in ["prisonerNumber", "asOf", "from", "to"] {
        body.as_object_mut().expect("an object").remove(member);
    }
    body
}

/// The answers about one number on each day, by each question that asks for a day.
async fn said_of(ledger: &Ledger, number: &str, known_at: &str) -> BTreeMap<(&'static str, &'static str), Value> {
    let mut said = BTreeMap::new();
    let periods = ask(ledger, &format!("/prisoners/{number}/responsibility/periods?{known_at}")).await;
    for day in DAYS {
        let one = ask(ledger, &format!("/prisoners/{number}/responsibility?on={day}{known_at}")).await;
        let path = format!("/responsibilities?on={day}{known_at}");
        let many = ask_with(ledger, Method::POST, &path, Some(&json!([number]))).await;
        if one.status == 404 {
            assert_refused(&one, 404, "prisoner-unknown");
            continue;
        }
        said.insert(("responsibility", day), without_number(assert_ok(&one)));
        said.insert(("responsibilities", day), without_number(&assert_ok(&many)[0]));
        let instant = json!(format!("{day}T00:00:00Z"));
        let is_then = |period: &&Value| {
            let after = |member: &str| period[member].as_str().map(str::to_owned) > instant.as_str().map(str::to_owned);
            !after("from") && (period["to"].is_null() || after("to"))
        };
        let period = assert_ok(&periods).as_array().expect("periods").iter().find(is_then).expect("a period");
        said.insert(("periods", day), without_number(period));
    }
    said
}

/// The lists on a day, which show each number as it was then.
async fn lists(ledger: &Ledger, known_at: &str) -> BTreeMap<String, Value> {
    let mut lists = BTreeMap::new();
    for day in DAYS {
        for path in [
            format!("/prisons/{PRISON}/cases?on={day}"),
            format!("/prisons/{PRISON}/unallocated?on={day}"),
            format!("/prisons/{PRISON}/handovers?on={day}"),
            format!("/prisons/{PRISON}/poms?on={day}"),
            format!("/poms/{SHAH}/cases?on={day}"),
            format!("/poms/{NOVAK}/cases?on={day}"),
        ] {
            let answer = ask(ledger, &format!("{path}{known_at}")).await;
            lists.insert(path, assert_ok(&answer).clone());
        }
    }
    lists
}

/// The entries before a day, as `number type`.
async fn entries(ledger: &Ledger, number: &str, to: &str) -> Vec<String> {
    let history = ask(ledger, &format!("/prisoners/{number}/history?to={to}")).await;
    let (numbers, types) = (members(&history, "prisonerNumber"), members(&history, "type"));
    numbers.iter().zip(&types).map(|(number, event_type)| format!("{number} {event_type}")).collect()
}

#[tokio::test]
async fn every_answer_about_the_time_before_a_chain_of_merges_is_that_of_one_of_the_numbers() {
    let ledger = Ledger::start_all_roles().await;
    record_pasts(&ledger).await;
    ledger.wait_for_policies().await;
    let mut before = Vec::new();
    for (number, _) in NUMBERS {
        before.push(said_of(&ledger, number, "").await);
    }
    let (lists_before, months_before) = (lists(&ledger, "").await, ask(&ledger, "/prisons/LEI/statistics").await);
    let mut entries_before: Vec<String> = Vec::new();
    for (number, _) in NUMBERS {
        entries_before.extend(entries(&ledger, number, "2026-05-01").await);
    }
    let known_at = format!("&known-at={}", ledger.event_count().await);

    for merged in NUMBERS.windows(2) {
        let [(removed, _), (survivor, _)] = merged else { panic!("two numbers") };
        record(&ledger, &format!("POST /prisoners/{survivor}/merges"), json!({ "removedNumber": removed })).await;
    }
    ledger.wait_for_policies().await;

    for (number, _) in NUMBERS {
        let after = said_of(&ledger, number, "").await;
        for ((question, day), said) in &after {
            // The last number that had a history by then.
            let index = NUMBERS.iter().rposition(|(_, since)| since < day).expect("a number");
            assert_eq!(said, &before[index][&(*question, *day)], "{question} of {number} on {day}");
        }
        assert_eq!(after.len(), 3 * DAYS.len(), "each question is answered on each day");
        let mut found = entries(&ledger, number, "2026-05-01").await;
        found.sort();
        entries_before.sort();
        assert_eq!(found, entries_before, "the history through {number}");
    }
    let lists_after = lists(&ledger, "").await;
    for (path, list) in &lists_before {
        assert_eq!(&lists_after[path], list, "{path}");
    }
    let months_after = ask(&ledger, "/prisons/LEI/statistics").await;
    assert_eq!(assert_ok(&months_after), assert_ok(&months_before));

    // As known before the merges, each number answers for itself.
    for (index, (number, _)) in NUMBERS.iter().enumerate() {
        assert_eq!(said_of(&ledger, number, &known_at).await, before[index], "{number}");
    }
    assert_eq!(lists(&ledger, &known_at).await, lists_before);

    // And today the survivor has the roles of the number before it, for as long as they were held.
    let today = ask(&ledger, "/prisoners/A0001AA/responsibility?on=2099-01-01").await;
    let body = assert_ok(&today);
    assert_eq!((&body["prisonerNumber"], &body["tier"]), (&json!("A0003CC"), &json!("B2")));
    let cases = ask(&ledger, "/prisons/LEI/cases?on=2099-01-01").await;
    assert_eq!(members(&cases, "prisonerNumber"), ["A0003CC"]);
    assert_eq!(members(&cases, "crn"), ["X222222"]);
    let pom = &members(&cases, "pom")[0];
    assert_eq!((&pom["staffId"], &pom["since"]), (&json!(NOVAK), &json!("2026-03-15T09:00:00Z")));
    let coworker = &members(&cases, "coworker")[0];
    assert_eq!(coworker["staffId"], json!(OKAFOR), "{coworker}");
}

#[tokio::test]
async fn refusals_after_a_chain_of_merges_look_at_the_past_of_every_number() {
    let ledger = Ledger::start_all_roles().await;
    record_pasts(&ledger).await;
    for (survivor, removed) in [("A0002BB", "A0001AA"), ("A0003CC", "A0002BB")] {
        record(&ledger, &format!("POST /prisoners/{survivor}/merges"), json!({ "removedNumber": removed })).await;
    }
    let pom = |staff_id: i64| json!({"prison": PRISON, "pom": {"staffId": staff_id}, "reason": "Leave", "overrideReasons": ["CONTINUITY"]});
    let refuse = async |request: &str, body: Value, code: &str| {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let answer = ledger.client().send(method.parse().expect("a method"), path, &[], Some(&body)).await;
        assert_refused(&answer, 422, code);
    };
    let allocation = json!({"prison": PRISON, "pom": {"staffId": SHAH}, "overrideReasons": ["CONTINUITY"]});
    refuse("POST /prisoners/A0003CC/allocations", allocation, "already-allocated").await;
    refuse("POST /prisoners/A0003CC/reallocations", pom(NOVAK), "same-pom").await;
    refuse("POST /prisoners/A0003CC/reallocations", pom(OKAFOR), "pom-is-coworker").await;
    refuse("POST /prisoners/A0003CC/releases", json!({"prison": "MDI"}), "case-at-another-prison").await;
    refuse("POST /prisoners/A0003CC/transfers", json!({"toPrison": PRISON}), "nothing-changed").await;
    record(&ledger, "POST /prisoners/A0003CC/releases", json!({})).await;
    refuse("POST /prisoners/A0003CC/releases", json!({}), "nothing-changed").await;
    let removal = "DELETE /prisoners/A0003CC/responsibility-override";
    refuse(removal, json!({}), "no-responsibility-override").await;
}
