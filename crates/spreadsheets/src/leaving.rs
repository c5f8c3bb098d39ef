//! How a row says that the person has left the prison: that the person has, on which day, and in
//! which way.
//!
//! A row of a person who has left is no current case, whatever its columns say. A departure is
//! recorded by a row only where the columns say both when and how: a release with its day, or a
//! transfer with its day and the prison. Nothing is guessed: a day in a column such as `Left on`
//! does not say how.

use chrono::NaiveDate;
use domain::{identifier::PrisonCode, text::Excerpt};

use super::{
    date_columns::{DateColumns, FieldDates},
    day_words::describe_day,
    heading::Field,
    reader::{Cell, Row, Sheet},
    value::{self, CellDeparture, says_no},
};

/// The fields by which a row says that the person has left.
pub const LEAVING_FIELDS: [Field; 4] = [Field::LeftOn, Field::ReleasedOn, Field::TransferredOn, Field::TransferredTo];

/// Those of them that are dates.
pub const LEAVING_DATES: [Field; 3] = [Field::LeftOn, Field::ReleasedOn, Field::TransferredOn];

/// The way in which a person left a prison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// The London day.
    pub on: NaiveDate,
    /// The prison that the person went to; `None` for a release.
    pub to_prison: Option<PrisonCode>,
}

/// A row that says that the person has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingRow {
    /// The first column that says it.
    pub column: usize,
    /// The sentence for it, without an end: `has left on 2 January 2020`.
    pub sentence: String,
    /// When and how the person left, where columns say both.
    pub leaving: Result<Leaving, UnclearLeaving>,
}

impl LeavingRow {
    /// The words of the row, after its number: `says released on 2 January 2020`.
    #[must_use]
    pub fn says(&self) -> String {
        match &self.leaving {
            Ok(Leaving { on, to_prison: None }) => format!("says released on {}", describe_day(*on)),
            Ok(Leaving { on, to_prison: Some(prison) }) => {
                format!("says transferred to {prison} on {}", describe_day(*on))
            }
            Err(unclear) => unclear.says.clone(),
        }
    }
}

/// Why a row does not say both when and how a person left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnclearLeaving {
    /// The reason, after the number of the row: `says no day`.
    pub says: String,
    /// Whether a cell holds a wrong value. Otherwise, a part is missing or ambiguous.
    pub is_wrong: bool,
}

impl UnclearLeaving {
    fn incomplete(says: impl Into<String>) -> Self {
        Self { says: says.into(), is_wrong: false }
    }
}

/// A cell of a column of leaving with an error of a formula, which says neither that the person has
/// left nor that the person is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormulaErrorCell {
    /// The field of the column.
    pub field: Field,
    /// The column.
    pub column: usize,
}

/// The columns of a sheet that say that people have left.
#[derive(Debug, Clone, Copy)]
pub struct LeavingColumns<'a> {
    /// The sheet.
    pub sheet: &'a Sheet,
    /// Its columns of dates.
    pub dates: &'a DateColumns,
    /// Its column of prisons after a transfer.
    pub prison: Option<usize>,
    /// The current date in London: a date of leaving may be to come.
    pub today: NaiveDate,
}

