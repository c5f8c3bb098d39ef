//! Table `case_prison`: the prisons at which a case was ever known to be held.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    Entry,
    identifier::{PrisonCode, PrisonerNumber},
    prisoner::{History, PrisonerEvent, State},
};

use crate::{postgres_time::instant, table::table};

table! {
    /// Every prison that a case was ever known to be held at, by entries voided since included. It
    /// finds the cases that a prison's list may have had at some instant as known at some position:
    /// those seen there by then that had not left, or left after that instant.
    CasePrisonRow in case_prison, key (prisoner_number, prison) {
        /// NOMS number.
        prisoner_number: PrisonerNumber,
        /// Agency code of the prison.
        prison: PrisonCode,
        /// Position in the log of the entry by which the case was first known to be held there.
        first_position: u64,
        /// Position of the entry by which it was last known to be there no longer; null while it is
        /// there.
        left_position: Option<u64>,
        /// The latest instant at which it was ever known to leave; null where it never was.
        left_at: Option<DateTime<Utc>>,
    }
}

impl CasePrisonRow {
    /// The prisons that the case was known to be held at after any of its entries, those voided
    /// since included, by prison code; and the state after all of the entries.
    #[must_use]
    pub fn all_of(history: &History) -> (Vec<Self>, State) {
        let mut known = KnownPrisons { number: history.number(), rows: BTreeMap::new() };
        let mut state = State::default();
        let mut latest = DateTime::<Utc>::MIN_UTC;
        for entry in history.entries() {
            if entry.effective_at >= latest && !matches!(entry.event, PrisonerEvent::EntryVoided(_)) {
                latest = entry.effective_at;
                known.apply(&mut state, entry, entry.position);
            } else {
                // The entry changes what was known of the time before it.
                let history = history.known_at_position(entry.position);
                state = State::default();
                for earlier in history.in_effective_order() {
                    known.apply(&mut state, earlier, entry.position);
                }
            }
            let held_at = prisons_held_at(&state);
            for (prison, row) in &mut known.rows {
                if held_at.contains(&Some(prison)) {
                    row.left_position = None;
                } else {
                    row.left_position.get_or_insert(entry.position);
                }
            }
        }
        (known.rows.into_values().collect(), state)
    }
}

/// The prisons at which a case has been known to be, while its history is gone through.
struct KnownPrisons<'a> {
    number: &'a PrisonerNumber,
    rows: BTreeMap<PrisonCode, CasePrisonRow>,
}

impl KnownPrisons<'_> {
    /// Applies the next entry in effective order, as it was known at a position.
    fn apply(&mut self, state: &mut State, entry: &Entry<PrisonerEvent>, position: u64) {
        let before = prisons_held_at(state).map(Option::<&PrisonCode>::cloned);
        state.apply(entry);
        let after = prisons_held_at(state);
        for prison in prisons(state).into_iter().flatten() {
            if !self.rows.contains_key(prison) {
                let row = CasePrisonRow {
                    prisoner_number: self.number.clone(),
                    prison: prison.clone(),
                    first_position: position,
                    left_position: None,
                    left_at: None,
                };
                self.rows.insert(prison.clone(), row);
            }
        }
        for left in before.iter().flatten().filter(|prison| !after.contains(&Some(prison))) {
            if let Some(row) = self.rows.get_mut(left) {
                row.left_at = row.left_at.max(Some(instant(entry.effective_at)));
            }
        }
    }
}

/// The prisons at which a POM may hold the case.
fn prisons(state: &State) -> [Option<&PrisonCode>; 2] {
    [state.prison.as_ref(), state.coworking_pom.as_ref().map(|role| &role.prison)]
}

/// The same, but none once the case was merged into another.
pub(crate) fn prisons_held_at(state: &State) -> [Option<&PrisonCode>; 2] {
    if state.retired_into.is_some() { [None; 2] } else { prisons(state) }
}
