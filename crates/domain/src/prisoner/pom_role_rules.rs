//! The POM roles of a case: the states in which one may begin, go to another POM and end, and the
//! events that end them.
//!
//! The checks look at the case's own history alone, so that they hold for later entries, too, when
//! an entry before them is backdated or voided.

use super::shared_refusals;
use crate::{
    Refusal, Rule,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    prisoner::{
        AllocationMade, Arrangements, CoworkerAllocated, CoworkerDeallocated, CoworkerReallocated, Deallocated,
        DeallocationTrigger, EndPomRole, PomRole, PrisonerEvent, Reallocated, Received, State,
    },
};

/// Whether the person may have come into a prison: while a POM has a role on the case, that POM's
/// prison alone.
pub(super) fn check_reception(number: &PrisonerNumber, state: &State, received: &Received) -> Result<(), Refusal> {
    match state.roles().find(|role| role.prison != received.prison) {
        Some(role) => Err(shared_refusals::other_prison(number, &role.prison, &received.prison)),
        None => Ok(()),
    }
}

/// Whether a primary POM may take the case.
pub(super) fn check_allocation(number: &PrisonerNumber, state: &State, made: &AllocationMade) -> Result<(), Refusal> {
    if state.tier.is_none() {
        return Err(shared_refusals::unknown_tier(number));
    }
    if let Some(role) = &state.primary_pom {
        return Err(Refusal::new(
            Rule::AlreadyAllocated,
            format!(
                "{number} is already allocated to {}. Reallocate the case instead.",
                shared_refusals::describe_holder(role)
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
                shared_refusals::describe_holder(role)
            ),
        ));
    }
    refuse_coworker_as_primary(number, state, made.pom.staff_id)
}

/// Whether the case may go from one primary POM to another.
pub(super) fn check_reallocation(number: &PrisonerNumber, state: &State, moved: &Reallocated) -> Result<(), Refusal> {
    let role = primary(number, state, &moved.prison)?;
    if role.pom.staff_id != moved.pom_before.staff_id {
        return Err(shared_refusals::other_holder(number, role, &format!("staff id {}", moved.pom_before.staff_id)));
    }
    if role.pom.staff_id == moved.pom_after.staff_id {
        return Err(shared_refusals::same_pom(number, role, "primary"));
    }
    refuse_coworker_as_primary(number, state, moved.pom_after.staff_id)
}

/// Whether the primary POM's role may end, or a case without one leave the prison.
pub(super) fn check_deallocation(number: &PrisonerNumber, state: &State, ended: &Deallocated) -> Result<(), Refusal> {
    if state.coworking_pom.is_some() && ended.trigger != DeallocationTrigger::PomInactive {
        return Err(Refusal::new(
            Rule::CoworkerRemains,
            format!("The co-working POM's role on {number} has to end first."),
        ));
    }
    if let (Some(held_at), Some(named)) = (&state.prison, &ended.prison)
        && held_at != named
    {
        return Err(shared_refusals::other_prison(number, held_at, named));
    }
    match (&state.primary_pom, &ended.pom) {
        (Some(role), Some(pom)) if role.pom.staff_id == pom.staff_id => Ok(()),
        (None, None) => refuse_left(number, state, ended.trigger),
        (Some(role), _) => Err(shared_refusals::other_holder(number, role, "the POM named")),
        (None, Some(_)) => Err(shared_refusals::missing_primary_pom(number)),
    }
}

/// Whether a co-working POM may join.
pub(super) fn check_coworker_allocation(
    number: &PrisonerNumber,
    state: &State,
    joined: &CoworkerAllocated,
) -> Result<(), Refusal> {
    primary(number, state, &joined.prison)?;
    if let Some(role) = &state.coworking_pom {
        return Err(Refusal::new(
            Rule::AlreadyAllocated,
            format!("{number} already has a co-working POM, {}.", shared_refusals::describe_holder(role)),
        ));
    }
    refuse_primary_as_coworker(number, state, joined.pom.staff_id)
}

