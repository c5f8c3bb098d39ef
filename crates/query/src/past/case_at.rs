//! Single cases: at an instant, and from the first period to the last planned one.
//!
//! A number that was merged answers with the survivor; before anything was known under the
//! survivor, with the numbers merged into it. The time before a merge always comes from the log,
//! which goes at least as far as the views.

use std::slice;

use chrono::{DateTime, Utc};
use domain::{
    identifier::PrisonerNumber,
    prisoner::{
        History,
        lineage::{PeriodBeforeMerge, periods_before_merges},
    },
};
use event_log::KnownAt;
use views::{CasePeriodRow, PrisonerCaseRow};

use super::{PastError, histories::Histories, point::Point};
use crate::{
    Error, QueryState,
    present::case::{self, CaseAt},
};

/// A case at an instant, and the position that the answer includes. Of the present it shares its
/// statement with the look-ups that come at the same time.
pub(crate) async fn case_at(
    state: &QueryState,
    number: &PrisonerNumber,
    on: DateTime<Utc>,
    known_at: Option<KnownAt>,
) -> Result<(u64, CaseAt), PastError> {
    let Some(known_at) = known_at else {
        let (position, case) = state.cases.case_at(number.clone(), on).await?;
        let mut histories = Histories::new(&state.log, Point::LATEST);
        return Ok((position, or_before_merges(&mut histories, case, on).await?));
    };
    let (position, cases) = known_cases_at(state, slice::from_ref(number), on, known_at).await?;
    Ok((position, cases.into_iter().next().unwrap_or(CaseAt::Unknown)))
}

/// The cases of several numbers at an instant, in the order asked, and the position that all of
/// them include.
pub(crate) async fn cases_at(
    state: &QueryState,
    numbers: &[PrisonerNumber],
    on: DateTime<Utc>,
    known_at: Option<KnownAt>,
) -> Result<(u64, Vec<CaseAt>), PastError> {
    if let Some(known_at) = known_at {
        return known_cases_at(state, numbers, on, known_at).await;
    }
    let asked = numbers.iter().map(|number| (number.clone(), on)).collect();
    let mut views = state.views.acquire().await.map_err(Error::from)?;
    let (position, cases) = case::each_at(&mut views, asked).await?;
    drop(views);
    let mut histories = Histories::new(&state.log, Point::LATEST);
    Ok((position, each_or_before_merges(&mut histories, cases, on).await?))
}

async fn known_cases_at(
    state: &QueryState,
    numbers: &[PrisonerNumber],
    on: DateTime<Utc>,
    known_at: KnownAt,
) -> Result<(u64, Vec<CaseAt>), PastError> {
    let point = Point::of(&state.log, known_at).await?;
    let mut histories = Histories::new(&state.log, point);
    histories.read_survivors(numbers).await?;
    let cases = numbers.iter().map(|number| Ok(histories.survivor(number)?.map_or(CaseAt::Unknown, |of| at(of, on))));
    let cases = cases.collect::<Result<_, Error>>()?;
    Ok((point.position, each_or_before_merges(&mut histories, cases, on).await?))
}

/// A case at an instant by its own history alone.
fn at(history: &History, on: DateTime<Utc>) -> CaseAt {
    match CasePeriodRow::find_at(history, on) {
        Some(period) => CaseAt::Case(Box::new(period)),
        None => CaseAt::NotYet(history.number().clone()),
    }
}

async fn each_or_before_merges(
    histories: &mut Histories<'_>,
    mut cases: Vec<CaseAt>,
    on: DateTime<Utc>,
) -> Result<Vec<CaseAt>, Error> {
    for case in &mut cases {
        let by_itself = std::mem::replace(case, CaseAt::Unknown);
        *case = or_before_merges(histories, by_itself, on).await?;
    }
    Ok(cases)
}

/// A case to which nothing had happened yet under the surviving number may have been known under
/// one that was merged into it.
async fn or_before_merges(histories: &mut Histories<'_>, case: CaseAt, on: DateTime<Utc>) -> Result<CaseAt, Error> {
    let CaseAt::NotYet(survivor) = &case else { return Ok(case) };
    let before = cases_before_merges(histories, survivor).await?;
    let then = before.into_iter().find(|case| case.holds_at(on));
    Ok(then.map_or(case, |then| CaseAt::Case(Box::new(then))))
}

/// Every period of a case, past and planned, in order, and the position that the answer includes;
/// `None` where nothing is known of the number. Those from before a merge need not adjoin.
pub(crate) async fn case_periods(
    state: &QueryState,
    number: &PrisonerNumber,
    known_at: Option<KnownAt>,
) -> Result<(u64, Option<Vec<CasePeriodRow>>), PastError> {
    let (position, mut histories, case) = match known_at {
        None => {
            let (position, case) = case::periods(&state.views, number).await?;
            (position, Histories::new(&state.log, Point::LATEST), case)
        }
        Some(known_at) => {
            let point = Point::of(&state.log, known_at).await?;
            let mut histories = Histories::new(&state.log, point);
            histories.read_survivors(slice::from_ref(number)).await?;
            let case = histories
                .survivor(number)?
                .map(|history: &History| (history.number().clone(), CasePeriodRow::all_of(history)));
            (point.position, histories, case)
        }
    };
    let Some((survivor, own)) = case else { return Ok((position, None)) };
    let mut all = cases_before_merges(&mut histories, &survivor).await?;
    all.extend(own);
    Ok((position, Some(all)))
}

/// The periods that the numbers merged into this one had before its own first one, in order, as
/// answers for the survivor.
async fn cases_before_merges(
    histories: &mut Histories<'_>,
    survivor: &PrisonerNumber,
) -> Result<Vec<CasePeriodRow>, Error> {
    histories.read([survivor.clone()]).await?;
    let removed = histories.read_removed(survivor).await?;
    let Some(survivor) = histories.get(survivor) else { return Ok(Vec::new()) };
    let removed = removed.iter().filter_map(|(merged_at, number)| Some((*merged_at, histories.get(number)?)));
    let before = periods_before_merges(survivor, removed);
    Ok(before.iter().filter_map(|before| case_before_merge(survivor, before)).collect())
}

/// A period of the time before a merge, as an answer for the survivor.
pub(super) fn case_before_merge(survivor: &History, before: &PeriodBeforeMerge<'_>) -> Option<CasePeriodRow> {
    let removed = PrisonerCaseRow::of(before.removed, before.removed.state())?;
    Some(CasePeriodRow {
        prisoner_number: survivor.number().clone(),
        case_revision: survivor.revision().unwrap_or_default(),
        ..CasePeriodRow::of(&removed, before.period.clone())?
    })
}
