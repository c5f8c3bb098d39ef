//! The known consumers of the live service's events: each acts on the message, follows its link,
//! and does what it would do with the live service.

use serde_json::{Value, json};

use super::{ALLOCATION, HANDOVER, Received, published, publishing};
use crate::support::{
    estate::Estate,
    ledger::{Ledger, NOVAK, PRISON, SHAH},
    python::{python_with, run_script},
    questions::{determinate_sentence, record},
};

/// The action of a consumer.
#[derive(Debug, PartialEq)]
enum Done {
    /// It wrote down a POM at a prison, since when.
    Allocated(String, Value, Value),
    /// It removed the POM.
    Deallocated,
    /// It did nothing, as the answer is not for it.
    NotReadyToAllocate,
    /// It wrote down key dates: of the handover, and of its start.
    KeyDates(Value, Value),
    /// It ignored the message.
    Ignored,
}

/// `manage-pom-cases-and-delius` of the probation integration services.
async fn delius(message: &Received, ledger: &Ledger) -> Done {
    let answer = message.follow(ledger).await;
    match (message.event_type.as_str(), answer.status.as_u16()) {
        (ALLOCATION, 200) => {
            let manager = &answer.body["manager"];
            let (Some(forename), Some(surname)) = (manager["forename"].as_str(), manager["surname"].as_str()) else {
                panic!("names are never null: {}", answer.text)
            };
            let (prison, at) = (answer.body["prison"]["code"].clone(), message.event["occurredAt"].clone());
            Done::Allocated(format!("{forename} {surname}"), prison, at)
        }
        (ALLOCATION, 404) if answer.body["message"] == "Not allocated" => Done::Deallocated,
        (ALLOCATION, 404) => Done::NotReadyToAllocate,
        (HANDOVER, 200) => {
            assert_eq!(answer.body["nomsNumber"], message.number());
            Done::KeyDates(answer.body["handoverDate"].clone(), answer.body["handoverStartDate"].clone())
        }
        (HANDOVER, 404) => Done::Ignored,
        (event_type, status) => panic!("{event_type}: {status} {}", answer.text),
    }
}

/// CAS2 (approved premises): the POM's staff id and prison, or that there is none.
async fn cas2(message: &Received, ledger: &Ledger) -> Option<(i64, Value)> {
    assert_eq!(message.event["personReference"]["identifiers"][0]["type"], "NOMS");
    let answer = message.follow(ledger).await;
    match answer.status.as_u16() {
        200 => {
            Some((answer.body["manager"]["code"].as_i64().expect("an integer"), answer.body["prison"]["code"].clone()))
        }
        404 => None,
        status => panic!("{status} {}", answer.text),
    }
}

/// The single accommodation service, which follows no link: a prison always, a number or null.
fn accommodation(message: &Received) -> (String, Option<i64>) {
    let information = &message.event["additionalInformation"];
    let staff_code = &information["staffCode"];
    assert!(staff_code.is_null() || staff_code.is_i64(), "{information}");
    (information["prisonId"].as_str().expect("a prison").to_owned(), staff_code.as_i64())
}

