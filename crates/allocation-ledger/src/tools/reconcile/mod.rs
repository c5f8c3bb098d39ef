//! `integration reconcile`: compares the ledger with prisoner search, probation and the contacts in
//! NOMIS, and records what is safe to record.
//!
//! The estate's side is in extracts, or is looked up (`picture`). The views say which cases a
//! prison has. Each case is then compared as the log has it.

mod extract;
mod picture;
mod report;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::PathBuf,
};

use access_log::Shown;
use chrono::{DateTime, Utc};
use clap::Args;
use command::{Clock, CommandError, Service, ServiceSettings};
use domain::{
    event::RecordedBy,
    identifier::{PrisonCode, PrisonerNumber, Username},
    prisoner::{History, RecommendationPolicy},
};
use futures::{StreamExt as _, stream};
use hmpps::reconcile::{
    Discrepancy, DiscrepancyKind, DiscrepancyOutcome, EstatePlace, EstateRecord, LedgerCase, Reconciler, Resolution,
    compare,
};
use http_api::instant::DateOrInstant;
use import::record::{load_cases, load_prison};
use spreadsheets::contacts::{ContactLine, ContactRow};

use self::{
    picture::EstatePicture,
    report::{ReconciliationReport, print_report},
};
use super::{
    cases::{note_lag, read_prison_cases},
    import::nomis_contacts::compare_whole_list,
    read_recording::record_read,
};
use crate::{
    look_up_settings::LookUpSettings,
    shared_settings::{QuestionTimeSettings, StoreSettings, identifier},
    stores::Stores,
};

/// The client that events say they were recorded with.
const CLIENT: &str = "hmpps-reconcile";

/// The user that events say they were recorded by, where none is named.
const USER: &str = "HMPPS_RECONCILE";

/// People on whose cases differences are recorded side by side.
const PEOPLE_AT_ONCE: usize = 32;

/// The settings of `integration reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileSettings {
    /// The prison to compare, e.g. LEI
    #[arg(long, value_parser = identifier::<PrisonCode>)]
    prison: PrisonCode,
    /// An extract of prisoner search: a .csv, .xlsx or .ods with the columns prisonerNumber and
    /// prisonId, of everyone at the prison and of those who have left it. Without it, prisoner
    /// search is asked, if its address is given
    #[arg(long, value_name = "FILE")]
    prisoners: Option<PathBuf>,
    /// An extract of probation: prisonerNumber and tier, managerSurname or both. Without it, the
    /// tier service and manage-pom-cases-and-delius are asked by CRN, if their addresses are given
    #[arg(long, value_name = "FILE")]
    probation: Option<PathBuf>,
    /// All POM contacts that NOMIS has at the prison, as `import nomis-contacts` takes them
    #[arg(long, value_name = "FILE")]
    contacts: Option<PathBuf>,
    /// When the extracts were made. A case of which the ledger has learnt more since is left as it
    /// is
    #[arg(long, value_name = "INSTANT|DATE")]
    taken_at: Option<DateOrInstant>,
    /// Record what is safe to record. Default: list the differences
    #[arg(long)]
    apply: bool,
    /// One JSON object a line for each difference
    #[arg(long)]
    json: bool,
    /// The username that events are recorded under, in any case. Default: HMPPS_RECONCILE
    #[arg(long, value_name = "USERNAME", value_parser = Username::read)]
    recorded_by: Option<Username>,
    #[command(flatten)]
    look_ups: LookUpSettings,
    #[command(flatten)]
    stores: StoreSettings,
}

/// The end of a comparison that found differences which are still there. The report has told them.
#[derive(Debug)]
pub struct DifferencesRemain;

impl fmt::Display for DifferencesRemain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ledger and the estate differ")
    }
}

impl std::error::Error for DifferencesRemain {}

