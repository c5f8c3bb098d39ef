//! "The same fact again" in `docs/domain.md`: a case has already what a command would record.

use chrono::{DateTime, Utc};

use crate::prisoner::{HandoverPlanned, History, PrisonerEvent, State};

/// Finds the same fact: the revision of the entry by which the case has already, at `at`, what an
/// event would say from then on ("The same fact again" in `docs/domain.md`). Every member of their
/// data is equal, but for the day on which a plan was calculated. `None` where the event says
/// something new, or is not a reception, a tier, a CRN, a COM, a plan or an override.
///
/// A tier that names a prison says something new where the case is no longer there.
#[must_use]
pub fn find_same_fact(history: &History, event: &PrisonerEvent, at: DateTime<Utc>) -> Option<u64> {
    let in_effect = history.in_effective_order();
    let earlier = &in_effect[..in_effect.partition_point(|entry| entry.effective_at <= at)];
    let mut state = State::default();
    let mut held_by = None;
    for entry in earlier {
        let was_held = is_held(&state, event);
        state.apply(entry);
        held_by = match (was_held, is_held(&state, event)) {
            (_, false) => None,
            (true, true) if entry.event.event_type() != event.event_type() => held_by,
            (_, true) => Some(entry.revision),
        };
    }
    if let PrisonerEvent::CommunityManagerAssigned(manager) = event
        && manager.is_vacancy()
        && state.community_manager.is_none()
    {
        let is_about_com = |event: &PrisonerEvent| {
            matches!(event, PrisonerEvent::CommunityManagerAssigned(_) | PrisonerEvent::CommunityManagerRemoved(_))
        };
        let last = earlier.iter().rev().find(|entry| is_about_com(&entry.event))?;
        return (last.event == *event).then_some(last.revision);
    }
    let mut after = state.clone();
    after.apply_event(event, at, u64::MAX);
    let stays = after.prison == state.prison && after.waiting == state.waiting && after.left_at == state.left_at;
    held_by.filter(|_| stays)
}

/// Whether a state has what an event says.
fn is_held(state: &State, event: &PrisonerEvent) -> bool {
    match event {
        PrisonerEvent::Received(received) => state.is_received(received),
        PrisonerEvent::TierAssigned(tier) => state.tier.as_ref() == Some(tier),
        PrisonerEvent::CrnRecorded(recorded) => state.crn.as_ref() == Some(&recorded.crn),
        PrisonerEvent::CommunityManagerAssigned(manager) => {
            state.community_manager.as_ref().is_some_and(|role| role.manager == *manager)
        }
        PrisonerEvent::HandoverPlanned(plan) => {
            let held = state.arrangements.handover_plan.as_ref();
            held.is_some_and(|held| without_calculation_day(held) == without_calculation_day(plan))
        }
        PrisonerEvent::ResponsibilityOverridden(decision) => {
            state.arrangements.responsibility_override.as_ref() == Some(decision)
        }
        PrisonerEvent::AllocationMade(_)
        | PrisonerEvent::Reallocated(_)
        | PrisonerEvent::Deallocated(_)
        | PrisonerEvent::CoworkerAllocated(_)
        | PrisonerEvent::CoworkerReallocated(_)
        | PrisonerEvent::CoworkerDeallocated(_)
        | PrisonerEvent::CommunityManagerRemoved(_)
        | PrisonerEvent::ResponsibilityOverrideRemoved(_)
        | PrisonerEvent::EntryVoided(_)
        | PrisonerEvent::PrisonerNumberMerged(_)
        | PrisonerEvent::PrisonerNumberRetired(_) => false,
    }
}

/// A plan without the day on which it was calculated.
fn without_calculation_day(plan: &HandoverPlanned) -> HandoverPlanned {
    let mut plan = plan.clone();
    plan.facts.calculated_on = None;
    plan
}
