//! The ids of the commands that the ledger sends itself: no caller can take one.

use domain::{Stream, identifier::CommandId};
use event_log::{ExpectedRevision, Salt, encode};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    builders::{metadata, tier_assigned},
    commands::new_key,
    eventually,
    ledger::{Ledger, NOVAK, PRISON, SHAH, assert_recorded, assert_refused},
};

const NUMBER: &str = "A0001AA";

fn case(number: &str) -> Stream {
    Stream::Prisoner(number.parse().expect("a prisoner number"))
}

fn prison() -> Stream {
    Stream::Prison(PRISON.parse().expect("a prison code"))
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
    for attempt in [Attempt::Key, Attempt::Bulk] {
        let ledger = Ledger::start().await;
        ledger.case(NUMBER, SHAH).await;
        let key = Uuid::new_v4();
        let cause = CommandId(key).event_id(&prison(), 0);
        let own_id = cause.derive_command(NUMBER).0;
        match attempt {
            Attempt::Key => {
                let path = format!("/prisoners/{NUMBER}/tier");
                let answer = ledger.send(Method::POST, &path, &own_id.to_string(), &json!({"tier": "D"})).await;
                assert_refused(&answer, 400, "header-invalid");
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
    let ledger = Ledger::start().await;
    ledger.case("A0002AA", SHAH).await;
    ledger.tier(NUMBER).await;
    let key = Uuid::new_v4();
    // The retirement is the second event, after the end of the role.
    let own_id = CommandId(key).event_id(&case("A0002AA"), 1).derive_command("merge A0002AA").0;
    let path = format!("/prisoners/{NUMBER}/tier");
    let answer = ledger.send(Method::POST, &path, &own_id.to_string(), &json!({"tier": "D"})).await;
    assert_refused(&answer, 400, "header-invalid");
    let merge = json!({"removedNumber": "A0002AA"});
    let answer = ledger.send(Method::POST, &format!("/prisoners/{NUMBER}/merges"), &key.to_string(), &merge).await;
    assert_recorded(&answer);
    assert_eq!(ledger.state(NUMBER).await.primary_staff_id().map(|id| id.get()), Some(SHAH));
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