/// Compares a prison, records what is safe where that is asked for, and reports.
///
/// # Errors
/// [`DifferencesRemain`]; a file cannot be read, or the ledger cannot be reached.
pub(super) async fn run(settings: &ReconcileSettings) -> anyhow::Result<()> {
    let now = Clock::system().now();
    // All that can be wrong with the files is found before anything is compared.
    let picture = EstatePicture::read(settings, now)?;
    let (report, interruption) = Stores::with_existing(&settings.stores, async |stores| {
        let compared = compare_prison(settings, stores, picture, now).await?;
        let removed =
            |finding: &Discrepancy| compared.records.get(&finding.number).map(|record| &record.removed_numbers);
        let shown = compared
            .findings
            .iter()
            .flat_map(|finding| std::iter::once(&finding.number).chain(removed(finding).into_iter().flatten()));
        record_read(Some(&stores.views), "integration reconcile", Shown::prisoners(shown)).await;
        let (prison, people, applied) = (settings.prison.clone(), compared.people, settings.apply);
        let (outcomes, interruption) = match applied {
            true => apply(settings, stores, &compared).await,
            false => (list(compared.findings), None),
        };
        Ok((ReconciliationReport { prison, people, applied, outcomes }, interruption))
    })
    .await?;
    print_report(&report, settings.json)?;
    match interruption {
        Some(interruption) => Err(interruption),
        None if report.differs() => Err(DifferencesRemain.into()),
        None => Ok(()),
    }
}

/// A prison on both sides.
struct ComparedPrison {
    /// The people who are at the prison on either side.
    people: usize,
    records: BTreeMap<PrisonerNumber, EstateRecord>,
    taken_at: Option<DateTime<Utc>>,
    is_one_absent: bool,
    findings: Vec<Discrepancy>,
}

async fn compare_prison(
    settings: &ReconcileSettings,
    stores: &Stores,
    mut picture: EstatePicture,
    now: DateTime<Utc>,
) -> anyhow::Result<ComparedPrison> {
    let prison = &settings.prison;
    let (cases, lag) = read_prison_cases(stores, prison, QuestionTimeSettings::default()).await?;
    note_lag(&lag);
    let held_here: BTreeSet<PrisonerNumber> = cases.cases.into_iter().map(|case| case.prisoner_number).collect();
    picture.add_places(settings, &held_here).await?;
    let at_prison = picture.records.values().filter(|record| record.prison() == Some(prison));
    let here: BTreeSet<PrisonerNumber> = at_prison.map(|record| &record.number).chain(&held_here).cloned().collect();
    let numbers =
        picture.records.values().flat_map(|record| [&record.number].into_iter().chain(&record.removed_numbers));
    let numbers: BTreeSet<PrisonerNumber> = numbers.chain(&here).cloned().collect();
    let numbers: Vec<PrisonerNumber> = numbers.into_iter().collect();
    let histories: HashMap<PrisonerNumber, History> =
        load_cases(&stores.log, &numbers).await?.into_iter().map(|case| (case.number().clone(), case)).collect();
    let history =
        |number: &PrisonerNumber| histories.get(number).cloned().unwrap_or_else(|| History::new(number.clone()));
    let crn = |number: &PrisonerNumber| {
        let told = picture.records.get(number).and_then(|record| record.crn.clone());
        Some((number.clone(), told.or_else(|| histories.get(number)?.state().crn)?))
    };
    let crns = here.iter().filter_map(crn).collect();
    picture.add_probation(crns).await?;
    let EstatePicture { records, contacts, taken_at, unreadable, .. } = picture;
    let is_absent =
        |record: &EstateRecord| record.place == Some(EstatePlace::Absent) && held_here.contains(&record.number);
    let is_one_absent = records.values().any(is_absent);
    let mut findings = Vec::new();
    for record in records.values() {
        let removed: Vec<History> = record.removed_numbers.iter().map(history).collect();
        let ledger = LedgerCase { case: &history(&record.number), removed: &removed, is_one_absent };
        findings.extend(compare(prison, record, ledger, taken_at, now));
    }
    findings.extend(unreadable);
    if let Some(rows) = contacts {
        findings.extend(compare_contacts(stores, prison, rows, now).await?);
    }
    Ok(ComparedPrison { people: here.len(), records, taken_at, is_one_absent, findings })
}

