//! A person comes into a prison: what is recorded, where the case waits, and what the view of
//! allocations tells of it.

use domain::prisoner::allocations;
use serde_json::{Value, json};

use crate::support::{
    ledger::{Ledger, PRISON, SHAH, assert_recorded, assert_refused, history},
    questions::{ask, assert_ok},
};

const NUMBER: &str = "A1234BC";

/// Records a fact of a day of March 2026.
async fn record(ledger: &Ledger, part: &str, day: u8, mut body: Value) {
    body["effectiveAt"] = json!(format!("2026-03-{day:02}T09:00:00Z"));
    assert_recorded(&ledger.client().post(&format!("/prisoners/{NUMBER}/{part}"), &body).await);
}

#[tokio::test]
async fn a_person_who_came_in_waits_once_the_case_has_a_tier() {
    let ledger = Ledger::start_all_roles().await;
    let waiting = async || {
        let answer = ask(&ledger, &format!("/prisons/{PRISON}/unallocated")).await;
        let cases = assert_ok(&answer).as_array().expect("a list").clone();
        let of_case = |case: &Value| json!([case["prisonerNumber"], case["waitingSince"], case["waitingReason"]]);
        cases.iter().map(of_case).collect::<Vec<_>>()
    };
    record(&ledger, "receptions", 2, json!({"prison": PRISON, "reason": "NEW_ADMISSION"})).await;
    assert_eq!(waiting().await, Vec::<Value>::new(), "no tier yet");
    let answer = ask(&ledger, &format!("/prisoners/{NUMBER}/responsibility")).await;
    assert_eq!(assert_ok(&answer)["prison"], PRISON);
    record(&ledger, "tier", 5, json!({"tier": "C1"})).await;
    assert_eq!(waiting().await, [json!([NUMBER, "2026-03-05T09:00:00Z", "RECEIVED"])]);

    let again = json!({"prison": PRISON, "reason": "NEW_ADMISSION"});
    let answer = ledger.client().post(&format!("/prisoners/{NUMBER}/receptions"), &again).await;
    assert_eq!((answer.status.as_u16(), &answer.body["events"][0]["revision"]), (200, &json!(0)), "{}", answer.text);

    record(&ledger, "allocations", 9, json!({"prison": PRISON, "pom": {"staffId": SHAH}})).await;
    assert_eq!(waiting().await, Vec::<Value>::new());
    let case = history(NUMBER, ledger.case_events(NUMBER).await);
    let days = allocations(&case).iter().map(|made| (made.days_waited(), made.days_from_reception())).next();
    assert_eq!(days, Some((Some(4), Some(7))));
    let elsewhere = json!({"prison": "MDI", "reason": "READMISSION"});
    let answer = ledger.client().post(&format!("/prisoners/{NUMBER}/receptions"), &elsewhere).await;
    assert_refused(&answer, 422, "case-at-another-prison");
}
