//! `bench`: how fast the ledger is on this machine, beside what Postgres alone can do here.
//!
//! Everything runs in one process on a Postgres of its own in a temporary directory, with durable settings. The floor is
//! `pgbench` inserting one row of the same kind a transaction, and selecting one row by key; what matters are the ratios.

mod floor;
mod http;
mod measure;
mod rebuild;
mod table;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use event_log::SharedLog;
use event_log_postgres::PostgresLog;
use sqlx::PgPool;
use tempfile::TempDir;

use embedded_postgres::Server;

use crate::settings;

/// What `bench` can be told.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Settings {
    #[command(subcommand)]
    what: Option<What>,
    /// Seconds that each measurement runs
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    seconds: u64,
    /// Events in the log when catching up is measured
    #[arg(long, default_value_t = 1_000_000, value_name = "EVENTS")]
    events: u64,
    /// How commands are decided.
    #[command(flatten)]
    commands: settings::Commands,
}

/// What else can be measured.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Measure building the views, comparing them, taking them away, and asking about the past, on large ledgers
    Rebuild(rebuild::Settings),
}

/// Measures and prints the table.
///
/// # Errors
/// Postgres or `pgbench` is not there, or something measured fails.
pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    if let Some(What::Rebuild(settings)) = &settings.what {
        return rebuild::run(settings).await;
    }
    let directory = temporary_directory()?;
    let server = Server::start(directory.path()).await?;
    let outcome = measured(&server, directory.path(), settings).await;
    server.stop().await?;
    outcome
}

async fn measured(server: &Server, directory: &Path, settings: &Settings) -> anyhow::Result<()> {
    let duration = Duration::from_secs(settings.seconds);
    let floor = floor::Floor::measure(server, directory, duration).await?;
    let mut table = table::Table::new(floor);
    measure::appends(server, duration, &mut table).await?;
    measure::commands(server, &settings.commands, duration, &mut table).await?;
    measure::stream_of_100(server, &mut table).await?;
    http::posts_and_gets(directory, &settings.commands, duration, &mut table).await?;
    measure::catch_up(server, settings.events, &mut table).await?;
    println!("{table}");
    Ok(())
}

/// A database of its own with an empty log in it.
async fn fresh_log(server: &Server, name: &str) -> anyhow::Result<(SharedLog, PgPool)> {
    server.create_database(name).await?;
    let pool = PgPool::connect(&server.url(name)).await.context("connect to a database of the benchmark")?;
    event_log_postgres::migrate(&pool).await.context("prepare an event log")?;
    let log = PostgresLog::connect(&pool).await.context("open an event log")?;
    Ok((Arc::new(log), pool))
}

/// A directory that Postgres can work in; gone when it is dropped.
fn temporary_directory() -> anyhow::Result<TempDir> {
    let directory =
        tempfile::Builder::new().prefix("allocation-ledger-bench-").tempdir().context("make a temporary directory")?;
    // What Postgres's user cannot enter it cannot serve from, and a temporary directory is its maker's alone.
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))
        .context("open the temporary directory to Postgres")?;
    Ok(directory)
}
