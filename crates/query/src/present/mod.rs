//! The views, as `projector` writes them: each module owns the SQL that begins from its table.
//!
//! A statement reads the checkpoint beside its rows (`checkpoint LEFT JOIN …`), so that position and rows are of one
//! snapshot and of one round trip; where there is no row, one comes with the position alone.

pub(crate) mod allocation;
pub(crate) mod case;
pub(crate) mod case_list;
pub(crate) mod case_prison;
pub(crate) mod checkpoint;
pub(crate) mod nomis_contact;
pub(crate) mod roster;
pub(crate) mod size;

use chrono::{DateTime, Utc};
use serde::de::{DeserializeOwned, IntoDeserializer, value::Error as ValueError};
use sqlx::{Decode, Postgres, Row as _, Type, postgres::PgRow};

use crate::Error;

/// Rows and the position in the log that they are of.
#[derive(Debug)]
pub(crate) struct Read<T> {
    pub(crate) position: u64,
    pub(crate) rows: Vec<T>,
}

/// A row of a table, read column by column.
#[derive(Clone, Copy)]
struct Row<'r> {
    table: &'static str,
    /// The column whose value names the row in a report.
    key: &'static str,
    row: &'r PgRow,
}

impl<'r> Row<'r> {
    /// A column's value.
    fn get<T: Decode<'r, Postgres> + Type<Postgres>>(self, column: &'static str) -> Result<T, Error> {
        Ok(self.row.try_get(column)?)
    }

    /// A column that counts something and is never negative.
    fn count(self, column: &'static str) -> Result<u64, Error> {
        let value: i64 = self.get(column)?;
        u64::try_from(value).map_err(|_| self.damaged(column, &value.to_string()))
    }

    /// A column that holds one of the domain's words, or an identifier, as its text.
    fn word<T: DeserializeOwned>(self, column: &'static str) -> Result<T, Error> {
        self.optional_word(column)?.ok_or_else(|| self.damaged(column, "null"))
    }

    /// The same, where it may be null.
    fn optional_word<T: DeserializeOwned>(self, column: &'static str) -> Result<Option<T>, Error> {
        let text: Option<&str> = self.get(column)?;
        text.map(|text| {
            T::deserialize(IntoDeserializer::<ValueError>::into_deserializer(text))
                .map_err(|_| self.damaged(column, text))
        })
        .transpose()
    }

    fn damaged(self, column: &'static str, value: &str) -> Error {
        let row = self.row.try_get::<&str, _>(self.key).unwrap_or("a row without a key").to_owned();
        Error::Damaged { table: self.table, column, row, value: value.to_owned() }
    }
}

/// Reads the rows of a statement that begins with `checkpoint LEFT JOIN`.
fn read<T>(
    rows: &[PgRow],
    table: &'static str,
    key: &'static str,
    convert: impl Fn(Row<'_>) -> Result<T, Error>,
) -> Result<Read<T>, Error> {
    let position = position(rows)?;
    let mut converted = Vec::with_capacity(rows.len());
    for row in rows {
        let row = Row { table, key, row };
        // Null keys: nothing was found to join to the checkpoint.
        if !sqlx::ValueRef::is_null(&row.row.try_get_raw(key)?) {
            converted.push(convert(row)?);
        }
    }
    Ok(Read { position, rows: converted })
}

/// The position beside the rows. No row at all: the checkpoint is missing, the views are being put in place.
fn position(rows: &[PgRow]) -> Result<u64, Error> {
    let row = rows.first().ok_or(Error::Views(sqlx::Error::RowNotFound))?;
    Row { table: "checkpoint", key: "ledger_position", row }.count("ledger_position")
}

/// The end of a period; the views say infinity for "nothing known ends it", which the statements turn into null.
pub(crate) type End = Option<DateTime<Utc>>;
