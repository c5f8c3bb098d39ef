//! `access-log`: who read which person's data, as a table or in the shape that `GET /access-log`
//! lists.

use std::io::{self, Write as _};

use access_log::{AccessQuestion, StoredAccess, read_entries};
use anyhow::Context as _;
use clap::{Args, value_parser};
use domain::{identifier::PrisonerNumber, london, text::Visible};
use http_api::instant::DateOrInstant;
use query::past::case_numbers;

use super::read_recording::record_read;
use crate::{
    shared_settings::{self, identifier},
    stdout::{self, table},
    stores::Stores,
};

/// Entries listed where the settings do not say how many.
const ENTRIES: u16 = 50;

/// Most numbers that a line of the table names.
const NUMBERS_SHOWN_MAX: usize = 5;

/// The settings of `access-log`.
#[derive(Debug, Args)]
pub struct AccessLogToolSettings {
    /// Reads that showed this prisoner, under any number that was merged with it
    #[arg(long, value_name = "A1234BC", value_parser = identifier::<PrisonerNumber>)]
    prisoner: Option<PrisonerNumber>,
    /// Reads by this user, or by this client where it acted for itself; in its own letters
    #[arg(long)]
    user: Option<String>,
    /// Reads from this instant or London date on
    #[arg(long, value_name = "DATE|INSTANT")]
    from: Option<DateOrInstant>,
    /// Reads before this instant or London date
    #[arg(long, value_name = "DATE|INSTANT")]
    to: Option<DateOrInstant>,
    /// The newest of them, so many
    #[arg(long, value_name = "ENTRIES", default_value_t = ENTRIES, value_parser = value_parser!(u16).range(1..=1_000))]
    limit: u16,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
}

/// Prints the entries, newest first.
///
/// # Errors
/// The ledger or its access log cannot be read.
pub async fn run(settings: &AccessLogToolSettings) -> anyhow::Result<()> {
    let entries = Stores::with_existing(&settings.stores, async |stores| {
        let prisoners = match &settings.prisoner {
            Some(number) => {
                let numbers = case_numbers(&stores.log, number).await;
                Some(numbers.with_context(|| format!("look up the case of {number}"))?.into_iter().collect())
            }
            None => None,
        };
        let question = AccessQuestion {
            prisoners,
            user: settings.user.clone(),
            from: settings.from.map(DateOrInstant::instant),
            to: settings.to.map(DateOrInstant::instant),
            older_than: None,
            rows: settings.limit.into(),
        };
        let entries = read_entries(&stores.views, &question).await.context(
            "read the access log: is this ledger of an earlier version? `allocation-ledger serve` prepares it",
        )?;
        record_read(Some(&stores.views), "access-log", query::shown_by_access_log(&question)).await;
        Ok(entries)
    })
    .await?;
    stdout::ignore_broken_pipe(if settings.json { print_json(&entries) } else { print_table(settings, &entries) })
}

fn print_json(entries: &[StoredAccess]) -> io::Result<()> {
    let mut out = stdout::lock();
    for entry in entries {
        serde_json::to_writer(&mut out, &query::recorded_read(entry))?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn print_table(settings: &AccessLogToolSettings, entries: &[StoredAccess]) -> io::Result<()> {
    let mut out = stdout::lock();
    let mut shown = table(&["When", "Who", "Read by", "Status", "Shown"]);
    for entry in entries {
        let client = |client: &String| format!("the client {client}");
        let reader = entry.username.clone().or_else(|| entry.client.as_ref().map(client)).unwrap_or_default();
        let method = entry.method.as_ref().map(|method| format!("{method} ")).unwrap_or_default();
        shown.add_row([
            london::clock(entry.at),
            reader,
            format!("{method}{}", entry.operation),
            entry.status.map(|status| status.to_string()).unwrap_or_default(),
            shown_data(entry),
        ]);
    }
    if shown.row_count() > 0 {
        writeln!(out, "{}\n", Visible(&shown.to_string()))?;
    }
    let count = if entries.len() == 1 { "1 entry".to_owned() } else { format!("{} entries", entries.len()) };
    let more = if entries.len() == usize::from(settings.limit) { "; --limit or --to shows older ones" } else { "" };
    writeln!(out, "{count} of the access log, newest first{more}; times are London's.")?;
    out.flush()
}

/// The data that a read showed, in a few words. JSON has all numbers.
fn shown_data(entry: &StoredAccess) -> String {
    let mut parts: Vec<String> = entry.prisoners.iter().take(NUMBERS_SHOWN_MAX).cloned().collect();
    let further = entry.prisoners.len().saturating_sub(NUMBERS_SHOWN_MAX);
    if further > 0 {
        parts.push(format!("and {further} more"));
    }
    parts.extend(entry.filter.clone());
    parts.extend(entry.after_position.map(|after| {
        let to = entry.to_position.map(|to| format!(" up to {to}")).unwrap_or_default();
        format!("after position {after}{to}")
    }));
    parts.extend(entry.reads_lost.map(|reads| {
        let until = entry.lost_until.map(|until| format!(", until {}", london::clock(until))).unwrap_or_default();
        format!("{reads} reads that were not kept{until}")
    }));
    parts.join(" ")
}
