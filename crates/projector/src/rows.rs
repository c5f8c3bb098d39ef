//! Replaces the rows of streams.
//!
//! The tables have one writer, this crate, and one form of rows, that of `COPY`; live projection
//! deletes the rows of the streams that a batch touches first. Statements name no schema:
//! the connection's search path does, so that the same statements fill the serving views, a rebuild
//! beside them, and the views as of a past date.

use domain::Stream;
use sqlx::{AssertSqlSafe, PgConnection};
use views::{EncodedRows, Owner, VIEWS, case_rows, contact_rows, prison_rows};

use crate::{any_history::AnyHistory, pg_copy};

/// The rows of histories, of all views.
pub(crate) fn encode(histories: &[AnyHistory]) -> EncodedRows {
    let mut encoded = EncodedRows::default();
    histories.iter().for_each(|history| add(history, &mut encoded));
    encoded
}

/// Adds the rows of a history.
pub(crate) fn add(history: &AnyHistory, rows: &mut EncodedRows) {
    match history {
        AnyHistory::Case(history) => rows.add_case(&case_rows(history)),
        AnyHistory::Prison(history) => rows.add_prison(&prison_rows(history)),
        AnyHistory::Contacts(history) => rows.add_contacts(&contact_rows(history)),
    }
}

/// Most values of a table that go in by `INSERT`. The server prepares such a statement in a few
/// milliseconds; with more values it would take longer than the wait that it spares.
const INSERTED_VALUES_MAX: usize = 2_000;

/// Writes rows: two round trips for each table that has any.
pub(crate) async fn write(rows: EncodedRows, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for (view, copy) in rows {
        let target = format!("{view} ({})", view.column_list());
        if copy.values() <= INSERTED_VALUES_MAX {
            pg_copy::insert(copy, connection, &target).await?;
        } else {
            pg_copy::send(copy, connection, &format!("COPY {target} FROM STDIN (FORMAT binary)")).await?;
        }
    }
    Ok(())
}

/// The owners whose rows are about to be replaced.
#[derive(Debug, Default)]
pub(crate) struct OwnerKeys {
    /// Prisoner numbers.
    cases: Vec<String>,
    /// Prison codes.
    prisons: Vec<String>,
    /// Prisoner numbers, of persons' contacts.
    contacts: Vec<String>,
}

impl OwnerKeys {
    /// The owners of the rows of streams.
    pub(crate) fn of<'s>(streams: impl IntoIterator<Item = &'s Stream>) -> Self {
        let mut keys = Self::default();
        for stream in streams {
            match stream {
                Stream::Prisoner(number) => keys.cases.push(number.to_string()),
                Stream::Prison(code) => keys.prisons.push(code.to_string()),
                Stream::Contacts(number) => keys.contacts.push(number.to_string()),
            }
        }
        keys
    }

    /// Deletes their rows from all tables.
    pub(crate) async fn delete(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        for view in VIEWS {
            let keys = match view.owner() {
                Owner::Case => &self.cases,
                Owner::Prison => &self.prisons,
                Owner::Contacts => &self.contacts,
            };
            if keys.is_empty() {
                continue;
            }
            let sql = format!("DELETE FROM {view} WHERE {} = ANY($1)", view.key()[0]);
            sqlx::query(AssertSqlSafe(sql)).bind(keys).execute(&mut *connection).await?;
        }
        Ok(())
    }
}
