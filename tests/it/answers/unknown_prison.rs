//! A prison that neither the program's list nor the ledger has.

use serde_json::json;

use crate::support::{
    ledger::{Ledger, PRISON, assert_refused},
    questions::{ask, assert_ok, record},
};

/// The questions about a prison.
const QUESTIONS: [&str; 7] = [
    "/prisons/{code}/cases",
    "/prisons/{code}/unallocated",
    "/prisons/{code}/handovers?within=30d",
    "/prisons/{code}/poms",
    "/prisons/{code}/nomis-contacts",
    "/prisons/{code}/statistics",
    "/events?limit=1&prison={code}",
];

#[tokio::test]
async fn a_prison_is_unknown_where_neither_the_list_nor_the_ledger_has_it() {
    let ledger = Ledger::start_all_roles().await;
    for question in QUESTIONS {
        let answer = ask(&ledger, &question.replace("{code}", "LEE")).await;
        assert_refused(&answer, 404, "prison-unknown");
        assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("LEI (Leeds)")), "{}", answer.text);
        // The list has it, and the ledger has not.
        assert_ok(&ask(&ledger, &question.replace("{code}", "MDI")).await);
    }
    let tier = json!({"tier": "C1", "source": "DELIUS", "prison": "LEE"});
    record(&ledger, "POST /prisoners/A1234BC/tier", tier).await;
    for question in QUESTIONS {
        assert_ok(&ask(&ledger, &question.replace("{code}", "LEE")).await);
        assert_ok(&ask(&ledger, &question.replace("{code}", PRISON)).await);
    }
    let waiting = ask(&ledger, "/prisons/LEE/unallocated").await;
    assert_eq!(assert_ok(&waiting)[0]["prisonerNumber"], "A1234BC");
}
