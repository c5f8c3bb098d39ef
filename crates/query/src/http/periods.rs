//! `GET /prisoners/{prisonerNumber}/responsibility/periods`: the periods of responsibility for a
//! case, past and planned.

use access_log::Shown;
use axum::{
    extract::State,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    prisoner::Phase,
    tier::Tier,
};
use http_api::{CallerScope, ParamGroups, PathParams, Problem, page::Cursor};
use serde::Serialize;
use utoipa::ToSchema;
use views::CasePeriodRow;

use super::{
    answer::{Answer, page_rows},
    error_problem::prisoner_unknown,
    officer::{Officer, Override, PomHolder, Reason},
    parameters::{KnownAtQuery, LongPaging},
};
use crate::{
    QueryState,
    past::{self, CasePeriod},
};

/// A stretch of time in which nothing about the case changes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResponsibilityPeriod<'a> {
    /// The number; of one that was merged, the survivor.
    prisoner_number: &'a PrisonerNumber,
    /// First instant.
    from: DateTime<Utc>,
    /// First instant after it; null while nothing known ends it.
    to: Option<DateTime<Utc>>,
    /// Where the case is held.
    prison: Option<&'a PrisonCode>,
    /// Where the case is between custody and community.
    phase: Phase,
    /// The tier.
    tier: Option<Tier>,
    /// The responsible officer.
    responsible: Officer<'a>,
    /// The supporting officer, if a role supports.
    supporting: Option<Officer<'a>>,
    /// The co-working POM.
    coworker: Option<PomHolder<'a>>,
    /// The handover plan that it follows from.
    reason: Option<Reason>,
    /// The decision against the plan, where there is one.
    #[serde(rename = "override")]
    responsibility_override: Option<Override<'a>>,
    /// The highest revision among the entries in effect.
    revision: u64,
}

impl<'a> From<&'a CasePeriodRow> for ResponsibilityPeriod<'a> {
    fn from(case: &'a CasePeriodRow) -> Self {
        Self {
            prisoner_number: &case.prisoner_number,
            from: case.valid_from,
            to: case.valid_to.0,
            prison: case.prison.as_ref(),
            phase: case.phase,
            tier: case.tier,
            responsible: Officer::responsible(case),
            supporting: Officer::supporting(case),
            coworker: case.coworker.as_ref().map(PomHolder::from),
            reason: case.plan.map(Reason::from),
            responsibility_override: case.responsibility_override.as_ref().map(Override::from),
            revision: case.revision,
        }
    }
}

/// Who was responsible from when to when, past and planned; the periods adjoin.
///
/// Those from before anything was known under the surviving number of a merge come from the removed
/// number's own history, and need not adjoin.
#[utoipa::path(
    get, path = "/prisoners/{prisonerNumber}/responsibility/periods", tag = "Questions about a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1000AA"),
        KnownAtQuery, LongPaging,
    ),
    responses(
        (status = 200, body = Vec<ResponsibilityPeriod>),
        (status = 404, body = http_api::problem::ProblemDocument, description = "`prisoner-unknown`"),
    ),
)]
pub(super) async fn list_responsibility_periods(
    State(state): State<QueryState>,
    caller: CallerScope,
    PathParams(number): PathParams<PrisonerNumber>,
    ParamGroups((KnownAtQuery { known_at }, paging)): ParamGroups<(KnownAtQuery, LongPaging)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let after: Option<DateTime<Utc>> = paging.after()?;
    let (position, periods) = past::case_periods(&state, &caller.texts, &number, known_at).await?;
    let periods = periods.ok_or_else(|| prisoner_unknown(&number).with_position(position))?;
    let seen = periods.partition_point(|period| after.is_some_and(|after| period.valid_from <= after));
    let cursor_after = |period: &CasePeriodRow| Cursor::after(&period.valid_from);
    let (page, next) = page_rows(&periods[seen..], None, ResponsibilityPeriod::from, cursor_after)?;
    let shown = Shown::prisoners(periods[seen..].iter().take(page.len()).map(|period| &period.prisoner_number));
    Ok(Answer::new(position, page, shown).with_next(next.as_ref(), &uri).into_response())
}

/// A period of a case in the shape that this operation answers, for tools that print the same.
#[must_use]
pub fn responsibility_period(period: &CasePeriod) -> impl Serialize {
    ResponsibilityPeriod::from(&period.case)
}
