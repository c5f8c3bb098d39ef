//! Load, decide, append: how a request becomes events, once and only once.
//!
//! 1. Load the stream, and the roster where the rules look at it.
//! 2. Was this command recorded already? Then its events are the answer, or a refusal if the request was another one.
//! 3. Decide (`domain`). A refusal stands only when stream and roster are as the log has them *now*; otherwise both are
//!    brought up to date and step 2 begins again.
//! 4. Append at the revision that was decided on. On a conflict both are brought up to date and step 2 begins again.
//!
//! An append whose answer was lost is settled by looking into the stream for the command. What is recorded is taken
//! into the kept histories at once. A roster that is kept may be older than the log when a command is *accepted*; a
//! case that goes to a POM in the moment in which that POM becomes inactive is put right by [`crate::policies`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use domain::{
    Command, Entry, Refusal,
    event::RecordedBy,
    identifier::{CommandId, PrisonCode, PrisonerNumber, Username},
    prison, prisoner,
    prisoner::RecommendationPolicy,
};
use event_log::{AppendError, Appended, EXPORTED, ExpectedRevision, Metadata, SharedLog, StoredEvent, encode};
use prometheus_client::registry::Registry;
use tokio::time::timeout;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    Clock, Error, MergeRequest, Outcome, Request,
    clock::whole_microseconds,
    idempotency_keys::Recent,
    metrics::Metrics,
    operations::merge,
    policies::Index,
    streams::{History, Known, Live, Streams},
};

/// How often a command is decided before giving up: the first time, once more after a refusal by what is kept, and
/// after each conflict. Of two servers that keep at one stream, each loses half of the time.
const DECISIONS_MAX: usize = 12;

/// How long a command waits for the others of this process on the same stream; far longer than an append takes, far
/// shorter than a caller's patience.
pub(crate) const TURN_WAIT_MAX: Duration = Duration::from_secs(5);

/// Most cases kept in memory: some 7 kB each, ten entries of a typical case.
const CASES_KEPT_MAX: usize = 20_000;

/// Most prisons kept in memory; there are about 120.
const PRISONS_KEPT_MAX: usize = 500;

/// What the command side can be set to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the time comes from.
    pub clock: Clock,
    /// How the recommended kind of POM is worked out.
    pub recommendation_policy: RecommendationPolicy,
    /// Who records where a request does not say: the local user.
    pub local_user: Username,
}

/// The command side of one process; clones share everything.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    log: SharedLog,
    settings: Settings,
    cases: Streams<prisoner::History>,
    prisons: Streams<prison::History>,
    index: Index,
    recent: Recent,
    merges: tokio::sync::Mutex<()>,
    metrics: Metrics,
}

