//! Forward: from the last event of the ledger that this process knows, on to the log's end.

use std::sync::Arc;

use futures::future::try_join;
use tokio::time::sleep;

use event_log::FOLLOW_POLL_INTERVAL;

use crate::{
    client::{CallError, ServerPosition},
    log_reads::ReadEnd,
    store::Store,
};

/// Events in one read. Where more have come since the last known event, the way backward is taken.
const NEWER_EVENTS_MAX: usize = 100;

impl Store {
    /// Looks forward from the last known event, and from a later one where this process meets one
    /// meanwhile. Answers nothing where the end is too far or no event is known.
    pub(super) async fn forward(self: &Arc<Self>) -> Result<Option<u64>, CallError> {
        loop {
            let known = self.positions.last_event();
            tokio::select! {
                found = self.forward_from(known) => return found,
                () = self.wait_for_event_after(known) => {}
            }
        }
    }

    /// Looks forward from each event that this process meets from now on, until the end is near one
    /// of them.
    pub(super) async fn forward_from_later(self: &Arc<Self>) -> Result<u64, CallError> {
        loop {
            self.wait_for_event_after(self.positions.last_event()).await;
            if let Some(head) = self.forward().await? {
                return Ok(head);
            }
        }
    }

    async fn wait_for_event_after(&self, known: u64) {
        while self.positions.last_event() <= known {
            sleep(FOLLOW_POLL_INTERVAL).await;
        }
    }

    /// Looks forward from a known event. Answers nothing where no event is known, the known one is
    /// gone, or many have come since.
    async fn forward_from(self: &Arc<Self>, known: u64) -> Result<Option<u64>, CallError> {
        if known == 0 && self.positions.gap_after(0).is_none() {
            return Ok(None);
        }
        let (mut head, mut last, mut from) = (known, known, self.positions.place_after(known));
        let is_there = self.is_at(known);
        let newer = self.read_all(last, from, NEWER_EVENTS_MAX);
        let (is_there, mut newer) = match try_join(is_there, newer).await {
            Err(CallError::InvalidPosition) => (false, (Vec::new(), ReadEnd::LogEnd)),
            read => read?,
        };
        if !is_there {
            self.forget_positions();
            return Ok(None);
        }
        loop {
            let (read, end) = newer;
            for event in &read {
                (last, from) = (event.position.commit, from.max(event.position));
                if self.owns(event) {
                    head = last;
                    self.positions.note_event(head);
                }
            }
            match end {
                ReadEnd::LogEnd => return Ok(Some(head)),
                ReadEnd::More => return Ok(None),
                ReadEnd::NothingBefore(before) => from = from.max(ServerPosition { commit: before, prepare: 0 }),
                ReadEnd::Quiet => {}
            }
            newer = self.read_all(last, from, NEWER_EVENTS_MAX).await?;
        }
    }
}
