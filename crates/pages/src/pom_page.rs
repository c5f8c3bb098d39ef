//! A POM of a prison: status, working pattern, and the cases held.

use askama::Template;
use axum::{
    extract::{Path as PathPart, Query, State},
    response::Response,
};
use domain::identifier::StaffId;
use futures::try_join;
use serde::Deserialize;

use crate::{
    Pages,
    answers::{ShownCase, ShownRosterPom},
    api::{ApiAnswer, Path},
    clocks::{self, Clocks},
    page_error::PageError,
    page_frame::{PageFrame, show},
    prison_page::{prison_name, prison_of},
    visitor::Visitor,
    words,
};

#[derive(Template)]
#[template(path = "pom.html")]
struct PomPage {
    frame: PageFrame,
    prison: String,
    pom: ShownRosterPom,
    cases: Vec<ShownCase>,
    has_more: bool,
    clocks: Clocks,
    /// Whether a command led here.
    is_recorded: bool,
}

impl PomPage {
    fn address(&self) -> String {
        format!("/pages/prisons/{}/poms/{}", self.prison, self.pom.staff_id)
    }
}

/// The question of the page.
#[derive(Deserialize)]
pub(crate) struct PomQuery {
    #[serde(default)]
    on: String,
    #[serde(default, rename = "known-at")]
    known_at: String,
    /// The position of the command that led here.
    recorded: Option<u64>,
}

/// `GET /pages/prisons/{prison}/poms/{staffId}`
pub(crate) async fn show_pom(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart((prison, staff_id)): PathPart<(String, String)>,
    Query(PomQuery { on, known_at, recorded }): Query<PomQuery>,
) -> Result<Response, PageError> {
    let (prison, clocks) = (prison_of(&prison)?, Clocks { on, known_at });
    let unknown = || PageError::Address(format!("There is no POM {staff_id} on the roster of {prison}."));
    let id: StaffId = staff_id.parse().map_err(|_| unknown())?;
    let roster = clocks.of(Path::new(format!("/prisons/{prison}/poms")).at_least(recorded));
    let held = clocks.of(Path::new(format!("/poms/{id}/cases")).at_least(recorded)).with("limit", Some("1000"));
    let (roster, cases): (ApiAnswer<Vec<ShownRosterPom>>, ApiAnswer<Vec<ShownCase>>) =
        try_join!(pages.api.get(&visitor, roster), pages.api.get(&visitor, held))?;
    let pom = roster.content.into_iter().find(|pom| pom.staff_id == id.get()).ok_or_else(unknown)?;
    let frame =
        PageFrame::new(pom.name.clone(), &visitor).back(format!("/pages/prisons/{prison}"), prison_name(&prison));
    let has_more = cases.next.is_some();
    Ok(show(&PomPage {
        frame,
        prison: prison.to_string(),
        pom,
        cases: cases.content,
        has_more,
        clocks,
        is_recorded: recorded.is_some(),
    }))
}
