//! The demonstration's prisons: Leeds, with a dozen POMs, and Moorland, where some cases go.

use chrono::{DateTime, Days, Utc};
use domain::{
    Command,
    identifier::{PrisonCode, StaffId},
    london,
    nomis_contacts::{self, ContactSeen},
    officer::{PomKind, PomStatus, WorkingPattern},
    prison::{self, Estate, PomRegistered, PomStatusChanged, PrisonJoinedOmic},
};

use super::cases;
use super::{DemoStep, days_before};

/// The prison of the demonstration.
pub(super) const PRISON: &str = "LEI";

/// Where transfers go.
pub(super) const OTHER_PRISON: &str = "MDI";

/// A prison POM who takes new cases.
pub(super) const EXAMPLE_STAFF_ID: i64 = 485_926;

/// How long the prisons have been on OMiC.
pub(super) const DAYS_ON_OMIC: i64 = 760;

/// Staff id, name, kind, working pattern in tenths. The last two change status at the end.
const POMS: [(i64, &str, PomKind, u8); 12] = [
    (EXAMPLE_STAFF_ID, "Okafor, Grace", PomKind::Prison, 10),
    (485_931, "Whitfield, Daniel", PomKind::Prison, 10),
    (485_944, "Hussain, Nadia", PomKind::Prison, 8),
    (485_952, "McAllister, Ross", PomKind::Prison, 10),
    (485_967, "Bianchi, Luca", PomKind::Prison, 6),
    (485_970, "Pryce, Sioned", PomKind::Prison, 10),
    (486_011, "Adeyemi, Tunde", PomKind::Probation, 10),
    (486_018, "Kowalska, Ewa", PomKind::Probation, 10),
    (486_025, "Thornton, Beth", PomKind::Probation, 5),
    (486_033, "Singh, Harpreet", PomKind::Probation, 10),
    (485_981, "Ferreira, Ana", PomKind::Prison, 10),
    (485_995, "Doyle, Patrick", PomKind::Prison, 10),
];

/// The POMs of a kind who take cases throughout.
pub(super) fn poms(kind: PomKind) -> Vec<StaffId> {
    POMS[..10].iter().filter(|(_, _, of_kind, _)| *of_kind == kind).map(|(id, ..)| staff_id(*id)).collect()
}

/// The POM who becomes inactive at the end, so that the cases held are deallocated by the policy.
pub(super) fn leaving_pom() -> StaffId {
    staff_id(POMS[11].0)
}

/// Both prisons join and register their POMs.
pub(super) fn onboarding(now: DateTime<Utc>) -> Vec<DemoStep> {
    let at = london::midnight(london::date(days_before(now, DAYS_ON_OMIC, 0)));
    let mut steps = Vec::new();
    for prison in [PRISON, OTHER_PRISON] {
        let joined = PrisonJoinedOmic { go_live_date: london::date(at), estate: Estate::MensClosed };
        steps.push(step(format!("{prison} joins"), at, prison, prison::Command::JoinOmic(joined)));
        // Moorland has the names of the first POMs, under other staff ids; a few will do.
        let poms = if prison == PRISON { &POMS[..] } else { &POMS[..8] };
        for (id, name, kind, tenths) in poms {
            let id = if prison == PRISON { *id } else { id + 10_000 };
            let forename = name.split(", ").nth(1).unwrap_or(name).to_lowercase();
            let registered = PomRegistered {
                staff_id: staff_id(id),
                name: (*name).to_owned(),
                kind: *kind,
                working_pattern: WorkingPattern::try_from(f64::from(*tenths) / 10.0)
                    .unwrap_or(WorkingPattern::FULL_TIME),
                email: Some(format!("{forename}.{id}@prison.example")),
            };
            steps.push(step(format!("{prison} {id}"), at, prison, prison::Command::RegisterPom(registered)));
        }
    }
    steps.extend(contacts(now));
    steps
}

/// One POM goes on leave and one leaves.
pub(super) fn afterwards(now: DateTime<Utc>) -> Vec<DemoStep> {
    let change = |id: i64, status, returns_on, reason: &str| {
        prison::Command::ChangePomStatus(PomStatusChanged {
            staff_id: staff_id(id),
            status,
            returns_on,
            reason: Some(reason.to_owned()),
        })
    };
    let returns_on = london::date(now).checked_add_days(Days::new(40));
    let leave = change(POMS[10].0, PomStatus::Unavailable, returns_on, "parental leave");
    let gone = change(POMS[11].0, PomStatus::Inactive, None, "moved to another prison");
    vec![step("leave", days_before(now, 3, 1), PRISON, leave), step("gone", days_before(now, 1, 2), PRISON, gone)]
}

/// POM contacts that were in NOMIS when the prison joined; every third has been removed since.
fn contacts(now: DateTime<Utc>) -> Vec<DemoStep> {
    let mut steps = Vec::new();
    for index in 0..15 {
        let number = cases::number(index);
        let seen = ContactSeen {
            prison: code(PRISON),
            staff_id: (index % 2 == 0).then(|| poms(PomKind::Prison)[index % 6]),
            name: Some(POMS[index % 6].1.to_owned()),
            contact_type: "POM".to_owned(),
        };
        let contact_id = seen.contact_id(&number);
        let mut record = |label, at, command| {
            steps.push(DemoStep::new(label, at, Command::Contacts(number.clone(), command)));
        };
        let found = nomis_contacts::Command::RecordNomisContact(seen);
        record(format!("contact {index}"), days_before(now, 30, index), found);
        if index % 3 == 0 {
            let removed = nomis_contacts::Command::ConfirmNomisContactRemoval { prison: code(PRISON), contact_id };
            record(format!("contact {index} gone"), days_before(now, 10, index), removed);
        }
    }
    steps
}

fn step(label: impl Into<String>, at: DateTime<Utc>, prison: &str, command: prison::Command) -> DemoStep {
    DemoStep::new(label, at, Command::Prison(code(prison), command))
}

pub(super) fn code(prison: &str) -> PrisonCode {
    prison.parse().expect("a prison code by its format")
}

pub(super) fn staff_id(id: i64) -> StaffId {
    StaffId::try_from(id).expect("a positive staff id")
}
