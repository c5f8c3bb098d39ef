//! Suggestions of a POM for a case that waits.

use serde_json::{Value, json};

use crate::support::{
    HttpAnswer, Program,
    ledger::{BYRNE, Ledger, NOVAK, OKAFOR, PRISON, SHAH, assert_refused},
    questions::{ask, assert_ok, record},
    topology::require_single_program,
};

/// The case that waits.
const WAITING: &str = "A1234BC";

async fn tier(ledger: &Ledger, number: &str, tier: &str, day: &str) {
    let body = json!({"tier": tier, "source": "DELIUS", "prison": PRISON, "effectiveAt": format!("{day}T09:00:00Z")});
    record(ledger, &format!("POST /prisoners/{number}/tier"), body).await;
}

async fn allocate(ledger: &Ledger, number: &str, staff_id: i64, day: &str) {
    let body = json!({"prison": PRISON, "pom": {"staffId": staff_id}, "effectiveAt": format!("{day}T09:00:00Z"),
        "overrideReasons": ["CONTINUITY"]});
    record(ledger, &format!("POST /prisoners/{number}/allocations"), body).await;
}

async fn working_pattern(ledger: &Ledger, staff_id: i64, pattern: f64) {
    let body = json!({"workingPattern": pattern, "effectiveAt": "2026-01-02T09:00:00Z"});
    record(ledger, &format!("PATCH /prisons/{PRISON}/poms/{staff_id}"), body).await;
}

async fn suggestions(ledger: &Ledger, query: &str) -> HttpAnswer {
    ask(ledger, &format!("/prisons/{PRISON}/unallocated/{WAITING}/suggestions{query}")).await
}

/// Of each POM suggested, the staff id, the weight and the load with the case.
#[track_caller]
fn order(answer: &HttpAnswer) -> Vec<Value> {
    let poms = assert_ok(answer)["suggestions"].as_array().expect("a list");
    poms.iter().map(|pom| json!([pom["staffId"], pom["weightedCaseload"], pom["loadWithCase"]])).collect()
}

/// A case of tier C1 that Novak and then Shah held, and that waits since 5 March; and cases that
/// weigh on all four POMs.
async fn ledger() -> Ledger {
    let ledger = Ledger::start_all_roles().await;
    tier(&ledger, WAITING, "C1", "2026-01-05").await;
    allocate(&ledger, WAITING, NOVAK, "2026-02-02").await;
    let body = json!({"prison": PRISON, "pom": {"staffId": SHAH}, "reason": "Wing move",
        "effectiveAt": "2026-02-20T09:00:00Z"});
    record(&ledger, &format!("POST /prisoners/{WAITING}/reallocations"), body).await;
    let body = json!({"trigger": "MANUAL", "effectiveAt": "2026-03-05T09:00:00Z"});
    record(&ledger, &format!("POST /prisoners/{WAITING}/deallocations"), body).await;
    // Shah: A and D, 3 + 1. Novak: none. Okafor: B, 2, and half of an A, 1.5. Byrne: C, 1.5.
    for (number, letter, staff_id) in
        [("A0001AA", "A", SHAH), ("A0002AA", "D2", SHAH), ("A0003AA", "B2", OKAFOR), ("A0004AA", "C", BYRNE)]
    {
        tier(&ledger, number, letter, "2026-01-05").await;
        allocate(&ledger, number, staff_id, "2026-02-02").await;
    }
    let coworker = json!({"prison": PRISON, "pom": {"staffId": OKAFOR}, "effectiveAt": "2026-02-10T09:00:00Z"});
    record(&ledger, "POST /prisoners/A0001AA/co-workers", coworker).await;
    working_pattern(&ledger, OKAFOR, 0.6).await;
    working_pattern(&ledger, BYRNE, 0.3).await;
    ledger
}

