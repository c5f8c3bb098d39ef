//! The ids of the commands that the ledger sends itself: no caller can take one, and those from
//! before they had a name space of their own are still known.

use std::collections::HashMap;

use domain::{
    Stream,
    identifier::{CommandId, EventId},
};
use event_log::{ExpectedRevision, Metadata, Salt, StoredEvent, encode};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    builders::{metadata, tier_assigned},
    commands::new_key,
    database, eventually,
    ledger::{Ledger, NOVAK, PRISON, SHAH, assert_recorded, assert_refused, serve_commands},
};
const NUMBER: &str = "A0001AA";

fn case(number: &str) -> Stream {
    Stream::Prisoner(number.parse().expect("a prisoner number"))
}

fn prison() -> Stream {
    Stream::Prison(PRISON.parse().expect("a prison code"))
}

/// The id of an event as it was derived before it depended on the stream.
fn former_event_id(key: Uuid, index: usize) -> Uuid {
    Uuid::new_v5(&key, index.to_string().as_bytes())
}

/// The id of a command as it was derived before the ledger's own commands had a name space.
fn former_own_id(from: Uuid, part: &str) -> Uuid {
    Uuid::new_v5(&from, part.as_bytes())
}

/// Makes a POM inactive, by a request with a key that is known beforehand.
async fn make_inactive(ledger: &Ledger, staff_id: i64, key: Uuid) {
    let path = format!("/prisons/{PRISON}/poms/{staff_id}/status");
    let answer = ledger.send(Method::PUT, &path, &key.to_string(), &json!({"status": "INACTIVE"})).await;
    assert_recorded(&answer);
}

async fn wait_until_held_by(ledger: &Ledger, number: &str, staff_id: Option<i64>) {
    eventually("the case to be held by another POM, or by none", async || {
        let held_by = ledger.state(number).await.primary_staff_id().map(|id| id.get());
        (held_by == staff_id).then_some(())
    })
    .await;
}

fn bulk(number: &str, from: i64, to: i64) -> Value {
    json!({"fromStaffId": from, "toStaffId": to, "reason": "Wing move", "prisonerNumbers": [number]})
}

/// An attempt to take the id of a policy's command on a case.
#[derive(Debug, Clone, Copy)]
enum Attempt {
    /// The id as the key of a command on the case.
    Key,
    /// What the id is derived from as the key of a bulk, whose part on the case has a derived id.
    Bulk,
}

#[tokio::test]
async fn a_caller_cannot_take_the_id_of_a_policys_command() {
    let attempts = [true, false].map(|is_former| [(is_former, Attempt::Key), (is_former, Attempt::Bulk)]);
    for (is_former, attempt) in attempts.concat() {
        let ledger = Ledger::start().await;
        ledger.case(NUMBER, SHAH).await;
        let key = Uuid::new_v4();
        let (cause, own_id) = if is_former {
            let cause = former_event_id(key, 0);
            (cause, former_own_id(cause, NUMBER))
        } else {
            let cause = CommandId(key).event_id(&prison(), 0);
            (cause.0, cause.derive_command(NUMBER).0)
        };
        match attempt {
            Attempt::Key => {
                let path = format!("/prisoners/{NUMBER}/tier");
                let answer = ledger.send(Method::POST, &path, &own_id.to_string(), &json!({"tier": "D"})).await;
                assert!(answer.status == 201 || answer.body["code"] == "header-invalid", "{}", answer.text);
            }
            // There and back again, so that the POM holds the case.
            Attempt::Bulk => {
                for (key, from, to) in [(cause.to_string(), SHAH, NOVAK), (new_key(), NOVAK, SHAH)] {
                    let body = bulk(NUMBER, from, to);
                    let answer = ledger.send(Method::POST, "/prisons/LEI/reallocations", &key, &body).await;
                    assert_eq!(answer.body["accepted"].as_array().map(Vec::len), Some(1), "{}", answer.text);
                }
            }
        }
        make_inactive(&ledger, SHAH, key).await;
        wait_until_held_by(&ledger, NUMBER, None).await;
    }
}

#[tokio::test]
async fn a_caller_cannot_take_the_id_of_the_command_that_completes_a_merge() {
    for is_former in [true, false] {
        let ledger = Ledger::start().await;
        ledger.case("A0002AA", SHAH).await;
        ledger.tier(NUMBER).await;
        let key = Uuid::new_v4();
        // The retirement is the second event, after the end of the role.
        let part = "merge A0002AA";
        let own_id = if is_former {
            former_own_id(former_event_id(key, 1), part)
        } else {
            CommandId(key).event_id(&case("A0002AA"), 1).derive_command(part).0
        };
        let path = format!("/prisoners/{NUMBER}/tier");
        let answer = ledger.send(Method::POST, &path, &own_id.to_string(), &json!({"tier": "D"})).await;
        assert!(answer.status == 201 || answer.body["code"] == "header-invalid", "{}", answer.text);
        let merge = json!({"removedNumber": "A0002AA"});
        let answer = ledger.send(Method::POST, &format!("/prisoners/{NUMBER}/merges"), &key.to_string(), &merge).await;
        assert_recorded(&answer);
        assert_eq!(ledger.state(NUMBER).await.primary_staff_id().map(|id| id.get()), Some(SHAH));
    }
}

