//! Idempotency keys: one key for one request, sent any number of times.

use std::collections::HashSet;

use domain::identifier::CommandId;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    commands::new_key,
    ledger::{Ledger, NOVAK, SHAH, assert_recorded, assert_refused, serve_commands},
};

/// A request is what it says, and not how it is spelt.
#[tokio::test]
async fn a_repeat_may_spell_its_request_in_another_way() {
    let ledger = Ledger::start().await;
    ledger.tier("A1234BC").await;
    let key = new_key();
    let path = "/prisoners/A1234BC/allocations";
    let body = json!({"prison": "LEI", "pom": {"staffId": SHAH}, "effectiveAt": "2026-02-02T09:00:00Z"});
    let first = ledger.send(Method::POST, path, &key, &body).await;
    assert_recorded(&first);
    for (member, value) in [
        ("note", Value::Null),
        ("overrideReasons", Value::Null),
        ("overrideReasons", json!([])),
        ("effectiveAt", json!("2026-02-02T10:00:00+01:00")),
        ("effectiveAt", json!("2026-02-02T09:00:00.000Z")),
    ] {
        let mut other = body.clone();
        other[member] = value;
        let again = ledger.send(Method::POST, path, &key, &other).await;
        assert_eq!((again.status.as_u16(), &again.text), (200, &first.text), "{other}");
    }
    let mut other = body.clone();
    other["note"] = json!("As before.");
    assert_refused(&ledger.send(Method::POST, path, &key, &other).await, 422, "idempotency-key-reused");
    let merge = json!({"removedNumber": "A1234BD", "effectiveAt": null});
    let key = new_key();
    let first = ledger.send(Method::POST, "/prisoners/A1234BC/merges", &key, &merge).await;
    let again =
        ledger.send(Method::POST, "/prisoners/A1234BC/merges", &key, &json!({"removedNumber": "A1234BD"})).await;
    assert_eq!((assert_recorded(&first).text.as_str(), again.status.as_u16()), (again.text.as_str(), 200));
}

/// Two requests at once with one key: the turn of the second one comes when the key is spent.
#[tokio::test]
async fn a_key_that_the_same_fact_spends_is_refused_for_another_request_at_the_same_moment() {
    let ledger = Ledger::start().await;
    let path = "/prisoners/A1234BC/community-manager";
    let manager = |name: &str| json!({ "name": name });
    assert_recorded(&ledger.send(Method::PUT, path, &new_key(), &manager("Lee, Sam")).await);
    for round in 0..20 {
        let key = new_key();
        let other = format!("Other, {round}");
        let (first, second) = (manager("Lee, Sam"), manager(&other));
        let answers =
            tokio::join!(ledger.send(Method::PUT, path, &key, &first), ledger.send(Method::PUT, path, &key, &second));
        let statuses = [answers.0.status.as_u16(), answers.1.status.as_u16()];
        assert!([[200, 422], [422, 201]].contains(&statuses), "{round}: {statuses:?}");
        if statuses[1] == 201 {
            assert_recorded(&ledger.send(Method::PUT, path, &new_key(), &first).await);
        }
    }
}

#[tokio::test]
async fn a_refused_command_leaves_its_key_free() {
    let ledger = Ledger::start().await;
    ledger.tier("A1234BC").await;
    let key = new_key();
    let path = "/prisoners/A1234BC/deallocations";
    assert_refused(&ledger.send(Method::POST, path, &key, &json!({"trigger": "MANUAL"})).await, 422, "not-allocated");
    let tier = json!({"tier": "D"});
    assert_recorded(&ledger.send(Method::POST, "/prisoners/A1234BD/tier", &key, &tier).await);
}

