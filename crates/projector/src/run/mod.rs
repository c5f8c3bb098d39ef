//! Runs a projector: one is active on a set of views, the others stand by.
//!
//! A projector that runs
//!
//! 1. waits for the lock (`lock`),
//! 2. makes sure that the views are of its log, while it has changed nothing,
//! 3. raises the epoch, so that the projector that held the lock before can no longer write, even
//!    if it was only paused (`takeover`),
//! 4. rebuilds the views where they are of another version or far behind (`automatic_rebuild`),
//! 5. follows the log from the checkpoint, batch by batch (`follow`),
//!
//! and starts again from 1 when the database, the log or the lock is lost. Where the views are of
//! another log, it tries again until they have been rebuilt. It ends at an event that cannot be
//! read: trying again would not help, and skipping would make the views wrong. When told to end, it
//! finishes the batch under way.
//!
//! Where it would have to put too many streams aside, or would lose one by a rebuild, it stops and
//! leaves the views as they are. It looks on in the log, at once and each time the log has gone on:
//! where the refused streams have been mended by then, it rebuilds the views up to the log's end.
//! Between two looks it lets go of the lock, so that a mended program may take over.

mod automatic_rebuild;
mod follow;
mod lock;
mod projector_status;
pub(crate) mod stopped_rebuild;
mod takeover;

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use domain::Stream;
use event_log::SharedLog;
use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, timeout},
};
use views::checkpoint::read as read_checkpoint;

pub use self::{
    projector_status::{FatalStop, Status},
    stopped_rebuild::StoppedStream,
};

use self::lock::{LOCK_LIFE, ProjectorLock};
use crate::{
    ProjectorError,
    checkpoint::check_is_of,
    schema::{self, SCHEMA},
};

/// How a projector works. The defaults fit; tests choose others.
#[derive(Debug, Clone)]
pub struct ProjectorSettings {
    /// Most events in one transaction: as many as keep a reader waiting for some tens of
    /// milliseconds.
    pub batch_events_max: usize,
    /// How many events the views must be behind before they are rebuilt instead of followed up, if
    /// the events behind are also a good part of the log.
    pub rebuild_events_min: u64,
}

impl Default for ProjectorSettings {
    fn default() -> Self {
        Self { batch_events_max: 1_000, rebuild_events_min: 20_000 }
    }
}

/// How long the batch under way may take at the end: Postgres may be out of reach. A batch that is
/// not committed by then is rolled back, and the next projector projects it.
const END_MAX: Duration = Duration::from_secs(5);

/// The first and the longest pause before trying again. The pause doubles with each failure.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The longest pause before a projector that has stopped looks again. It begins with [`RETRY_MIN`],
/// and doubles with each look: in a log that goes on all the time, each look tries the refused
/// streams.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(10);

/// How long the log and the views may take to say how far they are.
const EXTENT_TIMEOUT: Duration = Duration::from_secs(5);

/// A projector that worked for so long before it failed tries again as if for the first time.
const RETRY_RESET: Duration = Duration::from_secs(10);

/// Keeps the views up with the log until `shutdown` is ready, whatever fails meanwhile, if trying
/// again can help.
///
/// `views` says how to connect; the projector's connections are its own.
///
/// # Errors
/// [`FatalStop`] at an event that cannot be read. The views then include everything before that
/// event. Stand-bys take over and, unless they are another version of the program, stop at the same
/// event.
pub fn run(
    log: SharedLog,
    views: PgPool,
    settings: ProjectorSettings,
    status: watch::Sender<Status>,
    shutdown: BoxFuture<'static, ()>,
) -> BoxFuture<'static, Result<(), FatalStop>> {
    async move {
        let projector = Projector {
            log,
            options: connect_options(&views),
            settings,
            status: &status,
            batch: Mutex::default(),
            look: Mutex::default(),
            stop: Mutex::default(),
        };
        let between_batches = async {
            shutdown.await;
            // The lock is given in the order asked for: no batch begins after this.
            let _ = timeout(END_MAX, projector.batch.lock()).await;
        };
        // Dropping the projector then leaves nothing half done: Postgres rolls an open transaction
        // back and frees the lock.
        let stopped = tokio::select! {
            biased;
            () = between_batches => None,
            stopped = projector.until_stopped() => Some(stopped),
        };
        match stopped {
            None => {
                status.send_replace(Status::Ended);
                Ok(())
            }
            Some(stopped) => {
                report_stopped(&status, &stopped.reason);
                log_stopped(&stopped.reason);
                Err(stopped)
            }
        }
    }
    .boxed()
}

/// Reports that the projector has stopped.
fn report_stopped(status: &watch::Sender<Status>, reason: &str) {
    let stopped = Status::Stopped { reason: reason.to_owned() };
    status.send_if_modified(|status| std::mem::replace(status, stopped.clone()) != stopped);
}

fn log_stopped(reason: &str) {
    tracing::error!(reason, "the projector has stopped: {reason}");
}

/// The pool's way to the database, with settings by which the server soon notices that this program
/// is gone.
fn connect_options(views: &PgPool) -> PgConnectOptions {
    let lock_life = LOCK_LIFE.as_millis().to_string();
    let options = views.connect_options().as_ref().clone();
    options.application_name("allocation-ledger projector").options([
        // A machine that vanished says no goodbye.
        ("tcp_keepalives_idle", "3"),
        ("tcp_keepalives_interval", "1"),
        ("tcp_keepalives_count", "3"),
        // A projector that is paused in a transaction holds the checkpoint's lock, which its
        // successor needs. It must not hold it longer than the projector's own lock lives.
        ("idle_in_transaction_session_timeout", lock_life.as_str()),
    ])
}