impl Service {
    /// The command side over `log`. Has to be called inside a Tokio runtime.
    #[must_use]
    pub fn new(log: SharedLog, settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                cases: Streams::new(Arc::clone(&log), CASES_KEPT_MAX),
                prisons: Streams::new(Arc::clone(&log), PRISONS_KEPT_MAX),
                index: Index::default(),
                recent: Recent::new(),
                merges: tokio::sync::Mutex::new(()),
                metrics: Metrics::new(),
                log,
                settings,
            }),
        }
    }

    /// Shows what this command side counts in a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.inner.metrics.register(registry);
    }

    /// Decides a request and records its events, unless they are recorded already.
    ///
    /// # Errors
    /// [`Error`]; nothing was recorded, except perhaps where it says so.
    pub async fn execute(&self, request: Request) -> Result<Outcome, Error> {
        let answer = self.decide_and_record(&request).await;
        self.inner.metrics.executed(&request.command, &answer);
        answer
    }

    async fn decide_and_record(&self, request: &Request) -> Result<Outcome, Error> {
        match &request.command {
            Command::Prisoner(number, command) => {
                let roster = match roster_of(command) {
                    Some(code) => Some(self.prison(code).await?),
                    None => None,
                };
                let roster = roster.as_ref();
                let decide = |known: &Known<prisoner::History>, request: &Request| {
                    let roster = roster.map(|roster| roster.known());
                    let roster_at = roster.as_ref().and_then(|roster| roster.last_recorded_at());
                    let now = self.now_for(request, known.last_recorded_at().max(roster_at));
                    let context = prisoner::Context {
                        now,
                        effective_at: request.effective_at.map_or(now, whole_microseconds),
                        prison: roster.as_ref().map(|roster| roster.history()),
                        recommendation_policy: self.inner.settings.recommendation_policy,
                    };
                    let events = prisoner::decide(known.history(), command, &context)?;
                    Ok(Decision { events, now, effective_at: context.effective_at })
                };
                self.decide_and_append(&self.inner.cases, number, roster, request, decide).await
            }
            Command::Prison(code, command) => {
                let decide = |known: &Known<prison::History>, request: &Request| {
                    let now = self.now_for(request, known.last_recorded_at());
                    let context =
                        prison::Context { now, effective_at: request.effective_at.map_or(now, whole_microseconds) };
                    let events = prison::decide(known.history(), command, &context)?;
                    Ok(Decision { events, now, effective_at: context.effective_at })
                };
                self.decide_and_append(&self.inner.prisons, code, None, request, decide).await
            }
        }
    }

    async fn decide_and_append<H: History>(
        &self,
        streams: &Streams<H>,
        key: &H::Key,
        roster: Option<&Arc<Live<prison::History>>>,
        request: &Request,
        decide: impl Fn(&Known<H>, &Request) -> Result<Decision<H::Event>, Refusal>,
    ) -> Result<Outcome, Error> {
        let stream = H::stream(key);
        self.inner.recent.check(request.command_id, Some(&stream), &request.request_digest)?;
        let live = streams.load(key).await?;
        let contended = || Error::Contended { stream: stream.clone() };
        let _turn = timeout(TURN_WAIT_MAX, live.turn.lock()).await.map_err(|_| contended())?;
        let mut up_to_date = false;
        for _ in 0..DECISIONS_MAX {
            let decided = {
                let known = live.known();
                if let Some(answer) = recorded(&known, request) {
                    if answer.is_ok() {
                        self.inner.recent.note(request.command_id, Some(stream), &request.request_digest);
                    }
                    return answer;
                }
                match request.if_match {
                    Some(expected) if known.revision() != Some(expected) => {
                        Err(Error::RevisionMismatch { stream: stream.clone(), expected, actual: known.revision() })
                    }
                    _ => decide(&known, request).map_err(Error::from).map(|decision| (decision, known.expected())),
                }
            };
            match decided {
                Ok((decision, expected)) => {
                    if let Some(outcome) = self.append(streams, &live, request, decision, expected).await? {
                        return Ok(outcome);
                    }
                }
                Err(no) if up_to_date => return Err(no),
                Err(_) => {}
            }
            streams.refresh(&live).await?;
            if let Some(roster) = roster {
                self.inner.prisons.refresh(roster).await?;
            }
            up_to_date = true;
            self.inner.metrics.retries.inc();
        }
        Err(contended())
    }

    /// Appends what was decided; `None` where the stream has moved on, be it by an earlier try of this very command.
    async fn append<H: History>(
        &self,
        streams: &Streams<H>,
        live: &Live<H>,
        request: &Request,
        decision: Decision<H::Event>,
        expected: ExpectedRevision,
    ) -> Result<Option<Outcome>, Error> {
        let stream = request.command.stream();
        let metadata = Metadata::new(
            decision.effective_at,
            request.recorded_by.clone(),
            request.command_id,
            request.request_digest.clone(),
            request.correlation_id,
            request.causation_id,
        );
        let events: Vec<_> = decision.events.into_iter().map(H::wrap).collect();
        let encoded =
            events.iter().enumerate().map(|(index, event)| encode(event, index, &metadata, decision.now)).collect();
        let metrics = &self.inner.metrics;
        let appending = Instant::now();
        let span = tracing::info_span!(target: EXPORTED, "append");
        let appended = self.inner.log.append(&stream, expected, encoded).instrument(span).await;
        metrics.append_seconds.observe(appending.elapsed().as_secs_f64());
        match appended {
            // The same ids do not make it the same request, so the stream is asked which request it was.
            Ok(Appended { repeated: true, .. }) | Err(AppendError::Conflict { .. }) => {
                metrics.append_conflicts.inc();
                Ok(None)
            }
            Ok(appended) => {
                let events: Vec<_> = events
                    .into_iter()
                    .zip(&appended.events)
                    .enumerate()
                    .map(|(index, (event, &(position, recorded_at)))| StoredEvent {
                        stream: stream.clone(),
                        metadata: metadata.clone(),
                        entry: Entry {
                            event_id: request.command_id.event_id(index),
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
                live.observe(&events)?;
                self.inner.recent.note(request.command_id, Some(stream), &request.request_digest);
                Ok(Some(Outcome { events, repeated: false }))
            }
            Err(AppendError::Log(error)) => {
                // The answer may have been lost after the commit. If the log cannot be read either, the caller is told
                // of the first failure and sends the same again.
                if streams.refresh(live).await.is_ok()
                    && let Some(answer) = recorded(&live.known(), request)
                {
                    return answer.map(Some);
                }
                Err(error.into())
            }
            Err(error @ AppendError::Count { .. }) => Err(Error::Broken(Arc::new(error))),
        }
    }

    /// Merges one number into another (rule 10). The answer has the events on the removed number and then the one on the
    /// survivor; where an earlier request made this merge, those that it recorded.
    ///
    /// # Errors
    /// [`Error`]. After an outage the removed number may be retired already; the policies then complete the merge.
    pub async fn merge(&self, request: MergeRequest) -> Result<Outcome, Error> {
        merge::merge(self, request).await
    }

    /// Says whether commands to a case would be accepted one after the other, now. Records nothing.
    pub(crate) async fn rehearse(&self, number: &PrisonerNumber, commands: &[prisoner::Command]) -> Result<(), Error> {
        let case = self.case_now(number).await?;
        let mut history = case.known().history().clone();
        for command in commands {
            let roster = match roster_of(command) {
                Some(code) => Some(self.prison_now(code).await?),
                None => None,
            };
            let roster = roster.as_ref().map(|roster| roster.known());
            let now = history.entries().last().map(|entry| entry.recorded_at).unwrap_or_default();
            let now = self
                .now()
                .max(now)
                .max(roster.as_ref().and_then(|roster| roster.last_recorded_at()).unwrap_or_default());
            let context = prisoner::Context {
                now,
                effective_at: now,
                prison: roster.as_ref().map(|roster| roster.history()),
                recommendation_policy: self.inner.settings.recommendation_policy,
            };
            for event in prisoner::decide(&history, command, &context)? {
                let revision = history.entries().len() as u64;
                history.push(Entry {
                    // No rule looks at what only the log gives an entry.
                    event_id: CommandId(Uuid::nil()).event_id(0),
                    command_id: CommandId(Uuid::nil()),
                    position: u64::MAX,
                    revision,
                    effective_at: now,
                    recorded_at: now,
                    recorded_by: RecordedBy { username: self.local_user().clone(), client: String::new() },
                    event,
                });
            }
        }
        Ok(())
    }

    /// A case as it is known here, perhaps behind the log.
    pub(crate) async fn case(&self, number: &PrisonerNumber) -> Result<Arc<Live<prisoner::History>>, Error> {
        Ok(self.inner.cases.load(number).await?)
    }

    /// A case as the log has it now.
    pub(crate) async fn case_now(&self, number: &PrisonerNumber) -> Result<Arc<Live<prisoner::History>>, Error> {
        let live = self.case(number).await?;
        self.inner.cases.refresh(&live).await?;
        Ok(live)
    }

    /// A prison as it is known here, perhaps behind the log.
    pub(crate) async fn prison(&self, code: &PrisonCode) -> Result<Arc<Live<prison::History>>, Error> {
        Ok(self.inner.prisons.load(code).await?)
    }

    /// A prison as the log has it now.
    pub(crate) async fn prison_now(&self, code: &PrisonCode) -> Result<Arc<Live<prison::History>>, Error> {
        let live = self.prison(code).await?;
        self.inner.prisons.refresh(&live).await?;
        Ok(live)
    }

    /// Takes what a follower of the log saw into the prison kept, so that rosters stay fresh on every server.
    pub(crate) fn observe_prison(&self, code: &PrisonCode, event: &StoredEvent) -> Result<(), Error> {
        match self.inner.prisons.kept(code) {
            Some(live) => Ok(live.observe(std::slice::from_ref(event))?),
            None => Ok(()),
        }
    }

    /// Whether the policies have read the log to its end and are following it; never while [`crate::policies::run`]
    /// does not run. Until then no debt is discharged and a bulk reallocation of all cases is answered with 503.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.inner.index.is_caught_up()
    }

    /// Whether [`crate::policies::run`] runs, be it that it has caught up or not.
    #[must_use]
    pub fn policies_run(&self) -> bool {
        self.inner.index.is_followed()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.inner.settings.clock.now()
    }

    /// The time at which a request is decided: this clock's, or what the log shows to have struck already. What a
    /// policy records follows from an event that may have been recorded by a clock that is ahead of this one.
    fn now_for(&self, request: &Request, last_recorded_at: Option<DateTime<Utc>>) -> DateTime<Utc> {
        let caused_at = request.causation_id.and(request.effective_at).map(whole_microseconds);
        self.now().max(last_recorded_at.max(caused_at).unwrap_or_default())
    }

    pub(crate) fn log(&self) -> &SharedLog {
        &self.inner.log
    }

    pub(crate) fn recent(&self) -> &Recent {
        &self.inner.recent
    }

    pub(crate) fn index(&self) -> &Index {
        &self.inner.index
    }

    /// Held while a merge is worked out, so that two merges of this process cannot close a circle between them.
    pub(crate) fn merges(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.merges
    }

    pub(crate) fn local_user(&self) -> &Username {
        &self.inner.settings.local_user
    }
}

/// What was decided, and by which clock.
struct Decision<E> {
    events: Vec<E>,
    now: DateTime<Utc>,
    effective_at: DateTime<Utc>,
}

/// The answer to a request whose command id stands in the stream already.
fn recorded<H: History>(known: &Known<H>, request: &Request) -> Option<Result<Outcome, Error>> {
    recorded_before(known, request.command_id, &request.request_digest)
}

/// The answer to a command that a stream has recorded already; [`Error::KeyReused`] where it was another request.
pub(crate) fn recorded_before<H: History>(
    known: &Known<H>,
    command_id: CommandId,
    request_digest: &str,
) -> Option<Result<Outcome, Error>> {
    let digest = known.request_digest(command_id)?;
    Some(if digest == request_digest {
        Ok(Outcome { events: known.events_of(command_id), repeated: true })
    } else {
        Err(Error::KeyReused { command_id })
    })
}

/// The prison whose roster the rules look at, for a command that gives a role to a POM.
fn roster_of(command: &prisoner::Command) -> Option<&PrisonCode> {
    match command {
        prisoner::Command::Allocate(allocate) => Some(&allocate.prison),
        prisoner::Command::Reallocate(reallocate) => Some(&reallocate.prison),
        prisoner::Command::AllocateCoworker(allocate) => Some(&allocate.prison),
        prisoner::Command::AssignTier(_)
        | prisoner::Command::Deallocate(_)
        | prisoner::Command::EndPomRole(_)
        | prisoner::Command::RemoveCoworker
        | prisoner::Command::AssignCommunityManager(_)
        | prisoner::Command::RemoveCommunityManager
        | prisoner::Command::PlanHandover(_)
        | prisoner::Command::OverrideResponsibility(_)
        | prisoner::Command::RemoveResponsibilityOverride
        | prisoner::Command::Release(_)
        | prisoner::Command::Transfer(_)
        | prisoner::Command::Void(_)
        | prisoner::Command::Retire(_)
        | prisoner::Command::CompleteMerge(_) => None,
    }
}
