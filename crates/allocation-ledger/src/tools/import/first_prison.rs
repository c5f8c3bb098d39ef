//! The questions that an import settles before it records something at a prison for the first time:
//! whether there is such a prison, and since when it works by OMiC.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, anyhow, ensure};
use chrono::NaiveDate;
use domain::{identifier::PrisonCode, prison};
use event_log::SharedLog;
use import::sheet_import::{self, GoLiveConflict};

use crate::{shared_settings::LogSettings, stores::LogStore};

/// Refuses a prison that the program's list lacks and that is not known by what the ledger's log
/// has of it, unless the user says that it is unlisted.
///
/// # Errors
/// There is no such prison, or the ledger cannot be read.
pub async fn check_listed(
    log: &LogSettings,
    code: &PrisonCode,
    is_unlisted: bool,
    is_known: impl AsyncFn(&SharedLog) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    if is_unlisted || code.listed_name().is_some() {
        return Ok(());
    }
    // The ledger alone may know it, and is not begun for a prison that is none.
    let is_known = match LogStore::open_existing(log).await? {
        Some(store) => store.close_after(async |store| is_known(&store.log).await).await?,
        None => false,
    };
    ensure!(
        is_known,
        "{} Check --prison; where it is right and the list is older than the prison, add --unlisted-prison",
        code.unlisted_sentence()
    );
    Ok(())
}

/// Refuses a go-live date other than that of a prison which has joined.
///
/// # Errors
/// The dates differ.
pub fn check_go_live(prison: &prison::History, given: Option<NaiveDate>) -> anyhow::Result<()> {
    let code = prison.code();
    sheet_import::check_go_live(prison, given).map_err(|GoLiveConflict { known, given }| {
        anyhow!(
            "{code} has the go-live date {known} already, and --go-live is {given}: leave --go-live out, or correct the \
             date first, with `PUT /prisons/{code}/go-live-date` of a serving ledger"
        )
    })
}

/// Has the user confirm the go-live date of a new prison, `earliest` in the sheet.
///
/// # Errors
/// The user does not, or no user is at a terminal.
pub fn confirm_go_live(code: &PrisonCode, earliest: NaiveDate) -> anyhow::Result<NaiveDate> {
    let name = code.listed_name().map(|name| format!(" ({name})")).unwrap_or_default();
    let advice = format!(
        "{code}{name} is new to this ledger: say with --go-live DATE since when it works by OMiC. Allocations before that \
         day are refused; the earliest date in the sheet is {earliest}"
    );
    ensure!(io::stdin().is_terminal() && io::stderr().is_terminal(), "{advice}");
    eprint!(
        "{code}{name} is new to this ledger. Take it onto OMiC with go-live date {earliest}, the earliest in the sheet? [y/N] "
    );
    io::stderr().flush().context("ask for the go-live date")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("read the answer")?;
    ensure!(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"), "{advice}");
    Ok(earliest)
}
