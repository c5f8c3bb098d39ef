//! Views as tables: their columns from the database's catalog, their rows as `COPY` gives them, in
//! the order of their key.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::BytesMut;
use event_log::SharedLog;
use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _};
use views::{
    VIEWS_VERSION,
    checkpoint::{self, Checkpoint},
};

use super::{
    ExportError, ExportFormat, ExportProgress, ExportSummary, OpenOutput, OutputPart,
    format::{TableWriter, begin},
    pipe::{PieceReceiver, Pipe},
    selection::ExportSelection,
    table::{CellKind, ExportCell, ExportColumn, ExportTable},
};
use crate::{
    pg_copy::{RawRow, RowCutter},
    rebuild_by_hand,
    schema::{self, SCHEMA},
    set_aside,
};

/// Bytes that are handed to the writer at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Exports tables of the serving views: the rows of one moment, whatever is projected meanwhile.
///
/// # Errors
/// A table cannot be read or has no periods; the prison is unknown; or an output cannot be written.
pub async fn export_views(
    views: &PgPool,
    selection: &ExportSelection,
    format: ExportFormat,
    open: impl OpenOutput,
    progress: impl Fn(ExportProgress) + Sync,
) -> Result<ExportSummary, ExportError> {
    let options = views.connect_options().as_ref().clone().application_name("allocation-ledger export");
    let mut connection = PgConnection::connect_with(&options).await?;
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(format!("{SCHEMA}.checkpoint"))
        .fetch_one(&mut connection)
        .await?;
    if !is_there {
        return Err(ExportError::NoViews);
    }
    schema::choose(&mut connection, SCHEMA).await?;
    let exported = export(&mut connection, selection, format, open, progress).await?;
    connection.close().await?;
    Ok(exported)
}

/// [`export_views`] of the views as they were when the log ended at `position`: they are built for
/// that beside the serving ones, and dropped again.
///
/// # Errors
/// As [`export_views`]; or they cannot be built.
pub async fn export_views_as_of(
    log: &SharedLog,
    views: &PgPool,
    position: u64,
    selection: &ExportSelection,
    format: ExportFormat,
    open: impl OpenOutput,
    progress: impl Fn(ExportProgress) + Sync,
) -> Result<ExportSummary, ExportError> {
    let building = |building| progress(ExportProgress::Building(building));
    rebuild_by_hand::with_views_as_of(log, views, position, &building, async |connection| {
        export(connection, selection, format, open, &progress).await
    })
    .await?
}

/// Exports tables of the schema chosen on the connection.
async fn export(
    connection: &mut PgConnection,
    selection: &ExportSelection,
    format: ExportFormat,
    open: impl OpenOutput,
    progress: impl Fn(ExportProgress),
) -> Result<ExportSummary, ExportError> {
    // Views of another version may lack a table that is locked below.
    check_version(checkpoint::read(&mut *connection).await?)?;
    let mut transaction = connection.begin().await?;
    // The lock before the snapshot: where a rebuilt schema is swapped in just then, both are of the
    // new one. The snapshot, since the projector goes on: all rows are of the checkpoint's
    // position.
    sqlx::raw_sql(AssertSqlSafe(format!(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
         LOCK TABLE checkpoint, {} IN ACCESS SHARE MODE",
        selection.locked_tables()
    )))
    .execute(&mut *transaction)
    .await?;
    let checkpoint = checkpoint::read(&mut *transaction).await?;
    check_version(checkpoint)?;
    let position = checkpoint.position;
    let streams_aside = set_aside::read(&mut *transaction).await?.len();
    selection.check_prison(&mut transaction).await?;
    let mut total = 0;
    for source in &selection.sources {
        let count = AssertSqlSafe(selection.count_sql(*source)?);
        total += sqlx::query_scalar::<_, i64>(count).fetch_one(&mut *transaction).await?.unsigned_abs();
    }
    let written = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&written);
    let pipe = Pipe::new(move |pieces| write(pieces, format, open, &counter))?;
    for source in &selection.sources {
        let columns = columns(&mut transaction, source.name()).await?;
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        let select = selection.select_sql(*source, &names)?;
        let table = ExportTable { name: source.name(), position, streams_aside: Some(streams_aside), columns };
        let show = || progress(ExportProgress::Writing { written: written.load(Ordering::Relaxed), of: total });
        if !pipe.send(ViewPiece::Begin(table)).await || !copy(&mut transaction, &select, &pipe, show).await? {
            break;
        }
    }
    // Before the last pieces are written, which may take as long as the reader of the output takes:
    // a rebuild waits for this. It fails where rows are left because the writer has failed, and the
    // writer says why.
    let ended = transaction.rollback().await;
    pipe.finish().await?;
    ended?;
    Ok(ExportSummary { rows: written.load(Ordering::Relaxed), position, streams_aside })
}

