//! From a file to sheets of typed cells with their row numbers. What the cells mean is for others.
//!
//! | file | told by | read by |
//! |---|---|---|
//! | `.xlsx`, `.ods` (and `.xls`, `.xlsb`) | its first bytes | [`workbook`] |
//! | text with comma, semicolon or tab | having no such bytes | [`delimited`] |
//!
//! The file's name decides nothing: a workbook saved as `.csv` is read as what it is.

mod delimited;
mod workbook;

use std::{fmt, path::Path};

use anyhow::{Context as _, ensure};
use chrono::NaiveDate;

/// Largest file read. A prison's spreadsheet has some thousand rows and less than a megabyte; beyond this it is
/// something else.
const FILE_LEN_MAX: u64 = 64 << 20;

/// One sheet.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// As its tab says; for a text file the file's name.
    pub name: String,
    /// Not shown to those who open the workbook.
    pub hidden: bool,
    /// From the first row that holds anything; blank rows between are there.
    pub rows: Vec<Row>,
}

/// One row of a sheet.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// As the spreadsheet program numbers it, from 1.
    pub number: u32,
    /// From column A on.
    pub cells: Vec<Cell>,
}

impl Row {
    /// The cell in a column counted from 0; beyond the last one everything is empty.
    #[must_use]
    pub fn cell(&self, column: usize) -> &Cell {
        self.cells.get(column).unwrap_or(&Cell::Empty)
    }

    /// The cells that hold something.
    pub fn filled(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| **cell != Cell::Empty)
    }
}

/// One cell. Reading it as text gives what the spreadsheet program would show.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing, or nothing but white space.
    Empty,
    /// Text without white space around it; never empty.
    Text(String),
    /// A number.
    Number(f64),
    /// A date; a time of day beside it is gone.
    Date(NaiveDate),
}

impl Cell {
    /// A cell that was entered as text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        // Spreadsheets are full of no-break spaces, which `trim` takes for white space, and of invisible marks.
        let text =
            text.trim_matches(|letter: char| letter.is_whitespace() || matches!(letter, '\u{200b}' | '\u{feff}'));
        if text.is_empty() { Self::Empty } else { Self::Text(text.to_owned()) }
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

/// A file's content, with the bytes that it was made from.
#[derive(Debug)]
pub struct File {
    /// In the order of the tabs, at least one.
    pub sheets: Vec<Sheet>,
    /// The file as it was.
    pub bytes: Vec<u8>,
}

/// Reads a file.
///
/// # Errors
/// It cannot be opened, is too large, or is nothing that has rows and columns.
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