/// A key in the name space of the ledger's own commands is refused with a sentence, on every route
/// alike, and records nothing.
#[tokio::test]
async fn a_key_that_is_kept_for_the_ledgers_own_commands_is_refused() {
    let ledger = Ledger::start().await;
    let key = CommandId(Uuid::new_v4()).derive(NUMBER).to_string();
    let before = ledger.event_count().await;
    for (path, body) in [
        ("/prisoners/A0001AA/tier", json!({"tier": "D"})),
        ("/prisoners/A0001AA/merges", json!({"removedNumber": "A0002AA"})),
        ("/prisons/LEI/reallocations", bulk(NUMBER, SHAH, NOVAK)),
        ("/prisons/LEI/poms", json!({"staffId": 7, "name": "New, Ann", "kind": "PRISON"})),
        (
            "/allocation",
            json!({"nomis_staff_id": SHAH, "nomis_offender_id": NUMBER, "allocated_at_tier": "C", "prison": "LEI"}),
        ),
    ] {
        let answer = ledger.send(Method::POST, path, &key, &body).await;
        assert_refused(&answer, 400, "header-invalid");
        assert!(answer.text.contains("keeps for commands of its own"), "{}", answer.text);
    }
    assert_eq!(ledger.event_count().await, before);
}

/// Appends a tier to a case, by a command with an id.
async fn append_tier(ledger: &Ledger, number: &str, command_id: CommandId) {
    let log = ledger.log().await;
    let last = log.read_stream(&case(number), 0, 100).await.expect("the stream").pop().expect("an event");
    let metadata = metadata(last.recorded_at, "SPO", command_id);
    let event = encode(&case(number), &tier_assigned("D"), 0, &metadata, last.recorded_at, Salt::random());
    log.append(&case(number), ExpectedRevision::Exact(last.revision), vec![event]).await.expect("append");
}

/// However an id came to be taken, the policy and the merge go on under the next one.
#[tokio::test]
async fn a_taken_id_stops_neither_a_policy_nor_a_merge() {
    let ledger = Ledger::start().await;
    for number in [NUMBER, "A0002AA"] {
        ledger.case(number, SHAH).await;
    }
    ledger.tier("A0003AA").await;
    let (inactive, merged) = (Uuid::new_v4(), Uuid::new_v4());
    let policys = CommandId(inactive).event_id(&prison(), 0).derive_command(NUMBER);
    let merges = CommandId(merged).event_id(&case("A0002AA"), 1).derive_command("merge A0002AA");
    append_tier(&ledger, NUMBER, policys).await;
    append_tier(&ledger, "A0003AA", merges).await;
    let merge = json!({"removedNumber": "A0002AA"});
    let answer = ledger.send(Method::POST, "/prisoners/A0003AA/merges", &merged.to_string(), &merge).await;
    assert_recorded(&answer);
    make_inactive(&ledger, SHAH, inactive).await;
    for number in [NUMBER, "A0003AA"] {
        wait_until_held_by(&ledger, number, None).await;
    }
    let again = ledger.send(Method::POST, "/prisoners/A0003AA/merges", &merged.to_string(), &merge).await;
    assert_eq!((again.status.as_u16(), &again.text), (200, &answer.text));
}

/// A ledger of which the own commands have the ids, and the events the ids, that they had before
/// both had name spaces of their own. `former` says which former command of the request with that
/// key an event belongs to.
async fn as_before_the_upgrade(recorded: Vec<StoredEvent>, former: impl Fn(&StoredEvent) -> CommandId) -> Ledger {
    let database = database().await;
    let log = database.log().await;
    let mut indexes = HashMap::<(Stream, CommandId), usize>::new();
    for stored in recorded {
        let command_id = former(&stored);
        let index = indexes.entry((stored.stream.clone(), command_id)).or_default();
        let metadata = Metadata { command_id, ..stored.metadata.clone() };
        let mut event =
            encode(&stored.stream, &stored.entry.event, 0, &metadata, stored.entry.recorded_at, Salt::random());
        event.event_id = EventId(former_event_id(command_id.0, *index));
        *index += 1;
        let expected = stored.entry.revision.checked_sub(1).map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        log.append(&stored.stream, expected, vec![event]).await.expect("append");
    }
    Ledger { program: serve_commands(&database).await, database }
}

