//! `handover-dates`: JSON lines of sentence facts in, JSON lines of handover dates out; nothing is
//! recorded.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Args;
use command::Clock;
use domain::london;

use crate::stdout;

/// The settings of `handover-dates`.
#[derive(Debug, Args)]
pub struct HandoverDatesSettings {
    /// File of facts, one JSON object a line; absent or `-`: standard input
    file: Option<PathBuf>,
}

/// Answers every line in its place. Blank lines are passed over.
///
/// # Errors
/// The file cannot be read or the answers cannot be written; a line at fault is answered, not an
/// error.
pub fn run(settings: &HandoverDatesSettings) -> anyhow::Result<()> {
    match settings.file.as_deref() {
        Some(path) if path.as_os_str() != "-" => {
            let file = File::open(path).with_context(|| {
                format!("open {}: give a file of JSON lines, or none for standard input", path.display())
            })?;
            answer(BufReader::new(file))
        }
        _ => answer(io::stdin().lock()),
    }
}

fn answer(facts: impl BufRead) -> anyhow::Result<()> {
    let mut out = stdout::lock();
    for line in facts.split(b'\n') {
        let line = line.context("read a line of facts")?;
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let today = london::date(Clock::system().now());
        serde_json::to_writer(&mut out, &query::handover_dates::answer(line, today)).context("write an answer")?;
        out.write_all(b"\n").context("write an answer")?;
    }
    out.flush().context("write the answers")
}

#[cfg(test)]
mod tests {
    use query::handover_dates::{HandoverDatesLine, answer};

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let today = "2026-11-24".parse().expect("a date");
        let answered = match answer(line.as_bytes(), today) {
            HandoverDatesLine::Error { error } => error.code,
            answer => serde_json::to_string(&answer).expect("JSON"),
        };
        assert_eq!(answered, expected);
    }

    #[test]
    fn a_line_is_answered_with_dates_or_a_code() {
        check(
            r#"{"indeterminate":false,"sentenceStartDate":"2024-01-01","conditionalReleaseDate":"2026-01-01","calculatedOn":"2024-05-20"}"#,
            r#"{"startDate":"2025-04-17","handoverDate":"2025-04-17","reason":"determinate","earliestRelease":{"name":"CRD","date":"2026-01-01"},"responsibility":"CustodyOnly"}"#,
        );
        // Without `calculatedOn` it is today.
        check(
            r#"{"indeterminate":false,"sentenceStartDate":"2024-01-01","conditionalReleaseDate":"2026-01-01"}"#,
            r#"{"startDate":"2025-04-17","handoverDate":"2025-04-17","reason":"determinate","earliestRelease":{"name":"CRD","date":"2026-01-01"},"responsibility":"Community"}"#,
        );
        // A fact that is left out is false.
        check(
            r#"{"recalled":true}"#,
            r#"{"startDate":null,"handoverDate":null,"reason":"recall_case","earliestRelease":null,"responsibility":"Community"}"#,
        );
        check(r#"{"indeterminate":false,"conditionalReleaseDate":"2026-01-01"}"#, "sentence-start-unknown");
        check(r#"{"indeterminate":false,"colour":"red"}"#, "field-unknown");
        check(r#"{"indeterminate":"maybe"}"#, "field-invalid");
        check(r#"{"indeterminate":true,"tariffDate":"2026-02-30"}"#, "date-invalid");
        check("nonsense", "json-malformed");
    }
}
