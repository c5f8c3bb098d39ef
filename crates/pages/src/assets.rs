//! The style sheet and the script, which are in the program.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};

/// The version in the addresses of the files; it changes with them.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The address of a file has the program's version, so that browsers may keep it.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// The style sheet.
pub(crate) async fn style_sheet() -> Response {
    file("text/css; charset=utf-8", include_str!("../assets/pages.css"))
}

/// The script, which only makes pages more comfortable.
pub(crate) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("../assets/pages.js"))
}

/// The icon of a window.
pub(crate) async fn icon() -> Response {
    file("image/svg+xml", include_str!("../assets/icon.svg"))
}

fn file(content_type: &'static str, content: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type)), (header::CACHE_CONTROL, KEPT)];
    (headers, content).into_response()
}
