//! Rows to and from Postgres with `COPY` in the binary format. The bytes of a row are the same in
//! both directions, so that rows can be compared without being read.

use bytes::{Buf as _, Bytes, BytesMut};
use futures::TryStreamExt as _;
use sqlx::{
    Encode, PgConnection, Postgres, QueryBuilder, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo, types::Oid},
};
use views::{CopyRows, END, HEADER};

/// Most bytes handed to the connection at once; the connection copies them.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Sends rows with `statement`, a `COPY`; does nothing where there are no rows.
pub(crate) async fn send(rows: CopyRows, connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut bytes = rows.into_bytes();
    bytes.extend_from_slice(&END.to_be_bytes());
    let mut copying = connection.copy_in_raw(statement).await?;
    for chunk in bytes.chunks(CHUNK_BYTES_MAX) {
        copying.send(chunk).await?;
    }
    copying.finish().await?;
    Ok(())
}

/// Sends a few rows with one `INSERT`.
///
/// The end of a `COPY` is a packet of its own, which sqlx 0.9 does not send over TCP until the
/// server has confirmed the rows before it (Nagle's algorithm; sqlx issue 4335). The server waits
/// for more before it confirms, 40 ms on Linux. An `INSERT` is one packet.
///
/// # Panics
/// There are more values than a statement can have parameters, 65,535.
pub(crate) async fn insert(rows: CopyRows, connection: &mut PgConnection, target: &str) -> Result<(), sqlx::Error> {
    let mut cutter = RowCutter::default();
    cutter.push(&rows.into_bytes());
    let rows: Vec<RawRow> = std::iter::from_fn(|| cutter.next()).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut insert = QueryBuilder::new(format!("INSERT INTO {target} "));
    insert.push_values(&rows, |mut values, row| {
        for field in row.fields() {
            values.push_bind(RawValue(field.map(<[u8]>::to_vec)));
        }
    });
    insert.build().persistent(false).execute(connection).await?;
    Ok(())
}

/// A value in Postgres's binary format, or null. The server takes its type from the column.
struct RawValue(Option<Vec<u8>>);

impl Type<Postgres> for RawValue {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(UNSPECIFIED)
    }
}

impl Encode<'_, Postgres> for RawValue {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Some(value) = &self.0 else { return Ok(IsNull::Yes) };
        buffer.extend_from_slice(value);
        Ok(IsNull::No)
    }
}

/// The type of a parameter that the server is to find out.
const UNSPECIFIED: Oid = Oid(0);

/// A row: for each of its columns the value in Postgres's binary format, or null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawRow(Bytes);

impl RawRow {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The values of its columns, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = self.0.get(COUNT_BYTES..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first_chunk()?;
            // Only null has a negative length.
            let Ok(len) = usize::try_from(i32::from_be_bytes(*len)) else {
                rest = after;
                return Some(None);
            };
            let (field, after) = after.split_at_checked(len)?;
            rest = after;
            Some(Some(field))
        })
    }

    /// The bytes of its first columns.
    pub(crate) fn first(&self, columns: usize) -> &[u8] {
        let len: usize = self.fields().take(columns).map(|field| LEN_BYTES + field.map_or(0, <[u8]>::len)).sum();
        self.0.get(COUNT_BYTES..COUNT_BYTES + len).unwrap_or_default()
    }
}

/// Bytes of the number of columns, before each row.
const COUNT_BYTES: usize = size_of::<i16>();

/// Bytes of a value's length, before each value.
const LEN_BYTES: usize = size_of::<i32>();

/// Cuts bytes in the binary format into rows, whatever the pieces in which they come.
#[derive(Debug, Default)]
pub(crate) struct RowCutter {
    buffer: BytesMut,
    begun: bool,
}

impl RowCutter {
    /// Takes in the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next row; `None` where the rest of it is still to come, and at the end.
    pub(crate) fn next(&mut self) -> Option<RawRow> {
        if !self.begun {
            if self.buffer.len() < HEADER.len() {
                return None;
            }
            self.buffer.advance(HEADER.len());
            self.begun = true;
        }
        let count = i16::from_be_bytes(*self.buffer.first_chunk()?);
        if count == END {
            return None;
        }
        let mut len = COUNT_BYTES;
        for _ in 0..count {
            let field = i32::from_be_bytes(*self.buffer.get(len..)?.first_chunk()?);
            len += LEN_BYTES + usize::try_from(field).unwrap_or(0);
        }
        (self.buffer.len() >= len).then(|| RawRow(self.buffer.split_to(len).freeze()))
    }
}

/// Reads the rows that a query gives, one after the other.
pub(crate) async fn each_row(
    connection: &mut PgConnection,
    query: &str,
    mut take: impl FnMut(RawRow),
) -> Result<(), sqlx::Error> {
    let statement = format!("COPY ({query}) TO STDOUT (FORMAT binary)");
    let mut copying = connection.copy_out_raw(&statement).await?;
    let mut cutter = RowCutter::default();
    while let Some(bytes) = copying.try_next().await? {
        cutter.push(&bytes);
        while let Some(row) = cutter.next() {
            take(row);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use views::CasePrisonRow;

    #[test]
    fn rows_come_back_from_pieces_of_any_size() {
        let row = CasePrisonRow {
            prisoner_number: "A1234BC".parse().expect("a number"),
            prison: "LEI".parse().expect("a prison"),
            first_position: 7,
            left_position: None,
            left_at: None,
        };
        let mut copy = CopyRows::default();
        copy.push(&row);
        copy.push(&CasePrisonRow { left_position: Some(8), ..row });
        let mut bytes = copy.into_bytes();
        bytes.extend_from_slice(&END.to_be_bytes());
        for size in [1, 2, 7, bytes.len()] {
            let mut cutter = RowCutter::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(size) {
                cutter.push(piece);
                while let Some(row) = cutter.next() {
                    read.push(row);
                }
            }
            assert_eq!(read.len(), 2, "in pieces of {size}");
            let fields: Vec<_> = read[0].fields().collect();
            let position = |position: u64| position.to_be_bytes();
            let expected = [Some(&b"A1234BC"[..]), Some(b"LEI"), Some(&position(7)), None, None];
            assert_eq!(fields, expected);
            let key = [&7_i32.to_be_bytes()[..], b"A1234BC", &3_i32.to_be_bytes(), b"LEI"].concat();
            assert_eq!(read[0].first(2), key);
            assert_eq!(read[1].fields().nth(3), Some(Some(&position(8)[..])));
        }
    }
}
