//! All entries of a prison.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::{
    event::Entry,
    identifier::{EventId, PrisonCode, StaffId},
    london,
    officer::PomStatus,
    prison::{PrisonEvent, PrisonJoinedOmic, Roster, RosterPom},
};

/// One prison's entries in the order recorded; the entry at index `i` has revision `i`.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    code: PrisonCode,
    entries: Vec<Entry<PrisonEvent>>,
    /// The fold of all entries, kept because it is asked often.
    roster: Roster,
    last_effective_at: Option<DateTime<Utc>>,
}

impl History {
    /// The history of a prison without entries.
    #[must_use]
    pub fn new(code: PrisonCode) -> Self {
        Self { code, entries: Vec::new(), roster: Roster::default(), last_effective_at: None }
    }

    /// The history made of these entries, in the order recorded.
    #[must_use]
    pub fn from_entries(code: PrisonCode, entries: Vec<Entry<PrisonEvent>>) -> Self {
        let mut history = Self::new(code);
        for entry in entries {
            history.push(entry);
        }
        history
    }

    /// Adds the entry recorded next.
    ///
    /// # Panics
    /// If its revision is not the next: the log keeps revisions dense, so this is a bug.
    pub fn push(&mut self, entry: Entry<PrisonEvent>) {
        assert_eq!(entry.revision, self.entries.len() as u64, "revisions of {} rise by one", self.code);
        if self.last_effective_at.is_none_or(|last| last <= entry.effective_at) {
            self.roster.apply(&entry);
            self.last_effective_at = Some(entry.effective_at);
            self.entries.push(entry);
        } else {
            self.entries.push(entry);
            self.roster = self.fold(DateTime::<Utc>::MAX_UTC);
        }
    }

    /// The code of the prison.
    #[must_use]
    pub fn code(&self) -> &PrisonCode {
        &self.code
    }

    /// The entries in the order recorded.
    #[must_use]
    pub fn entries(&self) -> &[Entry<PrisonEvent>] {
        &self.entries
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The revision of the last entry.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        self.entries.last().map(|entry| entry.revision)
    }

    /// The latest effective time among the entries.
    #[must_use]
    pub fn last_effective_at(&self) -> Option<DateTime<Utc>> {
        self.last_effective_at
    }

    /// The entries in the order in which they hold in the world; those of the same instant in the
    /// order recorded.
    #[must_use]
    pub fn in_effective_order(&self) -> Vec<&Entry<PrisonEvent>> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|entry| entry.effective_at);
        entries
    }

    /// The roster after all entries known.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The roster at an instant, by all entries known.
    #[must_use]
    pub fn roster_at(&self, instant: DateTime<Utc>) -> Cow<'_, Roster> {
        if self.last_effective_at.is_none_or(|last| last <= instant) {
            Cow::Borrowed(&self.roster)
        } else {
            Cow::Owned(self.fold(instant))
        }
    }

    /// One POM as the roster had it at an instant, by all that is known.
    #[must_use]
    pub fn pom_at(&self, staff_id: StaffId, instant: DateTime<Utc>) -> Option<RosterPom> {
        let entries = self.entries_on(staff_id).filter(|entry| entry.effective_at <= instant);
        fold_pom(entries.collect())
    }

    /// The stretches of the log in which the status of a POM was `INACTIVE` by all that had been
    /// recorded by then, in order. A backdated `INACTIVE` that a recorded `ACTIVE` already follows
    /// begins none.
    #[must_use]
    pub fn inactive_stretches(&self, staff_id: StaffId) -> Vec<InactiveStretch> {
        let recorded: Vec<_> = self.entries_on(staff_id).collect();
        let mut stretches: Vec<InactiveStretch> = Vec::new();
        for (index, entry) in recorded.iter().enumerate() {
            let present = fold_pom(recorded[..=index].to_vec());
            let open = stretches.last_mut().filter(|last| last.ends_at.is_none());
            match (present.filter(|pom| pom.status == PomStatus::Inactive), open) {
                (Some(pom), Some(open)) => (open.cause, open.since) = (pom.status_event, pom.status_since),
                (Some(pom), None) => stretches.push(InactiveStretch {
                    begins_at: entry.position,
                    ends_at: None,
                    cause: pom.status_event,
                    since: pom.status_since,
                }),
                (None, Some(open)) => open.ends_at = Some(entry.position),
                (None, None) => {}
            }
        }
        stretches
    }

    /// The entries on one POM, in the order recorded.
    fn entries_on(&self, staff_id: StaffId) -> impl Iterator<Item = &Entry<PrisonEvent>> {
        self.entries.iter().filter(move |entry| entry.event.staff_id() == Some(staff_id))
    }

    /// The move onto OMiC, if the go-live day had begun at an instant. The date takes effect by
    /// itself, whenever it was recorded: a prison that is put into the ledger years after its
    /// go-live day was on OMiC all the while. Where the date was corrected, the corrected one
    /// counts for all instants.
    #[must_use]
    pub fn joined_at(&self, instant: DateTime<Utc>) -> Option<&PrisonJoinedOmic> {
        self.roster.joined.as_ref().filter(|joined| london::midnight(joined.go_live_date) <= instant)
    }

    fn fold(&self, until: DateTime<Utc>) -> Roster {
        let mut roster = Roster::default();
        for entry in self.in_effective_order().into_iter().take_while(|entry| entry.effective_at <= until) {
            roster.apply(entry);
        }
        roster
    }
}

/// A stretch of the log in which a POM was inactive as far as the log had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InactiveStretch {
    /// The position of the event that began it.
    pub begins_at: u64,
    /// The position of the event that ended it; `None` while it lasts.
    pub ends_at: Option<u64>,
    /// The event that gave the status.
    pub cause: EventId,
    /// The effective time of the status.
    pub since: DateTime<Utc>,
}

/// A POM after these entries on that POM, given in the order recorded.
fn fold_pom(mut entries: Vec<&Entry<PrisonEvent>>) -> Option<RosterPom> {
    entries.sort_by_key(|entry| entry.effective_at);
    let mut pom: Option<RosterPom> = None;
    for entry in entries {
        let (at, event_id) = (entry.effective_at, entry.event_id);
        match (&entry.event, &mut pom) {
            (PrisonEvent::PomRegistered(registered), _) => {
                pom = Some(RosterPom::register(registered, at, event_id));
            }
            (event, Some(pom)) => pom.apply(event, at, event_id),
            (_, None) => {}
        }
    }
    pom
}
