//! `GET /poms/{staffId}/cases`: one POM's cases, at whichever prison.

use access_log::Shown;
use axum::{
    extract::State,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use domain::{identifier::StaffId, tier::Tier};
use http_api::{CallerScope, ParamGroups, PathParams, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use views::CasePeriodRow;

use super::{
    answer::{Answer, page_rows},
    cases::{CaseItem, RoleOnCase, SortParam},
    parameters::{AsOfQuery, Paging},
};
use crate::{
    QueryState,
    past::{self, CaseListScope},
    present::case_list::{CaseFilter, CaseList, RoleFilter},
};

/// Which cases, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PomCasesQuery {
    /// `PRIMARY` or `COWORKING`; absent, either.
    role: Option<RoleOnCase>,
    /// Tier; a letter alone means all its change levels, with or without the `S`.
    #[param(inline)]
    tier: Option<Tier>,
    /// As for a prison's cases.
    #[serde(default)]
    #[param(inline, value_type = Option<SortParam>)]
    sort: SortParam,
}

/// A case that the POM holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HeldCase<'a> {
    /// The POM's role on it.
    role: RoleOnCase,
    /// The case.
    #[serde(flatten)]
    case: CaseItem<'a>,
}

impl<'a> HeldCase<'a> {
    fn new(case: &'a CasePeriodRow, staff_id: StaffId) -> Self {
        let is_primary = case.pom.as_ref().is_some_and(|pom| pom.staff_id == staff_id);
        Self { role: if is_primary { RoleOnCase::Primary } else { RoleOnCase::Coworking }, case: CaseItem::from(case) }
    }
}

/// The cases that a POM holds, in either role.
///
/// A caller that is confined to prisons gets those that are there.
#[utoipa::path(
    get, path = "/poms/{staffId}/cases", tag = "Questions about a prison",
    params(
        ("staffId" = inline(StaffId), Path, description = "NOMIS staff id", example = 485_926),
        AsOfQuery, PomCasesQuery, Paging,
    ),
    responses((status = 200, body = Vec<HeldCase>)),
)]
pub(super) async fn list_pom_cases(
    State(state): State<QueryState>,
    caller: CallerScope,
    PathParams(staff_id): PathParams<StaffId>,
    ParamGroups((as_of, query, paging)): ParamGroups<(AsOfQuery, PomCasesQuery, Paging)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let at = as_of.on(&state);
    let after = paging.after()?;
    let filter = CaseFilter {
        pom: Some(staff_id),
        role: query.role.map(RoleFilter::from),
        tier: query.tier,
        ..CaseFilter::default()
    };
    let sort = query.sort.0;
    let list = CaseList { filter, sort, after, limit: Some(paging.limit) };
    let (extent, [page]) =
        past::case_lists(&state, &caller, CaseListScope::Pom(staff_id), [list], at, as_of.known_at).await?;
    let (items, next) =
        page_rows(&page.cases, page.next, |case| HeldCase::new(case, staff_id), |case| sort.cursor_after(case))?;
    let shown = Shown::prisoners(page.cases.iter().take(items.len()).map(|case| &case.prisoner_number));
    Ok(Answer::list(extent, items, shown).with_next(next.as_ref(), &uri).into_response())
}
