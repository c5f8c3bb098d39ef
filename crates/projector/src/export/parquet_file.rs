//! Tables as Apache Parquet.
//!
//! Rows are gathered into row groups of 100,000. A group is encoded on a thread of its own while
//! the next is gathered: encoding and compressing cost about as much as everything before them.

use std::{
    io::{self, Write},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use ::parquet::{
    basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{ColumnPath, Type, TypePtr},
};
use bytes::Bytes;

use super::{
    format::{TableWriter, mismatch},
    table::{CellKind, ExportCell, ExportColumn, ExportTable},
};

/// Rows in a group: enough for columns to compress well, and few enough for a group to be held in
/// memory.
const GROUP_ROWS: usize = 100_000;

/// The writer's name, without a version: the same export is the same bytes, whichever release made
/// it.
const CREATED_BY: &str = "allocation-ledger";

/// Where a file goes. The library flushes after each column; an output that waits for a disk then
/// would wait all the time.
struct UnflushedOutput(Box<dyn Write + Send>);

impl Write for UnflushedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a Parquet file.
pub(crate) struct ParquetFile {
    kinds: Vec<CellKind>,
    gathered: Vec<ColumnValues>,
    rows: usize,
    encoder: Option<EncoderThread>,
}

/// The thread that encodes.
struct EncoderThread {
    groups: mpsc::SyncSender<Vec<ColumnValues>>,
    /// The memory of earlier groups, to use again: new memory costs as much as the work on it.
    emptied: mpsc::Receiver<Vec<ColumnValues>>,
    thread: JoinHandle<Result<SerializedFileWriter<UnflushedOutput>, ParquetError>>,
}

impl ParquetFile {
    pub(crate) fn new(table: &ExportTable, out: Box<dyn Write + Send>) -> io::Result<Self> {
        let schema = schema(table).map_err(into_io)?;
        let mut writer =
            SerializedFileWriter::new(UnflushedOutput(out), schema, Arc::new(properties(table))).map_err(into_io)?;
        // A group is handed over when the one before it is done, so that there are two in memory at
        // most.
        let (groups, waiting) = mpsc::sync_channel::<Vec<ColumnValues>>(0);
        let (empty, emptied) = mpsc::channel();
        let thread = std::thread::Builder::new().name("parquet".to_owned()).spawn(move || {
            while let Ok(mut group) = waiting.recv() {
                encode(&mut writer, &mut group)?;
                // Not needed after the last group.
                let _ = empty.send(group);
            }
            Ok(writer)
        })?;
        Ok(Self {
            kinds: table.columns.iter().map(|column| column.kind).collect(),
            gathered: table.columns.iter().map(ColumnValues::new).collect(),
            rows: 0,
            encoder: Some(EncoderThread { groups, emptied, thread }),
        })
    }

    /// Hands the gathered rows over to be encoded.
    fn hand_over(&mut self) -> io::Result<()> {
        self.rows = 0;
        let emptied = self.encoder.as_ref().and_then(|encoder| encoder.emptied.try_recv().ok());
        let next = emptied.unwrap_or_else(|| self.gathered.iter().map(ColumnValues::next).collect());
        let group = std::mem::replace(&mut self.gathered, next);
        let is_taken = self.encoder.as_ref().is_some_and(|encoder| encoder.groups.send(group).is_ok());
        // A receiver that is gone has failed, and says why.
        if is_taken { Ok(()) } else { self.finish_encoding().map(drop) }
    }

    /// Waits until everything handed over is encoded.
    fn finish_encoding(&mut self) -> io::Result<SerializedFileWriter<UnflushedOutput>> {
        let Some(EncoderThread { groups, thread, .. }) = self.encoder.take() else {
            return Err(io::Error::other("the file has failed before"));
        };
        drop(groups);
        match thread.join() {
            Ok(encoded) => encoded.map_err(into_io),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl TableWriter for ParquetFile {
    fn row(&mut self, cells: &[ExportCell<'_>]) -> io::Result<()> {
        for ((values, cell), kind) in self.gathered.iter_mut().zip(cells).zip(&self.kinds) {
            values.push(cell, *kind)?;
        }
        self.rows += 1;
        if self.rows == GROUP_ROWS { self.hand_over() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.rows > 0 {
            self.hand_over()?;
        }
        self.finish_encoding()?.into_inner().map_err(into_io)?.0.flush()
    }
}

/// The file's schema.
fn schema(table: &ExportTable) -> Result<TypePtr, ParquetError> {
    let fields = table.columns.iter().map(field).collect::<Result<_, _>>()?;
    Ok(Arc::new(Type::group_type_builder(table.name).with_fields(fields).build()?))
}

fn field(column: &ExportColumn) -> Result<TypePtr, ParquetError> {
    let repetition = if column.is_nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    if column.kind == CellKind::Words {
        let element = primitive("element", Physical::BYTE_ARRAY, Some(LogicalType::String))
            .with_repetition(Repetition::REQUIRED)
            .build()?;
        let list = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![Arc::new(element)])
            .build()?;
        let field = Type::group_type_builder(&column.name)
            .with_repetition(repetition)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(list)])
            .build()?;
        return Ok(Arc::new(field));
    }
    let (physical, logical) = match column.kind {
        // JSON as a text: not every reader knows the logical type for it.
        CellKind::Word | CellKind::Text | CellKind::Json | CellKind::Words => {
            (Physical::BYTE_ARRAY, Some(LogicalType::String))
        }
        CellKind::BigInt => (Physical::INT64, None),
        CellKind::Integer => (Physical::INT32, None),
        CellKind::Boolean => (Physical::BOOLEAN, None),
        CellKind::Timestamp => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        CellKind::Date => (Physical::INT32, Some(LogicalType::Date)),
        CellKind::Uuid => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid)),
        CellKind::Decimal { precision, scale } => {
            (Physical::INT32, Some(LogicalType::decimal(i32::from(scale), i32::from(precision))))
        }
    };
    let field = primitive(&column.name, physical, logical).with_repetition(repetition);
    let field = match column.kind {
        CellKind::Uuid => field.with_length(size_of::<[u8; 16]>() as i32),
        CellKind::Decimal { precision, scale } => {
            field.with_precision(i32::from(precision)).with_scale(i32::from(scale))
        }
        _ => field,
    };
    Ok(Arc::new(field.build()?))
}

fn primitive(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
) -> ::parquet::schema::types::PrimitiveTypeBuilder<'_> {
    Type::primitive_type_builder(name, physical).with_logical_type(logical)
}

