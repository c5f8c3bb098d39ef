//! `bench rebuild`: the time to build, compare and export the views, beside the time that Postgres
//! needs to copy them.
//!
//! | measurement | how |
//! |---|---|
//! | rebuild, verify, export | the program, a process each: its time and memory (`program`) |
//! | COPY | the same rows out of Postgres and into it again (`copying`) |
//! | a case's history, a prison's list as known earlier | in process, the list over HTTP (`asking`) |
//!
//! On a ledger of made-up events only:
//!
//! | measurement | how |
//! |---|---|
//! | starts of a command service and of the single program | a process each (`starting`) |
//! | pgbench | `yardstick` |
//! | appends alone, beside a rebuild | in process (`appending`) |
//!
//! The ledgers are measured one after the other, each in a temporary directory with durable
//! settings, so that several sizes show how the cost grows.

mod appending;
mod asking;
mod copying;
mod starting;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use allocation_ledger::{
    stdout::{print_line, table},
    temporary_directory::temporary_directory,
};
use anyhow::{Context as _, bail};
use comfy_table::CellAlignment;
use event_log::SharedLog;
use event_log_postgres::PostgresLog;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{TEMPORARY, measure::millis, program, progress::in_stage, table::per_second, with_server, yardstick};

/// The ledger's database in the embedded Postgres.
const DATABASE: &str = "ledger";

/// The settings of `bench rebuild`.
#[derive(Debug, clap::Args)]
pub struct RebuildBenchSettings {
    /// About so many events in a made-up ledger; several sizes, parted by commas, are measured one
    /// after the other
    #[arg(long, default_value = "5000000", value_name = "EVENTS", value_delimiter = ',', conflicts_with = "data_dir",
          value_parser = clap::value_parser!(u64).range(1_000..))]
    events: Vec<u64>,
    /// Measure on the ledger in this directory instead; its views are rebuilt, and nothing is
    /// appended to it
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Seconds that pgbench, and appends alone, are measured
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// A JSON object a line for each ledger, instead of the table
    #[arg(long)]
    json: bool,
}

/// Measures and prints the table.
///
/// # Errors
/// There is no ledger, or a measurement fails.
pub async fn run(settings: &RebuildBenchSettings) -> anyhow::Result<()> {
    let columns = measure(settings).await?;
    if settings.json {
        columns.iter().try_for_each(|figures| print_line(&figures.json().to_string()))
    } else {
        print_line(&format!("{}\n{WHAT_IS_MEASURED}", FigureTable(&columns)))
    }
}

async fn measure(settings: &RebuildBenchSettings) -> anyhow::Result<Vec<LedgerFigures>> {
    if let Some(data_dir) = &settings.data_dir {
        if !embedded_postgres::exists(data_dir) {
            bail!("there is no ledger in {}: leave out --data-dir to measure on a made-up one", data_dir.display());
        }
        return Ok(vec![on_ledger(data_dir).await?]);
    }
    yardstick::find_pgbench()?;
    let mut columns = Vec::new();
    for events in &settings.events {
        let directory = temporary_directory(TEMPORARY)?;
        let data_dir = directory.path().join("ledger");
        let arguments = program::generate_arguments(*events);
        let generate = program::run(&arguments.each_ref().map(String::as_str), &data_dir).await?;
        let figures = on_ledger(&data_dir).await?;
        let made_up = on_made_up_ledger(&data_dir, generate.taken, Duration::from_secs(settings.seconds)).await?;
        columns.push(LedgerFigures { made_up: Some(made_up), ..figures });
    }
    Ok(columns)
}

/// Takes the measurements that append nothing, on a ledger which must have events.
async fn on_ledger(data_dir: &Path) -> anyhow::Result<LedgerFigures> {
    with_server(data_dir, async |server| {
        let url = server.url(DATABASE);
        let (log, pool) = open_log(&url).await?;
        let events = log.head().await.context("look where the log ends")?;
        checkpoint(&pool).await?;
        let rebuild = program::run(&["projections", "rebuild"], data_dir).await?;
        let copied = in_stage("copying rows", copying::copy_views(&url)).await?;
        checkpoint(&pool).await?;
        let verify = program::run(&["projections", "verify"], data_dir).await?;
        let exports = temporary_directory(TEMPORARY)?;
        let file = exports.path().join("log.parquet");
        let file = file.to_str().context("a temporary directory with a name in UTF-8")?;
        let export = program::run(&["export", "log", "--output", file], data_dir).await?;
        let export_bytes = std::fs::metadata(file).context("look at the exported file")?.len();
        let history = in_stage("reading histories", asking::history(&log, &pool)).await?;
        let known_at = in_stage("asking what was known", asking::known_at(&log, &pool, &url)).await?;
        drop(log);
        pool.close().await;
        Ok(LedgerFigures { events, copied, rebuild, verify, export, export_bytes, history, known_at, made_up: None })
    })
    .await
}

