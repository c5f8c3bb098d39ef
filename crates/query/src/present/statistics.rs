//! Allocations and reallocations counted by month: by the database from the view `allocation`, and
//! here from histories as they were known earlier.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    prisoner::History,
};
use sqlx::{PgExecutor, PgPool};
use views::{AllocationKind, AllocationRow};

use super::{NamedColumns, ViewRows, bigint, read_named, streams_aside::streams_aside};
use crate::QueryError;

/// The allocations of a prison in a month.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AllocationMonth {
    /// First day of the London month.
    pub(crate) month: NaiveDate,
    pub(crate) allocations: u64,
    pub(crate) reallocations: u64,
    /// Allocations and reallocations against the recommendation.
    pub(crate) overrides: u64,
    /// Days from waiting to allocated, over those that had been seen waiting.
    pub(crate) days: DaySummary,
}

/// Whole days in short; nulls where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct DaySummary {
    pub(crate) mean: Option<f64>,
    pub(crate) median: Option<f64>,
    pub(crate) max: Option<i32>,
}

/// An allocation or a reallocation, as far as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CountedAllocation {
    pub(crate) number: PrisonerNumber,
    pub(crate) effective_at: DateTime<Utc>,
    /// First day of the London month.
    pub(crate) month: NaiveDate,
    pub(crate) is_reallocation: bool,
    pub(crate) is_override: bool,
    pub(crate) days_waited: Option<i32>,
    /// Of the first allocation since a reception.
    pub(crate) days_from_reception: Option<i32>,
}

/// The allocations that count at a prison, of cases to which nothing has happened after a position:
/// the view is still as it was then for them. `months` are the first and the last month of which
/// they are wanted, by their first days.
pub(crate) async fn unchanged_since(
    views: impl PgExecutor<'_>,
    prison: &PrisonCode,
    months: Option<[NaiveDate; 2]>,
    position: u64,
) -> Result<ViewRows<CountedAllocation>, QueryError> {
    const SQL: &str = concat!(
        "SELECT v.position AS ledger_position, ",
        streams_aside!(),
        ", counted.*
        FROM checkpoint v LEFT JOIN LATERAL (
            SELECT a.prisoner_number, a.effective_at, a.month, a.kind = 'REALLOCATION' AS is_reallocation,
                   a.is_override, a.days_waited,
                   CASE WHEN a.is_first_since_reception THEN a.days_from_reception END AS days_from_reception
            FROM allocation a JOIN prisoner_case c ON c.prisoner_number = a.prisoner_number
            WHERE a.prison = $1 AND c.position <= $2
              AND a.month BETWEEN coalesce($3::date, '-infinity') AND coalesce($4::date, 'infinity')
        ) counted ON true"
    );
    let query = sqlx::query(SQL).bind(prison.as_str()).bind(bigint(position));
    let query = query.bind(months.map(|[first, _]| first)).bind(months.map(|[_, last]| last));
    let rows = query.fetch_all(views).await?;
    read_named(&rows, "allocation", "prisoner_number", |row| {
        Ok(CountedAllocation {
            number: row.word("prisoner_number")?,
            effective_at: row.get("effective_at")?,
            month: row.get("month")?,
            is_reallocation: row.get("is_reallocation")?,
            is_override: row.get("is_override")?,
            days_waited: row.get("days_waited")?,
            days_from_reception: row.get("days_from_reception")?,
        })
    })
}

impl CountedAllocation {
    /// The allocations that count at a prison, of a case's history as it was known at some point.
    pub(crate) fn of(history: &History, prison: &PrisonCode) -> Vec<Self> {
        let rows = AllocationRow::all_of(history).into_iter();
        rows.filter(|row| row.prison == *prison).map(Self::from).collect()
    }
}

impl From<AllocationRow> for CountedAllocation {
    fn from(row: AllocationRow) -> Self {
        Self {
            number: row.prisoner_number,
            effective_at: row.effective_at,
            month: row.month,
            is_reallocation: row.kind == AllocationKind::Reallocation,
            is_override: row.is_override,
            days_waited: row.days_waited,
            days_from_reception: row.days_from_reception.filter(|_| row.is_first_since_reception),
        }
    }
}

