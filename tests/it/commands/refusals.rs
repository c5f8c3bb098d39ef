//! Commands that the rules refuse, by code and with a sentence.

use serde_json::{Value, json};

use crate::support::{
    commands::{check_refused, new_key},
    ledger::{Ledger, NOVAK, OKAFOR, PRISON, SHAH, assert_recorded},
};

#[tokio::test]
async fn a_choice_of_pom_against_the_rules_is_refused_by_code() {
    let ledger = Ledger::start().await;
    let to = |staff_id: i64| json!({"prison": PRISON, "pom": {"staffId": staff_id}});
    let moved_to = |staff_id: i64| json!({"prison": PRISON, "pom": {"staffId": staff_id}, "reason": "Leave"});
    let case = "/prisoners/A1234BC";
    let allocations = &format!("POST {case}/allocations");
    let reallocations = &format!("POST {case}/reallocations");
    let coworkers = &format!("POST {case}/co-workers");

    check_refused(&ledger, allocations, to(SHAH), "422 tier-unknown").await;
    ledger.tier("A1234BC").await;
    let elsewhere = json!({"prison": "MDI", "pom": {"staffId": SHAH}});
    check_refused(&ledger, allocations, elsewhere.clone(), "422 prison-not-on-omic").await;
    ledger.join_omic("MDI").await;
    check_refused(&ledger, allocations, elsewhere, "422 pom-not-registered").await;
    check_refused(&ledger, allocations, to(1), "422 pom-not-registered").await;
    ledger.status(NOVAK, "UNAVAILABLE").await;
    check_refused(&ledger, allocations, to(NOVAK), "422 pom-not-active").await;
    let early = json!({"prison": PRISON, "pom": {"staffId": SHAH}, "effectiveAt": "2018-12-31T09:00:00Z"});
    check_refused(&ledger, allocations, early, "422 prison-not-on-omic").await;
    check_refused(&ledger, allocations, to(OKAFOR), "422 override-reasons-needed").await;
    let with = |name: &str, value: Value| {
        let mut body = to(OKAFOR);
        body["overrideReasons"] = json!([name]);
        body["overrideDetail"] = value;
        body
    };
    check_refused(&ledger, allocations, with("SUITABILITY", json!("x")), "422 suitability-detail-needed").await;
    check_refused(&ledger, allocations, with("OTHER", Value::Null), "422 override-detail-needed").await;
    check_refused(&ledger, allocations, with("OTHER", json!("\u{feff}\u{202e}")), "422 override-detail-needed").await;
    check_refused(&ledger, allocations, with("OTHER", json!("x".repeat(176))), "422 detail-too-long").await;
    assert_recorded(&ledger.client().post("/prisoners/A1234BD/tier", &json!({"tier": "C"})).await);
    assert_recorded(
        &ledger.client().post("/prisoners/A1234BD/allocations", &with("OTHER", json!("é".repeat(175)))).await,
    );

    check_refused(&ledger, reallocations, moved_to(SHAH), "422 not-allocated").await;
    check_refused(&ledger, coworkers, to(SHAH), "422 not-allocated").await;
    check_refused(&ledger, &format!("DELETE {case}/co-workers/current"), json!({}), "422 no-coworker").await;
    let manual = json!({"trigger": "MANUAL"});
    check_refused(&ledger, &format!("POST {case}/deallocations"), manual, "422 not-allocated").await;

    ledger.allocate("A1234BC", SHAH).await;
    check_refused(&ledger, allocations, to(SHAH), "422 already-allocated").await;
    check_refused(&ledger, reallocations, moved_to(SHAH), "422 same-pom").await;
    let elsewhere = json!({"prison": "MDI", "pom": {"staffId": SHAH}, "reason": "Leave"});
    check_refused(&ledger, reallocations, elsewhere, "422 case-at-another-prison").await;
    check_refused(&ledger, coworkers, to(SHAH), "422 pom-is-primary").await;
    assert_recorded(&ledger.client().post(&format!("{case}/co-workers"), &to(OKAFOR)).await);
    let mut body = moved_to(OKAFOR);
    body["overrideReasons"] = json!(["CONTINUITY"]);
    check_refused(&ledger, reallocations, body, "422 pom-is-coworker").await;
}

