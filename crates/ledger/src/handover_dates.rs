//! `handover-dates`: JSON lines of sentence facts in, JSON lines of handover dates out; nothing is recorded.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use chrono::{NaiveDate, Utc};
use clap::Args;
use domain::{
    handover::{HandoverReason, NamedDate, Phase, phase_on, plan},
    london,
};
use http_api::{Problem, extract::from_json, handover::FactsBody};
use serde::Serialize;

/// What `handover-dates` can be told.
#[derive(Debug, Args)]
pub struct Settings {
    /// File of facts, one JSON object a line; absent or `-`: standard input
    file: Option<PathBuf>,
}

/// What is worked out from a line of facts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Dates {
    start_date: Option<NaiveDate>,
    handover_date: Option<NaiveDate>,
    reason: HandoverReason,
    earliest_release: Option<NamedDate>,
    responsibility: &'static str,
}

/// What stands in the place of a line that cannot be worked out.
#[derive(Debug, Serialize)]
struct Failure<'a> {
    error: Reason<'a>,
}

#[derive(Debug, Serialize)]
struct Reason<'a> {
    code: &'a str,
    detail: &'a str,
}

/// Answers every line in its place. Blank lines are passed over.
///
/// # Errors
/// The file cannot be read or the answers cannot be written; a line at fault is answered, not an error.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
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
    let mut out = BufWriter::new(io::stdout().lock());
    for line in facts.split(b'\n') {
        let line = line.context("read a line of facts")?;
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let today = london::date(Utc::now());
        match dates(line, today) {
            Ok(dates) => serde_json::to_writer(&mut out, &dates),
            Err(problem) => serde_json::to_writer(
                &mut out,
                &Failure { error: Reason { code: problem.code(), detail: problem.detail() } },
            ),
        }
        .context("write an answer")?;
        out.write_all(b"\n").context("write an answer")?;
    }
    out.flush().context("write the answers")
}

/// Works out one line; `today` counts where the facts do not say when they were calculated.
fn dates(line: &[u8], today: NaiveDate) -> Result<Dates, Problem> {
    let body: FactsBody = from_json(line)?;
    let effective_on = body.effective_at.map_or(today, london::date);
    let facts = body.into_facts();
    let calculated_on = facts.calculated_on.unwrap_or(effective_on);
    let plan = plan(&facts, calculated_on)?;
    let phase = phase_on(plan.reason, plan.start_date, plan.handover_date, calculated_on);
    Ok(Dates {
        start_date: plan.start_date,
        handover_date: plan.handover_date,
        reason: plan.reason,
        earliest_release: plan.earliest_release,
        responsibility: match phase {
            Phase::CustodyOnly => "CustodyOnly",
            Phase::CustodyWithCom => "CustodyWithCom",
            Phase::Community => "Community",
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let today = "2026-11-24".parse().expect("a date");
        let answered = match dates(line.as_bytes(), today) {
            Ok(dates) => serde_json::to_string(&dates).expect("JSON"),
            Err(problem) => problem.code().to_owned(),
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
        check(r#"{"indeterminate":false,"conditionalReleaseDate":"2026-01-01"}"#, "sentence-start-unknown");
        check(r#"{"indeterminate":false,"colour":"red"}"#, "field-unknown");
        check(r#"{"recalled":true}"#, "field-missing");
        check(r#"{"indeterminate":true,"tariffDate":"2026-02-30"}"#, "date-invalid");
        check("nonsense", "json-malformed");
    }
}
