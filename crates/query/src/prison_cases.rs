//! The cases of a prison for a tool, in one list, as `GET /prisons/{prisonCode}/cases` has them in
//! pages.

use chrono::{DateTime, Utc};
use domain::{Stream, identifier::PrisonCode};
use event_log::KnownAt;
use http_api::CallerScope;
use views::{CasePeriodRow, VIEWS_VERSION};

use crate::{
    QueryError, QueryState,
    error::is_unprepared,
    past::{CaseListScope, ListExtent, PastError, case_lists},
    present::{
        case_list::{CaseFilter, CaseList, CaseSort},
        checkpoint, prison,
    },
};

/// The cases of a prison.
#[derive(Debug)]
pub struct PrisonCases {
    /// The position in the log that the list is of.
    pub position: u64,
    /// How many cases and prisons the views leave out.
    pub streams_aside: usize,
    /// The instant asked about.
    pub on: DateTime<Utc>,
    /// The cases, by prisoner number.
    pub cases: Vec<CasePeriodRow>,
}

/// Whether the views can answer a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewsCondition {
    /// There are none yet.
    Missing,
    /// They are of another log than the one asked.
    OfOtherLog,
    /// They are of another version than this program reads.
    Outdated,
    /// They answer, up to their position.
    Usable,
}

/// The condition of the views.
///
/// # Errors
/// The views or the log cannot be read.
pub async fn views_condition(state: &QueryState) -> Result<ViewsCondition, QueryError> {
    let checkpoint = match checkpoint::read(&state.views).await {
        Err(QueryError::Views(error)) if is_unprepared(&error) => return Ok(ViewsCondition::Missing),
        read => read?,
    };
    Ok(if !checkpoint::is_of(checkpoint, &state.log).await? {
        ViewsCondition::OfOtherLog
    } else if checkpoint.version != VIEWS_VERSION {
        ViewsCondition::Outdated
    } else {
        ViewsCondition::Usable
    })
}

/// The cases of a prison at an instant, or now, as they are known or were known at a point. `None`
/// where neither the list of prisons nor the ledger has the prison.
///
/// # Errors
/// The views or the log cannot be read, the log does not reach the point, or the views do not come
/// to it in time.
pub async fn prison_cases(
    state: &QueryState,
    prison: &PrisonCode,
    on: Option<DateTime<Utc>>,
    known_at: Option<KnownAt>,
) -> Result<Option<PrisonCases>, PastError> {
    if !is_known(state, prison).await? {
        return Ok(None);
    }
    let on = on.unwrap_or_else(|| state.now());
    let filter = CaseFilter { prison: Some(prison.clone()), ..CaseFilter::default() };
    let all = CaseList { filter, sort: CaseSort::default(), after: None, limit: None };
    let (extent, [page]) =
        case_lists(state, &CallerScope::default(), CaseListScope::Prison(prison), [all], on, known_at).await?;
    let ListExtent { position, streams_aside } = extent;
    Ok(Some(PrisonCases { position, streams_aside, on, cases: page.cases }))
}

/// Whether the list of prisons or the ledger has a prison. Its own events are asked of the log,
/// which is ahead of the views; the cases that were ever held there are found by the views alone.
pub(crate) async fn is_known(state: &QueryState, prison: &PrisonCode) -> Result<bool, QueryError> {
    if prison.listed_name().is_some() {
        return Ok(true);
    }
    let events = state.log.read_stream(&Stream::Prison(prison.clone()), 0, 1).await?;
    Ok(!events.is_empty() || prison::is_named(&state.views, prison).await?)
}
