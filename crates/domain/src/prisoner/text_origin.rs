//! The prison at which an entry was recorded, and the one that wrote its free texts, for which such
//! a text is no secret.

use crate::{
    event::Entry,
    identifier::PrisonCode,
    prisoner::{History, PrisonerEvent, ResponsibilityOverridden, State},
};

impl PrisonerEvent {
    /// The prison that wrote the free texts of the event, as far as its own data says so.
    #[must_use]
    pub fn prison_of_text(&self) -> Option<&PrisonCode> {
        match self {
            Self::AllocationMade(made) => Some(&made.prison),
            Self::Reallocated(moved) => Some(&moved.prison),
            Self::Received(_)
            | Self::TierAssigned(_)
            | Self::CrnRecorded(_)
            | Self::Deallocated(_)
            | Self::CoworkerAllocated(_)
            | Self::CoworkerReallocated(_)
            | Self::CoworkerDeallocated(_)
            | Self::CommunityManagerAssigned(_)
            | Self::CommunityManagerRemoved(_)
            | Self::HandoverPlanned(_)
            | Self::ResponsibilityOverridden(_)
            | Self::ResponsibilityOverrideRemoved(_)
            | Self::EntryVoided(_)
            | Self::PrisonerNumberMerged(_)
            | Self::PrisonerNumberRetired(_) => None,
        }
    }

    /// The override whose detail the event repeats from an earlier entry.
    #[must_use]
    pub fn repeated_override(&self) -> Option<ResponsibilityOverridden> {
        match self {
            Self::ResponsibilityOverrideRemoved(removed) => Some(ResponsibilityOverridden {
                responsible: removed.responsible,
                reason: removed.reason,
                detail: removed.detail.clone(),
            }),
            Self::PrisonerNumberMerged(merged) => merged.held.arrangements.responsibility_override.clone(),
            Self::Received(_)
            | Self::TierAssigned(_)
            | Self::CrnRecorded(_)
            | Self::AllocationMade(_)
            | Self::Reallocated(_)
            | Self::Deallocated(_)
            | Self::CoworkerAllocated(_)
            | Self::CoworkerReallocated(_)
            | Self::CoworkerDeallocated(_)
            | Self::CommunityManagerAssigned(_)
            | Self::CommunityManagerRemoved(_)
            | Self::HandoverPlanned(_)
            | Self::ResponsibilityOverridden(_)
            | Self::EntryVoided(_)
            | Self::PrisonerNumberRetired(_) => None,
        }
    }
}

impl History {
    /// The prison that wrote the free texts of each entry: the one that the event names, or else
    /// the one that held the case when the entry was recorded. `None` where no prison did, and for
    /// a text that the event repeats ([`PrisonerEvent::repeated_override`]).
    #[must_use]
    pub fn prisons_of_texts(&self) -> Vec<Option<PrisonCode>> {
        let mut before = StateSoFar::default();
        let mut prisons = Vec::with_capacity(self.entries().len());
        for entry in self.entries() {
            prisons.push(match &entry.event {
                PrisonerEvent::ResponsibilityOverridden(_) | PrisonerEvent::EntryVoided(_) => before.state().prison,
                event => event.prison_of_text().cloned(),
            });
            before.push(entry);
        }
        prisons
    }

    /// The prison at which each entry was recorded: the first that the event names, or else the one
    /// that held the case then. `None` where no prison did.
    #[must_use]
    pub fn prisons_of_entries(&self) -> Vec<Option<PrisonCode>> {
        let mut before = StateSoFar::default();
        let mut prisons = Vec::with_capacity(self.entries().len());
        for entry in self.entries() {
            let named = entry.event.named_prisons().next().cloned();
            prisons.push(named.or_else(|| before.state().prison));
            before.push(entry);
        }
        prisons
    }

    /// The overrides with a detail that were ever recorded, voided ones included, each with the
    /// prison that wrote it.
    pub fn detailed_overrides(&self) -> impl Iterator<Item = (&ResponsibilityOverridden, Option<PrisonCode>)> {
        self.entries().iter().zip(self.prisons_of_texts()).filter_map(|(entry, prison)| match &entry.event {
            PrisonerEvent::ResponsibilityOverridden(decision) if decision.detail.is_some() => Some((decision, prison)),
            _ => None,
        })
    }
}

