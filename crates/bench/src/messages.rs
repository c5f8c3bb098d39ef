//! `bench messages`: how fast messages of HMPPS are taken in, and how fast domain events go out.
//!
//! The program serves all roles in a process of its own. The queue and the topic are stand-ins in
//! this one, as fast as memory, which share the cores with it: `moto` gives some 20 messages a
//! second.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use allocation_ledger::{
    interrupt::{interruption, unless_interrupted},
    stdout::{print_line, table},
    temporary_directory::temporary_directory,
};
use anyhow::Context as _;
use aws_stand_in::{QueueStandIn, TopicStandIn};
use comfy_table::CellAlignment;
use futures::{FutureExt as _, future::try_join_all};
use serde_json::json;
use tokio::{
    process::Command,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    GONE, TEMPORARY,
    http::ask_once,
    measure::{millis, number},
    program::{self, ServingProcess},
    progress::in_stage,
    table::per_second,
};

/// How often a queue of the estate hands a message out.
const RECEIVES_MAX: u32 = 3;

/// How long a measurement may take. A program that has ended takes nothing in.
const MEASURED_WITHIN: Duration = Duration::from_secs(1_800);

/// The pause between two looks at the queue, the topic, or the answer about a person.
const LOOK: Duration = Duration::from_millis(5);

/// How many receptions a second are followed until they can be asked about.
const FOLLOWED_PER_SECOND: u32 = 100;

/// Messages about one person: a reception, a transfer to another prison in two messages, a release.
const MESSAGES_OF_PERSON: u64 = 4;

