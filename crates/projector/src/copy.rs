//! Rows in the binary format of Postgres's `COPY`.
//!
//! Binary rather than text: nothing to escape, `infinity` and exact numbers come out right by construction, and the
//! bytes of a row are the same that Postgres gives for it, so that rows can be compared without being read.

use std::fmt::{self, Write as _};

use chrono::{DateTime, NaiveDate, Utc};
use domain::{
    handover::{HandoverReason, Phase},
    identifier::{Crn, PrisonCode, PrisonerNumber, StaffId, Username},
    officer::{PomKind, PomStatus, WorkingPattern},
    prison::Estate,
    prisoner::{OfficerRole, OverrideReason, ResponsibilityOverrideReason, ResponsibleService},
    tier::{RoshLevel, Tier},
};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::rows::AllocationKind;

/// Most bytes handed to the connection at once; what it is handed it copies.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// Signature, no flags, no header extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Rows of one table, ready for `COPY … FROM STDIN (FORMAT binary)`.
#[derive(Debug, Default)]
pub(crate) struct Copy {
    bytes: Vec<u8>,
}

impl Copy {
    /// Adds a row: the values of its columns, in the order of the `COPY` statement.
    pub(crate) fn row(&mut self, values: &[&dyn Value]) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(HEADER);
        }
        let count = i16::try_from(values.len()).expect("Postgres has at most 1,600 columns a table");
        self.bytes.extend_from_slice(&count.to_be_bytes());
        for value in values {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&NULL.to_be_bytes());
            if value.write(&mut self.bytes) {
                let len = field_len(self.bytes.len() - start - size_of::<i32>());
                self.bytes[start..start + size_of::<i32>()].copy_from_slice(&len.to_be_bytes());
            }
        }
    }

    /// The rows as they are sent, without the end; nothing at all where there are none.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Sends the rows with `statement`; does nothing where there are none.
    pub(crate) async fn send(mut self, connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        self.bytes.extend_from_slice(&END.to_be_bytes());
        let mut copying = connection.copy_in_raw(statement).await?;
        for chunk in self.bytes.chunks(CHUNK_BYTES_MAX) {
            copying.send(chunk).await?;
        }
        copying.finish().await?;
        Ok(())
    }
}

/// The length that stands for null.
const NULL: i32 = -1;

/// The number of columns that stands for the end.
pub(crate) const END: i16 = -1;

/// The OID of type `text`.
const TEXT_OID: i32 = 25;

fn field_len(len: usize) -> i32 {
    i32::try_from(len).expect("a field is far below the 1 GiB that Postgres takes")
}

/// A value of a column.
pub(crate) trait Value {
    /// Writes the value; answers false, having written nothing, where it is null.
    fn write(&self, bytes: &mut Vec<u8>) -> bool;
}

impl<T: Value> Value for Option<T> {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        self.as_ref().is_some_and(|value| value.write(bytes))
    }
}

impl<T: Value + ?Sized> Value for &T {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        (*self).write(bytes)
    }
}

impl Value for str {
    /// Postgres text cannot hold the character U+0000, which JSON can; it becomes U+FFFD, the replacement character.
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        for (index, part) in self.split('\0').enumerate() {
            if index > 0 {
                bytes.extend_from_slice("\u{fffd}".as_bytes());
            }
            bytes.extend_from_slice(part.as_bytes());
        }
        true
    }
}

impl Value for String {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        self.as_str().write(bytes)
    }
}

impl Value for bool {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        bytes.push(u8::from(*self));
        true
    }
}

impl Value for i32 {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        bytes.extend_from_slice(&self.to_be_bytes());
        true
    }
}

impl Value for i64 {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        bytes.extend_from_slice(&self.to_be_bytes());
        true
    }
}

/// Revisions and positions; no store counts beyond a `bigint`.
impl Value for u64 {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        i64::try_from(*self).expect("positions and revisions fit a bigint").write(bytes)
    }
}

impl Value for StaffId {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        self.get().write(bytes)
    }
}

impl Value for Uuid {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        bytes.extend_from_slice(self.as_bytes());
        true
    }
}

/// Microseconds since Postgres's epoch, 2000-01-01.
impl Value for DateTime<Utc> {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        const EPOCH_MICROS: i64 = 946_684_800_000_000;
        (self.timestamp_micros() - EPOCH_MICROS).write(bytes)
    }
}

/// The end of a period: infinity where nothing ends it.
pub(crate) struct End(pub(crate) Option<DateTime<Utc>>);

impl Value for End {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        match self.0 {
            Some(end) => end.write(bytes),
            None => i64::MAX.write(bytes),
        }
    }
}

/// Days since Postgres's epoch, 2000-01-01.
impl Value for NaiveDate {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        const EPOCH_DAYS_FROM_CE: i32 = 730_120;
        (chrono::Datelike::num_days_from_ce(self) - EPOCH_DAYS_FROM_CE).write(bytes)
    }
}

/// A `numeric` with one decimal: one digit to the base of 10,000, which counts ones (full time) or ten-thousandths.
impl Value for WorkingPattern {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        let tenths = i16::from(self.tenths());
        let (weight, digit) = if tenths == 10 { (0, 1) } else { (-1, tenths * 1000) };
        let (digits, sign, decimals) = (1, 0, 1);
        for part in [digits, weight, sign, decimals, digit] {
            bytes.extend_from_slice(&i16::to_be_bytes(part));
        }
        true
    }
}

/// A one-dimensional array without nulls; an empty one has no dimension.
impl Value for Vec<OverrideReason> {
    fn write(&self, bytes: &mut Vec<u8>) -> bool {
        let (dimensions, without_nulls, lower_bound) = (i32::from(!self.is_empty()), 0, 1);
        for part in [dimensions, without_nulls, TEXT_OID] {
            part.write(bytes);
        }
        if self.is_empty() {
            return true;
        }
        for part in [field_len(self.len()), lower_bound] {
            part.write(bytes);
        }
        for reason in self {
            let start = bytes.len();
            NULL.write(bytes);
            reason.write(bytes);
            let len = field_len(bytes.len() - start - size_of::<i32>());
            bytes[start..start + size_of::<i32>()].copy_from_slice(&len.to_be_bytes());
        }
        true
    }
}

/// Text identifiers as they are, enums as their JSON names: one spelling everywhere.
macro_rules! written_as_text {
    (identifiers: $($identifier:ty),*; enums: $($named:ty),*) => {
        $(impl Value for $identifier {
            fn write(&self, bytes: &mut Vec<u8>) -> bool {
                bytes.extend_from_slice(self.as_str().as_bytes());
                true
            }
        })*
        $(impl Value for $named {
            fn write(&self, bytes: &mut Vec<u8>) -> bool {
                write!(Ascii(bytes), "{}", JsonName(self)).expect("its JSON is a text");
                true
            }
        })*
    };
}
written_as_text!(
    identifiers: PrisonerNumber, PrisonCode, Crn, Username;
    enums: AllocationKind, Estate, HandoverReason, OfficerRole, OverrideReason, Phase, PomKind, PomStatus,
    ResponsibilityOverrideReason, ResponsibleService, RoshLevel, Tier
);

/// Shows a value that is a text in JSON without its quotation marks.
struct JsonName<'a, T>(&'a T);

impl<T: Serialize> fmt::Display for JsonName<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

/// Writes formatted text to bytes.
struct Ascii<'a>(&'a mut Vec<u8>);

impl fmt::Write for Ascii<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
