//! Questions over HTTP, against the real program with all its roles and a real Postgres: what it answers after what was
//! recorded.
//!
//! Times are asked about by `on`, so that the answers do not depend on the day on which the tests run. A question is
//! held back until the views include all that was recorded before it, as a caller would ask.

mod compatible;
pub mod events;

use std::{collections::BTreeSet, time::Duration};

use domain::{
    Event, Stream,
    event::RecordedBy,
    identifier::CommandId,
    prisoner::{PrisonerEvent, PrisonerNumberRetired},
};
use event_log::{ExpectedRevision, Metadata, encode};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use query::past::{PastError, whole_case};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Answer, DataDir, Program, database, eventually,
    ledger::{BYRNE, Ledger, NOVAK, OKAFOR, PRISON, SHAH, recorded, refused},
    topology::is_of_the_single_program,
};

/// The program with all its roles: [`PRISON`] on OMiC with its POMs.
pub async fn start() -> Ledger {
    let database = database().await;
    let program = Program::serve_all(&database).await;
    let ledger = Ledger { database, program };
    ledger.join_omic(PRISON).await;
    for (staff_id, name, kind) in [
        (OKAFOR, "Okafor, Grace", "PROBATION"),
        (BYRNE, "Byrne, Liam", "PROBATION"),
        (SHAH, "Shah, Priya", "PRISON"),
        (NOVAK, "Novak, Jan", "PRISON"),
    ] {
        ledger.register_pom(PRISON, staff_id, name, kind).await;
    }
    ledger
}

/// Asks, of all that is recorded.
pub async fn ask(ledger: &Ledger, path: &str) -> Answer {
    ask_with(ledger, Method::GET, path, None).await
}

pub async fn ask_with(ledger: &Ledger, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let head = ledger.event_count().await.to_string();
    ledger.client().send(method, path, &[("Ledger-Position-At-Least", &head)], body).await
}

/// Records something about a case.
pub async fn record(ledger: &Ledger, request: &str, body: Value) -> Answer {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    let method = method.parse().expect("a method");
    recorded(&ledger.client().send(method, path, &[], Some(&body)).await).clone()
}

#[track_caller]
pub fn answered(answer: &Answer) -> &Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    &answer.body
}

/// The values of one member of each item of a list.
#[track_caller]
pub fn each(answer: &Answer, member: &str) -> Vec<Value> {
    let items = answered(answer).as_array().unwrap_or_else(|| panic!("not a list: {}", answer.text));
    items.iter().map(|item| item[member].clone()).collect()
}

/// Facts whose plan starts and hands over on 17 April 2026.
fn determinate() -> Value {
    json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2027-01-01",
        "calculatedOn": "2026-02-03", "effectiveAt": "2026-02-03T09:00:00Z"})
}

