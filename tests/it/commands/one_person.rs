//! What the ledger holds of a person in prison is in the streams of that person's numbers alone:
//! the events of other persons and of prisons neither name the person nor are computed from a
//! number.

use event_log::RecordedEvent;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    DataDir, HttpAnswer, eventually,
    ledger::{Ledger, NOVAK, OKAFOR, PRISON, SHAH, assert_recorded},
    run,
    whole_log::read_recorded,
};

/// The numbers of one person, the second of which is merged into the first.
struct Person {
    number: &'static str,
    removed: &'static str,
    crn: &'static str,
}

/// A history in which keys, correlation ids and effective times are the same each time.
struct FixedHistory {
    ledger: Ledger,
    requests: u128,
}

impl FixedHistory {
    /// Sends a request with the next key, effective on a day of 2026.
    async fn send(&mut self, method: Method, path: &str, day: &str, mut body: Value) -> HttpAnswer {
        self.requests += 1;
        let (key, correlation) =
            (Uuid::from_u128(self.requests).to_string(), Uuid::from_u128(self.requests << 64).to_string());
        if body.get("nomis_staff_id").is_none() {
            body["effectiveAt"] = json!(format!("2026-{day}T09:00:00Z"));
        }
        let headers = [("Idempotency-Key", key.as_str()), ("X-Correlation-Id", correlation.as_str())];
        self.ledger.client().send(method, path, &headers, Some(&body)).await
    }

    async fn record(&mut self, request: &str, day: &str, body: Value) {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let answer = self.send(method.parse().expect("a method"), path, day, body).await;
        assert_recorded(&answer);
    }

    /// Waits until a POM holds none of these cases.
    async fn wait_until_ended(&self, numbers: &[&str]) {
        for number in numbers {
            eventually("the end of the role", async || {
                self.ledger.state(number).await.primary_pom.is_none().then_some(())
            })
            .await;
        }
    }
}

const OTHERS: [&str; 2] = ["A0001AA", "A0002AA"];

/// Sends commands of all kinds to a person's case and to others, has policies and a merge act, and
/// imports a sheet; returns all events.
async fn record_history(person: &Person) -> Vec<RecordedEvent> {
    let Person { number, removed, crn } = *person;
    let mut history = FixedHistory { ledger: Ledger::empty().await, requests: 0 };
    history
        .record("POST /prisons/LEI/onboarding", "01-01", json!({"goLiveDate": "2019-01-01", "estate": "WOMENS"}))
        .await;
    for (staff_id, name, kind) in
        [(SHAH, "Shah, Priya", "PRISON"), (NOVAK, "Novak, Jan", "PRISON"), (OKAFOR, "Okafor, Grace", "PROBATION")]
    {
        let pom = json!({"staffId": staff_id, "name": name, "kind": kind});
        history.record("POST /prisons/LEI/poms", "01-01", pom).await;
    }
    import(&history.ledger, &[number, OTHERS[0], removed]).await;
    let case = |route: &str| format!("POST /prisoners/{number}/{route}");
    let tier = json!({"tier": "C2", "source": "DELIUS", "crn": crn, "prison": PRISON});
    history.record(&case("tier"), "01-02", tier).await;
    history.record("POST /prisoners/A0002AA/tier", "01-02", json!({"tier": "C"})).await;
    let pom = |staff_id: i64| json!({"prison": PRISON, "pom": {"staffId": staff_id}});
    history.record("POST /prisoners/A0002AA/allocations", "01-03", pom(SHAH)).await;
    let mut moved = pom(OKAFOR);
    moved["reason"] = json!("marmalade");
    moved["overrideReasons"] = json!(["OTHER"]);
    moved["overrideDetail"] = json!("marmalade");
    moved["note"] = json!(format!("marmalade of {number}"));
    history.record(&case("reallocations"), "01-04", moved.clone()).await;
    moved["pom"]["staffId"] = json!(SHAH);
    history.record(&case("reallocations"), "01-05", moved).await;
    history.record(&case("co-workers"), "01-06", pom(OKAFOR)).await;
    let manager = json!({"name": "Lee, Marmalade", "email": "marmalade@example.org"});
    history.record(&format!("PUT /prisoners/{number}/community-manager"), "01-07", manager).await;
    let decision = json!({"responsible": "PROBATION", "reason": "OTHER", "detail": "marmalade"});
    history.record(&format!("PUT /prisoners/{number}/responsibility-override"), "01-08", decision).await;
    let facts =
        json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2027-01-01"});
    history.record(&case("handover-plans"), "01-09", facts).await;
    history.record(&case("voids"), "01-10", json!({"revision": 6, "reason": "marmalade"})).await;

    let numbers = [OTHERS[0], number, OTHERS[1], removed];
    let bulk = json!({"fromStaffId": SHAH, "toStaffId": NOVAK, "reason": "Wing move", "prisonerNumbers": numbers});
    let answer = history.send(Method::POST, "/prisons/LEI/reallocations", "01-11", bulk).await;
    assert_eq!(answer.body["accepted"].as_array().map(Vec::len), Some(4), "{}", answer.text);
    let inactive = json!({"status": "INACTIVE", "reason": "Leaving"});
    history.record(&format!("PUT /prisons/LEI/poms/{NOVAK}/status"), "01-12", inactive).await;
    history.wait_until_ended(&numbers).await;
    let allocation = json!({
        "nomis_staff_id": SHAH, "nomis_offender_id": removed, "allocated_at_tier": "D", "prison": PRISON,
        "note": "marmalade",
    });
    let answer = history.send(Method::POST, "/allocation", "01-13", allocation).await;
    assert_eq!(answer.body["status"], "ok", "{}", answer.text);
    history.record(&case("merges"), "01-14", json!({"removedNumber": removed})).await;
    history.record("POST /prisoners/A0001AA/releases", "01-15", json!({})).await;
    history.record(&case("transfers"), "01-16", json!({"toPrison": "MDI"})).await;
    history.ledger.wait_for_policies().await;
    read_recorded(&*history.ledger.log().await).await
}

