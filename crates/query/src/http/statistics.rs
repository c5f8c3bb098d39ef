//! `GET /prisons/{prisonCode}/statistics`: allocations by month, and periods compared.

use access_log::Shown;
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use chrono::NaiveDate;
use domain::{identifier::PrisonCode, london, moment::Date};
use http_api::{ParamGroups, PathParams, Problem, ProblemCode, problem::Fault};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{answer::Answer, parameters::KnownAtQuery};
use crate::{
    QueryState, past,
    present::{
        period_statistics::{CountsAtEnd, DayPeriod, PeriodCounts},
        statistics::{AllocationMonth, DaySummary},
    },
};

/// The allocations of a month.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MonthStatistics {
    /// The London month, by effective time.
    #[schema(example = "2026-03")]
    month: String,
    /// Cases allocated that had no POM.
    allocations: u64,
    /// Cases that went from one POM to another.
    reallocations: u64,
    /// How many of both went against the recommended kind of POM.
    overrides: u64,
    /// Whole days from waiting to allocated.
    days_to_allocate: DaysToAllocate,
}

/// Whole days from waiting to allocated, over the allocations of cases that had been seen waiting;
/// null where none had.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DaysToAllocate {
    /// On average.
    mean: Option<f64>,
    /// Half waited at most this long.
    median: Option<f64>,
    /// The longest.
    max: Option<i32>,
}

impl From<DaySummary> for DaysToAllocate {
    fn from(DaySummary { mean, median, max }: DaySummary) -> Self {
        Self { mean: mean.map(tenths), median: median.map(tenths), max }
    }
}

/// A tenth of a day is all that whole days can tell.
fn tenths(days: f64) -> f64 {
    (days * 10.0).round() / 10.0
}

impl From<AllocationMonth> for MonthStatistics {
    fn from(month: AllocationMonth) -> Self {
        Self {
            month: month.month.format("%Y-%m").to_string(),
            allocations: month.allocations,
            reallocations: month.reallocations,
            overrides: month.overrides,
            days_to_allocate: month.days.into(),
        }
    }
}

/// A prison over a period, and over another to compare it with.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ComparedPeriods {
    /// The period from `from` to `to`.
    period: PeriodStatistics,
    /// The one from `comparisonFrom` to `comparisonTo`; null where none is asked for.
    comparison: Option<PeriodStatistics>,
}

/// A prison over a period.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PeriodStatistics {
    /// First London day.
    from: NaiveDate,
    /// Last London day.
    to: NaiveDate,
    /// Persons who came into the prison; without arrivals from another prison.
    receptions: u64,
    /// Cases allocated that had no POM.
    allocations: u64,
    /// Cases that went from one POM to another.
    reallocations: u64,
    /// How many of both went against the recommended kind of POM.
    overrides: u64,
    /// Whole days from waiting to allocated.
    days_to_allocate: DaysToAllocate,
    /// Whole days from reception to allocated.
    days_from_reception: DaysFromReception,
    /// The prison at the end of the period; now, where it ends today.
    at_end: PrisonAtEnd,
}

/// Whole days from reception to allocated, over the first allocations after a reception; null where
/// there is none. An arrival from another prison is none.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DaysFromReception {
    /// Over how many allocations.
    allocations: u64,
    /// On average.
    mean: Option<f64>,
    /// Half had a POM after this long at most.
    median: Option<f64>,
    /// The longest.
    max: Option<i32>,
}

/// A prison at an instant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrisonAtEnd {
    /// Cases held there.
    cases: u64,
    /// Those of them with a primary POM.
    allocated: u64,
    /// Those of them that wait to be allocated.
    waiting: u64,
    /// POMs on the roster with status `ACTIVE`.
    active_poms: u64,
}

impl PeriodStatistics {
    fn new(DayPeriod { from, to }: DayPeriod, counts: &PeriodCounts) -> Self {
        let DaySummary { mean, median, max } = counts.days_from_reception;
        let CountsAtEnd { cases, allocated, waiting, active_poms } = counts.at_end;
        Self {
            from,
            to,
            receptions: counts.receptions,
            allocations: counts.allocations,
            reallocations: counts.reallocations,
            overrides: counts.overrides,
            days_to_allocate: counts.days_waited.into(),
            days_from_reception: DaysFromReception {
                allocations: counts.first_allocations,
                mean: mean.map(tenths),
                median: median.map(tenths),
                max,
            },
            at_end: PrisonAtEnd { cases, allocated, waiting, active_poms },
        }
    }
}

/// Statistics by month, or of one or two periods.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Statistics {
    /// Without a period: the months, in order.
    Months(Vec<MonthStatistics>),
    /// With one.
    Periods(Box<ComparedPeriods>),
}

/// Longest period, in days: ten years, longer than any prison has been on OMiC.
const PERIOD_DAYS_MAX: i64 = 3_653;

/// Which periods.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PeriodQuery {
    /// First London day of a period; with `to`.
    #[param(inline, value_type = Option<domain::openapi::LondonDate>)]
    from: Option<Date>,
    /// Last London day of that period, today at the latest.
    #[param(inline, value_type = Option<domain::openapi::LondonDate>)]
    to: Option<Date>,
    /// First London day of a period to compare it with; with `comparisonTo`.
    #[param(inline, value_type = Option<domain::openapi::LondonDate>)]
    comparison_from: Option<Date>,
    /// Last London day of that other period, today at the latest.
    #[param(inline, value_type = Option<domain::openapi::LondonDate>)]
    comparison_to: Option<Date>,
}

