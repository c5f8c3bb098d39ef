//! `serve`: the roles of the ledger in one process, wired together and ended in order.
//!
//! | role | runs | answers | knows the log | knows the views |
//! |---|---|---|---|---|
//! | `command` | policies | commands | appends | |
//! | `projector` | the projector; rebuilds, verifications and exports | its health, jobs | prepares it, if it is in Postgres; reads | prepares and writes them |
//! | `query` | | questions | reads | reads |
//! | `integration` | the intake and the publisher of messages, the sender to the audit queue | parked messages | appends | keeps parked messages beside them; reads |
//! | `all` | all of these | everything | | |
//!
//! Every role starts whether or not the servers that its URLs name are there, and says in its
//! readiness what it waits for; so services and servers can be started in any order.
//!
//! The end, on SIGINT or SIGTERM: no new connections, requests in flight are answered or, after 10
//! s, broken off; then policies and the projector stop and the access log takes the last entries;
//! then connections to the stores are closed, then Postgres stops. The projector stops between two
//! batches. The policies stop wherever they are: their commands have the same ids when they are
//! sent again, so none is lost and none is doubled. A second signal ends the program at once; the
//! next start uses a Postgres that is left over.

mod access_log_settings;
mod access_log_upkeep;
mod admission;
mod api_document;
mod api_security;
mod audit_settings;
mod connection;
mod directory_claim;
mod event_page;
mod gauges;
mod health;
mod html;
mod http_server;
mod jobs;
mod openapi;
mod other_roles;
mod pages;
mod pages_settings;
mod prepared_schema;
mod process_metrics;
mod publisher_settings;
mod reference_pages;
mod roles;
mod settings;
mod shutdown;
mod sign_on_settings;
mod tls;

use std::{io::Write as _, net::SocketAddr};

use anyhow::{Context as _, anyhow, bail};
use http_api::{HostNames, RequestLimits};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub use self::{
    access_log_settings::AccessLogSettings,
    audit_settings::AuditSettings,
    pages_settings::{PagesServer, PagesSettings},
    publisher_settings::{PublisherSettings, TopicSettings},
    settings::{LAG_MAX_SECONDS, RATE_LIMIT, Role, ServeSettings},
    sign_on_settings::SignOnSettings,
    tls::ServerTlsSettings,
};

use self::{
    admission::Admission,
    directory_claim::Claim,
    http_server::HttpServer,
    roles::{Roles, StopSignals, Wiring},
    shutdown::{count_signals, wait_for_signals},
};
use crate::{
    build_info,
    stores::{self, LogStore},
};

/// Serves until a signal ends it.
///
/// # Errors
/// The ledger cannot start, or a part of it fails.
pub async fn run(settings: &ServeSettings) -> anyhow::Result<()> {
    let running = ServingLedger::start(settings).await?;
    // A reader of standard output that has gone is no failure: requests are still answered.
    let _ = writeln!(std::io::stdout(), "allocation-ledger listens on {}", running.url());
    running.run_until_signal().await
}

/// A serving ledger.
pub struct ServingLedger {
    url: String,
    log: LogStore,
    views: Option<PgPool>,
    roles: Roles,
    stop_signals: StopSignals,
    http: JoinHandle<()>,
    signals: watch::Receiver<u32>,
    _claim: Option<Claim>,
}

impl ServingLedger {
    /// Starts to serve. From now on SIGINT and SIGTERM do not end the program:
    /// [`ServingLedger::run_until_signal`] waits for them.
    ///
    /// # Errors
    /// The address is taken or not allowed, the data directory is taken, a store cannot be opened,
    /// or a signal came.
    pub async fn start(settings: &ServeSettings) -> anyhow::Result<Self> {
        let signals = count_signals()?;
        tokio::select! {
            running = Self::start_parts(settings, signals.clone()) => running,
            () = wait_for_signals(signals, 1) => bail!("stopped by a signal while starting"),
        }
    }

