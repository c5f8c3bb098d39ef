//! `GET /prisons/{code}/unallocated`: cases that wait to be allocated, longest first.

use axum::{
    extract::State as Extracted,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    tier::{RoshLevel, Tier},
};
use event_log::KnownAt;
use http_api::{
    Params, PathParams, Problem,
    instant::{DateOrInstant, optional_known_at},
    page::{Cursor, Limit},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::officer::{PomHolder, Reason};
use crate::{
    State,
    answer::Answer,
    known::{self, Whose},
    present::{
        case::Case,
        case_list::{Filter, List, Sort, SortBy},
    },
};

/// Which cases.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Asks about this instant, or about the start of this London date; absent, about now.
    #[param(value_type = Option<String>, example = "2026-03-01")]
    on: Option<DateOrInstant>,
    /// Asks what was known then: an instant, the end of a London date, or a position in the ledger; absent, what is known now.
    #[serde(default, deserialize_with = "optional_known_at")]
    #[param(value_type = Option<String>, example = "81233")]
    known_at: Option<KnownAt>,
    /// Tier; a letter alone stands for all its change levels.
    #[param(value_type = Option<String>, example = "B")]
    tier: Option<Tier>,
    /// Cursor of the page before.
    #[param(value_type = Option<String>)]
    after: Option<Cursor>,
    /// Rows in a page.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
}

/// A case that waits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WaitingCase<'a> {
    /// The number.
    #[schema(value_type = String, example = "A1234BC")]
    prisoner_number: &'a PrisonerNumber,
    /// The number in Delius.
    crn: Option<&'a str>,
    /// The tier, which it needs before it is allocated.
    #[schema(value_type = Option<String>, example = "B2")]
    tier: Option<Tier>,
    /// Risk of serious harm.
    #[schema(value_type = Option<String>)]
    rosh_level: Option<RoshLevel>,
    /// Since when it waits.
    waiting_since: Option<DateTime<Utc>>,
    /// For how many whole days.
    days: Option<i64>,
    /// The co-working POM who stayed, where one did.
    coworker: Option<PomHolder<'a>>,
    /// The handover plan in effect.
    reason: Option<Reason>,
}

impl<'a> WaitingCase<'a> {
    fn new(case: &'a Case, at: DateTime<Utc>) -> Self {
        Self {
            prisoner_number: &case.number,
            crn: case.crn.as_deref(),
            tier: case.tier,
            rosh_level: case.rosh_level,
            waiting_since: case.waiting_since,
            days: case.waiting_since.map(|since| (at - since).num_days()),
            coworker: case.coworker.as_ref().map(PomHolder::from),
            reason: case.plan.map(Reason::from),
        }
    }
}

/// The cases that wait to be allocated at a prison, longest first.
#[utoipa::path(
    get, path = "/prisons/{code}/unallocated", tag = "Answers",
    params(("code" = String, Path, description = "Prison code", example = "LEI"), Which),
    responses((status = 200, body = Vec<WaitingCase>)),
)]
pub(super) async fn unallocated(
    Extracted(state): Extracted<State>,
    PathParams(prison): PathParams<PrisonCode>,
    Params(which): Params<Which>,
    uri: Uri,
) -> Result<Response, Problem> {
    let at = which.on.map_or_else(|| state.now(), DateOrInstant::instant);
    let after = which.after.as_ref().map(Cursor::key).transpose()?;
    let filter = Filter { prison: Some(prison.clone()), tier: which.tier, waiting: Some(true), ..Filter::default() };
    let longest_first = Sort { by: SortBy::WaitingSince, descending: false };
    let list = List { filter, sort: longest_first, after, limit: Some(which.limit) };
    let (position, [page]) = known::lists(&state, Whose::Prison(&prison), [list], at, which.known_at).await?;
    let items: Vec<WaitingCase<'_>> = page.cases.iter().map(|case| WaitingCase::new(case, at)).collect();
    Ok(Answer::new(position, items).followed_by(page.next.as_ref(), &uri).into_response())
}