#[tokio::test]
async fn a_key_used_for_one_request_is_refused_for_another() {
    let ledger = Ledger::start().await;
    let (key, body) = (new_key(), json!({"tier": "A"}));
    assert_recorded(&ledger.send(Method::POST, "/prisoners/A1234BC/tier", &key, &body).await);
    assert_refused(
        &ledger.send(Method::POST, "/prisoners/A1234BD/tier", &key, &body).await,
        422,
        "idempotency-key-reused",
    );
    let manager = json!({"name": "Lee, Sam"});
    let path = "/prisoners/A1234BC/community-manager";
    assert_refused(&ledger.send(Method::PUT, path, &key, &manager).await, 422, "idempotency-key-reused");
    assert_eq!(ledger.send(Method::POST, "/prisoners/A1234BC/tier", &key, &body).await.status, 200);
}

/// The requests differ in kind and in stream: roster, bulk, first allocation, merge.
#[tokio::test]
async fn a_key_is_refused_for_another_request_on_any_stream() {
    let ledger = Ledger::start().await;
    for number in ["A0001AA", "A0002AA", "A0003AA"] {
        ledger.case(number, SHAH).await;
    }
    let reused = async |path: &str, key: &str, body: &Value| {
        let before = ledger.event_count().await;
        let answer = ledger.send(Method::POST, path, key, body).await;
        assert_refused(&answer, 422, "idempotency-key-reused");
        let sentence = answer.body["detail"].as_str().unwrap_or_default();
        assert!(sentence.contains(key), "{sentence} names another key than {key}");
        assert_eq!(ledger.event_count().await, before, "{path}: nothing is recorded");
    };
    let tier = json!({"tier": "A"});
    let bulk = |numbers: Value| {
        let mut body = json!({"fromStaffId": SHAH, "toStaffId": NOVAK, "reason": "Leaving"});
        body["prisonerNumbers"] = numbers;
        body
    };
    let first_allocation = |number: &str| {
        let tier = "D";
        json!({"nomis_staff_id": NOVAK, "nomis_offender_id": number, "allocated_at_tier": tier, "prison": "LEI"})
    };

    let roster = new_key();
    let pom = json!({"staffId": 7, "name": "New, Ann", "kind": "PRISON"});
    assert_recorded(&ledger.send(Method::POST, "/prisons/LEI/poms", &roster, &pom).await);
    reused("/prisoners/A0001AA/tier", &roster, &tier).await;
    reused("/prisons/LEI/reallocations", &roster, &bulk(json!(["A0001AA"]))).await;
    reused("/allocation", &roster, &first_allocation("A0001AA")).await;
    reused("/prisoners/A0001AA/merges", &roster, &json!({"removedNumber": "A0002AA"})).await;

    let moved = new_key();
    let answer = ledger.send(Method::POST, "/prisons/LEI/reallocations", &moved, &bulk(json!(["A0001AA"]))).await;
    assert_eq!(answer.body["accepted"].as_array().map(Vec::len), Some(1), "{}", answer.text);
    reused("/prisons/LEI/reallocations", &moved, &bulk(json!(["A0002AA"]))).await;
    reused("/prisons/LEI/reallocations", &moved, &bulk(Value::Null)).await;
    reused("/prisons/MDI/reallocations", &moved, &bulk(json!(["A0001AA"]))).await;
    reused("/prisoners/A0002AA/tier", &moved, &tier).await;

    let allocated = new_key();
    let answer = ledger.send(Method::POST, "/allocation", &allocated, &first_allocation("A0002AA")).await;
    assert_eq!(answer.body["status"], json!("ok"), "{}", answer.text);
    reused("/allocation", &allocated, &first_allocation("A0003AA")).await;
    let mut other = first_allocation("A0002AA");
    other["note"] = json!("Hello");
    reused("/allocation", &allocated, &other).await;
    let again = ledger.send(Method::POST, "/allocation", &allocated, &first_allocation("A0002AA")).await;
    assert_eq!(again.text, answer.text);

    let merged = new_key();
    assert_recorded(
        &ledger.send(Method::POST, "/prisoners/A0001AA/merges", &merged, &json!({"removedNumber": "A0008AA"})).await,
    );
    reused("/prisoners/A0003AA/merges", &merged, &json!({"removedNumber": "A0009AA"})).await;
    reused("/prisoners/A0003AA/tier", &merged, &tier).await;
}