#[tokio::test]
async fn a_command_to_a_case_against_the_rules_is_refused_by_code() {
    let ledger = Ledger::start().await;
    ledger.join_omic("MDI").await;
    ledger.case("A1234BC", SHAH).await;
    let case = "/prisoners/A1234BC";
    let removal = format!("DELETE {case}/community-manager");
    check_refused(&ledger, &removal, json!({}), "422 no-community-manager").await;
    let removal = format!("DELETE {case}/responsibility-override");
    check_refused(&ledger, &removal, json!({}), "422 no-responsibility-override").await;
    let other = json!({"responsible": "PRISON", "reason": "OTHER", "detail": " "});
    let decision = format!("PUT {case}/responsibility-override");
    check_refused(&ledger, &decision, other, "422 override-detail-needed").await;
    let unseen = json!({"responsible": "PRISON", "reason": "OTHER", "detail": "\u{3164}\u{e0041}"});
    check_refused(&ledger, &decision, unseen, "422 override-detail-needed").await;
    let facts = json!({"indeterminate": false, "conditionalReleaseDate": "2040-01-01"});
    check_refused(&ledger, &format!("POST {case}/handover-plans"), facts, "422 sentence-start-unknown").await;
    let held = json!({"prison": "MDI"});
    check_refused(&ledger, &format!("POST {case}/releases"), held, "422 case-at-another-prison").await;
    let here = json!({"toPrison": PRISON});
    check_refused(&ledger, &format!("POST {case}/transfers"), here, "422 nothing-changed").await;
    check_refused(&ledger, "POST /prisoners/Z9999ZZ/releases", json!({}), "404 prisoner-unknown").await;
    let away = json!({"toPrison": "MDI"});
    check_refused(&ledger, "POST /prisoners/Z9999ZZ/transfers", away, "404 prisoner-unknown").await;
    let voids = &format!("POST {case}/voids");
    check_refused(&ledger, voids, json!({"revision": 99, "reason": "x"}), "422 entry-unknown").await;
    let late = json!({"tier": "A", "effectiveAt": "2199-01-01T00:00:00Z"});
    check_refused(&ledger, &format!("POST {case}/tier"), late, "422 effective-time-in-future").await;
}

/// However long it is, the sentence names the rule's own limit.
#[tokio::test]
async fn a_long_reason_is_refused_by_one_rule_wherever_it_is() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    for len in [176, 501, 100_000] {
        let reason = "é".repeat(len);
        let sentence = format!("reason has {len} characters; at most 175 are allowed. Shorten it.");
        for (request, body) in [
            (format!("PUT /prisons/LEI/poms/{SHAH}/status"), json!({"status": "UNAVAILABLE", "reason": reason})),
            (
                "POST /prisoners/A1234BC/reallocations".to_owned(),
                json!({"prison": PRISON, "pom": {"staffId": NOVAK}, "reason": reason}),
            ),
            ("POST /prisoners/A1234BC/voids".to_owned(), json!({"revision": 1, "reason": reason})),
        ] {
            let refused = check_refused(&ledger, &request, body, "422 detail-too-long").await;
            assert_eq!(refused.body["detail"], json!(sentence), "{request}");
        }
        let bulk = json!({"fromStaffId": SHAH, "toStaffId": NOVAK, "reason": reason});
        let answer = ledger.client().post("/prisons/LEI/reallocations", &bulk).await;
        assert!(answer.text.contains(&sentence), "{}", answer.text);
    }
    let detail = json!({"responsible": "PRISON", "reason": "PRISONER_HAS_BEEN_RECALLED", "detail": " ".repeat(176)});
    let decision = "PUT /prisoners/A1234BC/responsibility-override";
    check_refused(&ledger, decision, detail, "422 detail-too-long").await;
}

#[tokio::test]
async fn a_command_to_a_prison_against_the_rules_is_refused_by_code() {
    let ledger = Ledger::start().await;
    let onboarding = json!({"goLiveDate": "2019-01-01", "estate": "WOMENS"});
    check_refused(&ledger, "POST /prisons/LEI/onboarding", onboarding, "422 already-on-omic").await;
    let pom = json!({"staffId": SHAH, "name": "Shah, Priya", "kind": "PRISON"});
    check_refused(&ledger, "POST /prisons/LEI/poms", pom, "422 pom-already-registered").await;
    let same = json!({"name": "Shah, Priya"});
    check_refused(&ledger, &format!("PATCH /prisons/LEI/poms/{SHAH}"), same, "422 nothing-changed").await;
    check_refused(&ledger, "PATCH /prisons/LEI/poms/1", json!({"name": "X"}), "422 pom-not-registered").await;
    let active = json!({"status": "ACTIVE"});
    check_refused(&ledger, &format!("PUT /prisons/LEI/poms/{SHAH}/status"), active, "422 nothing-changed").await;
    let back = json!({"status": "ACTIVE", "reason": "Back from leave"});
    let status = format!("/prisons/LEI/poms/{SHAH}/status");
    assert_recorded(&ledger.client().put(&status, &back).await);
    check_refused(&ledger, &format!("PUT {status}"), back, "422 nothing-changed").await;
    let contact = json!({"prisonerNumber": "A1234BC", "contactType": "POM"});
    check_refused(&ledger, "POST /prisons/LEI/nomis-contacts", contact, "422 contact-without-person").await;
    let contact = json!({"prisonerNumber": "A1234BC", "contactType": "POM", "staffId": 5});
    assert_recorded(&ledger.client().post("/prisons/LEI/nomis-contacts", &contact).await);
    check_refused(&ledger, "POST /prisons/LEI/nomis-contacts", contact, "422 nomis-contact-known").await;
    let removal = format!("POST /prisons/LEI/nomis-contacts/{}/removal", new_key());
    check_refused(&ledger, &removal, json!({}), "422 nomis-contact-unknown").await;
}
