//! Handovers: those of a prison, and dates calculated for facts that are not recorded.

use domain::{Event, Stream, prisoner::PrisonerEvent};
use event_log::ExpectedRevision;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    builders::new_event,
    ledger::{Ledger, SHAH, assert_refused},
    questions::{ask, ask_with, assert_ok, determinate_sentence, members, record},
};

#[tokio::test]
async fn handovers_are_listed_as_starting_due_and_overdue() {
    let ledger = Ledger::start_all_roles().await;
    for number in ["A0001AA", "A0002AA", "A0003AA"] {
        ledger.case(number, SHAH).await;
        record(&ledger, &format!("POST /prisoners/{number}/handover-plans"), determinate_sentence()).await;
    }
    // An earlier release, and therefore an earlier handover; last by number.
    ledger.case("A0004AA", SHAH).await;
    let earlier = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01",
        "conditionalReleaseDate": "2026-12-21", "calculatedOn": "2026-02-03", "effectiveAt": "2026-02-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A0004AA/handover-plans", earlier).await;
    // The handover starts with the arrival at an open prison and ends later.
    ledger.case("A0005AA", SHAH).await;
    let open = json!({"indeterminate": true, "tariffDate": "2027-05-10", "openPrisonRulesApply": true,
        "prisonArrivalDate": "2026-04-01", "calculatedOn": "2026-02-03", "effectiveAt": "2026-02-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A0005AA/handover-plans", open).await;
    // The COM is responsible at once, without a handover date.
    ledger.case("A0006AA", SHAH).await;
    let recall = json!({"indeterminate": false, "recalled": true, "effectiveAt": "2026-02-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A0006AA/handover-plans", recall).await;
    let com = json!({"name": "Lee, Sam", "effectiveAt": "2026-03-01T09:00:00Z"});
    record(&ledger, "PUT /prisoners/A0001AA/community-manager", com).await;
    let decision =
        json!({"responsible": "PRISON", "reason": "PRISONER_HAS_BEEN_RECALLED", "effectiveAt": "2026-03-01T09:00:00Z"});
    record(&ledger, "PUT /prisoners/A0003AA/responsibility-override", decision).await;

    let check = async |query: &str, starting: &[&str], due: &[&str], overdue: &[&str]| {
        let answer = ask(&ledger, &format!("/prisons/LEI/handovers?{query}")).await;
        let numbers = |list: &str| -> Vec<Value> {
            assert_ok(&answer)[list]
                .as_array()
                .expect("a list")
                .iter()
                .map(|item| item["prisonerNumber"].clone())
                .collect()
        };
        assert_eq!(
            (numbers("starting"), numbers("due"), numbers("overdue")),
            (
                starting.iter().map(|number| json!(number)).collect(),
                due.iter().map(|number| json!(number)).collect(),
                overdue.iter().map(|number| json!(number)).collect(),
            ),
            "{query}"
        );
    };
    // 17 April is the 30th day after 18 March, 7 April after 8 March.
    check("on=2026-03-01", &[], &[], &[]).await;
    check("on=2026-03-07", &["A0005AA"], &[], &[]).await;
    check("on=2026-03-08", &["A0005AA"], &["A0004AA"], &[]).await;
    check("on=2026-03-18", &["A0005AA"], &["A0004AA", "A0001AA", "A0002AA"], &[]).await;
    check("on=2026-04-08&within=0d", &[], &[], &[]).await;
    check("on=2026-04-09&within=0d", &[], &[], &["A0004AA"]).await;
    check("on=2026-04-16&within=1d", &[], &["A0001AA", "A0002AA"], &["A0004AA"]).await;
    check("on=2026-04-18", &[], &["A0005AA"], &["A0004AA"]).await;
    check("on=2026-04-19", &[], &["A0005AA"], &["A0004AA", "A0002AA"]).await;
    let cases = ask(&ledger, "/prisons/LEI/cases?on=2026-03-18&sort=handoverDate").await;
    assert_eq!(members(&cases, "prisonerNumber"), ["A0004AA", "A0001AA", "A0002AA", "A0003AA", "A0005AA", "A0006AA"]);
    let cases = ask(&ledger, "/prisons/LEI/cases?on=2026-03-18&sort=-handoverStartDate").await;
    let expected = ["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA", "A0006AA"];
    assert_eq!(members(&cases, "prisonerNumber"), expected, "an absent date is last in either direction");
    for (sort, expected) in [
        ("phase", ["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA", "A0006AA"]),
        ("-phase", ["A0006AA", "A0005AA", "A0001AA", "A0002AA", "A0003AA", "A0004AA"]),
    ] {
        // On this day a COM supports on A0005AA and is responsible for A0006AA.
        let cases = ask(&ledger, &format!("/prisons/LEI/cases?on=2026-04-02&sort={sort}")).await;
        assert_eq!(members(&cases, "prisonerNumber"), expected, "{sort}");
    }
}

/// The command side makes no such plan; the log may hold one.
#[tokio::test]
async fn a_start_without_a_handover_date_is_listed_now_as_it_is_known_at_a_position() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A0001AA", SHAH).await;
    let plan = json!({"indeterminate": false, "startDate": "2099-04-17", "reason": "determinate"});
    let plan = serde_json::from_value(plan).expect("a plan");
    let planned = new_event(&Event::Prisoner(PrisonerEvent::HandoverPlanned(plan)));
    let stream = Stream::Prisoner("A0001AA".parse().expect("a number"));
    ledger.log().await.append(&stream, ExpectedRevision::Exact(1), vec![planned]).await.expect("append");
    let head = ledger.event_count().await;
    for known_at in [String::new(), format!("&known-at={head}")] {
        let answer = ask(&ledger, &format!("/prisons/LEI/handovers?on=2099-04-01{known_at}")).await;
        let starting = &assert_ok(&answer)["starting"];
        assert_eq!(starting[0]["prisonerNumber"], "A0001AA", "{known_at}: {starting}");
    }
}

