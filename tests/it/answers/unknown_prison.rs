//! A prison that neither the program's list nor the ledger has.

use serde_json::json;

use crate::support::{
    ledger::{Ledger, PRISON, assert_refused},
    questions::{ask, assert_ok, record},
};

/// The questions about a prison, below its path.
const QUESTIONS: [&str; 6] = ["cases", "unallocated", "handovers?within=30d", "poms", "nomis-contacts", "statistics"];

#[tokio::test]
async fn a_prison_is_unknown_where_neither_the_list_nor_the_ledger_has_it() {
    let ledger = Ledger::start_all_roles().await;
    for question in QUESTIONS {
        let answer = ask(&ledger, &format!("/prisons/LEE/{question}")).await;
        assert_refused(&answer, 404, "prison-unknown");
        assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("LEI (Leeds)")), "{}", answer.text);
        // The list has it, and the ledger has not.
        assert_ok(&ask(&ledger, &format!("/prisons/MDI/{question}")).await);
    }
    let tier = json!({"tier": "C1", "source": "DELIUS", "prison": "LEE"});
    record(&ledger, "POST /prisoners/A1234BC/tier", tier).await;
    for question in QUESTIONS {
        assert_ok(&ask(&ledger, &format!("/prisons/LEE/{question}")).await);
        assert_ok(&ask(&ledger, &format!("/prisons/{PRISON}/{question}")).await);
    }
    let waiting = ask(&ledger, "/prisons/LEE/unallocated").await;
    assert_eq!(assert_ok(&waiting)[0]["prisonerNumber"], "A1234BC");
}
