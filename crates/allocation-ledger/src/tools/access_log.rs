//! `access-log`: who read which person's data, as a table or in the shape that `GET /access-log`
//! lists.

use std::io::{self, Write as _};

use access_log::{AccessPage, AccessQuestion, StoredAccess, read_entries};
use anyhow::Context as _;
use clap::{Args, value_parser};
use comfy_table::Table;
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
    Stores::with_existing(&settings.stores, async |stores| {
        let prisoners = match &settings.prisoner {
            Some(number) => {
                let numbers = case_numbers(&stores.log, number).await;
                Some(numbers.with_context(|| format!("look up the case of {number}"))?.into_iter().collect())
            }
            None => None,
        };
        let mut question = AccessQuestion {
            prisoners,
            user: settings.user.clone(),
            from: settings.from.map(DateOrInstant::instant),
            to: settings.to.map(DateOrInstant::instant),
            older_than: None,
            rows: settings.limit.into(),
        };
        let mut printer = Printer::new(settings.json);
        loop {
            let AccessPage { entries, is_more } = read_entries(&stores.views, &question).await.context(
                "read the access log: is this ledger of an earlier version? `allocation-ledger serve` prepares it",
            )?;
            if question.older_than.is_none() {
                record_read(Some(&stores.views), "access-log", query::shown_by_access_log(&question)).await;
            }
            stdout::ignore_broken_pipe(printer.print(&entries))?;
            question.rows = question.rows.saturating_sub(entries.len());
            question.older_than = entries.last().map(StoredAccess::key);
            if !is_more || question.rows == 0 {
                return stdout::ignore_broken_pipe(printer.finish(is_more));
            }
        }
    })
    .await
}

/// Prints the entries of one page after another: as a table at the end, which keeps of each the few
/// words that it shows, or without one as JSON at once.
struct Printer {
    table: Option<Table>,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self { table: (!json).then(|| table(&["When", "Who", "Read by", "Status", "Shown"])) }
    }

    fn print(&mut self, entries: &[StoredAccess]) -> io::Result<()> {
        if let Some(shown) = &mut self.table {
            shown.add_rows(entries.iter().map(cells));
            return Ok(());
        }
        let mut out = stdout::lock();
        for entry in entries {
            serde_json::to_writer(&mut out, &query::recorded_read(entry))?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Prints the table, and whether there are entries that are older than its last.
    fn finish(self, is_more: bool) -> io::Result<()> {
        let Some(shown) = self.table else { return Ok(()) };
        let mut out = stdout::lock();
        let rows = shown.row_count();
        if rows > 0 {
            writeln!(out, "{}\n", Visible(&shown.to_string()))?;
        }
        let count = if rows == 1 { "1 entry".to_owned() } else { format!("{rows} entries") };
        let more = if is_more { "; --limit or --to shows older ones" } else { "" };
        writeln!(out, "{count} of the access log, newest first{more}; times are London's.")?;
        out.flush()
    }
}

/// The row of an entry.
fn cells(entry: &StoredAccess) -> [String; 5] {
    let client = |client: &String| format!("the client {client}");
    let reader = entry.username.clone().or_else(|| entry.client.as_ref().map(client)).unwrap_or_default();
    let method = entry.method.as_ref().map(|method| format!("{method} ")).unwrap_or_default();
    [
        london::clock(entry.at),
        reader,
        format!("{method}{}", entry.operation),
        entry.status.map(|status| status.to_string()).unwrap_or_default(),
        shown_data(entry),
    ]
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