#[tokio::test]
async fn who_is_responsible_follows_the_calendar_and_what_was_known() {
    let ledger = start().await;
    ledger.tier("A1234BC").await;
    let before_allocation = ledger.event_count().await;
    ledger.allocate("A1234BC", SHAH).await;
    record(&ledger, "POST /prisoners/A1234BC/handover-plans", determinate()).await;
    let on = async |day: &str| ask(&ledger, &format!("/prisoners/A1234BC/responsibility?on={day}")).await;

    let answer = on("2026-03-01").await;
    let position = ledger.event_count().await;
    assert_eq!(answer.header("ledger-position"), Some(position.to_string().as_str()));
    assert_eq!(
        answered(&answer),
        &json!({
            "prisonerNumber": "A1234BC", "prison": "LEI", "on": "2026-03-01T00:00:00Z", "phase": "CUSTODY_ONLY",
            "tier": "C1",
            "responsible": {"role": "POM", "staffId": SHAH, "name": "Shah, Priya", "since": "2026-02-02T09:00:00Z"},
            "supporting": null, "coworker": null,
            "reason": {"code": "determinate", "startDate": "2026-04-17", "handoverDate": "2026-04-17"},
            "override": null, "asOf": {"position": position, "revision": 2},
        })
    );
    // The day of the handover begins at midnight in London, which is 23:00 the evening before in UTC.
    assert_eq!(answered(&on("2026-04-16T22:59:59Z").await)["responsible"]["role"], "POM");
    let due = on("2026-04-17").await;
    assert_eq!(
        answered(&due)["responsible"],
        json!({"role": "COM", "staffId": null, "name": null, "since": "2026-04-16T23:00:00Z", "vacancy": "COM_NOT_NAMED"})
    );
    assert_eq!(answered(&due)["supporting"], json!({"role": "POM", "staffId": SHAH, "name": "Shah, Priya"}));

    let com = json!({"name": "Lee, Sam", "email": "sam.lee@example.org", "effectiveAt": "2026-05-01T09:00:00Z"});
    record(&ledger, "PUT /prisoners/A1234BC/community-manager", com).await;
    let named = on("2026-05-02").await;
    assert_eq!(answered(&named)["responsible"]["name"], "Lee, Sam");
    assert_eq!(answered(&named)["responsible"]["email"], "sam.lee@example.org");
    let decision = json!({"responsible": "PRISON", "reason": "OTHER", "detail": "Hearing pending",
        "effectiveAt": "2026-06-01T09:00:00Z"});
    record(&ledger, "PUT /prisoners/A1234BC/responsibility-override", decision).await;
    let overridden = on("2026-06-02").await;
    assert_eq!(answered(&overridden)["phase"], "CUSTODY_WITH_COM");
    assert_eq!(
        answered(&overridden)["override"],
        json!({"responsible": "PRISON", "reason": "OTHER", "detail": "Hearing pending"})
    );
    let coworker = json!({"prison": "LEI", "pom": {"staffId": OKAFOR}, "effectiveAt": "2026-06-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A1234BC/co-workers", coworker).await;
    assert_eq!(
        answered(&on("2026-06-04").await)["coworker"],
        json!({"staffId": OKAFOR, "name": "Okafor, Grace", "kind": "PROBATION", "since": "2026-06-03T09:00:00Z"})
    );

    // What was believed before the allocation was recorded, about a day after it.
    let believed =
        ask(&ledger, &format!("/prisoners/A1234BC/responsibility?on=2026-03-01&known-at={before_allocation}")).await;
    assert_eq!(answered(&believed)["responsible"]["vacancy"], "NOT_ALLOCATED");
    assert_eq!(answered(&believed)["asOf"], json!({"position": before_allocation, "revision": 0}));
    refused(&ask(&ledger, "/prisoners/A1234BC/responsibility?known-at=2026-01-01").await, 404, "prisoner-unknown");

    // Voided, the allocation never was; known at the position before the void, it still is.
    ledger.case("A1234BD", SHAH).await;
    let before_void = ledger.event_count().await;
    record(&ledger, "POST /prisoners/A1234BD/voids", json!({"revision": 1, "reason": "Wrong case"})).await;
    let path = "/prisoners/A1234BD/responsibility?on=2026-03-01";
    assert_eq!(answered(&ask(&ledger, path).await)["responsible"]["vacancy"], "NOT_ALLOCATED");
    let known = ask(&ledger, &format!("{path}&known-at={before_void}")).await;
    assert_eq!(answered(&known)["responsible"]["staffId"], SHAH);
}

#[tokio::test]
async fn what_is_not_known_or_not_understood_is_said() {
    let ledger = start().await;
    ledger.tier("A1234BC").await;
    for (path, status, code) in [
        ("/prisoners/A9999ZZ/responsibility", 404, "prisoner-unknown"),
        ("/prisoners/A9999ZZ/history", 404, "prisoner-unknown"),
        ("/prisoners/A9999ZZ/responsibility/periods", 404, "prisoner-unknown"),
        ("/prisoners/A1234BC/responsibility?on=2025-12-31", 404, "prisoner-unknown"),
        ("/prisoners/A1234BC/history/7", 404, "entry-unknown"),
        ("/prisoners/a1234bc/responsibility", 400, "identifier-invalid"),
        ("/prisons/Leeds/cases", 400, "identifier-invalid"),
        ("/poms/nobody/cases", 400, "identifier-invalid"),
        ("/prisoners/A1234BC/responsibility?at=2026-03-01", 400, "parameter-unknown"),
        ("/prisoners/A1234BC/responsibility?on=2026-02-30", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/responsibility?known-at=then", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/history?type=Allocated", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/history?limit=0", 400, "parameter-invalid"),
        ("/prisons/LEI/cases?limit=1001", 400, "parameter-invalid"),
        ("/prisons/LEI/cases?sort=name", 400, "parameter-invalid"),
        ("/prisons/LEI/cases?tier=H", 400, "parameter-invalid"),
        ("/prisons/LEI/cases?after=00", 400, "cursor-invalid"),
        ("/prisons/LEI/handovers?within=soon", 400, "parameter-invalid"),
        ("/prisons/LEI/statistics?month=3", 400, "parameter-unknown"),
        ("/prisoners/A1234BC/responsibility?on=0001-01-01", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/responsibility?on=%2B262142-12-31", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/responsibility?known-at=9999-12-31", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/history?from=-4800-01-01", 400, "parameter-invalid"),
        ("/prisoners/A1234BC/history?to=2200-01-01T00:00:00Z", 400, "parameter-invalid"),
        ("/prisons/LEI/cases?on=2026-03-01%00", 400, "parameter-invalid"),
        ("/subject-access-request?prn=A1234BC&toDate=%2B262142-12-31", 400, "parameter-invalid"),
        // A key with the character NUL.
        ("/prisons/LEI/cases?after=5b225c7530303030222c2241225d", 400, "cursor-invalid"),
    ] {
        let answer = ask(&ledger, path).await;
        refused(&answer, status, code);
        assert_eq!(answer.body["instance"], path.split('?').next().expect("a path"), "{path}");
    }
    let wrong_day = ask(&ledger, "/prisoners/A1234BC/responsibility?on=2026-02-30").await;
    assert_eq!(
        wrong_day.body["detail"],
        "on: `2026-02-30` is not a date or an instant in the years 1900 to 2199; write a date such as 2026-03-01 or an \
         instant such as 2026-03-01T09:00:00Z."
    );
    for instant in ["-4800-01-01T00:00:00Z", "2500-01-01T00:00:00Z"] {
        let tier = json!({"tier": "A", "source": "MANUAL", "effectiveAt": instant});
        refused(&ledger.client().post("/prisoners/A1234BC/tier", &tier).await, 400, "date-invalid");
    }
}

#[tokio::test]
async fn what_was_known_on_a_day_is_what_was_known_when_it_was_over() {
    let ledger = start().await;
    let recorded = ledger.tier("A1234BC").await;
    let at = recorded.body["events"][0]["recordedAt"].as_str().expect("an instant").to_owned();
    let recorded_at: chrono::DateTime<chrono::Utc> = at.parse().expect("an instant");
    let today = domain::london::date(recorded_at);
    let known_at = async |point: &str| {
        let on = at.replace('+', "%2B");
        ask(&ledger, &format!("/prisoners/A1234BC/responsibility?on={on}&known-at={point}")).await
    };
    assert_eq!(answered(&known_at(&today.to_string()).await)["tier"], "C1");
    assert_eq!(answered(&known_at(&at).await)["tier"], "C1");
    let yesterday = today.pred_opt().expect("a day before").to_string();
    refused(&known_at(&yesterday).await, 404, "prisoner-unknown");
}

#[tokio::test]
async fn many_are_answered_at_once_in_the_order_asked() {
    let ledger = start().await;
    ledger.case("A1234BC", SHAH).await;
    ledger.case("A1234BD", NOVAK).await;
    let asked = json!(["A1234BD", "A9999ZZ", "A1234BC", "A1234BD"]);
    let answer = ask_with(&ledger, Method::POST, "/responsibilities", Some(&asked)).await;
    assert_eq!(each(&answer, "prisonerNumber"), ["A1234BD", "A9999ZZ", "A1234BC", "A1234BD"]);
    let items = answered(&answer).as_array().expect("a list");
    assert_eq!(items[0]["responsible"]["staffId"], NOVAK);
    assert_eq!(items[1]["error"]["code"], "prisoner-unknown");
    assert_eq!(items[2]["responsible"]["staffId"], SHAH);
    let early = ask_with(&ledger, Method::POST, "/responsibilities?on=2026-01-20", Some(&asked)).await;
    assert_eq!(answered(&early)[0]["responsible"]["vacancy"], "NOT_ALLOCATED");

    let before = ledger.event_count().await - 1;
    let path = format!("/responsibilities?on=2026-03-01&known-at={before}");
    let believed = ask_with(&ledger, Method::POST, &path, Some(&asked)).await;
    assert_eq!(answered(&believed)[0]["responsible"]["vacancy"], "NOT_ALLOCATED", "recorded last");
    assert_eq!(answered(&believed)[1]["error"]["code"], "prisoner-unknown");
    assert_eq!(answered(&believed)[2]["responsible"]["staffId"], SHAH);
    assert_eq!(believed.header("ledger-position"), Some(before.to_string().as_str()));

    let nobody = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!([]))).await;
    assert_eq!(answered(&nobody), &json!([]));
    let wrong = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!(["A1234BC", "1234"]))).await;
    assert_eq!(refused(&wrong, 400, "identifier-invalid").body["errors"][0]["pointer"], "#/1");
    let many: Vec<String> = (0..1_001).map(|index| format!("A{index:04}AA")).collect();
    let too_many = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!(many))).await;
    refused(&too_many, 400, "too-many");
    let most = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!(many[..1_000]))).await;
    assert_eq!(answered(&most).as_array().map(Vec::len), Some(1_000));
}

