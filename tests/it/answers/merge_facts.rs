//! Answers about a merged case look at the past of both numbers: a merge changes the number, and
//! not what happened.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    ledger::{Ledger, OKAFOR, SHAH},
    questions::{ask, ask_with, assert_ok, members, record},
};

#[tokio::test]
async fn a_person_who_was_allocated_and_waits_still_does_after_a_merge() {
    let ledger = Ledger::start_all_roles().await;
    let at = |day: &str| format!("{day}T00:00:00Z");
    let tier = json!({"tier": "C1", "source": "MANUAL", "prison": "LEI", "effectiveAt": at("2025-01-01")});
    record(&ledger, "POST /prisoners/A0001AA/tier", tier).await;
    let allocation = json!({"prison": "LEI", "pom": {"staffId": SHAH}, "effectiveAt": at("2025-02-01")});
    record(&ledger, "POST /prisoners/A0001AA/allocations", allocation).await;
    let ended = json!({"trigger": "MANUAL", "effectiveAt": at("2025-03-01")});
    record(&ledger, "POST /prisoners/A0001AA/deallocations", ended).await;
    let tier = json!({"tier": "C1", "source": "MANUAL", "effectiveAt": at("2026-01-01")});
    record(&ledger, "POST /prisoners/A0002AA/tier", tier).await;
    let waiting = async || ask(&ledger, "/prisons/LEI/unallocated?on=2099-01-01").await;
    let before = waiting().await;
    assert_eq!(members(&before, "waitingSince"), ["2025-03-01T00:00:00Z"]);

    record(&ledger, "POST /prisoners/A0002AA/merges", json!({"removedNumber": "A0001AA"})).await;
    let after = waiting().await;
    for member in ["waitingSince", "waitingReason", "days"] {
        assert_eq!(members(&after, member), members(&before, member), "{member}");
    }
    assert_eq!(members(&after, "waitingReason"), ["DEALLOCATED"]);
    assert_eq!(members(&after, "prisonerNumber"), ["A0002AA"]);
    for number in ["A0001AA", "A0002AA"] {
        let answer = ask(&ledger, &format!("/api/allocation/{number}")).await;
        assert_eq!((answer.status.as_u16(), &answer.body["message"]), (404, &json!("Not allocated")), "{number}");
    }
    let on = "on=2025-02-10";
    let then = ask(&ledger, &format!("/prisoners/A0002AA/responsibility?{on}")).await;
    assert_eq!(assert_ok(&then)["responsible"]["staffId"], SHAH);
}

#[tokio::test]
async fn the_allocation_and_its_time_stay_those_of_the_removed_number() {
    let ledger = Ledger::start_all_roles().await;
    let tier = json!({"tier": "C1", "source": "DELIUS", "prison": "LEI", "crn": "X123456",
        "effectiveAt": "2026-01-05T09:00:00Z"});
    record(&ledger, "POST /prisoners/A0001AA/tier", tier).await;
    let allocation = json!({
        "prison": "LEI", "pom": {"staffId": OKAFOR}, "overrideReasons": ["CONTINUITY"], "note": "As before.",
        "effectiveAt": "2026-02-02T09:00:00Z",
    });
    record(&ledger, "POST /prisoners/A0001AA/allocations", allocation).await;
    let tier = json!({"tier": "D", "source": "DELIUS", "effectiveAt": "2026-02-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A0001AA/tier", tier).await;
    let active = async |number: &str| {
        let answer = ask_with(&ledger, Method::POST, "/allocation/active", Some(&json!([number]))).await;
        assert_ok(&answer)["data"][number].clone()
    };
    let mut expected = active("A0001AA").await;
    assert_eq!((&expected["note"], &expected["allocated_at_tier"]), (&json!("As before."), &json!("C1")));

    record(&ledger, "POST /prisoners/A0002AA/merges", json!({"removedNumber": "A0001AA"})).await;
    expected["nomis_offender_id"] = json!("A0002AA");
    for number in ["A0001AA", "A0002AA"] {
        assert_eq!(active(number).await, expected);
    }
    let poms = ask(&ledger, &format!("/poms/{OKAFOR}")).await;
    assert_eq!(assert_ok(&poms)["poms"][0]["allocations"][0], expected);
    let responsibility = ask(&ledger, "/prisoners/A0002AA/responsibility?on=2099-01-01").await;
    assert_eq!(assert_ok(&responsibility)["responsible"]["since"], "2026-02-02T09:00:00Z");
    let cases = ask(&ledger, "/prisons/LEI/cases?on=2099-01-01").await;
    assert_eq!(members(&cases, "crn"), ["X123456"]);
    assert_eq!(members(&cases, "pom")[0]["since"], "2026-02-02T09:00:00Z");
}
