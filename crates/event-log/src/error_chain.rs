//! Diagnostics that every crate above shares: the target of exported spans, and errors in one line.

use std::error::Error;

/// Target of spans that are for an OpenTelemetry collector alone; log lines leave them out.
pub const EXPORTED: &str = "exported";

/// An error and its causes in one line, outermost first.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
