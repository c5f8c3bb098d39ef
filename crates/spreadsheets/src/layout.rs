//! Finds the cases in a file: the sheet, the header row, and the field of each column.
//!
//! 1. Each row near the top of each sheet is tried as the header row. Its headings are weighed
//!    against each field by [`heading::weight`], and against the cells below them, which tell a
//!    prisoner's `NOMIS ID` from a POM's.
//! 2. The row that finds most fields is the sheet's header row; of equals, the first.
//! 3. The sheet with most cases is read. A hidden sheet, or one whose name says that its cases are
//!    over (`Leavers`) or an example (`Example`), is read only if there is no other, or if the user
//!    names it.
//!
//! This module refuses to guess a field from the cells alone. The one exception is the prisoner
//! number, whose form is unmistakable.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail, ensure};
use domain::text::Excerpt;

use super::{
    heading::{self, Field},
    reader::{Cell, Row, Sheet, refuse_unread},
    value,
};

/// The number of rows from the top of a sheet among which the header row is sought; titles and
/// guidance come before it.
const HEADER_ROWS_MAX: usize = 60;

/// The number of cells below a heading that are tested against a field.
const SAMPLE_ROWS_MAX: usize = 200;

/// The share of cells that must fit a field before an unsure heading is taken for it.
const FIT_SHARE_MIN: f64 = 0.3;

/// The share of cells that must be prisoner numbers in a column without a telling heading.
const UNNAMED_SHARE_MIN: f64 = 0.6;

/// The number of headings that an error lists.
const COLUMNS_SHOWN_MAX: usize = 50;

/// The fields to look for in a file.
#[derive(Debug, Clone, Copy)]
pub struct FieldSet {
    /// The fields that a file must have.
    pub needed: &'static [Field],
    /// The fields that a file may have.
    pub welcome: &'static [Field],
}

impl FieldSet {
    /// All fields, in the order of the report.
    pub fn fields(self) -> impl Iterator<Item = Field> {
        self.needed.iter().chain(self.welcome).copied()
    }
}

/// A column that the user assigned to a field: `column=field`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The column's heading, or its letter.
    pub column: String,
    /// The field that the column holds.
    pub field: Field,
}

/// Parses the value of a `--map`.
///
/// # Errors
/// The value has no `=`, or names a field that the file cannot have.
pub fn mapping(text: &str, field_set: FieldSet) -> anyhow::Result<Mapping> {
    let names = || field_set.fields().map(Field::name).collect::<Vec<_>>().join(", ");
    let Some((column, field)) = text.rsplit_once('=') else {
        bail!(
            "there is no `=`: write a column's heading and a field, e.g. --map \"Ref no=prisonerNumber\". Fields: {}",
            names()
        );
    };
    let plain = |name: &str| name.to_lowercase().replace(|letter: char| !letter.is_alphanumeric(), "");
    let field = field_set
        .fields()
        .find(|known| plain(known.name()) == plain(field))
        .ok_or_else(|| anyhow!("there is no field `{}`. Fields: {}", Excerpt(field.trim()), names()))?;
    Ok(Mapping { column: column.trim().to_owned(), field })
}

/// The place of the cases in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// The index of the sheet.
    pub sheet: usize,
    /// The index of the header row among the sheet's rows.
    pub header: usize,
    /// The column of each field that was found, counted from 0.
    pub columns: BTreeMap<Field, usize>,
    /// Other sheets that seem to hold cases: their names and numbers of cases.
    pub passed_over: Vec<(String, usize)>,
}

impl Layout {
    /// The heading of a field's column as written, or the field's own name if there is no such
    /// column.
    #[must_use]
    pub fn heading(&self, sheet: &Sheet, field: Field) -> String {
        self.columns
            .get(&field)
            .map(|&column| sheet.rows[self.header].cell(column).to_string())
            .filter(|heading| !heading.is_empty())
            .unwrap_or_else(|| field.name().to_owned())
    }
}

