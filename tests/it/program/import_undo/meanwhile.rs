//! An undo while something else happens: it is killed, another undo runs, or commands arrive over
//! HTTP.

use std::{collections::BTreeMap, fmt::Write as _};

use domain::{Event, Stream, officer::PomStatus, prison::PrisonEvent, prisoner::PrisonerEvent};
use event_log::StoredEvent;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{Desk, TWO_CASES, lines};
use crate::support::{
    Tool, database, eventually,
    ledger::{self, Ledger, NOVAK, PRISON, assert_recorded},
};

/// Rows of cases of one POM.
pub(super) fn rows(count: usize) -> String {
    (0..count).fold(String::new(), |mut rows, index| {
        let _ = writeln!(rows, "A{index:04}BC,C,\"Shah, Priya\",485928,PRO,01/07/2019");
        rows
    })
}

/// The report of an undo of its rows, without the run.
fn without_run(lines: Vec<Value>) -> Vec<Value> {
    let without = |mut line: Value| {
        assert!(line["run"].take().is_string(), "{line}");
        line
    };
    lines.into_iter().map(without).collect()
}

#[tokio::test]
async fn an_undo_that_is_killed_and_repeated_has_the_report_of_one_that_was_not() {
    const CASES: usize = 300;
    let (once, killed) = (database().await, database().await);
    let (once, killed) = (Desk::at(&once), Desk::at(&killed));
    let run = once.import(&rows(CASES), &[]).await;
    let expected = without_run(once.undo(&run).await);
    assert_eq!(expected.len(), 2 * CASES + 2);
    assert!(expected[..2 * CASES].iter().all(|line| line["outcome"] == "voided"));

    let run = killed.import(&rows(CASES), &[]).await;
    let imported = killed.database.log().await.head().await.expect("the end of the log");
    let stores = killed.database.store.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let tool = Tool::start(&[&["import", "undo", &run], &stores[..]].concat());
    eventually("a void", async || {
        (killed.database.log().await.head().await.expect("the end of the log") > imported).then_some(())
    })
    .await;
    drop(tool);
    assert_eq!(without_run(killed.undo(&run).await), expected);
    let count = killed.events().await.len();
    assert_eq!(count, once.events().await.len(), "nothing is voided twice");
    assert_eq!(without_run(killed.undo(&run).await), expected, "also of one that has ended");
    let dry = lines(&killed.tool(&["import", "undo", &run, "--dry-run", "--json"]).await);
    assert!(dry[..2 * CASES].iter().all(|line| line["outcome"] == "already-voided"), "a dry run voids nothing");
    assert_eq!(killed.events().await.len(), count);
}

#[tokio::test]
async fn two_undos_of_a_run_at_once_have_the_same_report() {
    let database = database().await;
    let desk = Desk::at(&database);
    let run = desk.import(&format!("{}{}", rows(40), TWO_CASES.lines().last().expect("a row")), &[]).await;
    let imported = desk.events().await.len();
    let (one, other) = tokio::join!(desk.undo(&run), desk.undo(&run));
    assert_eq!(one, other);
    let voided = one.iter().filter(|line| line["outcome"] == "voided").count();
    let inactive = one.iter().filter(|line| line["outcome"] == "inactive").count();
    assert_eq!(desk.events().await.len(), imported + voided + inactive, "each is recorded once: {one:?}");
}

/// Commands over HTTP take no turn. Each case ends as if the command or the undo had come first.
/// The undo begins with the first case and the commands with the last, so that they meet.
#[tokio::test]
async fn a_command_over_http_during_an_undo_comes_before_or_after_it() {
    const CASES: usize = 600;
    const COMMANDS_AT_ONCE: usize = 8;
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let run = desk.import(&rows(CASES), &[]).await;
    ledger.register_pom(PRISON, NOVAK, "Novak, Jan", "PRISON").await;
    let imported = ledger.event_count().await;
    let commands = async {
        eventually("the first void", async || (ledger.event_count().await > imported).then_some(())).await;
        let moved = json!({"prison": PRISON, "pom": {"staffId": NOVAK}, "reason": "Wing move"});
        let move_case = async |index: usize| {
            let number = format!("A{index:04}BC");
            (ledger.client().post(&format!("/prisoners/{number}/reallocations"), &moved).await, number)
        };
        stream::iter((0..CASES).rev()).map(move_case).buffer_unordered(COMMANDS_AT_ONCE).collect::<Vec<_>>().await
    };
    let (undone, answers) = tokio::join!(desk.undo(&run), commands);

    let mut undone_of = BTreeMap::<&str, Vec<&str>>::new();
    for line in &undone {
        if let Some(number) = line["prisonerNumber"].as_str() {
            undone_of.entry(number).or_default().push(line["outcome"].as_str().expect("an outcome"));
        }
    }
    let mut cases = BTreeMap::<String, Vec<StoredEvent>>::new();
    for event in ledger.events().await {
        if let Stream::Prisoner(number) = &event.stream {
            cases.entry(number.to_string()).or_default().push(event);
        }
    }
    for (answer, number) in &answers {
        let events = &cases[number];
        let types: Vec<_> = events.iter().map(|event| event.entry.event.type_name()).collect();
        let state = ledger::history(number, events.clone()).state();
        let holder = state.primary_staff_id().map(|id| id.get());
        let outcome = if answer.status == 201 {
            assert_eq!(types, ["TierAssigned", "AllocationMade", "Reallocated"], "{number}");
            assert_eq!(holder, Some(NOVAK), "{number}");
            "kept"
        } else {
            assert_eq!(answer.body["code"], "not-allocated", "{}", answer.text);
            assert_eq!(types, ["TierAssigned", "AllocationMade", "EntryVoided", "EntryVoided"], "{number}");
            assert_eq!((holder, state.tier), (None, None), "{number}");
            "voided"
        };
        assert_eq!(undone_of[number.as_str()], [outcome; 2], "{number}: {types:?}");
    }
    println!("{} of {CASES} commands came first", answers.iter().filter(|(answer, _)| answer.status == 201).count());
}

