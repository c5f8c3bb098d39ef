//! `serve`: the roles of the ledger in one process, wired together and ended in order.
//!
//! | role | runs | answers | knows the log | knows the views |
//! |---|---|---|---|---|
//! | `command` | policies | commands | appends | |
//! | `projector` | the projector | its health | prepares it, if it is in Postgres; reads | prepares and writes them |
//! | `query` | | questions | reads | reads |
//! | `all` | all of these | everything | | |
//!
//! A role by itself starts whether or not its stores are there, and says in its readiness what it waits for; so services can
//! be started in any order. `all` fails where they cannot be opened, as there is nobody else to wait for.
//!
//! The end, on SIGINT or SIGTERM: no new connections, requests in flight are answered, then policies and the projector
//! stop, then connections are closed, then Postgres stops. The projector stops between two batches; policies wherever they
//! are, as a command of theirs has the same ids when it is sent again: none is lost, none doubled. A second signal ends the
//! program at once; a Postgres left over is used again by the next start.

mod connection;
mod gauges;

use std::{io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use axum::{Json, Router, routing::get};
use clap::{Args, ValueEnum};
use event_log::SharedLog;
use http_api::{
    health::{self, Component, Health},
    metrics::Metrics,
};
use sqlx::PgPool;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_swagger_ui::SwaggerUi;

use self::connection::EndingListener;
use crate::{
    data_directory::{self, Claim},
    settings,
    stores::{self, LogStore, Stores},
};

/// How long requests in flight may take to be answered at the end. Those that follow the log would never end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How far views may be behind the log, where nothing else is set. They follow within milliseconds; a rebuild swaps them within
/// a second, and a projector takes over from another within some ten. What takes longer is worth an alarm.
pub const LAG_MAX_SECONDS: u64 = 30;

/// What `serve` can be told.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "LEDGER_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Let other machines in, though nobody is asked who they are. Only for a network of its own, e.g. of containers, in
    /// which a gateway that authenticates is the one way in
    #[arg(long, env = "LEDGER_TRUST_NETWORK")]
    pub trust_network: bool,
    /// What this process does
    #[arg(long, env = "LEDGER_ROLE", value_enum, default_value_t = Role::All)]
    pub role: Role,
    /// Where the ledger is kept.
    #[command(flatten)]
    pub stores: settings::Stores,
    /// How commands are decided.
    #[command(flatten)]
    pub commands: settings::Commands,
    /// How many seconds the views may be behind the log before a service that answers from them is not ready
    #[arg(long, env = "LEDGER_LAG_MAX", value_name = "SECONDS", default_value_t = LAG_MAX_SECONDS)]
    pub lag_max: u64,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything.
    All,
    /// Takes commands and follows up on them.
    Command,
    /// Keeps the views up with the log.
    Projector,
    /// Answers questions.
    Query,
}

impl Role {
    fn commands(self) -> bool {
        matches!(self, Self::All | Self::Command)
    }

    fn projects(self) -> bool {
        matches!(self, Self::All | Self::Projector)
    }

    fn answers(self) -> bool {
        matches!(self, Self::All | Self::Query)
    }
}

/// Serves until a signal ends it.
///
/// # Errors
/// It cannot start, or a part of it fails.
pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    let running = Running::start(settings).await?;
    // Its reader may have gone; whoever asks for the address by HTTP still gets an answer.
    let _ = writeln!(std::io::stdout(), "allocation-ledger listens on {}", running.url());
    running.until_signal().await
}

/// A serving ledger.
pub struct Running {
    url: String,
    service: Option<command::Service>,
    log: LogStore,
    views: Option<PgPool>,
    stop_accepting: watch::Sender<bool>,
    stop_working: watch::Sender<bool>,
    http: JoinHandle<std::io::Result<()>>,
    workers: Vec<Worker>,
    projecting: Option<watch::Receiver<projector::Status>>,
    signals: watch::Receiver<u32>,
    _claim: Option<Claim>,
}

