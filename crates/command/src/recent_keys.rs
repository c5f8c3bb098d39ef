//! The idempotency keys of recent requests, in memory.
//!
//! A stream knows its own commands for ever. This memory also recognises a key that comes again for
//! *another* stream, and knows the cases of a bulk reallocation. It is bounded, belongs to one
//! process, and is empty after a start.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use domain::{
    Refusal, Stream,
    identifier::{CommandId, PrisonerNumber},
};
use event_log::lock;
use quick_cache::sync::Cache;

use crate::{CommandError, RequestDigest};

/// Most keys remembered: at the ledger's busiest, those of some hours, in some 20 MB.
const KEYS_MAX: usize = 100_000;

/// Most bulks remembered, with their cases; a bulk of the longest kind takes some 50 kB.
const BULKS_MAX: usize = 1_000;

/// See the module's documentation.
pub(crate) struct RecentKeys {
    requests: Cache<CommandId, KeyedRequest>,
    bulks: Cache<CommandId, Arc<StartedBulk>>,
}

/// A request that came with a key.
#[derive(Clone)]
struct KeyedRequest {
    /// The stream that it was recorded on; `None` if it concerns several streams.
    stream: Option<Stream>,
    request_digest: String,
    /// The revision of the entry that it was answered with, where it recorded nothing.
    answered_with: Option<u64>,
}

/// A bulk reallocation as it was when it first came.
pub(crate) struct StartedBulk {
    /// Its cases.
    pub(crate) numbers: Vec<PrisonerNumber>,
    refused: Mutex<HashMap<PrisonerNumber, Refusal>>,
}

impl RecentKeys {
    pub(crate) fn new() -> Self {
        Self { requests: Cache::new(KEYS_MAX), bulks: Cache::new(BULKS_MAX) }
    }

    /// Refuses a key that is known to belong to another request, or to another stream.
    pub(crate) fn check(
        &self,
        command_id: CommandId,
        stream: Option<&Stream>,
        request_digest: &RequestDigest,
    ) -> Result<(), CommandError> {
        let is_reused = self.requests.get(&command_id).is_some_and(|earlier| {
            earlier.request_digest != request_digest.as_str()
                || matches!((&earlier.stream, stream), (Some(earlier), Some(stream)) if earlier != stream)
        });
        if is_reused { Err(CommandError::KeyReused { command_id }) } else { Ok(()) }
    }

    /// Remembers the request that came with a key.
    pub(crate) fn remember(&self, command_id: CommandId, stream: Option<Stream>, request_digest: &RequestDigest) {
        let request_digest = request_digest.as_str().to_owned();
        self.requests.insert(command_id, KeyedRequest { stream, request_digest, answered_with: None });
    }

    /// Remembers a request that recorded nothing, because an entry of its stream says the same: its
    /// key is spent, and must change nothing later.
    pub(crate) fn remember_answer(
        &self,
        command_id: CommandId,
        stream: Stream,
        request_digest: &RequestDigest,
        revision: u64,
    ) {
        let (stream, request_digest) = (Some(stream), request_digest.as_str().to_owned());
        self.requests.insert(command_id, KeyedRequest { stream, request_digest, answered_with: Some(revision) });
    }

    /// The revision of the entry that a request was answered with, if it recorded nothing. Callers
    /// must have checked the key.
    pub(crate) fn entry_answered_with(&self, command_id: CommandId, stream: &Stream) -> Option<u64> {
        let request = self.requests.get(&command_id)?;
        request.answered_with.filter(|_| request.stream.as_ref() == Some(stream))
    }

    /// The bulk that started with this key, if it is remembered.
    pub(crate) fn bulk(&self, command_id: CommandId) -> Option<Arc<StartedBulk>> {
        self.bulks.get(&command_id)
    }

    /// Remembers a bulk that is about to start.
    pub(crate) fn remember_bulk(&self, command_id: CommandId, numbers: Vec<PrisonerNumber>) -> Arc<StartedBulk> {
        let bulk = Arc::new(StartedBulk { numbers, refused: Mutex::default() });
        self.bulks.insert(command_id, Arc::clone(&bulk));
        bulk
    }
}

impl StartedBulk {
    /// Why a case was not moved.
    pub(crate) fn refusal(&self, number: &PrisonerNumber) -> Option<Refusal> {
        lock(&self.refused).get(number).cloned()
    }

    /// Remembers why a case was not moved.
    pub(crate) fn refuse(&self, number: PrisonerNumber, refusal: Refusal) {
        lock(&self.refused).insert(number, refusal);
    }
}
