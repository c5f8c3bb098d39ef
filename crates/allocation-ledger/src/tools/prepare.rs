//! `prepare`: makes the schemas and roles on an operator's Postgres servers that need the rights of
//! the databases' owner, so that the services can log in with no more rights than they need.
//!
//! | where | what |
//! |---|---|
//! | an event log in Postgres | its schema, and the roles `ledger_append`, `ledger_project` and `ledger_read` with their rights to it |
//! | a ledger on a KurrentDB server | its naming key, in a file, unless there is one |
//! | the views' database | the roles `ledger_project`, which may make the views there, `ledger_read` and `ledger_integrate`; the access log and the parked messages with their rights to them, the audit queue's share included |
//!
//! The views themselves are made by the projector. Safe to run again, and beside a running ledger.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use anyhow::{Context as _, bail};
use clap::Args;
use event_log::EventLog as _;
use event_log_kurrentdb::{KurrentLog, NamingKey, NamingKeyError};
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
    /// The file of the naming key of a ledger on a KurrentDB server. It is made, for this user
    /// alone, if it is not there and the ledger has no key yet
    #[arg(long, env = "LEDGER_NAMING_KEY_FILE", value_name = "FILE")]
    naming_key_file: Option<String>,
}

/// Prepares the servers.
///
/// # Errors
/// A server is out of reach, or the user may not do what it takes.
pub async fn run(settings: &PrepareSettings) -> anyhow::Result<()> {
    let PrepareSettings { stores, .. } = settings;
    if stores.log.event_store.is_none() && stores.views.is_none() {
        bail!("say what to prepare with --event-store and --views: a Postgres of the program's own needs no preparing");
    }
    if let Some(url) = stores.log.event_store.as_deref().filter(|url| event_log_kurrentdb::is_url(url)) {
        print_line(&choose_naming_key(settings, url).await?)?;
    } else if stores.log.event_store.is_some() {
        LogStore::lazy(&stores.log)?.close_after(async |log| log.prepare().await).await?;
        print_line("The event log is as this version knows it.")?;
    }
    if stores.views.is_some() {
        let views = stores::lazy_views(stores)?;
        let prepared = prepare_views(&views).await;
        views.close().await;
        prepared
            .context("prepare the views' database: is the user in --views its owner, and allowed to make roles?")?;
        print_line(
            "A projector may make the views, and the access log and the parked messages are as this version knows them.",
        )?;
    }
    print_line(
        "Make a login for each service: CREATE ROLE … LOGIN PASSWORD '…' IN ROLE ledger_append, or ledger_project, or ledger_read; for the integration service, IN ROLE ledger_append, ledger_integrate, ledger_read.",
    )
}

/// Makes a naming key that of the ledger on a server: the one that is given, or else a new one.
/// Answers what to tell the user.
async fn choose_naming_key(settings: &PrepareSettings, url: &str) -> anyhow::Result<String> {
    let log = &settings.stores.log;
    let open = |key: Option<NamingKey>| KurrentLog::new(url, &log.stream_prefix, key);
    let choose = async |key: NamingKey| {
        let chosen = open(Some(key))?.choose_naming_key().await;
        chosen.map_err(|error| stores::key_refusal(error).map_or_else(anyhow::Error::from, anyhow::Error::from))
    };
    let Some(path) = settings.naming_key_file.as_deref().filter(|path| !path.is_empty()).map(Path::new) else {
        let key = log.naming_key()?;
        choose(key.context("say with --naming-key-file where the naming key of the ledger is, or is to be")?).await?;
        return Ok("The naming key is that of the ledger.".to_owned());
    };
    let shown = path.display();
    if path.exists() {
        choose(read_key_file(path)?).await?;
        return Ok(format!("The naming key in {shown} is that of the ledger."));
    }
    let unnamed = open(None)?;
    let there = "reach the event store that --event-store names";
    if unnamed.has_naming_key().await.context(there)? || unnamed.head().await.context(there)? > 0 {
        bail!(
            "{shown} is not there, and the ledger has a naming key already: put the file back. If the key is lost, copy the \
             log under a new one: `allocation-ledger copy` reads it without its key"
        );
    }
    make_key_file(path).with_context(|| format!("make {shown}, the file of the naming key"))?;
    match choose(read_key_file(path)?).await {
        Err(error) if error.is::<NamingKeyError>() => {
            fs::remove_file(path).with_context(|| format!("remove {shown}, whose key is of no ledger"))?;
            bail!("another program has chosen the naming key of the ledger at this moment: use the file that it made")
        }
        Err(error) => Err(error),
        Ok(()) => Ok(format!(
            "The naming key of the ledger is new, in {shown}. Keep a copy apart from the event store: services need it."
        )),
    }
}

fn read_key_file(path: &Path) -> anyhow::Result<NamingKey> {
    let shown = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("read {shown}"))?;
    text.trim_end().parse().with_context(|| format!("read {shown}"))
}

/// Makes the file whole or not at all, for this user alone. A file or link that is there stays.
fn make_key_file(path: &Path) -> anyhow::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    writeln!(file, "{}", NamingKey::new_text())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    Ok(File::open(directory)?.sync_all()?)
}

async fn prepare_views(views: &PgPool) -> anyhow::Result<()> {
    projector::prepare(views).await?;
    access_log::SCHEMA.prepare(views).await?;
    Ok(hmpps::SCHEMA.prepare(views).await?)
}