/// The settings of `bench messages`.
#[derive(Debug, clap::Args)]
pub(crate) struct MessagesBenchSettings {
    /// About so many messages are taken in, and what follows from them is published
    #[arg(long, default_value_t = 20_000, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(4..))]
    messages: u64,
    /// Seconds that receptions come steadily, 100 in each
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// Measures, and prints the table.
///
/// # Errors
/// The program does not start or ends, or the user interrupts it.
pub(crate) async fn run(settings: &MessagesBenchSettings) -> anyhow::Result<()> {
    let directory = temporary_directory(TEMPORARY)?;
    let data_dir = directory.path().join("ledger");
    let data_dir = data_dir.to_str().context("a temporary directory with a name in UTF-8")?;
    let queue = QueueStandIn::serve(RECEIVES_MAX).await.context("serve a queue")?;
    let topic = TopicStandIn::serve(None).await.context("serve a topic")?;
    let program = serving(program::program()?, data_dir, &queue, &topic).await?;
    let measuring = timeout(MEASURED_WITHIN, measure(&program, &queue, &topic, settings));
    let measured = unless_interrupted(measuring.map(|measured| measured.context("wait for messages")?)).await;
    program.end().await?;
    let figures = measured?.ok_or_else(|| interruption(GONE))?;
    print_line(&format!("{figures}\n{WHAT_IS_MEASURED}"))
}

async fn serving(
    mut program: Command,
    data_dir: &str,
    queue: &QueueStandIn,
    topic: &TopicStandIn,
) -> anyhow::Result<ServingProcess> {
    program
        .env("AWS_ENDPOINT_URL_SQS", &queue.url)
        .env("AWS_ENDPOINT_URL_SNS", &topic.url)
        .env("AWS_REGION", "eu-west-2")
        .env("AWS_ACCESS_KEY_ID", "bench")
        .env("AWS_SECRET_ACCESS_KEY", "bench");
    let messages = ["--domain-events-queue", "messages", "--domain-events-topic", "arn:aws:sns:eu-west-2:1:events"];
    let arguments = [&["--data-dir", data_dir, "--public-url", "http://127.0.0.1"][..], &messages].concat();
    ServingProcess::start(program, &arguments).await
}

async fn measure(
    program: &ServingProcess,
    queue: &QueueStandIn,
    topic: &TopicStandIn,
    settings: &MessagesBenchSettings,
) -> anyhow::Result<MessageFigures> {
    let address: SocketAddr = program.address.parse().context("read the address of the program")?;
    let people = settings.messages / MESSAGES_OF_PERSON;
    // Beside what is published, which is the ordinary state.
    let in_rate = in_stage("taking messages in", take_in(queue, people)).await?;
    let followed = u64::from(FOLLOWED_PER_SECOND) * settings.seconds;
    let follow = follow_receptions(address, queue, people..people + followed);
    let mut latencies = in_stage("following receptions", follow).await?;
    latencies.sort_unstable();
    // What was held back goes out at once.
    topic.stop_after(0);
    let people = people + followed..2 * people + followed;
    let out = in_stage("publishing", publish(queue, topic, people)).await?;
    Ok(MessageFigures { in_rate, latencies, out })
}

/// Sends all messages about so many people, and answers how many were taken in a second.
async fn take_in(queue: &QueueStandIn, people: u64) -> anyhow::Result<f64> {
    let messages: Vec<String> =
        (0..MESSAGES_OF_PERSON).flat_map(|step| (0..people).map(move |person| message(person, step))).collect();
    let (count, started) = (messages.len(), Instant::now());
    queue.send_all(messages);
    wait_until(|| queue.queued() == 0).await;
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

/// Sends receptions steadily. Answers how long each took until the ledger answered about the
/// person.
async fn follow_receptions(
    address: SocketAddr,
    queue: &QueueStandIn,
    people: std::ops::Range<u64>,
) -> anyhow::Result<Vec<Duration>> {
    let mut ticks = interval(Duration::from_secs(1) / FOLLOWED_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut following = Vec::new();
    for person in people {
        ticks.tick().await;
        queue.send_all([message(person, 0)]);
        following.push(tokio::spawn(async move {
            let sent_at = Instant::now();
            let request =
                format!("GET /prisoners/{}/responsibility HTTP/1.1\r\nHost: {address}\r\n\r\n", number(person));
            while ask_once(address, &request).await.is_err() {
                sleep(LOOK).await;
            }
            sent_at.elapsed()
        }));
    }
    Ok(try_join_all(following).await?)
}

/// Has receptions taken in while the topic takes nothing, and answers how many go out in a second
/// from when it does: each is one message.
async fn publish(queue: &QueueStandIn, topic: &TopicStandIn, people: std::ops::Range<u64>) -> anyhow::Result<f64> {
    let count = people.clone().count();
    queue.send_all(people.map(|person| message(person, 0)));
    wait_until(|| queue.queued() == 0).await;
    let before = topic.count();
    topic.go_on();
    wait_until(|| topic.count() > before).await;
    let (begun_at, begun_with) = (Instant::now(), topic.count());
    wait_until(|| topic.count() >= before + count).await;
    Ok((topic.count() - begun_with) as f64 / begun_at.elapsed().as_secs_f64())
}

async fn wait_until(holds: impl Fn() -> bool) {
    while !holds() {
        sleep(LOOK).await;
    }
}

/// The body of a message in the queue.
fn message(person: u64, step: u64) -> String {
    let (direction, reason, prison) = match step {
        0 => ("received", "NEW_ADMISSION", "LEI"),
        1 => ("released", "TRANSFERRED", "LEI"),
        2 => ("received", "TRANSFERRED", "MDI"),
        _ => ("released", "RELEASED", "MDI"),
    };
    let event_type = format!("prisoner-offender-search.prisoner.{direction}");
    let event = json!({
        "eventType": event_type, "version": 1, "occurredAt": format!("2026-03-0{}T09:00:00Z", step + 1),
        "additionalInformation": {"nomsNumber": number(person), "reason": reason, "prisonId": prison},
    });
    let id = format!("63ba0b4b-0000-4000-800{step}-{person:012}");
    json!({
        "Type": "Notification", "MessageId": id, "Message": event.to_string(),
        "MessageAttributes": {"eventType": {"Type": "String", "Value": event_type}},
    })
    .to_string()
}

/// The measurements.
struct MessageFigures {
    /// Messages taken in a second.
    in_rate: f64,
    /// From the queue to an answer, in order.
    latencies: Vec<Duration>,
    /// Events published in a second.
    out: f64,
}

impl fmt::Display for MessageFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percentile = |of_hundred: usize| {
            let index = (self.latencies.len() * of_hundred / 100).min(self.latencies.len().saturating_sub(1));
            millis(self.latencies.get(index).copied().unwrap_or_default())
        };
        let steady = |what: &str| format!("from the queue to an answer, {FOLLOWED_PER_SECOND} a second, {what}");
        let mut table = table(&["measured", "figure", "goal on 2 cores"]);
        table.add_rows([
            ["messages taken in", &per_second(self.in_rate), "at least 1000/s"],
            [&steady("median"), &percentile(50), ""],
            [&steady("99 of 100"), &percentile(99), "under 500 ms"],
            ["events published, held back before", &per_second(self.out), "at least 2000/s"],
        ]);
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{table}")
    }
}

/// The exact meaning of the figures.
const WHAT_IS_MEASURED: &str = "\
A program serves all roles in a process of its own, with its Postgres; the queue, the topic and the callers share the cores with it.
taken in: a reception, a departure, an arrival and a release of each person, all queued at once, until the last is deleted, with
what follows from them published beside it. answer: receptions of new people, until GET …/responsibility answers about them.
published: receptions that were recorded while the topic gave no answer, from its first answer on.";