/// On any store: the keys at the log's end are known before a service takes a command.
#[tokio::test]
async fn a_key_is_refused_on_another_stream_after_a_restart_and_keeps_its_answer_on_its_own() {
    let ledger = Ledger::start().await;
    let (of_case, of_roster) = (new_key(), new_key());
    let tier = json!({"tier": "A"});
    let pom = json!({"staffId": 7, "name": "New, Ann", "kind": "PRISON"});
    let first = ledger.send(Method::POST, "/prisoners/A0001AA/tier", &of_case, &tier).await;
    assert_recorded(&first);
    assert_recorded(&ledger.send(Method::POST, "/prisons/LEI/poms", &of_roster, &pom).await);
    let ledger = ledger.kill_and_restart().await;
    let other = serve_commands(&ledger.database).await;
    let count = ledger.event_count().await;
    let bulk = json!({"fromStaffId": 1, "toStaffId": 2, "reason": "Leaving"});
    let merge = json!({"removedNumber": "A0009AA"});
    for client in [ledger.client(), other.client()] {
        for key in [&of_case, &of_roster] {
            let headers = [("Idempotency-Key", key.as_str())];
            for (path, body) in [
                ("/prisoners/A0002AA/tier", &tier),
                ("/prisoners/A0002AA/merges", &merge),
                ("/prisons/MDI/reallocations", &bulk),
            ] {
                let answer = client.send(Method::POST, path, &headers, Some(body)).await;
                assert_refused(&answer, 422, "idempotency-key-reused");
            }
        }
        let headers = [("Idempotency-Key", of_case.as_str())];
        let again = client.send(Method::POST, "/prisoners/A0001AA/tier", &headers, Some(&tier)).await;
        assert_eq!((again.status.as_u16(), &again.text), (200, &first.text));
    }
    assert_eq!(ledger.event_count().await, count);
}

#[tokio::test]
async fn of_two_cases_sent_one_key_at_once_one_records() {
    let ledger = Ledger::start().await;
    let before = ledger.positions().await.len();
    for round in 0..20 {
        let key = new_key();
        let tier = json!({"tier": "A"});
        let paths = ["A", "B"].map(|letter| format!("/prisoners/{letter}{round:04}AA/tier"));
        let answers = join_all(paths.iter().map(|path| ledger.send(Method::POST, path, &key, &tier))).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422], "{answers:?}");
        for (path, first) in paths.iter().zip(&answers).filter(|(_, answer)| answer.status == 201) {
            let again = ledger.send(Method::POST, path, &key, &tier).await;
            assert_eq!((again.status.as_u16(), &again.text), (200, &first.text));
        }
    }
    assert_eq!(ledger.positions().await.len(), before + 20);
}

#[tokio::test]
async fn a_command_sent_twenty_times_at_once_is_recorded_once() {
    let ledger = Ledger::start().await;
    let other = serve_commands(&ledger.database).await;
    let key = new_key();
    let headers = [("Idempotency-Key", key.as_str())];
    let body = json!({"tier": "B1", "source": "DELIUS"});
    let clients = [ledger.client(), other.client()];
    let answers = join_all(
        (0..20).map(|index| clients[index % 2].send(Method::POST, "/prisoners/A1234BC/tier", &headers, Some(&body))),
    )
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.status.is_success()), "{answers:?}");
    let bodies: HashSet<_> = answers.iter().map(|answer| answer.text.as_str()).collect();
    assert_eq!(bodies.len(), 1, "all get the same answer");
    assert_eq!(ledger.types("A1234BC").await, ["TierAssigned"]);

    // Different commands at once are all recorded.
    let tiers = ["A", "B", "C", "D", "E", "F", "G", "A1", "B1", "C1", "D1", "E1", "F1", "G1", "A2", "B2"];
    let bodies: Vec<_> = tiers.iter().map(|tier| json!({ "tier": tier })).collect();
    let answers = join_all(
        bodies
            .iter()
            .enumerate()
            .map(|(index, body)| clients[index % 2].send(Method::POST, "/prisoners/A1234BD/tier", &[], Some(body))),
    )
    .await;
    for answer in &answers {
        assert_recorded(answer);
    }
    assert_eq!(ledger.types("A1234BD").await.len(), tiers.len());
}

