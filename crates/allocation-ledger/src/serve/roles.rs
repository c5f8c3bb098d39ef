//! The roles of a process, each wired by one function of [`Wiring`].

use std::{sync::Arc, time::Duration};

use access_log::{AccessLog, RecordingMode};
use anyhow::Context as _;
use futures::FutureExt as _;
use http_api::{
    GuardedRouter,
    health::{self, Health},
    metrics::Metrics,
};
use sign_on::SignOn;
use sqlx::PgPool;
use tokio::sync::watch;

use super::{
    ServeSettings, access_log_upkeep, gauges,
    health::{
        with_access_log, with_audit, with_event_log, with_messages, with_policies, with_projector, with_publisher,
        with_sign_on,
    },
    jobs::{self, Jobs},
    openapi::{documentation, openapi},
    other_roles::refuse_other_roles,
    prepared_schema, process_metrics,
    shutdown::{Worker, wait_until_raised},
};
use crate::{
    build_info,
    stores::{LogStore, access_log_writer, read_only},
};

/// The two signals of an orderly end, in the order in which they are raised.
pub(super) struct StopSignals {
    /// Take no more connections, and finish the requests in flight.
    pub(super) accepting: watch::Sender<bool>,
    /// Stop the policies and the projector.
    pub(super) working: watch::Sender<bool>,
}

impl StopSignals {
    pub(super) fn new() -> Self {
        Self { accepting: watch::channel(false).0, working: watch::channel(false).0 }
    }
}

/// A serving process while its roles are put together.
pub(super) struct Wiring<'a> {
    settings: &'a ServeSettings,
    log: &'a LogStore,
    stop: &'a StopSignals,
    health: Health,
    sign_on: Option<Arc<SignOn>>,
    router: GuardedRouter,
    metrics: Metrics,
    /// Where reads are recorded, once a role asks for it.
    access_log: Option<AccessLog>,
    roles: Roles,
}

/// The parts of the roles that go on working beside the requests.
#[derive(Default)]
pub(super) struct Roles {
    pub(super) workers: Vec<Worker>,
    /// The command side, where the process has that role.
    pub(super) service: Option<command::Service>,
    /// The status of the projector, where the process has that role.
    pub(super) projecting: Option<watch::Receiver<projector::Status>>,
}

impl<'a> Wiring<'a> {
    /// The parts that every role has: the event log in the health and in the metrics.
    pub(super) fn new(
        settings: &'a ServeSettings,
        log: &'a LogStore,
        stop: &'a StopSignals,
        sign_on: Option<Arc<SignOn>>,
    ) -> Self {
        let metrics = Metrics::default();
        let health = Health::new("allocation-ledger", build_info::NUMBER, metrics.clone())
            .with_commit(build_info::COMMIT, build_info::COMMIT_TIME)
            .with_product_id(settings.product_id.clone());
        gauges::build(&metrics);
        metrics.register(process_metrics::register);
        gauges::log(&metrics, &log.log);
        if let Some(readers) = log.readers() {
            gauges::connections(&metrics, "log", readers);
        }
        Self {
            settings,
            log,
            stop,
            health: with_sign_on(with_event_log(health, log, settings), sign_on.clone()),
            sign_on,
            router: GuardedRouter::new(openapi()),
            metrics,
            access_log: None,
            roles: Roles::default(),
        }
    }

    /// Takes commands, and follows up on them by the policies.
    ///
    /// # Errors
    /// The settings for commands are not usable.
    pub(super) fn with_command(mut self) -> anyhow::Result<Self> {
        let service = command::Service::new(Arc::clone(&self.log.log), self.settings.commands.command_settings());
        let policies = command::policies::run(service.clone(), wait_until_raised(&self.stop.working).boxed());
        let worker = Worker::start("policies", &self.stop.working, async {
            policies.await;
            Ok(())
        });
        self.metrics.register(|registry| service.register_metrics(registry));
        self.health = with_policies(self.health, service.clone(), worker.failure());
        self.roles.workers.push(worker);
        self.router = self.router.merge(command::router(service.clone()));
        self.roles.service = Some(service);
        Ok(self)
    }

    /// Takes spreadsheets, and records who reads what they say of cases. A command service that
    /// does not know the views' database takes none where there is a sign-on: it could not say who
    /// saw what.
    ///
    /// # Errors
    /// The settings of the access log are not usable.
    pub(super) fn with_imports(self, views: Option<&PgPool>) -> anyhow::Result<Self> {
        let (mut wiring, access_log) = match views {
            Some(views) => {
                let (wiring, access_log) = self.record_reads(views)?;
                (wiring, Some(access_log))
            }
            None if self.sign_on.is_none() => (self, Some(AccessLog::off())),
            None => (self, None),
        };
        let Some(service) = wiring.roles.service.clone() else { return Ok(wiring) };
        let (log, settings) = (Arc::clone(&wiring.log.log), wiring.settings.commands.command_settings());
        let imports = import::Imports::new(service, log, settings, wiring.log.import_turns(), access_log);
        wiring.metrics.register(|registry| imports.register_metrics(registry));
        let stop = &wiring.stop.working;
        let keeping = imports.clone().keep(wait_until_raised(stop));
        wiring.roles.workers.push(Worker::start("imports", stop, async {
            keeping.await;
            Ok(())
        }));
        wiring.router = wiring.router.merge(import::router(imports));
        Ok(wiring)
    }

