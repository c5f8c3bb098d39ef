//! A page that only tells something.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::page_frame::{PageFrame, show_as};

/// A page in plain words, with links to go on.
pub(crate) struct Notice {
    status: StatusCode,
    title: &'static str,
    text: Vec<String>,
    links: Vec<(String, &'static str)>,
    goes_on: bool,
}

impl Notice {
    pub(crate) fn new(status: StatusCode, title: &'static str) -> Self {
        Self { status, title, text: Vec::new(), links: Vec::new(), goes_on: false }
    }

    /// With one more paragraph.
    pub(crate) fn text(mut self, paragraph: impl Into<String>) -> Self {
        self.text.push(paragraph.into());
        self
    }

    /// With a link to go on by.
    pub(crate) fn link(mut self, address: impl Into<String>, name: &'static str) -> Self {
        self.links.push((address.into(), name));
        self
    }

    /// Has browsers follow the first link at once.
    pub(crate) fn going_on(mut self) -> Self {
        self.goes_on = true;
        self
    }
}

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticePage {
    frame: PageFrame,
    notice: Notice,
}

impl IntoResponse for Notice {
    fn into_response(self) -> Response {
        let status = self.status;
        show_as(status, &NoticePage { frame: PageFrame::open(self.title), notice: self })
    }
}
