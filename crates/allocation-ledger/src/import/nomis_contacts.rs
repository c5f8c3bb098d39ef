//! POM contacts that prisons put into NOMIS before they joined OMiC, and that have to be removed there when they do.
//!
//! `import nomis-contacts` takes in a list of contacts seen in NOMIS. With `--complete` it is the whole list of the
//! prison, so a contact known before and absent now is gone from NOMIS; where contacts stand in other sheets too, that
//! is refused. `nomis-contacts` lists what is still to be
//! removed at prisons that have joined, from the log itself, so it is never behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use clap::Args;
use command::{Clock, Error, Service};
use domain::{
    Command, Stream,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, PrisonerNumber, StaffId},
    prison::{self, Contact, ContactSeen},
};
use event_log::{PAGE_EVENTS_MAX, SharedLog, request_digest};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::{
    CORRELATION_NAMESPACE,
    heading::Field,
    layout::{self, Layout, RowKind, Wanted, row_kind},
    plan::Step,
    prison_code,
    reader::{self, Cell, Row, Sheet},
    record::{Recorder, interrupted, load_prison},
    report::{counted, sheet_passed_over, table},
    value,
};
use crate::{settings, stores::LogStore};

/// What a list of contacts has to have, and may have.
pub(super) const WANTED: Wanted =
    Wanted { needed: &[Field::PrisonerNumber], welcome: &[Field::StaffId, Field::PomName, Field::ContactType] };

/// Namespace of the command ids of contact imports. Never to be changed: an import of years ago is known by it.
const NAMESPACE: Uuid = Uuid::from_u128(0xb1c4_07d9_2e63_4a58_9f10_c87a_44e6_5b03);

/// The contact type of a list that does not say it.
const CONTACT_TYPE: &str = "POM";

/// What `import nomis-contacts` can be told.
#[derive(Debug, Args)]
pub struct Settings {
    /// The contacts: a CSV (or .xlsx, .ods) with prisoner number, staff id or name or both, and contact type
    file: PathBuf,
    /// The prison that the contacts are of, e.g. LEI
    #[arg(long, value_parser = prison_code)]
    prison: PrisonCode,
    /// The sheet to read. Default: the one with most contacts
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// The sheet is the whole list of the prison: contacts known before and absent now are confirmed removed
    #[arg(long)]
    complete: bool,
    /// Show what would be recorded, and record nothing
    #[arg(long)]
    dry_run: bool,
    /// Report as JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stores: settings::Stores,
    #[command(flatten)]
    commands: settings::Commands,
}

/// What `nomis-contacts` can be told.
#[derive(Debug, Args)]
pub struct ListSettings {
    /// List this prison only, e.g. LEI
    #[arg(long, value_parser = prison_code)]
    prison: Option<PrisonCode>,
    /// Write JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stores: settings::Stores,
}

/// A line of the report: a row of the file, or a contact that is no longer in it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    row: Option<u32>,
    outcome: &'static str,
    prisoner_number: Option<PrisonerNumber>,
    staff_id: Option<StaffId>,
    name: Option<String>,
    contact_type: Option<String>,
    reason: Option<String>,
}

/// A line and the command that it stands for.
struct Planned {
    line: Line,
    step: Option<Step>,
}