    async fn start_parts(settings: &ServeSettings, signals: watch::Receiver<u32>) -> anyhow::Result<Self> {
        let is_integrated = settings.message_queue.is_named() || settings.publisher.is_on() || settings.audit.is_on();
        if settings.role == Role::Integration && !is_integrated {
            bail!(
                "--role integration takes in the messages of a queue, publishes to a topic, and tells the audit service: \
                 name one of them with --domain-events-queue, --domain-events-topic or --audit-queue"
            );
        }
        let sign_on = settings.sign_on.open()?;
        check_listen(settings.listen, sign_on.is_some())?;
        let tls = settings.tls.open()?;
        let proxies = settings.trusted_proxies()?;
        let listener = TcpListener::bind(settings.listen).await.with_context(|| {
            format!("listen on {}: is another program listening there? Choose another with --listen", settings.listen)
        })?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().context("read the address listened on")?);
        let (claim, log, views) = open_stores(settings).await?;

        let stop_signals = StopSignals::new();
        let mut wiring = Wiring::new(settings, &log, &stop_signals, sign_on);
        if settings.role.commands() {
            wiring = wiring.with_command()?;
            // A command service uses the views' database for the access log alone.
            let is_named = settings.role == Role::Command && settings.stores.views.is_some();
            let of_command = if is_named { Some(stores::lazy_views(&settings.stores)?) } else { None };
            wiring = wiring.with_imports(views.as_ref().or(of_command.as_ref()))?;
        }
        if let (true, Some(views)) = (settings.role.integrates(), &views) {
            wiring = wiring.with_messages(views).await?.with_publisher(views).await?.with_audit(views).await;
        }
        if let (true, Some(views)) = (settings.role.projects(), &views) {
            wiring = wiring.with_projector(views)?;
        }
        if let (true, Some(views)) = (settings.role.answers(), &views) {
            wiring = wiring.with_query(views)?;
        }
        let (router, sign_on, metrics, roles) = wiring.finish();
        if let Some(views) = &views {
            gauges::views(&metrics, &log.log, views);
        }

