//! `GET /prisoners/{n}/responsibility`: who is responsible, now, at another time, or as it was believed at some point.

use axum::extract::State as Extracted;
use chrono::{DateTime, Utc};
use domain::{
    handover::Phase,
    identifier::{PrisonCode, PrisonerNumber},
    prisoner::{period_at, periods},
    tier::Tier,
};
use event_log::{KnownAt, SharedLog};
use http_api::{
    Params, PathParams, Problem,
    instant::{DateOrInstant, optional_known_at},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::officer::{Officer, Override, PomHolder, Reason};
use crate::{
    Error, State,
    answer::Answer,
    case_log,
    known::{self, Point},
    present::case::{Case, Found},
};

/// When.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct When {
    /// Asks about this instant, or about the start of this London date; absent, about now.
    #[param(value_type = Option<String>, example = "2026-03-01")]
    on: Option<DateOrInstant>,
    /// Asks what was believed then: an instant, the end of a London date, or a position in the ledger; absent, what is known now.
    #[serde(default, deserialize_with = "optional_known_at")]
    #[param(value_type = Option<String>, example = "81233")]
    known_at: Option<KnownAt>,
}

/// Who is responsible.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Responsibility<'a> {
    /// The number; of one that was merged, the survivor.
    #[schema(value_type = String, example = "A1234BC")]
    prisoner_number: &'a PrisonerNumber,
    /// Where the case is held; null once released.
    #[schema(value_type = Option<String>, example = "LEI")]
    prison: Option<&'a PrisonCode>,
    /// The instant asked about.
    on: DateTime<Utc>,
    /// `CUSTODY_ONLY`, `CUSTODY_WITH_COM` or `COMMUNITY`.
    #[schema(value_type = String, example = "CUSTODY_WITH_COM")]
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
    /// How far the answer goes.
    as_of: AsOf,
}

/// How far an answer goes.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct AsOf {
    /// In the ledger.
    position: u64,
    /// In the case.
    revision: u64,
}

impl<'a> Responsibility<'a> {
    pub(super) fn new(case: &'a Case, on: DateTime<Utc>, position: u64) -> Self {
        Self {
            prisoner_number: &case.number,
            prison: case.prison.as_ref(),
            on,
            phase: case.phase,
            tier: case.tier,
            responsible: Officer::responsible(case),
            supporting: Officer::supporting(case),
            coworker: case.coworker.as_ref().map(PomHolder::from),
            reason: case.plan.map(Reason::from),
            responsibility_override: case.responsibility_override.as_ref().map(Override::from),
            as_of: AsOf { position, revision: case.revision },
        }
    }
}

/// Who is responsible for a case.
///
/// Before anything was known under the surviving number of a merge, a removed number's own history answers. A role that
/// nobody fills is an answer: `responsible.vacancy` says `NOT_ALLOCATED` or `COM_NOT_NAMED`. The entity tag
/// changes when the answer does, `on` and `asOf.position` aside.
#[utoipa::path(
    get, path = "/prisoners/{n}/responsibility", tag = "Answers",
    params(("n" = String, Path, description = "Prisoner number", example = "A1234BC"), When),
    responses(
        (status = 200, body = Responsibility),
        (status = 304, description = "The caller has the answer already."),
        (status = 404, body = http_api::problem::Document, description = "`prisoner-unknown`"),
    ),
)]
pub(super) async fn responsibility(
    Extracted(state): Extracted<State>,
    PathParams(number): PathParams<PrisonerNumber>,
    Params(when): Params<When>,
) -> Result<axum::response::Response, Problem> {
    use axum::response::IntoResponse as _;
    let on = when.on.map_or_else(|| state.now(), DateOrInstant::instant);
    let (position, found) = match when.known_at {
        None => {
            let (position, found) = state.cases.at(number.clone(), on).await?;
            (position, or_before_merges(&state.log, found, None, on).await?)
        }
        Some(known_at) => {
            let point = known::point(&state.log, known_at).await?;
            let found = as_known_at(&state.log, std::slice::from_ref(&number), point, on).await?.pop();
            (point.position, found.unwrap_or(Found::Unknown))
        }
    };
    let case = known(found, &number).map_err(|problem| problem.with_position(position))?;
    let tag = format!("{}-{}-{}", case.number, case.revision, case.from.timestamp_micros());
    Ok(Answer::new(position, Responsibility::new(&case, on, position)).tagged(tag).into_response())
}

