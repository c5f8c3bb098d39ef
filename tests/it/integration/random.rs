//! Random lives in prison. One ledger hears of them in order and once; another shuffled, several
//! times and late, by a service that is killed again and again. The two agree on each person, and
//! so does a subscriber of what that service publishes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use aws_stand_in::TopicStandIn;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::time::interval;

use super::{
    MERGED, RECEIVED, RELEASED, movement, notification,
    publisher::{
        PUBLIC_URL,
        subscriber::{compare_with_answers, last_of},
        wait_until_published,
    },
};
use crate::support::{
    Program, TestDatabase, database,
    estate::{Estate, QUEUE},
    eventually,
    ledger::{Ledger, history},
    queue::TestQueue,
    random_numbers::RandomNumbers,
    run,
    whole_log::read_stored,
};

/// About so many messages, unless [`MESSAGES_VARIABLE`] says another number.
const MESSAGES: usize = 1_000;

/// For more messages, and for the choices of an earlier run. It prints how fast the service is:
///
/// ```text
/// LEDGER_TESTS_MESSAGES=20000 LEDGER_TESTS_SEED=1 \
///     cargo test -p tests --test it integration::random -- --nocapture
/// ```
const MESSAGES_VARIABLE: &str = "LEDGER_TESTS_MESSAGES";
const SEED_VARIABLE: &str = "LEDGER_TESTS_SEED";

/// The service is killed once for so many messages.
const MESSAGES_OF_A_KILL: usize = 400;

/// How many late messages come in a second, steadily.
const LATE_PER_SECOND: u32 = 100;

const PRISONS: [&str; 4] = ["LEI", "MDI", "LDS", "BXI"];

/// Messages in the order of what they tell.
struct Lives {
    random: RandomNumbers,
    messages: Vec<(DateTime<Utc>, Value)>,
    people: usize,
}

impl Lives {
    fn new(seed: u64, count: usize) -> Self {
        let mut lives = Self { random: RandomNumbers(seed), messages: Vec::new(), people: 0 };
        while lives.messages.len() < count {
            let (number, prison, at) = lives.live();
            if lives.random.roll(4) == 0 {
                // Another number of the person, in use until now.
                let (removed, _, removed_at) = lives.live();
                let at = at.max(removed_at) + TimeDelta::hours(1);
                let merged = json!({"nomsNumber": number, "removedNomsNumber": removed, "reason": "MERGE"});
                lives.messages.push((at, json!({"eventType": MERGED, "additionalInformation": merged})));
            } else if lives.random.roll(2) == 0 {
                lives.push(RELEASED, &number, prison, "RELEASED", at + TimeDelta::hours(1));
            }
        }
        lives.messages.sort_by_key(|(at, _)| *at);
        lives
    }

    /// The stay of a person, who is in custody at its end: the number, the prison and the time.
    fn live(&mut self) -> (String, &'static str, DateTime<Utc>) {
        let number = format!("A{:04}{}", self.people % 10_000, ["BC", "BD"][self.people / 10_000]);
        self.people += 1;
        let mut at: DateTime<Utc> = "2024-01-01T09:00:00Z".parse().expect("an instant");
        at += TimeDelta::minutes(self.random.roll(60 * 24 * 30) as i64);
        let mut prison = self.random.one_of(&PRISONS);
        self.push(RECEIVED, &number, prison, "NEW_ADMISSION", at);
        for _ in 0..self.random.roll(5) {
            at += TimeDelta::minutes(60 + self.random.roll(60 * 24 * 30) as i64);
            let next = self.random.one_of(&PRISONS);
            match self.random.roll(4) {
                0 => self.push(RELEASED, &number, prison, "SENT_TO_COURT", at),
                1 => {
                    self.push(RELEASED, &number, prison, "RELEASED", at);
                    at += TimeDelta::hours(30);
                    self.push(RECEIVED, &number, next, "READMISSION", at);
                    prison = next;
                }
                _ if next != prison => {
                    self.push(RELEASED, &number, prison, "TRANSFERRED", at);
                    at += TimeDelta::hours(3);
                    self.push(RECEIVED, &number, next, "TRANSFERRED", at);
                    prison = next;
                }
                _ => {}
            }
        }
        (number, prison, at)
    }

    fn push(&mut self, event_type: &str, number: &str, prison: &str, reason: &str, at: DateTime<Utc>) {
        self.messages.push((at, movement(event_type, number, prison, reason, 1)));
    }

    /// The bodies of the queue's messages, in order.
    fn bodies(&self) -> Vec<String> {
        let body = |(index, (at, event)): (usize, &(DateTime<Utc>, Value))| {
            let mut event = event.clone();
            event["occurredAt"] = json!(at.to_rfc3339());
            notification(&format!("63ba0b4b-0000-4000-8000-{index:012}"), &event)
        };
        self.messages.iter().enumerate().map(body).collect()
    }
}

/// Starts a service that takes in the messages of a queue and publishes to a topic.
async fn serve(queue: &TestQueue, topic: &TopicStandIn, database: &TestDatabase) -> Program {
    let arguments = ["--role", "integration", "--domain-events-queue", QUEUE, "--public-url", PUBLIC_URL];
    let topic_and_stores = [
        "--domain-events-topic",
        "arn:aws:sns:eu-west-2:1:t",
        "--event-store",
        &database.url,
        "--views",
        &database.url,
    ];
    let mut environment = Estate::environment_at(&queue.url).to_vec();
    environment.push(("AWS_ENDPOINT_URL_SNS", &topic.url));
    Program::start_in(&environment, &[&arguments[..], &topic_and_stores].concat()).await
}

