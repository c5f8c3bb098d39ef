//! The report of an import: JSON lines, one for each row of data, or tables for people.
//!
//! A report begins with the field of each column, which is the first thing to check.
//!
//! Only the JSON lines go to standard output, so that a program can read them; the reading and the
//! summary, for people, go to standard error then.

use std::{
    collections::HashMap,
    io::{self, Write},
};

use comfy_table::Table;
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    officer::PomKind,
    text::Visible,
};
use import::row_line::{PlannedCaseload, RowLine, RowOutcome, count_waiting, planned_caseloads};
use serde::Serialize;
use spreadsheets::{
    heading::Field,
    layout::SheetReading,
    plan::{ImportPlan, PlannedRow, Verdict},
    remarks::count_of,
    row,
    value::DateColumn,
};

use crate::stdout::table;

/// The last sentence of a dry run.
pub const NOTHING_RECORDED: &str = "Dry run: nothing was recorded.";

/// The reason of several people who have left, on several days.
const ALL_LEFT: &str = "has left; only current cases are recorded";

/// One row of data in the report. Every member is always there.
#[derive(Debug, Serialize)]
struct SheetReportLine<'a> {
    #[serde(flatten)]
    row: RowLine<'a>,
    /// The field of each column; in the first line alone, since it is the same for all.
    reading: Option<&'a SheetReading>,
}

/// The parts of a report.
#[derive(Debug)]
pub struct ImportReport<'a> {
    /// The prison.
    pub prison: &'a PrisonCode,
    /// The rows of the sheet.
    pub table: &'a row::CaseTable,
    /// The field of each column, and remarks on the reading.
    pub reading: &'a SheetReading,
    /// The rows and what became of them, or would.
    pub plan: &'a ImportPlan,
    /// Whether nothing was recorded on purpose.
    pub dry_run: bool,
}

impl ImportReport<'_> {
    /// Writes one JSON line for each row of data.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        for (index, planned) in self.plan.rows.iter().enumerate() {
            let reading = (index == 0).then_some(self.reading);
            let if_due = if self.dry_run { RowOutcome::WouldRecord } else { RowOutcome::Recorded };
            let line = SheetReportLine { row: RowLine::new(&self.table.sheet, planned, if_due), reading };
            serde_json::to_writer(&mut *out, &line)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// The field of each column, in lines.
    #[must_use]
    pub fn describe_reading(&self) -> String {
        self.reading.to_string()
    }

    /// Writes the field of each column, and tables of what was recorded and of what was refused.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_tables(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", Visible(&self.describe_reading()))?;
        let recorded = self.recorded_by_pom();
        if recorded.row_count() > 0 {
            writeln!(out, "{}\n", Visible(&recorded.to_string()))?;
        }
        let refused = self.refused_rows_table();
        if refused.row_count() > 0 {
            writeln!(out, "{}\n", Visible(&refused.to_string()))?;
        }
        let warned = self.warnings_table();
        if warned.row_count() > 0 {
            writeln!(out, "{}\n", Visible(&warned.to_string()))?;
        }
        out.flush()
    }

    /// The summary, a sentence a line.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut lines = Vec::new();
        let would = if self.dry_run { "would be " } else { "" };
        if let Some(joined) = &self.plan.joined {
            lines.push(format!("{} {would}taken onto OMiC, go-live date {}.", self.prison, joined.go_live_date));
        }
        if !self.plan.registered.is_empty() {
            lines.push(format!(
                "{} new on the roster{}.",
                count_of(self.plan.registered.len(), "POM"),
                if self.dry_run { " (not recorded: dry run)" } else { "" }
            ));
        }
        let count = |wanted: fn(&Verdict) -> bool| self.plan.rows.iter().filter(|row| wanted(&row.verdict)).count();
        let already = count(|verdict| *verdict == Verdict::AlreadyRecorded);
        let waiting = count_waiting(self.plan);
        lines.push(format!(
            "Sheet `{}`: {} of data: {} {}, {} refused{}.",
            self.table.sheet,
            count_of(self.plan.rows.len(), "row"),
            count(|verdict| matches!(verdict, Verdict::Record(_))),
            if self.dry_run { "would be recorded" } else { "recorded" },
            count(|verdict| matches!(verdict, Verdict::Refused(_))),
            if already > 0 { format!(", {already} already recorded before") } else { String::new() },
        ));
        if waiting > 0 {
            let verb = if self.dry_run { "would wait" } else { "wait" };
            lines.push(format!("Of those recorded, {waiting} have no POM, and {verb} to be allocated."));
        }
        if self.table.dates.of(Field::AllocatedOn).is_some_and(DateColumn::is_month_first) {
            let read = self.plan.rows.iter().filter(|row| row.row.allocated().is_some()).count();
            lines.push(format!(
                "{} of allocation {} read month first: look at each.",
                count_of(read, "date"),
                were(read)
            ));
        }
        lines.push(format!(
            "Passed over: {}, {} of totals, {} of headings or notes{}.",
            count_of(self.table.blank_rows as usize, "blank row"),
            count_of(self.table.total_rows as usize, "row"),
            count_of(self.table.note_rows.len(), "row"),
            match self.table.note_rows.as_slice() {
                [] => String::new(),
                rows => format!(" ({})", rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            }
        ));
        lines.extend_from_slice(&self.reading.remarks);
        if self.dry_run {
            lines.push(NOTHING_RECORDED.to_owned());
        }
        lines.join("\n")
    }

    fn recorded_by_pom(&self) -> Table {
        let mut table =
            table(&["POM", "Staff id", "Kind", if self.dry_run { "Would record" } else { "Recorded" }, "By tier"]);
        for PlannedCaseload { staff_id, name, kind, cases, by_tier } in planned_caseloads(self.plan) {
            let kind = match kind {
                Some(PomKind::Prison) => "prison",
                Some(PomKind::Probation) => "probation",
                None => "",
            };
            let tiers: Vec<_> = by_tier.iter().map(|(tier, count)| format!("{tier} {count}")).collect();
            table.add_row([name, &staff_id.to_string(), kind, &cases.to_string(), &tiers.join(", ")]);
        }
        table
    }

    /// The refused rows. A reason that several rows have is said once.
    fn refused_rows_table(&self) -> Table {
        let mut groups = RowGroups::default();
        for planned in &self.plan.rows {
            if let Verdict::Refused(problem) = &planned.verdict {
                let column = problem.column.as_deref().unwrap_or_default();
                let value = problem.value.as_deref().unwrap_or_default();
                // The dates on which they left differ, and are in the column of values.
                let (reason, own) = match problem.code.as_str() {
                    row::HAS_LEFT => (ALL_LEFT, problem.reason.as_str()),
                    _ => (problem.reason.as_str(), problem.reason.as_str()),
                };
                groups.add((column, reason), RowInGroup::new(planned, value, own));
            }
        }
        let mut table = table(&["Row", "Prisoner", "Column", "Value", "Refused because"]);
        for ((column, reason), group) in groups.groups {
            table.add_row([
                &group.rows(),
                &group.prisoner(),
                column,
                group.value(),
                group.own_reason().unwrap_or(reason),
            ]);
        }
        table
    }

    /// The doubts that a person should look at. A doubt about several rows is said once.
    fn warnings_table(&self) -> Table {
        let mut groups = RowGroups::default();
        for planned in &self.plan.rows {
            for warning in &planned.warnings {
                groups.add(("", warning.as_str()), RowInGroup::new(planned, "", warning));
            }
        }
        let mut table = table(&["Row", "Prisoner", "To be looked at"]);
        for ((_, warning), group) in groups.groups {
            table.add_row([group.rows().as_str(), &group.prisoner(), warning]);
        }
        table
    }
}