/// How each column is encoded: by a dictionary where values repeat, numbers that rise by their
/// differences.
fn properties(table: &ExportTable) -> WriterProperties {
    let about = [("ledger_table", table.name.to_owned()), ("ledger_position", table.position.to_string())];
    let aside = table.streams_aside.map(|streams| ("ledger_streams_aside", streams.to_string()));
    let about = about.into_iter().chain(aside).map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect();
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_key_value_metadata(Some(about))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    for column in &table.columns {
        let path = ColumnPath::from(column.name.as_str());
        properties = match column.kind {
            CellKind::Timestamp | CellKind::BigInt => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            CellKind::Text | CellKind::Uuid => properties.set_column_dictionary_enabled(path, false),
            CellKind::Json => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path, EnabledStatistics::None),
            CellKind::Word
            | CellKind::Words
            | CellKind::Integer
            | CellKind::Boolean
            | CellKind::Date
            | CellKind::Decimal { .. } => properties,
        };
    }
    properties.build()
}

/// The values of a column in a row group: those that are not null, and where the others are.
struct ColumnValues {
    plain: PlainValues,
    is_nullable: bool,
    is_list: bool,
    /// For each value, null or empty list, how much of it is there.
    definition: Vec<i16>,
    /// For lists: 0 where one begins, 1 where it goes on.
    repetition: Vec<i16>,
}

enum PlainValues {
    Boolean(Vec<bool>),
    Integer(Vec<i32>),
    BigInt(Vec<i64>),
    /// All in one, and where each ends.
    Bytes(Vec<u8>, Vec<usize>),
    Uuid(Vec<u8>),
}

impl ColumnValues {
    fn new(column: &ExportColumn) -> Self {
        let plain = match column.kind {
            CellKind::Boolean => PlainValues::Boolean(Vec::new()),
            CellKind::Integer | CellKind::Date | CellKind::Decimal { .. } => PlainValues::Integer(Vec::new()),
            CellKind::BigInt | CellKind::Timestamp => PlainValues::BigInt(Vec::new()),
            CellKind::Word | CellKind::Text | CellKind::Json | CellKind::Words => {
                PlainValues::Bytes(Vec::new(), Vec::new())
            }
            CellKind::Uuid => PlainValues::Uuid(Vec::new()),
        };
        Self {
            plain,
            is_nullable: column.is_nullable,
            is_list: column.kind == CellKind::Words,
            definition: Vec::new(),
            repetition: Vec::new(),
        }
    }

    /// For the next group, with room for as many.
    fn next(&self) -> Self {
        let plain = match &self.plain {
            PlainValues::Boolean(values) => PlainValues::Boolean(Vec::with_capacity(values.len())),
            PlainValues::Integer(values) => PlainValues::Integer(Vec::with_capacity(values.len())),
            PlainValues::BigInt(values) => PlainValues::BigInt(Vec::with_capacity(values.len())),
            PlainValues::Bytes(bytes, ends) => {
                PlainValues::Bytes(Vec::with_capacity(bytes.len()), Vec::with_capacity(ends.len()))
            }
            PlainValues::Uuid(bytes) => PlainValues::Uuid(Vec::with_capacity(bytes.len())),
        };
        let definition = Vec::with_capacity(self.definition.len());
        Self { plain, definition, repetition: Vec::new(), ..*self }
    }