#[tokio::test]
async fn a_history_tells_everything_voided_entries_included() {
    let ledger = start().await;
    ledger.tier("A1234BC").await;
    ledger.allocate("A1234BC", SHAH).await;
    let moved =
        json!({"prison": "LEI", "pom": {"staffId": NOVAK}, "reason": "Leave", "effectiveAt": "2026-03-02T09:00:00Z"});
    record(&ledger, "POST /prisoners/A1234BC/reallocations", moved).await;
    record(&ledger, "POST /prisoners/A1234BC/voids", json!({"revision": 2, "reason": "Wrong case"})).await;
    // Recorded last, in force first.
    let tier = json!({"tier": "D0", "source": "MANUAL", "effectiveAt": "2026-01-01T09:00:00Z"});
    let answer = record(&ledger, "POST /prisoners/A1234BC/tier", tier).await;

    let location = answer.header("location").expect("a location").to_owned();
    let entry = ask(&ledger, &location).await;
    assert_eq!(answered(&entry)["type"], "TierAssigned");
    assert_eq!(answered(&entry)["data"], json!({"tier": "D0", "source": "MANUAL"}));

    let history = ask(&ledger, "/prisoners/A1234BC/history").await;
    assert_eq!(
        each(&history, "type"),
        ["TierAssigned", "TierAssigned", "AllocationMade", "Reallocated", "EntryVoided"]
    );
    assert_eq!(each(&history, "revision"), [4, 0, 1, 2, 3]);
    assert_eq!(each(&history, "voidedBy"), [json!(null), json!(null), json!(null), json!(3), json!(null)]);
    let event = &answered(&history)[2];
    assert_eq!(event["stream"], "prisoner-A1234BC");
    assert_eq!(event["data"]["pom"]["name"], "Shah, Priya");
    for member in ["eventId", "schemaVersion", "position", "recordedAt", "recordedBy", "commandId", "correlationId"] {
        assert!(!event[member].is_null(), "{member} in {event}");
    }

    let of_type = ask(&ledger, "/prisoners/A1234BC/history?type=AllocationMade,Reallocated").await;
    assert_eq!(each(&of_type, "revision"), [1, 2]);
    let between = ask(&ledger, "/prisoners/A1234BC/history?from=2026-01-02&to=2026-02-02T09:00:00Z").await;
    assert_eq!(each(&between, "revision"), [0]);

    let mut revisions = Vec::new();
    let mut next = Some("/prisoners/A1234BC/history?limit=2".to_owned());
    while let Some(path) = next {
        let page = ask(&ledger, &path).await;
        revisions.extend(each(&page, "revision"));
        next = next_page(&page);
    }
    assert_eq!(revisions, [4, 0, 1, 2, 3]);
}

/// Where the `Link` header leads.
pub fn next_page(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    assert!(link.ends_with("; rel=\"next\""), "{link}");
    Some(link.strip_prefix('<')?.split('>').next()?.to_owned())
}

