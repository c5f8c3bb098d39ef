//! Single cases: at an instant, and from the first period to the last planned one.
//!
//! A number that was merged answers with the survivor; before anything was known under the
//! survivor, with the numbers merged into it. The two halves of a merge are recorded one after the
//! other: until anything is known of the survivor, the removed number answers as it was left.
//!
//! An answer is of one position. Where the views answer a part of it, the log is read up to their
//! position, which it has always reached.

use std::slice;

use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    prisoner::{
        self, History,
        lineage::{PeriodBeforeMerge, periods_before_merges},
    },
};
use event_log::KnownAt;
use http_api::ReadableTexts;
use views::{CasePeriodRow, PrisonerCaseRow};

use super::{PastError, histories::Histories, point::Point, readable::hide_details};
use crate::{
    QueryError, QueryState,
    present::{
        case::{self, CaseAt},
        checkpoint, snapshot,
    },
};

/// A case at an instant, and the position that the answer is of. Of the present it shares its
/// statement with the look-ups that come at the same time.
pub(crate) async fn case_at(
    state: &QueryState,
    texts: &ReadableTexts,
    number: &PrisonerNumber,
    on: DateTime<Utc>,
    known_at: Option<KnownAt>,
) -> Result<(u64, CaseAt), PastError> {
    let Some(known_at) = known_at else {
        let (position, case) = state.cases.case_at(number.clone(), on).await?;
        let mut histories = Histories::new(&state.log, Point { position });
        let mut case = or_from_log(&mut histories, number, case, on).await?;
        hide_details(state, texts, case.row_mut().into_iter()).await?;
        return Ok((position, case));
    };
    let (position, mut cases) = known_cases_at(state, slice::from_ref(number), on, known_at).await?;
    hide_details(state, texts, cases.iter_mut().filter_map(CaseAt::row_mut)).await?;
    Ok((position, cases.into_iter().next().unwrap_or(CaseAt::Unknown)))
}

/// The cases of several numbers at an instant, in the order asked, and the position that all of
/// them are of.
pub(crate) async fn cases_at(
    state: &QueryState,
    texts: &ReadableTexts,
    numbers: &[PrisonerNumber],
    on: DateTime<Utc>,
    known_at: Option<KnownAt>,
) -> Result<(u64, Vec<CaseAt>), PastError> {
    if let Some(known_at) = known_at {
        let (position, mut cases) = known_cases_at(state, numbers, on, known_at).await?;
        hide_details(state, texts, cases.iter_mut().filter_map(CaseAt::row_mut)).await?;
        return Ok((position, cases));
    }
    let asked = numbers.iter().map(|number| (number.clone(), on)).collect();
    let mut views = snapshot(&state.views).await?;
    let position = checkpoint::read(&mut *views).await?.position;
    let found = case::each_at(&mut views, asked).await?;
    views.commit().await.map_err(QueryError::from)?;
    let mut histories = Histories::new(&state.log, Point { position });
    let mut cases = Vec::with_capacity(numbers.len());
    for (number, (_, case)) in numbers.iter().zip(found) {
        cases.push(or_from_log(&mut histories, number, case, on).await?);
    }
    hide_details(state, texts, cases.iter_mut().filter_map(CaseAt::row_mut)).await?;
    Ok((position, cases))
}

