//! Followers (subscriptions): they read the log page by page, and wait where it ends.
//!
//! A wake-up is a hint, the position is the truth: a follower that is woken looks for the events
//! after the last one that it gave out. A lost wake-up therefore costs at most
//! [`FOLLOW_POLL_INTERVAL`], and never an event.
//!
//! The state machine is the same for every store. A store brings its [`Pages`] and a channel of
//! [`WakeUp`]s.

use std::{future::Future, time::Duration};

use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{FollowerItem, LogError, RecordedEvent};

/// How long a follower waits for a wake-up before it looks by itself.
pub const FOLLOW_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Most events that a follower gives out at once.
const FOLLOW_EVENTS_MAX: usize = 4_000;

/// Some events of the whole log, in order.
#[derive(Debug)]
pub struct LogPage {
    /// The events.
    pub events: Vec<RecordedEvent>,
    /// Says whether the log goes on after them.
    pub next: PageNext,
}

/// Says whether the log goes on after a page.
#[derive(Debug)]
pub enum PageNext {
    /// Perhaps more events.
    MoreEvents,
    /// Nothing, when the page was read.
    LogEnd,
    /// Damage. A page that has events stops before it; reading on meets it again.
    Damage(LogError),
}

/// How a store tells its followers that the log has grown.
#[derive(Debug, Clone, Copy, Default)]
pub struct WakeUp {
    /// How often there was a reason to look.
    pub hints: u64,
    /// The position by which the store tells whether an announcement is news.
    pub position: u64,
}

/// The pages of a store, as its followers read them.
///
/// The value must keep the sender of the follower's [`WakeUp`]s alive.
pub trait Pages: Send + 'static {
    /// Reads at most `limit` events after a position.
    fn page_after(&mut self, position: u64, limit: usize) -> impl Future<Output = Result<LogPage, LogError>> + Send;

    /// Called before the first page is read.
    fn check_start(&mut self, _position: u64) -> impl Future<Output = Result<(), LogError>> + Send {
        async { Ok(()) }
    }

    /// Called where the first look finds no events: a log that ends before this position, the one
    /// followed after, must be reported as damage. A store may leave that to [`Self::page_after`].
    fn check_end(&mut self, _position: u64) -> impl Future<Output = Result<(), LogError>> + Send {
        async { Ok(()) }
    }

    /// Called where the follower found events, the last of them at this position, that no wake-up
    /// had announced.
    fn found_unannounced(&mut self, _position: u64) {}
}

/// Follows the log after a position without end, as
/// [`EventLog::follow_all`](crate::EventLog::follow_all) promises.
pub fn follow<P: Pages>(
    pages: P,
    wake_ups: watch::Receiver<WakeUp>,
    after: u64,
) -> BoxStream<'static, Result<FollowerItem, LogError>> {
    let follower = LogFollower { pages, wake_ups, position: after, hints_followed: 0, state: FollowerState::Start };
    stream::try_unfold(follower, |mut follower| async move {
        let followed = follower.next().await?;
        Ok(Some((followed, follower)))
    })
    .boxed()
}

/// A follower between two items.
struct LogFollower<P> {
    pages: P,
    wake_ups: watch::Receiver<WakeUp>,
    /// The position of the last event given out.
    position: u64,
    /// The hints that there had been when the follower last looked: only more of them are a reason
    /// to look again.
    hints_followed: u64,
    state: FollowerState,
}

/// The next step of a follower.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FollowerState {
    /// Look for events for the first time. It must then say that it has caught up, even if there
    /// are none.
    Start,
    /// Say that it has reached the log's end.
    CaughtUp,
    /// Look for events: the last page was not the log's end.
    Behind,
    /// Wait for a wake-up.
    Waiting,
}

impl<P: Pages> LogFollower<P> {
    async fn next(&mut self) -> Result<FollowerItem, LogError> {
        loop {
            let mut was_woken = true;
            match self.state {
                FollowerState::Start => self.pages.check_start(self.position).await?,
                FollowerState::CaughtUp => {
                    self.state = FollowerState::Waiting;
                    return Ok(FollowerItem::CaughtUp { position: self.position });
                }
                FollowerState::Behind => {}
                FollowerState::Waiting => was_woken = self.wait().await,
            }
            // Before the page is read: a hint that comes meanwhile may be of events after the page.
            self.hints_followed = self.wake_ups.borrow().hints;
            let LogPage { events, next } = self.pages.page_after(self.position, FOLLOW_EVENTS_MAX).await?;
            if let Some(last) = events.last() {
                self.position = last.position;
                if !was_woken {
                    self.pages.found_unannounced(last.position);
                }
                // The next look meets the damage after these events, and reports it.
                self.state = match next {
                    PageNext::LogEnd => FollowerState::CaughtUp,
                    PageNext::MoreEvents | PageNext::Damage(_) => FollowerState::Behind,
                };
                return Ok(FollowerItem::Events(events));
            }
            match (next, self.state) {
                (PageNext::Damage(error), _) => return Err(error),
                (PageNext::MoreEvents, _) | (PageNext::LogEnd, FollowerState::CaughtUp | FollowerState::Waiting) => {}
                (PageNext::LogEnd, FollowerState::Start) => {
                    self.pages.check_end(self.position).await?;
                    self.state = FollowerState::CaughtUp;
                }
                (PageNext::LogEnd, FollowerState::Behind) => self.state = FollowerState::CaughtUp,
            }
        }
    }

    /// Waits until the store hints that the log has grown, or until it is time to look anyway.
    /// Answers whether there was a hint.
    async fn wait(&mut self) -> bool {
        let deadline = Instant::now() + FOLLOW_POLL_INTERVAL;
        let hint = self.wake_ups.wait_for(|wake_up| wake_up.hints != self.hints_followed);
        timeout_at(deadline, hint).await.is_ok()
    }
}