/// A case that moves, one that is refused, and one that another try has moved or refused already.
#[tokio::test]
async fn two_tries_of_a_bulk_at_two_services_at_once_get_one_answer() {
    let ledger = Ledger::start().await;
    let other = serve_commands(&ledger.database).await;
    let path = "/prisons/LEI/reallocations";
    let numbers: Vec<_> = (1..=8).map(|number| format!("A{number:04}AA")).collect();
    for (index, number) in numbers.iter().enumerate() {
        ledger.case(number, if index % 3 == 2 { NOVAK } else { SHAH }).await;
    }
    // To NOVAK and back, with a list; then all that he holds.
    for (round, (from, to, listed)) in
        [(SHAH, NOVAK, true), (NOVAK, SHAH, true), (SHAH, NOVAK, false), (NOVAK, SHAH, false)].into_iter().enumerate()
    {
        let mut body = json!({"fromStaffId": from, "toStaffId": to, "reason": "Leaving"});
        if listed {
            body["prisonerNumbers"] = json!(numbers);
        }
        let (key, body) = (new_key(), &body);
        let headers = [("Idempotency-Key", key.as_str())];
        let clients = [ledger.client(), other.client(), ledger.client(), other.client()];
        let before = ledger.positions().await.len();
        let tries = clients.map(|client| client.send(Method::POST, path, &headers, Some(body)));
        let answers = join_all(tries).await;
        let count = ledger.positions().await.len();
        assert_eq!(answers[0].status, 200, "{round}: {}", answers[0].text);
        let accepted = answers[0].body["accepted"].as_array().expect("the cases that moved").len();
        assert!(accepted > 1 && count == before + accepted, "{round}: {before} to {count}: {}", answers[0].text);
        for answer in &answers {
            assert_eq!((answer.status.as_u16(), &answer.text), (200, &answers[0].text), "{round}");
        }
        let again = other.client().send(Method::POST, path, &headers, Some(body)).await;
        assert_eq!((again.status.as_u16(), &again.text), (200, &answers[0].text), "{round}");
        assert_eq!(ledger.positions().await.len(), count, "{round}");
    }
}

mod log_in_postgres {
    use super::*;
    use crate::support::topology::require_log_in_postgres;

    #[tokio::test]
    async fn of_two_services_sent_one_key_for_two_cases_at_once_one_records() {
        require_log_in_postgres();
        let ledger = Ledger::start().await;
        let other = serve_commands(&ledger.database).await;
        let before = ledger.event_count().await;
        let tier = json!({"tier": "A"});
        for round in 0..20 {
            let key = new_key();
            let headers = [("Idempotency-Key", key.as_str())];
            let (headers, tier) = (&headers, &tier);
            let sent = [(ledger.client(), "A"), (other.client(), "B")].map(|(client, letter)| async move {
                client.send(Method::POST, &format!("/prisoners/{letter}{round:04}AA/tier"), headers, Some(tier)).await
            });
            let answers = join_all(sent).await;
            let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
            statuses.sort_unstable();
            assert_eq!(statuses, [201, 422], "{answers:?}");
        }
        assert_eq!(ledger.event_count().await, before + 20);
    }

