//! The event log and the views' database, opened as the settings say: a store that no URL names is
//! in the embedded Postgres. The log is in Postgres or on a KurrentDB server, the views in
//! Postgres.

mod log_store;
mod postgres;

use anyhow::Context as _;
use embedded_postgres::{Server, is_interruption};
use event_log::SharedLog;
use sqlx::PgPool;

use self::{
    log_store::LogBackend,
    postgres::{pool, start_embedded, url},
};
pub(crate) use self::{
    log_store::{LogStore, OrderedWriter},
    postgres::{connect_options, lazy_views},
};
use crate::shared_settings;

/// How often the embedded Postgres may be interrupted, by the death of a process of it, while the
/// stores are opened.
const INTERRUPTIONS_MAX: u32 = 3;

/// The event log and the views' database.
pub struct Stores {
    /// The event log.
    pub log: SharedLog,
    /// The views' database, by connections that can write.
    pub views: PgPool,
    backend: LogBackend,
    readers: Option<PgPool>,
    postgres: Option<Server>,
}

impl Stores {
    /// Opens the stores and brings their schemas up to date. Starts the embedded Postgres where it
    /// is needed and not running.
    ///
    /// # Errors
    /// Which store could not be opened, and why.
    pub async fn open(settings: &shared_settings::StoreSettings) -> anyhow::Result<Self> {
        let postgres = embedded(settings).await?;
        let mut interruptions = 0;
        loop {
            let opening = async {
                let connected = ConnectedStores::new(settings, postgres.as_ref()).await?;
                connected.backend.migrate().await?;
                projector::migrate(&connected.views).await.context("prepare the views' database")?;
                connected.open().await
            };
            match (opening.await, &postgres) {
                (Ok(stores), _) => return Ok(Self { postgres, ..stores }),
                (Err(error), Some(server)) if interruptions < INTERRUPTIONS_MAX && is_interruption(&error) => {
                    interruptions += 1;
                    tracing::warn!("opening the stores again, as the embedded Postgres was interrupted: {error:#}");
                    server.wait_until_ready().await?;
                }
                (Err(error), _) => return Err(error),
            }
        }
    }

    /// [`Stores::open`] for a program that only reads: the schemas stay as they are.
    ///
    /// # Errors
    /// As [`Stores::open`]; and where there is no log yet.
    pub async fn open_existing(settings: &shared_settings::StoreSettings) -> anyhow::Result<Self> {
        if settings.is_embedded() && !embedded_postgres::exists(&settings.data_dir()?) {
            return Err(LogStore::missing_ledger_error(settings));
        }
        let postgres = embedded(settings).await?;
        let stores = ConnectedStores::new(settings, postgres.as_ref()).await?.open().await?;
        Ok(Self { postgres, ..stores })
    }

    /// The log and the views' database. Callers must close each, the views first.
    #[must_use]
    pub fn into_parts(self) -> (LogStore, PgPool) {
        (LogStore { log: self.log, backend: self.backend, readers: self.readers, postgres: self.postgres }, self.views)
    }

    /// Opens existing stores, does some work with them, and closes them however the work ends. An
    /// error of the work comes before one of closing, which may fail for the same cause.
    ///
    /// # Errors
    /// As [`Stores::open_existing`], those of the work, or Postgres does not stop.
    pub async fn with_existing<T>(
        settings: &shared_settings::StoreSettings,
        work: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let stores = Self::open_existing(settings).await?;
        let outcome = work(&stores).await;
        let closed = stores.close().await;
        outcome.and_then(|outcome| closed.map(|()| outcome))
    }

    /// Closes what was opened and stops the embedded Postgres, unless another program uses it.
    ///
    /// # Errors
    /// Postgres does not stop.
    pub async fn close(self) -> anyhow::Result<()> {
        drop((self.log, self.readers));
        self.views.close().await;
        self.backend.close().await;
        match self.postgres {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// The databases, connected to, with their schemas as they are.
struct ConnectedStores {
    views: PgPool,
    backend: LogBackend,
}

impl ConnectedStores {
    async fn new(settings: &shared_settings::StoreSettings, postgres: Option<&Server>) -> anyhow::Result<Self> {
        let backend = LogBackend::connect(settings, postgres).await?;
        let views = pool("--views", &url(settings.views.as_ref(), postgres)).await?;
        Ok(Self { views, backend })
    }

    /// The stores, without the embedded Postgres.
    async fn open(self) -> anyhow::Result<Stores> {
        let Self { views, backend } = self;
        let (log, readers) = backend.open().await?;
        Ok(Stores { log, views, backend, readers, postgres: None })
    }
}

/// The embedded Postgres, started where a store is in it.
async fn embedded(settings: &shared_settings::StoreSettings) -> anyhow::Result<Option<Server>> {
    Ok(if settings.is_embedded() { Some(start_embedded(settings).await?) } else { None })
}
