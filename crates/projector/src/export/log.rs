//! The log as a table: an event a row, its envelope in columns, its bodies as the JSON that was
//! recorded.

use std::{io, sync::LazyLock};

use bytes::Bytes;
use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveTime, Utc};
use domain::{Stream, identifier::Username};
use event_log::{LogError, RecordedEvent, SharedLog, stored_event::decode_metadata};
use futures::TryStreamExt as _;
use serde::de::IgnoredAny;

use super::{
    ExportError, ExportFormat, ExportSummary, OpenOutput, OutputPart,
    format::{TableWriter, begin},
    pipe::{PieceReceiver, Pipe},
    table::{CellKind, ExportCell, ExportColumn, ExportTable},
};

/// The table's name.
const NAME: &str = "log";

/// Exports the log up to a position, in the order recorded. `progress` is told the position come
/// to.
///
/// Where it is parted, each UTC month in which something was recorded goes to an output of its own.
///
/// # Errors
/// The log cannot be read, or is damaged at a position; or an output cannot be written.
pub async fn export_log(
    log: &SharedLog,
    to: u64,
    is_by_month: bool,
    format: ExportFormat,
    open: impl OpenOutput,
    progress: impl Fn(u64),
) -> Result<ExportSummary, ExportError> {
    let table = ExportTable { name: NAME, position: to, streams_aside: None, columns: COLUMNS.clone() };
    let pipe = Pipe::new(move |pages: PieceReceiver<Vec<RecordedEvent>>| {
        write(pages, LogParts::new(&table, is_by_month, format, open))
    })?;
    let reading = async {
        let mut read = log.read_pages(0, to);
        while let Some(page) = read.try_next().await? {
            if let Some(last) = page.last() {
                progress(last.position);
            }
            if !pipe.send(page).await {
                break;
            }
        }
        Ok::<_, LogError>(())
    };
    reading.await?;
    let rows = pipe.finish().await?;
    Ok(ExportSummary { rows, position: to, streams_aside: 0 })
}

/// Writes pages as they come; answers how many events there were.
fn write(
    mut pages: PieceReceiver<Vec<RecordedEvent>>,
    mut parts: LogParts<'_, impl OpenOutput>,
) -> Result<u64, ExportError> {
    let mut rows = 0;
    while let Some(page) = pages.next()? {
        for event in &page {
            let part = parts.of(event.recorded_at)?;
            row(event, |cells| part.row(cells))?;
            rows += 1;
        }
    }
    parts.finish()?;
    Ok(rows)
}

static COLUMNS: LazyLock<Vec<ExportColumn>> = LazyLock::new(|| {
    let column = |(name, kind, is_nullable): (&str, _, _)| ExportColumn { name: name.to_owned(), kind, is_nullable };
    [
        ("position", CellKind::BigInt, false),
        ("stream", CellKind::Text, false),
        ("revision", CellKind::BigInt, false),
        ("event_id", CellKind::Uuid, false),
        ("type", CellKind::Word, false),
        ("recorded_at", CellKind::Timestamp, false),
        ("effective_at", CellKind::Timestamp, false),
        ("recorded_by", CellKind::Word, true),
        ("client", CellKind::Word, false),
        ("command_id", CellKind::Uuid, false),
        ("correlation_id", CellKind::Uuid, false),
        ("causation_id", CellKind::Uuid, true),
        ("schema_version", CellKind::Integer, false),
        ("prisoner_number", CellKind::Text, true),
        ("prison_code", CellKind::Word, true),
        ("data", CellKind::Json, false),
        ("metadata", CellKind::Json, false),
    ]
    .map(column)
    .to_vec()
});

