//! What the ledger does without being asked, interrupted at any moment, from the start, and on two servers at once.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use domain::{
    Event, Stream,
    event::RecordedBy,
    identifier::CommandId,
    prisoner::{DeallocationTrigger, PrisonerEvent, PrisonerNumberRetired},
};
use event_log::{ExpectedRevision, Metadata, StoredEvent, encode};
use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    TestDatabase, eventually,
    ledger::{Ledger, NOVAK, OKAFOR, PRISON, SHAH, history, recorded, refused, serve, types},
};

/// The ends of roles that came from a POM having become inactive.
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

/// The cases on which somebody has a role, of all that the log holds.
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

async fn nobody_holds(ledger: &Ledger, staff_id: i64) {
    eventually("the POM to hold no cases", async || held_by(ledger.events().await, staff_id).is_empty().then_some(()))
        .await;
}

#[tokio::test]
async fn a_pom_who_becomes_inactive_holds_no_cases() {
    let ledger = Ledger::start().await;
    for index in 0..5 {
        ledger.case(&number(index), SHAH).await;
    }
    // A role beside another POM's, and a case that has gone to another POM.
    ledger.case("B0001BB", NOVAK).await;
    let coworker = json!({"prison": PRISON, "pom": {"staffId": SHAH}});
    recorded(&ledger.client().post("/prisoners/B0001BB/co-workers", &coworker).await);
    let moved = json!({"prison": PRISON, "pom": {"staffId": NOVAK}, "reason": "Wing move"});
    recorded(&ledger.client().post(&format!("/prisoners/{}/reallocations", number(0)), &moved).await);

    ledger.status(SHAH, "UNAVAILABLE").await;
    ledger.settled().await;
    assert_eq!(ends(&ledger.events().await).len(), 0, "who is unavailable keeps the cases held");
    let status = ledger.status(SHAH, "INACTIVE").await;
    nobody_holds(&ledger, SHAH).await;
    ledger.settled().await;
    let events = ledger.events().await;
    let ends = ends(&events);
    assert_eq!(ends.len(), 5, "four cases and one co-working role");
    let cause = &status.body["events"][0];
    for end in ends {
        assert_eq!(json!(end.metadata.causation_id), cause["eventId"]);
        assert_eq!(json!(end.metadata.effective_at), cause["effectiveAt"]);
        assert_eq!(end.entry.recorded_by.username.as_str(), "LEDGER_POLICY");
        assert_eq!(end.entry.recorded_by.client, "policy");
    }
    let state = ledger.state("B0001BB").await;
    assert_eq!(state.primary_staff_id().map(|id| id.get()), Some(NOVAK), "the primary POM stays");

    // Active again, cases can come again, and stay.
    ledger.status(SHAH, "ACTIVE").await;
    let body = json!({"prison": PRISON, "pom": {"staffId": SHAH}});
    recorded(&ledger.client().post(&format!("/prisoners/{}/allocations", number(1)), &body).await);
    ledger.settled().await;
    assert_eq!(held_by(ledger.events().await, SHAH), [number(1)]);
}

#[tokio::test]
async fn a_role_that_comes_back_by_a_void_ends_again() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    ledger.status(SHAH, "INACTIVE").await;
    nobody_holds(&ledger, SHAH).await;
    let end = ledger.case_events("A1234BC").await.last().expect("the end").entry.revision;
    let void = json!({"revision": end, "reason": "To see what happens"});
    let void = ledger.client().post("/prisoners/A1234BC/voids", &void).await;
    recorded(&void);
    nobody_holds(&ledger, SHAH).await;
    let events = ledger.case_events("A1234BC").await;
    let ends = ends(&events);
    assert_eq!(ends.len(), 2);
    assert_eq!(json!(ends[1].metadata.causation_id), void.body["events"][0]["eventId"]);
}

