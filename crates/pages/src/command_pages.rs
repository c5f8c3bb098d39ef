//! The pages of a command: the form, a last look, and what happened meanwhile.

use askama::Template;
use axum::{
    extract::{Path as PathPart, Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use domain::identifier::StaffId;

use crate::{
    Pages,
    answers::{ShownEntry, ShownResponsibility, ShownRosterPom},
    api::{ApiAnswer, ApiError, ApiProblem, Path},
    case_page::number_of,
    command_form::{CommandForm, FieldKind, FormView, Typed},
    command_forms::{form_of_case, form_of_pom, form_of_prison},
    entry::EntryLine,
    page_error::PageError,
    page_frame::{PageFrame, show_as, show_typed},
    prison_page::{prison_name, prison_of},
    sent_form::SentForm,
    visitor::Visitor,
    words,
};

/// The sentence for a form that was shown in another session of the same person, or by no page.
pub(crate) const OTHER_SESSION: &str = "You have signed in again since you opened this form. Nothing was recorded. Check the form, \
                             and send it again.";

/// The sentence for a form whose sender's sign-on has ended.
const SIGN_ON_ENDED: &str = "Your sign-on has ended, and nothing was recorded. Sign in again in a new tab, then send \
                             this form again.";

/// The sentence for a form that was recorded before, and changed since.
const RECORDED_BEFORE: &str = "This form was recorded before, with other answers. Look at the history; if this is right, \
                               too, record it as a further entry.";

/// The code of the refusal of a key that another command has.
const KEY_REUSED: &str = "idempotency-key-reused";

/// The code of the refusal of a command whose case has moved on.
const REVISION_MISMATCH: &str = "revision-mismatch";

/// The thing that a command is about.
#[derive(Clone)]
pub(crate) struct Subject {
    /// The names in the API's paths and what stands for them.
    parts: Vec<(&'static str, String)>,
    pub(crate) name: String,
    /// The page to go back to.
    pub(crate) home: String,
    pub(crate) prison: Option<String>,
    /// The revision of a case.
    revision: Option<u64>,
}

impl Subject {
    /// The API's path of a form.
    pub(crate) fn path(&self, form: &CommandForm) -> String {
        let parts = self.parts.iter();
        parts.fold(form.path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
    }
}

#[derive(Template)]
#[template(path = "command.html")]
struct CommandPage {
    frame: PageFrame,
    subject: Subject,
    view: FormView,
    /// The entries of others since the form was shown.
    meanwhile: Vec<EntryLine>,
    csrf: String,
}

#[derive(Template)]
#[template(path = "check.html")]
struct CheckPage {
    frame: PageFrame,
    subject: Subject,
    view: FormView,
    csrf: String,
}

#[derive(Template)]
#[template(path = "movement.html")]
struct MovementPage {
    frame: PageFrame,
    number: String,
    is_in_prison: bool,
}

fn no_form() -> PageError {
    PageError::Address("There is no such form. Check the address.".to_owned())
}

async fn case_subject(pages: &Pages, visitor: &Visitor, number: &str) -> Result<Subject, PageError> {
    let number = number_of(number)?;
    let path = Path::new(format!("/prisoners/{number}/responsibility"));
    let case = match pages.api.get::<ShownResponsibility>(visitor, path).await {
        Ok(ApiAnswer { content, .. }) => Some(content),
        // The first entry of a case makes it known.
        Err(ApiError::Refused(problem)) if problem.code == "prisoner-unknown" => None,
        Err(error) => return Err(error.into()),
    };
    // A number that was merged has the answers of the one that survives, which entries go to.
    if let Some(survivor) =
        case.as_ref().map(|case| &case.prisoner_number).filter(|answered| **answered != number.as_str())
    {
        let detail = format!("{number} was merged into {survivor}. Find the case {survivor}, and record it there.");
        return Err(PageError::Address(detail));
    }
    Ok(Subject {
        parts: vec![("number", number.to_string())],
        name: number.to_string(),
        home: if case.is_some() { format!("/pages/cases/{number}") } else { "/pages/cases".to_owned() },
        prison: case.as_ref().and_then(|case| case.prison.clone()),
        revision: case.and_then(|case| case.as_of.revision),
    })
}

fn prison_subject(prison: &str) -> Result<Subject, PageError> {
    let prison = prison_of(prison)?;
    Ok(Subject {
        parts: vec![("prison", prison.to_string())],
        name: prison_name(&prison),
        home: format!("/pages/prisons/{prison}"),
        prison: Some(prison.to_string()),
        revision: None,
    })
}

pub(crate) fn pom_subject(prison: &str, staff_id: &str) -> Result<Subject, PageError> {
    let staff_id: StaffId =
        staff_id.parse().map_err(|_| PageError::Address("A staff id is a number. Check the address.".to_owned()))?;
    let Subject { mut parts, prison, home, .. } = prison_subject(prison)?;
    parts.push(("staffId", staff_id.to_string()));
    Ok(Subject {
        parts,
        name: format!("POM {staff_id}"),
        home: format!("{home}/poms/{staff_id}"),
        prison,
        revision: None,
    })
}

/// The POMs that a form lets choose from: those who take new cases, by name.
pub(crate) async fn poms_of(
    pages: &Pages,
    visitor: &Visitor,
    subject: &Subject,
    form: &CommandForm,
) -> Result<Vec<(String, String)>, PageError> {
    let Some(prison) =
        subject.prison.as_deref().filter(|_| form.all_fields().any(|field| matches!(field.kind, FieldKind::Pom)))
    else {
        return Ok(Vec::new());
    };
    let roster: ApiAnswer<Vec<ShownRosterPom>> =
        pages.api.get(visitor, Path::new(format!("/prisons/{prison}/poms"))).await?;
    let active = roster.content.into_iter().filter(|pom| pom.status == "ACTIVE");
    Ok(active
        .map(|pom| {
            let cases = pom.caseload.primary.total;
            let label = format!("{}, {}, {cases} cases", pom.name, words::pom_kind(&pom.kind));
            (pom.staff_id.to_string(), label)
        })
        .collect())
}

pub(crate) fn show_form(
    visitor: &Visitor,
    status: StatusCode,
    subject: Subject,
    view: FormView,
    meanwhile: Vec<EntryLine>,
) -> Response {
    let frame = PageFrame::new(format!("{}: {}", view.form.title, subject.name), visitor)
        .back(subject.home.clone(), subject.name.clone())
        .with_errors(!view.errors.is_empty());
    show_typed(status, &CommandPage { frame, subject, view, meanwhile, csrf: visitor.csrf.clone() })
}

async fn ask(
    pages: &Pages,
    visitor: &Visitor,
    subject: Subject,
    form: &'static CommandForm,
    typed: Typed,
) -> Result<Response, PageError> {
    let poms = poms_of(pages, visitor, &subject, form).await?;
    let view = form.view(&typed, &poms, subject.revision, None);
    Ok(show_form(visitor, StatusCode::OK, subject, view, Vec::new()))
}

/// The answer to a form that is not to be recorded: it is of another session, lacks something, goes
/// back to be changed, or is looked at once more.
pub(crate) fn hold_back(
    sent: &SentForm,
    subject: &Subject,
    form: &'static CommandForm,
    view: impl Fn(Option<&ApiProblem>) -> FormView,
) -> Option<Response> {
    let SentForm { visitor, typed, is_of_session } = sent;
    let again = |status, problem: Option<&ApiProblem>| {
        Some(show_form(visitor, status, subject.clone(), view(problem), Vec::new()))
    };
    if !is_of_session {
        return again(StatusCode::FORBIDDEN, Some(&ApiProblem::of_pages(403, OTHER_SESSION)));
    }
    if let Some(problem) = form.missing(typed) {
        return again(StatusCode::BAD_REQUEST, Some(&problem));
    }
    if typed.step() == "change" {
        return again(StatusCode::OK, None);
    }
    if !form.is_checked || typed.step() == "confirm" {
        return None;
    }
    let frame = PageFrame::new(format!("Check before you record: {}", subject.name), visitor)
        .back(subject.home.clone(), subject.name.clone());
    let page = CheckPage { frame, subject: subject.clone(), view: view(None), csrf: visitor.csrf.clone() };
    Some(show_typed(StatusCode::OK, &page))
}

/// Takes a form that was sent: asks once more, records, or shows why not.
async fn record(
    pages: &Pages,
    sent: &SentForm,
    subject: Subject,
    form: &'static CommandForm,
) -> Result<Response, PageError> {
    let SentForm { visitor, typed, .. } = sent;
    let poms = poms_of(pages, visitor, &subject, form).await?;
    let view = |problem: Option<&ApiProblem>| form.view(typed, &poms, typed.revision(), problem);
    if let Some(held_back) = hold_back(sent, &subject, form, view) {
        return Ok(held_back);
    }
    let command = form.command(typed, subject.path(form), subject.prison.as_deref());
    match pages.api.send(visitor, &command).await {
        Ok(recorded) => {
            let position = recorded.position.map(|position| format!("?recorded={position}")).unwrap_or_default();
            let home = match subject.parts.first() {
                Some(("number", number)) => format!("/pages/cases/{number}"),
                _ => subject.home.clone(),
            };
            Ok(Redirect::to(&format!("{home}{position}")).into_response())
        }
        Err(ApiError::Refused(problem)) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            if problem.code == REVISION_MISMATCH {
                return show_conflict(pages, visitor, subject, form, typed, &poms).await;
            }
            if problem.code == KEY_REUSED {
                // The form was sent, changed after the back button, and sent again: another
                // command.
                let problem = ApiProblem::of_pages(problem.status, RECORDED_BEFORE);
                let view = form.view(&typed.as_new(), &poms, subject.revision, Some(&problem));
                return Ok(show_form(visitor, status, subject, view, Vec::new()));
            }
            Ok(show_form(visitor, status, subject, view(Some(&problem)), Vec::new()))
        }
        Err(ApiError::SignedOut) => {
            let problem = ApiProblem::of_pages(401, SIGN_ON_ENDED);
            Ok(show_form(visitor, StatusCode::UNAUTHORIZED, subject, view(Some(&problem)), Vec::new()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The form again, with what others have recorded since it was shown; what was typed is kept.
async fn show_conflict(
    pages: &Pages,
    visitor: &Visitor,
    subject: Subject,
    form: &'static CommandForm,
    typed: &Typed,
    poms: &[(String, String)],
) -> Result<Response, PageError> {
    let seen = typed.revision();
    let path = Path::new(format!("/prisoners/{}/history", subject.name)).with("limit", Some("1000"));
    let history: ApiAnswer<Vec<ShownEntry>> = pages.api.get(visitor, path).await?;
    let own = history.content.iter().filter(|entry| entry.prisoner_number.as_deref() == Some(&subject.name));
    let later = own.filter(|entry| seen.is_none_or(|seen| entry.revision > seen));
    let meanwhile: Vec<_> = later.map(EntryLine::from).collect();
    let problem = ApiProblem::of_pages(
        412,
        "Somebody has changed this case since you opened the form. See below what is new, and record again if it is \
         still right.",
    );
    let view = form.view(typed, poms, subject.revision, Some(&problem));
    Ok(show_form(visitor, StatusCode::PRECONDITION_FAILED, subject, view, meanwhile))
}

type Pairs = Vec<(String, String)>;

/// `GET /pages/cases/{number}/{form}`
pub(crate) async fn ask_of_case(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart((number, slug)): PathPart<(String, String)>,
    Query(given): Query<Pairs>,
) -> Result<Response, PageError> {
    let subject = case_subject(&pages, &visitor, &number).await?;
    if slug == "movement" {
        let frame = PageFrame::new(format!("Record a movement: {}", subject.name), &visitor)
            .back(subject.home, subject.name.clone());
        let is_in_prison = subject.prison.is_some();
        return Ok(show_as(StatusCode::OK, &MovementPage { frame, number: subject.name, is_in_prison }));
    }
    let form = form_of_case(&slug).ok_or_else(no_form)?;
    ask(&pages, &visitor, subject, form, Typed::new(given)).await
}

/// `POST /pages/cases/{number}/{form}`
pub(crate) async fn record_of_case(
    State(pages): State<Pages>,
    PathPart((number, slug)): PathPart<(String, String)>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let form = form_of_case(&slug).ok_or_else(no_form)?;
    let subject = case_subject(&pages, &sent.visitor, &number).await?;
    record(&pages, &sent, subject, form).await
}

/// `GET /pages/prisons/{prison}/{form}`
pub(crate) async fn ask_of_prison(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart((prison, slug)): PathPart<(String, String)>,
    Query(given): Query<Pairs>,
) -> Result<Response, PageError> {
    let form = form_of_prison(&slug).ok_or_else(no_form)?;
    ask(&pages, &visitor, prison_subject(&prison)?, form, Typed::new(given)).await
}

/// `POST /pages/prisons/{prison}/{form}`
pub(crate) async fn record_of_prison(
    State(pages): State<Pages>,
    PathPart((prison, slug)): PathPart<(String, String)>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let form = form_of_prison(&slug).ok_or_else(no_form)?;
    record(&pages, &sent, prison_subject(&prison)?, form).await
}

/// `GET /pages/prisons/{prison}/poms/{staffId}/{form}`
pub(crate) async fn ask_of_pom(
    State(pages): State<Pages>,
    visitor: Visitor,
    PathPart((prison, staff_id, slug)): PathPart<(String, String, String)>,
    Query(given): Query<Pairs>,
) -> Result<Response, PageError> {
    let form = form_of_pom(&slug).ok_or_else(no_form)?;
    ask(&pages, &visitor, pom_subject(&prison, &staff_id)?, form, Typed::new(given)).await
}

/// `POST /pages/prisons/{prison}/poms/{staffId}/{form}`
pub(crate) async fn record_of_pom(
    State(pages): State<Pages>,
    PathPart((prison, staff_id, slug)): PathPart<(String, String, String)>,
    sent: SentForm,
) -> Result<Response, PageError> {
    let form = form_of_pom(&slug).ok_or_else(no_form)?;
    record(&pages, &sent, pom_subject(&prison, &staff_id)?, form).await
}
