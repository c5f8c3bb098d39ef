//! `import spreadsheet`: a prison's own list of allocations goes into the ledger, row by row, each
//! recorded or refused with its reason.
//!
//! Exit status: 0 when every row was dealt with, refused ones included, since the report is the
//! answer; 1 when the file could not be read or the import could not go on; 2 for wrong usage.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use command::{Service, ServiceSettings};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    london,
    moment::Date,
    officer::PomKind,
    prison::Estate,
    text::Visible,
};
use event_log::SharedLog;
use indicatif::{ProgressBar, ProgressStyle};
use spreadsheets::{
    heading::Field,
    layout::{self, Layout, Mapping, reading},
    plan::{HeldHistories, ImportPlan, ImportTerms, Verdict, plan},
    reader::{self, Sheet},
    refused::{RefusedRow, refused_csv},
    remarks::remarks,
    row::{CaseTable, DataRow, FIELDS, TableTerms, table},
    staff::StaffDirectory,
    value::{PomKindWords, pom_kind_word},
};
use uuid::Uuid;

use super::{
    CORRELATION_NAMESPACE,
    compare::{CompareSettings, Comparison, Progress},
    compare_report::ComparisonReport,
    first_prison, prison_code,
    record::{ImportRecorder, load, load_prison},
    report::{ImportReport, note_unread_sheet},
    source::ImportSource,
};
use crate::{shared_settings, stores::LogStore};

/// The settings of `import spreadsheet`.
#[derive(Debug, Args)]
pub struct SpreadsheetSettings {
    /// The prison's spreadsheet: .xlsx, .ods or .csv
    file: PathBuf,
    /// The prison whose cases these are, e.g. LEI
    #[arg(long, value_parser = prison_code)]
    prison: PrisonCode,
    /// The sheet to read. Default: the one with most cases
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// The field that a column holds, where its heading does not tell: its heading or letter, and
    /// one of prisonerNumber, tier, staffId, pomName, pomForename, pomKind, allocatedOn, leftOn,
    /// arrivedOn, note. May be given several times
    #[arg(long = "map", value_name = "COLUMN=FIELD", value_parser = mapping)]
    mappings: Vec<Mapping>,
    /// The kind of POM that a word of the sheet means: the word, and PRISON or PROBATION, e.g.
    /// "B4=PRISON". May be given several times
    #[arg(long = "pom-kind", value_name = "WORD=KIND", value_parser = pom_kind_word)]
    pom_kinds: Vec<(String, PomKind)>,
    /// Write the refused rows to a CSV file, each with its reason, to be corrected and imported
    #[arg(long, value_name = "FILE.csv")]
    refused: Option<PathBuf>,
    /// Show what would be recorded, and record nothing
    #[arg(long)]
    dry_run: bool,
    /// The prison's estate, where the prison has not joined OMiC yet
    #[arg(long, value_enum, ignore_case = true, default_value_t = EstateName::MensClosed)]
    estate: EstateName,
    /// The prison's go-live date, where the prison has not joined OMiC yet. Without it, a terminal
    /// asks whether the earliest date in the file is right
    #[arg(long, value_name = "DATE")]
    go_live: Option<Date>,
    /// The prison is one that the program's list of prisons lacks
    #[arg(long)]
    unlisted_prison: bool,
    #[command(flatten)]
    comparison: CompareSettings,
    /// Report as JSON lines, one for each row of data
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
    #[command(flatten)]
    commands: shared_settings::CommandSettings,
    #[command(flatten)]
    recorder: shared_settings::RecorderSettings,
}

/// An estate as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EstateName {
    /// Men's closed estate.
    #[value(name = "MENS_CLOSED", alias = "mens-closed")]
    MensClosed,
    /// Men's open estate.
    #[value(name = "MENS_OPEN", alias = "mens-open")]
    MensOpen,
    /// Women's estate.
    #[value(name = "WOMENS")]
    Womens,
}

impl From<EstateName> for Estate {
    fn from(name: EstateName) -> Self {
        match name {
            EstateName::MensClosed => Self::MensClosed,
            EstateName::MensOpen => Self::MensOpen,
            EstateName::Womens => Self::Womens,
        }
    }
}

