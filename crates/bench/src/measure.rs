//! The log, the commands and the projector, measured in process.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use allocation_ledger::shared_settings;
use anyhow::Context as _;
use command::{Clock, Request, Service};
use domain::{
    Command, Confinement, Event, Stream,
    event::RecordedBy,
    identifier::{CommandId, PrisonerNumber},
    prisoner::{self, History, PrisonerEvent, TierAssigned},
    tier::TierSource,
};
use embedded_postgres::Server;
use event_log::{
    APPEND_EVENTS_MAX, ExpectedRevision, Metadata, NewEvent, Salt, SharedLog, encode, history::fold, request_digest,
};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream, stream::FuturesUnordered};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{fresh_log, table::ResultTable, yardstick};

/// Runs `callers` at once, each of which calls `once` repeatedly with numbers of its own. Answers
/// the rate.
async fn rate<F, Fut>(callers: u64, duration: Duration, once: F) -> anyhow::Result<f64>
where
    F: Fn(u64) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let started = Instant::now();
    // Each caller is polled alone: polling all of them on each wake-up would take the measured
    // time.
    let calling: FuturesUnordered<_> = (0..callers)
        .map(|caller| {
            let once = &once;
            async move {
                let mut count = 0;
                while started.elapsed() < duration {
                    once(caller + callers * count).await?;
                    count += 1;
                }
                anyhow::Ok(count)
            }
        })
        .collect();
    let counts: Vec<u64> = calling.try_collect().await?;
    Ok(counts.iter().sum::<u64>() as f64 / started.elapsed().as_secs_f64())
}

/// Calls that were measured one by one.
pub(crate) struct MeasuredCalls {
    /// Calls a second.
    pub(crate) rate: f64,
    pub(crate) median: Duration,
    /// The indexes of the calls, at least one.
    pub(crate) indexes: Vec<u64>,
}

/// As [`rate`], and measures each call.
pub(crate) async fn calls<F, Fut>(callers: u64, duration: Duration, once: F) -> anyhow::Result<MeasuredCalls>
where
    F: Fn(u64) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let taken = Mutex::new(Vec::new());
    let rate = rate(callers, duration, |index| {
        let (call, taken) = (once(index), &taken);
        async move {
            let started = Instant::now();
            call.await?;
            if let Ok(mut taken) = taken.lock() {
                taken.push((started.elapsed(), index));
            }
            Ok(())
        }
    })
    .await?;
    let mut taken = taken.into_inner().unwrap_or_default();
    taken.sort_unstable();
    let (median, _) = taken.get(taken.len() / 2).copied().context("nothing was answered")?;
    Ok(MeasuredCalls { rate, median, indexes: taken.into_iter().map(|(_, index)| index).collect() })
}

/// The first index of prisoner numbers that no simulated case has, since those count up from the
/// first.
pub(crate) const UNUSED_NUMBER: u64 = 100_000_000;

/// The prisoner number with this index, of 175 million.
pub(crate) fn number(index: u64) -> PrisonerNumber {
    let letter = |value: u64| char::from(b'A' + u8::try_from(value % 26).unwrap_or(0));
    let (digits, rest) = (index % 10_000, index / 10_000);
    format!("{}{digits:04}{}{}", letter(rest / 676), letter(rest / 26), letter(rest)).parse().expect("by its format")
}

pub(crate) fn tier() -> TierAssigned {
    TierAssigned {
        tier: "B2".parse().expect("by its format"),
        rosh_level: None,
        source: TierSource::Delius,
        crn: Some("X123456".parse().expect("by its format")),
        prison: Some("LEI".parse().expect("by its format")),
    }
}

fn recorded_by() -> RecordedBy {
    RecordedBy {
        username: Some("BENCH".parse().expect("by its format")),
        client: "allocation-ledger bench".to_owned(),
        auth_source: None,
    }
}

pub(crate) fn new_event(stream: &Stream, index: usize, command_id: CommandId) -> NewEvent {
    let digest = request_digest("bench", "", &());
    let now = Clock::system().now();
    let metadata = Metadata::new(now, recorded_by(), command_id, digest, command_id.0, None);
    encode(stream, &Event::Prisoner(PrisonerEvent::TierAssigned(tier())), index, &metadata, now, Salt::random())
}

/// Measures durable appends to the log, one event each, in events a second.
pub(crate) async fn appends(server: &Server, duration: Duration, table: &mut ResultTable) -> anyhow::Result<()> {
    for (callers, goal) in [(64, 1.3), (256, 1.9)] {
        let (log, _) = fresh_log(server, &format!("appends_{callers}")).await?;
        let rate = rate(callers, duration, |index| {
            let log = Arc::clone(&log);
            async move {
                let stream = Stream::Prisoner(number(index));
                let events = vec![new_event(&stream, 0, CommandId(Uuid::new_v4()))];
                log.append(&stream, ExpectedRevision::NoStream, events).await.context("append")?;
                Ok(())
            }
        })
        .await?;
        table.writes(&format!("appends of one event, {callers} callers"), rate, goal);
    }
    Ok(())
}

