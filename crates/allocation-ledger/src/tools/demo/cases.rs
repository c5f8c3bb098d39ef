//! The demonstration's cases: 200 in two years, in every phase and with everything that can happen
//! to a case.

use chrono::{DateTime, Days, Months, NaiveDate, TimeDelta, Utc};
use domain::{
    Command,
    handover::Facts,
    identifier::{PrisonerNumber, StaffId},
    london,
    officer::{CommunityManager, PomKind},
    prisoner::{
        self, Allocate, AllocateCoworker, ChoiceReasons, EntryVoided, OverrideReason, PrisonerNumberRetired,
        Reallocate, Release, ResponsibilityOverridden, ResponsibilityOverrideReason, ResponsibleService, TierAssigned,
        Transfer,
    },
    tier::{RoshLevel, TierSource},
};

use super::{
    DemoStep, days_before,
    roster::{self, OTHER_PRISON, PRISON, code},
};

/// A case with a long history: the one to look at first.
pub(super) const EXAMPLE: &str = "A1000AA";

/// A case that waits to be allocated, for which a prison POM is recommended.
pub(super) const WAITING: &str = "A1198AA";

const CASES: usize = 200;

/// Cases from this one on wait for their first allocation.
const FIRST_WAITING: usize = 186;

/// The number that is merged into [`EXAMPLE`], and what it held before.
const REMOVED: &str = "B2000BB";

pub(super) fn number(index: usize) -> PrisonerNumber {
    format!("A{}AA", 1000 + index).parse().expect("a prisoner number by its format")
}

/// The commands of every case, in order.
pub(super) fn all(now: DateTime<Utc>) -> Vec<Vec<DemoStep>> {
    (0..CASES).map(|index| DemoCase::new(index, now).steps()).chain([removed_number_steps(now)]).collect()
}

fn removed_number_steps(now: DateTime<Utc>) -> Vec<DemoStep> {
    let number: PrisonerNumber = REMOVED.parse().expect("a prisoner number by its format");
    let manager = community_manager(3);
    let retired = PrisonerNumberRetired { survivor: EXAMPLE.parse().expect("a prisoner number by its format") };
    vec![
        DemoStep::new(
            "removed tier",
            days_before(now, 40, 0),
            Command::Prisoner(number.clone(), prisoner::Command::AssignTier(tier(0, "B1"))),
        ),
        DemoStep::new(
            "removed COM",
            days_before(now, 20, 0),
            Command::Prisoner(number.clone(), prisoner::Command::AssignCommunityManager(manager)),
        ),
        // The policy completes the merge on the surviving number.
        DemoStep::new("merge", days_before(now, 5, 0), Command::Prisoner(number, prisoner::Command::Retire(retired))),
    ]
}

struct DemoCase {
    index: usize,
    number: PrisonerNumber,
    now: DateTime<Utc>,
    /// How many days ago the case came.
    days: i64,
    steps: Vec<DemoStep>,
}

impl DemoCase {
    fn new(index: usize, now: DateTime<Utc>) -> Self {
        // The first came two years ago; of those that wait, the last came yesterday.
        let days = if index < FIRST_WAITING {
            730 - 3 * i64::try_from(index).unwrap_or(0)
        } else {
            1 + 2 * i64::try_from(CASES - 1 - index).unwrap_or(0)
        };
        Self { index, number: number(index), now, days, steps: Vec::new() }
    }

    fn steps(mut self) -> Vec<DemoStep> {
        let letter = ["C", "B2", "A", "D1", "C3", "E", "B", "F", "D", "G"][self.index % 10];
        self.add("tier", self.days, prisoner::Command::AssignTier(tier(self.index, letter)));
        if self.index >= FIRST_WAITING {
            return self.steps;
        }
        let waited = 1 + i64::try_from(self.index % 9).unwrap_or(0);
        let pom = self.pom(0);
        self.add("allocate", self.days - waited, self.allocate(pom, self.index % 12 == 5));
        self.plan(self.days - waited - 1);
        let mut day = self.days - waited - 20;
        if self.index.is_multiple_of(4) {
            self.add("reallocate", day, self.reallocate(self.pom(1)));
            day -= 15;
        }
        if self.index % 6 == 1 || self.index == 0 {
            let coworker = AllocateCoworker { prison: code(PRISON), staff_id: self.pom(2) };
            self.add("co-work", day, prisoner::Command::AllocateCoworker(coworker));
            day -= 15;
        }
        if self.index.is_multiple_of(3) {
            let manager = community_manager(self.index);
            self.add("COM", day, prisoner::Command::AssignCommunityManager(manager));
            day -= 5;
        }
        if self.index % 17 == 3 {
            self.add("override", day, self.responsibility_override());
            day -= 5;
        }
        if self.index == 0 {
            self.error(day);
        } else if self.index % 9 == 8 && day > 30 {
            self.add("release", day / 2, prisoner::Command::Release(Release { prison: None }));
        } else if self.index % 13 == 6 && day > 30 {
            let transfer = Transfer { to_prison: code(OTHER_PRISON) };
            self.add("transfer", day / 2, prisoner::Command::Transfer(transfer));
        }
        self.steps
    }

    /// A reallocation entered in error and voided.
    fn error(&mut self, day: i64) {
        self.add("wrong POM", day, self.reallocate(self.pom(4)));
        let revision = u64::try_from(self.steps.len() - 1).unwrap_or(0);
        let void = EntryVoided { revision, reason: "meant for another case".to_owned() };
        self.add("void", day - 1, prisoner::Command::Void(void));
    }

