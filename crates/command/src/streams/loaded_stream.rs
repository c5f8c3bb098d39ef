//! One stream as loaded from the log: its history, and which commands recorded its events.

use std::collections::HashMap;

use domain::{
    Entry,
    identifier::{CommandId, EventId},
};
use event_log::{
    CheckedSalt, ExpectedRevision, LogError, Metadata, Provenance, RecordedEvent, SpentKey, StoredEvent, decode,
    history::{self, StreamHistory},
};
use uuid::Uuid;

use crate::{CommandError, Outcome, Request, RequestDigest};

/// Bytes that an event takes in memory beside its data.
const EVENT_BYTES: u64 = 512;

/// A stream up to the revision that was read last. It may be behind the log.
#[derive(Debug)]
pub(crate) struct LoadedStream<H> {
    history: H,
    commands: HashMap<CommandId, CommandRecord>,
    /// About as many bytes as it takes.
    bytes: u64,
}

/// The events that one command recorded, and the part of their envelope that `domain` does not
/// keep.
#[derive(Debug, Clone)]
struct CommandRecord {
    first_revision: u64,
    count: usize,
    schema_version: u16,
    request_digest: String,
    correlation_id: Uuid,
    causation_id: Option<EventId>,
    provenance: Option<Box<Provenance>>,
}

impl<H: StreamHistory> LoadedStream<H> {
    pub(super) fn new(key: H::Key) -> Self {
        Self { history: H::new(key), commands: HashMap::new(), bytes: EVENT_BYTES }
    }

    /// About as many bytes as the stream takes in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the bytes of the data of events.
    pub(super) fn count_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub(crate) fn history(&self) -> &H {
        &self.history
    }

    /// The revision at which an append of what is decided on this history must find the stream.
    pub(crate) fn expected_revision(&self) -> ExpectedRevision {
        self.revision().map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact)
    }

    pub(crate) fn revision(&self) -> Option<u64> {
        self.history.entries().last().map(|entry| entry.revision)
    }

    pub(super) fn next_revision(&self) -> u64 {
        self.history.entries().len() as u64
    }

    /// The digest of the request that recorded a command here.
    pub(crate) fn request_digest(&self, command_id: CommandId) -> Option<&str> {
        self.commands.get(&command_id).map(|record| record.request_digest.as_str())
    }

    /// The command with this digest that was recorded here because of an event.
    pub(crate) fn command_after(&self, cause: EventId, request_digest: &RequestDigest) -> Option<CommandId> {
        let is_after = |record: &CommandRecord| {
            record.causation_id == Some(cause) && request_digest.matches(&record.request_digest)
        };
        self.commands.iter().find_map(|(command_id, record)| is_after(record).then_some(*command_id))
    }

    /// The events that a command recorded here; `None` if it recorded none.
    pub(crate) fn outcome_of(&self, command_id: CommandId) -> Option<Outcome> {
        let record = self.commands.get(&command_id)?;
        let first = usize::try_from(record.first_revision).unwrap_or(usize::MAX);
        let entries = self.history.entries().iter().skip(first).take(record.count);
        Outcome::new(entries.map(|entry| self.stored_event(entry, record)).collect(), true)
    }

    /// The event at a revision as the answer to a request that recorded nothing.
    pub(crate) fn outcome_at(&self, revision: u64) -> Option<Outcome> {
        let entry = self.history.entries().get(usize::try_from(revision).ok()?)?;
        let record = self.commands.get(&entry.command_id)?;
        Outcome::new(vec![self.stored_event(entry, record)], true)
    }

    fn stored_event(&self, entry: &Entry<H::Event>, record: &CommandRecord) -> StoredEvent {
        StoredEvent {
            stream: H::stream(self.history.key()),
            metadata: Metadata {
                schema_version: record.schema_version,
                effective_at: entry.effective_at,
                recorded_by: entry.recorded_by.clone(),
                command_id: entry.command_id,
                request_digest: record.request_digest.clone(),
                correlation_id: record.correlation_id,
                causation_id: record.causation_id,
                provenance: record.provenance.clone(),
                salt: CheckedSalt,
            },
            entry: Entry {
                event_id: entry.event_id,
                revision: entry.revision,
                position: entry.position,
                effective_at: entry.effective_at,
                recorded_at: entry.recorded_at,
                recorded_by: entry.recorded_by.clone(),
                command_id: entry.command_id,
                event: entry.event.clone().into(),
            },
        }
    }

    /// Adds an event if it is the next one. Ignores an event that is here already, and one that
    /// would leave a gap: the next refresh reads the events between.
    pub(super) fn push(&mut self, stored: &StoredEvent) -> Result<(), LogError> {
        let entry = &stored.entry;
        if entry.revision != self.next_revision() {
            return Ok(());
        }
        history::push(&mut self.history, entry.clone())?;
        self.count_bytes(EVENT_BYTES);
        let metadata = &stored.metadata;
        self.commands.entry(entry.command_id).and_modify(|record| record.count += 1).or_insert_with(|| CommandRecord {
            first_revision: entry.revision,
            count: 1,
            schema_version: metadata.schema_version,
            request_digest: metadata.request_digest.clone(),
            correlation_id: metadata.correlation_id,
            causation_id: metadata.causation_id,
            provenance: metadata.provenance.clone(),
        });
        Ok(())
    }

    /// Adds a page of the stream that was read from [`Self::next_revision`] or from before it.
    ///
    /// # Errors
    /// [`LogError::Damaged`] if the page leaves a gap, or an event cannot be read.
    pub(super) fn extend(&mut self, page: &[RecordedEvent]) -> Result<(), LogError> {
        for event in page {
            if event.revision > self.next_revision() {
                return Err(LogError::Damaged {
                    position: event.position,
                    what: format!(
                        "its stream goes on at revision {} where {} comes next",
                        event.revision,
                        self.next_revision()
                    ),
                });
            }
            if event.revision == self.next_revision() {
                self.push(&decode(event)?)?;
                self.count_bytes(event.data.len() as u64);
            }
        }
        Ok(())
    }
}

