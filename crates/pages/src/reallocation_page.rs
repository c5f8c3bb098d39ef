//! Cases of a POM that move to another POM: which of them, and what became of each.

use askama::Template;
use axum::{
    extract::{Path as PathPart, Query, State},
    http::StatusCode,
    response::Response,
};
use futures::try_join;
use serde::Deserialize;

use crate::{
    Pages,
    answers::ShownCase,
    api::{ApiAnswer, ApiError, ApiProblem, Path},
    command_form::{FieldOption, FormView, Typed},
    command_forms::REALLOCATION_OF_POM,
    command_pages::{Subject, hold_back, pom_subject, poms_of, show_form},
    page_error::PageError,
    page_frame::{PageFrame, show},
    sent_form::SentForm,
    visitor::Visitor,
    words,
};

/// The name of the field with the cases.
const CASES: &str = "cases";

/// A value and its words.
type Choices = Vec<(String, String)>;

/// What became of each case.
#[derive(Deserialize)]
struct MovedCases {
    accepted: Vec<MovedCase>,
    refused: Vec<CaseThatStays>,
}

/// A case that moved.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MovedCase {
    prisoner_number: String,
    events: Vec<MovedCaseEntry>,
}

#[derive(Deserialize)]
struct MovedCaseEntry {
    #[serde(rename = "type")]
    event_type: String,
    revision: u64,
    position: u64,
}

impl MovedCase {
    /// The entry that takes the case back to the other POM when it is voided.
    fn entry(&self) -> Option<&MovedCaseEntry> {
        self.events.iter().find(|entry| entry.event_type == "Reallocated")
    }
}

/// A case that a rule keeps from moving.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CaseThatStays {
    prisoner_number: String,
    detail: String,
}

#[derive(Template)]
#[template(path = "reallocated.html")]
struct ReallocatedPage {
    frame: PageFrame,
    name: String,
    to: String,
    cases: MovedCases,
}

/// The POMs who may take cases, and the cases that the POM holds here, in the words of the form.
async fn choices(pages: &Pages, visitor: &Visitor, subject: &Subject, from: &str) -> Result<[Choices; 2], PageError> {
    let held = Path::new(format!("/poms/{from}/cases")).with("limit", Some("1000"));
    let cases = async { Ok(pages.api.get::<Vec<ShownCase>>(visitor, held).await?) };
    let (mut poms, ApiAnswer { content: cases, .. }) =
        try_join!(poms_of(pages, visitor, subject, &REALLOCATION_OF_POM), cases)?;
    poms.retain(|(staff_id, _)| staff_id != from);
    let is_here = |case: &ShownCase| case.role.as_deref() != Some("COWORKING") && case.prison == subject.prison;
    let label = |case: &ShownCase| {
        let tier = case.tier.as_ref().map_or_else(|| "no tier".to_owned(), |tier| format!("tier {tier}"));
        format!("{}, {tier}, {}", case.prisoner_number, words::phase(&case.phase))
    };
    let cases = cases.into_iter().filter(is_here).map(|case| (case.prisoner_number.clone(), label(&case)));
    Ok([poms, cases.collect()])
}

fn view(typed: &Typed, [poms, cases]: &[Choices; 2], problem: Option<&ApiProblem>) -> FormView {
    let mut view = REALLOCATION_OF_POM.view(typed, poms, None, problem);
    let options = cases.iter().map(|(value, label)| FieldOption {
        value: value.clone(),
        label: label.clone(),
        is_chosen: typed.all(CASES).any(|chosen| chosen == value),
    });
    if let Some(field) = view.fields.iter_mut().find(|view| view.field.name == CASES) {
        field.options = options.collect();
    }
    view
}

/// `GET /pages/prisons/{prison}/poms/{staffId}/reallocation`: all cases are chosen at first.
pub(crate) async fn choose_cases(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart((prison, staff_id)): PathPart<(String, String)>,
    Query(mut given): Query<Choices>,
) -> Result<Response, PageError> {
    let subject = pom_subject(&prison, &staff_id)?;
    let choices = choices(&pages, &visitor, &subject, &staff_id).await?;
    if choices[1].is_empty() {
        return Err(PageError::Address(format!("{} holds no case here that could move.", subject.name)));
    }
    if !given.iter().any(|(name, _)| name == CASES) {
        given.extend(choices[1].iter().map(|(number, _)| (CASES.to_owned(), number.clone())));
    }
    let view = view(&Typed::new(given), &choices, None);
    Ok(show_form(&visitor, StatusCode::OK, subject, view, Vec::new()))
}

/// `POST /pages/prisons/{prison}/poms/{staffId}/reallocation`
pub(crate) async fn move_cases(
    State(pages): State<Pages>,
    PathPart((prison, staff_id)): PathPart<(String, String)>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let SentForm { visitor, typed, .. } = &sent;
    let subject = pom_subject(&prison, &staff_id)?;
    let mut choices = choices(&pages, visitor, &subject, &staff_id).await?;
    // A form that is sent again is the same command, although its cases have moved since.
    let gone = typed.all(CASES).filter(|number| !choices[1].iter().any(|(held, _)| held == number));
    let gone: Choices = gone.map(|number| (number.to_owned(), format!("{number}, held no longer"))).collect();
    choices[1].extend(gone);
    let view = |problem: Option<&ApiProblem>| view(typed, &choices, problem);
    if let Some(held_back) = hold_back(&sent, &subject, &REALLOCATION_OF_POM, view) {
        return Ok(held_back);
    }
    let mut command = REALLOCATION_OF_POM.command(typed, subject.path(&REALLOCATION_OF_POM), None);
    command.body["fromStaffId"] = staff_id.parse::<i64>().unwrap_or_default().into();
    match pages.api.send(visitor, &command).await {
        Ok(recorded) => {
            let cases: MovedCases = recorded.content()?;
            let to = choices[0].iter().find(|(id, _)| id == typed.text("pom"));
            let to =
                to.map_or_else(String::new, |(_, label)| label.rsplitn(3, ", ").last().unwrap_or(label).to_owned());
            let frame = PageFrame::new(format!("Cases moved: {}", subject.name), visitor)
                .back(subject.home.clone(), subject.name.clone());
            Ok(show(&ReallocatedPage { frame, name: subject.name, to, cases }))
        }
        Err(ApiError::Refused(problem)) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(show_form(visitor, status, subject, view(Some(&problem)), Vec::new()))
        }
        Err(error) => Err(error.into()),
    }
}