    fn add(&mut self, what: &str, days: i64, command: prisoner::Command) {
        // Never later than an hour ago, whatever the case's pace.
        let at = days_before(self.now, days, self.index).min(self.now - TimeDelta::hours(1));
        let at = self.steps.last().map_or(at, |last| at.max(last.at + TimeDelta::minutes(5)));
        let label = format!("{} {what}", self.number);
        self.steps.push(DemoStep::new(label, at, Command::Prisoner(self.number.clone(), command)));
    }

    /// A POM of the recommended kind; another for each `choice`.
    fn pom(&self, choice: usize) -> StaffId {
        let kind = if matches!(self.index % 10, 1 | 2 | 6) { PomKind::Probation } else { PomKind::Prison };
        if choice == 0 && kind == PomKind::Prison && self.index % 30 == 9 {
            return roster::leaving_pom();
        }
        let poms = roster::poms(kind);
        poms[(self.index / 2 + choice) % poms.len()]
    }

    fn allocate(&self, staff_id: StaffId, against_recommendation: bool) -> prisoner::Command {
        let staff_id = if against_recommendation { roster::poms(PomKind::Probation)[self.index % 4] } else { staff_id };
        let reasons = ChoiceReasons {
            override_reasons: vec![OverrideReason::Suitability],
            suitability_detail: Some("Worked well with this officer on an earlier sentence.".to_owned()),
            ..ChoiceReasons::default()
        };
        let reasons = ChoiceReasons {
            note: self.index.is_multiple_of(7).then(|| "Please see within ten working days of arrival.".to_owned()),
            ..if against_recommendation { reasons } else { ChoiceReasons::default() }
        };
        prisoner::Command::Allocate(Allocate { prison: code(PRISON), staff_id, reasons })
    }

    fn reallocate(&self, staff_id: StaffId) -> prisoner::Command {
        prisoner::Command::Reallocate(Reallocate {
            prison: code(PRISON),
            staff_id,
            expected_holder: None,
            reason: "Caseloads evened out.".to_owned(),
            // Needed only where the plan has made a prison POM the recommended kind.
            reasons: ChoiceReasons { override_reasons: vec![OverrideReason::Continuity], ..ChoiceReasons::default() },
        })
    }

    fn responsibility_override(&self) -> prisoner::Command {
        let (responsible, reason) = if self.index.is_multiple_of(2) {
            (ResponsibleService::Probation, ResponsibilityOverrideReason::CommunityTeamToWorkWithOffender)
        } else {
            (ResponsibleService::Prison, ResponsibilityOverrideReason::PrisonerHasBeenRecalled)
        };
        prisoner::Command::OverrideResponsibility(ResponsibilityOverridden { responsible, reason, detail: None })
    }

    /// Sentence facts that put the case into one of the phases today.
    fn plan(&mut self, days: i64) {
        let today = london::date(self.now);
        let later = |months: u32, days: u64| Some(after(today, months, days));
        let facts = Facts { sentence_start_date: Some(before(today, 36)), ..Facts::default() };
        let facts = match self.index % 6 {
            0 => Facts { conditional_release_date: later(8, 35), ..facts },
            1 => Facts {
                indeterminate: true,
                tariff_date: later(20, 0),
                open_prison_rules_apply: true,
                in_open_conditions: true,
                prison_arrival_date: Some(before(today, 2)),
                ..facts
            },
            2 => Facts { automatic_release_date: later(5, 0), ..facts },
            3 => Facts { parole_eligibility_date: later(12, 12), determinate_parole: true, ..facts },
            4 if self.index.is_multiple_of(8) => {
                Facts { recalled: true, conditional_release_date: later(9, 0), ..facts }
            }
            _ => Facts { conditional_release_date: later(30, 0), ..facts },
        };
        self.add("plan", days, prisoner::Command::PlanHandover(facts));
    }
}

fn tier(index: usize, tier: &str) -> TierAssigned {
    TierAssigned {
        tier: tier.parse().expect("a tier by its format"),
        rosh_level: [Some(RoshLevel::High), Some(RoshLevel::Medium), Some(RoshLevel::Low), None][index % 4],
        source: TierSource::Delius,
        crn: Some(format!("X{:06}", 100_000 + index).parse().expect("a CRN by its format")),
        prison: Some(code(PRISON)),
    }
}

fn community_manager(index: usize) -> CommunityManager {
    let (name, team) = [("Lee, Sam", "Leeds A"), ("Shah, Priya", "Leeds B"), ("Jones, Rhys", "Bradford")][index % 3];
    CommunityManager {
        name: name.to_owned(),
        email: Some(format!("{}@probation.example", name.split(", ").next().unwrap_or(name).to_lowercase())),
        team: Some(team.to_owned()),
        ldu: Some("West Yorkshire".to_owned()),
    }
}

fn after(day: NaiveDate, months: u32, days: u64) -> NaiveDate {
    day.checked_add_months(Months::new(months)).and_then(|day| day.checked_add_days(Days::new(days))).unwrap_or(day)
}

fn before(day: NaiveDate, months: u32) -> NaiveDate {
    day.checked_sub_months(Months::new(months)).unwrap_or(day)
}
