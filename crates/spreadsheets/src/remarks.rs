//! Remarks on the reading of a sheet, beside the outcomes of its rows: marks that a spreadsheet
//! program shows and no cell says, and the parts that were not read. Pure.

use std::collections::BTreeSet;

use domain::text::Excerpt;

use super::{
    layout::{Layout, UnreadSheet},
    reader::{Sheet, column_letters},
};

/// The most rows, or runs of rows, that a sentence lists.
const RUNS_SHOWN_MAX: usize = 12;

/// The remarks on the sheet that was read, and on those that could not be, in sentences.
#[must_use]
pub fn remarks(sheets: &[Sheet], layout: &Layout) -> Vec<String> {
    let sheet = &sheets[layout.sheet];
    let header = sheet.rows[layout.header].number;
    let below = |rows: &BTreeSet<u32>| rows.iter().copied().filter(|row| *row > header).collect::<Vec<_>>();
    let mut remarks = sheet.marks.remarks.clone();
    for (&field, column) in &layout.columns {
        if sheet.marks.hidden_columns.contains(column) {
            remarks.push(format!("Column {} ({field}) is hidden in the sheet, and was read.", column_letters(*column)));
        }
    }
    let hidden = below(&sheet.marks.hidden_rows);
    if !hidden.is_empty() {
        let (rows, are) =
            rows_in_words(&hidden, "is hidden in the sheet, and was", "are hidden in the sheet, and were");
        remarks.push(format!("{rows} {are} read like the others."));
    }
    let merged = below(&sheet.marks.merged_rows);
    if !merged.is_empty() {
        let (rows, have) = rows_in_words(&merged, "has", "have");
        remarks
            .push(format!("{rows} {have} cells that are merged with a row above, and took their values from there."));
    }
    let coloured = below(&sheet.marks.coloured_rows);
    if !coloured.is_empty() {
        let (rows, are) = rows_in_words(&coloured, "is", "are");
        remarks.push(format!("{rows} {are} coloured. Colours are not read: their meaning has to be in a column."));
    }
    for other in sheets {
        if let Some(reason) = &other.marks.unread {
            remarks.push(format!("The sheet `{}` could not be read: {reason}.", Excerpt(&other.name)));
        }
    }
    remarks
}

/// Rows in words, as the beginning of a sentence, and the verb for them.
fn rows_in_words<'a>(rows: &[u32], one: &'a str, several: &'a str) -> (String, &'a str) {
    if let [row] = rows {
        return (format!("Row {row}"), one);
    }
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &row in rows {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == row => *last = row,
            _ => runs.push((row, row)),
        }
    }
    let shown: Vec<_> = runs
        .iter()
        .take(RUNS_SHOWN_MAX)
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first} to {last}") })
        .collect();
    let more = if runs.len() > RUNS_SHOWN_MAX { " and others" } else { "" };
    (format!("{} rows ({}{more})", rows.len(), shown.join(", ")), several)
}

/// The note on a sheet that holds cases or contacts and was not read. The cases of a sheet of
/// leavers are not to be read as current ones.
#[must_use]
pub fn note_unread_sheet(sheet: &UnreadSheet, what: &str) -> String {
    let UnreadSheet { name, cases, is_over } = sheet;
    let count = count_of(*cases, what);
    if *is_over {
        return format!(
            "The sheet `{name}` has {count} that are over, as its name or its dates of leaving say, and was not read."
        );
    }
    format!("The sheet `{name}` has {count} too and was not read: --sheet \"{name}\" reads it.")
}

/// `1 row`, `2 rows`.
#[must_use]
pub fn count_of(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{
        super::{
            reader::{Cell, Marks, Row},
            row::FIELDS,
            tests::find,
        },
        *,
    };

    fn sheet(headings: &str, marks: Marks) -> Sheet {
        let rows = [headings, "A0001BC|B|485926|PO|01/07/2019|C|x", "A0002BC|B|485926|PO|01/07/2019|C|x"];
        let rows = (2..)
            .zip(rows)
            .map(|(number, row)| Row { number, cells: row.split('|').map(Cell::text).collect() })
            .collect();
        Sheet { name: "cases".to_owned(), rows, marks, ..Sheet::default() }
    }

    #[track_caller]
    fn check(headings: &str, marks: Marks, expected: &[&str]) {
        let broken = Sheet {
            name: "Lookup".to_owned(),
            marks: Marks { unread: Some("it is damaged".to_owned()), ..Marks::default() },
            ..Sheet::default()
        };
        let sheets = [sheet(headings, marks), broken];
        let layout = find(&sheets, None, &[], FIELDS).expect("the cases are found");
        let expected = [expected, &["The sheet `Lookup` could not be read: it is damaged."]].concat();
        assert_eq!(remarks(&sheets, &layout), expected);
    }

    #[test]
    fn what_the_cells_do_not_say_is_said_in_a_line() {
        let plain = "Prison number|Tier|Staff id|POM type|Date allocated|Wing|Notes";
        check(plain, Marks::default(), &[]);
        check(
            plain,
            Marks {
                hidden_rows: BTreeSet::from([1, 3]),
                hidden_columns: BTreeSet::from([1, 5]),
                coloured_rows: BTreeSet::from([2, 3, 4]),
                merged_rows: BTreeSet::from([4]),
                remarks: vec!["Said by the reader.".to_owned()],
                ..Marks::default()
            },
            &[
                "Said by the reader.",
                "Column B (tier) is hidden in the sheet, and was read.",
                "Row 3 is hidden in the sheet, and was read like the others.",
                "Row 4 has cells that are merged with a row above, and took their values from there.",
                "2 rows (3 to 4) are coloured. Colours are not read: their meaning has to be in a column.",
            ],
        );
    }

    #[test]
    fn a_long_list_of_rows_is_cut() {
        assert_eq!(rows_in_words(&[3, 5, 6, 7], "is", "are"), ("4 rows (3, 5 to 7)".to_owned(), "are"));
        let odd: Vec<u32> = (0..100).map(|row| row * 2).collect();
        let words = rows_in_words(&odd, "is", "are").0;
        assert!(words.starts_with("100 rows (0, 2, ") && words.ends_with(", 22 and others)"), "{words}");
    }

    #[test]
    fn a_sheet_of_leavers_is_not_offered_as_current() {
        let sheet = |is_over| UnreadSheet { name: "Old".to_owned(), cases: 45, is_over };
        let note = note_unread_sheet(&sheet(true), "case");
        assert!(note.contains("has 45 cases that are over") && !note.contains("--sheet"), "{note}");
        assert!(note_unread_sheet(&sheet(false), "case").ends_with("--sheet \"Old\" reads it."));
    }
}