#[tokio::test]
async fn merged_numbers_answer_with_the_survivor() {
    let ledger = start().await;
    ledger.case("A1111AA", SHAH).await;
    ledger.tier("A2222BB").await;
    record(&ledger, "POST /prisoners/A2222BB/merges", json!({"removedNumber": "A1111AA"})).await;
    ledger.settled().await;
    for number in ["A1111AA", "A2222BB"] {
        let answer = ask(&ledger, &format!("/prisoners/{number}/responsibility")).await;
        assert_eq!(answered(&answer)["prisonerNumber"], "A2222BB");
        assert_eq!(answered(&answer)["responsible"]["staffId"], SHAH, "taken over");
        let history = ask(&ledger, &format!("/prisoners/{number}/history")).await;
        let numbers = each(&history, "prisonerNumber");
        assert!(numbers.contains(&json!("A1111AA")) && numbers.contains(&json!("A2222BB")), "{}", history.text);
        assert_eq!(each(&history, "type").last(), Some(&json!("PrisonerNumberMerged")));
        let periods = ask(&ledger, &format!("/prisoners/{number}/responsibility/periods")).await;
        assert!(each(&periods, "prisonerNumber").iter().all(|number| number == "A2222BB"), "{}", periods.text);
    }
    let both = ask_with(&ledger, Method::POST, "/responsibilities", Some(&json!(["A1111AA", "A2222BB"]))).await;
    assert_eq!(each(&both, "prisonerNumber"), ["A2222BB", "A2222BB"]);
    // As it was known before the merge, the removed number had a case of its own.
    let before = ledger
        .case_events("A1111AA")
        .await
        .iter()
        .filter(|event| event.entry.event.type_name() == "AllocationMade")
        .map(|event| event.entry.position)
        .next_back()
        .expect("an allocation");
    let known = ask(&ledger, &format!("/prisoners/A1111AA/responsibility?known-at={before}")).await;
    assert_eq!(answered(&known)["prisonerNumber"], "A1111AA");
}

#[tokio::test]
async fn before_a_merge_the_removed_number_answers_for_the_survivor() {
    let ledger = start().await;
    let tier = |tier: &str, day: &str| json!({"tier": tier, "source": "DELIUS", "prison": "LEI", "effectiveAt": format!("{day}T09:00:00Z")});
    // A chain of three numbers, each known from another day on.
    record(&ledger, "POST /prisoners/A1111AA/tier", tier("A", "2026-01-05")).await;
    record(&ledger, "POST /prisoners/A2222BB/tier", tier("B", "2026-02-05")).await;
    record(&ledger, "POST /prisoners/A2222BB/merges", json!({"removedNumber": "A1111AA"})).await;
    ledger.settled().await;
    record(&ledger, "POST /prisoners/A3333CC/tier", tier("C", "2026-03-05")).await;
    record(&ledger, "POST /prisoners/A3333CC/merges", json!({"removedNumber": "A2222BB"})).await;
    ledger.settled().await;
    let head = ledger.event_count().await;
    for (number, known_at) in [
        ("A1111AA", String::new()),
        ("A2222BB", String::new()),
        ("A3333CC", String::new()),
        ("A1111AA", format!("&known-at={head}")),
        ("A3333CC", format!("&known-at={head}")),
    ] {
        for (day, expected) in [("2026-01-20", "A"), ("2026-02-20", "B"), ("2026-03-20", "C")] {
            let path = format!("/prisoners/{number}/responsibility?on={day}{known_at}");
            let answer = ask(&ledger, &path).await;
            assert_eq!(
                (&answered(&answer)["tier"], &answer.body["prisonerNumber"]),
                (&json!(expected), &json!("A3333CC"))
            );
        }
        let path = format!("/prisoners/{number}/responsibility?on=2026-01-01{known_at}");
        refused(&ask(&ledger, &path).await, 404, "prisoner-unknown");
    }
    let many = ask_with(&ledger, Method::POST, "/responsibilities?on=2026-01-20", Some(&json!(["A3333CC"]))).await;
    assert_eq!(each(&many, "tier"), ["A"]);
    let periods = ask(&ledger, "/prisoners/A1111AA/responsibility/periods").await;
    let tiers = each(&periods, "tier");
    assert_eq!(tiers[..3], ["A", "B", "C"]);
    assert_eq!(each(&periods, "from")[..3], ["2026-01-05T09:00:00Z", "2026-02-05T09:00:00Z", "2026-03-05T09:00:00Z"]);
    assert_eq!(each(&periods, "to")[..2], ["2026-02-05T09:00:00Z", "2026-03-05T09:00:00Z"]);
    assert!(each(&periods, "prisonerNumber").iter().all(|number| number == "A3333CC"), "{}", periods.text);
}

/// The rules refuse it, but two servers that did not see each other's merge could make it.
#[tokio::test]
async fn a_circle_of_merges_is_reported_and_not_followed_for_ever() {
    let ledger = start().await;
    let numbers = ["A1111AA", "A2222BB"];
    for number in numbers {
        ledger.tier(number).await;
    }
    let log = ledger.log().await;
    // Without policies, which would complete the first merge.
    assert!(ledger.program.stop().await.success());
    for (removed, survivor) in [(numbers[0], numbers[1]), (numbers[1], numbers[0])] {
        let retired = PrisonerNumberRetired { survivor: survivor.parse().expect("a number") };
        let at = "2026-11-01T09:00:00Z".parse().expect("an instant");
        let metadata = Metadata::new(
            at,
            RecordedBy { username: "SPO".parse().expect("a username"), client: "test".to_owned() },
            CommandId(Uuid::new_v4()),
            "0".repeat(64),
            Uuid::new_v4(),
            None,
        );
        let event = encode(&Event::Prisoner(PrisonerEvent::PrisonerNumberRetired(retired)), 0, &metadata, at);
        let stream = Stream::Prisoner(removed.parse().expect("a number"));
        log.append(&stream, ExpectedRevision::Exact(0), vec![event]).await.expect("append");
    }
    let number = numbers[0].parse().expect("a number");
    let read = tokio::time::timeout(Duration::from_secs(60), whole_case(&log, &number, None)).await.expect("an end");
    assert!(matches!(read, Err(PastError::Failure(query::Error::MergeCircle { .. }))), "{read:?}");
}

