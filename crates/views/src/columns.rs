//! Values of columns in Postgres's binary format, in both directions.
//!
//! `COPY` and the answers to prepared statements have the same format. Binary rather than text:
//! nothing needs escaping, `infinity` and exact numbers come out right by construction, and rows
//! can be compared without being read.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use domain::{
    handover::{HandoverReason, Phase},
    identifier::{Crn, PrisonCode, PrisonerNumber, StaffId, Username},
    officer::{PomKind, PomStatus, WorkingPattern},
    prison::Estate,
    prisoner::{OfficerRole, OverrideReason, ResponsibilityOverrideReason, ResponsibleService},
    tier::{RoshLevel, Tier},
};
use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value::Error as WordError},
};
use sqlx::{Row as _, ValueRef as _, postgres::PgRow};
use uuid::Uuid;

use crate::{
    AllocationKind,
    table::{Column, Table},
};

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

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlType {
    /// Its name in Postgres.
    pub name: &'static str,
    /// Whether the column may be null.
    pub is_nullable: bool,
}

/// The value of one column that is not null.
pub trait Value: Sized {
    /// The type's name in Postgres.
    const SQL: &'static str;

    /// Writes the value, without its length.
    fn write(&self, bytes: &mut Vec<u8>);

    /// Reads what [`Value::write`] writes; `None` for anything else.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl<T: Value> Columns for T {
    const WIDTH: usize = 1;

    fn types(types: &mut Vec<SqlType>) {
        types.push(SqlType { name: T::SQL, is_nullable: false });
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        with_len(bytes, |bytes| Value::write(self, bytes));
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

/// Implements [`Columns`] for a struct, field by field.
macro_rules! columns {
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
    columns: &'static [&'static [Column]],
    fields: &'r dyn Fields,
    index: usize,
}

impl<'r> RowReader<'r> {
    /// Reads a row whose first columns are those of the table, in their order.
    pub(crate) fn new<T: Table>(fields: &'r dyn Fields) -> Self {
        Self { table: T::NAME, columns: T::COLUMNS, fields, index: 0 }
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
            row: key.map_or_else(|| "a row without a key".to_owned(), shown),
            value: field.map_or_else(|| "null".to_owned(), shown),
        }
    }
}

/// Text as it is, other values as the bytes that they are.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("{bytes:02x?}"),
    }
}

/// The length that means null.
const NULL: i32 = -1;

/// The OID of type `text`.
const TEXT_OID: i32 = 25;

/// Writes a value, and its length before it.
fn with_len(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend_from_slice(&NULL.to_be_bytes());
    let from = bytes.len();
    write(bytes);
    let len = len_as_int(bytes.len() - from);
    bytes[start..from].copy_from_slice(&len.to_be_bytes());
}

fn len_as_int(len: usize) -> i32 {
    i32::try_from(len).expect("a value is far below the 1 GiB that Postgres takes")
}

impl Value for String {
    const SQL: &'static str = "text";