/// Takes the measurements that may append, on a ledger of made-up events whose views are built.
/// Appends come last: they leave views and policies behind.
async fn on_made_up_ledger(
    data_dir: &Path,
    generate: Duration,
    duration: Duration,
) -> anyhow::Result<MadeUpLedgerFigures> {
    let new_machines = with_server(data_dir, async |server| {
        let url = server.url(DATABASE);
        let (log, pool) = open_log(&url).await?;
        let starts = starting::measure_on_new_machines(&log, &url).await?;
        drop(log);
        pool.close().await;
        Ok(starts)
    })
    .await?;
    let single_program = starting::measure_single_program(data_dir).await?;
    with_server(data_dir, async |server| {
        yardstick::prepare(server).await?;
        let scripts = temporary_directory(TEMPORARY)?;
        let inserting = yardstick::measure_inserts(server, scripts.path(), duration);
        let inserts = in_stage("inserting by pgbench", inserting).await?;
        let (log, pool) = open_log(&server.url(DATABASE)).await?;
        let appends = appending::measure_appends(&log, data_dir, duration).await?;
        drop(log);
        pool.close().await;
        Ok(MadeUpLedgerFigures { generate, new_machines, single_program, inserts, appends })
    })
    .await
}

async fn open_log(url: &str) -> anyhow::Result<(SharedLog, PgPool)> {
    let pool = PgPool::connect(url).await.context("connect to the ledger")?;
    let log = Arc::new(PostgresLog::connect(&pool).await.context("open the event log")?);
    Ok((log, pool))
}

/// Makes a checkpoint, so that earlier work does not count for the next measurement.
async fn checkpoint(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::raw_sql("CHECKPOINT").execute(pool).await.context("have Postgres write its pages")?;
    Ok(())
}

/// The measurements on one ledger.
struct LedgerFigures {
    events: u64,
    copied: copying::RowCopy,
    rebuild: program::ToolRun,
    verify: program::ToolRun,
    export: program::ToolRun,
    export_bytes: u64,
    history: Duration,
    known_at: asking::KnownAtTimes,
    made_up: Option<MadeUpLedgerFigures>,
}

/// The measurements that are taken only on a ledger of made-up events.
struct MadeUpLedgerFigures {
    generate: Duration,
    new_machines: starting::NewMachineStarts,
    single_program: Duration,
    /// The rate of pgbench's inserts.
    inserts: f64,
    appends: appending::Appends,
}

impl LedgerFigures {
    fn ratio(&self) -> f64 {
        self.rebuild.taken.as_secs_f64() / self.copied.taken.as_secs_f64()
    }

    fn per_second(&self, taken: Duration) -> f64 {
        self.events as f64 / taken.as_secs_f64()
    }

    fn json(&self) -> Value {
        let made_up = |figure: fn(&MadeUpLedgerFigures) -> f64| self.made_up.as_ref().map(figure);
        json!({
            "events": self.events,
            "rows": self.copied.rows,
            "generateSeconds": made_up(|figures| figures.generate.as_secs_f64()),
            "copySeconds": self.copied.taken.as_secs_f64(),
            "rebuildSeconds": self.rebuild.taken.as_secs_f64(),
            "rebuildTimesCopy": self.ratio(),
            "rebuildPeakKib": self.rebuild.peak_kib,
            "verifySeconds": self.verify.taken.as_secs_f64(),
            "verifyPeakKib": self.verify.peak_kib,
            "exportSeconds": self.export.taken.as_secs_f64(),
            "exportEventsPerSecond": self.per_second(self.export.taken),
            "exportPeakKib": self.export.peak_kib,
            "exportBytes": self.export_bytes,
            "historyMedianSeconds": self.history.as_secs_f64(),
            "knownAtMedianSeconds": self.known_at.median.as_secs_f64(),
            "knownAtMaxSeconds": self.known_at.longest.as_secs_f64(),
            "commandReadyFromLogSeconds": made_up(|figures| figures.new_machines.command_from_log.as_secs_f64()),
            "commandReadySeconds": made_up(|figures| figures.new_machines.command.as_secs_f64()),
            "singleReadyOnNewMachineSeconds": made_up(|figures| figures.new_machines.single.as_secs_f64()),
            "singleReadySeconds": made_up(|figures| figures.single_program.as_secs_f64()),
            "pgbenchInsertsPerSecond": made_up(|figures| figures.inserts),
            "appendsPerSecond": made_up(|figures| figures.appends.alone),
            "appendsTimesPgbench": made_up(MadeUpLedgerFigures::appends_times_pgbench),
            "appendsPerSecondDuringRebuild": made_up(|figures| figures.appends.during),
        })
    }

