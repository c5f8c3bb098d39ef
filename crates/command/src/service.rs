//! Load, decide, append: how a request becomes events exactly once.
//!
//! 1. Load the stream, and the prison's roster if the rules need it.
//! 2. If the stream holds this command already, answer with its events, or refuse the idempotency
//!    key if it came with another request.
//! 3. Decide (`domain`). A refusal is final only if stream and roster are up to date with the log;
//!    otherwise bring both up to date and go back to step 2.
//! 4. Append at the expected revision, which is the one that was decided on (optimistic
//!    concurrency). On a conflict, bring both up to date and go back to step 2. The append spends
//!    the idempotency key, or refuses it if it belongs to another stream or request.
//!
//! If the answer to an append is lost, the stream tells whether the command was recorded. Recorded
//! events go into the cached streams at once. A cached roster may be older than the log when a
//! command is *accepted*; if a case goes to a POM at the moment at which that POM becomes inactive,
//! [`crate::policies`] puts it right.

mod decisions;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use chrono::{DateTime, Utc};
use domain::{
    Command, Entry, Event, Refusal, Rule, Stream,
    identifier::{EventId, PrisonCode, PrisonerNumber, StaffId},
    nomis_contacts, prison,
    prisoner::{self, RecommendationPolicy},
};
use event_log::{
    AppendError, AppendReceipt, EXPORTED, ExpectedRevision, LogError, Metadata, NewEvent, Salt, SharedLog, SpentKey,
    StoredEvent, encode, history::StreamHistory, stored_event::refuse_older_log,
};
use futures::{FutureExt as _, future::BoxFuture};
use prometheus_client::registry::Registry;
use tokio::{
    sync::{Mutex, MutexGuard},
    try_join,
};
use tracing::Instrument as _;
use uuid::Uuid;

use self::decisions::DecidedEvents;
use crate::{
    Clock, CommandError, Outcome, Request,
    metrics::CommandMetrics,
    obligations::ObligationIndex,
    request::{RequestTimes, may_see_anywhere},
    started_bulk::RunningBulks,
    streams::{
        CASES_CACHED, CONTACTS_CACHED, CachedStream, PRISONS_CACHED, Streams, answer_to_request, answer_to_spent_key,
        take_turn,
    },
};

/// Most decisions on one command: the first, one more after a refusal by cached streams, and one
/// after each conflict. Of two servers that keep appending to one stream, each loses half of the
/// time.
const DECISIONS_MAX: usize = 12;

/// Most ids that are tried for one command of the ledger's own. No caller can take even one.
const OWN_IDS_MAX: usize = 16;

/// A case in the cache.
pub(crate) type CachedCase = CachedStream<prisoner::History>;
/// A prison, with its roster, in the cache.
pub(crate) type CachedPrison = CachedStream<prison::History>;

/// The settings of the command side.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// The source of the time.
    pub clock: Clock,
    /// How to work out the recommended kind of POM.
    pub recommendation_policy: RecommendationPolicy,
}

/// The command side of one process; clones share everything.
#[derive(Clone)]
pub struct Service {
    inner: Arc<ServiceInner>,
}

struct ServiceInner {
    log: SharedLog,
    settings: ServiceSettings,
    cases: Streams<prisoner::History>,
    prisons: Streams<prison::History>,
    contacts: Streams<nomis_contacts::History>,
    obligations: ObligationIndex,
    running_bulks: RunningBulks,
    merge_turn: Mutex<()>,
    /// Set once the log is known to be none of an earlier version.
    is_log_readable: AtomicBool,
    metrics: CommandMetrics,
}

impl Service {
    /// The command side over `log`. Must be called inside a Tokio runtime.
    #[must_use]
    pub fn new(log: SharedLog, settings: ServiceSettings) -> Self {
        Self {
            inner: Arc::new(ServiceInner {
                cases: Streams::new(Arc::clone(&log), CASES_CACHED),
                prisons: Streams::new(Arc::clone(&log), PRISONS_CACHED),
                contacts: Streams::new(Arc::clone(&log), CONTACTS_CACHED),
                obligations: ObligationIndex::default(),
                running_bulks: RunningBulks::default(),
                merge_turn: Mutex::new(()),
                is_log_readable: AtomicBool::default(),
                metrics: CommandMetrics::new(),
                log,
                settings,
            }),
        }
    }

