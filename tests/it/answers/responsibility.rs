//! Who is responsible for a case: one case, many cases, and the periods of a case.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    ledger::{Ledger, NOVAK, OKAFOR, SHAH, assert_refused},
    questions::{ask, ask_with, assert_ok, determinate_sentence, members, record},
};

#[tokio::test]
async fn responsibility_passes_to_the_community_on_the_day_of_the_handover() {
    let ledger = Ledger::start_all_roles().await;
    ledger.tier("A1234BC").await;
    ledger.allocate("A1234BC", SHAH).await;
    record(&ledger, "POST /prisoners/A1234BC/handover-plans", determinate_sentence()).await;
    let on = async |day: &str| ask(&ledger, &format!("/prisoners/A1234BC/responsibility?on={day}")).await;

    let answer = on("2026-03-01").await;
    let position = ledger.event_count().await;
    assert_eq!(answer.header("ledger-position"), Some(position.to_string().as_str()));
    assert_eq!(assert_ok(&answer)["asOf"], json!({"position": position, "revision": 2}));
    assert_eq!(assert_ok(&answer)["phase"], "CUSTODY_ONLY");
    assert_eq!(
        assert_ok(&answer)["responsible"],
        json!({"role": "POM", "staffId": SHAH, "name": "Shah, Priya", "since": "2026-02-02T09:00:00Z"})
    );
    // The day of the handover begins at midnight in London: at 23:00 UTC on the day before.
    assert_eq!(assert_ok(&on("2026-04-16T22:59:59Z").await)["responsible"]["role"], "POM");
    let due = on("2026-04-17").await;
    assert_eq!(
        assert_ok(&due)["responsible"],
        json!({"role": "COM", "staffId": null, "name": null, "since": "2026-04-16T23:00:00Z", "vacancy": "COM_NOT_NAMED"})
    );
    assert_eq!(assert_ok(&due)["supporting"], json!({"role": "POM", "staffId": SHAH, "name": "Shah, Priya"}));
}

#[tokio::test]
async fn no_officer_is_responsible_for_a_released_person() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    let plan = determinate_sentence();
    record(&ledger, "POST /prisoners/A1234BC/handover-plans", plan).await;
    record(&ledger, "POST /prisoners/A1234BC/releases", json!({"effectiveAt": "2026-06-01T09:00:00Z"})).await;

    let released = ask(&ledger, "/prisoners/A1234BC/responsibility?on=2026-06-02").await;
    let nobody = json!({"role": null, "staffId": null, "name": null, "since": "2026-06-01T09:00:00Z",
        "vacancy": "NOT_IN_CUSTODY"});
    for (member, expected) in [("phase", json!("NOT_IN_CUSTODY")), ("responsible", nobody), ("supporting", json!(null))]
    {
        assert_eq!(assert_ok(&released)[member], expected, "{member}");
    }
    let live = ask(&ledger, "/api/handovers/A1234BC").await;
    assert_eq!(live.status.as_u16(), 404);
}

#[tokio::test]
async fn responsibility_names_the_community_manager_the_override_and_the_coworker() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    record(&ledger, "POST /prisoners/A1234BC/handover-plans", determinate_sentence()).await;
    let on = async |day: &str| ask(&ledger, &format!("/prisoners/A1234BC/responsibility?on={day}")).await;

    let com = json!({"name": "Lee, Sam", "email": "sam.lee@example.org", "effectiveAt": "2026-05-01T09:00:00Z"});
    record(&ledger, "PUT /prisoners/A1234BC/community-manager", com).await;
    let named = on("2026-05-02").await;
    assert_eq!(assert_ok(&named)["responsible"]["name"], "Lee, Sam");
    assert_eq!(assert_ok(&named)["responsible"]["email"], "sam.lee@example.org");
    let decision = json!({"responsible": "PRISON", "reason": "OTHER", "detail": "Hearing pending",
        "effectiveAt": "2026-06-01T09:00:00Z"});
    record(&ledger, "PUT /prisoners/A1234BC/responsibility-override", decision).await;
    let overridden = on("2026-06-02").await;
    assert_eq!(assert_ok(&overridden)["phase"], "CUSTODY_WITH_COM");
    assert_eq!(
        assert_ok(&overridden)["override"],
        json!({"responsible": "PRISON", "reason": "OTHER", "detail": "Hearing pending"})
    );
    let coworker = json!({"prison": "LEI", "pom": {"staffId": OKAFOR}, "effectiveAt": "2026-06-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A1234BC/co-workers", coworker).await;
    assert_eq!(
        assert_ok(&on("2026-06-04").await)["coworker"],
        json!({"staffId": OKAFOR, "name": "Okafor, Grace", "kind": "PROBATION", "since": "2026-06-03T09:00:00Z"})
    );
}