    fn push(&mut self, cell: &ExportCell<'_>, kind: CellKind) -> io::Result<()> {
        let there = i16::from(self.is_nullable);
        match (&mut self.plain, cell) {
            (_, ExportCell::Null) if self.is_nullable => {
                self.definition.push(0);
                if self.is_list {
                    self.repetition.push(0);
                }
                return Ok(());
            }
            (PlainValues::Bytes(bytes, ends), ExportCell::Words(words)) if self.is_list => {
                if words.is_empty() {
                    self.definition.push(there);
                    self.repetition.push(0);
                }
                for (index, word) in words.iter().enumerate() {
                    bytes.extend_from_slice(word.as_bytes());
                    ends.push(bytes.len());
                    self.definition.push(there + 1);
                    self.repetition.push(i16::from(index > 0));
                }
                return Ok(());
            }
            (PlainValues::Bytes(bytes, ends), ExportCell::Text(text)) if !self.is_list => {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(bytes.len());
            }
            (PlainValues::Boolean(values), ExportCell::Boolean(value)) => values.push(*value),
            (PlainValues::Integer(values), ExportCell::Integer(value)) => values.push(*value),
            (PlainValues::BigInt(values), ExportCell::BigInt(value)) => values.push(*value),
            (PlainValues::Uuid(bytes), ExportCell::Uuid(value)) => bytes.extend_from_slice(value),
            _ => return Err(mismatch(cell, kind)),
        }
        if self.is_nullable {
            self.definition.push(there);
        }
        Ok(())
    }

    /// Encodes the values and leaves none, but the room that they took.
    fn encode(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let definition = (self.is_nullable || self.is_list).then_some(self.definition.as_slice());
        let repetition = self.is_list.then_some(self.repetition.as_slice());
        match &mut self.plain {
            PlainValues::Boolean(values) => {
                column.typed::<BoolType>().write_batch(values, definition, repetition)?;
                values.clear();
            }
            PlainValues::Integer(values) => {
                column.typed::<Int32Type>().write_batch(values, definition, repetition)?;
                values.clear();
            }
            PlainValues::BigInt(values) => {
                column.typed::<Int64Type>().write_batch(values, definition, repetition)?;
                values.clear();
            }
            PlainValues::Bytes(bytes, ends) => {
                let shared = Bytes::from(std::mem::take(bytes));
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let values: Vec<_> =
                    starts.zip(&*ends).map(|(start, end)| ByteArray::from(shared.slice(start..*end))).collect();
                column.typed::<ByteArrayType>().write_batch(&values, definition, repetition)?;
                drop(values);
                *bytes = clear_shared(shared);
                ends.clear();
            }
            PlainValues::Uuid(bytes) => {
                let shared = Bytes::from(std::mem::take(bytes));
                let starts = (0..shared.len()).step_by(size_of::<[u8; 16]>());
                let value = |start| ByteArray::from(shared.slice(start..start + size_of::<[u8; 16]>()));
                let values: Vec<_> = starts.map(|start| FixedLenByteArray::from(value(start))).collect();
                column.typed::<FixedLenByteArrayType>().write_batch(&values, definition, repetition)?;
                drop(values);
                *bytes = clear_shared(shared);
            }
        }
        self.definition.clear();
        self.repetition.clear();
        Ok(())
    }
}

/// The memory that bytes took, where no other part of the program holds a piece of them: the writer
/// keeps some, such as the largest value of a column.
fn clear_shared(shared: Bytes) -> Vec<u8> {
    if !shared.is_unique() {
        return Vec::with_capacity(shared.len());
    }
    let mut bytes = Vec::from(shared);
    bytes.clear();
    bytes
}

/// Writes a row group.
fn encode(writer: &mut SerializedFileWriter<UnflushedOutput>, group: &mut [ColumnValues]) -> Result<(), ParquetError> {
    let mut row_group = writer.next_row_group()?;
    for values in group {
        let Some(mut column) = row_group.next_column()? else {
            return Err(ParquetError::General("the schema has fewer columns than the table".to_owned()));
        };
        values.encode(&mut column)?;
        column.close()?;
    }
    row_group.close()?;
    Ok(())
}

/// The error of the disk or the pipe itself, where it was one.
fn into_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(inner) => io::Error::other(inner),
        },
        other => io::Error::other(other),
    }
}