    /// The cells of the ledger's column, one for each of [`ROWS`].
    fn cells(&self) -> [String; ROWS.len()] {
        let made_up =
            |figure: fn(&MadeUpLedgerFigures) -> String| self.made_up.as_ref().map_or_else(|| "–".to_owned(), figure);
        [
            self.events.to_string(),
            self.copied.rows.to_string(),
            made_up(|figures| seconds(figures.generate)),
            seconds(self.copied.taken),
            seconds(self.rebuild.taken),
            per_second(self.per_second(self.rebuild.taken)),
            format!("{:.2}", self.ratio()),
            mebibytes(self.rebuild.peak_kib),
            seconds(self.verify.taken),
            mebibytes(self.verify.peak_kib),
            millis(self.history),
            millis(self.known_at.median),
            millis(self.known_at.longest),
            per_second(self.per_second(self.export.taken)),
            mebibytes(self.export_bytes / 1024),
            made_up(|figures| hundredths(figures.new_machines.command_from_log)),
            made_up(|figures| hundredths(figures.new_machines.command)),
            made_up(|figures| hundredths(figures.new_machines.single)),
            made_up(|figures| hundredths(figures.single_program)),
            made_up(|figures| per_second(figures.inserts)),
            made_up(|figures| per_second(figures.appends.alone)),
            made_up(|figures| format!("{:.2}", figures.appends_times_pgbench())),
            made_up(|figures| per_second(figures.appends.during)),
            made_up(|figures| format!("{:.2}", figures.appends.during / figures.appends.alone)),
        ]
    }
}

impl MadeUpLedgerFigures {
    fn appends_times_pgbench(&self) -> f64 {
        self.appends.alone / self.inserts
    }
}

/// The measurements and their goals; the first row is the head of the table.
const ROWS: [(&str, &str); 24] = [
    ("events in the log", "goal: 5 million events, 2 cores"),
    ("rows of all views", ""),
    ("generate the log", ""),
    ("COPY of the rows of all views, out and in", ""),
    ("rebuild of all views", "under 60 s"),
    ("rebuild, events", ""),
    ("rebuild, time divided by COPY's", "at most 4"),
    ("rebuild, peak memory", "under 1536 MiB"),
    ("verify all views", "about a rebuild"),
    ("verify, peak memory", "under 1536 MiB"),
    ("history of one case, median", "under 5 ms"),
    ("a prison's list as known earlier, median", "under 1 s"),
    ("a prison's list as known earlier, longest", "under 1 s"),
    ("export of the log to Parquet, events", "over 300000/s"),
    ("export of the log to Parquet, size of the file", ""),
    ("command service ready, first start: whole log read", ""),
    ("command service ready, new machine", "under 3 s"),
    ("single program ready, new machine", "under 3 s"),
    ("single program ready, with its own Postgres", "under 3 s"),
    ("pgbench insert, a row a transaction, 64 clients", ""),
    ("appends alone, 64 callers", ""),
    ("appends alone, rate divided by pgbench's", "at least 1.3"),
    ("appends beside a rebuild, 64 callers", ""),
    ("appends beside a rebuild, rate divided by alone", "at least 0.5"),
];

/// The exact meaning of the figures.
const WHAT_IS_MEASURED: &str = "\
rebuild, verify, export: the program as a process of its own beside a running server, from its start to its end; memory: its
VmHWM, without the server's.
COPY: each view by COPY TO STDOUT (FORMAT binary) on one connection, into COPY FROM STDIN (FORMAT binary) on another as it comes,
table after table, each a durable transaction; into empty tables with the same keys, indexes and checks (LIKE … INCLUDING ALL).
history: read from the log and folded, in process, warm, 200 cases. A prison's list: GET /prisons/{prisonCode}/cases?known-at=&limit=1000
over HTTP at the ten prisons with most cases, as known when half of today's log was there.
ready: from the start of the process until GET /health/readiness answers 200. The first command service finds no snapshot of
its policies in the event store, and leaves one, with which the later starts begin. A new machine has no file of the ledger: log and
views are on a server elsewhere. The last start is that on the data directory, and Postgres starts with it.
pgbench: each transaction inserts a row as wide as an event, on the same server, prepared.
appends: one event each to streams of their own, durable; alone, then from the start to the end of a rebuild.";

fn seconds(taken: Duration) -> String {
    format!("{:.1} s", taken.as_secs_f64())
}

fn hundredths(taken: Duration) -> String {
    format!("{:.2} s", taken.as_secs_f64())
}

fn mebibytes(kib: u64) -> String {
    format!("{} MiB", kib / 1024)
}

/// A table of measurements, with a column for each ledger.
struct FigureTable<'a>(&'a [LedgerFigures]);

impl fmt::Display for FigureTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = self.0.iter().map(LedgerFigures::cells).collect();
        let mut rows = ROWS.iter().enumerate().map(|(row, (what, goal))| {
            let figures = columns.iter().map(|cells| cells[row].as_str());
            std::iter::once(*what).chain(figures).chain([*goal]).collect::<Vec<_>>()
        });
        let mut table = table(&rows.next().unwrap_or_default());
        table.add_rows(rows);
        for index in 1..=columns.len() {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.fmt(f)
    }
}
