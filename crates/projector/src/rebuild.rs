//! Fills a schema with the views of the whole log, up to a position.
//!
//! 1. The log is read once, in pages, into an [`EventBuffer`]; the next page is on its way while
//!    one is put.
//! 2. Partition after partition, on several threads, the events become histories and the histories
//!    rows, and
//! 3. finished rows go in by `COPY` on several connections, while the threads go on.
//! 4. Keys and indexes are made over the finished tables.
//! 5. Streams whose rows Postgres has refused, in 3 or in 4, are tried alone and put aside.
//!
//! Services append all the while, and must keep at least half of their speed. So half of the cores
//! make rows, and as many connections that write them keep the server as busy. Where events were
//! appended meanwhile, keys are made without the server's helpers. Many short transactions rather
//! than one long: an old snapshot would keep Postgres from vacuuming after the appends. No reader
//! uses the schema before it is swapped in, so a half-filled one does no harm.

use std::{
    collections::BTreeSet,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use domain::Stream;
use event_log::{Bookmark, LogError, RecordedEvent, SharedLog};
use futures::{
    TryStreamExt as _,
    future::{try_join, try_join_all},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::sync::{Mutex, mpsc};

use views::{EncodedRows, Owner, VIEWS, VIEWS_VERSION, checkpoint::Checkpoint};

use crate::{
    ProjectorError,
    blocking::run_blocking,
    checkpoint,
    event_buffer::{BufferPartition, EventBuffer},
    rows::{self, OwnerKeys},
    schema,
    set_aside::{self, DataRefusal, STREAMS_ASIDE_MAX},
};

/// Most threads that make rows; more would only wait for the server, and each has a part of the log
/// in memory.
pub(crate) const THREADS_MAX: usize = 4;

/// Pages, and partitions' rows, that wait for the next step; bounds the memory.
const WAITING_MAX: usize = 2;

/// Memory that the server may use to sort an index; its default is made for large machines with
/// many at work.
const INDEXING_MEMORY_MIB: u32 = 128;

/// The schema to fill, and how far.
pub(crate) struct RebuildTarget<'a> {
    /// How to connect to the views' database.
    pub(crate) options: &'a PgConnectOptions,
    /// The schema, which is made.
    pub(crate) schema: &'a str,
    /// The position of the last event that counts.
    pub(crate) to: u64,
    /// The epoch of the projector that fills it.
    pub(crate) epoch: i64,
}

/// How far filling has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildProgress {
    /// The log is being read.
    Reading {
        /// The position come to.
        position: u64,
        /// The position of the last event to be read.
        to: u64,
    },
    /// Rows are being made and written.
    Writing {
        /// Of `parts`.
        written: usize,
        /// Parts that the log was divided into, of about the same size.
        parts: usize,
    },
    /// Keys and indexes are being made.
    Indexing,
    /// Rows are being compared.
    Comparing {
        /// Of `parts`.
        compared: usize,
        /// Parts that the log was divided into, of about the same size.
        parts: usize,
    },
    /// Events that were recorded meanwhile are being projected.
    CatchingUp {
        /// The position come to.
        position: u64,
    },
}

/// Is told how far a build has come.
pub type BuildObserver<'a> = &'a (dyn Fn(BuildProgress) + Sync);

/// Makes the target's schema and fills it; `progress` is told how far it has come.
pub(crate) async fn fill(
    log: &SharedLog,
    target: &RebuildTarget<'_>,
    progress: BuildObserver<'_>,
) -> Result<Checkpoint, ProjectorError> {
    let to = target.to;
    let head = log.head().await.ok();
    let (buffer, last) = buffer_events(log, to, |position| progress(BuildProgress::Reading { position, to })).await?;
    let mut connection = PgConnection::connect_with(target.options).await?;
    let mut transaction = connection.begin().await?;
    schema::create(&mut transaction, target.schema).await?;
    transaction.commit().await?;

    let mut refused = write(buffer.into_partitions(), target, progress).await?;
    progress(BuildProgress::Indexing);

    let checkpoint = Checkpoint {
        version: VIEWS_VERSION,
        position: last.position,
        event_id: last.event_id,
        recorded_at: last.recorded_at,
        epoch: target.epoch,
    };
    schema::choose(&mut connection, target.schema).await?;
    sqlx::query(AssertSqlSafe(format!("SET maintenance_work_mem TO '{INDEXING_MEMORY_MIB}MB'")))
        .execute(&mut connection)
        .await?;
    // That the log is out of reach now is no reason to begin again.
    if head.is_none() || log.head().await.ok() != head {
        sqlx::query("SET max_parallel_maintenance_workers TO 0").execute(&mut connection).await?;
    }
    refused.extend(add_keys(&mut connection).await?);
    if refused.len() > STREAMS_ASIDE_MAX {
        return Err(ProjectorError::TooManyAside { streams: refused });
    }
    let histories = set_aside::read_histories(log, &refused, last.position).await?;
    let aside = set_aside::write(&histories, STREAMS_ASIDE_MAX, &mut connection).await?;
    set_aside::insert(&aside, &mut connection).await?;
    checkpoint::insert(&mut connection, checkpoint).await?;
    schema::analyze(&mut connection).await?;
    connection.close().await?;
    Ok(checkpoint)
}

