//! `GET /prisons/{prisonCode}/poms`: the roster, and how many cases each POM holds.

use std::collections::BTreeMap;

use access_log::Shown;
use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use chrono::NaiveDate;
use domain::{
    identifier::PrisonCode,
    officer::{PomKind, PomStatus},
};
use http_api::{CallerScope, Params, PathParams, Problem, Texts};
use serde::Serialize;
use utoipa::ToSchema;

use super::{answer::Answer, parameters::AsOfQuery};
use crate::{
    QueryState, past,
    present::roster::{PomCaseload, RegisteredPom},
};

/// A POM on the roster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RosterPom)]
pub(super) struct PomOnRoster {
    /// NOMIS staff id.
    #[schema(example = 485_926)]
    staff_id: i64,
    /// "Surname, Forename".
    #[schema(example = "Okafor, Grace")]
    name: String,
    /// Prison or probation POM.
    kind: PomKind,
    /// Work e-mail address.
    email: Option<String>,
    /// Whether the POM takes and holds cases.
    status: PomStatus,
    /// For `UNAVAILABLE`: expected back on this London day.
    returns_on: Option<NaiveDate>,
    /// Why the status is as it is; null for a caller of another prison.
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
    pub(super) primary: CaseCount,
    /// As co-working POM.
    pub(super) coworking: CaseCount,
}

/// A number of cases.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CaseCount {
    /// All.
    pub(super) total: u64,
    /// By tier letter; `NONE` for those without a tier.
    #[schema(example = json!({"A": 2, "B": 5}))]
    by_tier: BTreeMap<String, u64>,
}

impl From<PomCaseload> for CaseloadByRole {
    fn from(load: PomCaseload) -> Self {
        let count = |by_tier: BTreeMap<Option<String>, u64>| CaseCount {
            total: by_tier.values().sum(),
            by_tier: by_tier
                .into_iter()
                .map(|(tier, cases)| (tier.unwrap_or_else(|| "NONE".to_owned()), cases))
                .collect(),
        };
        Self { primary: count(load.primary), coworking: count(load.coworking) }
    }
}

impl From<(RegisteredPom, PomCaseload)> for PomOnRoster {
    fn from((RegisteredPom { pom, .. }, load): (RegisteredPom, PomCaseload)) -> Self {
        Self {
            staff_id: pom.staff_id.get(),
            name: pom.name,
            kind: pom.kind,
            email: pom.email,
            status: pom.status,
            returns_on: pom.returns_on,
            status_reason: pom.reason,
            working_pattern: pom.working_pattern.into(),
            caseload: load.into(),
        }
    }
}

/// A prison's POMs by name, whatever their status, with the cases that each holds.
#[utoipa::path(
    get, path = "/prisons/{prisonCode}/poms", tag = "Questions about a prison",
    params(("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"), AsOfQuery),
    responses((status = 200, body = Vec<PomOnRoster>)),
)]
pub(super) async fn list_poms(
    State(state): State<QueryState>,
    caller: CallerScope,
    PathParams(prison): PathParams<PrisonCode>,
    Params(as_of): Params<AsOfQuery>,
) -> Result<Response, Problem> {
    let (extent, poms) = past::roster(&state, &prison, as_of.on(&state), as_of.known_at).await?;
    let mut poms: Vec<PomOnRoster> = poms.into_iter().map(PomOnRoster::from).collect();
    if caller.texts.of(Some(&prison)) == Texts::Hidden {
        poms.iter_mut().for_each(|pom| pom.status_reason = None);
    }
    Ok(Answer::list(extent, poms, Shown::no_person()).into_response())
}
