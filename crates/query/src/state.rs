//! The state that the handlers share.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use access_log::AccessLog;
use chrono::{DateTime, Utc};
use domain::{moment::normalise, prisoner::SuggestionSettings};
use event_log::SharedLog;
use http_api::{ClientQuota, QuotaExceeded, QuotaShare, RequestClient};
use sqlx::{
    Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::sync::watch;

use crate::{case_lookups::CaseLookups, checkpoint_watch::CheckpointWatch, present::STATEMENT_TIMEOUT_MS};

/// How long a request waits for a connection before its caller is told to come back.
const ACQUIRE_WAIT_MAX: Duration = Duration::from_secs(3);

/// How long a connection lies idle before it is tested. A server takes longer than this to start
/// again.
const TESTED_AFTER_IDLE: Duration = Duration::from_millis(500);

/// Most clients that follow the log at a time. For one that has fallen behind, a page of the log is
/// held in memory, a few megabytes at most.
const STREAMS_MAX: usize = 64;

/// Most streams of one client, so that it takes eight clients to keep the others out.
const CLIENT_STREAMS_MAX: usize = 8;

/// The query side of one process; clones share everything.
#[derive(Clone)]
pub struct QueryState {
    pub(crate) views: PgPool,
    pub(crate) log: SharedLog,
    pub(crate) lag_max: Duration,
    /// Where the log ended when it last said so; at first, beyond every position.
    pub(crate) head: Arc<AtomicU64>,
    pub(crate) checkpoint: CheckpointWatch,
    pub(crate) cases: CaseLookups,
    pub(crate) access_log: AccessLog,
    pub(crate) suggestions: SuggestionSettings,
    streams: Arc<ClientQuota>,
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
            access_log: AccessLog::off(),
            suggestions: SuggestionSettings::default(),
            streams: ClientQuota::new(STREAMS_MAX, CLIENT_STREAMS_MAX),
            ending: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Records the reads of persons' data in an access log, which otherwise nothing does.
    #[must_use]
    pub fn with_access_log(self, access_log: AccessLog) -> Self {
        Self { access_log, ..self }
    }

    /// Suggests POMs by these settings, and not by the default ones.
    #[must_use]
    pub fn with_suggestions(self, suggestions: SuggestionSettings) -> Self {
        Self { suggestions, ..self }
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

    /// A client's permit to follow the log, returned when it is dropped.
    pub(crate) fn stream_permit(&self, client: &RequestClient) -> Result<QuotaShare, QuotaExceeded> {
        self.streams.take(Some(client), 1)
    }

    /// The one place of the query side that knows what time it is; whole microseconds, as in the
    /// views.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub(crate) fn now(&self) -> DateTime<Utc> {
        normalise(Utc::now())
    }
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
