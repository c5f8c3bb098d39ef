//! The staff ids of POMs by their names, for a sheet of cases without a column of staff ids: from
//! another sheet of the file that lists the POMs, and from the prison's roster.

use std::collections::{BTreeSet, HashMap};

use domain::{identifier::StaffId, officer::PomKind, prison, text::Excerpt};

use super::{
    heading::{self, Field},
    layout::is_counter_column,
    reader::{Cell, Sheet, column_letters},
    value::{self, PersonName, PomKindWords, absence_of_name, person_name},
};

/// The number of rows from the top of a sheet among which its headings are sought.
const HEADER_ROWS_MAX: usize = 20;

/// The share of the cells below a heading that must be staff ids.
const ID_SHARE_MIN: f64 = 0.6;

/// Staff ids by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StaffDirectory {
    /// By [`spelling`].
    ids: HashMap<String, BTreeSet<StaffId>>,
    /// By [`name_words`].
    by_words: HashMap<String, SameWords>,
    kinds: HashMap<StaffId, PomKind>,
    /// Where the ids come from, in a sentence.
    sheet: Option<String>,
}

/// The POMs whose names have the same words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SameWords {
    ids: BTreeSet<StaffId>,
    /// Whether one of the names is unclear, so that the order of its words says nothing.
    has_unclear: bool,
}

/// A POM found by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownStaff {
    /// The POM's staff id.
    pub staff_id: StaffId,
    /// The POM's kind, where the list of POMs says it.
    pub kind: Option<PomKind>,
}

impl StaffDirectory {
    /// The POMs of the sheet that lists most of them, other than the sheet of cases.
    #[must_use]
    pub fn of_sheets(sheets: &[Sheet], cases: usize, pom_kinds: &PomKindWords) -> Self {
        let others = sheets.iter().enumerate().filter(|(index, _)| *index != cases).map(|(_, sheet)| sheet);
        let lists = others.filter_map(|sheet| of_sheet(sheet, pom_kinds));
        lists.max_by_key(|list| list.ids.len()).unwrap_or_default()
    }

    /// Adds the POMs on a prison's roster.
    pub fn add_roster(&mut self, roster: &prison::Roster) {
        for (staff_id, pom) in &roster.poms {
            self.add(&pom.name, *staff_id);
        }
    }

    fn add(&mut self, name: &str, staff_id: StaffId) {
        self.ids.entry(spelling(name)).or_default().insert(staff_id);
        let same = self.by_words.entry(name_words(name)).or_default();
        same.ids.insert(staff_id);
        same.has_unclear |= person_name(name).is_unclear;
    }

    /// Where the staff ids of a sheet come from, in a sentence; `None` where no sheet lists them.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.sheet.as_deref()
    }

    /// Finds the POM of that name. Where the name or a listed one is unclear, the order of the
    /// words does not count, and all names that have the same words are one.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find(&self, name: &str) -> Result<KnownStaff, String> {
        let by_words = self.by_words.get(&name_words(name));
        let ids = match by_words.filter(|same| same.has_unclear || person_name(name).is_unclear) {
            Some(same) => Some(&same.ids),
            None => self.ids.get(&spelling(name)),
        };
        let ids: Vec<StaffId> = ids.into_iter().flatten().copied().collect();
        match ids.as_slice() {
            [staff_id] => Ok(KnownStaff { staff_id: *staff_id, kind: self.kinds.get(staff_id).copied() }),
            [] => Err(format!(
                "the sheet has no column of staff ids, and neither the roster nor another sheet has one for `{}`",
                Excerpt(name)
            )),
            several => Err(format!(
                "the sheet has no column of staff ids, and the name `{}` has several: {}",
                Excerpt(name),
                several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            )),
        }
    }
}

/// The columns of a sheet that lists POMs.
struct StaffColumns {
    header: usize,
    name: usize,
    forename: Option<usize>,
    staff_id: usize,
    kind: Option<usize>,
}

fn of_sheet(sheet: &Sheet, pom_kinds: &PomKindWords) -> Option<StaffDirectory> {
    let columns = (0..sheet.rows.len().min(HEADER_ROWS_MAX)).find_map(|row| staff_columns(sheet, row))?;
    let mut list = StaffDirectory::default();
    for row in &sheet.rows[columns.header + 1..] {
        let Ok(staff_id) = value::staff_id(row.cell(columns.staff_id)) else { continue };
        let name = row.cell(columns.name).to_string();
        let name = match columns.forename.map(|column| row.cell(column).to_string()) {
            Some(forename) if !forename.is_empty() => value::name_of_parts(&name, &forename),
            _ => person_name(&name),
        };
        if name.text.is_empty() || absence_of_name(&name.text).is_some() {
            continue;
        }
        list.add(&name.text, staff_id);
        if let Some(Ok(kind)) = columns.kind.map(|column| value::pom_kind(row.cell(column), pom_kinds)) {
            list.kinds.insert(staff_id, kind);
        }
    }
    list.sheet = Some(format!(
        "Staff ids are those of column {} of the sheet `{}`, by the POM's name.",
        column_letters(columns.staff_id),
        Excerpt(&sheet.name)
    ));
    (!list.ids.is_empty()).then_some(list)
}

