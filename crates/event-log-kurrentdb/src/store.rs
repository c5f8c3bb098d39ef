//! The store: the connection and the knowledge that all reads and writes share.
//!
//! The modules `head`, `log_reads` and `store` are one idea and depend on one another: the store
//! holds the search for the log's head, and the search reads the store's log.

use std::sync::{Arc, atomic::AtomicBool};

use chrono::{DateTime, Utc};
use domain::Stream;
use kurrentdb_protocol::{FilterBy, FilterExpression, FilterOptions, FilterWindow};
use tokio::sync::Mutex;

use event_log::{LogError, RecordedEvent};

use crate::{
    client::{CallError, ServerEvent},
    gaps::KnownPositions,
    head::SharedHeadSearch,
    keys::KeyMemory,
    recorded_clock::RecordedClock,
    retries::ServerConnection,
    revisions::LastRevisions,
    stream_names::StreamNames,
    time_index::TimeIndex,
};

/// Events of the server, of any writer, that it looks through before it says how far it is.
const SEARCH_WINDOW_EVENTS: u32 = 1_000;

/// The connection, and what this process remembers of the log.
pub(crate) struct Store {
    /// Shared with the task that listens, which keeps no store alive.
    pub(crate) connection: Arc<ServerConnection>,
    /// [`Self::names`] and [`Self::names_to_write`] tell them where the key is the ledger's.
    pub(crate) names: StreamNames,
    pub(crate) is_key_confirmed: AtomicBool,
    pub(crate) clock: RecordedClock,
    pub(crate) revisions: LastRevisions,
    pub(crate) times: TimeIndex,
    pub(crate) positions: KnownPositions,
    pub(crate) head_search: SharedHeadSearch,
    pub(crate) keys: KeyMemory,
    /// Held while a caller reads on to find an instant: others would read the same events. This is
    /// not a task of its own, unlike the searches: a caller that leaves needs no answer, and the
    /// next one begins where it stopped.
    pub(crate) finding_instant: Mutex<()>,
    /// Held while a search looks for the ledger's next event: most other searches look for the
    /// same.
    pub(crate) searching: Mutex<()>,
}

impl Store {
    pub(crate) fn new(connection: ServerConnection, names: StreamNames) -> Self {
        Self {
            connection: Arc::new(connection),
            names,
            is_key_confirmed: AtomicBool::default(),
            clock: RecordedClock::default(),
            revisions: LastRevisions::default(),
            times: TimeIndex::default(),
            positions: KnownPositions::default(),
            head_search: SharedHeadSearch::default(),
            keys: KeyMemory::default(),
            finding_instant: Mutex::new(()),
            searching: Mutex::new(()),
        }
    }

    /// Remembers an event of the ledger.
    pub(crate) fn note_event(&self, event: &RecordedEvent) {
        self.note(&event.stream, event.revision, event.position, event.recorded_at);
    }

    /// As [`Self::note_event`], for an event of which this is known.
    pub(crate) fn note(&self, stream: &Stream, revision: u64, position: u64, recorded_at: DateTime<Utc>) {
        // The clock first: a revision that is known must have reached it.
        self.clock.advance_to(recorded_at);
        self.positions.note_event(position);
        self.revisions.note(stream, revision);
    }

    /// Forgets all positions. Called where they turn out to be those of another log.
    pub(crate) fn forget_positions(&self) {
        self.positions.clear();
        self.times.clear();
    }

    /// Whether an event is one of this ledger.
    pub(crate) fn owns(&self, event: &ServerEvent) -> bool {
        self.names.prefix.owns(&event.stream)
    }

    /// Selects the ledger's streams and their settings.
    pub(crate) fn filter(&self) -> FilterOptions {
        let prefix = vec![self.names.prefix.to_string(), format!("$${}", self.names.prefix)];
        FilterOptions {
            by: Some(FilterBy::Stream(FilterExpression { regex: String::new(), prefix })),
            window: Some(FilterWindow::Max(SEARCH_WINDOW_EVENTS)),
            checkpoint_interval_multiplier: 1,
        }
    }
}

/// Translates an error of the server for a reader. A reader that can say more about an error must
/// handle it first.
pub(crate) fn log_error(error: CallError) -> LogError {
    match error {
        CallError::StreamDeleted => deletion_error(0),
        error => LogError::Unavailable(error.into()),
    }
}

/// That a stream was deleted or truncated; the position is 0 where none is known.
pub(crate) fn deletion_error(position: u64) -> LogError {
    LogError::Damaged { position, what: "a stream was deleted or truncated on the server".to_owned() }
}
