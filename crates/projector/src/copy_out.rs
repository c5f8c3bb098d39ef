//! Rows as Postgres gives them with `COPY … TO STDOUT (FORMAT binary)`: the other direction of [`crate::copy`], and the
//! very same bytes.

use bytes::{Buf as _, Bytes, BytesMut};
use futures::TryStreamExt as _;
use sqlx::PgConnection;

use crate::copy::{END, HEADER};

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
pub(crate) struct Rows {
    buffer: BytesMut,
    begun: bool,
}

impl Rows {
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
    let mut rows = Rows::default();
    while let Some(bytes) = copying.try_next().await? {
        rows.push(&bytes);
        while let Some(row) = rows.next() {
            take(row);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::Copy;

    #[test]
    fn rows_come_back_from_pieces_of_any_size() {
        let mut copy = Copy::default();
        copy.row(&[&"A1234BC", &None::<String>, &7_u64]);
        copy.row(&[&"", &Some("x"), &8_u64]);
        let mut bytes = copy.into_bytes();
        bytes.extend_from_slice(&END.to_be_bytes());
        for size in [1, 2, 7, bytes.len()] {
            let mut rows = Rows::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(size) {
                rows.push(piece);
                while let Some(row) = rows.next() {
                    read.push(row);
                }
            }
            assert_eq!(read.len(), 2, "in pieces of {size}");
            let fields: Vec<_> = read[0].fields().collect();
            assert_eq!(fields, [Some(&b"A1234BC"[..]), None, Some(&7_u64.to_be_bytes()[..])]);
            assert_eq!(read[0].first(2), [&7_i32.to_be_bytes()[..], b"A1234BC", &(-1_i32).to_be_bytes()].concat());
            assert_eq!(read[1].fields().next(), Some(Some(&b""[..])));
        }
    }
}
