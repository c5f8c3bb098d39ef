//! A sheet as the reader hands it on: its rows of cells, and the marks that a spreadsheet program
//! shows beside them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::bail;
use chrono::NaiveDate;
use domain::text::{Excerpt, is_blank};
use serde::{Deserialize, Serialize};

/// A sheet of a file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    /// The name on the sheet's tab; for a text file, the file's name.
    pub name: String,
    /// Whether a spreadsheet program hides the sheet.
    pub hidden: bool,
    /// The rows in which something can be seen, in the order of their numbers. Blank rows are not
    /// among them: a cell in the last row of a sheet costs no more than one in the first.
    pub rows: Vec<Row>,
    /// The settings and marks of the sheet.
    pub marks: Marks,
}

/// The settings and marks of a sheet beside its cells. A text file has none of them but `remarks`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Marks {
    /// The number of the workbook's day 0 where it does not count days from 30 December 1899, as
    /// workbooks do: [`DAY_ZERO_OF_1904`] where it counts from 1904. Its date cells are dates
    /// already; see [`Sheet::dated`] for its numbers.
    pub day_zero: u32,
    /// The filled rows that are hidden, by a filter or by hand.
    pub hidden_rows: BTreeSet<u32>,
    /// The columns that are hidden, counted from 0.
    pub hidden_columns: BTreeSet<usize>,
    /// The filled rows in which a filled cell has a background colour.
    pub coloured_rows: BTreeSet<u32>,
    /// The rows in which cells have the value of a merge that begins in an earlier row.
    pub merged_rows: BTreeSet<u32>,
    /// The merges of columns in each filled row: the first column and the last, counted from 0.
    pub merged_columns: BTreeMap<u32, Vec<(usize, usize)>>,
    /// Remarks on the reading of the sheet, in sentences.
    pub remarks: Vec<String>,
    /// The reason why the sheet could not be read, as a part of a sentence. The sheet has no rows
    /// then.
    pub unread: Option<String>,
}

impl Sheet {
    /// Whether a person would take this name for the sheet's.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.name.trim().to_lowercase() == name.trim().to_lowercase()
    }

    /// A cell that is to be a date: a day number as the number that the same day has in most
    /// workbooks, any other cell as it is.
    #[must_use]
    pub fn dated<'a>(&self, cell: &'a Cell) -> Cow<'a, Cell> {
        let day = match cell {
            Cell::Number(day) => Some(*day),
            Cell::Text(text) => text.parse().ok(),
            Cell::Empty | Cell::Date(_) => None,
        };
        match day {
            Some(day) if self.marks.day_zero > 0 => Cow::Owned(Cell::Number(day + f64::from(self.marks.day_zero))),
            _ => Cow::Borrowed(cell),
        }
    }

    /// A row of data with the value of a merge in each column of the merge. Titles and headings are
    /// merged over columns, too, and are one cell there.
    #[must_use]
    pub fn data_row<'a>(&self, row: &'a Row) -> Cow<'a, Row> {
        let Some(merges) = self.marks.merged_columns.get(&row.number) else { return Cow::Borrowed(row) };
        let mut row = row.clone();
        for &(first, last) in merges {
            let value = row.cell(first).clone();
            if value == Cell::Empty {
                continue;
            }
            if row.cells.len() <= last {
                row.cells.resize(last + 1, Cell::Empty);
            }
            // A value of its own that a cell inside a merge may have cannot be seen.
            row.cells[first..=last].fill(value);
        }
        Cow::Owned(row)
    }
}

/// Refuses the sheet that could not be read, if it is the one that the user names, or else the
/// first visible one.
///
/// # Errors
/// There is such a sheet.
pub fn refuse_unread(sheets: &[Sheet], sheet_name: Option<&str>) -> anyhow::Result<()> {
    for sheet in sheets {
        let Some(reason) = &sheet.marks.unread else { continue };
        let shown = Excerpt(&sheet.name);
        match sheet_name {
            Some(name) if sheet.is_named(name) => bail!("the sheet `{shown}` cannot be read: {reason}"),
            None if !sheet.hidden => bail!(
                "the sheet `{shown}` cannot be read, and may be the one to read: {reason}. If another one is, name it \
                 with --sheet"
            ),
            _ => {}
        }
    }
    Ok(())
}

