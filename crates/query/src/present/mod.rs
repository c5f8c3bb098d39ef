//! The views (read models) as they are now, one module a table or a question: each owns its SQL.
//!
//! A statement reads the checkpoint beside its rows (`checkpoint LEFT JOIN …`), so that position
//! and rows are of one snapshot and of one round trip. Where there is no row, the position comes
//! alone, beside nulls. The statements of one answer that needs several share a [`snapshot`]. A
//! list reads the streams aside in the same way as the position (`streams_aside`).
//!
//! A statement that reads a table's whole row selects [`ViewTable::select`] first; other columns it
//! reads by name.

pub(crate) mod allocation_in_force;
pub(crate) mod case;
pub(crate) mod case_list;
pub(crate) mod case_prison;
pub(crate) mod checkpoint;
pub(crate) mod control_entry;
pub(crate) mod nomis_contact;
pub(crate) mod period_statistics;
pub(crate) mod prison;
pub(crate) mod roster;
pub(crate) mod statistics;
pub(crate) mod streams_aside;
pub(crate) mod view_size;

use serde::de::{DeserializeOwned, IntoDeserializer, value::Error as WordError};
use sqlx::{Decode, PgPool, Postgres, Row as _, Transaction, Type, postgres::PgRow};
use views::{Damage, ViewTable, stream_aside::StreamAside};

use crate::QueryError;

/// How long a statement may run: far longer than any statement of these modules takes, far shorter
/// than a caller's patience.
pub(crate) const STATEMENT_TIMEOUT_MS: u64 = 10_000;

/// One state of the views, and so one position, for the statements of an answer that needs several.
pub(crate) async fn snapshot(views: &PgPool) -> Result<Transaction<'static, Postgres>, QueryError> {
    Ok(views.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
}

/// Rows and the position in the log that they are of.
#[derive(Debug)]
pub(crate) struct ViewRows<T> {
    pub(crate) position: u64,
    /// The cases and prisons of which there are no rows.
    pub(crate) aside: Vec<StreamAside>,
    pub(crate) rows: Vec<T>,
}

/// A row of a statement, read by the names of its columns.
#[derive(Clone, Copy)]
struct NamedColumns<'r> {
    table: &'static str,
    /// The column whose value names the row in a report.
    key: &'static str,
    row: &'r PgRow,
}

impl<'r> NamedColumns<'r> {
    /// A column's value.
    fn get<T: Decode<'r, Postgres> + Type<Postgres>>(self, column: &'static str) -> Result<T, QueryError> {
        Ok(self.row.try_get(column)?)
    }

    /// A column that counts and is never negative.
    fn count(self, column: &'static str) -> Result<u64, QueryError> {
        let value: i64 = self.get(column)?;
        u64::try_from(value).map_err(|_| self.damage(column, &value.to_string()))
    }

    /// A column that holds one of the domain's words, or an identifier, as its text.
    fn word<T: DeserializeOwned>(self, column: &'static str) -> Result<T, QueryError> {
        self.optional_word(column)?.ok_or_else(|| self.damage(column, "null"))
    }

    /// The same, where it may be null.
    fn optional_word<T: DeserializeOwned>(self, column: &'static str) -> Result<Option<T>, QueryError> {
        let text: Option<&str> = self.get(column)?;
        text.map(|text| {
            T::deserialize(IntoDeserializer::<WordError>::into_deserializer(text))
                .map_err(|_| self.damage(column, text))
        })
        .transpose()
    }

    fn damage(self, column: &'static str, value: &str) -> QueryError {
        let row = self.row.try_get::<&str, _>(self.key).unwrap_or("a row without a key").to_owned();
        QueryError::Damaged(Damage { table: self.table, column, row, value: value.to_owned() })
    }
}

/// Reads the rows of a statement that begins from `checkpoint LEFT JOIN` and selects the streams
/// aside, by name. A row whose key is null is the position alone.
fn read_named<T>(
    rows: &[PgRow],
    table: &'static str,
    key: &'static str,
    read: impl Fn(NamedColumns<'_>) -> Result<T, QueryError>,
) -> Result<ViewRows<T>, QueryError> {
    let (position, aside) = extent(rows)?;
    let mut answer = Vec::with_capacity(rows.len());
    for row in rows {
        if !sqlx::ValueRef::is_null(&row.try_get_raw(key)?) {
            answer.push(read(NamedColumns { table, key, row })?);
        }
    }
    Ok(ViewRows { position, aside, rows: answer })
}

/// Reads the rows of a statement that begins from `checkpoint LEFT JOIN`, selects the streams aside
/// and, before them, the columns of a table; `convert` adds what the statement selects beside them.
fn read_rows<R: ViewTable, T>(
    rows: &[PgRow],
    convert: impl Fn(R, &PgRow) -> Result<T, QueryError>,
) -> Result<ViewRows<T>, QueryError> {
    let (position, aside) = extent(rows)?;
    let mut answer = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(found) = R::read_joined_row(row)? {
            answer.push(convert(found, row)?);
        }
    }
    Ok(ViewRows { position, aside, rows: answer })
}

/// The position and the streams aside beside the rows.
fn extent(rows: &[PgRow]) -> Result<(u64, Vec<StreamAside>), QueryError> {
    let position = position(rows)?;
    let aside = rows.first().map_or(Ok(Vec::new()), streams_aside::read_streams)?;
    Ok((position, aside))
}

/// The position beside the rows. Where there is no row at all, the checkpoint is missing: the views
/// are being put in place.
fn position(rows: &[PgRow]) -> Result<u64, QueryError> {
    let row = rows.first().ok_or(QueryError::Views(sqlx::Error::RowNotFound))?;
    NamedColumns { table: "checkpoint", key: "ledger_position", row }.count("ledger_position")
}

/// A position as a `bigint`; no store counts beyond it.
fn bigint(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}
