//! Control reports: voids, backdated entries and choices against the recommendation.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    HttpAnswer,
    ledger::{Ledger, OKAFOR, SHAH, assert_recorded, assert_refused},
    questions::{ask, assert_ok, members, next_page},
};

/// Records as a user, effective now unless the body says otherwise.
async fn record_as(ledger: &Ledger, user: &str, path: &str, body: Value) -> HttpAnswer {
    let answer = ledger.client().send(Method::POST, path, &[("X-Recorded-By", user)], Some(&body)).await;
    assert_recorded(&answer).clone()
}

fn days_ago(days: i64) -> String {
    (chrono::Utc::now() - chrono::TimeDelta::days(days)).to_rfc3339()
}

fn tier(days: i64) -> Value {
    json!({"tier": "C1", "source": "DELIUS", "prison": "LEI", "effectiveAt": days_ago(days)})
}

/// Tiers that are 3 and 30 days old when recorded, a choice against the recommendation, and a void
/// of one of the tiers by another person.
async fn ledger_with_controls() -> Ledger {
    let ledger = Ledger::start_all_roles().await;
    record_as(&ledger, "JONES_LEI", "/prisoners/A1111AA/tier", tier(3)).await;
    record_as(&ledger, "JONES_LEI", "/prisoners/A2222BB/tier", tier(30)).await;
    let against = json!({
        "prison": "LEI", "pom": {"staffId": OKAFOR}, "overrideReasons": ["SUITABILITY", "OTHER"],
        "suitabilityDetail": "knows the case", "overrideDetail": "agreed with the head",
    });
    record_as(&ledger, "JONES_LEI", "/prisoners/A1111AA/allocations", against).await;
    let as_recommended = json!({"prison": "LEI", "pom": {"staffId": SHAH}});
    record_as(&ledger, "JONES_LEI", "/prisoners/A2222BB/allocations", as_recommended).await;
    let moved = json!({
        "prison": "LEI", "pom": {"staffId": OKAFOR}, "reason": "Wing move", "overrideReasons": ["NO_STAFF"],
    });
    record_as(&ledger, "LEE_MDI", "/prisoners/A2222BB/reallocations", moved).await;
    let voided = json!({"revision": 2, "reason": "Moved by mistake"});
    record_as(&ledger, "SMITH_LEI", "/prisoners/A2222BB/voids", voided).await;
    ledger
}

#[tokio::test]
async fn each_report_has_its_entries_newest_first_with_reasons_and_recorders() {
    let ledger = ledger_with_controls().await;
    let voids = ask(&ledger, "/control-reports/voids").await;
    let void = &assert_ok(&voids)[0];
    assert_eq!(members(&voids, "prisonerNumber"), ["A2222BB"]);
    assert_eq!(
        (&void["recordedBy"], &void["prison"], &void["type"], &void["revision"]),
        (&json!("SMITH_LEI"), &json!("LEI"), &json!("EntryVoided"), &json!(3))
    );
    let taken_back = &void["void"];
    assert_eq!(
        (&taken_back["revision"], &taken_back["type"], &taken_back["recordedBy"], &taken_back["reason"]),
        (&json!(2), &json!("Reallocated"), &json!("LEE_MDI"), &json!("Moved by mistake"))
    );
    assert!(taken_back["recordedAt"].is_string() && void["choice"].is_null(), "{void}");

    let overrides = ask(&ledger, "/control-reports/overrides").await;
    assert_eq!(members(&overrides, "prisonerNumber"), ["A2222BB", "A1111AA"]);
    assert_eq!(members(&overrides, "voidedBy"), [json!(3), json!(null)]);
    let choices = members(&overrides, "choice");
    assert_eq!(choices[0]["reason"], "Wing move");
    assert_eq!(
        choices[1],
        json!({
            "staffId": OKAFOR, "pomKind": "PROBATION", "recommendedPomKind": "PRISON", "isOverride": true,
            "overrideReasons": ["SUITABILITY", "OTHER"], "suitabilityDetail": "knows the case",
            "overrideDetail": "agreed with the head", "reason": null,
        })
    );

    let late = ask(&ledger, "/control-reports/backdated-entries").await;
    assert_eq!(
        (members(&late, "prisonerNumber"), members(&late, "daysLate")),
        (vec![json!("A2222BB")], vec![json!(30)])
    );
    let late = ask(&ledger, "/control-reports/backdated-entries?days=2").await;
    assert_eq!(members(&late, "daysLate"), [30, 3]);
    let late = ask(&ledger, "/control-reports/backdated-entries?days=3").await;
    assert_eq!(members(&late, "daysLate"), [30], "more than so many days");
}