/// Whether one co-working POM may take over from another.
pub(super) fn check_coworker_reallocation(
    number: &PrisonerNumber,
    state: &State,
    moved: &CoworkerReallocated,
) -> Result<(), Refusal> {
    primary(number, state, &moved.prison)?;
    let role = coworker(number, state)?;
    if role.pom.staff_id != moved.pom_before.staff_id {
        return Err(shared_refusals::other_holder(number, role, &format!("staff id {}", moved.pom_before.staff_id)));
    }
    if role.pom.staff_id == moved.pom_after.staff_id {
        return Err(shared_refusals::same_pom(number, role, "co-working"));
    }
    refuse_primary_as_coworker(number, state, moved.pom_after.staff_id)
}

/// Whether the co-working POM's role may end.
pub(super) fn check_coworker_deallocation(
    number: &PrisonerNumber,
    state: &State,
    ended: &CoworkerDeallocated,
) -> Result<(), Refusal> {
    let role = coworker(number, state)?;
    if role.pom.staff_id == ended.pom.staff_id {
        Ok(())
    } else {
        Err(shared_refusals::other_holder(number, role, &format!("staff id {}", ended.pom.staff_id)))
    }
}

/// The primary POM's role, if the case has one at `prison`.
pub(super) fn primary<'a>(
    number: &PrisonerNumber,
    state: &'a State,
    prison: &PrisonCode,
) -> Result<&'a PomRole, Refusal> {
    let role = state.primary_pom.as_ref().ok_or_else(|| shared_refusals::missing_primary_pom(number))?;
    if role.prison == *prison { Ok(role) } else { Err(shared_refusals::other_prison(number, &role.prison, prison)) }
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
                shared_refusals::describe_holder(role)
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
                shared_refusals::describe_holder(role)
            ),
        )),
        _ => Ok(()),
    }
}

/// The ends of both roles, where the case leaves its prison. That of the primary role comes without
/// a primary POM, too, and ends the arrangements, if the trigger does (rule 6).
pub(super) fn end_both_roles(
    state: &State,
    trigger: DeallocationTrigger,
    to_prison: Option<PrisonCode>,
) -> Vec<PrisonerEvent> {
    let mut events = end_coworker(state, trigger);
    events.push(end_primary(state, trigger, to_prison));
    events
}

/// The ends of the roles that POMs hold.
pub(super) fn end_held_roles(state: &State, trigger: DeallocationTrigger) -> Vec<PrisonerEvent> {
    let mut events = end_coworker(state, trigger);
    if state.primary_pom.is_some() {
        events.push(end_primary(state, trigger, None));
    }
    events
}

fn end_primary(state: &State, trigger: DeallocationTrigger, to_prison: Option<PrisonCode>) -> PrisonerEvent {
    PrisonerEvent::Deallocated(Deallocated {
        prison: state.prison.clone(),
        pom: state.primary_pom.as_ref().map(|role| role.pom.clone()),
        trigger,
        to_prison,
    })
}

/// The end of the co-working POM's role, if there is one.
pub(super) fn end_coworker(state: &State, trigger: DeallocationTrigger) -> Vec<PrisonerEvent> {
    let ended = state.coworking_pom.as_ref().map(|role| {
        PrisonerEvent::CoworkerDeallocated(CoworkerDeallocated {
            prison: role.prison.clone(),
            pom: role.pom.clone(),
            trigger,
        })
    });
    ended.into_iter().collect()
}

/// The end of the role of a POM who became inactive (rule 7).
pub(super) fn end_pom_role(
    number: &PrisonerNumber,
    state: &State,
    end: &EndPomRole,
) -> Result<Vec<PrisonerEvent>, Refusal> {
    let held = |role: Option<&PomRole>| {
        role.is_some_and(|role| role.pom.staff_id == end.staff_id && role.prison == end.prison)
    };
    if held(state.primary_pom.as_ref()) {
        Ok(vec![end_primary(state, DeallocationTrigger::PomInactive, None)])
    } else if held(state.coworking_pom.as_ref()) {
        Ok(end_coworker(state, DeallocationTrigger::PomInactive))
    } else {
        Err(Refusal::new(
            Rule::PomNotHolder,
            format!("Staff id {} holds no role on {number} at {} at that time.", end.staff_id, end.prison),
        ))
    }
}