/// The prison at which each case is held or waits now, in the order asked; of a merged number, that
/// of the survivor. `None` where it is at none, and of a number that is not known.
///
/// # Errors
/// As for a question about a case.
pub(crate) async fn prisons_now(
    state: &QueryState,
    numbers: &[PrisonerNumber],
) -> Result<Vec<Option<PrisonCode>>, PastError> {
    let (position, cases) = match numbers {
        // A single case shares its statement with others.
        [number] => {
            let (position, case) = case_at(state, &ReadableTexts::All, number, state.now(), None).await?;
            (position, vec![case])
        }
        numbers => cases_at(state, &ReadableTexts::All, numbers, state.now(), None).await?,
    };
    let mut prisons = Vec::with_capacity(cases.len());
    for (number, mut case) in numbers.iter().zip(cases) {
        if let CaseAt::Damaged(_) = case {
            // The log has the case that the views leave out.
            let known = Some(KnownAt::Position(position));
            let read = cases_at(state, &ReadableTexts::All, slice::from_ref(number), state.now(), known).await?;
            case = read.1.into_iter().next().unwrap_or(CaseAt::Unknown);
        }
        prisons.push(match case {
            CaseAt::Case(case) => case.prison,
            CaseAt::Unknown | CaseAt::NotYet(_) | CaseAt::Damaged(_) => None,
        });
    }
    Ok(prisons)
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
    let mut cases = Vec::with_capacity(numbers.len());
    for number in numbers {
        cases.push(case_in_log(&mut histories, number, on).await?);
    }
    Ok((point.position, cases))
}

/// A case as the views have it, or as the log has it where nothing had happened yet under the
/// number that answers: it may have been known under others.
async fn or_from_log(
    histories: &mut Histories<'_>,
    asked: &PrisonerNumber,
    case: CaseAt,
    on: DateTime<Utc>,
) -> Result<CaseAt, QueryError> {
    let CaseAt::NotYet(_) = case else { return Ok(case) };
    histories.read_survivors(slice::from_ref(asked)).await?;
    case_in_log(histories, asked, on).await
}

/// A case at an instant by the histories of its numbers; [`Histories::read_survivors`] must have
/// read the number asked for.
async fn case_in_log(
    histories: &mut Histories<'_>,
    asked: &PrisonerNumber,
    on: DateTime<Utc>,
) -> Result<CaseAt, QueryError> {
    let Some(number) = histories.answering_number(asked)? else { return Ok(CaseAt::Unknown) };
    let own = histories.get(&number).map(own_periods).unwrap_or_default();
    let mut then = own.into_iter().find(|period| period.holds_at(on));
    if then.is_none() {
        then = periods_before(histories, asked, &number).await?.into_iter().find(|period| period.holds_at(on));
    }
    Ok(then.map_or(CaseAt::NotYet(number), |period| CaseAt::Case(Box::new(period))))
}

/// Every period of a case, past and planned, in order, and the position that the answer is of;
/// `None` where nothing is known of the number. Those from before a merge need not adjoin. They all
/// come from the log, which the time before a merge needs anyway.
pub(crate) async fn case_periods(
    state: &QueryState,
    texts: &ReadableTexts,
    asked: &PrisonerNumber,
    known_at: Option<KnownAt>,
) -> Result<(u64, Option<Vec<CasePeriodRow>>), PastError> {
    let point = match known_at {
        None => Point { position: case::check_undamaged(&state.views, asked).await? },
        Some(known_at) => Point::of(&state.log, known_at).await?,
    };
    let mut histories = Histories::new(&state.log, point);
    histories.read_survivors(slice::from_ref(asked)).await?;
    let Some(number) = histories.answering_number(asked)? else { return Ok((point.position, None)) };
    let mut all = periods_before(&mut histories, asked, &number).await?;
    all.extend(histories.get(&number).map(own_periods).unwrap_or_default());
    hide_details(state, texts, all.iter_mut()).await?;
    Ok((point.position, Some(all)))
}

/// The periods of the number that answers for a case. One that was retired answers only while
/// nothing is known of its survivor, and for all that time.
fn own_periods(history: &History) -> Vec<CasePeriodRow> {
    let Some(case) = PrisonerCaseRow::of(history, history.state()) else { return Vec::new() };
    let periods = prisoner::periods(&history.before_retirement()).into_iter();
    periods.filter_map(|period| CasePeriodRow::of(&case, period)).collect()
}

/// The periods of the time before the first one of the number that answers, in order, as answers
/// for that number.
async fn periods_before(
    histories: &mut Histories<'_>,
    asked: &PrisonerNumber,
    number: &PrisonerNumber,
) -> Result<Vec<CasePeriodRow>, QueryError> {
    let removed = histories.read_removed(asked).await?;
    let Some(survivor) = histories.get(number) else { return Ok(Vec::new()) };
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
