//! Commands become events by the ledger's rules, and events the bytes of the log: as the command side does it, with no
//! log to read.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Entry, Event, Refusal, Stream,
    event::RecordedBy,
    identifier::{CommandId, EventId, PrisonCode, PrisonerNumber, StaffId},
    prison, prisoner,
    prisoner::RecommendationPolicy,
};
use event_log::{Metadata, OrderedEvent, encode, history::push, request_digest};
use serde_json::json;
use uuid::Uuid;

use crate::random::Random;

/// Events of a batch, about: each costs a commit.
const BATCH_EVENTS: usize = 5_000;

/// Events that belong together: written whole or not at all.
#[derive(Debug)]
pub struct Batch {
    /// In order.
    pub events: Vec<OrderedEvent>,
    /// How far the simulated time has come.
    pub until: DateTime<Utc>,
}

/// What travels beside a command.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    command_id: CommandId,
    request_digest: String,
    recorded_by: RecordedBy,
    correlation_id: Uuid,
    causation_id: Option<EventId>,
    effective_at: Option<DateTime<Utc>>,
}

impl Asked {
    /// By somebody with a client, to hold from now.
    pub(crate) fn by(random: &mut Random, operation: &str, target: &str, recorded_by: RecordedBy) -> Self {
        let command_id = CommandId(random.uuid());
        Self {
            // There was no body: the id, of which there is one a request, stands for it.
            request_digest: request_digest(operation, target, &command_id),
            command_id,
            recorded_by,
            correlation_id: random.uuid(),
            causation_id: None,
            effective_at: None,
        }
    }

    /// By the policy that an inactive POM holds no cases, in the very words of the command side: then it finds nothing
    /// left to do.
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

    /// The second half of a merge, after the retirement of the removed number that `self` asked for.
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

    /// The same, to hold from then; or from now.
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

/// Who records; a username by its format.
pub(crate) fn recorded_by(username: &str, client: &str) -> RecordedBy {
    RecordedBy { username: username.parse().expect("a username by its format"), client: client.to_owned() }
}

/// The end of the log that is being made.
#[derive(Debug)]
pub(crate) struct Recorder {
    now: DateTime<Utc>,
    position: u64,
    events: Vec<OrderedEvent>,
}

impl Recorder {
    pub(crate) fn new(start: DateTime<Utc>) -> Self {
        Self { now: start, position: 0, events: Vec::new() }
    }

    /// The simulated time. Events are recorded now.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Lets it become `at`, unless it is later already.
    pub(crate) fn wait_until(&mut self, at: DateTime<Utc>) {
        self.now = self.now.max(at);
    }

    /// Lets a moment pass, as between a command and what a policy does about it.
    pub(crate) fn wait_a_moment(&mut self, random: &mut Random) {
        self.now += TimeDelta::microseconds(random.between(1_200, 40_000));
    }

    /// Records what a command makes of a case.
    pub(crate) fn on_case(
        &mut self,
        history: &mut prisoner::History,
        roster: Option<&prison::History>,
        command: &prisoner::Command,
        asked: &Asked,
    ) -> Result<(), Refusal> {
        let context = prisoner::Context {
            now: self.now,
            effective_at: asked.effective_at.unwrap_or(self.now),
            prison: roster,
            recommendation_policy: RecommendationPolicy::Tier,
        };
        let events = prisoner::decide(history, command, &context)?;
        let metadata = asked.metadata(context.effective_at);
        for (index, event) in events.into_iter().enumerate() {
            let stream = Stream::Prisoner(history.number().clone());
            let revision = history.entries().len() as u64;
            let entry = self.append(stream, revision, Event::Prisoner(event), index, &metadata);
            push(history, entry).expect("it is the next entry of this history");
        }
        Ok(())
    }

    /// Records what a command makes of a prison.
    pub(crate) fn on_prison(
        &mut self,
        history: &mut prison::History,
        command: &prison::Command,
        asked: &Asked,
    ) -> Result<(), Refusal> {
        let effective_at = asked.effective_at.unwrap_or(self.now);
        let events = prison::decide(history, command, &prison::Context { now: self.now, effective_at })?;
        let metadata = asked.metadata(effective_at);
        for (index, event) in events.into_iter().enumerate() {
            let stream = Stream::Prison(history.code().clone());
            let revision = history.entries().len() as u64;
            let entry = self.append(stream, revision, Event::Prison(event), index, &metadata);
            push(history, entry).expect("it is the next entry of this history");
        }
        Ok(())
    }

    fn append(
        &mut self,
        stream: Stream,
        revision: u64,
        event: Event,
        index: usize,
        metadata: &Metadata,
    ) -> Entry<Event> {
        let encoded = encode(&event, index, metadata, self.now);
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

    /// What there is, if it is enough for a batch. To be asked where nothing is half done.
    pub(crate) fn full_batch(&mut self) -> Option<Batch> {
        (self.events.len() >= BATCH_EVENTS).then(|| self.batch())
    }

    /// What there is.
    pub(crate) fn batch(&mut self) -> Batch {
        let events = std::mem::replace(&mut self.events, Vec::with_capacity(BATCH_EVENTS + BATCH_EVENTS / 10));
        Batch { events, until: self.now }
    }
}

pub(crate) fn target(number: &PrisonerNumber, operation: &str) -> String {
    format!("/prisoners/{number}/{operation}")
}
