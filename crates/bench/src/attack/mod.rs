//! `bench attack`: the answers that users get while other clients do all that they can to keep them
//! out, and the memory that it takes.
//!
//! The program serves in a process of its own. The attackers (`attackers`) come from loopback
//! addresses other than that of the users (`users`), so each of them is a client of its own.

mod attackers;
mod users;

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
use comfy_table::CellAlignment;
use tokio::time::sleep;

use self::{
    attackers::{Attack, AttackCounts},
    users::UserFigures,
};
use crate::{
    GONE, TEMPORARY,
    http::ask_once,
    measure::millis,
    program::{self, ServingProcess},
    progress::in_stage,
    table::per_second,
};

/// The pause between two looks at the memory of the program.
const MEMORY_LOOK: Duration = Duration::from_millis(100);

/// How long the program has, after the attack, to give back what memory it took.
const MEMORY_BACK_MAX: Duration = Duration::from_secs(60);

/// The memory that it may keep of what it took, in KiB.
const MEMORY_KEPT_KIB: u64 = 64 * 1024;

/// How old the samples in the metrics may be, with time to spare: scrapes share them.
const SAMPLES_AGE_MAX: Duration = Duration::from_secs(2);

/// The settings of `bench attack`.
#[derive(Debug, clap::Args)]
pub struct AttackBenchSettings {
    /// Seconds that the attack takes; before it, the users are measured alone for a fourth of them
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(4..))]
    seconds: u64,
}

/// Attacks a ledger that it makes, and prints the table.
///
/// # Errors
/// The program does not start or ends, or the user interrupts it.
pub async fn run(settings: &AttackBenchSettings) -> anyhow::Result<()> {
    let directory = temporary_directory(TEMPORARY)?;
    let data_dir = directory.path().join("ledger");
    let data_dir = data_dir.to_str().context("a temporary directory with a name in UTF-8")?;
    let program = ServingProcess::start(program::program()?, &["--data-dir", data_dir]).await?;
    let measured = unless_interrupted(measure(&program, Duration::from_secs(settings.seconds))).await;
    program.end().await?;
    let figures = measured?.ok_or_else(|| interruption(GONE))?;
    print_line(&format!("{figures}\n{WHAT_IS_MEASURED}"))
}

async fn measure(program: &ServingProcess, duration: Duration) -> anyhow::Result<AttackFigures> {
    let address: SocketAddr = program.address.parse().context("read the address of the program")?;
    let prepared = in_stage("recording cases", users::prepare(address)).await?;
    let alone = in_stage("measuring the users alone", users::measure(address, 0, duration / 4)).await?;
    let before_kib = program.resident_kib();
    let started = Instant::now();
    let attack = Attack::start(address);
    let under_attack = in_stage("attacking", users::measure(address, 1, duration));
    let (under_attack, peak_kib) = with_peak_memory(program, under_attack).await;
    let under_attack = under_attack?;
    let attacked_for = started.elapsed();
    let counts = attack.end();
    let events = log_end(address).await?;
    let back = async { Ok(wait_until_back(program, before_kib, users::measure(address, 2, MEMORY_BACK_MAX)).await) };
    let back_after = in_stage("waiting for memory to be given back", back).await?;
    let acknowledged = prepared + alone.acknowledged + under_attack.acknowledged;
    Ok(AttackFigures {
        alone,
        under_attack,
        attacked_for,
        counts,
        before_kib,
        peak_kib,
        back_after,
        unaccounted: events.abs_diff(acknowledged),
    })
}

/// Awaits a future, and looks at the program's memory meanwhile.
async fn with_peak_memory<T>(program: &ServingProcess, work: impl Future<Output = T>) -> (T, u64) {
    let mut work = std::pin::pin!(work);
    let mut peak_kib = 0;
    loop {
        tokio::select! {
            done = &mut work => return (done, peak_kib),
            () = sleep(MEMORY_LOOK) => peak_kib = peak_kib.max(program.resident_kib()),
        }
    }
}

/// The time until the program, while users go on working, has given its memory back; `None` if it
/// has not by the end of their work.
async fn wait_until_back<W>(
    program: &ServingProcess,
    before_kib: u64,
    work: impl Future<Output = W>,
) -> Option<Duration> {
    let ended = Instant::now();
    let back = async {
        while program.resident_kib() > before_kib + MEMORY_KEPT_KIB {
            sleep(MEMORY_LOOK).await;
        }
        ended.elapsed()
    };
    tokio::select! {
        after = back => Some(after),
        _ = work => None,
    }
}

