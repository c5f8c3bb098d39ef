//! Puts a sheet together from its cells, within the limits of what a prison's spreadsheet can be.
//! The cost of a sheet follows its filled cells, however the file was made.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use domain::text::Excerpt;

use super::sheet::{Cell, Marks, Row, Sheet, column_letters};

/// The rows of a sheet in a spreadsheet program.
pub const GRID_ROWS: u32 = 1_048_576;

/// The columns of a sheet in a spreadsheet program.
const GRID_COLUMNS: usize = 16_384;

/// The columns that are read. A list of cases has some dozen; add-ins leave marks at the far right.
pub const COLUMNS_MAX: usize = 512;

/// The most filled rows of a file. A prison has some thousand cases.
const ROWS_MAX: usize = 50_000;

/// The most cells of a file, counting the empty ones before the last filled cell of each row.
const CELLS_MAX: usize = 1_000_000;

/// The most text of a file in bytes, with each cell's own copy.
const TEXT_MAX: usize = 32 << 20;

/// The most merges of a sheet.
const MERGES_MAX: usize = 20_000;

/// The rest of a file's limits.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    rows: usize,
    cells: usize,
    text: usize,
}

impl Room {
    /// The room of a file.
    pub const FILE: Self = Self { rows: ROWS_MAX, cells: CELLS_MAX, text: TEXT_MAX };

    /// Takes the room of a text, whether of a cell or of a table of texts.
    ///
    /// # Errors
    /// There is no such room.
    pub fn take_text(&mut self, len: usize) -> anyhow::Result<()> {
        ensure!(len <= self.text, "its texts have more than {} MiB: give the sheet of cases alone", TEXT_MAX >> 20);
        self.text -= len;
        Ok(())
    }

    /// Takes the room of so many cells, the last of them in a row and a column.
    fn take_cells(&mut self, count: usize, row: u32, column: usize) -> anyhow::Result<()> {
        ensure!(
            count <= self.cells,
            "it has more than {CELLS_MAX} cells, up to {}: give the sheet of one prison's cases alone",
            name_of(row, column)
        );
        self.cells -= count;
        Ok(())
    }
}

/// A merge: its first row and column, and its last. Rows count from 1, columns from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// The first row and column.
    pub first: (u32, usize),
    /// The last row and column.
    pub last: (u32, usize),
}

/// A sheet that is being put together.
#[derive(Debug)]
pub struct SheetBuilder {
    rows: BTreeMap<u32, Vec<Cell>>,
    room: Room,
    merges: Vec<Merge>,
    marks: Marks,
    /// The cells beyond the columns that are read, or beyond the grid: their number, and the place
    /// of the first one.
    left_out: (usize, String),
}

impl SheetBuilder {
    /// An empty sheet.
    pub fn new(room: Room, day_zero: u32) -> Self {
        let marks = Marks { day_zero, ..Marks::default() };
        Self { rows: BTreeMap::new(), room, merges: Vec::new(), marks, left_out: (0, String::new()) }
    }

    /// Puts a cell in a row, counted from 1, and a column, counted from 0. Answers whether there is
    /// something in it.
    ///
    /// # Errors
    /// The sheet has become larger than a file may be.
    pub fn put(&mut self, row: u32, column: usize, cell: Cell) -> anyhow::Result<bool> {
        if cell == Cell::Empty {
            return Ok(false);
        }
        if row == 0 || row > GRID_ROWS || column >= COLUMNS_MAX {
            self.leave_out(&name_of(row, column));
            return Ok(false);
        }
        if let Cell::Text(text) = &cell {
            self.room.take_text(text.len())?;
        }
        let cells = self.rows.entry(row).or_default();
        if cells.is_empty() {
            ensure!(self.room.rows > 0, "it has more than {ROWS_MAX} rows: give the sheet of one prison's cases alone");
            self.room.rows -= 1;
        }
        if cells.len() <= column {
            self.room.take_cells(column + 1 - cells.len(), row, column)?;
            cells.resize(column + 1, Cell::Empty);
        }
        cells[column] = cell;
        Ok(true)
    }

    /// Counts a cell that is not read, and keeps the place of the first one.
    pub fn leave_out(&mut self, place: &str) {
        if self.left_out.0 == 0 {
            self.left_out.1 = Excerpt(place).to_string();
        }
        self.left_out.0 += 1;
    }

