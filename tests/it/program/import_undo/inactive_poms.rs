//! An undo after a person has made the POMs of a run inactive, and the policy of rule 7 has ended
//! their roles.

use domain::officer::PomStatus;
use serde_json::json;

use super::{Desk, TWO_CASES, lines, meanwhile::rows, outcomes};
use crate::support::{
    eventually,
    ledger::{Ledger, NOVAK, PRISON, SHAH, assert_recorded},
};

/// Waits until the policy has ended a role, so that the case has so many entries.
async fn wait_for_end(ledger: &Ledger, number: &str, entries: usize) {
    eventually("the end of the role", async || (ledger.types(number).await.len() == entries).then_some(())).await;
    assert_eq!(ledger.types(number).await.last(), Some(&"Deallocated"));
}

/// A person who voids what the policy recorded does not get rid of it: the POM is still inactive.
/// The undo does, and the policy has nothing to end after it.
#[tokio::test]
async fn a_run_whose_poms_a_person_made_inactive_is_undone_with_what_the_policy_recorded() {
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let run = desk.import(TWO_CASES, &[]).await;
    ledger.status(SHAH, "INACTIVE").await;
    wait_for_end(&ledger, "A0001BC", 3).await;
    let void = json!({"revision": 2, "reason": "in the way of the undo"});
    assert_recorded(&ledger.client().post("/prisoners/A0001BC/voids", &void).await);
    wait_for_end(&ledger, "A0001BC", 5).await;

    let cases = ["A0001BC 0", "A0001BC 1", "A0001BC 4", "A0002BC 0", "A0002BC 1"];
    let dry = lines(&desk.tool(&["import", "undo", &run, "--dry-run", "--json"]).await);
    assert_eq!(outcomes(&dry)[..5], cases.map(|entry| format!("{entry} would-void")));
    let undone = desk.undo(&run).await;
    let poms = ["485926 inactive", "485928 already-inactive", "LEI kept"].map(str::to_owned);
    assert_eq!(outcomes(&undone), [&cases.map(|entry| format!("{entry} voided"))[..], &poms].concat());
    assert_eq!(undone[2]["type"], "Deallocated");
    let reason = undone[2]["reason"].as_str().expect("a reason");
    assert!(reason.contains("the POM was inactive"), "{reason}");

    let count = ledger.event_count().await;
    assert_eq!(ledger.wait_for_policies().await, count, "the policy records nothing after the undo");
    let state = ledger.state("A0001BC").await;
    assert_eq!((state.primary_pom, state.tier), (None, None));
    assert_eq!(desk.undo(&run).await, undone, "an undo that is repeated has the same report");
    assert_eq!(ledger.event_count().await, count);
    let text = desk.tool(&["import", "undo", &run]).await.stdout;
    assert!(text.contains("4 entries of cases voided, 0 not."), "{text}");
    assert!(text.contains("1 entry in which the policy of rule 7 ended a role was voided with them."), "{text}");
}

/// The case had the POM by a run of its own before the policy ended the role.
#[tokio::test]
async fn an_undo_of_a_reallocation_gives_the_case_back_also_where_the_policy_ended_it() {
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let first = desk.import(TWO_CASES, &[]).await;
    let moved = TWO_CASES.replace("\"Shah, Priya\",485928", "\"Novak, Jan\",485929");
    let later = desk.import(&moved, &["--apply", "2020-01-06"]).await;
    ledger.status(NOVAK, "INACTIVE").await;
    wait_for_end(&ledger, "A0001BC", 4).await;

    assert_eq!(outcomes(&desk.undo(&first).await)[..2], ["A0001BC 0 kept", "A0001BC 1 kept"]);
    let undone = desk.undo(&later).await;
    assert_eq!(outcomes(&undone), ["A0001BC 2 voided", "A0001BC 3 voided", "485929 already-inactive"]);
    ledger.wait_for_policies().await;
    let holder = ledger.state("A0001BC").await.primary_staff_id().map(|id| id.get());
    assert_eq!(holder, Some(SHAH), "the case is back with the POM of the first run");
}

/// The case of an inactive POM would go back to the POM otherwise.
#[tokio::test]
async fn an_undo_voids_no_end_of_a_role_that_another_run_gave() {
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let first = desk.import(TWO_CASES, &[]).await;
    let inactive = json!({"status": "INACTIVE", "effectiveAt": "2020-01-01T09:00:00Z"});
    assert_recorded(&ledger.client().put(&format!("/prisons/{PRISON}/poms/{SHAH}/status"), &inactive).await);
    wait_for_end(&ledger, "A0001BC", 3).await;
    let later = desk.import("A0001BC,D,\"Novak, Jan\",485929,PRO,01/02/2020\n", &[]).await;
    let undone = desk.undo(&later).await;
    assert_eq!(outcomes(&undone), ["A0001BC 3 voided", "A0001BC 4 voided", "485929 inactive"]);
    let count = ledger.event_count().await;
    assert_eq!(ledger.wait_for_policies().await, count, "the policy has nothing to end");

    let undone = desk.undo(&first).await;
    assert_eq!(outcomes(&undone)[..3], ["A0001BC 0 voided", "A0001BC 1 voided", "A0001BC 2 voided"]);
}

#[tokio::test]
async fn an_undo_voids_no_end_of_a_role_that_a_person_recorded() {
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let run = desk.import(TWO_CASES, &[]).await;
    let ended = json!({"trigger": "MANUAL"});
    assert_recorded(&ledger.client().post("/prisoners/A0001BC/deallocations", &ended).await);
    let undone = desk.undo(&run).await;
    assert_eq!(outcomes(&undone)[..2], ["A0001BC 0 kept", "A0001BC 1 kept"]);
    assert_eq!(desk.status(SHAH).await, PomStatus::Active);
}

/// The policy may end a role after the undo has read the case.
#[tokio::test]
async fn a_run_is_undone_while_the_policy_ends_the_roles_that_it_gave() {
    const CASES: usize = 300;
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let run = desk.import(&rows(CASES), &[]).await;
    ledger.status(SHAH, "INACTIVE").await;
    let undone = desk.undo(&run).await;
    let voided = undone.iter().filter(|line| line["outcome"] == "voided");
    let (by_policy, of_run): (Vec<_>, Vec<_>) = voided.partition(|line| line["type"] == "Deallocated");
    assert_eq!(of_run.len(), 2 * CASES, "{undone:?}");
    let count = ledger.event_count().await;
    assert_eq!(ledger.wait_for_policies().await, count, "the policy records nothing after the undo");
    assert_eq!(desk.undo(&run).await, undone, "an undo that is repeated has the same report");
    println!("{} of {CASES} roles ended before the undo came to them", by_policy.len());
}
