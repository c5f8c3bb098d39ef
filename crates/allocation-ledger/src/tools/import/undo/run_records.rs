//! The part of the log that is of one run of an import.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use domain::{
    Event, Stream,
    identifier::{EventId, PrisonCode, PrisonerNumber, StaffId},
    nomis_contacts::NomisContactEvent,
    officer::PomStatus,
    prison::PrisonEvent,
    prisoner::PrisonerEvent,
};
use event_log::{Provenance, RecordedEvent, SharedLog, decode, stored_event::decode_metadata};
use futures::TryStreamExt as _;
use uuid::Uuid;

/// The entries of a case that a run recorded: the type of each event by its revision.
pub(super) type RunEntries = BTreeMap<u64, String>;

/// The POMs of a prison whom a run registered or made active, each with the run's events that did.
pub(super) type RunPoms = BTreeMap<StaffId, BTreeSet<EventId>>;

/// The part of the log that is of a run, up to a position.
pub(super) struct RunRecords {
    run: Uuid,
    position: u64,
    /// The place in the file of the first event.
    pub(super) provenance: Option<Provenance>,
    /// The run's entries by case.
    pub(super) cases: BTreeMap<PrisonerNumber, RunEntries>,
    /// The prisons that the run was of.
    pub(super) prisons: BTreeSet<PrisonCode>,
    /// The prisons whose rosters, or moves onto OMiC, have events of the run.
    pub(super) rosters: BTreeSet<PrisonCode>,
    /// The prisons that the run took onto OMiC.
    pub(super) joined: BTreeSet<PrisonCode>,
    /// The POMs by prison.
    pub(super) poms: BTreeMap<PrisonCode, RunPoms>,
    /// The contacts in NOMIS that the run recorded, or confirmed removed.
    pub(super) contacts: Vec<NomisContactEvent>,
}

impl RunRecords {
    pub(super) fn new(run: Uuid) -> Self {
        Self {
            run,
            position: 0,
            provenance: None,
            cases: BTreeMap::new(),
            prisons: BTreeSet::new(),
            rosters: BTreeSet::new(),
            joined: BTreeSet::new(),
            poms: BTreeMap::new(),
            contacts: Vec::new(),
        }
    }

    /// Whether the run is one of `import nomis-contacts`.
    pub(super) fn is_of_contacts(&self) -> bool {
        !self.contacts.is_empty() && self.cases.is_empty() && self.rosters.is_empty()
    }

    /// Reads on to the end of the log.
    pub(super) async fn read_on(&mut self, log: &SharedLog) -> anyhow::Result<()> {
        let run = self.run.to_string();
        let mut pages = log.read_pages(self.position, u64::MAX);
        while let Some(events) = pages.try_next().await.context("read the log")? {
            for event in &events {
                self.observe(event, &run);
                self.position = event.position;
            }
        }
        Ok(())
    }

    /// Takes in an event. One that cannot be read is left to the reading of its case or prison,
    /// which says so.
    fn observe(&mut self, recorded: &RecordedEvent, run: &str) {
        // Most events are of other runs: their metadata need not be decoded.
        if !std::str::from_utf8(&recorded.metadata).is_ok_and(|metadata| metadata.contains(run)) {
            return;
        }
        match decode_metadata(recorded).map(|metadata| metadata.provenance) {
            Ok(Some(provenance)) if provenance.run == self.run => drop(self.provenance.get_or_insert(*provenance)),
            // An event of an undo of the run, or one that only mentions the run.
            Ok(_) => return,
            Err(_) => {}
        }
        let event = decode(recorded).map(|stored| stored.entry.event);
        match &recorded.stream {
            Stream::Prisoner(number) => {
                let entries = self.cases.entry(number.clone()).or_default();
                entries.insert(recorded.revision, recorded.type_name.clone());
                if let Ok(Event::Prisoner(event)) = event {
                    self.prisons.extend(run_prison(&event).cloned());
                }
            }
            Stream::Prison(code) => {
                self.prisons.insert(code.clone());
                match event {
                    Ok(Event::Prison(event)) => self.observe_prison(code, recorded.event_id, event),
                    Ok(Event::Prisoner(_) | Event::Contacts(_)) | Err(_) => drop(self.rosters.insert(code.clone())),
                }
            }
            // Contacts stay, and one that cannot be read is left out of the report.
            Stream::Contacts(_) => {
                if let Ok(Event::Contacts(event)) = event {
                    self.prisons.insert(event.contact().prison.clone());
                    self.contacts.push(event);
                }
            }
        }
    }

    fn observe_prison(&mut self, code: &PrisonCode, event_id: EventId, event: PrisonEvent) {
        match &event {
            PrisonEvent::PrisonJoinedOmic(_) => drop(self.joined.insert(code.clone())),
            PrisonEvent::PomRegistered(_) | PrisonEvent::PomStatusChanged(_) => {
                if let Some((staff_id, PomStatus::Active)) = event.new_status() {
                    self.poms.entry(code.clone()).or_default().entry(staff_id).or_default().insert(event_id);
                }
            }
            PrisonEvent::PrisonOmicDateCorrected(_) | PrisonEvent::PomDetailsChanged(_) => {}
        }
        self.rosters.insert(code.clone());
    }
}

/// The prison into which a run imported the event of a case. A prison to which a person went is
/// none of the run's: its imports and the undo are in no way of each other.
fn run_prison(event: &PrisonerEvent) -> Option<&PrisonCode> {
    match event {
        PrisonerEvent::Deallocated(ended) => ended.prison.as_ref(),
        event => event.named_prisons().next(),
    }
}