/// Puts the log's events up to `to` into a buffer; returns the last one, too.
pub(crate) async fn buffer_events(
    log: &SharedLog,
    to: u64,
    progress: impl Fn(u64),
) -> Result<(EventBuffer, Bookmark), ProjectorError> {
    let (pages, mut incoming) = mpsc::channel::<Vec<RecordedEvent>>(WAITING_MAX);
    let putting = run_blocking(move || {
        let mut buffer = EventBuffer::new(to);
        while let Some(page) = incoming.blocking_recv() {
            page.iter().try_for_each(|event| buffer.put(event))?;
        }
        Ok::<_, ProjectorError>(buffer)
    });
    let reading = async move {
        let mut last = Bookmark::START;
        let mut read = log.read_pages(0, to);
        while let Some(page) = read.try_next().await? {
            if let Some(event) = page.last() {
                last = event.into();
                progress(event.position);
            }
            // The receiver is gone where an event could not be put; the other half says why.
            if pages.send(page).await.is_err() {
                break;
            }
        }
        Ok::<_, ProjectorError>(last)
    };
    try_join(putting, reading).await
}

/// Adds keys and indexes. Rows of which the keys are not unique are deleted, with all others of
/// their streams. Returns these streams.
async fn add_keys(connection: &mut PgConnection) -> Result<Vec<Stream>, ProjectorError> {
    match schema::add_keys(connection).await {
        Ok(()) => return Ok(Vec::new()),
        Err(error) if DataRefusal::of(&error).is_some() => {}
        Err(error) => return Err(error.into()),
    }
    let mut streams = BTreeSet::new();
    for view in VIEWS {
        let (key, owner) = (view.key().join(", "), view.key()[0]);
        let sql = format!(
            "SELECT DISTINCT {owner} FROM (SELECT {key} FROM {view} GROUP BY {key} HAVING count(*) > 1) AS doubled"
        );
        let owners: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
        streams.extend(owners.iter().filter_map(|owner| match view.owner() {
            Owner::Case => owner.parse().ok().map(Stream::Prisoner),
            Owner::Prison => owner.parse().ok().map(Stream::Prison),
            Owner::Contacts => owner.parse().ok().map(Stream::Contacts),
        }));
    }
    OwnerKeys::of(&streams).delete(connection).await?;
    schema::add_keys(connection).await?;
    Ok(streams.into_iter().collect())
}

/// Makes the rows of all partitions and writes them. Returns the streams whose rows are refused.
async fn write(
    partitions: Vec<BufferPartition>,
    target: &RebuildTarget<'_>,
    progress: BuildObserver<'_>,
) -> Result<Vec<Stream>, ProjectorError> {
    let (parts, written) = (partitions.len(), &AtomicUsize::new(0));
    let partitions = Arc::new(std::sync::Mutex::new(partitions));
    // Of a partition that is refused, the histories are needed again. Kept in the meantime they
    // would take ten times the memory of the events.
    let (finished, waiting) = mpsc::channel::<(BufferPartition, EncodedRows)>(WAITING_MAX);
    let threads = (std::thread::available_parallelism().map_or(1, NonZero::get) / 2).clamp(1, THREADS_MAX);
    let making = try_join_all((0..threads).map(|_| {
        let (partitions, finished) = (Arc::clone(&partitions), finished.clone());
        run_blocking(move || {
            let next = || partitions.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
            while let Some(partition) = next() {
                let encoded = rows::encode(&partition.histories()?);
                // The receiver is gone where rows could not be written; the other half says why.
                if finished.blocking_send((partition, encoded)).is_err() {
                    break;
                }
            }
            Ok::<_, LogError>(())
        })
    }));
    drop(finished);
    let waiting = &Mutex::new(waiting);
    let taking_in = try_join_all((0..threads).map(|_| async move {
        let mut connection = PgConnection::connect_with(target.options).await?;
        schema::choose(&mut connection, target.schema).await?;
        // The commit of the swap makes everything before it durable, too.
        sqlx::query("SET synchronous_commit TO off").execute(&mut connection).await?;
        let mut refused = Vec::new();
        loop {
            let next = waiting.lock().await.recv().await;
            match next {
                Some((partition, encoded)) => {
                    if set_aside::try_to_write(encoded, &mut connection).await?.is_some() {
                        let refused_max = STREAMS_ASIDE_MAX.saturating_sub(refused.len());
                        refused.extend(write_accepted(partition, refused_max, &mut connection).await?);
                        if refused.len() > STREAMS_ASIDE_MAX {
                            return Err(ProjectorError::TooManyAside { streams: refused });
                        }
                    }
                    let written = written.fetch_add(1, Ordering::Relaxed) + 1;
                    progress(BuildProgress::Writing { written, parts });
                }
                None => {
                    connection.close().await?;
                    return Ok(refused);
                }
            }
        }
    }));
    let making = async { Ok::<_, ProjectorError>(making.await?) };
    let (_, refused) = try_join(making, taking_in).await?;
    Ok(refused.into_iter().flatten().collect())
}

/// Writes the rows of a partition as far as Postgres takes them. Returns the streams whose rows it
/// refuses.
async fn write_accepted(
    partition: BufferPartition,
    refused_max: usize,
    connection: &mut PgConnection,
) -> Result<Vec<Stream>, ProjectorError> {
    let histories = Arc::new(run_blocking(move || partition.histories()).await?);
    let refused = set_aside::write_accepted(&histories, refused_max, connection).await?;
    Ok(refused.into_iter().map(|index| histories[index].stream()).collect())
}