/// Imports the file and reports.
///
/// # Errors
/// The file cannot be read as a list of contacts, or the ledger cannot be reached.
pub async fn run(settings: &Settings) -> anyhow::Result<()> {
    let commands = settings.commands.command_settings()?;
    let now = commands.clock.now();
    let file = reader::read(&settings.file)?;
    let shown = settings.file.display();
    let layout = layout::find(&file.sheets, settings.sheet.as_deref(), &[], WANTED)
        .with_context(|| format!("find the contacts in {shown}"))?;
    ensure!(
        [Field::StaffId, Field::PomName].iter().any(|field| layout.columns.contains_key(field)),
        "{shown} has no column that says whose contact it is: head one `staff id` or `name`"
    );
    let sheet = &file.sheets[layout.sheet];
    if settings.complete {
        check_whole_list(&file.sheets, &layout).with_context(|| format!("take {shown} for the whole list"))?;
    }
    let rows = contacts(sheet, &layout);

    let planned = |history: &prison::History| plan(rows, history, settings.complete, now);
    let lines = if settings.dry_run {
        let history = match LogStore::open_prepared(&settings.stores).await? {
            Some(store) => {
                let history = load_prison(&store.log, &settings.prison).await;
                let closed = store.close().await;
                let history = history?;
                closed?;
                history
            }
            None => prison::History::new(settings.prison.clone()),
        };
        planned(&history).into_iter().map(|planned| planned.line).collect()
    } else {
        let store = LogStore::open(&settings.stores).await?;
        let import = async {
            let planned = planned(&load_prison(&store.log, &settings.prison).await?);
            let recorded_by = RecordedBy { username: commands.local_user.clone(), client: super::CLIENT.to_owned() };
            let service = Service::new(store.log.clone(), commands);
            let correlation_id = Uuid::new_v5(&CORRELATION_NAMESPACE, &file.bytes);
            record(&Recorder { service: &service, recorded_by, correlation_id }, planned).await
        };
        let recorded = import.await;
        let closed = store.close().await;
        let lines = recorded?;
        closed?;
        lines
    };
    report(settings, &lines, &layout.passed_over)
}

/// Lists the contacts that are still in NOMIS, by prison that has joined OMiC.
///
/// # Errors
/// There is no ledger, or it cannot be reached.
pub async fn list(settings: &ListSettings) -> anyhow::Result<()> {
    let store = LogStore::open_prepared(&settings.stores).await?;
    let store = store.ok_or_else(|| LogStore::missing(&settings.stores))?;
    let prisons = match &settings.prison {
        Some(code) => load_prison(&store.log, code).await.map(|history| vec![history]),
        None => prisons(&store.log).await,
    };
    let closed = store.close().await;
    let prisons = prisons?;
    closed?;

    let now = Clock::system().now();
    let joined = |history: &&prison::History| history.roster().is_on_omic(now);
    let outstanding: Vec<(&PrisonCode, &Contact)> = prisons
        .iter()
        .filter(joined)
        .flat_map(|history| history.roster().contacts.values().map(|contact| (history.code(), contact)))
        .filter(|(_, contact)| contact.removed_at.is_none())
        .collect();
    let mut out = io::BufWriter::new(io::stdout().lock());
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
            writeln!(out, "{line}").context("write the list")?;
        }
    } else if outstanding.is_empty() {
        let note = match &settings.prison {
            Some(code) if !prisons.iter().any(|history| joined(&history)) => {
                format!("{code} has not joined OMiC, so nothing has to be removed there yet.")
            }
            _ => "No POM contacts are left to be removed from NOMIS.".to_owned(),
        };
        writeln!(out, "{note}").context("write the list")?;
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
        writeln!(out, "{table}\n").context("write the list")?;
        for (prison, count) in by_prison {
            writeln!(out, "{prison}: {} still to be removed from NOMIS.", counted(count, "POM contact"))
                .context("write the list")?;
        }
    }
    out.flush().context("write the list")
}

/// Every prison that the log knows.
async fn prisons(log: &SharedLog) -> anyhow::Result<Vec<prison::History>> {
    let mut codes = BTreeSet::new();
    let mut after = 0;
    loop {
        let events = log.read_all(after, PAGE_EVENTS_MAX).await.context("read the log")?;
        let Some(last) = events.last() else { break };
        after = last.position;
        // Not decoded: a log is mostly cases, and the stream's name is enough.
        codes.extend(events.into_iter().filter_map(|event| match event.stream {
            Stream::Prison(code) => Some(code),
            Stream::Prisoner(_) => None,
        }));
    }
    let mut prisons = Vec::with_capacity(codes.len());
    for code in &codes {
        prisons.push(load_prison(log, code).await?);
    }
    Ok(prisons)
}

