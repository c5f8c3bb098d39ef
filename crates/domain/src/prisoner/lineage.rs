//! The merges between the numbers of one case: which number answers for which (rule 10 in
//! `docs/domain.md`).
//!
//! Nothing here reads a store. A caller looks up one number after another, by the means that it
//! has, and hands over the outcome; the types name the numbers to look up next, and end where
//! merges go in a circle.
//!
//! | question | type |
//! |---|---|
//! | under which number does the case go on? | [`SurvivorChain`] |
//! | which numbers were merged into it? | [`RemovedNumbers`] |
//! | which numbers are of the same case, in either direction? | [`CaseNumbers`] |
//! | what held before the surviving number was known? | [`periods_before_merges`] |

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    identifier::PrisonerNumber,
    prisoner::{History, Period, PrisonerEvent, periods},
};

/// A number and those that its case goes on under, one after the other, each with the outcome of
/// its look-up.
#[derive(Debug, Clone)]
pub struct SurvivorChain<F> {
    /// The number that the chain begins with.
    pub first: ChainLink<F>,
    /// The numbers that the case goes on under, in order.
    pub survivors: Vec<ChainLink<F>>,
}

/// A number of a [`SurvivorChain`].
#[derive(Debug, Clone)]
pub struct ChainLink<F> {
    /// The number.
    pub number: PrisonerNumber,
    /// The outcome of its look-up.
    pub found: F,
}

/// Numbers that were merged into each other, which two servers can do in the same moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} numbers were merged in a circle", numbers.len())]
pub struct MergeCircle {
    /// The numbers of the circle, each merged into the next and the last into the first.
    pub numbers: Vec<PrisonerNumber>,
}

impl<F> SurvivorChain<F> {
    /// The chain that begins with a number.
    #[must_use]
    pub fn new(number: PrisonerNumber, found: F) -> Self {
        Self { first: ChainLink { number, found }, survivors: Vec::new() }
    }

    /// The numbers, in order.
    pub fn links(&self) -> impl Iterator<Item = &ChainLink<F>> {
        [&self.first].into_iter().chain(&self.survivors)
    }

    /// The last number: once it is known not to have been merged, the one that answers for all of
    /// them.
    #[must_use]
    pub fn last(&self) -> &ChainLink<F> {
        self.survivors.last().unwrap_or(&self.first)
    }

    /// Checks that the chain may go on with the number that its last one was merged into. Callers
    /// must check before they look the number up.
    ///
    /// # Errors
    /// The number is in the chain already.
    pub fn check_next(&self, survivor: &PrisonerNumber) -> Result<(), MergeCircle> {
        let from_survivor = self.links().map(|link| &link.number).skip_while(|number| *number != survivor);
        let numbers: Vec<_> = from_survivor.cloned().collect();
        if numbers.is_empty() { Ok(()) } else { Err(MergeCircle { numbers }) }
    }

    /// Adds the number that the last one was merged into; [`Self::check_next`] must have accepted
    /// it.
    pub fn push(&mut self, survivor: PrisonerNumber, found: F) {
        self.survivors.push(ChainLink { number: survivor, found });
    }
}

impl SurvivorChain<()> {
    /// The whole chain that begins with `number`. `survivor_of` looks up the number that one was
    /// merged into.
    ///
    /// # Errors
    /// The chain is a circle.
    pub fn follow_all(
        number: PrisonerNumber,
        survivor_of: impl Fn(&PrisonerNumber) -> Option<PrisonerNumber>,
    ) -> Result<Self, MergeCircle> {
        let mut chain = Self::new(number, ());
        while let Some(survivor) = survivor_of(&chain.last().number) {
            chain.check_next(&survivor)?;
            chain.push(survivor, ());
        }
        Ok(chain)
    }
}

/// The numbers merged into one, and those merged into them; the last merged one of those known
/// first.
#[derive(Debug, Clone)]
pub struct RemovedNumbers {
    found: BTreeSet<PrisonerNumber>,
    unread: BTreeMap<u64, PrisonerNumber>,
}

impl RemovedNumbers {
    /// Those that a number's own history names.
    #[must_use]
    pub fn of(survivor: &History) -> Self {
        let mut removed = Self { found: BTreeSet::from([survivor.number().clone()]), unread: BTreeMap::new() };
        removed.add(survivor);
        removed
    }

    /// Takes the next number to look up, with the position of its merge.
    pub fn take_next(&mut self) -> Option<(u64, PrisonerNumber)> {
        while let Some((merged_at, number)) = self.unread.pop_last() {
            // A number that comes up twice has been looked up; a circle ends so.
            if self.found.insert(number.clone()) {
                return Some((merged_at, number));
            }
        }
        None
    }

    /// Adds a number that was retired, with the position of its retirement. Callers must add the
    /// numbers that others took over first: a number counts from the second half of its merge where
    /// that is recorded.
    pub fn add_retired(&mut self, history: &History) {
        if let Some((retirement, _)) = history.retirement() {
            self.unread.insert(retirement.position, history.number().clone());
        }
    }

    /// Adds the numbers merged into one that was looked up.
    pub fn add(&mut self, history: &History) {
        self.unread.extend(history.entries().iter().filter_map(|entry| match &entry.event {
            PrisonerEvent::PrisonerNumberMerged(merged) => Some((entry.position, merged.removed_number.clone())),
            _ => None,
        }));
    }
}

