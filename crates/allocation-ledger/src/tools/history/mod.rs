//! `history`: the responsibility for a case and everything that happened to it, from the log
//! itself, as text or as JSON lines.
//!
//! The text has London's clock, by which dates begin; JSON has UTC, as everywhere.

mod entry;
pub(super) mod period;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use access_log::Shown;
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use command::Clock;
use domain::{Event, identifier::PrisonerNumber, london, text::Visible};
use event_log::{KnownAt, Provenance};
use http_api::{Texts, event::EventDocument};
use query::past::{CaseEntry, PastError, WholeCase, whole_case};
use serde::Serialize;

use self::{
    entry::describe,
    period::{Stretch, stretches},
};
use super::read_recording::record_read;
use crate::{
    shared_settings::{self, KnowledgeSettings, identifier},
    stdout,
    stores::LogStore,
};

/// The settings of `history`.
#[derive(Debug, Args)]
pub struct HistorySettings {
    /// The prisoner number, e.g. A1234BC
    #[arg(value_parser = identifier::<PrisonerNumber>)]
    prisoner_number: PrisonerNumber,
    /// The knowledge that it is answered from.
    #[command(flatten)]
    knowledge: KnowledgeSettings,
    /// One JSON object a line: first each period of responsibility, which has a `from`, then each
    /// entry, which has an `eventId`
    #[arg(long)]
    json: bool,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
}

/// An entry as a line of JSON, in the shape that `GET /prisoners/{prisonerNumber}/history` answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryLine<'a> {
    prisoner_number: &'a PrisonerNumber,
    voided_by: Option<u64>,
    #[serde(flatten)]
    event: EventDocument,
}

/// Prints the history.
///
/// # Errors
/// Nothing is known of the number, or the ledger cannot be read.
pub async fn run(settings: &HistorySettings) -> anyhow::Result<()> {
    let (case, known_until) =
        read("history", &settings.stores, &settings.prisoner_number, settings.knowledge.known_at).await?;
    let printed = if settings.json { print_json(&case) } else { print_text(settings, &case, known_until) };
    match printed {
        // The reader has read enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("print the history"),
    }
}

/// Reads the case for a tool, and the instant up to which it is known: periods that begin later
/// were planned then. Records the read.
///
/// # Errors
/// Nothing is known of the number, or was by then; or the ledger cannot be read.
pub(super) async fn read(
    tool: &'static str,
    stores: &shared_settings::StoreSettings,
    number: &PrisonerNumber,
    known_at: Option<KnownAt>,
) -> anyhow::Result<(WholeCase, DateTime<Utc>)> {
    LogStore::with_existing(&stores.log, async |store| {
        let (case, known_until) = read_in(store, number, known_at).await?;
        let of_case = case.iter().flat_map(|case| case.entries.iter().map(|entry| &entry.number).chain([&case.number]));
        // That nothing is known of a number tells something, too.
        let shown = Shown::prisoners(of_case.chain([number]));
        record_read(store.access_log(stores)?.as_ref(), tool, shown).await;
        match case {
            Some(case) => Ok((case, known_until)),
            None if known_at.is_none() => bail!("nothing is known of {number}: is that the number meant?"),
            None => {
                bail!("nothing was known of {number} at that point: ask without --known-at for what is known now")
            }
        }
    })
    .await
}

async fn read_in(
    store: &LogStore,
    number: &PrisonerNumber,
    known_at: Option<KnownAt>,
) -> anyhow::Result<(Option<WholeCase>, DateTime<Utc>)> {
    let reading = || format!("read the history of {number}");
    let case = match whole_case(&store.log, number, known_at).await {
        Err(ahead @ PastError::Ahead { .. }) => return Err(ahead.into()),
        case => case.with_context(reading)?,
    };
    let mut known_until = Clock::system().now();
    match known_at {
        None => {}
        Some(KnownAt::Instant(instant)) => known_until = known_until.min(instant),
        Some(KnownAt::Position(position)) => {
            let last = store.log.read_all(position.saturating_sub(1), 1).await.with_context(reading)?;
            known_until = last.first().map_or(known_until, |last| last.recorded_at);
        }
    }
    Ok((case, known_until))
}

