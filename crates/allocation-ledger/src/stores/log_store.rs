//! The event log alone, opened as the settings say.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use embedded_postgres::ServerCondition;
use event_log::{LogError, OrderedError, OrderedEvent, SharedLog, stored_event::refuse_older_log};
use event_log_kurrentdb::{KurrentLog, KurrentOrderedWriter, NamingKeyError};
use event_log_postgres::{PostgresLog, PostgresOrderedWriter};
use import::turn::ImportTurns;
use sqlx::PgPool;

use super::postgres::{lazy_pool, pool, start_embedded, url};
use crate::shared_settings;

/// The pause between two tries to prepare the event log.
const PREPARE_INTERVAL: Duration = Duration::from_secs(1);

/// The event log without the views, which most tools do not need.
pub struct LogStore {
    /// The event log.
    pub log: SharedLog,
    pub(super) backend: LogBackend,
    pub(super) readers: Option<PgPool>,
    pub(super) postgres: Option<embedded_postgres::Server>,
}

impl LogStore {
    /// Opens the log and brings its schema up to date, and makes it where there is none.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub async fn open(settings: &shared_settings::LogSettings) -> anyhow::Result<Self> {
        let (backend, postgres) = connect_log(settings).await?;
        backend.migrate().await?;
        Self::connect(backend, postgres).await?.refuse_older().await
    }

    /// Opens the log with its schema as it is. Answers `None` where there is no log, and makes
    /// none.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub async fn open_existing(settings: &shared_settings::LogSettings) -> anyhow::Result<Option<Self>> {
        match connect_existing_log(settings).await? {
            Some((backend, postgres)) => Ok(Some(Self::connect(backend, postgres).await?)),
            None => Ok(None),
        }
    }

    /// Refuses a log of an earlier version, which must take no event. Reading it says enough.
    async fn refuse_older(self) -> anyhow::Result<Self> {
        refuse_older_log(&*self.log).await.context("open the ledger")?;
        Ok(self)
    }

    /// The log that --event-store names, for a service that may be started before its server, or
    /// before there is a log. Until then every call of the log fails as an outage.
    ///
    /// # Errors
    /// --event-store is not given, or is no URL of a store.
    pub fn lazy(settings: &shared_settings::LogSettings) -> anyhow::Result<Self> {
        let backend = LogBackend::lazy(settings)?;
        let (log, readers): (SharedLog, _) = match &backend {
            LogBackend::Postgres(pool) => in_postgres(PostgresLog::lazy(pool)),
            LogBackend::Kurrent(log) => (Arc::new(log.clone()), None),
        };
        Ok(Self { log, backend, readers, postgres: None })
    }

    /// The log in the embedded Postgres, with its schema up to date.
    pub(super) async fn prepare_embedded(
        settings: &shared_settings::LogSettings,
        postgres: Option<&embedded_postgres::Server>,
    ) -> anyhow::Result<Self> {
        let backend = LogBackend::connect(settings, postgres).await?;
        backend.migrate().await?;
        Self::connect(backend, None).await?.refuse_older().await
    }

    /// Brings the log's schema up to date, where it has one, and gives the services' roles their
    /// rights to it.
    ///
    /// # Errors
    /// The server is out of reach, or does not allow it.
    pub async fn prepare(&self) -> anyhow::Result<()> {
        let LogBackend::Postgres(pool) = &self.backend else { return Ok(()) };
        prepare_log(pool).await?;
        event_log_postgres::grant_roles(pool).await.context("let the services' roles use the event log")
    }

    /// Waits until the log's schema is up to date, where it has one. Tries again and again, and
    /// passes the reason for each failed try to `failed`: the server may be out of reach, or an
    /// operator with more rights may have to prepare the log first.
    pub fn wait_until_prepared<F>(&self, failed: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Fn(&anyhow::Error) + Send,
    {
        let pool = match &self.backend {
            LogBackend::Postgres(pool) => Some(pool.clone()),
            LogBackend::Kurrent(_) => None,
        };
        async move {
            let Some(pool) = pool else { return };
            while let Err(error) = prepare_log(&pool).await {
                failed(&error);
                tokio::time::sleep(PREPARE_INTERVAL).await;
            }
        }
    }

    /// Waits until the event store has said that its ledger has another naming key than this
    /// program, and answers the error. Never ends otherwise.
    pub fn wait_for_key_refusal(&self) -> impl Future<Output = anyhow::Error> + Send + use<> {
        let log = match &self.backend {
            LogBackend::Postgres(_) => None,
            LogBackend::Kurrent(log) => Some(log.clone()),
        };
        async move {
            if let Some(log) = log {
                while let Err(error) = log.check_naming_key().await {
                    if let Ok(refusal) = key_refusal(error) {
                        return refusal.into();
                    }
                    tokio::time::sleep(PREPARE_INTERVAL).await;
                }
            }
            std::future::pending().await
        }
    }

    /// The error of a tool that needs a ledger where there is none.
    pub(super) fn missing_ledger_error(settings: &shared_settings::LogSettings) -> anyhow::Error {
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

    /// The pool that the log reads by, where it is in Postgres.
    #[must_use]
    pub fn readers(&self) -> Option<&PgPool> {
        self.readers.as_ref()
    }

    /// The database that has the access log, which is that of the views; `None` where the settings
    /// do not name it. Connects when it is first used.
    ///
    /// # Errors
    /// --views is no URL of a database.
    pub fn access_log(&self, settings: &shared_settings::StoreSettings) -> anyhow::Result<Option<PgPool>> {
        if settings.views.is_none() && self.postgres.is_none() {
            return Ok(None);
        }
        lazy_pool("--views", Some(&url(settings.views.as_ref(), self.postgres.as_ref()))).map(Some)
    }

    /// The turns of imports into prisons.
    #[must_use]
    pub fn import_turns(&self) -> ImportTurns {
        ImportTurns::new(match &self.backend {
            LogBackend::Postgres(pool) => Some(pool.clone()),
            LogBackend::Kurrent(_) => None,
        })
    }

    /// The condition of the embedded Postgres, where there is one.
    #[must_use]
    pub fn embedded_condition(&self) -> Option<ServerCondition> {
        self.postgres.as_ref().map(|server| server.condition().clone())
    }

    /// A writer of many streams' events in a given order, behind whatever the log holds. To a
    /// KurrentDB server it sends many appends ahead of their answers.
    #[must_use]
    pub fn ordered_writer(&self) -> OrderedWriter {
        match &self.backend {
            LogBackend::Postgres(pool) => OrderedWriter::Postgres(Box::new(PostgresOrderedWriter::new(pool))),
            LogBackend::Kurrent(log) => OrderedWriter::Kurrent(KurrentOrderedWriter::new(log)),
        }
    }

    /// As [`LogStore::ordered_writer`], with one append in flight.
    #[must_use]
    pub fn one_at_a_time_writer(&self) -> OrderedWriter {
        match &self.backend {
            LogBackend::Postgres(_) => self.ordered_writer(),
            LogBackend::Kurrent(log) => OrderedWriter::Kurrent(KurrentOrderedWriter::one_at_a_time(log)),
        }
    }

    async fn connect(backend: LogBackend, postgres: Option<embedded_postgres::Server>) -> anyhow::Result<Self> {
        let (log, readers) = backend.open().await?;
        Ok(Self { log, backend, readers, postgres })
    }

    /// Opens or makes the log, does some work with it, and closes it: see
    /// [`LogStore::close_after`].
    ///
    /// # Errors
    /// Why the log could not be opened, and those of the work.
    pub async fn with<T>(
        settings: &shared_settings::LogSettings,
        work: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        Self::open(settings).await?.close_after(work).await
    }

    /// [`LogStore::with`] for a program that only reads: fails where there is no log, and leaves
    /// the schema of one as it is.
    ///
    /// # Errors
    /// As [`LogStore::with`]; and where there is no log.
    pub async fn with_existing<T>(
        settings: &shared_settings::LogSettings,
        work: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let store = Self::open_existing(settings).await?.ok_or_else(|| Self::missing_ledger_error(settings))?;
        store.close_after(work).await
    }

    /// [`LogStore::with`] for a program that writes to a ledger and begins none: fails where there
    /// is no log, and brings the schema of one up to date.
    ///
    /// # Errors
    /// As [`LogStore::with`]; and where there is no log.
    pub async fn with_existing_to_write<T>(
        settings: &shared_settings::LogSettings,
        work: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let existing = connect_existing_log(settings).await?;
        let (backend, postgres) = existing.ok_or_else(|| Self::missing_ledger_error(settings))?;
        backend.migrate().await?;
        Self::connect(backend, postgres).await?.refuse_older().await?.close_after(work).await
    }

    /// Does some work, and closes the log however the work ends. An error of the work comes before
    /// one of closing, which may fail for the same cause.
    ///
    /// # Errors
    /// Those of the work; else Postgres does not stop.
    pub async fn close_after<T>(self, work: impl AsyncFnOnce(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let outcome = work(&self).await;
        let closed = self.close().await;
        outcome.and_then(|outcome| closed.map(|()| outcome))
    }

    /// Closes what was opened and stops the embedded Postgres, unless another program uses it.
    ///
    /// # Errors
    /// Postgres does not stop.
    pub async fn close(self) -> anyhow::Result<()> {
        drop((self.log, self.readers));
        self.backend.close().await;
        match self.postgres {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// Appends events of many streams in the order given, with their recorded times, to either kind of
/// log.
#[derive(Debug)]
pub enum OrderedWriter {
    /// To one in Postgres.
    Postgres(Box<PostgresOrderedWriter>),
    /// To one on a KurrentDB server.
    Kurrent(KurrentOrderedWriter),
}

impl OrderedWriter {
    /// Appends events after position `after`, where the log must end, and answers its new end. On
    /// KurrentDB only the ends of the streams named are checked.
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

/// The place of a log.
pub(super) enum LogBackend {
    Postgres(PgPool),
    Kurrent(KurrentLog),
}

impl LogBackend {
    /// Connects to the log. Its schema stays as it is.
    pub(super) async fn connect(
        settings: &shared_settings::LogSettings,
        postgres: Option<&embedded_postgres::Server>,
    ) -> anyhow::Result<Self> {
        match &settings.event_store {
            Some(url) if event_log_kurrentdb::is_url(url) => {
                let log = settings.kurrent_log(url)?;
                let there = "reach the event store that --event-store names: is its server running, and the URL right?";
                event_log::EventLog::head(&log).await.context(there)?;
                let checked = log.check_naming_key().await;
                checked.map_err(|error| key_refusal(error).map_or_else(anyhow::Error::from, anyhow::Error::from))?;
                Ok(Self::Kurrent(log))
            }
            url_given => Ok(Self::Postgres(pool("--event-store", &url(url_given.as_ref(), postgres)).await?)),
        }
    }

    /// The place of the log, connected to when it is first used.
    pub(super) fn lazy(settings: &shared_settings::LogSettings) -> anyhow::Result<Self> {
        match &settings.event_store {
            Some(url) if event_log_kurrentdb::is_url(url) => Ok(Self::Kurrent(settings.kurrent_log(url)?)),
            url => Ok(Self::Postgres(lazy_pool("--event-store", url.as_ref())?)),
        }
    }

    /// Brings the log's schema up to date, where it has one.
    pub(super) async fn migrate(&self) -> anyhow::Result<()> {
        match self {
            Self::Postgres(pool) => event_log_postgres::migrate(pool).await.context("prepare the event log"),
            Self::Kurrent(_) => Ok(()),
        }
    }

    /// The log, and the pool that it reads by, where it is in Postgres.
    pub(super) async fn open(&self) -> anyhow::Result<(SharedLog, Option<PgPool>)> {
        Ok(match self {
            Self::Postgres(pool) => in_postgres(PostgresLog::connect(pool).await.context("open the event log")?),
            Self::Kurrent(log) => (Arc::new(log.clone()), None),
        })
    }

    pub(super) async fn close(self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::Kurrent(_) => {}
        }
    }
}

/// Connects to the place of the log, and starts the embedded Postgres where the log is in it.
async fn connect_log(
    settings: &shared_settings::LogSettings,
) -> anyhow::Result<(LogBackend, Option<embedded_postgres::Server>)> {
    let postgres = if settings.event_store.is_none() { Some(start_embedded(settings).await?) } else { None };
    Ok((LogBackend::connect(settings, postgres.as_ref()).await?, postgres))
}

/// As [`connect_log`]. Answers `None` where there is no log, and makes none.
async fn connect_existing_log(
    settings: &shared_settings::LogSettings,
) -> anyhow::Result<Option<(LogBackend, Option<embedded_postgres::Server>)>> {
    if settings.event_store.is_none() && !embedded_postgres::exists(&settings.data_dir()?) {
        return Ok(None);
    }
    let (backend, postgres) = connect_log(settings).await?;
    let looking = "look for the event log";
    let is_there = match &backend {
        LogBackend::Postgres(pool) => {
            sqlx::query_scalar("SELECT to_regclass('log.head') IS NOT NULL").fetch_one(pool).await.context(looking)?
        }
        LogBackend::Kurrent(log) => event_log::EventLog::head(log).await.context(looking)? > 0,
    };
    if !is_there {
        backend.close().await;
        if let Some(server) = postgres {
            server.stop().await?;
        }
        return Ok(None);
    }
    Ok(Some((backend, postgres)))
}

/// That a naming key is refused, where that is what an error of the log says.
pub(crate) fn key_refusal(error: LogError) -> Result<NamingKeyError, LogError> {
    match error {
        LogError::Unavailable(reason) => reason.downcast().map(|refusal| *refusal).map_err(LogError::Unavailable),
        error => Err(error),
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