    /// Adds this command side's counts to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.inner.metrics.register(registry);
    }

    /// Whether the policies have read the log to its end and follow it; `false` while
    /// [`crate::policies::run`] does not run. Until then no policy acts, and a bulk reallocation of
    /// all cases is answered with 503.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.inner.obligations.is_caught_up()
    }

    /// Decides a request and records its events, unless they are recorded already.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was recorded, except perhaps where it says so.
    pub fn execute(&self, request: Request) -> BoxFuture<'_, Result<Outcome, CommandError>> {
        async move {
            let mut result = self.decide_and_record(&request).await;
            if let (Err(CommandError::Refused(refusal)), Command::Prisoner(number, _)) = (&result, &request.command) {
                result = Err(self.name_last_survivor(number, refusal.clone(), &request.confinement).await.into());
            }
            self.inner.metrics.count(&request.command, &result);
            result
        }
        .boxed()
    }

    /// Executes a request that records a fact: if later entries keep it from taking effect at the
    /// time asked for, it takes effect from now.
    pub(crate) async fn execute_or_from_now(&self, request: Request) -> Result<Outcome, CommandError> {
        match self.execute(request.clone()).await {
            Err(error) if error.is_refusal(Rule::LaterEntryConflict) => {
                self.execute(Request { effective_at: None, ..request }).await
            }
            result => result,
        }
    }

    /// Executes a command of the ledger's own that follows from an event, under the first of its
    /// ids that no other command has: a taken id stops nothing. `part` is that of
    /// [`EventId::derive_command`], by which the request has its first id.
    pub(crate) async fn execute_own(
        &self,
        mut request: Request,
        cause: EventId,
        part: &str,
    ) -> Result<Outcome, CommandError> {
        for next in 2..=OWN_IDS_MAX {
            match self.execute_or_from_now(request.clone()).await {
                Err(CommandError::KeyReused { .. }) => {}
                Ok(outcome) if outcome.last().metadata.causation_id != Some(cause) => {}
                result => return result,
            }
            request.command_id = cause.derive_command(&format!("{part} {next}"));
        }
        self.execute_or_from_now(request).await
    }

    async fn decide_and_record(&self, request: &Request) -> Result<Outcome, CommandError> {
        let times = RequestTimes::of(request);
        match &request.command {
            Command::Prisoner(number, command) => {
                // The case, too, so that one does not wait for the other.
                let (roster, _) = try_join!(self.roster_for(command), self.case(number))?;
                let permit = |case: &prisoner::History| request.confinement.check_command(case, command);
                let decide = |case: &prisoner::History| self.decide_on_case(case, roster.as_deref(), command, times);
                self.decide_and_append(&self.inner.cases, number, roster.as_deref(), request, permit, decide).await
            }
            Command::Prison(code, command) => {
                let permit = |_: &prison::History| request.confinement.check_prison(code);
                let decide = |prison: &prison::History| self.decide_on_prison(prison, command, times);
                self.decide_and_append(&self.inner.prisons, code, None, request, permit, decide).await
            }
            Command::Contacts(number, command) => {
                let permit = |_: &nomis_contacts::History| request.confinement.check_prison(command.prison());
                let decide = |contacts: &nomis_contacts::History| self.decide_on_contacts(contacts, command, times);
                self.decide_and_append(&self.inner.contacts, number, None, request, permit, decide).await
            }
        }
    }

    async fn decide_and_append<H: StreamHistory>(
        &self,
        streams: &Streams<H>,
        key: &H::Key,
        roster: Option<&CachedPrison>,
        request: &Request,
        permit: impl Fn(&H) -> Result<(), Refusal>,
        decide: impl Fn(&H) -> Result<DecidedEvents<H::Event>, Refusal>,
    ) -> Result<Outcome, CommandError> {
        self.refuse_older_log().await?;
        let stream = H::stream(key);
        let cached = streams.load(key).await?;
        let _turn = take_turn(&cached.turn, &stream).await?;
        let mut is_up_to_date = false;
        // Whether the key was spent on this stream, and its events are not among those read. The
        // next reading finds them, unless the outcome of their append was unknown to the store.
        let mut is_awaited = false;
        for _ in 0..DECISIONS_MAX {
            let decided = {
                let loaded = cached.read();
                // The permission first, so that no other answer tells of a case that is not the
                // caller's.
                let permitted = permit(loaded.history()).map_err(CommandError::from);
                match answer_to_request(&loaded, request) {
                    Some(answer) if may_see_anywhere(&request.confinement, &request.recorded_by, &answer) => {
                        return answer;
                    }
                    Some(answer) if is_up_to_date => return permitted.and(answer),
                    Some(_) => None,
                    None => Some(permitted.and_then(|()| {
                        match request.if_match {
                            Some(expected) if loaded.revision() != Some(expected) => {
                                Err(CommandError::RevisionMismatch {
                                    stream: stream.clone(),
                                    expected,
                                    actual: loaded.revision(),
                                })
                            }
                            _ => decide(loaded.history())
                                .map(|decision| (decision, loaded.expected_revision()))
                                .map_err(CommandError::from),
                        }
                    })),
                }
            };
            let error = match decided {
                None => None,
                // The same fact again, if the stream is up to date: it may not hold any more.
                Some(Ok((DecidedEvents { same_fact: Some(revision), .. }, _))) => {
                    if is_up_to_date {
                        let answer = revision.to_string();
                        let spent = self.spend_key(request.command_id, &request.request_digest, answer).await?;
                        let loaded = cached.read();
                        let answer = answer_to_spent_key(&loaded, request, &spent)?;
                        match answer.or_else(|| loaded.outcome_at(revision).filter(|_| is_awaited)) {
                            Some(answer) => return Ok(answer),
                            None => is_awaited = true,
                        }
                    }
                    None
                }
                Some(Ok((decision, expected))) => {
                    match self.append(streams, &cached, request, decision, expected).await {
                        Ok(Some(outcome)) => return Ok(outcome),
                        Ok(None) => None,
                        Err(error @ CommandError::KeyReused { .. }) => Some(error),
                        Err(error) => return Err(error),
                    }
                }
                Some(Err(error)) => Some(error),
            };
            // Only a stream that is up to date tells that it refuses, or that the key is not its
            // own. A key that was answered without an event keeps its answer.
            if let Some(error) = error.filter(|_| is_up_to_date) {
                let Some(spent) = self.spent_key(request.command_id).await? else { return Err(error) };
                // The answer tells of the case, too.
                if spent != SpentKey::on_stream(&stream) && permit(cached.read().history()).is_err() {
                    return Err(error);
                }
                match answer_to_spent_key(&cached.read(), request, &spent)? {
                    Some(answer) => return Ok(answer),
                    None if is_awaited => return Err(error),
                    None => is_awaited = true,
                }
            }
            let refresh_roster = async {
                match roster {
                    Some(roster) => self.inner.prisons.refresh(roster).await,
                    None => Ok(()),
                }
            };
            let revisions = || (cached.read().revision(), roster.map(|roster| roster.read().revision()));
            let decided_at = revisions();
            try_join!(streams.refresh(&cached), refresh_roster)?;
            is_up_to_date = true;
            if revisions() != decided_at {
                self.inner.metrics.retries.inc();
            }
        }
        Err(CommandError::Contended { stream })
    }

    /// Appends the decided events. `None` if the stream has moved on, perhaps by an earlier try of
    /// this very command.
    async fn append<H: StreamHistory>(
        &self,
        streams: &Streams<H>,
        cached: &CachedStream<H>,
        request: &Request,
        decision: DecidedEvents<H::Event>,
        expected: ExpectedRevision,
    ) -> Result<Option<Outcome>, CommandError> {
        let stream = request.command.stream();
        let metadata = Metadata::new(
            decision.effective_at,
            request.recorded_by.clone(),
            request.command_id,
            request.request_digest.as_str().to_owned(),
            request.correlation_id,
            request.causation_id,
        )
        .with_provenance(request.provenance.clone());
        let events: Vec<Event> = decision.events.into_iter().map(Into::into).collect();
        let encoded: Vec<NewEvent> = events
            .iter()
            .enumerate()
            .map(|(index, event)| encode(&stream, event, index, &metadata, decision.now, Salt::random()))
            .collect();
        let bytes = encoded.iter().map(|event| event.data.len() as u64).sum();
        let metrics = &self.inner.metrics;
        let appending = Instant::now();
        let span = tracing::info_span!(target: EXPORTED, "append");
        let log = &self.inner.log;
        let appending_events = match request.command_id {
            own if own.is_of_the_ledger() => log.append(&stream, expected, encoded),
            key => log.append_with_key(&stream, expected, encoded, key),
        };
        let appended = appending_events.instrument(span).await;
        metrics.append_seconds.observe(appending.elapsed().as_secs_f64());
        match appended {
            // Equal event ids do not make it the same request, so the caller looks into the stream
            // for the digest.
            Ok(AppendReceipt { repeated: true, .. }) | Err(AppendError::Conflict { .. }) => {
                metrics.append_conflicts.inc();
                Ok(None)
            }
            Err(AppendError::KeyTaken { .. }) => Err(CommandError::KeyReused { command_id: request.command_id }),
            Ok(appended) => {
                let events: Vec<_> = events
                    .into_iter()
                    .zip(&appended.events)
                    .enumerate()
                    .map(|(index, (event, &(position, recorded_at)))| StoredEvent {
                        stream: stream.clone(),
                        metadata: metadata.clone(),
                        entry: Entry {
                            event_id: request.command_id.event_id(&stream, index),
                            revision: expected.next() + index as u64,
                            position,
                            effective_at: metadata.effective_at,
                            recorded_at,
                            recorded_by: request.recorded_by.clone(),
                            command_id: request.command_id,
                            event,
                        },
                    })
                    .collect();
                streams.observe(cached, &events, bytes)?;
                Ok(Outcome::new(events, false))
            }
            Err(AppendError::Log(error)) => {
                // The answer may have been lost after the commit. If the log cannot be read either,
                // the caller gets the first error and sends the same request again.
                if streams.refresh(cached).await.is_ok() && answer_to_request(&cached.read(), request).is_some() {
                    return Ok(None);
                }
                Err(error.into())
            }
            Err(error @ AppendError::Count { .. }) => Err(CommandError::Broken(Arc::new(error))),
        }
    }

    /// The roster that the rules look at, for a command that gives a role to a POM; perhaps behind
    /// the log.
    async fn roster_for(&self, command: &prisoner::Command) -> Result<Option<Arc<CachedPrison>>, CommandError> {
        match command.prison_of_new_role() {
            Some(code) => Ok(Some(self.inner.prisons.load(code).await?)),
            None => Ok(None),
        }
    }

    /// The history of a case, up to date with the log; without entries where nothing is known.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`] or [`CommandError::Broken`]: the log cannot be read.
    pub async fn history(&self, number: &PrisonerNumber) -> Result<prisoner::History, CommandError> {
        let case = self.case_now(number).await?;
        let loaded = case.read();
        Ok(loaded.history().clone())
    }

    /// A case from the cache, perhaps behind the log.
    pub(crate) async fn case(&self, number: &PrisonerNumber) -> Result<Arc<CachedCase>, CommandError> {
        Ok(self.inner.cases.load(number).await?)
    }

    /// A case that is up to date with the log.
    pub(crate) async fn case_now(&self, number: &PrisonerNumber) -> Result<Arc<CachedCase>, CommandError> {
        let case = self.case(number).await?;
        self.inner.cases.refresh(&case).await?;
        Ok(case)
    }

    /// A prison that is up to date with the log.
    pub(crate) async fn prison_now(&self, code: &PrisonCode) -> Result<Arc<CachedPrison>, CommandError> {
        let prison = self.inner.prisons.load(code).await?;
        self.inner.prisons.refresh(&prison).await?;
        Ok(prison)
    }

    /// Adds an event that was read from the log to its prison, if that is in the cache, so that
    /// rosters stay fresh on every server.
    pub(crate) fn observe_prison(&self, code: &PrisonCode, event: &StoredEvent) -> Result<(), CommandError> {
        match self.inner.prisons.get(code) {
            Some(prison) => Ok(prison.observe(std::slice::from_ref(event))?),
            None => Ok(()),
        }
    }

    /// Refuses a log of an earlier version, before anything is appended to it. Asks the log once.
    pub(crate) async fn refuse_older_log(&self) -> Result<(), LogError> {
        // In an outage nobody waits for the try of another.
        if !self.inner.is_log_readable.load(Ordering::Relaxed) {
            refuse_older_log(&*self.inner.log).await?;
            self.inner.is_log_readable.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The log, which the policies follow.
    pub(crate) fn log(&self) -> &SharedLog {
        &self.inner.log
    }

    /// The obligations that the policies have read from the log.
    pub(crate) fn obligations(&self) -> &ObligationIndex {
        &self.inner.obligations
    }

    /// Every case on which a POM ever had a role at a prison, up to the present end of the log.
    pub(crate) async fn cases_ever_held(
        &self,
        prison: &PrisonCode,
        staff_id: StaffId,
    ) -> Result<Vec<PrisonerNumber>, CommandError> {
        let head = self.inner.log.head().await?;
        self.inner.obligations.cases_ever_held(prison, staff_id, head).await
    }

    /// The person whose contact in NOMIS it is, by what is recorded up to the present end of the
    /// log.
    pub(crate) async fn person_of_contact(
        &self,
        prison: &PrisonCode,
        contact_id: &Uuid,
    ) -> Result<Option<PrisonerNumber>, CommandError> {
        let head = self.inner.log.head().await?;
        self.inner.obligations.person_of_contact(prison, contact_id, head).await
    }

    pub(crate) fn running_bulks(&self) -> &RunningBulks {
        &self.inner.running_bulks
    }

    /// Counts a command of this type that failed before it was known for which stream it is.
    pub(crate) fn count_failed(&self, kind_name: &'static str, error: &CommandError) {
        self.inner.metrics.count_failed(kind_name, error);
    }

    /// Counts the keys that the log has met on two streams since the last count.
    pub(crate) fn count_key_collisions(&self) {
        let counted = &self.inner.metrics.key_collisions;
        counted.inc_by(self.inner.log.key_collisions().saturating_sub(counted.get()));
    }

    /// The time by this service's clock.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.inner.settings.clock.now()
    }

    /// Waits until this process decides no other merge, so that two merges cannot close a circle
    /// between them.
    pub(crate) async fn take_merge_turn(&self, survivor: &PrisonerNumber) -> Result<MutexGuard<'_, ()>, CommandError> {
        take_turn(&self.inner.merge_turn, &Stream::Prisoner(survivor.clone())).await
    }
}
