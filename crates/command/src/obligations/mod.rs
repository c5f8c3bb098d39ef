//! The index of the policies' obligations, which a follower of the log keeps up to date.
//!
//! Beside the obligations it has whose contacts in NOMIS are at which prison ([`ContactNumbers`]).
//!
//! The index is a hint. It may list a POM for a case that has gone to another POM, and it never
//! misses a POM who holds one; a policy reads the streams before it acts.
//!
//! The event store keeps a snapshot of the index, so that a start reads the events after it instead
//! of the whole log. It is a cache: where there is none, or it is doubted, the index is made from
//! the whole log.

mod contact_numbers;
mod role_holders;
mod saved_index;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Mutex, time::Duration};

use chrono::{DateTime, Utc};
use domain::{
    Event, Stream,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    prisoner::PrisonerEvent,
};
use event_log::{Bookmark, RecordedEvent, SharedLog, Snapshot, StoredEvent, lock};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use uuid::Uuid;

pub use self::contact_numbers::ContactNumbers;
pub(crate) use self::saved_index::UnusableSnapshot;
use self::{role_holders::RoleHolders, saved_index::encode};
use crate::CommandError;

/// The name under which the event store keeps the snapshot of the index.
pub const SNAPSHOT: &str = "policies";

/// How long a question waits until the index has read up to what was the log's end when the
/// question came.
const CATCH_UP_WAIT_MAX: Duration = Duration::from_secs(5);

/// After so many events the index is saved again: a start reads no more of them than in a second,
/// and a snapshot of a national ledger is no larger than the events since the one before.
const UNSAVED_EVENTS_MAX: u64 = 20_000;

/// One thing that a policy must do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Obligation {
    /// End the role that an inactive POM may have on a case at a prison.
    EndOfRole { prison: PrisonCode, staff_id: StaffId, number: PrisonerNumber },
    /// Complete the merge of a retired number, which its survivor may not have taken over.
    Merge { removed: PrisonerNumber },
    /// Report the allocations at a prison that may be earlier than its corrected go-live date.
    GoLiveReport { prison: PrisonCode },
}

/// For the log, which must name no prisoner.
impl fmt::Display for Obligation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfRole { prison, staff_id, number: _ } => {
                write!(f, "the end of a role of inactive POM {staff_id} at {prison}")
            }
            Self::Merge { removed: _ } => write!(f, "a merge"),
            Self::GoLiveReport { prison } => write!(f, "the report on the corrected go-live date of {prison}"),
        }
    }
}

/// The obligations, and how far the log has been read for them.
#[derive(Default)]
pub(crate) struct ObligationIndex {
    // After a panic within a change it may list too much, never too little.
    state: Mutex<IndexState>,
    progress: watch::Sender<IndexProgress>,
    may_have_more: Notify,
}

#[derive(Default)]
struct IndexState {
    holders: RoleHolders,
    /// The last event of the last batch that was added whole.
    last_event: Option<Bookmark>,
    /// Whether events after that have been added: such an index is of no position.
    is_within_batch: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct IndexProgress {
    position: u64,
    is_caught_up: bool,
    /// The events that this process has read.
    events_read: u64,
    /// How many of them the snapshot in the event store has; `None` while there is no snapshot that
    /// this process could use.
    events_saved: Option<u64>,
}

impl IndexProgress {
    fn is_save_due(&self) -> bool {
        match self.events_saved {
            Some(saved) => self.events_read >= saved + UNSAVED_EVENTS_MAX,
            None => self.events_read > 0 && (self.is_caught_up || self.events_read >= UNSAVED_EVENTS_MAX),
        }
    }
}

/// A snapshot that is to be saved.
pub(crate) struct IndexSnapshot {
    pub(crate) snapshot: Snapshot,
    /// How many events this process had read.
    events_read: u64,
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
        let mut state = lock(&self.state);
        state.is_within_batch = true;
        let holders = &mut state.holders;
        let may_have_more = match (&stored.stream, &stored.entry.event) {
            (Stream::Prison(code), Event::Prison(event)) => holders.observe_prison(code, event, at),
            (Stream::Prisoner(number), Event::Prisoner(event)) => holders.observe_case(number, event, at),
            (Stream::Contacts(number), Event::Contacts(event)) => {
                holders.contacts.add(number, event);
                false
            }
            // A decoded event is of its stream's kind.
            (Stream::Prison(_) | Stream::Prisoner(_) | Stream::Contacts(_), _) => false,
        };
        drop(state);
        if may_have_more {
            self.may_have_more.notify_one();
        }
    }

    /// Whether the case has merges that may take roles over, so that any further event of the case
    /// may decide which of them it has.
    pub(crate) fn has_merged_roles(&self, number: &PrisonerNumber) -> bool {
        lock(&self.state).holders.has_merged_roles(number)
    }

    /// Lists the POMs to whom an event gave a role, whether or not the role has ended since.
    pub(crate) fn list_holders(&self, number: &PrisonerNumber, event: &PrisonerEvent, at: DateTime<Utc>) {
        let mut state = lock(&self.state);
        state.is_within_batch = true;
        if state.holders.give_roles(number, event, at) {
            self.may_have_more.notify_one();
        }
    }