        if !settings.listen.ip().is_loopback() && settings.hosts.iter().all(String::is_empty) {
            tracing::warn!(
                "no name is given with --host, so requests from other machines are refused, but those of probes"
            );
        }
        let admission = Admission::new(proxies.clone());
        metrics.register(|registry| admission.register_metrics(registry));
        let hosts = HostNames::new(settings.hosts.clone());
        let limits = || RequestLimits::new(proxies.clone(), settings.requests_per_second());
        let sessions = match settings.role {
            Role::All => settings.pages.open(&PagesServer {
                url: &url,
                is_loopback: settings.listen.ip().is_loopback(),
                hosts: &settings.hosts,
                sign_on: sign_on.as_ref(),
            })?,
            Role::Command | Role::Projector | Role::Query | Role::Integration => None,
        };
        let mut router = http_api::add_middleware(router, sign_on, metrics.clone(), hosts.clone(), limits());
        if let Some(sessions) = sessions {
            router = pages::add_pages(router, sessions, metrics, hosts, limits());
        }
        let http = HttpServer::new(listener, tls, router, stop_signals.accepting.subscribe(), admission);
        let http = tokio::spawn(http.serve());
        let (role, version) = (settings.role.name(), build_info::VERSION);
        tracing::info!(url, role, version, "serving on {url}");
        Ok(Self { url, log, views, roles, stop_signals, http, signals, _claim: claim })
    }

    /// The URL that the ledger listens on.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The command side, where the process has that role.
    #[must_use]
    pub fn service(&self) -> Option<&command::Service> {
        self.roles.service.as_ref()
    }

    /// Waits until the views include all events that are in the log now. Returns at once where
    /// another process projects.
    ///
    /// # Errors
    /// The log is out of reach, or the projector stopped.
    pub async fn wait_for_views(&self) -> anyhow::Result<()> {
        let Some(projecting) = &self.roles.projecting else { return Ok(()) };
        let head = self.log.log.head().await.context("find the end of the log")?;
        let reached = |status: &projector::Status| match status {
            projector::Status::Running { position, .. } => *position >= head,
            projector::Status::Stopped { .. } | projector::Status::Ended => true,
            _ => false,
        };
        let status = projecting.clone().wait_for(reached).await.context("follow the projector")?.clone();
        match status {
            projector::Status::Running { .. } => Ok(()),
            status => bail!("the views stopped short of position {head}: {status:?}"),
        }
    }

    /// Serves until SIGINT or SIGTERM, then stops.
    ///
    /// # Errors
    /// As [`ServingLedger::stop`].
    pub async fn run_until_signal(mut self) -> anyhow::Result<()> {
        let signals = self.signals.clone();
        let key_refusal = self.log.wait_for_key_refusal();
        tokio::select! {
            () = wait_for_signals(signals.clone(), 1) => tracing::info!("stopping"),
            refusal = key_refusal => {
                // Nothing was read or written, so nothing is left undone.
                self.stop().await.unwrap_or_else(|error| tracing::debug!("a part ended before: {error:#}"));
                return Err(refusal);
            }
            ended = &mut self.http => {
                let reason = ended.map_or_else(anyhow::Error::from, |()| anyhow!("it ended by itself"));
                close(self.log, self.views).await?;
                return Err(reason.context("serve HTTP"));
            }
        }
        tokio::select! {
            stopped = self.stop() => stopped.inspect(|()| tracing::info!("stopped")),
            () = wait_for_signals(signals, 2) => {
                tracing::warn!("ended at once by a second signal; a Postgres server left over is used by the next start");
                // Returning would still wait for Postgres to stop.
                std::process::exit(1);
            }
        }
    }

    /// Stops in order: requests, policies and projector, connections, Postgres.
    ///
    /// # Errors
    /// A part had failed, or Postgres does not stop.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop_signals.accepting.send_replace(true);
        let mut outcome = self.http.await.context("serve HTTP");
        self.stop_signals.working.send_replace(true);
        for worker in self.roles.workers {
            outcome = outcome.and(worker.join().await);
        }
        drop(self.roles.service);
        outcome.and(close(self.log, self.views).await)
    }
}

/// Opens the stores that the role uses, and claims the data directory where an embedded Postgres is
/// one of them.
async fn open_stores(settings: &ServeSettings) -> anyhow::Result<(Option<Claim>, LogStore, Option<PgPool>)> {
    let ServeSettings { stores, role, .. } = settings;
    Ok(match role {
        Role::All => {
            let claim =
                if stores.is_embedded() { Some(directory_claim::claim(&stores.log.data_dir()?)?) } else { None };
            let (log, views) = stores::open_to_serve(stores).await?;
            (claim, log, Some(views))
        }
        Role::Command => (None, LogStore::lazy(&stores.log)?, None),
        Role::Projector | Role::Query | Role::Integration => {
            (None, LogStore::lazy(&stores.log)?, Some(stores::lazy_views(stores)?))
        }
    })
}

async fn close(log: LogStore, views: Option<PgPool>) -> anyhow::Result<()> {
    if let Some(views) = views {
        views.close().await;
    }
    log.close().await
}

/// Refuses an address that other machines can reach where there is no sign-on.
fn check_listen(listen: SocketAddr, has_sign_on: bool) -> anyhow::Result<()> {
    if listen.ip().is_loopback() || has_sign_on {
        return Ok(());
    }
    bail!(
        "--listen {listen} would let other machines in, and no sign-on is configured, so that any client there could read \
         and record anything: listen on 127.0.0.1:{port} or [::1]:{port}, or say whose tokens are valid with \
         --auth-jwks-url or --auth-key-file",
        port = listen.port()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_other_machines_needs_a_sign_on() {
        for (listen, allowed) in [
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("10.0.0.7:80", false),
        ] {
            let listen = listen.parse().expect("an address");
            assert_eq!(check_listen(listen, false).is_ok(), allowed, "{listen}");
            assert!(check_listen(listen, true).is_ok(), "{listen}");
        }
    }
}
