//! What the command side accepts, every reader can hold: the projector writes it, a rebuild builds
//! the same, every format of an export has it, and pandas and DuckDB read those.
//!
//! Random requests with texts, dates, instants and numbers from the edges of what can be written go
//! to the program. It may refuse each of them with a 400 or a 422. What it records must come
//! through.

use std::{collections::BTreeMap, path::Path};

use event_log::{ExpectedRevision, NewEvent, Salt, contract::made_up_event_id};
use projector::VIEWS;
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    Client, HttpAnswer, Program, TestDatabase, database, dump_views,
    exported_file::{Cells, FORMATS, read},
    python::{python_with, run_script},
    run,
};

const REQUESTS: usize = 600;

const PRISONS: [&str; 2] = ["LEI", "MDI"];

/// The POM who is often away, and therefore gets no cases.
const AWAY_POM: i64 = 3;

/// A request to record something.
#[derive(Debug, Clone)]
struct CommandRequest {
    method: Method,
    path: String,
    body: Value,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Okafor, Grace".to_owned()),
        prop::sample::select(vec![
            "=cmd()",
            "+1",
            "-1",
            "@x",
            "\t=1",
            "'=1",
            "''",
            "a\0b",
            "a\u{1b}[2J",
            "two\nlines",
            "\r",
            "a\r\nb",
            "said \"no\"",
            "\"",
            "NULL",
            "null",
            "NaN",
            "\\N",
            "\\.",
            "{\"a\":1}",
            "a,b;c\td",
            "\u{2028}",
            "\u{feff}x",
            "\u{ffff}",
            "\u{85}",
            "\u{202e}x",
            "👩\u{200d}🚒",
            "é",
            "e\u{301}",
            " x ",
            "",
        ])
        .prop_map(str::to_owned),
        "\\PC{1,30}",
        ".{1,30}",
        (170..180_usize).prop_map(|len| "é".repeat(len)),
    ]
}

fn date() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "1900-01-01",
            "2199-12-31",
            "1899-12-31",
            "2200-01-01",
            "0001-01-01",
            "0000-01-01",
            "9999-12-31",
            "+262142-12-31",
            "-4713-01-01",
            "1582-10-10",
            "1968-02-18",
            "1970-01-01",
            "2000-01-01",
            "2024-02-29",
            "2026-02-29",
            "2026-1-1",
            " 2026-01-01",
            "2026-01-01T00:00:00Z",
            "1677-09-20",
            "2262-04-12",
        ])
        .prop_map(str::to_owned),
        (1900..2200, 1..13, 1..29).prop_map(|(year, month, day)| format!("{year}-{month:02}-{day:02}")),
    ]
}

fn instant() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => prop::sample::select(vec![
            "2016-12-31T23:59:60Z", "2016-12-31T23:59:60.999999999Z", "2017-01-01T08:59:60+09:00",
            "2017-01-01T00:00:00Z", "2016-12-31T23:59:59.999999Z", "2016-12-31T23:58:60Z", "1900-01-01T00:00:00Z",
            "1899-12-31T23:59:59.9999999Z", "0001-01-01T00:00:00Z", "-4800-01-01T00:00:00Z", "2026-01-01T00:00:00.1234561Z",
            "2026-01-01T00:00:00.1234569Z", "2000-01-01T00:00:00Z", "1969-12-31T23:59:59.9999999Z",
            "2026-03-29T01:30:00+01:00", "2026-10-25T01:30:00Z", "2026-01-01T00:00:00-23:59", "2026-01-01 00:00:00Z",
            "2026-01-01t00:00:00z", "2199-12-31T23:59:60Z", "9999-12-31T23:59:59Z",
        ])
        .prop_map(str::to_owned),
        2 => (2016..2026, 1..13, 1..29, 0..2_000_000_000_u32).prop_map(|(year, month, day, nanos)| {
            format!("{year}-{month:02}-{day:02}T12:00:{:02}.{:09}Z", nanos / 1_000_000_000, nanos % 1_000_000_000)
        }),
    ]
}

