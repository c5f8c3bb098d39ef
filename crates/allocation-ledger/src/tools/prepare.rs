//! `prepare`: makes the schemas and roles on an operator's Postgres servers that need the rights of
//! the databases' owner, so that the services can log in with no more rights than they need.
//!
//! | where | what |
//! |---|---|
//! | an event log in Postgres | its schema, and the roles `ledger_append`, `ledger_project` and `ledger_read` with their rights to it |
//! | the views' database | the roles `ledger_project`, which may make the views there, and `ledger_read`; the access log with their rights to it |
//!
//! The views themselves are made by the projector. Safe to run again, and beside a running ledger.

use anyhow::{Context as _, bail};
use clap::Args;
use sqlx::PgPool;

use crate::{
    shared_settings,
    stdout::print_line,
    stores::{self, LogStore},
};

/// The settings of `prepare`.
#[derive(Debug, Args)]
pub struct PrepareSettings {
    /// Where the ledger is kept; users in the URLs must own the databases and be allowed to make
    /// roles
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
}

/// Prepares the servers.
///
/// # Errors
/// A server is out of reach, or the user may not do what it takes.
pub async fn run(settings: &PrepareSettings) -> anyhow::Result<()> {
    let PrepareSettings { stores } = settings;
    if stores.log.event_store.is_none() && stores.views.is_none() {
        bail!("say what to prepare with --event-store and --views: a Postgres of the program's own needs no preparing");
    }
    if stores.log.event_store.is_some() {
        LogStore::lazy(&stores.log)?.close_after(async |log| log.prepare().await).await?;
        print_line("The event log is as this version knows it.")?;
    }
    if stores.views.is_some() {
        let views = stores::lazy_views(stores)?;
        let prepared = prepare_views(&views).await;
        views.close().await;
        prepared
            .context("prepare the views' database: is the user in --views its owner, and allowed to make roles?")?;
        print_line("A projector may make the views, and the access log is as this version knows it.")?;
    }
    print_line(
        "Make a login for each service: CREATE ROLE … LOGIN PASSWORD '…' IN ROLE ledger_append, or ledger_project, or ledger_read.",
    )
}

async fn prepare_views(views: &PgPool) -> anyhow::Result<()> {
    projector::prepare(views).await?;
    Ok(access_log::prepare(views).await?)
}
