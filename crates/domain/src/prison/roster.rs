//! The state of a prison at an instant, folded from its events.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    event::Entry,
    identifier::{EventId, StaffId},
    london,
    officer::{PomKind, PomStatus, WorkingPattern},
    prison::{History, PomRegistered, PrisonEvent, PrisonJoinedOmic},
};

/// A prison at an instant. The default is a prison that nothing has happened to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roster {
    /// The move onto OMiC, recorded and perhaps still planned: see [`Roster::is_on_omic`].
    pub joined: Option<PrisonJoinedOmic>,
    /// The POMs, whatever their status.
    pub poms: BTreeMap<StaffId, RosterPom>,
}

/// A POM on a prison's roster.
#[derive(Debug, Clone, PartialEq)]
pub struct RosterPom {
    /// NOMIS staff id.
    pub staff_id: StaffId,
    /// "Surname, Forename".
    pub name: String,
    /// Prison or probation POM.
    pub kind: PomKind,
    /// Share of full time.
    pub working_pattern: WorkingPattern,
    /// Work e-mail address.
    pub email: Option<String>,
    /// Whether the POM takes and holds cases.
    pub status: PomStatus,
    /// For `UNAVAILABLE`: the London day on which the POM is expected back.
    pub returns_on: Option<NaiveDate>,
    /// The reason for the status.
    pub reason: Option<String>,
    /// The time from which the status holds.
    pub status_since: DateTime<Utc>,
    /// The event that gave the status.
    pub status_event: EventId,
}

impl Roster {
    /// Whether cases are allocated here at `instant`: the go-live day has begun.
    #[must_use]
    pub fn is_on_omic(&self, instant: DateTime<Utc>) -> bool {
        self.joined.as_ref().is_some_and(|joined| london::midnight(joined.go_live_date) <= instant)
    }

    /// Takes in the next event in effective order.
    pub fn apply(&mut self, entry: &Entry<PrisonEvent>) {
        self.apply_event(&entry.event, entry.effective_at, entry.event_id);
    }

    /// Takes in an event that holds from `at` and has, or is about to have, this id.
    pub(super) fn apply_event(&mut self, event: &PrisonEvent, at: DateTime<Utc>, event_id: EventId) {
        match event {
            PrisonEvent::PrisonJoinedOmic(joined) => self.joined = Some(joined.clone()),
            PrisonEvent::PrisonOmicDateCorrected(corrected) => {
                if let Some(joined) = &mut self.joined {
                    joined.go_live_date = corrected.go_live_date;
                }
            }
            PrisonEvent::PomRegistered(registered) => {
                self.poms.insert(registered.staff_id, RosterPom::register(registered, at, event_id));
            }
            PrisonEvent::PomDetailsChanged(_) | PrisonEvent::PomStatusChanged(_) => {
                if let Some(pom) = event.staff_id().and_then(|staff_id| self.poms.get_mut(&staff_id)) {
                    pom.apply(event, at, event_id);
                }
            }
        }
    }
}

impl RosterPom {
    /// The POM as registered. A registration that follows an earlier one, because that was
    /// backdated, sets details and status anew.
    pub(super) fn register(registered: &PomRegistered, at: DateTime<Utc>, event_id: EventId) -> Self {
        Self {
            staff_id: registered.staff_id,
            name: registered.name.clone(),
            kind: registered.kind,
            working_pattern: registered.working_pattern,
            email: registered.email.clone(),
            status: PomStatus::Active,
            returns_on: None,
            reason: None,
            status_since: at,
            status_event: event_id,
        }
    }

    /// Takes in a change of this POM's details or status.
    pub(super) fn apply(&mut self, event: &PrisonEvent, at: DateTime<Utc>, event_id: EventId) {
        match event {
            PrisonEvent::PomDetailsChanged(changed) => {
                if let Some(name) = &changed.name {
                    self.name.clone_from(name);
                }
                self.kind = changed.kind.unwrap_or(self.kind);
                self.working_pattern = changed.working_pattern.unwrap_or(self.working_pattern);
                if changed.email.is_some() {
                    self.email.clone_from(&changed.email);
                }
            }
            PrisonEvent::PomStatusChanged(changed) => {
                self.returns_on = changed.returns_on;
                self.reason.clone_from(&changed.reason);
                // One that is repeated, because another was backdated, holds since the first.
                if self.status != changed.status {
                    self.status = changed.status;
                    self.status_since = at;
                    self.status_event = event_id;
                }
            }
            _ => {}
        }
    }
}

/// A stretch of time in which nothing about a POM on the roster changes.
#[derive(Debug, Clone, PartialEq)]
pub struct RosterPeriod {
    /// First instant.
    pub from: DateTime<Utc>,
    /// First instant after it; `None` while nothing ends it.
    pub to: Option<DateTime<Utc>>,
    /// The POM.
    pub pom: RosterPom,
}

/// The periods of every POM of a prison, by staff id and time.
#[must_use]
pub fn roster_periods(history: &History) -> Vec<RosterPeriod> {
    let mut by_pom: BTreeMap<StaffId, Vec<RosterPeriod>> = BTreeMap::new();
    for entry in history.in_effective_order() {
        let at = entry.effective_at;
        let Some(staff_id) = entry.event.staff_id() else { continue };
        let periods = by_pom.entry(staff_id).or_default();
        let pom = match (&entry.event, periods.last()) {
            (PrisonEvent::PomRegistered(registered), _) => RosterPom::register(registered, at, entry.event_id),
            (_, Some(last)) => {
                let mut pom = last.pom.clone();
                pom.apply(&entry.event, at, entry.event_id);
                pom
            }
            (_, None) => continue,
        };
        // Of several changes at one instant the last one holds.
        if periods.last().is_some_and(|last| last.from == at) {
            periods.pop();
        }
        if let Some(last) = periods.last_mut() {
            last.to = Some(at);
        }
        periods.push(RosterPeriod { from: at, to: None, pom });
    }
    by_pom.into_values().flatten().collect()
}
