//! Cases: from reception to release, and back.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    event::RecordedBy,
    officer::{CommunityManager, PomStatus},
    prison::{ContactSeen, Estate},
    prisoner::{
        self, Allocate, AllocateCoworker, Command, Deallocate, DeallocationTrigger, EndPomRole, EntryVoided, PomRole,
        PrisonerNumberRetired, Reallocate, Release, ResponsibilityOverridden, ResponsibilityOverrideReason,
        ResponsibleService, State, TierAssigned, Transfer, merge_of,
    },
    tier::{RoshLevel, TierSource},
};

use crate::{
    choice::{choose_pom, give, pick_any_pom},
    record::{Asked, recorded_by, target},
    roster,
    sentence::{Sentence, after},
    texts,
    world::{Action, Case, World},
};

/// Of a hundred people who leave, those who come back under the same number.
const RETURNS_PERCENT: usize = 30;

/// What happens to a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The case goes to a POM, if it has none.
    Allocate,
    /// The handover dates are worked out.
    PlanHandover,
    /// A COM is named, if there is none.
    NameCom,
    /// Something, as chance will have it.
    Happen,
    /// The entry at this revision turns out to be an error.
    Void(u64),
    /// The override of responsibility ends.
    RemoveOverride,
    /// The co-working POM has done what there was to do.
    RemoveCoworker,
    /// The person's other number is merged into this one.
    Merge,
    /// The person leaves.
    Leave,
    /// The person comes back.
    Return,
}

/// Somebody who was there before the prison joined OMiC comes to be known, waiting for it to go live.
pub(crate) fn resident(world: &mut World, prison: usize) {
    let sentence = Sentence::of_resident(&mut world.random, world.prisons[prison].go_live);
    let (id, mut case) = new_case(world, prison, sentence);
    if world.random.percent(15) {
        let named = world.random.percent(60);
        let seen = ContactSeen {
            prisoner_number: case.history.number().clone(),
            staff_id: (!named || world.random.percent(50)).then(|| pick_any_pom(world, prison)),
            name: named.then(|| texts::name(&mut world.random).to_uppercase()),
            contact_type: "POM".to_owned(),
        };
        roster::contact_found(world, prison, seen);
    }
    arrive(world, id, &mut case);
    world.cases[id] = Some(case);
}

/// Somebody comes from court.
pub(crate) fn reception(world: &mut World, prison: usize) {
    let today = world.today();
    let sentence = Sentence::of_reception(&mut world.random, today);
    let (id, mut case) = new_case(world, prison, sentence);
    arrive(world, id, &mut case);
    if world.random.below(1_000) < 6 {
        case.duplicate = Some(duplicate(world, &case));
        plan(world, id, &case, Step::Merge, 4, 60);
    }
    world.cases[id] = Some(case);
}

/// What is due on a case, unless it was planned in an earlier stay.
pub(crate) fn step(world: &mut World, id: usize, stay: u32, step: Step) {
    let Some(mut case) = world.cases[id].take() else { return };
    let mut goes_on = true;
    if case.stay == stay {
        match step {
            Step::Allocate => allocate(world, id, &mut case),
            Step::PlanHandover => plan_handover(world, id, &mut case),
            Step::NameCom => name_com(world, &mut case),
            Step::Happen => happen(world, id, &mut case),
            Step::Void(revision) => void(world, id, &mut case, revision),
            Step::RemoveOverride => {
                let by = world.allocator(case.prison);
                record(world, &mut case, "remove-override", &Command::RemoveResponsibilityOverride, by, None);
            }
            Step::RemoveCoworker => {
                let by = world.allocator(case.prison);
                record(world, &mut case, "remove-co-worker", &Command::RemoveCoworker, by, None);
                note_roles(world, id, &mut case);
            }
            Step::Merge => merge(world, id, &mut case),
            Step::Leave => goes_on = leave(world, id, &mut case),
            Step::Return => come_back(world, id, &mut case),
        }
    }
    if goes_on {
        world.cases[id] = Some(case);
    }
}

/// Rule 7, as the policy of the command side discharges it.
pub(crate) fn end_roles_of_inactive_pom(world: &mut World, id: usize) {
    let Some(mut case) = world.cases[id].take() else { return };
    let state = case.history.state();
    end_inactive_roles(world, id, &mut case, &state);
    world.cases[id] = Some(case);
}

fn new_case(world: &mut World, prison: usize, sentence: Sentence) -> (usize, Box<Case>) {
    let history = prisoner::History::new(world.number());
    world.cases.push(None);
    let case = Case { history, prison, stay: 1, sentence, roles: Vec::new(), duplicate: None, inside: true };
    (world.cases.len() - 1, Box::new(case))
}

