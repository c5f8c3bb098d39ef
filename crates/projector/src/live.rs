//! Projects a batch of events into the serving views.
//!
//! The rows of a case or a prison follow from its whole history. So a batch replaces the rows of
//! each case and prison that it touches, by their histories up to the batch's end and no further:
//! later events belong to a later batch, and the views are the same however the log is cut into
//! batches.
//!
//! Where Postgres refuses the rows of a batch as data, the batch is written again, stream by stream
//! as far as needed, and the streams that are refused alone are put aside: see `aside`.
//!
//! | step | round trips |
//! |---|---|
//! | histories that are neither new nor in memory | one read of the log |
//! | checkpoint, rows, notification, commit | some four and one to three for each table touched |

use std::{
    collections::{BTreeMap, HashMap},
    iter,
    ops::Range,
    sync::Arc,
};

use domain::{Entry, Event, Stream};
use event_log::{
    Bookmark, EXPORTED, LogError, PAGE_EVENTS_MAX, RecordedEvent, SharedLog, decode, stored_event::decode_metadata,
};
use quick_cache::{Weighter, unsync::Cache};
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use tracing::Level;

use views::{checkpoint::Checkpoint, stream_aside::StreamAside};

use crate::{
    ProjectorError,
    any_history::AnyHistory,
    blocking::run_blocking,
    checkpoint,
    rows::{self, OwnerKeys},
    set_aside::{self, DataRefusal, STREAMS_ASIDE_MAX},
};

/// Most entries of histories kept in memory between batches: some 100 MB.
const CACHED_ENTRIES_MAX: u64 = 100_000;

/// Most streams whose histories are read from the log at once; bounds the memory of a batch.
const STREAMS_READ_MAX: usize = 500;

