//! Recording commands on a case, and choosing when they take effect.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    event::RecordedBy,
    prisoner::{Command, State},
};

use crate::{
    record::target,
    world::{Action, SimulatedCase, World},
};

use super::CaseStep;

/// Records a command. If it is refused at the given effective time, tries again with effect from
/// now. Answers whether it was recorded.
pub(super) fn record(
    world: &mut World,
    case: &mut SimulatedCase,
    operation: &str,
    command: &Command,
    by: RecordedBy,
    effective_at: Option<DateTime<Utc>>,
) -> bool {
    let target = target(case.history.number(), operation);
    let metadata = world.ask(operation, &target, by).from(effective_at);
    let roster = &world.prisons[case.prison].history;
    world.recorder.on_case(&mut case.history, Some(roster), command, &metadata).is_ok()
        || effective_at.is_some()
            && world.recorder.on_case(&mut case.history, Some(roster), command, &metadata.from(None)).is_ok()
}

/// Notes which POMs have a role on the case now.
pub(super) fn note_roles(world: &mut World, id: usize, case: &mut SimulatedCase) -> State {
    let state = case.history.state();
    let roles: Vec<(usize, usize)> = [&state.primary_pom, &state.coworking_pom]
        .into_iter()
        .flatten()
        .filter_map(|role| {
            let prison = *world.prison_indexes.get(&role.prison)?;
            Some((prison, *world.prisons[prison].pom_indexes.get(&role.pom.staff_id)?))
        })
        .collect();
    for &(prison, pom) in &case.roles {
        world.prisons[prison].poms[pom].cases.remove(&id);
    }
    for &(prison, pom) in &roles {
        world.prisons[prison].poms[pom].cases.insert(id);
    }
    case.roles = roles;
    state
}

pub(super) fn plan(world: &mut World, id: usize, case: &SimulatedCase, step: CaseStep, from: i64, to: i64) {
    let at = world.in_days(from, to);
    world.plan(at, Action::Case { id, stay: case.stay, step });
}

/// Mostly none, which means now; otherwise an instant some hours or days ago, after everything that
/// is recorded of the case.
pub(super) fn shortly_before(world: &mut World, case: &SimulatedCase, percent: usize) -> Option<DateTime<Utc>> {
    if !world.random.percent(percent) {
        return None;
    }
    let last = case.history.entries().iter().map(|entry| entry.effective_at).max()?;
    let at = world.recorder.now() - TimeDelta::minutes(world.random.between(30, 4_000));
    Some(at).filter(|&at| at > last)
}

/// Mostly none, which means now; otherwise an instant some days or weeks ago, after the first entry
/// of the case.
pub(super) fn long_before(world: &mut World, case: &SimulatedCase, percent: usize) -> Option<DateTime<Utc>> {
    if !world.random.percent(percent) {
        return None;
    }
    let first = case.history.entries().first()?.effective_at;
    let at = world.recorder.now() - TimeDelta::minutes(world.random.between(1_000, 60_000));
    Some(at).filter(|&at| at > first)
}