/// Makes an event's row, in the order of [`COLUMNS`].
fn row(event: &RecordedEvent, write: impl FnOnce(&[ExportCell<'_>]) -> io::Result<()>) -> Result<(), ExportError> {
    let metadata = decode_metadata(event)?;
    let stream = event.stream.to_string();
    let (prisoner_number, prison_code) = match &event.stream {
        Stream::Prisoner(number) | Stream::Contacts(number) => (Some(number.as_str()), None),
        Stream::Prison(code) => (None, Some(code.as_str())),
    };
    let cells = [
        ExportCell::BigInt(event.position.cast_signed()),
        ExportCell::Text(&stream),
        ExportCell::BigInt(event.revision.cast_signed()),
        ExportCell::Uuid(event.event_id.0.into_bytes()),
        ExportCell::Text(&event.type_name),
        ExportCell::BigInt(event.recorded_at.timestamp_micros()),
        ExportCell::BigInt(metadata.effective_at.timestamp_micros()),
        ExportCell::from(metadata.recorded_by.username.as_ref().map(Username::as_str)),
        ExportCell::Text(&metadata.recorded_by.client),
        ExportCell::Uuid(metadata.command_id.0.into_bytes()),
        ExportCell::Uuid(metadata.correlation_id.into_bytes()),
        metadata.causation_id.map_or(ExportCell::Null, |id| ExportCell::Uuid(id.0.into_bytes())),
        ExportCell::Integer(i32::from(metadata.schema_version)),
        ExportCell::from(prisoner_number),
        ExportCell::from(prison_code),
        ExportCell::Text(json(event, "data", &event.data)?),
        // That it is JSON is known: it has been read above.
        ExportCell::Text(text(event, "metadata", &event.metadata)?),
    ];
    Ok(write(&cells)?)
}

/// A body, which must be JSON: readers of the file rely on it.
fn json<'a>(event: &RecordedEvent, part: &str, body: &'a Bytes) -> Result<&'a str, LogError> {
    let text = text(event, part, body)?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| damage(event, part, &error))?;
    Ok(text)
}

fn text<'a>(event: &RecordedEvent, part: &str, body: &'a Bytes) -> Result<&'a str, LogError> {
    std::str::from_utf8(body).map_err(|error| damage(event, part, &error))
}

fn damage(event: &RecordedEvent, part: &str, error: &dyn std::fmt::Display) -> LogError {
    LogError::Damaged {
        position: event.position,
        what: format!("the {part} of this `{}` cannot be read: {error}", event.type_name),
    }
}

/// The outputs, of which one is open at a time: times of recording never run backwards.
struct LogParts<'a, O> {
    table: &'a ExportTable,
    is_by_month: bool,
    format: ExportFormat,
    open: O,
    current: Option<(UtcMonth, Box<dyn TableWriter + Send>)>,
}

impl<'a, O: OpenOutput> LogParts<'a, O> {
    fn new(table: &'a ExportTable, is_by_month: bool, format: ExportFormat, open: O) -> Self {
        Self { table, is_by_month, format, open, current: None }
    }

    /// The output for events recorded at an instant.
    fn of(&mut self, recorded_at: DateTime<Utc>) -> io::Result<&mut (dyn TableWriter + Send)> {
        let is_over = self.is_by_month && self.current.as_ref().is_some_and(|(month, _)| recorded_at >= month.end);
        if is_over && let Some((_, part)) = self.current.take() {
            part.finish()?;
        }
        let (_, part) = match self.current.take() {
            Some(current) => self.current.insert(current),
            None => {
                let month = UtcMonth::of(recorded_at.date_naive());
                let part = if self.is_by_month { OutputPart::Month(month.first) } else { OutputPart::Table(NAME) };
                self.current.insert((month, begin(self.format, self.table, self.open.open(part)?)?))
            }
        };
        Ok(part.as_mut())
    }

    /// Completes the last output. Where there is nothing to export, and no months, that is one
    /// without rows.
    fn finish(mut self) -> io::Result<()> {
        match self.current.take() {
            Some((_, part)) => part.finish(),
            None if self.is_by_month => Ok(()),
            None => begin(self.format, self.table, self.open.open(OutputPart::Table(NAME))?)?.finish(),
        }
    }
}

/// A UTC month.
#[derive(Debug, Clone, Copy)]
struct UtcMonth {
    first: NaiveDate,
    /// The first instant after it.
    end: DateTime<Utc>,
}

impl UtcMonth {
    fn of(date: NaiveDate) -> Self {
        let first = date.with_day(1).unwrap_or(date);
        Self { first, end: (first + Months::new(1)).and_time(NaiveTime::MIN).and_utc() }
    }
}