/// The undo must not overrule a status that a person gives in the moment in which it has looked.
#[tokio::test]
async fn a_status_given_over_http_during_an_undo_comes_before_or_after_it() {
    const POMS: i64 = 200;
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let row = |pom: i64| format!("A{pom:04}BC,C,\"Novak, Jan\",{},PRO,01/07/2019\n", NOVAK + pom);
    let run = desk.import(&(0..POMS).map(row).collect::<String>(), &[]).await;
    // An undo records the voids first: two for each case.
    let voided = ledger.events().await.len() + 2 * POMS as usize;
    let commands = async {
        eventually("the first status", async || (desk.events().await.len() > voided).then_some(())).await;
        let unavailable = json!({"status": "UNAVAILABLE"});
        // The last ones first, since the undo begins with the first.
        for staff_id in (0..POMS).rev().map(|pom| NOVAK + pom) {
            let path = format!("/prisons/{PRISON}/poms/{staff_id}/status");
            let recorded = async || {
                let answer = ledger.client().put(&path, &unavailable).await;
                // The undo records on the same prison, and may win time after time.
                (answer.body["code"] != "stream-contended").then_some(answer)
            };
            assert_recorded(&eventually("the status to be recorded", recorded).await);
        }
    };
    let (undone, ()) = tokio::join!(desk.undo(&run), commands);

    let mut statuses = BTreeMap::<i64, Vec<PomStatus>>::new();
    for event in desk.events().await {
        if let Event::Prison(PrisonEvent::PomStatusChanged(changed)) = event.entry.event {
            statuses.entry(changed.staff_id.get()).or_default().push(changed.status);
        }
    }
    for line in undone.iter().filter(|line| line["staffId"].is_i64()) {
        let statuses = &statuses[&line["staffId"].as_i64().expect("a staff id")];
        let expected = match line["outcome"].as_str() {
            Some("inactive") => &[PomStatus::Inactive, PomStatus::Unavailable][..],
            _ => &[PomStatus::Unavailable],
        };
        assert_eq!(statuses, expected, "{line}");
    }
    println!("{} of {POMS} commands came first", undone.iter().filter(|line| line["reason"].is_string()).count());
}

/// The undo must not look once for all POMs: while it is busy with the first, a person may give the
/// last one a case.
#[tokio::test]
async fn a_pom_whom_a_person_gives_a_case_during_an_undo_stays_on_the_roster() {
    const POMS: i64 = 200;
    const GIVEN: i64 = 20;
    let ledger = Ledger::empty().await;
    let desk = Desk::at(&ledger.database);
    let row = |pom: i64| format!("A{pom:04}BC,C,\"Novak, Jan\",{},PRO,01/07/2019\n", NOVAK + pom);
    let run = desk.import(&(0..POMS).map(row).collect::<String>(), &[]).await;
    // The last ones first, since the undo begins with the first.
    let given: Vec<(String, i64)> =
        (POMS - GIVEN..POMS).rev().map(|pom| (format!("B{pom:04}BC"), NOVAK + pom)).collect();
    for (number, _) in &given {
        ledger.tier(number).await;
    }
    // An undo records the voids first: two for each case.
    let voided = ledger.events().await.len() + 2 * POMS as usize;
    let commands = async {
        eventually("the first status", async || (desk.events().await.len() > voided).then_some(())).await;
        for (number, staff_id) in &given {
            let allocation = json!({"prison": PRISON, "pom": {"staffId": staff_id}});
            let answer = ledger.client().post(&format!("/prisoners/{number}/allocations"), &allocation).await;
            assert!(answer.status == 201 || answer.body["code"] == "pom-not-active", "{}", answer.text);
        }
    };
    let (undone, ()) = tokio::join!(desk.undo(&run), commands);

    let mut statuses = BTreeMap::<i64, u64>::new();
    let mut allocations = BTreeMap::<i64, u64>::new();
    for event in desk.events().await {
        match event.entry.event {
            Event::Prison(PrisonEvent::PomStatusChanged(changed)) => {
                statuses.insert(changed.staff_id.get(), event.entry.position);
            }
            Event::Prisoner(PrisonerEvent::AllocationMade(made)) if event.metadata.provenance.is_none() => {
                allocations.insert(made.pom.staff_id.get(), event.entry.position);
            }
            _ => {}
        }
    }
    let mut came_first = 0;
    for (staff_id, allocated_at) in allocations {
        // The undo decides on a POM after the status of the one before.
        let before = statuses.range(..staff_id).next_back().map(|(_, &position)| position);
        if before.is_some_and(|before| allocated_at < before) {
            assert_eq!(super::reason_of(&undone, staff_id), "holds 1 case");
            came_first += 1;
        }
    }
    println!("{came_first} of {GIVEN} allocations came first");
}
