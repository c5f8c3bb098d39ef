//! Rows in the binary format of Postgres's `COPY`.

use crate::table::ViewTable;

/// The start of the bytes: signature, no flags, no header extension.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The number of columns that means the end.
pub const END: i16 = -1;

/// Rows of one table, ready for `COPY … FROM STDIN (FORMAT binary)`.
#[derive(Debug, Default)]
pub struct CopyRows {
    bytes: Vec<u8>,
    values: usize,
}

impl CopyRows {
    /// Adds a row.
    ///
    /// # Panics
    /// The table has more columns than a Postgres table can have, 1,600.
    pub fn push<T: ViewTable>(&mut self, row: &T) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(HEADER);
        }
        let width = i16::try_from(T::WIDTH).expect("Postgres has at most 1,600 columns a table");
        self.bytes.extend_from_slice(&width.to_be_bytes());
        row.write(&mut self.bytes);
        self.values += T::WIDTH;
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The number of values, of all columns of all rows.
    #[must_use]
    pub fn values(&self) -> usize {
        self.values
    }

    /// The rows as they are sent, without the end; no bytes at all where there are no rows.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
