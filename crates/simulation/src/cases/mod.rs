//! Cases: from reception to release, and back.
//!
//! | question | module |
//! |---|---|
//! | how does a POM get a role on a case, and lose it? | `pom_roles` |
//! | which events happen during a stay? | `incidents` |
//! | how are two numbers of one person merged? | `merge` |
//! | how is a command on a case recorded? | `recording` |

mod incidents;
mod merge;
mod pom_roles;
mod recording;

use domain::{
    nomis_contacts::ContactSeen,
    prison::Estate,
    prisoner::{self, Command, Deallocate, DeallocationTrigger, Received, ReceptionReason, Release},
};

use crate::{
    choice::pick_any_pom,
    contacts,
    record::recorded_by,
    sentence::{Sentence, after},
    texts,
    world::{Action, SimulatedCase, World},
};

use self::{
    incidents::{assign_tier, destinations, draw_incident, name_com, plan_handover, void},
    merge::{duplicate, merge},
    pom_roles::allocate,
    recording::{note_roles, plan, record, shortly_before},
};

pub(crate) use pom_roles::end_roles_of_inactive_pom;

/// The percentage of people that come back under the same number after they leave.
const RETURNS_PERCENT: usize = 30;

/// A step in the life of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CaseStep {
    /// Allocate the case to a POM, if it has none.
    Allocate,
    /// Plan the handover.
    PlanHandover,
    /// Name a COM, if the case has none.
    NameCom,
    /// An incident that chance draws.
    Happen,
    /// Void the entry at this revision, which was an error.
    Void(u64),
    /// Remove the override of responsibility.
    RemoveOverride,
    /// Remove the co-working POM.
    RemoveCoworker,
    /// Merge the person's other number into this one.
    Merge,
    /// Let the person leave prison.
    Leave,
    /// Let the person come back to prison.
    Return,
}

/// Records a resident: a person in the prison since before it joined OMiC. The case waits for the
/// go-live date.
pub(crate) fn resident(world: &mut World, prison: usize) {
    let sentence = Sentence::of_resident(&mut world.random, world.prisons[prison].go_live);
    let (id, mut case) = new_case(world, prison, sentence);
    if world.random.percent(15) {
        let named = world.random.percent(60);
        let seen = ContactSeen {
            prison: world.prisons[prison].code.clone(),
            staff_id: (!named || world.random.percent(50)).then(|| pick_any_pom(world, prison)),
            name: named.then(|| texts::name(&mut world.random).to_uppercase()),
            contact_type: "POM".to_owned(),
        };
        contacts::found(world, prison, case.history.number(), seen);
    }
    arrive(world, id, &mut case);
    world.cases[id] = Some(case);
}

/// Records a reception from court.
pub(crate) fn reception(world: &mut World, prison: usize) {
    let today = world.today();
    let sentence = Sentence::of_reception(&mut world.random, today);
    let (id, mut case) = new_case(world, prison, sentence);
    receive(world, &mut case, ReceptionReason::NewAdmission);
    arrive(world, id, &mut case);
    if world.random.below(1_000) < 6 {
        case.duplicate = Some(duplicate(world, &case));
        plan(world, id, &case, CaseStep::Merge, 4, 60);
    }
    world.cases[id] = Some(case);
}

/// Does a step that is due on a case, unless it was planned in an earlier stay.
pub(crate) fn step(world: &mut World, id: usize, stay: u32, step: CaseStep) {
    let Some(mut case) = world.cases[id].take() else { return };
    let mut goes_on = true;
    if case.stay == stay {
        match step {
            CaseStep::Allocate => allocate(world, id, &mut case),
            CaseStep::PlanHandover => plan_handover(world, id, &mut case),
            CaseStep::NameCom => name_com(world, &mut case),
            CaseStep::Happen => draw_incident(world, id, &mut case),
            CaseStep::Void(revision) => void(world, id, &mut case, revision),
            CaseStep::RemoveOverride => {
                let by = world.allocator(case.prison);
                record(world, &mut case, "remove-override", &Command::RemoveResponsibilityOverride, by, None);
            }
            CaseStep::RemoveCoworker => {
                let by = world.allocator(case.prison);
                record(world, &mut case, "remove-co-worker", &Command::RemoveCoworker, by, None);
                note_roles(world, id, &mut case);
            }
            CaseStep::Merge => merge(world, id, &mut case),
            CaseStep::Leave => goes_on = leave(world, id, &mut case),
            CaseStep::Return => come_back(world, id, &mut case),
        }
    }
    if goes_on {
        world.cases[id] = Some(case);
    }
}

pub(super) fn new_case(world: &mut World, prison: usize, sentence: Sentence) -> (usize, Box<SimulatedCase>) {
    let history = prisoner::History::new(world.number());
    world.cases.push(None);
    let case = SimulatedCase { history, prison, stay: 1, sentence, roles: Vec::new(), duplicate: None, inside: true };
    (world.cases.len() - 1, Box::new(case))
}

fn receive(world: &mut World, case: &mut SimulatedCase, reason: ReceptionReason) {
    let prison = world.prisons[case.prison].code.clone();
    let by = recorded_by("NOMIS_EVENTS", "prison-events");
    record(world, case, "receive", &Command::Receive(Received { prison, reason }), by, None);
}

/// Gives the case of an arrived person a tier, and plans the rest of the stay.
fn arrive(world: &mut World, id: usize, case: &mut SimulatedCase) {
    assign_tier(world, case, true, None);
    let today = world.today();
    let (go_live, release) = (world.prisons[case.prison].go_live, case.sentence.release());
    if go_live > today {
        let day = after(go_live, world.random.between(0, 40));
        let at = world.office_hours(day);
        world.plan(at, Action::Case { id, stay: case.stay, step: CaseStep::Allocate });
    } else {
        plan(world, id, case, CaseStep::Allocate, 1, 9);
    }
    let leaves_on = release.max(after(today, world.random.between(15, 40)));
    let at = world.office_hours(leaves_on);
    world.plan(at, Action::Case { id, stay: case.stay, step: CaseStep::Leave });
    plan(world, id, case, CaseStep::Happen, 20, 330);
}

fn come_back(world: &mut World, id: usize, case: &mut SimulatedCase) {
    let today = world.today();
    case.inside = true;
    case.sentence = Sentence::of_return(&mut world.random, today);
    let prisons: Vec<usize> =
        destinations(world, case.prison).filter(|&prison| world.prisons[prison].estate != Estate::MensOpen).collect();
    if !prisons.is_empty() && (world.prisons[case.prison].estate == Estate::MensOpen || world.random.percent(60)) {
        case.prison = *world.random.pick(&prisons);
    }
    world.prisons[case.prison].population += 1;
    receive(world, case, ReceptionReason::Readmission);
    arrive(world, id, case);
}

/// Lets the person leave. Answers whether the case may see further steps.
fn leave(world: &mut World, id: usize, case: &mut SimulatedCase) -> bool {
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
        plan(world, id, case, CaseStep::Leave, 2, 5);
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
    world.plan(at, Action::Case { id, stay: case.stay, step: CaseStep::Return })
}