#[tokio::test]
async fn each_known_consumer_does_what_it_did_with_the_live_service() {
    let Some(estate) = Estate::start().await else { return };
    let ledger = publishing(&estate).await;
    let of_type = async |event_type: &str| -> Received {
        let messages = published(&ledger, &estate).await;
        messages.into_iter().find(|message| message.event_type == event_type).expect("a message of the type")
    };
    ledger.case("A1111AA", SHAH).await;
    let message = of_type(ALLOCATION).await;
    let at = json!("2026-02-02T09:00:00Z");
    assert_eq!(delius(&message, &ledger).await, Done::Allocated("Priya Shah".to_owned(), json!(PRISON), at));
    assert_eq!(cas2(&message, &ledger).await, Some((SHAH, json!(PRISON))));
    assert_eq!(accommodation(&message), (PRISON.to_owned(), Some(SHAH)));

    record(&ledger, "POST /prisoners/A1111AA/handover-plans", determinate_sentence()).await;
    let message = of_type(HANDOVER).await;
    let day = json!("2026-04-17");
    assert_eq!(delius(&message, &ledger).await, Done::KeyDates(day.clone(), day));

    let moved = json!({"prison": PRISON, "pom": {"staffId": NOVAK}, "reason": "Leave",
        "effectiveAt": "2026-02-05T09:00:00Z"});
    record(&ledger, "POST /prisoners/A1111AA/reallocations", moved).await;
    let message = of_type(ALLOCATION).await;
    assert_eq!(cas2(&message, &ledger).await, Some((NOVAK, json!(PRISON))));
    assert_eq!(accommodation(&message), (PRISON.to_owned(), Some(NOVAK)));

    record(&ledger, "POST /prisoners/A1111AA/transfers", json!({"toPrison": "MDI"})).await;
    let message = of_type(ALLOCATION).await;
    assert_eq!(delius(&message, &ledger).await, Done::Deallocated);
    assert_eq!(cas2(&message, &ledger).await, None);
    assert_eq!(accommodation(&message), (PRISON.to_owned(), None));

    // After a release there are no dates, which it ignores.
    record(&ledger, "POST /prisoners/A1111AA/releases", json!({"prison": "MDI"})).await;
    assert_eq!(delius(&of_type(HANDOVER).await, &ledger).await, Done::Ignored);

    // An allocation that never was has been told of, and is taken back like one that has ended.
    ledger.case("A2222BB", SHAH).await;
    of_type(ALLOCATION).await;
    let void = json!({"revision": 1, "reason": "Another person"});
    record(&ledger, "POST /prisoners/A2222BB/voids", void).await;
    assert_eq!(delius(&of_type(ALLOCATION).await, &ledger).await, Done::Deallocated);
}

/// Checks messages, a line each, and the samples of the document by the document.
const CHECK: &str = r#"
import json, sys, yaml, jsonschema
document = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
messages = document["components"]["messages"].values()
lines = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8")]
types = set()
# No member that the document lacks.
for name, schema in document["components"]["schemas"].items():
    if name != "Envelope":
        schema["additionalProperties"] = False
for message in messages:
    schema = {"allOf": message["payload"]["allOf"], "components": document["components"], "unevaluatedProperties": False}
    check = jsonschema.Draft202012Validator(schema)
    for event in lines:
        if event["eventType"] == message["name"]:
            check.validate(event)
            types.add(event["eventType"])
    for example in message["examples"]:
        check.validate(example["payload"])
assert all(any(line["eventType"] == m["name"] for m in messages) for line in lines), "a type is missing"
print(len(lines), len(types))
"#;

#[tokio::test]
async fn each_message_is_as_its_schema_says() {
    let Some(estate) = Estate::start().await else { return };
    let Some(python) = python_with("yaml, jsonschema") else { return };
    let ledger = publishing(&estate).await;
    ledger.case("A1111AA", SHAH).await;
    record(&ledger, "POST /prisoners/A1111AA/handover-plans", determinate_sentence()).await;
    let coworker = json!({"prison": PRISON, "pom": {"staffId": NOVAK}});
    record(&ledger, "POST /prisoners/A1111AA/co-workers", coworker).await;
    let decision = json!({"responsible": "PRISON", "reason": "OTHER", "detail": "Agreed"});
    record(&ledger, "PUT /prisoners/A1111AA/responsibility-override", decision).await;
    record(&ledger, "POST /prisoners/A1111AA/releases", json!({"prison": PRISON})).await;
    let messages = published(&ledger, &estate).await;
    let lines: String = messages.iter().map(|message| format!("{}\n", message.text)).collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), lines).expect("the messages");
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/asyncapi.yaml");
    let arguments = ["-c", CHECK, document, file.path().to_str().expect("UTF-8")];
    let said = run_script(python, arguments.map(str::to_owned).to_vec()).await;
    assert_eq!(said.trim(), format!("{} 5", messages.len()));
}
