//! Notes, details of overrides and reasons: which callers read them, and which get null.

use event_log::StoredEvent;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{POM_LEI, Prisons};
use crate::{
    sign_on::matrix::ROUTES,
    support::{
        PATIENCE, ledger::change_event, tokens::client, topology::require_single_program, whole_log::read_stored,
    },
};

/// The texts that each prison writes.
const OF_LEEDS: [&str; 2] = ["note of Leeds", "reason of Leeds"];
const OF_MOORLAND: [&str; 5] =
    ["note of Moorland", "detail of Moorland", "suitability at Moorland", "choice at Moorland", "void of Moorland"];

/// A case that was at Moorland, with texts of each kind, and is at Leeds now.
async fn record_texts(prisons: &Prisons) {
    let sync = prisons.sync();
    let path = |part: &str| format!("/prisoners/A1111AA/{part}");
    prisons.record(&sync, "POST", &path("tier"), json!({"tier": "B2", "prison": "MDI"})).await;
    let allocation = json!({
        "prison": "MDI", "pom": {"staffId": 2}, "overrideReasons": ["SUITABILITY", "OTHER"],
        "suitabilityDetail": OF_MOORLAND[2], "overrideDetail": OF_MOORLAND[3], "note": OF_MOORLAND[0],
    });
    prisons.record(&sync, "POST", &path("allocations"), allocation).await;
    let detail = json!({"responsible": "PROBATION", "reason": "OTHER", "detail": OF_MOORLAND[1]});
    prisons.record(&sync, "PUT", &path("responsibility-override"), detail).await;
    prisons.record(&sync, "PUT", &path("community-manager"), json!({"name": "Lee, Sam"})).await;
    prisons.record(&sync, "POST", &path("voids"), json!({"revision": 3, "reason": OF_MOORLAND[4]})).await;
    prisons.record(&sync, "POST", &path("transfers"), json!({"toPrison": "LEI"})).await;
    let allocation = json!({
        "prison": "LEI", "pom": {"staffId": POM_LEI}, "overrideReasons": ["CONTINUITY"], "note": OF_LEEDS[0],
    });
    prisons.record(&sync, "POST", &path("allocations"), allocation).await;
    let status = json!({"status": "UNAVAILABLE", "reason": OF_LEEDS[1]});
    prisons.record(&sync, "PUT", "/prisons/LEI/poms/1/status", status).await;
}

/// The texts in an answer.
fn texts<'t>(answer: &str, all: &[&'t str]) -> Vec<&'t str> {
    all.iter().copied().filter(|text| answer.contains(text)).collect()
}

#[tokio::test]
async fn a_text_is_read_by_callers_of_the_prison_that_wrote_it_and_by_auditors() {
    require_single_program();
    let prisons = Prisons::start().await;
    record_texts(&prisons).await;
    let all = [&OF_LEEDS[..], &OF_MOORLAND[..]].concat();
    let (leeds, both) = (prisons.head("HOMD_LEI"), prisons.head("HOMD_BOTH"));
    let of_history = async |caller: &str| {
        let history = prisons.get(caller, "/prisoners/A1111AA/history").await;
        assert_eq!(history.status, 200, "{}", history.text);
        texts(&history.text, &all)
    };
    let written: Vec<_> = [&OF_LEEDS[..1], &OF_MOORLAND[..]].concat();
    assert_eq!(of_history(&leeds).await, [OF_LEEDS[0]]);
    assert_eq!(of_history(&both).await, written);
    assert_eq!(of_history(&prisons.auditor()).await, written);
    assert_eq!(of_history(&prisons.sync()).await, [] as [&str; 0]);

    // A hidden text is null, and one that there is not is absent.
    let history = prisons.get(&leeds, "/prisoners/A1111AA/history").await.body;
    let (moorland, own) = (&history[1]["data"], &history[6]["data"]);
    for member in ["note", "suitabilityDetail", "overrideDetail"] {
        assert_eq!(moorland.get(member), Some(&Value::Null), "{member}: {history}");
    }
    assert_eq!((own["note"].as_str(), own.get("overrideDetail")), (Some(OF_LEEDS[0]), None), "{history}");
    assert_eq!(history[2]["data"].get("detail"), Some(&Value::Null), "{history}");

    // The override is still in effect, and its detail is that of Moorland.
    for path in ["/prisoners/A1111AA/responsibility", "/prisoners/A1111AA/responsibility/periods", "/prisons/LEI/cases"]
    {
        let detail = |body: &Value| match body {
            Value::Array(items) => items.last().expect("an item")["override"]["detail"].clone(),
            body => body["override"]["detail"].clone(),
        };
        assert_eq!(detail(&prisons.get(&leeds, path).await.body), Value::Null, "{path}");
        assert_eq!(detail(&prisons.get(&both, path).await.body), OF_MOORLAND[1], "{path}");
    }
    let taken_back = prisons.record(&leeds, "DELETE", "/prisoners/A1111AA/responsibility-override", json!({})).await;
    assert_eq!(taken_back.body["events"][0]["data"].get("detail"), Some(&Value::Null), "{}", taken_back.text);
    let own = json!({"responsible": "PROBATION", "reason": "OTHER", "detail": "detail of Leeds"});
    let own = prisons.record(&leeds, "PUT", "/prisoners/A1111AA/responsibility-override", own).await;
    assert_eq!(own.body["events"][0]["data"]["detail"], "detail of Leeds");
    let shown = prisons.get(&leeds, "/prisoners/A1111AA/responsibility").await;
    assert_eq!(shown.body["override"]["detail"], "detail of Leeds", "{}", shown.text);

    let status = |answer: Value| answer[0]["statusReason"].clone();
    assert_eq!(status(prisons.get(&leeds, "/prisons/LEI/poms").await.body), OF_LEEDS[1]);
    assert_eq!(status(prisons.get(&prisons.sync(), "/prisons/LEI/poms").await.body), Value::Null);
    let active = async |caller: &str| {
        let answer = prisons.send(caller, "POST", "/allocation/active", Some(&json!(["A1111AA"]))).await;
        answer.body["data"]["A1111AA"]["note"].clone()
    };
    assert_eq!(active(&leeds).await, OF_LEEDS[0]);
    assert_eq!(active(&prisons.sync()).await, Value::Null);
}