    /// Takes in the messages of HMPPS, if a queue is named, and shows those that wait for a person.
    ///
    /// # Errors
    /// The settings of look-ups are not usable.
    pub(super) async fn with_messages(mut self, database: &PgPool) -> anyhow::Result<Self> {
        let log = &self.log.log;
        let service = self.roles.service.clone();
        let service = service
            .unwrap_or_else(|| command::Service::new(Arc::clone(log), self.settings.commands.command_settings()));
        let parked = hmpps::ParkedMessages::new(database.clone());
        let look_ups = self.settings.look_ups.open()?;
        let intake = hmpps::Intake::new(service, parked.clone(), read_only(database), look_ups);
        self.metrics.register(|registry| intake.register_metrics(registry));
        let queue = self.settings.message_queue.open().await;
        self.router = self.router.merge(hmpps::router(intake.clone(), queue.clone()));
        let stop = &self.stop.working;
        let stopped = wait_until_raised(stop);
        let Some(queue) = queue else {
            gauges::messages(&self.metrics, &parked, None);
            gauges::message_queue(&self.metrics, None);
            let prepared = prepared_schema::prepare(hmpps::SCHEMA, database.clone());
            let told_to_stop = wait_until_raised(stop);
            self.roles.workers.push(Worker::start("preparation of parked messages", stop, async {
                tokio::select! {
                    () = prepared => stopped.await,
                    () = told_to_stop => {}
                }
                Ok(())
            }));
            return Ok(self);
        };
        let consumer = hmpps::Consumer::new(queue, intake, Arc::clone(log));
        let (status, queue_state) = (consumer.status(), consumer.queue_state());
        let receiving = consumer.run(stopped.boxed());
        let worker = Worker::start("intake of messages", stop, async {
            receiving.await;
            Ok(())
        });
        gauges::messages(&self.metrics, &parked, Some((status.clone(), worker.failure())));
        gauges::message_queue(&self.metrics, Some(&queue_state));
        self.health = with_messages(self.health, parked, (status, queue_state), worker.failure());
        self.roles.workers.push(worker);
        Ok(self)
    }

    /// Publishes domain events, where a topic is named or in shadow mode.
    ///
    /// # Errors
    /// The settings of the publisher are not usable.
    pub(super) async fn with_publisher(mut self, database: &PgPool) -> anyhow::Result<Self> {
        let log = &self.log.log;
        let Some(publisher) = self.settings.publisher.open(Arc::clone(log), database).await? else { return Ok(self) };
        let status = publisher.status();
        self.metrics.register(|registry| publisher.register_metrics(registry));
        let stop = &self.stop.working;
        let prepared = prepared_schema::prepare(hmpps::SCHEMA, database.clone());
        let (stopped, told_to_stop) = (wait_until_raised(stop), wait_until_raised(stop));
        let worker = Worker::start("publisher", stop, async {
            tokio::select! {
                () = prepared => {}
                () = told_to_stop => return Ok(()),
            }
            publisher.run(stopped.boxed()).await;
            Ok(())
        });
        gauges::publisher(&self.metrics, log, database, (status.clone(), worker.failure()));
        self.health = with_publisher(self.health, status, worker.failure());
        self.roles.workers.push(worker);
        Ok(self)
    }

    /// Tells the audit service of commands and reads, where its queue is named.
    pub(super) async fn with_audit(mut self, database: &PgPool) -> Self {
        let log = &self.log.log;
        let Some(sender) = self.settings.audit.open(Arc::clone(log), database).await else { return self };
        let state = sender.state();
        self.metrics.register(|registry| sender.register_metrics(registry));
        let stop = &self.stop.working;
        let prepared = prepared_schema::prepare(access_log::SCHEMA, database.clone());
        let (stopped, told_to_stop) = (wait_until_raised(stop), wait_until_raised(stop));
        let worker = Worker::start("sender to the audit queue", stop, async {
            tokio::select! {
                () = prepared => {}
                () = told_to_stop => return Ok(()),
            }
            sender.run(stopped.boxed()).await;
            Ok(())
        });
        gauges::audit_sender(&self.metrics, (state.clone(), worker.failure()));
        self.health = with_audit(self.health, state, worker.failure());
        self.roles.workers.push(worker);
        self
    }

