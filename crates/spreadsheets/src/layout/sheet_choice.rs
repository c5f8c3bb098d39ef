//! The choice of the sheet that is read, among those that have all columns.

use anyhow::{anyhow, bail};
use chrono::NaiveDate;
use domain::text::Excerpt;

use super::{
    FieldSet, Layout, Mapping, UnreadSheet,
    columns::{ColumnSearch, Header, header},
    not_found, read_columns,
};
use crate::{
    date_columns::DateColumns,
    heading::{self, Field},
    leaving::LeavingColumns,
    reader::{Row, Sheet, refuse_unread},
    value::{self, PomKindWords},
};

/// Finds the cases in a file. `pom_kinds` are the user's words for kinds of POM; `today` tells the
/// dates of leaving that have come from those to come.
///
/// # Errors
/// There is no sheet of that name, or no row has the headings that are needed. The message lists
/// the columns.
pub fn find(
    sheets: &[Sheet],
    sheet_name: Option<&str>,
    mappings: &[Mapping],
    field_set: FieldSet,
    pom_kinds: &PomKindWords,
    today: NaiveDate,
) -> anyhow::Result<Layout> {
    let search = ColumnSearch { mappings, field_set, pom_kinds };
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
        let Some(header) = header(sheet, search) else { continue };
        if header.missing_fields(field_set).is_empty() {
            let cases = count_cases(sheet, &header);
            candidates.push(Candidate {
                index,
                is_over: is_over(&sheet.name) || is_left(sheet, &header, today),
                header,
                cases,
            });
        } else if nearest.as_ref().is_none_or(|(_, best)| best.score < header.score) {
            nearest = Some((sheet, header));
        }
    }
    let rank = |candidate: &&Candidate| {
        let is_current = !sheets[candidate.index].hidden && !candidate.is_over;
        let has_ids = candidate.header.columns.contains_key(&Field::StaffId);
        (candidate.cases > 0, is_current, has_ids, candidate.cases)
    };
    // Of equals, the first.
    let best = candidates.iter().rev().max_by_key(rank);
    if !best.is_some_and(|best| best.cases > 0 && !sheets[best.index].hidden && !best.is_over) {
        // The cases may be in a sheet that could not be read.
        refuse_unread(sheets, sheet_name)?;
    }
    let Some(best) = best.map(|best| best.index) else {
        return Err(not_found::not_found(sheets, nearest.as_ref().map(|(sheet, header)| (*sheet, header)), search));
    };
    let (best, others): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|candidate| candidate.index == best);
    let unread = |other: Candidate| UnreadSheet {
        name: sheets[other.index].name.clone(),
        cases: other.cases,
        is_over: other.is_over,
    };
    let passed_over = others.into_iter().filter(|other| other.cases > 0).map(unread).collect();
    best.into_iter()
        .next()
        .map(|Candidate { index, header, .. }| Layout {
            sheet: index,
            header: header.row,
            columns: header.columns,
            counters: header.counters,
            more_leaving: header.more_leaving,
            passed_over,
        })
        .ok_or_else(|| anyhow!("no sheet was chosen"))
}

/// A sheet that has all columns.
struct Candidate {
    index: usize,
    header: Header,
    cases: usize,
    is_over: bool,
}

/// Whether a sheet's name says that its cases are over, or an example.
#[must_use]
pub fn is_over(name: &str) -> bool {
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

fn count_cases(sheet: &Sheet, header: &Header) -> usize {
    case_rows(sheet, header).count()
}

/// Whether nearly all cases of a sheet have left, as their rows would be refused for.
fn is_left(sheet: &Sheet, header: &Header, today: NaiveDate) -> bool {
    let columns = read_columns(&header.columns, &header.more_leaving);
    let dates = DateColumns::of_rows(sheet, columns, case_rows(sheet, header));
    let prison = header.columns.get(&Field::TransferredTo).copied();
    let leaving = LeavingColumns { sheet, dates: &dates, prison, today };
    let has_left = |row: &&Row| matches!(leaving.read(&sheet.data_row(row)), Ok(Some(_)));
    let left = case_rows(sheet, header).filter(has_left).count();
    left > 0 && left * 10 >= count_cases(sheet, header) * 8
}

fn case_rows<'a>(sheet: &'a Sheet, header: &Header) -> impl Iterator<Item = &'a Row> + Clone {
    let column = header.columns.get(&Field::PrisonerNumber).copied();
    let is_case = move |row: &&Row| column.is_some_and(|column| value::prisoner_number(row.cell(column)).is_ok());
    sheet.rows.iter().skip(header.row + 1).filter(is_case)
}
