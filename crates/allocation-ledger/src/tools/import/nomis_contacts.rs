//! POM contacts that prisons put into NOMIS before they joined OMiC, and that have to be removed
//! there when they do.
//!
//! `import nomis-contacts` takes in a list of contacts seen in NOMIS. With `--complete` it is the
//! whole list of the prison, so a contact known before and absent now is gone from NOMIS; a file
//! with contacts in other sheets, too, is refused. `nomis-contacts` lists the contacts that must
//! still be removed at prisons that have joined, from the log itself, so it is never behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use access_log::Shown;
use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Utc};
use clap::Args;
use command::{Clock, CommandError, ContactNumbers, Service};
use domain::{
    identifier::{PrisonCode, PrisonerNumber},
    london,
    nomis_contacts::{self, Contact},
    prison,
    text::Visible,
};
use event_log::SharedLog;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use import::{
    record::{CASES_AT_ONCE, ImportRecorder, explain_interruption, load_contacts, load_prison},
    source::ImportSource,
};
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use spreadsheets::{
    contacts::{ContactLine, ContactRow, FIELDS, PlannedContact, check_whole_list, contacts, plan},
    heading::Field,
    layout::{self, Layout, SheetReading, reading},
    reader,
    remarks::{count_of, note_unread_sheet, remarks},
    value::PomKindWords,
};

use super::{
    first_prison,
    local_import::{ShownProgress, tell_wait},
    report::NOTHING_RECORDED,
};
use crate::{
    shared_settings::{self, identifier},
    stdout::{self, table},
    stores::LogStore,
    tools::read_recording::record_read,
};

/// Prisons read side by side.
const PRISONS_AT_ONCE: usize = 32;

/// The settings of `import nomis-contacts`.
#[derive(Debug, Args)]
pub struct NomisContactsSettings {
    /// The contacts: a .csv, .xlsx, .xlsb, .xls or .ods with prisoner number, staff id or name or
    /// both, and contact type
    file: PathBuf,
    /// The prison that the contacts are of, e.g. LEI
    #[arg(long, value_parser = identifier::<PrisonCode>)]
    prison: PrisonCode,
    /// The prison is one that the program's list of prisons lacks
    #[arg(long)]
    unlisted_prison: bool,
    /// The sheet to read. Default: the one with most contacts
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// The sheet is the whole list of the prison: contacts known before and absent now are
    /// confirmed removed
    #[arg(long)]
    complete: bool,
    /// A complete list without contacts is meant so: the prison has none in NOMIS any more
    #[arg(long, requires = "complete")]
    none: bool,
    /// Show what would be recorded, and record nothing
    #[arg(long)]
    dry_run: bool,
    /// Report as JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
    #[command(flatten)]
    commands: shared_settings::CommandSettings,
    #[command(flatten)]
    recorder: shared_settings::RecorderSettings,
}

/// The settings of `nomis-contacts`.
#[derive(Debug, Args)]
pub struct ListSettings {
    /// List this prison only, e.g. LEI
    #[arg(long, value_parser = identifier::<PrisonCode>)]
    prison: Option<PrisonCode>,
    /// Write JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
}

