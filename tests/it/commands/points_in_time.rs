//! Dates, instants, numbers and texts at the edge: one rule for each, in every body, query
//! parameter and header.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::support::{
    Client,
    ledger::{Ledger, PRISON, SHAH, assert_recorded, assert_refused},
};

/// Spellings of no date, and dates out of range.
const NO_DATES: &[&str] = &[
    "",
    " 2026-01-01",
    "2026-01-01 ",
    "2026-1-1",
    "2026-02-30",
    "2026-13-01",
    "01/03/2026",
    "20260101",
    "+2026-01-01",
    "-2026-01-01",
    "12026-01-01",
    "0001-01-01",
    "1899-12-31",
    "2200-01-01",
    "9999-12-31",
    "+262142-12-31",
];

/// Spellings of no instant, and instants out of range.
const NO_INSTANTS: &[&str] = &[
    "",
    "2026-01-01T00:00:00",
    "2026-01-01 00:00:00Z",
    "2026-01-01t00:00:00Z",
    "2026-01-01T00:00:00z",
    " 2026-01-01T00:00:00Z",
    "2026-01-01T0:00:00Z",
    "2026-1-01T00:00:00Z",
    "2026-01-01T00:00Z",
    "2026-01-01T00:00:00.Z",
    "2026-01-01T00:00:00+0100",
    "2026-01-01T00:00:00+24:00",
    "2026-01-01T00:00:00-23:60",
    "2026-01-01T24:00:00Z",
    "2026-02-30T00:00:00Z",
    "2016-12-31T23:58:60Z",
    "2016-12-31T23:59:61Z",
    "+12026-01-01T00:00:00Z",
    "-4800-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "1899-12-31T23:59:59Z",
    "1900-01-01T00:30:00+01:00",
    "2199-12-31T23:59:60Z",
    "2200-01-01T00:00:00Z",
];

/// A member of a body, or a parameter of a query, that is a date or an instant.
#[derive(Debug)]
struct MomentInput {
    method: Method,
    path: String,
    name: String,
    is_date: bool,
}

/// The checked-in OpenAPI document.
fn document() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the document")).expect("JSON")
}

/// The schema that a schema refers to, directly or as one of several.
fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let one_of = schema["oneOf"].as_array().and_then(|schemas| schemas.iter().find(|one| one.get("$ref").is_some()));
    let schema = one_of.unwrap_or(schema);
    match schema["$ref"].as_str() {
        Some(reference) => resolve(document, document.pointer(&reference[1..]).expect("a schema")),
        None => schema,
    }
}

/// Every operation with its path, in which the parameters have values.
fn operations(document: &Value) -> Vec<(Method, String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let path = path
            .replace("{prisonerNumber}", "A1234BC")
            .replace("{prisonCode}", PRISON)
            .replace("{staffId}", "485926")
            .replace("{contactId}", "0b5b2c5e-6e0a-4a0e-9c55-2a3c6d1f8e11")
            .replace("{messageId}", "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11")
            .replace("{jobId}", "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11")
            .replace("{spreadsheetId}", "63ba0b4b-2a6e-4d6c-9f59-2f6f0a3f8a11")
            .replace("{report}", "voids")
            .replace("{revision}", "0")
            .replace("{staffIds}", "485926");
        assert!(!path.contains('{'), "{path} has a parameter that has no value here");
        for (method, operation) in item.as_object().expect("operations") {
            operations.push((method.to_uppercase().parse().expect("a method"), path.clone(), operation));
        }
    }
    operations
}

/// The members of all bodies that are dates or instants.
fn members(document: &Value) -> Vec<MomentInput> {
    let mut members = Vec::new();
    for (method, path, operation) in operations(document) {
        let body = resolve(document, &operation["requestBody"]["content"]["application/json"]["schema"]);
        for (name, member) in body["properties"].as_object().unwrap_or(&Map::new()) {
            let is_date = match resolve(document, member)["format"].as_str() {
                Some("date") => true,
                Some("date-time") => false,
                _ => continue,
            };
            let input = MomentInput { method: method.clone(), path: path.clone(), name: name.clone(), is_date };
            members.push(input);
        }
    }
    members
}

/// The parameters of all queries that are dates, or dates and instants.
fn parameters(document: &Value) -> Vec<MomentInput> {
    let mut parameters = Vec::new();
    for (method, path, operation) in operations(document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().expect("a name").to_owned();
            let is_date = parameter["schema"]["format"] == "date";
            if is_date || matches!(name.as_str(), "on" | "known-at" | "from" | "to") {
                parameters.push(MomentInput { method: method.clone(), path: path.clone(), name, is_date });
            }
        }
    }
    parameters
}

