//! The event log and the views' database, opened as the settings say: a store that no URL names is
//! in the embedded Postgres. The log is in Postgres or on a KurrentDB server, the views in
//! Postgres.

mod log_store;
mod postgres;

use std::path::Path;

use anyhow::{Context as _, anyhow};
use embedded_postgres::{Server, is_interruption};
use event_log::SharedLog;
use sqlx::PgPool;

use self::{
    log_store::LogBackend,
    postgres::{pool, start_embedded, url},
};
pub(crate) use self::{
    log_store::{LogStore, OrderedWriter, key_refusal},
    postgres::{access_log_writer, connect_options, lazy_pool, lazy_views, read_only},
};
use crate::shared_settings;

/// How often the embedded Postgres may be interrupted, by the death of a process of it, while the
/// stores are opened.
const INTERRUPTIONS_MAX: u32 = 3;

/// Opens the stores for `serve`. Those in the embedded Postgres, which is started where it is not
/// running, are brought up to date. Those on other servers are connected to when they are first
/// used: until then each use of them fails as an outage.
///
/// # Errors
/// The embedded Postgres could not be started or used, or a URL is none of a store.
pub(crate) async fn open_to_serve(settings: &shared_settings::StoreSettings) -> anyhow::Result<(LogStore, PgPool)> {
    let postgres = embedded(settings).await?;
    let mut interruptions = 0;
    loop {
        let opening = async {
            let log = match settings.log.event_store {
                Some(_) => LogStore::lazy(&settings.log)?,
                None => LogStore::prepare_embedded(&settings.log, postgres.as_ref()).await?,
            };
            let views = match settings.views {
                Some(_) => lazy_views(settings)?,
                None => prepare_embedded_views(postgres.as_ref()).await?,
            };
            anyhow::Ok((log, views))
        };
        match (opening.await, &postgres) {
            (Ok((log, views)), _) => return Ok((LogStore { postgres, ..log }, views)),
            (Err(error), Some(server)) if interruptions < INTERRUPTIONS_MAX && is_interruption(&error) => {
                interruptions += 1;
                tracing::warn!("opening the stores again, as the embedded Postgres was interrupted: {error:#}");
                server.wait_until_ready().await?;
            }
            (Err(error), _) => return Err(error),
        }
    }
}

async fn prepare_embedded_views(postgres: Option<&Server>) -> anyhow::Result<PgPool> {
    let views = pool("--views", &url(None, postgres)).await?;
    projector::migrate(&views).await.context("prepare the views' database")?;
    access_log::SCHEMA.migrate_as_owner(&views).await.context("prepare the access log")?;
    hmpps::SCHEMA.migrate_as_owner(&views).await.context("prepare the messages of HMPPS")?;
    Ok(views)
}

/// The event log and the views' database of a ledger that exists.
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
    /// Opens the stores with their schemas as they are.
    ///
    /// # Errors
    /// There is no log or no views yet, or which store could not be opened, and why.
    pub async fn open_existing(settings: &shared_settings::StoreSettings) -> anyhow::Result<Self> {
        if settings.is_embedded() && !embedded_postgres::exists(&settings.log.data_dir()?) {
            return Err(match settings.log.event_store {
                Some(_) => missing_views_error(&settings.log.data_dir()?),
                None => LogStore::missing_ledger_error(&settings.log),
            });
        }
        let postgres = embedded(settings).await?;
        let backend = LogBackend::connect(&settings.log, postgres.as_ref()).await?;
        let views = pool("--views", &url(settings.views.as_ref(), postgres.as_ref())).await?;
        let (log, readers) = backend.open().await?;
        Ok(Self { log, views, backend, readers, postgres })
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

/// The error of a tool that needs the views in a data directory that has none.
fn missing_views_error(data_dir: &Path) -> anyhow::Error {
    anyhow!(
        "there are no views yet in {}: start `allocation-ledger serve` with the same settings, which makes them, or say \
         where they are with --views or --data-dir",
        data_dir.display()
    )
}

/// The embedded Postgres, started where a store is in it.
async fn embedded(settings: &shared_settings::StoreSettings) -> anyhow::Result<Option<Server>> {
    Ok(if settings.is_embedded() { Some(start_embedded(&settings.log).await?) } else { None })
}
