//! The POMs of a sheet: what its rows say of each, and where they contradict one another.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use chrono::NaiveDate;
use domain::{identifier::StaffId, officer::PomKind, prison};

use crate::{
    heading::Field,
    row::{DataRow, RowProblem, SheetCase},
    staff::{name_words, spelling},
};

/// The POMs in the sheet, as its rows describe them.
#[derive(Debug, Default)]
pub(super) struct Poms {
    pub(super) by_id: BTreeMap<StaffId, Sightings>,
    /// The staff ids beside each name.
    by_name: HashMap<String, NameSightings>,
}

/// The names and kinds beside a staff id.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    pub(super) names: Tally<String>,
    pub(super) kinds: Tally<PomKind>,
    /// The earliest date of allocation.
    pub(super) earliest: Option<NaiveDate>,
}

/// The number of rows for each staff id beside a name.
#[derive(Debug, Default)]
struct NameSightings {
    by_id: HashMap<StaffId, usize>,
    /// The two ids with most rows; of equals, the higher ids. A row compares its own id with the
    /// first of the others.
    commonest: [Option<(usize, StaffId)>; 2],
}

impl NameSightings {
    fn count(&mut self, staff_id: StaffId) {
        let rows = self.by_id.entry(staff_id).or_default();
        *rows += 1;
        let counted = (*rows, staff_id);
        let others = self.commonest.iter().flatten().filter(|(_, other)| *other != staff_id);
        let mut ranked: Vec<_> = others.copied().chain([counted]).collect();
        ranked.sort_unstable_by_key(|&counted| Reverse(counted));
        self.commonest = [ranked.first().copied(), ranked.get(1).copied()];
    }

    /// Another staff id that has this name in as many rows as `staff_id` or in more.
    fn rival_of(&self, staff_id: StaffId) -> Option<StaffId> {
        let own = *self.by_id.get(&staff_id)?;
        let (rows, rival) = self.commonest.into_iter().flatten().find(|(_, other)| *other != staff_id)?;
        (own <= rows).then_some(rival)
    }
}

/// How often each of several values was seen.
#[derive(Debug)]
pub(super) struct Tally<T>(HashMap<T, Tallied>);

/// The count of a value, and its place in the order of first appearance.
#[derive(Debug, Clone, Copy)]
struct Tallied {
    place: usize,
    count: usize,
}

impl<T> Default for Tally<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Tally<T> {
    fn count(&mut self, value: T) {
        let place = self.0.len();
        self.0.entry(value).or_insert(Tallied { place, count: 0 }).count += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The most frequent value; of equals, the first.
    pub(super) fn commonest(&self) -> Option<&T> {
        self.0.iter().max_by_key(|(_, tallied)| (tallied.count, Reverse(tallied.place))).map(|(value, _)| value)
    }
}

impl Poms {
    pub(super) fn new(rows: &[DataRow]) -> Self {
        let mut poms = Self::default();
        for case in rows.iter().filter_map(DataRow::allocated) {
            let sightings = poms.by_id.entry(case.staff_id).or_default();
            let earliest = sightings.earliest.get_or_insert(case.allocated_on);
            *earliest = case.allocated_on.min(*earliest);
            if let Some(name) = &case.pom_name {
                sightings.names.count(name.clone());
                poms.by_name.entry(spelling(name)).or_default().count(case.staff_id);
            }
            if let Some(kind) = case.pom_kind {
                sightings.kinds.count(kind);
            }
        }
        poms
    }

    pub(super) fn kind_of(&self, staff_id: StaffId) -> Option<PomKind> {
        self.by_id.get(&staff_id).and_then(|pom| pom.kinds.commonest()).copied()
    }

    /// The reason why a POM cannot be registered, if the roster lacks the POM.
    pub(super) fn registration_problem(&self, case: &SheetCase, prison: &prison::History) -> Option<RowProblem> {
        if prison.roster().poms.contains_key(&case.staff_id) {
            return None;
        }
        let sightings = self.by_id.get(&case.staff_id)?;
        let what = if sightings.names.is_empty() {
            Field::PomName
        } else if sightings.kinds.is_empty() {
            Field::PomKind
        } else {
            return None;
        };
        Some(RowProblem {
            code: what.code().to_owned(),
            column: Some(what.name().to_owned()),
            value: Some(String::new()),
            reason: format!(
                "{what}: staff id {} is not on the roster of {}, and no row says it; fill it in{}, or register the POM first",
                case.staff_id,
                prison.code(),
                match what {
                    Field::PomKind => ", say with --pom-kind what the words of the sheet mean",
                    _ => "",
                }
            ),
        })
    }

    /// The contradictions of a row with other rows or the roster about its POM.
    pub(super) fn warnings(&self, case: &SheetCase, prison: &prison::History) -> Vec<String> {
        let mut warnings = Vec::new();
        let Some(pom) = prison.roster().poms.get(&case.staff_id) else { return warnings };
        let word = |kind| match kind {
            PomKind::Prison => "prison",
            PomKind::Probation => "probation",
        };
        if let Some(kind) = case.pom_kind.filter(|kind| *kind != pom.kind) {
            warnings.push(format!(
                "this row calls {} a {} POM, the roster says {}",
                pom.name,
                word(kind),
                word(pom.kind)
            ));
        }
        if let Some(name) = &case.pom_name {
            // The staff id says who it is: another order of the words is no other person.
            if name_words(name) != name_words(&pom.name) {
                warnings.push(format!("staff id {} is {} on the roster, {name} in this row", case.staff_id, pom.name));
            }
            let rival = self.by_name.get(&spelling(name)).and_then(|ids| ids.rival_of(case.staff_id));
            if let Some(rival) = rival {
                warnings.push(format!("{name} has the staff id {rival} in other rows, {} in this one", case.staff_id));
            }
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u32) -> StaffId {
        StaffId::try_from(i64::from(id) + 1).expect("a staff id")
    }

    #[test]
    fn the_commonest_value_is_the_first_of_equals() {
        let mut tally = Tally::default();
        assert_eq!(tally.commonest(), None::<&&str>);
        for (value, commonest) in [("b", "b"), ("a", "b"), ("a", "a"), ("b", "b"), ("c", "b")] {
            tally.count(value);
            assert_eq!(tally.commonest(), Some(&commonest));
        }
    }

    #[test]
    fn a_rival_has_the_name_in_as_many_rows() {
        let mut sightings = NameSightings::default();
        let mut counts = BTreeMap::<u32, usize>::new();
        // Any order of ids that repeats.
        for step in 0..400_u32 {
            let counted = (step * step + 3 * step) % 7;
            sightings.count(id(counted));
            *counts.entry(counted).or_default() += 1;
            for own in 0..8 {
                let others = counts.iter().filter(|(other, _)| **other != own);
                let most = others.max_by_key(|(_, rows)| **rows);
                let rival = most.filter(|(_, rows)| counts.get(&own).is_some_and(|own| own <= rows));
                assert_eq!(sightings.rival_of(id(own)), rival.map(|(other, _)| id(*other)), "{own} of {counts:?}");
            }
        }
    }
}