/// The contacts that differ. Until a prison joins OMiC, its contacts in NOMIS are right.
async fn compare_contacts(
    stores: &Stores,
    prison: &PrisonCode,
    rows: Vec<ContactRow>,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<Discrepancy>> {
    if !load_prison(&stores.log, prison).await?.roster().is_on_omic(now) {
        eprintln!("{prison} has not joined OMiC, so that its contacts are right to be in NOMIS.");
        return Ok(Vec::new());
    }
    let lines = compare_whole_list(&stores.log, prison, rows, now).await?;
    Ok(lines.into_iter().filter_map(contact_finding).collect())
}

fn contact_finding(line: ContactLine) -> Option<Discrepancy> {
    let ContactLine { row: _, outcome, prisoner_number, staff_id, name, contact_type, reason } = line;
    // Twice in the list.
    if reason.is_some() {
        return None;
    }
    let who = name.or_else(|| staff_id.map(|id| format!("staff id {id}"))).unwrap_or_default();
    let contact = format!("{}: {who}", contact_type.unwrap_or_default());
    let (kind, ledger, estate, why) = match outcome {
        "would-confirm-removed" => {
            let why = "record it with `import nomis-contacts --complete`";
            (DiscrepancyKind::ContactGone, contact, "gone from NOMIS".to_owned(), why)
        }
        "already-recorded" => {
            let why = "remove it from NOMIS";
            (DiscrepancyKind::ContactRemains, "known to be there".to_owned(), contact, why)
        }
        _ => {
            let why = "remove it from NOMIS, and record it with `import nomis-contacts`";
            (DiscrepancyKind::ContactRemains, "unknown".to_owned(), contact, why)
        }
    };
    Some(Discrepancy { number: prisoner_number?, kind, ledger, estate, resolution: Resolution::Leave(why.to_owned()) })
}

fn list(findings: Vec<Discrepancy>) -> Vec<(Discrepancy, DiscrepancyOutcome)> {
    let with_outcome = |finding: Discrepancy| {
        let outcome = finding.resolution.outcome();
        (finding, outcome)
    };
    findings.into_iter().map(with_outcome).collect()
}

/// Records what is safe about each person with differences, each compared again on the case as it
/// is then. Answers the outcomes up to an interruption, and that.
async fn apply(
    settings: &ReconcileSettings,
    stores: &Stores,
    compared: &ComparedPrison,
) -> (Vec<(Discrepancy, DiscrepancyOutcome)>, Option<anyhow::Error>) {
    // No command gives a role, so that no recommendation is made.
    let commands = ServiceSettings { clock: Clock::system(), recommendation_policy: RecommendationPolicy::Tier };
    let username = settings.recorded_by.clone().or_else(|| USER.parse().ok());
    let recorded_by = RecordedBy { username, client: CLIENT.to_owned(), auth_source: None };
    let service = Service::new(stores.log.clone(), commands);
    let reconciler = Reconciler::new(service, settings.prison.clone(), recorded_by, compared.is_one_absent);
    let is_left = |finding: &&Discrepancy| {
        matches!(
            finding.kind,
            DiscrepancyKind::ContactRemains | DiscrepancyKind::ContactGone | DiscrepancyKind::Unreadable
        )
    };
    let people: BTreeSet<&PrisonerNumber> =
        compared.findings.iter().filter(|finding| !is_left(finding)).map(|finding| &finding.number).collect();
    let has_failed = Cell::new(false);
    // Those under way end in order, so that the report has all that is recorded.
    let records =
        people.into_iter().filter_map(|number| compared.records.get(number)).take_while(|_| !has_failed.get());
    let settled: Vec<_> = stream::iter(records)
        .map(async |record| {
            let mut settled = Vec::new();
            let ended = reconciler.settle(record, compared.taken_at, &mut settled).await;
            has_failed.set(has_failed.get() || ended.is_err());
            (settled, ended)
        })
        .buffered(PEOPLE_AT_ONCE)
        .collect()
        .await;
    let (mut outcomes, mut failure) = (Vec::new(), None);
    for (settled, ended) in settled {
        outcomes.extend(settled);
        failure = failure.or(ended.err());
    }
    outcomes.extend(list(compared.findings.iter().filter(is_left).cloned().collect()));
    (outcomes, failure.map(explain_interruption))
}

fn explain_interruption(error: CommandError) -> anyhow::Error {
    anyhow::Error::new(error)
        .context("the reconciliation was interrupted: run it again, nothing that is recorded is recorded twice")
}
