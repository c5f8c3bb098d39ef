//! The formats that a table can be written in.
//!
//! This module, `parquet_file` and `text` are one idea and depend on one another: a format chooses
//! the writer of a table, and each writer has the interface that is declared here.

use std::{
    io::{self, Write},
    str::FromStr,
};

use domain::text::Excerpt;

use super::{
    parquet_file::ParquetFile,
    table::{CellKind, ExportCell, ExportTable},
    text::{Csv, JsonLines},
};

/// A format that a table can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma-separated values: RFC 4180, in UTF-8 with a byte order mark, which Excel wants.
    Csv,
    /// A JSON object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

impl ExportFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Csv, Self::JsonLines, Self::Parquet];

    /// The ending of its files' names, which [`FromStr`] reads.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
        }
    }
}

impl FromStr for ExportFormat {
    type Err = UnknownFormat;
    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.ending().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownFormat { name: name.to_owned() })
    }
}

/// There is no such format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no format `{}`; the formats are csv, jsonl and parquet", Excerpt(.name))]
pub struct UnknownFormat {
    name: String,
}

/// Writes a table, row by row. A table that is not finished is not complete.
pub(crate) trait TableWriter {
    /// Writes a row: a cell for each of the table's columns.
    fn row(&mut self, cells: &[ExportCell<'_>]) -> io::Result<()>;

    /// Writes the rest.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Begins to write a table.
pub(crate) fn begin(
    format: ExportFormat,
    table: &ExportTable,
    out: Box<dyn Write + Send>,
) -> io::Result<Box<dyn TableWriter + Send>> {
    Ok(match format {
        ExportFormat::Csv => Box::new(Csv::new(table, out)?),
        ExportFormat::JsonLines => Box::new(JsonLines::new(table, out)),
        ExportFormat::Parquet => Box::new(ParquetFile::new(table, out)?),
    })
}

/// The error for a value that its column cannot hold: a mistake of the code that made the row.
pub(crate) fn mismatch(cell: &ExportCell<'_>, kind: CellKind) -> io::Error {
    io::Error::other(format!("{cell:?} does not belong in a column of {kind:?}"))
}
