//! Chooses the POM of a case, and the override reasons where the choice goes against the
//! recommendation.

use chrono::{DateTime, Utc};
use domain::{
    Rule,
    identifier::StaffId,
    officer::{PomKind, PomStatus},
    prisoner::{ChoiceReasons, Command, OfficerRole, OverrideReason, State, responsibility},
};

use crate::{
    record::target,
    texts,
    world::{SimulatedCase, World},
};

/// Picks any POM of a prison, active or not.
pub(crate) fn pick_any_pom(world: &mut World, prison: usize) -> StaffId {
    world.random.pick(&world.prisons[prison].poms).staff_id
}

/// Chooses an active POM without a role on the case, mostly of the recommended kind and with few
/// cases.
pub(crate) fn choose_pom(world: &mut World, case: &SimulatedCase, state: &State) -> Option<StaffId> {
    let now = world.recorder.now();
    let immigration = state.arrangements.handover_plan.as_ref().is_some_and(|plan| plan.facts.immigration_case);
    let community = responsibility(state, now).responsible == Some(OfficerRole::Com);
    let high = state.tier.as_ref().is_some_and(|tier| matches!(tier.tier.letter(), 'A' | 'B'));
    let recommended = if high && !immigration && !community { PomKind::Probation } else { PomKind::Prison };
    let against = world.random.percent(4);
    let poms = &world.prisons[case.prison].poms;
    let free = |&index: &usize| {
        let pom = &poms[index];
        pom.status == PomStatus::Active
            && ![state.primary_staff_id(), state.coworking_staff_id()].contains(&Some(pom.staff_id))
    };
    let free: Vec<usize> = (0..poms.len()).filter(free).collect();
    let of_kind: Vec<usize> =
        free.iter().copied().filter(|&index| (poms[index].kind == recommended) != against).collect();
    let among = if of_kind.is_empty() { free } else { of_kind };
    if among.is_empty() {
        return None;
    }
    let two = [*world.random.pick(&among), *world.random.pick(&among)];
    two.into_iter().min_by_key(|&index| poms[index].cases.len()).map(|index| poms[index].staff_id)
}

/// Records a command that gives the case to a POM. Adds override reasons where the rules ask for
/// them. If the command is refused at the given effective time, tries again with effect from now.
pub(crate) fn give(
    world: &mut World,
    case: &mut SimulatedCase,
    operation: &str,
    effective_at: Option<DateTime<Utc>>,
    command: impl Fn(ChoiceReasons) -> Command,
) -> bool {
    let note = world.random.percent(22).then(|| texts::note(&mut world.random));
    let mut reasons = ChoiceReasons { note, ..ChoiceReasons::default() };
    let by = world.allocator(case.prison);
    let target = target(case.history.number(), operation);
    let mut metadata = world.ask(operation, &target, by).from(effective_at);
    let mut backdated = effective_at.is_some();
    loop {
        let roster = &world.prisons[case.prison].history;
        let command = command(reasons.clone());
        match world.recorder.on_case(&mut case.history, Some(roster), &command, &metadata) {
            Ok(()) => return true,
            Err(refusal) if refusal.rule == Rule::OverrideReasonsNeeded && reasons.override_reasons.is_empty() => {
                reasons = override_reasons(world, reasons);
            }
            Err(_) if backdated => {
                backdated = false;
                metadata = metadata.from(None);
            }
            Err(_) => return false,
        }
    }
}

/// Draws reasons for a choice against the recommendation.
fn override_reasons(world: &mut World, reasons: ChoiceReasons) -> ChoiceReasons {
    use OverrideReason::{Continuity, NoStaff, Other, Suitability};
    let override_reasons = match world.random.below(10) {
        0..4 => vec![NoStaff],
        4..7 => vec![Suitability],
        7 => vec![Continuity],
        8 => vec![Suitability, Continuity],
        _ => vec![Other],
    };
    ChoiceReasons {
        suitability_detail: override_reasons.contains(&Suitability).then(|| texts::suitability(&mut world.random)),
        override_detail: override_reasons.contains(&Other).then(|| texts::other_detail(&mut world.random)),
        override_reasons,
        ..reasons
    }
}