    /// Every case on which a POM ever had a role at a prison, up to position `head`, for which it
    /// waits.
    ///
    /// # Errors
    /// [`CommandError::NotCaughtUp`] if the log is not read that far within [`CATCH_UP_WAIT_MAX`].
    pub(crate) async fn cases_ever_held(
        &self,
        prison: &PrisonCode,
        staff_id: StaffId,
        head: u64,
    ) -> Result<Vec<PrisonerNumber>, CommandError> {
        self.wait_for(head).await?;
        Ok(lock(&self.state).holders.cases_ever_held(prison, staff_id))
    }

    /// Every case on which any POM ever had a role at a prison, up to position `head`, for which it
    /// waits.
    ///
    /// # Errors
    /// As [`Self::cases_ever_held`].
    pub(crate) async fn cases_ever_at(
        &self,
        prison: &PrisonCode,
        head: u64,
    ) -> Result<Vec<PrisonerNumber>, CommandError> {
        self.wait_for(head).await?;
        Ok(lock(&self.state).holders.cases_ever_at(prison))
    }

    /// The person whose contact in NOMIS it is, by the events up to position `head`, for which it
    /// waits.
    ///
    /// # Errors
    /// As [`Self::cases_ever_held`].
    pub(crate) async fn person_of_contact(
        &self,
        prison: &PrisonCode,
        contact_id: &Uuid,
        head: u64,
    ) -> Result<Option<PrisonerNumber>, CommandError> {
        self.wait_for(head).await?;
        Ok(lock(&self.state).holders.contacts.number(prison, contact_id))
    }

    /// Waits until the log has been read up to a position.
    async fn wait_for(&self, position: u64) -> Result<(), CommandError> {
        let mut progress = self.progress.subscribe();
        let has_read = progress.wait_for(|progress| progress.position >= position);
        // The sender lives as long as this index, so only the wait can fail.
        match timeout(CATCH_UP_WAIT_MAX, has_read).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(CommandError::NotCaughtUp),
        }
    }

    /// Takes the obligations that are not under way; none before the log has been read to its end
    /// once. Each is under way until it is [finished](Self::finish).
    pub(crate) fn take(&self) -> Vec<Obligation> {
        if self.is_caught_up() { lock(&self.state).holders.take_obligations() } else { Vec::new() }
    }

    /// Ends the time in which an obligation is under way: it is discharged.
    pub(crate) fn finish(&self, obligation: &Obligation) {
        lock(&self.state).holders.under_way.remove(obligation);
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

    /// Ends a batch: these events have been added, as far as they concern the index.
    pub(crate) fn end_batch(&self, events: &[RecordedEvent]) {
        let Some(last) = events.last() else { return };
        {
            let mut state = lock(&self.state);
            state.last_event = Some(last.into());
            state.is_within_batch = false;
        }
        self.progress.send_modify(|progress| {
            progress.position = last.position;
            progress.events_read += events.len() as u64;
        });
    }

    /// Waits until the index should be saved.
    pub(crate) async fn wait_until_save_is_due(&self) {
        // The sender lives as long as this index.
        let _ = self.progress.subscribe().wait_for(IndexProgress::is_save_due).await;
    }

    /// Whether the snapshot in the event store lacks an event that the index has.
    pub(crate) fn is_unsaved(&self) -> bool {
        let progress = self.progress.borrow();
        progress.events_read > progress.events_saved.unwrap_or(0)
    }

    /// The index as it is now; `None` within a batch, and before the first event. Takes a while for
    /// a large index.
    pub(crate) fn snapshot(&self) -> Option<IndexSnapshot> {
        // Cloned under the lock, which takes a moment; packing takes longer.
        let (holders, last_event, events_read) = {
            let state = lock(&self.state);
            let last_event = state.last_event.filter(|_| !state.is_within_batch)?;
            (state.holders.clone(), last_event, self.progress.borrow().events_read)
        };
        let content = encode(&holders, last_event).into();
        Some(IndexSnapshot { snapshot: Snapshot { position: last_event.position, content }, events_read })
    }

    /// Notes that the event store has a snapshot, or a newer one.
    pub(crate) fn mark_saved(&self, saved: &IndexSnapshot) {
        self.progress.send_modify(|progress| progress.events_saved = Some(saved.events_read));
    }

    /// Takes a snapshot for the index, where it is one of this log, and answers its position.
    pub(crate) async fn restore(&self, snapshot: &Snapshot, log: &SharedLog) -> Result<u64, UnusableSnapshot> {
        let (holders, last_event) = saved_index::decode_of_log(snapshot, log).await?;
        let position = last_event.position;
        *lock(&self.state) = IndexState { holders, last_event: Some(last_event), is_within_batch: false };
        self.progress.send_modify(|progress| {
            progress.position = position;
            progress.events_saved = Some(progress.events_read);
        });
        Ok(position)
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