/// Finds the cases in a file.
///
/// # Errors
/// There is no sheet of that name, or no row has the headings that are needed. The message lists
/// the columns.
pub fn find(
    sheets: &[Sheet],
    sheet_name: Option<&str>,
    mappings: &[Mapping],
    field_set: FieldSet,
) -> anyhow::Result<Layout> {
    let asked_for = |sheet: &Sheet| sheet_name.is_none_or(|name| sheet.is_named(name));
    if let Some(name) = sheet_name
        && !sheets.iter().any(asked_for)
    {
        let names: Vec<_> = sheets.iter().map(|sheet| format!("`{}`", Excerpt(&sheet.name))).collect();
        bail!("there is no sheet `{}`. The sheets are: {}", Excerpt(name), names.join(", "));
    }
    let mut candidates = Vec::new();
    let mut nearest: Option<(&Sheet, Header)> = None;
    for (index, sheet) in sheets.iter().enumerate().filter(|(_, sheet)| asked_for(sheet)) {
        let Some(header) = header(sheet, mappings, field_set) else { continue };
        if header.missing_fields(field_set).is_empty() {
            let cases = count_cases(sheet, &header);
            let current = !sheet.hidden && !is_over(&sheet.name);
            candidates.push((index, header, current, cases));
        } else if nearest.as_ref().is_none_or(|(_, best)| best.score < header.score) {
            nearest = Some((sheet, header));
        }
    }
    // Of equals, the first.
    let best =
        candidates.iter().rev().max_by_key(|&&(_, _, current, cases)| (cases > 0, current, cases)).map(|best| best.0);
    let is_current = |best| candidates.iter().any(|&(index, _, current, cases)| index == best && current && cases > 0);
    if !best.is_some_and(is_current) {
        // The cases may be in a sheet that could not be read.
        refuse_unread(sheets, sheet_name)?;
    }
    if let Some(best) = best {
        let mut passed_over = Vec::new();
        let mut found = None;
        for (index, header, _, cases) in candidates {
            if index == best {
                found =
                    Some(Layout { sheet: index, header: header.row, columns: header.columns, passed_over: Vec::new() });
            } else if cases > 0 {
                passed_over.push((sheets[index].name.clone(), cases));
            }
        }
        return found.map(|layout| Layout { passed_over, ..layout }).ok_or_else(|| anyhow!("no sheet was chosen"));
    }
    Err(not_found(sheets, nearest.as_ref().map(|(sheet, header)| (*sheet, header)), mappings, field_set))
}

/// Whether a sheet's name says that its cases are over, or an example.
fn is_over(name: &str) -> bool {
    const WORDS: [&str; 20] = [
        "leaver",
        "left",
        "archive",
        "old",
        "previous",
        "released",
        "release",
        "discharged",
        "transferred",
        "transfer",
        "historic",
        "history",
        "closed",
        "deallocated",
        "example",
        "template",
        "guidance",
        "lookup",
        "deleted",
        "inactive",
    ];
    let name = heading::normal(name);
    name.split(' ').any(|word| {
        WORDS
            .iter()
            .any(|over| word == *over || word.strip_suffix('s') == Some(over) || word.strip_suffix('d') == Some(over))
    })
}

/// A row tried as the header row.
#[derive(Debug, Clone)]
struct Header {
    row: usize,
    columns: BTreeMap<Field, usize>,
    score: u32,
}

impl Header {
    fn missing_fields(&self, field_set: FieldSet) -> Vec<Field> {
        field_set.needed.iter().copied().filter(|field| !self.columns.contains_key(field)).collect()
    }
}

