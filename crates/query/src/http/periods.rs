//! `GET /prisoners/{n}/responsibility/periods`: who was responsible from when to when, past and planned.

use axum::{
    extract::State as Extracted,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    handover::Phase,
    identifier::{PrisonCode, PrisonerNumber},
    tier::Tier,
};
use event_log::KnownAt;
use http_api::{Params, PathParams, Problem, instant::optional_known_at};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    officer::{Officer, Override, PomHolder, Reason},
    responsibility::unknown,
};
use crate::{
    State,
    answer::Answer,
    case_log, known,
    present::case::{self, Case, Found},
};

/// This operation has no parameters; any that is given is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParams {}

/// As known when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AsKnown {
    /// Asks what was known then: an instant, the end of a London date, or a position in the ledger; absent, what is known now.
    #[serde(default, deserialize_with = "optional_known_at")]
    #[param(value_type = Option<String>, example = "81233")]
    pub(super) known_at: Option<KnownAt>,
}

/// A stretch of time in which nothing about the case changes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResponsibilityPeriod<'a> {
    /// The number; of one that was merged, the survivor.
    #[schema(value_type = String, example = "A1234BC")]
    prisoner_number: &'a PrisonerNumber,
    /// First instant.
    from: DateTime<Utc>,
    /// First instant after it; null while nothing known ends it.
    to: Option<DateTime<Utc>>,
    /// Where the case is held.
    #[schema(value_type = Option<String>, example = "LEI")]
    prison: Option<&'a PrisonCode>,
    /// `CUSTODY_ONLY`, `CUSTODY_WITH_COM` or `COMMUNITY`.
    #[schema(value_type = String, example = "CUSTODY_ONLY")]
    phase: Phase,
    /// The tier.
    #[schema(value_type = Option<String>, example = "B2")]
    tier: Option<Tier>,
    /// Who is responsible.
    responsible: Officer<'a>,
    /// Who supports, if anybody is to.
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

impl<'a> From<&'a Case> for ResponsibilityPeriod<'a> {
    fn from(case: &'a Case) -> Self {
        Self {
            prisoner_number: &case.number,
            from: case.from,
            to: case.to,
            prison: case.prison.as_ref(),
            phase: case.phase,
            tier: case.tier,
            responsible: Officer::responsible(case),
            supporting: Officer::supporting(case),
            coworker: case.coworker.as_ref().map(PomHolder::from),
            reason: case.plan.map(Reason::from),
            responsibility_override: case.responsibility_override.as_ref().map(Override::from),
            revision: case.period_revision,
        }
    }
}

/// Who was responsible from when to when, past and planned; the periods adjoin.
///
/// Those from before anything was known under the surviving number of a merge come from the removed number's own history,
/// and need not adjoin.
#[utoipa::path(
    get, path = "/prisoners/{n}/responsibility/periods", tag = "Answers",
    params(("n" = String, Path, description = "Prisoner number", example = "A1234BC"), AsKnown),
    responses(
        (status = 200, body = Vec<ResponsibilityPeriod>),
        (status = 404, body = http_api::problem::Document, description = "`prisoner-unknown`"),
    ),
)]
pub(super) async fn responsibility_periods(
    Extracted(state): Extracted<State>,
    PathParams(number): PathParams<PrisonerNumber>,
    Params(as_known): Params<AsKnown>,
) -> Result<Response, Problem> {
    let (position, periods, point) = match as_known.known_at {
        None => case::periods(&state.views, &number).await.map(|(position, periods)| (position, periods, None))?,
        Some(known_at) => {
            let point = known::point(&state.log, known_at).await?;
            let histories = known::histories(&state.log, std::slice::from_ref(&number), point).await?;
            let periods = histories.get(&number).map(|history| {
                let own = domain::prisoner::periods(history).iter().map(|period| Case::of(history, period)).collect();
                (history.number().clone(), own)
            });
            (point.position, periods, Some(point.known_at()))
        }
    };
    let (survivor, own): (_, Vec<Case>) =
        periods.ok_or_else(|| unknown(&Found::Unknown, &number).with_position(position))?;
    // From the log, which goes at least as far as the views.
    let mut periods = case_log::periods_before_merges(&state.log, &survivor, point).await?;
    periods.extend(own);
    let periods: Vec<ResponsibilityPeriod<'_>> = periods.iter().map(ResponsibilityPeriod::from).collect();
    Ok(Answer::new(position, periods).into_response())
}
