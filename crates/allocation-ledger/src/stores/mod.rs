//! The event log and the views' database, opened as the settings say: what is not given by URL is in the embedded
//! Postgres. The log is in Postgres or on a KurrentDB server, the views in Postgres.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use event_log::{OrderedError, OrderedEvent, SharedLog};
use event_log_kurrentdb::KurrentLog;
use event_log_postgres::PostgresLog;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::settings;

/// The database in the embedded Postgres, for the log (schema `log`) and the views (schema `views`).
const DATABASE: &str = "ledger";

/// Connections of one pool. The embedded server has 100, for a `serve` with some three pools and a tool beside it.
const CONNECTIONS_MAX: u32 = 16;

/// How long a request waits for a connection before it is told that the database is out of reach.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two tries to prepare the event log.
const PREPARE_INTERVAL: Duration = Duration::from_secs(1);

/// What the ledger is kept in.
pub struct Stores {
    /// The event log.
    pub log: SharedLog,
    /// The views' database, for whoever writes them.
    pub views: PgPool,
    kept: Kept,
    readers: Option<PgPool>,
    postgres: Option<embedded_postgres::Server>,
}

/// What a log is kept in.
enum Kept {
    Postgres(PgPool),
    Kurrent(KurrentLog),
}

impl Kept {
    /// Goes where the log is; its schema is as it is.
    async fn connect(
        settings: &settings::Stores,
        postgres: Option<&embedded_postgres::Server>,
    ) -> anyhow::Result<Self> {
        match &settings.event_store {
            Some(url) if event_log_kurrentdb::is_url(url) => {
                let log = settings.kurrent_log(url)?;
                let there = "reach the event store that --event-store names: is its server running, and the URL right?";
                event_log::EventLog::head(&log).await.context(there)?;
                Ok(Self::Kurrent(log))
            }
            url_given => Ok(Self::Postgres(pool("--event-store", &url(url_given.as_ref(), postgres)).await?)),
        }
    }

    /// Goes there when first asked.
    fn lazy(settings: &settings::Stores) -> anyhow::Result<Self> {
        match &settings.event_store {
            Some(url) if event_log_kurrentdb::is_url(url) => Ok(Self::Kurrent(settings.kurrent_log(url)?)),
            url => Ok(Self::Postgres(lazy_pool("--event-store", url.as_ref())?)),
        }
    }

    /// Brings the log's schema up to date, where it has one.
    async fn migrate(&self) -> anyhow::Result<()> {
        match self {
            Self::Postgres(pool) => event_log_postgres::migrate(pool).await.context("prepare the event log"),
            Self::Kurrent(_) => Ok(()),
        }
    }

    /// The log, and the connections that it reads by, where it is in Postgres.
    async fn open(&self) -> anyhow::Result<(SharedLog, Option<PgPool>)> {
        Ok(match self {
            Self::Postgres(pool) => in_postgres(PostgresLog::connect(pool).await.context("open the event log")?),
            Self::Kurrent(log) => (Arc::new(log.clone()), None),
        })
    }

    async fn close(self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Kurrent(_) => {}
        }
    }
}

impl Stores {
    /// Opens the stores and brings their schemas up to date. Starts the embedded Postgres where it is needed and not
    /// running.
    ///
    /// # Errors
    /// Which store could not be opened, and why.
    pub async fn open(settings: &settings::Stores) -> anyhow::Result<Self> {
        let connected = Connected::new(settings).await?;
        connected.kept.migrate().await?;
        projector::migrate(&connected.views).await.context("prepare the views' database")?;
        connected.open().await
    }

    /// [`Stores::open`] for a program that only reads: the schemas are as others have made them.
    ///
    /// # Errors
    /// As [`Stores::open`]; and where there is no log yet.
    pub async fn open_prepared(settings: &settings::Stores) -> anyhow::Result<Self> {
        if settings.is_embedded() && !embedded_postgres::exists(&settings.data_dir()?) {
            return Err(LogStore::missing(settings));
        }
        Connected::new(settings).await?.open().await
    }

    /// The log, and the views' database, each to be closed by itself: the views first.
    #[must_use]
    pub fn into_parts(self) -> (LogStore, PgPool) {
        (LogStore { log: self.log, kept: self.kept, readers: self.readers, postgres: self.postgres }, self.views)
    }