    /// Postgres text cannot hold the character U+0000, which JSON can; it becomes U+FFFD, the
    /// replacement character.
    fn write(&self, bytes: &mut Vec<u8>) {
        for (index, part) in self.split('\0').enumerate() {
            if index > 0 {
                bytes.extend_from_slice("\u{fffd}".as_bytes());
            }
            bytes.extend_from_slice(part.as_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }
}

impl Value for bool {
    const SQL: &'static str = "boolean";

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*self));
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Value for i32 {
    const SQL: &'static str = "integer";

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl Value for i64 {
    const SQL: &'static str = "bigint";

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

/// Revisions and positions; no store counts beyond a `bigint`.
impl Value for u64 {
    const SQL: &'static str = i64::SQL;

    fn write(&self, bytes: &mut Vec<u8>) {
        Value::write(&i64::try_from(*self).expect("positions and revisions fit a bigint"), bytes);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        <i64 as Value>::read(bytes)?.try_into().ok()
    }
}

impl Value for StaffId {
    const SQL: &'static str = i64::SQL;

    fn write(&self, bytes: &mut Vec<u8>) {
        Value::write(&self.get(), bytes);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        <i64 as Value>::read(bytes)?.try_into().ok()
    }
}

impl Value for Uuid {
    const SQL: &'static str = "uuid";

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}

/// Postgres counts microseconds from 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

impl Value for DateTime<Utc> {
    const SQL: &'static str = "timestamptz";

    fn write(&self, bytes: &mut Vec<u8>) {
        Value::write(&(self.timestamp_micros() - EPOCH_MICROS), bytes);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let micros = <i64 as Value>::read(bytes)?.checked_add(EPOCH_MICROS)?;
        Self::from_timestamp_micros(micros)
    }
}

/// The first instant after a period; `None`, which Postgres has as infinity, while nothing ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodEnd(pub Option<DateTime<Utc>>);

impl PeriodEnd {
    /// Infinity in Postgres's binary format.
    const INFINITY: i64 = i64::MAX;

    /// Whether the period has not ended by an instant.
    #[must_use]
    pub fn is_after(self, instant: DateTime<Utc>) -> bool {
        self.0.is_none_or(|end| instant < end)
    }
}

impl Value for PeriodEnd {
    const SQL: &'static str = "timestamptz";

    fn write(&self, bytes: &mut Vec<u8>) {
        match &self.0 {
            Some(end) => Value::write(end, bytes),
            None => Value::write(&Self::INFINITY, bytes),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        match <i64 as Value>::read(bytes)? {
            Self::INFINITY => Some(Self(None)),
            _ => <DateTime<Utc> as Value>::read(bytes).map(|end| Self(Some(end))),
        }
    }
}

/// Days since Postgres's epoch, 2000-01-01.
impl Value for NaiveDate {
    const SQL: &'static str = "date";

    fn write(&self, bytes: &mut Vec<u8>) {
        Value::write(&(self.num_days_from_ce() - EPOCH_DAYS_FROM_CE), bytes);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::from_num_days_from_ce_opt(<i32 as Value>::read(bytes)?.checked_add(EPOCH_DAYS_FROM_CE)?)
    }
}

/// Postgres counts days from 2000-01-01, chrono from the first day of year 1.
const EPOCH_DAYS_FROM_CE: i32 = 730_120;

/// A `numeric` with one decimal and one digit to the base of 10,000, which counts ones (full time)
/// or ten-thousandths. The digits' number, the weight, the sign and the decimals come before it.
impl Value for WorkingPattern {
    const SQL: &'static str = "numeric(2,1)";

    fn write(&self, bytes: &mut Vec<u8>) {
        let tenths = i16::from(self.tenths());
        let (weight, digit) = if tenths == 10 { (0, 1) } else { (-1, tenths * 1000) };
        for part in [1, weight, 0, 1, digit] {
            bytes.extend_from_slice(&i16::to_be_bytes(part));
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let parts: Vec<i16> = bytes.as_chunks().0.iter().copied().map(i16::from_be_bytes).collect();
        let share = match parts[..] {
            [1, 0, 0, 1, digit] => f64::from(digit),
            [1, -1, 0, 1, digit] => f64::from(digit) / 10_000.0,
            _ => return None,
        };
        share.try_into().ok()
    }
}

/// A one-dimensional array without nulls; an empty one has no dimension.
impl Value for Vec<OverrideReason> {
    const SQL: &'static str = "text[]";

    fn write(&self, bytes: &mut Vec<u8>) {
        let (dimensions, has_nulls, lower_bound) = (i32::from(!self.is_empty()), 0, 1);
        for part in [dimensions, has_nulls, TEXT_OID] {
            Value::write(&part, bytes);
        }
        if self.is_empty() {
            return;
        }
        for part in [len_as_int(self.len()), lower_bound] {
            Value::write(&part, bytes);
        }
        for reason in self {
            with_len(bytes, |bytes| Value::write(reason, bytes));
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        fn int(rest: &mut &[u8]) -> Option<i32> {
            let (int, after) = rest.split_first_chunk()?;
            *rest = after;
            Some(i32::from_be_bytes(*int))
        }
        let mut rest = bytes;
        let (dimensions, 0, TEXT_OID) = (int(&mut rest)?, int(&mut rest)?, int(&mut rest)?) else {
            return None;
        };
        if dimensions == 0 {
            return Some(Self::new());
        }
        let (len, _lower_bound) = (int(&mut rest)?, int(&mut rest)?);
        (0..len)
            .map(|_| {
                let len = usize::try_from(int(&mut rest)?).ok()?;
                let (word, after) = rest.split_at_checked(len)?;
                rest = after;
                Value::read(word)
            })
            .collect()
    }
}

/// Text identifiers as they are, enums as their JSON names: one spelling everywhere.
macro_rules! text_values {
    (identifiers: $($identifier:ty),*; words: $($word:ty),*) => {
        $(impl Value for $identifier {
            const SQL: &'static str = "text";

            fn write(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(self.as_str().as_bytes());
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                std::str::from_utf8(bytes).ok()?.parse().ok()
            }
        })*
        $(impl Value for $word {
            const SQL: &'static str = "text";

            fn write(&self, bytes: &mut Vec<u8>) {
                write!(Utf8(bytes), "{}", JsonWord(self)).expect("its JSON is a text");
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                let word = std::str::from_utf8(bytes).ok()?;
                Self::deserialize(IntoDeserializer::<WordError>::into_deserializer(word)).ok()
            }
        })*
    };
}
text_values!(
    identifiers: PrisonerNumber, PrisonCode, Crn, Username;
    words: AllocationKind, Estate, HandoverReason, OfficerRole, OverrideReason, Phase, PomKind,
    PomStatus, ResponsibilityOverrideReason, ResponsibleService, RoshLevel, Tier
);

/// Shows a value that is a text in JSON without its quotation marks.
struct JsonWord<'a, T>(&'a T);

impl<T: Serialize> fmt::Display for JsonWord<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

/// Writes formatted text to bytes.
struct Utf8<'a>(&'a mut Vec<u8>);

impl fmt::Write for Utf8<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