/// Reads a `--map` for a spreadsheet of allocations.
fn mapping(text: &str) -> anyhow::Result<Mapping> {
    layout::mapping(text, FIELDS)
}

/// The terms with the go-live date of a prison that joins OMiC by this import.
fn settle_go_live(terms: ImportTerms, rows: &[DataRow], held: HeldHistories) -> anyhow::Result<ImportTerms> {
    first_prison::check_go_live(&held.prison, terms.go_live)?;
    if terms.go_live.is_some() {
        return Ok(terms);
    }
    let go_live = match plan(rows.to_vec(), held, &terms).joined {
        Some(joined) => Some(first_prison::confirm_go_live(&terms.prison, joined.go_live_date)?),
        None => None,
    };
    Ok(ImportTerms { go_live, ..terms })
}

/// Imports the file and reports.
///
/// # Errors
/// The file cannot be read as a list of cases, or the ledger cannot be reached.
pub async fn run(settings: &SpreadsheetSettings) -> anyhow::Result<()> {
    let commands = settings.commands.command_settings();
    let now = commands.clock.now();
    // Before the stores are opened: a wrong file is told at once.
    if let Some(path) = &settings.refused {
        check_other_file(path, &settings.file)?;
    }
    let pom_kinds: PomKindWords = settings.pom_kinds.iter().cloned().collect();
    let file = reader::read(&settings.file)?;
    let today = london::date(now);
    let layout = layout::find(&file.sheets, settings.sheet.as_deref(), &settings.mappings, FIELDS, &pom_kinds, today)
        .with_context(|| format!("find the cases in {}", settings.file.display()))?;
    let sheet = &file.sheets[layout.sheet];
    layout::check_mappings(sheet, &layout, &settings.mappings)?;
    let staff = if layout.columns.contains_key(&Field::StaffId) {
        StaffDirectory::default()
    } else {
        find_staff(settings, &file.sheets, &layout, &pom_kinds).await?
    };
    let table = table(sheet, &layout, TableTerms { today, pom_kinds: &pom_kinds, staff: &staff });
    ensure_staff_ids(settings, sheet, &layout, &table)?;
    let mut reading = reading(sheet, &layout, FIELDS);
    reading.notes.extend(staff.source().map(str::to_owned));
    reading.notes.extend(table.notes());

    first_prison::check_listed(&settings.stores, &settings.prison, settings.unlisted_prison).await?;
    let source = ImportSource::of_new_run(&settings.file, &file.bytes, &sheet.name);
    let terms = ImportTerms {
        prison: settings.prison.clone(),
        estate: settings.estate.into(),
        go_live: settings.go_live.map(Into::into),
        unlisted_prison: settings.unlisted_prison,
        changes_on: settings.comparison.changes_on(),
        recommendation_policy: commands.recommendation_policy,
        now,
        recorded_by: settings.recorder.recorded_by(super::CLIENT),
    };
    // Before anything is recorded: a file that cannot be written is told at once.
    let refused_file = settings.refused.as_deref().map(RefusedFile::create).transpose()?;
    let remarks = remarks(&file.sheets, &layout);
    if settings.comparison.is_comparison() {
        let (report, closing) = compare(settings, &table, terms, commands, &file.bytes, &source).await?;
        let mut notes = remarks;
        notes.extend(layout.passed_over.iter().map(|sheet| note_unread_sheet(sheet, "case")));
        if let Some(refused_file) = refused_file {
            notes.push(refused_file.write(&refused_csv(sheet, &layout, &table, &report.refused_rows()))?);
        }
        notes.extend(closing);
        return report.write(settings.json, &reading, &notes);
    }
    let numbers = numbers(&table);
    let plan = if settings.dry_run {
        let held = match LogStore::open_existing(&settings.stores).await? {
            Some(store) => store.close_after(async |store| load(&store.log, &terms.prison, &numbers).await).await?,
            None => HeldHistories::of_empty_ledger(&terms.prison),
        };
        first_prison::check_go_live(&held.prison, terms.go_live)?;
        plan(table.rows.clone(), held, &terms)
    } else {
        LogStore::with(&settings.stores, async |store| {
            let terms = settle_go_live(terms, &table.rows, load(&store.log, &settings.prison, &numbers).await?)?;
            let _turn = store.take_import_turn(&terms.prison).await?;
            let service = Service::new(store.log.clone(), commands);
            let recorder = recorder(&service, &terms, &file.bytes, &source);
            // Drawn on standard error, and only where that is a terminal.
            let progress = ProgressBar::new(0).with_style(
                ProgressStyle::with_template("{wide_bar} {pos}/{len} cases {eta}").context("draw the progress bar")?,
            );
            let plan = async || Ok(plan(table.rows.clone(), load(&store.log, &terms.prison, &numbers).await?, &terms));
            let recorded = recorder.record(plan, &progress).await;
            progress.finish_and_clear();
            recorded
        })
        .await?
    };

    let report = ImportReport {
        prison: &settings.prison,
        table: &table,
        reading: &reading,
        sheets_passed_over: &layout.passed_over,
        remarks: &remarks,
        plan: &plan,
        dry_run: settings.dry_run,
    };
    let mut summary = vec![report.summary()];
    if let Some(refused_file) = refused_file {
        summary.push(refused_file.write(&refused_csv(sheet, &layout, &table, &refused_rows(&plan)))?);
    }
    summary.extend(closing_remarks(settings, &plan, source.run()));
    let summary = summary.join("\n");
    let mut out = io::BufWriter::new(io::stdout().lock());
    if settings.json {
        report.write_json(&mut out)?;
        eprintln!("{}\n{}", Visible(&report.describe_reading()), Visible(&summary));
    } else {
        report.write_tables(&mut out)?;
        drop(out);
        println!("{}", Visible(&summary));
    }
    Ok(())
}