impl PeriodQuery {
    /// The periods asked for: none, one, or one and another to compare it with.
    fn periods(self, today: NaiveDate) -> Result<Vec<DayPeriod>, Problem> {
        let period = read_period(["from", "to"], [self.from, self.to], today)?;
        let comparison =
            read_period(["comparisonFrom", "comparisonTo"], [self.comparison_from, self.comparison_to], today)?;
        if period.is_none() && comparison.is_some() {
            return Err(missing("from", "give it with `to`, for the period that is to be compared"));
        }
        Ok(period.into_iter().chain(comparison).collect())
    }
}

fn missing(name: &str, detail: impl Into<String>) -> Problem {
    Problem::fault(ProblemCode::ParameterMissing, Fault::parameter(name, detail))
}

/// The period between two parameters of these names.
fn read_period(
    [from_name, to_name]: [&'static str; 2],
    days: [Option<Date>; 2],
    today: NaiveDate,
) -> Result<Option<DayPeriod>, Problem> {
    let (from, to) = match days.map(|day| day.map(NaiveDate::from)) {
        [None, None] => return Ok(None),
        [Some(_), None] => {
            return Err(missing(to_name, format!("give it with `{from_name}`: the last day of the period")));
        }
        [None, Some(_)] => {
            return Err(missing(from_name, format!("give it with `{to_name}`: the first day of the period")));
        }
        [Some(from), Some(to)] => (from, to),
    };
    let invalid =
        |name: &str, detail: String| Problem::fault(ProblemCode::ParameterInvalid, Fault::parameter(name, detail));
    if from > to {
        return Err(invalid(from_name, format!("{from} is after {to_name}, {to}; give the earlier day first")));
    }
    if to > today {
        return Err(invalid(to_name, format!("{to} is still to come; give a day up to today, {today}")));
    }
    let days = (to - from).num_days() + 1;
    if days > PERIOD_DAYS_MAX {
        return Err(invalid(
            to_name,
            format!("the period has {days} days; give one of at most {PERIOD_DAYS_MAX}, which is ten years"),
        ));
    }
    Ok(Some(DayPeriod { from, to }))
}

/// A prison's allocations by month, or receptions and allocations over a period.
///
/// Without a period: the months in order; those without any allocation are left out. With `from`
/// and `to`, London days of which both count: the period, and with `comparisonFrom` and
/// `comparisonTo` another one to compare it with. What is effective in a period counts, whenever it
/// was recorded. Arrivals from another prison are no receptions here: of most persons they are
/// transfers, and only of one unknown so far a reception as `TRANSFERRED`.
#[utoipa::path(
    get, path = "/prisons/{prisonCode}/statistics", tag = "Questions about a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        KnownAtQuery, PeriodQuery,
    ),
    responses((status = 200, body = Statistics)),
)]
pub(super) async fn list_monthly_statistics(
    State(state): State<QueryState>,
    PathParams(prison): PathParams<PrisonCode>,
    ParamGroups((KnownAtQuery { known_at }, query)): ParamGroups<(KnownAtQuery, PeriodQuery)>,
) -> Result<Response, Problem> {
    let now = state.now();
    let periods = query.periods(london::date(now))?;
    let (extent, statistics) = if periods.is_empty() {
        let (extent, months) = past::months(&state, &prison, known_at).await?;
        (extent, Statistics::Months(months.into_iter().map(MonthStatistics::from).collect()))
    } else {
        let (extent, counts) = past::periods(&state, &prison, &periods, now, known_at).await?;
        let mut counted = periods.iter().zip(&counts).map(|(period, counts)| PeriodStatistics::new(*period, counts));
        // There are as many as were asked for.
        let period = counted.next().ok_or_else(Problem::internal)?;
        (extent, Statistics::Periods(Box::new(ComparedPeriods { period, comparison: counted.next() })))
    };
    Ok(Answer::list(extent, statistics, Shown::no_person()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The days between which a period is read on 30 November 2026, or the parameter at fault.
    #[track_caller]
    fn check(days: [Option<&str>; 2], expected: Result<Option<[&str; 2]>, &str>) {
        let date = |day: &str| day.parse::<Date>().expect("a date");
        let read = read_period(["from", "to"], days.map(|day| day.map(date)), date("2026-11-30").into());
        let read = read.map(|period| period.map(|DayPeriod { from, to }| [from, to].map(|day| day.to_string())));
        let expected = expected.map(|days| days.map(|days| days.map(str::to_owned)));
        match (read, expected) {
            (Err(problem), Err(text)) => assert!(problem.detail().starts_with(text), "{days:?}: {}", problem.detail()),
            (read, expected) => {
                assert_eq!(read.map_err(|problem| problem.detail().to_owned()), expected.map_err(str::to_owned))
            }
        }
    }

    #[test]
    fn a_period_ends_today_at_the_latest_and_is_ten_years_long_at_most() {
        check([None, None], Ok(None));
        check([Some("2026-11-30"), Some("2026-11-30")], Ok(Some(["2026-11-30", "2026-11-30"])));
        check(
            [Some("2026-11-30"), Some("2026-12-01")],
            Err("to: 2026-12-01 is still to come; give a day up to today, 2026-11-30."),
        );
        check(
            [Some("2026-11-02"), Some("2026-11-01")],
            Err("from: 2026-11-02 is after to, 2026-11-01; give the earlier day first."),
        );
        check([Some("2016-11-30"), Some("2026-11-30")], Ok(Some(["2016-11-30", "2026-11-30"])));
        check([Some("2016-11-29"), Some("2026-11-30")], Err("to: the period has 3654 days; give one of at most 3653"));
        check([Some("2026-11-30"), None], Err("to: give it with `from`: the last day of the period."));
        check([None, Some("2026-11-30")], Err("from: give it with `to`: the first day of the period."));
    }
}
