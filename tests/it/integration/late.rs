//! Messages that come after later ones. SQS keeps no order.

use serde_json::json;

use super::{MERGED, RECEIVED, RELEASED, counted, merger, movement, notification, serve};
use crate::support::{
    Program, Proxy,
    estate::{Estate, QUEUE},
    eventually,
    ledger::{Ledger, PRISON, SHAH, assert_recorded},
};

/// Publishes messages, each after the one before is taken in.
async fn take_in(estate: &Estate, messages: &[serde_json::Value]) {
    for message in messages {
        estate.publish(message).await;
        estate.wait_until_taken_in().await;
    }
    assert_eq!(estate.given_up().await, 0);
}

async fn assert_none_parked(ledger: &Ledger) {
    assert_eq!(ledger.client().get("/integration/parked").await.body, json!([]));
}

#[tokio::test]
async fn a_release_that_comes_before_its_reception_is_recorded_after_it() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    // Unknown so far, and a person who was released long ago.
    take_in(&estate, &[movement(RELEASED, "A1111AA", PRISON, "RELEASED", 9)]).await;
    assert_eq!(counted(&ledger, RELEASED, "unknown-person").await, 1);
    take_in(&estate, &[movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 2)]).await;
    assert_eq!(ledger.types("A1111AA").await, ["Received", "Deallocated"]);
    assert!(ledger.state("A1111AA").await.left_at.is_some());
    take_in(&estate, &[movement(RELEASED, "A1111AA", "MDI", "RELEASED", 20)]).await;
    assert_eq!(counted(&ledger, RELEASED, "already-held").await, 1);
    take_in(&estate, &[movement(RECEIVED, "A1111AA", "MDI", "READMISSION", 15)]).await;
    assert_eq!(ledger.types("A1111AA").await, ["Received", "Deallocated", "Received", "Deallocated"]);
    let events = ledger.case_events("A1111AA").await;
    assert_eq!(events[3].entry.effective_at.to_rfc3339(), "2026-03-20T09:00:00.013138+00:00");
    // It was told before the person came.
    take_in(&estate, &[movement(RELEASED, "A1111AA", PRISON, "RELEASED", 1)]).await;
    assert_eq!(counted(&ledger, RELEASED, "unknown-person").await, 2);
    assert_none_parked(&ledger).await;
}

#[tokio::test]
async fn movements_in_any_order_end_at_the_same_prison() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    // From Leeds to Moorland and back, told backwards.
    take_in(
        &estate,
        &[
            movement(RECEIVED, "A1111AA", PRISON, "TRANSFERRED", 9),
            movement(RELEASED, "A1111AA", PRISON, "TRANSFERRED", 6),
        ],
    )
    .await;
    let state = ledger.state("A1111AA").await;
    assert_eq!(state.prison.map(|prison| prison.to_string()).as_deref(), Some(PRISON));
    assert_eq!(counted(&ledger, RECEIVED, "already-held").await, 1);
    assert_eq!(ledger.types("A1111AA").await, ["TierAssigned", "AllocationMade", "Deallocated", "Deallocated"]);
    assert_none_parked(&ledger).await;
}

#[tokio::test]
async fn a_merge_of_unknown_people_holds_once_one_of_them_is_received() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    take_in(&estate, &[merger("A1111AA", "B2222BB", 8), movement(RECEIVED, "B2222BB", PRISON, "NEW_ADMISSION", 2)])
        .await;
    assert_eq!(counted(&ledger, MERGED, "unknown-person").await, 1);
    assert_eq!(ledger.types("B2222BB").await, ["Received", "PrisonerNumberRetired"]);
    assert_eq!(ledger.types("A1111AA").await, ["PrisonerNumberMerged"]);
    assert_none_parked(&ledger).await;
}

/// Each fact that is recorded is followed in turn.
#[tokio::test]
async fn a_release_of_a_number_that_a_late_merge_makes_known_is_recorded_after_it() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    let messages = [
        movement(RELEASED, "C3333CC", PRISON, "RELEASED", 20),
        merger("C3333CC", "A1111AA", 10),
        movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 2),
    ];
    for message in &messages {
        estate.publish(message).await;
        estate.wait_until_taken_in().await;
    }
    assert_none_parked(&ledger).await;
    assert_eq!(ledger.types("A1111AA").await, ["Received", "PrisonerNumberRetired"]);
    assert_eq!(ledger.types("C3333CC").await, ["PrisonerNumberMerged", "Deallocated"]);
}