/// The person is there: the case gets a tier, and the rest of the stay is planned.
fn arrive(world: &mut World, id: usize, case: &mut Case) {
    assign_tier(world, case, true, None);
    let today = world.today();
    let (go_live, release) = (world.prisons[case.prison].go_live, case.sentence.release());
    if go_live > today {
        let day = after(go_live, world.random.between(0, 40));
        let at = world.office_hours(day);
        world.plan(at, Action::Case { id, stay: case.stay, step: Step::Allocate });
    } else {
        plan(world, id, case, Step::Allocate, 1, 9);
    }
    let leaves_on = release.max(after(today, world.random.between(15, 40)));
    let at = world.office_hours(leaves_on);
    world.plan(at, Action::Case { id, stay: case.stay, step: Step::Leave });
    plan(world, id, case, Step::Happen, 20, 330);
}

fn come_back(world: &mut World, id: usize, case: &mut Case) {
    let today = world.today();
    case.inside = true;
    case.sentence = Sentence::of_return(&mut world.random, today);
    let prisons: Vec<usize> =
        destinations(world, case.prison).filter(|&prison| world.prisons[prison].estate != Estate::MensOpen).collect();
    if !prisons.is_empty() && (world.prisons[case.prison].estate == Estate::MensOpen || world.random.percent(60)) {
        case.prison = *world.random.pick(&prisons);
    }
    world.prisons[case.prison].population += 1;
    arrive(world, id, case);
}

fn assign_tier(world: &mut World, case: &mut Case, arriving: bool, effective_at: Option<DateTime<Utc>>) {
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

fn allocate(world: &mut World, id: usize, case: &mut Case) {
    let state = case.history.state();
    if state.primary_pom.is_some() {
        return;
    }
    let Some(staff_id) = choose_pom(world, case, &state) else {
        return plan(world, id, case, Step::Allocate, 2, 5);
    };
    let prison = world.prisons[case.prison].code.clone();
    let effective_at = shortly_before(world, case, 15);
    let recorded = give(world, case, "allocate", effective_at, |reasons| {
        Command::Allocate(Allocate { prison: prison.clone(), staff_id, reasons })
    });
    if !recorded {
        return plan(world, id, case, Step::Allocate, 2, 5);
    }
    note_roles(world, id, case);
    if state.arrangements.handover_plan.is_none() {
        plan(world, id, case, Step::PlanHandover, 1, 15);
    }
}

fn reallocate(world: &mut World, id: usize, case: &mut Case, state: &State) -> bool {
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

fn add_coworker(world: &mut World, id: usize, case: &mut Case, state: &State) {
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
        plan(world, id, case, Step::RemoveCoworker, 20, 200);
    }
}

fn plan_handover(world: &mut World, id: usize, case: &mut Case) {
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
            // Most are named before the day; some late.
            let day = after(handover, world.random.between(-60, 12)).max(after(today, world.random.between(1, 10)));
            let at = world.office_hours(day);
            world.plan(at, Action::Case { id, stay: case.stay, step: Step::NameCom });
        }
        _ => plan(world, id, case, Step::NameCom, 3, 30),
    }
}

fn name_com(world: &mut World, case: &mut Case) {
    if case.history.state().community_manager.is_none() {
        assign_com(world, case, None);
    }
}

fn assign_com(world: &mut World, case: &mut Case, effective_at: Option<DateTime<Utc>>) {
    let name = texts::name(&mut world.random);
    let (team, ldu) = texts::team(&mut world.random);
    let email = world.random.percent(90).then(|| texts::email(&name, "probation.example"));
    let by = recorded_by("DELIUS_FEED", "community-api");
    let manager = CommunityManager { name, email, team: Some(team), ldu: Some(ldu) };
    record(world, case, "assign-community-manager", &Command::AssignCommunityManager(manager), by, effective_at);
}

/// One of the things that happen while somebody is in prison.
fn happen(world: &mut World, id: usize, case: &mut Case) {
    plan(world, id, case, Step::Happen, 60, 340);
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
                    plan(world, id, case, Step::NameCom, 5, 40);
                }
            }
        }
        95..99 => mistake(world, id, case, &state),
        _ => {
            let by = world.allocator(case.prison);
            let command = Command::Deallocate(Deallocate { trigger: DeallocationTrigger::Manual });
            if record(world, case, "deallocate", &command, by, None) {
                note_roles(world, id, case);
                plan(world, id, case, Step::Allocate, 1, 12);
            }
        }
    }
}

