//! The check that this process has the ledger's naming key.
//!
//! The key's fingerprint is in a stream of its own, outside the ledger's prefix. The first append
//! to a ledger, or `prepare`, stores it, and of two that do so at once the first one counts. From
//! then on a process with another key reads and writes nothing: it would look for each person in a
//! stream that does not exist.
//!
//! Where that stream was lost, the key must be the one that named the first person's in the log. A
//! service looks at it when it starts, and a writer before it stores the fingerprint again.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use event_log::{LogError, PAGE_EVENTS_MAX};
use kurrentdb_protocol::ExpectedRevision as StreamState;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    client::{CallError, NewServerEvent, ServerPosition, StreamRead},
    event_format::recorded_event,
    log_reads::ReadEnd,
    retries::SILENCE_MAX,
    store::{Store, log_error},
    stream_names::{GENERATION, NamingKeyError, StreamNames},
};

/// The name of the stream, after the prefix.
const STREAM: &str = "naming-key";

/// The pause before the stream is read again, where it does not show what was written.
const UNSEEN_PAUSE: Duration = Duration::from_millis(50);

#[derive(Serialize, Deserialize)]
struct StoredKey {
    fingerprint: String,
}

impl From<NamingKeyError> for LogError {
    fn from(error: NamingKeyError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl Store {
    /// The names of the ledger's streams, for a reader.
    ///
    /// # Errors
    /// The ledger has another key, or the server is out of reach.
    pub(crate) async fn names(&self) -> Result<&StreamNames, LogError> {
        if let Some(key) = &self.names.key
            && !self.is_key_confirmed.load(Ordering::Relaxed)
            && let Some(stored) = self.stored_fingerprint().await?
        {
            if stored != key.fingerprint() {
                return Err(NamingKeyError::Other.into());
            }
            self.is_key_confirmed.store(true, Ordering::Relaxed);
        }
        Ok(&self.names)
    }

    /// As [`Self::names`], for a writer: the key becomes the ledger's where that has none.
    pub(crate) async fn names_to_write(self: &Arc<Self>) -> Result<&StreamNames, LogError> {
        let key = self.names.key.as_ref().ok_or(NamingKeyError::Missing)?;
        let names = self.names().await?;
        if !self.is_key_confirmed.load(Ordering::Relaxed) {
            if self.positions.last_event() > 0 {
                self.check_first_person().await?;
            }
            self.store_fingerprint(key.fingerprint()).await?;
            self.wait_until_confirmed().await?;
        }
        Ok(names)
    }

    /// As [`Self::names`], and looks into the log where no fingerprint is stored.
    pub(crate) async fn check_naming_key(self: &Arc<Self>) -> Result<(), LogError> {
        self.names().await?;
        if self.names.key.is_some() && !self.is_key_confirmed.load(Ordering::Relaxed) {
            self.check_first_person().await?;
        }
        Ok(())
    }

    /// Reads until the fingerprint is there, and it is this key's. A server refuses a second writer
    /// before it shows what the first one wrote.
    async fn wait_until_confirmed(&self) -> Result<(), LogError> {
        let begun = Instant::now();
        loop {
            self.names().await?;
            if self.is_key_confirmed.load(Ordering::Relaxed) {
                return Ok(());
            }
            if begun.elapsed() > SILENCE_MAX {
                let stream = self.naming_key_stream();
                let unseen =
                    format!("the stream {stream}, which has the fingerprint of the naming key, shows no event");
                return Err(LogError::Unavailable(unseen.into()));
            }
            sleep(UNSEEN_PAUSE).await;
        }
    }

    /// Whether a naming key is known to be the ledger's.
    pub(crate) async fn has_naming_key(&self) -> Result<bool, LogError> {
        Ok(self.stored_fingerprint().await?.is_some())
    }

    pub(crate) fn naming_key_stream(&self) -> String {
        self.names.prefix.stream_beside(STREAM)
    }

    async fn stored_fingerprint(&self) -> Result<Option<String>, LogError> {
        let read = match self.read_stream(&self.naming_key_stream(), StreamRead::LAST).await {
            Err(CallError::StreamNotFound) => return Ok(None),
            read => read.map_err(log_error)?,
        };
        let stored = read.first().map(|event| serde_json::from_slice::<StoredKey>(&event.data)).transpose();
        let stored = stored.map_err(|error| LogError::Unavailable(error.into()))?;
        Ok(stored.map(|stored| stored.fingerprint))
    }

    /// Stores the fingerprint, unless another one is there.
    async fn store_fingerprint(&self, fingerprint: String) -> Result<(), LogError> {
        let stored = serde_json::to_vec(&StoredKey { fingerprint });
        let event = NewServerEvent {
            id: Uuid::new_v4(),
            type_name: "NamingKeyChosen".to_owned(),
            is_json: true,
            metadata: Bytes::new(),
            data: stored.map_err(|error| LogError::Unavailable(error.into()))?.into(),
        };
        match self.send_to(&self.naming_key_stream(), StreamState::NoStream(()), &[event]).await {
            Ok(_) | Err(CallError::WrongRevision { .. }) => Ok(()),
            Err(error) => Err(log_error(error)),
        }
    }

    /// Checks that the key has named the stream of the first person in the log. Damage is left to
    /// the reads that meet it.
    async fn check_first_person(self: &Arc<Self>) -> Result<(), LogError> {
        let of_any_key = StreamNames { prefix: self.names.prefix.clone(), key: None };
        let mut from = ServerPosition::default();
        loop {
            let (read, end) = self.read_all(from.commit, from, PAGE_EVENTS_MAX).await.map_err(log_error)?;
            for event in read {
                from = event.position;
                let name = event.stream.clone();
                if self.owns(&event)
                    && let Ok((event, _)) = recorded_event(&of_any_key, event)
                    && event.stream.person().is_some()
                {
                    let is_of_key = self.names.is_name_of(&name, &event.stream, GENERATION);
                    return if is_of_key { Ok(()) } else { Err(NamingKeyError::Other.into()) };
                }
            }
            match end {
                ReadEnd::LogEnd => return Ok(()),
                ReadEnd::NothingBefore(before) => from = ServerPosition { commit: before, prepare: 0 },
                ReadEnd::More | ReadEnd::Quiet => {}
            }
        }
    }
}
