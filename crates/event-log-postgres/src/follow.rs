//! Followers: the pages that they read, and how they are woken.
//!
//! All followers (subscriptions) of a [`crate::PostgresLog`] share one listening connection, opened
//! for the first of them. Appends of this process wake them directly, without a round trip through
//! Postgres.

use std::sync::{Arc, OnceLock};

use futures::stream::BoxStream;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{sync::watch, task::AbortHandle, time::sleep};

use event_log::{FOLLOW_POLL_INTERVAL, FollowerItem, LogError, LogPage, PageNext, Pages, WakeUp};

use crate::read::{self, DensePage};

/// The channel on which `log.append` announces a batch. The payload is the position of its last
/// event.
const CHANNEL: &str = "allocation_ledger_log";

/// The wake-ups of the followers, and the task that hears of them from Postgres.
pub(crate) struct PostgresWakeups {
    /// The position is that of the last event that this process appended.
    sender: Arc<watch::Sender<WakeUp>>,
    options: PgConnectOptions,
    listener: OnceLock<AbortHandle>,
}

impl PostgresWakeups {
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        Self { sender: Arc::default(), options, listener: OnceLock::new() }
    }

    /// Wakes the followers: this process has appended events, the last of them at this position.
    pub(crate) fn wake(&self, position: u64) {
        self.sender.send_modify(|wake_up| {
            wake_up.hints += 1;
            wake_up.position = position;
        });
    }

    /// Subscribes to the wake-ups, and starts the listening task where none runs yet.
    fn subscribe(&self) -> watch::Receiver<WakeUp> {
        self.listener.get_or_init(|| {
            let sender = Arc::clone(&self.sender);
            tokio::spawn(keep_listening(self.options.clone(), sender)).abort_handle()
        });
        self.sender.subscribe()
    }
}

impl Drop for PostgresWakeups {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get() {
            listener.abort();
        }
    }
}

/// Wakes the followers where it is news that the log has grown to this position.
///
/// Any database user may notify the channel, so a notification is a reason to look, and never says
/// where the log ends. An append of this process is no news: [`PostgresWakeups::wake`] has woken
/// the followers already.
fn announce(sender: &watch::Sender<WakeUp>, position: u64) {
    sender.send_if_modified(|wake_up| {
        let is_news = position > wake_up.position;
        wake_up.hints += u64::from(is_news);
        is_news
    });
}

/// Listens, and connects again whenever the connection is lost. Followers look by themselves
/// meanwhile.
async fn keep_listening(options: PgConnectOptions, sender: Arc<watch::Sender<WakeUp>>) {
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).connect_lazy_with(options);
    loop {
        if let Err(error) = listen(&pool, &sender).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot listen to the event log; followers look every {} s until it works again",
                FOLLOW_POLL_INTERVAL.as_secs()
            );
        }
        sleep(FOLLOW_POLL_INTERVAL).await;
    }
}

/// Announces what Postgres notifies, until the connection is lost.
async fn listen(pool: &PgPool, sender: &watch::Sender<WakeUp>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    while let Some(notification) = listener.try_recv().await? {
        // Any database user may notify a channel. A payload that is no position is not from
        // `log.append`.
        if let Ok(position) = notification.payload().parse() {
            announce(sender, position);
        }
    }
    Ok(())
}

/// The pages of the log as its followers read them.
struct PostgresPages {
    readers: PgPool,
    /// Keeps the listening task alive while a follower reads.
    _wakeups: Arc<PostgresWakeups>,
}

impl Pages for PostgresPages {
    async fn page_after(&mut self, position: u64, limit: usize) -> Result<LogPage, LogError> {
        let DensePage { events, head } = read::sound_page(&self.readers, position, limit).await?;
        if head < position {
            return Err(LogError::Damaged {
                position,
                what: format!("the log ends at position {head}, before what was read from it earlier"),
            });
        }
        let is_end = events.last().map_or(position, |last| last.position) == head;
        Ok(LogPage { events, next: if is_end { PageNext::LogEnd } else { PageNext::MoreEvents } })
    }
}

/// Follows the log after a position.
pub(crate) fn follow(
    readers: PgPool,
    wakeups: Arc<PostgresWakeups>,
    after: u64,
) -> BoxStream<'static, Result<FollowerItem, LogError>> {
    let wake_ups = wakeups.subscribe();
    event_log::follow(PostgresPages { readers, _wakeups: wakeups }, wake_ups, after)
}