/// The best header row of a sheet; `None` if no row names a field.
fn header(sheet: &Sheet, mappings: &[Mapping], field_set: FieldSet) -> Option<Header> {
    let mut best: Option<Header> = None;
    for row in 0..sheet.rows.len().min(HEADER_ROWS_MAX) {
        let columns = assign(sheet, row, mappings, field_set);
        let named = columns.iter().filter(|(_, assigned)| assigned.weight > 0).count();
        // A title is one cell, and may contain a telling word.
        if named == 0 || field_set.needed.len() > 1 && sheet.rows[row].filled().count() == 1 {
            continue;
        }
        // Only the headings count: two header rows of one table have nearly the same cells below
        // them.
        let worth = |field: &Field| if field_set.needed.contains(field) { 1_000 } else { 300 };
        let score = columns.iter().map(|(field, assigned)| worth(field) + assigned.weight).sum();
        if best.as_ref().is_none_or(|best| best.score < score) {
            let columns = columns.into_iter().map(|(field, assigned)| (field, assigned.column)).collect();
            best = Some(Header { row, columns, score });
        }
    }
    best
}

#[derive(Debug, Clone, Copy)]
struct AssignedColumn {
    column: usize,
    /// The weight of the heading; 0 if only the cells point to the field.
    weight: u32,
}

