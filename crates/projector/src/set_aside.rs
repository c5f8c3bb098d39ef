//! Puts aside the streams whose rows Postgres refuses as data, so that one case does not stop the
//! others.
//!
//! Rows are written for many streams at a time. Where Postgres refuses them, halves are tried, and
//! halves of these, until each stream that is refused has been tried alone. Nothing of such a
//! stream is in the views but its row in `stream_aside`.
//!
//! Promises: whether a stream is aside, and which of its events is named, follows from its events
//! alone, whatever the batches; a failure other than a refusal of data is an error and puts no
//! stream aside.

use std::{iter, ops::Range, sync::Arc};

use domain::Stream;
use event_log::{LogError, RecordedEvent, SharedLog, decode};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgExecutor};
use views::{
    EncodedRows,
    stream_aside::{AS_JSON, StreamAside},
};

use crate::{ProjectorError, any_history::AnyHistory, blocking::run_blocking, rows};

/// Most streams aside. More are no damage of single cases: the program or the database is wrong.
pub const STREAMS_ASIDE_MAX: usize = 20;

/// The entries at a history's end that are looked at one by one for the event to name. Further
/// back the steps double, which bounds the tries for a prison's thousands of entries.
const SINGLE_STEPS: usize = 16;

/// Postgres's refusal of rows as data.
#[derive(Debug)]
pub(crate) struct DataRefusal {
    sql_state: String,
    reason: String,
}

impl DataRefusal {
    /// The refusal that an error is; `None` for any other error.
    pub(crate) fn of(error: &sqlx::Error) -> Option<Self> {
        let error = error.as_database_error()?;
        let sql_state = error.code().filter(|code| code.starts_with(DATA_EXCEPTION) || code.starts_with(INTEGRITY))?;
        Some(Self { sql_state: sql_state.into_owned(), reason: error.message().to_owned() })
    }
}

/// SQLSTATE class of values that do not fit.
const DATA_EXCEPTION: &str = "22";

/// SQLSTATE class of broken constraints.
const INTEGRITY: &str = "23";

/// Writes the rows of histories that have none in the chosen schema, which must have its keys.
/// Returns the streams that are put aside, for [`insert`].
///
/// # Errors
/// [`ProjectorError::TooManyAside`] where they are more than `streams_max`, or the database fails.
pub(crate) async fn write(
    histories: &Arc<Vec<AnyHistory>>,
    streams_max: usize,
    connection: &mut PgConnection,
) -> Result<Vec<StreamAside>, ProjectorError> {
    let refused = write_accepted(histories, streams_max, connection).await?;
    if refused.len() > streams_max {
        return Err(ProjectorError::TooManyAside {
            streams: refused.into_iter().map(|index| histories[index].stream()).collect(),
        });
    }
    let mut aside = Vec::new();
    for index in refused {
        aside.extend(place(histories, index, connection).await?);
    }
    Ok(aside)
}

/// Writes the rows of histories, each history's all or none. Returns the places of those that
/// Postgres refuses; with one more than `refused_max` it gives up, and tries no others.
pub(crate) async fn write_accepted(
    histories: &Arc<Vec<AnyHistory>>,
    refused_max: usize,
    connection: &mut PgConnection,
) -> Result<Vec<usize>, sqlx::Error> {
    let mut refused = Vec::new();
    let mut untried: Vec<Range<usize>> = iter::once(0..histories.len()).filter(|all| !all.is_empty()).collect();
    while let Some(places) = untried.pop() {
        let (tried, of) = (Arc::clone(histories), places.clone());
        let encoded = run_blocking(move || rows::encode(&tried[of])).await;
        if try_to_write(encoded, connection).await?.is_none() {
            continue;
        }
        if places.len() > 1 {
            let middle = places.start + places.len() / 2;
            untried.extend([middle..places.end, places.start..middle]);
        } else {
            refused.push(places.start);
            if refused.len() > refused_max {
                break;
            }
        }
    }
    Ok(refused)
}

/// Writes rows, or, where Postgres refuses them, none of them and returns the refusal.
pub(crate) async fn try_to_write(
    rows: EncodedRows,
    connection: &mut PgConnection,
) -> Result<Option<DataRefusal>, sqlx::Error> {
    let mut attempt = connection.begin().await?;
    match rows::write(rows, &mut attempt).await {
        Ok(()) => attempt.commit().await.map(|()| None),
        Err(error) => {
            let refusal = DataRefusal::of(&error).ok_or(error)?;
            attempt.rollback().await?;
            Ok(Some(refusal))
        }
    }
}

/// Writes the rows of one of the histories, or finds out why Postgres refuses them.
async fn place(
    histories: &Arc<Vec<AnyHistory>>,
    index: usize,
    connection: &mut PgConnection,
) -> Result<Option<StreamAside>, sqlx::Error> {
    let history = &histories[index];
    let all = encode_prefix(histories, index, history.len()).await;
    let Some(DataRefusal { sql_state, reason }) = try_to_write(all, connection).await? else { return Ok(None) };
    let origin = history.place_of(find_origin(histories, index, connection).await?);
    Ok(Some(StreamAside {
        stream: history.stream(),
        position: origin.position,
        revision: origin.revision,
        event_id: origin.event_id,
        event_type: origin.event_type.to_owned(),
        merged_into: history.merged_into(),
        sql_state,
        reason,
    }))
}