#[tokio::test]
async fn handover_dates_are_calculated_and_not_recorded() {
    let ledger = Ledger::start_all_roles().await;
    let count = ledger.event_count().await;
    let facts = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2026-01-01",
        "calculatedOn": "2024-05-20"});
    let dates = json!({"startDate": "2025-04-17", "handoverDate": "2025-04-17", "reason": "determinate",
        "earliestRelease": {"name": "CRD", "date": "2026-01-01"}, "responsibility": "CustodyOnly"});
    let one = ask_with(&ledger, Method::POST, "/handover-dates", Some(&facts)).await;
    assert_eq!(assert_ok(&one), &dates);
    let unknown = json!({"indeterminate": false, "conditionalReleaseDate": "2026-01-01"});
    let several = ask_with(&ledger, Method::POST, "/handover-dates", Some(&json!([unknown, facts]))).await;
    assert_eq!(assert_ok(&several)[0]["error"]["code"], "sentence-start-unknown");
    assert_eq!(assert_ok(&several)[1], dates);
    assert_refused(
        &ask_with(&ledger, Method::POST, "/handover-dates", Some(&unknown)).await,
        422,
        "sentence-start-unknown",
    );
    let misspelt = json!({"indeterminate": true, "ted": null});
    let alone = ask_with(&ledger, Method::POST, "/handover-dates", Some(&misspelt)).await;
    assert_eq!(assert_refused(&alone, 400, "field-unknown").body["errors"][0]["pointer"], "#/ted");
    let among = ask_with(&ledger, Method::POST, "/handover-dates", Some(&json!([misspelt, facts]))).await;
    let error = &assert_ok(&among)[0]["error"];
    assert_eq!(error["code"], "field-unknown");
    assert!(error["detail"].as_str().is_some_and(|detail| detail.contains("`ted`")), "{error}");
    assert_eq!(assert_ok(&among)[1], dates);
    assert_eq!(ledger.event_count().await, count);
}

#[tokio::test]
async fn handover_dates_equal_those_of_all_worked_examples() {
    let ledger = Ledger::start_all_roles().await;
    let examples = include_str!("../../../crates/domain/tests/data/handover/examples.jsonl");
    let examples: Vec<Value> = examples.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let facts: Vec<&Value> = examples.iter().map(|example| &example["facts"]).collect();
    let answer = ask_with(&ledger, Method::POST, "/handover-dates", Some(&json!(facts))).await;
    let answers = assert_ok(&answer).as_array().expect("a list");
    assert_eq!(answers.len(), examples.len());
    for (example, answer) in examples.iter().zip(answers) {
        for (name, expected) in example["expect"].as_object().expect("what to expect") {
            assert_eq!(&answer[name], expected, "{name} of {}", example["name"]);
        }
    }
}
