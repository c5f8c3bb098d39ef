//! `import`: what a prison has in files goes into the ledger.
//!
//! ```text
//! file ─reader─► sheets of cells ─layout─► header, columns ─row─► cases and refusals ─plan─► commands ─record─► events
//!                                                                                              └────────report────┘
//! ```
//!
//! | question | module |
//! |---|---|
//! | what is in the file? | [`reader`] |
//! | which sheet, which row heads the columns, what is each column? | [`layout`], by [`heading`] |
//! | what does a cell say? | [`value`] |
//! | what does a row say? | [`row`] |
//! | what would be recorded? | [`plan`] |
//! | how is it recorded? | `record` |
//! | what is said of it? | `report` |
//! | which contacts are still in NOMIS? | [`nomis_contacts`] |
//!
//! Everything up to `plan` is pure but for reading the file; a dry run ends there. Nothing is appended but through the
//! command side.
//!
//! To teach it another heading: a line in [`heading::weight`] and in its tests. Another way to write a value: the same in
//! [`value`].

pub mod heading;
pub mod layout;
pub mod nomis_contacts;
pub mod plan;
pub mod reader;
mod record;
mod report;
pub mod row;
pub mod spreadsheet;
#[cfg(test)]
mod tests;
pub mod value;

use clap::Subcommand;
use domain::identifier::{Invalid, PrisonCode};
use uuid::Uuid;

/// Namespace of the correlation ids of imports: what came from one file is tied together.
const CORRELATION_NAMESPACE: Uuid = Uuid::from_u128(0x7e3b_15c8_9a40_4d6e_8c27_f1b0_63d5_a407);

/// The client that events say they were recorded with.
const CLIENT: &str = "allocation-ledger import";

/// What can be imported.
#[derive(Debug, Subcommand)]
pub enum Import {
    /// A prison's spreadsheet of allocations; every row is recorded or refused with its reason
    ///
    /// Exit status 0 when every row was dealt with, refused ones included; 1 when the file could not be read.
    /// Running it again records nothing new.
    Spreadsheet(Box<spreadsheet::Settings>),
    /// A CSV of POM contacts seen in NOMIS
    NomisContacts(Box<nomis_contacts::Settings>),
}

/// Imports.
///
/// # Errors
/// The file cannot be read for what it should be, or the ledger cannot be reached.
pub async fn run(import: &Import) -> anyhow::Result<()> {
    match import {
        Import::Spreadsheet(settings) => spreadsheet::run(settings).await,
        Import::NomisContacts(settings) => nomis_contacts::run(settings).await,
    }
}

/// Reads a prison code in any case.
fn prison_code(text: &str) -> Result<PrisonCode, Invalid> {
    text.trim().to_uppercase().parse()
}
