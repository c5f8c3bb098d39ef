//! How a row says that the person has left the prison: that the person has, on which day, and in
//! which way.
//!
//! A row of a person who has left is no current case, whatever its columns say. A departure is
//! recorded by a row only where the columns say both when and how: a release with its day, or a
//! transfer with its day and the prison. Nothing is guessed: a day in a column such as `Left on`
//! does not say how.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::{identifier::PrisonCode, text::Excerpt};

use super::{
    date_columns::DateColumns,
    heading::Field,
    reader::{Cell, Row, Sheet},
    value::{self, CellDeparture, says_no},
};

/// The fields by which a row says that the person has left, in the order in which a reason quotes
/// them.
pub const LEAVING_FIELDS: [Field; 4] = [Field::LeftOn, Field::ReleasedOn, Field::TransferredOn, Field::TransferredTo];

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
    /// The field of the first column that says it.
    pub field: Field,
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
            Ok(Leaving { on, to_prison: None }) => format!("says released on {}", in_words(*on)),
            Ok(Leaving { on, to_prison: Some(prison) }) => {
                format!("says transferred to {prison} on {}", in_words(*on))
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

/// The columns of a sheet that say that people have left.
#[derive(Debug, Clone, Copy)]
pub struct LeavingColumns<'a> {
    /// The sheet.
    pub sheet: &'a Sheet,
    /// The column of each field.
    pub columns: &'a BTreeMap<Field, usize>,
    /// How its columns of dates are written.
    pub dates: &'a DateColumns,
    /// The current date in London: a date of leaving may be to come.
    pub today: NaiveDate,
}

impl LeavingColumns<'_> {
    /// Reads a row; `None` if the person is there today.
    ///
    /// # Errors
    /// The column of this field has an error of a formula, which says neither that the person has
    /// left nor that the person is there.
    pub fn read(&self, row: &Row) -> Result<Option<LeavingRow>, Field> {
        let mut dated = Vec::new();
        let mut said = Vec::new();
        for (field, column) in self.date_columns() {
            match value::departure(self.sheet, self.cell(row, field), column, self.today) {
                None => {}
                Some(CellDeparture::Unknown) => return Err(field),
                Some(CellDeparture::On(date)) => dated.push((field, date)),
                Some(CellDeparture::Said) => said.push(field),
            }
        }
        let to_prison = self.cell(row, Field::TransferredTo);
        if value::is_formula_error(&to_prison.to_string()) {
            return Err(Field::TransferredTo);
        }
        let to_prison = Some(to_prison).filter(|cell| !says_no(cell));
        // A transfer that is planned for a day has its prison by then.
        let prison_alone = to_prison.filter(|_| dated.is_empty() && said.is_empty() && !self.is_to_come(row));
        let (field, sentence) = match (dated.first(), said.first().copied()) {
            (Some((field, date)), _) => (*field, format!("has left on {}", in_words(*date))),
            (None, Some(field)) => (field, self.quote(row, field)),
            (None, None) if prison_alone.is_some() => (Field::TransferredTo, self.quote(row, Field::TransferredTo)),
            (None, None) => return Ok(None),
        };
        let leaving = self.leaving(row, &dated, &said, to_prison);
        Ok(Some(LeavingRow { field, sentence, leaving }))
    }

    /// Doubts about the dates of a person who is there today: a date of leaving that is to come may
    /// be one that has come, read the other way.
    pub fn doubts(&self, row: &Row) -> Vec<String> {
        let doubt = |field: Field| {
            let (_, doubt) = self.date(row, field)?;
            doubt.map(|doubt| format!("{field}: {doubt}"))
        };
        LEAVING_FIELDS.into_iter().filter_map(doubt).collect()
    }

    /// When and how the person left, from the fields with a day, those with other words, and the
    /// cell of the prison.
    fn leaving(
        &self,
        row: &Row,
        dated: &[(Field, NaiveDate)],
        said: &[Field],
        to_prison: Option<&Cell>,
    ) -> Result<Leaving, UnclearLeaving> {
        let Some(&(_, on)) = dated.first() else { return Err(UnclearLeaving::incomplete("says no day")) };
        if let Some((_, other)) = dated.iter().find(|(_, other)| *other != on) {
            return Err(UnclearLeaving::incomplete(format!("says {} and {}", in_words(on), in_words(*other))));
        }
        if let Some(field) = said.first() {
            let cell = self.cell(row, *field).to_string();
            return Err(UnclearLeaving::incomplete(format!("says `{}` beside {}", Excerpt(&cell), in_words(on))));
        }
        if dated.iter().any(|(field, _)| self.date(row, *field).is_none_or(|(_, doubt)| doubt.is_some())) {
            return Err(UnclearLeaving::incomplete(format!(
                "says {}, if the column is month first: write the month's name",
                in_words(on)
            )));
        }
        let has = |field: Field| dated.iter().any(|(dated, _)| *dated == field);
        match (has(Field::ReleasedOn), has(Field::TransferredOn), to_prison) {
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

    fn date_columns(&self) -> impl Iterator<Item = (Field, &value::DateColumn)> {
        LEAVING_FIELDS.into_iter().filter_map(|field| Some((field, self.dates.of(field)?)))
    }

    fn date(&self, row: &Row, field: Field) -> Option<(NaiveDate, Option<String>)> {
        self.dates.of(field)?.read(&self.sheet.dated(self.cell(row, field))).ok()
    }

    /// Whether a date of leaving is to come.
    fn is_to_come(&self, row: &Row) -> bool {
        LEAVING_FIELDS.into_iter().filter_map(|field| self.date(row, field)).any(|(date, _)| date > self.today)
    }

    fn quote(&self, row: &Row, field: Field) -> String {
        format!("has left: the sheet says `{}`", Excerpt(&self.cell(row, field).to_string()))
    }

    fn cell<'r>(&self, row: &'r Row, field: Field) -> &'r Cell {
        self.columns.get(&field).map_or(&Cell::Empty, |&column| row.cell(column))
    }
}

fn in_words(date: NaiveDate) -> String {
    date.format("%-d %B %Y").to_string()
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
    fn a_day_that_is_read_month_first_is_not_taken_for_certain() {
        let drawn = "NOMS no|Tier|Staff id|Date allocated|Released\n\
                     A0001BC|C|485926|01/07/2019|02/01/2020\nA0002BC|C|485926|01/07/2019|01/31/2020";
        let left = read(&[sheet("cases", drawn)]).rows.swap_remove(0).left.expect("has left");
        assert!(left.leaving.as_ref().is_err_and(|unclear| !unclear.is_wrong), "{left:?}");
        assert!(left.says().starts_with("says 1 February 2020, if the column is month first"), "{}", left.says());
    }
}
