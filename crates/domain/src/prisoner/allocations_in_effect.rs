//! The allocations and receptions of a case that are in effect.

use crate::{
    event::Entry,
    identifier::PrisonCode,
    officer::Pom,
    prisoner::{Choice, History, PrisonerEvent, Received, Reception, ReceptionReason, State, Waiting, WaitingReason},
};

/// An allocation or a reallocation of the primary POM that was not voided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allocation<'a> {
    /// The entry.
    pub entry: &'a Entry<PrisonerEvent>,
    /// The prison of the role.
    pub prison: &'a PrisonCode,
    /// The primary POM.
    pub pom: &'a Pom,
    /// For a reallocation: the POM before.
    pub pom_before: Option<&'a Pom>,
    /// For a reallocation: why the case moved.
    pub reason: Option<&'a str>,
    /// The choice and its reasons.
    pub choice: &'a Choice,
    /// For an allocation: the wait that it ended, where the case had been seen waiting.
    pub waiting: Option<Waiting>,
    /// For an allocation: the reception by which the person came to the prison, if that is known.
    pub reception: Option<Reception>,
    /// Whether it is the first allocation since that reception. Not after an arrival from another
    /// prison, which is a reception only where the ledger did not know the person.
    pub is_first_since_reception: bool,
}

impl Allocation<'_> {
    /// For how many calendar days the case had been waiting.
    #[must_use]
    pub fn days_waited(&self) -> Option<i32> {
        let days = self.waiting?.days_at(self.entry.effective_at);
        Some(i32::try_from(days).unwrap_or(i32::MAX))
    }

    /// How many calendar days before it the person had been received at the prison.
    #[must_use]
    pub fn days_from_reception(&self) -> Option<i32> {
        let days = self.reception?.days_at(self.entry.effective_at);
        Some(i32::try_from(days).unwrap_or(i32::MAX))
    }
}

/// The receptions of a case that were not voided, in effective order. One that says what holds
/// already is none.
#[must_use]
pub fn receptions(history: &History) -> Vec<(&Entry<PrisonerEvent>, &Received)> {
    let mut receptions = Vec::new();
    let mut state = State::default();
    for entry in history.in_effective_order() {
        if let PrisonerEvent::Received(received) = &entry.event
            && !state.is_received(received)
        {
            receptions.push((entry, received));
        }
        state.apply(entry);
    }
    receptions
}

/// Whether a merge brings this reception from a number that had a POM since: it waits for another
/// reason than the reception, and not from before it.
fn was_allocated_before_merge(event: &PrisonerEvent, reception: Option<Reception>) -> bool {
    let (PrisonerEvent::PrisonerNumberMerged(merged), Some(reception)) = (event, reception) else { return false };
    merged.held.past.as_ref().is_some_and(|past| {
        let waits_since_pom =
            |waiting: Waiting| waiting.reason != WaitingReason::Received && waiting.since >= reception.since;
        past.reception == Some(reception) && past.waiting.is_some_and(waits_since_pom)
    })
}

/// The allocations and reallocations of a case that were not voided, in effective order.
#[must_use]
pub fn allocations(history: &History) -> Vec<Allocation<'_>> {
    let mut allocations = Vec::new();
    let mut state = State::default();
    // The reception since which a POM was given the case.
    let mut allocated_since = None;
    for entry in history.in_effective_order() {
        let waiting = state.waiting;
        // An allocation at another prison ends the stay of the reception.
        state.apply(entry);
        let reception = state.reception;
        let is_first_since_reception = reception != allocated_since
            && reception.is_some_and(|reception| reception.reason != ReceptionReason::Transferred);
        // A POM may hold the case already when the person is received, and a merge may bring one.
        if state.primary_pom.is_some() || was_allocated_before_merge(&entry.event, reception) {
            allocated_since = reception;
        }
        allocations.extend(match &entry.event {
            PrisonerEvent::AllocationMade(made) => Some(Allocation {
                entry,
                prison: &made.prison,
                pom: &made.pom,
                pom_before: None,
                reason: None,
                choice: &made.choice,
                waiting,
                reception,
                is_first_since_reception,
            }),
            PrisonerEvent::Reallocated(moved) => Some(Allocation {
                entry,
                prison: &moved.prison,
                pom: &moved.pom_after,
                pom_before: Some(&moved.pom_before),
                reason: Some(&moved.reason),
                choice: &moved.choice,
                waiting: None,
                reception: None,
                is_first_since_reception: false,
            }),
            _ => None,
        });
    }
    allocations
}
