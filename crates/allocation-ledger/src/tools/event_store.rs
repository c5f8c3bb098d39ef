//! `event-store check`: tries on a server every promise that the ledger relies on, before an
//! operator trusts it.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use event_log::{EventLog as _, SharedLog, contract};
use event_log_kurrentdb::{KurrentLog, NamingKey, StreamPrefix};
use event_log_postgres::PostgresLog;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    interrupt::{interruption, unless_interrupted},
    trial::{self, TrialDatabase},
};

/// The subcommands of `event-store`.
#[derive(Debug, Subcommand)]
pub enum EventStoreCommand {
    /// Try on a server every promise that the ledger relies on; in a database, or with streams,
    /// made for that and removed again
    Check(CheckSettings),
}

/// The settings of `event-store check`.
#[derive(Debug, Args)]
pub struct CheckSettings {
    /// The server, as --event-store would name it. A Postgres user must be allowed to make a
    /// database; a KurrentDB user to read `$all`, and to write and delete streams
    url: String,
    /// The beginning of the names of a ledger's streams on this KurrentDB server; the streams of
    /// the check begin otherwise
    #[arg(long, env = "LEDGER_STREAM_PREFIX", value_name = "PREFIX", default_value_t)]
    stream_prefix: StreamPrefix,
}

/// Runs the subcommand.
///
/// # Errors
/// The server is out of reach, or does not hold a promise.
pub async fn run(command: &EventStoreCommand) -> anyhow::Result<()> {
    match command {
        EventStoreCommand::Check(check) => run_check(check).await,
    }
}

async fn run_check(check: &CheckSettings) -> anyhow::Result<()> {
    let report = match event_log_kurrentdb::is_url(&check.url) {
        true => check_kurrentdb(check).await?,
        false => check_postgres(check).await?,
    };
    if !report.held() {
        bail!("this server does not hold what the ledger relies on: do not keep a ledger on it");
    }
    Ok(())
}

/// Prints the report, where the check came to its end.
fn print_report(tried: &anyhow::Result<Option<contract::ContractReport>>) {
    if let Ok(Some(report)) = tried {
        print!("{report}");
    }
}

async fn check_postgres(check: &CheckSettings) -> anyhow::Result<contract::ContractReport> {
    let database = TrialDatabase::create("the argument of `event-store check`", &check.url, "check").await?;
    let report = unless_interrupted(try_in(&database.url())).await;
    // Printed now, as the check took minutes and cleaning up may fail.
    print_report(&report);
    database.remove().await?;
    report?.ok_or_else(|| interruption("the database tried in is dropped again"))
}

async fn try_in(database: &str) -> anyhow::Result<contract::ContractReport> {
    let pool = PgPool::connect(database).await.context("connect to the database to try in")?;
    event_log_postgres::migrate(&pool).await.context("prepare an event log")?;
    // Two ways to one store, as two processes would have.
    let mut handles: Vec<SharedLog> = Vec::new();
    for _ in 0..2 {
        handles.push(Arc::new(PostgresLog::connect(&pool).await.context("open the event log")?));
    }
    let report = contract::check(&handles, Uuid::new_v4()).await;
    drop(handles);
    pool.close().await;
    Ok(report)
}

async fn check_kurrentdb(check: &CheckSettings) -> anyhow::Result<contract::ContractReport> {
    let run = Uuid::new_v4();
    let prefix = trial::stream_prefix("check", &check.stream_prefix, run);
    let key: NamingKey = NamingKey::new_text().parse()?;
    let open = || KurrentLog::new(&check.url, &prefix, Some(key.clone()));
    // Two ways to one store, as two processes would have.
    let (one, other) = (open()?, open()?);
    one.head().await.context("reach the event store: is its server running, and the URL right?")?;
    let handles: [SharedLog; 2] = [Arc::new(one.clone()), Arc::new(other)];
    let report = unless_interrupted(async { Ok(contract::check(&handles, run).await) }).await;
    print_report(&report);
    let by_hand =
        || format!("delete the streams tried with: delete those that begin with `{prefix}` or `.{prefix}` by hand");
    // An interrupted check may have appends under way, which make streams meanwhile.
    let snapshot = contract::snapshot_name(run);
    while event_log_kurrentdb::remove(&one, &[&snapshot]).await.with_context(by_hand)? > 0 {}
    report?.ok_or_else(|| interruption("the streams tried with are deleted again"))
}
