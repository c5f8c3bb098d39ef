//! `event-store check`: tries on a server every promise that the ledger relies on, before an operator trusts it.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use event_log::{PostgresLog, SharedLog, contract};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::stores;

/// What can be asked of an event store.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try on a server every promise that the ledger relies on; in a database made for that and dropped again
    Check(Check),
}

/// What `event-store check` can be told.
#[derive(Debug, Args)]
pub struct Check {
    /// The server, as --event-store would name it; its user must be allowed to make a database
    url: String,
}

/// Does what is asked.
///
/// # Errors
/// The server is out of reach, or does not hold a promise.
pub async fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Check(check) => run_check(check).await,
    }
}

async fn run_check(check: &Check) -> anyhow::Result<()> {
    let server = stores::connect_options("the argument of `event-store check`", &check.url)?;
    let mut connection = PgConnection::connect_with(&server).await.context("connect to the server")?;
    // The events tried with are of no use to a ledger, so they must not come near one.
    let database = format!("ledger_check_{}", Uuid::new_v4().simple());
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {database}")))
        .execute(&mut connection)
        .await
        .context("make a database to try in: name a user who may (`ALTER ROLE … CREATEDB`)")?;
    let report = try_in(server.database(&database)).await;
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE {database} WITH (FORCE)")))
        .execute(&mut connection)
        .await
        .with_context(|| format!("drop the database {database}, which was made to try in: drop it by hand"))?;
    let report = report?;
    print!("{report}");
    if !report.held() {
        bail!("this server does not hold what the ledger relies on: do not keep a ledger on it");
    }
    Ok(())
}

async fn try_in(database: PgConnectOptions) -> anyhow::Result<contract::Report> {
    let pool = PgPool::connect_with(database).await.context("connect to the database to try in")?;
    event_log::postgres::migrate(&pool).await.context("prepare an event log")?;
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
