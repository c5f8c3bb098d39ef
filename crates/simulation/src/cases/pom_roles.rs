//! The roles of POMs on a case: allocations, and the ends that rule 7 of `docs/domain.md` asks for.

use domain::{
    officer::PomStatus,
    prisoner::{Allocate, AllocateCoworker, Command, EndPomRole, PomRole, Reallocate, State},
};

use crate::{
    choice::{choose_pom, give},
    record::CommandMetadata,
    texts,
    world::{SimulatedCase, World},
};

use super::{
    CaseStep,
    recording::{note_roles, plan, record, shortly_before},
};

pub(super) fn allocate(world: &mut World, id: usize, case: &mut SimulatedCase) {
    let state = case.history.state();
    if state.primary_pom.is_some() {
        return;
    }
    let Some(staff_id) = choose_pom(world, case, &state) else {
        return plan(world, id, case, CaseStep::Allocate, 2, 5);
    };
    let prison = world.prisons[case.prison].code.clone();
    let effective_at = shortly_before(world, case, 15);
    let recorded = give(world, case, "allocate", effective_at, |reasons| {
        Command::Allocate(Allocate { prison: prison.clone(), staff_id, reasons })
    });
    if !recorded {
        return plan(world, id, case, CaseStep::Allocate, 2, 5);
    }
    note_roles(world, id, case);
    if state.arrangements.handover_plan.is_none() {
        plan(world, id, case, CaseStep::PlanHandover, 1, 15);
    }
}

pub(super) fn reallocate(world: &mut World, id: usize, case: &mut SimulatedCase, state: &State) -> bool {
    let Some(holder) = state.primary_staff_id() else { return false };
    let Some(staff_id) = choose_pom(world, case, state) else { return false };
    let prison = world.prisons[case.prison].code.clone();
    let effective_at = shortly_before(world, case, 15);
    let reason = texts::reallocation_reason(&mut world.random);
    let recorded = give(world, case, "reallocate", effective_at, |reasons| {
        Command::Reallocate(Reallocate {
            prison: prison.clone(),
            staff_id,
            expected_holder: Some(holder),
            reason: reason.clone(),
            reasons,
        })
    });
    note_roles(world, id, case);
    recorded
}

pub(super) fn add_coworker(world: &mut World, id: usize, case: &mut SimulatedCase, state: &State) {
    if state.primary_pom.is_none() {
        return;
    }
    let Some(staff_id) = choose_pom(world, case, state) else { return };
    let prison = world.prisons[case.prison].code.clone();
    let by = world.allocator(case.prison);
    let command = Command::AllocateCoworker(AllocateCoworker { prison, staff_id });
    record(world, case, "allocate-co-worker", &command, by, None);
    note_roles(world, id, case);
    if world.random.percent(50) {
        plan(world, id, case, CaseStep::RemoveCoworker, 20, 200);
    }
}

/// Ends the roles of inactive POMs on a case (rule 7 in `docs/domain.md`), as the policy of the
/// command service does.
pub(crate) fn end_roles_of_inactive_pom(world: &mut World, id: usize) {
    let Some(mut case) = world.cases[id].take() else { return };
    let state = case.history.state();
    end_inactive_roles(world, id, &mut case, &state);
    world.cases[id] = Some(case);
}

/// Ends the roles of inactive POMs, and plans a new allocation of the case.
pub(super) fn end_inactive_roles(world: &mut World, id: usize, case: &mut SimulatedCase, state: &State) {
    for role in state.roles() {
        let Some(&prison) = world.prison_indexes.get(&role.prison) else { continue };
        let roster = &world.prisons[prison].history;
        let staff_id = role.pom.staff_id;
        let Some(pom) = roster.roster().poms.get(&staff_id).filter(|pom| pom.status == PomStatus::Inactive) else {
            continue;
        };
        let (since, cause) =
            (pom.status_since.max(case.history.held_here_since(role)), cause(case, role, roster, pom.status_event));
        let metadata = CommandMetadata::by_inactive_pom(cause, since, case.history.number(), &role.prison, staff_id);
        let command = Command::EndPomRole(EndPomRole { prison: role.prison.clone(), staff_id });
        world.recorder.wait_a_moment(&mut world.random);
        if world.recorder.on_case(&mut case.history, None, &command, &metadata).is_err() {
            let metadata = metadata.from(None);
            if world.recorder.on_case(&mut case.history, None, &command, &metadata).is_err() {
                unreachable!("the role is held");
            }
        }
        plan(world, id, case, CaseStep::Allocate, 1, 10);
    }
    note_roles(world, id, case);
}

/// The event that makes the end of a role due, as the command service's policy sees it: the event
/// that made the POM inactive or, if it came later, the event that gave the role.
fn cause(
    case: &SimulatedCase,
    role: &PomRole,
    roster: &domain::prison::History,
    status_event: domain::identifier::EventId,
) -> domain::identifier::EventId {
    let position = roster.entries().iter().rev().find(|entry| entry.event_id == status_event);
    case.history
        .origins_of(role)
        .of_role
        .filter(|entry| Some(entry.position) > position.map(|entry| entry.position))
        .map_or(status_event, |entry| entry.event_id)
}