/// The position of the last event: the number of events, as the log is in Postgres.
async fn log_end(address: SocketAddr) -> anyhow::Result<u64> {
    sleep(SAMPLES_AGE_MAX).await;
    let metrics = ask_once(address, &format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n")).await?;
    let value = metrics.lines().find_map(|line| line.strip_prefix("ledger_log_position "));
    let position: f64 = value.context("find the end of the log in the metrics")?.parse().context("read a metric")?;
    Ok(position as u64)
}

/// The measurements of one attack.
struct AttackFigures {
    alone: UserFigures,
    under_attack: UserFigures,
    attacked_for: Duration,
    counts: AttackCounts,
    before_kib: u64,
    peak_kib: u64,
    back_after: Option<Duration>,
    /// Events in the log that no answer acknowledged, or the other way round.
    unaccounted: u64,
}

impl AttackFigures {
    fn rows(&self) -> Vec<[String; 3]> {
        let Self { alone, under_attack, counts, .. } = self;
        let row = |what: &str, figure: String, goal: &str| [what.to_owned(), figure, goal.to_owned()];
        let rate = |count: u64| per_second(count as f64 / self.attacked_for.as_secs_f64());
        let mebibytes = |kib: u64| format!("{} MiB", kib / 1024);
        let mut rows = vec![
            row("rubbish sent", rate(counts.rubbish_sent), ""),
            row("rubbish answered", rate(counts.rubbish.total()), ""),
            row("rubbish answered, by status", counts.rubbish.to_string(), ""),
            row("idle connections", counts.idle.to_string(), "1000"),
            row("readers that take nothing, by status", counts.untaken.to_string(), ""),
            row("HTTP/2 with a window of 0", counts.http_2.to_string(), "refused"),
            row("bodies of 2 MB, by status", counts.bodies.to_string(), ""),
        ];
        for (what, measured) in [("alone", alone), ("under attack", under_attack)] {
            let goal = if what == "alone" { "" } else { "under 250 ms" };
            for (kind, times) in [("commands", &measured.commands), ("questions", &measured.questions)] {
                rows.push(row(&format!("{kind} {what}, answered"), times.count().to_string(), ""));
                rows.push(row(&format!("{kind} {what}, median"), millis(times.percentile(50)), ""));
                rows.push(row(&format!("{kind} {what}, 99 of 100"), millis(times.percentile(99)), goal));
            }
        }
        let unanswered = alone.unanswered + under_attack.unanswered;
        let back = self.back_after.map_or("not".to_owned(), |after| format!("{:.1} s", after.as_secs_f64()));
        rows.extend([
            row("users' requests refused or not answered", unanswered.to_string(), "0"),
            row("resident memory before", mebibytes(self.before_kib), ""),
            row("resident memory at most", mebibytes(self.peak_kib), "under 400 MiB"),
            row("resident memory back after", back, "60 s"),
            row("events recorded and not acknowledged", self.unaccounted.to_string(), "0"),
        ]);
        rows
    }
}

impl fmt::Display for AttackFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = table(&["measured", "figure", "goal on 2 cores"]);
        table.add_rows(self.rows());
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{table}")
    }
}

/// The exact meaning of the figures.
const WHAT_IS_MEASURED: &str = "\
A program serves all roles in a process of its own, with its Postgres; users and attackers share the cores with both.
users: from 127.0.0.1, 4 connections that record a tier and 4 that ask who is responsible, each every 20 ms.
rubbish: from 50 addresses, over a connection each: unknown paths, parameters, methods and hosts, bodies that are no JSON, forged tokens,
/health and /metrics, and bytes that are no HTTP. idle: from 127.0.0.3, half of them with half a head. readers: 64 from 8 addresses, half of them asking
for a page of 1,000 events and half for a stream. HTTP/2: a connection that begins in it and takes no answers. bodies: from 80
addresses, each sent within 10 s, then again. By status: 0 is a connection that ended without an answer.
memory: that of the program without its Postgres; back is within 64 MiB of before.";