fn path_and_body() -> impl Strategy<Value = (&'static str, String, Value)> {
    let case = || (0..12_u8).prop_map(|index| format!("/prisoners/A{index:04}AA"));
    let prison = || prop::sample::select(PRISONS.to_vec());
    let staff_id = || prop_oneof![4 => 1..5_i64, 1 => Just((1 << 53) - 1), 1 => Just(1 << 53)];
    let pom_kind = || prop::sample::select(vec!["PRISON", "PROBATION"]);
    let detail = prop_oneof![Just("Known to the team".to_owned()), text()];
    let booking = prop::sample::select(vec![
        json!(1),
        json!(0),
        json!(-1),
        json!((1_i64 << 53) - 1),
        json!((1_i64 << 53) + 1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!("9007199254740991"),
        json!("+5"),
        json!(null),
    ]);
    prop_oneof![
        1 => (prison(), date()).prop_map(|(prison, date)| {
            ("POST", format!("/prisons/{prison}/onboarding"), json!({"goLiveDate": date, "estate": "MENS_OPEN"}))
        }),
        1 => (prison(), staff_id(), text(), pom_kind(), text()).prop_map(|(prison, staff_id, name, kind, email)| {
            let pom = json!({"staffId": staff_id, "name": name, "kind": kind, "email": email, "workingPattern": 0.3});
            ("POST", format!("/prisons/{prison}/poms"), pom)
        }),
        1 => (prison(), 1..5_i64, text()).prop_map(|(prison, staff_id, name)| {
            ("PATCH", format!("/prisons/{prison}/poms/{staff_id}"), json!({ "name": name }))
        }),
        1 => (prison(), date(), text()).prop_map(|(prison, date, reason)| {
            let status = json!({"status": "UNAVAILABLE", "returnsOn": date, "reason": reason});
            ("PUT", format!("/prisons/{prison}/poms/{AWAY_POM}/status"), status)
        }),
        1 => (prison(), text(), text(), staff_id()).prop_map(|(prison, name, kind, staff_id)| {
            let contact = json!({"prisonerNumber": "A0001AA", "name": name, "contactType": kind, "staffId": staff_id});
            ("POST", format!("/prisons/{prison}/nomis-contacts"), contact)
        }),
        2 => (case(), prison()).prop_map(|(case, prison)| {
            ("POST", format!("{case}/tier"), json!({"tier": "C1", "source": "DELIUS", "prison": prison}))
        }),
        3 => (case(), prison(), 1..3_i64, detail, text()).prop_map(|(case, prison, staff_id, detail, note)| {
            let allocation = json!({
                "prison": prison, "pom": {"staffId": staff_id}, "note": note,
                "overrideReasons": ["SUITABILITY", "OTHER"], "suitabilityDetail": detail, "overrideDetail": detail,
            });
            ("POST", format!("{case}/allocations"), allocation)
        }),
        1 => (case(), text(), text()).prop_map(|(case, name, team)| {
            let manager = json!({"name": name, "email": team, "team": team, "ldu": name});
            ("PUT", format!("{case}/community-manager"), manager)
        }),
        1 => (case(), any::<bool>(), date(), date(), date(), date()).prop_map(
            |(case, indeterminate, start, end, day, on)| {
                let facts = json!({
                    "indeterminate": indeterminate, "sentenceStartDate": start, "conditionalReleaseDate": end,
                    "tariffDate": end, "targetHearingDate": day, "openPrisonRulesApply": true, "prisonArrivalDate": day,
                    "calculatedOn": on,
                });
                ("POST", format!("{case}/handover-plans"), facts)
            }
        ),
        1 => (case(), text()).prop_map(|(case, detail)| {
            let decision = json!({"responsible": "PROBATION", "reason": "OTHER", "detail": detail});
            ("PUT", format!("{case}/responsibility-override"), decision)
        }),
        1 => (case(), prison(), 1..5_i64, booking, text()).prop_map(|(case, prison, staff_id, booking, note)| {
            let number = case.strip_prefix("/prisoners/").unwrap_or_default();
            let allocation = json!({
                "nomis_staff_id": staff_id, "nomis_offender_id": number, "nomis_booking_id": booking,
                "allocated_at_tier": "C", "prison": prison, "note": note, "override_reason": note, "created_by": "frank",
            });
            ("POST", "/allocation".to_owned(), allocation)
        }),
        1 => case().prop_map(|case| ("POST", format!("{case}/releases"), json!({}))),
    ]
}

fn command_request() -> impl Strategy<Value = CommandRequest> {
    let effective_at = prop_oneof![1 => Just(None), 2 => instant().prop_map(Some)];
    (path_and_body(), effective_at).prop_map(|((method, path, mut body), effective_at)| {
        if let Some(effective_at) = effective_at.filter(|_| path != "/allocation") {
            body["effectiveAt"] = json!(effective_at);
        }
        CommandRequest { method: method.parse().expect("a method"), path, body }
    })
}

/// Random requests, the same in each run.
fn requests() -> Vec<CommandRequest> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[13; 32]);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    prop::collection::vec(command_request(), REQUESTS).new_tree(&mut runner).expect("requests").current()
}