/// Rows that have the same text, in the order of their first rows.
#[derive(Default)]
struct RowGroups<'a> {
    groups: Vec<(RowsText<'a>, RowGroup<'a>)>,
    places: HashMap<RowsText<'a>, usize>,
}

/// The column and the sentence that rows share.
type RowsText<'a> = (&'a str, &'a str);

impl<'a> RowGroups<'a> {
    fn add(&mut self, text: RowsText<'a>, row: RowInGroup<'a>) {
        let place = *self.places.entry(text).or_insert(self.groups.len());
        match self.groups.get_mut(place) {
            Some((_, group)) => group.0.push(row),
            None => self.groups.push((text, RowGroup(vec![row]))),
        }
    }
}

/// The rows with one text.
struct RowGroup<'a>(Vec<RowInGroup<'a>>);

/// A row of a group, with the text that it has on its own.
struct RowInGroup<'a> {
    row: u32,
    prisoner_number: &'a str,
    value: &'a str,
    reason: &'a str,
}

impl<'a> RowInGroup<'a> {
    fn new(planned: &'a PlannedRow, value: &'a str, reason: &'a str) -> Self {
        let prisoner_number = planned.row.prisoner_number.as_ref().map_or("", PrisonerNumber::as_str);
        Self { row: planned.row.number, prisoner_number, value, reason }
    }
}

impl<'a> RowGroup<'a> {
    fn rows(&self) -> String {
        let list = list_rows(self.0.iter().map(|row| row.row));
        if self.0.len() == 1 { list } else { format!("{} rows: {list}", self.0.len()) }
    }

    fn prisoner(&self) -> String {
        match self.0.as_slice() {
            [row] => row.prisoner_number.to_owned(),
            several => format!("{} cases", several.len()),
        }
    }

    /// The value that all rows have.
    fn value(&self) -> &'a str {
        let first = self.0.first().map_or("", |row| row.value);
        if self.0.iter().all(|row| row.value == first) { first } else { "…" }
    }

    /// The text of a row that is alone.
    fn own_reason(&self) -> Option<&'a str> {
        match self.0.as_slice() {
            [row] => Some(row.reason),
            _ => None,
        }
    }
}

/// Row numbers in ascending order, those in a row as a range: `2-4, 9`.
fn list_rows(rows: impl Iterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for row in rows {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == row => *last = row,
            _ => ranges.push((row, row)),
        }
    }
    let shown = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn were(count: usize) -> &'static str {
    if count == 1 { "was" } else { "were" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_numbers_are_listed_as_ranges() {
        let list = |rows: &[u32]| list_rows(rows.iter().copied());
        assert_eq!(list(&[2]), "2");
        assert_eq!(list(&[2, 3, 4, 9, 11, 12]), "2-4, 9, 11-12");
    }
}
