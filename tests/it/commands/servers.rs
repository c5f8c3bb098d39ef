//! Several servers on one ledger, and many cases at once.

use std::collections::HashSet;

use futures::future::join_all;
use serde_json::json;

use crate::support::ledger::{BYRNE, Ledger, PRISON, SHAH, assert_recorded, assert_refused, serve_commands};

#[tokio::test]
async fn a_command_that_rests_on_events_of_another_server_is_accepted() {
    let ledger = Ledger::start().await;
    let other = serve_commands(&ledger.database).await;
    // The first server loads the case, the prison and its roster.
    ledger.tier("A1234BC").await;
    let to_new = json!({"prison": PRISON, "pom": {"staffId": 7}});
    assert_refused(&ledger.client().post("/prisoners/A1234BC/allocations", &to_new).await, 422, "pom-not-registered");
    let to_known = json!({"prison": PRISON, "pom": {"staffId": SHAH}});
    assert_refused(&ledger.client().post("/prisoners/A1234BD/allocations", &to_known).await, 422, "tier-unknown");
    // The second server changes them.
    let pom = json!({"staffId": 7, "name": "New, Ann", "kind": "PRISON"});
    assert_recorded(&other.client().post("/prisons/LEI/poms", &pom).await);
    assert_recorded(&other.client().post("/prisoners/A1234BD/tier", &json!({"tier": "D"})).await);
    assert_recorded(&ledger.client().post("/prisoners/A1234BC/allocations", &to_new).await);
    assert_recorded(&ledger.client().post("/prisoners/A1234BD/allocations", &to_new).await);
}

#[tokio::test]
async fn commands_to_300_cases_at_once_are_all_recorded() {
    let ledger = Ledger::start().await;
    let numbers: Vec<_> = (0..300).map(|index| format!("C{index:04}CC")).collect();
    let bodies = join_all(numbers.iter().map(|number| async {
        ledger.tier(number).await;
        ledger.allocate(number, if number.ends_with('0') { BYRNE } else { SHAH }).await
    }));
    // A probation POM would need reasons, but no number ends with a 0.
    let answers = bodies.await;
    let positions: HashSet<_> = answers.iter().map(|answer| answer.body["events"][0]["position"].to_string()).collect();
    assert_eq!(positions.len(), numbers.len());
}