async fn register_prisons(client: &Client) {
    for prison in PRISONS {
        let at = "1900-01-01T00:00:00Z";
        let joined = json!({"goLiveDate": "1900-01-01", "estate": "MENS_CLOSED", "effectiveAt": at});
        assert_eq!(client.post(&format!("/prisons/{prison}/onboarding"), &joined).await.status, 201);
        for staff_id in [1, 2, AWAY_POM] {
            let pom = json!({"staffId": staff_id, "name": "Okafor, Grace", "kind": "PROBATION", "effectiveAt": at});
            assert_eq!(client.post(&format!("/prisons/{prison}/poms"), &pom).await.status, 201);
        }
    }
}

/// Sends the requests, and returns how many events of each type were recorded, and the position of
/// the last.
async fn send_all(client: &Client) -> (BTreeMap<String, usize>, u64) {
    let mut recorded = BTreeMap::new();
    let mut position = 0;
    for CommandRequest { method, path, body } in requests() {
        let answer = client.send(method.clone(), &path, &[], Some(&body)).await;
        let is_taken_or_refused = matches!(answer.status.as_u16(), 200 | 201 | 400 | 404 | 422);
        assert!(is_taken_or_refused, "{method} {path} {body}: {}", answer.text);
        let last = answer.header("ledger-position").and_then(|position| position.parse().ok());
        position = position.max(last.unwrap_or_default());
        for event in answer.body["events"].as_array().into_iter().flatten() {
            check_is_normalised(event);
            *recorded.entry(event["type"].as_str().expect("a type").to_owned()).or_default() += 1;
        }
        if path == "/allocation" && answer.body["status"] == "ok" {
            *recorded.entry("first API".to_owned()).or_default() += 1;
        }
    }
    (recorded, position)
}

/// The instants of an event are such as every store and view can hold.
#[track_caller]
fn check_is_normalised(event: &Value) {
    let at = event["effectiveAt"].as_str().expect("an instant");
    assert!(!at.contains(":60") && at.len() <= "2026-01-01T00:00:00.000000Z".len() && at.ends_with('Z'), "{event}");
}

async fn project_to(client: &Client, position: u64) {
    let position = position.to_string();
    let ask = async || -> HttpAnswer {
        client.send(Method::GET, "/projections", &[("Ledger-Position-At-Least", &position)], None).await
    };
    let answer = ask().await;
    // One wait of the program may be too short on a busy machine.
    let answer = if answer.status == 503 { ask().await } else { answer };
    assert_eq!(answer.status, 200, "{}", answer.text);
}

