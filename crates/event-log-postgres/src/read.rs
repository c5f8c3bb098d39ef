//! All statements that read events. Each read is one statement, so no reader holds a transaction
//! open, and with it an old snapshot.
//!
//! Readers count: positions rise by one, and so do the revisions of a stream. A gap is damage; a
//! reader never waits for it to fill.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use domain::{Stream, identifier::EventId};
use sqlx::{PgPool, Row as _, postgres::PgRow};
use uuid::Uuid;

use event_log::{ExpectedRevision, LogError, PAGE_EVENTS_MAX, RecordedEvent, StreamOrder};

use crate::{
    answer_timeout::with_timeout,
    error::{log_error, unreadable},
};

/// A page of the log, its positions counted.
#[derive(Debug)]
pub(crate) struct DensePage {
    pub(crate) events: Vec<RecordedEvent>,
    /// The log's end when the page was read.
    pub(crate) head: u64,
}

/// The position of the last event.
pub(crate) async fn head(pool: &PgPool) -> Result<u64, LogError> {
    let statement = sqlx::query_scalar("SELECT position FROM log.head");
    let head: Option<i64> = with_timeout(pool, async |reader| statement.fetch_optional(reader).await)
        .await
        .map_err(|error| log_error(error, 0))?;
    match head {
        Some(position) => Ok(position.cast_unsigned()),
        None => Err(LogError::Damaged { position: 0, what: "`log.head` has no row".to_owned() }),
    }
}

/// The revision of a stream's last event.
pub(crate) async fn revision(pool: &PgPool, stream: &Stream) -> Result<ExpectedRevision, LogError> {
    let statement = sqlx::query_scalar("SELECT revision FROM log.stream WHERE stream = $1").bind(stream.to_string());
    let revision: Option<i64> = with_timeout(pool, async |reader| statement.fetch_optional(reader).await)
        .await
        .map_err(|error| log_error(error, 0))?;
    Ok(revision.map_or(ExpectedRevision::NoStream, |revision| ExpectedRevision::Exact(revision.cast_unsigned())))
}

/// At most `limit` events after a position, and the log's end at that moment.
pub(crate) async fn page(pool: &PgPool, after: u64, limit: usize) -> Result<DensePage, LogError> {
    let limit = limit.min(PAGE_EVENTS_MAX) as u64;
    // Positions are dense, so the page's end is known. The two bounds limit the planner to the
    // partitions that it needs.
    let statement = sqlx::query(
        "SELECT position, stream, revision, event_id, type, recorded_at, metadata, data,
                (SELECT position FROM log.head) AS head
           FROM log.event
          WHERE position > $1 AND position <= $2
          ORDER BY position",
    )
    .bind(bigint(after))
    .bind(bigint(after.saturating_add(limit)));
    let rows = with_timeout(pool, async |reader| statement.fetch_all(reader).await)
        .await
        .map_err(|error| log_error(error, after))?;
    let Some(last) = rows.last() else {
        return empty_page(pool, after, limit).await;
    };
    let head: i64 = last.try_get("head").map_err(|_| unreadable("head", after))?;
    let mut counted = PageCounter::new(after, limit);
    rows.iter().try_for_each(|row| counted.push(recorded_event(row)?))?;
    counted.page(head.cast_unsigned())
}

/// Counts the events of a page as they come.
pub(crate) struct PageCounter {
    after: u64,
    limit: u64,
    events: Vec<RecordedEvent>,
}

impl PageCounter {
    /// At most `limit` events after a position.
    pub(crate) fn new(after: u64, limit: u64) -> Self {
        Self { after, limit, events: Vec::new() }
    }

    /// The position of the last event so far.
    pub(crate) fn end(&self) -> u64 {
        self.after + self.events.len() as u64
    }

    /// Takes the next event, which must be at the next position.
    pub(crate) fn push(&mut self, event: RecordedEvent) -> Result<(), LogError> {
        let expected = self.end() + 1;
        if event.position != expected {
            return Err(LogError::Damaged {
                position: expected,
                what: format!("no event stands here; the next is at position {}", event.position),
            });
        }
        self.events.push(event);
        Ok(())
    }

    /// The page. One that is not full must reach the log's end.
    pub(crate) fn page(self, head: u64) -> Result<DensePage, LogError> {
        let end = self.end();
        if (self.events.len() as u64) < self.limit && end != head {
            return Err(gap_error(end + 1, head));
        }
        Ok(DensePage { events: self.events, head })
    }
}

/// As [`page`], but where damage is among the events, the page stops before it. The next page then
/// meets the damage first.
pub(crate) async fn sound_page(pool: &PgPool, after: u64, limit: usize) -> Result<DensePage, LogError> {
    match page(pool, after, limit).await {
        Err(LogError::Damaged { position, .. }) if position > after + 1 => {
            let sound = (position - 1 - after).min(limit as u64);
            page(pool, after, sound as usize).await
        }
        page => page,
    }
}

