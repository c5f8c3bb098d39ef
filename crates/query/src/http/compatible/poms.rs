//! `GET /poms/{staffIds}`, as the first allocation API (2019) answered.

use access_log::Shown;
use axum::{
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use domain::{identifier::StaffId, officer::PomStatus};
use http_api::{CallerScope, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use super::{active_allocations::FirstApiAllocation, rails_time};
use crate::{
    QueryError, QueryState,
    http::answer::Answer,
    past::{self, ListExtent},
    present::{
        allocation_in_force,
        roster::{self, RegisteredPom},
        snapshot,
    },
};

/// Most POMs in one request; a prison has some 30.
const POMS_MAX: usize = 1_000;

/// The POMs asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct FirstApiPoms {
    poms: Vec<FirstApiPom>,
}

/// A POM, on one roster.
#[derive(Debug, Serialize, ToSchema)]
struct FirstApiPom {
    nomis_staff_id: i64,
    /// Share of full time, as a text.
    working_pattern: String,
    /// `active`, `unavailable` or `inactive`.
    status: &'static str,
    created_at: String,
    updated_at: String,
    /// The cases held as primary POM at that prison.
    allocations: Vec<FirstApiAllocation>,
}

/// POMs by staff id, as the first allocation API answered, with the cases that they hold; unknown
/// ones are absent.
///
/// So are POMs on the rosters of prisons that are not the caller's.
#[utoipa::path(
    get, path = "/poms/{staffIds}", tag = "First allocation API",
    params(("staffIds" = String, Path, description = "Staff ids with commas between them", example = "485926,485927")),
    responses((status = 200, body = FirstApiPoms)),
)]
pub(in crate::http) async fn get_first_api_poms(
    State(state): State<QueryState>,
    caller: CallerScope,
    Path(ids): Path<String>,
) -> Result<Response, Problem> {
    let staff_ids = staff_ids(&ids);
    let now = state.now();
    let mut views = snapshot(&state.views).await?;
    let poms = roster::by_staff_ids(&mut views, &staff_ids, now).await?;
    let held = allocation_in_force::in_force_of_poms(&mut views, &staff_ids, &caller.confinement, now).await?;
    views.commit().await.map_err(QueryError::from)?;
    let extent = ListExtent::of(&poms);
    past::check_names_no_pom(&state, &caller.confinement, poms.aside, extent.position, &staff_ids, now).await?;
    let mut shown = Shown::no_person();
    let mut documents = Vec::new();
    for RegisteredPom { pom, registered } in poms.rows {
        if !caller.confinement.has(Some(&pom.prison_code)) {
            continue;
        }
        let held = held.rows.iter();
        let of_pom = held.filter(|held| held.staff_id == pom.staff_id.get() && held.prison == pom.prison_code);
        shown.prisoners.extend(of_pom.clone().map(|held| held.number.clone()));
        documents.push(FirstApiPom {
            nomis_staff_id: pom.staff_id.get(),
            working_pattern: format!("{:.1}", f64::from(pom.working_pattern)),
            status: match pom.status {
                PomStatus::Active => "active",
                PomStatus::Unavailable => "unavailable",
                PomStatus::Inactive => "inactive",
            },
            created_at: rails_time(registered),
            updated_at: rails_time(pom.valid_from),
            allocations: of_pom.map(|held| FirstApiAllocation::new(held.clone(), &caller.texts)).collect(),
        });
    }
    Ok(Answer::list(extent, FirstApiPoms { poms: documents }, shown).into_response())
}

/// The numbers in a text, whatever is between them: that API was also called with `id=1&id=2`.
fn staff_ids(text: &str) -> Vec<StaffId> {
    let mut ids: Vec<StaffId> =
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|id| id.parse().ok()).take(POMS_MAX).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staff_ids_are_the_whole_numbers_in_the_text() {
        let ids = |text| staff_ids(text).into_iter().map(StaffId::get).collect::<Vec<_>>();
        assert_eq!(ids("485926,485927"), [485_926, 485_927]);
        assert_eq!(ids("id=12&id=3"), [3, 12]);
        assert_eq!(ids("none"), [] as [i64; 0]);
    }
}
