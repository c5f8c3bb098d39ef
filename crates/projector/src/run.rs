//! Runs a projector: one active on a set of views, the others standing by.
//!
//! A projector that runs
//!
//! 1. waits for the lock, which it holds on a connection of its own; Postgres lets go of it when the connection ends, or when
//!    nothing has been heard on it for the lock's life,
//! 2. makes sure that the views are of its log, as long as it has changed nothing,
//! 3. raises the epoch, so that whoever held the lock before can no longer write, paused or not,
//! 4. rebuilds the views where their version is another or they are far behind,
//! 5. follows the log from the checkpoint, batch by batch,
//!
//! and starts again from 1 when the database, the log or the lock is lost. Where the views are of another log it tries again
//! until somebody has built them anew. It ends at an event that cannot be read and
//! at rows that Postgres refuses: trying again would not help, and skipping would make the views wrong. Told to end, it
//! finishes the batch that it is at.

use std::{convert::Infallible, pin::pin, time::Duration};

use event_log::{Followed, LogError, RecordedEvent, SharedLog, has_more_than};
use futures::StreamExt as _;
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use views::{
    VIEWS_VERSION,
    checkpoint::{Checkpoint, read as read_checkpoint},
};

use crate::{
    Error, checkpoint,
    checkpoint::check_is_of,
    live::LiveProjection,
    rebuild::{self, Progress},
    schema::{self, SCHEMA},
};

/// How a projector works. The defaults fit; tests choose others.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most events taken in by one transaction: as many as keep a reader waiting for some tens of milliseconds.
    pub batch_events_max: usize,
    /// How many events the views must be behind before they are rebuilt instead of followed up, if the events behind are
    /// also a good part of the log.
    pub rebuild_events_min: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch_events_max: 1_000, rebuild_events_min: 20_000 }
    }
}

/// What a projector is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It has just been started.
    Starting,
    /// Another projector is active; this one takes over when that one ends.
    StandBy,
    /// It builds the views anew beside the serving ones, which stay as they are until it has finished.
    Rebuilding {
        /// The position that it has read the log to.
        position: u64,
        /// The position at which the log ended when it began.
        head: u64,
    },
    /// It follows the log.
    Running {
        /// The position that the views have come to.
        position: u64,
    },
    /// Something that it needs is out of reach, or the views are of another log; it tries again by itself.
    Retrying {
        /// What failed.
        reason: String,
    },
    /// It met what it cannot go on from. A person is needed.
    Stopped {
        /// What it met, and at which position.
        reason: String,
    },
    /// It was told to end.
    Ended,
}

impl Status {
    /// Whether the views are being kept up, by this projector or by another one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self {
            Self::StandBy | Self::Running { .. } => true,
            Self::Starting | Self::Rebuilding { .. } | Self::Retrying { .. } | Self::Stopped { .. } | Self::Ended => {
                false
            }
        }
    }
}

/// The projector met what it cannot go on from.
#[derive(Debug, thiserror::Error)]
#[error("project the event log: {reason}")]
pub struct Stopped {
    /// What it met, and at which position.
    pub reason: String,
}

/// How often a stand-by looks whether the lock is free, and the holder whether it still has it.
const LOCK_INTERVAL: Duration = Duration::from_millis(500);

/// How long the lock's connection may take to answer before it counts as lost.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// The lock's life: for how long Postgres hears nothing of its holder before it ends the connection, and the lock with it. A
/// process that stands still keeps its connections, so that nothing else would tell. More than its holder takes to ask
/// after it and to give it up for lost.
const LOCK_LIFE: Duration = Duration::from_secs(10);

/// How long a batch may take, its histories read and its rows written: far longer than any does. The way to Postgres may have
/// gone silent for the batch's connection alone.
const BATCH_MAX: Duration = Duration::from_secs(60);

/// How long a projector that takes over waits for its predecessor's last batch before it ends that one's session: one that
/// stands still amid a batch holds the checkpoint.
const LAST_BATCH_MAX: Duration = Duration::from_secs(5);

/// How long the batch under way may take at the end: Postgres may be out of reach. What is not committed then is rolled
/// back, and taken in by whoever projects next.
const END_MAX: Duration = Duration::from_secs(5);

/// The first and the longest pause before trying again. The pause doubles with each failure.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A projector that worked for so long before it failed tries again as if for the first time.
const RETRY_RESET: Duration = Duration::from_secs(10);

/// Most pieces of the log, as its follower hands them out, that are read ahead and taken at once.
const PIECES_MAX: usize = 4;

/// A rebuild is some five times as fast as following up, so it pays when more than this part of the log is behind.
const REBUILD_LOG_PART: u64 = 5;

