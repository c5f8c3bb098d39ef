//! Diagnostics that every crate above shares: the target of exported spans, and errors in one line.

use std::error::Error;

/// Target of spans that are for an OpenTelemetry collector alone; log lines leave them out.
pub const EXPORTED: &str = "exported";

/// An error and its causes in one line, outermost first. A cause that an error has said already, as
/// those of `sqlx` do, is said once.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(&'static str, #[source] Option<Box<Said>>);

    #[test]
    fn each_cause_is_said_once() {
        let chain = |inner: &'static str| {
            let cause = Said(inner, Some(Box::new(Said("no such database", None))));
            error_chain(&Said("connect", Some(Box::new(cause))))
        };
        assert_eq!(chain("refused: no such database"), "connect: refused: no such database");
        assert_eq!(chain("refused"), "connect: refused: no such database");
    }
}
