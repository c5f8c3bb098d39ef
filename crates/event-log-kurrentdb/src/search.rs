//! Searches: finding the ledger's next event past what others have written.
//!
//! A search is a subscription, because a subscription tells how far it is. Everything that it has
//! passed over is known from then on, also when it is cut off.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    client::{CallError, ServerPosition, SubscriptionMessage},
    gaps::GapTracker,
    retries::{SILENCE_MAX, flatten_join},
    store::Store,
    subscription::subscribe,
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
    pub(crate) async fn search(self: &Arc<Self>, last: u64, from: ServerPosition) -> Result<u64, CallError> {
        let store = Arc::clone(self);
        let searching = tokio::spawn(async move { store.search_in_turn(last, from).await });
        flatten_join(searching.await)
    }

    async fn search_in_turn(&self, last: u64, from: ServerPosition) -> Result<u64, CallError> {
        let turn = timeout(SILENCE_MAX, self.searching.lock()).await;
        // A search that waited was usually for the same event as the one before it, so it uses what
        // that one found, even if that one did not finish.
        if let Some(before) = self.positions.gap_after(last).filter(|before| *before > from.commit) {
            return Ok(before);
        }
        let Ok(_turn) = turn else { return Err(CallError::Silent) };
        let mut tracker = GapTracker::new(&self.names.prefix, last);
        let (mut passed, deadline) = (from.commit, Instant::now() + SEARCH_TIME_MAX);
        let (heard, mut hearing) = watch::channel(());
        let listening = subscribe(&self.connection, self.filter(), from, |message| {
            heard.send_replace(());
            if let Some(gap) = tracker.observe(&message) {
                self.positions.note_gap(gap);
                passed = gap.before;
            }
            let is_at_end = matches!(message, SubscriptionMessage::Event(_) | SubscriptionMessage::CaughtUp);
            if is_at_end || Instant::now() > deadline { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let silence = async { while let Ok(Ok(())) = timeout(SILENCE_MAX, hearing.changed()).await {} };
        tokio::select! {
            ended = listening => if let Err(why) = ended {
                tracing::debug!("a search of the event store has ended: {why}");
            },
            () = silence => {}
        }
        if passed > from.commit { Ok(passed) } else { Err(CallError::Silent) }
    }
}