/// The file for the refused rows.
struct RefusedFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> RefusedFile<'a> {
    fn create(path: &'a Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("create {} for the refused rows", path.display()))?;
        Ok(Self { path, file })
    }

    /// Writes the rows, and answers the sentence about them.
    fn write(mut self, csv: &str) -> anyhow::Result<String> {
        self.file.write_all(csv.as_bytes()).with_context(|| format!("write to {}", self.path.display()))?;
        Ok(format!("The refused rows are in {}, to be corrected and imported.", self.path.display()))
    }
}

/// Refuses to write the refused rows over the file that is imported.
fn check_other_file(refused: &Path, file: &Path) -> anyhow::Result<()> {
    let place = |path: &Path| path.canonicalize().ok();
    ensure!(
        place(refused).is_none() || place(refused) != place(file),
        "--refused names {}, which is the file to import: name another file",
        refused.display()
    );
    Ok(())
}

/// The staff ids by name, for a sheet without a column of them: from another sheet of the file, and
/// from the prison's roster.
async fn find_staff(
    settings: &SpreadsheetSettings,
    sheets: &[Sheet],
    layout: &Layout,
    pom_kinds: &PomKindWords,
) -> anyhow::Result<StaffDirectory> {
    let mut staff = StaffDirectory::of_sheets(sheets, layout.sheet, pom_kinds);
    if let Some(store) = LogStore::open_existing(&settings.stores).await? {
        let prison = store.close_after(async |store| load_prison(&store.log, &settings.prison).await).await?;
        staff.add_roster(prison.roster());
    }
    Ok(staff)
}

/// Refuses a sheet without a column of staff ids in which no POM was found by name.
fn ensure_staff_ids(
    settings: &SpreadsheetSettings,
    sheet: &Sheet,
    layout: &Layout,
    table: &CaseTable,
) -> anyhow::Result<()> {
    let has_ids = layout.columns.contains_key(&Field::StaffId);
    let lacks_id = |code: &str| code == Field::StaffId.code();
    let are_missing = table.rows.iter().any(|row| row.case.as_ref().is_err_and(|problem| lacks_id(&problem.code)));
    if !has_ids && are_missing && !table.rows.iter().any(|row| row.allocated().is_some()) {
        return Err(layout::no_staff_ids(sheet, layout, FIELDS))
            .with_context(|| format!("find the POMs in {}", settings.file.display()));
    }
    Ok(())
}

