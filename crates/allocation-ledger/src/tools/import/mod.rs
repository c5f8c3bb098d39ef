//! `import`: records the files of a prison in the ledger.
//!
//! ```text
//! file ─the crate spreadsheets─► plan: commands ─record─► events
//!                                        └────────report────┘
//! ```
//!
//! A dry run ends with the plan. Only the command side appends.

mod compare;
mod compare_report;
mod first_prison;
mod local_import;
pub mod nomis_contacts;
mod refused_file;
pub(super) mod report;
pub mod spreadsheet;
pub mod undo;

use clap::Subcommand;
use indicatif::ProgressBar;

use crate::progress::{CASES, style};

/// The client that events say they were recorded with.
const CLIENT: &str = "allocation-ledger import";

/// The subcommands of `import`.
#[derive(Debug, Subcommand)]
pub enum Import {
    /// A prison's spreadsheet of allocations; every row is recorded or refused with its reason
    ///
    /// Exit status 0 when every row was dealt with, refused ones included; 1 when the file could
    /// not be read. Running it again records nothing new.
    Spreadsheet(Box<spreadsheet::SpreadsheetSettings>),
    /// A CSV of POM contacts seen in NOMIS
    NomisContacts(Box<nomis_contacts::NomisContactsSettings>),
    /// Take back what one run of an import recorded: its entries of cases are voided, last first,
    /// as far as nothing later depends on them
    ///
    /// A row whose entries were voided can be imported again. Running it again voids what was kept
    /// before and can be voided by now.
    Undo(Box<undo::UndoSettings>),
}

/// Runs the subcommand.
///
/// # Errors
/// The file cannot be read for what it should be, or the ledger cannot be reached.
pub async fn run(import: &Import) -> anyhow::Result<()> {
    match import {
        Import::Spreadsheet(settings) => spreadsheet::run(settings).await,
        Import::NomisContacts(settings) => nomis_contacts::run(settings).await,
        Import::Undo(settings) => undo::run(settings).await,
    }
}

/// A bar for the progress over so many cases. It is drawn on standard error, and only where that is
/// a terminal.
fn progress_bar(stage: &'static str, cases: u64) -> ProgressBar {
    ProgressBar::new(cases).with_style(style(CASES)).with_message(stage)
}
