//! Pages of thousands of events, by `COPY … TO STDOUT (FORMAT binary)`. A row costs half of what it
//! costs in the answer to a query, and its bodies need not be copied.

use std::sync::Mutex;

use bytes::{Buf as _, Bytes};
use chrono::{DateTime, TimeDelta, Utc};
use domain::identifier::EventId;
use futures::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::{sync::Semaphore, time::timeout};
use uuid::Uuid;

use event_log::{LogError, PAGE_EVENTS_MAX, RecordedEvent, lock};

use crate::{
    answer_timeout::{ANSWER_MAX, in_time, no_answer},
    error::{log_error, unreadable},
    read::{self, DensePage, PageCounter},
};

/// Pages of this many events are worth a statement that Postgres must plan each time.
pub(crate) const EVENTS_MIN: usize = 500;

/// Most pages that are read at once, each on a connection of its own. The readers of the feed share
/// them with a rebuild, and Postgres has connections left for everything else.
const READS_AT_ONCE_MAX: usize = 3;

/// The header before binary rows: a signature of 11 bytes, flags, and the length of an extension,
/// which is empty.
const HEADER_BYTES: usize = 19;

/// This number of columns marks the end of the rows.
const END: i16 = -1;

/// Postgres counts microseconds from 2000-01-01T00:00:00Z.
const POSTGRES_EPOCH: DateTime<Utc> = match DateTime::from_timestamp(946_684_800, 0) {
    Some(epoch) => epoch,
    None => DateTime::UNIX_EPOCH,
};

/// Reads pages, each on a connection that no other reader uses meanwhile.
pub(crate) struct BulkReader {
    readers: PgPool,
    turns: Semaphore,
    /// The connections of earlier pages. A page takes one out while it is read: a page that is
    /// given up half-way has rows under way, and must end with its connection.
    spares: Mutex<Vec<PgConnection>>,
}

impl BulkReader {
    pub(crate) fn new(readers: PgPool) -> Self {
        Self { readers, turns: Semaphore::new(READS_AT_ONCE_MAX), spares: Mutex::default() }
    }

    /// As [`read::page`], in turn with other readers. The log is out of reach for a reader whose
    /// turn does not come in time.
    pub(crate) async fn page(&self, after: u64, limit: usize) -> Result<DensePage, LogError> {
        let turn = timeout(ANSWER_MAX, self.turns.acquire()).await;
        let _turn = turn.map_err(|_| log_error(no_answer(), after))?;
        let spare = lock(&self.spares).pop();
        // An idle connection may have been cut meanwhile.
        if let Some(connection) = spare
            && let Ok(page) = self.page_in_time(connection, after, limit).await
        {
            return Ok(page);
        }
        let options = self.readers.connect_options();
        let connection =
            in_time(PgConnection::connect_with(&options)).await.map_err(|error| log_error(error, after))?;
        self.page_in_time(connection, after, limit).await
    }

    async fn page_in_time(&self, connection: PgConnection, after: u64, limit: usize) -> Result<DensePage, LogError> {
        let page = timeout(ANSWER_MAX, self.page_on(connection, after, limit)).await;
        page.unwrap_or_else(|_| Err(log_error(no_answer(), after)))
    }

    async fn page_on(&self, mut connection: PgConnection, after: u64, limit: usize) -> Result<DensePage, LogError> {
        let limit = limit.min(PAGE_EVENTS_MAX);
        let failed = |error| log_error(error, after);
        // COPY takes no parameters. Columns and bounds as in `read::page`.
        let statement = format!(
            "COPY (SELECT position, stream, revision, event_id, type, recorded_at, metadata, data,
                          (SELECT position FROM log.head) AS head
                     FROM log.event
                    WHERE position > {} AND position <= {}
                    ORDER BY position)
               TO STDOUT (FORMAT binary)",
            read::bigint(after),
            read::bigint(after.saturating_add(limit as u64)),
        );
        let mut counted = PageCounter::new(after, limit as u64);
        let mut head = None;
        let mut header_bytes = HEADER_BYTES;
        let mut rows = connection.copy_out_raw(&statement).await.map_err(failed)?;
        // Postgres sends each row in a message of its own; the header comes with the first.
        while let Some(mut bytes) = rows.try_next().await.map_err(failed)? {
            bytes.advance(std::mem::take(&mut header_bytes).min(bytes.len()));
            if let Some(row) = BinaryRow::new(bytes) {
                let (event, end) = row.event(counted.end())?;
                counted.push(event)?;
                head = Some(end);
            }
        }
        drop(rows);
        lock(&self.spares).push(connection);
        match head {
            Some(head) => counted.page(head),
            None => read::page(&self.readers, after, limit).await,
        }
    }
}

/// The columns of a row that are still to be read.
struct BinaryRow(Bytes);

impl BinaryRow {
    /// A row; nothing where there are no more rows.
    fn new(mut bytes: Bytes) -> Option<Self> {
        let columns = bytes.try_get_i16().ok()?;
        (columns != END).then_some(Self(bytes))
    }

    /// The event, and the log's end. `before` is the position of the event before it.
    fn event(mut self, before: u64) -> Result<(RecordedEvent, u64), LogError> {
        let position = self.bigint("position", before)?;
        let stream = self.text("stream", position)?;
        let event = RecordedEvent {
            position,
            stream: stream.parse().map_err(|_| unreadable("stream", position))?,
            revision: self.bigint("revision", position)?,
            event_id: EventId(Uuid::from_bytes(self.array("event_id", position)?)),
            type_name: self.text("type", position)?,
            recorded_at: self.instant("recorded_at", position)?,
            metadata: self.value("metadata", position)?,
            data: self.value("data", position)?,
        };
        Ok((event, self.bigint("head", position)?))
    }

    /// The next column, which must not be null.
    fn value(&mut self, column: &str, position: u64) -> Result<Bytes, LogError> {
        let len = self.0.try_get_i32().ok().and_then(|len| usize::try_from(len).ok());
        match len.filter(|len| *len <= self.0.len()) {
            Some(len) => Ok(self.0.split_to(len)),
            None => Err(unreadable(column, position)),
        }
    }

    fn array<const N: usize>(&mut self, column: &str, position: u64) -> Result<[u8; N], LogError> {
        let value = self.value(column, position)?;
        value[..].try_into().map_err(|_| unreadable(column, position))
    }

    fn bigint(&mut self, column: &str, position: u64) -> Result<u64, LogError> {
        self.array(column, position).map(u64::from_be_bytes)
    }

    fn text(&mut self, column: &str, position: u64) -> Result<String, LogError> {
        let value = self.value(column, position)?;
        std::str::from_utf8(&value).map(str::to_owned).map_err(|_| unreadable(column, position))
    }

    fn instant(&mut self, column: &str, position: u64) -> Result<DateTime<Utc>, LogError> {
        let micros = self.array(column, position).map(i64::from_be_bytes)?;
        let instant = POSTGRES_EPOCH.checked_add_signed(TimeDelta::microseconds(micros));
        instant.ok_or_else(|| unreadable(column, position))
    }
}