/// The numbers of one case: a number, and all that were merged with it in either direction.
#[derive(Debug, Clone)]
pub struct CaseNumbers {
    found: BTreeSet<PrisonerNumber>,
    unread: Vec<PrisonerNumber>,
}

impl CaseNumbers {
    /// The number alone, before anything is looked up.
    #[must_use]
    pub fn new(number: PrisonerNumber) -> Self {
        Self { found: BTreeSet::from([number.clone()]), unread: vec![number] }
    }

    /// Takes the numbers to look up next; none once all are known.
    pub fn take_unread(&mut self) -> Vec<PrisonerNumber> {
        std::mem::take(&mut self.unread)
    }

    /// Adds the other number of a merge ([`PrisonerEvent::merge_partner`]).
    pub fn add(&mut self, partner: PrisonerNumber) {
        if self.found.insert(partner.clone()) {
            self.unread.push(partner);
        }
    }

    /// The numbers found.
    #[must_use]
    pub fn into_numbers(self) -> BTreeSet<PrisonerNumber> {
        self.found
    }
}

/// A period under a number that was merged, cut to the time of which no later merged number knows
/// anything.
#[derive(Debug, Clone, PartialEq)]
pub struct PeriodBeforeMerge<'a> {
    /// The history of the number that was merged.
    pub removed: &'a History,
    /// The period.
    pub period: Period,
}

/// The periods of the time before the survivor's own first one, in order: while a case was not yet
/// known under the surviving number, it was known under those merged into it. Each comes with the
/// position of its merge. Where several know of one moment, the last merged one answers.
#[must_use]
pub fn periods_before_merges<'a>(
    survivor: &History,
    removed: impl IntoIterator<Item = (u64, &'a History)>,
) -> Vec<PeriodBeforeMerge<'a>> {
    let mut removed: Vec<_> = removed.into_iter().collect();
    removed.sort_by_key(|(merged_at, _)| std::cmp::Reverse(*merged_at));
    let mut gaps = vec![Gap { from: None, to: periods(survivor).first().map(|first| first.from) }];
    let mut found = Vec::new();
    for (_, removed) in removed {
        for period in periods(removed) {
            for gap in std::mem::take(&mut gaps) {
                let (filled, left) = gap.fill(period.from, period.to);
                gaps.extend(left);
                if let Some((from, to)) = filled {
                    found.push(PeriodBeforeMerge { removed, period: Period { from, to, ..period.clone() } });
                }
            }
        }
    }
    found.sort_by_key(|found| found.period.from);
    found
}

/// A stretch of time for which nothing is known yet; without a start or an end where it is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gap {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

/// The start of a period within a gap, and its end; `None` while nothing ends it.
type FilledSpan = (DateTime<Utc>, Option<DateTime<Utc>>);

impl Gap {
    /// The part that a period fills, and the parts that are left.
    fn fill(self, from: DateTime<Utc>, to: Option<DateTime<Utc>>) -> (Option<FilledSpan>, Vec<Self>) {
        let start = self.from.map_or(from, |gap_from| gap_from.max(from));
        let end = match (self.to, to) {
            (Some(gap_to), Some(to)) => Some(gap_to.min(to)),
            (gap_to, to) => gap_to.or(to),
        };
        if end.is_some_and(|end| end <= start) {
            return (None, vec![self]);
        }
        let mut left = Vec::new();
        if self.from.is_none_or(|gap_from| gap_from < start) {
            left.push(Self { from: self.from, to: Some(start) });
        }
        if let Some(end) = end
            && self.to.is_none_or(|gap_to| end < gap_to)
        {
            left.push(Self { from: Some(end), to: self.to });
        }
        (Some((start, end)), left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::days(day)
    }

    #[track_caller]
    fn check(period: (i64, Option<i64>), filled: Option<(i64, Option<i64>)>, left: &[(Option<i64>, Option<i64>)]) {
        let gap = Gap { from: Some(day(10)), to: Some(day(20)) };
        let (is_filled, is_left) = gap.fill(day(period.0), period.1.map(day));
        assert_eq!(is_filled, filled.map(|(from, to)| (day(from), to.map(day))));
        let left: Vec<Gap> = left.iter().map(|(from, to)| Gap { from: from.map(day), to: to.map(day) }).collect();
        assert_eq!(is_left, left);
    }

    #[test]
    fn a_period_fills_what_it_covers_of_a_gap() {
        let whole = (Some(10), Some(20));
        check((0, Some(10)), None, &[whole]);
        check((20, None), None, &[whole]);
        check((0, None), Some((10, Some(20))), &[]);
        check((10, Some(12)), Some((10, Some(12))), &[(Some(12), Some(20))]);
        check((12, Some(15)), Some((12, Some(15))), &[(Some(10), Some(12)), (Some(15), Some(20))]);
        check((15, None), Some((15, Some(20))), &[(Some(10), Some(15))]);
        let ever = Gap { from: None, to: None };
        let before = Gap { from: None, to: Some(day(5)) };
        assert_eq!(ever.fill(day(5), None), (Some((day(5), None)), vec![before]));
    }
}
