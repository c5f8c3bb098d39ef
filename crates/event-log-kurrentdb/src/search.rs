//! Searches: finding the ledger's next event past what others have written.
//!
//! A search is a subscription, because a subscription tells how far it is. Everything that it has
//! passed over is known from then on, also when it is cut off.

use std::{ops::ControlFlow, sync::Arc, thread, time::Duration};

use kurrentdb::{Error, Position, SubscriptionEvent};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{
    connection::{SILENCE_MAX, flatten_join},
    gaps::GapTracker,
    store::Store,
    subscription::{Subscription, SubscriptionGuard},
};

/// How long a search goes on before the read is tried again from where the search is. Without this
/// limit it would go on for ever on a server whose other writers never pause, and which is too old
/// to say that the subscription has caught up.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(60);

impl Store {
    /// Has the server look, from a position on, for the events of the ledger after `last`. Answers
    /// the position before which it found none.
    ///
    /// The search is a task of its own, because others wait for its end: a caller may drop the
    /// stream that it reads in the middle.
    pub(crate) async fn search(self: &Arc<Self>, last: u64, from: Position) -> Result<u64, Error> {
        let store = Arc::clone(self);
        let searching = tokio::spawn(async move { store.search_in_turn(last, from).await });
        flatten_join(searching.await)
    }

    async fn search_in_turn(&self, last: u64, from: Position) -> Result<u64, Error> {
        let turn = timeout(SILENCE_MAX, self.searching.lock()).await;
        // A search that waited was usually for the same event as the one before it, so it uses what
        // that one found, even if that one did not finish.
        if let Some(before) = self.positions.gap_after(last).filter(|before| *before > from.commit) {
            return Ok(before);
        }
        let Ok(_turn) = turn else { return Err(Error::DeadlineExceeded) };
        let (sender, mut gaps) = mpsc::unbounded_channel();
        let mut tracker = GapTracker::new(&self.prefix, last);
        let observe = move |event| {
            let gap = tracker.observe(&event);
            let is_at_end = matches!(event, SubscriptionEvent::EventAppeared(_) | SubscriptionEvent::CaughtUp(_));
            match gap.map_or(Ok(()), |gap| sender.send(gap)) {
                Ok(()) if !is_at_end => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        };
        let address = self.connection.address().clone();
        let subscription = Subscription { address, filter: self.filter(), after: from };
        let guard = SubscriptionGuard::default();
        let stop = guard.stop_flag();
        thread::Builder::new()
            .name("kurrentdb-search".to_owned())
            .spawn(move || {
                if let Err(why) = subscription.listen(&stop, observe) {
                    tracing::debug!("a search of the event store has ended: {why}");
                }
            })
            .map_err(|error| Error::InitializationError(error.to_string()))?;
        let mut passed = from.commit;
        let deadline = Instant::now() + SEARCH_TIME_MAX;
        while Instant::now() < deadline
            && let Ok(Some(gap)) = timeout(SILENCE_MAX, gaps.recv()).await
        {
            self.positions.note_gap(gap);
            passed = gap.before;
        }
        if passed > from.commit { Ok(passed) } else { Err(Error::DeadlineExceeded) }
    }
}