/// A piece for the writer.
enum ViewPiece {
    /// The rows of this table follow.
    Begin(ExportTable),
    /// Bytes of rows, as `COPY` gives them.
    Rows(BytesMut),
}

fn check_version(checkpoint: Checkpoint) -> Result<(), ExportError> {
    match checkpoint.version {
        VIEWS_VERSION => Ok(()),
        found => Err(ExportError::OtherVersion { found }),
    }
}

/// Hands the rows of a query to the writer, piece by piece; false where the writer has failed.
async fn copy(
    connection: &mut PgConnection,
    select: &str,
    pipe: &Pipe<ViewPiece, ()>,
    progress: impl Fn(),
) -> Result<bool, ExportError> {
    let mut copying = connection.copy_out_raw(&format!("COPY ({select}) TO STDOUT (FORMAT binary)")).await?;
    let mut piece = BytesMut::with_capacity(2 * PIECE_BYTES);
    loop {
        let next = copying.try_next().await?;
        piece.extend_from_slice(next.as_deref().unwrap_or_default());
        if next.is_some() && piece.len() < PIECE_BYTES {
            continue;
        }
        progress();
        let is_taken = pipe.send(ViewPiece::Rows(piece.split())).await;
        if next.is_none() || !is_taken {
            return Ok(is_taken);
        }
    }
}

/// Writes the rows of one table after the other as they come, and counts them in `written`.
fn write(
    mut pieces: PieceReceiver<ViewPiece>,
    format: ExportFormat,
    mut open: impl OpenOutput,
    written: &AtomicU64,
) -> Result<(), ExportError> {
    let mut current: Option<(ExportTable, RowCutter, Box<dyn TableWriter + Send>)> = None;
    while let Some(piece) = pieces.next()? {
        match piece {
            ViewPiece::Begin(table) => {
                if let Some((.., writer)) = current.take() {
                    writer.finish()?;
                }
                let writer = begin(format, &table, open.open(OutputPart::Table(table.name))?)?;
                current = Some((table, RowCutter::default(), writer));
            }
            ViewPiece::Rows(bytes) => {
                let Some((table, cutter, writer)) = &mut current else { continue };
                cutter.push(&bytes);
                while let Some(row) = cutter.next() {
                    write_row(table, &row, |cells| writer.row(cells))?;
                    written.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    if let Some((.., writer)) = current {
        writer.finish()?;
    }
    Ok(())
}

fn write_row(
    table: &ExportTable,
    row: &RawRow,
    write: impl FnOnce(&[ExportCell<'_>]) -> std::io::Result<()>,
) -> Result<(), ExportError> {
    let cells = row.fields().zip(&table.columns).map(|(field, column)| {
        let Some(bytes) = field else { return Ok(ExportCell::Null) };
        cell(bytes, column.kind).ok_or_else(|| ExportError::Value { view: table.name, column: column.name.clone() })
    });
    let cells = cells.collect::<Result<Vec<_>, _>>()?;
    Ok(write(&cells)?)
}

/// The columns of a table or an SQL view, in their order.
async fn columns(connection: &mut PgConnection, table: &'static str) -> Result<Vec<ExportColumn>, ExportError> {
    let rows = sqlx::query(
        "SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS is_not_null
           FROM pg_attribute
          WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
          ORDER BY attnum",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let (name, type_name): (String, String) = (row.try_get("name")?, row.try_get("type")?);
            let is_not_null: bool = row.try_get("is_not_null")?;
            let kind = match type_name.as_str() {
                "text" => CellKind::Word,
                "text[]" => CellKind::Words,
                "bigint" => CellKind::BigInt,
                "integer" => CellKind::Integer,
                "boolean" => CellKind::Boolean,
                "timestamp with time zone" => CellKind::Timestamp,
                "date" => CellKind::Date,
                "uuid" => CellKind::Uuid,
                "numeric(2,1)" => CellKind::Decimal { precision: 2, scale: 1 },
                _ => return Err(ExportError::Type { view: table, column: name, type_name }),
            };
            // Times may be infinite, which is null in a file: no format has it.
            let is_nullable = !is_not_null || matches!(kind, CellKind::Timestamp | CellKind::Date);
            Ok(ExportColumn { name, kind, is_nullable })
        })
        .collect()
}

/// Reads a value in Postgres's binary format; `None` where it is not one of that kind.
fn cell(bytes: &[u8], kind: CellKind) -> Option<ExportCell<'_>> {
    /// Postgres counts from 2000.
    const EPOCH_MICROS: i64 = 946_684_800_000_000;
    const EPOCH_DAYS: i32 = 10_957;
    Some(match kind {
        CellKind::Word | CellKind::Text | CellKind::Json => ExportCell::Text(std::str::from_utf8(bytes).ok()?),
        CellKind::BigInt => ExportCell::BigInt(i64::from_be_bytes(bytes.try_into().ok()?)),
        CellKind::Integer => ExportCell::Integer(i32::from_be_bytes(bytes.try_into().ok()?)),
        CellKind::Boolean => ExportCell::Boolean(*bytes.first()? != 0),
        CellKind::Timestamp => match i64::from_be_bytes(bytes.try_into().ok()?) {
            i64::MIN | i64::MAX => ExportCell::Null,
            micros => ExportCell::BigInt(micros.checked_add(EPOCH_MICROS)?),
        },
        CellKind::Date => match i32::from_be_bytes(bytes.try_into().ok()?) {
            i32::MIN | i32::MAX => ExportCell::Null,
            days => ExportCell::Integer(days.checked_add(EPOCH_DAYS)?),
        },
        CellKind::Uuid => ExportCell::Uuid(bytes.try_into().ok()?),
        CellKind::Decimal { precision, scale } => ExportCell::Integer(decimal(bytes, precision, scale)?),
        CellKind::Words => ExportCell::Words(words(bytes)?),
    })
}

/// Takes the next big-endian numbers off.
struct ByteReader<'a>(&'a [u8]);

impl<'a> ByteReader<'a> {
    fn short(&mut self) -> Option<i16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*number))
    }

    fn int(&mut self) -> Option<i32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*number))
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// A `numeric` without its point: digits to the base of 10,000, the first of which counts 10,000 to
/// the power of `weight`.
fn decimal(bytes: &[u8], precision: u8, scale: u8) -> Option<i32> {
    const BASE_DIGITS: i32 = 4;
    const NEGATIVE: i16 = 0x4000;
    let mut reader = ByteReader(bytes);
    let (digits, weight, sign, _decimals) = (reader.short()?, reader.short()?, reader.short()?, reader.short()?);
    if sign != 0 && sign != NEGATIVE {
        return None;
    }
    let mut unscaled = 0_i64;
    for index in 0..digits {
        let digit = i64::from(reader.short()?);
        let power = BASE_DIGITS * i32::from(weight - index) + i32::from(scale);
        let ten_to = 10_i64.checked_pow(power.unsigned_abs())?;
        unscaled += if power >= 0 { digit.checked_mul(ten_to)? } else { digit / ten_to };
    }
    if unscaled >= 10_i64.checked_pow(u32::from(precision))? {
        return None;
    }
    i32::try_from(if sign == NEGATIVE { -unscaled } else { unscaled }).ok()
}