/// Imports the file and reports.
///
/// # Errors
/// The file cannot be read as a list of contacts, or the ledger cannot be reached.
pub async fn run(settings: &NomisContactsSettings) -> anyhow::Result<()> {
    let commands = settings.commands.command_settings();
    let now = commands.clock.now();
    let shown = settings.file.display();
    let ContactsFile { file, layout } = ContactsFile::read(&settings.file, settings.sheet.as_deref(), now)?;
    let sheet = &file.sheets[layout.sheet];
    if settings.complete {
        check_whole_list(&file.sheets, &layout, settings.sheet.as_deref())
            .with_context(|| format!("take {shown} for the whole list"))?;
    }
    let rows = contacts(sheet, &layout, &settings.prison);
    // An empty list is more often a filter or a failed export than a prison without contacts.
    ensure!(
        !settings.complete || settings.none || !rows.is_empty(),
        "{shown} lists no contacts, so --complete would confirm that every contact known before is gone. If there are \
         none in NOMIS any more, say so with --none"
    );
    ensure!(
        !settings.none || rows.is_empty(),
        "--none says that there are no contacts in NOMIS any more, but {shown} lists {}",
        count_of(rows.len(), "contact")
    );
    let is_known = async |log: &SharedLog| {
        Ok(!load_prison(log, &settings.prison).await?.is_empty()
            || ContactNumbers::read(log).await?.prisons().any(|known| *known == settings.prison))
    };
    first_prison::check_listed(&settings.stores.log, &settings.prison, settings.unlisted_prison, is_known).await?;

    let file_name = settings.file.file_name().unwrap_or_default().to_string_lossy();
    let source = ImportSource::of_new_run(&file_name, sheet)?;
    let planned =
        |histories: &[nomis_contacts::History]| plan(rows.clone(), &settings.prison, histories, settings.complete, now);
    let load = async |log: &SharedLog| {
        load_contacts(log, &persons_to_load(log, &settings.prison, &rows, settings.complete).await?).await
    };
    // The lines say what the ledger knows of the contacts, and of those that the file lacks.
    let record_read = async |store: &LogStore, planned: &[PlannedContact]| {
        let numbers = planned.iter().filter_map(|planned| planned.line.prisoner_number.as_ref());
        let access_log = store.access_log(&settings.stores)?;
        record_read(access_log.as_ref(), "import nomis-contacts", Shown::prisoners(numbers)).await;
        anyhow::Ok(())
    };
    let lines = if settings.dry_run {
        let planned = match LogStore::open_existing(&settings.stores.log).await? {
            Some(store) => {
                let read = async |store: &LogStore| {
                    let planned = planned(&load(&store.log).await?);
                    record_read(store, &planned).await?;
                    Ok(planned)
                };
                store.close_after(read).await?
            }
            None => planned(&[]),
        };
        planned.into_iter().map(|planned| planned.line).collect()
    } else {
        LogStore::with(&settings.stores.log, async |store| {
            let _turn = store.import_turns().take(&settings.prison, tell_wait).await?;
            let planned = planned(&load(&store.log).await?);
            record_read(store, &planned).await?;
            let recorded_by = settings.recorder.recorded_by(super::CLIENT);
            let service = Service::new(store.log.clone(), commands);
            let bar = ProgressBar::hidden();
            record(&ImportRecorder::new(&service, recorded_by, source, &ShownProgress(&bar)), planned).await
        })
        .await?
    };
    let mut reading = reading(sheet, &layout, FIELDS);
    reading.remarks = remarks(&file.sheets, &layout);
    reading.remarks.extend(layout.passed_over.iter().map(|sheet| note_unread_sheet(sheet, "contact")));
    report(settings, &reading, &lines)
}

/// A list of contacts in a file.
struct ContactsFile {
    file: reader::File,
    layout: Layout,
}

impl ContactsFile {
    fn read(path: &Path, sheet_name: Option<&str>, now: DateTime<Utc>) -> anyhow::Result<Self> {
        let (file, shown) = (reader::read(path)?, path.display());
        let layout = layout::find(&file.sheets, sheet_name, &[], FIELDS, &PomKindWords::default(), london::date(now))
            .with_context(|| format!("find the contacts in {shown}"))?;
        ensure!(
            [Field::StaffId, Field::PomName].iter().any(|field| layout.columns.contains_key(field)),
            "{shown} has no column that says whose contact it is: head one `staff id` or `name`"
        );
        Ok(Self { file, layout })
    }
}

