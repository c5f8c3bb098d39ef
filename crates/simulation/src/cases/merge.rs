//! Second numbers of one person, and their merges.

use domain::prisoner::{Command, PrisonerNumberRetired, merge_of};

use crate::{
    record::recorded_by,
    world::{SimulatedCase, World},
};

use super::{
    CaseStep,
    incidents::{assign_com, assign_tier},
    new_case,
    pom_roles::end_inactive_roles,
    recording::{note_roles, plan},
};

/// Makes a second number for a person.
pub(super) fn duplicate(world: &mut World, case: &SimulatedCase) -> usize {
    world.recorder.wait_a_moment(&mut world.random);
    let (id, mut other) = new_case(world, case.prison, case.sentence.clone());
    other.inside = false;
    assign_tier(world, &mut other, true, None);
    if world.random.percent(40) {
        assign_com(world, &mut other, None);
    }
    if world.random.percent(30) {
        plan(world, id, &other, CaseStep::Allocate, 1, 4);
    }
    world.cases[id] = Some(other);
    id
}

/// Merges the second number (rule 10 in `docs/domain.md`) as the command service does: retires the
/// removed number, then completes the merge on the survivor.
pub(super) fn merge(world: &mut World, id: usize, case: &mut SimulatedCase) {
    let Some(mut removed) = case.duplicate.take().and_then(|id| world.cases[id].take().map(|case| (id, case))) else {
        return;
    };
    let number = removed.1.history.number().clone();
    let target = format!("/prisoners/{}/merges", case.history.number());
    let metadata = world.ask("merge", &target, recorded_by("NOMIS_EVENTS", "prison-events"));
    let retire = Command::Retire(PrisonerNumberRetired { survivor: case.history.number().clone() });
    if world.recorder.on_case(&mut removed.1.history, None, &retire, &metadata).is_err() {
        unreachable!("a merge is not refused for what either case holds");
    }
    note_roles(world, removed.0, &mut removed.1);
    world.recorder.wait_a_moment(&mut world.random);
    let Some(retirement) = removed.1.history.entries().last() else { return };
    let complete = Command::CompleteMerge(Box::new(merge_of(&removed.1.history, retirement.revision)));
    let metadata = metadata.completion(retirement, &number);
    if world.recorder.on_case(&mut case.history, None, &complete, &metadata).is_err() {
        let metadata = metadata.from(None);
        if world.recorder.on_case(&mut case.history, None, &complete, &metadata).is_err() {
            unreachable!("a merge is not refused for what either case holds");
        }
    }
    let state = note_roles(world, id, case);
    // The case moves to the prison of a role that it takes over.
    if let Some(&prison) = state.prison.as_ref().and_then(|code| world.prison_indexes.get(code)) {
        world.prisons[case.prison].population -= 1;
        world.prisons[prison].population += 1;
        case.prison = prison;
    }
    end_inactive_roles(world, id, case, &state);
}
