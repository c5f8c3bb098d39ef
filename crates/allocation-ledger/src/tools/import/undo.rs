//! `import undo`: takes back what one run of an import recorded.
//!
//! Nothing is deleted. Entries of cases are voided, last first, as far as nothing later depends on
//! them: the rules decide that. A prison's entries cannot be voided. A POM whom the run put on the
//! roster, and who then holds no case, becomes `INACTIVE`; the go-live date stays. A row whose
//! entries were voided can be imported again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use anyhow::{Context as _, bail};
use clap::Args;
use command::{Clock, CommandError, Request, Service, ServiceSettings};
use domain::{
    Command, Event, Stream,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, PrisonerNumber, StaffId},
    officer::PomStatus,
    prison::{self, PomStatusChanged, PrisonEvent},
    prisoner::{self, EntryVoided, PrisonerEventType, RecommendationPolicy, RoleChange},
};
use event_log::{
    Provenance, RecordedEvent, SharedLog, decode, history::read_cases, request_digest, stored_event::decode_metadata,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use spreadsheets::IMPORT_UNDONE;
use uuid::Uuid;

use super::{
    record::{explain_interruption, load_prison},
    undo_report::{EntryOutcome, PomOutcome, UndoReport, UndoneEntry, UndonePom},
};
use crate::{shared_settings, stores::LogStore};

/// The namespace of the command ids of an undo. It must never change: an undo that was interrupted
/// goes on by it.
const NAMESPACE: Uuid = Uuid::from_u128(0x53c1_6e0b_2f7d_4c19_8a3e_b54d_90f2_6a17);

/// Cases undone side by side.
const CASES_AT_ONCE: usize = 64;

/// Streams in one read of the log; bounds the memory that a read takes.
const LOAD_STREAMS_MAX: usize = 256;

/// The settings of `import undo`.
#[derive(Debug, Args)]
pub struct UndoSettings {
    /// The run, as the report of the import and `history` name it
    run: Uuid,
    /// Show what would be undone, and record nothing
    #[arg(long)]
    dry_run: bool,
    /// Report as JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stores: shared_settings::StoreSettings,
    #[command(flatten)]
    recorder: shared_settings::RecorderSettings,
}

/// Undoes the run and reports.
///
/// # Errors
/// There is no such run, or the ledger cannot be reached.
pub async fn run(settings: &UndoSettings) -> anyhow::Result<()> {
    let report = LogStore::with_existing(&settings.stores, async |store| undo(settings, store).await).await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if settings.json { report.write_json(&mut out) } else { report.write_text(&mut out) }
}

async fn undo(settings: &UndoSettings, store: &LogStore) -> anyhow::Result<UndoReport> {
    let mut found = RunRecords::new(settings.run);
    found.read_on(&store.log).await?;
    if found.provenance.is_none() {
        bail!("no event is of run {}: is it the run that a report, or `history` of a case, shows?", settings.run);
    }
    let mut turns = Vec::new();
    if !settings.dry_run {
        for prison in found.prisons.clone() {
            turns.push(store.take_import_turn(&prison).await?);
        }
        // The run itself may have gone on until its turn ended.
        found.read_on(&store.log).await?;
    }
    let clock = Clock::system();
    let service_settings =
        ServiceSettings { clock: clock.clone(), recommendation_policy: RecommendationPolicy::default() };
    let undo = Undo {
        log: &store.log,
        service: Service::new(store.log.clone(), service_settings),
        clock,
        run: settings.run,
        recorded_by: settings.recorder.recorded_by(super::CLIENT),
        dry_run: settings.dry_run,
    };
    let entries = undo.void_entries(&found.cases).await?;
    // Cases may have been given to the POMs meanwhile.
    found.read_on(&store.log).await?;
    let poms = undo.deactivate_poms(&found, &entries).await?;
    let mut go_live_dates = BTreeMap::new();
    for prison in &found.joined {
        let joined = load_prison(&store.log, prison).await?.roster().joined.clone();
        go_live_dates.extend(joined.map(|joined| (prison.clone(), joined.go_live_date)));
    }
    Ok(UndoReport {
        run: settings.run,
        provenance: found.provenance.context("read the run")?,
        dry_run: settings.dry_run,
        entries,
        poms,
        go_live_dates,
        kept_contacts: found.contacts,
    })
}

/// The part of the log that is of a run, up to a position.
struct RunRecords {
    run: Uuid,
    position: u64,
    /// The place in the file of the first event.
    provenance: Option<Provenance>,
    /// The revisions of the run's entries by case.
    cases: BTreeMap<PrisonerNumber, BTreeSet<u64>>,
    /// The prisons that the run's events name.
    prisons: BTreeSet<PrisonCode>,
    /// The prisons that the run took onto OMiC.
    joined: BTreeSet<PrisonCode>,
    /// The POMs that the run put on a roster, or made active, with the cases on which each was ever
    /// given a role.
    poms: BTreeMap<(PrisonCode, StaffId), BTreeSet<PrisonerNumber>>,
    /// How many contacts of NOMIS the run recorded, or confirmed removed.
    contacts: usize,
}

impl RunRecords {
    fn new(run: Uuid) -> Self {
        Self {
            run,
            position: 0,
            provenance: None,
            cases: BTreeMap::new(),
            prisons: BTreeSet::new(),
            joined: BTreeSet::new(),
            poms: BTreeMap::new(),
            contacts: 0,
        }
    }

    /// Reads on to the end of the log.
    async fn read_on(&mut self, log: &SharedLog) -> anyhow::Result<()> {
        let run = self.run.to_string();
        let mut pages = log.read_pages(self.position, u64::MAX);
        while let Some(events) = pages.try_next().await.context("read the log")? {
            for event in &events {
                self.observe(event, &run).context("read the log")?;
                self.position = event.position;
            }
        }
        Ok(())
    }

    fn observe(&mut self, recorded: &RecordedEvent, run: &str) -> Result<(), event_log::LogError> {
        // Most events are of other runs: their metadata need not be decoded.
        let may_name_run = std::str::from_utf8(&recorded.metadata).is_ok_and(|metadata| metadata.contains(run));
        let provenance = if may_name_run { decode_metadata(recorded)?.provenance } else { None };
        let provenance = provenance.filter(|provenance| provenance.run == self.run);
        let is_of_run = provenance.is_some();
        if let (Some(provenance), None) = (provenance, &self.provenance) {
            self.provenance = Some(*provenance);
        }
        let may_give_role = !self.poms.is_empty()
            && PrisonerEventType::from_name(&recorded.type_name).is_some_and(PrisonerEventType::may_change_roles);
        if !is_of_run && !may_give_role {
            return Ok(());
        }
        let stored = decode(recorded)?;
        match (&stored.stream, &stored.entry.event) {
            (Stream::Prisoner(number), Event::Prisoner(event)) => {
                if is_of_run {
                    self.cases.entry(number.clone()).or_default().insert(recorded.revision);
                    self.prisons.extend(event.named_prisons().cloned());
                }
                for change in event.role_changes() {
                    if let RoleChange::Given(prison, staff_id) = change
                        && let Some(cases) = self.poms.get_mut(&(prison.clone(), staff_id))
                    {
                        cases.insert(number.clone());
                    }
                }
            }
            (Stream::Prison(_), Event::Prison(_)) if !is_of_run => {}
            (Stream::Prison(code), Event::Prison(event)) => {
                self.prisons.insert(code.clone());
                match event {
                    PrisonEvent::PrisonJoinedOmic(_) => drop(self.joined.insert(code.clone())),
                    PrisonEvent::PomRegistered(_) | PrisonEvent::PomStatusChanged(_) => {
                        if let Some((staff_id, PomStatus::Active)) = event.new_status() {
                            self.poms.entry((code.clone(), staff_id)).or_default();
                        }
                    }
                    PrisonEvent::NomisContactFound(_) | PrisonEvent::NomisContactRemovalConfirmed(_) => {
                        self.contacts += 1;
                    }
                    PrisonEvent::PrisonOmicDateCorrected(_) | PrisonEvent::PomDetailsChanged(_) => {}
                }
            }
            // A decoded event is of its stream's kind.
            (Stream::Prison(_), Event::Prisoner(_)) | (Stream::Prisoner(_), Event::Prison(_)) => {}
        }
        Ok(())
    }
}

/// The undoing of a run.
struct Undo<'a> {
    log: &'a SharedLog,
    service: Service,
    clock: Clock,
    run: Uuid,
    recorded_by: RecordedBy,
    dry_run: bool,
}

