//! Events during a stay in prison: transfers, tiers, plans, overrides and mistakes.

use chrono::{DateTime, Utc};
use domain::{
    officer::CommunityManager,
    prison::Estate,
    prisoner::{
        Command, Deallocate, DeallocationTrigger, EntryVoided, ResponsibilityOverridden, ResponsibilityOverrideReason,
        ResponsibleService, State, TierAssigned, Transfer,
    },
    tier::{RoshLevel, TierSource},
};

use crate::{
    record::recorded_by,
    sentence::after,
    texts,
    world::{Action, SimulatedCase, World},
};

use super::{
    CaseStep,
    pom_roles::{add_coworker, end_inactive_roles, reallocate},
    recording::{long_before, note_roles, plan, record, shortly_before},
};

/// Draws one of the incidents of a stay in prison.
pub(super) fn draw_incident(world: &mut World, id: usize, case: &mut SimulatedCase) {
    plan(world, id, case, CaseStep::Happen, 60, 340);
    let state = case.history.state();
    match world.random.below(100) {
        0..26 => transfer(world, id, case),
        26..48 => {
            reallocate(world, id, case, &state);
        }
        48..66 => {
            let effective_at = long_before(world, case, 20);
            assign_tier(world, case, false, effective_at);
        }
        66..83 => {
            let today = world.today();
            case.sentence.recalculate(&mut world.random, today);
            if state.primary_pom.is_some() {
                plan_handover(world, id, case);
            }
        }
        83..88 => add_coworker(world, id, case, &state),
        88..92 => override_responsibility(world, id, case),
        92..95 => {
            if state.community_manager.is_some() {
                if world.random.percent(70) {
                    let effective_at = long_before(world, case, 20);
                    assign_com(world, case, effective_at);
                } else {
                    let by = recorded_by("DELIUS_FEED", "community-api");
                    record(world, case, "remove-community-manager", &Command::RemoveCommunityManager, by, None);
                    plan(world, id, case, CaseStep::NameCom, 5, 40);
                }
            }
        }
        95..99 => mistake(world, id, case, &state),
        _ => {
            let by = world.allocator(case.prison);
            let command = Command::Deallocate(Deallocate { trigger: DeallocationTrigger::Manual });
            if record(world, case, "deallocate", &command, by, None) {
                note_roles(world, id, case);
                plan(world, id, case, CaseStep::Allocate, 1, 12);
            }
        }
    }
}

pub(super) fn assign_tier(
    world: &mut World,
    case: &mut SimulatedCase,
    arriving: bool,
    effective_at: Option<DateTime<Utc>>,
) {
    let random = &mut world.random;
    let letter = random.weighted(&[(8, 'A'), (22, 'B'), (32, 'C'), (25, 'D'), (7, 'E'), (4, 'F'), (2, 'G')]);
    let level = random.weighted(&[(10, ""), (25, "0"), (35, "1"), (20, "2"), (10, "3")]);
    let rosh_level = random.weighted(&[
        (5, Some(RoshLevel::VeryHigh)),
        (25, Some(RoshLevel::High)),
        (40, Some(RoshLevel::Medium)),
        (20, Some(RoshLevel::Low)),
        (10, None),
    ]);
    let source = if random.percent(85) { TierSource::Delius } else { TierSource::Manual };
    let crn = (arriving && random.percent(90)).then(|| format!("X{:06}", random.below(1_000_000)));
    let tier = TierAssigned {
        tier: format!("{letter}{level}").parse().expect("a tier by its format"),
        rosh_level,
        source,
        crn: crn.map(|crn| crn.parse().expect("a CRN by its format")),
        prison: arriving.then(|| world.prisons[case.prison].code.clone()),
    };
    let by = match source {
        TierSource::Delius => recorded_by("DELIUS_TIER", "hmpps-tier"),
        TierSource::Manual => world.allocator(case.prison),
    };
    record(world, case, "assign-tier", &Command::AssignTier(tier), by, effective_at);
}

pub(super) fn plan_handover(world: &mut World, id: usize, case: &mut SimulatedCase) {
    let facts = case.sentence.facts(&mut world.random, world.prisons[case.prison].estate);
    let by = recorded_by("SENTENCE_FEED", "manage-poms");
    record(world, case, "plan-handover", &Command::PlanHandover(facts), by, None);
    let today = world.today();
    let state = case.history.state();
    if state.community_manager.is_some() || world.random.percent(8) {
        return;
    }
    match state.arrangements.handover_plan.as_ref().map(|plan| plan.handover_date) {
        Some(Some(handover)) => {
            // Most COMs are named before the handover date, some late.
            let day = after(handover, world.random.between(-60, 12)).max(after(today, world.random.between(1, 10)));
            let at = world.office_hours(day);
            world.plan(at, Action::Case { id, stay: case.stay, step: CaseStep::NameCom });
        }
        _ => plan(world, id, case, CaseStep::NameCom, 3, 30),
    }
}

