//! Receptions, allocations and cases counted over periods of time: by the database from several
//! views, in one statement, and here from what was known earlier.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, TimeDelta, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    london,
    prisoner::{History, ReceptionReason},
};
use sqlx::{PgExecutor, PgPool};
use views::{CasePeriodRow, ReceptionRow};

use super::{
    ViewRows, bigint, read_named,
    statistics::{CountedAllocation, DaySummary},
    streams_aside::streams_aside,
};
use crate::QueryError;

/// London days, the first and the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DayPeriod {
    pub(crate) from: NaiveDate,
    pub(crate) to: NaiveDate,
}

impl DayPeriod {
    /// The shortest period that has all of these; `None` where there are none.
    pub(crate) fn around(periods: &[Self]) -> Option<Self> {
        let from = periods.iter().map(|period| period.from).min()?;
        Some(Self { from, to: periods.iter().map(|period| period.to).max()? })
    }

    /// The first and the last month that it touches, by their first days.
    pub(crate) fn months(self) -> [NaiveDate; 2] {
        [self.from, self.to].map(|day| day.with_day(1).unwrap_or(day))
    }

    /// The first instant.
    fn begin(self) -> DateTime<Utc> {
        london::midnight(self.from)
    }

    /// The first instant after it.
    fn end(self) -> DateTime<Utc> {
        london::midnight(self.to.checked_add_days(Days::new(1)).unwrap_or(self.to))
    }

    /// The instant of which the counts at the end are: the last one, or now while it lasts.
    pub(crate) fn last_instant(self, now: DateTime<Utc>) -> DateTime<Utc> {
        now.min(self.end() - TimeDelta::microseconds(1))
    }

    fn has(self, instant: DateTime<Utc>) -> bool {
        self.begin() <= instant && instant < self.end()
    }
}

/// The counts of a prison over a period.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct PeriodCounts {
    pub(crate) receptions: u64,
    pub(crate) allocations: u64,
    pub(crate) reallocations: u64,
    /// Allocations and reallocations against the recommendation.
    pub(crate) overrides: u64,
    /// Days from waiting to allocated, over those that had been seen waiting.
    pub(crate) days_waited: DaySummary,
    /// The first allocations since a reception.
    pub(crate) first_allocations: u64,
    /// Days from reception to allocated, over those.
    pub(crate) days_from_reception: DaySummary,
    pub(crate) at_end: CountsAtEnd,
}

/// The counts of a prison at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CountsAtEnd {
    pub(crate) cases: u64,
    pub(crate) allocated: u64,
    pub(crate) waiting: u64,
    pub(crate) active_poms: u64,
}

/// A reception, as far as it counts. An arrival from another prison is a reception only where the
/// ledger did not know the person, so none of them count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CountedReception {
    pub(crate) number: PrisonerNumber,
    pub(crate) received_at: DateTime<Utc>,
}

impl CountedReception {
    /// The receptions at a prison, of a case's history as it was known at some point.
    pub(crate) fn of(history: &History, prison: &PrisonCode) -> Vec<Self> {
        let counts = |row: &ReceptionRow| row.prison == *prison && row.reason != ReceptionReason::Transferred;
        let rows = ReceptionRow::all_of(history).into_iter().filter(counts);
        rows.map(|row| Self { number: row.prisoner_number, received_at: row.received_at }).collect()
    }
}

impl CountsAtEnd {
    pub(crate) fn of(cases: &[CasePeriodRow], active_poms: usize) -> Self {
        let count = |is: fn(&CasePeriodRow) -> bool| cases.iter().filter(|case| is(case)).count() as u64;
        Self {
            cases: cases.len() as u64,
            allocated: count(|case| case.pom.is_some()),
            waiting: count(|case| case.waiting.is_some()),
            active_poms: active_poms as u64,
        }
    }
}

impl PeriodCounts {
    /// The counts as [`of_periods`] has the database make them.
    pub(crate) fn of(
        period: DayPeriod,
        allocations: &[CountedAllocation],
        receptions: &[CountedReception],
        at_end: CountsAtEnd,
    ) -> Self {
        let made: Vec<&CountedAllocation> = allocations.iter().filter(|made| period.has(made.effective_at)).collect();
        let count = |is: fn(&CountedAllocation) -> bool| made.iter().filter(|one| is(one)).count() as u64;
        Self {
            receptions: receptions.iter().filter(|one| period.has(one.received_at)).count() as u64,
            allocations: count(|one| !one.is_reallocation),
            reallocations: count(|one| one.is_reallocation),
            overrides: count(|one| one.is_override),
            days_waited: DaySummary::of(made.iter().filter_map(|one| one.days_waited)),
            first_allocations: count(|one| one.days_from_reception.is_some()),
            days_from_reception: DaySummary::of(made.iter().filter_map(|one| one.days_from_reception)),
            at_end,
        }
    }
}