impl Undo<'_> {
    /// Voids the run's entries, by case, last first. Answers them by case, first first.
    async fn void_entries(&self, cases: &BTreeMap<PrisonerNumber, BTreeSet<u64>>) -> anyhow::Result<Vec<UndoneEntry>> {
        let numbers: Vec<PrisonerNumber> = cases.keys().cloned().collect();
        let mut undone = Vec::new();
        for numbers in numbers.chunks(LOAD_STREAMS_MAX) {
            let histories = read_cases(&**self.log, numbers, None).await.context("read the cases' streams")?;
            let of_cases: Vec<Vec<UndoneEntry>> = stream::iter(histories)
                .map(|history| async move {
                    let revisions = cases.get(history.number()).into_iter().flatten().copied().collect::<Vec<_>>();
                    self.void_entries_of(history, revisions).await
                })
                .buffered(CASES_AT_ONCE)
                .try_collect()
                .await?;
            undone.extend(of_cases.into_iter().flatten());
        }
        Ok(undone)
    }

    async fn void_entries_of(
        &self,
        mut history: prisoner::History,
        revisions: Vec<u64>,
    ) -> anyhow::Result<Vec<UndoneEntry>> {
        let mut undone = Vec::with_capacity(revisions.len());
        for revision in revisions.into_iter().rev() {
            let outcome = match history.voided_by(revision) {
                Some(_) => EntryOutcome::VoidedBefore,
                None if self.dry_run => self.try_void(&mut history, revision),
                None => self.void(history.number(), revision).await?,
            };
            let event_type = usize::try_from(revision).ok().and_then(|index| history.entries().get(index));
            undone.push(UndoneEntry {
                number: history.number().clone(),
                revision,
                event_type: event_type.map_or("", |entry| entry.event.type_name()),
                outcome,
            });
        }
        undone.reverse();
        Ok(undone)
    }

    fn void_command(revision: u64) -> prisoner::Command {
        prisoner::Command::Void(EntryVoided { revision, reason: IMPORT_UNDONE.to_owned() })
    }

    /// Voids an entry in a history that is in memory alone.
    fn try_void(&self, history: &mut prisoner::History, revision: u64) -> EntryOutcome {
        let now = self.clock.now();
        let now = history.entries().last().map_or(now, |last| now.max(last.recorded_at));
        let context = prisoner::Context {
            now,
            effective_at: now,
            prison: None,
            recommendation_policy: RecommendationPolicy::default(),
        };
        let events = match prisoner::decide(history, &Self::void_command(revision), &context) {
            Ok(events) => events,
            Err(refusal) => return EntryOutcome::Kept(refusal.sentence),
        };
        for event in events {
            let command_id = CommandId::of_content(NAMESPACE, &json!([history.number(), revision]).to_string());
            history.push(domain::Entry {
                event_id: command_id.event_id(&Stream::Prisoner(history.number().clone()), 0),
                revision: history.entries().len() as u64,
                // The position is unknown before the append, and no rule looks at it.
                position: 0,
                effective_at: now,
                recorded_at: now,
                recorded_by: self.recorded_by.clone(),
                command_id,
                event,
            });
        }
        EntryOutcome::Voided
    }

    async fn void(&self, number: &PrisonerNumber, revision: u64) -> anyhow::Result<EntryOutcome> {
        let command = Command::Prisoner(number.clone(), Self::void_command(revision));
        let content = json!(["void", self.run, number, revision]);
        match self.send(command, &content).await {
            Ok(()) => Ok(EntryOutcome::Voided),
            Err(CommandError::Refused(refusal)) => Ok(EntryOutcome::Kept(refusal.sentence)),
            Err(error) => Err(explain_interruption(error)),
        }
    }

    /// Makes the POMs inactive whom the run made active and who hold nothing.
    async fn deactivate_poms(&self, found: &RunRecords, undone: &[UndoneEntry]) -> anyhow::Result<Vec<UndonePom>> {
        // For a dry run: the entries that would be voided.
        let mut voided: BTreeMap<&PrisonerNumber, Vec<u64>> = BTreeMap::new();
        for entry in undone.iter().filter(|entry| self.dry_run && entry.is_voided()) {
            voided.entry(&entry.number).or_default().push(entry.revision);
        }
        let mut outcomes = Vec::with_capacity(found.poms.len());
        for ((code, staff_id), cases) in &found.poms {
            let roster_pom = load_prison(self.log, code).await?.roster().poms.get(staff_id).cloned();
            // The run's own registration is on the roster.
            let Some(pom) = roster_pom else { continue };
            let held = self.count_held(code, *staff_id, cases, &voided).await?;
            let outcome = if held > 0 {
                PomOutcome::Holds(held)
            } else if pom.status == PomStatus::Inactive {
                PomOutcome::InactiveBefore
            } else if self.dry_run {
                PomOutcome::Inactive
            } else {
                self.deactivate(code, &pom).await?
            };
            outcomes.push(UndonePom { prison: code.clone(), staff_id: *staff_id, name: pom.name, outcome });
        }
        Ok(outcomes)
    }

    async fn deactivate(&self, code: &PrisonCode, pom: &prison::RosterPom) -> anyhow::Result<PomOutcome> {
        let status = PomStatusChanged {
            staff_id: pom.staff_id,
            status: PomStatus::Inactive,
            returns_on: None,
            reason: Some(IMPORT_UNDONE.to_owned()),
        };
        let content = json!(["pom-status", self.run, code, pom.staff_id, pom.status_event]);
        let command = Command::Prison(code.clone(), prison::Command::ChangePomStatus(status));
        match self.send(command, &content).await {
            Ok(()) => Ok(PomOutcome::Inactive),
            Err(CommandError::Refused(refusal)) => Ok(PomOutcome::Kept(refusal.sentence)),
            Err(error) => Err(explain_interruption(error)),
        }
    }

    /// How many of these cases the POM holds at the prison, once the entries in `voided` are.
    async fn count_held(
        &self,
        code: &PrisonCode,
        staff_id: StaffId,
        cases: &BTreeSet<PrisonerNumber>,
        voided: &BTreeMap<&PrisonerNumber, Vec<u64>>,
    ) -> anyhow::Result<usize> {
        let numbers: Vec<PrisonerNumber> = cases.iter().cloned().collect();
        let mut held = 0;
        for numbers in numbers.chunks(LOAD_STREAMS_MAX) {
            for mut history in read_cases(&**self.log, numbers, None).await.context("read the cases' streams")? {
                for &revision in voided.get(history.number()).into_iter().flatten().rev() {
                    self.try_void(&mut history, revision);
                }
                let holds = |role: &prisoner::PomRole| role.pom.staff_id == staff_id && role.prison == *code;
                held += usize::from(history.state().roles().any(holds));
            }
        }
        Ok(held)
    }

    async fn send(&self, command: Command, content: &serde_json::Value) -> Result<(), CommandError> {
        let request = Request {
            request_digest: request_digest("import-undo", &self.run.to_string(), content).into(),
            command,
            command_id: CommandId::of_content(NAMESPACE, &content.to_string()),
            recorded_by: self.recorded_by.clone(),
            correlation_id: self.run,
            causation_id: None,
            provenance: None,
            effective_at: None,
            if_match: None,
        };
        self.service.execute(request).await.map(drop)
    }
}
