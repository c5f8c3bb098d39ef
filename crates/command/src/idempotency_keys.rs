//! What the keys of recent requests were used for.
//!
//! A stream knows its own commands for ever. This memory lets a key that comes again for *another* stream be recognised
//! too, and what a bulk was about, as far back as it goes: it is this process's own, bounded, and empty after a start.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use domain::{
    Refusal, Stream,
    identifier::{CommandId, PrisonerNumber},
};
use event_log::lock;
use quick_cache::sync::Cache;

use crate::Error;

/// Most commands remembered: at the ledger's busiest, those of some hours, in some 20 MB.
const COMMANDS_MAX: usize = 100_000;

/// Most bulks remembered, with their cases; a bulk of the longest kind takes some 50 kB.
const BULKS_MAX: usize = 1_000;

/// See the module's documentation.
pub(crate) struct Recent {
    uses: Cache<CommandId, Use>,
    bulks: Cache<CommandId, Arc<Bulk>>,
}

/// A request that came with a key.
#[derive(Clone)]
struct Use {
    /// Where it was recorded; `None` where it concerns several streams.
    stream: Option<Stream>,
    request_digest: String,
}

/// What a bulk was about when it first came.
pub(crate) struct Bulk {
    /// Its cases.
    pub(crate) numbers: Vec<PrisonerNumber>,
    refused: Mutex<HashMap<PrisonerNumber, Refusal>>,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self { uses: Cache::new(COMMANDS_MAX), bulks: Cache::new(BULKS_MAX) }
    }

    /// Refuses a key that is known to have been used for another request, or for another stream.
    pub(crate) fn check(
        &self,
        command_id: CommandId,
        stream: Option<&Stream>,
        request_digest: &str,
    ) -> Result<(), Error> {
        let other = self.uses.get(&command_id).is_some_and(|used| {
            used.request_digest != request_digest
                || matches!((&used.stream, stream), (Some(used), Some(asked)) if used != asked)
        });
        if other { Err(Error::KeyReused { command_id }) } else { Ok(()) }
    }

    /// Remembers what a key was used for.
    pub(crate) fn note(&self, command_id: CommandId, stream: Option<Stream>, request_digest: &str) {
        self.uses.insert(command_id, Use { stream, request_digest: request_digest.to_owned() });
    }

    /// What a bulk was about when it first came, if it did.
    pub(crate) fn bulk(&self, command_id: CommandId) -> Option<Arc<Bulk>> {
        self.bulks.get(&command_id)
    }

    /// Remembers a bulk that is about to begin.
    pub(crate) fn note_bulk(&self, command_id: CommandId, numbers: Vec<PrisonerNumber>) -> Arc<Bulk> {
        let bulk = Arc::new(Bulk { numbers, refused: Mutex::default() });
        self.bulks.insert(command_id, Arc::clone(&bulk));
        bulk
    }
}

impl Bulk {
    /// Why a case was not moved.
    pub(crate) fn refusal(&self, number: &PrisonerNumber) -> Option<Refusal> {
        self.refused().get(number).cloned()
    }

    /// Remembers why a case was not moved.
    pub(crate) fn refuse(&self, number: PrisonerNumber, refusal: Refusal) {
        self.refused().insert(number, refusal);
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<PrisonerNumber, Refusal>> {
        lock(&self.refused)
    }
}
