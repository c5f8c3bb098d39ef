//! The POMs that may hold each case: a fold over the log's events that errs on one side only.
//!
//! A POM may be listed for a case that has gone to another POM, and is never missing for a case
//! that the POM holds. An end takes a POM off a case only if it is not earlier in effect than the
//! event that gave the role, so that backdated entries lose no holder. After an entry is voided,
//! the caller lists again every POM who ever held the case.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    officer::PomStatus,
    prison::PrisonEvent,
    prisoner::{PrisonerEvent, RoleChange},
};

use super::Obligation;

/// The POMs of every prison, the cases that each may hold, and the obligations that follow.
#[derive(Default)]
pub(super) struct RoleHolders {
    poms: HashMap<(PrisonCode, StaffId), PomCases>,
    obligations: HashSet<Obligation>,
}

/// A POM at a prison.
#[derive(Default)]
struct PomCases {
    /// The status that is latest in effect: since when, and whether it is `INACTIVE`.
    status: Option<(DateTime<Utc>, bool)>,
    /// The cases that the POM may hold, each with the latest effective time at which an event gave
    /// the role.
    may_hold: HashMap<PackedPrisonerNumber, DateTime<Utc>>,
    /// Every case on which the POM ever had a role.
    ever_held: BTreeSet<PackedPrisonerNumber>,
}

impl PomCases {
    fn is_inactive(&self) -> bool {
        self.status.is_some_and(|(_, is_inactive)| is_inactive)
    }
}

/// A prisoner number in its seven bytes: over the years the index holds millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct PackedPrisonerNumber([u8; 7]);

impl From<&PrisonerNumber> for PackedPrisonerNumber {
    fn from(number: &PrisonerNumber) -> Self {
        Self(number.as_str().as_bytes().try_into().expect("a prisoner number has seven characters"))
    }
}

impl From<PackedPrisonerNumber> for PrisonerNumber {
    fn from(packed: PackedPrisonerNumber) -> Self {
        std::str::from_utf8(&packed.0)
            .ok()
            .and_then(|number| number.parse().ok())
            .expect("the bytes come from a prisoner number")
    }
}

impl RoleHolders {
    /// Adds an event of a prison. Answers whether there may be more obligations than before.
    pub(super) fn observe_prison(&mut self, code: &PrisonCode, event: &PrisonEvent, at: DateTime<Utc>) -> bool {
        let Some((staff_id, status)) = event.new_status() else { return false };
        let is_inactive = status == PomStatus::Inactive;
        let pom = self.poms.entry((code.clone(), staff_id)).or_default();
        if pom.status.is_some_and(|(since, _)| at < since) {
            return false;
        }
        pom.status = Some((at, is_inactive));
        if !is_inactive {
            // What the POM held while inactive ends all the same.
            return false;
        }
        let ends = pom.may_hold.keys().map(|&number| Obligation::EndOfRole {
            prison: code.clone(),
            staff_id,
            number: number.into(),
        });
        self.obligations.extend(ends);
        true
    }

    /// Adds an event of a case. Answers whether there may be more obligations than before.
    pub(super) fn observe_case(&mut self, number: &PrisonerNumber, event: &PrisonerEvent, at: DateTime<Utc>) -> bool {
        let mut may_have_more = false;
        match event {
            PrisonerEvent::PrisonerNumberRetired(_) => {
                may_have_more = self.obligations.insert(Obligation::Merge { removed: number.clone() });
            }
            PrisonerEvent::PrisonerNumberMerged(merged) => {
                self.obligations.remove(&Obligation::Merge { removed: merged.removed_number.clone() });
            }
            _ => {}
        }
        for change in event.role_changes() {
            if let RoleChange::Ended(prison, staff_id) = change {
                self.end_role(prison, staff_id, number, at);
            }
        }
        self.give_roles(number, event, at) || may_have_more
    }

    fn end_role(&mut self, prison: &PrisonCode, staff_id: StaffId, number: &PrisonerNumber, at: DateTime<Utc>) {
        let Some(pom) = self.poms.get_mut(&(prison.clone(), staff_id)) else { return };
        let packed = PackedPrisonerNumber::from(number);
        if pom.may_hold.get(&packed).is_some_and(|&since| since <= at) {
            pom.may_hold.remove(&packed);
            let number = number.clone();
            self.obligations.remove(&Obligation::EndOfRole { prison: prison.clone(), staff_id, number });
        }
    }

    /// Lists the POMs to whom an event gives a role, whether or not the role has ended since.
    /// Answers whether there may be more obligations than before.
    pub(super) fn give_roles(&mut self, number: &PrisonerNumber, event: &PrisonerEvent, at: DateTime<Utc>) -> bool {
        let packed = PackedPrisonerNumber::from(number);
        let mut may_have_more = false;
        for change in event.role_changes() {
            if let RoleChange::Given(prison, staff_id) = change {
                let pom = self.poms.entry((prison.clone(), staff_id)).or_default();
                pom.ever_held.insert(packed);
                pom.may_hold.entry(packed).and_modify(|since| *since = at.max(*since)).or_insert(at);
                if pom.is_inactive() {
                    let (prison, number) = (prison.clone(), number.clone());
                    self.obligations.insert(Obligation::EndOfRole { prison, staff_id, number });
                    may_have_more = true;
                }
            }
        }
        may_have_more
    }

    /// Every case on which a POM ever had a role at a prison.
    pub(super) fn cases_ever_held(&self, prison: &PrisonCode, staff_id: StaffId) -> Vec<PrisonerNumber> {
        let pom = self.poms.get(&(prison.clone(), staff_id));
        pom.map(|pom| pom.ever_held.iter().map(|&number| number.into()).collect()).unwrap_or_default()
    }

    /// Takes the obligations that are not `under_way`.
    pub(super) fn take_obligations(&mut self, under_way: &HashSet<Obligation>) -> Vec<Obligation> {
        self.obligations.extract_if(|obligation| !under_way.contains(obligation)).collect()
    }
}
