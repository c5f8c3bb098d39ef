//! `bench`: the speed of the ledger on this machine, compared with Postgres alone.
//!
//! Everything runs in one process, on an embedded Postgres in a temporary directory with durable
//! settings. `yardstick` measures Postgres, and most goals are ratios to it.
//!
//! `bench rebuild` measures large ledgers (`rebuild`), `bench attack` the answers that users get
//! while other clients attack (`attack`), `bench messages` the messages of HMPPS (`messages`), and
//! `bench --event-store` a KurrentDB server of an operator (`event_store`).

mod attack;
mod event_store;
mod http;
mod measure;
mod messages;
mod program;
mod progress;
mod rebuild;
mod table;
mod yardstick;

use std::{env, path::Path, pin::pin, process::ExitCode, sync::Arc, time::Duration};

use allocation_ledger::{
    interrupt::{interruption, unless_interrupted},
    logs_and_traces, shared_settings,
    stdout::print_line,
    temporary_directory::temporary_directory,
};
use anyhow::Context as _;
use clap::Parser as _;
use embedded_postgres::Server;
use event_log::SharedLog;
use event_log_postgres::PostgresLog;
use sqlx::PgPool;

use self::table::ResultTable;

/// The beginning of the names of temporary directories.
const TEMPORARY: &str = "allocation-ledger-bench-";

/// The message after an interruption.
const GONE: &str = "nothing more is measured, and what was made to measure on is gone";

/// Measure the ledger on this machine, beside what Postgres alone can do here
#[derive(Debug, clap::Parser)]
#[command(name = "bench", version, args_conflicts_with_subcommands = true)]
struct BenchCli {
    #[command(subcommand)]
    subject: Option<BenchSubject>,
    /// Seconds that each rate of transactions, commands and requests is measured
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Events that are copied, filled into a log, and caught up on; with --event-store, about so
    /// many that are made up
    #[arg(long, default_value_t = 1_000_000, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    #[command(flatten)]
    server: event_store::ServerBenchSettings,
    /// How commands are decided.
    #[command(flatten)]
    commands: shared_settings::CommandSettings,
    #[command(flatten)]
    telemetry: logs_and_traces::TelemetrySettings,
}

/// The other measurements.
#[derive(Debug, clap::Subcommand)]
enum BenchSubject {
    /// Measure building the views, comparing them, exporting the log, asking about the past, and
    /// starting the program, on large ledgers
    Rebuild(rebuild::RebuildBenchSettings),
    /// Attack a serving ledger over HTTP, and measure the answers that its users get meanwhile, and
    /// its memory
    Attack(attack::AttackBenchSettings),
    /// Measure how fast messages of HMPPS are taken in, and how fast domain events go out
    Messages(messages::MessagesBenchSettings),
}

fn main() -> ExitCode {
    if env::var_os(program::AS_PROGRAM).is_some() {
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
                match (&cli.subject, &cli.server.event_store) {
                    (Some(BenchSubject::Rebuild(settings)), _) => rebuild::run(settings).await,
                    (Some(BenchSubject::Attack(settings)), _) => attack::run(settings).await,
                    (Some(BenchSubject::Messages(settings)), _) => messages::run(settings).await,
                    (None, Some(url)) => {
                        let scale = event_store::Scale {
                            duration: Duration::from_secs(cli.seconds),
                            events: cli.events,
                            command_arguments: cli.commands.arguments(),
                        };
                        event_store::run(url, &cli.server, &scale).await
                    }
                    (None, None) => run_here(cli).await,
                }
            },
        );
    telemetry.end();
    measured
}

/// Measures, and prints the table.
///
/// # Errors
/// Postgres or `pgbench` is missing, a measurement fails, or the user interrupts it.
async fn run_here(cli: &BenchCli) -> anyhow::Result<()> {
    yardstick::find_pgbench()?;
    let directory = temporary_directory(TEMPORARY)?;
    let measured =
        with_server(directory.path(), async |server| unless_interrupted(measure(server, directory.path(), cli)).await);
    print_line(&measured.await?.ok_or_else(|| interruption(GONE))?.to_string())
}

/// Starts a server on a data directory, works with it, and stops it.
async fn with_server<T>(data_dir: &Path, work: impl AsyncFnOnce(&Server) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut starting = pin!(Server::start(data_dir));
    let Some(server) = unless_interrupted(&mut starting).await? else {
        // A start cannot be broken off: it would go on while its directory is removed.
        starting.await?.stop().await?;
        return Err(interruption(GONE));
    };
    let outcome = work(&server).await;
    server.stop().await?;
    outcome
}

async fn measure(server: &Server, directory: &Path, cli: &BenchCli) -> anyhow::Result<ResultTable> {
    let duration = Duration::from_secs(cli.seconds);
    yardstick::prepare(server).await?;
    let mut table = ResultTable::new(yardstick::measure_pgbench(server, directory, duration).await?);
    measure::appends(server, duration, &mut table).await?;
    measure::commands(server, &cli.commands, duration, &mut table).await?;
    measure::stream_of_100(server, &mut table).await?;
    http::posts_and_gets(directory, &cli.commands, duration, &mut table).await?;
    measure::fill_and_catch_up(server, cli.events, &mut table).await?;
    Ok(table)
}

/// Makes a database with an empty log.
async fn fresh_log(server: &Server, name: &str) -> anyhow::Result<(SharedLog, PgPool)> {
    server.create_database(name).await?;
    let pool = PgPool::connect(&server.url(name)).await.context("connect to a database of the benchmark")?;
    event_log_postgres::migrate(&pool).await.context("prepare an event log")?;
    let log = PostgresLog::connect(&pool).await.context("open an event log")?;
    Ok((Arc::new(log), pool))
}
