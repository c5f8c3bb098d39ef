//! The views: how far each has come, how large it is, and the jobs on them.

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use futures::join;
use uuid::Uuid;

use crate::{
    Pages,
    answers::ShownView,
    api::{ApiError, ApiProblem, Path},
    job::ShownJob,
    page_error::PageError,
    page_frame::{PageFrame, show_as},
    visitor::Visitor,
};

#[derive(Template)]
#[template(path = "views.html")]
struct ViewsPage {
    frame: PageFrame,
    views: Vec<ShownView>,
    streams_aside: u64,
    /// The jobs; `None` where the visitor may not see them.
    jobs: Option<Vec<ShownJob>>,
    is_working: bool,
    key: Uuid,
    csrf: String,
    /// The refusal of a job.
    error: Option<String>,
}

impl ViewsPage {
    /// A view's rows, as counted or as estimated.
    fn rows(view: &ShownView) -> String {
        match view.rows {
            None => "not known yet".to_owned(),
            Some(rows) if view.rows_are == "ESTIMATED" => format!("about {rows}"),
            Some(rows) => rows.to_string(),
        }
    }

    /// A view's size in words.
    fn size(view: &ShownView) -> String {
        let kilobytes = view.bytes.div_ceil(1_024);
        if kilobytes < 10_240 { format!("{kilobytes} kB") } else { format!("{} MB", kilobytes / 1_024) }
    }

    /// How far a view is behind the log.
    fn lag(view: &ShownView) -> String {
        match view.lag_events {
            0 => "up to date".to_owned(),
            events => format!("{events} events, {:.0} s", view.lag_seconds),
        }
    }

    fn state(view: &ShownView) -> &str {
        match view.state.as_str() {
            "CURRENT" => "Current",
            "BEHIND" => "Behind",
            "OTHER_LOG" => "Of another log",
            other => other,
        }
    }
}

/// `GET /pages/views`
pub(crate) async fn show_views(State(pages): State<Pages>, visitor: Visitor) -> Result<Response, PageError> {
    show_page(&pages, &visitor, StatusCode::OK, None).await
}

/// The page after a refusal of a job.
pub(crate) async fn show_refused(
    pages: &Pages,
    visitor: &Visitor,
    problem: &ApiProblem,
) -> Result<Response, PageError> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    show_page(pages, visitor, status, Some(problem.detail.clone())).await
}

async fn show_page(
    pages: &Pages,
    visitor: &Visitor,
    status: StatusCode,
    error: Option<String>,
) -> Result<Response, PageError> {
    let (views, jobs) = join!(
        pages.api.get::<Vec<ShownView>>(visitor, Path::new("/projections")),
        pages.api.get::<Vec<ShownJob>>(visitor, Path::new("/projections/jobs")),
    );
    let views = views?;
    // A visitor who may read and not operate sees the views alone.
    let jobs = match jobs {
        Ok(jobs) => Some(jobs.content),
        Err(ApiError::Refused(problem)) if problem.status == 403 => None,
        Err(error) => return Err(error.into()),
    };
    let frame = PageFrame::new("Views", visitor).with_errors(error.is_some());
    let page = ViewsPage {
        frame,
        streams_aside: views.streams_aside,
        views: views.content,
        is_working: jobs.iter().flatten().any(ShownJob::is_running),
        jobs,
        key: Uuid::new_v4(),
        csrf: visitor.csrf.clone(),
        error,
    };
    Ok(show_as(status, &page))
}
