//! Policies: the commands that the ledger sends itself. They are interrupted at any moment,
//! restarted, and run on two servers at once.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use domain::{
    Event, Stream,
    identifier::{CommandId, Username},
    officer::PomStatus,
    prison::{PomStatusChanged, PrisonEvent},
    prisoner::{DeallocationTrigger, PrisonerEvent},
};
use event_log::{ExpectedRevision, Salt, StoredEvent, encode};
use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    TestDatabase,
    builders::{metadata, new_event, number_retired, prison_code, staff_id},
    eventually,
    ledger::{
        Ledger, NOVAK, OKAFOR, PRISON, SHAH, assert_recorded, assert_refused, event_types, history, serve_commands,
    },
};

/// The events that ended roles because a POM became inactive.
fn ends(events: &[StoredEvent]) -> Vec<&StoredEvent> {
    events
        .iter()
        .filter(|event| match &event.entry.event {
            Event::Prisoner(PrisonerEvent::Deallocated(ended)) => ended.trigger == DeallocationTrigger::PomInactive,
            Event::Prisoner(PrisonerEvent::CoworkerDeallocated(ended)) => {
                ended.trigger == DeallocationTrigger::PomInactive
            }
            _ => false,
        })
        .collect()
}

/// The cases of a log on which a POM has a role.
fn held_by(events: Vec<StoredEvent>, staff_id: i64) -> Vec<String> {
    let mut cases: BTreeMap<String, Vec<StoredEvent>> = BTreeMap::new();
    for event in events {
        if let Stream::Prisoner(number) = &event.stream {
            cases.entry(number.to_string()).or_default().push(event);
        }
    }
    cases
        .into_iter()
        .filter(|(number, events)| {
            let state = history(number, events.clone()).state();
            [state.primary_staff_id(), state.coworking_staff_id()].into_iter().flatten().any(|id| id.get() == staff_id)
        })
        .map(|(number, _)| number)
        .collect()
}

fn number(index: usize) -> String {
    format!("A{index:04}AA")
}

async fn wait_until_pom_holds_no_case(ledger: &Ledger, staff_id: i64) {
    eventually("the POM to hold no cases", async || held_by(ledger.events().await, staff_id).is_empty().then_some(()))
        .await;
}

#[tokio::test]
async fn a_pom_who_becomes_inactive_loses_all_cases() {
    let ledger = Ledger::start().await;
    for index in 0..5 {
        ledger.case(&number(index), SHAH).await;
    }
    // A case with a second POM, and a case that has passed to another POM.
    ledger.case("B0001BB", NOVAK).await;
    let coworker = json!({"prison": PRISON, "pom": {"staffId": SHAH}});
    assert_recorded(&ledger.client().post("/prisoners/B0001BB/co-workers", &coworker).await);
    let moved = json!({"prison": PRISON, "pom": {"staffId": NOVAK}, "reason": "Wing move"});
    assert_recorded(&ledger.client().post(&format!("/prisoners/{}/reallocations", number(0)), &moved).await);

    ledger.status(SHAH, "UNAVAILABLE").await;
    ledger.wait_for_policies().await;
    assert_eq!(ends(&ledger.events().await).len(), 0, "who is unavailable keeps the cases held");
    let status = ledger.status(SHAH, "INACTIVE").await;
    wait_until_pom_holds_no_case(&ledger, SHAH).await;
    ledger.wait_for_policies().await;
    let events = ledger.events().await;
    let ends = ends(&events);
    assert_eq!(ends.len(), 5, "four cases and one co-working role");
    let cause = &status.body["events"][0];
    for end in ends {
        assert_eq!(json!(end.metadata.causation_id), cause["eventId"]);
        assert_eq!(json!(end.metadata.effective_at), cause["effectiveAt"]);
        assert_eq!(end.entry.recorded_by.username.as_ref().map(Username::as_str), Some("LEDGER_POLICY"));
        assert_eq!(end.entry.recorded_by.client, "policy");
    }
    let state = ledger.state("B0001BB").await;
    assert_eq!(state.primary_staff_id().map(|id| id.get()), Some(NOVAK), "the primary POM stays");

    // A POM who is active again keeps new cases.
    ledger.status(SHAH, "ACTIVE").await;
    let body = json!({"prison": PRISON, "pom": {"staffId": SHAH}});
    assert_recorded(&ledger.client().post(&format!("/prisoners/{}/allocations", number(1)), &body).await);
    ledger.wait_for_policies().await;
    assert_eq!(held_by(ledger.events().await, SHAH), [number(1)]);
}