pub(super) fn name_com(world: &mut World, case: &mut SimulatedCase) {
    if case.history.state().community_manager.is_none() {
        assign_com(world, case, None);
    }
}

pub(super) fn assign_com(world: &mut World, case: &mut SimulatedCase, effective_at: Option<DateTime<Utc>>) {
    let name = texts::name(&mut world.random);
    let (team, ldu) = texts::team(&mut world.random);
    let email = world.random.percent(90).then(|| texts::email(&name, "probation.example"));
    let by = recorded_by("DELIUS_FEED", "community-api");
    let manager = CommunityManager { name, email, team: Some(team), ldu: Some(ldu) };
    record(world, case, "assign-community-manager", &Command::AssignCommunityManager(manager), by, effective_at);
}

fn override_responsibility(world: &mut World, id: usize, case: &mut SimulatedCase) {
    use ResponsibilityOverrideReason as Reason;
    use ResponsibleService::{Prison, Probation};
    let (responsible, reason) = world.random.weighted(&[
        (35, (Probation, Reason::LessThan10MonthsToServe)),
        (25, (Probation, Reason::CommunityTeamToWorkWithOffender)),
        (20, (Prison, Reason::PrisonerHasBeenRecalled)),
        (12, (Prison, Reason::PrisonerMovedToOpenPrison)),
        (8, (Prison, Reason::Other)),
    ]);
    let detail = (reason == Reason::Other).then(|| texts::other_detail(&mut world.random));
    let command = Command::OverrideResponsibility(ResponsibilityOverridden { responsible, reason, detail });
    let by = world.allocator(case.prison);
    record(world, case, "override-responsibility", &command, by, None);
    if world.random.percent(45) {
        plan(world, id, case, CaseStep::RemoveOverride, 20, 150);
    }
}

/// Records an entry that is voided a few days later.
fn mistake(world: &mut World, id: usize, case: &mut SimulatedCase, state: &State) {
    let revision = case.history.entries().len() as u64;
    if !(world.random.percent(70) && reallocate(world, id, case, state)) {
        assign_tier(world, case, false, None);
    }
    // If both commands were refused there is no entry to void.
    if case.history.entries().len() as u64 > revision {
        plan(world, id, case, CaseStep::Void(revision), 1, 6);
    }
}

pub(super) fn void(world: &mut World, id: usize, case: &mut SimulatedCase, revision: u64) {
    let command = Command::Void(EntryVoided { revision, reason: texts::void_reason(&mut world.random).to_owned() });
    let by = world.allocator(case.prison);
    // The rules refuse the void if a later entry rests on the voided one. The entry then stays, as
    // it would in reality.
    if record(world, case, "void", &command, by, None) {
        let state = note_roles(world, id, case);
        end_inactive_roles(world, id, case, &state);
    }
}

fn transfer(world: &mut World, id: usize, case: &mut SimulatedCase) {
    let prisons: Vec<usize> = destinations(world, case.prison).collect();
    if prisons.is_empty() {
        return;
    }
    // Choose the prison with more room of two.
    let room = |world: &World, prison: usize| {
        let prison = &world.prisons[prison];
        prison.capacity.saturating_sub(prison.population) * 1_000 / prison.capacity
    };
    let (one, other) = (*world.random.pick(&prisons), *world.random.pick(&prisons));
    let to = if room(world, one) >= room(world, other) { one } else { other };
    let to_prison = world.prisons[to].code.clone();
    let effective_at = shortly_before(world, case, 20);
    let by = recorded_by("NOMIS_EVENTS", "prison-events");
    if record(world, case, "transfer", &Command::Transfer(Transfer { to_prison }), by, effective_at) {
        world.prisons[case.prison].population -= 1;
        world.prisons[to].population += 1;
        case.prison = to;
        note_roles(world, id, case);
        plan(world, id, case, CaseStep::Allocate, 1, 14);
    }
}

/// The prisons that a person could be moved to: on OMiC, and of the same part of the estate.
pub(super) fn destinations(world: &World, from: usize) -> impl Iterator<Item = usize> {
    let today = world.today();
    let womens = |estate| estate == Estate::Womens;
    let from_womens = womens(world.prisons[from].estate);
    (0..world.prisons.len()).filter(move |&to| {
        let prison = &world.prisons[to];
        to != from && prison.go_live <= today && womens(prison.estate) == from_womens
    })
}
