//! Takes a batch of events into the serving views.
//!
//! The rows of a case or a prison follow from its whole history, so a batch replaces the rows of all that it touches,
//! by their histories up to the batch's end and no further: what the log holds beyond it belongs to a later batch, and
//! the views are the same however the log is cut into batches.
//!
//! | step | round trips |
//! |---|---|
//! | histories that are neither new nor in memory | one read of the log |
//! | checkpoint, rows, notification, commit | some four and one to three for each table touched |

use std::collections::{HashMap, hash_map};

use chrono::{DateTime, Utc};
use domain::{Entry, Event, Stream};
use event_log::{LogError, RecordedEvent, SharedLog, decode};
use quick_cache::{Weighter, unsync::Cache};
use sqlx::{Connection as _, PgConnection};

use crate::{
    Error,
    folding::History,
    views::{
        Keys, Tables,
        checkpoint::{self, Checkpoint},
    },
};

/// Most entries of histories kept in memory between batches: some 100 MB.
const CACHED_ENTRIES_MAX: u64 = 100_000;

/// Most streams whose histories are read from the log at once; bounds the memory of a batch.
const STREAMS_READ_MAX: usize = 500;

/// Projects batch after batch; remembers the histories that it met last.
pub(crate) struct Live {
    log: SharedLog,
    histories: Cache<Stream, History, Entries>,
}

/// A history weighs as much as it has entries, and one more for itself.
#[derive(Clone)]
struct Entries;

impl Weighter<Stream, History> for Entries {
    fn weight(&self, _: &Stream, history: &History) -> u64 {
        history.len() as u64 + 1
    }
}

/// The events of a batch, read and by stream.
struct Batch {
    end: u64,
    recorded_at: DateTime<Utc>,
    touched: HashMap<Stream, Vec<Entry<Event>>>,
}

impl Live {
    /// A projector that remembers nothing yet.
    pub(crate) fn new(log: SharedLog) -> Self {
        Self { log, histories: Cache::with_weighter(CACHED_ENTRIES_MAX as usize, CACHED_ENTRIES_MAX, Entries) }
    }

    /// Takes events in that follow the checkpoint, which it moves. Where one of them cannot be read, those before it are
    /// taken in first.
    ///
    /// After an error what is remembered may be wrong: start anew.
    pub(crate) async fn project(
        &mut self,
        connection: &mut PgConnection,
        checkpoint: &mut Checkpoint,
        events: Vec<RecordedEvent>,
    ) -> Result<(), Error> {
        let after = checkpoint.position;
        let (batch, unreadable) = blocking(move || read(events, after)).await;
        if let Some(batch) = batch {
            self.apply(connection, checkpoint, batch).await?;
        }
        unreadable.map_or(Ok(()), |error| Err(error.into()))
    }

    async fn apply(
        &mut self,
        connection: &mut PgConnection,
        checkpoint: &mut Checkpoint,
        batch: Batch,
    ) -> Result<(), Error> {
        let Batch { end, recorded_at, touched } = batch;
        let mut keys = Keys::default();
        for stream in touched.keys() {
            match stream {
                Stream::Prisoner(number) => keys.cases.push(number.to_string()),
                Stream::Prison(code) => keys.prisons.push(code.to_string()),
            }
        }
        let histories = self.histories_at(end, touched).await?;
        let (histories, tables) = blocking(move || {
            let mut tables = Tables::default();
            histories.iter().for_each(|(_, history)| tables.add(history));
            (histories, tables)
        })
        .await;

        let mut transaction = connection.begin().await?;
        // The checkpoint first: its lock keeps anybody who takes over waiting until the rows are in.
        if !checkpoint::advance(&mut transaction, *checkpoint, end, recorded_at).await? {
            return Err(Error::Fenced { epoch: checkpoint.epoch });
        }
        keys.delete(&mut transaction).await?;
        tables.write(&mut transaction).await?;
        checkpoint::notify(&mut transaction, end).await?;
        transaction.commit().await?;

        checkpoint.position = end;
        for (stream, history) in histories {
            self.histories.insert(stream, history);
        }
        Ok(())
    }

    /// The histories of the touched streams up to the batch's end.
    async fn histories_at(
        &mut self,
        end: u64,
        touched: HashMap<Stream, Vec<Entry<Event>>>,
    ) -> Result<Vec<(Stream, History)>, Error> {
        let mut histories = Vec::with_capacity(touched.len());
        let mut missing = Vec::new();
        for (stream, entries) in touched {
            let remembered = self.histories.remove(&stream).map(|(_, history)| history);
            let mut history = remembered.unwrap_or_else(|| History::new(&stream));
            if entries.first().is_some_and(|first| first.revision == history.len() as u64) {
                for entry in entries {
                    history.push(entry)?;
                }
                histories.push((stream, history));
            } else {
                missing.push(stream);
            }
        }
        for streams in missing.chunks(STREAMS_READ_MAX) {
            let recorded = self.log.read_streams(streams).await?;
            let streams = streams.to_vec();
            let read = blocking(move || {
                let history_at = |(stream, recorded): (Stream, Vec<RecordedEvent>)| {
                    let mut history = History::new(&stream);
                    for event in recorded.iter().take_while(|event| event.position <= end) {
                        history.push(decode(event)?.entry)?;
                    }
                    Ok((stream, history))
                };
                streams.into_iter().zip(recorded).map(history_at).collect::<Result<Vec<_>, LogError>>()
            });
            histories.extend(read.await?);
        }
        Ok(histories)
    }
}

/// Reads events up to the first that cannot be read, and says why it cannot.
fn read(events: Vec<RecordedEvent>, after: u64) -> (Option<Batch>, Option<LogError>) {
    let mut batch: Option<Batch> = None;
    for recorded in &events {
        let before = batch.as_ref().map_or(after, |batch| batch.end);
        if recorded.position <= before {
            let what = format!("follows position {before} in the order in which the log gave it");
            return (batch, Some(LogError::Damaged { position: recorded.position, what }));
        }
        let stored = match decode(recorded) {
            Ok(stored) => stored,
            Err(error) => return (batch, Some(error)),
        };
        let batch = batch.get_or_insert_with(|| Batch {
            end: recorded.position,
            recorded_at: recorded.recorded_at,
            touched: HashMap::new(),
        });
        (batch.end, batch.recorded_at) = (recorded.position, recorded.recorded_at);
        match batch.touched.entry(stored.stream) {
            hash_map::Entry::Occupied(mut entries) => entries.get_mut().push(stored.entry),
            hash_map::Entry::Vacant(none) => {
                none.insert(vec![stored.entry]);
            }
        }
    }
    (batch, None)
}

/// Runs what would keep the threads that serve requests busy for too long.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down gives up what it was given, and it will not come back here.
            Err(_) => std::future::pending().await,
        },
    }
}