#[tokio::test]
async fn a_role_restored_by_a_void_is_ended_again() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    ledger.status(SHAH, "INACTIVE").await;
    wait_until_pom_holds_no_case(&ledger, SHAH).await;
    let end = ledger.case_events("A1234BC").await.last().expect("the end").entry.revision;
    let void = json!({"revision": end, "reason": "To see what happens"});
    let void = ledger.client().post("/prisoners/A1234BC/voids", &void).await;
    assert_recorded(&void);
    wait_until_pom_holds_no_case(&ledger, SHAH).await;
    let events = ledger.case_events("A1234BC").await;
    let ends = ends(&events);
    assert_eq!(ends.len(), 2);
    assert_eq!(json!(ends[1].metadata.causation_id), void.body["events"][0]["eventId"]);
}

/// The survivor has the role from the merge on, and the POM was inactive before that.
#[tokio::test]
async fn a_role_taken_over_in_a_merge_ends_from_the_merge_on() {
    let ledger = Ledger::start().await;
    ledger.case("B0001BB", SHAH).await;
    ledger.tier("A0001AA").await;
    let merge = json!({"removedNumber": "B0001BB", "effectiveAt": "2026-03-15T09:00:00Z"});
    assert_recorded(&ledger.client().post("/prisoners/A0001AA/merges", &merge).await);
    assert_eq!(held_by(ledger.events().await, SHAH), ["A0001AA"]);
    let status = json!({"status": "INACTIVE", "effectiveAt": "2026-03-10T09:00:00Z"});
    assert_recorded(&ledger.client().put(&format!("/prisons/LEI/poms/{SHAH}/status"), &status).await);
    wait_until_pom_holds_no_case(&ledger, SHAH).await;
    let end = ledger.case_events("A0001AA").await.pop().expect("the end");
    assert_eq!(ends(std::slice::from_ref(&end)).len(), 1);
    assert_eq!(json!(end.entry.effective_at), json!("2026-03-15T09:00:00Z"));
}

/// The POM held both numbers: where the survivor's own role ends, the merge takes over the other.
#[tokio::test]
async fn a_role_that_the_end_of_another_brings_back_from_a_merge_ends_too() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    ledger.case("B0001BB", SHAH).await;
    let merge = json!({"removedNumber": "B0001BB", "effectiveAt": "2026-03-15T09:00:00Z"});
    assert_recorded(&ledger.client().post("/prisoners/A0001AA/merges", &merge).await);
    let status = json!({"status": "INACTIVE", "effectiveAt": "2026-03-10T09:00:00Z"});
    assert_recorded(&ledger.client().put(&format!("/prisons/LEI/poms/{SHAH}/status"), &status).await);
    wait_until_pom_holds_no_case(&ledger, SHAH).await;
    let events = ledger.case_events("A0001AA").await;
    let times: Vec<_> = ends(&events).iter().map(|end| json!(end.entry.effective_at)).collect();
    assert_eq!(times, ["2026-03-10T09:00:00Z", "2026-03-15T09:00:00Z"]);
}