/// Gives each field the column that suits it best. A column has one field at most.
fn assign(sheet: &Sheet, row: usize, mappings: &[Mapping], field_set: FieldSet) -> BTreeMap<Field, AssignedColumn> {
    let headings = headings(sheet, row);
    let mut assigned = BTreeMap::new();
    for mapping in mappings {
        if let Some(column) = column_named(&headings, &mapping.column) {
            assigned.insert(mapping.field, AssignedColumn { column, weight: heading::CERTAIN });
        }
    }
    let mut claims = Vec::new();
    for (column, names) in headings.iter().enumerate() {
        if assigned.values().any(|taken: &AssignedColumn| taken.column == column) {
            continue;
        }
        for field in field_set.fields().filter(|field| !mappings.iter().any(|mapping| mapping.field == *field)) {
            let weight = names.iter().map(|name| weight(field, name, field_set)).max().unwrap_or(0);
            let share = share_fitting(sheet, row, column, field);
            let by_cells = field == Field::PrisonerNumber && share.is_some_and(|share| share >= UNNAMED_SHARE_MIN);
            let fits = share.is_none_or(|share| share >= FIT_SHARE_MIN);
            if weight == 0 && !by_cells || weight < heading::TRUSTED && !fits {
                continue;
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share, 0 to 1")]
            let content = (share.unwrap_or(0.0) * 40.0) as u32;
            // A trusted heading over unfit cells is still better than none.
            let score = if fits { weight + content } else { weight / 3 };
            claims.push((score, field, AssignedColumn { column, weight }));
        }
    }
    // The sort is stable: of equal claims the leftmost column wins.
    claims.sort_by_key(|(score, ..)| std::cmp::Reverse(*score));
    for (_, field, claim) in claims {
        if !assigned.contains_key(&field) && !assigned.values().any(|taken| taken.column == claim.column) {
            assigned.insert(field, claim);
        }
    }
    assigned
}

/// As [`heading::weight`]. In a list of contacts, which names no other person but the prisoner, a
/// bare `name` is the contact's.
fn weight(field: Field, name: &str, field_set: FieldSet) -> u32 {
    let contacts = field_set.fields().any(|field| field == Field::ContactType);
    if contacts && field == Field::PomName {
        return match heading::normal(name).as_str() {
            "contact name" | "contacts name" => heading::CERTAIN,
            "name" | "contact" => 50,
            _ => heading::weight(field, name),
        };
    }
    heading::weight(field, name)
}

/// The names of each column: its heading, and its heading after the one above it, which may span
/// several columns.
fn headings(sheet: &Sheet, row: usize) -> Vec<Vec<String>> {
    let own = &sheet.rows[row];
    let above = row
        .checked_sub(1)
        .map(|above| &sheet.rows[above])
        .filter(|above| above.number + 1 == own.number && above.filled().count() > 1);
    let mut spanning = String::new();
    (0..own.cells.len())
        .map(|column| {
            if let Some(Cell::Text(text)) = above.map(|above| above.cell(column)) {
                spanning.clone_from(text);
            }
            match own.cell(column) {
                // Whole sentences are guidance; numbers and dates are data.
                Cell::Text(text) if text.chars().count() <= 60 => {
                    let mut names = vec![text.clone()];
                    if !spanning.is_empty() {
                        names.push(format!("{spanning} {text}"));
                    }
                    names
                }
                _ => Vec::new(),
            }
        })
        .collect()
}

/// Finds the column that the user calls `name`: by its heading, else by its letter.
fn column_named(headings: &[Vec<String>], name: &str) -> Option<usize> {
    let normal_name = heading::normal(name);
    let by_heading =
        headings.iter().position(|names| names.iter().any(|heading| heading::normal(heading) == normal_name));
    by_heading.or_else(|| {
        let letters = name.len() <= 2 && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
        let column =
            letters.then(|| name.bytes().fold(0, |column, byte| column * 26 + usize::from(byte - b'A') + 1) - 1);
        column.filter(|&column| column < headings.len())
    })
}

/// The share of the filled cells below a heading that fit a field; `None` if all are empty.
fn share_fitting(sheet: &Sheet, row: usize, column: usize, field: Field) -> Option<f64> {
    let (mut filled, mut fitting) = (0u32, 0u32);
    for row in sheet.rows.iter().skip(row + 1).take(SAMPLE_ROWS_MAX) {
        let cell = row.cell(column);
        if *cell == Cell::Empty {
            continue;
        }
        filled += 1;
        let fits = match field {
            Field::PrisonerNumber => value::prisoner_number(cell).is_ok(),
            Field::Tier => value::tier(cell).is_ok(),
            Field::StaffId => value::staff_id(cell).is_ok(),
            Field::PomKind => value::pom_kind(cell).is_ok(),
            Field::AllocatedOn => value::date(&sheet.dated(cell)).is_ok(),
            Field::PomName | Field::PomForename | Field::ContactType => {
                matches!(cell, Cell::Text(text) if text.chars().any(char::is_alphabetic))
                    && value::prisoner_number(cell).is_err()
            }
            Field::Note => true,
        };
        fitting += u32::from(fits);
    }
    (filled > 0).then(|| f64::from(fitting) / f64::from(filled))
}

fn count_cases(sheet: &Sheet, header: &Header) -> usize {
    let Some(&column) = header.columns.get(&Field::PrisonerNumber) else { return 0 };
    sheet.rows.iter().skip(header.row + 1).filter(|row| value::prisoner_number(row.cell(column)).is_ok()).count()
}

/// The error that lists the missing columns and those that the file has.
fn not_found(
    sheets: &[Sheet],
    nearest: Option<(&Sheet, &Header)>,
    mappings: &[Mapping],
    field_set: FieldSet,
) -> anyhow::Error {
    let fields = |fields: &[Field]| {
        fields.iter().map(|field| format!("{field} ({})", field.name())).collect::<Vec<_>>().join(", ")
    };
    let Some((sheet, header)) = nearest else {
        let seen =
            sheets.iter().filter_map(widest).map(|(sheet, row)| column_list(sheet, row)).collect::<Vec<_>>().join("; ");
        return anyhow!(
            "no row was found that heads the columns {}. Columns seen: {}. Say what they are with --map, e.g. --map \"Ref no=prisonerNumber\"",
            fields(field_set.needed),
            if seen.is_empty() { "none".to_owned() } else { seen }
        );
    };
    let headings = headings(sheet, header.row);
    for mapping in mappings {
        if column_named(&headings, &mapping.column).is_none() {
            return anyhow!(
                "--map names the column `{}`, which is not there. Columns seen: {}",
                Excerpt(&mapping.column),
                column_list(sheet, header.row)
            );
        }
    }
    anyhow!(
        "no column was found for: {}. Columns seen: {}. Say which they are with --map, e.g. --map \"Ref no={}\"",
        fields(&header.missing_fields(field_set)),
        column_list(sheet, header.row),
        header.missing_fields(field_set).first().map_or("prisonerNumber", |field| field.name())
    )
}

fn column_list(sheet: &Sheet, row: usize) -> String {
    let row = &sheet.rows[row];
    let shown = row.filled().take(COLUMNS_SHOWN_MAX);
    let mut headings: Vec<_> = shown.map(|cell| format!("`{}`", Excerpt(&cell.to_string()))).collect();
    let others = row.filled().count() - headings.len();
    if others > 0 {
        headings.push(format!("{others} more"));
    }
    format!("{} (sheet `{}`, row {})", headings.join(", "), Excerpt(&sheet.name), row.number)
}

/// The first row near the top with most filled cells, for a sheet in which no row names a field.
fn widest(sheet: &Sheet) -> Option<(&Sheet, usize)> {
    let width = |row: &usize| sheet.rows[*row].filled().count();
    let row = (0..sheet.rows.len().min(HEADER_ROWS_MAX)).rev().max_by_key(width)?;
    Some((sheet, row))
}

/// Checks that every `--map` found its column.
///
/// # Errors
/// A `--map` found none. The message lists the columns.
pub fn check_mappings(sheet: &Sheet, layout: &Layout, mappings: &[Mapping]) -> anyhow::Result<()> {
    let headings = headings(sheet, layout.header);
    for mapping in mappings {
        ensure!(
            column_named(&headings, &mapping.column).is_some(),
            "--map names the column `{}`, which is not there. Columns seen: {}",
            Excerpt(&mapping.column),
            column_list(sheet, layout.header)
        );
    }
    Ok(())
}

/// The kind of a row below the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// A case, valid or not.
    Data,
    /// A blank row.
    Blank,
    /// A row of totals.
    Total,
    /// The header again, a heading within the table, or a note below it.
    Note,
}