/// The counts of a prison over periods, in their order.
pub(crate) async fn of_periods(
    views: &PgPool,
    prison: &PrisonCode,
    periods: &[DayPeriod],
    now: DateTime<Utc>,
) -> Result<ViewRows<PeriodCounts>, QueryError> {
    const SQL: &str = concat!(
        "SELECT v.position AS ledger_position, ",
        streams_aside!(),
        ", counted.*
        FROM checkpoint v LEFT JOIN LATERAL (
            SELECT period.place, made.*, held.*,
                   (SELECT count(*) FROM reception r
                    WHERE r.prison = $1 AND r.received_at >= period.begins AND r.received_at < period.ends
                      AND r.reason <> 'TRANSFERRED') AS receptions,
                   (SELECT count(*) FROM pom_period pom
                    WHERE pom.prison_code = $1 AND pom.status = 'ACTIVE'
                      AND pom.valid_from <= period.last AND pom.valid_to > period.last) AS active_poms
            FROM unnest($2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::date[], $6::date[])
                 WITH ORDINALITY AS period (begins, ends, last, first_month, last_month, place)
            CROSS JOIN LATERAL (
                SELECT count(*) FILTER (WHERE kind = 'ALLOCATION')   AS allocations,
                       count(*) FILTER (WHERE kind = 'REALLOCATION') AS reallocations,
                       count(*) FILTER (WHERE is_override)           AS overrides,
                       avg(days_waited)::float8                      AS waited_mean,
                       percentile_cont(0.5) WITHIN GROUP (ORDER BY days_waited) AS waited_median,
                       max(days_waited)                              AS waited_max,
                       count(*) FILTER (WHERE is_first_since_reception)                       AS first_allocations,
                       avg(days_from_reception) FILTER (WHERE is_first_since_reception)::float8 AS reception_mean,
                       percentile_cont(0.5) WITHIN GROUP (ORDER BY days_from_reception)
                           FILTER (WHERE is_first_since_reception)                            AS reception_median,
                       max(days_from_reception) FILTER (WHERE is_first_since_reception)       AS reception_max
                FROM allocation
                WHERE prison = $1 AND month BETWEEN period.first_month AND period.last_month
                  AND effective_at >= period.begins AND effective_at < period.ends
            ) made
            CROSS JOIN LATERAL (
                SELECT count(*) AS cases, count(pom_staff_id) AS allocated, count(waiting_since) AS waiting
                FROM case_period
                WHERE prison = $1 AND valid_from <= period.last AND valid_to > period.last
            ) held
        ) counted ON true
        ORDER BY counted.place"
    );
    let begins: Vec<_> = periods.iter().map(|period| period.begin()).collect();
    let ends: Vec<_> = periods.iter().map(|period| period.end()).collect();
    let last: Vec<_> = periods.iter().map(|period| period.last_instant(now)).collect();
    let (first_months, last_months): (Vec<_>, Vec<_>) = periods.iter().map(|period| period.months().into()).unzip();
    let query = sqlx::query(SQL).bind(prison.as_str()).bind(begins).bind(ends).bind(last);
    let query = query.bind(first_months).bind(last_months);
    read_named(&query.fetch_all(views).await?, "allocation", "place", |row| {
        Ok(PeriodCounts {
            receptions: row.count("receptions")?,
            allocations: row.count("allocations")?,
            reallocations: row.count("reallocations")?,
            overrides: row.count("overrides")?,
            days_waited: DaySummary::read(row, ["waited_mean", "waited_median", "waited_max"])?,
            first_allocations: row.count("first_allocations")?,
            days_from_reception: DaySummary::read(row, ["reception_mean", "reception_median", "reception_max"])?,
            at_end: CountsAtEnd {
                cases: row.count("cases")?,
                allocated: row.count("allocated")?,
                waiting: row.count("waiting")?,
                active_poms: row.count("active_poms")?,
            },
        })
    })
}

/// The receptions at a prison that count, of cases to which nothing has happened after a position:
/// those in a period, or all.
pub(crate) async fn receptions_unchanged_since(
    views: impl PgExecutor<'_>,
    prison: &PrisonCode,
    period: Option<DayPeriod>,
    position: u64,
) -> Result<Vec<CountedReception>, QueryError> {
    const SQL: &str = concat!(
        "SELECT v.position AS ledger_position, ",
        streams_aside!(),
        ", counted.*
        FROM checkpoint v LEFT JOIN LATERAL (
            SELECT r.prisoner_number, r.received_at
            FROM reception r JOIN prisoner_case c ON c.prisoner_number = r.prisoner_number
            WHERE r.prison = $1 AND c.position <= $2 AND r.reason <> 'TRANSFERRED'
              AND r.received_at >= coalesce($3::timestamptz, '-infinity')
              AND r.received_at < coalesce($4::timestamptz, 'infinity')
        ) counted ON true"
    );
    let query = sqlx::query(SQL).bind(prison.as_str()).bind(bigint(position));
    let query = query.bind(period.map(DayPeriod::begin)).bind(period.map(DayPeriod::end));
    let rows = query.fetch_all(views).await?;
    let read = read_named(&rows, "reception", "prisoner_number", |row| {
        Ok(CountedReception { number: row.word("prisoner_number")?, received_at: row.get("received_at")? })
    })?;
    Ok(read.rows)
}