#[tokio::test]
async fn periods_adjoin_from_the_first_entry_to_the_planned_future() {
    let ledger = start().await;
    ledger.case("A1234BC", SHAH).await;
    let plan = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2099-01-01",
        "calculatedOn": "2026-02-03", "effectiveAt": "2026-02-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A1234BC/handover-plans", plan).await;
    let answer = ask(&ledger, "/prisoners/A1234BC/responsibility/periods").await;
    let periods = answered(&answer).as_array().expect("a list");
    assert_eq!(
        each(&answer, "from"),
        ["2026-01-05T09:00:00Z", "2026-02-02T09:00:00Z", "2026-02-03T09:00:00Z", "2098-04-16T23:00:00Z"]
    );
    for (period, next) in periods.iter().zip(&periods[1..]) {
        assert_eq!(period["to"], next["from"]);
    }
    let last = periods.last().expect("a period");
    assert_eq!((&last["to"], &last["phase"]), (&json!(null), &json!("COMMUNITY")));
    assert_eq!(periods[2]["responsible"]["since"], "2026-02-02T09:00:00Z");
}

#[tokio::test]
async fn a_prisons_cases_are_filtered_sorted_and_paged() {
    let ledger = start().await;
    // The later their number, the longer they wait.
    for (number, tier, staff_id, day) in [
        ("A0001AA", "D2", Some(SHAH), 9),
        ("A0002AA", "C1", Some(NOVAK), 8),
        ("A0003AA", "C2", None, 7),
        ("A0004AA", "E0", Some(SHAH), 6),
        ("A0005AA", "C1", None, 5),
    ] {
        let effective_at = format!("2026-01-0{day}T09:00:00Z");
        let body = json!({"tier": tier, "source": "DELIUS", "prison": "LEI", "effectiveAt": effective_at});
        record(&ledger, &format!("POST /prisoners/{number}/tier"), body).await;
        if let Some(staff_id) = staff_id {
            ledger.allocate(number, staff_id).await;
        }
    }
    let coworker = json!({"prison": "LEI", "pom": {"staffId": SHAH}, "effectiveAt": "2026-02-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A0002AA/co-workers", coworker).await;

    let check = async |query: &str, expected: &[&str]| {
        let answer = ask(&ledger, &format!("/prisons/LEI/cases?{query}")).await;
        assert_eq!(each(&answer, "prisonerNumber"), expected, "{query}");
    };
    check("", &["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA"]).await;
    check("tier=C", &["A0002AA", "A0003AA", "A0005AA"]).await;
    check("tier=C1", &["A0002AA", "A0005AA"]).await;
    check(&format!("pom={SHAH}"), &["A0001AA", "A0002AA", "A0004AA"]).await;
    check(&format!("pom={SHAH}&role=PRIMARY"), &["A0001AA", "A0004AA"]).await;
    check(&format!("pom={SHAH}&role=COWORKING"), &["A0002AA"]).await;
    check("allocated=false", &["A0003AA", "A0005AA"]).await;
    check("waiting=false", &["A0001AA", "A0002AA", "A0004AA"]).await;
    check("phase=CUSTODY_ONLY&allocated=true&tier=D", &["A0001AA"]).await;
    check("responsible=COM", &[]).await;
    check("sort=tier", &["A0002AA", "A0005AA", "A0003AA", "A0001AA", "A0004AA"]).await;
    check("sort=-tier", &["A0004AA", "A0001AA", "A0003AA", "A0005AA", "A0002AA"]).await;
    check("sort=pom", &["A0002AA", "A0001AA", "A0004AA", "A0003AA", "A0005AA"]).await;
    check("sort=-pom", &["A0004AA", "A0001AA", "A0002AA", "A0005AA", "A0003AA"]).await;
    check("sort=waitingSince", &["A0005AA", "A0003AA", "A0001AA", "A0002AA", "A0004AA"]).await;
    check("sort=-waitingSince", &["A0003AA", "A0005AA", "A0004AA", "A0002AA", "A0001AA"]).await;
    let on = "on=2026-01-20";
    check(&format!("{on}&sort=responsibleSince"), &["A0005AA", "A0004AA", "A0003AA", "A0002AA", "A0001AA"]).await;
    check(&format!("{on}&sort=-responsibleSince"), &["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA"]).await;
    check("on=2026-01-20&waiting=true", &["A0001AA", "A0002AA", "A0003AA", "A0004AA", "A0005AA"]).await;
    check("on=2026-01-01", &[]).await;
    let elsewhere = ask(&ledger, "/prisons/MDI/cases").await;
    assert_eq!(answered(&elsewhere), &json!([]));
    assert!(elsewhere.header("ledger-position").is_some());

    for sort in [
        "prisonerNumber",
        "-prisonerNumber",
        "tier",
        "-tier",
        "pom",
        "-pom",
        "waitingSince",
        "-waitingSince",
        "-responsibleSince",
    ] {
        let whole = each(&ask(&ledger, &format!("/prisons/LEI/cases?sort={sort}")).await, "prisonerNumber");
        let mut paged = Vec::new();
        let mut next = Some(format!("/prisons/LEI/cases?sort={sort}&limit=2"));
        while let Some(path) = next {
            let page = ask(&ledger, &path).await;
            paged.extend(each(&page, "prisonerNumber"));
            next = next_page(&page);
        }
        assert_eq!(paged, whole, "{sort}");
    }

    let held = ask(&ledger, &format!("/poms/{SHAH}/cases")).await;
    assert_eq!(each(&held, "role"), ["PRIMARY", "COWORKING", "PRIMARY"]);
    assert_eq!(each(&held, "prisonerNumber"), ["A0001AA", "A0002AA", "A0004AA"]);
    let second = &answered(&held)[1];
    assert_eq!((&second["pom"]["staffId"], &second["coworker"]["staffId"]), (&json!(NOVAK), &json!(SHAH)));

    let waiting = ask(&ledger, "/prisons/LEI/unallocated?on=2026-02-12").await;
    assert_eq!(each(&waiting, "prisonerNumber"), ["A0005AA", "A0003AA"]);
    assert_eq!(each(&waiting, "waitingSince"), ["2026-01-05T09:00:00Z", "2026-01-07T09:00:00Z"]);
    assert_eq!(each(&waiting, "days"), [37, 35]);

    let roster = ask(&ledger, "/prisons/LEI/poms?on=2026-02-12").await;
    assert_eq!(each(&roster, "name"), ["Byrne, Liam", "Novak, Jan", "Okafor, Grace", "Shah, Priya"]);
    assert_eq!(
        answered(&roster)[3],
        json!({
            "staffId": SHAH, "name": "Shah, Priya", "kind": "PRISON", "email": null, "status": "ACTIVE",
            "returnsOn": null, "statusReason": null, "workingPattern": 1.0,
            "caseload": {
                "primary": {"total": 2, "byTier": {"D": 1, "E": 1}}, "coworking": {"total": 1, "byTier": {"C": 1}},
            },
        })
    );

    let statistics = ask(&ledger, "/prisons/LEI/statistics").await;
    assert_eq!(
        answered(&statistics),
        &json!([{"month": "2026-02", "allocations": 3, "reallocations": 0, "overrides": 0,
            "daysToAllocate": {"mean": 25.3, "median": 25.0, "max": 27}}])
    );
}

#[tokio::test]
async fn handovers_start_are_due_and_are_overdue() {
    let ledger = start().await;
    for number in ["A0001AA", "A0002AA", "A0003AA"] {
        ledger.case(number, SHAH).await;
        record(&ledger, &format!("POST /prisoners/{number}/handover-plans"), determinate()).await;
    }
    // Released earlier than the others, so handed over earlier; by number it comes last.
    ledger.case("A0004AA", SHAH).await;
    let earlier = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01",
        "conditionalReleaseDate": "2026-12-21", "calculatedOn": "2026-02-03", "effectiveAt": "2026-02-03T09:00:00Z"});
    record(&ledger, "POST /prisoners/A0004AA/handover-plans", earlier).await;
    let com = json!({"name": "Lee, Sam", "effectiveAt": "2026-03-01T09:00:00Z"});
    record(&ledger, "PUT /prisoners/A0001AA/community-manager", com).await;
    let decision =
        json!({"responsible": "PRISON", "reason": "PRISONER_HAS_BEEN_RECALLED", "effectiveAt": "2026-03-01T09:00:00Z"});
    record(&ledger, "PUT /prisoners/A0003AA/responsibility-override", decision).await;

    let check = async |query: &str, starting: &[&str], due: &[&str], overdue: &[&str]| {
        let answer = ask(&ledger, &format!("/prisons/LEI/handovers?{query}")).await;
        let numbers = |list: &str| -> Vec<Value> {
            answered(&answer)[list]
                .as_array()
                .expect("a list")
                .iter()
                .map(|item| item["prisonerNumber"].clone())
                .collect()
        };
        assert_eq!(
            (numbers("starting"), numbers("due"), numbers("overdue")),
            (
                starting.iter().map(|number| json!(number)).collect(),
                due.iter().map(|number| json!(number)).collect(),
                overdue.iter().map(|number| json!(number)).collect(),
            ),
            "{query}"
        );
    };
    // 17 April is the 30th day after 18 March, 7 April after 8 March.
    check("on=2026-03-07", &[], &[], &[]).await;
    check("on=2026-03-08", &["A0004AA"], &["A0004AA"], &[]).await;
    let by_date = ["A0004AA", "A0001AA", "A0002AA"];
    check("on=2026-03-18", &by_date, &by_date, &[]).await;
    check("on=2026-04-16&within=0d", &[], &[], &["A0004AA"]).await;
    check("on=2026-04-16&within=1d", &["A0001AA", "A0002AA"], &["A0001AA", "A0002AA"], &["A0004AA"]).await;
    check("on=2026-04-17", &[], &[], &["A0004AA", "A0002AA"]).await;
    let cases = ask(&ledger, "/prisons/LEI/cases?on=2026-03-18&sort=handoverDate").await;
    assert_eq!(each(&cases, "prisonerNumber"), ["A0004AA", "A0001AA", "A0002AA", "A0003AA"]);
    let cases = ask(&ledger, "/prisons/LEI/cases?on=2026-03-18&sort=-handoverStartDate").await;
    assert_eq!(each(&cases, "prisonerNumber"), ["A0003AA", "A0002AA", "A0001AA", "A0004AA"]);
}

