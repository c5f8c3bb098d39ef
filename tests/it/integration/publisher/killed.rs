//! A publisher that is killed amid its requests, beside random commands: no message is lost, and a
//! subscriber that keeps the last of each type about each person knows what the ledger answers.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{ALLOCATION, COWORKING, HANDOVER, OVERRIDE, PUBLIC_URL, RESPONSIBILITY, wait_until_published};
use crate::support::{
    Program, database,
    estate::Estate,
    eventually,
    ledger::Ledger,
    questions::ask,
    random_ledger::{RandomLedger, RandomStep, random_step},
    random_numbers::RandomNumbers,
    run_in,
    topic_sink::TopicSink,
};

const STEPS: usize = 1_500;
const KILLS: usize = 8;

/// The last message of each type about each person.
type LastMessages = BTreeMap<(String, String), ((u64, String), Value)>;

fn last_of(messages: &BTreeSet<(u64, String)>) -> LastMessages {
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

/// Waits until the topic has stopped, or everything is published.
async fn wait_for_stop(sink: &TopicSink, random: &RandomLedger, pool: &PgPool) {
    let end = random.log.head().await.expect("the end of the log");
    eventually("a topic that has stopped", async || (sink.has_stopped() || position(pool).await >= end).then_some(()))
        .await;
}

/// How far the publisher has come.
async fn position(pool: &PgPool) -> u64 {
    let read = sqlx::query_scalar::<_, i64>("SELECT position FROM integration.publication");
    read.fetch_one(pool).await.expect("the checkpoint").unsigned_abs()
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

mod log_in_postgres {
    use super::*;
    use crate::support::topology::require_log_in_postgres;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_subscriber_knows_what_the_ledger_answers_whenever_the_publisher_was_killed() {
        require_log_in_postgres();
        let (url, sink) = TopicSink::start_without_refusals().await;
        let database = database().await;
        let mut random = RandomLedger::new(&database.pool).await;
        let arguments = ["--domain-events-topic", "arn:aws:sns:eu-west-2:1:t", "--public-url", PUBLIC_URL];
        let ledger = Ledger::start_all_roles_on(database, &Estate::environment_at(&url), &arguments).await;
        wait_until_published(&ledger).await;
        let Ledger { database, program } = ledger;
        program.kill();
        let start = position(&database.pool).await.to_string();

        let stores = database.arguments();
        let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
        // Apart, without policies: the random ledger knows the log that it alone appends to.
        let projector = Program::start_in(&[], &[&["--role", "projector"], &stores[..]].concat()).await;
        let publisher = [&["--role", "integration"], &stores[..], &arguments].concat();
        let mut runner =
            TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[19; 32]));
        let mut numbers = RandomNumbers(19);
        let mut merges = 0;
        for part in 0..KILLS {
            // It dies while a request of some messages is at work, of which the topic has some.
            sink.go_on();
            sink.stop_after(1 + numbers.roll(20));
            let program = Program::start_in(&Estate::environment_at(&url), &publisher).await;
            for _ in 0..STEPS / KILLS {
                let step = random_step().new_tree(&mut runner).expect("a step").current();
                // A merge ends the commands about a number, of which there are five.
                if matches!(step, RandomStep::Merge(..)) {
                    if merges >= 3 * (part / 3) {
                        continue;
                    }
                    merges += 1;
                }
                random.take(step).await;
            }
            wait_for_stop(&sink, &random, &database.pool).await;
            program.kill();
        }
        sink.go_on();
        projector.kill();
        let ledger = Ledger::start_all_roles_on(database, &Estate::environment_at(&url), &arguments).await;
        wait_until_published(&ledger).await;
        let taken = sink.taken();
        let messages: BTreeSet<(u64, String)> = taken.iter().cloned().collect();
        assert!(taken.len() > messages.len(), "none of {} messages came twice", taken.len());

        // As a publisher sends them that nobody disturbs.
        let (url, undisturbed) = TopicSink::start_without_refusals().await;
        let publish = [&["integration", "publish", "--since", &start], &arguments[..], &stores].concat();
        let ran = run_in(&Estate::environment_at(&url), &publish).await;
        assert!(ran.status.success(), "{}", ran.stderr);
        let expected: BTreeSet<(u64, String)> = undisturbed.taken().into_iter().collect();
        let lost: Vec<_> = expected.difference(&messages).collect();
        let unexpected: Vec<_> = messages.difference(&expected).collect();
        assert_eq!((lost, unexpected), (Vec::new(), Vec::new()));

        let last = last_of(&messages);
        let events = ledger.events().await;
        let persons: BTreeSet<String> = events
            .iter()
            .filter_map(|event| Some(event.stream.to_string().strip_prefix("prisoner-")?.to_owned()))
            .collect();
        let (mut compared, mut with_dates) = (0, 0);
        for number in persons {
            let Some(answers) = answered(&ledger, &number).await else { continue };
            for (event_type, answer) in answers {
                assert_eq!(told(&last, &number, event_type), answer, "{number} {event_type}");
                compared += 1;
            }
            // Dates that a consumer can ask for were told.
            let dates = ask(&ledger, &format!("/api/handovers/{number}")).await;
            if dates.status == 200
                && (dates.body["handoverDate"].is_string() || dates.body["handoverStartDate"].is_string())
            {
                assert!(last.contains_key(&(number.clone(), HANDOVER.to_owned())), "{number}: {}", dates.text);
                with_dates += 1;
            }
        }
        assert!(with_dates > 0, "no case has dates");
        assert!(compared >= 8, "{compared} answers are too few");
        assert!(events.len() > 300, "{} events are too few", events.len());
        let merges = events.iter().filter(|event| event.entry.event.type_name() == "PrisonerNumberMerged").count();
        assert!(merges > 0 && last.len() > 10, "{merges} merges, {} messages", last.len());
    }
}
