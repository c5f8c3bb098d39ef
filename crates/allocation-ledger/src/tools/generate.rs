//! `generate`: a made-up history of a whole country, to try the ledger out at its real size.
//!
//! The crate `simulation` decides what happens, on a thread of its own; here the batches of events
//! that it hands over are appended to the log.

use std::{pin::pin, time::Instant};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use clap::{Args, value_parser};
use command::Clock;
use domain::{
    london,
    moment::{Date, YEARS},
};
use event_log::OrderedError;
use indicatif::{HumanCount, ProgressBar};
use serde_json::json;
use simulation::{Batch, Size, simulate, years_before};
use tokio::sync::mpsc;

use crate::{
    interrupt::{interruption, unless_interrupted},
    progress::{PERCENT, style},
    shared_settings,
    stdout::print_line,
    stores::LogStore,
};

/// Batches that may wait for the writer: enough to even out the speed of both sides, and few
/// megabytes.
const BATCHES_WAITING_MAX: usize = 2;

/// The settings of `generate`.
#[derive(Debug, Args)]
pub struct GenerateSettings {
    /// People in prison at a time
    #[arg(long, default_value_t = 88_000, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    prisoners: u32,
    /// Years of history
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = value_parser!(u32).range(1..=50))]
    years: u32,
    /// Prisons
    #[arg(long, default_value_t = 120, value_name = "N", value_parser = value_parser!(u32).range(1..=simulation::PRISONS_MAX as i64))]
    prisons: u32,
    /// The seed of chance: the same number makes the same history
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// Last day of the history
    #[arg(long, default_value = "2026-10-31", value_name = "DATE")]
    until: Date,
    /// One JSON object when done
    #[arg(long)]
    json: bool,
    /// Where the event log is kept.
    #[command(flatten)]
    log: shared_settings::LogSettings,
}

/// The size of a history that was generated.
#[derive(Debug, Default)]
struct HistorySize {
    events: u64,
    cases: usize,
}

/// Generates a history.
///
/// # Errors
/// The log holds events already, it is interrupted, or the store fails; what was written by then is
/// a shorter history.
pub async fn run(settings: &GenerateSettings) -> anyhow::Result<()> {
    if last_day(settings) > london::date(Clock::system().now()) {
        bail!("--until {} is still to come: nothing can have been recorded then yet", settings.until);
    }
    if first_day(settings).year() < *YEARS.start() {
        bail!(
            "{} years up to {} would begin before {}, which the ledger does not record: give a later --until, or fewer \
             --years",
            settings.years,
            settings.until,
            YEARS.start()
        );
    }
    let (HistorySize { events, cases }, seconds) = LogStore::with(&settings.log, async |store| {
        let started = Instant::now();
        let generated = write(settings, store).await?;
        Ok((generated, started.elapsed().as_secs_f64()))
    })
    .await?;
    let rate = (events as f64 / seconds).round();
    let (prisons, seed, until) = (settings.prisons, settings.seed, last_day(settings));
    print_line(&if settings.json {
        json!({
            "events": events, "cases": cases, "prisons": prisons, "seconds": seconds, "eventsPerSecond": rate,
            "from": first_day(settings), "until": until, "seed": seed,
        })
        .to_string()
    } else {
        format!(
            "generated {events} events of {cases} cases at {prisons} prisons, from {} to {until} with seed {seed}, in \
             {seconds:.1} s ({rate} events/s)",
            first_day(settings)
        )
    })
}

/// The last day of the history.
fn last_day(settings: &GenerateSettings) -> NaiveDate {
    settings.until.into()
}

/// The first day of the history.
fn first_day(settings: &GenerateSettings) -> NaiveDate {
    years_before(last_day(settings), settings.years)
}

async fn write(settings: &GenerateSettings, store: &LogStore) -> anyhow::Result<HistorySize> {
    let head = store.log.head().await.context("look where the log ends")?;
    if head > 0 {
        bail!(
            "this ledger holds events already, up to position {head}, and made-up ones must not stand among them: \
             generate into a ledger of its own, with --data-dir or --event-store"
        );
    }
    let size = Size {
        prisoners: settings.prisoners as usize,
        prisons: settings.prisons as usize,
        from: first_day(settings),
        until: last_day(settings),
    };
    let seed = settings.seed;
    let (batches, mut waiting) = mpsc::channel::<Batch>(BATCHES_WAITING_MAX);
    // On a separate thread, as the simulation waits for nothing but room in the channel. It ends
    // when the receiver is gone.
    let world = std::thread::spawn(move || simulate(size, seed, |batch| batches.blocking_send(batch).is_ok()));

    let bar = progress_bar(size);
    let mut writer = store.ordered_writer();
    let mut generated = HistorySize::default();
    let mut end = 0;
    let mut signalled = pin!(unless_interrupted(std::future::pending::<anyhow::Result<()>>()));
    loop {
        let batch = tokio::select! {
            biased;
            _ = &mut signalled => {
                bar.abandon();
                return Err(interruption(&format!(
                    "the log holds the first {} events, a history that ends earlier",
                    generated.events
                )));
            }
            batch = waiting.recv() => batch,
        };
        let Some(batch) = batch else { break };
        end = match writer.append(end, &batch.events).await {
            Ok(end) => end,
            Err(OrderedError::Moved { after, head }) => bail!(
                "another program records in this ledger: it ends at position {head} instead of {after}. Generate into a \
                 ledger of its own"
            ),
            Err(error @ OrderedError::Overtaken { .. }) => {
                return Err(anyhow::Error::new(error).context(
                    "the log is no beginning of the history: generate into another ledger, such as one with another \
                     --stream-prefix",
                ));
            }
            Err(error) => return Err(anyhow::Error::new(error).context("write the events")),
        };
        generated.events += batch.events.len() as u64;
        show(&bar, size, batch.until, generated.events);
    }
    bar.finish_and_clear();
    generated.cases = match world.join() {
        Ok(cases) => cases,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    Ok(generated)
}

fn progress_bar(size: Size) -> ProgressBar {
    let days = (size.until - size.from).num_days().unsigned_abs();
    ProgressBar::new(days).with_style(style(PERCENT)).with_prefix("generating")
}

fn show(bar: &ProgressBar, size: Size, until: DateTime<Utc>, events: u64) {
    let day = london::date(until);
    bar.set_position((day - size.from).num_days().unsigned_abs());
    let rate = events as f64 / bar.elapsed().as_secs_f64().max(0.001);
    bar.set_message(format!("{day} {} events {}/s", HumanCount(events), HumanCount(rate as u64)));
}
