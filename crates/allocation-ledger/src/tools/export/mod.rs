//! `projections export`, and `export` for short: a view, all views or the log as files.

mod destination;
mod synced_file;

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::Instant,
};

use access_log::Shown;
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use domain::identifier::PrisonCode;
use event_log::{KnownAt, SharedLog};
use http_api::instant::{DateOrInstant, parse_known_at};
use indicatif::ProgressBar;
use projector::export::{
    ExportError, ExportFormat, ExportSelection, ExportSummary, OpenOutput, export_log, export_views, export_views_as_of,
};
use serde_json::json;
use sqlx::PgPool;

use self::destination::{Destination, DirectoryLayout, FileMode};
use super::{projections::status::and_aside, read_recording::record_read};
use crate::{
    export_subject::ExportSubject,
    interrupt::{interruption, unless_interrupted},
    known_position::position_of,
    progress::WorkProgress,
    shared_settings::{self, identifier},
    stores::{LogStore, Stores},
};

/// The settings of `export`.
#[derive(Debug, Args)]
pub struct ExportSettings {
    /// The name of a view; `case_now`, the cases as they are at --on; `establishment`, the names of
    /// prisons; `all`, every view and these names, a file each; or `log`
    #[arg(value_name = "VIEW|all|log")]
    what: ExportSubject,
    /// csv, jsonl or parquet. Default: as the output's name ends; csv to standard output, parquet
    /// for `all` and with --partition
    #[arg(long)]
    format: Option<ExportFormat>,
    /// The file to write, which is replaced only once it is complete; for `all` and with
    /// --partition, the directory
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// As it was known then: built for the export up to there, or, of the log, what it held then
    #[arg(long, value_name = "POSITION|INSTANT|DATE", value_parser = parse_known_at)]
    as_of: Option<KnownAt>,
    /// Of a view of periods: only the rows that hold then. Of `case_now`: as the cases are then
    #[arg(long, value_name = "INSTANT|DATE")]
    on: Option<DateOrInstant>,
    /// Of views: only the rows of this prison
    #[arg(long, value_name = "PRISON", value_parser = identifier::<PrisonCode>)]
    prison: Option<PrisonCode>,
    /// Of the log: a file for each UTC month of recording, `month=2026-03/events.parquet` in the
    /// directory --output
    #[arg(long, value_enum)]
    partition: Option<Partition>,
    /// Who may read and write the new files, besides you: as `chmod` takes it. A file or directory
    /// that is replaced keeps its mode
    #[arg(long, value_name = "MODE", default_value_t)]
    mode: FileMode,
    /// Say what was exported as a JSON object: on standard output, or on standard error where the
    /// export goes there
    #[arg(long)]
    json: bool,
    /// Where the ledger is kept.
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
}

/// The name of the tool in the access log.
const TOOL: &str = "export";

/// How an export is parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Partition {
    /// By the UTC month in which events were recorded.
    Month,
}

/// Exports.
///
/// # Errors
/// The export is refused or fails; the output is then as it was.
pub async fn run(settings: &ExportSettings) -> anyhow::Result<()> {
    let started = Instant::now();
    let selection = settings.what.selection(settings.on.map(DateOrInstant::instant), settings.prison.clone())?;
    let layout = layout(settings)?;
    let format = format(settings, layout)?;
    let exported = match &selection {
        None => {
            LogStore::with_existing(&settings.stores.log, async |store| {
                let access_log = store.access_log(&settings.stores)?;
                export_on_record(access_log.as_ref(), settings, layout, format, &store.log, None).await
            })
            .await?
        }
        Some(selection) => {
            Stores::with_existing(&settings.stores, async |stores| {
                let views = Some((&stores.views, selection));
                let exported =
                    export_on_record(Some(&stores.views), settings, layout, format, &stores.log, views).await;
                if settings.as_of.is_none() || matches!(exported, Ok(Some(_))) {
                    return exported;
                }
                let dropped = projector::drop_unfinished(&stores.views).await;
                let dropped = dropped.context("drop the views that were built for the export");
                // The error of the export comes first: dropping may fail for the same cause.
                exported.and_then(|exported| dropped.map(|()| exported))
            })
            .await?
        }
    };
    match exported {
        Some(Some(exported)) => {
            tell(settings, format, exported, started.elapsed().as_secs_f64());
            Ok(())
        }
        Some(None) => Ok(()),
        None if is_stdout(&settings.output) => Err(interruption("what was written so far is not the whole export")),
        None => Err(interruption(&format!("nothing was written to {}", settings.output.display()))),
    }
}

/// Exports unless interrupted. The access log has an entry before anything is shown, and another
/// one once it is known which position the export is of.
async fn export_on_record(
    access_log: Option<&PgPool>,
    settings: &ExportSettings,
    layout: Option<DirectoryLayout>,
    format: ExportFormat,
    log: &SharedLog,
    views: Option<(&PgPool, &ExportSelection)>,
) -> anyhow::Result<Option<Option<ExportSummary>>> {
    let shown = |to| Shown::events(describe(settings), 0, to);
    record_read(access_log, TOOL, shown(None)).await;
    let exported = unless_interrupted(export(settings, layout, format, log, views)).await;
    if let Ok(Some(Some(ExportSummary { position, .. }))) = exported {
        record_read(access_log, TOOL, shown(Some(position))).await;
    }
    exported
}

