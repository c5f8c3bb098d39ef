//! `GET /prisons/{prisonCode}/cases`: a prison's cases, filtered, sorted and paged.

use std::borrow::Cow;

use access_log::Shown;
use axum::{
    extract::State,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    identifier::{Crn, PrisonCode, PrisonerNumber, StaffId},
    prisoner::{OfficerRole, Phase},
    text::Excerpt,
    tier::{RoshLevel, Tier},
};
use http_api::{CallerScope, ParamGroups, PathParams, Problem};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Type, schema::Schema},
};
use views::CasePeriodRow;

use super::{
    answer::{Answer, page_rows},
    officer::{Com, Officer, Override, PomHolder, Reason},
    parameters::{AsOfQuery, Paging},
};
use crate::{
    QueryState,
    past::{self, CaseListScope},
    present::case_list::{CaseFilter, CaseList, CaseSort, RoleFilter, SortBy},
};

/// Which cases, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListCasesQuery {
    /// Tier; a letter alone means all its change levels, with or without the `S`.
    #[param(inline)]
    tier: Option<Tier>,
    /// Where the case is between custody and community.
    #[param(inline)]
    phase: Option<Phase>,
    /// The responsible role.
    #[param(inline)]
    responsible: Option<OfficerRole>,
    /// Staff id of a POM who holds the case.
    #[param(inline)]
    pom: Option<StaffId>,
    /// With `pom`: `PRIMARY` or `COWORKING`; absent, either.
    role: Option<RoleOnCase>,
    /// Whether there is a primary POM.
    allocated: Option<bool>,
    /// Whether the case waits to be allocated.
    waiting: Option<bool>,
    /// `prisonerNumber`, `tier`, `pom`, `phase`, `handoverStartDate`, `handoverDate`,
    /// `waitingSince` or `responsibleSince`; with `-` before it, descending. Phases are in the
    /// order in which a case goes through them. Cases with equal values are by prisoner number, in
    /// either direction.
    #[serde(default)]
    #[param(inline, value_type = Option<SortParam>)]
    sort: SortParam,
}

/// A POM's role on a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = Role)]
pub(super) enum RoleOnCase {
    /// Owns the case.
    Primary,
    /// Works on it beside the primary POM.
    Coworking,
}

impl From<RoleOnCase> for RoleFilter {
    fn from(role: RoleOnCase) -> Self {
        match role {
            RoleOnCase::Primary => Self::Primary,
            RoleOnCase::Coworking => Self::Coworking,
        }
    }
}

/// An order, as a query parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SortParam(pub(super) CaseSort);

/// The orders by their names in a query.
const SORTS: [(&str, SortBy); 8] = [
    ("prisonerNumber", SortBy::PrisonerNumber),
    ("tier", SortBy::Tier),
    ("pom", SortBy::PomName),
    ("phase", SortBy::Phase),
    ("handoverStartDate", SortBy::HandoverStartDate),
    ("handoverDate", SortBy::HandoverDate),
    ("waitingSince", SortBy::WaitingSince),
    ("responsibleSince", SortBy::ResponsibleSince),
];

impl PartialSchema for SortParam {
    fn schema() -> RefOr<Schema> {
        let names = SORTS.iter().flat_map(|(name, _)| [(*name).to_owned(), format!("-{name}")]);
        let orders = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
        orders.default(Some("prisonerNumber".into())).into()
    }
}

impl ToSchema for SortParam {}

impl<'de> Deserialize<'de> for SortParam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let (name, descending) = text.strip_prefix('-').map_or((&*text, false), |name| (name, true));
        match SORTS.iter().find(|(known, _)| *known == name) {
            Some((_, by)) => Ok(Self(CaseSort { by: *by, descending })),
            None => Err(de::Error::custom(format_args!(
                "`{}` is not an order: prisonerNumber, tier, pom, phase, handoverStartDate, handoverDate, waitingSince \
                 or responsibleSince, with - before it for descending",
                Excerpt(&text)
            ))),
        }
    }
}

/// A case in a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CaseItem<'a> {
    /// The number.
    prisoner_number: &'a PrisonerNumber,
    /// The number in Delius.
    #[schema(value_type = Option<Crn>)]
    crn: Option<&'a str>,
    /// Where the case is held.
    prison: Option<&'a PrisonCode>,
    /// The tier.
    tier: Option<Tier>,
    /// Risk of serious harm.
    rosh_level: Option<RoshLevel>,
    /// Where the case is between custody and community.
    phase: Phase,
    /// The responsible officer.
    responsible: Officer<'a>,
    /// The primary POM.
    pom: Option<PomHolder<'a>>,
    /// The co-working POM.
    coworker: Option<PomHolder<'a>>,
    /// The COM.
    com: Option<Com<'a>>,
    /// The handover plan in effect.
    reason: Option<Reason>,
    /// The decision against the plan, where there is one.
    #[serde(rename = "override")]
    responsibility_override: Option<Override<'a>>,
    /// Since when the case waits to be allocated.
    waiting_since: Option<DateTime<Utc>>,
}

impl<'a> From<&'a CasePeriodRow> for CaseItem<'a> {
    fn from(case: &'a CasePeriodRow) -> Self {
        Self {
            prisoner_number: &case.prisoner_number,
            crn: case.crn.as_ref().map(Crn::as_str),
            prison: case.prison.as_ref(),
            tier: case.tier,
            rosh_level: case.rosh_level,
            phase: case.phase,
            responsible: Officer::responsible(case),
            pom: case.pom.as_ref().map(PomHolder::from),
            coworker: case.coworker.as_ref().map(PomHolder::from),
            com: Com::of(case),
            reason: case.plan.map(Reason::from),
            responsibility_override: case.responsibility_override.as_ref().map(Override::from),
            waiting_since: case.waiting.map(|waiting| waiting.since),
        }
    }
}

/// A prison's cases.
#[utoipa::path(
    get, path = "/prisons/{prisonCode}/cases", tag = "Questions about a prison",
    params(
        ("prisonCode" = inline(PrisonCode), Path, description = "Prison code", example = "LEI"),
        AsOfQuery, ListCasesQuery, Paging,
    ),
    responses((status = 200, body = Vec<CaseItem>)),
)]
pub(super) async fn list_prison_cases(
    State(state): State<QueryState>,
    caller: CallerScope,
    PathParams(prison): PathParams<PrisonCode>,
    ParamGroups((as_of, query, paging)): ParamGroups<(AsOfQuery, ListCasesQuery, Paging)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let at = as_of.on(&state);
    let after = paging.after()?;
    let filter = CaseFilter {
        prison: Some(prison.clone()),
        pom: query.pom,
        role: query.role.map(RoleFilter::from),
        tier: query.tier,
        phase: query.phase,
        responsible: query.responsible,
        allocated: query.allocated,
        waiting: query.waiting,
        ..CaseFilter::default()
    };
    let sort = query.sort.0;
    let list = CaseList { filter, sort, after, limit: Some(paging.limit) };
    let (extent, [page]) =
        past::case_lists(&state, &caller, CaseListScope::Prison(&prison), [list], at, as_of.known_at).await?;
    let (items, next) = page_rows(&page.cases, page.next, CaseItem::from, |case| sort.cursor_after(case))?;
    let shown = Shown::prisoners(page.cases.iter().take(items.len()).map(|case| &case.prisoner_number));
    Ok(Answer::list(extent, items, shown).with_next(next.as_ref(), &uri).into_response())
}

/// A case in the shape that this operation lists, for tools that print the same.
#[must_use]
pub fn case_item(case: &CasePeriodRow) -> impl Serialize {
    CaseItem::from(case)
}
