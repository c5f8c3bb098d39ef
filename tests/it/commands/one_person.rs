//! What the ledger holds of a person in prison is in the streams of that person's numbers alone:
//! the events of other persons and of prisons neither name the person nor are computed from a
//! number.
//!
//! The same history is recorded twice, with one person's numbers exchanged, in each kind of store,
//! and the events of others are compared byte for byte. Some members differ between any two
//! histories, and are left out of the comparison: salts and the runs of imports, which are random
//! and which no setting fixes, the ids that an undo derives from its run, and the time of what a
//! tool records as of now.

use domain::Stream;
use event_log::RecordedEvent;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    DataDir, EventStore, HttpAnswer, ToolOutput, database, eventually,
    ledger::{BYRNE, Ledger, NOVAK, OKAFOR, PRISON, SHAH, assert_recorded, serve_commands},
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

    async fn record(&mut self, request: &str, day: &str, body: Value) -> HttpAnswer {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let answer = self.send(method.parse().expect("a method"), path, day, body).await;
        assert_recorded(&answer).clone()
    }

    /// Runs a tool on the ledger.
    async fn tool(&self, arguments: &[&str]) -> ToolOutput {
        let stores = self.ledger.database.store.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        let ran = run(&[arguments, &stores[..]].concat()).await;
        assert!(ran.status.success(), "{arguments:?}: {}\n{}", ran.stdout, ran.stderr);
        ran
    }

    /// Imports a sheet of cases, each with its tier, its POM and the day of its allocation.
    async fn import_cases(&self, rows: &[String], more: &[&str]) -> ToolOutput {
        let directory = DataDir::new();
        let file = directory.path().join("cases.csv");
        let rows = rows.concat();
        std::fs::write(&file, format!("NOMS no,Tier,POM,Staff id,Type,Date allocated\n{rows}")).expect("write a file");
        let file = file.to_str().expect("a path in UTF-8");
        self.tool(&[&["import", "spreadsheet", file, "--prison", PRISON, "--json"], more].concat()).await
    }

    /// Imports the whole list of contacts in NOMIS.
    async fn import_contacts(&self, numbers: &[&str]) -> ToolOutput {
        let directory = DataDir::new();
        let file = directory.path().join("contacts.csv");
        let rows: String = numbers.iter().map(|number| format!("{number},{SHAH},POM\n")).collect();
        std::fs::write(&file, format!("Prisoner number,Staff ID,Contact type\n{rows}")).expect("write a file");
        let file = file.to_str().expect("a path in UTF-8");
        self.tool(&["import", "nomis-contacts", file, "--prison", PRISON, "--complete", "--json"]).await
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

/// A ledger whose log is in a store of this kind.
async fn ledger_on(store: Option<EventStore>) -> Ledger {
    let mut database = database().await;
    database.store = store.unwrap_or(database.store);
    let program = serve_commands(&database).await;
    Ledger { database, program }
}

/// Sends commands of all kinds to a person's case and to others, has policies and a merge act,
/// imports sheets and lists of contacts, undoes an import, and applies the differences of a sheet;
/// returns all events.
async fn record_history(person: &Person, store: Option<EventStore>) -> Vec<RecordedEvent> {
    let Person { number, removed, crn } = *person;
    let mut history = FixedHistory { ledger: ledger_on(store).await, requests: 0 };
    history
        .record("POST /prisons/LEI/onboarding", "01-01", json!({"goLiveDate": "2019-01-01", "estate": "WOMENS"}))
        .await;
    for (staff_id, name, kind) in
        [(SHAH, "Shah, Priya", "PRISON"), (NOVAK, "Novak, Jan", "PRISON"), (OKAFOR, "Okafor, Grace", "PROBATION")]
    {
        let pom = json!({"staffId": staff_id, "name": name, "kind": kind});
        history.record("POST /prisons/LEI/poms", "01-01", pom).await;
    }
    let row = |number: &str, tier: &str, name: &str, staff_id: i64, day: &str| {
        format!("{number},{tier},\"{name}\",{staff_id},PRO,{day}/01/2026\n")
    };
    let of_shah = [number, OTHERS[0], removed].map(|number| row(number, "C", "Shah, Priya", SHAH, "02"));
    let ran = history.import_cases(&of_shah, &[]).await;
    assert_eq!(ran.stdout.matches(r#""outcome":"recorded""#).count(), 3, "{}", ran.stdout);
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
    record_contacts(&mut history, person).await;
    let go_live = json!({"goLiveDate": "2018-12-01", "reason": "The date was of another prison"});
    history.record("PUT /prisons/LEI/go-live-date", "01-18", go_live).await;

    let of_byrne = [OTHERS[1], number].map(|number| row(number, "C", "Byrne, Liam", BYRNE, "19"));
    let ran = history.import_cases(&of_byrne, &[]).await;
    assert_eq!(ran.stdout.matches(r#""outcome":"recorded""#).count(), 2, "{}", ran.stdout);
    let run = ran.stderr.split("Run ").nth(1).and_then(|rest| rest.split(':').next()).expect("a run");
    let undone = history.tool(&["import", "undo", run, "--json"]).await;
    assert!(undone.stdout.contains(r#""outcome":"voided""#), "{}", undone.stdout);
    assert!(undone.stdout.contains(r#""outcome":"inactive""#), "{}", undone.stdout);
    let changed = [OTHERS[1], number].map(|number| row(number, "D", "Shah, Priya", SHAH, "20"));
    let applied = history.import_cases(&changed, &["--apply", "2026-01-21"]).await;
    assert!(applied.stdout.contains(r#""outcome":"recorded""#), "{}", applied.stdout);
    history.ledger.wait_for_policies().await;
    read_recorded(&*history.ledger.log().await).await
}

/// Contacts in NOMIS of the person and of others, found and gone, one by one and by whole lists.
async fn record_contacts(history: &mut FixedHistory, person: &Person) {
    let found = |number: &str| json!({"prisonerNumber": number, "staffId": NOVAK, "contactType": "POM"});
    let path = "POST /prisons/LEI/nomis-contacts";
    for number in [OTHERS[0], OTHERS[1]] {
        history.record(path, "01-17", found(number)).await;
    }
    let answer = history.record(path, "01-17", found(person.number)).await;
    history.record(path, "01-17", found(person.removed)).await;
    let id = answer.body["events"][0]["data"]["contactId"].as_str().expect("an id").to_owned();
    history.record(&format!("{path}/{id}/removal"), "01-18", json!({})).await;
    let ran = history.import_contacts(&[person.number, OTHERS[0]]).await;
    let count = |outcome: &str| ran.stdout.matches(&format!(r#""outcome":"{outcome}""#)).count();
    // One contact of each who is in the list, and those of three who are not, or by another POM.
    assert_eq!((count("recorded"), count("removal-confirmed")), (2, 3), "{}", ran.stdout);
}

/// The events outside the person's streams.
fn of_others<'e>(person: &Person, events: &'e [RecordedEvent]) -> Vec<&'e RecordedEvent> {
    let own = [person.number, person.removed];
    let is_own = |event: &RecordedEvent| event.stream.person().is_some_and(|number| own.contains(&number.as_str()));
    events.iter().filter(|event| !is_own(event)).collect()
}

/// An event without its place and time in the log, and without the members that are not the same in
/// any two histories.
fn comparable(event: &RecordedEvent) -> String {
    let mut metadata: Value = serde_json::from_slice(&event.metadata).expect("JSON");
    assert!(metadata["salt"].take().is_string(), "{metadata}");
    let mut event_id = event.event_id.to_string();
    let is_of_tool = metadata["recordedBy"]["client"] == "allocation-ledger import";
    match metadata.get_mut("provenance") {
        Some(provenance) => {
            let run = provenance["run"].take();
            assert_eq!(metadata["correlationId"].take(), run, "{metadata}");
            if matches!(event.stream, Stream::Contacts(_)) {
                metadata["effectiveAt"].take();
            }
        }
        // An undo: its ids are derived from the run.
        None if is_of_tool => {
            for member in ["correlationId", "commandId", "requestDigest", "effectiveAt"] {
                assert!(metadata[member].take().is_string(), "{member}");
            }
            event_id.clear();
        }
        None => {}
    }
    let data = std::str::from_utf8(&event.data).expect("UTF-8");
    format!("{} {} {event_id} {} {metadata} {data}", event.stream, event.revision, event.type_name)
}

async fn check_others(stores: [Option<EventStore>; 2]) {
    let one = Person { number: "B1234BB", removed: "B9999BB", crn: "X765432" };
    let other = Person { number: "Y4321YY", removed: "C5555CC", crn: "Z234567" };
    let [store, store_of_other] = stores;
    let (events, exchanged) = (record_history(&one, store).await, record_history(&other, store_of_other).await);
    let list = |person, events| {
        let mut list: Vec<_> = of_others(person, events).into_iter().map(comparable).collect();
        // Streams are written to side by side.
        list.sort();
        list
    };
    let (of_one, of_other) = (list(&one, &events), list(&other, &exchanged));
    assert_eq!(of_one, of_other);
    // The roster, two cases through imports, an undo, a bulk and a policy, and their contacts.
    assert!(of_one.len() >= 26 && events.len() - of_one.len() >= 30, "{} of {}", of_one.len(), events.len());
    for event in of_others(&one, &events) {
        for told in [one.number, one.removed, one.crn, "armalade"] {
            let members = [&event.metadata, &event.data].map(|bytes| std::str::from_utf8(bytes).expect("UTF-8"));
            assert!(members.iter().all(|text| !text.contains(told)), "{told} in {members:?}");
        }
    }
}

#[tokio::test]
async fn the_events_of_others_do_not_depend_on_a_persons_numbers_and_name_none() {
    check_others([None, None]).await;
}

mod single_program {
    use super::{EventStore, check_others};
    use crate::support::topology::require_single_program;

    /// The tests with services apart have their log there anyway.
    #[tokio::test]
    async fn nor_do_they_in_a_log_on_kurrentdb() {
        require_single_program();
        check_others([Some(EventStore::on_stand_in()), Some(EventStore::on_stand_in())]).await;
    }
}