async fn send(client: &Client, input: &MomentInput, value: &str) -> crate::support::HttpAnswer {
    let body = json!({ input.name.clone(): value });
    client.send(input.method.clone(), &input.path, &[], Some(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_date_and_instant_in_a_body_is_read_by_one_rule() {
    let ledger = Ledger::start_all_roles().await;
    let before = ledger.positions().await.len();
    let document = document();
    let members = members(&document);
    let names: BTreeSet<_> = members.iter().map(|member| member.name.as_str()).collect();
    assert!(members.len() > 40 && names.contains("returnsOn") && names.contains("goLiveDate"), "{names:?}");
    for member in &members {
        for wrong in if member.is_date { NO_DATES } else { NO_INSTANTS } {
            let answer = send(ledger.client(), member, wrong).await;
            let found = (answer.status.as_u16(), &answer.body["code"], &answer.body["errors"][0]["pointer"]);
            let pointer = json!(format!("#/{}", member.name));
            assert_eq!(found, (400, &json!("date-invalid"), &pointer), "{member:?} {wrong:?}: {}", answer.text);
            let sentence = answer.body["detail"].as_str().unwrap_or_default();
            assert!(sentence.contains(wrong) && sentence.contains("in the years 1900 to 2199; write a"), "{sentence}");
        }
        let right = if member.is_date {
            ["1900-01-01", "2199-12-31"]
        } else {
            ["2016-12-31T23:59:60Z", "1900-01-01T00:00:00.123456789-23:59"]
        };
        for right in right {
            let answer = send(ledger.client(), member, right).await;
            assert_ne!(answer.body["code"], "date-invalid", "{member:?} {right}: {}", answer.text);
        }
    }
    assert!(ledger.positions().await.len() - before <= 2 * members.len(), "only the right ones are recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_date_and_instant_in_a_query_is_read_by_one_rule() {
    let ledger = Ledger::start_all_roles().await;
    let document = document();
    let parameters = parameters(&document);
    assert!(parameters.len() > 20, "{parameters:?}");
    let escape = |value: &str| value.replace('+', "%2B").replace(' ', "%20");
    for MomentInput { method, path, name, is_date } in &parameters {
        // Positions, instants and dates: what is neither of them is refused.
        let wrong = if *is_date { NO_DATES.to_vec() } else { [NO_DATES, NO_INSTANTS].concat() };
        for wrong in
            wrong.into_iter().filter(|wrong| !(wrong.bytes().all(|b| b.is_ascii_digit()) && name == "known-at"))
        {
            // A blank parameter of a subject access request counts as absent.
            if path == "/subject-access-request" && wrong.trim().is_empty() {
                continue;
            }
            let uri = format!("{path}?{name}={}", escape(wrong));
            let body = (method == Method::POST).then(|| json!(["A1234BC"]));
            let answer = ledger.client().send(method.clone(), &uri, &[], body.as_ref()).await;
            let found = (answer.status.as_u16(), &answer.body["code"], &answer.body["errors"][0]["parameter"]);
            assert_eq!(found, (400, &json!("parameter-invalid"), &json!(name)), "{uri}: {}", answer.text);
        }
    }
    // The `+` of an offset may arrive without its escape.
    let answer = ledger.client().get("/prisons/LEI/poms?on=2026-01-01T00:00:00+01:00").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_written_without_a_plus_sign() {
    let ledger = Ledger::start_all_roles().await;
    ledger.tier("A1234BC").await;
    let get = async |path: &str| ledger.client().get(path).await;
    assert_refused(&get("/events?after=%2B0").await, 400, "parameter-invalid");
    assert_refused(&get("/prisons/LEI/cases?limit=%2B5").await, 400, "parameter-invalid");
    assert_refused(&get("/prisons/LEI/cases?pom=%2B485926").await, 400, "parameter-invalid");
    assert_refused(&get("/prisons/LEI/cases?known-at=%2B5").await, 400, "parameter-invalid");
    assert_refused(&get("/prisons/LEI/handovers?within=%2B5d").await, 400, "parameter-invalid");
    assert_refused(&get("/poms/%2B485926/cases").await, 400, "identifier-invalid");
    assert_refused(&get("/prisoners/A1234BC/history/%2B0").await, 400, "identifier-invalid");
    for (name, value) in [("If-Match", "\"+0\""), ("If-Match", "\"\"")] {
        let body = json!({"tier": "A"});
        let answer = ledger.client().send(Method::POST, "/prisoners/A1234BC/tier", &[(name, value)], Some(&body)).await;
        assert_refused(&answer, 400, "header-invalid");
    }
    let header = [("Ledger-Position-At-Least", "+1")];
    let answer = ledger.client().send(Method::GET, "/prisons/LEI/poms", &header, None).await;
    assert_refused(&answer, 400, "header-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leap_second_is_recorded_as_the_first_second_of_the_next_day() {
    let ledger = Ledger::start_all_roles().await;
    let tier = async |tier: &str, at: &str| {
        let body = json!({"tier": tier, "source": "MANUAL", "effectiveAt": at});
        ledger.client().post("/prisoners/A0001AA/tier", &body).await
    };
    let first = tier("C1", "2016-12-31T23:59:60Z").await;
    assert_eq!(assert_recorded(&first).body["events"][0]["effectiveAt"], "2017-01-01T00:00:00Z");
    let second = tier("D1", "2017-01-01T00:00:00Z").await;
    let position = assert_recorded(&second).header("ledger-position").expect("a position").to_owned();
    let repeated = tier("D1", "2016-12-31T23:59:60Z").await;
    assert_eq!(repeated.status.as_u16() / 100, 2, "{}", repeated.text);
    // The views keep up, and the later of two entries at one instant holds.
    let header = [("Ledger-Position-At-Least", position.as_str())];
    let answer = ledger.client().send(Method::GET, "/prisoners/A0001AA/responsibility", &header, None).await;
    assert_eq!((answer.status.as_u16(), &answer.body["tier"]), (200, &json!("D1")), "{}", answer.text);
    assert_eq!(ledger.client().get("/health/readiness").await.status, 200);
}

#[tokio::test]
async fn a_date_beyond_the_years_1900_to_2199_is_refused() {
    let ledger = Ledger::start().await;
    let before = ledger.event_count().await;
    for date in ["+262142-12-31", "2200-01-01", "1899-12-31", "0001-01-01"] {
        let status = json!({"status": "UNAVAILABLE", "returnsOn": date});
        let answer = ledger.client().put(&format!("/prisons/LEI/poms/{SHAH}/status"), &status).await;
        assert_refused(&answer, 400, "date-invalid");
        let joined = json!({"goLiveDate": date, "estate": "MENS_OPEN"});
        assert_refused(&ledger.client().post("/prisons/WSI/onboarding", &joined).await, 400, "date-invalid");
    }
    assert_eq!(ledger.event_count().await, before, "nothing is recorded");
}

/// JSON keeps whole numbers exactly up to 2^53. A larger one would be recorded as another number,
/// or as one that cannot be read again, which stops every view.
#[tokio::test]
async fn a_booking_that_json_does_not_keep_exactly_is_refused() {
    let ledger = Ledger::start().await;
    ledger.tier("A1234BC").await;
    let allocate = async |booking: Value| {
        let allocation = json!({
            "nomis_staff_id": SHAH, "nomis_offender_id": "A1234BC", "nomis_booking_id": booking,
            "allocated_at_tier": "C1", "prison": PRISON,
        });
        ledger.client().post("/allocation", &allocation).await
    };
    let before = ledger.event_count().await;
    for booking in [
        json!(i64::MAX),
        json!(i64::MIN),
        json!(1_i64 << 53),
        json!("9223372036854775807"),
        json!("+5"),
        json!(1e30),
        json!(0.5),
        json!(true),
        json!([]),
    ] {
        let answer = allocate(booking.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["errors"][0]["pointer"]),
            (400, &json!("#/nomis_booking_id")),
            "{booking}: {}",
            answer.text
        );
        assert!(answer.text.contains("not a whole number"), "{booking}: {}", answer.text);
    }
    assert_eq!(ledger.event_count().await, before, "nothing is recorded");
    let answer = allocate(json!((1_i64 << 53) - 1)).await;
    assert_eq!(answer.body["status"], "ok", "{}", answer.text);
    let recorded = ledger.case_events("A1234BC").await;
    let data = serde_json::to_value(&recorded.last().expect("an event").entry.event).expect("JSON");
    assert_eq!(data["data"]["nomisBookingId"], json!((1_i64 << 53) - 1), "{data}");
}