    /// Marks a row as hidden.
    pub fn hide_row(&mut self, row: u32) {
        // A file may name rows that it does not have, as many as it likes.
        if self.marks.hidden_rows.len() < ROWS_MAX {
            self.marks.hidden_rows.insert(row);
        }
    }

    /// Marks the columns from one to another as hidden, counted from 0.
    pub fn hide_columns(&mut self, first: usize, last: usize) {
        self.marks.hidden_columns.extend(first..=last.min(COLUMNS_MAX - 1));
    }

    /// Marks a row as coloured.
    pub fn colour_row(&mut self, row: u32) {
        self.marks.coloured_rows.insert(row);
    }

    /// Notes a merge.
    ///
    /// # Errors
    /// There are more of them than a sheet may have.
    pub fn merge(&mut self, merge: Merge) -> anyhow::Result<()> {
        ensure!(self.merges.len() < MERGES_MAX, "it has more than {MERGES_MAX} merged cells: take the merges apart");
        self.merges.push(merge);
        Ok(())
    }

    /// Adds a remark, a sentence.
    pub fn remark(&mut self, remark: String) {
        self.marks.remarks.push(remark);
    }

    /// The sheet, and the room that it leaves.
    ///
    /// # Errors
    /// The values of its merges make it larger than a file may be.
    pub fn finish(mut self, name: String, hidden: bool) -> anyhow::Result<(Sheet, Room)> {
        self.fill_merges()?;
        let filled: BTreeSet<u32> = self.rows.keys().copied().collect();
        self.marks.hidden_rows.retain(|row| filled.contains(row));
        if self.left_out.0 > 0 {
            let (count, place) = &self.left_out;
            let cells = if *count == 1 { "1 cell".to_owned() } else { format!("{count} cells") };
            self.marks.remarks.push(format!(
                "{cells} far outside of the table, the first at {place}, {} not read.",
                if *count == 1 { "was" } else { "were" }
            ));
        }
        let rows = self.rows.into_iter().map(|(number, cells)| Row { number, cells }).collect();
        Ok((Sheet { name, hidden, rows, marks: self.marks }, self.room))
    }

    /// Gives each filled row of a merge the value of the merge, in the first column of the merge.
    /// The further columns are for [`Sheet::data_row`], which knows rows of data from headings;
    /// their room is taken here, where the limits are.
    fn fill_merges(&mut self) -> anyhow::Result<()> {
        // A merge over whole rows or columns is decoration, and names far more cells than there
        // are. Beyond the widest row no column has a heading, and so none is read.
        let width = self.rows.values().map(Vec::len).max().unwrap_or(0);
        let mut merges = std::mem::take(&mut self.merges);
        merges.sort_by_key(|merge| merge.first);
        // The last row in each column of the merges so far.
        let mut merged_up_to = vec![0; width];
        for Merge { first: (first_row, first_column), last: (last_row, last_column) } in merges {
            if first_row > last_row || first_column > last_column || first_column >= width {
                continue;
            }
            let last_column = last_column.min(width - 1);
            let value = self.rows.get(&first_row).and_then(|cells| cells.get(first_column)).cloned();
            let Some(value) = value.filter(|value| *value != Cell::Empty) else { continue };
            // No program lets merges overlap. A file could repeat a large one many times.
            let columns = &mut merged_up_to[first_column..=last_column];
            if columns.iter().any(|last| *last >= first_row) {
                continue;
            }
            columns.fill(last_row);
            let copies = last_column - first_column;
            let rows: Vec<u32> = self.rows.range(first_row..=last_row).map(|(row, _)| *row).collect();
            for row in rows {
                // A value of its own that a cell inside a merge may have cannot be seen.
                if row > first_row {
                    self.put(row, first_column, value.clone())?;
                    self.marks.merged_rows.insert(row);
                }
                if copies > 0 {
                    self.room.take_cells(copies, row, last_column)?;
                    if let Cell::Text(text) = &value {
                        self.room.take_text(text.len() * copies)?;
                    }
                    self.marks.merged_columns.entry(row).or_default().push((first_column, last_column));
                }
            }
        }
        Ok(())
    }
}

