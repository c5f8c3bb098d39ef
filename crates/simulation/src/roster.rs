//! Prisons: their move onto OMiC, and the changes of their POMs.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    event::RecordedBy,
    identifier::StaffId,
    officer::{PomKind, PomStatus, WorkingPattern},
    prison::{Command, PomDetailsChanged, PomRegistered, PomStatusChanged, PrisonJoinedOmic},
};

use crate::{
    cases,
    record::recorded_by,
    sentence::after,
    texts,
    world::{Action, NOTICE_DAYS, SimulatedPom, World},
};

/// The approximate number of cases of a POM: 88,000 people and 2,000 POMs.
const CASES_PER_POM: usize = 44;

/// A step in the work of a POM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PomStep {
    /// A change that chance draws.
    Change,
    /// The POM comes back from an absence.
    Return,
    /// The POM comes back after having left the prison.
    Rejoin,
}

/// Records the go-live date of a prison, and its POMs. Its residents become known before that date.
pub(crate) fn onboard(world: &mut World, prison: usize) {
    let (go_live_date, estate) = (world.prisons[prison].go_live, world.prisons[prison].estate);
    let by = recorded_by(&format!("HOMD_{}", world.prisons[prison].code), "manage-poms");
    let joined = PrisonJoinedOmic { go_live_date, estate };
    let command = match world.prisons[prison].code.listed_name() {
        Some(_) => Command::JoinOmic(joined),
        None => Command::JoinOmicUnlisted(joined),
    };
    record(world, prison, "join-omic", "onboarding", &command, by);
    let poms = world.prisons[prison].capacity / CASES_PER_POM + 2;
    let probation = (poms * 3 / 10).max(1);
    for index in 0..poms {
        world.recorder.wait_a_moment(&mut world.random);
        recruit(world, prison, if index < probation { PomKind::Probation } else { PomKind::Prison });
    }
    let capacity = world.prisons[prison].capacity;
    world.prisons[prison].population += capacity;
    for _ in 0..capacity {
        let day = world.random.between(5, NOTICE_DAYS - 1);
        let at = world.in_days(day, day);
        world.plan(at, Action::Resident(prison));
    }
}

/// Registers another POM at a prison.
pub(crate) fn recruit(world: &mut World, prison: usize, kind: PomKind) {
    let staff_id = world.staff_id();
    let name = texts::name(&mut world.random);
    let email = world.random.percent(85).then(|| texts::email(&name, "justice.example"));
    let working_pattern = working_pattern(world);
    let registered = PomRegistered { staff_id, name, kind, working_pattern, email };
    let by = world.allocator(prison);
    if record(world, prison, "register-pom", "poms", &Command::RegisterPom(registered), by) {
        let at = &mut world.prisons[prison];
        at.pom_indexes.insert(staff_id, at.poms.len());
        at.poms.push(SimulatedPom { staff_id, kind, status: PomStatus::Active, cases: BTreeSet::new() });
        let pom = at.poms.len() - 1;
        plan(world, prison, pom, PomStep::Change, 30, 560);
    }
}

pub(crate) fn step(world: &mut World, prison: usize, pom: usize, step: PomStep) {
    let SimulatedPom { staff_id, kind, status, .. } = world.prisons[prison].poms[pom];
    match (step, status) {
        (PomStep::Change, PomStatus::Active) => match world.random.below(100) {
            0..45 => {
                let days = world.random.between(4, 45);
                let returns_on = world.random.percent(80).then(|| after(world.today(), days));
                let reason = world.random.percent(70).then(|| texts::absence(&mut world.random));
                change_status(world, prison, pom, PomStatus::Unavailable, returns_on, reason);
                plan(world, prison, pom, PomStep::Return, days, days);
                plan(world, prison, pom, PomStep::Change, days + 60, days + 500);
            }
            45..85 => {
                change_details(world, prison, staff_id);
                plan(world, prison, pom, PomStep::Change, 60, 560);
            }
            _ => {
                let reason = texts::departure(&mut world.random);
                change_status(world, prison, pom, PomStatus::Inactive, None, Some(reason));
                for id in world.prisons[prison].poms[pom].cases.clone() {
                    cases::end_roles_of_inactive_pom(world, id);
                }
                let at = world.in_days(5, 40);
                world.plan(at, Action::Recruit { prison, kind });
                if world.random.percent(10) {
                    plan(world, prison, pom, PomStep::Rejoin, 120, 400);
                }
            }
        },
        (PomStep::Return, PomStatus::Unavailable) | (PomStep::Rejoin, PomStatus::Inactive) => {
            change_status(world, prison, pom, PomStatus::Active, None, None);
            if step == PomStep::Rejoin {
                plan(world, prison, pom, PomStep::Change, 60, 560);
            }
        }
        (PomStep::Change, PomStatus::Unavailable) => plan(world, prison, pom, PomStep::Change, 30, 60),
        (PomStep::Change | PomStep::Return, PomStatus::Inactive)
        | (PomStep::Return | PomStep::Rejoin, PomStatus::Active)
        | (PomStep::Rejoin, PomStatus::Unavailable) => {}
    }
}

fn change_status(
    world: &mut World,
    prison: usize,
    pom: usize,
    status: PomStatus,
    returns_on: Option<NaiveDate>,
    reason: Option<&str>,
) {
    let staff_id = world.prisons[prison].poms[pom].staff_id;
    let changed = PomStatusChanged { staff_id, status, returns_on, reason: reason.map(ToOwned::to_owned) };
    let by = world.allocator(prison);
    if record(world, prison, "change-pom-status", "poms", &Command::ChangePomStatus(changed), by) {
        world.prisons[prison].poms[pom].status = status;
    }
}

fn change_details(world: &mut World, prison: usize, staff_id: StaffId) {
    let nothing = PomDetailsChanged { staff_id, name: None, kind: None, working_pattern: None, email: None };
    let changed = if world.random.percent(80) {
        PomDetailsChanged { working_pattern: Some(working_pattern(world)), ..nothing }
    } else {
        let name = texts::name(&mut world.random);
        PomDetailsChanged { email: Some(texts::email(&name, "justice.example")), name: Some(name), ..nothing }
    };
    let by = world.allocator(prison);
    // The rules refuse the command if the drawn pattern is the current one; then nothing changes.
    record(world, prison, "change-pom-details", "poms", &Command::ChangePomDetails(changed), by);
}

fn working_pattern(world: &mut World) -> WorkingPattern {
    let tenths = world.random.weighted(&[(70, 10_u8), (10, 8), (10, 6), (6, 5), (4, 4)]);
    WorkingPattern::try_from(f64::from(tenths) / 10.0).unwrap_or(WorkingPattern::FULL_TIME)
}

fn plan(world: &mut World, prison: usize, pom: usize, step: PomStep, from: i64, to: i64) {
    let at: DateTime<Utc> = world.in_days(from, to);
    world.plan(at, Action::Pom { prison, pom, step });
}

/// Records a command on a prison. Answers whether it was recorded.
fn record(world: &mut World, prison: usize, operation: &str, under: &str, command: &Command, by: RecordedBy) -> bool {
    let target = format!("/prisons/{}/{under}", world.prisons[prison].code);
    let metadata = world.ask(operation, &target, by);
    world.recorder.on_prison(&mut world.prisons[prison].history, command, &metadata).is_ok()
}
