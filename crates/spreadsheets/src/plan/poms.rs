//! The POMs of a sheet: what its rows say of each, and where they contradict one another.

use std::collections::{BTreeMap, HashMap};

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
    /// The number of rows for each name and staff id.
    by_name: HashMap<String, BTreeMap<StaffId, usize>>,
}

/// The number of times that each name and kind is beside a staff id, in order of first appearance.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    pub(super) names: Vec<(String, usize)>,
    pub(super) kinds: Vec<(PomKind, usize)>,
    /// The earliest date of allocation.
    pub(super) earliest: Option<NaiveDate>,
}

impl Poms {
    pub(super) fn new(rows: &[DataRow]) -> Self {
        let mut poms = Self::default();
        for case in rows.iter().filter_map(DataRow::allocated) {
            let sightings = poms.by_id.entry(case.staff_id).or_default();
            let earliest = sightings.earliest.get_or_insert(case.allocated_on);
            *earliest = case.allocated_on.min(*earliest);
            if let Some(name) = &case.pom_name {
                count(&mut sightings.names, name.clone());
                *poms.by_name.entry(spelling(name)).or_default().entry(case.staff_id).or_default() += 1;
            }
            if let Some(kind) = case.pom_kind {
                count(&mut sightings.kinds, kind);
            }
        }
        poms
    }

    pub(super) fn kind_of(&self, staff_id: StaffId) -> Option<PomKind> {
        self.by_id.get(&staff_id).and_then(|pom| commonest(&pom.kinds)).copied()
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
            let ids = self.by_name.get(&spelling(name));
            let others = ids.into_iter().flatten().filter(|(id, _)| **id != case.staff_id);
            if let Some((other, rows)) = others.max_by_key(|(_, rows)| **rows)
                && ids.and_then(|ids| ids.get(&case.staff_id)).is_some_and(|own| own <= rows)
            {
                warnings.push(format!("{name} has the staff id {other} in other rows, {} in this one", case.staff_id));
            }
        }
        warnings
    }
}

fn count<T: PartialEq>(counts: &mut Vec<(T, usize)>, value: T) {
    match counts.iter_mut().find(|(known, _)| *known == value) {
        Some((_, count)) => *count += 1,
        None => counts.push((value, 1)),
    }
}

/// The most frequent value; of equals, the first.
pub(super) fn commonest<T>(counts: &[(T, usize)]) -> Option<&T> {
    counts.iter().rev().max_by_key(|(_, count)| *count).map(|(value, _)| value)
}