#[tokio::test]
async fn poms_are_suggested_in_order_with_their_reasons() {
    let ledger = ledger().await;
    let answer = suggestions(&ledger, "?on=2026-03-10").await;
    // A C1 weighs 1.5. Okafor: (2 + 1.5 + 1.5) / 0.6. Byrne: (1.5 + 1.5) / 0.3.
    let expected =
        [json!([SHAH, 4.0, 5.5]), json!([NOVAK, 0.0, 1.5]), json!([OKAFOR, 3.5, 8.33]), json!([BYRNE, 1.5, 10.0])];
    assert_eq!(order(&answer), expected);
    assert_eq!(answer.header("ledger-position"), Some(ledger.event_count().await.to_string().as_str()));
    assert_eq!(answer.header("ledger-streams-aside"), Some("0"));
    let body = &answer.body;
    assert_eq!(
        body["case"],
        json!({"prisonerNumber": WAITING, "crn": null, "tier": "C1", "roshLevel": null,
            "waitingSince": "2026-03-05T09:00:00Z", "waitingReason": "DEALLOCATED", "days": 5, "coworker": null,
            "reason": null})
    );
    assert_eq!(
        body["recommendation"],
        json!({"kind": "PRISON", "code": "TIER", "policy": "TIER", "text": "A prison POM is recommended for tier C1."})
    );
    assert_eq!(body["tierWeights"], json!({"A": 3.0, "B": 2.0, "C": 1.5, "D": 1.0, "E": 1.0, "F": 1.0, "G": 1.0}));
    assert_eq!(
        body["suggestions"][0],
        json!({
            "staffId": SHAH, "name": "Shah, Priya", "kind": "PRISON", "email": null, "workingPattern": 1.0,
            "caseload": {"primary": {"total": 2, "byTier": {"A": 1, "D": 1}}, "coworking": {"total": 0, "byTier": {}}},
            "weightedCaseload": 4.0, "loadWithCase": 5.5,
            "heldBefore": {"prison": PRISON, "since": "2026-02-20T09:00:00Z", "until": "2026-03-05T09:00:00Z"},
            "reasons": [
                {"code": "RECOMMENDED_KIND", "text": "A prison POM, as is recommended."},
                {"code": "HELD_BEFORE", "text": "Held the case from 20 February 2026 to 5 March 2026 at Leeds."},
                {"code": "ROOM", "text": "Holds 2 cases as primary and 0 as co-working POM, of weight 4. With this \
                    case, of weight 1.5, and at full time that comes to 5.5: place 2 of 4 by room."},
            ],
        })
    );
    assert_eq!(
        body["suggestions"][2]["reasons"],
        json!([
            {"code": "OTHER_KIND", "text": "A probation POM, though the other kind is recommended: the allocation needs \
                a reason."},
            {"code": "ROOM", "text": "Holds 1 case as primary and 1 as co-working POM, of weight 3.5. With this case, of \
                weight 1.5, and at 0.6 of full time that comes to 8.33: place 3 of 4 by room."},
        ])
    );
}

#[tokio::test]
async fn suggestions_are_as_they_were_at_their_time_and_as_known_then() {
    let ledger = ledger().await;
    let position = ledger.event_count().await;
    let before = suggestions(&ledger, "?on=2026-03-10").await;
    ledger.status(SHAH, "UNAVAILABLE").await;
    let pattern = json!({"workingPattern": 0.1, "effectiveAt": "2026-03-09T09:00:00Z"});
    record(&ledger, &format!("PATCH /prisons/{PRISON}/poms/{NOVAK}"), pattern).await;
    let tier = json!({"tier": "A", "effectiveAt": "2026-03-09T09:00:00Z"});
    record(&ledger, &format!("POST /prisoners/{WAITING}/tier"), tier).await;
    // With an A: Okafor (3.5 + 3) / 0.6, Byrne (1.5 + 3) / 0.3.
    let now = [json!([OKAFOR, 3.5, 10.83]), json!([BYRNE, 1.5, 15.0])];
    let held = |shah: bool| {
        let novak = json!([NOVAK, 0.0, 30.0]);
        now.iter().cloned().chain(shah.then(|| json!([SHAH, 4.0, 7.0]))).chain([novak]).collect::<Vec<_>>()
    };
    assert_eq!(order(&suggestions(&ledger, "").await), held(false), "Shah takes no new cases now");
    assert_eq!(order(&suggestions(&ledger, "?on=2026-03-10").await), held(true), "and took some then");
    let known = suggestions(&ledger, &format!("?on=2026-03-10&known-at={position}")).await;
    assert_eq!(
        (known.text.as_str(), known.header("ledger-position")),
        (before.text.as_str(), Some(&*position.to_string()))
    );
}

