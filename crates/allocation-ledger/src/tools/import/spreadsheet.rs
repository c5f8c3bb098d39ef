//! `import spreadsheet`: a prison's own list of allocations goes into the ledger, row by row, each
//! recorded or refused with its reason.
//!
//! Exit status: 0 when every row was dealt with, refused ones included, since the report is the
//! answer; 1 when the file could not be read or the import could not go on; 2 for wrong usage.

use std::{io, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use command::Service;
use domain::{event::RecordedBy, identifier::PrisonCode, london, moment::Date, prison::Estate, text::Visible};
use indicatif::{ProgressBar, ProgressStyle};
use spreadsheets::{
    layout::{self, Mapping},
    plan::{HeldHistories, ImportTerms, plan},
    reader,
    remarks::remarks,
    row::{FIELDS, table},
};
use uuid::Uuid;

use super::{
    CORRELATION_NAMESPACE, prison_code,
    record::{ImportRecorder, load},
    report::ImportReport,
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
    /// one of prisonerNumber, tier, staffId, pomName, pomForename, pomKind, allocatedOn, note. May
    /// be given several times
    #[arg(long = "map", value_name = "COLUMN=FIELD", value_parser = mapping)]
    mappings: Vec<Mapping>,
    /// Show what would be recorded, and record nothing
    #[arg(long)]
    dry_run: bool,
    /// The prison's estate, where the prison has not joined OMiC yet
    #[arg(long, value_enum, ignore_case = true, default_value_t = EstateName::MensClosed)]
    estate: EstateName,
    /// The prison's go-live date, where the prison has not joined OMiC yet. Default: the earliest
    /// date in the file
    #[arg(long, value_name = "DATE")]
    go_live: Option<Date>,
    /// Report as JSON lines, one for each row of data
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
    #[command(flatten)]
    commands: shared_settings::CommandSettings,
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
    let commands = settings.commands.command_settings()?;
    let now = commands.clock.now();
    // Before the stores are opened: a wrong file is told at once.
    let file = reader::read(&settings.file)?;
    let layout = layout::find(&file.sheets, settings.sheet.as_deref(), &settings.mappings, FIELDS)
        .with_context(|| format!("find the cases in {}", settings.file.display()))?;
    let sheet = &file.sheets[layout.sheet];
    layout::check_mappings(sheet, &layout, &settings.mappings)?;
    let table = table(sheet, &layout, london::date(now));

    let terms = ImportTerms {
        prison: settings.prison.clone(),
        estate: settings.estate.into(),
        go_live: settings.go_live.map(Into::into),
        recommendation_policy: commands.recommendation_policy,
        now,
        recorded_by: RecordedBy { username: commands.local_user.clone(), client: super::CLIENT.to_owned() },
    };
    let numbers: Vec<_> =
        table.rows.iter().filter_map(|row| row.case.as_ref().ok()).map(|case| case.prisoner_number.clone()).collect();
    let planned = |held: HeldHistories| plan(table.rows.clone(), held, &terms);
    let plan = if settings.dry_run {
        planned(match LogStore::open_existing(&settings.stores).await? {
            Some(store) => store.close_after(async |store| load(&store.log, &terms.prison, &numbers).await).await?,
            None => HeldHistories::of_empty_ledger(&terms.prison),
        })
    } else {
        LogStore::with(&settings.stores, async |store| {
            let _turn = store.take_import_turn(&terms.prison).await?;
            let service = Service::new(store.log.clone(), commands);
            let recorder = ImportRecorder {
                service: &service,
                recorded_by: terms.recorded_by.clone(),
                correlation_id: Uuid::new_v5(&CORRELATION_NAMESPACE, &file.bytes),
            };
            // Drawn on standard error, and only where that is a terminal.
            let progress = ProgressBar::new(0).with_style(
                ProgressStyle::with_template("{wide_bar} {pos}/{len} cases {eta}").context("draw the progress bar")?,
            );
            let plan = async || Ok(planned(load(&store.log, &terms.prison, &numbers).await?));
            let recorded = recorder.record(plan, &progress).await;
            progress.finish_and_clear();
            recorded
        })
        .await?
    };

    let report = ImportReport {
        prison: &settings.prison,
        table: &table,
        sheets_passed_over: &layout.passed_over,
        remarks: &remarks(&file.sheets, &layout),
        plan: &plan,
        dry_run: settings.dry_run,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    if settings.json {
        report.write_json(&mut out)?;
        eprintln!("{}", Visible(&report.summary()));
    } else {
        report.write_tables(&mut out)?;
        drop(out);
        println!("{}", Visible(&report.summary()));
    }
    Ok(())
}
