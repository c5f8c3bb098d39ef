//! Rows as bytes in Postgres's binary format, column by column, in both directions.
//!
//! `COPY` and the answers to prepared statements have the same format. Binary rather than text:
//! nothing needs escaping, `infinity` and exact numbers come out right by construction, and rows
//! can be compared without being read.

use sqlx::{Row as _, ValueRef as _, postgres::PgRow};

use crate::values::{ColumnValue, NULL, with_len};

/// A value that fills one column or several neighbouring ones.
pub trait Columns: Sized {
    /// The number of columns.
    const WIDTH: usize;

    /// Adds the columns' types to `types`.
    fn types(types: &mut Vec<SqlType>);

    /// Writes each column's value, preceded by its length.
    fn write(&self, bytes: &mut Vec<u8>);

    /// Reads the columns.
    ///
    /// # Errors
    /// [`Damage`] where a column holds what this type cannot be.
    fn read(reader: &mut RowReader<'_>) -> Result<Self, Damage>;
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewColumn {
    /// Its name.
    pub name: &'static str,
    /// The meaning of its values: its comment, with space around it.
    pub comment: &'static str,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlType {
    /// Its name in Postgres.
    pub name: &'static str,
    /// Whether the column may be null.
    pub is_nullable: bool,
}

impl<T: ColumnValue> Columns for T {
    const WIDTH: usize = 1;

    fn types(types: &mut Vec<SqlType>) {
        types.push(SqlType { name: T::SQL, is_nullable: false });
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        with_len(bytes, |bytes| ColumnValue::write(self, bytes));
    }

    fn read(reader: &mut RowReader<'_>) -> Result<Self, Damage> {
        reader.next(T::read)
    }
}

/// Null in all columns where there is no value. One whose first column is null is read as none.
impl<T: Columns> Columns for Option<T> {
    const WIDTH: usize = T::WIDTH;

    fn types(types: &mut Vec<SqlType>) {
        let first = types.len();
        T::types(types);
        types[first..].iter_mut().for_each(|each| each.is_nullable = true);
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(bytes),
            None => (0..T::WIDTH).for_each(|_| bytes.extend_from_slice(&NULL.to_be_bytes())),
        }
    }

    fn read(reader: &mut RowReader<'_>) -> Result<Self, Damage> {
        if reader.is_null() {
            reader.index += T::WIDTH;
            Ok(None)
        } else {
            T::read(reader).map(Some)
        }
    }
}

/// Implements [`Columns`] for a struct, field by field: one that is declared here, or one of
/// another crate whose fields are named.
macro_rules! columns {
    (
        $(#[$meta:meta])*
        pub struct $struct:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty),+ $(,)? }
    ) => {
        $(#[$meta])*
        pub struct $struct {
            $($(#[$field_meta])* pub $field: $type),+
        }

        $crate::columns::columns!($struct { $($field: $type),+ });
    };
    ($struct:ident { $($field:ident: $type:ty),+ $(,)? }) => {
        impl $crate::columns::Columns for $struct {
            const WIDTH: usize = 0 $(+ <$type as $crate::columns::Columns>::WIDTH)+;

            fn types(types: &mut Vec<$crate::columns::SqlType>) {
                $(<$type as $crate::columns::Columns>::types(types);)+
            }

            fn write(&self, bytes: &mut Vec<u8>) {
                $($crate::columns::Columns::write(&self.$field, bytes);)+
            }

            fn read(
                reader: &mut $crate::columns::RowReader<'_>,
            ) -> Result<Self, $crate::columns::Damage> {
                Ok(Self { $($field: $crate::columns::Columns::read(reader)?),+ })
            }
        }
    };
}
pub(crate) use columns;

/// A table holds a value that no row can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the view {table} is damaged in its column {column}: `projections verify` names the rows")]
pub struct Damage {
    /// The view.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The row, by the first column of its key.
    pub row: String,
    /// The value that the column holds.
    pub value: String,
}

/// The columns of a stored row, by their place in it.
pub(crate) trait Fields {
    /// The bytes of a column, `Some(None)` for null; `None` where the row has no such column.
    fn field(&self, index: usize) -> Option<Option<&[u8]>>;
}

impl Fields for PgRow {
    fn field(&self, index: usize) -> Option<Option<&[u8]>> {
        let value = self.try_get_raw(index).ok()?;
        if value.is_null() { Some(None) } else { value.as_bytes().ok().map(Some) }
    }
}

/// Reads the columns of a row one after the other.
pub struct RowReader<'r> {
    table: &'static str,
    columns: &'static [&'static [ViewColumn]],
    fields: &'r dyn Fields,
    index: usize,
}

impl<'r> RowReader<'r> {
    /// Reads a row whose first columns are those of the table, in their order.
    pub(crate) fn new(table: &'static str, columns: &'static [&'static [ViewColumn]], fields: &'r dyn Fields) -> Self {
        Self { table, columns, fields, index: 0 }
    }

    fn is_null(&self) -> bool {
        self.fields.field(self.index) == Some(None)
    }

    fn next<T>(&mut self, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, Damage> {
        let index = self.index;
        self.index += 1;
        let field = self.fields.field(index).flatten();
        field.and_then(read).ok_or_else(|| self.damage(index, field))
    }

    fn damage(&self, index: usize, field: Option<&[u8]>) -> Damage {
        let key = self.fields.field(0).flatten();
        Damage {
            table: self.table,
            column: self.columns.iter().copied().flatten().nth(index).map_or("?", |column| column.name),
            row: key.map_or_else(|| "a row without a key".to_owned(), show),
            value: field.map_or_else(|| "null".to_owned(), show),
        }
    }
}

/// Text as it is, other values as the bytes that they are.
fn show(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("{bytes:02x?}"),
    }
}