    /// Closes what was opened and stops the embedded Postgres, unless another program uses it.
    ///
    /// # Errors
    /// Postgres does not stop.
    pub async fn close(self) -> anyhow::Result<()> {
        drop((self.log, self.readers));
        self.views.close().await;
        self.kept.close().await;
        match self.postgres {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// The event log without the views, which the tools need not know.
pub struct LogStore {
    /// The event log.
    pub log: SharedLog,
    kept: Kept,
    readers: Option<PgPool>,
    postgres: Option<embedded_postgres::Server>,
}

impl LogStore {
    /// Opens the log and brings its schema up to date, and makes it where there is none.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub async fn open(settings: &settings::Stores) -> anyhow::Result<Self> {
        let (kept, postgres) = kept(settings).await?;
        kept.migrate().await?;
        Self::connect(kept, postgres).await
    }

    /// Opens the log as others have made it; `None` where there is none, and none is made.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub async fn open_prepared(settings: &settings::Stores) -> anyhow::Result<Option<Self>> {
        if settings.event_store.is_none() && !embedded_postgres::exists(&settings.data_dir()?) {
            return Ok(None);
        }
        let (kept, postgres) = kept(settings).await?;
        let looking = "look for the event log";
        let is_there = match &kept {
            Kept::Postgres(pool) => sqlx::query_scalar("SELECT to_regclass('log.head') IS NOT NULL")
                .fetch_one(pool)
                .await
                .context(looking)?,
            Kept::Kurrent(log) => event_log::EventLog::head(log).await.context(looking)? > 0,
        };
        if !is_there {
            kept.close().await;
            if let Some(server) = postgres {
                server.stop().await?;
            }
            return Ok(None);
        }
        Ok(Some(Self::connect(kept, postgres).await?))
    }

    /// The log that --event-store names, for a service that may be started before its server is, or before there is a log:
    /// until then every call of the log fails as an outage.
    ///
    /// # Errors
    /// --event-store is not given, or is no URL of a store.
    pub fn lazy(settings: &settings::Stores) -> anyhow::Result<Self> {
        let kept = Kept::lazy(settings)?;
        let (log, readers): (SharedLog, _) = match &kept {
            Kept::Postgres(pool) => in_postgres(PostgresLog::lazy(pool)),
            Kept::Kurrent(log) => (Arc::new(log.clone()), None),
        };
        Ok(Self { log, kept, readers, postgres: None })
    }

    /// Brings the log's schema up to date, where it has one, and gives the services' roles their rights to it.
    ///
    /// # Errors
    /// The server is out of reach, or does not allow it.
    pub async fn prepare(&self) -> anyhow::Result<()> {
        let Kept::Postgres(pool) = &self.kept else { return Ok(()) };
        prepare_log(pool).await?;
        event_log_postgres::grant_roles(pool).await.context("let the services' roles use the event log")
    }

    /// Ready when the log's schema is up to date, where it has one: tries until it is, and tells `failed` each time why it is not.
    /// Its server may be out of reach, or somebody with more rights may do it meanwhile.
    pub fn prepared<F>(&self, failed: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Fn(&anyhow::Error) + Send,
    {
        let pool = match &self.kept {
            Kept::Postgres(pool) => Some(pool.clone()),
            Kept::Kurrent(_) => None,
        };
        async move {
            let Some(pool) = pool else { return };
            while let Err(error) = prepare_log(&pool).await {
                failed(&error);
                tokio::time::sleep(PREPARE_INTERVAL).await;
            }
        }
    }

    /// What to tell somebody who asks a ledger that is not there.
    pub fn missing(settings: &settings::Stores) -> anyhow::Error {
        if settings.event_store.is_some() {
            return anyhow!("there is no ledger in the event store that --event-store names: is that the one meant?");
        }
        match settings.data_dir() {
            Ok(data_dir) => anyhow!(
                "there is no ledger in {}: say where it is with --data-dir, or begin one there with \
                 `allocation-ledger serve`",
                data_dir.display()
            ),
            Err(error) => error,
        }
    }

    /// The connections that it reads by, where it is in Postgres.
    #[must_use]
    pub fn readers(&self) -> Option<&PgPool> {
        self.readers.as_ref()
    }

    /// A writer of many streams' events in a given order, behind whatever the log holds.
    #[must_use]
    pub fn ordered_writer(&self) -> OrderedWriter {
        match &self.kept {
            Kept::Postgres(pool) => OrderedWriter::Postgres(Box::new(event_log_postgres::OrderedWriter::new(pool))),
            Kept::Kurrent(log) => OrderedWriter::Kurrent(event_log_kurrentdb::OrderedWriter::new(log)),
        }
    }

    async fn connect(kept: Kept, postgres: Option<embedded_postgres::Server>) -> anyhow::Result<Self> {
        let (log, readers) = kept.open().await?;
        Ok(Self { log, kept, readers, postgres })
    }

    /// As [`Stores::close`].
    ///
    /// # Errors
    /// Postgres does not stop.
    pub async fn close(self) -> anyhow::Result<()> {
        drop((self.log, self.readers));
        self.kept.close().await;
        match self.postgres {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// Appends many streams' events in the order given, with their recorded times, to either kind of log.
#[derive(Debug)]
pub enum OrderedWriter {
    /// To one in Postgres.
    Postgres(Box<event_log_postgres::OrderedWriter>),
    /// To one on a KurrentDB server.
    Kurrent(event_log_kurrentdb::OrderedWriter),
}

impl OrderedWriter {
    /// Appends events behind position `after`, where the log must end, and answers its new end. On KurrentDB only the
    /// streams named are held to where they must end.
    ///
    /// # Errors
    /// The log or a stream is elsewhere, or the store is out of reach.
    pub async fn append(&mut self, after: u64, events: &[OrderedEvent]) -> Result<u64, OrderedError> {
        match self {
            Self::Postgres(writer) => writer.append(after, events).await,
            Self::Kurrent(writer) => Ok(writer.append(events).await?.unwrap_or(after)),
        }
    }
}

fn in_postgres(log: PostgresLog) -> (SharedLog, Option<PgPool>) {
    let readers = log.readers().clone();
    (Arc::new(log), Some(readers))
}

async fn prepare_log(pool: &PgPool) -> anyhow::Result<()> {
    event_log_postgres::migrate(pool).await.context(
        "prepare the event log, which `allocation-ledger prepare` does with the rights of the database's owner",
    )
}

/// The databases, connected to and not looked into.
struct Connected {
    views: PgPool,
    kept: Kept,
    postgres: Option<embedded_postgres::Server>,
}

impl Connected {
    async fn new(settings: &settings::Stores) -> anyhow::Result<Self> {
        let postgres = if settings.is_embedded() { Some(embedded(settings).await?) } else { None };
        let kept = Kept::connect(settings, postgres.as_ref()).await?;
        let views = pool("--views", &url(settings.views.as_ref(), postgres.as_ref())).await?;
        Ok(Self { views, kept, postgres })
    }

    async fn open(self) -> anyhow::Result<Stores> {
        let Self { views, kept, postgres } = self;
        let (log, readers) = kept.open().await?;
        Ok(Stores { log, views, kept, readers, postgres })
    }
}

/// Goes where the log is, and nowhere else.
async fn kept(settings: &settings::Stores) -> anyhow::Result<(Kept, Option<embedded_postgres::Server>)> {
    let postgres = if settings.event_store.is_none() { Some(embedded(settings).await?) } else { None };
    Ok((Kept::connect(settings, postgres.as_ref()).await?, postgres))
}

/// The embedded Postgres with the ledger's database in it.
async fn embedded(settings: &settings::Stores) -> anyhow::Result<embedded_postgres::Server> {
    let server = embedded_postgres::Server::start_with(&settings.data_dir()?, settings.postgres_options()).await?;
    server.create_database(DATABASE).await?;
    Ok(server)
}

/// The URL given, else that of the embedded Postgres, which there is then.
fn url(given: Option<&String>, postgres: Option<&embedded_postgres::Server>) -> String {
    given.cloned().or_else(|| postgres.map(|server| server.url(DATABASE))).unwrap_or_default()
}

/// The views' database that --views names, for a service that may be started before its server is.
///
/// # Errors
/// --views is not given, or is no URL of a database.
pub fn lazy_views(settings: &settings::Stores) -> anyhow::Result<PgPool> {
    lazy_pool("--views", settings.views.as_ref())
}

/// Connections to a database named by the setting `flag`, opened when first needed.
fn lazy_pool(flag: &str, url: Option<&String>) -> anyhow::Result<PgPool> {
    let url = url.with_context(|| {
        format!(
            "a role by itself needs {flag}, the URL of a server that other services reach too: a Postgres that the program \
             runs by itself belongs to one process, which has all roles"
        )
    })?;
    Ok(pool_options().connect_lazy_with(connect_options(flag, url)?))
}

fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(ACQUIRE_TIMEOUT)
}

/// Connects to a database named by the setting `flag`.
async fn pool(flag: &str, url: &str) -> anyhow::Result<PgPool> {
    let options = connect_options(flag, url)?;
    pool_options().connect_with(options).await.with_context(|| {
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
        _ if event_log_kurrentdb::is_url(url) => {
            bail!("{flag} names a KurrentDB server, which keeps event logs only: give a postgres:// URL")
        }
        _ => bail!("{flag} must be a URL such as postgres://user@host/database"),
    }
}
