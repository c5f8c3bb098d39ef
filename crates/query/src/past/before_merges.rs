//! The time before a merge: while a case was not yet known under the surviving number, it was known
//! under those that were merged into it.

use chrono::{DateTime, Utc};
use domain::prisoner::{History, Period, periods};

use crate::present::{End, case::Case};

/// A period under a number that was merged, as far as nothing better is known of that time.
pub(super) struct PeriodBeforeMerge<'a> {
    pub(super) removed: &'a History,
    pub(super) period: Period,
}

impl PeriodBeforeMerge<'_> {
    /// The period as an answer for the survivor.
    pub(super) fn case(&self, survivor: &History) -> Case {
        let revision = survivor.revision().unwrap_or_default();
        Case { number: survivor.number().clone(), revision, ..Case::of(self.removed, &self.period) }
    }
}

/// The periods before the survivor's own first one, in order, from the histories of the numbers
/// merged into it, those merged last first. Where several knew of one moment, the one merged last
/// is believed.
pub(super) fn periods_before_merges<'a>(
    survivor: &History,
    removed: impl Iterator<Item = &'a History>,
) -> Vec<PeriodBeforeMerge<'a>> {
    let mut open = vec![UnknownTime { from: None, to: periods(survivor).first().map(|first| first.from) }];
    let mut found = Vec::new();
    for removed in removed {
        for period in periods(removed) {
            for unknown in std::mem::take(&mut open) {
                let (filled, left) = unknown.fill(period.from, period.to);
                open.extend(left);
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
struct UnknownTime {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

impl UnknownTime {
    /// The part that a period fills, and the parts that are left.
    fn fill(self, from: DateTime<Utc>, to: End) -> (Option<(DateTime<Utc>, End)>, Vec<Self>) {
        let start = self.from.map_or(from, |own_from| own_from.max(from));
        let end = match (self.to, to) {
            (Some(own_to), Some(to)) => Some(own_to.min(to)),
            (own_to, to) => own_to.or(to),
        };
        if end.is_some_and(|end| end <= start) {
            return (None, vec![self]);
        }
        let mut left = Vec::new();
        if self.from.is_none_or(|own_from| own_from < start) {
            left.push(Self { from: self.from, to: Some(start) });
        }
        if let Some(end) = end
            && self.to.is_none_or(|own_to| end < own_to)
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
        let unknown = UnknownTime { from: Some(day(10)), to: Some(day(20)) };
        let (is_filled, is_left) = unknown.fill(day(period.0), period.1.map(day));
        assert_eq!(is_filled, filled.map(|(from, to)| (day(from), to.map(day))));
        let left: Vec<UnknownTime> =
            left.iter().map(|(from, to)| UnknownTime { from: from.map(day), to: to.map(day) }).collect();
        assert_eq!(is_left, left);
    }

    #[test]
    fn a_period_fills_the_unknown_time_that_it_covers() {
        let whole = (Some(10), Some(20));
        check((0, Some(10)), None, &[whole]);
        check((20, None), None, &[whole]);
        check((0, None), Some((10, Some(20))), &[]);
        check((10, Some(12)), Some((10, Some(12))), &[(Some(12), Some(20))]);
        check((12, Some(15)), Some((12, Some(15))), &[(Some(10), Some(12)), (Some(15), Some(20))]);
        check((15, None), Some((15, Some(20))), &[(Some(10), Some(15))]);
        let ever = UnknownTime { from: None, to: None };
        let before = UnknownTime { from: None, to: Some(day(5)) };
        assert_eq!(ever.fill(day(5), None), (Some((day(5), None)), vec![before]));
    }
}
