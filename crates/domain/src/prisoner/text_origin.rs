//! The prison that wrote the free texts of an entry, for which such a text is no secret.

use crate::{
    event::Entry,
    identifier::PrisonCode,
    prisoner::{History, PrisonerEvent, ResponsibilityOverridden},
};

impl PrisonerEvent {
    /// The prison that wrote the free texts of the event, as far as its own data says so.
    #[must_use]
    pub fn prison_of_text(&self) -> Option<&PrisonCode> {
        match self {
            Self::AllocationMade(made) => Some(&made.prison),
            Self::Reallocated(moved) => Some(&moved.prison),
            Self::TierAssigned(_)
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
            Self::TierAssigned(_)
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
    /// The prison that wrote the free texts of an entry: the one that the event names, or else the
    /// one that held the case when the entry was recorded. `None` where no prison did, and for a
    /// text that the event repeats ([`PrisonerEvent::repeated_override`]).
    #[must_use]
    pub fn prison_of_text(&self, entry: &Entry<PrisonerEvent>) -> Option<PrisonCode> {
        match &entry.event {
            PrisonerEvent::ResponsibilityOverridden(_) | PrisonerEvent::EntryVoided(_) => {
                self.known_at_position(entry.position.checked_sub(1)?).state().prison
            }
            event => event.prison_of_text().cloned(),
        }
    }

    /// The overrides with a detail that were ever recorded, voided ones included, each with the
    /// prison that wrote it.
    pub fn detailed_overrides(&self) -> impl Iterator<Item = (&ResponsibilityOverridden, Option<PrisonCode>)> {
        self.entries().iter().filter_map(|entry| match &entry.event {
            PrisonerEvent::ResponsibilityOverridden(decision) if decision.detail.is_some() => {
                Some((decision, self.prison_of_text(entry)))
            }
            _ => None,
        })
    }
}