/// Reads a file that is the whole list of the contacts that NOMIS has at a prison.
///
/// # Errors
/// It is none, or a row of it cannot be read.
pub(in crate::tools) fn read_whole_list(
    path: &Path,
    prison: &PrisonCode,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<ContactRow>> {
    let shown = path.display();
    let ContactsFile { file, layout } = ContactsFile::read(path, None, now)?;
    check_whole_list(&file.sheets, &layout, None).with_context(|| format!("take {shown} for the whole list"))?;
    let rows = contacts(&file.sheets[layout.sheet], &layout, prison);
    if let Some((row, Err(refused))) = rows.iter().find(|(_, contact)| contact.is_err()) {
        bail!("{shown}, row {row}: {}", refused.reason.as_deref().unwrap_or_default());
    }
    Ok(rows)
}

/// How a whole list of the contacts at a prison differs from what the ledger has, as
/// `import nomis-contacts --complete` would record it.
///
/// # Errors
/// The log cannot be read.
pub(in crate::tools) async fn compare_whole_list(
    log: &SharedLog,
    prison: &PrisonCode,
    rows: Vec<ContactRow>,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<ContactLine>> {
    let histories = load_contacts(log, &persons_to_load(log, prison, &rows, true).await?).await?;
    Ok(plan(rows, prison, &histories, true, now).into_iter().map(|planned| planned.line).collect())
}

/// The persons whose contacts are looked at. A contact that a whole list lacks is found by the
/// index of the policies, and never by the views.
async fn persons_to_load(
    log: &SharedLog,
    prison: &PrisonCode,
    rows: &[ContactRow],
    is_whole_list: bool,
) -> anyhow::Result<BTreeSet<PrisonerNumber>> {
    let mut numbers: BTreeSet<PrisonerNumber> =
        rows.iter().filter_map(|(_, row)| Some(row.as_ref().ok()?.number.clone())).collect();
    if is_whole_list {
        numbers.extend(ContactNumbers::read(log).await.context("read the log")?.persons_at(prison));
    }
    Ok(numbers)
}

/// Lists the contacts that are still in NOMIS, by prison that has joined OMiC.
///
/// # Errors
/// There is no ledger, or it cannot be reached.
pub async fn list(settings: &ListSettings) -> anyhow::Result<()> {
    let now = Clock::system().now();
    let prisons = LogStore::with_existing(&settings.stores.log, async |store| {
        let numbers = ContactNumbers::read(&store.log).await.context("read the log")?;
        let prisons = match &settings.prison {
            Some(code) => vec![load_at_prison(&store.log, code, &numbers).await?],
            None => {
                stream::iter(numbers.prisons())
                    .map(|code| load_at_prison(&store.log, code, &numbers))
                    .buffered(PRISONS_AT_ONCE)
                    .try_collect()
                    .await?
            }
        };
        let contacts = outstanding(&prisons, now);
        let shown = Shown::prisoners(contacts.iter().map(|(_, contact)| &contact.found.prisoner_number));
        record_read(store.access_log(&settings.stores)?.as_ref(), "nomis-contacts", shown).await;
        Ok(prisons)
    })
    .await?;
    stdout::ignore_broken_pipe(write_list(settings, &prisons, now))
}

/// A prison, and the contacts of everyone who ever had one there.
struct PrisonContacts {
    prison: prison::History,
    contacts: Vec<nomis_contacts::History>,
}

async fn load_at_prison(
    log: &SharedLog,
    code: &PrisonCode,
    numbers: &ContactNumbers,
) -> anyhow::Result<PrisonContacts> {
    Ok(PrisonContacts {
        prison: load_prison(log, code).await?,
        contacts: load_contacts(log, &numbers.persons_at(code)).await?,
    })
}

/// The contacts that are still to be removed, at prisons that have joined OMiC; by prison and
/// contact id.
fn outstanding(prisons: &[PrisonContacts], now: DateTime<Utc>) -> Vec<(&PrisonCode, &Contact)> {
    let mut outstanding: Vec<_> = prisons
        .iter()
        .filter(|at| at.prison.roster().is_on_omic(now))
        .flat_map(|PrisonContacts { prison, contacts }| {
            let contacts = contacts.iter().flat_map(|history| history.contacts().values());
            contacts.filter(|contact| contact.found.prison == *prison.code()).map(|contact| (prison.code(), contact))
        })
        .filter(|(_, contact)| contact.removed_at.is_none())
        .collect();
    outstanding.sort_by_key(|(code, contact)| (*code, contact.found.contact_id));
    outstanding
}

fn write_list(settings: &ListSettings, prisons: &[PrisonContacts], now: DateTime<Utc>) -> io::Result<()> {
    let joined = |at: &PrisonContacts| at.prison.roster().is_on_omic(now);
    let is_unknown = |at: &PrisonContacts| at.prison.is_empty() && at.contacts.is_empty();
    let outstanding = outstanding(prisons, now);
    let mut out = stdout::lock();
    if settings.json {
        for (prison, contact) in outstanding {
            let line = json!({
                "prison": prison,
                "contactId": contact.found.contact_id,
                "prisonerNumber": contact.found.prisoner_number,
                "staffId": contact.found.staff_id,
                "name": contact.found.name,
                "contactType": contact.found.contact_type,
                "foundAt": contact.found_at,
            });
            writeln!(out, "{line}")?;
        }
    } else if outstanding.is_empty() {
        let note = match &settings.prison {
            Some(code) if code.listed_name().is_none() && prisons.iter().all(is_unknown) => {
                format!("{} The ledger knows nothing of it either: check --prison.", code.unlisted_sentence())
            }
            Some(code) if !prisons.iter().any(joined) => {
                format!("{code} has not joined OMiC, so nothing has to be removed there yet.")
            }
            _ => "No POM contacts are left to be removed from NOMIS.".to_owned(),
        };
        writeln!(out, "{note}")?;
    } else {
        let mut table = table(&["Prison", "Prisoner", "Staff id", "Name", "Contact type", "Seen on"]);
        let mut by_prison = BTreeMap::<&PrisonCode, usize>::new();
        for (prison, contact) in outstanding {
            *by_prison.entry(prison).or_default() += 1;
            table.add_row([
                prison.to_string(),
                contact.found.prisoner_number.to_string(),
                contact.found.staff_id.map(|id| id.to_string()).unwrap_or_default(),
                contact.found.name.clone().unwrap_or_default(),
                contact.found.contact_type.clone(),
                domain::london::date(contact.found_at).to_string(),
            ]);
        }
        writeln!(out, "{}\n", Visible(&table.to_string()))?;
        for (prison, count) in by_prison {
            writeln!(out, "{prison}: {} still to be removed from NOMIS.", count_of(count, "POM contact"))?;
        }
    }
    out.flush()
}

/// Sends the commands, many at a time: each goes to the stream of a person. Answers the lines as
/// they went, in their order.
async fn record(recorder: &ImportRecorder<'_>, planned: Vec<PlannedContact>) -> anyhow::Result<Vec<ContactLine>> {
    // Those of one person one after the other: the stream has them in the order of the list.
    let mut by_person: BTreeMap<_, Vec<(usize, PlannedContact)>> = BTreeMap::new();
    for (index, contact) in planned.into_iter().enumerate() {
        by_person.entry(contact.line.prisoner_number.clone()).or_default().push((index, contact));
    }
    let recorded: Vec<Vec<(usize, ContactLine)>> = stream::iter(by_person.into_values())
        .map(async |of_person| {
            let mut lines = Vec::with_capacity(of_person.len());
            for (index, contact) in of_person {
                lines.push((index, record_contact(recorder, contact).await?));
            }
            anyhow::Ok(lines)
        })
        .buffered(CASES_AT_ONCE)
        .try_collect()
        .await?;
    let mut lines: Vec<_> = recorded.into_iter().flatten().collect();
    lines.sort_unstable_by_key(|(index, _)| *index);
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

async fn record_contact(recorder: &ImportRecorder<'_>, contact: PlannedContact) -> anyhow::Result<ContactLine> {
    let PlannedContact { mut line, step } = contact;
    let Some(step) = step else { return Ok(line) };
    match recorder.send(step, line.row).await {
        Ok(outcome) if outcome.is_repeated() => line.outcome = "already-recorded",
        Ok(_) => line.outcome = if line.row.is_some() { "recorded" } else { "removal-confirmed" },
        Err(CommandError::Refused(refusal)) => {
            line.outcome = "refused";
            line.reason = Some(refusal.sentence);
        }
        Err(error) => return Err(explain_interruption(error)),
    }
    Ok(line)
}

/// A line of the report with `--json`.
#[derive(Serialize)]
struct ReportLine<'a> {
    #[serde(flatten)]
    line: &'a ContactLine,
    /// The reading of the sheet; in the first line alone.
    reading: Option<&'a SheetReading>,
}

fn report(settings: &NomisContactsSettings, reading: &SheetReading, lines: &[ContactLine]) -> anyhow::Result<()> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for line in lines {
        *counts.entry(line.outcome).or_default() += 1;
    }
    let counts: Vec<_> =
        counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.replace('-', " "))).collect();
    let mut summary = format!(
        "{}: {} at {}.",
        count_of(lines.len(), "contact"),
        if counts.is_empty() { "nothing to do".to_owned() } else { counts.join(", ") },
        settings.prison
    );
    for remark in &reading.remarks {
        summary.push('\n');
        summary.push_str(remark);
    }
    if settings.dry_run {
        summary.push('\n');
        summary.push_str(NOTHING_RECORDED);
    }
    stdout::ignore_broken_pipe(write_report(settings, reading, lines, &summary))
}