#[tokio::test]
async fn nomis_contacts_still_to_be_removed_are_listed() {
    let ledger = start().await;
    let contact = |number: &str| json!({"prisonerNumber": number, "staffId": 7, "contactType": "POM"});
    record(&ledger, "POST /prisons/LEI/nomis-contacts", contact("A0002AA")).await;
    record(&ledger, "POST /prisons/LEI/nomis-contacts", contact("A0001AA")).await;
    record(&ledger, "POST /prisons/MDI/nomis-contacts", contact("A0003AA")).await;
    let all = ask(&ledger, "/nomis-contacts").await;
    assert_eq!(each(&all, "prisonerNumber"), ["A0001AA", "A0002AA", "A0003AA"]);
    assert_eq!(each(&all, "prison"), ["LEI", "LEI", "MDI"]);
    let outstanding = ask(&ledger, "/nomis-contacts?outstanding=true").await;
    assert_eq!(each(&outstanding, "prisonerNumber"), ["A0001AA", "A0002AA"], "MDI has not joined");
    assert_eq!(each(&outstanding, "goLiveDate"), ["2019-01-01"; 2]);
    let id = answered(&outstanding)[0]["id"].as_str().expect("an id").to_owned();
    record(&ledger, &format!("POST /prisons/LEI/nomis-contacts/{id}/removal"), json!({})).await;
    let left = ask(&ledger, "/prisons/LEI/nomis-contacts?outstanding=true").await;
    assert_eq!(each(&left, "prisonerNumber"), ["A0002AA"]);
    let ever = ask(&ledger, "/nomis-contacts?outstanding=false").await;
    assert_eq!(each(&ever, "prisonerNumber"), ["A0001AA", "A0002AA", "A0003AA"]);
    let is_removed: Vec<bool> = each(&ever, "removedAt").iter().map(|removed_at| !removed_at.is_null()).collect();
    assert_eq!(is_removed, [true, false, false]);
    let first = ask(&ledger, "/nomis-contacts?limit=1").await;
    let second = ask(&ledger, &next_page(&first).expect("another page")).await;
    assert_eq!((each(&second, "prisonerNumber"), next_page(&second)), (vec![json!("A0003AA")], None));
}