/// Refuses a sheet that is not all of the list: a contact in another one would be taken for gone from NOMIS.
pub(super) fn check_whole_list(sheets: &[Sheet], layout: &Layout) -> anyhow::Result<()> {
    ensure!(
        layout.passed_over.is_empty(),
        "there are contacts in more than one sheet (`{}`, {}): bring them together in one, or say with --sheet which one \
         is the whole list",
        sheets[layout.sheet].name,
        layout.passed_over.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

/// A row of the file: a contact, or what is wrong with it.
type ContactRow = (u32, Result<ContactSeen, Box<Line>>);

fn contacts(sheet: &Sheet, layout: &Layout) -> Vec<ContactRow> {
    let cases = |row: &&Row| !matches!(row_kind(sheet, layout, row), RowKind::Blank | RowKind::Total);
    // What looks like a note is taken for a contact that cannot be read: passing it over might confirm a removal.
    sheet.rows[layout.header + 1..].iter().filter(cases).map(|row| (row.number, contact(layout, row))).collect()
}

fn contact(layout: &Layout, row: &Row) -> Result<ContactSeen, Box<Line>> {
    let cell = |field: Field| layout.columns.get(&field).map_or(&Cell::Empty, |&column| row.cell(column));
    let text = |field: Field| Some(cell(field).to_string()).filter(|text| !text.is_empty());
    let refused = |field: Field, wrong: String| {
        Box::new(Line {
            row: Some(row.number),
            outcome: "refused",
            prisoner_number: value::prisoner_number(cell(Field::PrisonerNumber)).ok(),
            staff_id: None,
            name: text(Field::PomName),
            contact_type: text(Field::ContactType),
            reason: Some(format!("{field}: {wrong} (`{}`)", cell(field))),
        })
    };
    let prisoner_number =
        value::prisoner_number(cell(Field::PrisonerNumber)).map_err(|wrong| refused(Field::PrisonerNumber, wrong))?;
    let staff_id = match cell(Field::StaffId) {
        Cell::Empty => None,
        cell => Some(value::staff_id(cell).map_err(|wrong| refused(Field::StaffId, wrong))?),
    };
    let name = text(Field::PomName).map(|name| value::person_name(&name));
    if staff_id.is_none() && name.is_none() {
        return Err(refused(Field::StaffId, "the row names nobody".to_owned()));
    }
    let contact_type = text(Field::ContactType).unwrap_or_else(|| CONTACT_TYPE.to_owned());
    Ok(ContactSeen { prisoner_number, staff_id, name, contact_type })
}

/// What the file changes: contacts new or seen again, and with `complete` those that are gone.
fn plan(rows: Vec<ContactRow>, history: &prison::History, complete: bool, now: DateTime<Utc>) -> Vec<Planned> {
    let code = history.code();
    let known = &history.roster().contacts;
    let mut seen = BTreeSet::new();
    let mut planned = Vec::with_capacity(rows.len());
    let mut unreadable = false;
    for (row, contact) in rows {
        let contact = match contact {
            Ok(contact) => contact,
            Err(line) => {
                unreadable = true;
                planned.push(Planned { line: *line, step: None });
                continue;
            }
        };
        let contact_id = contact.contact_id(code);
        let first = seen.insert(contact_id);
        let before = known.get(&contact_id);
        let in_nomis = before.is_some_and(|before| before.removed_at.is_none());
        let mut line = Line {
            row: Some(row),
            outcome: "already-recorded",
            prisoner_number: Some(contact.prisoner_number.clone()),
            staff_id: contact.staff_id,
            name: contact.name.clone(),
            contact_type: Some(contact.contact_type.clone()),
            reason: (!first).then(|| "duplicate: the same contact is in an earlier row".to_owned()),
        };
        let step = (first && !in_nomis).then(|| {
            line.outcome = "would-record";
            // A contact that comes back after its removal is new once more.
            let since = before.and_then(|before| before.removed_at);
            let body = json!([contact.prisoner_number, contact.staff_id, contact.name, contact.contact_type]);
            let id = json!(["found", contact_id, since]);
            step(code, prison::Command::RecordNomisContact(contact), "nomis-contacts", &id, &body, now)
        });
        planned.push(Planned { line, step });
    }
    if complete {
        for (contact_id, contact) in
            known.iter().filter(|(id, contact)| contact.removed_at.is_none() && !seen.contains(*id))
        {
            let mut line = Line {
                row: None,
                outcome: "would-confirm-removed",
                prisoner_number: Some(contact.found.prisoner_number.clone()),
                staff_id: contact.found.staff_id,
                name: contact.found.name.clone(),
                contact_type: Some(contact.found.contact_type.clone()),
                reason: None,
            };
            // A row that cannot be read may be this very contact.
            let step = if unreadable {
                line.outcome = "not-confirmed";
                line.reason = Some("absent, but rows were refused: correct them and import the file again".to_owned());
                None
            } else {
                let id = json!(["removed", contact_id, contact.found_at]);
                let command = prison::Command::ConfirmNomisContactRemoval { contact_id: *contact_id };
                Some(step(code, command, "nomis-contact-removal", &id, &json!([contact_id]), now))
            };
            planned.push(Planned { line, step });
        }
    }
    planned
}

fn step(
    code: &PrisonCode,
    command: prison::Command,
    operation: &str,
    id: &serde_json::Value,
    body: &serde_json::Value,
    now: DateTime<Utc>,
) -> Step {
    Step {
        command: Command::Prison(code.clone(), command),
        command_id: CommandId(Uuid::new_v5(&NAMESPACE, id.to_string().as_bytes())),
        request_digest: request_digest(operation, code.as_str(), body),
        effective_at: now,
    }
}

/// Sends the commands, one after the other as they all go to one stream.
async fn record(recorder: &Recorder<'_>, planned: Vec<Planned>) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::with_capacity(planned.len());
    for Planned { mut line, step } in planned {
        if let Some(step) = step {
            match recorder.send(step).await {
                Ok(()) => line.outcome = if line.row.is_some() { "recorded" } else { "removal-confirmed" },
                Err(Error::Refused(refusal)) => {
                    line.outcome = "refused";
                    line.reason = Some(refusal.sentence);
                }
                Err(error) => return Err(interrupted(error)),
            }
        }
        lines.push(line);
    }
    Ok(lines)
}

fn report(settings: &Settings, lines: &[Line], sheets_passed_over: &[(String, usize)]) -> anyhow::Result<()> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for line in lines {
        *counts.entry(line.outcome).or_default() += 1;
    }
    let counts: Vec<_> =
        counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.replace('-', " "))).collect();
    let mut summary = format!(
        "{}: {} at {}.",
        counted(lines.len(), "contact"),
        if counts.is_empty() { "nothing to do".to_owned() } else { counts.join(", ") },
        settings.prison
    );
    for (name, contacts) in sheets_passed_over {
        summary.push('\n');
        summary.push_str(&sheet_passed_over(name, *contacts, "contact"));
    }
    if settings.dry_run {
        summary.push_str("\nDry run: nothing was recorded.");
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    if settings.json {
        for line in lines {
            serde_json::to_writer(&mut out, line).context("write the report")?;
            out.write_all(b"\n").context("write the report")?;
        }
        out.flush().context("write the report")?;
        eprintln!("{summary}");
        return Ok(());
    }
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
        writeln!(out, "{table}\n").context("write the report")?;
    }
    writeln!(out, "{summary}").context("write the report")?;
    out.flush().context("write the report")
}
