//! All entries of a prison.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::{
    event::Entry,
    identifier::{PrisonCode, StaffId},
    london,
    prison::{PrisonEvent, PrisonJoinedOmic, Roster, RosterPom},
};

/// One prison's entries in the order recorded; the entry at index `i` has revision `i`.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    code: PrisonCode,
    entries: Vec<Entry<PrisonEvent>>,
    /// The fold of all entries, kept because a prison's stream is long (thousands of NOMIS
    /// contacts) and asked often.
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
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| entry.effective_at <= instant && entry.event.staff_id() == Some(staff_id))
            .collect();
        entries.sort_by_key(|entry| entry.effective_at);
        let mut pom: Option<RosterPom> = None;
        for entry in entries {
            let (at, event_id) = (entry.effective_at, entry.event_id);
            match (&entry.event, &mut pom) {
                (PrisonEvent::PomRegistered(registered), before) => {
                    pom = Some(RosterPom::register(before.take(), registered, at, event_id));
                }
                (event, Some(pom)) => pom.apply(event, at, event_id),
                (_, None) => {}
            }
        }
        pom
    }

    /// The move onto OMiC, if the go-live day had begun at an instant. The date takes effect by
    /// itself, whenever it was recorded: a prison that is put into the ledger years after its
    /// go-live day was on OMiC all the while.
    #[must_use]
    pub fn joined_at(&self, instant: DateTime<Utc>) -> Option<&PrisonJoinedOmic> {
        self.entries.iter().find_map(|entry| match &entry.event {
            PrisonEvent::PrisonJoinedOmic(joined) if london::midnight(joined.go_live_date) <= instant => Some(joined),
            _ => None,
        })
    }

    fn fold(&self, until: DateTime<Utc>) -> Roster {
        let mut roster = Roster::default();
        for entry in self.in_effective_order().into_iter().take_while(|entry| entry.effective_at <= until) {
            roster.apply(entry);
        }
        roster
    }
}
