//! Whether an event may follow a state: the rules that a case's history alone can break.
//!
//! New events are checked with these rules, and so is every later entry when an entry is inserted
//! before it or taken out (rule 8 in `docs/domain.md`). Rules that look at a prison's roster apply
//! when a command is decided and are in `decide.rs`; so is the recommendation of rule 5, since a
//! choice is judged by what was known when it was made.

use crate::{
    Refusal, Rule,
    event::Entry,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    prisoner::{Arrangements, DeallocationTrigger, PomRole, PrisonerEvent, State, refusals},
};

/// Whether `event` may follow `state`.
pub(super) fn check(number: &PrisonerNumber, state: &State, event: &PrisonerEvent) -> Result<(), Refusal> {
    if let Some(survivor) = &state.retired_into {
        return Err(refusals::retired_number(number, survivor));
    }
    match event {
        PrisonerEvent::TierAssigned(_)
        | PrisonerEvent::CommunityManagerAssigned(_)
        | PrisonerEvent::HandoverPlanned(_)
        | PrisonerEvent::ResponsibilityOverridden(_)
        | PrisonerEvent::EntryVoided(_)
        | PrisonerEvent::PrisonerNumberMerged(_) => Ok(()),
        PrisonerEvent::AllocationMade(made) => {
            if state.tier.is_none() {
                return Err(refusals::unknown_tier(number));
            }
            if let Some(role) = &state.primary_pom {
                return Err(Refusal::new(
                    Rule::AlreadyAllocated,
                    format!(
                        "{number} is already allocated to {}. Reallocate the case instead.",
                        refusals::describe_holder(role)
                    ),
                ));
            }
            if let Some(role) = &state.coworking_pom
                && role.prison != made.prison
            {
                return Err(Refusal::new(
                    Rule::CaseAtAnotherPrison,
                    format!(
                        "{number} still has a co-working POM, {}. Record the transfer, or end that role, first.",
                        refusals::describe_holder(role)
                    ),
                ));
            }
            refuse_coworker_as_primary(number, state, made.pom.staff_id)
        }
        PrisonerEvent::Reallocated(moved) => {
            let role = primary(number, state, &moved.prison)?;
            if role.pom.staff_id != moved.pom_before.staff_id {
                return Err(refusals::other_holder(number, role, &format!("staff id {}", moved.pom_before.staff_id)));
            }
            if role.pom.staff_id == moved.pom_after.staff_id {
                return Err(refusals::same_pom(number, role, "primary"));
            }
            refuse_coworker_as_primary(number, state, moved.pom_after.staff_id)
        }
        PrisonerEvent::Deallocated(ended) => {
            if state.coworking_pom.is_some() && ended.trigger != DeallocationTrigger::PomInactive {
                return Err(Refusal::new(
                    Rule::CoworkerRemains,
                    format!("The co-working POM's role on {number} has to end first."),
                ));
            }
            if let (Some(held_at), Some(named)) = (&state.prison, &ended.prison)
                && held_at != named
            {
                return Err(refusals::other_prison(number, held_at, named));
            }
            match (&state.primary_pom, &ended.pom) {
                (Some(role), Some(pom)) if role.pom.staff_id == pom.staff_id => Ok(()),
                (None, None) => refuse_left(number, state, ended.trigger),
                (Some(role), _) => Err(refusals::other_holder(number, role, "the POM named")),
                (None, Some(_)) => Err(refusals::missing_primary_pom(number)),
            }
        }
        PrisonerEvent::CoworkerAllocated(joined) => {
            primary(number, state, &joined.prison)?;
            if let Some(role) = &state.coworking_pom {
                return Err(Refusal::new(
                    Rule::AlreadyAllocated,
                    format!("{number} already has a co-working POM, {}.", refusals::describe_holder(role)),
                ));
            }
            refuse_primary_as_coworker(number, state, joined.pom.staff_id)
        }
        PrisonerEvent::CoworkerReallocated(moved) => {
            primary(number, state, &moved.prison)?;
            let role = coworker(number, state)?;
            if role.pom.staff_id != moved.pom_before.staff_id {
                return Err(refusals::other_holder(number, role, &format!("staff id {}", moved.pom_before.staff_id)));
            }
            if role.pom.staff_id == moved.pom_after.staff_id {
                return Err(refusals::same_pom(number, role, "co-working"));
            }
            refuse_primary_as_coworker(number, state, moved.pom_after.staff_id)
        }
        PrisonerEvent::CoworkerDeallocated(ended) => {
            let role = coworker(number, state)?;
            if role.pom.staff_id == ended.pom.staff_id {
                Ok(())
            } else {
                Err(refusals::other_holder(number, role, &format!("staff id {}", ended.pom.staff_id)))
            }
        }
        PrisonerEvent::CommunityManagerRemoved(manager) => match &state.community_manager {
            Some(role) if role.manager == *manager => Ok(()),
            _ => Err(refusals::missing_community_manager(number)),
        },
        PrisonerEvent::ResponsibilityOverrideRemoved(removed) => match &state.arrangements.responsibility_override {
            Some(decision)
                if decision.responsible == removed.responsible
                    && decision.reason == removed.reason
                    && decision.detail == removed.detail =>
            {
                Ok(())
            }
            _ => Err(refusals::missing_override(number)),
        },
        PrisonerEvent::PrisonerNumberRetired(retired) => {
            if retired.survivor == *number {
                return Err(refusals::refuse_self_merge(number));
            }
            if state.primary_pom.is_some() || state.coworking_pom.is_some() {
                return Err(Refusal::new(
                    Rule::RolesRemain,
                    format!("The POM roles on {number} have to end before the number is retired."),
                ));
            }
            Ok(())
        }
    }
}

