//! The event log and the views' database, opened as the settings say: what is not given by URL is in the embedded
//! Postgres.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use event_log::{PostgresLog, SharedLog};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{postgres, settings};

/// The database in the embedded Postgres, for the log (schema `log`) and the views (schema `views`).
const DATABASE: &str = "ledger";

/// Connections of one pool. The embedded server has 100, for a `serve` with some three pools and a tool beside it.
const CONNECTIONS_MAX: u32 = 16;

/// How long a request waits for a connection before it is told that the database is out of reach.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the ledger is kept in.
pub struct Stores {
    /// The event log.
    pub log: SharedLog,
    /// The views' database, for whoever writes them.
    pub views: PgPool,
    log_pool: PgPool,
    postgres: Option<postgres::Server>,
}

impl Stores {
    /// Opens the stores and brings their schemas up to date. Starts the embedded Postgres where it is needed and not
    /// running.
    ///
    /// # Errors
    /// Which store could not be opened, and why.
    pub async fn open(settings: &settings::Stores) -> anyhow::Result<Self> {
        let connected = Connected::new(settings).await?;
        event_log::postgres::migrate(&connected.log_pool).await.context("prepare the event log")?;
        projector::migrate(&connected.views).await.context("prepare the views' database")?;
        connected.open().await
    }

    /// [`Stores::open`] for a program that only reads: the schemas are as others have made them.
    ///
    /// # Errors
    /// As [`Stores::open`]; and where there is no log yet.
    pub async fn open_prepared(settings: &settings::Stores) -> anyhow::Result<Self> {
        if settings.event_store.is_none() || settings.views.is_none() {
            let data_dir = settings.data_dir()?;
            if !postgres::exists(&data_dir) {
                bail!(
                    "there is no ledger in {}: say where it is with --data-dir, or begin one there with \
                     `allocation-ledger serve`",
                    data_dir.display()
                );
            }
        }
        Connected::new(settings).await?.open().await
    }

    /// Closes what was opened and stops the embedded Postgres, unless another program uses it.
    ///
    /// # Errors
    /// Postgres does not stop.
    pub async fn close(self) -> anyhow::Result<()> {
        drop(self.log);
        self.views.close().await;
        self.log_pool.close().await;
        match self.postgres {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// The databases, connected to and not looked into.
struct Connected {
    views: PgPool,
    log_pool: PgPool,
    postgres: Option<postgres::Server>,
}

impl Connected {
    async fn new(settings: &settings::Stores) -> anyhow::Result<Self> {
        let postgres = match (&settings.event_store, &settings.views) {
            (Some(_), Some(_)) => None,
            _ => {
                let data_dir = settings.data_dir()?;
                let server = postgres::Server::start_with(&data_dir, settings.postgres_options()).await?;
                server.create_database(DATABASE).await?;
                Some(server)
            }
        };
        let url = |given: &Option<String>| {
            given.clone().or_else(|| postgres.as_ref().map(|server| server.url(DATABASE))).unwrap_or_default()
        };
        let log_pool = pool("--event-store", &url(&settings.event_store)).await?;
        let views = pool("--views", &url(&settings.views)).await?;
        Ok(Self { views, log_pool, postgres })
    }

    async fn open(self) -> anyhow::Result<Stores> {
        let log = PostgresLog::connect(&self.log_pool).await.context("open the event log")?;
        Ok(Stores { log: Arc::new(log), views: self.views, log_pool: self.log_pool, postgres: self.postgres })
    }
}

/// Connects to a database named by the setting `flag`.
async fn pool(flag: &str, url: &str) -> anyhow::Result<PgPool> {
    let options = connect_options(flag, url)?;
    PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
        .with_context(|| {
            format!("connect to the database that {flag} names: is its server running, and the URL right?")
        })
}

/// Reads the URL of a database that the setting `flag` gave.
///
/// # Errors
/// It is no URL of a store that this version can use.
pub fn connect_options(flag: &str, url: &str) -> anyhow::Result<PgConnectOptions> {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => url.parse().with_context(|| format!("read the URL given by {flag}")),
        Some("kurrentdb" | "esdb" | "kurrentdb+discover" | "esdb+discover") => {
            bail!("{flag} names a KurrentDB server, which this version cannot use yet: give a postgres:// URL")
        }
        _ => bail!("{flag} must be a URL such as postgres://user@host/database"),
    }
}