/// The columns below a row of headings, if it heads a list of POMs.
fn staff_columns(sheet: &Sheet, row: usize) -> Option<StaffColumns> {
    let width = sheet.rows[row].cells.len();
    let heading = |column: usize| heading::normal(&sheet.rows[row].cell(column).to_string());
    let best = |weight: &dyn Fn(usize) -> u32| {
        (0..width).rev().max_by_key(|column| weight(*column)).filter(|column| weight(*column) > 0)
    };
    let cells = |column: usize| {
        sheet.rows[row + 1..].iter().map(move |row| row.cell(column)).filter(|cell| **cell != Cell::Empty)
    };
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = |column: usize, fits: &dyn Fn(&Cell) -> bool| {
        cells(column).filter(|cell| fits(cell)).count() as f64 / cells(column).count().max(1) as f64
    };
    // A list of cases is none of POMs.
    if (0..width).any(|column| share(column, &|cell| value::prisoner_number(cell).is_ok()) > 0.3) {
        return None;
    }
    let name = best(&|column| match heading(column).as_str() {
        "name" | "full name" | "surname" | "last name" | "staff" | "officer" | "names" => 60,
        text => heading::weight(Field::PomName, text),
    })?;
    let staff_id = best(&|column| {
        let weight = match heading(column).as_str() {
            "no" | "id" | "nomis" | "nomis id" | "nomis no" | "user id" => 60,
            text => heading::weight(Field::StaffId, text),
        };
        let fits = share(column, &|cell| value::staff_id(cell).is_ok()) >= ID_SHARE_MIN;
        if fits && column != name && !is_counter_column(sheet, row, column) { weight } else { 0 }
    })?;
    let kind = best(&|column| heading::weight(Field::PomKind, &heading(column)));
    let forename =
        (0..width).find(|column| matches!(heading(*column).as_str(), "forename" | "forenames" | "first name"));
    Some(StaffColumns { header: row, name, forename, staff_id, kind })
}

/// The form in which names are compared: in lower case, without the signs between words. `James,
/// Thomas` and `Thomas, James` are two people; only where it could not be told which part is the
/// surname does the order of the words not count.
#[must_use]
pub fn spelling(name: &str) -> String {
    let PersonName { text, is_unclear } = person_name(name);
    if is_unclear {
        return name_words(name);
    }
    let lower = text.to_lowercase();
    lower.split(',').map(|part| words(part).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

/// The words of a name in lower case, in alphabetical order. A sign between two names is a word.
#[must_use]
pub fn name_words(name: &str) -> String {
    let mut lower = person_name(name).text.to_lowercase();
    for sign in NAME_SEPARATORS {
        lower = lower.replace(sign, &format!(" {sign} "));
    }
    let mut words: Vec<&str> = words(&lower).collect();
    words.sort_unstable();
    words.join(" ")
}

/// The signs between the names of two people: `Smith / Jones`.
const NAME_SEPARATORS: [char; 4] = ['/', '&', '+', ';'];

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && !NAME_SEPARATORS.contains(&letter))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(names: &[(&str, i64)]) -> StaffDirectory {
        let mut staff = StaffDirectory::default();
        for (name, id) in names {
            staff.add(name, id.to_string().parse().expect("a staff id"));
        }
        staff
    }

    /// Looks names up: the staff id of each, `-` for none, and `several`.
    #[track_caller]
    fn check(names: &[(&str, i64)], expected: &[(&str, &str)]) {
        let staff = directory(names);
        for (name, expected) in expected {
            let found = match staff.find(name) {
                Ok(found) => found.staff_id.to_string(),
                Err(wrong) if wrong.contains("has several") => "several".to_owned(),
                Err(_) => "-".to_owned(),
            };
            assert_eq!(found, *expected, "{name}");
        }
    }

    #[test]
    fn surname_and_forename_are_not_taken_for_one_another() {
        let james = ("James, Thomas", 1);
        check(
            &[james],
            &[("James, Thomas", "1"), ("JAMES, Thomas", "1"), ("Thomas James", "1"), ("Thomas, James", "-")],
        );
        check(&[james, ("Thomas, James", 2)], &[("James, Thomas", "1"), ("Thomas, James", "2")]);
        check(&[("Smith-Jones, Amy", 3)], &[("Smith Jones, Amy", "3"), ("Jones, Amy Smith", "-")]);
    }

    #[test]
    fn an_unclear_name_is_found_by_its_words_if_one_pom_has_them() {
        let maria = ("De Souza, Maria", 1);
        check(&[maria], &[("DE SOUZA MARIA", "1"), ("DE Souza Maria", "1")]);
        check(&[("DE SOUZA MARIA", 1)], &[("De Souza, Maria", "1"), ("Maria DE SOUZA", "1")]);
        check(&[maria, ("Maria, De Souza", 2)], &[("DE SOUZA MARIA", "several"), ("De Souza, Maria", "1")]);
        check(&[maria, ("DE SOUZA MARIA", 2)], &[("De Souza, Maria", "several")]);
        check(&[maria, ("DE SOUZA MARIA", 1)], &[("De Souza, Maria", "1")]);
    }

    #[test]
    fn two_names_in_a_cell_are_not_the_name_of_one_pom() {
        let thomas = ("Thomas, James", 1);
        for two in ["Thomas / James", "Thomas/James", "James & Thomas", "Thomas; James", "Thomas + James"] {
            check(&[thomas], &[(two, "-")]);
            assert_ne!(name_words("Thomas, James"), name_words(two), "{two}");
        }
    }
}