/// A tab of a workbook: the name of its sheet, whether it is hidden, and where it is.
#[derive(Debug)]
pub struct Tab<P> {
    /// The name of the sheet.
    pub name: String,
    /// Whether the sheet is hidden.
    pub hidden: bool,
    /// The place of the sheet's cells.
    pub place: P,
}

/// The most sheets of a workbook.
pub const SHEETS_MAX: usize = 10_000;

/// Reads the sheets of a workbook one after the other. One that cannot be read has the reason, and
/// leaves the room to the next.
pub fn sheets_of<P>(
    tabs: Vec<Tab<P>>,
    mut room: Room,
    day_zero: u32,
    mut read: impl FnMut(P, &mut SheetBuilder) -> anyhow::Result<()>,
) -> Vec<Sheet> {
    let mut sheets = Vec::with_capacity(tabs.len());
    for Tab { name, hidden, place } in tabs {
        let mut builder = SheetBuilder::new(room, day_zero);
        match read(place, &mut builder).and_then(|()| builder.finish(name.clone(), hidden)) {
            Ok((sheet, left)) => {
                room = left;
                sheets.push(sheet);
            }
            Err(reason) => sheets.push(unread(name, hidden, &reason)),
        }
    }
    sheets
}

/// A sheet that could not be read, with the reason.
pub fn unread(name: String, hidden: bool, reason: &anyhow::Error) -> Sheet {
    let marks = Marks { unread: Some(Excerpt(&format!("{reason:#}")).to_string()), ..Marks::default() };
    Sheet { name, hidden, rows: Vec::new(), marks }
}

/// The name of a cell in a spreadsheet program, such as `B7`.
fn name_of(row: u32, column: usize) -> String {
    format!("{}{row}", column_letters(column))
}

