//! Turns commands into events by the ledger's rules, and events into the bytes of the log, as the
//! command service does but without a log to read.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Entry, Event, Refusal, Stream,
    event::RecordedBy,
    identifier::{CommandId, EventId, PrisonCode, PrisonerNumber, StaffId},
    nomis_contacts, prison, prisoner,
    prisoner::RecommendationPolicy,
};
use event_log::{
    Metadata, OrderedEvent, encode,
    history::{StreamHistory, push},
    request_digest,
};
use serde_json::json;
use uuid::Uuid;

use crate::random::Random;

/// The approximate number of events of a batch. Each batch costs a commit.
const BATCH_EVENTS: usize = 5_000;

/// Events that must be written together or not at all.
#[derive(Debug)]
pub struct Batch {
    /// The events, in the order of the log.
    pub events: Vec<OrderedEvent>,
    /// The simulated time at the end of the batch.
    pub until: DateTime<Utc>,
}

/// The metadata of a command.
#[derive(Debug, Clone)]
pub(crate) struct CommandMetadata {
    command_id: CommandId,
    request_digest: String,
    recorded_by: RecordedBy,
    correlation_id: Uuid,
    causation_id: Option<EventId>,
    effective_at: Option<DateTime<Utc>>,
}

impl CommandMetadata {
    /// A command that a person or a service sends through a client, with effect from now.
    pub(crate) fn by(random: &mut Random, operation: &str, target: &str, recorded_by: RecordedBy) -> Self {
        let command_id = CommandId(random.uuid());
        Self {
            // The digest is made of the id, which is unique for each request, since there is no
            // body.
            request_digest: request_digest(operation, target, &command_id),
            command_id,
            recorded_by,
            correlation_id: random.uuid(),
            causation_id: None,
            effective_at: None,
        }
    }

    /// A command of the policy that an inactive POM holds no cases. It has the same ids and digest
    /// as the policy of the command service, so that the policy finds nothing left to do.
    pub(crate) fn by_inactive_pom(
        cause: EventId,
        since: DateTime<Utc>,
        number: &PrisonerNumber,
        prison: &PrisonCode,
        staff_id: StaffId,
    ) -> Self {
        Self {
            command_id: cause.derive_command(number.as_str()),
            request_digest: request_digest(
                "end-pom-role",
                number.as_str(),
                &json!({ "prison": prison.as_str(), "staffId": staff_id.get() }),
            ),
            recorded_by: recorded_by("LEDGER_POLICY", "policy"),
            correlation_id: cause.derive_command("correlation").0,
            causation_id: Some(cause),
            effective_at: Some(since),
        }
    }

    /// The command that completes a merge, after the retirement of the removed number.
    pub(crate) fn completion(&self, retirement: &Entry<prisoner::PrisonerEvent>, removed: &PrisonerNumber) -> Self {
        Self {
            command_id: retirement.event_id.derive_command(&format!("merge {removed}")),
            request_digest: request_digest("complete-merge", removed.as_str(), &()),
            recorded_by: self.recorded_by.clone(),
            correlation_id: self.correlation_id,
            causation_id: Some(retirement.event_id),
            effective_at: Some(retirement.effective_at),
        }
    }

    /// The same command with another effective time; `None` means now.
    pub(crate) fn from(self, effective_at: Option<DateTime<Utc>>) -> Self {
        Self { effective_at, ..self }
    }

    fn metadata(&self, effective_at: DateTime<Utc>) -> Metadata {
        Metadata::new(
            effective_at,
            self.recorded_by.clone(),
            self.command_id,
            self.request_digest.clone(),
            self.correlation_id,
            self.causation_id,
        )
    }
}

/// The recorder of a command. The username must be valid.
pub(crate) fn recorded_by(username: &str, client: &str) -> RecordedBy {
    RecordedBy {
        username: Some(username.parse().expect("a username by its format")),
        client: client.to_owned(),
        auth_source: None,
    }
}

/// The end of the log: its time, its position and the events that are not handed over yet.
#[derive(Debug)]
pub(crate) struct SimulatedLog {
    now: DateTime<Utc>,
    position: u64,
    events: Vec<OrderedEvent>,
    /// Draws the salts alone, so that the history does not depend on how many there are.
    salts: Random,
}