fn override_responsibility(world: &mut World, id: usize, case: &mut Case) {
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
        plan(world, id, case, Step::RemoveOverride, 20, 150);
    }
}

/// Something is recorded that will be voided in a few days.
fn mistake(world: &mut World, id: usize, case: &mut Case, state: &State) {
    let revision = case.history.entries().len() as u64;
    if !(world.random.percent(70) && reallocate(world, id, case, state)) {
        assign_tier(world, case, false, None);
    }
    // Where both were refused there is nothing to take back.
    if case.history.entries().len() as u64 > revision {
        plan(world, id, case, Step::Void(revision), 1, 6);
    }
}

fn void(world: &mut World, id: usize, case: &mut Case, revision: u64) {
    let command = Command::Void(EntryVoided { revision, reason: texts::void_reason(&mut world.random).to_owned() });
    let by = world.allocator(case.prison);
    // Refused where something has been recorded since that rests on the entry; then it stands, as it would.
    if record(world, case, "void", &command, by, None) {
        let state = note_roles(world, id, case);
        end_inactive_roles(world, id, case, &state);
    }
}

fn transfer(world: &mut World, id: usize, case: &mut Case) {
    let prisons: Vec<usize> = destinations(world, case.prison).collect();
    if prisons.is_empty() {
        return;
    }
    // Of two, the one with more room.
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
        plan(world, id, case, Step::Allocate, 1, 14);
    }
}

/// Whether anything can happen to the case any more.
fn leave(world: &mut World, id: usize, case: &mut Case) -> bool {
    if case.duplicate.is_some() {
        merge(world, id, case);
    }
    let effective_at = shortly_before(world, case, 25);
    let by = recorded_by("NOMIS_EVENTS", "prison-events");
    let recorded = if world.random.percent(84) {
        let prison = world.random.percent(70).then(|| world.prisons[case.prison].code.clone());
        record(world, case, "release", &Command::Release(Release { prison }), by, effective_at)
    } else {
        let command = Command::Deallocate(Deallocate { trigger: DeallocationTrigger::LegalStatusChanged });
        record(world, case, "deallocate", &command, by, effective_at)
    };
    if !recorded {
        plan(world, id, case, Step::Leave, 2, 5);
        return true;
    }
    note_roles(world, id, case);
    world.prisons[case.prison].population -= 1;
    case.inside = false;
    case.stay += 1;
    if !world.random.percent(RETURNS_PERCENT) {
        return false;
    }
    let at = world.in_days(25, 800);
    world.plan(at, Action::Case { id, stay: case.stay, step: Step::Return })
}

/// Another number for somebody who has one.
fn duplicate(world: &mut World, case: &Case) -> usize {
    world.recorder.wait_a_moment(&mut world.random);
    let (id, mut other) = new_case(world, case.prison, case.sentence.clone());
    other.inside = false;
    assign_tier(world, &mut other, true, None);
    if world.random.percent(40) {
        assign_com(world, &mut other, None);
    }
    if world.random.percent(30) {
        plan(world, id, &other, Step::Allocate, 1, 4);
    }
    world.cases[id] = Some(other);
    id
}

/// Rule 10, as the command side does it: the removed number is retired, then the survivor takes over what it held.
fn merge(world: &mut World, id: usize, case: &mut Case) {
    let Some(mut removed) = case.duplicate.take().and_then(|id| world.cases[id].take().map(|case| (id, case))) else {
        return;
    };
    let number = removed.1.history.number().clone();
    let target = format!("/prisoners/{}/merges", case.history.number());
    let asked = world.ask("merge", &target, recorded_by("NOMIS_EVENTS", "prison-events"));
    let retire = Command::Retire(PrisonerNumberRetired { survivor: case.history.number().clone() });
    if world.recorder.on_case(&mut removed.1.history, None, &retire, &asked).is_err() {
        unreachable!("a merge is not refused for what either case holds");
    }
    note_roles(world, removed.0, &mut removed.1);
    world.recorder.wait_a_moment(&mut world.random);
    let Some(retirement) = removed.1.history.entries().last() else { return };
    let complete = Command::CompleteMerge(Box::new(merge_of(&removed.1.history, retirement.revision)));
    let asked = asked.completion(retirement, &number);
    if world.recorder.on_case(&mut case.history, None, &complete, &asked).is_err() {
        let asked = asked.from(None);
        if world.recorder.on_case(&mut case.history, None, &complete, &asked).is_err() {
            unreachable!("a merge is not refused for what either case holds");
        }
    }
    let state = note_roles(world, id, case);
    // A role that is taken over takes the case to where it is held.
    if let Some(&prison) = state.prison.as_ref().and_then(|code| world.prison_indexes.get(code)) {
        world.prisons[case.prison].population -= 1;
        world.prisons[prison].population += 1;
        case.prison = prison;
    }
    end_inactive_roles(world, id, case, &state);
}

