//! All entries of a case.

use std::{borrow::Cow, collections::BTreeMap};

use chrono::{DateTime, Utc};

use crate::{
    event::Entry,
    identifier::{CommandId, PrisonerNumber},
    prisoner::{PomRole, PrisonerEvent, State},
};

/// One case's entries in the order recorded; the entry at index `i` has revision `i`.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    number: PrisonerNumber,
    entries: Vec<Entry<PrisonerEvent>>,
    /// The revision of each voided entry, and of the entry that voided it.
    voided: BTreeMap<u64, u64>,
}

impl History {
    /// The history of a case without entries.
    #[must_use]
    pub fn new(number: PrisonerNumber) -> Self {
        Self { number, entries: Vec::new(), voided: BTreeMap::new() }
    }

    /// The history made of these entries, in the order recorded.
    #[must_use]
    pub fn from_entries(number: PrisonerNumber, entries: Vec<Entry<PrisonerEvent>>) -> Self {
        let mut history = Self::new(number);
        for entry in entries {
            history.push(entry);
        }
        history
    }

    /// Adds the entry recorded next.
    ///
    /// # Panics
    /// If its revision is not the next: the log keeps revisions dense, so this is a bug.
    pub fn push(&mut self, entry: Entry<PrisonerEvent>) {
        assert_eq!(entry.revision, self.entries.len() as u64, "revisions of {} rise by one", self.number);
        if let PrisonerEvent::EntryVoided(void) = &entry.event {
            self.voided.insert(void.revision, entry.revision);
        }
        self.entries.push(entry);
    }

    /// The number of the case.
    #[must_use]
    pub fn number(&self) -> &PrisonerNumber {
        &self.number
    }

    /// The entries in the order recorded, voided ones included.
    #[must_use]
    pub fn entries(&self) -> &[Entry<PrisonerEvent>] {
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

    /// The revision of the entry that voided the entry at `revision`, if one did.
    #[must_use]
    pub fn voided_by(&self, revision: u64) -> Option<u64> {
        self.voided.get(&revision).copied()
    }

    /// The entry that retired the number, with the number that the case goes on under. It is final:
    /// it cannot be voided, and nothing comes after it.
    #[must_use]
    pub fn retirement(&self) -> Option<(&Entry<PrisonerEvent>, &PrisonerNumber)> {
        self.entries.iter().find_map(|entry| match &entry.event {
            PrisonerEvent::PrisonerNumberRetired(retired) => Some((entry, &retired.survivor)),
            _ => None,
        })
    }

    /// Whether this case has taken over the one of another number, which is then a number of the
    /// same person.
    #[must_use]
    pub(super) fn has_taken_over(&self, number: &PrisonerNumber) -> bool {
        self.entries.iter().any(|entry| {
            matches!(&entry.event, PrisonerEvent::PrisonerNumberMerged(merged) if merged.removed_number == *number)
        })
    }

    /// The history up to the retirement of the number: while no other number has taken the case
    /// over, the case is still as it was left here.
    #[must_use]
    pub fn before_retirement(&self) -> Cow<'_, Self> {
        match self.retirement() {
            Some((retirement, _)) => Cow::Owned(self.prefix_while(|entry| entry.revision < retirement.revision)),
            None => Cow::Borrowed(self),
        }
    }

    /// The history before the first entry of a command.
    #[must_use]
    pub(super) fn before_command(&self, command_id: CommandId) -> Self {
        self.prefix_while(|entry| entry.command_id != command_id)
    }

    /// The time from which this case has `role`, which is now its own: the effective time of the
    /// entry that gave it. A role that was taken over in a merge is older than that.
    #[must_use]
    pub fn held_here_since(&self, role: &PomRole) -> DateTime<Utc> {
        let given_by = self.entries.iter().find(|entry| entry.revision == role.given_by);
        given_by.map_or(role.since, |entry| entry.effective_at)
    }

    /// The history as it was known when the log ended at `position`.
    #[must_use]
    pub fn known_at_position(&self, position: u64) -> Self {
        self.prefix_while(|entry| entry.position <= position)
    }

    fn prefix_while(&self, is_known: impl Fn(&Entry<PrisonerEvent>) -> bool) -> Self {
        Self::from_entries(
            self.number.clone(),
            self.entries.iter().take_while(|entry| is_known(entry)).cloned().collect(),
        )
    }

    /// The entries in effect, in effective order: without voided entries and the voids themselves;
    /// entries of the same instant in the order recorded.
    #[must_use]
    pub fn in_effective_order(&self) -> Vec<&Entry<PrisonerEvent>> {
        let mut in_effect: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| {
                !self.voided.contains_key(&entry.revision) && !matches!(entry.event, PrisonerEvent::EntryVoided(_))
            })
            .collect();
        // Stable, so entries of the same instant keep their order.
        in_effect.sort_by_key(|entry| entry.effective_at);
        in_effect
    }

    /// The state at an instant, by all entries known.
    #[must_use]
    pub fn state_at(&self, instant: DateTime<Utc>) -> State {
        let mut state = State::default();
        for entry in self.in_effective_order() {
            if entry.effective_at > instant {
                break;
            }
            state.apply(entry);
        }
        state
    }

    /// The state after all entries known.
    #[must_use]
    pub fn state(&self) -> State {
        self.state_at(DateTime::<Utc>::MAX_UTC)
    }
}
