//! The made-up country: its prisons, its people, and the agenda of what is due.
//!
//! The modules `cases`, `choice`, `contacts`, `roster` and `world` are one idea and depend on one
//! another: the agenda holds the steps of cases and POMs, and each step changes the world.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc, Weekday};
use domain::{
    event::RecordedBy,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    london, nomis_contacts,
    officer::{PomKind, PomStatus},
    prison::{self, Estate},
    prisoner,
};
use uuid::Uuid;

use crate::{
    cases::{self, CaseStep},
    contacts,
    random::Random,
    record::{Batch, CommandMetadata, SimulatedLog, recorded_by},
    roster::{self, PomStep},
    sentence::{Sentence, after},
    texts,
};

/// Days between the record of the first prison's move onto OMiC and its go-live date.
pub(crate) const NOTICE_DAYS: i64 = 30;

/// The size of a history.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// The number of people in prison at a time, once all prisons are on OMiC.
    pub prisoners: usize,
    /// The number of prisons.
    pub prisons: usize,
    /// The first London day.
    pub from: NaiveDate,
    /// The last London day.
    pub until: NaiveDate,
}

/// An item of the agenda.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// A prison announces when it will join OMiC, and registers its POMs.
    Onboard(usize),
    /// A resident becomes known: a person in prison since before it joined OMiC.
    Resident(usize),
    /// The receptions of a day are planned: as many as people have left.
    Day,
    /// A person is received from court.
    Reception(usize),
    /// A step of a case, in this stay.
    Case { id: usize, stay: u32, step: CaseStep },
    /// A step of a POM at a prison.
    Pom { prison: usize, pom: usize, step: PomStep },
    /// A prison registers another POM.
    Recruit { prison: usize, kind: PomKind },
    /// The removal of a contact from NOMIS is confirmed.
    ContactGone { prison: usize, number: PrisonerNumber, contact: Uuid },
}

/// A prison and its people.
pub(crate) struct Prison {
    pub(crate) code: PrisonCode,
    pub(crate) estate: Estate,
    pub(crate) history: prison::History,
    pub(crate) poms: Vec<SimulatedPom>,
    pub(crate) pom_indexes: BTreeMap<StaffId, usize>,
    /// The number of people in the prison when it is full.
    pub(crate) capacity: usize,
    /// The number of people in the prison or on their way to it.
    pub(crate) population: usize,
    pub(crate) go_live: NaiveDate,
}

/// A POM at a prison, with the facts that the simulation draws on.
pub(crate) struct SimulatedPom {
    pub(crate) staff_id: StaffId,
    pub(crate) kind: PomKind,
    pub(crate) status: PomStatus,
    /// The cases on which the POM has a role.
    pub(crate) cases: BTreeSet<usize>,
}

/// A prisoner number that may see further steps.
pub(crate) struct SimulatedCase {
    pub(crate) history: prisoner::History,
    pub(crate) prison: usize,
    /// The number of the stay. Steps that an earlier stay planned are dropped.
    pub(crate) stay: u32,
    pub(crate) sentence: Sentence,
    /// The POMs with a role: the index of the prison, and the index of the POM there.
    pub(crate) roles: Vec<(usize, usize)>,
    /// The index of another number of the same person, which will be merged into this one.
    pub(crate) duplicate: Option<usize>,
    pub(crate) inside: bool,
}

/// The state of the simulation. One thread changes it in one order, so the same seed makes the same
/// world.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) recorder: SimulatedLog,
    pub(crate) prisons: Vec<Prison>,
    pub(crate) prison_indexes: BTreeMap<PrisonCode, usize>,
    /// The cases by index; `None` after the last step of a case, or during one.
    pub(crate) cases: Vec<Option<Box<SimulatedCase>>>,
    /// The contacts that are in NOMIS until their removal is confirmed, by person.
    pub(crate) contacts: BTreeMap<PrisonerNumber, nomis_contacts::History>,
    agenda: BinaryHeap<Reverse<(DateTime<Utc>, u64, Action)>>,
    planned: u64,
    end: DateTime<Utc>,
    staff_count: i64,
}

impl World {
    pub(crate) fn new(size: Size, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let start = london::midnight(size.from);
        let days = (size.until - size.from).num_days();
        // All prisons are on OMiC after a year, or after a third of a shorter history.
        let stagger = (days / 3).min(365);
        let prisons = prisons(size, stagger, &mut random);
        let mut world = Self {
            random,
            recorder: SimulatedLog::new(start, Random::new(!seed)),
            prison_indexes: prisons.iter().zip(0..).map(|(prison, index)| (prison.code.clone(), index)).collect(),
            prisons,
            cases: Vec::new(),
            contacts: BTreeMap::new(),
            agenda: BinaryHeap::new(),
            planned: 0,
            end: london::midnight(after(size.until, 1)),
            staff_count: 0,
        };
        for index in 0..world.prisons.len() {
            let day = after(world.prisons[index].go_live, -NOTICE_DAYS);
            let at = world.office_hours(day);
            world.plan(at, Action::Onboard(index));
        }
        let first = london::midnight(after(size.from, NOTICE_DAYS + 2));
        world.plan(first, Action::Day);
        world
    }