    /// Keeps the views up with the log, once the log is prepared, and takes jobs on them.
    ///
    /// # Errors
    /// The settings of the access log are not usable.
    pub(super) fn with_projector(self, views: &PgPool) -> anyhow::Result<Self> {
        let mut wiring = self.with_jobs(views)?;
        wiring.keep_views_up(views);
        Ok(wiring)
    }

    /// Takes rebuilds, verifications and exports.
    fn with_jobs(self, views: &PgPool) -> anyhow::Result<Self> {
        let (mut wiring, access_log) = self.record_reads(views)?;
        let jobs = Jobs::new(Arc::clone(&wiring.log.log), views.clone(), access_log);
        wiring.router = wiring.router.merge(jobs::router(jobs.clone()));
        let stop = &wiring.stop.working;
        let stopped = wait_until_raised(stop);
        let worker = Worker::start("jobs", stop, async move {
            stopped.await;
            jobs.stop().await;
            Ok(())
        });
        wiring.roles.workers.push(worker);
        Ok(wiring)
    }

    fn keep_views_up(&mut self, views: &PgPool) {
        let (status, statuses) = watch::channel(projector::Status::Starting);
        let unprepared = status.clone();
        let prepared = self.log.wait_until_prepared(move |error| {
            let reason = format!("{error:#}");
            tracing::warn!(reason, "waiting for the event log to be prepared: {reason}");
            unprepared.send_replace(projector::Status::Retrying { reason });
        });
        let access_log_database = views.clone();
        gauges::audit_lag(&self.metrics, &self.log.log, views);
        let (log, views) = (Arc::clone(&self.log.log), views.clone());
        let stop = &self.stop.working;
        let (stopped, told_to_stop) = (wait_until_raised(stop), wait_until_raised(stop));
        let worker = Worker::start("projector", stop, async {
            tokio::select! {
                () = prepared => {}
                () = told_to_stop => return Ok(()),
            }
            let running = projector::run(log, views, projector::ProjectorSettings::default(), status, stopped.boxed());
            running.await.context("keep the views up with the log")
        });
        self.health = with_projector(self.health.clone(), statuses.clone(), worker.failure());
        self.roles.workers.push(worker);
        let kept_days = self.settings.access_log.kept_days();
        let upkeep = access_log_upkeep::keep_up(access_log_database, kept_days, wait_until_raised(stop));
        self.roles.workers.push(Worker::start("upkeep of the access log", stop, async {
            upkeep.await;
            Ok(())
        }));
        self.roles.projecting = Some(statuses);
    }

    /// Answers questions from the views and the log, and records who asks.
    ///
    /// # Errors
    /// The settings of the access log are not usable.
    pub(super) fn with_query(self, views: &PgPool) -> anyhow::Result<Self> {
        let (mut wiring, access_log) = self.record_reads(views)?;
        let pool = read_only(views);
        gauges::connections(&wiring.metrics, "query", &pool);
        let lag_max = Duration::from_secs(wiring.settings.lag_max);
        let state = query::QueryState::new(pool, Arc::clone(&wiring.log.log), lag_max)
            .with_access_log(access_log)
            .with_suggestions(wiring.settings.suggestion_settings());
        let streaming = state.clone();
        let stopped = wait_until_raised(&wiring.stop.accepting);
        tokio::spawn(async move {
            stopped.await;
            streaming.end_streams();
        });
        let checked = state.clone();
        wiring.health = wiring.health.with("views", move || checked.clone().health());
        wiring.router = wiring.router.merge(query::router(state));
        Ok(wiring)
    }

    /// The access log, with the worker that writes it; one for all roles of the process.
    fn record_reads(mut self, views: &PgPool) -> anyhow::Result<(Self, AccessLog)> {
        if let Some(access_log) = self.access_log.clone() {
            return Ok((self, access_log));
        }
        let mode = self.settings.access_log.mode(self.sign_on.is_some())?;
        let access_log = AccessLog::new(mode);
        self.access_log = Some(access_log.clone());
        if mode != RecordingMode::Off {
            self.metrics.register(|registry| access_log.register_metrics(registry));
            gauges::access_log(&self.metrics, &access_log);
            let database = access_log_writer(views, self.settings.access_log.url())?;
            let writing = access_log.clone().write(database, wait_until_raised(&self.stop.working));
            let worker = Worker::start("access log", &self.stop.working, async {
                writing.await;
                Ok(())
            });
            self.health = with_access_log(self.health, access_log.clone(), worker.failure());
            self.roles.workers.push(worker);
        }
        self.access_log = Some(access_log.clone());
        Ok((self, access_log))
    }

    /// The routes of all roles, with those of the health and of the documentation.
    pub(super) fn finish(self) -> (GuardedRouter, Option<Arc<SignOn>>, Metrics, Roles) {
        let router = self.router.merge(health::router(self.health));
        let documentation = documentation(router.openapi(), router.access(), self.sign_on.as_deref());
        (refuse_other_roles(router).merge(documentation), self.sign_on, self.metrics, self.roles)
    }
}
