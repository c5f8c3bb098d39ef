//! The go-live date of a prison: its correction, and the codes that a prison may join with.

use domain::{Stream, event::RecordedBy, identifier::CommandId};
use event_log::{ExpectedRevision, Metadata, Salt, encode};
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    builders::now,
    commands::{check_recorded, new_key},
    eventually,
    ledger::{Ledger, PRISON, SHAH, assert_recorded, assert_refused, event_types},
};

#[tokio::test]
async fn a_go_live_date_is_corrected_and_allows_earlier_allocations() {
    let ledger = Ledger::start().await;
    ledger.tier("A1234BC").await;
    let allocation = json!({"prison": PRISON, "pom": {"staffId": SHAH}, "effectiveAt": "2026-02-02T09:00:00Z"});
    let path = format!("/prisons/{PRISON}/go-live-date");
    let late = json!({"goLiveDate": "2026-03-01", "reason": "a typing error"});
    let answer = assert_recorded(&ledger.client().put(&path, &late).await).clone();
    assert_eq!(event_types(&answer), ["PrisonOmicDateCorrected"]);
    assert_eq!(
        answer.body["events"][0]["data"],
        json!({"goLiveDate": "2026-03-01", "goLiveDateBefore": "2019-01-01", "reason": "a typing error"})
    );
    let refused = ledger.client().post("/prisoners/A1234BC/allocations", &allocation).await;
    assert_refused(&refused, 422, "prison-not-on-omic");
    let body = json!({"goLiveDate": "2019-02-01"});
    check_recorded(&ledger, &format!("PUT {path}"), body.clone(), &["PrisonOmicDateCorrected"]).await;
    assert_refused(&ledger.client().put(&path, &body).await, 422, "nothing-changed");
    assert_recorded(&ledger.client().post("/prisoners/A1234BC/allocations", &allocation).await);
    assert_refused(&ledger.client().put("/prisons/MDI/go-live-date", &body).await, 422, "prison-not-on-omic");
}

#[tokio::test]
async fn a_later_go_live_date_is_refused_with_the_cases_that_were_allocated_before_it() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    ledger.case("A1234BD", SHAH).await;
    let path = format!("/prisons/{PRISON}/go-live-date");
    let late = json!({"goLiveDate": "2026-02-03"});
    let key = new_key();
    let refused = ledger.send(reqwest::Method::PUT, &path, &key, &late).await;
    assert_refused(&refused, 422, "allocations-before-go-live");
    let detail = refused.body["detail"].as_str().expect("a sentence");
    let position = ledger.event_count().await;
    assert!(detail.contains("A1234BC on 2 February 2026, A1234BD on 2 February 2026"), "{detail}");
    assert!(detail.contains(&format!("up to position {position}")), "{detail}");
    // The day itself is no earlier day.
    assert_recorded(&ledger.client().put(&path, &json!({"goLiveDate": "2026-02-02"})).await);

    for number in ["A1234BC", "A1234BD"] {
        let void = json!({"revision": 1, "reason": "the wrong prison"});
        assert_recorded(&ledger.client().post(&format!("/prisoners/{number}/voids"), &void).await);
    }
    let corrected = ledger.send(reqwest::Method::PUT, &path, &key, &late).await;
    assert_recorded(&corrected);
    // A repeat gets the first answer, whatever the log holds by now.
    let again = ledger.send(reqwest::Method::PUT, &path, &key, &late).await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &corrected.body));
}

/// As another service records it that still has the roster with the earlier date.
#[tokio::test]
async fn an_allocation_in_the_moment_of_a_correction_stands_and_is_reported() {
    let ledger = Ledger::start().await;
    ledger.case("A1234BC", SHAH).await;
    let allocated = ledger.case_events("A1234BC").await.pop().expect("the allocation");
    let void = json!({"revision": 1, "reason": "the wrong prison"});
    assert_recorded(&ledger.client().post("/prisoners/A1234BC/voids", &void).await);
    let path = format!("/prisons/{PRISON}/go-live-date");
    assert_recorded(&ledger.client().put(&path, &json!({"goLiveDate": "2026-03-01"})).await);
    ledger.wait_for_policies().await;
    assert!(!ledger.program.log().contains("before its go-live date"), "nothing is earlier");

    let stream = Stream::Prisoner("A1234BC".parse().expect("a number"));
    let by = RecordedBy { username: None, client: "another service".to_owned(), auth_source: None };
    let command_id = CommandId(Uuid::new_v4());
    let metadata = Metadata::new(allocated.entry.effective_at, by, command_id, String::new(), Uuid::new_v4(), None);
    let late = encode(&stream, &allocated.entry.event, 0, &metadata, now(), Salt::random());
    ledger.log().await.append(&stream, ExpectedRevision::Exact(2), vec![late]).await.expect("append");
    let position = ledger.event_count().await;
    eventually("the report", async || {
        let log = ledger.program.log();
        log.contains("1 cases were allocated at LEI before its go-live date, 2026-03-01").then_some(())
    })
    .await;
    assert!(ledger.program.log().contains(&format!("at position {position}")));
    assert!(!ledger.program.log().contains("A1234BC"), "the log names no prisoner");
    assert!(ledger.state("A1234BC").await.primary_pom.is_some(), "it stands");
}

#[tokio::test]
async fn a_prison_that_the_list_lacks_joins_only_where_the_request_says_so() {
    let ledger = Ledger::empty().await;
    let joined = json!({"goLiveDate": "2019-03-01", "estate": "MENS_CLOSED"});
    let refused = ledger.client().post("/prisons/LEE/onboarding", &joined).await;
    assert_refused(&refused, 422, "prison-unlisted");
    let detail = refused.body["detail"].as_str().expect("a sentence");
    assert!(detail.contains("LEI (Leeds)"), "{detail}");
    let unlisted = json!({"goLiveDate": "2019-03-01", "estate": "MENS_CLOSED", "unlistedPrison": true});
    let answer = ledger.client().post("/prisons/LEE/onboarding", &unlisted).await;
    assert_eq!(event_types(assert_recorded(&answer)), ["PrisonJoinedOmic"]);
    // Elsewhere a code is judged by its format.
    ledger.join_omic(PRISON).await;
    let tier = json!({"tier": "C1", "source": "DELIUS", "prison": "ZZZ"});
    assert_recorded(&ledger.client().post("/prisoners/A1234BC/tier", &tier).await);
    assert_recorded(&ledger.client().post("/prisoners/A1234BC/transfers", &json!({"toPrison": "ZZX"})).await);
}