#[tokio::test]
async fn a_status_in_the_past_ends_roles_then_or_where_that_cannot_be_now() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    ledger.case("A0002AA", SHAH).await;
    // A co-worker who joined later, beside the primary POM whose role is to end earlier.
    let coworker = json!({"prison": PRISON, "pom": {"staffId": OKAFOR}, "effectiveAt": "2026-03-20T09:00:00Z"});
    recorded(&ledger.client().post("/prisoners/A0002AA/co-workers", &coworker).await);
    let status = json!({"status": "INACTIVE", "effectiveAt": "2026-03-10T09:00:00Z"});
    recorded(&ledger.client().put(&format!("/prisons/LEI/poms/{SHAH}/status"), &status).await);
    nobody_holds(&ledger, SHAH).await;
    let at = async |number: &str| ledger.case_events(number).await.last().expect("the end").entry.effective_at;
    assert_eq!(json!(at("A0001AA").await), json!("2026-03-10T09:00:00Z"));
    assert!(at("A0002AA").await > "2026-03-20T09:00:00Z".parse::<DateTime<Utc>>().expect("an instant"));
}

/// Kills the program at once after the status has been acknowledged, again and again while it works off the cases, and
/// checks that in the end each case has ended exactly once.
#[tokio::test]
async fn interrupted_anywhere_it_completes_after_a_restart() {
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
    nobody_holds(&ledger, SHAH).await;
    let settled = ledger.settled().await;
    assert_eq!(ends(&ledger.events().await).len(), count, "each case once");
    let ledger = ledger.kill_and_restart().await;
    assert_eq!(ledger.settled().await, settled, "from the start again, nothing is done twice");
}

#[tokio::test]
async fn two_servers_do_nothing_twice() {
    let ledger = Ledger::start().await;
    let other = serve(&ledger.database).await;
    let count = 40;
    join_all((0..count).map(|index| {
        let ledger = &ledger;
        async move { ledger.case(&number(index), SHAH).await }
    }))
    .await;
    let body = json!({"status": "INACTIVE"});
    recorded(&other.client().put(&format!("/prisons/LEI/poms/{SHAH}/status"), &body).await);
    nobody_holds(&ledger, SHAH).await;
    ledger.settled().await;
    assert_eq!(ends(&ledger.events().await).len(), count);
    // Both servers know of it.
    for client in [ledger.client(), other.client()] {
        let body = json!({"prison": PRISON, "pom": {"staffId": SHAH}});
        refused(&client.post(&format!("/prisoners/{}/allocations", number(1)), &body).await, 422, "pom-not-active");
    }
}

/// Cases are allocated on two servers while the POM becomes inactive: some before, some refused, and some in the same
/// moment. Whatever happened, the POM holds none in the end.
#[tokio::test]
async fn a_case_allocated_in_the_same_moment_is_put_right() {
    let ledger = Ledger::start().await;
    let other = serve(&ledger.database).await;
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
        nobody_holds(&ledger, SHAH).await;
        ledger.settled().await;
        let events = ledger.events().await;
        let in_round = |event: &&&StoredEvent| numbers.iter().any(|n| event.stream.to_string().ends_with(n.as_str()));
        assert_eq!(ends(&events).iter().filter(in_round).count(), accepted, "each case that was accepted ends once");
        ledger.status(SHAH, "ACTIVE").await;
    }
}

#[tokio::test]
async fn a_merge_that_was_begun_is_completed() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    ledger.tier("A0002AA").await;
    // As if the server that took the merge had been killed between its two steps, twice: the survivor itself has been
    // retired since.
    let Ledger { database, program } = ledger;
    program.kill();
    retire(&database, "A0001AA", "A0002AA").await;
    retire(&database, "A0002AA", "A0003AA").await;
    let ledger = Ledger { program: serve(&database).await, database };
    let merged = async || {
        let events = ledger.case_events("A0003AA").await;
        (events.len() >= 2).then_some(events)
    };
    let events = eventually("both merges to be completed", merged).await;
    ledger.settled().await;
    assert_eq!(ledger.types("A0002AA").await, ["TierAssigned", "PrisonerNumberRetired"]);
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event.entry.recorded_by.username.as_str() == "LEDGER_POLICY"));
    let settled = ledger.settled().await;
    let merge = |removed: &str| json!({ "removedNumber": removed });
    let again = ledger.client().post("/prisoners/A0003AA/merges", &merge("A0001AA")).await;
    assert_eq!(
        (again.status.as_u16(), types(&again)),
        (200, vec!["PrisonerNumberRetired".to_owned(), "PrisonerNumberMerged".to_owned()])
    );
    let ledger = ledger.kill_and_restart().await;
    assert_eq!(ledger.settled().await, settled);
}

