//! The values that a column may have, as bytes in Postgres's binary format and back.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use domain::{
    identifier::{Crn, PrisonCode, PrisonerNumber, StaffId, Username},
    officer::{PomKind, WorkingPattern},
    prisoner::OverrideReason,
    tier::{RoshLevel, Tier},
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IntoDeserializer, value::Error as WordError},
};
use uuid::Uuid;

/// Whether a POM was given a case that no POM held, or one that another POM held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AllocationKind {
    /// No POM held the case.
    Allocation,
    /// Another POM held it.
    Reallocation,
}

/// The value of one column that is not null.
pub trait ColumnValue: Sized {
    /// The type's name in Postgres.
    const SQL: &'static str;

    /// Writes the value, without its length.
    fn write(&self, bytes: &mut Vec<u8>);

    /// Reads the bytes of [`ColumnValue::write`]; `None` for any others.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// The length that means null.
pub(crate) const NULL: i32 = -1;

/// Writes a value, and its length before it.
pub(crate) fn with_len(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
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

/// The OID of type `text`.
const TEXT_OID: i32 = 25;

impl ColumnValue for String {
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

impl ColumnValue for bool {
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

impl ColumnValue for i32 {
    const SQL: &'static str = "integer";

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl ColumnValue for i64 {
    const SQL: &'static str = "bigint";

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

/// Revisions and positions; no store counts beyond a `bigint`.
impl ColumnValue for u64 {
    const SQL: &'static str = i64::SQL;

    fn write(&self, bytes: &mut Vec<u8>) {
        ColumnValue::write(&i64::try_from(*self).expect("positions and revisions fit a bigint"), bytes);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        <i64 as ColumnValue>::read(bytes)?.try_into().ok()
    }
}

impl ColumnValue for StaffId {
    const SQL: &'static str = i64::SQL;

    fn write(&self, bytes: &mut Vec<u8>) {
        ColumnValue::write(&self.get(), bytes);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        <i64 as ColumnValue>::read(bytes)?.try_into().ok()
    }
}

impl ColumnValue for Uuid {
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

impl ColumnValue for DateTime<Utc> {
    const SQL: &'static str = "timestamptz";

    fn write(&self, bytes: &mut Vec<u8>) {
        ColumnValue::write(&(self.timestamp_micros() - EPOCH_MICROS), bytes);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let micros = <i64 as ColumnValue>::read(bytes)?.checked_add(EPOCH_MICROS)?;
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

impl ColumnValue for PeriodEnd {
    const SQL: &'static str = "timestamptz";

    fn write(&self, bytes: &mut Vec<u8>) {
        match &self.0 {
            Some(end) => ColumnValue::write(end, bytes),
            None => ColumnValue::write(&Self::INFINITY, bytes),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        match <i64 as ColumnValue>::read(bytes)? {
            Self::INFINITY => Some(Self(None)),
            _ => <DateTime<Utc> as ColumnValue>::read(bytes).map(|end| Self(Some(end))),
        }
    }
}

/// Days since Postgres's epoch, 2000-01-01.
impl ColumnValue for NaiveDate {
    const SQL: &'static str = "date";

    fn write(&self, bytes: &mut Vec<u8>) {
        ColumnValue::write(&(self.num_days_from_ce() - EPOCH_DAYS_FROM_CE), bytes);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::from_num_days_from_ce_opt(<i32 as ColumnValue>::read(bytes)?.checked_add(EPOCH_DAYS_FROM_CE)?)
    }
}

/// Postgres counts days from 2000-01-01, chrono from the first day of year 1.
const EPOCH_DAYS_FROM_CE: i32 = 730_120;

/// A `numeric` with one decimal and one digit to the base of 10,000, which counts ones (full time)
/// or ten-thousandths. The digits' number, the weight, the sign and the decimals come before it.
impl ColumnValue for WorkingPattern {
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
impl ColumnValue for Vec<OverrideReason> {
    const SQL: &'static str = "text[]";

    fn write(&self, bytes: &mut Vec<u8>) {
        let (dimensions, has_nulls, lower_bound) = (i32::from(!self.is_empty()), 0, 1);
        for part in [dimensions, has_nulls, TEXT_OID] {
            ColumnValue::write(&part, bytes);
        }
        if self.is_empty() {
            return;
        }
        for part in [len_as_int(self.len()), lower_bound] {
            ColumnValue::write(&part, bytes);
        }
        for reason in self {
            with_len(bytes, |bytes| ColumnValue::write(reason, bytes));
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
                ColumnValue::read(word)
            })
            .collect()
    }
}

/// Text identifiers as they are.
macro_rules! identifier_columns {
    ($($identifier:ty),*) => {
        $(impl ColumnValue for $identifier {
            const SQL: &'static str = "text";

            fn write(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(self.as_str().as_bytes());
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                std::str::from_utf8(bytes).ok()?.parse().ok()
            }
        })*
    };
}
identifier_columns!(PrisonerNumber, PrisonCode, Crn, Username);

/// Enums as their JSON names: one spelling everywhere. Those of one table are in its file.
macro_rules! word_columns {
    ($($word:ty),*) => {
        $(impl $crate::values::ColumnValue for $word {
            const SQL: &'static str = "text";

            fn write(&self, bytes: &mut Vec<u8>) {
                $crate::values::write_word(self, bytes);
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                $crate::values::read_word(bytes)
            }
        })*
    };
}
pub(crate) use word_columns;

word_columns!(AllocationKind, OverrideReason, PomKind, RoshLevel, Tier);

pub(crate) fn write_word(word: &impl Serialize, bytes: &mut Vec<u8>) {
    write!(Utf8(bytes), "{}", JsonWord(word)).expect("its JSON is a text");
}

pub(crate) fn read_word<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let word = std::str::from_utf8(bytes).ok()?;
    T::deserialize(IntoDeserializer::<WordError>::into_deserializer(word)).ok()
}

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