/// The roles that a merge takes over depend on the entries before it, also on those recorded later.
#[tokio::test]
async fn a_role_that_a_backdated_entry_brings_back_from_a_merge_ends() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", NOVAK).await;
    let elsewhere = json!({"tier": "C1", "source": "MANUAL", "prison": "MDI", "effectiveAt": "2026-03-01T08:00:00Z"});
    for number in ["A0002AA", "A0003AA"] {
        assert_recorded(&ledger.client().post(&format!("/prisoners/{number}/tier"), &elsewhere).await);
    }
    for index in 1..=3 {
        let removed = format!("B000{index}BB");
        ledger.case(&removed, SHAH).await;
        let merge = json!({"removedNumber": removed, "effectiveAt": "2026-03-15T09:00:00Z"});
        assert_recorded(&ledger.client().post(&format!("/prisoners/A000{index}AA/merges"), &merge).await);
    }
    ledger.status(SHAH, "INACTIVE").await;
    ledger.wait_for_policies().await;
    let at = "2026-03-10T09:00:00Z";
    let backdated = [
        ("A0001AA/deallocations", json!({"trigger": "MANUAL", "effectiveAt": at})),
        ("A0002AA/transfers", json!({"toPrison": PRISON, "effectiveAt": at})),
        ("A0003AA/tier", json!({"tier": "C2", "source": "MANUAL", "prison": PRISON, "effectiveAt": at})),
    ];
    for (path, body) in backdated {
        let number = &path[..7];
        assert!(ends(&ledger.case_events(number).await).is_empty());
        assert_recorded(&ledger.client().post(&format!("/prisoners/{path}"), &body).await);
        wait_until_pom_holds_no_case(&ledger, SHAH).await;
        assert_eq!(ends(&ledger.case_events(number).await).len(), 1, "{path}");
    }
}

#[tokio::test]
async fn a_backdated_status_ends_roles_at_its_date_or_now() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    ledger.case("A0002AA", SHAH).await;
    // A co-worker who joined after the date from which the primary POM's role ends.
    let coworker = json!({"prison": PRISON, "pom": {"staffId": OKAFOR}, "effectiveAt": "2026-03-20T09:00:00Z"});
    assert_recorded(&ledger.client().post("/prisoners/A0002AA/co-workers", &coworker).await);
    let status = json!({"status": "INACTIVE", "effectiveAt": "2026-03-10T09:00:00Z"});
    assert_recorded(&ledger.client().put(&format!("/prisons/LEI/poms/{SHAH}/status"), &status).await);
    wait_until_pom_holds_no_case(&ledger, SHAH).await;
    let at = async |number: &str| ledger.case_events(number).await.last().expect("the end").entry.effective_at;
    assert_eq!(json!(at("A0001AA").await), json!("2026-03-10T09:00:00Z"));
    assert!(at("A0002AA").await > "2026-03-20T09:00:00Z".parse::<DateTime<Utc>>().expect("an instant"));
}

#[tokio::test]
async fn a_role_held_while_its_pom_was_inactive_ends_whatever_is_recorded_before_the_policy_acts() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    ledger.case("A0002AA", NOVAK).await;
    let Ledger { database, program } = ledger;
    program.kill();
    let log = database.log().await;
    let stream = Stream::Prison(prison_code(PRISON));
    let status = |id, status| {
        new_event(&Event::Prison(PrisonEvent::PomStatusChanged(PomStatusChanged {
            staff_id: staff_id(id),
            status,
            returns_on: None,
            reason: None,
        })))
    };
    let last = log.read_stream(&stream, 0, 100).await.expect("the stream").pop().expect("an event").revision;
    let statuses = vec![status(SHAH, PomStatus::Inactive), status(SHAH, PomStatus::Active)];
    let inactive = statuses[0].event_id;
    log.append(&stream, ExpectedRevision::Exact(last), statuses).await.expect("append");
    let ledger = Ledger { program: serve_commands(&database).await, database };
    wait_until_pom_holds_no_case(&ledger, SHAH).await;
    let events = ledger.case_events("A0001AA").await;
    let ends = ends(&events);
    assert_eq!(ends.iter().map(|end| end.metadata.causation_id).collect::<Vec<_>>(), [Some(inactive)]);

    // A role that the active POM gets stays. So does one whose POM was active again by the time at
    // which a backdated status was recorded.
    let body = json!({"prison": PRISON, "pom": {"staffId": SHAH}});
    assert_recorded(&ledger.client().post("/prisoners/A0001AA/allocations", &body).await);
    for (status, day) in [("UNAVAILABLE", 12), ("ACTIVE", 14), ("INACTIVE", 10)] {
        let body = json!({"status": status, "effectiveAt": format!("2026-03-{day}T09:00:00Z")});
        let path = format!("/prisons/LEI/poms/{NOVAK}/status");
        assert_recorded(&ledger.client().put(&path, &body).await);
    }
    let ledger = ledger.kill_and_restart().await;
    ledger.wait_for_policies().await;
    assert_eq!(held_by(ledger.events().await, SHAH), ["A0001AA"]);
    assert_eq!(held_by(ledger.events().await, NOVAK), ["A0002AA"]);
}