/// The same from the log, as it was known at a point, of each number in the order asked.
pub(super) async fn as_known_at(
    log: &SharedLog,
    numbers: &[PrisonerNumber],
    point: Point,
    on: DateTime<Utc>,
) -> Result<Vec<Found>, Error> {
    let histories = known::histories(log, numbers, point).await?;
    let mut all = Vec::with_capacity(numbers.len());
    for number in numbers {
        let found = match histories.get(number) {
            None => Found::Unknown,
            Some(history) => match period_at(&periods(history), on) {
                Some(period) => Found::Case(Box::new(Case::of(history, period))),
                None => Found::NotYet(history.number().clone()),
            },
        };
        all.push(or_before_merges(log, found, Some(point.known_at()), on).await?);
    }
    Ok(all)
}

/// A case of which nothing had happened yet under the surviving number may have been known under one that was merged
/// into it. From the log, which goes at least as far as the views.
pub(super) async fn or_before_merges(
    log: &SharedLog,
    found: Found,
    known_at: Option<KnownAt>,
    on: DateTime<Utc>,
) -> Result<Found, Error> {
    let Found::NotYet(survivor) = &found else { return Ok(found) };
    let before = case_log::periods_before_merges(log, survivor, known_at).await?;
    let case = before.into_iter().find(|case| case.from <= on && case.to.is_none_or(|to| on < to));
    Ok(case.map_or(found, |case| Found::Case(Box::new(case))))
}

/// The case, or the problem that there is none.
pub(super) fn known(found: Found, asked: &PrisonerNumber) -> Result<Box<Case>, Problem> {
    match found {
        Found::Case(case) => Ok(case),
        Found::Unknown | Found::NotYet(_) => Err(unknown(&found, asked)),
    }
}

/// That nothing is known of a case, in a sentence.
pub(super) fn unknown(found: &Found, asked: &PrisonerNumber) -> Problem {
    Problem::not_found(
        "prisoner-unknown",
        match found {
            Found::NotYet(number) => format!("Nothing had happened to {number} yet at the time asked about."),
            Found::Unknown | Found::Case(_) => {
                format!("The ledger knows nothing of {asked}. Please check the number.")
            }
        },
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use domain::prisoner::OfficerRole;
    use serde_json::json;

    pub(in crate::http) use crate::present::case::tests::example;

    pub(in crate::http) fn instant(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[track_caller]
    fn check(case: &Case, expected: serde_json::Value) {
        let on = instant("2026-11-23T10:00:00Z");
        let answer = serde_json::to_value(Responsibility::new(case, on, 81_233)).expect("JSON");
        assert_eq!(answer, expected);
    }

    #[test]
    fn the_answer_has_the_shape_of_the_design() {
        check(
            &example(),
            json!({
                "prisonerNumber": "A1234BC", "prison": "LEI", "on": "2026-11-23T10:00:00Z",
                "phase": "CUSTODY_WITH_COM", "tier": "B2",
                "responsible": {
                    "role": "POM", "staffId": 485_926, "name": "Okafor, Grace", "since": "2026-03-01T09:00:00Z",
                },
                "supporting": {"role": "COM", "name": "Lee, Sam", "email": "sam.lee@example.org"},
                "coworker": null,
                "reason": {"code": "determinate", "startDate": "2026-10-01", "handoverDate": "2027-01-10"},
                "override": null,
                "asOf": {"position": 81_233, "revision": 6},
            }),
        );
    }

    #[test]
    fn a_role_that_nobody_fills_is_an_answer() {
        let nobody = Case {
            pom: None,
            community_manager: None,
            phase: Phase::Community,
            responsible: OfficerRole::Com,
            supporting: Some(OfficerRole::Pom),
            plan: None,
            tier: None,
            ..example()
        };
        check(
            &nobody,
            json!({
                "prisonerNumber": "A1234BC", "prison": "LEI", "on": "2026-11-23T10:00:00Z", "phase": "COMMUNITY",
                "tier": null,
                "responsible": {
                    "role": "COM", "staffId": null, "name": null, "since": "2026-03-01T09:00:00Z",
                    "vacancy": "COM_NOT_NAMED",
                },
                "supporting": {"role": "POM", "staffId": null, "name": null, "vacancy": "NOT_ALLOCATED"},
                "coworker": null, "reason": null, "override": null,
                "asOf": {"position": 81_233, "revision": 6},
            }),
        );
    }
}