/// A projector at work.
struct Projector<'a> {
    log: SharedLog,
    options: PgConnectOptions,
    settings: ProjectorSettings,
    status: &'a watch::Sender<Status>,
    /// Held while a batch is projected.
    batch: Mutex<()>,
    /// Its last look at the streams that Postgres refuses.
    look: Mutex<Look>,
    /// Its last stop; absent once it has gone on.
    stop: Mutex<Option<Stop>>,
}

/// A stop at streams that Postgres refuses.
#[derive(Debug)]
struct Stop {
    /// The reason that was logged. The status may have been another since, as another projector
    /// that has stopped takes the lock for its looks as well.
    reason: String,
    /// The pause before the next look.
    look_pause: Duration,
}

/// A look at the streams that Postgres refuses.
#[derive(Debug, Default)]
struct Look {
    /// The streams for which the projector stopped, also where they could not be stored
    /// (`stopped_rebuild`).
    suspects: BTreeSet<Stream>,
    /// How far the log and the views had come.
    extent: Extent,
}

/// How far the log and the views have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Extent {
    /// The log's end.
    head: u64,
    /// Version and position of the views.
    version: i32,
    position: u64,
}

impl Projector<'_> {
    async fn until_stopped(&self) -> FatalStop {
        let mut pause = RETRY_MIN;
        loop {
            let begun = Instant::now();
            let Err(error) = self.session().await;
            if let ProjectorError::Fenced { epoch } = error {
                // Not a failure: another projector, or a rebuild by hand, has gone on from where
                // this one was.
                tracing::info!(epoch, "the views have been taken over from the projector with epoch {epoch}");
                continue;
            }
            let reason = error.report();
            if error.is_final() {
                return FatalStop { reason };
            }
            if error.is_mended_by_events() {
                report_stopped(self.status, &reason);
                let mut stop = self.stop.lock().await;
                let stop = stop.get_or_insert_with(|| Stop { reason: String::new(), look_pause: RETRY_MIN });
                if stop.reason != reason {
                    log_stopped(&reason);
                    stop.reason = reason;
                }
                self.wait_for_change(&mut stop.look_pause).await;
                continue;
            }
            if begun.elapsed() > RETRY_RESET {
                pause = RETRY_MIN;
            }
            tracing::warn!(reason, pause_ms = pause.as_millis(), "the projector tries again: {reason}");
            self.status.send_replace(Status::Retrying { reason });
            sleep(pause).await;
            pause = RETRY_MAX.min(pause * 2);
        }
    }

    /// Waits until the log or the views, which another program may move on, are no longer as they
    /// were at the last look.
    async fn wait_for_change(&self, pause: &mut Duration) {
        let before = self.look.lock().await.extent;
        loop {
            sleep(*pause).await;
            *pause = LOOK_PAUSE_MAX.min(*pause * 2);
            if self.extent().await.is_some_and(|now| now != before) {
                return;
            }
        }
    }

    /// How far the log and the views have come; `None` where one of them does not say so.
    async fn extent(&self) -> Option<Extent> {
        let read = async {
            let head = self.log.head().await?;
            let mut connection = PgConnection::connect_with(&schema::as_owner(&self.options).await?).await?;
            schema::choose(&mut connection, SCHEMA).await?;
            let checkpoint = read_checkpoint(&mut connection).await?;
            connection.close().await?;
            Ok::<_, ProjectorError>(Extent { head, version: checkpoint.version, position: checkpoint.position })
        };
        with_timeout(EXTENT_TIMEOUT, read).await.ok()
    }

    /// Waits for the lock and projects for as long as it holds.
    async fn session(&self) -> Result<Infallible, ProjectorError> {
        let mut lock = ProjectorLock::take(&self.options, self.status).await?;
        tokio::select! {
            biased;
            lost = lock.until_lost() => Err(ProjectorError::LockLost(lost)),
            failed = self.project() => failed,
        }
    }

    async fn project(&self) -> Result<Infallible, ProjectorError> {
        let options = schema::as_owner(&self.options).await?;
        let mut connection = PgConnection::connect_with(&options).await?;
        schema::migrate_on(&mut connection).await?;
        stopped_rebuild::drop_former_table(&mut connection).await?;
        schema::choose(&mut connection, SCHEMA).await?;
        // Before they are taken over: a projector of their own log may be about to go on with them.
        check_is_of(read_checkpoint(&mut connection).await?, &self.log).await?;
        let mut checkpoint = takeover::take_over(&mut connection, &self.options).await?;
        schema::drop_leftovers(&mut connection, checkpoint).await?;
        tracing::info!(
            epoch = checkpoint.epoch,
            position = checkpoint.position,
            "projecting from position {} with epoch {}",
            checkpoint.position,
            checkpoint.epoch
        );
        loop {
            check_is_of(checkpoint, &self.log).await?;
            let head = self.log.head().await?;
            let has_stopped = !stopped_rebuild::read(&mut connection).await?.is_empty();
            if has_stopped || self.must_rebuild(checkpoint, head).await? {
                self.rebuild(&options, &mut connection, &mut checkpoint, head, Vec::new()).await?;
            }
            match self.follow(&mut connection, &mut checkpoint, head).await {
                // Events further on may have mended some of the streams.
                Err(ProjectorError::TooManyAside { streams }) => {
                    let head = self.log.head().await?;
                    self.rebuild(&options, &mut connection, &mut checkpoint, head, streams).await?;
                }
                followed => followed?,
            }
        }
    }
}

/// The outcome of a request to Postgres; one that takes longer than `patience` counts as a lost
/// connection.
async fn with_timeout<T, E: From<sqlx::Error>>(
    patience: Duration,
    request: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(patience, request)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()))
}
