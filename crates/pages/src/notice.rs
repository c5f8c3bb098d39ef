//! A page that only tells something.

use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};

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

impl IntoResponse for Notice {
    fn into_response(self) -> Response {
        let goes_on = self.links.first().filter(|_| self.goes_on);
        let refresh =
            goes_on.map(|(address, _)| format!("<meta http-equiv=\"refresh\" content=\"0; url={}\">", escape(address)));
        let text: String = self.text.iter().map(|paragraph| format!("<p>{}</p>\n", escape(paragraph))).collect();
        let links = self
            .links
            .iter()
            .map(|(address, name)| format!("<p><a href=\"{}\">{}</a></p>\n", escape(address), escape(name)));
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\">\n{}<title>{title}</title>\n</head>\n<body>\n\
             <h1>{title}</h1>\n{text}{}</body>\n</html>\n",
            refresh.unwrap_or_default(),
            links.collect::<String>(),
            title = escape(self.title),
        );
        (self.status, Html(html)).into_response()
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