/// Kills the program right after the status was acknowledged, and repeatedly while it works through
/// the cases. In the end each case must have ended exactly once.
#[tokio::test]
async fn a_policy_interrupted_anywhere_completes_after_a_restart() {
    let mut ledger = Ledger::start().await;
    let count = 60;
    join_all((0..count).map(|index| {
        let ledger = &ledger;
        async move { ledger.case(&number(index), SHAH).await }
    }))
    .await;
    ledger.status(SHAH, "INACTIVE").await;
    for _ in 0..3 {
        ledger = ledger.kill_and_restart().await;
    }
    wait_until_pom_holds_no_case(&ledger, SHAH).await;
    let settled = ledger.wait_for_policies().await;
    assert_eq!(ends(&ledger.events().await).len(), count, "each case once");
    let ledger = ledger.kill_and_restart().await;
    assert_eq!(ledger.wait_for_policies().await, settled, "from the start again, nothing is done twice");
}

#[tokio::test]
async fn two_servers_apply_a_policy_once() {
    let ledger = Ledger::start().await;
    let other = serve_commands(&ledger.database).await;
    let count = 40;
    join_all((0..count).map(|index| {
        let ledger = &ledger;
        async move { ledger.case(&number(index), SHAH).await }
    }))
    .await;
    let body = json!({"status": "INACTIVE"});
    assert_recorded(&other.client().put(&format!("/prisons/LEI/poms/{SHAH}/status"), &body).await);
    wait_until_pom_holds_no_case(&ledger, SHAH).await;
    ledger.wait_for_policies().await;
    assert_eq!(ends(&ledger.events().await).len(), count);
    // Both servers know the case.
    for client in [ledger.client(), other.client()] {
        let body = json!({"prison": PRISON, "pom": {"staffId": SHAH}});
        assert_refused(
            &client.post(&format!("/prisoners/{}/allocations", number(1)), &body).await,
            422,
            "pom-not-active",
        );
    }
}

/// Two servers allocate cases while the POM becomes inactive: some before, some refused, some in
/// the same moment. In the end the POM must hold none.
#[tokio::test]
async fn a_case_allocated_at_the_moment_of_a_status_change_is_deallocated() {
    let ledger = Ledger::start().await;
    let other = serve_commands(&ledger.database).await;
    for round in 0..4 {
        let numbers: Vec<_> = (0..12).map(|index| number(round * 100 + index)).collect();
        for number in &numbers {
            ledger.tier(number).await;
        }
        let body = json!({"prison": PRISON, "pom": {"staffId": SHAH}});
        let clients = [ledger.client(), other.client()];
        let allocations = join_all(numbers.iter().enumerate().map(|(index, number)| {
            let (client, body) = (clients[index % 2], &body);
            async move { client.post(&format!("/prisoners/{number}/allocations"), body).await }
        }));
        let (answers, _) = futures::join!(allocations, ledger.status(SHAH, "INACTIVE"));
        let accepted = answers.iter().filter(|answer| answer.status == 201).count();
        assert!(answers.iter().all(|answer| answer.status == 201 || answer.body["code"] == "pom-not-active"));
        wait_until_pom_holds_no_case(&ledger, SHAH).await;
        ledger.wait_for_policies().await;
        let events = ledger.events().await;
        let in_round = |event: &&&StoredEvent| numbers.iter().any(|n| event.stream.to_string().ends_with(n.as_str()));
        assert_eq!(ends(&events).iter().filter(in_round).count(), accepted, "each case that was accepted ends once");
        ledger.status(SHAH, "ACTIVE").await;
    }
}