/// A one-dimensional array of texts without nulls.
fn words(bytes: &[u8]) -> Option<Vec<&str>> {
    let mut reader = ByteReader(bytes);
    let (dimensions, _has_nulls, _type) = (reader.int()?, reader.int()?, reader.int()?);
    if dimensions == 0 {
        return Some(Vec::new());
    }
    let (len, _lower_bound) = (reader.int()?, reader.int()?);
    if dimensions != 1 {
        return None;
    }
    (0..len)
        .map(|_| {
            let len = usize::try_from(reader.int()?).ok()?;
            std::str::from_utf8(reader.bytes(len)?).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};
    use domain::{officer::WorkingPattern, prisoner::OverrideReason};
    use views::Columns;

    /// The bytes of a column, without their length.
    fn encode(value: &impl Columns) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.write(&mut bytes);
        bytes.split_off(size_of::<i32>())
    }

    #[test]
    fn what_is_written_for_copy_is_read_back() {
        for tenths in 1..=10 {
            let pattern: WorkingPattern =
                serde_json::from_value(serde_json::json!(f64::from(tenths) / 10.0)).expect("a share of full time");
            assert_eq!(decimal(&encode(&pattern), 2, 1), Some(tenths));
        }
        let instant: DateTime<Utc> = "2026-03-01T09:00:00.000001Z".parse().expect("an instant");
        assert_eq!(cell(&encode(&instant), CellKind::Timestamp), Some(ExportCell::BigInt(instant.timestamp_micros())));
        let date = "1999-12-31".parse::<chrono::NaiveDate>().expect("a date");
        assert_eq!(cell(&encode(&date), CellKind::Date), Some(ExportCell::Integer(date.to_epoch_days())));
        assert_eq!(cell(&i64::MAX.to_be_bytes(), CellKind::Timestamp), Some(ExportCell::Null));
        let reasons = vec![OverrideReason::NoStaff, OverrideReason::Other];
        assert_eq!(cell(&encode(&reasons), CellKind::Words), Some(ExportCell::Words(vec!["NO_STAFF", "OTHER"])));
        assert_eq!(cell(&encode(&Vec::<OverrideReason>::new()), CellKind::Words), Some(ExportCell::Words(Vec::new())));
        assert_eq!(cell(b"\xff", CellKind::Word), None);
        assert_eq!(cell(b"", CellKind::BigInt), None);
    }
}
