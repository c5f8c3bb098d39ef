//! Merges of prisoner numbers.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::json;

use crate::support::ledger::{Ledger, NOVAK, OKAFOR, PRISON, SHAH, assert_recorded, assert_refused, event_types};

#[tokio::test]
async fn a_merge_retires_the_removed_number_and_the_survivor_takes_over() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    let coworker = json!({"prison": PRISON, "pom": {"staffId": OKAFOR}});
    assert_recorded(&ledger.client().post("/prisoners/A0001AA/co-workers", &coworker).await);
    assert_recorded(&ledger.client().put("/prisoners/A0001AA/community-manager", &json!({"name": "Lee, Sam"})).await);
    assert_recorded(&ledger.client().post("/prisoners/A0002AA/tier", &json!({"tier": "A"})).await);

    let merge = json!({"removedNumber": "A0001AA"});
    let answer = ledger.client().post("/prisoners/A0002AA/merges", &merge).await;
    assert_recorded(&answer);
    assert_eq!(
        event_types(&answer),
        ["CoworkerDeallocated", "Deallocated", "PrisonerNumberRetired", "PrisonerNumberMerged"]
    );
    let key = answer.header("idempotency-key").expect("a key").to_owned();
    let events = answer.body["events"].as_array().expect("events");
    assert!(events[..2].iter().all(|event| event["data"]["trigger"] == "MERGED"), "{}", answer.text);
    let merged = &events[3];
    assert_eq!(merged["stream"], json!("prisoner-A0002AA"));
    assert_eq!(merged["causationId"], events[2]["eventId"]);
    assert_eq!(merged["effectiveAt"], events[2]["effectiveAt"]);
    assert_eq!(merged["data"]["historyEndsAt"], events[2]["revision"]);
    assert_eq!(answer.header("location"), Some("/prisoners/A0002AA/history/1"));

    let survivor = ledger.state("A0002AA").await;
    assert_eq!(survivor.primary_staff_id().map(|id| id.get()), Some(SHAH));
    assert_eq!(survivor.coworking_staff_id().map(|id| id.get()), Some(OKAFOR));
    assert_eq!(survivor.tier.map(|tier| tier.tier.to_string()), Some("A".to_owned()), "the survivor's own stays");
    assert!(survivor.community_manager.is_some());

    let answer = ledger.client().post("/prisoners/A0001AA/tier", &json!({"tier": "B"})).await;
    assert_eq!(assert_refused(&answer, 422, "prisoner-number-retired").body["survivor"], json!("A0002AA"));
    let count = ledger.wait_for_policies().await;
    let other = json!({"removedNumber": "A0005AA"});
    let answer = ledger.send(Method::POST, "/prisoners/A0002AA/merges", &key, &other).await;
    assert_refused(&answer, 422, "idempotency-key-reused");
    let again = ledger.client().post("/prisoners/A0002AA/merges", &merge).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(event_types(&again).len(), 4, "merged already: the events of the first time");
    assert_eq!(again.body["events"][3], *merged);
    // A time that is refused where something is to be recorded is refused here too.
    let postdated = json!({"removedNumber": "A0001AA", "effectiveAt": "2199-01-01T00:00:00Z"});
    let answer = ledger.client().post("/prisoners/A0002AA/merges", &postdated).await;
    assert_refused(&answer, 422, "effective-time-in-future");
    assert_eq!(ledger.event_count().await, count);
}

#[tokio::test]
async fn a_merge_in_the_past_of_what_the_removed_number_holds_is_recorded_now() {
    let ledger = Ledger::start().await;
    ledger.case("A0001AA", SHAH).await;
    let merge = json!({"removedNumber": "A0001AA", "effectiveAt": "2026-01-10T09:00:00Z"});
    let answer = ledger.client().post("/prisoners/A0002AA/merges", &merge).await;
    assert_eq!(event_types(assert_recorded(&answer)), ["Deallocated", "PrisonerNumberRetired", "PrisonerNumberMerged"]);
    let events = answer.body["events"].as_array().expect("events");
    assert_eq!(events[1]["effectiveAt"], events[1]["recordedAt"], "from now");
    assert_eq!(events[2]["effectiveAt"], events[1]["effectiveAt"]);
    assert_eq!(ledger.state("A0002AA").await.primary_staff_id().map(|id| id.get()), Some(SHAH));
}

