//! `GET /prisons/{prisonCode}/handovers`: which handovers begin, which are due, which are
//! overdue for a COM.

use std::borrow::Cow;

use access_log::Shown;
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use chrono::Days;
use domain::{handover::latest_overdue_date, identifier::PrisonCode, london, text::Excerpt};
use http_api::{CallerScope, ParamGroups, PathParams, Problem, headers::whole_number, page::Limit};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::{IntoParams, ToSchema};

use super::{answer::Answer, cases::CaseItem, parameters::AsOfQuery};
use crate::{
    QueryState,
    past::{self, CaseListScope},
    present::case_list::{CaseFilter, CaseList, CasePage, CaseSort, SortBy},
};

/// How far ahead one looks where the caller does not say.
const WITHIN_DAYS_DEFAULT: u64 = 30;

/// How far ahead one may look: sentences end within a century.
const WITHIN_DAYS_MAX: u64 = 36_525;

/// How far ahead.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HandoversQuery {
    /// Days ahead, e.g. `30d`, today not counted.
    #[serde(default)]
    #[param(
        value_type = Option<String>,
        default = "30d",
        pattern = "^0*(?:[0-9]{1,4}|[12][0-9]{4}|3[0-5][0-9]{3}|36[0-4][0-9]{2}|365[01][0-9]|3652[0-5])d$"
    )]
    within: HandoverWindow,
}

/// A number of days.
#[derive(Debug, Clone, Copy)]
struct HandoverWindow(u64);

impl Default for HandoverWindow {
    fn default() -> Self {
        Self(WITHIN_DAYS_DEFAULT)
    }
}

impl<'de> Deserialize<'de> for HandoverWindow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        match text.strip_suffix('d').and_then(whole_number) {
            Some(days) if days <= WITHIN_DAYS_MAX => Ok(Self(days)),
            _ => Err(de::Error::custom(format_args!(
                "`{}` is not a number of days from 0d to {WITHIN_DAYS_MAX}d, e.g. 30d",
                Excerpt(&text)
            ))),
        }
    }
}

/// The handovers of a prison. Each list has at most 1,000 cases, the earliest; a prison holds about
/// that many.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Handovers<'a> {
    /// A COM comes in to support within the days asked for, by start date. A case whose start is
    /// its handover date is under `due` alone.
    starting: Vec<CaseItem<'a>>,
    /// The COM becomes responsible within the days asked for, by handover date.
    due: Vec<CaseItem<'a>>,
    /// No COM is named on the second day after the handover date, or later; longest first.
    overdue: Vec<CaseItem<'a>>,
}

/// The handovers that begin or are due in the next days, and those overdue for a COM.
///
/// A case whose responsibility is overridden neither begins nor is due: its plan does not decide.
#[utoipa::path(
    get, path = "/prisons/{prisonCode}/handovers", tag = "Questions about a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        HandoversQuery, AsOfQuery,
    ),
    responses((status = 200, body = Handovers)),
)]
pub(super) async fn get_handovers(
    State(state): State<QueryState>,
    caller: CallerScope,
    PathParams(prison): PathParams<PrisonCode>,
    ParamGroups((query, as_of)): ParamGroups<(HandoversQuery, AsOfQuery)>,
) -> Result<Response, Problem> {
    let at = as_of.on(&state);
    let today = london::date(at);
    let days_ahead = |days| today.checked_add_days(Days::new(days)).unwrap_or(today);
    let ahead = Some((days_ahead(1), days_ahead(query.within.0)));
    let lacks_com_since = latest_overdue_date(today);
    let here = CaseFilter { prison: Some(prison.clone()), ..CaseFilter::default() };
    let list = |filter, by| CaseList {
        filter,
        sort: CaseSort { by, descending: false },
        after: None,
        limit: Some(Limit::MAX),
    };
    let asked = [
        list(CaseFilter { starts_within: ahead, ..here.clone() }, SortBy::HandoverStartDate),
        list(CaseFilter { due_within: ahead, ..here.clone() }, SortBy::HandoverDate),
        list(CaseFilter { lacks_com_since, ..here }, SortBy::HandoverDate),
    ];
    let (extent, pages) =
        past::case_lists(&state, &caller, CaseListScope::Prison(&prison), asked, at, as_of.known_at).await?;
    let [starting, due, overdue] =
        pages.each_ref().map(|CasePage { cases, .. }| cases.iter().map(CaseItem::from).collect());
    let answer = Handovers { starting, due, overdue };
    let shown = Shown::prisoners(pages.iter().flat_map(|page| &page.cases).map(|case| &case.prisoner_number));
    Ok(Answer::list(extent, answer, shown).into_response())
}
