//! The choice of a POM for a case that waits: suggestions, and a comparison of some of them.

use askama::Template;
use axum::{
    extract::{Path as PathPart, Query, State},
    response::Response,
};

use crate::{
    Pages,
    answers::{RankedPom, ShownSuggestions},
    api::{ApiAnswer, Path},
    case_page::number_of,
    clocks,
    page_error::PageError,
    page_frame::{PageFrame, show},
    prison_page::{prison_name, prison_of},
    visitor::Visitor,
    words,
};

/// POMs that can be compared side by side: as many as a screen has room for.
const COMPARED_MAX: usize = 4;

#[derive(Template)]
#[template(path = "suggestions.html")]
struct SuggestionsPage {
    frame: PageFrame,
    number: String,
    prison: String,
    answer: ShownSuggestions,
}

#[derive(Template)]
#[template(path = "comparison.html")]
struct ComparisonPage {
    frame: PageFrame,
    number: String,
    poms: Vec<RankedPom>,
    recommended_kind: Option<String>,
    error: Option<&'static str>,
}

impl ComparisonPage {
    fn is_recommended(&self, pom: &RankedPom) -> bool {
        self.recommended_kind.as_ref().is_some_and(|kind| *kind == pom.kind)
    }
}

/// Cases by tier letter, as `A 2, B 5`.
fn tiers(pom: &RankedPom) -> String {
    let tiers = pom.caseload.primary.by_tier.iter().map(|(tier, cases)| format!("{tier} {cases}"));
    tiers.collect::<Vec<_>>().join(", ")
}

/// `GET /pages/prisons/{prison}/waiting/{number}?compare=`: the POMs who may take a case, or some
/// of them side by side.
pub(crate) async fn choose_pom(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart((prison, number)): PathPart<(String, String)>,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let (prison, number) = (prison_of(&prison)?, number_of(&number)?);
    let path = Path::new(format!("/prisons/{prison}/unallocated/{number}/suggestions"));
    let ApiAnswer { content: answer, .. }: ApiAnswer<ShownSuggestions> = pages.api.get(&visitor, path).await?;
    let compared: Vec<_> = given
        .iter()
        .filter(|(name, _)| name == "compare")
        .filter_map(|(_, staff_id)| staff_id.parse::<i64>().ok())
        .collect();
    let own = format!("/pages/prisons/{prison}/waiting/{number}");
    let (number, name) = (number.to_string(), prison_name(&prison));
    let prison = prison.to_string();
    if given.is_empty() {
        let frame =
            PageFrame::new(format!("Allocate {number}"), &visitor).back(format!("/pages/prisons/{prison}"), name);
        return Ok(show(&SuggestionsPage { frame, number, prison, answer }));
    }
    let mut poms: Vec<_> = answer.suggestions.into_iter().filter(|pom| compared.contains(&pom.staff_id)).collect();
    let error = (poms.len() > COMPARED_MAX).then_some("These are the first four: choose no more than four to compare");
    let error = if poms.is_empty() { Some("Go back, and choose the POMs to compare") } else { error };
    poms.truncate(COMPARED_MAX);
    let frame = PageFrame::new(format!("Compare POMs for {number}"), &visitor).back(own, "all who may take the case");
    Ok(show(&ComparisonPage { frame, number, poms, recommended_kind: answer.recommendation.kind, error }))
}
