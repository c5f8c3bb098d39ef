//! Spreadsheets of prisons: from a file to the commands that would record it. No store, no clock.
//!
//! ```text
//! file ─reader─► sheets of cells ─layout─► header, columns ─row─► cases ─plan─► commands
//! ```
//!
//! | question | module |
//! |---|---|
//! | which sheets, rows and cells does the file hold? | [`reader`] |
//! | which sheet, header row and columns hold the cases? | [`layout`], by [`heading`] |
//! | what does a cell say? | [`value`] |
//! | which POM has a name, where the sheet has no staff ids? | [`staff`] |
//! | what does a row of allocations say? | [`row`] |
//! | what does a row say of a person who has left? | [`leaving`] |
//! | which commands would record the allocations? | [`plan`] |
//! | which command records a row, and has one done so? | `row_command` |
//! | which remarks on the reading are there, beside the outcomes of the rows? | [`remarks`] |
//! | how does a sheet differ from the ledger, and which commands would record that? | [`compare`] |
//! | how does a sentence name a day or a time? | [`day_words`] |
//! | which file has the refused rows, to be corrected? | [`refused`] |
//! | which commands would record a list of contacts seen in NOMIS? | [`contacts`] |
//!
//! Everything but [`reader`], which reads the file, is a pure function of its arguments. The
//! program records a plan, and reports it.
//!
//! To add a heading: a line in [`heading::weight`] and in its tests. To add a way to write a value:
//! a line in [`value`] and in its tests.

pub mod compare;
pub mod contacts;
mod date_columns;
pub mod day_words;
pub mod heading;
#[cfg(test)]
mod hostile_tests;
mod later_entries;
pub mod layout;
pub mod leaving;
#[cfg(test)]
mod meaning_tests;
#[cfg(test)]
mod odd_files_tests;
pub mod plan;
mod planned_command;
mod planned_roster;
pub mod reader;
pub mod refused;
pub mod remarks;
pub mod row;
mod row_command;
pub mod staff;
#[cfg(test)]
mod tests;
pub mod value;

pub use planned_roster::{IMPORT_UNDONE, is_imported};