/// The export in words, for the access log.
fn describe(settings: &ExportSettings) -> String {
    let mut text = settings.what.describe(settings.prison.as_ref(), settings.on.map(DateOrInstant::instant));
    text.extend(settings.as_of.map(|point| format!(" as of {}", describe_point(point))));
    text
}

fn describe_point(point: KnownAt) -> String {
    match point {
        KnownAt::Position(position) => format!("position {position}"),
        KnownAt::Instant(instant) => instant.to_rfc3339(),
    }
}

/// The layout of the directory to write, where the export is several files.
fn layout(settings: &ExportSettings) -> anyhow::Result<Option<DirectoryLayout>> {
    let (layout, why) = match (settings.what, settings.partition) {
        (ExportSubject::Log, Some(_)) => (DirectoryLayout::Months, "by month"),
        (subject, Some(_)) => {
            bail!("only the log is exported by month: leave out --partition to export {}", subject.name())
        }
        (ExportSubject::All, None) => (DirectoryLayout::Tables, "of all views"),
        (_, None) => return Ok(None),
    };
    if is_stdout(&settings.output) {
        bail!("an export {why} is several files: name the directory for them with --output");
    }
    Ok(Some(layout))
}

/// The format asked for; else the one that the output's name ends in.
fn format(settings: &ExportSettings, layout: Option<DirectoryLayout>) -> anyhow::Result<ExportFormat> {
    let format = match settings.format {
        Some(format) => format,
        None if layout.is_some() => ExportFormat::Parquet,
        None if is_stdout(&settings.output) => ExportFormat::Csv,
        None => {
            let ending = settings.output.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            ending.parse().with_context(|| {
                format!("the name {} does not say in which format: give --format", settings.output.display())
            })?
        }
    };
    if format == ExportFormat::Parquet && is_stdout(&settings.output) && io::stdout().is_terminal() {
        bail!("Parquet is nothing for a terminal: name a file with --output, or send it to a program");
    }
    Ok(format)
}

fn is_stdout(output: &Path) -> bool {
    output == Path::new("-")
}

/// Exports. Answers `None` where the reader went away.
async fn export(
    settings: &ExportSettings,
    layout: Option<DirectoryLayout>,
    format: ExportFormat,
    log: &SharedLog,
    views: Option<(&PgPool, &ExportSelection)>,
) -> anyhow::Result<Option<ExportSummary>> {
    let output = match layout {
        _ if is_stdout(&settings.output) => Destination::stdout(),
        Some(layout) => Destination::directory(&settings.output, layout, format, settings.mode)?,
        None => Destination::file(&settings.output, settings.mode)?,
    };
    // While a view is read a snapshot is open, which keeps a rebuilt view from replacing it.
    let output = if settings.what == ExportSubject::Log { output } else { output.with_spool()? };
    let bar = ProgressBar::no_length();
    let written = write(settings, format, log, views, output.opener(), &bar).await;
    bar.finish_and_clear();
    let completed = match written {
        Ok(exported) => output.complete().await.map(|()| exported),
        Err(error) => Err(error),
    };
    match completed {
        Ok(exported) => Ok(Some(exported)),
        // The reader has read enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => Ok(None),
        Err(error) => Err(error.context(format!("export {} to {}", settings.what.name(), name(&settings.output)))),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of_output = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref().is_some_and(ExportError::is_broken_pipe) || error.downcast_ref().is_some_and(of_output)
}

async fn write(
    settings: &ExportSettings,
    format: ExportFormat,
    log: &SharedLog,
    views: Option<(&PgPool, &ExportSelection)>,
    open: impl OpenOutput,
    bar: &ProgressBar,
) -> anyhow::Result<ExportSummary> {
    let as_of = match settings.as_of {
        Some(point) => Some(position_of(log, point).await?),
        None => None,
    };
    let exported = match views {
        Some((views, selection)) => {
            let show = |progress| WorkProgress::from(progress).show(bar);
            match as_of {
                None => export_views(views, selection, format, open, show).await?,
                Some(position) => export_views_as_of(log, views, position, selection, format, open, show).await?,
            }
        }
        None => {
            let to = match as_of {
                Some(position) => position,
                None => log.head().await?,
            };
            export_log(log, to, settings.partition.is_some(), format, open, |position| {
                WorkProgress::of_log_export(position, to).show(bar)
            })
            .await?
        }
    };
    Ok(exported)
}

/// Tells what was exported.
fn tell(settings: &ExportSettings, format: ExportFormat, exported: ExportSummary, seconds: f64) {
    let ExportSummary { rows, position, streams_aside } = exported;
    let (what, to) = (settings.what.name(), name(&settings.output));
    if settings.json {
        let summary = json!({
            "what": what, "format": format.ending(), "output": to, "rows": rows, "position": position,
            "streamsAside": streams_aside, "seconds": seconds,
        });
        if is_stdout(&settings.output) { eprintln!("{summary}") } else { println!("{summary}") }
    } else {
        let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        let what = if settings.what == ExportSubject::All { "all views" } else { what };
        let aside = and_aside(streams_aside);
        eprintln!("{rows} of {what} as of position {position} to {to}, in {seconds:.1} s{aside}");
    }
}

fn name(output: &Path) -> String {
    if is_stdout(output) { "standard output".to_owned() } else { output.display().to_string() }
}