#[tokio::test]
async fn an_answer_says_how_far_it_goes_and_waits_when_asked() {
    let ledger = start().await;
    // Each write is followed by a question that has to include it.
    for index in 0..20 {
        let answer = ledger.tier(&format!("A{index:04}AA")).await;
        let position = answer.header("ledger-position").expect("a position").to_owned();
        let path = format!("/prisoners/A{index:04}AA/responsibility");
        let read = ledger.client().send(Method::GET, &path, &[("Ledger-Position-At-Least", &position)], None).await;
        answered(&read);
        let reached: u64 = read.header("ledger-position").and_then(|text| text.parse().ok()).expect("a position");
        assert!(reached >= position.parse().expect("a position"));
    }
    let path = "/prisoners/A0000AA/responsibility";
    let at_least = async |position: &str| {
        ledger.client().send(Method::GET, path, &[("Ledger-Position-At-Least", position)], None).await
    };
    let never = at_least("1000000").await;
    refused(&never, 503, "views-behind");
    assert!(never.header("retry-after").is_some());
    refused(&at_least("soon").await, 400, "header-invalid");

    let projections = ask(&ledger, "/projections").await;
    for projection in answered(&projections).as_array().expect("a list") {
        assert_eq!(projection["position"], ledger.event_count().await);
        assert_eq!((&projection["lagEvents"], &projection["lagSeconds"]), (&json!(0), &json!(0.0)));
        assert_eq!(projection["state"], "CURRENT");
    }
}

#[tokio::test]
async fn an_answer_that_the_caller_has_costs_nothing() {
    let ledger = start().await;
    ledger.case("A1234BC", SHAH).await;
    for path in
        ["/prisoners/A1234BC/responsibility", "/prisoners/A1234BC/history", "/prisons/LEI/cases", "/prisons/LEI/poms"]
    {
        let first = ask(&ledger, path).await;
        let tag = first.header("etag").expect("a tag").to_owned();
        // Something else happens in between.
        ledger.register_pom(PRISON, 600_000 + i64::try_from(path.len()).expect("small"), "New, Pom", "PRISON").await;
        let head = ledger.event_count().await.to_string();
        let headers = [("If-None-Match", tag.as_str()), ("Ledger-Position-At-Least", head.as_str())];
        let again = ledger.client().send(Method::GET, path, &headers, None).await;
        if path.ends_with("/poms") {
            assert_eq!(again.status, 200, "it has changed");
        } else {
            assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{path}");
            assert_eq!(again.header("etag"), Some(tag.as_str()));
        }
        assert_eq!(again.header("cache-control"), Some("no-store"));
    }
    let before = ask(&ledger, "/prisoners/A1234BC/responsibility").await;
    ledger.tier("A1234BC").await;
    let after = ask(&ledger, "/prisoners/A1234BC/responsibility").await;
    assert_ne!(before.header("etag"), after.header("etag"));
}

#[tokio::test]
async fn handover_dates_are_worked_out_and_not_recorded() {
    let ledger = start().await;
    let count = ledger.event_count().await;
    let facts = json!({"indeterminate": false, "sentenceStartDate": "2024-01-01", "conditionalReleaseDate": "2026-01-01",
        "calculatedOn": "2024-05-20"});
    let dates = json!({"startDate": "2025-04-17", "handoverDate": "2025-04-17", "reason": "determinate",
        "earliestRelease": {"name": "CRD", "date": "2026-01-01"}, "responsibility": "CustodyOnly"});
    let one = ask_with(&ledger, Method::POST, "/handover-dates", Some(&facts)).await;
    assert_eq!(answered(&one), &dates);
    let unknown = json!({"indeterminate": false, "conditionalReleaseDate": "2026-01-01"});
    let several = ask_with(&ledger, Method::POST, "/handover-dates", Some(&json!([unknown, facts]))).await;
    assert_eq!(answered(&several)[0]["error"]["code"], "sentence-start-unknown");
    assert_eq!(answered(&several)[1], dates);
    refused(&ask_with(&ledger, Method::POST, "/handover-dates", Some(&unknown)).await, 422, "sentence-start-unknown");
    let misspelt = json!({"indeterminate": true, "ted": null});
    let alone = ask_with(&ledger, Method::POST, "/handover-dates", Some(&misspelt)).await;
    assert_eq!(refused(&alone, 400, "field-unknown").body["errors"][0]["pointer"], "#/ted");
    let among = ask_with(&ledger, Method::POST, "/handover-dates", Some(&json!([misspelt, facts]))).await;
    let error = &answered(&among)[0]["error"];
    assert_eq!(error["code"], "field-unknown");
    assert!(error["detail"].as_str().is_some_and(|detail| detail.contains("`ted`")), "{error}");
    assert_eq!(answered(&among)[1], dates);
    assert_eq!(ledger.event_count().await, count);
}

#[tokio::test]
async fn handover_dates_of_all_worked_examples_are_answered_at_once() {
    let ledger = start().await;
    let examples = include_str!("../../../crates/domain/tests/data/handover/examples.jsonl");
    let examples: Vec<Value> = examples.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let facts: Vec<&Value> = examples.iter().map(|example| &example["facts"]).collect();
    let answer = ask_with(&ledger, Method::POST, "/handover-dates", Some(&json!(facts))).await;
    let answers = answered(&answer).as_array().expect("a list");
    assert_eq!(answers.len(), examples.len());
    for (example, answer) in examples.iter().zip(answers) {
        for (name, expected) in example["expect"].as_object().expect("what to expect") {
            assert_eq!(&answer[name], expected, "{name} of {}", example["name"]);
        }
    }
}