/// Entries between two states that are kept.
const KEPT_EVERY: usize = 32;

/// The state of a case while its entries come one after the other. A change costs the entries in
/// effect after it, to fold again, and not the whole history.
#[derive(Default)]
struct StateSoFar<'h> {
    /// The entries in effect, in effective order.
    in_order: Vec<&'h Entry<PrisonerEvent>>,
    /// The state after each [`KEPT_EVERY`] of them, as far as it is known.
    kept: Vec<State>,
}

impl<'h> StateSoFar<'h> {
    fn push(&mut self, entry: &'h Entry<PrisonerEvent>) {
        let changed = match &entry.event {
            PrisonerEvent::EntryVoided(void) => {
                let voided = self.in_order.iter().rposition(|entry| entry.revision == void.revision);
                let Some(voided) = voided else { return };
                self.in_order.remove(voided);
                voided
            }
            _ => {
                let place = self.in_order.partition_point(|earlier| earlier.effective_at <= entry.effective_at);
                self.in_order.insert(place, entry);
                place
            }
        };
        self.kept.truncate(changed / KEPT_EVERY);
    }

    fn state(&mut self) -> State {
        let mut state = self.kept.last().cloned().unwrap_or_default();
        for (index, entry) in self.in_order.iter().enumerate().skip(self.kept.len() * KEPT_EVERY) {
            state.apply(entry);
            if (index + 1).is_multiple_of(KEPT_EVERY) {
                self.kept.push(state.clone());
            }
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::{
        event::RecordedBy,
        identifier::{CommandId, EventId},
    };

    /// Entries of a long history: recorded in order, in effect in another, some voided later.
    fn events() -> Vec<(&'static str, i64, Value)> {
        let prisons = ["LEI", "MDI", "WYI"];
        let event = |index: u64| {
            let at = (index * 37 % 101).cast_signed();
            let prison = prisons[(index % 3) as usize];
            match index % 5 {
                0 | 1 => ("TierAssigned", at, json!({"tier": "C1", "source": "MANUAL", "prison": prison})),
                // These come last, and give no prison: a state that is kept wrongly would show.
                2 => (
                    "ResponsibilityOverridden",
                    200 + at,
                    json!({"responsible": "PRISON", "reason": "OTHER", "detail": "d"}),
                ),
                3 => ("EntryVoided", at, json!({"revision": index / 2 / 5 * 5, "reason": "r"})),
                _ => ("EntryVoided", at, json!({"revision": index - 3, "reason": "r"})),
            }
        };
        (0..300).map(event).collect()
    }

    #[test]
    fn a_prison_of_a_text_is_the_one_that_held_the_case_when_it_was_recorded() {
        let start: DateTime<Utc> = "2026-01-01T09:00:00Z".parse().expect("an instant");
        let mut history = History::new("A1234BC".parse().expect("a number"));
        for (revision, (type_name, day, data)) in (0..).zip(events()) {
            history.push(Entry {
                event_id: EventId(Uuid::from_u128(revision.into())),
                revision,
                position: revision + 1,
                effective_at: start + TimeDelta::days(day),
                recorded_at: start,
                recorded_by: RecordedBy { username: None, client: "tests".to_owned(), auth_source: None },
                command_id: CommandId(Uuid::from_u128(revision.into())),
                event: PrisonerEvent::deserialize_data(type_name, data).expect("an event"),
            });
        }
        let (prisons, of_entries) = (history.prisons_of_texts(), history.prisons_of_entries());
        assert_eq!((prisons.len(), of_entries.len()), (300, 300));
        let mut found = 0;
        for ((entry, prison), of_entry) in history.entries().iter().zip(&prisons).zip(of_entries) {
            let held_at = || history.known_at_position(entry.position - 1).state().prison;
            let (expected, recorded_at) = match &entry.event {
                PrisonerEvent::TierAssigned(tier) => (None, tier.prison.clone()),
                _ => (held_at(), held_at()),
            };
            assert_eq!((prison, of_entry), (&expected, recorded_at), "entry {}", entry.revision);
            found += usize::from(prison.is_some());
        }
        assert!(found > 100, "{found}");
    }
}