/// The number of 1 January 1904, with which the calendar of old Macintosh programs begins.
pub const DAY_ZERO_OF_1904: u32 = 1_462;

/// One row of a sheet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// A cell. Its text is what a spreadsheet program would show. An error of a formula is its code as
/// text, such as `#N/A`, whatever the code; so is [`DAMAGED`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Cell {
    /// An empty cell, or one in which nothing can be seen.
    Empty,
    /// Text without white space around it; never empty.
    Text(String),
    /// A number.
    Number(#[serde(with = "bits")] f64),
    /// A date, without its time of day.
    Date(#[serde(with = "days")] NaiveDate),
}

/// The letters of a column, counted from 0, in a spreadsheet program.
#[must_use]
pub fn column_letters(column: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'A' + (rest % 26) as u8));
        rest /= 26;
    }
    letters.into_iter().rev().collect()
}

/// The text of a cell whose value the file does not have: the cell is damaged. It has the form of
/// an error of a formula, and counts as one.
pub const DAMAGED: &str = "#DAMAGED!";

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

/// A number by its bits: JSON has no word for infinity, and may round others.
mod bits {
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that `serde` asks for")]
    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(number.to_bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

/// A date by the number of its day: a cell may hold one that the ledger cannot.
mod days {
    use chrono::{Datelike as _, NaiveDate};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(date: &NaiveDate, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(date.num_days_from_ce())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDate, D::Error> {
        let days = i32::deserialize(deserializer)?;
        NaiveDate::from_num_days_from_ce_opt(days).ok_or_else(|| D::Error::custom("no such day"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_number_counts_from_the_first_day_of_its_workbook() {
        let of_1904 = Sheet { marks: Marks { day_zero: DAY_ZERO_OF_1904, ..Marks::default() }, ..Sheet::default() };
        let of_1900 = Sheet::default();
        for cell in [Cell::Number(42_185.0), Cell::text("42185")] {
            assert_eq!(*of_1904.dated(&cell), Cell::Number(43_647.0));
            assert_eq!(*of_1900.dated(&cell), cell);
        }
        for cell in [Cell::Empty, Cell::text("01/07/2019"), Cell::Date(NaiveDate::default())] {
            assert_eq!(*of_1904.dated(&cell), cell);
        }
    }

    #[test]
    fn a_row_of_data_has_the_value_of_a_merge_in_each_of_its_columns() {
        let row = Row { number: 7, cells: vec![Cell::text("a"), Cell::text("b")] };
        let marks = Marks { merged_columns: BTreeMap::from([(7, vec![(1, 3), (5, 6)])]), ..Marks::default() };
        let sheet = Sheet { marks, ..Sheet::default() };
        let cells = ["a", "b", "b", "b"].map(Cell::text);
        assert_eq!(sheet.data_row(&row).cells, cells);
        let other = Row { number: 8, ..row };
        assert_eq!(*sheet.data_row(&other), other);
    }

    #[test]
    fn cells_are_told_from_one_process_to_another_as_they_are() {
        let numbers = [0.1, -0.0, f64::INFINITY, f64::MIN_POSITIVE, 1e300].map(Cell::Number);
        let cells = [Cell::Empty, Cell::text("Zoë\n\u{7}\0"), Cell::Date(NaiveDate::MAX)];
        for cell in numbers.into_iter().chain(cells) {
            let told = serde_json::to_string(&cell).expect("JSON");
            assert_eq!(serde_json::from_str::<Cell>(&told).expect("a cell"), cell, "{told}");
        }
    }
}