#[tokio::test]
async fn a_merge_interrupted_between_its_steps_is_completed() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    ledger.tier("A0002AA").await;
    // Simulates two kills of the server between the two steps of a merge. The survivor itself has
    // been retired since.
    let Ledger { database, program } = ledger;
    program.kill();
    retire(&database, "A0001AA", "A0002AA").await;
    retire(&database, "A0002AA", "A0003AA").await;
    let ledger = Ledger { program: serve_commands(&database).await, database };
    let merged = async || {
        let events = ledger.case_events("A0003AA").await;
        (events.len() >= 2).then_some(events)
    };
    let events = eventually("both merges to be completed", merged).await;
    ledger.wait_for_policies().await;
    assert_eq!(ledger.types("A0002AA").await, ["TierAssigned", "PrisonerNumberRetired"]);
    assert_eq!(events.len(), 2);
    assert!(
        events
            .iter()
            .all(|event| event.entry.recorded_by.username.as_ref().map(Username::as_str) == Some("LEDGER_POLICY"))
    );
    let settled = ledger.wait_for_policies().await;
    let merge = |removed: &str| json!({ "removedNumber": removed });
    let again = ledger.client().post("/prisoners/A0003AA/merges", &merge("A0001AA")).await;
    assert_eq!(
        (again.status.as_u16(), event_types(&again)),
        (200, vec!["PrisonerNumberRetired".to_owned(), "PrisonerNumberMerged".to_owned()])
    );
    let ledger = ledger.kill_and_restart().await;
    assert_eq!(ledger.wait_for_policies().await, settled);
}

/// The same key was used for two merges, and the server lost its memory of the first before the
/// policy completed it. Both must be completed.
#[tokio::test]
async fn a_key_used_for_two_merges_does_not_stop_either() {
    let ledger = Ledger::start().await;
    for number in ["A0001AA", "A0002AA", "A0003AA"] {
        ledger.tier(number).await;
    }
    let Ledger { database, program } = ledger;
    program.kill();
    let command_id = CommandId(Uuid::new_v4());
    retire_by(&database, "A0001AA", "A0003AA", command_id, Duration::zero()).await;
    retire_by(&database, "A0002AA", "A0003AA", command_id, Duration::zero()).await;
    let ledger = Ledger { program: serve_commands(&database).await, database };
    eventually("both merges to be completed", async || (ledger.types("A0003AA").await.len() == 3).then_some(())).await;
}

/// One retirement has a time ahead of this machine's clock, and two servers retired two numbers
/// into each other.
#[tokio::test]
async fn policies_survive_differing_clocks_and_a_circle_of_merges() {
    let ledger = Ledger::start().await;
    for number in ["A0001AA", "A0002AA", "A0003AA", "A0004AA"] {
        ledger.tier(number).await;
    }
    let Ledger { database, program } = ledger;
    program.kill();
    retire_by(&database, "A0001AA", "A0002AA", CommandId(Uuid::new_v4()), Duration::hours(1)).await;
    retire(&database, "A0003AA", "A0004AA").await;
    retire(&database, "A0004AA", "A0003AA").await;
    let ledger = Ledger { program: serve_commands(&database).await, database };
    eventually("the merge to be completed", async || (ledger.types("A0002AA").await.len() == 2).then_some(())).await;
    let count = ledger.wait_for_policies().await;
    let merge = json!({"removedNumber": "A0003AA"});
    for survivor in ["A0004AA", "A0005AA"] {
        let path = format!("/prisoners/{survivor}/merges");
        assert_refused(&ledger.client().post(&path, &merge).await, 422, "merge-circle");
    }
    assert_eq!(ledger.event_count().await, count);
}

/// Retires a number as the first step of a merge does. Open roles stay as they are.
async fn retire(database: &TestDatabase, removed: &str, survivor: &str) {
    retire_by(database, removed, survivor, CommandId(Uuid::new_v4()), Duration::zero()).await;
}

/// As [`retire`], by a command with this id, effective so long after the last recorded event.
async fn retire_by(database: &TestDatabase, removed: &str, survivor: &str, command_id: CommandId, later: Duration) {
    let log = database.log().await;
    let stream = Stream::Prisoner(removed.parse().expect("a number"));
    let last = log.read_stream(&stream, 0, 100).await.expect("the stream").pop().expect("an event");
    let metadata = metadata(last.recorded_at + later, "SPO", command_id);
    let event = encode(&stream, &number_retired(survivor), 0, &metadata, last.recorded_at, Salt::random());
    log.append(&stream, ExpectedRevision::Exact(last.revision), vec![event]).await.expect("retired");
}