#[tokio::test]
async fn repeats_of_requests_from_before_the_upgrade_get_their_first_answers() {
    let ledger = Ledger::start().await;
    ledger.case(NUMBER, SHAH).await;
    let (bulk_key, first_key) = (Uuid::new_v4(), Uuid::new_v4());
    let bulk = bulk(NUMBER, SHAH, NOVAK);
    let allocation =
        json!({"nomis_staff_id": SHAH, "nomis_offender_id": "A0002AA", "allocated_at_tier": "C", "prison": "LEI"});
    let requests = [
        ("/prisons/LEI/reallocations", bulk_key.to_string(), &bulk),
        ("/allocation", first_key.to_string(), &allocation),
    ];
    for (path, key, body) in &requests {
        let answer = ledger.send(Method::POST, path, key, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let former = |stored: &StoredEvent| match (&stored.entry.event.type_name(), stored.entry.command_id.0) {
        (&"TierAssigned", id) if id == first_key => CommandId(first_key).formerly_derived("tier"),
        (_, id) if id == first_key => CommandId(first_key).formerly_derived("allocation"),
        (&"Reallocated", _) => CommandId(bulk_key).formerly_derived(NUMBER),
        (_, id) => CommandId(id),
    };
    let upgraded = as_before_the_upgrade(ledger.events().await, former).await;
    let count = upgraded.event_count().await;
    let positions = async |types: &str, number: &str| {
        let events = upgraded.case_events(number).await;
        events.iter().find(|event| event.entry.event.type_name() == types).map(|event| event.entry.position.to_string())
    };
    let [moved, allocated] = [positions("Reallocated", NUMBER).await, positions("AllocationMade", "A0002AA").await];
    for ((path, key, body), position) in requests.iter().zip([moved, allocated]) {
        let answer = upgraded.send(Method::POST, path, key, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("ledger-position"), position.as_deref(), "{}", answer.text);
        let mut other = (*body).clone();
        other["note"] = json!("Another request");
        assert_refused(&upgraded.send(Method::POST, path, key, &other).await, 422, "idempotency-key-reused");
    }
    assert_eq!(upgraded.event_count().await, count, "nothing is recorded twice");
}

/// The tier of such a request was recorded, and then the service ended.
#[tokio::test]
async fn half_a_first_allocation_from_before_the_upgrade_is_completed_by_its_repeat() {
    let ledger = Ledger::start().await;
    let key = Uuid::new_v4();
    let allocation =
        json!({"nomis_staff_id": SHAH, "nomis_offender_id": NUMBER, "allocated_at_tier": "C", "prison": "LEI"});
    ledger.send(Method::POST, "/allocation", &key.to_string(), &allocation).await;
    let mut recorded = ledger.events().await;
    assert_eq!(recorded.pop().map(|event| event.entry.event.type_name()), Some("AllocationMade"));
    let former = |stored: &StoredEvent| match stored.entry.command_id.0 {
        id if id == key => CommandId(key).formerly_derived("tier"),
        id => CommandId(id),
    };
    let upgraded = as_before_the_upgrade(recorded, former).await;
    for _ in 0..2 {
        let answer = upgraded.send(Method::POST, "/allocation", &key.to_string(), &allocation).await;
        assert_eq!(answer.body["status"], "ok", "{}", answer.text);
        assert_eq!(upgraded.types(NUMBER).await, ["TierAssigned", "AllocationMade"]);
    }
}

/// The policies of two versions run on one log. What the one has done, the other does not do again,
/// also where the case would still take it.
#[tokio::test]
async fn a_policy_does_not_act_again_on_an_event_that_it_acted_on_before_the_upgrade() {
    let ledger = Ledger::start().await;
    for number in [NUMBER, "A0002AA"] {
        ledger.case(number, SHAH).await;
    }
    ledger.tier("A0003AA").await;
    let merge = json!({"removedNumber": "A0002AA"});
    let merged = ledger.client().post("/prisoners/A0003AA/merges", &merge).await;
    assert_recorded(&merged);
    make_inactive(&ledger, SHAH, Uuid::new_v4()).await;
    for number in [NUMBER, "A0003AA"] {
        wait_until_held_by(&ledger, number, None).await;
    }
    ledger.wait_for_policies().await;
    let recorded = ledger.events().await;
    let former = |stored: &StoredEvent| match stored.metadata.causation_id {
        Some(cause) => CommandId(former_own_id(cause.0, "what it was derived from is of no account")),
        None => stored.entry.command_id,
    };
    let upgraded = as_before_the_upgrade(recorded, former).await;
    let count = upgraded.event_count().await;
    assert_eq!(upgraded.wait_for_policies().await, count);
    let again = upgraded.client().post("/prisoners/A0003AA/merges", &merge).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(upgraded.event_count().await, count);
}