/// Keeps the views up with the log until `shutdown` is ready, whatever fails meanwhile, if trying again can help.
///
/// `views` says how to connect; the projector's connections are its own.
///
/// # Errors
/// [`Stopped`] at an event that cannot be read, or at rows that Postgres refuses. The views then include everything before
/// that event. Stand-bys take over and, unless they are another version of the program, stop at the same.
pub async fn run(
    log: SharedLog,
    views: PgPool,
    settings: Settings,
    status: watch::Sender<Status>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Stopped> {
    let running = Running { log, options: connect_options(&views), settings, status: &status, batch: Mutex::default() };
    let between_batches = async {
        shutdown.await;
        // The lock is given in the order asked for: after this no further batch is begun.
        let _ = timeout(END_MAX, running.batch.lock()).await;
    };
    // What is dropped then leaves nothing half done: an open transaction is rolled back, the lock is free.
    let ended = tokio::select! {
        biased;
        () = between_batches => None,
        stopped = running.until_stopped() => Some(stopped),
    };
    match ended {
        None => {
            status.send_replace(Status::Ended);
            Ok(())
        }
        Some(stopped) => {
            tracing::error!(reason = stopped.reason, "the projector has stopped: {}", stopped.reason);
            status.send_replace(Status::Stopped { reason: stopped.reason.clone() });
            Err(stopped)
        }
    }
}

/// The pool's way to the database, so set that the server notices soon when this program is gone.
fn connect_options(views: &PgPool) -> PgConnectOptions {
    views.connect_options().as_ref().clone().application_name("allocation-ledger projector").options([
        // A machine that vanished says no goodbye.
        ("tcp_keepalives_idle", "3"),
        ("tcp_keepalives_interval", "1"),
        ("tcp_keepalives_count", "3"),
        // A projector that is paused in a transaction holds the checkpoint's lock, which its successor needs. No longer than
        // the projector's own lock lives.
        ("idle_in_transaction_session_timeout", LOCK_LIFE.as_millis().to_string().as_str()),
    ])
}

struct Running<'a> {
    log: SharedLog,
    options: PgConnectOptions,
    settings: Settings,
    status: &'a watch::Sender<Status>,
    /// Held while a batch is taken in.
    batch: Mutex<()>,
}

