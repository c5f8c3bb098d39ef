//! `GET /poms/{staffId}/cases`: one POM's cases, at whichever prison.

use axum::{
    extract::State as Extracted,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use domain::{identifier::StaffId, tier::Tier};
use event_log::KnownAt;
use http_api::{
    Params, PathParams, Problem,
    instant::{DateOrInstant, optional_known_at},
    page::{Cursor, Limit},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::cases::{CaseItem, Role, SortParam};
use crate::{
    State,
    answer::Answer,
    known::{self, Whose},
    present::{
        case::Case,
        case_list::{Filter, List, PomRole},
    },
};

/// Which cases, and in which order.
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
    /// `PRIMARY` or `COWORKING`; absent, either.
    role: Option<Role>,
    /// Tier; a letter alone stands for all its change levels.
    #[param(value_type = Option<String>, example = "B")]
    tier: Option<Tier>,
    /// As for a prison's cases.
    #[serde(default)]
    #[param(value_type = Option<String>, default = "prisonerNumber")]
    sort: SortParam,
    /// Cursor of the page before.
    #[param(value_type = Option<String>)]
    after: Option<Cursor>,
    /// Rows in a page.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 50)]
    limit: Limit,
}

/// A case that the POM holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HeldCase<'a> {
    /// The POM's role on it.
    role: Role,
    /// The case.
    #[serde(flatten)]
    case: CaseItem<'a>,
}

impl<'a> HeldCase<'a> {
    fn new(case: &'a Case, staff_id: StaffId) -> Self {
        let is_primary = case.pom.as_ref().is_some_and(|pom| pom.staff_id == staff_id);
        Self { role: if is_primary { Role::Primary } else { Role::Coworking }, case: CaseItem::from(case) }
    }
}

/// The cases that a POM holds, in either role.
#[utoipa::path(
    get, path = "/poms/{staffId}/cases", tag = "Answers",
    params(("staffId" = i64, Path, description = "NOMIS staff id", example = 485_926), Which),
    responses((status = 200, body = Vec<HeldCase>)),
)]
pub(super) async fn pom_cases(
    Extracted(state): Extracted<State>,
    PathParams(staff_id): PathParams<StaffId>,
    Params(which): Params<Which>,
    uri: Uri,
) -> Result<Response, Problem> {
    let at = which.on.map_or_else(|| state.now(), DateOrInstant::instant);
    let after = which.after.as_ref().map(Cursor::key).transpose()?;
    let filter =
        Filter { pom: Some(staff_id), role: which.role.map(PomRole::from), tier: which.tier, ..Filter::default() };
    let list = List { filter, sort: which.sort.0, after, limit: Some(which.limit) };
    let (position, [page]) = known::lists(&state, Whose::Pom(staff_id), [list], at, which.known_at).await?;
    let items: Vec<HeldCase<'_>> = page.cases.iter().map(|case| HeldCase::new(case, staff_id)).collect();
    Ok(Answer::new(position, items).followed_by(page.next.as_ref(), &uri).into_response())
}
