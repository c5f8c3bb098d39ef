//! `projections verify`: proves that the views are what the log says, or names what is not.

use std::{collections::BTreeSet, fmt, time::Instant};

use access_log::Shown;
use anyhow::{Context as _, bail};
use clap::Args;
use domain::identifier::PrisonerNumber;
use indicatif::ProgressBar;
use projector::{Difference, VerifyOutcome, View};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::status::{and_aside, aside_json, aside_text, prisoner_of};
use crate::{
    interrupt::{interruption, unless_interrupted},
    progress::WorkProgress,
    shared_settings,
    stdout::print_line,
    stores::Stores,
    tools::read_recording::record_read,
};

/// The name of the tool, in the access log.
const TOOL: &str = "projections verify";

/// The settings of `projections verify`.
#[derive(Debug, Args)]
pub struct VerifySettings {
    /// Compare this view alone
    #[arg(long, value_name = "NAME")]
    view: Option<View>,
    /// Compare the views in this schema, as `projections rebuild --as-of` makes them
    #[arg(long, value_name = "NAME", default_value = projector::SCHEMA)]
    schema: String,
    /// One JSON object a line for each difference, and one at the end
    #[arg(long)]
    json: bool,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
}

/// Compares, and prints each difference.
///
/// # Errors
/// There is a difference, or the views leave something out, or the log or the views cannot be read.
pub async fn run(settings: &VerifySettings) -> anyhow::Result<()> {
    let started = Instant::now();
    let compare = async |stores: &Stores| {
        let mut named = BTreeSet::new();
        let verified = unless_interrupted(compare(settings, stores, &mut named)).await;
        if let Ok(Some(verified)) = &verified {
            named.extend(verified.aside.iter().filter_map(prisoner_of).cloned());
        }
        // Differences are printed as they are found, so their numbers are known at the end alone.
        record_read(Some(&stores.views), TOOL, Shown::prisoners(&named)).await;
        verified
    };
    let Some(verified) = Stores::with_existing(&settings.stores, compare).await? else {
        return Err(interruption("nothing has been changed, and not everything compared"));
    };
    let VerifyOutcome { position, head, rows, differences, aside } = verified;
    let seconds = started.elapsed().as_secs_f64();
    for stream in &aside {
        print_line(&if settings.json { aside_json(stream).to_string() } else { aside_text(stream) })?;
    }
    print_line(&if settings.json {
        let schema = &settings.schema;
        json!({
            "schema": schema, "position": position, "head": head, "rows": rows, "differences": differences,
            "streamsAside": aside.len(), "seconds": seconds,
        })
        .to_string()
    } else {
        let outcome =
            if differences == 0 { "no difference".to_owned() } else { format!("{differences} not as the log says") };
        let behind = if position < head { format!("; the log goes on to position {head}") } else { String::new() };
        format!(
            "{rows} rows compared with a replay of the log up to position {position}, in {seconds:.1} s: \
             {outcome}{behind}{}",
            and_aside(aside.len())
        )
    })?;
    if differences > 0 {
        bail!(
            "the views and the log differ, and either may have been changed: compare the log's digest (`replay --digest`) \
             with one that is kept elsewhere first; if the log is sound, `projections rebuild` builds the views anew"
        );
    }
    if !aside.is_empty() {
        bail!(
            "the views leave out cases or prisons, which are named above: void the entries that are named, or run a \
             program that can show them"
        );
    }
    Ok(())
}

/// Compares and prints each difference. Adds the prisoner numbers that it prints to `named`.
async fn compare(
    settings: &VerifySettings,
    stores: &Stores,
    named: &mut BTreeSet<PrisonerNumber>,
) -> anyhow::Result<VerifyOutcome> {
    let bar = ProgressBar::no_length();
    let mut printed = Ok(());
    let mut report = |difference| {
        let difference = DifferenceReport::from(difference);
        named.extend(difference.prisoner());
        let line = if settings.json { json!(difference).to_string() } else { difference.to_string() };
        if printed.is_ok() {
            printed = bar.suspend(|| print_line(&line));
        }
    };
    let progress = |progress| WorkProgress::from(progress).show(&bar);
    let verified =
        projector::verify(&stores.log, &stores.views, &settings.schema, settings.view, &progress, &mut report).await;
    bar.finish_and_clear();
    printed?;
    verified.context("compare the views with the log")
}

/// A difference, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DifferenceReport {
    view: &'static str,
    kind: DifferenceKind,
    key: Map<String, Value>,
    /// The columns that differ, where both rows are there.
    columns: Vec<String>,
    stored: Option<Map<String, Value>>,
    expected: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum DifferenceKind {
    /// Both have the row, and it is not the same.
    Changed,
    /// The log says that there should be the row.
    Missing,
    /// The log has no reason for the row.
    Extra,
}

impl From<Difference> for DifferenceReport {
    fn from(Difference { table, key, stored, expected }: Difference) -> Self {
        // Postgres wrote it, so it is an object.
        let object = |text: String| serde_json::from_str::<Map<String, Value>>(&text).unwrap_or_default();
        let (stored, expected) = (stored.map(object), expected.map(object));
        let (kind, columns) = match (&stored, &expected) {
            (Some(stored), Some(expected)) => {
                let differs =
                    |(column, value): (&String, &Value)| (expected.get(column) != Some(value)).then(|| column.clone());
                (DifferenceKind::Changed, stored.iter().filter_map(differs).collect())
            }
            (None, _) => (DifferenceKind::Missing, Vec::new()),
            (Some(_), None) => (DifferenceKind::Extra, Vec::new()),
        };
        let either = expected.as_ref().or(stored.as_ref());
        let value = |column: &str| either.and_then(|row| row.get(column)).cloned().unwrap_or_default();
        let key = key.iter().map(|&column| (column.to_owned(), value(column))).collect();
        Self { view: table, kind, key, columns, stored, expected }
    }
}

impl DifferenceReport {
    /// The prisoner number of the row, where it has one.
    fn prisoner(&self) -> Option<PrisonerNumber> {
        let row = self.expected.as_ref().or(self.stored.as_ref())?;
        row.get("prisoner_number")?.as_str()?.parse().ok()
    }
}

impl fmt::Display for DifferenceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DifferenceKind::Changed => "a row that differs",
            DifferenceKind::Missing => "a row is missing",
            DifferenceKind::Extra => "a row too many",
        };
        let key: Vec<String> = self.key.iter().map(|(column, value)| format!("{column} {value}")).collect();
        writeln!(f, "{}: {what}: {}", self.view, key.join(", "))?;
        for column in &self.columns {
            let value = |row: &Option<Map<String, Value>>| row.as_ref().and_then(|row| row.get(column)).cloned();
            let (stored, expected) = (value(&self.stored), value(&self.expected));
            writeln!(f, "  {column} is {}, should be {}", json!(stored), json!(expected))?;
        }
        let row =
            |row: &Option<Map<String, Value>>| row.as_ref().map_or("none".to_owned(), |row| json!(row).to_string());
        writeln!(f, "  stored:   {}", row(&self.stored))?;
        write!(f, "  expected: {}", row(&self.expected))
    }
}