/// The stream of the feed, up to the last event that was recorded.
async fn read_stream(prisons: &Prisons, token: &str) -> String {
    let url = format!("{}/events", prisons.program.program.client().base_url());
    let request = reqwest::Client::new().get(url).header("Accept", "text/event-stream");
    let mut response = request.header("Authorization", token).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let mut text = String::new();
    while !text.contains("event: PomStatusChanged") || !text.ends_with("\n\n") {
        let chunk = timeout(PATIENCE, response.chunk()).await.expect("something in time").expect("no break");
        text.push_str(std::str::from_utf8(&chunk.expect("no end")).expect("UTF-8"));
    }
    text
}

#[tokio::test]
async fn no_answer_shows_texts_to_a_caller_of_no_prison() {
    require_single_program();
    let prisons = Prisons::start().await;
    record_texts(&prisons).await;
    let all = [&OF_LEEDS[..], &OF_MOORLAND[..]].concat();
    let roles = [
        "ROLE_ALLOCATION_LEDGER__RO",
        "ROLE_ALLOCATION_LEDGER__EXPORT",
        "ROLE_ALLOCATION_LEDGER__OPERATE",
        "ROLE_VIEW_POM_ALLOCATIONS",
    ];
    let other = prisons.bearer(&client("other-service", &roles, "read"));
    let (mut asked, mut with_texts) = (0, 0);
    for (_, path, _) in ROUTES.iter().filter(|(method, ..)| *method == "GET") {
        let parameters = [("{prisonerNumber}", "A1111AA"), ("{prisonCode}", "LEI"), ("{staffId}", "1")];
        let path = parameters.iter().fold((*path).to_owned(), |path, (name, value)| path.replace(name, value));
        for revision in ["0", "1", "2", "4", "6"] {
            let path = path.replace("{staffIds}", "1").replace("{revision}", revision);
            let answer = prisons.get(&other, &path).await;
            assert_eq!(texts(&answer.text, &all), [] as [&str; 0], "{path}: {}", answer.text);
            asked += usize::from(answer.status == 200);
            let of_auditor = prisons.get(&prisons.auditor(), &path).await;
            with_texts += usize::from(!texts(&of_auditor.text, &all).is_empty());
        }
    }
    assert!(asked > 60 && with_texts > 15, "{asked} answers, {with_texts} of them with texts for an auditor");
    // The stream of the feed, too, which an auditor reads whole.
    for (token, shown) in [(&other, 0), (&prisons.auditor(), all.len())] {
        assert_eq!(texts(&read_stream(&prisons, token).await, &all).len(), shown);
    }
    // Subject access has all of the case's.
    let subject = prisons.bearer(&client("sar", &["ROLE_SAR_DATA_ACCESS"], "read"));
    let held = prisons.get(&subject, "/subject-access-request?prn=A1111AA").await;
    assert_eq!(texts(&held.text, &all).len(), all.len() - 1, "{}", held.text);
}

