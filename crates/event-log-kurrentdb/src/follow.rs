//! Followers: they read the log page by page, and wait where it ends.
//!
//! A wake-up is a hint, the position is the truth: a follower that is woken looks, and what it looks for are the events
//! after the last one it has. So a subscription that is lost, or says nothing, costs at most [`FOLLOW_POLL_INTERVAL`] and
//! never an event. A follower that finds by itself what it was not told of has the subscription made anew.

use std::sync::Arc;

use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use event_log::{FOLLOW_POLL_INTERVAL, Followed, LogError};

use crate::{
    Store,
    read::Next,
    seen::Revisions,
    wakeups::{Heard, Wakeups},
};

/// Most events that a follower is given at once.
const FOLLOW_EVENTS_MAX: usize = 4_000;

/// A follower between two items.
struct Follower {
    store: Arc<Store>,
    wakeups: Arc<Wakeups>,
    heard: watch::Receiver<Heard>,
    /// The position of the last event given.
    position: u64,
    revisions: Revisions,
    /// The hints there had been when the follower last looked: only more than that is a reason to look again.
    hints_followed: u64,
    state: State,
}

/// What a follower does next.
#[derive(Clone, Copy, PartialEq, Eq)]
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
    store: Arc<Store>,
    wakeups: Arc<Wakeups>,
    after: u64,
) -> BoxStream<'static, Result<Followed, LogError>> {
    let heard = wakeups.subscribe();
    let revisions = Revisions::after(after);
    let follower =
        Follower { store, wakeups, heard, position: after, revisions, hints_followed: 0, state: State::Start };
    stream::try_unfold(follower, |mut follower| async move {
        let followed = follower.next().await?;
        Ok(Some((followed, follower)))
    })
    .boxed()
}

impl Follower {
    async fn next(&mut self) -> Result<Followed, LogError> {
        loop {
            let mut was_woken = true;
            match self.state {
                State::CaughtUp => {
                    self.state = State::Waiting;
                    return Ok(Followed::CaughtUp { position: self.position });
                }
                State::Waiting => was_woken = self.wait().await,
                State::Start | State::Behind => {}
            }
            if self.state == State::Start {
                self.store.check_gap(self.position).await?;
            }
            self.hints_followed = self.heard.borrow().hints;
            let page = self.store.page(self.position, FOLLOW_EVENTS_MAX, &mut self.revisions).await?;
            let is_first_look = self.state == State::Start;
            if matches!(page.next, Next::End) {
                self.wakeups.listen();
            }
            if let Some(last) = page.events.last() {
                self.position = last.position;
                if !was_woken {
                    self.wakeups.missed(last.position);
                }
                self.state = if matches!(page.next, Next::End) { State::CaughtUp } else { State::Behind };
                return Ok(Followed::Events(page.events));
            }
            match page.next {
                Next::Damage(error) => return Err(error),
                Next::Events => {}
                Next::End if is_first_look => {
                    self.check_end().await?;
                    self.state = State::CaughtUp;
                }
                Next::End if self.state == State::Behind => self.state = State::CaughtUp,
                Next::End => {}
            }
        }
    }

    /// Makes sure that the log does not end before where it was followed to: a log that was put back from a copy would
    /// otherwise be taken for one that is quiet.
    async fn check_end(&self) -> Result<(), LogError> {
        let head = self.store.head().await?;
        if head < self.position {
            return Err(LogError::Damaged {
                position: self.position,
                what: format!("the log ends at position {head}, before what was read from it earlier"),
            });
        }
        Ok(())
    }

    /// Returns when the log is heard to have grown, or when it is time to look anyway; whether it was heard.
    async fn wait(&mut self) -> bool {
        let deadline = Instant::now() + FOLLOW_POLL_INTERVAL;
        let grown = self.heard.wait_for(|heard| heard.hints != self.hints_followed);
        timeout_at(deadline, grown).await.is_ok()
    }
}
