//! Statistics of a prison as they are or as they were known at a point. As known at a point, they
//! are put together as lists are: from the views where nothing has happened to a case since, else
//! from the log.

use chrono::{DateTime, Utc};
use domain::{identifier::PrisonCode, officer::PomStatus};
use event_log::KnownAt;
use http_api::CallerScope;

use super::{
    CaseListScope, ListExtent, PastError,
    histories::{map_histories, prison_history},
    lists::{case_lists, check_has_prison, point_in_views},
    point::Point,
};
use crate::{
    QueryError, QueryState,
    present::{
        case_list::{CaseFilter, CaseList, CaseSort},
        case_prison,
        period_statistics::{self, CountedReception, CountsAtEnd, DayPeriod, PeriodCounts},
        roster::RegisteredPom,
        snapshot,
        statistics::{self, AllocationMonth, CountedAllocation},
    },
};

/// A prison's allocations by month, and the extent of the answer.
pub(crate) async fn months(
    state: &QueryState,
    prison: &PrisonCode,
    known_at: Option<KnownAt>,
) -> Result<(ListExtent, Vec<AllocationMonth>), PastError> {
    let Some(known_at) = known_at else {
        let read = statistics::by_month(&state.views, prison).await?;
        return Ok((ListExtent::of(&read), read.rows));
    };
    let point = point_in_views(state, known_at).await?;
    let (extent, allocations, _) = counted_then(state, prison, None, point).await?;
    Ok((extent, AllocationMonth::of(allocations)))
}

/// A prison's counts over periods, in their order, and the extent of the answer.
///
/// # Errors
/// [`QueryError::Aside`] where the views leave out the prison, or as any list.
pub(crate) async fn periods(
    state: &QueryState,
    prison: &PrisonCode,
    days: &[DayPeriod],
    now: DateTime<Utc>,
    known_at: Option<KnownAt>,
) -> Result<(ListExtent, Vec<PeriodCounts>), PastError> {
    let Some(known_at) = known_at else {
        let read = period_statistics::of_periods(&state.views, prison, days, now).await?;
        check_has_prison(&read.aside, prison)?;
        return Ok((ListExtent::of(&read), read.rows));
    };
    let point = point_in_views(state, known_at).await?;
    let (extent, allocations, receptions) = counted_then(state, prison, DayPeriod::around(days), point).await?;
    let history = prison_history(&state.log, prison.clone(), point).await?;
    // Of these only numbers are told, so they are counted wherever they are by now.
    let everything = CallerScope::default();
    let (scope, known_at) = (CaseListScope::Prison(prison), Some(KnownAt::Position(point.position)));
    let mut counts = Vec::with_capacity(days.len());
    for period in days {
        let at = period.last_instant(now);
        let filter = CaseFilter { prison: Some(prison.clone()), ..CaseFilter::default() };
        let all = CaseList { filter, sort: CaseSort::default(), after: None, limit: None };
        let (_, [held]) = case_lists(state, &everything, scope, [all], at, known_at).await?;
        let poms = RegisteredPom::of(&history, at).into_iter();
        let active_poms = poms.filter(|of| of.pom.status == PomStatus::Active).count();
        let at_end = CountsAtEnd::of(&held.cases, active_poms);
        counts.push(PeriodCounts::of(*period, &allocations, &receptions, at_end));
    }
    Ok((extent, counts))
}

/// The allocations and the receptions at a prison as they were known at a point: at least those in
/// a period, or all.
async fn counted_then(
    state: &QueryState,
    prison: &PrisonCode,
    period: Option<DayPeriod>,
    point: Point,
) -> Result<(ListExtent, Vec<CountedAllocation>, Vec<CountedReception>), PastError> {
    let mut views = snapshot(&state.views).await?;
    let months = period.map(DayPeriod::months);
    let read = statistics::unchanged_since(&mut *views, prison, months, point.position).await?;
    let mut receptions =
        period_statistics::receptions_unchanged_since(&mut *views, prison, period, point.position).await?;
    let changed = case_prison::changed_since_at_prison(&mut *views, prison, None, point.position).await?;
    views.commit().await.map_err(QueryError::from)?;
    let extent = ListExtent::at(point, &read)?;
    let here = prison.clone();
    let of_changed: Vec<(Vec<CountedAllocation>, Vec<CountedReception>)> =
        map_histories(&state.log, changed, point, move |history| {
            Some((CountedAllocation::of(&history, &here), CountedReception::of(&history, &here)))
        })
        .await?;
    let mut allocations = read.rows;
    for (more_allocations, more_receptions) in of_changed {
        allocations.extend(more_allocations);
        receptions.extend(more_receptions);
    }
    Ok((extent, allocations, receptions))
}