/// Measures commands through load, decide and append, each on a case of its own.
pub(crate) async fn commands(
    server: &Server,
    commands: &shared_settings::CommandSettings,
    duration: Duration,
    table: &mut ResultTable,
) -> anyhow::Result<()> {
    let (log, _) = fresh_log(server, "commands").await?;
    let service = Service::new(log, commands.command_settings());
    let rate = rate(64, duration, |index| {
        let service = service.clone();
        async move {
            let command_id = CommandId(Uuid::new_v4());
            service
                .execute(Request {
                    command: Command::Prisoner(number(index), prisoner::Command::AssignTier(tier())),
                    command_id,
                    request_digest: request_digest("bench", "", &()).into(),
                    recorded_by: recorded_by(),
                    correlation_id: command_id.0,
                    causation_id: None,
                    provenance: None,
                    effective_at: None,
                    if_match: None,
                    confinement: Confinement::default(),
                })
                .await
                .context("execute a command")?;
            Ok(())
        }
    })
    .await?;
    table.writes("commands on distinct cases, 64 callers", rate, 1.1);
    Ok(())
}

/// Measures loading and folding a stream of 100 events.
pub(crate) async fn stream_of_100(server: &Server, table: &mut ResultTable) -> anyhow::Result<()> {
    let (log, _) = fresh_log(server, "stream_of_100").await?;
    let stream = Stream::Prisoner(number(0));
    for (expected, count) in [(ExpectedRevision::NoStream, 50), (ExpectedRevision::Exact(49), 50)] {
        let command_id = CommandId(Uuid::new_v4());
        let events = (0..count).map(|index| new_event(&stream, index, command_id)).collect();
        log.append(&stream, expected, events).await.context("append")?;
    }
    let mut taken = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        let events = log.read_stream(&stream, 0, 1_000).await.context("load a stream")?;
        let history: History = fold(number(0), &events).context("fold a stream")?;
        std::hint::black_box(history.state());
        taken.push(started.elapsed());
    }
    taken.sort_unstable();
    table.time("load and fold a stream of 100 events, median", millis(taken[100]), "under 2 ms");
    Ok(())
}

/// Measures filling a log, and the projector from empty views to its end, beside `COPY`.
pub(crate) async fn fill_and_catch_up(server: &Server, events: u64, table: &mut ResultTable) -> anyhow::Result<()> {
    let copy = yardstick::measure_copy(server, events).await?;
    table.bulk(&format!("COPY of {events} rows like events, out and in"), copy, copy, "");
    let (log, views) = fresh_log(server, "catch_up").await?;
    let started = Instant::now();
    fill(&log, events).await?;
    let rate = events as f64 / started.elapsed().as_secs_f64();
    table.bulk(&format!("filling a log with {events} events, {EVENTS_A_CASE} an append"), rate, copy, "");
    let (status, mut statuses) = watch::channel(projector::Status::Starting);
    let caught_up = async move {
        let reached = |status: &projector::Status| match status {
            projector::Status::Running { position, .. } => *position >= events,
            projector::Status::Stopped { .. } | projector::Status::Ended => true,
            _ => false,
        };
        // An error means that the projector has ended, which its own result says.
        let _ = statuses.wait_for(reached).await;
    };
    let started = Instant::now();
    projector::run(log, views, projector::ProjectorSettings::default(), status, caught_up.boxed())
        .await
        .context("project the events of the benchmark")?;
    let rate = events as f64 / started.elapsed().as_secs_f64();
    table.bulk(&format!("projector catching up on {events} events"), rate, copy, "over 60000/s");
    Ok(())
}

/// The events of a case after two years.
const EVENTS_A_CASE: usize = 12;
const _: () = assert!(EVENTS_A_CASE <= APPEND_EVENTS_MAX);

/// Fills the log with cases of [`EVENTS_A_CASE`] events each.
async fn fill(log: &SharedLog, events: u64) -> anyhow::Result<()> {
    let cases = events.div_ceil(EVENTS_A_CASE as u64);
    stream::iter(0..cases)
        .map(|index| {
            let left = usize::try_from(events - index * EVENTS_A_CASE as u64).unwrap_or(usize::MAX);
            async move {
                let command_id = CommandId(Uuid::new_v4());
                let stream = Stream::Prisoner(number(index));
                let events = (0..left.min(EVENTS_A_CASE)).map(|index| new_event(&stream, index, command_id)).collect();
                log.append(&stream, ExpectedRevision::NoStream, events).await
            }
        })
        .buffer_unordered(256)
        .try_for_each(|_| async { Ok(()) })
        .await
        .context("fill the log")
}

pub(crate) fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
