//! The state that the handlers share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use domain::moment::normalise;
use event_log::{LogError, SharedLog};
use http_api::health::Component;
use sqlx::{
    Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use views::checkpoint::Checkpoint;

use crate::{
    QueryError, case_lookups::CaseLookups, checkpoint_watch::CheckpointWatch, present, present::STATEMENT_TIMEOUT_MS,
};

/// How long a request waits for a connection before its caller is told to come back.
const ACQUIRE_WAIT_MAX: Duration = Duration::from_secs(3);

/// How long a connection lies idle before it is tested. A server takes longer than this to start
/// again.
const TESTED_AFTER_IDLE: Duration = Duration::from_millis(500);

/// Most clients that follow the log at a time. For one that has fallen behind, a page of the log is
/// held in memory, a few megabytes at most.
const STREAMS_MAX: usize = 64;

/// How long views that seem far behind are given to come to the log's end. A recorder's clock may
/// be behind, so that an event of a moment ago looks old; views that keep up are there within
/// milliseconds.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

/// How long the log may take to say where it ends, before it counts as away.
const HEAD_TIME_MAX: Duration = Duration::from_secs(1);

/// The query side of one process; clones share everything.
#[derive(Clone)]
pub struct QueryState {
    pub(crate) views: PgPool,
    pub(crate) log: SharedLog,
    lag_max: Duration,
    /// Where the log ended when it last said so; at first, beyond every position.
    head: Arc<AtomicU64>,
    pub(crate) checkpoint: CheckpointWatch,
    pub(crate) cases: CaseLookups,
    streams: Arc<Semaphore>,
    ending: Arc<watch::Sender<bool>>,
}

impl QueryState {
    /// Answers from `views`, connections that find the views' tables by their bare names (see
    /// [`connect`]), and from `log`. Its health is down where the views are further behind the log
    /// than `lag_max`. Must be called inside a Tokio runtime.
    #[must_use]
    pub fn new(views: PgPool, log: SharedLog, lag_max: Duration) -> Self {
        Self {
            lag_max,
            head: Arc::new(AtomicU64::new(u64::MAX)),
            checkpoint: CheckpointWatch::new(views.clone()),
            cases: CaseLookups::new(&views),
            views,
            log,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            ending: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Ends the answers to clients that follow the log, which would go on for ever; for the end of
    /// the service.
    pub fn end_streams(&self) {
        self.ending.send_replace(true);
    }

    /// True once [`Self::end_streams`] has been called.
    pub(crate) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// A permit to follow the log, returned when it is dropped; `None` where all are taken.
    pub(crate) fn stream_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }

    /// The one place of the query side that knows what time it is; whole microseconds, as in the
    /// views.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub(crate) fn now(&self) -> DateTime<Utc> {
        normalise(Utc::now())
    }

    /// How the views are: whether they can be read, how far they have come, and whether that is far
    /// enough.
    pub async fn health(self) -> Component {
        self.check_health().await.unwrap_or_else(Component::from)
    }

    async fn check_health(&self) -> Result<Component, QueryError> {
        let (checkpoint, streams_aside) = present::checkpoint::read_with_aside(&self.views).await?;
        self.checkpoint.record(checkpoint.position);
        let head = match timeout(HEAD_TIME_MAX, self.log.head()).await {
            Ok(Err(LogError::Unavailable(_))) | Err(_) => return Ok(self.without_log(checkpoint, streams_aside)),
            Ok(answer) => answer?,
        };
        self.head.store(head, Ordering::Relaxed);
        // One event tells the time; to count them would take reading them, at every probe.
        let lacking = self.log.read_all(checkpoint.position, 1).await?;
        let lag =
            lacking.first().map_or(TimeDelta::zero(), |first| self.now() - first.recorded_at).max(TimeDelta::zero());
        let lag_max = TimeDelta::from_std(self.lag_max).unwrap_or(TimeDelta::MAX);
        let is_of_log = present::checkpoint::is_of(checkpoint, &self.log).await?;
        let is_behind = is_of_log && lag > lag_max && !self.checkpoint.wait_for_within(head, CATCH_UP_MAX).await?;
        let component = if !is_of_log {
            Component::down(
                "the views are of another log than the one configured; \
                 `allocation-ledger projections rebuild --of-other-log` builds them anew from this one",
            )
        } else if is_behind {
            let (lag, max) = (lag.num_seconds(), self.lag_max.as_secs());
            Component::down(format!(
                "the views lack events, the first of them recorded {lag} s ago; {max} s are allowed"
            ))
        } else {
            up(streams_aside)
        };
        Ok(component
            .with("position", checkpoint.position)
            .with("version", checkpoint.version)
            .with("lagSeconds", lag.as_seconds_f64()))
    }

    /// How the views are while the log is away: as well as they were when it was last there, since
    /// without a log no client can append what they would lack.
    fn without_log(&self, checkpoint: Checkpoint, streams_aside: usize) -> Component {
        let component = if checkpoint.position < self.head.load(Ordering::Relaxed) {
            Component::down("the event store is away, and it is not known that the views have all that is in it")
        } else {
            up(streams_aside)
        };
        component.with("position", checkpoint.position).with("version", checkpoint.version)
    }
}

/// Views that can be read and are as far as they should be.
fn up(streams_aside: usize) -> Component {
    if streams_aside == 0 { Component::up() } else { Component::with_streams_aside(streams_aside) }
}

/// A pool of read-only sessions on the views in `schema`. Connects when first used.
#[must_use]
pub fn connect(options: PgConnectOptions, schema: &str, connections_max: u32) -> PgPool {
    let settings = [
        ("search_path", schema.to_owned()),
        ("default_transaction_read_only", "on".to_owned()),
        ("statement_timeout", STATEMENT_TIMEOUT_MS.to_string()),
        // Every statement here is a look-up; compiling them would take longer than running them.
        ("jit", "off".to_owned()),
    ];
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_WAIT_MAX)
        // A test is a round trip more, so only a connection that has not been in use for a while is
        // tested: that is how those that a restart of the server has broken are found before they
        // fail a request.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for >= TESTED_AFTER_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options.options(settings))
}
