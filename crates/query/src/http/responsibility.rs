//! `GET /prisoners/{prisonerNumber}/responsibility`: the responsible officer now, at another
//! time, or as known at some point.

use access_log::Shown;
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    prisoner::Phase,
    tier::Tier,
};
use http_api::{CallerScope, Params, PathParams, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use views::CasePeriodRow;

use super::{
    answer::{Answer, problem_that_shows},
    error_problem::known_case,
    officer::{Officer, Override, PomHolder, Reason},
    parameters::AsOfQuery,
};
use crate::{
    QueryState,
    past::{self, CasePeriod},
};

/// The officers of a case.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Responsibility)]
pub(super) struct ResponsibilityAnswer<'a> {
    /// The number; of one that was merged, the survivor.
    prisoner_number: &'a PrisonerNumber,
    /// Where the case is held; null once released.
    prison: Option<&'a PrisonCode>,
    /// The instant asked about.
    on: DateTime<Utc>,
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
    /// How far the answer goes.
    as_of: AnswerExtent,
}

/// How far an answer goes.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = AsOf)]
pub(super) struct AnswerExtent {
    /// In the ledger.
    position: u64,
    /// In the case.
    revision: u64,
}

impl<'a> ResponsibilityAnswer<'a> {
    pub(super) fn new(case: &'a CasePeriodRow, on: DateTime<Utc>, position: u64) -> Self {
        Self {
            prisoner_number: &case.prisoner_number,
            prison: case.prison.as_ref(),
            on,
            phase: case.phase,
            tier: case.tier,
            responsible: Officer::responsible(case),
            supporting: Officer::supporting(case),
            coworker: case.coworker.as_ref().map(PomHolder::from),
            reason: case.plan.map(Reason::from),
            responsibility_override: case.responsibility_override.as_ref().map(Override::from),
            as_of: AnswerExtent { position, revision: case.case_revision },
        }
    }
}

/// Who is responsible for a case.
///
/// Before anything was known under the surviving number of a merge, a removed number's own history
/// answers. A vacant role is an answer: `responsible.vacancy` says `NOT_ALLOCATED` or
/// `COM_NOT_NAMED`. The entity tag changes when the answer does, `on` and `asOf.position` aside.
#[utoipa::path(
    get, path = "/prisoners/{prisonerNumber}/responsibility", tag = "Questions about a case",
    params(
        ("prisonerNumber" = inline(PrisonerNumber), Path, description = "Prisoner number", example = "A1000AA"),
        AsOfQuery,
    ),
    responses(
        (status = 200, body = ResponsibilityAnswer),
        (status = 304, description = "The caller has the answer already."),
        (status = 404, body = http_api::problem::ProblemDocument, description = "`prisoner-unknown`"),
    ),
)]
pub(super) async fn get_responsibility(
    State(state): State<QueryState>,
    caller: CallerScope,
    PathParams(number): PathParams<PrisonerNumber>,
    Params(as_of): Params<AsOfQuery>,
) -> Result<Response, Problem> {
    let on = as_of.on(&state);
    let (position, case) = past::case_at(&state, &caller.texts, &number, on, as_of.known_at).await?;
    let shown = Shown::prisoners(case.number());
    let case = match known_case(&case, &number) {
        Ok(case) => case,
        Err(problem) => return Ok(problem_that_shows(problem.with_position(position), shown)),
    };
    // Two callers may not read the same texts.
    let has_detail = case.responsibility_override.as_ref().is_some_and(|decision| decision.detail.is_some());
    let (number, revision, from) = (&case.prisoner_number, case.case_revision, case.valid_from.timestamp_micros());
    let tag = format!("{number}-{revision}-{from}-{has_detail}");
    Ok(Answer::new(position, ResponsibilityAnswer::new(case, on, position), shown).with_tag(tag).into_response())
}

/// The period of a case that holds at an instant, in the shape that this operation answers, for
/// tools that print the same. `position` is the one that the case was read up to.
#[must_use]
pub fn responsibility_at(period: &CasePeriod, on: DateTime<Utc>, position: u64) -> impl Serialize {
    ResponsibilityAnswer::new(&period.case, on, position)
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

    #[test]
    fn a_vacant_role_is_an_answer() {
        let vacant = CasePeriodRow {
            pom: None,
            com: None,
            responsible: Some(OfficerRole::Com),
            supporting: Some(OfficerRole::Pom),
            ..example()
        };
        let answer = json!(ResponsibilityAnswer::new(&vacant, instant("2026-11-23T10:00:00Z"), 81_233));
        assert_eq!(
            answer["responsible"],
            json!({
                "role": "COM", "staffId": null, "name": null, "since": "2026-03-01T09:00:00Z",
                "vacancy": "COM_NOT_NAMED",
            })
        );
        assert_eq!(
            answer["supporting"],
            json!({"role": "POM", "staffId": null, "name": null, "vacancy": "NOT_ALLOCATED"})
        );
    }

    #[test]
    fn no_officer_is_responsible_for_a_case_that_is_not_in_custody() {
        let left =
            CasePeriodRow { pom: None, phase: Phase::NotInCustody, responsible: None, supporting: None, ..example() };
        let answer = json!(ResponsibilityAnswer::new(&left, instant("2026-11-23T10:00:00Z"), 81_233));
        assert_eq!(answer["phase"], "NOT_IN_CUSTODY");
        assert_eq!(
            answer["responsible"],
            json!({
                "role": null, "staffId": null, "name": null, "since": "2026-03-01T09:00:00Z",
                "vacancy": "NOT_IN_CUSTODY",
            })
        );
        assert_eq!(answer["supporting"], json!(null));
    }
}