/// The rows of the first entries of one of the histories. A roster may have thousands of entries.
async fn encode_prefix(histories: &Arc<Vec<AnyHistory>>, index: usize, entries: usize) -> EncodedRows {
    let histories = Arc::clone(histories);
    run_blocking(move || rows::encode(&[histories[index].prefix(entries)])).await
}

/// The revision of the event from which on the rows of one of the histories are refused.
async fn find_origin(
    histories: &Arc<Vec<AnyHistory>>,
    index: usize,
    connection: &mut PgConnection,
) -> Result<usize, sqlx::Error> {
    let len = histories[index].len();
    let (mut refused, mut step) = (len, 1);
    let mut accepted = loop {
        let shorter = refused.saturating_sub(step);
        if is_accepted(histories, index, shorter, connection).await? {
            break shorter;
        }
        refused = shorter;
        if len - refused >= SINGLE_STEPS {
            step *= 2;
        }
    };
    while refused - accepted > 1 {
        let middle = accepted + (refused - accepted) / 2;
        if is_accepted(histories, index, middle, connection).await? {
            accepted = middle;
        } else {
            refused = middle;
        }
    }
    Ok(accepted)
}

/// Whether Postgres takes the rows of the first entries of one of the histories. None are left.
async fn is_accepted(
    histories: &Arc<Vec<AnyHistory>>,
    index: usize,
    entries: usize,
    connection: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    // A history without entries has no rows.
    if entries == 0 {
        return Ok(true);
    }
    let encoded = encode_prefix(histories, index, entries).await;
    let mut attempt = connection.begin().await?;
    let outcome = match rows::write(encoded, &mut attempt).await {
        Ok(()) => true,
        Err(error) => DataRefusal::of(&error).map(|_| false).ok_or(error)?,
    };
    attempt.rollback().await?;
    Ok(outcome)
}

/// The histories of streams as they were when the log ended at `position`.
pub(crate) async fn read_histories(
    log: &SharedLog,
    streams: &[Stream],
    position: u64,
) -> Result<Arc<Vec<AnyHistory>>, LogError> {
    let (recorded, streams) = (log.read_streams_to(streams, position).await?, streams.to_vec());
    run_blocking(move || {
        let history_of = |(stream, events): (&Stream, &Vec<RecordedEvent>)| {
            let mut history = AnyHistory::new(stream);
            for event in events {
                history.push(decode(event)?.entry)?;
            }
            Ok(history)
        };
        streams.iter().zip(&recorded).map(history_of).collect::<Result<Vec<_>, LogError>>().map(Arc::new)
    })
    .await
}

/// Adds streams to those aside in the chosen schema.
pub(crate) async fn insert(aside: &[StreamAside], connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    insert_into("stream_aside", aside, connection).await
}

/// Adds streams to a table with the columns of `stream_aside`.
pub(crate) async fn insert_into(
    table: &str,
    aside: &[StreamAside],
    connection: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "INSERT INTO {table} (stream, prisoner_number, prison_code, position, revision, event_id, event_type,
                              merged_into, sql_state, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
    );
    for row in aside {
        let (number, code) = match &row.stream {
            Stream::Prisoner(number) => (Some(number.as_str()), None),
            Stream::Prison(code) => (None, Some(code.as_str())),
            // The person's case is not aside with the contacts.
            Stream::Contacts(_) => (None, None),
        };
        sqlx::query(AssertSqlSafe(sql.as_str()))
            .bind(row.stream.to_string())
            .bind(number)
            .bind(code)
            .bind(row.position.cast_signed())
            .bind(row.revision.cast_signed())
            .bind(row.event_id.0)
            .bind(&row.event_type)
            .bind(row.merged_into.as_ref().map(|number| number.as_str()))
            .bind(&row.sql_state)
            .bind(&row.reason)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Logs that a stream is aside. Its name is that of a person, so only the position is said.
pub(crate) fn log(StreamAside { position, event_type, sql_state, .. }: &StreamAside) {
    tracing::error!(
        position,
        event = event_type,
        sql_state,
        "a stream is put aside: Postgres refuses its rows from the `{event_type}` at position {position} on; \
         `projections status` names it"
    );
}

/// Takes streams from those aside in the chosen schema.
pub(crate) async fn delete(streams: &[Stream], connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let names: Vec<String> = streams.iter().map(Stream::to_string).collect();
    sqlx::query("DELETE FROM stream_aside WHERE stream = ANY($1)").bind(names).execute(connection).await?;
    Ok(())
}

/// The streams aside in the chosen schema, by name.
pub(crate) async fn read(views: impl PgExecutor<'_>) -> Result<Vec<StreamAside>, sqlx::Error> {
    read_from("stream_aside", views).await
}

/// The streams aside in a schema, by name.
pub(crate) async fn read_in(schema: &str, views: impl PgExecutor<'_>) -> Result<Vec<StreamAside>, sqlx::Error> {
    read_from(&format!("{schema}.stream_aside"), views).await
}

async fn read_from(table: &str, views: impl PgExecutor<'_>) -> Result<Vec<StreamAside>, sqlx::Error> {
    let sql = format!("SELECT {AS_JSON}::text FROM {table} aside ORDER BY stream COLLATE \"C\"");
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(views).await?;
    let read = |row: &String| serde_json::from_str(row).map_err(|error| sqlx::Error::Decode(error.into()));
    rows.iter().map(read).collect()
}
