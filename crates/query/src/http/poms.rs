//! `GET /prisons/{code}/poms`: the roster, and how many cases each POM holds.

use std::collections::BTreeMap;

use axum::{
    extract::State as Extracted,
    response::{IntoResponse as _, Response},
};
use chrono::NaiveDate;
use domain::{
    identifier::PrisonCode,
    officer::{PomKind, PomStatus},
};
use event_log::KnownAt;
use http_api::{
    Params, PathParams, Problem,
    instant::{DateOrInstant, optional_known_at},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    State,
    answer::Answer,
    known,
    present::roster::{self, Caseload, Pom},
};

/// When.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct When {
    /// Asks about this instant, or about the start of this London date; absent, about now.
    #[param(value_type = Option<String>, example = "2026-03-01")]
    on: Option<DateOrInstant>,
    /// Asks what was known then: an instant, the end of a London date, or a position in the ledger; absent, what is known now.
    #[serde(default, deserialize_with = "optional_known_at")]
    #[param(value_type = Option<String>, example = "81233")]
    known_at: Option<KnownAt>,
}

/// A POM on the roster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RosterPom {
    /// NOMIS staff id.
    #[schema(example = 485_926)]
    staff_id: i64,
    /// "Surname, Forename".
    #[schema(example = "Okafor, Grace")]
    name: String,
    /// `PRISON` or `PROBATION`.
    #[schema(value_type = String, example = "PRISON")]
    kind: PomKind,
    /// Work e-mail address.
    email: Option<String>,
    /// `ACTIVE`, `UNAVAILABLE` or `INACTIVE`.
    #[schema(value_type = String, example = "ACTIVE")]
    status: PomStatus,
    /// For `UNAVAILABLE`: expected back on this London day.
    returns_on: Option<NaiveDate>,
    /// Why the status is as it is.
    status_reason: Option<String>,
    /// Share of full time.
    #[schema(example = 0.6)]
    working_pattern: f64,
    /// The cases held at this prison.
    caseload: CaseloadByRole,
}

/// Cases by role.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CaseloadByRole {
    /// As primary POM.
    primary: CaseCount,
    /// As co-working POM.
    coworking: CaseCount,
}

/// A number of cases.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CaseCount {
    /// All.
    total: u64,
    /// By tier letter; `NONE` for those without a tier.
    #[schema(example = json!({"A": 2, "B": 5}))]
    by_tier: BTreeMap<String, u64>,
}

impl From<(Pom, Caseload)> for RosterPom {
    fn from((pom, load): (Pom, Caseload)) -> Self {
        let count = |by_tier: BTreeMap<Option<String>, u64>| CaseCount {
            total: by_tier.values().sum(),
            by_tier: by_tier
                .into_iter()
                .map(|(tier, cases)| (tier.unwrap_or_else(|| "NONE".to_owned()), cases))
                .collect(),
        };
        Self {
            staff_id: pom.staff_id.get(),
            name: pom.name,
            kind: pom.kind,
            email: pom.email,
            status: pom.status,
            returns_on: pom.returns_on,
            status_reason: pom.reason,
            working_pattern: pom.working_pattern,
            caseload: CaseloadByRole { primary: count(load.primary), coworking: count(load.coworking) },
        }
    }
}

/// A prison's POMs by name, whatever their status, with the cases that each holds.
#[utoipa::path(
    get, path = "/prisons/{code}/poms", tag = "Answers",
    params(("code" = String, Path, description = "Prison code", example = "LEI"), When),
    responses((status = 200, body = Vec<RosterPom>)),
)]
pub(super) async fn poms(
    Extracted(state): Extracted<State>,
    PathParams(prison): PathParams<PrisonCode>,
    Params(when): Params<When>,
) -> Result<Response, Problem> {
    let at = when.on.map_or_else(|| state.now(), DateOrInstant::instant);
    let (position, poms) = match when.known_at {
        None => roster::with_caseloads(&state.views, &prison, at).await.map(|read| (read.position, read.rows))?,
        Some(known_at) => known::roster(&state, &prison, at, known_at).await?,
    };
    let poms: Vec<RosterPom> = poms.into_iter().map(RosterPom::from).collect();
    Ok(Answer::new(position, poms).into_response())
}