#[tokio::test]
async fn only_a_case_that_waits_at_the_prison_has_suggestions() {
    let ledger = ledger().await;
    let of = async |number: &str, prison: &str| {
        ask(&ledger, &format!("/prisons/{prison}/unallocated/{number}/suggestions")).await
    };
    assert_refused(&of("A9999ZZ", PRISON).await, 404, "prisoner-unknown");
    let held = of("A0004AA", PRISON).await;
    assert_refused(&held, 404, "case-not-waiting");
    assert_eq!(
        held.body["detail"],
        format!(
            "A0004AA does not wait to be allocated at LEI at the time asked about: Byrne, Liam (staff id {BYRNE}) holds it at LEI."
        )
    );
    assert!(held.header("ledger-position").is_some());
    assert_refused(&of(WAITING, "MDI").await, 404, "case-not-waiting");
    // At a prison that is not on OMiC no POM may take a case; without a tier neither.
    let transfer = json!({"toPrison": "MDI", "effectiveAt": "2026-03-06T09:00:00Z"});
    record(&ledger, &format!("POST /prisoners/{WAITING}/transfers"), transfer).await;
    assert_refused(&of(WAITING, "MDI").await, 422, "prison-not-on-omic");
    assert_refused(&of(WAITING, PRISON).await, 404, "case-not-waiting");
    let reception = json!({"prison": "MDI", "reason": "NEW_ADMISSION", "effectiveAt": "2026-03-06T09:00:00Z"});
    record(&ledger, "POST /prisoners/A0005AA/receptions", reception).await;
    let untiered = of("A0005AA", PRISON).await;
    assert_refused(&untiered, 404, "case-not-waiting");
    assert!(untiered.text.contains("it is at MDI and has no tier yet"), "{}", untiered.text);
    let transfer = json!({"toPrison": PRISON, "effectiveAt": "2026-03-07T09:00:00Z"});
    record(&ledger, "POST /prisoners/A0005AA/transfers", transfer).await;
    assert_refused(&of("A0005AA", PRISON).await, 422, "tier-unknown");
}

#[tokio::test]
async fn a_pom_who_held_the_case_under_a_merged_number_comes_first() {
    let ledger = ledger().await;
    // The case of the survivor was never held; the removed number's was.
    tier(&ledger, "A0006AA", "D", "2026-01-01").await;
    record(&ledger, "POST /prisoners/A0006AA/merges", json!({"removedNumber": WAITING})).await;
    ledger.wait_for_policies().await;
    for number in ["A0006AA", WAITING] {
        let answer = ask(&ledger, &format!("/prisons/{PRISON}/unallocated/{number}/suggestions")).await;
        assert_eq!(assert_ok(&answer)["case"]["prisonerNumber"], "A0006AA");
        let first_two = &order(&answer)[..2];
        assert_eq!(first_two, [json!([SHAH, 4.0, 5.0]), json!([NOVAK, 0.0, 1.0])]);
        assert_eq!(answer.body["suggestions"][1]["heldBefore"]["until"], "2026-02-20T09:00:00Z");
    }
}

mod single_program {
    use super::*;

    #[tokio::test]
    async fn weights_and_the_recommendation_policy_are_settings() {
        require_single_program();
        let ledger = ledger().await;
        ledger.program.kill();
        let stores = ledger.database.arguments();
        let mut arguments = vec!["--tier-weights", "A=0,C=2.25", "--recommendation-policy", "rosh"];
        arguments.extend(stores.iter().map(String::as_str));
        let program = Program::serve_with(&arguments).await;
        let ledger = Ledger { database: ledger.database, program };
        let answer = suggestions(&ledger, "?on=2026-03-10").await;
        // Shah and Novak held it before. Okafor: (2 + 0 + 2.25) / 0.6. Byrne: (2.25 + 2.25) / 0.3.
        let expected = [
            json!([SHAH, 1.0, 3.25]),
            json!([NOVAK, 0.0, 2.25]),
            json!([OKAFOR, 2.0, 7.08]),
            json!([BYRNE, 2.25, 15.0]),
        ];
        assert_eq!(order(&answer), expected);
        assert_eq!(answer.body["recommendation"]["code"], "ROSH_UNKNOWN");
        assert_eq!(answer.body["suggestions"][0]["reasons"][0]["code"], "NO_KIND_RECOMMENDED");
    }
}