/// Checks that an empty page is at the log's end and not at a gap.
async fn empty_page(pool: &PgPool, after: u64, limit: u64) -> Result<DensePage, LogError> {
    let head = head(pool).await?;
    if head <= after || limit == 0 {
        return Ok(DensePage { events: Vec::new(), head });
    }
    // Events were appended between the two statements, unless there is a gap. The first of them
    // tells: the events up to the head row's position are committed.
    let statement =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM log.event WHERE position = $1)").bind(bigint(after + 1));
    let exists: bool = with_timeout(pool, async |reader| statement.fetch_one(reader).await)
        .await
        .map_err(|error| log_error(error, after))?;
    if exists { Box::pin(page(pool, after, limit as usize)).await } else { Err(gap_error(after + 1, head)) }
}

fn gap_error(position: u64, head: u64) -> LogError {
    LogError::Damaged { position, what: format!("no event stands here, though the log ends at position {head}") }
}

/// At most `limit` events of a stream, from a revision on.
pub(crate) async fn stream(
    pool: &PgPool,
    stream: &Stream,
    from_revision: u64,
    limit: usize,
) -> Result<Vec<RecordedEvent>, LogError> {
    let statement = sqlx::query(
        "SELECT position, stream, revision, event_id, type, recorded_at, metadata, data
           FROM log.event
          WHERE stream = $1 AND revision >= $2
          ORDER BY revision
          LIMIT $3",
    )
    .bind(stream.to_string())
    .bind(bigint(from_revision))
    .bind(limit.min(PAGE_EVENTS_MAX) as i64);
    let rows = with_timeout(pool, async |reader| statement.fetch_all(reader).await)
        .await
        .map_err(|error| log_error(error, 0))?;
    let events = rows.iter().map(recorded_event).collect::<Result<Vec<_>, _>>()?;
    check_order(from_revision, &events)?;
    Ok(events)
}

/// Several streams up to a position, in the order asked; one statement.
pub(crate) async fn streams(pool: &PgPool, streams: &[Stream], to: u64) -> Result<Vec<Vec<RecordedEvent>>, LogError> {
    if streams.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = streams.iter().map(Stream::to_string).collect();
    // The join on `log.stream` looks up a stream that does not exist, such as that of a new case,
    // once and not in the index of each partition. `+ 0` keeps the planner from scanning all
    // positions up to `to`, which it would do while it has no statistics of the table.
    let statement = sqlx::query(
        "SELECT asked.place, event.*
           FROM unnest($1::text[]) WITH ORDINALITY AS asked (stream, place)
           JOIN log.stream AS known ON known.stream = asked.stream
          CROSS JOIN LATERAL (SELECT position, stream, revision, event_id, type, recorded_at, metadata, data
                                FROM log.event
                               WHERE stream = known.stream AND position + 0 <= $2
                               ORDER BY revision) AS event
          ORDER BY asked.place, event.revision",
    )
    .bind(&names)
    .bind(bigint(to));
    let rows = with_timeout(pool, async |reader| statement.fetch_all(reader).await)
        .await
        .map_err(|error| log_error(error, 0))?;
    let mut answer: Vec<Vec<RecordedEvent>> = streams.iter().map(|_| Vec::new()).collect();
    for row in &rows {
        let event = recorded_event(row)?;
        let place: i64 = row.try_get("place").map_err(|_| unreadable("place", event.position))?;
        if let Some(events) = usize::try_from(place - 1).ok().and_then(|index| answer.get_mut(index)) {
            events.push(event);
        }
    }
    for events in &answer {
        check_order(0, events)?;
    }
    Ok(answer)
}

fn check_order(from_revision: u64, events: &[RecordedEvent]) -> Result<(), LogError> {
    let mut order = StreamOrder::from_revision(from_revision);
    events.iter().try_for_each(|event| order.accept(event))
}

/// Reads a row of `log.event`.
fn recorded_event(row: &PgRow) -> Result<RecordedEvent, LogError> {
    fn column<'r, T>(row: &'r PgRow, name: &'static str, position: u64) -> Result<T, LogError>
    where
        T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        row.try_get(name).map_err(|_| unreadable(name, position))
    }
    let position = column::<i64>(row, "position", 0)?.cast_unsigned();
    let stream = column::<&str>(row, "stream", position)?;
    Ok(RecordedEvent {
        position,
        stream: stream.parse().map_err(|_| unreadable("stream", position))?,
        revision: column::<i64>(row, "revision", position)?.cast_unsigned(),
        event_id: EventId(column::<Uuid>(row, "event_id", position)?),
        type_name: column(row, "type", position)?,
        recorded_at: column::<DateTime<Utc>>(row, "recorded_at", position)?,
        metadata: Bytes::from(column::<Vec<u8>>(row, "metadata", position)?),
        data: Bytes::from(column::<Vec<u8>>(row, "data", position)?),
    })
}

/// A number as a `bigint` parameter. Numbers beyond its range find nothing, and so does its
/// maximum.
pub(crate) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