/// Imports a sheet that gives the cases to one POM.
async fn import(ledger: &Ledger, numbers: &[&str]) {
    let directory = DataDir::new();
    let file = directory.path().join("cases.csv");
    let row = |number: &&str| format!("{number},C,\"Shah, Priya\",{SHAH},PRO,02/01/2026\n");
    let rows: String = numbers.iter().map(row).collect();
    std::fs::write(&file, format!("NOMS no,Tier,POM,Staff id,Type,Date allocated\n{rows}")).expect("write a file");
    let stores = ledger.database.store.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let file = file.to_str().expect("a path in UTF-8");
    let ran = run(&[&["import", "spreadsheet", file, "--prison", PRISON, "--json"], &stores[..]].concat()).await;
    assert_eq!(ran.stdout.matches(r#""outcome":"recorded""#).count(), numbers.len(), "{}\n{}", ran.stdout, ran.stderr);
}

/// The events outside the person's streams.
fn of_others<'e>(person: &Person, events: &'e [RecordedEvent]) -> Vec<&'e RecordedEvent> {
    let own = [person.number, person.removed].map(|number| format!("prisoner-{number}"));
    events.iter().filter(|event| !own.contains(&event.stream.to_string())).collect()
}

/// An event without its place and time in the log, and without the members that are random. An
/// import's digest of its file is that of a file with the numbers of all its cases.
fn comparable(event: &RecordedEvent) -> String {
    let mut metadata: Value = serde_json::from_slice(&event.metadata).expect("JSON");
    assert!(metadata["salt"].take().is_string(), "{metadata}");
    if let Some(provenance) = metadata.get_mut("provenance") {
        provenance["sha256"].take();
        let run = provenance["run"].take();
        assert_eq!(metadata["correlationId"].take(), run, "{metadata}");
    }
    let data = std::str::from_utf8(&event.data).expect("UTF-8");
    format!("{} {} {} {} {metadata} {data}", event.stream, event.revision, event.event_id, event.type_name)
}

#[tokio::test]
async fn the_events_of_others_do_not_depend_on_a_persons_numbers_and_name_none() {
    let one = Person { number: "B1234BB", removed: "B9999BB", crn: "X765432" };
    let other = Person { number: "Y4321YY", removed: "C5555CC", crn: "Z234567" };
    let (events, exchanged) = (record_history(&one).await, record_history(&other).await);
    let list = |person, events| {
        let mut list: Vec<_> = of_others(person, events).into_iter().map(comparable).collect();
        // Streams are written to side by side.
        list.sort();
        list
    };
    let (of_one, of_other) = (list(&one, &events), list(&other, &exchanged));
    assert_eq!(of_one, of_other);
    // The roster, two cases through an import, a bulk and a policy.
    assert!(of_one.len() >= 12 && events.len() - of_one.len() >= 20, "{} of {}", of_one.len(), events.len());
    for event in of_others(&one, &events) {
        for told in [one.number, one.removed, one.crn, "armalade"] {
            let members = [&event.metadata, &event.data].map(|bytes| std::str::from_utf8(bytes).expect("UTF-8"));
            assert!(members.iter().all(|text| !text.contains(told)), "{told} in {members:?}");
        }
    }
}
