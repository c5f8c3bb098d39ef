//! Spreadsheets of prisons: from a file to the commands that would record it. No store, no clock.
//!
//! ```text
//! file ─reader─► sheets of cells ─layout─► header, columns ─row─► cases and refusals ─plan─► commands
//! ```
//!
//! | question | module |
//! |---|---|
//! | which sheets, rows and cells does the file hold? | [`reader`] |
//! | which sheet, which row heads the columns, what does each column hold? | [`layout`], by [`heading`] |
//! | what does a cell say? | [`value`] |
//! | what does a row of allocations say? | [`row`] |
//! | which commands would record the allocations? | [`plan`] |
//! | which commands would record a list of contacts seen in NOMIS? | [`contacts`] |
//!
//! Everything is a pure function of its arguments but for [`reader::read`], which reads the file. The
//! program records what a plan says, and reports it.
//!
//! To teach it another heading: a line in [`heading::weight`] and in its tests. To teach it another way
//! to write a value: the same in [`value`].

pub mod contacts;
pub mod heading;
pub mod layout;
pub mod plan;
pub mod reader;
pub mod row;
#[cfg(test)]
mod tests;
pub mod value;