/// Ends the roles of POMs who are inactive, and has the case allocated again.
fn end_inactive_roles(world: &mut World, id: usize, case: &mut Case, state: &State) {
    for role in [&state.primary_pom, &state.coworking_pom].into_iter().flatten() {
        let Some(&prison) = world.prison_indexes.get(&role.prison) else { continue };
        let roster = &world.prisons[prison].history;
        let staff_id = role.pom.staff_id;
        let Some(pom) = roster.roster().poms.get(&staff_id).filter(|pom| pom.status == PomStatus::Inactive) else {
            continue;
        };
        let (since, cause) = (pom.status_since.max(role.since), cause(case, role, roster, pom.status_event));
        let asked = Asked::by_inactive_pom(cause, since, case.history.number(), &role.prison, staff_id);
        let command = Command::EndPomRole(EndPomRole { prison: role.prison.clone(), staff_id });
        world.recorder.wait_a_moment(&mut world.random);
        if world.recorder.on_case(&mut case.history, None, &command, &asked).is_err() {
            let asked = asked.from(None);
            if world.recorder.on_case(&mut case.history, None, &command, &asked).is_err() {
                unreachable!("the role is held");
            }
        }
        plan(world, id, case, Step::Allocate, 1, 10);
    }
    note_roles(world, id, case);
}

/// What makes the end of a role due, as the command side's policy sees it: what made the POM inactive, or, if that was
/// later, what gave the role.
fn cause(
    case: &Case,
    role: &PomRole,
    roster: &domain::prison::History,
    status_event: domain::identifier::EventId,
) -> domain::identifier::EventId {
    let position = roster.entries().iter().rev().find(|entry| entry.event_id == status_event);
    case.history
        .origin_of(role)
        .filter(|entry| Some(entry.position) > position.map(|entry| entry.position))
        .map_or(status_event, |entry| entry.event_id)
}

/// Prisons that somebody could be moved to: on OMiC, and of the same part of the estate.
fn destinations(world: &World, from: usize) -> impl Iterator<Item = usize> {
    let today = world.today();
    let womens = |estate| estate == Estate::Womens;
    let from_womens = womens(world.prisons[from].estate);
    (0..world.prisons.len()).filter(move |&to| {
        let prison = &world.prisons[to];
        to != from && prison.go_live <= today && womens(prison.estate) == from_womens
    })
}

/// Records a command, from now where it cannot hold from the time given. Whether it was recorded.
fn record(
    world: &mut World,
    case: &mut Case,
    operation: &str,
    command: &Command,
    by: RecordedBy,
    effective_at: Option<DateTime<Utc>>,
) -> bool {
    let target = target(case.history.number(), operation);
    let asked = world.ask(operation, &target, by).from(effective_at);
    let roster = &world.prisons[case.prison].history;
    world.recorder.on_case(&mut case.history, Some(roster), command, &asked).is_ok()
        || effective_at.is_some()
            && world.recorder.on_case(&mut case.history, Some(roster), command, &asked.from(None)).is_ok()
}

/// Puts down which POMs have a role on the case now.
fn note_roles(world: &mut World, id: usize, case: &mut Case) -> State {
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

fn plan(world: &mut World, id: usize, case: &Case, step: Step, from: i64, to: i64) {
    let at = world.in_days(from, to);
    world.plan(at, Action::Case { id, stay: case.stay, step });
}

/// Some hours or days ago, but behind everything that is recorded of the case: mostly now.
fn shortly_before(world: &mut World, case: &Case, percent: usize) -> Option<DateTime<Utc>> {
    if !world.random.percent(percent) {
        return None;
    }
    let last = case.history.entries().iter().map(|entry| entry.effective_at).max()?;
    let at = world.recorder.now() - TimeDelta::minutes(world.random.between(30, 4_000));
    Some(at).filter(|&at| at > last)
}

/// Some days or weeks ago, whatever was recorded since the case came to be known: mostly now.
fn long_before(world: &mut World, case: &Case, percent: usize) -> Option<DateTime<Utc>> {
    if !world.random.percent(percent) {
        return None;
    }
    let first = case.history.entries().first()?.effective_at;
    let at = world.recorder.now() - TimeDelta::minutes(world.random.between(1_000, 60_000));
    Some(at).filter(|&at| at > first)
}
