//! Contacts in NOMIS are in a stream of the person: no part of the case, and found by the contact's
//! id through the policies' index.

use domain::Stream;
use event_log::StoredEvent;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    HttpAnswer,
    commands::new_key,
    ledger::{Ledger, PRISON, assert_recorded, assert_refused},
};

fn contact(number: &str, staff_id: i64) -> Value {
    json!({"prisonerNumber": number, "staffId": staff_id, "contactType": "POM"})
}

async fn find(ledger: &Ledger, prison: &str, number: &str) -> String {
    let answer = ledger.client().post(&format!("/prisons/{prison}/nomis-contacts"), &contact(number, 7)).await;
    assert_recorded(&answer);
    answer.body["events"][0]["data"]["contactId"].as_str().expect("an id").to_owned()
}

async fn remove(ledger: &Ledger, prison: &str, id: &str) -> HttpAnswer {
    ledger.client().post(&format!("/prisons/{prison}/nomis-contacts/{id}/removal"), &json!({})).await
}

fn of_contacts(events: Vec<StoredEvent>) -> Vec<(String, &'static str)> {
    let contacts = events.into_iter().filter(|event| matches!(event.stream, Stream::Contacts(_)));
    contacts.map(|event| (event.stream.to_string(), event.entry.event.type_name())).collect()
}

#[tokio::test]
async fn a_contact_is_recorded_beside_the_case_and_changes_no_revision_of_it() {
    let ledger = Ledger::start().await;
    ledger.tier("A1234BC").await;
    let before = ledger.event_count().await;
    let answer = ledger.client().post("/prisons/LEI/nomis-contacts", &contact("A1234BC", 7)).await;
    assert_recorded(&answer);
    let event = &answer.body["events"][0];
    assert_eq!((&event["stream"], &event["revision"]), (&json!("contacts-A1234BC"), &json!(0)));
    assert_eq!((&event["data"]["prison"], &event["data"]["prisonerNumber"]), (&json!("LEI"), &json!("A1234BC")));
    assert_eq!(
        (answer.header("etag"), answer.header("location")),
        (Some("\"0\""), Some("/prisons/LEI/nomis-contacts"))
    );
    assert!(ledger.event_count().await > before);
    let pom = json!({"prison": PRISON, "pom": {"staffId": 485_928}});
    let headers = [("If-Match", "\"0\"")];
    let path = "/prisoners/A1234BC/allocations";
    assert_recorded(&ledger.client().send(Method::POST, path, &headers, Some(&pom)).await);
    // The revision that a contact's command insists on is that of the person's contacts.
    let path = "/prisons/MDI/nomis-contacts";
    assert_recorded(&ledger.client().send(Method::POST, path, &headers, Some(&contact("A1234BC", 7))).await);
    let answer = ledger.client().send(Method::POST, path, &headers, Some(&contact("A1234BC", 8))).await;
    assert_eq!(answer.status, 412, "{}", answer.text);
}

#[tokio::test]
async fn a_removal_finds_the_person_by_the_contact_after_a_restart_too() {
    let ledger = Ledger::start().await;
    let (one, other) = (find(&ledger, "LEI", "A1234BC").await, find(&ledger, "LEI", "B1234BC").await);
    let elsewhere = find(&ledger, "MDI", "A1234BC").await;
    assert_refused(&remove(&ledger, "MDI", &one).await, 422, "nomis-contact-unknown");
    assert_recorded(&remove(&ledger, "LEI", &one).await);
    let ledger = ledger.kill_and_restart().await;
    assert_recorded(&remove(&ledger, "LEI", &other).await);
    assert_recorded(&remove(&ledger, "MDI", &elsewhere).await);
    assert_refused(&remove(&ledger, "LEI", &one).await, 422, "nomis-contact-unknown");
    let (found, gone) = ("NomisContactFound", "NomisContactRemovalConfirmed");
    let mut events = of_contacts(ledger.events().await);
    events.sort();
    let (a, b) = ("contacts-A1234BC".to_owned(), "contacts-B1234BC".to_owned());
    assert_eq!(
        events,
        [(a.clone(), found), (a.clone(), found), (a.clone(), gone), (a, gone), (b.clone(), found), (b, gone)]
    );
}

#[tokio::test]
async fn the_key_of_a_removal_is_no_key_of_another_one() {
    let ledger = Ledger::start().await;
    let (one, other) = (find(&ledger, "LEI", "A1234BC").await, find(&ledger, "LEI", "B1234BC").await);
    let key = new_key();
    let send = async |id: &str| {
        let path = format!("/prisons/LEI/nomis-contacts/{id}/removal");
        ledger.send(Method::POST, &path, &key, &json!({})).await
    };
    let first = send(&one).await;
    assert_recorded(&first);
    let repeated = send(&one).await;
    assert_eq!((repeated.status.as_u16(), &repeated.body), (200, &first.body), "{}", repeated.text);
    assert_refused(&send(&other).await, 422, "idempotency-key-reused");
    assert_refused(&send("678a2bdd-631e-50d3-bd8a-eeb7212091dd").await, 422, "idempotency-key-reused");
}

#[tokio::test]
async fn a_merge_leaves_the_contacts_with_the_number_that_nomis_has() {
    let ledger = Ledger::start().await;
    ledger.tier("A1234BC").await;
    ledger.tier("B1234BC").await;
    let id = find(&ledger, "LEI", "B1234BC").await;
    assert_recorded(&ledger.client().post("/prisoners/A1234BC/merges", &json!({"removedNumber": "B1234BC"})).await);
    assert_recorded(&remove(&ledger, "LEI", &id).await);
    assert_eq!(find(&ledger, "LEI", "B1234BC").await, id);
    assert!(of_contacts(ledger.events().await).iter().all(|(stream, _)| stream == "contacts-B1234BC"));
}