fn refused_rows(plan: &ImportPlan) -> Vec<RefusedRow<'_>> {
    plan.rows
        .iter()
        .filter_map(|planned| match &planned.verdict {
            Verdict::Refused(problem) => Some(RefusedRow { number: planned.row.number, reason: &problem.reason }),
            Verdict::Record(_) | Verdict::AlreadyRecorded => None,
        })
        .collect()
}

/// The numbers of the cases in the rows that can be read.
fn numbers(table: &CaseTable) -> Vec<PrisonerNumber> {
    table.rows.iter().filter_map(|row| Some(row.case.as_ref().ok()?.prisoner_number().clone())).collect()
}

fn recorder<'s>(service: &'s Service, terms: &ImportTerms, bytes: &[u8], source: &ImportSource) -> ImportRecorder<'s> {
    ImportRecorder {
        service,
        recorded_by: terms.recorded_by.clone(),
        correlation_id: Uuid::new_v5(&CORRELATION_NAMESPACE, bytes),
        source: source.clone(),
    }
}

/// The sentences after the summary: POMs who are active again, the go-live date, and the run.
fn closing_remarks(settings: &SpreadsheetSettings, plan: &ImportPlan, run: Uuid) -> Vec<String> {
    let mut remarks = Vec::new();
    for pom in &plan.reactivated {
        let is = if settings.dry_run { "would be" } else { "is" };
        remarks.push(format!("{} (staff id {}) {is} active again, after an undone import.", pom.name, pom.staff_id));
    }
    if let (true, Some(joined), None) = (settings.dry_run, &plan.joined, settings.go_live) {
        remarks.push(format!(
            "The go-live date {} is the earliest in the sheet. The import asks whether it is right: say it with --go-live \
             DATE.",
            joined.go_live_date
        ));
    }
    let has_recorded = plan.rows.iter().any(|row| matches!(row.verdict, Verdict::Record(_)));
    if !settings.dry_run && has_recorded {
        remarks.push(format!("Run {run}: `allocation-ledger import undo {run}` takes it back."));
    }
    remarks
}

/// Compares the sheet with the ledger, and records the differences where that is asked for.
async fn compare(
    settings: &SpreadsheetSettings,
    table: &CaseTable,
    terms: ImportTerms,
    commands: ServiceSettings,
    bytes: &[u8],
    source: &ImportSource,
) -> anyhow::Result<(ComparisonReport, Vec<String>)> {
    let comparison = &settings.comparison;
    if settings.dry_run || terms.changes_on.is_none() {
        let compare = async |log: Option<&SharedLog>| {
            let compared = Comparison::read(log, comparison, table, &terms).await?;
            if terms.changes_on.is_none() {
                return Ok((compared.report(None), Vec::new()));
            }
            compared.check_departures()?;
            let plan = compared.plan();
            let mut report = compared.report(Some((&plan, Progress::Planned)));
            compared.record_departures(None, &mut report).await?;
            Ok((report, closing_remarks(settings, &plan, source.run())))
        };
        return match LogStore::open_existing(&settings.stores).await? {
            Some(store) => store.close_after(async |store| compare(Some(&store.log)).await).await,
            None => compare(None).await,
        };
    }
    LogStore::with_existing(&settings.stores, async |store| {
        let numbers = numbers(table);
        let terms = settle_go_live(terms, &table.rows, load(&store.log, &settings.prison, &numbers).await?)?;
        let _turn = store.take_import_turn(&terms.prison).await?;
        let compared = Comparison::read(Some(&store.log), comparison, table, &terms).await?;
        compared.check_departures()?;
        let service = Service::new(store.log.clone(), commands);
        let recorder = recorder(&service, &terms, bytes, source);
        let plan = async || Ok(plan(table.rows.clone(), load(&store.log, &terms.prison, &numbers).await?, &terms));
        let plan = recorder.record(plan, &ProgressBar::hidden()).await?;
        let mut report = compared.report(Some((&plan, Progress::Recorded)));
        compared.record_departures(Some(&recorder), &mut report).await?;
        let mut remarks = closing_remarks(settings, &plan, source.run());
        if remarks.is_empty() && report.has_departure() {
            let run = source.run();
            remarks.push(format!("Run {run}: `allocation-ledger import undo {run}` takes it back."));
        }
        Ok((report, remarks))
    })
    .await
}
