//! Followers, and how they are woken.
//!
//! A notification is a hint, the position is the truth: a wake-up makes a follower look, and what it looks for is the
//! event after the last one it has. So a lost notification costs at most [`FOLLOW_POLL_INTERVAL`], and never an event.
//! All followers of a [`crate::PostgresLog`] share one listening connection, opened for the first of them; what this
//! process appends itself wakes them without the way through Postgres.

use std::sync::{Arc, OnceLock};

use futures::{StreamExt as _, stream, stream::BoxStream};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, timeout_at},
};

use event_log::{FOLLOW_POLL_INTERVAL, Followed, LogError};

use crate::read;

/// The channel on which `log.append` announces a batch; the payload is the position of its last event.
const CHANNEL: &str = "allocation_ledger_log";

/// Most events that a follower is given at once.
const FOLLOW_EVENTS_MAX: usize = 4_000;

/// What was heard of the log, and the task that hears it from Postgres.
pub(crate) struct Wakeups {
    heard: Arc<watch::Sender<Heard>>,
    options: PgConnectOptions,
    listener: OnceLock<AbortHandle>,
}

/// What was heard of the log.
#[derive(Default)]
struct Heard {
    /// How often there was a reason to look.
    hints: u64,
    /// The position of the last event that this process appended.
    appended: u64,
}

impl Wakeups {
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        Self { heard: Arc::new(watch::Sender::new(Heard::default())), options, listener: OnceLock::new() }
    }

    /// Says that this process has appended events, the last of them at this position.
    pub(crate) fn wake(&self, position: u64) {
        self.heard.send_modify(|heard| {
            heard.hints += 1;
            heard.appended = position;
        });
    }

    /// Hears of the log from now on.
    fn subscribe(&self) -> watch::Receiver<Heard> {
        self.listener.get_or_init(|| {
            let heard = Arc::clone(&self.heard);
            tokio::spawn(listen_for_ever(self.options.clone(), heard)).abort_handle()
        });
        self.heard.subscribe()
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        if let Some(listener) = self.listener.get() {
            listener.abort();
        }
    }
}

/// Passes on that the log is said to have grown to this position. Anybody may say so, so it is taken for a reason to look
/// and never for the log's end; what this process knows of itself is no reason to look again.
fn hint(heard: &watch::Sender<Heard>, position: u64) {
    heard.send_if_modified(|heard| {
        let is_news = position > heard.appended;
        heard.hints += u64::from(is_news);
        is_news
    });
}

/// Listens, again and again where the connection is lost. Followers look by themselves meanwhile.
async fn listen_for_ever(options: PgConnectOptions, heard: Arc<watch::Sender<Heard>>) {
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).connect_lazy_with(options);
    loop {
        if let Err(error) = listen(&pool, &heard).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot listen to the event log; followers look every {} s until it works again",
                FOLLOW_POLL_INTERVAL.as_secs()
            );
        }
        sleep(FOLLOW_POLL_INTERVAL).await;
    }
}

/// Passes on what Postgres announces until the connection is lost.
async fn listen(pool: &PgPool, heard: &watch::Sender<Heard>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    while let Some(notification) = listener.try_recv().await? {
        // Anybody may send on a channel; what is not a position is not for us.
        if let Ok(position) = notification.payload().parse() {
            hint(heard, position);
        }
    }
    Ok(())
}

/// A follower between two items.
struct Follower {
    pool: PgPool,
    /// Keeps the listening task alive as long as anybody follows.
    _wakeups: Arc<Wakeups>,
    heard: watch::Receiver<Heard>,
    /// The position of the last event given.
    position: u64,
    /// The hints there had been when the follower last looked: only more than that is a reason to look again.
    hints_followed: u64,
    state: State,
}

/// What a follower does next.
enum State {
    /// Look for events; it has not caught up before, so that is worth saying even if there are none.
    Start,
    /// Say that the end was reached.
    CaughtUp,
    /// Look for events, there being some.
    Behind,
    /// Wait for a wake-up.
    Waiting,
}

/// Follows the log after a position.
pub(crate) fn follow(
    pool: PgPool,
    wakeups: Arc<Wakeups>,
    after: u64,
) -> BoxStream<'static, Result<Followed, LogError>> {
    let heard = wakeups.subscribe();
    let follower = Follower { pool, _wakeups: wakeups, heard, position: after, hints_followed: 0, state: State::Start };
    stream::try_unfold(follower, |mut follower| async move {
        let followed = follower.next().await?;
        Ok(Some((followed, follower)))
    })
    .boxed()
}

impl Follower {
    async fn next(&mut self) -> Result<Followed, LogError> {
        loop {
            match self.state {
                State::CaughtUp => {
                    self.state = State::Waiting;
                    return Ok(Followed::CaughtUp { position: self.position });
                }
                State::Waiting => self.wait().await,
                State::Start | State::Behind => {}
            }
            self.hints_followed = self.heard.borrow().hints;
            let page = read::sound_page(&self.pool, self.position, FOLLOW_EVENTS_MAX).await?;
            if page.head < self.position {
                return Err(LogError::Damaged {
                    position: self.position,
                    what: format!("the log ends at position {}, before what was read from it earlier", page.head),
                });
            }
            let Some(last) = page.events.last() else {
                let first_look = matches!(self.state, State::Start);
                self.state = if first_look { State::CaughtUp } else { State::Waiting };
                continue;
            };
            self.position = last.position;
            self.state = if self.position == page.head { State::CaughtUp } else { State::Behind };
            return Ok(Followed::Events(page.events));
        }
    }

    /// Returns when the log is heard to have grown, or when it is time to look anyway.
    async fn wait(&mut self) {
        let deadline = Instant::now() + FOLLOW_POLL_INTERVAL;
        let grown = self.heard.wait_for(|heard| heard.hints != self.hints_followed);
        // Over time or out of wake-ups: either way the follower looks by itself.
        drop(timeout_at(deadline, grown).await);
    }
}
