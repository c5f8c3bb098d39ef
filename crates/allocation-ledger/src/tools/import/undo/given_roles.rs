//! The cases whose entries give the POMs of a run roles.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use domain::{
    Entry, Event, Stream,
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    prison::{self, PrisonEvent},
    prisoner::{self, PrisonerEventType, RoleChange},
};
use event_log::{RecordedEvent, SharedLog, decode};
use futures::TryStreamExt as _;
use import::record::LOAD_STREAMS_MAX;

use super::{RunUndo, read_readable_cases, report::UndoneEntry, run_records::RunPoms};

/// A POM at a prison.
pub(super) type PomAt = (PrisonCode, StaffId);

/// How many cases have entries that count and give a POM a role.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NamingCases {
    /// Those with a role now.
    pub(super) held: usize,
    /// All of them, those that cannot be read included.
    pub(super) named: usize,
}

/// The roles that events have given to the POMs of a run, up to a position of the log.
pub(super) struct GivenRoles {
    position: u64,
    /// The cases of each POM with an event that gave the POM a role.
    cases: BTreeMap<PomAt, BTreeSet<PrisonerNumber>>,
    /// For a dry run: the entries of each case that would be voided.
    would_void: BTreeMap<PrisonerNumber, BTreeSet<u64>>,
}

impl GivenRoles {
    /// The POMs with no roles yet, before the first of them was registered.
    pub(super) fn new(
        poms: &BTreeMap<PrisonCode, RunPoms>,
        prisons: &BTreeMap<PrisonCode, prison::History>,
        would_void: &[&UndoneEntry],
    ) -> Self {
        let mut given = Self { position: u64::MAX, cases: BTreeMap::new(), would_void: BTreeMap::new() };
        for (code, prison) in prisons {
            for &staff_id in poms.get(code).into_iter().flat_map(RunPoms::keys) {
                let is_first = |entry: &&Entry<PrisonEvent>| matches!(&entry.event, PrisonEvent::PomRegistered(registered) if registered.staff_id == staff_id);
                let Some(registration) = prison.entries().iter().find(is_first) else { continue };
                given.position = given.position.min(registration.position);
                given.cases.insert((code.clone(), staff_id), BTreeSet::new());
            }
        }
        for entry in would_void {
            given.would_void.entry(entry.number.clone()).or_default().insert(entry.revision);
        }
        given
    }

    /// Reads on to the end of the log: other writers may have given the POMs roles until now.
    async fn read_on(&mut self, log: &SharedLog) -> anyhow::Result<()> {
        if self.cases.is_empty() {
            return Ok(());
        }
        let mut pages = log.read_pages(self.position, u64::MAX);
        while let Some(events) = pages.try_next().await.context("read the log")? {
            for event in &events {
                self.observe(event);
                self.position = event.position;
            }
        }
        Ok(())
    }

    /// Adds the case of an event that gives one of the POMs a role. An event that cannot be read
    /// counts for each POM whose staff id is in it.
    fn observe(&mut self, recorded: &RecordedEvent) {
        let Stream::Prisoner(number) = &recorded.stream else { return };
        if PrisonerEventType::from_name(&recorded.type_name).is_some_and(|event_type| !event_type.may_change_roles()) {
            return;
        }
        match decode(recorded).map(|stored| stored.entry.event) {
            Ok(Event::Prisoner(event)) => {
                for change in event.role_changes() {
                    if let RoleChange::Given(prison, staff_id) = change
                        && let Some(cases) = self.cases.get_mut(&(prison.clone(), staff_id))
                    {
                        cases.insert(number.clone());
                    }
                }
            }
            Ok(Event::Prison(_) | Event::Contacts(_)) | Err(_) => {
                let data = String::from_utf8_lossy(&recorded.data);
                for ((_, staff_id), cases) in &mut self.cases {
                    if data.contains(&staff_id.to_string()) {
                        cases.insert(number.clone());
                    }
                }
            }
        }
    }
}

impl RunUndo<'_> {
    /// Counts the cases that name a POM, as they are at the end of the log.
    pub(super) async fn count_naming_cases(&self, given: &mut GivenRoles, pom: &PomAt) -> anyhow::Result<NamingCases> {
        given.read_on(self.log).await?;
        let numbers: Vec<PrisonerNumber> = given.cases.get(pom).into_iter().flatten().cloned().collect();
        let mut naming = NamingCases::default();
        for numbers in numbers.chunks(LOAD_STREAMS_MAX) {
            for (number, case) in read_readable_cases(self.log, numbers).await? {
                let case = case.ok().map(|mut case| {
                    if let Some(revisions) = given.would_void.get(&number) {
                        self.try_void(&mut case, revisions);
                    }
                    case
                });
                naming.named += usize::from(case.as_ref().is_none_or(|case| is_named(case, pom)));
                naming.held += usize::from(case.as_ref().is_some_and(|case| is_held(case, pom)));
            }
        }
        Ok(naming)
    }
}

/// Whether an entry of the case that counts gives the POM a role at the prison.
fn is_named(case: &prisoner::History, (prison, staff_id): &PomAt) -> bool {
    let is_given = |change| matches!(change, RoleChange::Given(at, to) if at == prison && to == *staff_id);
    case.in_effective_order().into_iter().any(|entry| entry.event.role_changes().into_iter().any(is_given))
}

/// Whether the POM has a role on the case at the prison.
fn is_held(case: &prisoner::History, (prison, staff_id): &PomAt) -> bool {
    case.state().roles().any(|role| role.pom.staff_id == *staff_id && role.prison == *prison)
}
