//! The answers of a running ledger while a case or a prison is aside, and after it is mended.

use reqwest::Method;
use serde_json::{Value, json};

use super::{REFUSED, refuse};
use crate::support::{
    HttpAnswer, eventually,
    ledger::{Ledger, NOVAK, PRISON, SHAH, assert_recorded, assert_refused},
    projections::execute,
};

/// A running ledger with two cases of one POM. Postgres refuses rows from now on.
async fn ledger() -> Ledger {
    let ledger = Ledger::start_all_roles().await;
    ledger.case("A0001AA", SHAH).await;
    ledger.case("A0002AA", SHAH).await;
    refuse(&ledger.database.pool).await;
    ledger
}

/// Sends a command and returns the position of its event.
async fn record(ledger: &Ledger, method: Method, path: &str, body: &Value) -> u64 {
    let answer = ledger.client().send(method, path, &[], Some(body)).await;
    let position = assert_recorded(&answer).header("ledger-position").expect("a position");
    position.parse().expect("a number")
}

/// Gives a case a COM that its rows are refused with.
async fn damage_case(ledger: &Ledger, number: &str) -> u64 {
    let body = json!({"name": REFUSED, "effectiveAt": "2026-03-01T09:00:00Z"});
    record(ledger, Method::PUT, &format!("/prisoners/{number}/community-manager"), &body).await
}

/// Asks once the views have come to a position.
async fn ask(ledger: &Ledger, method: Method, path: &str, body: Option<&Value>, position: u64) -> HttpAnswer {
    let headers = [("Ledger-Position-At-Least", &*position.to_string())];
    ledger.client().send(method, path, &headers, body).await
}

async fn get(ledger: &Ledger, path: &str, position: u64) -> HttpAnswer {
    ask(ledger, Method::GET, path, None, position).await
}

