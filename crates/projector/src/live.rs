//! Projects a batch of events into the serving views.
//!
//! The rows of a case or a prison follow from its whole history. So a batch replaces the rows of
//! each case and prison that it touches, by their histories up to the batch's end and no further:
//! later events belong to a later batch, and the views are the same however the log is cut into
//! batches.
//!
//! | step | round trips |
//! |---|---|
//! | histories that are neither new nor in memory | one read of the log |
//! | checkpoint, rows, notification, commit | some four and one to three for each table touched |

use std::collections::HashMap;

use domain::{Entry, Event, Stream};
use event_log::{
    Bookmark, EXPORTED, LogError, PAGE_EVENTS_MAX, RecordedEvent, SharedLog, decode, envelope::decode_metadata,
};
use quick_cache::{Weighter, unsync::Cache};
use sqlx::{Connection as _, PgConnection};
use tracing::Level;

use views::{EncodedRows, checkpoint::Checkpoint};

use crate::{
    Error,
    any_history::AnyHistory,
    checkpoint,
    rows::{self, OwnerKeys},
};

/// Most entries of histories kept in memory between batches: some 100 MB.
const CACHED_ENTRIES_MAX: u64 = 100_000;

/// Most streams whose histories are read from the log at once; bounds the memory of a batch.
const STREAMS_READ_MAX: usize = 500;

/// Projects batch after batch; remembers the histories that it met last.
pub(crate) struct LiveProjection {
    log: SharedLog,
    histories: Cache<Stream, AnyHistory, EntryCount>,
}

/// A history weighs as much as it has entries, and one more for itself.
#[derive(Clone)]
struct EntryCount;

impl Weighter<Stream, AnyHistory> for EntryCount {
    fn weight(&self, _: &Stream, history: &AnyHistory) -> u64 {
        history.len() as u64 + 1
    }
}

/// The events of a batch, read and by stream.
struct EventBatch {
    last: Bookmark,
    touched: HashMap<Stream, StreamTail>,
}

/// The entries that a batch adds to a history: at least one.
struct StreamTail {
    /// Position and revision of the first.
    position: u64,
    revision: u64,
    entries: Vec<Entry<Event>>,
}

/// The reason why a batch cannot be projected whole.
struct BatchBlock {
    /// The position of an event of the batch that cannot be projected; `None` where the log is out
    /// of reach.
    position: Option<u64>,
    error: LogError,
}

impl BatchBlock {
    /// The reason why the event at `position` cannot be projected. Damage that shows only further
    /// on is named there, too.
    fn at(position: u64, error: LogError) -> Self {
        match error {
            LogError::Damaged { position: found, what } => {
                Self { position: Some(position), error: LogError::Damaged { position: found.min(position), what } }
            }
            error @ LogError::Unavailable(_) => Self { position: None, error },
        }
    }
}

impl LiveProjection {
    /// A projector that remembers nothing yet.
    pub(crate) fn new(log: SharedLog) -> Self {
        Self { log, histories: Cache::with_weighter(CACHED_ENTRIES_MAX as usize, CACHED_ENTRIES_MAX, EntryCount) }
    }