/// Projects batch after batch; remembers the histories that it met last.
pub(crate) struct LiveProjection {
    log: SharedLog,
    histories: Cache<Stream, AnyHistory, EntryCount>,
    /// The streams aside; `None` until they are read.
    aside: Option<BTreeMap<Stream, StreamAside>>,
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
        let histories = Cache::with_weighter(CACHED_ENTRIES_MAX as usize, CACHED_ENTRIES_MAX, EntryCount);
        Self { log, histories, aside: None }
    }

    /// Projects events that follow the checkpoint, and moves it. Where one of them cannot be read,
    /// or does not follow from the entries before it in its stream, those before it are projected
    /// first; and so where one of them would put too many streams aside.
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
        events: Vec<RecordedEvent>,
    ) -> Result<(), ProjectorError> {
        let events = Arc::new(events);
        let mut ranges: Vec<Range<usize>> = iter::once(0..events.len()).collect();
        while let Some(range) = ranges.pop() {
            match self.project_range(connection, checkpoint, &events, range.clone()).await {
                Err(ProjectorError::TooManyAside { .. }) if range.len() > 1 => {
                    let middle = range.start + range.len() / 2;
                    ranges.extend([middle..range.end, range.start..middle]);
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn project_range(
        &mut self,
        connection: &mut PgConnection,
        checkpoint: &mut Checkpoint,
        events: &Arc<Vec<RecordedEvent>>,
        mut range: Range<usize>,
    ) -> Result<(), ProjectorError> {
        let after = checkpoint.position;
        let mut stopping = None;
        loop {
            let (shared, read) = (Arc::clone(events), range.clone());
            let (batch, unreadable) = run_blocking(move || read_batch(&shared[read], after)).await;
            stopping = unreadable.or(stopping);
            let Some(EventBatch { last, touched }) = batch else { break };
            match self.histories_with(touched).await {
                Ok(histories) => {
                    self.write(connection, checkpoint, last, histories).await?;
                    log_included(events[range].iter().take_while(|event| event.position <= last.position));
                    break;
                }
                Err(BatchBlock { position: Some(blocked), error }) => {
                    let before = events[range.clone()].iter().take_while(|event| event.position < blocked).count();
                    range.end = range.start + before;
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
        histories: Vec<AnyHistory>,
    ) -> Result<(), ProjectorError> {
        let histories = Arc::new(histories);
        let streams: Vec<Stream> = histories.iter().map(AnyHistory::stream).collect();
        let aside = self.aside(connection).await?;
        let is_any_aside = streams.iter().any(|stream| aside.contains_key(stream));
        let is_written = !is_any_aside && write_together(connection, *checkpoint, last, &streams, &histories).await?;
        if !is_written {
            let mut transaction = begin_batch(connection, *checkpoint, last).await?;
            let now_aside = write_apart(&mut transaction, &streams, &histories).await?;
            commit_batch(transaction, last).await?;
            self.take_in(&streams, now_aside);
        }

        let Bookmark { position, event_id, recorded_at } = last;
        *checkpoint = Checkpoint { position, event_id, recorded_at, ..*checkpoint };
        let histories = Arc::unwrap_or_clone(histories);
        for (stream, history) in streams.into_iter().zip(histories) {
            self.histories.insert(stream, history);
        }
        Ok(())
    }

    /// The streams aside.
    pub(crate) async fn streams_aside(&mut self, connection: &mut PgConnection) -> Result<Vec<Stream>, ProjectorError> {
        Ok(self.aside(connection).await?.keys().cloned().collect())
    }

    /// Tries a stream aside once more, since another version of the program may give rows that
    /// Postgres takes. In a transaction of its own, as finding the event to name takes many tries.
    pub(crate) async fn try_again(
        &mut self,
        connection: &mut PgConnection,
        checkpoint: Checkpoint,
        stream: Stream,
    ) -> Result<(), ProjectorError> {
        let streams = [stream];
        let histories = match set_aside::read_histories(&self.log, &streams, checkpoint.position).await {
            Ok(histories) => histories,
            // The projector stops at damage that the views do not include yet, and at no other.
            Err(error @ LogError::Damaged { position, .. }) => {
                tracing::warn!(position, "a stream that is aside is not tried again: {error}");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut transaction = connection.begin().await?;
        if !checkpoint::lock(&mut transaction, checkpoint.epoch, checkpoint.position).await? {
            return Err(ProjectorError::Fenced { epoch: checkpoint.epoch });
        }
        let now_aside = write_apart(&mut transaction, &streams, &histories).await?;
        transaction.commit().await?;
        self.take_in(&streams, now_aside);
        Ok(())
    }

    /// How many streams are aside, as far as is known.
    pub(crate) fn count_aside(&self) -> usize {
        self.aside.as_ref().map_or(0, BTreeMap::len)
    }

    /// The streams aside. Only this projector changes them, so they are read once.
    async fn aside(
        &mut self,
        connection: &mut PgConnection,
    ) -> Result<&mut BTreeMap<Stream, StreamAside>, ProjectorError> {
        let aside = match self.aside.take() {
            Some(aside) => aside,
            None => set_aside::read(connection).await?.into_iter().map(|row| (row.stream.clone(), row)).collect(),
        };
        Ok(self.aside.insert(aside))
    }

    /// Takes in which of the streams are aside now, and logs what has changed.
    fn take_in(&mut self, streams: &[Stream], now_aside: Vec<StreamAside>) {
        let known = self.aside.get_or_insert_default();
        let before: BTreeMap<&Stream, StreamAside> =
            streams.iter().filter_map(|stream| Some((stream, known.remove(stream)?))).collect();
        for row in &now_aside {
            if before.get(&row.stream).is_none_or(|before| before.position != row.position) {
                set_aside::log(row);
            }
        }
        known.extend(now_aside.into_iter().map(|row| (row.stream.clone(), row)));
        for (_, StreamAside { position, .. }) in before.iter().filter(|(stream, _)| !known.contains_key(**stream)) {
            tracing::info!(position, "the stream that was put aside at position {position} is back in the views");
        }
    }

    /// The histories of the touched streams up to the batch's end.
    async fn histories_with(&mut self, touched: HashMap<Stream, StreamTail>) -> Result<Vec<AnyHistory>, BatchBlock> {
        let mut histories = Vec::with_capacity(touched.len());
        let mut missing = Vec::new();
        for (stream, tail) in touched {
            let remembered = self.histories.remove(&stream).map(|(_, history)| history);
            let history = remembered.unwrap_or_else(|| AnyHistory::new(&stream));
            if tail.revision == history.len() as u64 {
                histories.push(tail.append_to(history)?);
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
                    tail.append_to(history)
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

/// Writes the rows of a batch in as few statements as there are tables; false, with nothing
/// written, where Postgres refuses them as data.
async fn write_together(
    connection: &mut PgConnection,
    checkpoint: Checkpoint,
    last: Bookmark,
    streams: &[Stream],
    histories: &Arc<Vec<AnyHistory>>,
) -> Result<bool, ProjectorError> {
    let all = Arc::clone(histories);
    let encoded = run_blocking(move || rows::encode(&all)).await;
    let mut transaction = begin_batch(connection, checkpoint, last).await?;
    OwnerKeys::of(streams).delete(&mut transaction).await?;
    match rows::write(encoded, &mut transaction).await {
        Ok(()) => commit_batch(transaction, last).await.map(|()| true),
        Err(error) if DataRefusal::of(&error).is_some() => {
            transaction.rollback().await?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Replaces the rows of streams, and puts those aside that Postgres refuses. Returns these.
async fn write_apart(
    connection: &mut PgConnection,
    streams: &[Stream],
    histories: &Arc<Vec<AnyHistory>>,
) -> Result<Vec<StreamAside>, ProjectorError> {
    OwnerKeys::of(streams).delete(connection).await?;
    set_aside::delete(streams, connection).await?;
    let aside = set_aside::write(histories, STREAMS_ASIDE_MAX, connection).await?;
    set_aside::insert(&aside, connection).await?;
    let all = set_aside::read(connection).await?;
    if all.len() > STREAMS_ASIDE_MAX {
        return Err(ProjectorError::TooManyAside { streams: all.into_iter().map(|row| row.stream).collect() });
    }
    Ok(aside)
}

/// Begins a transaction that moves the checkpoint. The checkpoint first: its lock makes a projector
/// that takes over wait until the rows are in.
async fn begin_batch(
    connection: &mut PgConnection,
    checkpoint: Checkpoint,
    last: Bookmark,
) -> Result<Transaction<'_, Postgres>, ProjectorError> {
    let mut transaction = connection.begin().await?;
    if checkpoint::advance(&mut transaction, checkpoint, last).await? {
        Ok(transaction)
    } else {
        Err(ProjectorError::Fenced { epoch: checkpoint.epoch })
    }
}

async fn commit_batch(mut transaction: Transaction<'_, Postgres>, last: Bookmark) -> Result<(), ProjectorError> {
    checkpoint::notify(&mut transaction, last.position).await?;
    Ok(transaction.commit().await?)
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