#[track_caller]
fn assert_damaged(answer: &HttpAnswer, code: &str, event: &str, position: u64) {
    let detail = assert_refused(answer, 500, code).body["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains(event) && detail.contains(&format!("position {position},")), "{detail}");
}

/// The questions about a prison, a POM or all of the ledger that leave nothing out silently.
pub(super) const LISTS: [&str; 9] = [
    "/prisons/LEI/cases",
    "/prisons/LEI/unallocated",
    "/prisons/LEI/handovers",
    "/prisons/LEI/poms",
    "/prisons/LEI/nomis-contacts",
    "/prisons/LEI/statistics",
    "/poms/485928/cases",
    "/nomis-contacts",
    "/projections",
];

async fn assert_lists_say(ledger: &Ledger, streams_aside: &str, position: u64) {
    let known = [String::new(), format!("?known-at={position}")];
    for path in LISTS.iter().flat_map(|path| known.iter().map(move |known| format!("{path}{known}"))) {
        if path.starts_with("/projections?") {
            continue;
        }
        let answer = get(ledger, &path, position).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!(answer.header("ledger-streams-aside"), Some(streams_aside), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_case_answers_500_until_it_is_mended_and_the_others_go_on() {
    let ledger = ledger().await;
    let client = ledger.client();
    assert_lists_say(&ledger, "0", 1).await;
    let position = damage_case(&ledger, "A0001AA").await;
    let event = "CommunityManagerAssigned";
    for path in [
        "/prisoners/A0001AA/responsibility",
        "/prisoners/A0001AA/responsibility?on=2026-02-10",
        "/prisoners/A0001AA/responsibility/periods",
        "/api/allocation/A0001AA",
        "/api/allocation/A0001AA/primary_pom",
        "/api/handovers/A0001AA",
    ] {
        assert_damaged(&get(&ledger, path, position).await, "case-damaged", event, position);
    }
    for path in ["/prisoners/A0002AA/responsibility", "/api/allocation/A0002AA", "/prisoners/A0001AA/history"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    assert_refused(&client.get("/prisoners/A0009AA/responsibility").await, 404, "prisoner-unknown");
    // The log has the case, as it was while it waited.
    let suggested = client.get("/prisons/LEI/unallocated/A0001AA/suggestions?on=2026-01-20").await;
    assert_eq!((suggested.status.as_u16(), suggested.header("ledger-streams-aside")), (200, Some("1")));

    let numbers = json!(["A0002AA", "A0001AA", "A0009AA"]);
    let bulk = ask(&ledger, Method::POST, "/responsibilities", Some(&numbers), position).await;
    assert_eq!(bulk.status, 200, "{}", bulk.text);
    assert_eq!(bulk.body[0]["responsible"]["staffId"], SHAH, "{}", bulk.text);
    assert_eq!(bulk.body[1]["prisonerNumber"], "A0001AA", "{}", bulk.text);
    assert_eq!(bulk.body[1]["error"]["code"], "case-damaged", "{}", bulk.text);
    assert_eq!(bulk.body[2]["error"]["code"], "prisoner-unknown", "{}", bulk.text);

    // The first allocation API leaves out what it does not know, which would look like an answer.
    let active = client.post("/allocation/active", &json!(["A0002AA", "A0001AA"])).await;
    assert_damaged(&active, "case-damaged", event, position);
    let active = client.post("/allocation/active", &json!(["A0002AA", "A0009AA"])).await;
    assert_eq!((active.status.as_u16(), active.header("ledger-streams-aside")), (200, Some("1")), "{}", active.text);
    assert_eq!(active.body["data"]["A0002AA"]["nomis_staff_id"], SHAH, "{}", active.text);
    assert_damaged(&client.get(&format!("/poms/{NOVAK},{SHAH}")).await, "case-damaged", event, position);
    let poms = client.get(&format!("/poms/{NOVAK}")).await;
    assert_eq!((poms.status.as_u16(), poms.header("ledger-streams-aside")), (200, Some("1")), "{}", poms.text);
    assert_lists_say(&ledger, "1", position).await;

    let health = client.get("/health").await;
    assert_eq!((health.status.as_u16(), &health.body["status"]), (200, &json!("DEGRADED")), "{}", health.text);
    let views = &health.body["components"]["views"];
    assert_eq!(
        (&views["status"], &views["details"]["streamsAside"]),
        (&json!("DEGRADED"), &json!(1)),
        "{}",
        health.text
    );
    let readiness = client.get("/health/readiness").await;
    assert_eq!((readiness.status.as_u16(), &readiness.body), (200, &json!({"status": "UP"})));
    let log = ledger.program.log();
    assert!(log.contains("a stream is put aside") && log.contains(&position.to_string()), "{log}");
    assert!(!log.contains("A0001AA"), "a log names no person: {log}");

    let void = json!({"revision": 2, "reason": "Refused by the views."});
    let position = record(&ledger, Method::POST, "/prisoners/A0001AA/voids", &void).await;
    let answer = get(&ledger, "/prisoners/A0001AA/responsibility", position).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["responsible"]["staffId"]),
        (200, &json!(SHAH)),
        "{}",
        answer.text
    );
    assert_lists_say(&ledger, "0", position).await;
    eventually("a sound ledger", async || (client.get("/health").await.body["status"] == "UP").then_some(())).await;
}

/// A case of another prison goes aside, so the rows of the list stay as they were.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_sent_again_once_the_number_of_streams_aside_has_changed() {
    let ledger = ledger().await;
    ledger.join_omic("MDI").await;
    let case = json!({"tier": "C1", "source": "DELIUS", "prison": "MDI", "effectiveAt": "2026-01-05T09:00:00Z"});
    let known = record(&ledger, Method::POST, "/prisoners/A0006AA/tier", &case).await;
    let poll = async |path: &str, tag: &str, position: u64| {
        let headers = [("If-None-Match", tag), ("Ledger-Position-At-Least", &*position.to_string())];
        let answer = ledger.client().send(Method::GET, path, &headers, None).await;
        let header = |name| answer.header(name).unwrap_or_default().to_owned();
        (answer.status.as_u16(), header("ledger-streams-aside"), header("etag"))
    };
    let rows_stay = |path: &&&str| **path != "/projections";
    let paths =
        LISTS.iter().filter(rows_stay).flat_map(|path| [(*path).to_owned(), format!("{path}?known-at={known}")]);
    let mut tags = Vec::new();
    for path in paths.chain([format!("/poms/{NOVAK}")]) {
        let (status, streams, tag) = poll(&path, "none", known).await;
        assert_eq!((status, streams.as_str()), (200, "0"), "{path}");
        tags.push((path, tag));
    }
    let position = damage_case(&ledger, "A0006AA").await;
    for (path, before) in tags {
        let (status, streams, tag) = poll(&path, &before, position).await;
        assert_eq!((status, streams.as_str()), (200, "1"), "{path}");
        assert_eq!(poll(&path, &tag, position).await, (304, "1".to_owned(), tag), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_and_the_projector_say_how_many_streams_are_aside() {
    let ledger = ledger().await;
    let metric = async |value: &str| {
        let line = format!("ledger_projection_streams_aside {value}");
        let client = ledger.client();
        eventually(&line, async || client.get("/metrics").await.text.contains(&line).then_some(())).await;
    };
    metric("0").await;
    let position = damage_case(&ledger, "A0001AA").await;
    get(&ledger, "/prisoners/A0001AA/responsibility", position).await;
    metric("1").await;
    let text = ledger.client().get("/metrics").await.text;
    assert!(text.contains("http_problems_total{code=\"case-damaged\"} 1"), "{text}");
    assert!(!text.contains("ledger_component_up{component=\"views\"} 0"), "{text}");
}

/// The past of a merged case is that of its numbers together, so none of them has an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_merged_case_is_damaged_under_each_of_its_numbers() {
    let ledger = ledger().await;
    ledger.case("A0004AA", NOVAK).await;
    ledger.tier("A0003AA").await;
    let allocation = json!({
        "prison": PRISON, "pom": {"staffId": SHAH}, "note": REFUSED, "effectiveAt": "2026-02-02T09:00:00Z",
    });
    let damage = record(&ledger, Method::POST, "/prisoners/A0003AA/allocations", &allocation).await;
    ledger.tier("A0005AA").await;
    for (survivor, removed) in [("A0002AA", "A0001AA"), ("A0002AA", "A0003AA"), ("A0005AA", "A0002AA")] {
        let merge = json!({"removedNumber": removed});
        assert_recorded(&ledger.client().post(&format!("/prisoners/{survivor}/merges"), &merge).await);
    }
    let position = ledger.wait_for_policies().await;
    for number in ["A0001AA", "A0002AA", "A0003AA", "A0005AA"] {
        for path in ["responsibility", "responsibility/periods"] {
            let answer = get(&ledger, &format!("/prisoners/{number}/{path}"), position).await;
            assert_damaged(&answer, "case-damaged", "AllocationMade", damage);
            let detail = answer.body["detail"].as_str().unwrap_or_default();
            assert!(detail.contains("A0003AA"), "the number that the entry is recorded under: {detail}");
        }
        let active = ledger.client().post("/allocation/active", &json!([number])).await;
        assert_damaged(&active, "case-damaged", "AllocationMade", damage);
        let bulk = ledger.client().post("/responsibilities", &json!([number])).await;
        assert_eq!(bulk.body[0]["error"]["code"], "case-damaged", "{}", bulk.text);
    }
    // The holding is of the survivor, and its allocation of the number that is aside.
    assert_damaged(&get(&ledger, &format!("/poms/{SHAH}"), position).await, "case-damaged", "AllocationMade", damage);
    let other = get(&ledger, "/prisoners/A0004AA/responsibility", position).await;
    assert_eq!(other.status, 200, "{}", other.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roster_of_a_damaged_prison_answers_500_and_its_cases_go_on() {
    let ledger = ledger().await;
    ledger.join_omic("MDI").await;
    let case = json!({"tier": "C1", "source": "DELIUS", "prison": "MDI", "effectiveAt": "2026-01-05T09:00:00Z"});
    record(&ledger, Method::POST, "/prisoners/A0006AA/tier", &case).await;
    ledger.register_pom("MDI", 8, "Patel, Asha", "PRISON").await;
    let contact = json!({"prisonerNumber": "A0008AA", "staffId": 8, "name": "Patel, Asha", "contactType": "POM"});
    record(&ledger, Method::POST, "/prisons/MDI/nomis-contacts", &contact).await;
    let allocation = json!({"prison": "MDI", "pom": {"staffId": 8}, "effectiveAt": "2026-02-02T09:00:00Z"});
    let known = record(&ledger, Method::POST, "/prisoners/A0006AA/allocations", &allocation).await;
    let pom = json!({"staffId": 7, "name": REFUSED, "kind": "PRISON", "effectiveAt": "2019-01-01T00:00:00Z"});
    let position = record(&ledger, Method::POST, "/prisons/MDI/poms", &pom).await;
    for path in ["/prisons/MDI/poms", "/prisons/MDI/nomis-contacts", "/poms/7", "/poms/8"] {
        assert_damaged(&get(&ledger, path, position).await, "prison-damaged", "PomRegistered", position);
    }
    // No list as it was known and no answer to the person leaves out what the log has.
    let tier = json!({"tier": "B1", "source": "DELIUS", "effectiveAt": "2026-02-20T09:00:00Z"});
    let changed = record(&ledger, Method::POST, "/prisoners/A0006AA/tier", &tier).await;
    let person = get(&ledger, "/subject-access-request?prn=A0008AA", changed).await;
    assert_eq!(person.body["content"]["nomisContacts"][0]["surname"], "Patel", "{}: {}", person.status, person.text);
    for path in [
        "/prisons/MDI/cases".to_owned(),
        "/poms/8/cases".to_owned(),
        format!("/prisons/MDI/cases?known-at={known}"),
        format!("/poms/8/cases?known-at={known}"),
    ] {
        let answer = get(&ledger, &path, changed).await;
        assert_eq!(answer.body[0]["prisonerNumber"], "A0006AA", "{path}: {}", answer.text);
        assert_eq!(answer.header("ledger-streams-aside"), Some("1"), "{path}");
    }
    let listed = get(&ledger, &format!("/prisons/MDI/unallocated?known-at={}", known - 1), changed).await;
    assert_eq!(listed.body[0]["prisonerNumber"], "A0006AA", "{}", listed.text);
    assert_eq!(get(&ledger, "/prisoners/A0006AA/responsibility", position).await.status, 200);
    assert_eq!(get(&ledger, &format!("/poms/{SHAH}"), position).await.status, 200);
    assert_lists_say(&ledger, "1", position).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_contacts_are_aside_the_case_and_the_contacts_of_others_go_on() {
    let ledger = ledger().await;
    let refused = "ALTER TABLE views.nomis_contact ADD CONSTRAINT refused CHECK (contact_type <> 'REFUSED')";
    execute(&ledger.database.pool, refused).await;
    let contact = |number: &str, kind: &str| json!({"prisonerNumber": number, "staffId": 8, "contactType": kind});
    let path = "/prisons/LEI/nomis-contacts";
    record(&ledger, Method::POST, path, &contact("A0002AA", "POM")).await;
    let position = record(&ledger, Method::POST, path, &contact("A0001AA", "REFUSED")).await;
    let listed = get(&ledger, path, position).await;
    assert_eq!(listed.header("ledger-streams-aside"), Some("1"), "{}", listed.text);
    let numbers: Vec<_> = listed.body.as_array().expect("contacts").iter().map(|at| &at["prisonerNumber"]).collect();
    assert_eq!(numbers, ["A0002AA"]);
    assert_eq!(get(&ledger, "/prisoners/A0001AA/responsibility", position).await.status, 200);
    // The answer to the person leaves out nothing.
    let person = get(&ledger, "/subject-access-request?prn=A0001AA", position).await;
    assert_eq!(person.body["content"]["nomisContacts"].as_array().map(Vec::len), Some(1), "{}", person.text);
}
