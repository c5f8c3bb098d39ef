//! `bench`: the speed of the ledger on this machine, compared with Postgres alone.
//!
//! Everything runs in one process, on an embedded Postgres in a temporary directory with durable
//! settings. The floor is `pgbench`, which inserts one row of the same kind in a transaction and
//! selects one row by key. The goals are ratios to that floor.

mod floor;
mod http;
mod measure;
mod rebuild;
mod table;

use std::{env, path::Path, process::ExitCode, sync::Arc, time::Duration};

use allocation_ledger::{logs_and_traces, shared_settings, temporary_directory::temporary_directory};
use anyhow::Context as _;
use clap::Parser as _;
use embedded_postgres::Server;
use event_log::SharedLog;
use event_log_postgres::PostgresLog;
use sqlx::PgPool;

/// The beginning of the names of temporary directories.
const TEMPORARY: &str = "allocation-ledger-bench-";

/// Measure the ledger on this machine, beside what Postgres alone can do here
#[derive(Debug, clap::Parser)]
#[command(name = "bench", version, args_conflicts_with_subcommands = true)]
struct BenchCli {
    #[command(subcommand)]
    subject: Option<BenchSubject>,
    /// Seconds that each measurement runs
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    seconds: u64,
    /// Events in the log when catching up is measured
    #[arg(long, default_value_t = 1_000_000, value_name = "EVENTS")]
    events: u64,
    /// How commands are decided.
    #[command(flatten)]
    commands: shared_settings::CommandSettings,
    #[command(flatten)]
    telemetry: logs_and_traces::TelemetrySettings,
}

/// The other measurements.
#[derive(Debug, clap::Subcommand)]
enum BenchSubject {
    /// Measure building the views, comparing them, exporting the log, and asking about the past, on
    /// large ledgers
    Rebuild(rebuild::RebuildBenchSettings),
}

fn main() -> ExitCode {
    if env::var_os(rebuild::AS_PROGRAM).is_some() {
        return allocation_ledger::main();
    }
    match run(&BenchCli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &BenchCli) -> anyhow::Result<()> {
    let telemetry = logs_and_traces::start(&cli.telemetry, logs_and_traces::TOOL_LOG_FILTER)?;
    let measured =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the async runtime")?.block_on(
            async {
                match &cli.subject {
                    Some(BenchSubject::Rebuild(settings)) => rebuild::run(settings).await,
                    None => run_here(cli).await,
                }
            },
        );
    telemetry.end();
    measured
}

/// Measures, and prints the table.
///
/// # Errors
/// Postgres or `pgbench` is missing, or a measurement fails.
async fn run_here(cli: &BenchCli) -> anyhow::Result<()> {
    let directory = temporary_directory(TEMPORARY)?;
    let server = Server::start(directory.path()).await?;
    let outcome = measure(&server, directory.path(), cli).await;
    server.stop().await?;
    outcome
}

async fn measure(server: &Server, directory: &Path, cli: &BenchCli) -> anyhow::Result<()> {
    let duration = Duration::from_secs(cli.seconds);
    let floor = floor::Floor::measure(server, directory, duration).await?;
    let mut table = table::ResultTable::new(floor);
    measure::appends(server, duration, &mut table).await?;
    measure::commands(server, &cli.commands, duration, &mut table).await?;
    measure::stream_of_100(server, &mut table).await?;
    http::posts_and_gets(directory, &cli.commands, duration, &mut table).await?;
    measure::catch_up(server, cli.events, &mut table).await?;
    println!("{table}");
    Ok(())
}

/// Makes a database with an empty log.
async fn fresh_log(server: &Server, name: &str) -> anyhow::Result<(SharedLog, PgPool)> {
    server.create_database(name).await?;
    let pool = PgPool::connect(&server.url(name)).await.context("connect to a database of the benchmark")?;
    event_log_postgres::migrate(&pool).await.context("prepare an event log")?;
    let log = PostgresLog::connect(&pool).await.context("open an event log")?;
    Ok((Arc::new(log), pool))
}