/// The signs in a row that the person has left.
struct LeavingSigns<'a> {
    /// The columns with a day that has come.
    dated: Vec<(&'a FieldDates, NaiveDate)>,
    /// The columns with a mark, or with other words.
    said: Vec<(&'a FieldDates, CellDeparture)>,
    /// The cell of the prison, where it is filled.
    prison: Option<&'a Cell>,
}

impl<'a> LeavingColumns<'a> {
    /// Reads a row; `None` if the person is there today.
    ///
    /// # Errors
    /// A cell has an error of a formula.
    pub fn read(&self, row: &Row) -> Result<Option<LeavingRow>, FormulaErrorCell> {
        let signs = self.signs(row)?;
        let said = signs.said.first().map(|(of, _)| of.column);
        let prison = self.prison.filter(|_| signs.prison.is_some() && !self.is_to_come(row));
        let (column, sentence) = match (signs.dated.first(), said.or(prison)) {
            (Some((of, date)), _) => (of.column, format!("has left on {}", describe_day(*date))),
            (None, Some(column)) => {
                let written = row.cell(column).to_string();
                (column, format!("has left: the sheet says `{}`", Excerpt(&written)))
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(LeavingRow { column, sentence, leaving: self.leaving(row, &signs) }))
    }

    /// Doubts about the dates of a person who is there today: a date of leaving that is to come may
    /// be one that has come, read the other way.
    pub fn doubts(&self, row: &Row) -> Vec<String> {
        let doubt = |of: &FieldDates| self.date(row, of)?.1.map(|doubt| format!("{}: {doubt}", of.field));
        self.dates().filter_map(doubt).collect()
    }

    fn signs<'r>(&self, row: &'r Row) -> Result<LeavingSigns<'r>, FormulaErrorCell>
    where
        'a: 'r,
    {
        let mut signs = LeavingSigns { dated: Vec::new(), said: Vec::new(), prison: None };
        for of in self.dates() {
            match value::departure(self.sheet, row.cell(of.column), &of.dates, self.today) {
                None => {}
                Some(CellDeparture::Unknown) => {
                    return Err(FormulaErrorCell { field: of.field, column: of.column });
                }
                Some(CellDeparture::On(date)) => signs.dated.push((of, date)),
                Some(words) => signs.said.push((of, words)),
            }
        }
        if let Some(column) = self.prison {
            let cell = row.cell(column);
            if value::is_formula_error(&cell.to_string()) {
                return Err(FormulaErrorCell { field: Field::TransferredTo, column });
            }
            signs.prison = Some(cell).filter(|cell| !says_no(cell));
        }
        Ok(signs)
    }

    /// When and how the person left.
    fn leaving(&self, row: &Row, signs: &LeavingSigns<'_>) -> Result<Leaving, UnclearLeaving> {
        let Some(&(_, on)) = signs.dated.first() else { return Err(UnclearLeaving::incomplete("says no day")) };
        if let Some((_, other)) = signs.dated.iter().find(|(_, other)| *other != on) {
            return Err(UnclearLeaving::incomplete(format!("says {} and {}", describe_day(on), describe_day(*other))));
        }
        if let Some((of, _)) = signs.said.iter().find(|(_, words)| *words == CellDeparture::Said) {
            let written = row.cell(of.column).to_string();
            return Err(UnclearLeaving::incomplete(format!(
                "says `{}` beside {}",
                Excerpt(&written),
                describe_day(on)
            )));
        }
        if signs.dated.iter().any(|(of, _)| self.date(row, of).is_none_or(|(_, doubt)| doubt.is_some())) {
            return Err(UnclearLeaving::incomplete(format!(
                "says {}, if the column is month first: write the month's name",
                describe_day(on)
            )));
        }
        // A mark says how, beside a day in another column.
        let dated = signs.dated.iter().map(|(of, _)| of.field);
        let fields: Vec<Field> = dated.chain(signs.said.iter().map(|(of, _)| of.field)).collect();
        let has = |field: Field| fields.contains(&field);
        match (has(Field::ReleasedOn), has(Field::TransferredOn), signs.prison) {
            (true, false, None) => Ok(Leaving { on, to_prison: None }),
            (true, ..) => Err(UnclearLeaving {
                says: "says that the person was released, and was transferred".to_owned(),
                is_wrong: true,
            }),
            (false, _, Some(cell)) => match value::listed_prison(cell) {
                Ok(prison) => Ok(Leaving { on, to_prison: Some(prison) }),
                Err(wrong) => {
                    Err(UnclearLeaving { says: format!("does not name the prison: {wrong}"), is_wrong: true })
                }
            },
            (false, true, None) => Err(UnclearLeaving::incomplete("does not say to which prison the person went")),
            (false, false, None) => {
                Err(UnclearLeaving::incomplete("does not say whether the person was released or transferred"))
            }
        }
    }

    fn dates(&self) -> impl Iterator<Item = &'a FieldDates> {
        self.dates.iter().filter(|of| LEAVING_DATES.contains(&of.field))
    }

    fn date(&self, row: &Row, of: &FieldDates) -> Option<(NaiveDate, Option<String>)> {
        of.dates.read(&self.sheet.dated(row.cell(of.column))).ok()
    }

    /// Whether a date of leaving is to come: the prison of a transfer is known by then.
    fn is_to_come(&self, row: &Row) -> bool {
        self.dates().filter_map(|of| self.date(row, of)).any(|(date, _)| date > self.today)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        row::{DataRow, HAS_LEFT},
        tests::{read, sheet},
    };

    /// The first row of a sheet with these columns of leaving, beside a case that is there.
    fn row(headings: &str, cells: &str) -> DataRow {
        let there = "|".repeat(headings.matches('|').count());
        let drawn = format!(
            "NOMS no|Tier|Staff id|Date allocated|{headings}\n\
             A0001BC|C|485926|01/07/2019|{cells}\nA0002BC|C|485926|01/07/2019|{there}"
        );
        read(&[sheet("cases", &drawn)]).rows.swap_remove(0)
    }

    /// Checks what a row says of a person who has left.
    #[track_caller]
    fn check(headings: &str, cells: &str, expected: &str) {
        let row = row(headings, cells);
        assert_eq!(row.case.expect_err("has left").code, HAS_LEFT, "{headings}: {cells}");
        assert_eq!(row.left.expect("has left").says(), expected, "{headings}: {cells}");
    }

    #[test]
    fn a_row_says_how_a_person_left_by_the_heading_of_the_day() {
        for heading in ["Released", "Released on", "Date released", "Discharged", "Date of discharge"] {
            check(heading, "02/01/2020", "says released on 2 January 2020");
            check(heading, "yes", "says no day");
            check(&format!("Left on|{heading}"), "02/01/2020|Y", "says released on 2 January 2020");
            check(&format!("{heading}|{heading}"), "Y|02/01/2020", "says released on 2 January 2020");
        }
        for heading in ["Left", "Date out", "Released or transferred on", "Deallocated", "End date"] {
            check(heading, "02/01/2020", "does not say whether the person was released or transferred");
        }
        check("Left on|Released", "02/01/2020|02/01/2020", "says released on 2 January 2020");
        check("Left on|Released", "02/01/2020|03/01/2020", "says 2 January 2020 and 3 January 2020");
        check("Left on|Released", "gone|03/01/2020", "says `gone` beside 3 January 2020");
    }

    #[test]
    fn a_transfer_needs_a_day_and_a_prison_of_the_list() {
        for heading in ["Transferred on", "Date transferred", "Transferred", "Date left", "Date of transfer"] {
            let headings = format!("Transferred to|{heading}");
            check(&headings, "MDI|02/01/2020", "says transferred to MDI on 2 January 2020");
            check(&headings, "HMP Moorland|02/01/2020", "says transferred to MDI on 2 January 2020");
            check(&headings, "MDI|", "says no day");
            let lacks = "`Scotland` is neither the code nor the name of a prison in the list of 29 November 2026";
            check(&headings, "Scotland|02/01/2020", &format!("does not name the prison: {lacks}"));
        }
        check("Transferred|Date out", "MDI|02/01/2020", "says transferred to MDI on 2 January 2020");
        check("Transferred|Transferred to|Date out", "Y|MDI|02/01/2020", "says transferred to MDI on 2 January 2020");
        check("Moved to|Date out", "Leeds|02/01/2020", "says transferred to LEI on 2 January 2020");
        check("Transferred|Transferred to", "02/01/2020|No", "does not say to which prison the person went");
        let both = "says that the person was released, and was transferred";
        check("Released|Transferred", "02/01/2020|02/01/2020", both);
        check("Released|Transferred to", "02/01/2020|MDI", both);
        check("Released|Transferred|Transferred to", "|02/01/2020|MDI", "says transferred to MDI on 2 January 2020");
        check("Released|Transferred|Transferred to", "02/01/2020||", "says released on 2 January 2020");
    }

    #[test]
    fn a_person_leaves_on_the_day_and_not_before() {
        for cells in ["01/01/2030|MDI", "|", "No|N/A"] {
            let row = row("Transferred on|Transferred to", cells);
            assert!(row.case.is_ok() && row.left.is_none(), "{cells}: {row:?}");
        }
        for cells in ["#REF!|MDI", "02/01/2020|#N/A"] {
            let row = row("Transferred on|Transferred to", cells);
            let problem = row.case.expect_err("it may have left").reason;
            assert!(problem.contains("an error of a formula does not say") && row.left.is_none(), "{cells}: {problem}");
        }
    }

    #[test]
    fn each_column_of_leaving_is_read() {
        let cases = ["|02/01/2020||", "03/01/2020|||", "||04/01/2020|", "|||05/01/2020", "|||"];
        let rows = cases.iter().enumerate().map(|(row, left)| format!("A000{row}BC|C|485926|01/07/2019|{left}"));
        let rows: Vec<String> = rows.collect();
        let headings = "NOMS no|Tier|Staff id|Date allocated|Left on|Date left|Released|Released on";
        let left = |row: &DataRow| Some(row.left.as_ref()?.says());
        let found: Vec<_> =
            read(&[sheet("cases", &format!("{headings}\n{}", rows.join("\n")))]).rows.iter().map(left).collect();
        let no_way = "does not say whether the person was released or transferred".to_owned();
        let released = |day: &str| Some(format!("says released on {day} January 2020"));
        assert_eq!(found, [Some(no_way.clone()), Some(no_way), released("4"), released("5"), None]);
    }

    #[test]
    fn a_day_that_is_read_month_first_is_not_taken_for_certain() {
        let drawn = "NOMS no|Tier|Staff id|Date allocated|Released\n\
                     A0001BC|C|485926|01/07/2019|02/01/2020\nA0002BC|C|485926|01/07/2019|01/31/2020";
        let left = read(&[sheet("cases", drawn)]).rows.swap_remove(0).left.expect("has left");
        assert!(left.leaving.as_ref().is_err_and(|unclear| !unclear.is_wrong), "{left:?}");
        assert!(left.says().starts_with("says 1 February 2020, if the column is month first"), "{}", left.says());
    }
}
