//! The report of an import: JSON lines, one for each row of data, or tables for people.
//!
//! Only the JSON lines go to standard output, so that a program can read them; the summary, for
//! people, goes to standard error then.

use std::{collections::BTreeMap, io::Write};

use anyhow::Context as _;
use chrono::NaiveDate;
use comfy_table::{ContentArrangement, Table, presets};
use domain::{
    identifier::{PrisonCode, PrisonerNumber, StaffId},
    officer::PomKind,
    text::Visible,
    tier::Tier,
};
use serde::Serialize;
use spreadsheets::{
    plan::{ImportPlan, PlannedRow, Verdict},
    row,
};

/// One row of data in the report. Every member is always there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RowLine<'a> {
    sheet: &'a str,
    row: u32,
    data_row: u32,
    outcome: &'static str,
    prisoner_number: Option<&'a PrisonerNumber>,
    tier: Option<Tier>,
    staff_id: Option<StaffId>,
    pom_name: Option<&'a str>,
    pom_kind: Option<PomKind>,
    allocated_on: Option<NaiveDate>,
    code: Option<&'a str>,
    column: Option<&'a str>,
    value: Option<&'a str>,
    reason: Option<&'a str>,
    warnings: &'a [String],
}

/// The parts of a report.
#[derive(Debug)]
pub struct ImportReport<'a> {
    /// The prison.
    pub prison: &'a PrisonCode,
    /// The rows of the sheet.
    pub table: &'a row::CaseTable,
    /// Other sheets that look like cases: name and number of cases.
    pub sheets_passed_over: &'a [(String, usize)],
    /// The remarks on the reading of the sheet, in sentences.
    pub remarks: &'a [String],
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
    pub fn write_json(&self, out: &mut impl Write) -> anyhow::Result<()> {
        for planned in &self.plan.rows {
            serde_json::to_writer(&mut *out, &self.line(planned)).context("write the report")?;
            out.write_all(b"\n").context("write the report")?;
        }
        out.flush().context("write the report")
    }

    /// Writes tables of what was recorded and of what was refused.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_tables(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let recorded = self.recorded_by_pom();
        if recorded.row_count() > 0 {
            writeln!(out, "{}\n", Visible(&recorded.to_string())).context("write the report")?;
        }
        let refused = self.refused_rows_table();
        if refused.row_count() > 0 {
            writeln!(out, "{}\n", Visible(&refused.to_string())).context("write the report")?;
        }
        let warned = self.warnings_table();
        if warned.row_count() > 0 {
            writeln!(out, "{}\n", Visible(&warned.to_string())).context("write the report")?;
        }
        out.flush().context("write the report")
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
        lines.push(format!(
            "Sheet `{}`: {} of data: {} {}, {} refused{}.",
            self.table.sheet,
            count_of(self.plan.rows.len(), "row"),
            count(|verdict| matches!(verdict, Verdict::Record(_))),
            if self.dry_run { "would be recorded" } else { "recorded" },
            count(|verdict| matches!(verdict, Verdict::Refused(_))),
            if already > 0 { format!(", {already} already recorded before") } else { String::new() },
        ));
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
        lines.extend_from_slice(self.remarks);
        for (name, cases) in self.sheets_passed_over {
            lines.push(note_unread_sheet(name, *cases, "case"));
        }
        if self.dry_run {
            lines.push("Dry run: nothing was recorded.".to_owned());
        }
        lines.join("\n")
    }

    fn line<'a>(&'a self, planned: &'a PlannedRow) -> RowLine<'a> {
        let case = planned.row.case.as_ref().ok();
        let problem = match &planned.verdict {
            Verdict::Refused(problem) => Some(problem),
            Verdict::Record(_) | Verdict::AlreadyRecorded => None,
        };
        RowLine {
            sheet: &self.table.sheet,
            row: planned.row.number,
            data_row: planned.row.data_row,
            outcome: match &planned.verdict {
                Verdict::Record(_) if self.dry_run => "would-record",
                Verdict::Record(_) => "recorded",
                Verdict::AlreadyRecorded => "already-recorded",
                Verdict::Refused(_) => "refused",
            },
            prisoner_number: planned.row.prisoner_number.as_ref(),
            tier: case.map(|case| case.tier),
            staff_id: case.map(|case| case.staff_id),
            pom_name: case.and_then(|case| case.pom_name.as_deref()),
            pom_kind: planned.pom_kind,
            allocated_on: case.map(|case| case.allocated_on),
            code: problem.map(|problem| problem.code.as_str()),
            column: problem.and_then(|problem| problem.column.as_deref()),
            value: problem.and_then(|problem| problem.value.as_deref()),
            reason: problem.map(|problem| problem.reason.as_str()),
            warnings: &planned.warnings,
        }
    }

    fn recorded_by_pom(&self) -> Table {
        #[derive(Default)]
        struct Caseload<'a> {
            name: &'a str,
            kind: Option<PomKind>,
            cases: usize,
            by_tier: BTreeMap<char, usize>,
        }
        let mut caseloads = BTreeMap::<StaffId, Caseload<'_>>::new();
        for planned in self.plan.rows.iter().filter(|planned| matches!(planned.verdict, Verdict::Record(_))) {
            let Ok(case) = &planned.row.case else { continue };
            let caseload = caseloads.entry(case.staff_id).or_default();
            caseload.name = case.pom_name.as_deref().unwrap_or(caseload.name);
            caseload.kind = planned.pom_kind;
            caseload.cases += 1;
            *caseload.by_tier.entry(case.tier.letter()).or_default() += 1;
        }
        let mut table =
            table(&["POM", "Staff id", "Kind", if self.dry_run { "Would record" } else { "Recorded" }, "By tier"]);
        for (staff_id, caseload) in caseloads {
            let kind = match caseload.kind {
                Some(PomKind::Prison) => "prison",
                Some(PomKind::Probation) => "probation",
                None => "",
            };
            let tiers: Vec<_> = caseload.by_tier.iter().map(|(tier, count)| format!("{tier} {count}")).collect();
            table.add_row([caseload.name, &staff_id.to_string(), kind, &caseload.cases.to_string(), &tiers.join(", ")]);
        }
        table
    }

    fn refused_rows_table(&self) -> Table {
        let mut table = table(&["Row", "Prisoner", "Column", "Value", "Refused because"]);
        for planned in &self.plan.rows {
            if let Verdict::Refused(problem) = &planned.verdict {
                let number = planned.row.prisoner_number.as_ref().map_or("", PrisonerNumber::as_str);
                let column = problem.column.as_deref().unwrap_or_default();
                let value = problem.value.as_deref().unwrap_or_default();
                table.add_row([&planned.row.number.to_string(), number, column, value, &problem.reason]);
            }
        }
        table
    }

    fn warnings_table(&self) -> Table {
        let mut table = table(&["Row", "Prisoner", "To be looked at"]);
        for planned in &self.plan.rows {
            let number = planned.row.prisoner_number.as_ref().map_or("", PrisonerNumber::as_str);
            for warning in &planned.warnings {
                table.add_row([&planned.row.number.to_string(), number, warning]);
            }
        }
        table
    }
}

/// An empty table in the style of all reports.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.to_vec());
    table
}

/// The note on a sheet that holds cases or contacts and was not read.
pub fn note_unread_sheet(name: &str, count: usize, what: &str) -> String {
    format!("The sheet `{name}` has {} too and was not read: --sheet \"{name}\" reads it.", count_of(count, what))
}

/// `1 row`, `2 rows`.
pub fn count_of(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