    /// Projects events that follow the checkpoint, and moves it. Where one of them cannot be read,
    /// or does not follow from the entries before it in its stream, those before it are projected
    /// first.
    ///
    /// After an error the remembered histories may be wrong: callers must start with a new one.
    #[tracing::instrument(
        target = EXPORTED,
        level = "info",
        skip_all,
        fields(after = checkpoint.position, events = events.len())
    )]
    pub(crate) async fn project(
        &mut self,
        connection: &mut PgConnection,
        checkpoint: &mut Checkpoint,
        mut events: Vec<RecordedEvent>,
    ) -> Result<(), Error> {
        let after = checkpoint.position;
        let mut stopping = None;
        loop {
            let (batch, unreadable);
            (events, (batch, unreadable)) = run_blocking(move || {
                let read = read_batch(&events, after);
                (events, read)
            })
            .await;
            stopping = unreadable.or(stopping);
            let Some(EventBatch { last, touched }) = batch else { break };
            match self.histories_with(touched).await {
                Ok(histories) => {
                    self.write(connection, checkpoint, last, histories).await?;
                    log_included(events.iter().take_while(|event| event.position <= last.position));
                    break;
                }
                Err(BatchBlock { position: Some(blocked), error }) => {
                    let before = events.iter().take_while(|event| event.position < blocked).count();
                    events.truncate(before);
                    stopping = Some(error);
                }
                Err(BatchBlock { position: None, error }) => return Err(error.into()),
            }
        }
        stopping.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Replaces the histories' rows and moves the checkpoint to the batch's end.
    async fn write(
        &mut self,
        connection: &mut PgConnection,
        checkpoint: &mut Checkpoint,
        last: Bookmark,
        histories: Vec<(Stream, AnyHistory)>,
    ) -> Result<(), Error> {
        let mut keys = OwnerKeys::default();
        for (stream, _) in &histories {
            match stream {
                Stream::Prisoner(number) => keys.cases.push(number.to_string()),
                Stream::Prison(code) => keys.prisons.push(code.to_string()),
            }
        }
        let (histories, encoded) = run_blocking(move || {
            let mut encoded = EncodedRows::default();
            histories.iter().for_each(|(_, history)| rows::add(history, &mut encoded));
            (histories, encoded)
        })
        .await;

        let mut transaction = connection.begin().await?;
        // The checkpoint first: its lock makes a projector that takes over wait until the rows are
        // in.
        if !checkpoint::advance(&mut transaction, *checkpoint, last).await? {
            return Err(Error::Fenced { epoch: checkpoint.epoch });
        }
        keys.delete(&mut transaction).await?;
        rows::write(encoded, &mut transaction).await?;
        checkpoint::notify(&mut transaction, last.position).await?;
        transaction.commit().await?;

        let Bookmark { position, event_id, recorded_at } = last;
        *checkpoint = Checkpoint { position, event_id, recorded_at, ..*checkpoint };
        for (stream, history) in histories {
            self.histories.insert(stream, history);
        }
        Ok(())
    }

    /// The histories of the touched streams up to the batch's end.
    async fn histories_with(
        &mut self,
        touched: HashMap<Stream, StreamTail>,
    ) -> Result<Vec<(Stream, AnyHistory)>, BatchBlock> {
        let mut histories = Vec::with_capacity(touched.len());
        let mut missing = Vec::new();
        for (stream, tail) in touched {
            let remembered = self.histories.remove(&stream).map(|(_, history)| history);
            let history = remembered.unwrap_or_else(|| AnyHistory::new(&stream));
            if tail.revision == history.len() as u64 {
                histories.push((stream, tail.append_to(history)?));
            } else {
                missing.push((stream, tail));
            }
        }
        while !missing.is_empty() {
            let rest = missing.split_off(missing.len().min(STREAMS_READ_MAX));
            let tails = std::mem::replace(&mut missing, rest);
            let streams: Vec<Stream> = tails.iter().map(|(stream, _)| stream.clone()).collect();
            let recorded = match self.log.read_streams(&streams).await {
                Ok(recorded) => recorded,
                // The damage may be beyond the batch's end, and is then no concern of this batch.
                Err(LogError::Damaged { .. }) => self.read_before(&tails).await?,
                Err(error) => return Err(BatchBlock { position: None, error }),
            };
            let read = run_blocking(move || {
                let history_with = |((stream, tail), recorded): ((Stream, StreamTail), Vec<RecordedEvent>)| {
                    let mut history = AnyHistory::new(&stream);
                    for event in recorded.iter().take_while(|event| event.position < tail.position) {
                        decode(event)
                            .and_then(|stored| history.push(stored.entry))
                            .map_err(|error| BatchBlock::at(tail.position, error))?;
                    }
                    Ok((stream, tail.append_to(history)?))
                };
                tails.into_iter().zip(recorded).map(history_with).collect::<Result<Vec<_>, BatchBlock>>()
            });
            histories.extend(read.await?);
        }
        Ok(histories)
    }

    /// The entries of the streams before the batch, and none after it. Stream by stream, so only
    /// where reading them whole met damage.
    async fn read_before(&self, tails: &[(Stream, StreamTail)]) -> Result<Vec<Vec<RecordedEvent>>, BatchBlock> {
        let mut streams = Vec::with_capacity(tails.len());
        for (stream, tail) in tails {
            let mut events: Vec<RecordedEvent> = Vec::new();
            loop {
                let from = events.len() as u64;
                let limit = tail.revision.saturating_sub(from).min(PAGE_EVENTS_MAX as u64) as usize;
                let page = if limit == 0 { Ok(Vec::new()) } else { self.log.read_stream(stream, from, limit).await };
                let page = page.map_err(|error| BatchBlock::at(tail.position, error))?;
                if page.is_empty() {
                    break;
                }
                events.extend(page);
            }
            streams.push(events);
        }
        Ok(streams)
    }
}

impl StreamTail {
    /// The history that ends with this.
    fn append_to(self, mut history: AnyHistory) -> Result<AnyHistory, BatchBlock> {
        for entry in self.entries {
            let position = entry.position;
            history.push(entry).map_err(|error| BatchBlock::at(position, error))?;
        }
        Ok(history)
    }
}

/// Logs of each event that the views include it, so that a request can be followed by its
/// correlation id up to here. There are as many lines as events, so they are at the level `debug`.
fn log_included<'a>(taken_in: impl Iterator<Item = &'a RecordedEvent>) {
    if !tracing::enabled!(Level::DEBUG) {
        return;
    }
    for event in taken_in {
        let RecordedEvent { position, type_name, .. } = event;
        if let Ok(metadata) = decode_metadata(event) {
            let correlation_id = metadata.correlation_id;
            tracing::debug!(position, %correlation_id, event = type_name, "the views include position {position}");
        }
    }
}

/// Reads events up to the first that cannot be read, and returns the reason with them.
fn read_batch(events: &[RecordedEvent], after: u64) -> (Option<EventBatch>, Option<LogError>) {
    let mut batch: Option<EventBatch> = None;
    for recorded in events {
        let before = batch.as_ref().map_or(after, |batch| batch.last.position);
        if recorded.position <= before {
            let what = format!("follows position {before} in the order in which the log gave it");
            return (batch, Some(LogError::Damaged { position: recorded.position, what }));
        }
        let stored = match decode(recorded) {
            Ok(stored) => stored,
            Err(error) => return (batch, Some(error)),
        };
        let batch = batch.get_or_insert_with(|| EventBatch { last: recorded.into(), touched: HashMap::new() });
        batch.last = recorded.into();
        let tail = batch.touched.entry(stored.stream).or_insert_with(|| StreamTail {
            position: recorded.position,
            revision: recorded.revision,
            entries: Vec::new(),
        });
        tail.entries.push(stored.entry);
    }
    (batch, None)
}

/// Runs work that would keep the threads that serve requests busy for too long.
pub(crate) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down drops its tasks, and it does not come back here.
            Err(_) => std::future::pending().await,
        },
    }
}
