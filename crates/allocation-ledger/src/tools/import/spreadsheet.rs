//! `import spreadsheet`: a prison's own list of allocations goes into the ledger, row by row, each
//! recorded or refused with its reason.
//!
//! Exit status: 0 when every row was dealt with, refused ones included, since the report is the
//! answer; 1 when the file could not be read or the import could not go on; 2 for wrong usage.

use std::{io::Write as _, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use command::Service;
use domain::{
    Confinement,
    identifier::PrisonCode,
    london,
    moment::Date,
    officer::PomKind,
    prison::{self, Estate},
    text::Visible,
};
use import::{
    record::load_prison,
    sheet::{CaseSheet, FoundCases, SheetChoices, refused_rows},
    sheet_import::SheetImport,
    source::ImportSource,
};
use spreadsheets::{
    layout::{self, Mapping},
    plan::{ImportPlan, ImportTerms},
    reader,
    row::FIELDS,
    value::pom_kind_word,
};

use super::{
    compare::{CompareSettings, compare},
    local_import::{LocalImport, ShownProgress, tell_wait},
    refused_file::RefusedFile,
    report::ImportReport,
};
use crate::{
    shared_settings::{self, identifier},
    stdout,
    stores::LogStore,
};

/// The settings of `import spreadsheet`.
#[derive(Debug, Args)]
pub struct SpreadsheetSettings {
    /// The prison's spreadsheet: .xlsx, .xlsb, .xls, .ods or .csv
    file: PathBuf,
    /// The prison whose cases these are, e.g. LEI
    #[arg(long, value_parser = identifier::<PrisonCode>)]
    prison: PrisonCode,
    /// The sheet to read. Default: the one with most cases
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// The field that a column holds, where its heading does not tell: its heading or letter, and
    /// one of prisonerNumber, tier, staffId, pomName, pomForename, pomKind, allocatedOn, leftOn,
    /// releasedOn, transferredOn, transferredTo, arrivedOn, note. May be given several times
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

/// Imports the file and reports.
///
/// # Errors
/// The file cannot be read as a list of cases, or the ledger cannot be reached.
pub async fn run(settings: &SpreadsheetSettings) -> anyhow::Result<()> {
    let commands = settings.commands.command_settings();
    let now = commands.clock.now();
    let today = london::date(now);
    settings.comparison.check_days(today)?;
    // Before the log is opened: a wrong file is told at once.
    let open = |path| RefusedFile::open(path, &settings.file);
    let refused_file = settings.refused.as_deref().map(open).transpose()?;
    let choices = SheetChoices {
        sheet: settings.sheet.clone(),
        mappings: settings.mappings.clone(),
        pom_kinds: settings.pom_kinds.iter().cloned().collect(),
    };
    let shown = settings.file.display().to_string();
    let found = FoundCases::find(reader::read(&settings.file)?, &shown, choices, today)?;
    let prison = if found.needs_roster() { load_existing_prison(settings).await? } else { None };
    let read = found.read(&shown, prison.as_ref().map(prison::History::roster))?;
    let CaseSheet { sheet, table, reading, .. } = &read;
    let file_name = settings.file.file_name().unwrap_or_default().to_string_lossy();

    let import = LocalImport {
        stores: &settings.stores,
        sheet: SheetImport {
            table,
            terms: ImportTerms {
                prison: settings.prison.clone(),
                estate: settings.estate.into(),
                go_live: settings.go_live.map(Into::into),
                unlisted_prison: settings.unlisted_prison,
                changes_on: settings.comparison.changes_on(),
                recommendation_policy: commands.recommendation_policy,
                now,
                recorded_by: settings.recorder.recorded_by(super::CLIENT),
            },
            commands,
            source: ImportSource::of_new_run(&file_name, sheet)?,
            confinement: Confinement::default(),
        },
        dry_run: settings.dry_run,
    };
    import.check_listed().await?;
    if settings.comparison.is_comparison() {
        let (report, remarks) = compare(&settings.comparison, import).await?;
        // The report says all that was recorded, whatever becomes of the file.
        let to_file = |file: RefusedFile<'_>| file.write(&read.refused_csv(&report.refused_rows()));
        let file = refused_file.map(to_file);
        let closing: Vec<String> = file.iter().flatten().cloned().chain(remarks).collect();
        report.write(settings.json, reading, &closing)?;
        return check_refused_file(file);
    }
    let plan = if import.dry_run { import.plan_dry().await? } else { record(import.clone()).await? };

    let report = ImportReport { prison: &settings.prison, table, reading, plan: &plan, dry_run: settings.dry_run };
    let mut summary = vec![report.summary()];
    let to_file = |file: RefusedFile<'_>| file.write(&read.refused_csv(&refused_rows(&plan)));
    let file = refused_file.map(to_file);
    summary.extend(file.iter().flatten().cloned());
    summary.extend(import.closing_remarks(&plan));
    let summary = summary.join("\n");
    let mut out = stdout::lock();
    let written = if settings.json {
        let written = report.write_json(&mut out);
        eprintln!("{}\n{}", Visible(&report.describe_reading()), Visible(&summary));
        written
    } else {
        let written = report.write_tables(&mut out);
        written.and_then(|()| writeln!(out, "{}", Visible(&summary))).and_then(|()| out.flush())
    };
    stdout::ignore_broken_pipe(written)?;
    check_refused_file(file)
}

/// The error of the file of refused rows, where there is one: once the report is out, as what it
/// says is done.
fn check_refused_file(written: Option<anyhow::Result<String>>) -> anyhow::Result<()> {
    written.transpose().map(drop).context(
        "the report above holds, and what it says was recorded is recorded; the refused rows were not written, so run \
         the same command again with another --refused",
    )
}

/// Records the rows, and answers the plan as it went.
async fn record(import: LocalImport<'_>) -> anyhow::Result<ImportPlan> {
    LogStore::with(&import.stores.log, async |store| {
        let held = import.sheet.load(&store.log).await?;
        import.record_read(store, &import.sheet.table.case_numbers()).await?;
        let LocalImport { sheet, .. } = import.with_go_live(held)?;
        let _turn = store.import_turns().take(&sheet.terms.prison, tell_wait).await?;
        let service = Service::new(store.log.clone(), sheet.commands.clone());
        let progress = super::progress_bar("recording", 0);
        let shown = ShownProgress(&progress);
        let recorded = sheet.record(&store.log, None, &sheet.recorder(&service, &shown)).await;
        progress.finish_and_clear();
        recorded
    })
    .await
}

/// The prison as the ledger has it; `None` where there is no ledger yet.
async fn load_existing_prison(settings: &SpreadsheetSettings) -> anyhow::Result<Option<prison::History>> {
    let Some(store) = LogStore::open_existing(&settings.stores.log).await? else { return Ok(None) };
    store.close_after(async |store| load_prison(&store.log, &settings.prison).await.map(Some)).await
}