#[tokio::test]
async fn merges_follow_chains_and_refuse_circles() {
    let ledger = Ledger::start().await;
    for number in ["A0001AA", "A0002AA", "A0003AA", "A0004AA"] {
        ledger.tier(number).await;
    }
    let merge = async |survivor: &str, removed: &str| {
        let path = format!("/prisoners/{survivor}/merges");
        ledger.client().post(&path, &json!({ "removedNumber": removed })).await
    };
    assert_refused(&merge("A0001AA", "A0001AA").await, 422, "merge-circle");
    assert_recorded(&merge("A0002AA", "A0001AA").await);
    assert_refused(&merge("A0001AA", "A0002AA").await, 422, "merge-circle");
    assert_recorded(&merge("A0003AA", "A0002AA").await);
    assert_refused(&merge("A0001AA", "A0003AA").await, 422, "merge-circle");
    // Merged already, by way of another number.
    assert_eq!(merge("A0003AA", "A0001AA").await.status, 200);
    assert_eq!(merge("A0002AA", "A0001AA").await.status, 200);
    // A removed number that was merged before means its survivor.
    let answer = merge("A0004AA", "A0001AA").await;
    assert_recorded(&answer);
    assert_eq!(answer.body["events"][0]["stream"], json!("prisoner-A0003AA"));
    assert_eq!(answer.body["events"][1]["stream"], json!("prisoner-A0004AA"));
    // A survivor that was merged means its own survivor.
    let answer = merge("A0002AA", "A0009AA").await;
    assert_recorded(&answer);
    assert_eq!(event_types(&answer), ["PrisonerNumberRetired", "PrisonerNumberMerged"], "of a number never heard of");
    assert_eq!(answer.body["events"][1]["stream"], json!("prisoner-A0004AA"));
    let answer = ledger.client().post("/prisoners/A0009AA/tier", &json!({"tier": "B"})).await;
    assert_eq!(assert_refused(&answer, 422, "prisoner-number-retired").body["survivor"], json!("A0004AA"));
    let head = ledger.wait_for_policies().await;
    assert_eq!(Some(&head), ledger.positions().await.last());
    let merged = ledger.events().await.iter().filter(|e| e.entry.event.type_name() == "PrisonerNumberMerged").count();
    assert_eq!(merged, 4, "each retired number is taken over once");
}

#[tokio::test]
async fn a_refusal_names_the_number_at_the_end_of_a_chain_of_merges() {
    let ledger = Ledger::start().await;
    for number in ["A0001AA", "A0002AA", "A0003AA"] {
        ledger.tier(number).await;
    }
    for (survivor, removed) in [("A0002AA", "A0001AA"), ("A0003AA", "A0002AA")] {
        let path = format!("/prisoners/{survivor}/merges");
        assert_recorded(&ledger.client().post(&path, &json!({ "removedNumber": removed })).await);
    }
    let sentence = "A0001AA was merged into A0003AA and takes no further commands. Use A0003AA.";
    for (path, body) in [
        ("tier", json!({"tier": "B"})),
        ("allocations", json!({"prison": PRISON, "pom": {"staffId": SHAH}})),
        ("releases", json!({})),
        ("voids", json!({"revision": 0, "reason": "Wrong case"})),
    ] {
        let answer = ledger.client().post(&format!("/prisoners/A0001AA/{path}"), &body).await;
        let refused = assert_refused(&answer, 422, "prisoner-number-retired");
        assert_eq!((&refused.body["survivor"], &refused.body["detail"]), (&json!("A0003AA"), &json!(sentence)));
    }
    let bulk = json!({"fromStaffId": SHAH, "toStaffId": NOVAK, "prisonerNumbers": ["A0001AA"], "reason": "Leave"});
    let answer = ledger.client().post("/prisons/LEI/reallocations", &bulk).await;
    assert!(answer.text.contains(sentence), "{}", answer.text);
    let first =
        json!({"nomis_offender_id": "A0001AA", "nomis_staff_id": SHAH, "allocated_at_tier": "C", "prison": PRISON});
    let answer = ledger.client().post("/allocation", &first).await;
    assert_eq!(answer.body["errorMessage"], json!(sentence), "{}", answer.text);
}

#[tokio::test]
async fn two_numbers_merged_into_each_other_at_once_make_no_circle() {
    let ledger = Ledger::start().await;
    for pair in 0..10 {
        let (one, two) = (format!("A{pair:04}AA"), format!("B{pair:04}BB"));
        ledger.tier(&one).await;
        ledger.tier(&two).await;
        let path = |number: &str| format!("/prisoners/{number}/merges");
        let (one_removed, two_removed) = (json!({ "removedNumber": one }), json!({ "removedNumber": two }));
        let (paths, client) = ([path(&one), path(&two)], ledger.client());
        let (first, second) =
            futures::join!(client.post(&paths[0], &two_removed), client.post(&paths[1], &one_removed));
        let statuses = HashSet::from([first.status.as_u16(), second.status.as_u16()]);
        assert_eq!(statuses, HashSet::from([201, 422]), "{} {}", first.text, second.text);
    }
}