impl Running<'_> {
    async fn until_stopped(&self) -> Stopped {
        let mut pause = RETRY_MIN;
        loop {
            let begun = Instant::now();
            let Err(error) = self.session().await;
            if let Error::Fenced { epoch } = error {
                // Not a failure: another projector, or a rebuild by hand, has gone on from where this one was.
                tracing::info!(epoch, "the views have been taken over from the projector with epoch {epoch}");
                continue;
            }
            let reason = error.report();
            if error.is_final() {
                return Stopped { reason };
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

    /// Waits for the lock and projects for as long as it holds.
    async fn session(&self) -> Result<Infallible, Error> {
        let mut lock = self.take_lock().await?;
        tokio::select! {
            biased;
            lost = hold_lock(&mut lock) => Err(Error::LockLost(lost)),
            failed = self.project() => failed,
        }
    }

    /// Asks again and again rather than waiting inside Postgres: a statement that waits keeps its snapshot, which would
    /// keep Postgres from tidying up for as long as the stand-by stands by.
    async fn take_lock(&self) -> Result<PgConnection, Error> {
        let life = [("idle_session_timeout", LOCK_LIFE.as_millis().to_string())];
        let options = self.options.clone().options(life);
        let mut connection = in_time(LOCK_TIMEOUT, PgConnection::connect_with(&options)).await?;
        loop {
            let asked = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
                .bind(schema::PROJECTING_LOCK)
                .fetch_one(&mut connection);
            let taken: bool = in_time(LOCK_TIMEOUT, asked).await?;
            if taken {
                return Ok(connection);
            }
            self.status.send_if_modified(|status| std::mem::replace(status, Status::StandBy) != Status::StandBy);
            sleep(LOCK_INTERVAL).await;
        }
    }

    async fn project(&self) -> Result<Infallible, Error> {
        let options = schema::as_owner(&self.options).await?;
        let mut connection = PgConnection::connect_with(&options).await?;
        schema::migrate_on(&mut connection).await?;
        schema::choose(&mut connection, SCHEMA).await?;
        // Before they are taken over: a projector of their own log may be about to go on with them.
        check_is_of(read_checkpoint(&mut connection).await?, &self.log).await?;
        let mut checkpoint = self.take_over(&mut connection).await?;
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
            if checkpoint.version != VIEWS_VERSION || self.is_far_behind(checkpoint, head).await? {
                self.rebuild(&options, &mut connection, &mut checkpoint, head).await?;
            }
            self.follow(&mut connection, &mut checkpoint, head).await?;
        }
    }

    /// Raises the epoch, once the predecessor's last batch is committed or given up.
    async fn take_over(&self, connection: &mut PgConnection) -> Result<Checkpoint, Error> {
        let session: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection).await?;
        let mut taking_over = pin!(checkpoint::take_over(connection));
        loop {
            match timeout(LAST_BATCH_MAX, &mut taking_over).await {
                Ok(taken) => return Ok(taken?),
                Err(_) => schema::end_predecessors(&self.options, session).await?,
            }
        }
    }

    async fn is_far_behind(&self, checkpoint: Checkpoint, head: u64) -> Result<bool, LogError> {
        // Positions may have gaps: there are at most so many events.
        let behind = head.saturating_sub(checkpoint.position);
        let events_min = self.settings.rebuild_events_min;
        if behind <= events_min || behind <= head / REBUILD_LOG_PART {
            return Ok(false);
        }
        // At the head stands an event, so there is one.
        Ok(events_min == 0 || has_more_than(&self.log, checkpoint.position, events_min).await?)
    }

    /// Follows the log until the views have fallen far behind. At `near`, a position in the log, they are known not to have.
    async fn follow(
        &self,
        connection: &mut PgConnection,
        checkpoint: &mut Checkpoint,
        mut near: u64,
    ) -> Result<(), Error> {
        let mut live = LiveProjection::new(self.log.clone());
        // By a task of its own, which ends with this: a follower that is left alone while a batch is written would keep what it
        // has taken from the log's connections, and find that its time is up.
        let (sender, mut following) = mpsc::channel(PIECES_MAX);
        let mut follower = self.log.follow_all(checkpoint.position);
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            while let Some(piece) = follower.next().await
                && sender.send(piece).await.is_ok()
            {}
        });
        self.running(*checkpoint);
        let mut pieces = Vec::new();
        while following.recv_many(&mut pieces, PIECES_MAX).await > 0 {
            let mut events: Vec<RecordedEvent> = Vec::new();
            let mut failed = None;
            for piece in pieces.drain(..) {
                match piece {
                    Ok(Followed::Events(more)) => events.extend(more),
                    Ok(Followed::CaughtUp { .. }) => {}
                    Err(error) => failed = Some(error),
                }
            }
            while !events.is_empty() {
                let rest = events.split_off(events.len().min(self.settings.batch_events_max));
                let was_full = events.len() == self.settings.batch_events_max;
                // The log may be another than the one that was begun with: put back from a backup, or another server's.
                check_is_of(*checkpoint, &self.log).await?;
                let batch = self.batch.lock().await;
                in_time(BATCH_MAX, live.project(connection, checkpoint, std::mem::replace(&mut events, rest))).await?;
                drop(batch);
                self.running(*checkpoint);
                // To find out may take reading what the views lack, so it is not asked again before that is taken in.
                if was_full && checkpoint.position >= near {
                    let head = self.log.head().await?;
                    if self.is_far_behind(*checkpoint, head).await? {
                        return Ok(());
                    }
                    near = head;
                }
            }
            if let Some(error) = failed {
                // One that ends earlier than it did is another, too.
                check_is_of(*checkpoint, &self.log).await?;
                return Err(error.into());
            }
        }
        match reading.join_next().await {
            Some(Err(ended)) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            _ => Ok(()),
        }
    }

    fn running(&self, checkpoint: Checkpoint) {
        self.status.send_replace(Status::Running { position: checkpoint.position });
    }

    /// Builds the views up to `head` beside the serving ones and puts them in their place. Where an event cannot be read
    /// that the serving views do not include yet, up to the event before it: following up will meet it.
    async fn rebuild(
        &self,
        options: &PgConnectOptions,
        connection: &mut PgConnection,
        checkpoint: &mut Checkpoint,
        head: u64,
    ) -> Result<(), Error> {
        let next = schema::next_name(checkpoint.epoch);
        let mut to = head;
        let filled = loop {
            tracing::info!(to, "rebuilding the views up to position {to}");
            schema::drop_leftovers(connection, *checkpoint).await?;
            let target = rebuild::Target { options, schema: &next, to, epoch: checkpoint.epoch, only: None };
            let progress = |progress| {
                if let Progress::Reading { position, .. } = progress {
                    self.status.send_replace(Status::Rebuilding { position, head });
                }
            };
            progress(Progress::Reading { position: 0, to });
            match rebuild::fill(&self.log, &target, progress).await {
                Ok(filled) => break filled,
                Err(Error::Log(LogError::Damaged { position, .. }))
                    if checkpoint.position < position && position <= to =>
                {
                    to = position - 1;
                }
                Err(error) => return Err(error),
            }
        };
        while !schema::swap(connection, &next, filled).await? {
            tracing::info!("the rebuilt views wait for readers of the old ones");
            sleep(LOCK_INTERVAL).await;
        }
        tracing::info!(position = filled.position, "the views are rebuilt up to position {}", filled.position);
        *checkpoint = filled;
        Ok(())
    }
}

/// Asks after the lock's connection for as long as it answers.
async fn hold_lock(lock: &mut PgConnection) -> sqlx::Error {
    loop {
        sleep(LOCK_INTERVAL).await;
        if let Err(error) = in_time(LOCK_TIMEOUT, lock.ping()).await {
            return error;
        }
    }
}

/// What Postgres answers; where it does not in time, its connection counts as lost.
async fn in_time<T, E: From<sqlx::Error>>(
    patience: Duration,
    answered: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(patience, answered)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()))
}