/// Each number as the ledger has it in the end: its prison and when the person left custody, or the
/// number that it was merged into, from when on it takes nothing. No fact is there twice.
async fn outcomes(database: &TestDatabase) -> BTreeMap<String, String> {
    let mut streams: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for event in read_stored(&*database.log().await).await {
        let number = event.stream.to_string().trim_start_matches("prisoner-").to_owned();
        streams.entry(number).or_default().push(event);
    }
    let outcome = |(number, events): (String, Vec<event_log::StoredEvent>)| {
        let commands: BTreeSet<_> = events.iter().map(|event| event.metadata.command_id).collect();
        assert_eq!(commands.len(), events.len(), "{number} has a fact twice");
        let state = history(&number, events).state();
        let outcome = match &state.retired_into {
            Some(survivor) => format!("merged into {survivor:?}"),
            None => format!("{:?} {:?}", state.prison, state.left_at),
        };
        (number, outcome)
    };
    streams.into_iter().map(outcome).collect()
}

/// Retries what waits until nothing more of it can be taken in.
async fn retry_all(database: &TestDatabase) {
    loop {
        let ran = run(&["integration", "retry", "--event-store", &database.url, "--views", &database.url]).await;
        assert!(ran.status.success(), "{}", ran.stderr);
        if ran.stdout.lines().all(|line| line.ends_with(" PARKED")) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_any_order_and_number_over_kills_tell_the_same_of_each_person() {
    let variable =
        |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let seed = variable(SEED_VARIABLE, 20_261_130);
    let count = usize::try_from(variable(MESSAGES_VARIABLE, MESSAGES as u64)).expect("a number of messages");
    let lives = Lives::new(seed, count);
    let bodies = lives.bodies();
    println!("{SEED_VARIABLE}={seed}: {} messages about {} people", bodies.len(), lives.people);

    let told_once = database().await;
    let queue = TestQueue::serve().await;
    let topic = TopicStandIn::serve(None).await.expect("a port");
    let program = serve(&queue, &topic, &told_once).await.into_ready().await;
    let begun_at = Instant::now();
    queue.send_all(bodies.clone());
    queue.wait_until_left(0).await;
    println!("{:.0} messages in a second", bodies.len() as f64 / begun_at.elapsed().as_secs_f64());
    assert_eq!(program.client().get("/integration/parked").await.body, json!([]), "each life is possible");
    assert!(program.stop().await.success());

    let mut random = RandomNumbers(seed + 1);
    let mut shuffled = bodies.clone();
    for body in &bodies {
        // Some come again, some of them twice.
        shuffled.extend(std::iter::repeat_n(body.clone(), [0, 0, 0, 1, 2][random.roll(5)]));
    }
    for last in (1..shuffled.len()).rev() {
        shuffled.swap(last, random.roll(last + 1));
    }
    // The last tenth is late: it comes after the rest was taken in.
    let late = shuffled.split_off(shuffled.len() * 9 / 10);
    let kills = bodies.len() / MESSAGES_OF_A_KILL;
    let mut points: Vec<_> = (0..kills).map(|_| random.roll(shuffled.len())).collect();
    points.sort_unstable();
    let told_anyhow = database().await;
    let queue = TestQueue::serve().await;
    let topic = TopicStandIn::serve(None).await.expect("a port");
    let stores = told_anyhow.arguments();
    let stores: Vec<&str> = stores.iter().map(String::as_str).collect();
    let projector = Program::start_in(&[], &[&["--role", "projector"], &stores[..]].concat()).await;
    // It publishes from its first start on.
    let first = serve(&queue, &topic, &told_anyhow).await;
    eventually("the checkpoint of the publisher", async || {
        sqlx::query("SELECT FROM integration.publication").fetch_one(&told_anyhow.pool).await.ok()
    })
    .await;
    queue.kill(first).await;
    queue.send_all(shuffled);
    for point in points.into_iter().rev() {
        let consumer = serve(&queue, &topic, &told_anyhow).await;
        queue.wait_until_left(point).await;
        queue.kill(consumer).await;
        queue.show_hidden();
    }
    let program = serve(&queue, &topic, &told_anyhow).await.into_ready().await;
    queue.wait_until_left(0).await;
    let mut ticks = interval(Duration::from_secs(1) / LATE_PER_SECOND);
    let _ = queue.latency_p99();
    for body in late {
        ticks.tick().await;
        queue.send_all([body]);
    }
    queue.wait_until_left(0).await;
    let latency = queue.latency_p99().expect("late messages");
    println!("{latency:?} from sending to deletion (99th percentile) at {LATE_PER_SECOND} in a second");
    // Each kill is a receipt of the messages at work then.
    while queue.retry_given_up() > 0 {
        queue.wait_until_left(0).await;
    }
    retry_all(&told_anyhow).await;
    assert!(program.stop().await.success());
    let (expected, told) = (outcomes(&told_once).await, outcomes(&told_anyhow).await);
    let differing: Vec<_> = expected
        .iter()
        .filter(|(number, outcome)| told.get(*number) != Some(outcome))
        .map(|(number, outcome)| format!("{number}: {outcome}, told anyhow {:?}", told.get(number)))
        .collect();
    assert!(differing.is_empty(), "{} of {} people differ: {differing:#?}", differing.len(), expected.len());
    assert_eq!(expected.len(), told.len());

    projector.kill();
    let arguments = ["--domain-events-topic", "arn:aws:sns:eu-west-2:1:t", "--public-url", PUBLIC_URL];
    let ledger = Ledger::start_all_roles_on(told_anyhow, &Estate::environment_at(&topic.url), &arguments).await;
    wait_until_published(&ledger).await;
    let compared = compare_with_answers(&last_of(&topic.taken().into_iter().collect()), &ledger).await;
    assert!(compared.answers > expected.len(), "{} answers", compared.answers);
}
