//! The views: how far each has come, and how large it is.

use askama::Template;
use axum::{extract::State, response::Response};

use crate::{
    Pages,
    answers::ShownView,
    api::{ApiAnswer, Path},
    page_error::PageError,
    page_frame::{PageFrame, show},
    visitor::Visitor,
};

#[derive(Template)]
#[template(path = "views.html")]
struct ViewsPage {
    frame: PageFrame,
    views: Vec<ShownView>,
    streams_aside: u64,
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
    let views: ApiAnswer<Vec<ShownView>> = pages.api.get(&visitor, Path::new("/projections")).await?;
    let frame = PageFrame::new("Views", &visitor);
    Ok(show(&ViewsPage { frame, streams_aside: views.streams_aside, views: views.content }))
}