async fn tool(database: &TestDatabase, arguments: &[&str]) -> String {
    // The events alone are no matter of the views.
    let mut stores = database.arguments().to_vec();
    if arguments.starts_with(&["replay"]) {
        stores = database.store.arguments().to_vec();
    }
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let ran = run(&[arguments, &stores].concat()).await;
    assert_eq!(ran.status.code(), Some(0), "{arguments:?}: {}\n{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// The rows of a file, with null for an empty text, as CSV has it.
fn rows(cells: Cells) -> Vec<Vec<Option<String>>> {
    let mut rows = cells.rows;
    for cell in rows.iter_mut().flatten() {
        *cell = cell.take().filter(|text| !text.is_empty());
    }
    rows
}

/// Exports every view and the log in every format, and checks that the formats agree.
async fn export_all(database: &TestDatabase, directory: &Path) -> Vec<String> {
    let mut expected = Vec::new();
    for name in VIEWS.map(|view| view.name()).into_iter().chain(["log"]) {
        let mut formats = FORMATS.iter().map(|format| directory.join(format!("{name}.{format}")));
        let files: Vec<_> = formats.by_ref().collect();
        for file in &files {
            tool(database, &["export", name, "--output", file.to_str().expect("a path in UTF-8")]).await;
        }
        let rows: Vec<_> = files.iter().map(|file| rows(read(file))).collect();
        for (file, found) in files.iter().zip(&rows) {
            assert_eq!(*found, rows[0], "{}", file.display());
        }
        expected.push(format!("{name} {}", rows[0].len()));
    }
    expected.sort();
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_accepted_comes_through_to_every_reader() {
    let database = database().await;
    let program = Program::serve_all(&database).await;
    let client = program.client();
    register_prisons(client).await;
    let (recorded, position) = send_all(client).await;
    println!("{recorded:?}");
    // Enough of each kind of value has come so far.
    for (event, count) in [
        ("PomRegistered", 1),
        ("PomDetailsChanged", 5),
        ("PomStatusChanged", 3),
        ("NomisContactFound", 5),
        ("TierAssigned", 10),
        ("AllocationMade", 3),
        ("CommunityManagerAssigned", 5),
        ("HandoverPlanned", 3),
        ("ResponsibilityOverridden", 3),
        ("first API", 3),
    ] {
        assert!(recorded.get(event).is_some_and(|found| *found >= count), "{event} in {recorded:?}");
    }

    project_to(client, position).await;
    let projected = dump_views(&database.pool, "views").await;
    tool(&database, &["projections", "verify"]).await;
    tool(&database, &["projections", "rebuild"]).await;
    assert_eq!(dump_views(&database.pool, "views").await, projected, "a rebuild builds the same");

    check_exports(&database).await;
}

/// An event as an earlier version of the program may have stored it.
fn stored_event(number: u128, type_name: &str, effective_at: &str, data: &Value) -> NewEvent {
    let command_id = Uuid::from_u128(number);
    let metadata = json!({
        "schemaVersion": 1, "effectiveAt": effective_at, "recordedBy": {"username": "HOMD_LEI", "client": "test"},
        "commandId": command_id, "requestDigest": "0", "correlationId": Uuid::nil(), "salt": Salt::random(),
    });
    NewEvent {
        event_id: made_up_event_id(command_id, 0),
        type_name: type_name.to_owned(),
        recorded_at: "2026-11-01T09:00:00Z".parse().expect("an instant"),
        metadata: metadata.to_string().into(),
        data: data.to_string().into(),
    }
}

/// Leap seconds, absurd dates and control characters were accepted once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_once_is_still_read() {
    let database = database().await;
    let log = database.log().await;
    let pom = json!({"staffId": 1, "name": "Okafor\u{0}\u{1b}", "kind": "PRISON", "workingPattern": 1.0});
    let away = json!({"staffId": 1, "status": "UNAVAILABLE", "returnsOn": "+262142-12-31"});
    let leap_second = "2016-12-31T23:59:60.123456789Z";
    let prison = vec![
        stored_event(1, "PrisonJoinedOmic", leap_second, &json!({"goLiveDate": "0001-01-01", "estate": "WOMENS"})),
        stored_event(2, "PomRegistered", "2017-01-01T00:00:00.123456Z", &pom),
        stored_event(3, "PomStatusChanged", "2017-01-02T00:00:00Z", &away),
    ];
    let case = vec![
        stored_event(4, "TierAssigned", leap_second, &json!({"tier": "C1", "source": "MANUAL"})),
        stored_event(5, "TierAssigned", "2017-01-01T00:00:00.123456Z", &json!({"tier": "D1", "source": "MANUAL"})),
    ];
    for (stream, events) in [("prison-LEI", prison), ("prisoner-A0001AA", case)] {
        let stream = stream.parse().expect("a stream");
        log.append(&stream, ExpectedRevision::NoStream, events).await.expect("append");
    }
    let program = Program::serve_all(&database).await;
    let client = program.client();
    let tier = json!({"tier": "B1", "source": "MANUAL", "effectiveAt": "2018-01-01T00:00:00Z"});
    let answer = client.post("/prisoners/A0001AA/tier", &tier).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let position = answer.header("ledger-position").and_then(|position| position.parse().ok()).expect("a position");
    project_to(client, position).await;
    let history = client.get("/prisoners/A0001AA/history").await;
    assert!(history.text.contains("2017-01-01T00:00:00.123456Z") && !history.text.contains(":60"), "{}", history.text);
    tool(&database, &["projections", "verify"]).await;
    check_exports(&database).await;
    let raw = tool(&database, &["replay", "--raw"]).await;
    assert_eq!(raw.matches(leap_second).count(), 2, "the log keeps what was written: {raw}");
}

/// Exports everything, and reads it with pandas and DuckDB.
async fn check_exports(database: &TestDatabase) {
    let directory = tempfile::tempdir().expect("a directory");
    let expected = export_all(database, directory.path()).await;
    let Some(python) = python_with("duckdb, pandas, pyarrow") else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/data/read_exports.py").to_owned();
    let printed = run_script(python, vec![script, directory.path().to_str().expect("UTF-8").to_owned()]).await;
    let mut printed: Vec<&str> = printed.lines().collect();
    printed.sort_unstable();
    assert_eq!(printed, expected);
}