/// The place of a cell by its name in a spreadsheet program; `None` if no grid has it.
pub fn place_of(name: &str) -> Option<(u32, usize)> {
    let digits = name.find(|letter: char| letter.is_ascii_digit())?;
    let (letters, row) = name.split_at(digits);
    if letters.is_empty() || letters.len() > 3 {
        return None;
    }
    let mut column = 0;
    for letter in letters.bytes() {
        if !letter.is_ascii_alphabetic() {
            return None;
        }
        column = column * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1;
    }
    let row = row.parse().ok().filter(|row| (1..=GRID_ROWS).contains(row))?;
    (column <= GRID_COLUMNS).then(|| (row, column - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(builder: SheetBuilder) -> Sheet {
        builder.finish("test".to_owned(), false).expect("within the limits").0
    }

    #[test]
    fn a_cell_has_one_name_and_one_place() {
        for (name, place) in [("A1", (1, 0)), ("Z2", (2, 25)), ("AA3", (3, 26)), ("XFD1048576", (1_048_576, 16_383))] {
            assert_eq!(place_of(name), Some(place));
            assert_eq!(name_of(place.0, place.1), name);
        }
        for outside in ["", "A", "1", "A0", "XFE1", "A1048577", "AAAAAAAAAA1", "A4294967296", "A-1", "É1", "A1B"] {
            assert_eq!(place_of(outside), None, "{outside}");
        }
    }

    #[test]
    fn far_cells_cost_nothing_and_are_told() {
        let mut builder = SheetBuilder::new(Room::FILE, 0);
        for (row, column) in [(3, 1), (1_048_576, 0), (5, 16_383), (4_294_967_295, 0), (0, 0)] {
            builder.put(row, column, Cell::Number(1.0)).expect("room");
        }
        let sheet = finish(builder);
        assert_eq!(sheet.rows.iter().map(|row| row.number).collect::<Vec<_>>(), [3, 1_048_576]);
        assert_eq!(sheet.marks.remarks, ["3 cells far outside of the table, the first at XFD5, were not read."]);
    }

    #[test]
    fn a_merge_gives_its_value_to_each_filled_row_and_to_no_other() {
        let mut builder = SheetBuilder::new(Room::FILE, 0);
        builder.put(2, 2, Cell::text("Okafor")).expect("room");
        for row in [2, 3, 5] {
            builder.put(row, 0, Cell::text("A0001BC")).expect("room");
        }
        builder.put(3, 3, Cell::text("hidden")).expect("room");
        builder.merge(Merge { first: (2, 2), last: (1_048_576, 3) }).expect("room");
        let sheet = finish(builder);
        let drawn: Vec<String> = sheet
            .rows
            .iter()
            .map(|row| {
                let cells: Vec<_> = sheet.data_row(row).cells.iter().map(ToString::to_string).collect();
                format!("{}: {}", row.number, cells.join("|"))
            })
            .collect();
        assert_eq!(drawn, ["2: A0001BC||Okafor|Okafor", "3: A0001BC||Okafor|Okafor", "5: A0001BC||Okafor|Okafor"]);
        assert_eq!(sheet.marks.merged_rows, BTreeSet::from([3, 5]));
    }

    /// A sheet with a value in A1 and numbers in the rows below it, as wide as a sheet may be.
    fn wide(value: &Cell, rows: u32) -> SheetBuilder {
        let mut builder = SheetBuilder::new(Room::FILE, 0);
        builder.put(1, 0, value.clone()).expect("room");
        for row in 2..=rows {
            builder.put(row, 0, Cell::Number(1.0)).expect("room");
        }
        builder.put(1, COLUMNS_MAX - 1, Cell::Number(1.0)).expect("room");
        builder
    }

    #[test]
    fn a_merge_over_columns_takes_the_room_of_its_copies() {
        let whole_row = |row| Merge { first: (row, 0), last: (row, GRID_COLUMNS) };
        let mut builder = wide(&Cell::text(&"x".repeat(1 << 20)), 1);
        builder.merge(whole_row(1)).expect("room");
        let refused = builder.finish("test".to_owned(), false).map(drop).expect_err("a limit").to_string();
        assert!(refused.contains("more than 32 MiB"), "{refused}");

        let mut builder = wide(&Cell::Number(1.0), 3_000);
        for row in 1..=3_000 {
            builder.merge(whole_row(row)).expect("room");
        }
        let refused = builder.finish("test".to_owned(), false).map(drop).expect_err("a limit").to_string();
        assert!(refused.contains("more than 1000000 cells, up to SR19"), "{refused}");

        // A title over whole rows, of a table that is narrow.
        let mut builder = SheetBuilder::new(Room::FILE, 0);
        builder.put(1, 0, Cell::text(&"x".repeat(1 << 20))).expect("room");
        builder.put(2, 3, Cell::text("Tier")).expect("room");
        builder.merge(whole_row(1)).expect("room");
        assert_eq!(finish(builder).marks.merged_columns, BTreeMap::from([(1, vec![(0, 3)])]));
    }

    #[test]
    fn a_merge_that_overlaps_another_one_counts_for_nothing() {
        let mut builder = wide(&Cell::text(&"x".repeat(1 << 10)), 4);
        builder.put(2, 1, Cell::text("y")).expect("room");
        for _ in 0..MERGES_MAX - 1 {
            builder.merge(Merge { first: (1, 0), last: (3, COLUMNS_MAX - 2) }).expect("room");
        }
        builder.merge(Merge { first: (2, 1), last: (4, 2) }).expect("room");
        let sheet = finish(builder);
        let merged = vec![(0, COLUMNS_MAX - 2)];
        assert_eq!(sheet.marks.merged_columns, BTreeMap::from([(1, merged.clone()), (2, merged.clone()), (3, merged)]));
        assert_eq!(sheet.marks.merged_rows, BTreeSet::from([2, 3]));
    }

    #[test]
    fn a_sheet_beyond_the_limits_is_refused_by_the_place_that_breaks_them() {
        let mut builder = SheetBuilder::new(Room::FILE, 0);
        let full = (1..=GRID_ROWS).find_map(|row| builder.put(row, COLUMNS_MAX - 1, Cell::Number(1.0)).err());
        let refused = full.expect("a limit").to_string();
        assert!(refused.contains("more than 1000000 cells, up to SR1954"), "{refused}");
        let mut builder = SheetBuilder::new(Room::FILE, 0);
        let full = (1..=GRID_ROWS).find_map(|row| builder.put(row, 0, Cell::Number(1.0)).err());
        assert!(full.expect("a limit").to_string().contains("more than 50000 rows"));
        let mut builder = SheetBuilder::new(Room::FILE, 0);
        let long = Cell::text(&"x".repeat(1 << 20));
        let full = (1..=GRID_ROWS).find_map(|row| builder.put(row, 0, long.clone()).err());
        assert!(full.expect("a limit").to_string().contains("more than 32 MiB"));
    }
}