#[tokio::test]
async fn a_merge_of_unknown_people_holds_also_where_one_is_received_after_it() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    take_in(&estate, &[movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 10), merger("B2222BB", "A1111AA", 8)])
        .await;
    take_in(&estate, &[merger("D4444DD", "C3333CC", 8), movement(RECEIVED, "C3333CC", PRISON, "NEW_ADMISSION", 10)])
        .await;
    assert_none_parked(&ledger).await;
    for (kept, removed) in [("B2222BB", "A1111AA"), ("D4444DD", "C3333CC")] {
        assert_eq!(ledger.types(removed).await, ["Received", "PrisonerNumberRetired"], "{removed}");
        assert_eq!(ledger.types(kept).await, ["PrisonerNumberMerged"], "{kept}");
    }
}

/// No message tells of the tier.
#[tokio::test]
async fn a_release_is_recorded_once_its_person_is_known_without_a_message() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = serve(&estate).await;
    take_in(&estate, &[movement(RELEASED, "A1111AA", PRISON, "RELEASED", 9)]).await;
    let old = "INSERT INTO integration.passed_message (number, occurred_at, id, body, passed_at)
        VALUES ('B2222BB', now(), 'old', '', now() - interval '15 days');
        INSERT INTO integration.parked_message (id, reason, detail, body, dismissed_at)
        VALUES ('old', 'REFUSED', '', '', now() - interval '15 days'), ('new', 'REFUSED', '', '', now())";
    sqlx::raw_sql(old).execute(&ledger.database.pool).await.expect("rows of an earlier time");
    let tier = json!({"tier": "C1", "source": "DELIUS", "prison": PRISON, "effectiveAt": "2026-03-02T09:00:00Z"});
    assert_recorded(&ledger.client().post("/prisoners/A1111AA/tier", &tier).await);
    let is_released = async || (ledger.types("A1111AA").await == ["TierAssigned", "Deallocated"]).then_some(());
    eventually("the release", is_released).await;
    assert_none_parked(&ledger).await;
    let ids = async |sql: &'static str| {
        sqlx::query_scalar::<_, String>(sql).fetch_all(&ledger.database.pool).await.expect("the rows that are left")
    };
    assert_eq!(ids("SELECT id FROM integration.passed_message").await, [""; 0]);
    assert_eq!(ids("SELECT id FROM integration.parked_message").await, ["new"]);
}

/// The reception is in the log, and its service does not hear so until later.
#[tokio::test]
async fn a_release_is_recorded_after_a_reception_whose_answer_was_lost() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = Ledger::start_all_roles().await;
    let proxy = Proxy::to_postgres(&ledger.database.url);
    let url = proxy.postgres_url(&ledger.database.url);
    let arguments = ["--role", "integration", "--domain-events-queue", QUEUE, "--event-store", &url, "--views", &url];
    let program = Program::start_in(&estate.environment(), &arguments).await.into_ready().await;
    take_in(&estate, &[movement(RELEASED, "A1111AA", PRISON, "RELEASED", 9)]).await;
    let mut lock = ledger.database.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT FROM log.head FOR UPDATE").execute(&mut *lock).await.expect("hold the log");
    let received = movement(RECEIVED, "A1111AA", PRISON, "NEW_ADMISSION", 2);
    estate.send(&notification("63ba0b4b-0000-4000-8000-000000000001", &received)).await;
    let waits = async || {
        let sql = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let count = sqlx::query_scalar::<_, i64>(sql).fetch_one(&ledger.database.pool).await.expect("count waits");
        (count > 0).then_some(())
    };
    eventually("the append waits", waits).await;
    proxy.swallow_answers();
    lock.rollback().await.expect("let the log go");
    eventually("the reception", async || (ledger.types("A1111AA").await == ["Received"]).then_some(())).await;
    proxy.renew();
    estate.wait_until_taken_in().await;
    assert_eq!(ledger.types("A1111AA").await, ["Received", "Deallocated"]);
    assert_none_parked(&ledger).await;
    assert!(program.stop().await.success());
}
