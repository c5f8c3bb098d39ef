//! Reads a file into sheets of typed cells with their row numbers. It refuses to know what the
//! cells mean.
//!
//! | file | told by | read by |
//! |---|---|---|
//! | `.xlsx`, `.ods` (and `.xls`, `.xlsb`) | its first bytes | `workbook` |
//! | text with comma, semicolon or tab | having no such bytes | `delimited` |
//!
//! The content decides, not the file's name: a workbook saved as `.csv` is read as a workbook.

mod delimited;
mod workbook;

use std::{fmt, path::Path};

use anyhow::{Context as _, ensure};
use chrono::NaiveDate;
use domain::text::is_blank;

/// The largest file in bytes. A prison's spreadsheet has some thousand rows and less than a
/// megabyte; a larger file is something else.
const FILE_LEN_MAX: u64 = 64 << 20;

/// A sheet of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// The name on the sheet's tab; for a text file, the file's name.
    pub name: String,
    /// Whether a spreadsheet program hides the sheet.
    pub hidden: bool,
    /// The rows from the first filled one on, including blank rows between them.
    pub rows: Vec<Row>,
}

/// One row of a sheet.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The row number in a spreadsheet program, from 1.
    pub number: u32,
    /// The cells from column A on.
    pub cells: Vec<Cell>,
}

impl Row {
    /// The cell in a column, counted from 0. Cells beyond the last one are empty.
    #[must_use]
    pub fn cell(&self, column: usize) -> &Cell {
        self.cells.get(column).unwrap_or(&Cell::Empty)
    }

    /// The cells that are not empty.
    pub fn filled(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| **cell != Cell::Empty)
    }
}

/// A cell. Its text is what a spreadsheet program would show.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// An empty cell, or one in which nothing can be seen.
    Empty,
    /// Text without white space around it; never empty.
    Text(String),
    /// A number.
    Number(f64),
    /// A date, without its time of day.
    Date(NaiveDate),
}

impl Cell {
    /// Makes a cell from text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        // Spreadsheets often contain no-break spaces, which `trim` removes, and invisible marks,
        // which it does not.
        let text =
            text.trim_matches(|letter: char| letter.is_whitespace() || matches!(letter, '\u{200b}' | '\u{feff}'));
        if is_blank(text) { Self::Empty } else { Self::Text(text.to_owned()) }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Date(date) => date.fmt(f),
        }
    }
}

/// The sheets of a file, with the file's bytes.
#[derive(Debug)]
pub struct File {
    /// The sheets in the order of their tabs, at least one.
    pub sheets: Vec<Sheet>,
    /// The bytes of the file.
    pub bytes: Vec<u8>,
}

/// Reads a file.
///
/// # Errors
/// The file cannot be opened, is too large, or has no rows and columns.
pub fn read(path: &Path) -> anyhow::Result<File> {
    let shown = path.display();
    let about = std::fs::metadata(path).with_context(|| format!("open {shown}: is the name right?"))?;
    ensure!(about.is_file(), "{shown} is not a file: give a spreadsheet (.xlsx, .ods or .csv)");
    ensure!(
        about.len() <= FILE_LEN_MAX,
        "{shown} has {} MiB, too large for a spreadsheet of cases: give the file of one prison",
        about.len() >> 20
    );
    let bytes = std::fs::read(path).with_context(|| format!("read {shown}"))?;
    let sheets = if workbook::is_workbook(&bytes) {
        workbook::sheets(&bytes)
    } else {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        delimited::sheet(&name, &bytes).map(|sheet| vec![sheet])
    }
    .with_context(|| format!("read {shown} as a spreadsheet (.xlsx, .ods or .csv)"))?;
    ensure!(sheets.iter().any(|sheet| !sheet.rows.is_empty()), "{shown} is empty: give a spreadsheet with rows");
    Ok(File { sheets, bytes })
}
