//! The first pages: who are you, which prison, which case.

use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    response::{IntoResponse as _, Redirect, Response},
};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    prison::establishments,
};
use serde::Deserialize;

use crate::{
    Pages,
    page_frame::{PageFrame, show},
    visitor::{DEMO_PEOPLE, DemoPerson, Visitor},
};

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    frame: PageFrame,
    people: &'static [DemoPerson],
}

/// `GET /pages/people`: whom to be, where there is no sign-on.
pub(crate) async fn choose_person(State(pages): State<Pages>) -> Response {
    if pages.sessions.sign_on().is_some() {
        return Redirect::to("/pages/sign-in").into_response();
    }
    show(&PeoplePage { frame: PageFrame::open("Choose who you are"), people: &DEMO_PEOPLE })
}

#[derive(Deserialize)]
pub(crate) struct ChosenPerson {
    #[serde(default)]
    person: String,
}

/// `POST /pages/people`
pub(crate) async fn be_person(State(pages): State<Pages>, Form(chosen): Form<ChosenPerson>) -> Response {
    let Some(person) = DEMO_PEOPLE.iter().find(|person| person.username == chosen.person) else {
        return Redirect::to("/pages/people").into_response();
    };
    let mut response = Redirect::to(person.home).into_response();
    if let Some(cookies) = pages.sessions.choose_person(person.username) {
        cookies.add_to(response.headers_mut());
    }
    response
}

#[derive(Template)]
#[template(path = "prisons.html")]
struct PrisonsPage {
    frame: PageFrame,
    prisons: Vec<(&'static str, &'static str)>,
    typed: String,
    error: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct PrisonChoice {
    prison: Option<String>,
}

/// `GET /pages/prisons?prison=`: choose a prison by its code or name.
pub(crate) async fn choose_prison(visitor: Visitor, Query(choice): Query<PrisonChoice>) -> Response {
    let typed = choice.prison.unwrap_or_default().trim().to_owned();
    let mut error = None;
    if !typed.is_empty() {
        let code = typed.to_ascii_uppercase().parse::<PrisonCode>().ok().or_else(|| PrisonCode::of_listed_name(&typed));
        match code {
            Some(code) => return Redirect::to(&format!("/pages/prisons/{code}")).into_response(),
            None => error = Some("Enter a prison's code, such as LEI, or its name, such as Leeds".to_owned()),
        }
    }
    let frame = PageFrame::new("Choose a prison", &visitor).with_errors(error.is_some());
    let prisons = establishments().map(|prison| (prison.code, prison.name)).collect();
    show(&PrisonsPage { frame, prisons, typed, error })
}

#[derive(Template)]
#[template(path = "find_case.html")]
struct FindCasePage {
    frame: PageFrame,
    typed: String,
    error: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct CaseChoice {
    number: Option<String>,
}

/// `GET /pages/cases?number=`: find a case by its prisoner number.
pub(crate) async fn find_case(visitor: Visitor, Query(choice): Query<CaseChoice>) -> Response {
    let typed = choice.number.unwrap_or_default().trim().to_owned();
    let mut error = None;
    if !typed.is_empty() {
        match typed.to_ascii_uppercase().parse::<PrisonerNumber>() {
            Ok(number) => return Redirect::to(&format!("/pages/cases/{number}")).into_response(),
            Err(_) => {
                error =
                    Some("Enter a prisoner number: one letter, four digits, two letters, such as A1234BC".to_owned());
            }
        }
    }
    let frame = PageFrame::new("Find a case", &visitor).with_errors(error.is_some());
    show(&FindCasePage { frame, typed, error })
}

/// `GET /pages`: where a visitor begins.
pub(crate) async fn start(State(_): State<Pages>, visitor: Visitor) -> Redirect {
    let person = DEMO_PEOPLE.iter().find(|person| person.username == visitor.name);
    Redirect::to(person.map_or("/pages/prisons", |person| person.home))
}

#[derive(Template)]
#[template(path = "accessibility.html")]
struct AccessibilityPage {
    frame: PageFrame,
}

/// `GET /pages/accessibility`: the statement that the regulations of 2018 ask for.
pub(crate) async fn accessibility() -> Response {
    show(&AccessibilityPage { frame: PageFrame::open("Accessibility statement") })
}
