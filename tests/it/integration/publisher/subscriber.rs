//! A subscriber that keeps the last message of each type about each person. It knows what the
//! ledger answers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{ALLOCATION, COWORKING, HANDOVER, OVERRIDE, RESPONSIBILITY};
use crate::support::{ledger::Ledger, questions::ask};

/// The last message of each type about each person.
pub(in crate::integration) type LastMessages = BTreeMap<(String, String), ((u64, String), Value)>;

/// Keeps the last messages, whatever order they come in.
pub(in crate::integration) fn last_of(messages: &BTreeSet<(u64, String)>) -> LastMessages {
    let mut last = LastMessages::new();
    for (position, text) in messages {
        let event: Value = serde_json::from_str(text).expect("JSON");
        let word = |value: &Value| value.as_str().expect("a text").to_owned();
        let order = (*position, word(&event["occurredAt"]));
        let key = (word(&event["personReference"]["identifiers"][0]["value"]), word(&event["eventType"]));
        let known = last.entry(key).or_insert_with(|| ((0, String::new()), Value::Null));
        if known.0 <= order {
            *known = (order, event["additionalInformation"].clone());
        }
    }
    last
}

/// The ledger's answers, in the words of the messages.
async fn answered(ledger: &Ledger, number: &str) -> Option<BTreeMap<&'static str, Value>> {
    let pom = ask(ledger, &format!("/api/allocation/{number}/primary_pom")).await;
    let answer = ask(ledger, &format!("/prisoners/{number}/responsibility")).await;
    // Two numbers that were merged into each other have no answer.
    (answer.status.as_u16() == 200).then(|| {
        let body = &answer.body;
        BTreeMap::from([
            (ALLOCATION, pom.body["manager"]["code"].clone()),
            (COWORKING, body["coworker"]["staffId"].clone()),
            (OVERRIDE, json!([body["override"]["responsible"], body["override"]["reason"]])),
            (RESPONSIBILITY, json!([body["phase"], body["responsible"]["role"], body["supporting"]["role"]])),
        ])
    })
}

/// The same of the last message; of none, what a person has of whom nothing was told.
fn told(last: &LastMessages, number: &str, event_type: &str) -> Value {
    let information = last.get(&(number.to_owned(), event_type.to_owned())).map(|(_, information)| information);
    let member = |name: &str| information.map_or(Value::Null, |information| information[name].clone());
    match event_type {
        OVERRIDE => json!([member("responsible"), member("reason")]),
        RESPONSIBILITY => json!([member("phase"), member("responsible"), member("supporting")]),
        _ => member("staffCode"),
    }
}

/// How much of a subscriber's knowledge was compared.
pub(in crate::integration) struct Comparison {
    /// Answers about people.
    pub answers: usize,
    /// People with handover dates.
    pub with_dates: usize,
}

/// Compares the last messages with the ledger's answers about all people in it.
pub(in crate::integration) async fn compare_with_answers(last: &LastMessages, ledger: &Ledger) -> Comparison {
    let events = ledger.events().await;
    let persons: BTreeSet<String> = events
        .iter()
        .filter_map(|event| Some(event.stream.to_string().strip_prefix("prisoner-")?.to_owned()))
        .collect();
    let mut comparison = Comparison { answers: 0, with_dates: 0 };
    for number in persons {
        let Some(answers) = answered(ledger, &number).await else { continue };
        for (event_type, answer) in answers {
            assert_eq!(told(last, &number, event_type), answer, "{number} {event_type}");
            comparison.answers += 1;
        }
        // Dates that a consumer can ask for were told.
        let dates = ask(ledger, &format!("/api/handovers/{number}")).await;
        if dates.status == 200
            && (dates.body["handoverDate"].is_string() || dates.body["handoverStartDate"].is_string())
        {
            assert!(last.contains_key(&(number.clone(), HANDOVER.to_owned())), "{number}: {}", dates.text);
            comparison.with_dates += 1;
        }
    }
    comparison
}
