//! The made-up country: what is due when, and who is where.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc, Weekday};
use domain::{
    event::RecordedBy,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    london,
    officer::{PomKind, PomStatus},
    prison::{self, Estate},
    prisoner,
};
use uuid::Uuid;

use crate::{
    cases::{self, Step},
    random::Random,
    record::{Asked, Batch, Recorder, recorded_by},
    roster::{self, PomStep},
    sentence::{Sentence, after},
    texts,
};

/// Days between the move of the first prison onto OMiC being recorded and its go-live day.
pub(crate) const NOTICE_DAYS: i64 = 30;

/// How large a history is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// People in prison at a time, once all prisons are on OMiC.
    pub prisoners: usize,
    /// Prisons.
    pub prisons: usize,
    /// First London day.
    pub from: NaiveDate,
    /// Last London day.
    pub until: NaiveDate,
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// A prison tells when it will join OMiC, and who works there.
    Onboard(usize),
    /// Somebody comes who was in a prison before it joined.
    Resident(usize),
    /// It is told who will be received today: as many as have left.
    Day,
    /// Somebody is received from court.
    Reception(usize),
    /// Something about a case, in this stay.
    Case { id: usize, stay: u32, step: Step },
    /// Something about a POM at a prison.
    Pom { prison: usize, pom: usize, step: PomStep },
    /// A prison gets another POM.
    Recruit { prison: usize, kind: PomKind },
    /// A contact is gone from NOMIS.
    ContactGone { prison: usize, contact: Uuid },
}

/// A prison and its people.
pub(crate) struct Prison {
    pub(crate) code: PrisonCode,
    pub(crate) estate: Estate,
    pub(crate) history: prison::History,
    pub(crate) poms: Vec<Pom>,
    pub(crate) pom_indexes: BTreeMap<StaffId, usize>,
    /// How many are held when it is full.
    pub(crate) capacity: usize,
    /// How many are held or on their way.
    pub(crate) population: usize,
    pub(crate) go_live: NaiveDate,
}

/// A POM at a prison, as far as chance looks at it.
pub(crate) struct Pom {
    pub(crate) staff_id: StaffId,
    pub(crate) kind: PomKind,
    pub(crate) status: PomStatus,
    /// The cases on which the POM has a role.
    pub(crate) cases: BTreeSet<usize>,
}

/// One prisoner number that something can still happen to.
pub(crate) struct Case {
    pub(crate) history: prisoner::History,
    pub(crate) prison: usize,
    /// Counts the stays: what was planned in an earlier one no longer happens.
    pub(crate) stay: u32,
    pub(crate) sentence: Sentence,
    /// The POMs with a role: prison and index there.
    pub(crate) roles: Vec<(usize, usize)>,
    /// Another number of the same person, to be merged into this one.
    pub(crate) duplicate: Option<usize>,
    pub(crate) inside: bool,
}

/// Everything that there is. One thread, one order: the same seed makes the same world.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) recorder: Recorder,
    pub(crate) prisons: Vec<Prison>,
    pub(crate) prison_indexes: BTreeMap<PrisonCode, usize>,
    /// By case number; `None` once nothing can happen to it any more, or while something does.
    pub(crate) cases: Vec<Option<Box<Case>>>,
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
        // All are on OMiC after a year, or a third of a shorter time.
        let stagger = (days / 3).min(365);
        let prisons = prisons(size, stagger, &mut random);
        let mut world = Self {
            random,
            recorder: Recorder::new(start),
            prison_indexes: prisons.iter().zip(0..).map(|(prison, index)| (prison.code.clone(), index)).collect(),
            prisons,
            cases: Vec::new(),
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

    /// Lets everything happen in order, and hands over the events in batches while `sink` takes them.
    pub(crate) fn run(&mut self, mut sink: impl FnMut(Batch) -> bool) {
        while let Some(Reverse((at, _, action))) = self.agenda.pop() {
            self.recorder.wait_until(at);
            // What policies do takes moments, which may add up to midnight.
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
            Action::ContactGone { prison, contact } => roster::contact_gone(self, prison, contact),
        }
    }

    /// Keeps the prisons that have gone live full.
    fn day(&mut self) {
        let today = self.today();
        for prison in 0..self.prisons.len() {
            let Prison { go_live, capacity, population, estate, .. } = self.prisons[prison];
            // Nobody is received at an open prison: people are moved there.
            if today < go_live || estate == Estate::MensOpen && self.prisons.len() > 1 {
                continue;
            }
            // A prison that is far below fills over weeks.
            let room = capacity.saturating_sub(population);
            for _ in 0..room.min(capacity / 60 + 1) {
                let at = self.office_hours(today);
                self.plan(at, Action::Reception(prison));
                self.prisons[prison].population += 1;
            }
        }
        self.plan(london::midnight(after(today, 1)), Action::Day);
    }

    /// Puts something on the agenda, and says whether it will come to pass before the end.
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

    /// Some time in office hours of a day, or of the Monday after it.
    pub(crate) fn office_hours(&mut self, day: NaiveDate) -> DateTime<Utc> {
        let day = match day.weekday() {
            Weekday::Sat => after(day, 2),
            Weekday::Sun => after(day, 1),
            _ => day,
        };
        let time = TimeDelta::microseconds(self.random.between(8 * 3_600_000_000, 17 * 3_600_000_000));
        london::midnight(day) + time
    }

    /// Some time in office hours between so many days from today.
    pub(crate) fn in_days(&mut self, from: i64, to: i64) -> DateTime<Utc> {
        let days = self.random.between(from, to);
        let day = after(self.today(), days);
        self.office_hours(day).max(self.recorder.now() + TimeDelta::minutes(2))
    }

    /// The head of offender management of a prison, or one of the two others who make allocations.
    pub(crate) fn allocator(&mut self, prison: usize) -> RecordedBy {
        let code = &self.prisons[prison].code;
        let username = match self.random.below(4) {
            0 | 1 => format!("HOMD_{code}"),
            one => format!("SPO{}_{code}", one - 1),
        };
        recorded_by(&username, "manage-poms")
    }

    pub(crate) fn ask(&mut self, operation: &str, target: &str, by: RecordedBy) -> Asked {
        Asked::by(&mut self.random, operation, target, by)
    }

    /// The next member of staff.
    pub(crate) fn staff_id(&mut self) -> StaffId {
        self.staff_count += 1;
        StaffId::try_from(410_000 + 7 * self.staff_count).expect("a positive number")
    }

    /// A number that nobody has had, in the order in which NOMIS gives them, about.
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