/// Whether `entries`, in effective order, may follow `state` one after the other; the first that
/// may not is named.
pub(super) fn check_later<'a>(
    number: &PrisonerNumber,
    mut state: State,
    entries: impl IntoIterator<Item = &'a Entry<PrisonerEvent>>,
) -> Result<(), Refusal> {
    for entry in entries {
        if let Err(refusal) = check(number, &state, &entry.event) {
            return Err(refusals::later_entry_conflict(entry, &refusal));
        }
        state.apply(entry);
    }
    Ok(())
}

/// The primary POM's role, if the case has one at `prison`.
pub(super) fn primary<'a>(
    number: &PrisonerNumber,
    state: &'a State,
    prison: &PrisonCode,
) -> Result<&'a PomRole, Refusal> {
    let role = state.primary_pom.as_ref().ok_or_else(|| refusals::missing_primary_pom(number))?;
    if role.prison == *prison { Ok(role) } else { Err(refusals::other_prison(number, &role.prison, prison)) }
}

/// The co-working POM's role, if the case has one.
pub(super) fn coworker<'a>(number: &PrisonerNumber, state: &'a State) -> Result<&'a PomRole, Refusal> {
    state
        .coworking_pom
        .as_ref()
        .ok_or_else(|| Refusal::new(Rule::NoCoworker, format!("{number} has no co-working POM at that time.")))
}

/// Refuses to end a case twice: a release after a release, with nothing arranged since.
fn refuse_left(number: &PrisonerNumber, state: &State, trigger: DeallocationTrigger) -> Result<(), Refusal> {
    let leaves = matches!(trigger, DeallocationTrigger::Released | DeallocationTrigger::LegalStatusChanged);
    let nothing_since = state.arrangements == Arrangements::default();
    if leaves && state.left_at.is_some() && nothing_since {
        return Err(Refusal::new(
            Rule::NothingChanged,
            format!("{number} is already released, or out of the scope of offender management, at that time."),
        ));
    }
    Ok(())
}

fn refuse_coworker_as_primary(number: &PrisonerNumber, state: &State, staff_id: StaffId) -> Result<(), Refusal> {
    match &state.coworking_pom {
        Some(role) if role.pom.staff_id == staff_id => Err(Refusal::new(
            Rule::PomIsCoworker,
            format!(
                "{} is the co-working POM of {number}; the primary POM has to be somebody else. End the co-working role first.",
                refusals::describe_holder(role)
            ),
        )),
        _ => Ok(()),
    }
}

fn refuse_primary_as_coworker(number: &PrisonerNumber, state: &State, staff_id: StaffId) -> Result<(), Refusal> {
    match &state.primary_pom {
        Some(role) if role.pom.staff_id == staff_id => Err(Refusal::new(
            Rule::PomIsPrimary,
            format!(
                "{} is the primary POM of {number}; the co-working POM has to be somebody else.",
                refusals::describe_holder(role)
            ),
        )),
        _ => Ok(()),
    }
}
