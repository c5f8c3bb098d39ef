//! `GET /prisons/{prisonCode}/unallocated`: cases that wait to be allocated, longest first.

use access_log::Shown;
use axum::{
    extract::State,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    identifier::{Crn, PrisonCode, PrisonerNumber},
    prisoner::WaitingReason,
    tier::{RoshLevel, Tier},
};
use http_api::{CallerScope, ParamGroups, PathParams, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use views::CasePeriodRow;

use super::{
    answer::{Answer, page_rows},
    officer::{PomHolder, Reason},
    parameters::{AsOfQuery, Paging},
};
use crate::{
    QueryState,
    past::{self, CaseListScope},
    present::case_list::{CaseFilter, CaseList, CaseSort, SortBy},
};

/// Which cases.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UnallocatedQuery {
    /// Tier; a letter alone means all its change levels, with or without the `S`.
    #[param(inline)]
    tier: Option<Tier>,
}

/// A case that waits to be allocated.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WaitingCase<'a> {
    /// The number.
    prisoner_number: &'a PrisonerNumber,
    /// The number in Delius.
    #[schema(value_type = Option<Crn>)]
    crn: Option<&'a str>,
    /// The tier, which it needs before it is allocated.
    tier: Option<Tier>,
    /// Risk of serious harm.
    rosh_level: Option<RoshLevel>,
    /// Since when it waits.
    waiting_since: Option<DateTime<Utc>>,
    /// Why it waits.
    waiting_reason: Option<WaitingReason>,
    /// For how many calendar days in London.
    days: Option<i64>,
    /// The co-working POM who stayed, where one did.
    coworker: Option<PomHolder<'a>>,
    /// The handover plan in effect.
    reason: Option<Reason>,
}

impl<'a> WaitingCase<'a> {
    pub(super) fn new(case: &'a CasePeriodRow, at: DateTime<Utc>) -> Self {
        Self {
            prisoner_number: &case.prisoner_number,
            crn: case.crn.as_ref().map(Crn::as_str),
            tier: case.tier,
            rosh_level: case.rosh_level,
            waiting_since: case.waiting.map(|waiting| waiting.since),
            waiting_reason: case.waiting.map(|waiting| waiting.reason),
            days: case.waiting.map(|waiting| waiting.days_at(at)),
            coworker: case.coworker.as_ref().map(PomHolder::from),
            reason: case.plan.map(Reason::from),
        }
    }
}

/// The cases that wait to be allocated at a prison, longest first.
#[utoipa::path(
    get, path = "/prisons/{prisonCode}/unallocated", tag = "Questions about a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        AsOfQuery, UnallocatedQuery, Paging,
    ),
    responses((status = 200, body = Vec<WaitingCase>)),
)]
pub(super) async fn list_unallocated_cases(
    State(state): State<QueryState>,
    caller: CallerScope,
    PathParams(prison): PathParams<PrisonCode>,
    ParamGroups((as_of, query, paging)): ParamGroups<(AsOfQuery, UnallocatedQuery, Paging)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let at = as_of.on(&state);
    let after = paging.after()?;
    let filter =
        CaseFilter { prison: Some(prison.clone()), tier: query.tier, waiting: Some(true), ..CaseFilter::default() };
    // The longest first.
    let sort = CaseSort { by: SortBy::WaitingSince, descending: false };
    let list = CaseList { filter, sort, after, limit: Some(paging.limit) };
    let (extent, [page]) =
        past::case_lists(&state, &caller, CaseListScope::Prison(&prison), [list], at, as_of.known_at).await?;
    let (items, next) =
        page_rows(&page.cases, page.next, |case| WaitingCase::new(case, at), |case| sort.cursor_after(case))?;
    let shown = Shown::prisoners(page.cases.iter().take(items.len()).map(|case| &case.prisoner_number));
    Ok(Answer::list(extent, items, shown).with_next(next.as_ref(), &uri).into_response())
}