    /// The log keeps the answer: after a restart, a late repeat changes nothing that is newer.
    #[tokio::test]
    async fn a_key_that_was_spent_without_an_event_keeps_its_answer_after_a_restart() {
        require_log_in_postgres();
        let ledger = Ledger::start().await;
        for number in ["A0001AA", "A0002AA"] {
            ledger.case(number, SHAH).await;
        }
        let merge = json!({"removedNumber": "A0008AA"});
        assert_recorded(&ledger.send(Method::POST, "/prisoners/A0001AA/merges", &new_key(), &merge).await);
        let tier = json!({"tier": "A"});
        ledger.send(Method::POST, "/prisoners/A0003AA/tier", &new_key(), &tier).await;
        let bulk = |numbers: Value| json!({"fromStaffId": NOVAK, "toStaffId": SHAH, "reason": "Leaving", "prisonerNumbers": numbers});
        let mut all = bulk(Value::Null);
        all.as_object_mut().expect("an object").remove("prisonerNumbers");
        let refused = bulk(json!(["A0002AA"]));
        let requests = [
            ("/prisoners/A0003AA/tier", &tier),
            ("/prisons/LEI/reallocations", &all),
            ("/prisons/LEI/reallocations", &refused),
            ("/prisoners/A0001AA/merges", &merge),
        ]
        .map(|(path, body)| (new_key(), path, body));
        let mut answers = Vec::new();
        for (key, path, body) in &requests {
            let answer = ledger.send(Method::POST, path, key, body).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            answers.push(answer.text);
        }
        // By now each would do something.
        assert_recorded(&ledger.client().post("/prisoners/A0003AA/tier", &json!({"tier": "B"})).await);
        let to_novak = json!({"prison": "LEI", "pom": {"staffId": NOVAK}, "reason": "Leaving"});
        assert_recorded(&ledger.client().post("/prisoners/A0002AA/reallocations", &to_novak).await);
        let ledger = ledger.kill_and_restart().await;
        let count = ledger.event_count().await;
        for ((key, path, body), answer) in requests.iter().zip(&answers) {
            let again = ledger.send(Method::POST, path, key, body).await;
            assert_eq!((again.status.as_u16(), &again.text), (200, answer), "{path}");
            let other = ledger.send(Method::POST, "/prisoners/A0005AA/tier", key, &tier).await;
            assert_refused(&other, 422, "idempotency-key-reused");
            let other = ledger.send(Method::POST, "/prisoners/A0003AA/tier", key, &json!({"tier": "C"})).await;
            assert_refused(&other, 422, "idempotency-key-reused");
        }
        assert_eq!(ledger.event_count().await, count);
    }
    /// Of two services that try a bulk at once, one may be refused a case that the other then
    /// moves.
    #[tokio::test]
    async fn a_case_that_a_bulk_has_moved_is_answered_as_moved_whatever_another_try_was_refused() {
        require_log_in_postgres();
        let ledger = Ledger::start().await;
        ledger.case("A0001AA", SHAH).await;
        let (key, path) = (new_key(), "/prisons/LEI/reallocations");
        let body =
            json!({"fromStaffId": SHAH, "toStaffId": NOVAK, "reason": "Leaving", "prisonerNumbers": ["A0001AA"]});
        let first = ledger.send(Method::POST, path, &key, &body).await;
        assert_eq!(first.body["accepted"][0]["prisonerNumber"], "A0001AA", "{}", first.text);
        let (log, command_id) = (ledger.database.log().await, CommandId(key.parse().expect("a key")));
        let mut spent = log.spent_key(command_id).await.expect("read").expect("spent");
        let mut saved: Value = serde_json::from_str(spent.answer.as_deref().expect("an answer")).expect("JSON");
        saved["refused"] = json!([{"number": "A0001AA", "code": "pom-not-active", "sentence": "Not active."}]);
        spent.answer = Some(saved.to_string());
        log.replace_answer(command_id, spent).await.expect("saved");
        let ledger = ledger.kill_and_restart().await;
        let count = ledger.event_count().await;
        assert_eq!(ledger.send(Method::POST, path, &key, &body).await.text, first.text);
        assert_eq!(ledger.event_count().await, count);
    }
}