    /// Does the items of the agenda in order, and hands over the events in batches while `sink`
    /// answers `true`.
    pub(crate) fn run(&mut self, mut sink: impl FnMut(Batch) -> bool) {
        while let Some(Reverse((at, _, action))) = self.agenda.pop() {
            self.recorder.wait_until(at);
            // Each act of a policy takes some milliseconds, which may add up to midnight.
            if self.recorder.now() >= self.end {
                break;
            }
            self.act(action);
            if let Some(batch) = self.recorder.full_batch()
                && !sink(batch)
            {
                return;
            }
        }
        sink(self.recorder.batch());
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Onboard(prison) => roster::onboard(self, prison),
            Action::Resident(prison) => cases::resident(self, prison),
            Action::Day => self.day(),
            Action::Reception(prison) => cases::reception(self, prison),
            Action::Case { id, stay, step } => cases::step(self, id, stay, step),
            Action::Pom { prison, pom, step } => roster::step(self, prison, pom, step),
            Action::Recruit { prison, kind } => roster::recruit(self, prison, kind),
            Action::ContactGone { prison, number, contact } => contacts::gone(self, prison, &number, contact),
        }
    }

    /// Plans receptions that keep the prisons on OMiC full.
    fn day(&mut self) {
        let today = self.today();
        for prison in 0..self.prisons.len() {
            let Prison { go_live, capacity, population, estate, .. } = self.prisons[prison];
            // Open prisons receive no people from court: people are moved there.
            if today < go_live || estate == Estate::MensOpen && self.prisons.len() > 1 {
                continue;
            }
            // A prison that is far below its capacity fills over weeks.
            let room = capacity.saturating_sub(population);
            for _ in 0..room.min(capacity / 60 + 1) {
                let at = self.office_hours(today);
                self.plan(at, Action::Reception(prison));
                self.prisons[prison].population += 1;
            }
        }
        self.plan(london::midnight(after(today, 1)), Action::Day);
    }

    /// Puts an item on the agenda. Answers whether it is due before the end.
    pub(crate) fn plan(&mut self, at: DateTime<Utc>, action: Action) -> bool {
        let is_due = at < self.end;
        if is_due {
            self.planned += 1;
            self.agenda.push(Reverse((at, self.planned, action)));
        }
        is_due
    }

    pub(crate) fn today(&self) -> NaiveDate {
        london::date(self.recorder.now())
    }

    /// An instant in the office hours of a day, or of the Monday after a weekend.
    pub(crate) fn office_hours(&mut self, day: NaiveDate) -> DateTime<Utc> {
        let day = match day.weekday() {
            Weekday::Sat => after(day, 2),
            Weekday::Sun => after(day, 1),
            _ => day,
        };
        let time = TimeDelta::microseconds(self.random.between(8 * 3_600_000_000, 17 * 3_600_000_000));
        london::midnight(day) + time
    }

    /// An instant in office hours, between `from` and `to` days from today.
    pub(crate) fn in_days(&mut self, from: i64, to: i64) -> DateTime<Utc> {
        let days = self.random.between(from, to);
        let day = after(self.today(), days);
        self.office_hours(day).max(self.recorder.now() + TimeDelta::minutes(2))
    }

    /// The head of offender management of a prison, or one of two colleagues with the same task.
    pub(crate) fn allocator(&mut self, prison: usize) -> RecordedBy {
        let code = &self.prisons[prison].code;
        let username = match self.random.below(4) {
            0 | 1 => format!("HOMD_{code}"),
            one => format!("SPO{}_{code}", one - 1),
        };
        recorded_by(&username, "manage-poms")
    }

    pub(crate) fn ask(&mut self, operation: &str, target: &str, by: RecordedBy) -> CommandMetadata {
        CommandMetadata::by(&mut self.random, operation, target, by)
    }

    /// The id of the next member of staff.
    pub(crate) fn staff_id(&mut self) -> StaffId {
        self.staff_count += 1;
        StaffId::try_from(410_000 + 7 * self.staff_count).expect("a positive number")
    }

    /// An unused prisoner number, roughly in the order in which NOMIS gives them.
    pub(crate) fn number(&self) -> PrisonerNumber {
        let index = self.cases.len();
        let (digits, letters) = (index * 7_919 % 10_000, index / 10_000);
        let (first, second, third) = (letters / 676, letters / 26, letters);
        format!("{}{digits:04}{}{}", texts::letter(first), texts::letter(second), texts::letter(third))
            .parse()
            .expect("a prisoner number by its format")
    }
}

fn prisons(size: Size, stagger: i64, random: &mut Random) -> Vec<Prison> {
    let found = texts::prisons(size.prisons);
    let weights: Vec<usize> = found
        .iter()
        .map(|(_, estate)| match estate {
            Estate::MensClosed => 60 + random.below(100),
            Estate::MensOpen | Estate::Womens => 30 + random.below(30),
        })
        .collect();
    let total: usize = weights.iter().sum();
    let count = found.len() as i64;
    found
        .into_iter()
        .zip(weights)
        .zip(0..)
        .map(|(((code, estate), weight), index)| {
            let code: PrisonCode = code.parse().expect("a prison code by its format");
            Prison {
                history: prison::History::new(code.clone()),
                code,
                estate,
                poms: Vec::new(),
                pom_indexes: BTreeMap::new(),
                capacity: (size.prisoners * weight / total).max(1),
                population: 0,
                go_live: after(size.from, NOTICE_DAYS + 1 + index * stagger / count),
            }
        })
        .collect()
}
