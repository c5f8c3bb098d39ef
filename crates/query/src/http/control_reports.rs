//! `GET /control-reports` and `GET /control-reports/{report}`: voids, backdating and choices
//! against the recommendation, for auditors.

use access_log::Shown;
use axum::{
    extract::State,
    http::Uri,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId, Username},
    officer::PomKind,
    prisoner::OverrideReason,
};
use http_api::{
    ParamGroups, PathParams, Problem, ProblemCode, event::EventTypeName, instant::DateOrInstant, page::Cursor,
    problem::Fault,
};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::{IntoParams, ToSchema};
use views::ControlEntryRow;

use super::{
    answer::{Answer, page_rows},
    known_prison::require_known,
    parameters::Paging,
};
use crate::{
    QueryState,
    past::ListExtent,
    present::control_entry::{self, ControlCounts, ControlFilter, ControlScope, CountsKey},
};

/// A report with the entries behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ControlReport {
    /// Entries that void another one.
    Voids,
    /// Entries recorded more than `days` days later than they hold from.
    BackdatedEntries,
    /// Choices of a primary POM against the recommendation.
    Overrides,
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ControlQuery {
    /// Entries recorded from this instant or London date on.
    #[param(inline)]
    from: Option<DateOrInstant>,
    /// Entries recorded before this instant or London date.
    #[param(inline)]
    to: Option<DateOrInstant>,
    /// Entries recorded at this prison: the one that the entry names, or else the one that held the
    /// case then.
    #[param(inline)]
    prison: Option<PrisonCode>,
    /// Entries recorded by this user.
    #[param(inline)]
    recorded_by: Option<Username>,
    /// An entry counts as backdated where it was recorded more than so many days, in London, later
    /// than it holds from.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 0, maximum = 36_500, default = 7)]
    days: BackdatedDays,
}

/// Days after which an entry counts as backdated.
#[derive(Debug, Clone, Copy)]
struct BackdatedDays(u16);

impl BackdatedDays {
    /// A hundred years, longer than any entry can be late.
    const MAX: u16 = 36_500;
}

impl Default for BackdatedDays {
    fn default() -> Self {
        Self(7)
    }
}

impl<'de> Deserialize<'de> for BackdatedDays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let days = u16::deserialize(deserializer)?;
        if days > Self::MAX {
            return Err(de::Error::custom(format_args!("{days} is more than {} days", Self::MAX)));
        }
        Ok(Self(days))
    }
}

impl ControlQuery {
    /// The entries to select from. A prison that nobody knows is refused.
    async fn scope(self, state: &QueryState) -> Result<ControlScope, Problem> {
        let Self { from, to, prison, recorded_by, days: _ } = self;
        let (from, to) = (from.map(DateOrInstant::instant), to.map(DateOrInstant::instant));
        if let (Some(first), Some(before)) = (from, to)
            && first > before
        {
            let detail = format!("{} is after to, {}", first.to_rfc3339(), before.to_rfc3339());
            return Err(Problem::fault(ProblemCode::ParameterInvalid, Fault::parameter("from", detail)));
        }
        if let Some(prison) = &prison {
            require_known(state, prison).await?;
        }
        Ok(ControlScope { prison, recorded_by, from, to })
    }
}

/// The entries for controls that one person recorded at one prison.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PersonControls<'a> {
    /// The prison; null where none held the case.
    #[schema(required, value_type = Option<String>, example = "LEI")]
    prison: Option<&'a PrisonCode>,
    /// The user; null where the requests named none.
    #[schema(required, value_type = Option<String>)]
    recorded_by: Option<&'a Username>,
    /// The client that the commands came from.
    client: &'a str,
    /// Entries that are in one of the reports or in several.
    entries: u64,
    /// Entries that void another one.
    voids: u64,
    /// Entries recorded more than `days` days later than they hold from.
    backdated: u64,
    /// Choices of a primary POM against the recommendation.
    overrides: u64,
}

impl<'a> From<&'a ControlCounts> for PersonControls<'a> {
    fn from(counts: &'a ControlCounts) -> Self {
        Self {
            prison: counts.prison.as_ref(),
            recorded_by: counts.recorded_by.as_ref(),
            client: &counts.client,
            entries: counts.entries,
            voids: counts.voids,
            backdated: counts.late,
            overrides: counts.overrides,
        }
    }
}

/// An entry for controls.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ControlEntry<'a> {
    /// The number that it was recorded under.
    #[schema(value_type = String, example = "A1000AA")]
    prisoner_number: &'a PrisonerNumber,
    /// Its 0-based place in the history of that number.
    revision: u64,
    /// Its position in the ledger.
    position: u64,
    /// The type of the event.
    #[serde(rename = "type")]
    #[schema(value_type = EventTypeName)]
    type_name: &'static str,
    /// The prison that it names, or else the one that held the case when it was recorded.
    #[schema(required, value_type = Option<String>, example = "LEI")]
    prison: Option<&'a PrisonCode>,
    /// When it holds from.
    effective_at: DateTime<Utc>,
    /// When it was recorded.
    recorded_at: DateTime<Utc>,
    /// The user that recorded it; null where the request named none.
    #[schema(required, value_type = Option<String>)]
    recorded_by: Option<&'a Username>,
    /// The client that the command came from.
    client: &'a str,
    /// London days from when it holds to when it was recorded.
    days_late: i32,
    /// The revision of the entry that voided this one; null where none did.
    voided_by: Option<u64>,
    /// Of a void: the entry that it takes back, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    void: Option<VoidedEntry<'a>>,
    /// Of a choice of a primary POM: what was recommended, and why another was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    choice: Option<JudgedChoice<'a>>,
}