impl SimulatedLog {
    pub(crate) fn new(start: DateTime<Utc>, salts: Random) -> Self {
        Self { now: start, position: 0, events: Vec::new(), salts }
    }

    /// The simulated time, which becomes the recorded time of events.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Moves the simulated time to `at`, unless it is later already.
    pub(crate) fn wait_until(&mut self, at: DateTime<Utc>) {
        self.now = self.now.max(at);
    }

    /// Moves the simulated time by some milliseconds, as between a command and the policy that acts
    /// on it.
    pub(crate) fn wait_a_moment(&mut self, random: &mut Random) {
        self.now += TimeDelta::microseconds(random.between(1_200, 40_000));
    }

    /// Decides a command on a case and records its events.
    pub(crate) fn on_case(
        &mut self,
        history: &mut prisoner::History,
        roster: Option<&prison::History>,
        command: &prisoner::Command,
        metadata: &CommandMetadata,
    ) -> Result<(), Refusal> {
        let context = prisoner::Context {
            now: self.now,
            effective_at: metadata.effective_at.unwrap_or(self.now),
            prison: roster,
            recommendation_policy: RecommendationPolicy::Tier,
        };
        let events = prisoner::decide(history, command, &context)?;
        self.append_all(history, events, &metadata.metadata(context.effective_at));
        Ok(())
    }

    /// Decides a command on a prison and records its events.
    pub(crate) fn on_prison(
        &mut self,
        history: &mut prison::History,
        command: &prison::Command,
        metadata: &CommandMetadata,
    ) -> Result<(), Refusal> {
        let effective_at = metadata.effective_at.unwrap_or(self.now);
        let events = prison::decide(history, command, &prison::Context { now: self.now, effective_at })?;
        self.append_all(history, events, &metadata.metadata(effective_at));
        Ok(())
    }

    /// Decides a command on the contacts that NOMIS has of a person and records its events.
    pub(crate) fn on_contacts(
        &mut self,
        history: &mut nomis_contacts::History,
        command: &nomis_contacts::Command,
        metadata: &CommandMetadata,
    ) -> Result<(), Refusal> {
        let effective_at = metadata.effective_at.unwrap_or(self.now);
        let context = nomis_contacts::Context { now: self.now, effective_at };
        let events = nomis_contacts::decide(history, command, &context)?;
        self.append_all(history, events, &metadata.metadata(effective_at));
        Ok(())
    }

    fn append_all<H: StreamHistory>(&mut self, history: &mut H, events: Vec<H::Event>, metadata: &Metadata) {
        for (index, event) in events.into_iter().enumerate() {
            let stream = H::stream(history.key());
            let revision = history.entries().len() as u64;
            let entry = self.append(stream, revision, event.into(), index, metadata);
            push(history, entry).expect("it is the next entry of this history");
        }
    }

    fn append(
        &mut self,
        stream: Stream,
        revision: u64,
        event: Event,
        index: usize,
        metadata: &Metadata,
    ) -> Entry<Event> {
        let encoded = encode(&stream, &event, index, metadata, self.now, self.salts.salt());
        self.position += 1;
        let entry = Entry {
            event_id: encoded.event_id,
            revision,
            position: self.position,
            effective_at: metadata.effective_at,
            recorded_at: self.now,
            recorded_by: metadata.recorded_by.clone(),
            command_id: metadata.command_id,
            event,
        };
        self.events.push(OrderedEvent { stream, revision, event: encoded });
        entry
    }

    /// Takes the events if they fill a batch. Callers must not call this in the middle of a merge
    /// or of a policy's work.
    pub(crate) fn full_batch(&mut self) -> Option<Batch> {
        (self.events.len() >= BATCH_EVENTS).then(|| self.batch())
    }

    /// Takes the events, however few.
    pub(crate) fn batch(&mut self) -> Batch {
        let events = std::mem::replace(&mut self.events, Vec::with_capacity(BATCH_EVENTS + BATCH_EVENTS / 10));
        Batch { events, until: self.now }
    }
}

pub(crate) fn target(number: &PrisonerNumber, operation: &str) -> String {
    format!("/prisoners/{number}/{operation}")
}
