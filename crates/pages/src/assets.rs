//! The style sheet and the script, which are in the program.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};

const STYLE_SHEET: &str = include_str!("../assets/pages.css");
const SCRIPT: &str = include_str!("../assets/pages.js");

/// The version in the addresses of the files; it changes with them.
pub(crate) const VERSION: u32 = checksum(STYLE_SHEET).rotate_left(1) ^ checksum(SCRIPT);

/// A number that changes with a text (FNV-1a).
const fn checksum(text: &str) -> u32 {
    let (bytes, mut sum, mut index) = (text.as_bytes(), 0x811c_9dc5_u32, 0);
    while index < bytes.len() {
        sum = (sum ^ bytes[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    sum
}

/// The address of a file has the program's version, so that browsers may keep it.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// The style sheet.
pub(crate) async fn style_sheet() -> Response {
    file("text/css; charset=utf-8", STYLE_SHEET)
}

/// The script, which only makes pages more comfortable.
pub(crate) async fn script() -> Response {
    file("text/javascript; charset=utf-8", SCRIPT)
}

/// The icon of a window.
pub(crate) async fn icon() -> Response {
    file("image/svg+xml", include_str!("../assets/icon.svg"))
}

fn file(content_type: &'static str, content: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type)), (header::CACHE_CONTROL, KEPT)];
    (headers, content).into_response()
}
