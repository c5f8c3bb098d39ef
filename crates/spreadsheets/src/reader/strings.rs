//! The table of the texts that the cells of a workbook share.

use anyhow::bail;

use super::{
    builder::Room,
    sheet::{Cell, DAMAGED},
};

/// The texts by their numbers.
#[derive(Debug, Default)]
pub struct Strings {
    texts: Vec<String>,
    /// The reason why there are no further ones, where that is not the end of the table.
    broken: Option<String>,
}

impl Strings {
    /// Reads a table: `read` hands on its texts, one after the other, up to its end or its damage.
    pub fn read(
        room: &mut Room,
        read: impl FnOnce(&mut dyn FnMut(String) -> anyhow::Result<()>) -> anyhow::Result<()>,
    ) -> Self {
        let mut strings = Self::default();
        let before = *room;
        let ended = read(&mut |text| {
            // Each costs more than its letters.
            room.take_text(text.len() + size_of::<String>())?;
            strings.texts.push(text);
            Ok(())
        });
        if let Err(reason) = ended {
            strings.broken = Some(format!("the table of its texts cannot be read: {reason:#}"));
            // A sheet that needs none of these texts has its room.
            *room = before;
        }
        strings
    }

    /// The cell that has the text with a number. Where the table has no such text, the cell is
    /// damaged.
    ///
    /// # Errors
    /// The table is cut short, so the sheet cannot be read.
    pub fn cell(&self, number: Option<usize>) -> anyhow::Result<Cell> {
        match (number.and_then(|number| self.texts.get(number)), &self.broken) {
            (Some(text), _) => Ok(Cell::text(text)),
            (None, Some(reason)) => bail!("{reason}"),
            (None, None) => Ok(Cell::text(DAMAGED)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_the_table_lacks_is_a_damaged_cell_and_one_cut_off_fails_the_sheet() {
        let mut room = Room::FILE;
        let whole = Strings::read(&mut room, |add| add("a".to_owned()));
        assert_eq!(whole.cell(Some(0)).expect("a cell"), Cell::text("a"));
        for missing in [Some(1), Some(usize::MAX), None] {
            assert_eq!(whole.cell(missing).expect("a cell"), Cell::text(DAMAGED));
        }
        let cut = Strings::read(&mut room, |add| {
            add("a".to_owned())?;
            bail!("it is damaged")
        });
        assert_eq!(cut.cell(Some(0)).expect("a cell"), Cell::text("a"));
        let reason = cut.cell(Some(1)).expect_err("cut off").to_string();
        assert_eq!(reason, "the table of its texts cannot be read: it is damaged");
        let large = Strings::read(&mut room, |add| (0..100).try_for_each(|_| add("x".repeat(1 << 20))));
        assert!(large.cell(Some(99)).expect_err("too large").to_string().contains("more than 32 MiB"));
    }
}