fn write_report(
    settings: &NomisContactsSettings,
    reading: &SheetReading,
    lines: &[ContactLine],
    summary: &str,
) -> io::Result<()> {
    let mut out = stdout::lock();
    if settings.json {
        // A reader that has gone from standard output takes no words from standard error.
        let written = lines.iter().enumerate().try_for_each(|(index, line)| {
            let line = ReportLine { line, reading: (index == 0).then_some(reading) };
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")
        });
        let written = written.and_then(|()| out.flush());
        eprintln!("{}\n{}", Visible(&reading.to_string()), Visible(summary));
        return written;
    }
    writeln!(out, "{}", Visible(&reading.to_string()))?;
    let mut table = table(&["Row", "Prisoner", "Staff id", "Name", "Contact type", "Outcome", "Reason"]);
    for line in lines.iter().filter(|line| line.outcome != "already-recorded") {
        table.add_row([
            line.row.map(|row| row.to_string()).unwrap_or_default(),
            line.prisoner_number.as_ref().map(ToString::to_string).unwrap_or_default(),
            line.staff_id.map(|id| id.to_string()).unwrap_or_default(),
            line.name.clone().unwrap_or_default(),
            line.contact_type.clone().unwrap_or_default(),
            line.outcome.replace('-', " "),
            line.reason.clone().unwrap_or_default(),
        ]);
    }
    if table.row_count() > 0 {
        writeln!(out, "{}\n", Visible(&table.to_string()))?;
    }
    writeln!(out, "{}", Visible(summary))?;
    out.flush()
}