/// The entry that a void takes back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VoidedEntry<'a> {
    /// Its revision, under the same number.
    revision: u64,
    /// The type of its event.
    #[serde(rename = "type")]
    #[schema(required, value_type = Option<EventTypeName>)]
    type_name: Option<&'static str>,
    /// When it was recorded.
    recorded_at: Option<DateTime<Utc>>,
    /// The user that recorded it; null where the request named none.
    #[schema(required, value_type = Option<String>)]
    recorded_by: Option<&'a Username>,
    /// The reason for the void.
    reason: Option<&'a str>,
}

/// A choice of a primary POM.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct JudgedChoice<'a> {
    /// The POM's staff id.
    staff_id: i64,
    /// The POM's kind.
    pom_kind: Option<PomKind>,
    /// The kind that was recommended; null where none was.
    recommended_pom_kind: Option<PomKind>,
    /// Whether the choice went against it.
    is_override: bool,
    /// The reasons for that.
    override_reasons: &'a [OverrideReason],
    /// Detail for `SUITABILITY`.
    suitability_detail: Option<&'a str>,
    /// Detail for `OTHER`.
    override_detail: Option<&'a str>,
    /// Of a reallocation: why the case moved.
    reason: Option<&'a str>,
}

impl<'a> From<&'a ControlEntryRow> for ControlEntry<'a> {
    fn from(row: &'a ControlEntryRow) -> Self {
        let reason = row.reason.as_deref();
        let void = row.voided_revision.map(|revision| VoidedEntry {
            revision,
            type_name: row.voided_type.map(|voided| voided.name()),
            recorded_at: row.voided_recorded_at,
            recorded_by: row.voided_recorded_by.as_ref(),
            reason,
        });
        let choice = row.staff_id.map(|staff_id| JudgedChoice {
            staff_id: StaffId::get(staff_id),
            pom_kind: row.pom_kind,
            recommended_pom_kind: row.recommended_pom_kind,
            is_override: row.is_override,
            override_reasons: &row.override_reasons,
            suitability_detail: row.suitability_detail.as_deref(),
            override_detail: row.override_detail.as_deref(),
            reason,
        });
        Self {
            prisoner_number: &row.prisoner_number,
            revision: row.revision,
            position: row.position,
            type_name: row.event_type.name(),
            prison: row.prison.as_ref(),
            effective_at: row.effective_at,
            recorded_at: row.recorded_at,
            recorded_by: row.recorded_by.as_ref(),
            client: &row.client,
            days_late: row.days_late,
            voided_by: row.voided_by,
            void,
            choice,
        }
    }
}

/// How many voids, backdated entries and choices against the recommendation each person recorded at
/// each prison; most first.
///
/// Of entries of cases, under the number that each was recorded under; entries voided since count.
#[utoipa::path(
    get, path = "/control-reports", tag = "The log and the views",
    params(ControlQuery, Paging),
    responses((status = 200, body = Vec<PersonControls>)),
)]
pub(super) async fn list_control_counts(
    State(state): State<QueryState>,
    ParamGroups((query, paging)): ParamGroups<(ControlQuery, Paging)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let after: Option<CountsKey> = paging.after()?;
    let BackdatedDays(days) = query.days;
    let scope = query.scope(&state).await?;
    let found = control_entry::counts(&state.views, days, &scope, after, paging.limit).await?;
    let extent = ListExtent::of(&found);
    let mut rows = found.rows;
    let next = next_page(&mut rows, &paging, ControlCounts::cursor);
    let (counts, next) = page_rows(&rows, next, PersonControls::from, ControlCounts::cursor)?;
    Ok(Answer::list(extent, counts, Shown::no_person()).with_next(next.as_ref(), &uri).into_response())
}

/// The entries of a report, newest first, each with its recorder, its times and its reasons.
///
/// Of entries of cases, under the number that each was recorded under; entries voided since are
/// there, with `voidedBy`.
#[utoipa::path(
    get, path = "/control-reports/{report}", tag = "The log and the views",
    params(
        ("report" = inline(ControlReport), Path, description = "The report", example = "voids"),
        ControlQuery, Paging,
    ),
    responses((status = 200, body = Vec<ControlEntry>)),
)]
pub(super) async fn list_control_entries(
    State(state): State<QueryState>,
    PathParams(report): PathParams<ControlReport>,
    ParamGroups((query, paging)): ParamGroups<(ControlQuery, Paging)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let before: Option<u64> = paging.after()?;
    let BackdatedDays(days) = query.days;
    let filter = match report {
        ControlReport::Voids => ControlFilter::Voids,
        ControlReport::BackdatedEntries => ControlFilter::LaterThan(days),
        ControlReport::Overrides => ControlFilter::Overrides,
    };
    let scope = query.scope(&state).await?;
    let found = control_entry::newest(&state.views, filter, &scope, before, paging.limit).await?;
    let extent = ListExtent::of(&found);
    let mut rows = found.rows;
    let cursor_after = |row: &ControlEntryRow| Cursor::after(&row.position);
    let next = next_page(&mut rows, &paging, cursor_after);
    let (entries, next) = page_rows(&rows, next, ControlEntry::from, cursor_after)?;
    let shown = Shown::prisoners(rows.iter().take(entries.len()).map(|row| &row.prisoner_number));
    Ok(Answer::list(extent, entries, shown).with_next(next.as_ref(), &uri).into_response())
}

/// Cuts rows to a page, and says where the next one begins, if there is one.
fn next_page<T>(rows: &mut Vec<T>, paging: &Paging, cursor_after: impl Fn(&T) -> Cursor) -> Option<Cursor> {
    let is_more = rows.len() > paging.limit.rows();
    rows.truncate(paging.limit.rows());
    rows.last().filter(|_| is_more).map(cursor_after)
}