/// Tells the kind of a row below the header.
#[must_use]
pub fn row_kind(sheet: &Sheet, layout: &Layout, row: &Row) -> RowKind {
    let Some(first) = row.filled().next() else { return RowKind::Blank };
    let cell = |field: Field| layout.columns.get(&field).map_or(&Cell::Empty, |&column| row.cell(column));
    let number = cell(Field::PrisonerNumber);
    if value::prisoner_number(number).is_ok() {
        return RowKind::Data;
    }
    let label = heading::normal(&first.to_string());
    let mut words = label.split(' ');
    if matches!(words.next(), Some("total" | "totals" | "subtotal" | "subtotals" | "count" | "sum"))
        || label.starts_with("grand total")
        || label.starts_with("sub total")
        || label.starts_with("no of ")
    {
        return RowKind::Total;
    }
    let header = &sheet.rows[layout.header];
    let repeated = layout.columns.values().filter(|&&column| {
        *row.cell(column) != Cell::Empty
            && heading::normal(&row.cell(column).to_string()) == heading::normal(&header.cell(column).to_string())
    });
    if repeated.count() > layout.columns.len() / 2 {
        return RowKind::Note;
    }
    // A row without any value of a case, such as `B wing` or `Last updated by OMU | 1 December
    // 2019`.
    let about_a_case = [Field::Tier, Field::StaffId, Field::PomKind, Field::AllocatedOn]
        .into_iter()
        .filter(|&field| *cell(field) != Cell::Empty)
        .count();
    let like_a_number = match number {
        Cell::Text(text) => {
            text.len() <= 10
                && !text.contains(' ')
                && text.bytes().any(|byte| byte.is_ascii_digit())
                && text.starts_with(|letter: char| letter.is_alphabetic())
        }
        _ => false,
    };
    if row.filled().count() <= 2 && about_a_case <= 1 && !like_a_number { RowKind::Note } else { RowKind::Data }
}