/// A key that was used for two merges, with the memory of the first one lost before it was completed: both are.
#[tokio::test]
async fn a_key_used_for_two_merges_stops_neither() {
    let ledger = Ledger::start().await;
    for number in ["A0001AA", "A0002AA", "A0003AA"] {
        ledger.tier(number).await;
    }
    let Ledger { database, program } = ledger;
    program.kill();
    let command_id = CommandId(Uuid::new_v4());
    retire_by(&database, "A0001AA", "A0003AA", command_id, Duration::zero()).await;
    retire_by(&database, "A0002AA", "A0003AA", command_id, Duration::zero()).await;
    let ledger = Ledger { program: serve(&database).await, database };
    eventually("both merges to be completed", async || (ledger.types("A0003AA").await.len() == 3).then_some(())).await;
}

/// A retirement by a clock that is ahead of this machine's, and two numbers that two servers retired into each other.
#[tokio::test]
async fn clocks_apart_and_a_circle_stop_nothing() {
    let ledger = Ledger::start().await;
    for number in ["A0001AA", "A0002AA", "A0003AA", "A0004AA"] {
        ledger.tier(number).await;
    }
    let Ledger { database, program } = ledger;
    program.kill();
    retire_by(&database, "A0001AA", "A0002AA", CommandId(Uuid::new_v4()), Duration::hours(1)).await;
    retire(&database, "A0003AA", "A0004AA").await;
    retire(&database, "A0004AA", "A0003AA").await;
    let ledger = Ledger { program: serve(&database).await, database };
    eventually("the merge to be completed", async || (ledger.types("A0002AA").await.len() == 2).then_some(())).await;
    let count = ledger.settled().await;
    let merge = json!({"removedNumber": "A0003AA"});
    for survivor in ["A0004AA", "A0005AA"] {
        let path = format!("/prisoners/{survivor}/merges");
        refused(&ledger.client().post(&path, &merge).await, 422, "merge-circle");
    }
    assert_eq!(ledger.event_count().await, count);
}

/// Retires a number as the first step of a merge does, of a case without open roles or with them left as they are.
async fn retire(database: &TestDatabase, removed: &str, survivor: &str) {
    retire_by(database, removed, survivor, CommandId(Uuid::new_v4()), Duration::zero()).await;
}

/// The same by a command of this id, with effect this long after what was recorded last.
async fn retire_by(database: &TestDatabase, removed: &str, survivor: &str, command_id: CommandId, later: Duration) {
    let log = database.log().await;
    let stream = Stream::Prisoner(removed.parse().expect("a number"));
    let last = log.read_stream(&stream, 0, 100).await.expect("the stream").pop().expect("an event");
    let event = Event::Prisoner(PrisonerEvent::PrisonerNumberRetired(PrisonerNumberRetired {
        survivor: survivor.parse().expect("a number"),
    }));
    let metadata = Metadata::new(
        last.recorded_at + later,
        RecordedBy { username: "SPO".parse().expect("a username"), client: "test".to_owned() },
        command_id,
        "0".repeat(64),
        Uuid::new_v4(),
        None,
    );
    let event = encode(&event, 0, &metadata, last.recorded_at);
    log.append(&stream, ExpectedRevision::Exact(last.revision), vec![event]).await.expect("retired");
}
