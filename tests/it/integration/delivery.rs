//! A message that comes again, to several consumers, or to one that was killed: one event.

use serde_json::json;

use super::{RECEIVED, RELEASED, counted, movement, notification, serve, serve_arguments};
use crate::support::{
    Program,
    estate::{Estate, QUEUE},
    ledger::{Ledger, PRISON, SHAH, assert_recorded},
    queue::TestQueue,
};

#[tokio::test]
async fn a_message_that_comes_many_times_to_two_consumers_is_recorded_once() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    let stores = ledger.database.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let arguments = [&["--role", "integration", "--domain-events-queue", QUEUE], &stores[..]].concat();
    let other = Program::start_in(&estate.environment(), &arguments).await.into_ready().await;
    for number in ["A1111AA", "A2222BB", "A3333CC"] {
        ledger.case(number, SHAH).await;
    }
    for _ in 0..8 {
        for (number, id) in [("A1111AA", 1), ("A2222BB", 2), ("A3333CC", 3)] {
            let id = format!("63ba0b4b-0000-4000-8000-{id:012}");
            estate.send(&notification(&id, &movement(RELEASED, number, PRISON, "RELEASED", 9))).await;
        }
        // No POM's case, and never heard of.
        let id = "63ba0b4b-0000-4000-8000-000000000004";
        estate.send(&notification(id, &movement(RECEIVED, "A4444DD", "MDI", "TRANSFERRED", 9))).await;
    }
    estate.wait_until_taken_in().await;
    for number in ["A1111AA", "A2222BB", "A3333CC"] {
        assert_eq!(ledger.types(number).await, ["TierAssigned", "AllocationMade", "Deallocated"], "{number}");
    }
    assert_eq!(ledger.types("A4444DD").await, ["Received"]);
    assert_eq!(ledger.client().get("/integration/parked").await.body, json!([]));
    assert_eq!(estate.given_up().await, 0);
    assert!(other.stop().await.success());
}

#[tokio::test]
async fn a_consumer_that_is_killed_before_it_deletes_records_nothing_twice() {
    let queue = TestQueue::serve().await;
    queue.hold_deletions(true);
    let ledger = Ledger::start_all_roles_in(&Estate::environment_at(&queue.url), &serve_arguments()).await;
    ledger.case("A1111AA", SHAH).await;
    let id = "63ba0b4b-0000-4000-8000-000000000001";
    queue.send_all([notification(id, &movement(RELEASED, "A1111AA", PRISON, "RELEASED", 9))]);
    queue.wait_for_held_deletion().await;
    let recorded = ["TierAssigned", "AllocationMade", "Deallocated"];
    assert_eq!((ledger.types("A1111AA").await, queue.queued()), (recorded.to_vec(), 1));
    let Ledger { database, program } = ledger;
    queue.kill(program).await;
    queue.hold_deletions(false);
    let ledger = Ledger::start_all_roles_on(database, &Estate::environment_at(&queue.url), &serve_arguments()).await;
    // Were it another command, it would release the person once more.
    let void = json!({"revision": 2, "reason": "Another person was released"});
    assert_recorded(&ledger.client().post("/prisoners/A1111AA/voids", &void).await);
    queue.show_hidden();
    queue.wait_until_left(0).await;
    assert_eq!(ledger.types("A1111AA").await, ["TierAssigned", "AllocationMade", "Deallocated", "EntryVoided"]);
    assert_eq!(counted(&ledger, RELEASED, "recorded").await, 1, "it is known as the message's own");
}
