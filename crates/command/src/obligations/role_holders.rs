//! The POMs that may hold each case: a fold over the log's events that errs on one side only.
//!
//! A POM may be listed for a case that has gone to another POM, and is never missing for a case
//! that the POM holds. An end takes a POM off a case only if it is not earlier in effect than the
//! event that gave the role, so that backdated entries lose no holder. After an entry is voided,
//! and after any entry of a case with merges that carry roles, the caller lists again every POM who
//! ever held the case.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    london,
    officer::PomStatus,
    prison::PrisonEvent,
    prisoner::{PrisonerEvent, RoleChange},
};

use super::{ContactNumbers, Obligation};

/// The POMs of every prison, the cases that each may hold, and the obligations that follow. A clone
/// shares the cases of each POM until they change.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RoleHolders {
    pub(super) poms: HashMap<(PrisonCode, StaffId), Arc<PomCases>>,
    /// The cases with merges that carry POM roles.
    pub(super) merged: BTreeSet<PackedPrisonerNumber>,
    /// The corrected go-live date of each prison that has one: its first instant.
    pub(super) go_live: BTreeMap<PrisonCode, DateTime<Utc>>,
    /// Whose contacts in NOMIS are at each prison, which no obligation follows from.
    pub(super) contacts: ContactNumbers,
    /// Those that wait for a policy.
    pub(super) obligations: HashSet<Obligation>,
    /// Those that a policy has taken and has not discharged yet. One that arises again meanwhile
    /// waits.
    pub(super) under_way: HashSet<Obligation>,
}

/// A POM at a prison.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PomCases {
    /// The status that is latest in effect: since when, and whether it is `INACTIVE`.
    pub(super) status: Option<(DateTime<Utc>, bool)>,
    /// The cases that the POM may hold, each with the latest effective time at which an event gave
    /// the role.
    pub(super) may_hold: HashMap<PackedPrisonerNumber, DateTime<Utc>>,
    /// Every case on which the POM ever had a role.
    pub(super) ever_held: BTreeSet<PackedPrisonerNumber>,
}

impl PomCases {
    fn is_inactive(&self) -> bool {
        self.status.is_some_and(|(_, is_inactive)| is_inactive)
    }
}

/// A prisoner number as one of the numbers that there can be, in their order: over the years the
/// index holds millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PackedPrisonerNumber(u32);

/// The first prisoner number. Its letters and digits are the shape of all.
const FIRST_NUMBER: [u8; 7] = *b"A0000AA";

/// How many characters there are in the place of one of [`FIRST_NUMBER`].
fn choices(first: u8) -> u32 {
    if first.is_ascii_digit() { 10 } else { 26 }
}

impl PackedPrisonerNumber {
    /// `None` where there are not so many.
    pub(super) fn new(number: u32) -> Option<Self> {
        let count: u32 = FIRST_NUMBER.iter().map(|&first| choices(first)).product();
        (number < count).then_some(Self(number))
    }

    pub(super) fn get(self) -> u32 {
        self.0
    }
}

impl From<&PrisonerNumber> for PackedPrisonerNumber {
    fn from(number: &PrisonerNumber) -> Self {
        let places = number.as_str().bytes().zip(FIRST_NUMBER);
        Self(places.fold(0, |packed, (byte, first)| packed * choices(first) + u32::from(byte - first)))
    }
}

impl From<PackedPrisonerNumber> for PrisonerNumber {
    fn from(packed: PackedPrisonerNumber) -> Self {
        let (mut number, mut rest) = (FIRST_NUMBER, packed.0);
        for byte in number.iter_mut().rev() {
            let choices = choices(*byte);
            *byte += (rest % choices) as u8;
            rest /= choices;
        }
        std::str::from_utf8(&number)
            .ok()
            .and_then(|number| number.parse().ok())
            .expect("each place holds what it may hold")
    }
}

impl RoleHolders {
    /// Adds an event of a prison. Answers whether there may be more obligations than before.
    pub(super) fn observe_prison(&mut self, code: &PrisonCode, event: &PrisonEvent, at: DateTime<Utc>) -> bool {
        if let PrisonEvent::PrisonOmicDateCorrected(corrected) = event {
            self.go_live.insert(code.clone(), london::midnight(corrected.go_live_date));
            return self.obligations.insert(Obligation::GoLiveReport { prison: code.clone() });
        }
        let Some((staff_id, status)) = event.new_status() else { return false };
        let is_inactive = status == PomStatus::Inactive;
        let pom = Arc::make_mut(self.poms.entry((code.clone(), staff_id)).or_default());
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
                if !event.role_changes().is_empty() {
                    self.merged.insert(number.into());
                }
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
            Arc::make_mut(pom).may_hold.remove(&packed);
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
                let pom = Arc::make_mut(self.poms.entry((prison.clone(), staff_id)).or_default());
                pom.ever_held.insert(packed);
                pom.may_hold.entry(packed).and_modify(|since| *since = at.max(*since)).or_insert(at);
                // Decided on the roster as it was before the correction.
                if self.go_live.get(prison).is_some_and(|&go_live| at < go_live) {
                    may_have_more |= self.obligations.insert(Obligation::GoLiveReport { prison: prison.clone() });
                }
                if pom.is_inactive() {
                    let (prison, number) = (prison.clone(), number.clone());
                    self.obligations.insert(Obligation::EndOfRole { prison, staff_id, number });
                    may_have_more = true;
                }
            }
        }
        may_have_more
    }

    pub(super) fn has_merged_roles(&self, number: &PrisonerNumber) -> bool {
        self.merged.contains(&number.into())
    }

    /// Every case on which a POM ever had a role at a prison.
    pub(super) fn cases_ever_held(&self, prison: &PrisonCode, staff_id: StaffId) -> Vec<PrisonerNumber> {
        let pom = self.poms.get(&(prison.clone(), staff_id));
        pom.map(|pom| pom.ever_held.iter().map(|&number| number.into()).collect()).unwrap_or_default()
    }

    /// Every case on which any POM ever had a role at a prison.
    pub(super) fn cases_ever_at(&self, prison: &PrisonCode) -> Vec<PrisonerNumber> {
        let at_prison = self.poms.iter().filter(|((code, _), _)| code == prison);
        let numbers: BTreeSet<_> = at_prison.flat_map(|(_, pom)| pom.ever_held.iter().copied()).collect();
        numbers.into_iter().map(PrisonerNumber::from).collect()
    }

    /// Takes the obligations that wait and are not under way. They are under way from now on.
    pub(super) fn take_obligations(&mut self) -> Vec<Obligation> {
        let Self { obligations, under_way, .. } = self;
        let taken: Vec<_> = obligations.extract_if(|obligation| !under_way.contains(obligation)).collect();
        under_way.extend(taken.iter().cloned());
        taken
    }
}