#[tokio::test]
async fn reports_are_counted_and_selected_by_person_prison_and_time() {
    let ledger = ledger_with_controls().await;
    let counts = ask(&ledger, "/control-reports").await;
    let counted = |person: &str, entries: u64, [voids, backdated, overrides]: [u64; 3]| {
        json!({
            "prison": "LEI", "recordedBy": person, "client": "unknown", "entries": entries, "voids": voids,
            "backdated": backdated, "overrides": overrides,
        })
    };
    let [jones, lee, smith] =
        [counted("JONES_LEI", 2, [0, 1, 1]), counted("LEE_MDI", 1, [0, 0, 1]), counted("SMITH_LEI", 1, [1, 0, 0])];
    assert_eq!(*assert_ok(&counts), json!([jones, lee, smith]));
    let more = ask(&ledger, "/control-reports?days=2").await;
    assert_eq!(assert_ok(&more)[0], counted("JONES_LEI", 3, [0, 2, 1]));
    let first = ask(&ledger, "/control-reports?limit=2").await;
    let second = ask(&ledger, &next_page(&first).expect("another page")).await;
    assert_eq!((assert_ok(&second), next_page(&second)), (&json!([smith]), None));
    let first = ask(&ledger, "/control-reports/overrides?limit=1").await;
    let second = ask(&ledger, &next_page(&first).expect("another page")).await;
    assert_eq!((members(&second, "prisonerNumber"), next_page(&second)), (vec![json!("A1111AA")], None));

    let of_lee = ask(&ledger, "/control-reports/overrides?recorded-by=LEE_MDI&prison=LEI").await;
    assert_eq!(members(&of_lee, "prisonerNumber"), ["A2222BB"]);
    for none in ["prison=MDI", "recorded-by=SMITH_LEI", "to=2026-01-01", "from=2099-01-01"] {
        let found = ask(&ledger, &format!("/control-reports/overrides?{none}")).await;
        assert_eq!(*assert_ok(&found), json!([]), "{none}");
    }
    for (path, status, code) in [
        ("/control-reports/overrides?prison=XXX", 404, "prison-unknown"),
        ("/control-reports?from=2026-02-01&to=2026-01-01", 400, "parameter-invalid"),
        ("/control-reports?days=36501", 400, "parameter-invalid"),
        ("/control-reports/rumours", 400, "identifier-invalid"),
    ] {
        assert_refused(&ask(&ledger, path).await, status, code);
    }
}

/// A case that was merged keeps what was recorded under its number.
#[tokio::test]
async fn entries_stay_with_the_number_that_they_were_recorded_under() {
    let ledger = Ledger::start_all_roles().await;
    record_as(&ledger, "JONES_LEI", "/prisoners/A1111AA/tier", tier(30)).await;
    record_as(&ledger, "JONES_LEI", "/prisoners/A2222BB/merges", json!({"removedNumber": "A1111AA"})).await;
    ledger.wait_for_policies().await;
    let late = ask(&ledger, "/control-reports/backdated-entries").await;
    assert_eq!(members(&late, "prisonerNumber"), ["A1111AA"]);
    let entry = ask(&ledger, "/prisoners/A1111AA/history/0").await;
    assert_eq!(assert_ok(&entry)["position"], assert_ok(&late)[0]["position"]);
}