/// [`answer_to_repeat`] for a request. A command that follows from an event is known by that event,
/// which no caller can name, whatever its id: another request may have taken the first one.
pub(crate) fn answer_to_request<H: StreamHistory>(
    loaded: &LoadedStream<H>,
    request: &Request,
) -> Option<Result<Outcome, CommandError>> {
    let digest = &request.request_digest;
    let followed = request.causation_id.and_then(|cause| loaded.command_after(cause, digest));
    answer_to_repeat(loaded, followed.unwrap_or(request.command_id), digest)
}

/// The answer to a command that the stream holds already: its events, or
/// [`CommandError::KeyReused`] if another request recorded them. `None` if the stream does not hold
/// it.
pub(crate) fn answer_to_repeat<H: StreamHistory>(
    loaded: &LoadedStream<H>,
    command_id: CommandId,
    request_digest: &RequestDigest,
) -> Option<Result<Outcome, CommandError>> {
    if request_digest.matches(loaded.request_digest(command_id)?) {
        loaded.outcome_of(command_id).map(Ok)
    } else {
        Some(Err(CommandError::KeyReused { command_id }))
    }
}

/// The answer to a request of which the key was spent: the entry that it was answered with, where
/// it recorded nothing. `None` where a request has recorded on this stream with the key since it
/// was read.
///
/// # Errors
/// [`CommandError::KeyReused`] where the key was spent on another request.
pub(crate) fn answer_to_spent_key<H: StreamHistory>(
    loaded: &LoadedStream<H>,
    request: &Request,
    spent: &SpentKey,
) -> Result<Option<Outcome>, CommandError> {
    if *spent == SpentKey::on_stream(&H::stream(loaded.history().key())) {
        return Ok(None);
    }
    let revision = spent.answer.as_deref().and_then(|answer| answer.parse().ok());
    let is_same = request.request_digest.matches(&spent.request);
    match revision.filter(|_| is_same).and_then(|revision| loaded.outcome_at(revision)) {
        Some(answer) => Ok(Some(answer)),
        None => Err(CommandError::KeyReused { command_id: request.command_id }),
    }
}
