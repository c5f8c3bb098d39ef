//! Views and the log, taken away as files.
//!
//! ```text
//! log ──pages──┐                                  ┌─► CSV
//!              ├─► cells of a table, row by row ──┼─► JSON lines
//! view ─COPY───┘       (a thread of their own)    └─► Parquet (encoded on one more)
//! ```
//!
//! | question | module |
//! |---|---|
//! | which columns has the log, and what is in them? | `log` |
//! | how does a view get out of Postgres? | `view` |
//! | which rows, of which tables? | `selection` |
//! | what can a cell be? | `table` |
//! | how is it written? | `format`, `text`, `parquet_file` |
//! | how does it get from who reads to who writes? | `pipe` |
//!
//! Promises: the same export of the same ledger is the same bytes (rows in the order of their key,
//! no clock, no names of machines or versions); memory is bounded, whatever is exported and however
//! slowly it is taken; an output that could not be completed is an error, never a shorter file.
//!
//! Refuses to know: where the outputs are, and what becomes of one that is not complete.

mod format;
mod log;
mod parquet_file;
mod pipe;
mod selection;
mod table;
mod text;
mod view;

use std::io::{self, Write};

use chrono::NaiveDate;
use domain::identifier::PrisonCode;
use event_log::LogError;

use views::{VIEWS, VIEWS_VERSION, View};

use crate::{rebuild::BuildProgress, rebuild_by_hand::BuildError};

pub use ::views::case_now::NAME as CASE_NOW;

pub use self::{
    format::{ExportFormat, UnknownFormat},
    log::export_log,
    selection::{ExportSelection, ExportSource},
    view::{export_views, export_views_as_of},
};

/// The rows that were exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportSummary {
    /// Their number.
    pub rows: u64,
    /// The position in the log of the last event that they include.
    pub position: u64,
    /// How many cases and prisons the views leave out.
    pub streams_aside: usize,
}

/// How far an export of views has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportProgress {
    /// The views as they were are being built.
    Building(BuildProgress),
    /// Rows are being written.
    Writing {
        /// Rows written so far.
        written: u64,
        /// All rows.
        of: u64,
    },
}

/// A part of an export, which has an output of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputPart {
    /// A table: a view, or the whole log.
    Table(&'static str),
    /// The log's month that begins on this day.
    Month(NaiveDate),
}

/// Opens outputs, one for each part.
pub trait OpenOutput: Send + 'static {
    /// Opens the output of a part.
    ///
    /// # Errors
    /// It cannot be written.
    fn open(&mut self, part: OutputPart) -> io::Result<Box<dyn Write + Send>>;
}

impl<F: FnMut(OutputPart) -> io::Result<Box<dyn Write + Send>> + Send + 'static> OpenOutput for F {
    fn open(&mut self, part: OutputPart) -> io::Result<Box<dyn Write + Send>> {
        self(part)
    }
}

/// Why something was not exported, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// An output cannot be written.
    #[error("write the export")]
    Output(#[from] io::Error),
    /// The log cannot be read.
    #[error("read the event log")]
    Log(#[from] LogError),
    /// The views cannot be read.
    #[error("read the views")]
    Views(#[from] sqlx::Error),
    /// The view as it was cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// There are no views.
    #[error("there are no views yet: `allocation-ledger serve` makes them, and so does `projections rebuild`")]
    NoViews,
    /// The views are of another version.
    #[error(
        "the serving views are of version {found}, and this program knows version {VIEWS_VERSION}: build them anew with \
         `allocation-ledger projections rebuild`"
    )]
    OtherVersion {
        /// The version found.
        found: i32,
    },
    /// A view without periods was asked for the rows that hold at an instant.
    #[error("`{0}` has no periods, so nothing of it holds on a day rather than on another: {periods}", periods = with_periods())]
    NoPeriods(&'static str),
    /// Neither the list of prisons nor the views know the prison.
    #[error("{} The views have no case of it either: check the code", .0.unlisted_sentence())]
    UnknownPrison(PrisonCode),
    /// A view has a column of a type that no file is written with.
    #[error(
        "column `{column}` of `{view}` is of type {type_name}, which cannot be exported: this is a mistake in the program"
    )]
    Type {
        /// The view.
        view: &'static str,
        /// The column.
        column: String,
        /// Its type in Postgres.
        type_name: String,
    },
    /// A value is not of its column's type.
    #[error("a value in column `{column}` of `{view}` cannot be read: this is a mistake in the program")]
    Value {
        /// The view.
        view: &'static str,
        /// The column.
        column: String,
    },
    /// The reader has gone away before the end.
    #[error("the export was given up")]
    GivenUp,
}

impl ExportError {
    /// Whether the program that takes the output has gone away, having seen enough.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Says which views have periods.
fn with_periods() -> String {
    let names: Vec<_> = VIEWS.into_iter().filter(|view| view.key().contains(&"valid_from")).map(View::name).collect();
    format!("leave out the instant, or export {}", names.join(" or "))
}
