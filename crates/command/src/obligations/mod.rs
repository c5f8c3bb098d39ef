//! The index of the policies' obligations, which a follower of the log keeps up to date.
//!
//! The index is a hint. It may list a POM for a case that has gone to another POM, and it never
//! misses a POM who holds one; a policy reads the streams before it acts.

mod role_holders;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, fmt, sync::Mutex, time::Duration};

use chrono::{DateTime, Utc};
use domain::{
    Event, Stream,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    prisoner::PrisonerEvent,
};
use event_log::{StoredEvent, lock};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use self::role_holders::RoleHolders;
use crate::Error;

/// How long a question waits until the index has read up to what was the log's end when the
/// question came.
const CATCH_UP_WAIT_MAX: Duration = Duration::from_secs(5);

/// One thing that a policy must do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Obligation {
    /// End the role that an inactive POM may have on a case at a prison.
    EndOfRole { prison: PrisonCode, staff_id: StaffId, number: PrisonerNumber },
    /// Complete the merge of a retired number, which its survivor may not have taken over.
    Merge { removed: PrisonerNumber },
}

/// For the log, which must name no prisoner.
impl fmt::Display for Obligation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfRole { prison, staff_id, number: _ } => {
                write!(f, "the end of a role of inactive POM {staff_id} at {prison}")
            }
            Self::Merge { removed: _ } => write!(f, "a merge"),
        }
    }
}

/// The obligations, and how far the log has been read for them.
#[derive(Default)]
pub(crate) struct ObligationIndex {
    // After a panic within a change it may list too much, never too little.
    holders: Mutex<RoleHolders>,
    progress: watch::Sender<IndexProgress>,
    may_have_more: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
struct IndexProgress {
    position: u64,
    is_caught_up: bool,
}

/// Marks the index as behind when its follower ends, also by a panic.
pub(crate) struct FollowerGuard<'a>(&'a ObligationIndex);

impl Drop for FollowerGuard<'_> {
    fn drop(&mut self) {
        self.0.mark_behind();
    }
}

impl ObligationIndex {
    /// Adds the next event of the log.
    pub(crate) fn observe(&self, stored: &StoredEvent) {
        let at = stored.entry.effective_at;
        let mut holders = lock(&self.holders);
        let may_have_more = match (&stored.stream, &stored.entry.event) {
            (Stream::Prison(code), Event::Prison(event)) => holders.observe_prison(code, event, at),
            (Stream::Prisoner(number), Event::Prisoner(event)) => holders.observe_case(number, event, at),
            // A decoded event is of its stream's kind.
            (Stream::Prison(_), Event::Prisoner(_)) | (Stream::Prisoner(_), Event::Prison(_)) => false,
        };
        drop(holders);
        if may_have_more {
            self.may_have_more.notify_one();
        }
    }

    /// Lists the POMs to whom an event gave a role, whether or not the role has ended since.
    pub(crate) fn list_holders(&self, number: &PrisonerNumber, event: &PrisonerEvent, at: DateTime<Utc>) {
        if lock(&self.holders).give_roles(number, event, at) {
            self.may_have_more.notify_one();
        }
    }

    /// Every case on which a POM ever had a role at a prison, up to position `head`, for which it
    /// waits.
    ///
    /// # Errors
    /// [`Error::NotCaughtUp`] if the log is not read that far within [`CATCH_UP_WAIT_MAX`].
    pub(crate) async fn cases_ever_held(
        &self,
        prison: &PrisonCode,
        staff_id: StaffId,
        head: u64,
    ) -> Result<Vec<PrisonerNumber>, Error> {
        let mut progress = self.progress.subscribe();
        let has_read = progress.wait_for(|progress| progress.position >= head);
        // The sender lives as long as this index, so only the wait can fail.
        timeout(CATCH_UP_WAIT_MAX, has_read).await.map_err(|_| Error::NotCaughtUp)?.map_err(|_| Error::NotCaughtUp)?;
        Ok(lock(&self.holders).cases_ever_held(prison, staff_id))
    }

    /// Takes the obligations that are not `under_way`; none before the log has been read to its end
    /// once.
    pub(crate) fn take(&self, under_way: &HashSet<Obligation>) -> Vec<Obligation> {
        if self.is_caught_up() { lock(&self.holders).take_obligations(under_way) } else { Vec::new() }
    }

    /// Waits until there may be more to take.
    pub(crate) async fn wait_for_more(&self) {
        self.may_have_more.notified().await;
    }

    pub(crate) fn is_caught_up(&self) -> bool {
        self.progress.borrow().is_caught_up
    }

    /// The position up to which the log has been read.
    pub(crate) fn position(&self) -> u64 {
        self.progress.borrow().position
    }

    pub(crate) fn advance_to(&self, position: u64) {
        self.progress.send_modify(|progress| progress.position = position);
    }

    pub(crate) fn mark_caught_up(&self, position: u64) {
        self.progress.send_modify(|progress| {
            progress.position = progress.position.max(position);
            progress.is_caught_up = true;
        });
        self.may_have_more.notify_one();
    }

    pub(crate) fn mark_behind(&self) {
        self.progress.send_modify(|progress| progress.is_caught_up = false);
    }

    /// A follower must hold the guard for as long as it follows the log.
    pub(crate) fn guard_follower(&self) -> FollowerGuard<'_> {
        FollowerGuard(self)
    }
}
