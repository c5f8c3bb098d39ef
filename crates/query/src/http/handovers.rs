//! `GET /prisons/{code}/handovers`: which handovers begin, which are due, which are overdue for a COM.

use std::borrow::Cow;

use axum::{
    extract::State as Extracted,
    response::{IntoResponse as _, Response},
};
use chrono::Days;
use domain::{identifier::PrisonCode, london};
use event_log::KnownAt;
use http_api::{
    Params, PathParams, Problem,
    instant::{DateOrInstant, optional_known_at},
    page::Limit,
};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::{IntoParams, ToSchema};

use super::cases::CaseItem;
use crate::{
    State,
    answer::Answer,
    known::{self, Whose},
    present::case_list::{Filter, List, Page, Sort, SortBy},
};

/// How far ahead one looks where the caller does not say.
const WITHIN_DAYS_DEFAULT: u64 = 30;

/// How far ahead one may look: sentences end within a century.
const WITHIN_DAYS_MAX: u64 = 36_525;

/// How far ahead.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Days ahead, e.g. `30d`, today not counted.
    #[serde(default)]
    #[param(value_type = Option<String>, default = "30d")]
    within: Within,
    /// Asks about this instant, or about the start of this London date; absent, about now.
    #[param(value_type = Option<String>, example = "2026-03-01")]
    on: Option<DateOrInstant>,
    /// Asks what was known then: an instant, the end of a London date, or a position in the ledger; absent, what is known now.
    #[serde(default, deserialize_with = "optional_known_at")]
    #[param(value_type = Option<String>, example = "81233")]
    known_at: Option<KnownAt>,
}

/// A number of days.
#[derive(Debug, Clone, Copy)]
struct Within(u64);

impl Default for Within {
    fn default() -> Self {
        Self(WITHIN_DAYS_DEFAULT)
    }
}

impl<'de> Deserialize<'de> for Within {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        match text.strip_suffix('d').and_then(|days| days.parse().ok()) {
            Some(days) if days <= WITHIN_DAYS_MAX => Ok(Self(days)),
            _ => Err(de::Error::custom(format_args!(
                "`{text}` is not a number of days from 0d to {WITHIN_DAYS_MAX}d, e.g. 30d"
            ))),
        }
    }
}

/// The handovers of a prison. Each list has at most 1,000 cases, the earliest; a prison holds about that many.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Handovers<'a> {
    /// A COM comes in to support within the days asked for, by start date.
    starting: Vec<CaseItem<'a>>,
    /// The COM becomes responsible within the days asked for, by handover date.
    due: Vec<CaseItem<'a>>,
    /// The COM is responsible already, but none is named; longest first.
    overdue: Vec<CaseItem<'a>>,
}

/// The handovers that begin or are due in the next days, and those overdue for a COM.
///
/// A case whose responsibility is overridden neither begins nor is due: its plan does not decide.
#[utoipa::path(
    get, path = "/prisons/{code}/handovers", tag = "Answers",
    params(("code" = String, Path, description = "Prison code", example = "LEI"), Which),
    responses((status = 200, body = Handovers)),
)]
pub(super) async fn handovers(
    Extracted(state): Extracted<State>,
    PathParams(prison): PathParams<PrisonCode>,
    Params(which): Params<Which>,
) -> Result<Response, Problem> {
    let at = which.on.map_or_else(|| state.now(), DateOrInstant::instant);
    let today = london::date(at);
    let days_ahead = |days| today.checked_add_days(Days::new(days)).unwrap_or(today);
    let ahead = Some((days_ahead(1), days_ahead(which.within.0)));
    let here = Filter { prison: Some(prison.clone()), ..Filter::default() };
    let list = |filter, by| List { filter, sort: Sort { by, descending: false }, after: None, limit: Some(Limit::MAX) };
    let asked = [
        list(Filter { starts_within: ahead, ..here.clone() }, SortBy::HandoverStartDate),
        list(Filter { due_within: ahead, ..here.clone() }, SortBy::HandoverDate),
        list(Filter { overdue: true, ..here }, SortBy::ResponsibleSince),
    ];
    let (position, pages) = known::lists(&state, Whose::Prison(&prison), asked, at, which.known_at).await?;
    let [starting, due, overdue] =
        pages.each_ref().map(|Page { cases, .. }| cases.iter().map(CaseItem::from).collect());
    let answer = Handovers { starting, due, overdue };
    Ok(Answer::new(position, answer).into_response())
}