fn print_json(case: &WholeCase) -> io::Result<()> {
    let mut out = stdout::lock();
    for period in &case.periods {
        serde_json::to_writer(&mut out, &query::responsibility_period(period))?;
        out.write_all(b"\n")?;
    }
    for entry in &case.entries {
        let line = EntryLine {
            prisoner_number: &entry.number,
            voided_by: entry.voided_by,
            event: EventDocument::new(&entry.stored, Texts::Shown),
        };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn print_text(settings: &HistorySettings, case: &WholeCase, known_until: DateTime<Utc>) -> io::Result<()> {
    let mut out = stdout::lock();
    let entries =
        if case.entries.len() == 1 { "1 entry".to_owned() } else { format!("{} entries", case.entries.len()) };
    let asked = &settings.prisoner_number;
    let survivor = if case.number == *asked { String::new() } else { format!(", which goes on as {}", case.number) };
    let known = match settings.knowledge.known_at {
        None => String::new(),
        Some(KnownAt::Position(position)) => format!(", as known at position {position}"),
        Some(KnownAt::Instant(instant)) => format!(", as known at {}", london::clock(instant)),
    };
    writeln!(out, "{asked}{survivor}: {entries}, newest last{known}; times are London's")?;
    writeln!(out, "\nWHO WAS RESPONSIBLE")?;
    for stretch in stretches(&case.periods, known_until) {
        writeln!(out, "\n{}", Visible(&period_text(&case.number, &stretch)))?;
    }
    writeln!(out, "\nWHAT HAPPENED")?;
    for entry in &case.entries {
        writeln!(out, "\n{}", Visible(&entry_text(&case.number, entry)))?;
    }
    out.flush()
}

/// A stretch of responsibility as text: times, then officers, then the reason.
fn period_text(number: &PrisonerNumber, stretch: &Stretch) -> String {
    let to = stretch.to.map_or("no end known".to_owned(), london::clock);
    let planned = if stretch.is_planned { "  [planned]" } else { "" };
    let under = if stretch.number == *number { String::new() } else { format!("  [as {}]", stretch.number) };
    format!("{} to {to}{planned}{under}\n    {}\n    why: {}", london::clock(stretch.from), stretch.who, stretch.why)
}

/// An entry as text: time and event, then details, then the recording.
fn entry_text(number: &PrisonerNumber, of_case: &CaseEntry) -> String {
    let entry = &of_case.stored.entry;
    let mut text = format!("{}  ", london::clock(entry.effective_at));
    if let Some(by) = of_case.voided_by {
        let _ = write!(text, "[voided by entry {by}] ");
    }
    let Event::Prisoner(event) = &entry.event else { return text };
    let said = describe(event);
    text.push_str(&said.sentence);
    let mut line = |words: &str| {
        let _ = write!(text, "\n    {words}");
    };
    said.remarks.iter().for_each(|remark| line(remark));
    let under = if of_case.number == *number { String::new() } else { format!(" under {}", of_case.number) };
    let by = match &entry.recorded_by.username {
        Some(username) => format!("by {username}"),
        None => "by no named user".to_owned(),
    };
    line(&format!(
        "entry {}{under}, position {}, recorded {} {by} with {}",
        entry.revision,
        entry.position,
        london::clock(entry.recorded_at),
        entry.recorded_by.client
    ));
    if let Some(Provenance { file, sheet, row, row_sha256, run }) = of_case.stored.metadata.provenance.as_deref() {
        let row = row.map(|row| format!(", row {row}")).unwrap_or_default();
        let digest = row_sha256.as_ref().map(|digest| format!(", SHA-256 of the row {digest}")).unwrap_or_default();
        line(&format!("from {file}, sheet {sheet}{row}; run {run}{digest}"));
    }
    text
}