#[tokio::test]
async fn responsibility_known_at_a_point_leaves_out_entries_recorded_later() {
    let ledger = Ledger::start_all_roles().await;
    ledger.tier("A1234BC").await;
    let before_allocation = ledger.event_count().await;
    ledger.allocate("A1234BC", SHAH).await;
    // The day lies after the allocation; the point lies before it was recorded.
    let believed =
        ask(&ledger, &format!("/prisoners/A1234BC/responsibility?on=2026-03-01&known-at={before_allocation}")).await;
    assert_eq!(assert_ok(&believed)["responsible"]["vacancy"], "NOT_ALLOCATED");
    assert_eq!(assert_ok(&believed)["asOf"], json!({"position": before_allocation, "revision": 0}));
    assert_refused(
        &ask(&ledger, "/prisoners/A1234BC/responsibility?known-at=2026-01-01").await,
        404,
        "prisoner-unknown",
    );
}

#[tokio::test]
async fn a_voided_allocation_counts_only_before_its_void_was_recorded() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BD", SHAH).await;
    let before_void = ledger.event_count().await;
    record(&ledger, "POST /prisoners/A1234BD/voids", json!({"revision": 1, "reason": "Wrong case"})).await;
    let path = "/prisoners/A1234BD/responsibility?on=2026-03-01";
    assert_eq!(assert_ok(&ask(&ledger, path).await)["responsible"]["vacancy"], "NOT_ALLOCATED");
    let known = ask(&ledger, &format!("{path}&known-at={before_void}")).await;
    assert_eq!(assert_ok(&known)["responsible"]["staffId"], SHAH);
}

#[tokio::test]
async fn many_cases_are_answered_in_the_order_asked() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    ledger.case("A1234BD", NOVAK).await;
    let asked = json!(["A1234BD", "A9999ZZ", "A1234BC", "A1234BD"]);
    let answer = ask_with(&ledger, Method::POST, "/responsibilities", Some(&asked)).await;
    assert_eq!(members(&answer, "prisonerNumber"), ["A1234BD", "A9999ZZ", "A1234BC", "A1234BD"]);
    let items = assert_ok(&answer).as_array().expect("a list");
    assert_eq!(items[0]["responsible"]["staffId"], NOVAK);
    assert_eq!(items[1]["error"]["code"], "prisoner-unknown");
    assert_eq!(items[2]["responsible"]["staffId"], SHAH);
    let early = ask_with(&ledger, Method::POST, "/responsibilities?on=2026-01-20", Some(&asked)).await;
    assert_eq!(assert_ok(&early)[0]["responsible"]["vacancy"], "NOT_ALLOCATED");

    let before = ledger.event_count().await - 1;
    let path = format!("/responsibilities?on=2026-03-01&known-at={before}");
    let believed = ask_with(&ledger, Method::POST, &path, Some(&asked)).await;
    assert_eq!(assert_ok(&believed)[0]["responsible"]["vacancy"], "NOT_ALLOCATED", "recorded last");
    assert_eq!(assert_ok(&believed)[1]["error"]["code"], "prisoner-unknown");
    assert_eq!(assert_ok(&believed)[2]["responsible"]["staffId"], SHAH);
    assert_eq!(believed.header("ledger-position"), Some(before.to_string().as_str()));

    let none = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!([]))).await;
    assert_eq!(assert_ok(&none), &json!([]));
    let wrong = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!(["A1234BC", "1234"]))).await;
    assert_eq!(assert_refused(&wrong, 400, "identifier-invalid").body["errors"][0]["pointer"], "#/1");
    let many: Vec<String> = (0..1_001).map(|index| format!("A{index:04}AA")).collect();
    let too_many = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!(many))).await;
    assert_refused(&too_many, 400, "too-many");
    let most = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!(many[..1_000]))).await;
    assert_eq!(assert_ok(&most).as_array().map(Vec::len), Some(1_000));
}

#[tokio::test]
async fn periods_adjoin_from_the_first_entry_to_the_planned_future() {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A1234BC", SHAH).await;
    let plan = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2099-01-01",
        "calculatedOn": "2026-02-03", "effectiveAt": "2026-02-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A1234BC/handover-plans", plan).await;
    let answer = ask(&ledger, "/prisoners/A1234BC/responsibility/periods").await;
    let periods = assert_ok(&answer).as_array().expect("a list");
    assert_eq!(
        members(&answer, "from"),
        ["2026-01-05T09:00:00Z", "2026-02-02T09:00:00Z", "2026-02-03T09:00:00Z", "2098-04-16T23:00:00Z"]
    );
    for (period, next) in periods.iter().zip(&periods[1..]) {
        assert_eq!(period["to"], next["from"]);
    }
    let last = periods.last().expect("a period");
    assert_eq!((&last["to"], &last["phase"]), (&json!(null), &json!("COMMUNITY")));
    assert_eq!(periods[2]["responsible"]["since"], "2026-02-02T09:00:00Z");
}