#[tokio::test]
async fn a_client_of_no_prison_does_not_read_back_what_it_sent() {
    require_single_program();
    let prisons = Prisons::start().await;
    prisons.case("A1111AA", "LEI", "note of Leeds").await;
    let history = prisons.get(&prisons.head("HOMD_LEI"), "/prisoners/A1111AA/history/1").await;
    assert_eq!(history.body["data"]["note"], "note of Leeds", "{}", history.text);
    let body = json!({"prison": "MDI", "pom": {"staffId": 2}, "note": "note of Moorland"});
    let path = "/prisoners/A2222BB/allocations";
    prisons.record(&prisons.sync(), "POST", "/prisoners/A2222BB/tier", json!({"tier": "C1", "prison": "MDI"})).await;
    let sync = prisons.sync();
    let headers = [("Authorization", sync.as_str()), ("Idempotency-Key", "7d3f0b0e-7f3a-4a58-9d10-3c2b7d8b6c11")];
    let sent = prisons.program.program.client().send(Method::POST, path, &headers, Some(&body)).await;
    assert_eq!((sent.status.as_u16(), &sent.body["events"][0]["data"]["note"]), (201, &Value::Null), "{}", sent.text);
}

/// Before anything was known under the surviving number, the case was known under the other.
#[tokio::test]
async fn a_detail_that_was_written_under_a_merged_number_is_shown_to_its_prison() {
    const DETAIL: &str = "detail of Leeds";
    require_single_program();
    let prisons = Prisons::start().await;
    let (leeds, both) = (prisons.head("HOMD_LEI"), prisons.head("HOMD_BOTH"));
    prisons.case("A1111AA", "LEI", "note of Leeds").await;
    let decision = json!({"responsible": "PRISON", "reason": "OTHER", "detail": DETAIL});
    prisons.record(&leeds, "PUT", "/prisoners/A1111AA/responsibility-override", decision).await;
    let tier = json!({"tier": "C1", "prison": "LEI"});
    prisons.record(&leeds, "POST", "/prisoners/A2222BB/tier", tier).await;
    prisons.record(&leeds, "POST", "/prisoners/A2222BB/merges", json!({"removedNumber": "A1111AA"})).await;
    for number in ["A1111AA", "A2222BB"] {
        for path in ["responsibility", "responsibility/periods"] {
            let path = format!("/prisoners/{number}/{path}");
            let details = async |caller: &str| prisons.get(caller, &path).await.text.matches(DETAIL).count();
            let of_auditor = details(&prisons.auditor()).await;
            assert!(of_auditor > 0, "{path}");
            for (caller, expected) in [(&leeds, of_auditor), (&both, of_auditor), (&prisons.sync(), 0)] {
                assert_eq!(details(caller).await, expected, "{path}");
            }
        }
    }
}

/// The detail is in the survivor's event, and which prison wrote it is in the other's.
#[tokio::test]
async fn where_a_merged_number_is_damaged_a_list_is_answered_without_the_texts_of_it() {
    const DETAIL: &str = "detail of Leeds";
    require_single_program();
    let prisons = Prisons::start().await;
    let leeds = prisons.head("HOMD_LEI");
    prisons.case("A1111AA", "LEI", "note of Leeds").await;
    let decision = json!({"responsible": "PRISON", "reason": "OTHER", "detail": DETAIL});
    prisons.record(&leeds, "PUT", "/prisoners/A1111AA/responsibility-override", decision.clone()).await;
    let tier = json!({"tier": "C1", "prison": "LEI"});
    prisons.record(&leeds, "POST", "/prisoners/A2222BB/tier", tier).await;
    prisons.record(&leeds, "POST", "/prisoners/A2222BB/merges", json!({"removedNumber": "A1111AA"})).await;
    prisons.case("A3333CC", "LEI", "note of Leeds").await;
    prisons.record(&leeds, "PUT", "/prisoners/A3333CC/responsibility-override", decision).await;
    let details = async || {
        let answer = prisons.get(&leeds, "/prisons/LEI/cases").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let detail = |case: &Value| (case["prisonerNumber"].clone(), case["override"]["detail"].clone());
        answer.body.as_array().expect("cases").iter().map(detail).collect::<Vec<_>>()
    };
    assert_eq!(details().await, [(json!("A2222BB"), json!(DETAIL)), (json!("A3333CC"), json!(DETAIL))]);
    let database = &prisons.program.database;
    let events = read_stored(&*database.log().await).await;
    let of_merged = |event: &&StoredEvent| event.stream.to_string() == "prisoner-A1111AA";
    let second = events.iter().filter(of_merged).nth(1).expect("a second event").entry.position;
    change_event(database, second, "type = 'AllocationMad'").await;
    assert_eq!(details().await, [(json!("A2222BB"), Value::Null), (json!("A3333CC"), json!(DETAIL))]);
}