impl Running {
    /// Starts to serve. From now on SIGINT and SIGTERM do not end the program, but are waited for by
    /// [`Running::until_signal`].
    ///
    /// # Errors
    /// The address is taken or not allowed, the data directory is taken, a store cannot be opened, or a signal came.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let signals = count_signals()?;
        tokio::select! {
            running = Self::start_parts(settings, signals.clone()) => running,
            () = counted(signals, 1) => bail!("stopped by a signal while starting"),
        }
    }

    async fn start_parts(settings: &Settings, signals: watch::Receiver<u32>) -> anyhow::Result<Self> {
        check_listen(settings.listen, settings.trust_network)?;
        let listener = TcpListener::bind(settings.listen).await.with_context(|| {
            format!("listen on {}: is another program listening there? Choose another with --listen", settings.listen)
        })?;
        let url = format!("http://{}", listener.local_addr().context("read the address listened on")?);

        let (claim, log_store, views) = match settings.role {
            Role::All => {
                let claim = if settings.stores.is_embedded() {
                    Some(data_directory::claim(&settings.stores.data_dir()?)?)
                } else {
                    None
                };
                let (log, views) = Stores::open(&settings.stores).await?.into_parts();
                (claim, log, Some(views))
            }
            Role::Command => (None, LogStore::lazy(&settings.stores)?, None),
            Role::Projector | Role::Query => {
                (None, LogStore::lazy(&settings.stores)?, Some(stores::lazy_views(&settings.stores)?))
            }
        };
        let log = &log_store.log;

        let (stop_accepting, _) = watch::channel(false);
        let (stop_working, _) = watch::channel(false);
        let metrics = Metrics::default();
        let mut health = Health::new("allocation-ledger", env!("CARGO_PKG_VERSION"), metrics.clone());
        let mut workers = Vec::new();
        let mut router = Router::new();
        let mut openapi = openapi();

        health = with_event_log(health, log, settings.role);
        gauges::log(&metrics, log);
        if let Some(readers) = log_store.readers() {
            gauges::connections(&metrics, "log", readers);
        }
        let mut service = None;
        let mut projecting = None;
        if settings.role.commands() {
            let commands = command::Service::new(Arc::clone(log), settings.commands.command_settings()?);
            let policies = command::policies::run(commands.clone(), raised(&stop_working));
            let worker = Worker::start("policies", &stop_working, async {
                policies.await;
                Ok(())
            });
            metrics.register(|registry| commands.register_metrics(registry));
            health = with_policies(health, commands.clone(), worker.failed());
            workers.push(worker);
            router = router.merge(command::router(commands.clone()));
            openapi.merge(command::openapi());
            service = Some(commands);
        }
        if let (true, Some(views)) = (settings.role.projects(), &views) {
            let (status, statuses) = watch::channel(projector::Status::Starting);
            let unprepared = status.clone();
            let prepared = log_store.prepared(move |error| {
                let reason = format!("{error:#}");
                tracing::warn!(reason, "waiting for the event log to be prepared: {reason}");
                unprepared.send_replace(projector::Status::Retrying { reason });
            });
            let (log, views) = (Arc::clone(log), views.clone());
            let (stopped, told_to_stop) = (raised(&stop_working), raised(&stop_working));
            let worker = Worker::start("projector", &stop_working, async {
                tokio::select! {
                    () = prepared => {}
                    () = told_to_stop => return Ok(()),
                }
                let running = projector::run(log, views, projector::Settings::default(), status, stopped);
                running.await.context("keep the views up with the log")
            });
            health = with_projector(health, statuses.clone(), worker.failed());
            workers.push(worker);
            projecting = Some(statuses);
        }
        if let (true, Some(views)) = (settings.role.answers(), &views) {
            let lag_max = Duration::from_secs(settings.lag_max);
            let pool = query_pool(views);
            gauges::connections(&metrics, "query", &pool);
            let state = query::State::new(pool, Arc::clone(log), lag_max);
            let streaming = state.clone();
            let stopped = raised(&stop_accepting);
            tokio::spawn(async move {
                stopped.await;
                streaming.end_streams();
            });
            let asked = state.clone();
            health = health.with("views", move || asked.clone().health());
            router = router.merge(query::router(state));
            openapi.merge(query::openapi());
        }

        if let Some(views) = &views {
            gauges::views(&metrics, log, views);
        }

        let router = router.merge(health::router(health)).merge(documentation(openapi));
        let listener = EndingListener::new(listener, stop_accepting.subscribe());
        metrics.register(|registry| listener.register_metrics(registry));
        let router = http_api::surround(router, metrics);
        let stopped = raised(&stop_accepting);
        let http = tokio::spawn(async { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        tracing::info!(url, role = ?settings.role, "serving on {url}");
        Ok(Self {
            url,
            service,
            log: log_store,
            views,
            stop_accepting,
            stop_working,
            http,
            workers,
            projecting,
            signals,
            _claim: claim,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its command side, if it has that role.
    #[must_use]
    pub fn service(&self) -> Option<&command::Service> {
        self.service.as_ref()
    }

    /// Waits until the views include everything that is in the log now. Returns at once where another process projects.
    ///
    /// # Errors
    /// The log is out of reach, or the projector stopped.
    pub async fn views_caught_up(&self) -> anyhow::Result<()> {
        let Some(projecting) = &self.projecting else { return Ok(()) };
        let head = self.log.log.head().await.context("find the end of the log")?;
        let reached = |status: &projector::Status| match status {
            projector::Status::Running { position } => *position >= head,
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
    /// As [`Running::stop`].
    pub async fn until_signal(mut self) -> anyhow::Result<()> {
        let signals = self.signals.clone();
        tokio::select! {
            () = counted(signals.clone(), 1) => tracing::info!("stopping"),
            ended = &mut self.http => {
                let reason = match ended {
                    Ok(Ok(())) => anyhow!("it ended by itself"),
                    Ok(Err(error)) => error.into(),
                    Err(error) => error.into(),
                };
                close(self.log, self.views).await?;
                return Err(reason.context("serve HTTP"));
            }
        }
        tokio::select! {
            stopped = self.stop() => stopped,
            () = counted(signals, 2) => {
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
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop_accepting.send_replace(true);
        if timeout(DRAIN_TIMEOUT, &mut self.http).await.is_err() {
            tracing::info!("closing connections that were still open after {} s", DRAIN_TIMEOUT.as_secs());
            self.http.abort();
        }
        self.stop_working.send_replace(true);
        let mut outcome = Ok(());
        for worker in self.workers {
            outcome = outcome.and(worker.ended().await);
        }
        drop(self.service);
        outcome.and(close(self.log, self.views).await)
    }
}

async fn close(log: LogStore, views: Option<PgPool>) -> anyhow::Result<()> {
    if let Some(views) = views {
        views.close().await;
    }
    log.close().await
}

/// A task that works beside the requests until it is told to stop. One that ends before that is logged, and shows in
/// the health; what else the program does goes on.
struct Worker {
    watch: JoinHandle<anyhow::Result<()>>,
    failed: watch::Receiver<Option<String>>,
}

impl Worker {
    /// Starts it. `stop_working` is what tells `work` to stop.
    fn start(
        name: &'static str,
        stop_working: &watch::Sender<bool>,
        work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> Self {
        let (failure, failed) = watch::channel(None);
        let stopping = stop_working.subscribe();
        let work = tokio::spawn(work);
        let watch = tokio::spawn(async move {
            let ended = work.await.unwrap_or_else(|error| Err(error.into()));
            let ended = ended.with_context(|| format!("run the {name}"));
            if !*stopping.borrow() {
                let reason = match &ended {
                    Ok(()) => "it ended by itself".to_owned(),
                    Err(error) => format!("{error:#}"),
                };
                tracing::error!(worker = name, reason, "the {name} ended and will not work again: {reason}");
                failure.send_replace(Some(reason));
            }
            ended
        });
        Self { watch, failed }
    }

    /// Why it ended before it was told to.
    fn failed(&self) -> watch::Receiver<Option<String>> {
        self.failed.clone()
    }

    /// Waits for its end.
    async fn ended(self) -> anyhow::Result<()> {
        self.watch.await.unwrap_or_else(|error| Err(error.into()))
    }
}

/// Refuses to be reached from other machines, as nobody would be asked who they are; unless somebody has decided that the
/// network takes care of that.
fn check_listen(listen: SocketAddr, trust_network: bool) -> anyhow::Result<()> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    if !trust_network {
        bail!(
            "--listen {listen} would let other machines in, and no authentication is configured, so that anybody there \
             could record anything: listen on 127.0.0.1:{port} or [::1]:{port}, and put something in front that \
             authenticates; or, where the network lets nobody in but that, add --trust-network",
            port = listen.port()
        );
    }
    tracing::warn!(
        %listen,
        "other machines are let in and nobody is asked who they are, by --trust-network: whoever reaches {listen} can read \
         and record everything"
    );
    Ok(())
}

/// Counts the SIGINTs and SIGTERMs that come from now on.
fn count_signals() -> anyhow::Result<watch::Receiver<u32>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let (counter, count) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = counter.closed() => return,
            }
            counter.send_modify(|count| *count += 1);
        }
    });
    Ok(count)
}

/// Ready when so many signals have come.
async fn counted(mut signals: watch::Receiver<u32>, wanted: u32) {
    if signals.wait_for(|count| *count >= wanted).await.is_err() {
        // Nobody counts any more, which happens only when the program ends anyway.
        std::future::pending().await
    }
}

/// Ready when the sender says `true`, or is gone.
fn raised(sender: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut receiver = sender.subscribe();
    async move {
        // An error means that the sender is gone, which is as good as a signal.
        let _ = receiver.wait_for(|raised| *raised).await;
    }
}

/// Connections that read the views and cannot write them.
fn query_pool(views: &PgPool) -> PgPool {
    let options = views.connect_options().as_ref().clone().application_name("allocation-ledger query");
    query::connect(options, projector::SCHEMA, views.options().get_max_connections())
}

/// Who only answers does so from the views, also while the event store is away.
fn with_event_log(health: Health, log: &SharedLog, role: Role) -> Health {
    let log = Arc::clone(log);
    let check = move || {
        let log = Arc::clone(&log);
        async move {
            match log.head().await {
                Ok(position) => Component::up().with("position", position),
                Err(error) => Component::failed(&error),
            }
        }
    };
    match role {
        Role::Query => health.with_dispensable("eventLog", check),
        Role::All | Role::Command | Role::Projector => health.with("eventLog", check),
    }
}

fn with_policies(health: Health, service: command::Service, failed: watch::Receiver<Option<String>>) -> Health {
    health.with("policies", move || {
        let component = policies_component(service.is_caught_up(), failed.borrow().as_deref());
        async { component }
    })
}

fn policies_component(is_caught_up: bool, failed: Option<&str>) -> Component {
    match (failed, is_caught_up) {
        (Some(reason), _) => Component::down(reason).with("state", "stopped"),
        (None, false) => Component::down("the log has not been read to its end yet").with("state", "catching-up"),
        (None, true) => Component::up().with("state", "running"),
    }
}

fn with_projector(
    health: Health,
    statuses: watch::Receiver<projector::Status>,
    failed: watch::Receiver<Option<String>>,
) -> Health {
    health.with("projector", move || {
        let component = projector_component(&statuses.borrow(), failed.borrow().as_deref());
        async { component }
    })
}

fn projector_component(status: &projector::Status, failed: Option<&str>) -> Component {
    let (state, position) = match status {
        // What it met says more than that it ended because of it.
        projector::Status::Stopped { reason } => return Component::down(reason.clone()).with("state", "stopped"),
        _ if failed.is_some() => return Component::down(failed.unwrap_or_default()).with("state", "stopped"),
        projector::Status::Retrying { reason } => return Component::down(reason.clone()).with("state", "retrying"),
        projector::Status::Starting => ("starting", None),
        projector::Status::StandBy => ("standby", None),
        projector::Status::Rebuilding { position, .. } => ("rebuilding", Some(*position)),
        projector::Status::Running { position } => ("running", Some(*position)),
        projector::Status::Ended => ("ended", None),
    };
    let component = if status.is_ready() { Component::up() } else { Component::down("not at work yet") };
    let component = component.with("state", state);
    match position {
        Some(position) => component.with("position", position),
        None => component,
    }
}

/// What the document of all roles begins with.
fn openapi() -> OpenApi {
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Allocation ledger")
                .description(Some(
                    "Who is responsible for a person in prison: recorded as events, answered for any moment.",
                ))
                .version(env!("CARGO_PKG_VERSION"))
                .license(Some(utoipa::openapi::LicenseBuilder::new().name("MIT").build()))
                .build(),
        )
        .build()
}

/// `/openapi.json`, and a browser for it at `/docs` whose assets are in the program.
fn documentation(openapi: OpenApi) -> Router {
    let config = utoipa_swagger_ui::Config::from("/openapi.json").try_it_out_enabled(true);
    let browser: Router = SwaggerUi::new("/docs").config(config).into();
    let openapi = Arc::new(openapi);
    Router::new().route("/openapi.json", get(async move || Json(openapi))).merge(browser)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(component: &Component, status: &str, state: &str, error: Option<&str>) {
        let component = serde_json::to_value(component).expect("JSON");
        let details = &component["details"];
        let said = (component["status"].as_str(), details["state"].as_str(), details["error"].as_str());
        assert_eq!(said, (Some(status), Some(state), error));
    }

    #[test]
    fn components_tell_what_they_do_when_they_are_down_too() {
        check(&policies_component(true, None), "UP", "running", None);
        check(
            &policies_component(false, None),
            "DOWN",
            "catching-up",
            Some("the log has not been read to its end yet"),
        );
        check(&policies_component(true, Some("panicked")), "DOWN", "stopped", Some("panicked"));

        let running = projector::Status::Running { position: 7 };
        check(&projector_component(&running, None), "UP", "running", None);
        check(&projector_component(&running, Some("panicked")), "DOWN", "stopped", Some("panicked"));
        let stopped = projector::Status::Stopped { reason: "position 8".to_owned() };
        check(&projector_component(&stopped, Some("run the projector")), "DOWN", "stopped", Some("position 8"));
        let retrying = projector::Status::Retrying { reason: "out of reach".to_owned() };
        check(&projector_component(&retrying, None), "DOWN", "retrying", Some("out of reach"));
    }

    #[tokio::test]
    async fn a_worker_that_ends_before_it_is_told_to_has_failed() {
        let (stop_working, _) = watch::channel(false);
        let worker = Worker::start("policies", &stop_working, async { panic!("a mistake") });
        let mut failed = worker.failed();
        let reason = failed.wait_for(Option::is_some).await.expect("a reason").clone();
        assert!(reason.as_deref().is_some_and(|reason| reason.contains("a mistake")), "{reason:?}");
        assert!(worker.ended().await.is_err());

        let stopped = raised(&stop_working);
        let worker = Worker::start("policies", &stop_working, async {
            stopped.await;
            Ok(())
        });
        stop_working.send_replace(true);
        let failed = worker.failed();
        worker.ended().await.expect("it did as told");
        assert_eq!(*failed.borrow(), None);
    }

    #[test]
    fn other_machines_are_kept_out() {
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