impl AllocationMonth {
    /// The months of allocations, in order, as [`by_month`] has the database count them.
    pub(crate) fn of(counted: impl IntoIterator<Item = CountedAllocation>) -> Vec<Self> {
        let mut by_month: BTreeMap<NaiveDate, Vec<CountedAllocation>> = BTreeMap::new();
        for counted in counted {
            by_month.entry(counted.month).or_default().push(counted);
        }
        let count = |counted: &[CountedAllocation], is: fn(&CountedAllocation) -> bool| {
            counted.iter().filter(|one| is(one)).count() as u64
        };
        let month = |(month, counted): (NaiveDate, Vec<CountedAllocation>)| Self {
            month,
            allocations: count(&counted, |one| !one.is_reallocation),
            reallocations: count(&counted, |one| one.is_reallocation),
            overrides: count(&counted, |one| one.is_override),
            days: DaySummary::of(counted.iter().filter_map(|counted| counted.days_waited)),
        };
        by_month.into_iter().map(month).collect()
    }
}

impl DaySummary {
    pub(crate) fn of(days: impl IntoIterator<Item = i32>) -> Self {
        let mut days: Vec<i32> = days.into_iter().collect();
        days.sort_unstable();
        Self { mean: mean(&days), median: median(&days), max: days.last().copied() }
    }

    /// Reads the columns of these names.
    pub(super) fn read(row: NamedColumns<'_>, [mean, median, max]: [&'static str; 3]) -> Result<Self, QueryError> {
        Ok(Self { mean: row.get(mean)?, median: row.get(median)?, max: row.get(max)? })
    }
}

fn mean(days: &[i32]) -> Option<f64> {
    let sum: i64 = days.iter().copied().map(i64::from).sum();
    (!days.is_empty()).then(|| sum as f64 / days.len() as f64)
}

/// The middle one of days in order, or halfway between the two in the middle.
fn median(days: &[i32]) -> Option<f64> {
    let middle = |index: usize| days.get(index).copied().map(f64::from);
    let (lower, upper) = (middle(days.len().checked_sub(1)? / 2)?, middle(days.len() / 2)?);
    Some(lower + (upper - lower) * 0.5)
}

/// A prison's months in which there was anything, in order.
pub(crate) async fn by_month(views: &PgPool, prison: &PrisonCode) -> Result<ViewRows<AllocationMonth>, QueryError> {
    const SQL: &str = concat!(
        "SELECT v.position AS ledger_position, ",
        streams_aside!(),
        ", m.*
        FROM checkpoint v LEFT JOIN LATERAL (
            SELECT month,
                   count(*) FILTER (WHERE kind = 'ALLOCATION')   AS allocations,
                   count(*) FILTER (WHERE kind = 'REALLOCATION') AS reallocations,
                   count(*) FILTER (WHERE is_override)           AS overrides,
                   avg(days_waited)::float8                      AS days_mean,
                   percentile_cont(0.5) WITHIN GROUP (ORDER BY days_waited) AS days_median,
                   max(days_waited)                              AS days_max
            FROM allocation
            WHERE prison = $1
            GROUP BY month
        ) m ON true
        ORDER BY m.month"
    );
    let rows = sqlx::query(SQL).bind(prison.as_str()).fetch_all(views).await?;
    read_named(&rows, "allocation", "month", |row| {
        Ok(AllocationMonth {
            month: row.get("month")?,
            allocations: row.count("allocations")?,
            reallocations: row.count("reallocations")?,
            overrides: row.count("overrides")?,
            days: DaySummary::read(row, ["days_mean", "days_median", "days_max"])?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_halfway_between_two() {
        for (days, expected_mean, expected_median) in [
            (&[][..], None, None),
            (&[4], Some(4.0), Some(4.0)),
            (&[1, 4], Some(2.5), Some(2.5)),
            (&[1, 2, 9], Some(4.0), Some(2.0)),
            (&[0, 2, 3, 9], Some(3.5), Some(2.5)),
        ] {
            assert_eq!((mean(days), median(days)), (expected_mean, expected_median), "{days:?}");
        }
    }
}