#[tokio::test]
async fn a_person_gets_to_see_everything_held() {
    let ledger = start().await;
    ledger.case("A1234BC", SHAH).await;
    let contact =
        json!({"prisonerNumber": "A1234BC", "staffId": 7, "contactType": "POM", "effectiveAt": "2026-01-02T09:00:00Z"});
    record(&ledger, "POST /prisons/LEI/nomis-contacts", contact).await;
    let all = ask(&ledger, "/subject-access-request?prn=A1234BC").await;
    let content = &answered(&all)["content"];
    assert_eq!(content["prisonerNumber"], "A1234BC");
    assert_eq!(content["history"].as_array().map(Vec::len), Some(2));
    assert_eq!(content["history"][1]["data"]["pom"]["name"], "Shah, Priya");
    assert_eq!(content["nomisContacts"][0]["staffId"], 7);
    let some = ask(&ledger, "/subject-access-request?prn=A1234BC&fromDate=2026-02-02&toDate=2026-02-02").await;
    assert_eq!(answered(&some)["content"]["history"].as_array().map(Vec::len), Some(1));
    assert_eq!(answered(&some)["content"]["nomisContacts"], json!([]));
    for (query, status) in [
        ("prn=A1234BC&toDate=2025-01-01", 204),
        ("prn=A9999ZZ", 204),
        ("crn=X123456", 209),
        ("", 400),
        ("prn=A1234BC&crn=X123456", 400),
        ("prn=1234", 400),
        ("prn=A1234BC&fromDate=yesterday", 400),
    ] {
        let answer = ask(&ledger, &format!("/subject-access-request?{query}")).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.text);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{query}");
    }
}

/// Kills the server under a program that answers, and checks that it says so and comes back by itself.
#[tokio::test]
async fn while_postgres_is_away_it_says_when_to_come_back() {
    if is_of_the_single_program("it has a Postgres of its own") {
        return;
    }
    let dir = DataDir::new();
    let program = Program::serve(dir.path()).await;
    let client = program.client();
    let tier = json!({"tier": "B2", "source": "DELIUS", "effectiveAt": "2026-01-05T09:00:00Z"});
    recorded(&client.post("/prisoners/A1234BC/tier", &tier).await);
    let paths =
        ["/prisoners/A1234BC/responsibility", "/prisoners/A1234BC/history", "/prisons/LEI/poms", "/projections"];
    let settled = async || {
        for path in paths {
            let answer = client.get(path).await;
            match answer.status.as_u16() {
                200 => {}
                // The view may not have come to the case yet.
                404 => assert_eq!(answer.body["code"], "prisoner-unknown", "{}", answer.text),
                503 => {
                    assert!(answer.header("retry-after").is_some(), "{answer:?}");
                    return None;
                }
                _ => panic!("{path}: {answer:?}"),
            }
        }
        Some(())
    };
    eventually("answers", settled).await;
    let pid_file = dir.path().join("postgres/postmaster.pid");
    let postmaster = || -> Option<i32> { std::fs::read_to_string(&pid_file).ok()?.lines().next()?.parse().ok() };
    let killed = postmaster().expect("a server");
    signal::kill(Pid::from_raw(killed), Signal::SIGKILL).expect("kill Postgres");
    eventually("another server", async || {
        let _ = settled().await;
        postmaster().filter(|pid| *pid != killed)
    })
    .await;
    eventually("answers by another server", settled).await;
    // Each is asked by connections that were there before, too.
    for _ in 0..30 {
        for path in paths {
            assert_eq!(client.get(path).await.status, 200, "{path}");
        }
    }
    assert!(program.stop().await.success());
}

/// Every response with a description, every reference with something that it leads to, and no name for two things.
#[tokio::test]
async fn the_description_of_the_api_is_whole() {
    if is_of_the_single_program("a service describes what it answers itself") {
        return;
    }
    let ledger = start().await;
    let document = ledger.client().get("/openapi.json").await.body;
    let mut responses = 0;
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            assert!(operations.insert(operation["operationId"].as_str()), "{method} {path} has another one's id");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                responses += 1;
                let description = response["description"].as_str().unwrap_or_default();
                assert!(!description.is_empty(), "{method} {path} {status} is not described");
                let problem = "#/components/schemas/Problem";
                let as_json = &response["content"]["application/json"]["schema"]["$ref"];
                assert_ne!(as_json, problem, "{method} {path} {status}: a problem of another media type");
            }
        }
    }
    assert!(responses > 100, "{responses}");
    let tags: Vec<&Value> = document["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).collect();
    assert!(tags.iter().enumerate().all(|(index, tag)| !tags[..index].contains(tag)), "{tags:?}");
    let mut unresolved = Vec::new();
    resolve(&document, &document, &mut unresolved);
    assert!(unresolved.is_empty(), "{unresolved:?}");
    // What merging two documents would hide: the later of two schemas with one name.
    let (commands, answers) = (json!(command::openapi()), json!(query::openapi()));
    let schemas = |document: &Value| document["components"]["schemas"].as_object().expect("schemas").clone();
    let answers = schemas(&answers);
    for (name, schema) in schemas(&commands) {
        if let Some(other) = answers.get(&name) {
            assert_eq!(&schema, other, "two schemas are called {name}");
        }
    }
}

/// Collects the references of `part` that lead nowhere.
fn resolve(document: &Value, part: &Value, unresolved: &mut Vec<String>) {
    match part {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref")
                && reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer)).is_none()
            {
                unresolved.push(reference.clone());
            }
            members.values().for_each(|member| resolve(document, member, unresolved));
        }
        Value::Array(items) => items.iter().for_each(|item| resolve(document, item, unresolved)),
        _ => {}
    }
}
