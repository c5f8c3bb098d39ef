//! The upload of a prison's spreadsheet: a form with a file, which goes on to the API as it comes.

use std::{pin::pin, time::Duration};

use askama::Template;
use axum::{
    body::Body,
    extract::{Path as PathPart, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use domain::identifier::PrisonCode;
use futures::{StreamExt as _, stream};
use multer::{Constraints, Field, Multipart, SizeLimit, parse_boundary};
use serde::Deserialize;
use tokio::{sync::mpsc, time::timeout};
use uuid::Uuid;

use crate::{
    Pages,
    api::{ApiError, ApiProblem, Path},
    command_form::{Typed, faults},
    command_pages::OTHER_SESSION,
    page_error::PageError,
    page_frame::{PageFrame, show_typed},
    prison_page::{prison_name, prison_of},
    session::Session,
    visitor::Visitor,
};

/// The field with the file, which is the last of the form.
const FILE: &str = "file";

/// Fields of the form that the API has parameters for. Those with several values have one a line.
const PARAMETERS: [&str; 4] = ["sheet", "map", "pom-kind", "estate"];

/// Most bytes of a form: the API refuses a file of more than 64 MiB, in its own words.
const FORM_BYTES_MAX: u64 = 66 * 1024 * 1024;

/// Most bytes of a field that is not the file.
const FIELD_BYTES_MAX: u64 = 16 * 1024;

/// How long the rest of a refused file may take to come. A browser shows an answer only when it has
/// sent all.
const REST_TIME_MAX: Duration = Duration::from_secs(60);

#[derive(Template)]
#[template(path = "upload.html")]
struct UploadPage {
    frame: PageFrame,
    name: String,
    prison: PrisonCode,
    typed: Typed,
    errors: Vec<(String, String)>,
    csrf: String,
}

impl UploadPage {
    fn error(&self, field: &str) -> Option<&str> {
        self.errors.iter().find(|(name, _)| name == field).map(|(_, error)| error.as_str())
    }

    /// Whether one of the fields is used that a plain sheet does not need.
    fn is_unusual(&self) -> bool {
        PARAMETERS.iter().any(|name| self.error(name).is_some() || !self.typed.text(name).is_empty())
    }
}

/// The upload that the API has taken.
#[derive(Deserialize)]
struct TakenUpload {
    id: Uuid,
}

fn show_upload(visitor: &Visitor, prison: PrisonCode, typed: Typed, problem: Option<&ApiProblem>) -> Response {
    let status = problem.and_then(|problem| StatusCode::from_u16(problem.status).ok()).unwrap_or(StatusCode::OK);
    let errors = problem.map(faults).unwrap_or_default().into_iter();
    let field_of = |name: String| if PARAMETERS.contains(&name.as_str()) { name } else { FILE.to_owned() };
    let errors: Vec<_> = errors.map(|(name, error)| (field_of(name), error)).collect();
    let name = prison_name(&prison);
    let frame = PageFrame::new(format!("Upload a spreadsheet: {name}"), visitor)
        .back(format!("/pages/prisons/{prison}"), name.clone())
        .with_errors(!errors.is_empty());
    show_typed(status, &UploadPage { frame, name, prison, typed, errors, csrf: visitor.csrf.clone() })
}

/// `GET /pages/prisons/{prison}/spreadsheets`
pub(crate) async fn choose_file(visitor: Visitor, PathPart(prison): PathPart<String>) -> Result<Response, PageError> {
    Ok(show_upload(&visitor, prison_of(&prison)?, Typed::default(), None))
}

/// `POST /pages/prisons/{prison}/spreadsheets`
pub(crate) async fn take_file(
    State(pages): State<Pages>,
    session: Session,
    visitor: Visitor,
    PathPart(prison): PathPart<String>,
    request: Request,
) -> Result<Response, PageError> {
    let prison = prison_of(&prison)?;
    let Ok((typed, file)) = read_form(request).await else {
        let problem = ApiProblem::of_pages(400, "The form did not come whole. Choose the file, and send it again.");
        return Ok(show_upload(&visitor, prison, Typed::default(), Some(&problem)));
    };
    let file_name = file.as_ref().and_then(Field::file_name).unwrap_or_default().to_owned();
    let (chunks, mut passed_on) = mpsc::channel(1);
    let mut passing = pin!(async move {
        let Some(mut file) = file else { return };
        while let Some(chunk) = file.next().await {
            // The rest of a file that is refused is read all the same.
            let _ = chunks.send(chunk).await;
        }
    });
    let problem = if !session.csrf().matches(typed.text("csrf")) {
        ApiProblem::of_pages(403, OTHER_SESSION)
    } else if file_name.is_empty() {
        ApiProblem::of_pages(400, "Choose a file")
    } else {
        let mut path = Path::new(format!("/prisons/{prison}/spreadsheets")).with("file-name", Some(&file_name));
        for name in PARAMETERS {
            path = typed.text(name).lines().fold(path, |path, line| path.with(name, Some(line.trim())));
        }
        let body = Body::from_stream(stream::poll_fn(move |context| passed_on.poll_recv(context)));
        let mut upload = pin!(pages.api.upload::<TakenUpload>(&visitor, path, body));
        let taken = tokio::select! {
            taken = &mut upload => taken,
            () = &mut passing => {
                // All of the file is on its way.
                return finish(&visitor, prison, typed, upload.await);
            }
        };
        match taken {
            Err(ApiError::Refused(problem)) => *problem,
            taken => return finish(&visitor, prison, typed, taken),
        }
    };
    let _ = timeout(REST_TIME_MAX, passing).await;
    Ok(show_upload(&visitor, prison, typed, Some(&problem)))
}

fn finish(
    visitor: &Visitor,
    prison: PrisonCode,
    typed: Typed,
    taken: Result<TakenUpload, ApiError>,
) -> Result<Response, PageError> {
    match taken {
        Ok(TakenUpload { id }) => {
            Ok(Redirect::to(&format!("/pages/prisons/{prison}/spreadsheets/{id}")).into_response())
        }
        Err(ApiError::Refused(problem)) => Ok(show_upload(visitor, prison, typed, Some(&problem))),
        Err(error) => Err(error.into()),
    }
}

/// The fields of a form up to its file, and the file, of which nothing is read yet.
async fn read_form(request: Request) -> Result<(Typed, Option<Field<'static>>), multer::Error> {
    let (parts, body) = request.into_parts();
    let sizes =
        SizeLimit::new().whole_stream(FORM_BYTES_MAX).per_field(FIELD_BYTES_MAX).for_field(FILE, FORM_BYTES_MAX);
    let constraints = Constraints::new().size_limit(sizes);
    let mut form = Multipart::with_constraints(body.into_data_stream(), boundary(&parts.headers)?, constraints);
    let mut typed = Vec::new();
    while let Some(field) = form.next_field().await? {
        match field.name().unwrap_or_default().to_owned() {
            name if name == FILE => return Ok((Typed::new(typed), Some(field))),
            name => typed.push((name, field.text().await?)),
        }
    }
    Ok((Typed::new(typed), None))
}

fn boundary(headers: &HeaderMap) -> Result<String, multer::Error> {
    parse_boundary(headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default())
}
